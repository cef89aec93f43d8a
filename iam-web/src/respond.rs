//! Answers of this family's own: as a page or as a problem document, with the headers that belong on both.

use std::time::Duration;

use iam_core::Error;
use minijinja::{Value, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Map;

use crate::accept::wants_page;
use crate::context::{Caller, RequestContext};
use crate::csrf::is_safe;
use crate::fields::{BodyError, FieldError};
use crate::message::{RequestView, WebResponse};
use crate::problem::{self, Case, MaxAge, whole_seconds};

const PROBLEM_JSON: &str = "application/problem+json";

/// What may stand bare in a query value.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

pub(crate) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, QUERY_VALUE).to_string()
}

impl RequestContext {
    /// A refusal, in the form that the request asks for.
    pub(crate) fn refusal(&self, view: &dyn RequestView, case: Case) -> WebResponse {
        if wants_page(view) {
            self.message_page(view, case, Extra::default())
        } else {
            self.problem(view, case, &[])
        }
    }

    /// The answer to an error, in the form that the request asks for. What is our fault is logged, and not told.
    pub(crate) fn failed(&self, view: &dyn RequestView, error: &Error) -> WebResponse {
        let case = Case::of(error);
        if case.status() >= 500 {
            self.log(view, error);
        }
        let wait = problem::retry_after(error);
        let response = if wants_page(view) {
            self.message_page(view, case, Extra { wait, ..Extra::default() })
        } else {
            let errors: Vec<FieldError> = match error {
                Error::Invalid(invalid) => vec![invalid.into()],
                _ => Vec::new(),
            };
            self.problem(view, case, &errors)
        };
        with_retry_after(response, wait)
    }

    /// The answer to a body that can't be used.
    pub(crate) fn bad_body(&self, view: &dyn RequestView, error: BodyError) -> WebResponse {
        match error {
            BodyError::UnsupportedMediaType => self.refusal(view, Case::UnsupportedMediaType),
            BodyError::Malformed(_) => self.refusal(view, Case::BadRequest),
            BodyError::Fields(_) if wants_page(view) => self.refusal(view, Case::Invalid),
            BodyError::Fields(errors) => self.problem(view, Case::Invalid, &errors),
        }
    }

    /// The answer to a body that would have to be unpacked first (RFC 9110, 15.5.16).
    pub(crate) fn encoded_body(&self, view: &dyn RequestView) -> WebResponse {
        let case = Case::UnsupportedEncoding;
        let response = if wants_page(view) {
            self.refusal(view, case)
        } else {
            let detail = "must be absent, or identity".to_owned();
            let field = "content-encoding".to_owned();
            self.problem(view, case, &[FieldError { field, code: "unsupported", detail }])
        };
        response.header("accept-encoding", "identity")
    }

    /// `missing`: what would have let the request pass, in words.
    pub(crate) fn forbidden(
        &self,
        view: &dyn RequestView,
        caller: &Caller,
        missing: Vec<String>,
    ) -> WebResponse {
        if !wants_page(view) {
            let missing = Map::from_iter([("missing".to_owned(), missing.into())]);
            return self.problem_with(view, Case::Forbidden, &[], missing);
        }
        let signed_in_as = caller.principal().map(|principal| principal.username().to_owned());
        let csrf_token = self.csrf_token(view, caller).unwrap_or_default();
        self.message_page(
            view,
            Case::Forbidden,
            Extra { signed_in_as, csrf_token, missing, ..Extra::default() },
        )
    }

    /// The adapter's answer to a body that is too large, or does not arrive.
    pub fn body_refused(&self, view: &dyn RequestView, problem: BodyProblem) -> WebResponse {
        self.refusal(
            view,
            match problem {
                BodyProblem::TooLarge => Case::BodyTooLarge,
                BodyProblem::TooSlow => Case::Timeout,
                BodyProblem::Broken => Case::BadRequest,
            },
        )
    }

    pub(crate) fn log(&self, view: &dyn RequestView, error: &Error) {
        let request_id = self.request_id(view);
        let cause = std::error::Error::source(error).map(tracing::field::display);
        tracing::error!(request_id, cause, error = error as &dyn std::error::Error, "the request failed");
    }

    pub(crate) fn problem(&self, view: &dyn RequestView, case: Case, errors: &[FieldError]) -> WebResponse {
        self.problem_with(view, case, errors, Map::new())
    }

    /// The same, with members of this case alone.
    pub(crate) fn problem_with(
        &self,
        view: &dyn RequestView,
        case: Case,
        errors: &[FieldError],
        more: Map<String, serde_json::Value>,
    ) -> WebResponse {
        let document = problem::document(case, self.request_id(view), errors, more);
        let response = WebResponse::new(case.status()).json(&document, PROBLEM_JSON);
        self.own(view, challenge(view, response, case))
    }

    pub(crate) fn json(&self, view: &dyn RequestView, status: u16, value: &serde_json::Value) -> WebResponse {
        self.own(view, WebResponse::new(status).json(value, "application/json"))
    }

