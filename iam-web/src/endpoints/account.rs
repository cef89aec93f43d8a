//! The own account: who I am, my sessions, my password; and proving again who I am. As pages and as JSON.

use std::collections::BTreeMap;

use iam_core::protocol::{Carrier, DeviceToken, ProofKind, Renewed, SessionToken};
use iam_core::{
    Error, Invalid, PlainPassword, Principal, Problem, Purpose, SessionId, SessionSummary, Timestamp,
};
use minijinja::{Value, context};
use serde_json::{Map, json};

use super::sign_in::add_device_token;
use crate::accept::wants_page;
use crate::context::{Caller, RequestContext};
use crate::cookies::CookieKind;
use crate::csrf::{self, Binding, Site};
use crate::fields::FieldError;
use crate::form::Form;
use crate::json::StrictObject;
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::pages::Pages;
use crate::problem::{Case, retry_after, whole_seconds};
use crate::respond::with_retry_after;

/// What the account page says above its forms.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) notice: Option<&'a str>,
    pub(super) error: Option<String>,
    /// The error is about factors, and not about the form for the password.
    pub(super) about_factors: bool,
    pub(super) invalid: &'a [Invalid],
}

impl RequestContext {
    // -- pages --

    pub(super) async fn show_account(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.principal() else { return self.not_signed_in(request, caller).await };
        let query = match self.query(request, &["done"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        let notice = match query.get("done") {
            Some("password") => Some("account.password.done"),
            Some("session") => Some("account.sessions.ended_one"),
            Some("sessions") => Some("account.sessions.ended_all"),
            Some("gone") => Some("account.sessions.gone"),
            Some("browsers") => Some("factors.trusted.done"),
            Some("factor_added") => Some("factors.added"),
            Some("factor_removed") => Some("factors.removed"),
            Some("factor_renamed") => Some("factors.renamed"),
            _ => None,
        };
        let error = match query.get("done") {
            Some("factor_late") => Some("factors.late"),
            Some("factor_taken") => Some("factors.taken"),
            Some("factor_name") => Some("factors.bad_name"),
            _ => None,
        };
        let error = error.map(|key| self.inner().pages.text(key));
        let said = Said { notice, error, about_factors: true, ..Said::default() };
        self.account_page(request, caller, principal, 200, &said).await
    }

    pub(super) async fn submit_password(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let passwords = passwords(
            form.get("current_password").unwrap_or_default(),
            form.get("new_password").unwrap_or_default(),
        );
        let (current, new) = match passwords {
            Ok(passwords) => passwords,
            Err(invalid) => {
                let said = Said { invalid: &invalid, ..Said::default() };
                return self.account_page(request, caller, principal, 422, &said).await;
            }
        };
        match self.change_password(request, caller, principal, &current, &new).await {
            Ok(renewed) => {
                if let Err(error) = self.keep_renewed(&renewed, principal) {
                    return self.failed(request, &error);
                }
                self.to_account(request, "password")
            }
            Err(Error::Invalid(invalid)) => {
                let said = Said { invalid: &[invalid], ..Said::default() };
                self.account_page(request, caller, principal, 422, &said).await
            }
            Err(error @ (Error::Credentials | Error::Throttled { .. } | Error::Busy { .. })) => {
                let error_text = self.why_not_proved(&error, "account.password");
                let said = Said { error: Some(error_text), ..Said::default() };
                let page =
                    self.account_page(request, caller, principal, Case::of(&error).status(), &said).await;
                with_retry_after(page, retry_after(&error))
            }
            Err(error) => self.failed(request, &error),
        }
    }

    pub(super) async fn submit_end_session(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let Some(session) = form.get("session").and_then(|id| id.parse::<SessionId>().ok()) else {
            return self.refusal(request, Case::BadRequest);
        };
        match self.iam().own_account(principal, &caller.client).end_session(session).await {
            Ok(true) if session == principal.session() => {
                self.add_cookie(self.inner().cookies.clear(CookieKind::Session));
                let location = format!("{}/login?signed_out=1", self.inner().auth_path);
                self.clears_pages(self.own(request, WebResponse::redirect(303, &location)))
            }
            Ok(ended) => self.to_account(request, if ended { "session" } else { "gone" }),
            Err(error) => self.not_fresh_or(request, &error),
        }
    }

    pub(super) async fn submit_end_sessions(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, _) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        match self.iam().own_account(principal, &caller.client).end_other_sessions().await {
            Ok(_) => self.to_account(request, "sessions"),
            Err(error) => self.not_fresh_or(request, &error),
        }
    }

    pub(super) async fn show_reauthenticate(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.enroller() else { return self.not_signed_in(request, caller).await };
        let query = match self.query(request, &["next"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        self.reauthenticate_page(request, caller, principal, 200, query.get("next"), &Said::default())
    }

    pub(super) async fn submit_reauthenticate(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, form) = match self.form_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let next = form.get("next");
        let password = match PlainPassword::new(form.get("password").unwrap_or_default()) {
            Ok(password) => password,
            Err(invalid) => {
                let said = Said { invalid: &[invalid], ..Said::default() };
                return self.reauthenticate_page(request, caller, principal, 422, next, &said);
            }
        };
        match self.prove_again(caller, principal, &password).await {
            Ok(token) => {
                if let Err(error) = self.keep(&token, principal.stays_until()) {
                    return self.failed(request, &error);
                }
                let next = self.place(next);
                let account = self.account_path();
                let location = next.as_ref().map_or(account.as_str(), LocalTarget::as_str);
                self.own(request, WebResponse::redirect(303, location))
            }
            Err(error @ (Error::Credentials | Error::Throttled { .. } | Error::Busy { .. })) => {
                let said =
                    Said { error: Some(self.why_not_proved(&error, "reauthenticate")), ..Said::default() };
                let status = Case::of(&error).status();
                let page = self.reauthenticate_page(request, caller, principal, status, next, &said);
                with_retry_after(page, retry_after(&error))
            }
            Err(error) => self.failed(request, &error),
        }
    }

    async fn account_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        status: u16,
        said: &Said<'_>,
    ) -> WebResponse {
        let sessions = match self.iam().own_account(principal, &caller.client).sessions().await {
            Ok(sessions) => sessions,
            Err(error) => return self.failed(request, &error),
        };
        let factors = match self.factors_values(principal, caller).await {
            Ok(factors) => factors,
            Err(error) => return self.failed(request, &error),
        };
        let own = |session: &SessionSummary| session.id == principal.session();
        let listed: Vec<Value> = sessions
            .iter()
            .map(|session| {
                context! {
                    id => session.id.to_string(),
                    current => own(session),
                    device => session.client.user_agent.as_deref().map(device_name),
                    address => session.client.address.map(|address| address.to_string()),
                    signed_in_at => session.login_at.to_string(),
                    signed_in => minute(session.login_at),
                    last_seen_at => session.last_seen_at.to_string(),
                    last_seen => minute(session.last_seen_at),
                    stays => session.long,
                }
            })
            .collect();
        let account = self.account_path();
        let values = context! {
            username => principal.username(),
            parent => principal.parent_key(),
            roles => principal.roles().map(str::to_owned).collect::<Vec<_>>(),
            sessions => listed,
            others => sessions.iter().any(|session| !own(session)),
            fresh => self.iam().own_account(principal, &caller.client).is_fresh(),
            factor_due_at => principal.factor_due_at().map(minute),
            factors => factors,
            about_factors => said.about_factors,
            password_action => format!("{account}/password"),
            end_action => format!("{account}/sessions/end"),
            end_others_action => format!("{account}/sessions/end-others"),
            logout_action => format!("{}/logout", self.inner().auth_path),
        };
        self.personal_page(request, caller, status, "account.html", "account", values, said)
    }

    fn reauthenticate_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        status: u16,
        next: Option<&str>,
        said: &Said<'_>,
    ) -> WebResponse {
        let next = self.place(next);
        let values = context! {
            username => principal.username(),
            action => format!("{}/reauthenticate", self.inner().auth_path),
            next => next.as_ref().map(LocalTarget::as_str),
            cancel => next.as_ref().map_or("/", LocalTarget::as_str),
        };
        self.personal_page(request, caller, status, "reauthenticate.html", "reauthenticate", values, said)
    }

