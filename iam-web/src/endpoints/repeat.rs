//! What comes twice is carried out once: a double click, a retry, an answer that was lost, on an address whose success renews the session.

use iam_core::protocol::{Begun, Carrier, Repeatable, TokenHash};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Endpoint;
use crate::context::{Caller, RequestContext};
use crate::csrf::Site;
use crate::form::{Form, is_form};
use crate::json::StrictObject;
use crate::message::{Body, RequestView, WebRequest, WebResponse};

/// The fields of a JSON body that nobody knows who knows the session's token alone.
const TYPED: [&str; 3] = ["password", "current_password", "code"];

/// The headers that an answer of ours may have. One with another is not kept.
const HEADERS: [&str; 12] = [
    "location",
    "content-type",
    "cache-control",
    "clear-site-data",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "vary",
    "x-content-type-options",
    "x-frame-options",
    REQUEST_ID,
];

/// Each request has one of its own.
const REQUEST_ID: &str = "x-request-id";

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
    body: String,
}

impl Endpoint {
    /// Whether success there gives the session another token. Whoever does not get the answer is then signed out, so an equal request
    /// that comes soon after is answered once more.
    pub(crate) fn renews(self, method: &str) -> bool {
        match self {
            Self::AccountPassword
            | Self::ApiPassword
            | Self::ApiReauthenticate
            | Self::ConfirmFactor
            | Self::ApiConfirmFactor
            | Self::RemoveFactor
            | Self::ApiVerify => true,
            Self::ReauthenticatePage | Self::VerifyPage => method == "POST",
            Self::ApiFactor => method == "DELETE",
            _ => false,
        }
    }
}

impl RequestContext {
    /// Carries a request out that would renew the session; or answers it as an equal one before it.
    pub(super) async fn once(
        &self,
        request: &WebRequest,
        caller: &Caller,
        work: impl Future<Output = WebResponse> + Send,
    ) -> WebResponse {
        let form = token_of_form(request);
        let Some(repeatable) = self.repeatable(request, caller, form.as_deref()) else { return work.await };
        match self.iam().protocol().begin_repeatable(&repeatable, caller.claimant().as_ref()).await {
            Ok(Begun::First(first)) => {
                let response = work.await;
                let kept = self.to_repeat(caller, &response);
                let kept = kept.as_ref().map(|(token, answer)| (token, answer.as_slice()));
                self.iam().protocol().end_repeatable(first, kept).await;
                response
            }
            Ok(Begun::Answered(answer)) => match self.answer_again(request, &answer) {
                Some(response) => response,
                None => work.await,
            },
            Ok(Begun::Ordinary) => work.await,
            Err(error) => self.failed(request, &error),
        }
    }

    /// The request, if it may come twice: it holds something that nobody knows who knows the session's token alone, and comes from us.
    fn repeatable<'r>(
        &self,
        request: &'r WebRequest,
        caller: &'r Caller,
        form: Option<&'r str>,
    ) -> Option<Repeatable<'r>> {
        let token = caller.token.as_ref()?;
        // Of a session that lives no longer under this token nobody can tell; but only an equal request finds anything.
        let is_of_another = |form| caller.has_session() && !self.is_csrf_token(request, caller, form);
        if form.is_some_and(is_of_another) {
            return None;
        }
        let is_ours = match (caller.carrier, form) {
            (Carrier::Bearer, _) => true,
            (Carrier::Cookie, Some(_)) => self.site(request) != Site::Foreign,
            (Carrier::Cookie, None) => self.site(request) == Site::Same,
        };
        if !is_ours || (form.is_none() && !holds_what_was_typed(request)) {
            return None;
        }
        Some(Repeatable {
            token,
            method: &request.method,
            target: &request.target,
            form: form.unwrap_or_default(),
            body: &request.body,
        })
    }

    /// The answer to a request that came first, if the session goes on under another token with it; and that token.
    fn to_repeat(&self, caller: &Caller, response: &WebResponse) -> Option<(TokenHash, Zeroizing<Vec<u8>>)> {
        if response.status >= 400 {
            return None;
        }
        let old = caller.token.as_ref()?.hash();
        let renewed = self.renewed_to().filter(|token| *token != old)?;
        Some((renewed, Kept::of(response, self.cookies_so_far())?))
    }

    /// The same answer, under this request's own name.
    fn answer_again(&self, request: &WebRequest, answer: &[u8]) -> Option<WebResponse> {
        let Kept { status, headers, cookies, body } = serde_json::from_slice(answer).ok()?;
        for cookie in cookies {
            self.add_cookie(cookie);
        }
        let mut response = WebResponse::new(status);
        response.body = Body::Full(body.into());
        for (name, value) in headers {
            let name = HEADERS.into_iter().find(|known| *known == name)?;
            let value = if name == REQUEST_ID { self.request_id(request).to_owned() } else { value };
            response = response.header(name, value);
        }
        Some(response)
    }
}

