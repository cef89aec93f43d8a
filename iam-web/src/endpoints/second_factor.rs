//! The second factor: to sign in, and to prove again who one is. As pages and as JSON.

use std::collections::BTreeMap;

use iam_core::protocol::{
    Activity, Asked, Authentication, Carrier, Claimant, InterruptedId, Offer, SessionToken, SignedIn,
};
use iam_core::{Error, Invalid, Problem, ProofMethod, Purpose, SecondFactorRefusal};
use minijinja::{Value, context};
use serde_json::json;

use super::sign_in::is_ticked;
use super::step_up::{For, Unknown};
use crate::context::{Caller, RequestContext};
use crate::cookies::CookieKind;
use crate::fields::{BodyError, FieldError};
use crate::form::Form;
use crate::interrupted::Stopped;
use crate::json::StrictObject;
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, retry_after, whole_seconds};
use crate::respond::with_retry_after;

/// What a code that a program sends says of itself.
#[derive(Clone, Copy)]
struct Words<'a> {
    purpose: Option<&'a str>,
    approval: Option<&'a str>,
}

/// The page that asks for a code.
#[derive(Default)]
struct VerifyPage<'a> {
    next: Option<&'a str>,
    /// What the person chose, or was asked for.
    method: Option<ProofMethod>,
    /// What it is for, if that is a purpose of its own.
    purpose: Option<&'a (Purpose, Option<Vec<ProofMethod>>)>,
    /// The request that waits for it.
    stopped: Option<&'a (InterruptedId, Stopped)>,
    /// They want no second factor to be asked for on this browser from now on.
    trusting: bool,
    notice: Option<String>,
    error: Option<String>,
    code_error: Option<String>,
    closed: Closed,
}

/// What is not asked for any more.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    Nothing,
    /// A code of this method.
    Method,
    /// Any code.
    All,
}

impl<'a> VerifyPage<'a> {
    fn of(asked: &'a For, next: Option<&'a str>) -> Self {
        Self { next, purpose: asked.purpose.as_ref(), stopped: asked.stopped.as_ref(), ..Self::default() }
    }
}

impl RequestContext {
    // -- pages --

    /// After the password: on to the page that asks for the second factor. If that is a code which has to be sent, it is sent.
    pub(super) async fn begin_second_factor(
        &self,
        request: &WebRequest,
        caller: &Caller,
        signed_in: &SignedIn,
        next: Option<&str>,
    ) -> WebResponse {
        let begun = async {
            let shown = self
                .iam()
                .protocol()
                .authenticate(&signed_in.token, Activity::Background, &caller.client)
                .await?;
            let Authentication::PendingSecondFactor(pending) = shown else { return Ok(()) };
            let claimant = Claimant::from(&pending);
            let offers = self.iam().protocol().offers(&claimant).await?;
            if let Some(first) = offers.first().filter(|offer| offer.destination.is_some()) {
                self.iam()
                    .protocol()
                    .challenge(&claimant, &signed_in.token, first.kind, &caller.client)
                    .await?;
            }
            Ok(())
        };
        match begun.await {
            // The page offers what there is, and whoever tries it is told what is wrong.
            Ok(()) | Err(Error::SecondFactor(_) | Error::Throttled { .. }) => {
                self.own(request, WebResponse::redirect(303, &self.verify_url(next)))
            }
            Err(error) => self.failed(request, &error),
        }
    }