    #[expect(clippy::too_many_arguments, reason = "one page: what it is, and what it says")]
    pub(super) fn personal_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        status: u16,
        template: &str,
        texts: &str,
        values: Value,
        said: &Said<'_>,
    ) -> WebResponse {
        let csrf_token = match self.csrf_token(request, caller) {
            Ok(token) => token,
            Err(error) => return self.failed(request, &error),
        };
        let pages = &self.inner().pages;
        let fields: BTreeMap<&str, String> =
            said.invalid.iter().map(|invalid| (invalid.field, field_text(pages, texts, invalid))).collect();
        let values = context! {
            csrf_token => csrf_token,
            notice => said.notice.map(|key| pages.text(key)),
            error => said.error.as_deref(),
            fields => fields,
            ..values
        };
        let response = self.page(request, status, template, &values);
        if status == 401 { response.header("www-authenticate", "Bearer") } else { response }
    }

    /// Who sends a form of ours, and the form; or the answer to whoever does not.
    pub(super) async fn form_of_somebody<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(&'c Principal, Form), Box<WebResponse>> {
        self.form_of(caller.principal(), request, caller).await
    }

    /// The same for what leads to a factor: also of somebody who may do nothing else.
    pub(super) async fn form_of_enroller<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(&'c Principal, Form), Box<WebResponse>> {
        self.form_of(caller.enroller(), request, caller).await
    }

    async fn form_of<'c>(
        &self,
        who: Option<&'c Principal>,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(&'c Principal, Form), Box<WebResponse>> {
        let Some(principal) = who else {
            return Err(Box::new(match caller.whose_factor_is_due() {
                Some(principal) => self.factor_due(request, principal).await,
                None => self.unauthenticated(request),
            }));
        };
        // Pages are for browsers: what they answer goes into a cookie, where a bearer token is worth nothing.
        if caller.carrier == Carrier::Bearer {
            return Err(Box::new(self.refusal(request, Case::Csrf)));
        }
        let form = Form::parse(&request.header_values("content-type"), &request.body)
            .map_err(|error| Box::new(self.bad_body(request, error)))?;
        if !self.form_is_ours(request, caller, &form).await {
            return Err(Box::new(self.form_not_ours(request, caller, &form)));
        }
        Ok((principal, form))
    }

    /// The answer to a form without a token of this session. It leads on to where success would have led, if it says so.
    pub(super) fn form_not_ours(&self, request: &WebRequest, caller: &Caller, form: &Form) -> WebResponse {
        let case = self.why_not_ours(request, caller);
        if case == Case::Csrf || !wants_page(request) {
            return self.refusal(request, case);
        }
        let next = self.place(form.get("next"));
        let href = next.map_or_else(|| self.account_path(), |next| next.as_str().to_owned());
        self.refusal_with_link(request, case, href)
    }

    /// Why a request counts as another site's. The browser of somebody signed in may say that it comes from a page of ours: then that was
    /// open before the session was renewed, in another tab, or by the first of two clicks.
    pub(super) fn why_not_ours(&self, request: &WebRequest, caller: &Caller) -> Case {
        let is_from_here = caller.enroller().is_some() && self.site(request) == Site::Same;
        if is_from_here { Case::OldForm } else { Case::Csrf }
    }

    pub(super) fn to_account(&self, request: &WebRequest, done: &str) -> WebResponse {
        self.own(request, WebResponse::redirect(303, &format!("{}?done={done}", self.account_path())))
    }

    /// Who did not prove lately who they are does so now, and comes back to the page that they were on.
    fn not_fresh_or(&self, request: &WebRequest, error: &Error) -> WebResponse {
        self.prove_first(request, error, &self.account_path())
    }

    /// The same, with a page to come back to.
    pub(super) fn prove_first(&self, request: &WebRequest, error: &Error, next: &str) -> WebResponse {
        let page = match error {
            Error::Stale { proof: ProofKind::Password, .. } => "reauthenticate",
            Error::Stale { proof: ProofKind::FirstFactor, .. } => {
                let location = self.step_up_url(Purpose::ENROL, None, Some(next));
                return self.own(request, WebResponse::redirect(303, &location));
            }
            Error::Stale { .. } => "mfa/verify",
            error => return self.failed(request, error),
        };
        let location = self.url_with_next(page, Some(next));
        self.own(request, WebResponse::redirect(303, &location))
    }

    fn why_not_proved(&self, error: &Error, texts: &str) -> String {
        let pages = &self.inner().pages;
        let wait = pages.wait_text(retry_after(error).map_or(1, whole_seconds).max(1));
        let key = match error {
            Error::Credentials => format!("{texts}.failed"),
            Error::Throttled { .. } => "reauthenticate.throttled".to_owned(),
            _ => "reauthenticate.busy".to_owned(),
        };
        pages.text_with(&key, &[("wait", &wait)])
    }

    pub(super) fn account_path(&self) -> String {
        format!("{}/account", self.inner().auth_path)
    }

    // -- JSON --

    pub(super) async fn api_reauthenticate(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_enroller(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let password = fields.required_string("password");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let password = match PlainPassword::new(&password.unwrap_or_default()) {
            Ok(password) => password,
            Err(invalid) => return self.problem(request, Case::Invalid, &[FieldError::from(&invalid)]),
        };
        match self.prove_again(caller, principal, &password).await {
            Ok(token) => self.renewed(request, caller, &token, None),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_password(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, object) = match self.object_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        let mut fields = object.fields();
        let current = fields.required_string("current_password");
        let new = fields.required_string("new_password");
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        let (current, new) = match passwords(&current.unwrap_or_default(), &new.unwrap_or_default()) {
            Ok(passwords) => passwords,
            Err(invalid) => {
                let errors: Vec<FieldError> = invalid.iter().map(FieldError::from).collect();
                return self.problem(request, Case::Invalid, &errors);
            }
        };
        match self.change_password(request, caller, principal, &current, &new).await {
            Ok(renewed) => self.renewed(request, caller, &renewed.token, renewed.device.as_ref()),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_sessions(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.principal() else {
            return self.api_not_signed_in(request, caller).await;
        };
        let sessions = match self.iam().own_account(principal, &caller.client).sessions().await {
            Ok(sessions) => sessions,
            Err(error) => return self.api_failed(request, &error),
        };
        let listed: Vec<_> = sessions
            .iter()
            .map(|session| {
                json!({
                    "id": session.id.to_string(),
                    "current": session.id == principal.session(),
                    "signed_in_at": session.login_at.to_string(),
                    "last_seen_at": session.last_seen_at.to_string(),
                    "stays_signed_in": session.long,
                    "address": session.client.address.map(|address| address.to_string()),
                    "user_agent": session.client.user_agent,
                })
            })
            .collect();
        self.json(request, 200, &json!({ "sessions": listed }))
    }

    pub(super) async fn api_end_sessions(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let principal = match self.api_caller(request, caller).await {
            Ok(principal) => principal,
            Err(response) => return *response,
        };
        match self.iam().own_account(principal, &caller.client).end_other_sessions().await {
            Ok(ended) => self.json(request, 200, &json!({ "ended": ended })),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_end_session(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let principal = match self.api_caller(request, caller).await {
            Ok(principal) => principal,
            Err(response) => return *response,
        };
        let path = request.target.split('?').next().unwrap_or_default();
        let id = path.rsplit('/').next().and_then(|id| id.parse::<SessionId>().ok());
        let Some(session) = id else { return self.problem(request, Case::NotFound, &[]) };
        match self.iam().own_account(principal, &caller.client).end_session(session).await {
            Ok(true) => {
                let response = self.own(request, WebResponse::new(204));
                if session == principal.session() && caller.carrier == Carrier::Cookie {
                    self.add_cookie(self.inner().cookies.clear(CookieKind::Session));
                    return self.clears_pages(response);
                }
                response
            }
            Ok(false) => self.problem(request, Case::NotFound, &[]),
            Err(error) => self.api_failed(request, &error),
        }
    }

    /// Who is signed in and sends this from our own site.
    pub(super) async fn api_caller<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<&'c Principal, Box<WebResponse>> {
        self.ours(caller.principal(), request, caller).await
    }

    async fn ours<'c>(
        &self,
        who: Option<&'c Principal>,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<&'c Principal, Box<WebResponse>> {
        let Some(principal) = who else {
            return Err(Box::new(self.api_not_signed_in(request, caller).await));
        };
        if self.csrf_by_headers(request, caller) != Some(true) {
            return Err(Box::new(self.problem(request, self.not_ours(request, caller).await, &[])));
        }
        Ok(principal)
    }

    pub(super) async fn object_of_somebody<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(&'c Principal, StrictObject), Box<WebResponse>> {
        let principal = self.api_caller(request, caller).await?;
        Ok((principal, self.object(request)?))
    }

    /// The same for what leads to a factor: also of somebody who may do nothing else.
    pub(super) async fn object_of_enroller<'c>(
        &self,
        request: &WebRequest,
        caller: &'c Caller,
    ) -> Result<(&'c Principal, StrictObject), Box<WebResponse>> {
        let principal = self.ours(caller.enroller(), request, caller).await?;
        Ok((principal, self.object(request)?))
    }

    fn object(&self, request: &WebRequest) -> Result<StrictObject, Box<WebResponse>> {
        StrictObject::parse(&request.header_values("content-type"), &request.body)
            .map_err(|error| Box::new(self.bad_api_body(request, error)))
    }

    /// For programs: nobody is signed in, or somebody whose second factor is due.
    pub(super) async fn api_not_signed_in(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        if let Some(principal) = caller.whose_factor_is_due() {
            return self.factor_due(request, principal).await;
        }
        self.problem(request, Case::Unauthenticated, &[])
    }

    /// The session goes on under a new token, on a device that may have a new note: in cookies, or in the answer for who came with a
    /// bearer token.
    pub(super) fn renewed(
        &self,
        request: &WebRequest,
        caller: &Caller,
        token: &SessionToken,
        device: Option<&DeviceToken>,
    ) -> WebResponse {
        if caller.carrier == Carrier::Bearer {
            self.note_renewed(token);
            let mut answer = Map::new();
            answer.insert("status".to_owned(), "authenticated".into());
            answer.insert("session_token".to_owned(), token.expose().as_str().into());
            add_device_token(&mut answer, device);
            return self.json(request, 200, &answer.into());
        }
        self.keep_note(device);
        match self.keep(token, caller.enroller().and_then(Principal::stays_until)) {
            Ok(csrf_token) => {
                self.json(request, 200, &json!({ "status": "authenticated", "csrf_token": csrf_token }))
            }
            Err(error) => self.api_failed(request, &error),
        }
    }

    // -- both --

    /// Puts what a change of what somebody signs in with gave into cookies; gives a CSRF token.
    pub(super) fn keep_renewed(&self, renewed: &Renewed, principal: &Principal) -> Result<String, Error> {
        self.keep_note(renewed.device.as_ref());
        self.keep(&renewed.token, principal.stays_until())
    }

    /// Puts a new token into the cookie; gives a CSRF token that belongs to it.
    pub(super) fn keep(&self, token: &SessionToken, stays_until: Option<Timestamp>) -> Result<String, Error> {
        let inner = self.inner();
        self.note_renewed(token);
        self.set_session_cookie(token, stays_until);
        let binding = token.hash();
        Ok(csrf::issue(&inner.csrf_key, Binding::Session(&binding), self.iam().randomness())?)
    }

    async fn prove_again(
        &self,
        caller: &Caller,
        principal: &Principal,
        password: &PlainPassword,
    ) -> Result<SessionToken, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        self.iam().own_account(principal, &caller.client).reauthenticate(token, password).await
    }

    async fn change_password(
        &self,
        request: &WebRequest,
        caller: &Caller,
        principal: &Principal,
        current: &PlainPassword,
        new: &PlainPassword,
    ) -> Result<Renewed, Error> {
        let token = caller.token.as_ref().ok_or(Error::Credentials)?;
        let device = self.note_of(request, caller);
        self.iam()
            .own_account(principal, &caller.client)
            .change_password(token, current, new, device.as_ref())
            .await
    }
}

/// What is wrong with a field, in words.
pub(super) fn field_text(pages: &Pages, texts: &str, invalid: &Invalid) -> String {
    let FieldError { field, code, .. } = invalid.into();
    let minimum = match invalid.problem {
        Problem::TooShort { min } => min,
        _ => 0,
    };
    // What the policy refuses is said in the same words wherever a password is set.
    let of_policy = matches!(code, "too_short" | "too_common" | "context" | "breached");
    let key =
        if of_policy { format!("new_password.{code}") } else { format!("{texts}.field.{field}.{code}") };
    pages.text_with(&key, &[("min", &minimum.to_string())])
}

/// All that is wrong with both, at once.
fn passwords(current: &str, new: &str) -> Result<(PlainPassword, PlainPassword), Vec<Invalid>> {
    let current = PlainPassword::new(current).map_err(|invalid| invalid.of_field("current_password"));
    let new = PlainPassword::new(new).map_err(|invalid| invalid.of_field("new_password"));
    match (current, new) {
        (Ok(current), Ok(new)) => Ok((current, new)),
        (current, new) => Err([current.err(), new.err()].into_iter().flatten().collect()),
    }
}

/// To the minute, for people.
pub(super) fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    match text.get(..16) {
        Some(start) => format!("{} UTC", start.replace('T', " ")),
        None => text,
    }
}

/// What a person would call it, as far as the user agent tells; it is the client's own word in any case.
fn device_name(user_agent: &str) -> String {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    // In this order: most name others, which they want to be taken for.
    let browser = find(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = find(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ => shortened(user_agent, 60),
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_devices_are_short() {
        assert_eq!(minute(Timestamp::from_micros(1_767_225_660_000_001)), "2026-01-01 00:01 UTC");
        let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36";
        assert_eq!(device_name(agent), "Chrome on Linux");
        assert_eq!(
            device_name("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1"),
            "Safari on iPhone"
        );
        assert_eq!(device_name("acme-sync/2.1"), "acme-sync/2.1");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc…");
    }
}