impl Kept {
    fn of(response: &WebResponse, cookies: Vec<String>) -> Option<Zeroizing<Vec<u8>>> {
        let body = match &response.body {
            Body::Full(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
            Body::Stream(_) => return None,
        };
        if let Some((name, _)) = response.headers.iter().find(|(name, _)| !HEADERS.contains(name)) {
            tracing::error!(
                header = name,
                "an answer that may be asked for again has a header that is not known"
            );
            return None;
        }
        let headers =
            response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let kept = Self { status: response.status, headers, cookies, body };
        serde_json::to_vec(&kept).ok().map(Zeroizing::new)
    }
}

/// The token of the form, or of the page, that a request says it comes from. What can't be read is no token of anybody's.
fn token_of_form(request: &WebRequest) -> Option<String> {
    let content_type = request.header_values("content-type");
    if is_form(&content_type) {
        let form = Form::parse(&content_type, &request.body).ok();
        return Some(form.and_then(|form| form.get("csrf_token").map(str::to_owned)).unwrap_or_default());
    }
    let token = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    match request.header("x-csrf-token")[..] {
        [] => None,
        [value] => Some(token(value)),
        _ => Some(String::new()),
    }
}

fn holds_what_was_typed(request: &WebRequest) -> bool {
    let Ok(object) = StrictObject::parse(&request.header_values("content-type"), &request.body) else {
        return false;
    };
    let mut fields = object.fields();
    TYPED.iter().any(|name| fields.optional_string(name).is_some_and(|typed| !typed.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::endpoints;

    /// Every file that answers requests.
    const SOURCES: [&str; 7] = [
        include_str!("account.rs"),
        include_str!("factors.rs"),
        include_str!("second_factor.rs"),
        include_str!("setup.rs"),
        include_str!("sign_in.rs"),
        include_str!("step_up.rs"),
        include_str!("trusted_devices.rs"),
    ];

    /// What gives a session another token, and notes it.
    const RENEWING: &str = "note_renewed";

    /// The functions of the sources, each with the functions of `self` that it calls.
    fn calls() -> BTreeMap<String, BTreeSet<String>> {
        let name =
            |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let mut calls = BTreeMap::new();
        for source in SOURCES {
            let code = source.split("#[cfg(test)]").next().unwrap();
            for function in code.split("fn ").skip(1) {
                let called = function.split("self.").skip(1).map(name).collect();
                calls.insert(name(function), called);
            }
        }
        calls
    }

    fn leads_to_a_renewal(
        calls: &BTreeMap<String, BTreeSet<String>>,
        function: &str,
        seen: &mut BTreeSet<String>,
    ) -> bool {
        function == RENEWING
            || (seen.insert(function.to_owned())
                && calls
                    .get(function)
                    .is_some_and(|called| called.iter().any(|next| leads_to_a_renewal(calls, next, seen))))
    }

    #[test]
    fn whatever_renews_a_session_is_carried_out_once() {
        let calls = calls();
        let dispatch = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
        let (mut found, mut matched) = (0, BTreeSet::new());
        for arm in dispatch.split("(Endpoint::").skip(1).filter(|arm| arm.contains("=> self.")) {
            let (pattern, rest) = arm.split_once(") => self.").unwrap();
            let (endpoint, method) = pattern.split_once(", ").unwrap();
            let function = rest.split('(').next().unwrap();
            let renews = leads_to_a_renewal(&calls, function, &mut BTreeSet::new());
            found += usize::from(renews);
            let all = endpoints("/auth", "/api");
            let known =
                all.iter().map(|(_, known)| *known).find(|known| format!("{known:?}") == endpoint).unwrap();
            for name in known.methods() {
                let is_it = method == "_" || method.trim_matches('"') == *name;
                // The first arm that matches is the one.
                if is_it && matched.insert(format!("{name} {endpoint}")) {
                    assert_eq!(known.renews(name), renews, "{name} {endpoint}: {function}");
                }
            }
        }
        assert_eq!(found, 10, "places that renew");
        // Of the endpoints three set a session's cookie: where it is made, where it is renewed, and where the same one is to stay.
        let set = |source: &&str| source.matches("set_session_cookie(").count();
        assert_eq!(SOURCES.iter().map(set).sum::<usize>(), 3);
    }
}