    fn message_page(&self, view: &dyn RequestView, case: Case, extra: Extra) -> WebResponse {
        let pages = &self.inner().pages;
        let key = case.text_key();
        let wait = pages.wait_text(extra.wait.map_or(1, whole_seconds));
        let link = match case {
            Case::Unauthenticated | Case::UnauthenticatedUnsafe | Case::InvalidCredentials => {
                Some(context! {
                    href => self.login_url(is_safe(view).then(|| view.target())),
                    label => pages.text(&format!("message.{key}.link")),
                })
            }
            // Not back to what would be sent once more.
            Case::SentBefore => {
                Some(context! { href => "/", label => pages.text(&format!("message.{key}.link")) })
            }
            _ => extra.href.map(|href| {
                context! { href => href, label => pages.text(&format!("message.{key}.link")) }
            }),
        };
        let values = context! {
            missing => extra.missing,
            status => case.status(),
            title => pages.text(&format!("message.{key}.title")),
            message => pages.text_with(&format!("message.{key}.text"), &[("wait", &wait)]),
            request_id => self.request_id(view),
            link => link,
            logout_action => extra.signed_in_as.is_some().then(|| format!("{}/logout", self.inner().auth_path)),
            signed_in_as => extra.signed_in_as,
            csrf_token => extra.csrf_token,
        };
        challenge(view, self.page(view, case.status(), "message.html", &values), case)
    }

    /// A refusal as a page, with a link to where it can be mended.
    pub(crate) fn refusal_with_link(&self, view: &dyn RequestView, case: Case, href: String) -> WebResponse {
        self.message_page(view, case, Extra { href: Some(href), ..Extra::default() })
    }

    /// A page under a content security policy that allows it its own style sheet and nothing else.
    pub(crate) fn page(
        &self,
        view: &dyn RequestView,
        status: u16,
        template: &str,
        values: &Value,
    ) -> WebResponse {
        let nonce = self.random_text::<18>();
        let values = context! { service => self.iam().service(), ..values.clone() };
        let response = match self.inner().pages.render(template, &nonce, values) {
            Ok(html) => WebResponse::new(status).html(html),
            Err(error) => {
                tracing::error!(
                    template,
                    error = &error as &dyn std::error::Error,
                    "a page could not be made"
                );
                WebResponse::new(500)
            }
        };
        // A form may end where a handler sends it on to: browsers look at each step of the way.
        let targets: String = self.inner().form_targets.iter().flat_map(|target| [" ", target]).collect();
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self' data:; form-action 'self'{targets}; \
             base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
        );
        self.own(view, response.header("content-security-policy", policy))
    }

    /// The headers of every answer of this family's own.
    pub(crate) fn own(&self, view: &dyn RequestView, response: WebResponse) -> WebResponse {
        let has_policy = response.headers.iter().any(|(name, _)| *name == "content-security-policy");
        let response = response
            .header("cache-control", "no-store")
            .header("x-content-type-options", "nosniff")
            .header("referrer-policy", "same-origin")
            .header("cross-origin-opener-policy", "same-origin")
            .header("cross-origin-resource-policy", "same-origin")
            .header("x-frame-options", "DENY")
            .header("vary", "Accept, Cookie")
            .header("x-request-id", self.request_id(view));
        if has_policy {
            return response;
        }
        response.header(
            "content-security-policy",
            "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        )
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyProblem {
    /// Larger than [`MAX_FORM_BYTES`](crate::MAX_FORM_BYTES).
    TooLarge,
    /// Not there in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

#[derive(Default)]
struct Extra {
    wait: Option<Duration>,
    signed_in_as: Option<String>,
    csrf_token: String,
    missing: Vec<String>,
    href: Option<String>,
}

pub(crate) fn with_retry_after(response: WebResponse, wait: Option<Duration>) -> WebResponse {
    match wait {
        Some(wait) => response.header("retry-after", whole_seconds(wait).max(1).to_string()),
        None => response,
    }
}

/// A 401 says how one may authenticate (RFC 9110), and what was wrong with a token that was shown (RFC 6750, RFC 9470).
fn challenge(view: &dyn RequestView, response: WebResponse, case: Case) -> WebResponse {
    let challenge = match case {
        Case::StepUpRequired(acr, MaxAge(seconds)) => format!(
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"{}\", max_age={seconds}",
            acr.as_str()
        ),
        Case::EnrolmentRequired => {
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\"".to_owned()
        }
        Case::ReauthenticationRequired(MaxAge(seconds)) | Case::EnrolmentProofRequired(MaxAge(seconds)) => {
            format!("Bearer error=\"insufficient_user_authentication\", max_age={seconds}")
        }
        Case::SecondFactorStale(MaxAge(seconds)) => format!(
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\", max_age={seconds}"
        ),
        _ if case.status() != 401 => return response,
        Case::InvalidCredentials | Case::InvalidCode | Case::ChallengeSpent => "Bearer".to_owned(),
        Case::SecondFactorRequired => "Bearer error=\"insufficient_user_authentication\"".to_owned(),
        _ if view.header("authorization").is_empty() => "Bearer".to_owned(),
        _ => "Bearer error=\"invalid_token\"".to_owned(),
    };
    response.header("www-authenticate", challenge)
}