    pub(super) async fn show_verify(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let query = match self.query(request, &["next", "method", "purpose", "methods", "resume"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        let asked = match self.asked_for(caller, &query).await {
            Ok(asked) => asked,
            // Back here once they are signed in, with what it is for.
            Err(Unknown::Nobody) if query.get("purpose").is_some() || query.get("resume").is_some() => {
                let location = self.login_url(Some(&request.target));
                return self.own(request, WebResponse::redirect(303, &location));
            }
            Err(Unknown::Nobody) => {
                return self.own(request, WebResponse::redirect(303, &self.login_url(query.get("next"))));
            }
            Err(why) => return self.not_known(request, caller, &why).await,
        };
        let method = query.get("method").and_then(ProofMethod::parse_asked);
        let page = VerifyPage { method, ..VerifyPage::of(&asked, query.get("next")) };
        self.verify_page(request, caller, &asked.claimant, 200, page).await
    }

    pub(super) async fn submit_verify(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (mut asked, token, form) = match self.form_of_claimant(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let trusting = is_ticked(&form, "trust_device");
        if trusting {
            asked.claimant = asked.claimant.trusting_this_browser();
        }
        let claimant = &asked.claimant;
        let next = form.get("next");
        let method = match form.get("method").map(ProofMethod::parse_asked) {
            Some(None) => return self.refusal(request, Case::BadRequest),
            Some(method) => method,
            None => None,
        };
        let page = VerifyPage { method, trusting, ..VerifyPage::of(&asked, next) };
        let code = form.get("code").unwrap_or_default();
        if code.trim().is_empty() {
            let code_error = Some(self.inner().pages.text("verify.field.code.required"));
            return self.verify_page(request, caller, claimant, 422, VerifyPage { code_error, ..page }).await;
        }
        let kind = match self.kind_or_first(claimant, method).await {
            Ok(kind) => kind,
            Err(error) => return self.verify_failed(request, caller, claimant, page, &error).await,
        };
        match self.iam().protocol().verify(claimant, token, kind, code, &caller.client).await {
            Ok(signed_in) => {
                // For a purpose of its own the token stays as it is.
                if asked.purpose.is_none()
                    && let Err(error) = self.keep(&signed_in.token, signed_in.stays_until)
                {
                    return self.failed(request, &error);
                }
                self.keep_device(&signed_in);
                if let Some((id, Stopped { form: Some(_), .. })) = &asked.stopped {
                    let location = format!("{}/mfa/resume/{id}", self.inner().auth_path);
                    return self.own(request, WebResponse::redirect(303, &location));
                }
                let next = self.place(next);
                let elsewhere = if claimant.is_signing_in() || asked.purpose.is_some() {
                    "/".to_owned()
                } else {
                    self.account_path()
                };
                let location = next.as_ref().map_or(elsewhere.as_str(), LocalTarget::as_str);
                self.own(request, WebResponse::redirect(303, location))
            }
            Err(error) => {
                let page = VerifyPage { method: Some(kind), ..page };
                self.verify_failed(request, caller, claimant, page, &error).await
            }
        }
    }

    pub(super) async fn submit_resend(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (asked, token, form) = match self.form_of_claimant(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let claimant = &asked.claimant;
        let next = form.get("next");
        let Some(kind) = form.get("method").and_then(ProofMethod::parse_asked) else {
            return self.refusal(request, Case::BadRequest);
        };
        let page = VerifyPage { method: Some(kind), ..VerifyPage::of(&asked, next) };
        match self.iam().protocol().challenge(claimant, token, kind, &caller.client).await {
            Ok(sent) => {
                let notice = sent.destination.map(|destination| {
                    self.inner().pages.text_with("verify.sent", &[("destination", &destination)])
                });
                self.verify_page(request, caller, claimant, 200, VerifyPage { notice, ..page }).await
            }
            Err(error) => self.verify_failed(request, caller, claimant, page, &error).await,
        }
    }

    async fn verify_failed(
        &self,
        request: &WebRequest,
        caller: &Caller,
        claimant: &Claimant,
        page: VerifyPage<'_>,
        error: &Error,
    ) -> WebResponse {
        let case = Case::of(error);
        let pages = &self.inner().pages;
        let wait = retry_after(error);
        let wait_text = pages.wait_text(wait.map_or(1, whole_seconds).max(1));
        let is_sent = page.method.is_some_and(|kind| kind.channel().is_some());
        let key = match error {
            Error::Credentials | Error::SecondFactor(SecondFactorRefusal::Rejected { .. }) => {
                rejected(page.method)
            }
            Error::Invalid(invalid) if invalid.field == "code" => malformed(page.method, invalid),
            Error::SecondFactor(SecondFactorRefusal::Spent) if is_sent => "verify.spent.sent",
            Error::SecondFactor(SecondFactorRefusal::Spent) => "verify.spent.shown",
            Error::SecondFactor(SecondFactorRefusal::NoMethod) => "verify.no_method",
            Error::SecondFactor(SecondFactorRefusal::Locked { retry_after: Some(_) }) => "verify.locked_for",
            Error::SecondFactor(SecondFactorRefusal::Locked { .. }) => "verify.locked",
            Error::Throttled { .. } if page.method == Some(ProofMethod::Password) => {
                "reauthenticate.throttled"
            }
            Error::Busy { .. } => "reauthenticate.busy",
            Error::Throttled { .. } => "verify.throttled",
            Error::SecondFactor(SecondFactorRefusal::Gone) => {
                // Over, or completed in another tab: the next page tells which.
                return self.own(request, WebResponse::redirect(303, &self.login_url(page.next)));
            }
            error => return self.failed(request, error),
        };
        let text = pages.text_with(key, &[("wait", &wait_text)]);
        let wrong_code = matches!(
            error,
            Error::Credentials
                | Error::Invalid(_)
                | Error::SecondFactor(SecondFactorRefusal::Rejected { .. })
        );
        let page = VerifyPage {
            closed: match key {
                "verify.spent.shown" => Closed::Method,
                "verify.locked" | "verify.locked_for" => Closed::All,
                _ => Closed::Nothing,
            },
            code_error: wrong_code.then(|| text.clone()),
            error: (!wrong_code).then_some(text),
            ..page
        };
        // The sign-in may have ended with it; then nothing is left to ask.
        let response = self.verify_page(request, caller, claimant, case.status(), page).await;
        with_retry_after(response, wait)
    }

    async fn verify_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        claimant: &Claimant,
        status: u16,
        page: VerifyPage<'_>,
    ) -> WebResponse {
        let offers = match self.iam().protocol().offers(claimant).await {
            Ok(offers) => offers,
            Err(error) => return self.failed(request, &error),
        };
        let csrf_token = match self.csrf_token(request, caller) {
            Ok(token) => token,
            Err(error) => return self.failed(request, &error),
        };
        let pages = &self.inner().pages;
        let auth = &self.inner().auth_path;
        let next = self.place(page.next);
        let next = next.as_ref().map_or("", LocalTarget::as_str);
        let resume = page.stopped.map(|(id, _)| id.to_string()).unwrap_or_default();
        let purpose = page.purpose.map(|(purpose, _)| purpose.to_string()).unwrap_or_default();
        let methods = page.purpose.and_then(|(_, methods)| methods.as_deref()).map(ProofMethod::list);
        let methods = methods.unwrap_or_default();
        let chosen = offers.iter().find(|offer| Some(offer.kind) == page.method);
        // What was asked for last comes first; then what needs nothing to be sent.
        let chosen = chosen.or_else(|| asked_last(&offers)).or(offers.first());
        let others: Vec<Value> = offers
            .iter()
            .filter(|offer| {
                Some(offer.kind) != chosen.map(|chosen| chosen.kind) && page.closed != Closed::All
            })
            .map(|offer| {
                let mut href = format!("{auth}/mfa/verify?method={}", offer.kind);
                let mut add = |name: &str, value: &str| {
                    if !value.is_empty() {
                        href.extend(["&", name, "=", &crate::respond::percent_encode(value)]);
                    }
                };
                add("resume", &resume);
                if resume.is_empty() {
                    add("purpose", &purpose);
                    add("methods", &methods);
                }
                add("next", next);
                context! {
                    method => offer.kind.as_str(),
                    label => method_label(pages, offer),
                    sends => offer.destination.is_some() && offer.asked.is_none(),
                    href => href,
                }
            })
            .collect();
        let policy = self.iam().factor_policy();
        let may_trust = claimant.is_signing_in()
            && chosen.is_some_and(|offer| {
                offer.kind.factor().is_some_and(|kind| policy.may_trust(kind, caller.carrier))
            });
        let asked = chosen.and_then(|offer| offer.asked.as_ref());
        let undelivered = asked.is_some_and(|asked| asked.undelivered);
        let resend_after = asked.and_then(|asked| asked.resend_after).map_or(0, whole_seconds);
        let fields: BTreeMap<&str, String> =
            page.code_error.map(|error| ("code", error)).into_iter().collect();
        let values = context! {
            action => format!("{auth}/mfa/verify"),
            resend_action => format!("{auth}/mfa/resend"),
            logout_action => format!("{auth}/logout"),
            csrf_token => csrf_token,
            next => next,
            username => claimant.username(),
            signing_in => claimant.is_signing_in(),
            factor_due => caller.is_factor_due(),
            method => chosen.map(|offer| offer.kind.as_str()),
            destination => chosen.and_then(|offer| offer.destination.clone()),
            closed => page.closed != Closed::Nothing,
            trust_for => self.trust_time().filter(|_| may_trust),
            trusting => page.trusting,
            sent => asked.is_some(),
            resend_wait => (resend_after > 0).then(|| pages.wait_text(resend_after)),
            others => others,
            purpose => purpose,
            purpose_name => page.purpose.map(|(purpose, _)| self.purpose_name(*purpose)),
            methods => methods,
            resume => resume,
            approve => page.stopped.map(|(_, stopped)| stopped.approve.clone()),
            enrol_href => page.purpose.filter(|(purpose, _)| *purpose != Purpose::ENROL && offers.is_empty()).map(|(_, kinds)| {
                let by_policy = self.iam().factor_policy().step_up_methods();
                self.enrol_url(kinds.as_deref().unwrap_or(&by_policy), Some(next))
            }),
            // To what asks for it again they need not go.
            cancel => if page.purpose.is_some() { "/".to_owned() } else if next.is_empty() { self.account_path() } else { next.to_owned() },
            notice => page.notice,
            error => page.error.or_else(|| undelivered.then(|| pages.text("verify.undelivered"))),
            fields => fields,
        };
        let response = self.page(request, status, "verify.html", &values);
        if status == 401 { response.header("www-authenticate", "Bearer") } else { response }
    }

    /// For how long browsers may be trusted, in words.
    pub(super) fn trust_time(&self) -> Option<String> {
        let time = self.iam().factor_policy().trusted_devices?;
        Some(self.inner().pages.wait_text(whole_seconds(time)))
    }

    /// Whose second factor is due, by the cookie, and the form; or the answer to whoever else sends it.
    async fn form_of_claimant<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(For, &'c SessionToken, Form), Box<WebResponse>> {
        let form = Form::parse(&request.header_values("content-type"), &request.body)
            .map_err(|error| Box::new(self.bad_body(request, error)))?;
        let Some(token) = caller.token.as_ref().filter(|_| caller.has_session()) else {
            return Err(Box::new(self.unauthenticated(request)));
        };
        // As for the account page: what comes of it goes into a cookie.
        if caller.carrier == Carrier::Bearer {
            return Err(Box::new(self.refusal(request, Case::Csrf)));
        }
        if !self.form_is_ours(request, caller, &form).await {
            return Err(Box::new(self.form_not_ours(request, caller, &form)));
        }
        match self.asked_for(caller, &form).await {
            Ok(asked) => Ok((asked, token, form)),
            Err(why) => Err(Box::new(self.not_known(request, caller, &why).await)),
        }
    }

    /// Without a choice: what was asked for last, else what is offered first.
    async fn kind_or_first(
        &self,
        claimant: &Claimant,
        chosen: Option<ProofMethod>,
    ) -> Result<ProofMethod, Error> {
        if let Some(kind) = chosen {
            return Ok(kind);
        }
        let offers = self.iam().protocol().offers(claimant).await?;
        asked_last(&offers)
            .or(offers.first())
            .map(|offer| offer.kind)
            .ok_or(SecondFactorRefusal::NoMethod.into())
    }

    // -- JSON --

    pub(super) async fn api_challenge(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (claimant, token, object) = match self.object_of_claimant(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let method = fields.required_string("method");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let Some(kind) = method.and_then(|method| ProofMethod::parse_asked(&method)) else {
            return self.unknown_method(request);
        };
        match self.iam().protocol().challenge(&claimant, token, kind, &caller.client).await {
            Ok(asked) => self.json(request, 200, &asked_json(&asked)),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_verify(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (claimant, token, object) = match self.object_of_claimant(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let (code, method) = (fields.required_string("code"), fields.optional_string("method"));
        let (purpose, approval) = (fields.optional_string("purpose"), fields.optional_string("approval"));
        let trusting = fields.optional_bool("trust_device").unwrap_or(false);
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let words = Words {
            purpose: purpose.as_ref().map(|name| name.as_str()),
            approval: approval.as_ref().map(|id| id.as_str()),
        };
        let claimant = match self.claimant_by_words(caller, claimant, words).await {
            Ok(Ok(claimant)) if trusting => claimant.trusting_this_browser(),
            Ok(Ok(claimant)) => claimant,
            Ok(Err((field, wrong))) => return self.bad_field(request, field, wrong),
            Err(error) => return self.api_failed(request, &error),
        };
        let chosen = match method.map(|method| ProofMethod::parse_asked(&method)) {
            Some(None) => return self.unknown_method(request),
            Some(kind) => kind,
            None => None,
        };
        let done = async {
            let kind = self.kind_or_first(&claimant, chosen).await?;
            let code = code.unwrap_or_default();
            let signed_in =
                self.iam().protocol().verify(&claimant, token, kind, &code, &caller.client).await?;
            let mut answer = self.signed_in_json(&signed_in, &caller.client).await?;
            if let Some(purpose) = claimant.purpose() {
                answer.insert("purpose".to_owned(), purpose.to_string().into());
            }
            // Whether it came to that: scripts don't see the cookie.
            if trusting {
                answer.insert("device_trusted".to_owned(), signed_in.trusted.is_some().into());
            }
            Ok((signed_in, answer))
        };
        let (signed_in, mut answer) = match done.await {
            Ok(done) => done,
            Err(error) => return self.api_failed(request, &error),
        };
        if caller.carrier == Carrier::Bearer {
            self.note_renewed(&signed_in.token);
            return self.json(request, 200, &self.with_token(answer, &signed_in).into());
        }
        // For a purpose of its own the session's token stays as it is.
        let csrf_token = match claimant.purpose() {
            Some(_) => self.csrf_token(request, caller),
            None => self.keep(&signed_in.token, signed_in.stays_until),
        };
        match csrf_token {
            Ok(csrf_token) => {
                self.keep_device(&signed_in);
                if claimant.is_signing_in() {
                    self.add_cookie(self.inner().cookies.clear(CookieKind::Pre));
                }
                answer.insert("csrf_token".to_owned(), csrf_token.into());
                self.json(request, 200, &answer.into())
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    /// What a code is for: what it says, else what was asked for last. One that was asked for to approve something says so itself: whoever
    /// sends it knows what their person was shown. The error is what is wrong with which field.
    async fn claimant_by_words(
        &self,
        caller: &Caller,
        claimant: Claimant,
        words: Words<'_>,
    ) -> Result<Result<Claimant, (&'static str, &'static str)>, Error> {
        const NOT_ASKED: (&str, &str) = ("purpose", "is not one that a code was asked for");
        let Some(principal) = caller.enroller() else {
            return Ok(if words.purpose.is_none() { Ok(claimant) } else { Err(NOT_ASKED) });
        };
        let purpose = match words.purpose.map(Purpose::parse) {
            Some(None) => return Ok(Err(NOT_ASKED)),
            Some(purpose) => purpose,
            None => None,
        };
        let last = self.iam().protocol().claimant_asked_last(principal, purpose).await?;
        if purpose.is_some() && last.purpose() != purpose {
            return Ok(Err(NOT_ASKED));
        }
        let said = match (words.approval, last.purpose()) {
            (Some(id), Some(purpose)) => self.approval_of(principal, purpose, id).await?,
            _ => None,
        };
        Ok(match (last.approval(), words.approval, said) {
            (None, None, _) => Ok(last),
            (Some(_), None, _) => {
                Err(("approval", "is required: the code was asked for to approve something"))
            }
            (Some(asked), _, Some(said)) if said.approval() == Some(asked) => {
                Ok(last.accepting(&said.methods()))
            }
            _ => Err(("approval", "is not what the code was asked for")),
        })
    }

    async fn object_of_claimant<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(Claimant, &'c SessionToken, StrictObject), Box<WebResponse>> {
        let (Some(claimant), Some(token)) = (caller.claimant(), &caller.token) else {
            return Err(Box::new(self.problem(request, Case::Unauthenticated, &[])));
        };
        if self.csrf_by_headers(request, caller) != Some(true) {
            return Err(Box::new(self.problem(request, self.not_ours(request, caller).await, &[])));
        }
        let object = StrictObject::parse(&request.header_values("content-type"), &request.body)
            .map_err(|error| Box::new(self.bad_api_body(request, error)))?;
        Ok((claimant, token, object))
    }

    pub(super) fn unknown_method(&self, request: &WebRequest) -> WebResponse {
        let detail = "is none of totp, email_otp, sms_otp, whatsapp_otp, recovery_code, password, invitation"
            .to_owned();
        let error = FieldError { field: "method".to_owned(), code: "invalid", detail };
        self.bad_api_body(request, BodyError::Fields(vec![error]))
    }
}

fn asked_last(offers: &[Offer]) -> Option<&Offer> {
    offers
        .iter()
        .filter(|offer| offer.asked.is_some())
        .max_by_key(|offer| offer.asked.as_ref().map(|asked| asked.at))
}

pub(super) fn asked_json(asked: &Asked) -> serde_json::Value {
    let mut answer = json!({
        "method": asked.kind.as_str(),
        "destination": asked.destination,
        "resend_after": asked.resend_after.map(whole_seconds),
        "expires_in": whole_seconds(asked.expires_after),
    });
    // Of a factor that the browser answers; all others have none.
    if let (Some(options), Some(answer)) = (&asked.options, answer.as_object_mut()) {
        answer.insert("options".to_owned(), serde_json::from_str(options).unwrap_or_default());
    }
    answer
}

/// What to say of a wrong code.
pub(super) const fn rejected(kind: Option<ProofMethod>) -> &'static str {
    match kind {
        Some(ProofMethod::RecoveryCode) => "verify.rejected.recovery_code",
        Some(ProofMethod::Invitation) => "verify.rejected.invitation",
        Some(ProofMethod::Password) => "verify.rejected.password",
        Some(ProofMethod::Totp) | None => "verify.rejected.totp",
        Some(_) => "verify.rejected.sent",
    }
}

/// What to say of what can't be a code, and was none of the tries.
pub(super) fn malformed(kind: Option<ProofMethod>, invalid: &Invalid) -> &'static str {
    match kind {
        _ if invalid.problem == Problem::Required => "verify.field.code.required",
        Some(ProofMethod::RecoveryCode) => "verify.malformed.recovery_code",
        Some(ProofMethod::Invitation) => "verify.malformed.invitation",
        Some(ProofMethod::Totp) | None => "verify.malformed.totp",
        Some(_) => "verify.malformed.sent",
    }
}

fn method_label(pages: &crate::pages::Pages, offer: &Offer) -> String {
    let destination = offer.destination.as_deref().unwrap_or_default();
    pages.text_with(&format!("verify.method.{}", offer.kind), &[("destination", destination)])
}
