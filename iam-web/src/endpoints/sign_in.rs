//! Signing in and out, as pages and as JSON; and what scripts ask of who is signed in.

use std::collections::BTreeMap;

use iam_core::protocol::{
    Activity, Authentication, Carrier, DeviceToken, Login, LoginAgain, LoginIdentifier, Replaced,
    SessionState, SessionToken, SignedIn, TrustedDeviceToken,
};
use iam_core::{Client, Error, Invalid, PlainPassword, Problem};
use minijinja::context;
use serde_json::{Map, Value, json};

use super::path_matches;
use crate::context::{Caller, RequestContext};
use crate::cookies::CookieKind;
use crate::csrf::{self, Binding, Site};
use crate::fields::FieldError;
use crate::form::Form;
use crate::json::StrictObject;
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, retry_after, whole_seconds};
use crate::respond::with_retry_after;

/// Of how many different session cookies the sessions are ended when somebody signs out: of more than the headers that are read can hold.
const MOST_SIGNED_OUT: usize = 300;

impl RequestContext {
    // -- pages --

    pub(super) fn show_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let query = match self.query(request, &["next", "signed_out", "set_up"]) {
            Ok(query) => query,
            Err(response) => return *response,
        };
        let notice = if query.get("signed_out").is_some() {
            Some("login.signed_out")
        } else {
            query.get("set_up").is_some().then_some("login.set_up")
        };
        let page = LoginPage { next: query.get("next"), notice, ..LoginPage::default() };
        self.login_page(request, caller, 200, &page)
    }

    pub(super) async fn submit_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let form = match Form::parse(&request.header_values("content-type"), &request.body) {
            Ok(form) => form,
            Err(error) => return self.bad_body(request, error),
        };
        let username = form.get("username").unwrap_or_default();
        let staying = is_ticked(&form, "stay_signed_in");
        let page = LoginPage { next: form.get("next"), username, staying, ..LoginPage::default() };
        let signed_in_elsewhere = self.is_of_before(request, caller, &form);
        if !signed_in_elsewhere && !self.form_is_ours(request, caller, &form).await {
            let page = LoginPage { error: Some("login.form_expired".into()), ..page };
            return self.login_page(request, caller, 403, &page);
        }
        let credentials = Credentials::parse(username, form.get("password").unwrap_or_default());
        let credentials = match credentials {
            Ok(credentials) => credentials,
            Err(invalid) => {
                return self.login_page(request, caller, 422, &LoginPage { invalid: &invalid, ..page });
            }
        };
        if signed_in_elsewhere {
            match self.led_on(request, caller, &credentials, &page).await {
                Ok(Some(response)) => return response,
                Ok(None) => {}
                Err(error) => return self.login_failed(request, caller, &page, &error),
            }
        }
        match self.sign_in(request, caller, credentials, None, staying).await {
            Ok((signed_in, _)) => {
                let response = match signed_in.state {
                    SessionState::Active => {
                        self.own(request, WebResponse::redirect(303, &self.place_or_home(page.next)))
                    }
                    // Whatever else a sign-in may lack is asked for there.
                    _ => self.begin_second_factor(request, caller, &signed_in, page.next).await,
                };
                if took_over(&signed_in) { self.clears_pages(response) } else { response }
            }
            Err(error) => self.login_failed(request, caller, &page, &error),
        }
    }

    /// Whether a login form was given out before this browser was signed in (in another tab, or by a first click), and is sent by a page of
    /// ours all the same. Its token went with the visitor; that the browser itself says where it comes from is what signing in by JSON
    /// asks for, too.
    fn is_of_before(&self, request: &WebRequest, caller: &Caller, form: &Form) -> bool {
        !self.has_form_token(request, caller, form)
            && caller.has_session()
            && caller.carrier == Carrier::Cookie
            && self.site(request) == Site::Same
    }

    /// Who is signed in as the person that the form names, and gives their password, goes on with the session that they have: what is open
    /// in other tabs goes on working, and no second factor is asked for once more. Nothing, if it names somebody else.
    async fn led_on(
        &self,
        request: &WebRequest,
        caller: &Caller,
        credentials: &Credentials,
        page: &LoginPage<'_>,
    ) -> Result<Option<WebResponse>, Error> {
        let (Some(claimant), Some(token)) = (caller.claimant(), &caller.token) else { return Ok(None) };
        let again = LoginAgain {
            claimant: &claimant,
            token,
            identifier: &credentials.identifier,
            password: &credentials.password,
            staying: caller.enroller().filter(|_| page.staying),
            client: &caller.client,
        };
        let Some(led_on) = self.iam().protocol().lead_on(&again).await? else { return Ok(None) };
        if led_on.stays_until.is_some() {
            // The same token once more, in a cookie that outlives the browser.
            self.set_session_cookie(token, led_on.stays_until);
        }
        let location =
            if claimant.is_signing_in() { self.verify_url(page.next) } else { self.place_or_home(page.next) };
        Ok(Some(self.own(request, WebResponse::redirect(303, &location))))
    }

    /// Where somebody wanted to go who has signed in, as far as that is here: nobody is led on to where people sign in or out.
    pub(super) fn place(&self, next: Option<&str>) -> Option<LocalTarget> {
        let inner = self.inner();
        let is_door = |next: &LocalTarget| {
            [&inner.auth_path, &format!("{}/auth", inner.api_path)]
                .into_iter()
                .any(|base| ["login", "logout"].iter().any(|door| next.leads_to(&format!("{base}/{door}"))))
        };
        next.and_then(LocalTarget::parse).filter(|next| !is_door(next))
    }

    fn place_or_home(&self, next: Option<&str>) -> String {
        self.place(next).as_ref().map_or("/", LocalTarget::as_str).to_owned()
    }

    /// The browser is to show nobody the pages that it keeps: neither from its cache nor by its back button, which `no-store` alone does not
    /// keep them out of. Nothing else is cleared: cookies and storage are also the host's, and those of its neighbours.
    pub(super) fn clears_pages(&self, response: WebResponse) -> WebResponse {
        if self.inner().clears_pages && response.status < 400 {
            response.header("clear-site-data", "\"cache\"")
        } else {
            response
        }
    }

    /// The same, for who signs this browser out. A page of another site can't have it cleared.
    fn clears_own_pages(&self, request: &WebRequest, caller: &Caller, response: WebResponse) -> WebResponse {
        let is_own = caller.token.is_some() || self.site(request) == Site::Same;
        if is_own && caller.carrier == Carrier::Cookie { self.clears_pages(response) } else { response }
    }

    fn login_failed(
        &self,
        request: &WebRequest,
        caller: &Caller,
        page: &LoginPage<'_>,
        error: &Error,
    ) -> WebResponse {
        let case = Case::of(error);
        if case.status() >= 500 {
            self.log(request, error);
        }
        let key = match case {
            Case::InvalidCredentials => "login.failed",
            Case::Throttled => "login.throttled",
            Case::Busy => "login.busy",
            _ => "login.unavailable",
        };
        let wait = retry_after(error);
        let pages = &self.inner().pages;
        let wait_text = pages.wait_text(wait.map_or(1, whole_seconds).max(1));
        let text = pages.text_with(key, &[("wait", &wait_text)]);
        let page = LoginPage { error: Some(Message::Text(text)), ..LoginPage::again(page) };
        with_retry_after(self.login_page(request, caller, case.status(), &page), wait)
    }

    fn login_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        status: u16,
        page: &LoginPage<'_>,
    ) -> WebResponse {
        let csrf_token = match self.csrf_token(request, caller) {
            Ok(token) => token,
            Err(error) => return self.failed(request, &error),
        };
        let pages = &self.inner().pages;
        let auth = &self.inner().auth_path;
        let next = self.place(page.next);
        let next = next.as_ref().map_or("", LocalTarget::as_str);
        let error = page.error.as_ref().map(|message| match message {
            Message::Key(key) => pages.text(key),
            Message::Text(text) => text.clone(),
        });
        let error = error.or_else(|| self.two_cookies(request, caller));
        let fields: BTreeMap<&str, String> =
            page.invalid.iter().map(|invalid| (invalid.field, pages.text(&field_text(invalid)))).collect();
        let values = context! {
            action => format!("{auth}/login"),
            logout_action => format!("{auth}/logout"),
            csrf_token => csrf_token,
            next => next,
            continue_to => if next.is_empty() { "/" } else { next },
            username => page.username,
            stay_for => self.stay_time(),
            staying => page.staying,
            signed_in_as => caller.principal().map(iam_core::Principal::username),
            notice => page.notice.map(|key| pages.text(key)),
            error => error,
            fields => fields,
        };
        let response = self.page(request, status, "login.html", &values);
        if status == 401 { response.header("www-authenticate", "Bearer") } else { response }
    }

    /// Why somebody who signs in again and again is not signed in: said to them, as nothing here can mend it.
    fn two_cookies(&self, request: &WebRequest, caller: &Caller) -> Option<String> {
        let cookies = &self.inner().cookies;
        let name = [("name", cookies.name(CookieKind::Session))];
        self.has_several_cookies(request, caller)
            .then(|| self.inner().pages.text_with("login.two_cookies", &name))
    }

    /// For how long without use people may stay signed in, in words; nothing, where nobody may.
    fn stay_time(&self) -> Option<String> {
        let idle = self.iam().long_sessions()?.idle();
        Some(self.inner().pages.wait_text(whole_seconds(idle)))
    }

    pub(super) async fn submit_logout(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let form = match Form::parse(&request.header_values("content-type"), &request.body) {
            Ok(form) => form,
            Err(error) => return self.bad_body(request, error),
        };
        if !self.may_sign_out(request, caller, &form) {
            self.note_csrf(request, caller).await;
            return self.refusal(request, Case::Csrf);
        }
        match self.sign_out(request, caller).await {
            Ok(()) => {
                let location = format!("{}/login?signed_out=1", self.inner().auth_path);
                let response = self.own(request, WebResponse::redirect(303, &location));
                self.clears_own_pages(request, caller, response)
            }
            Err(error) => self.failed(request, &error),
        }
    }

    /// Whether a form may sign its sender out: it has no cookie to lose, or a token of the session, or comes from a page of ours, as the
    /// browser says: from one of before, whose token was of the session once, or without a session, whose token went with it.
    fn may_sign_out(&self, request: &WebRequest, caller: &Caller, form: &Form) -> bool {
        let was_ours = !caller.has_session() || form.get("csrf_token").is_some_and(|token| !token.is_empty());
        match self.site(request) {
            Site::Same if was_ours => true,
            Site::Same | Site::Foreign => brings_no_cookie(request, caller),
            Site::Unknown => {
                let has_token =
                    !self.has_several_cookies(request, caller) && self.has_form_token(request, caller, form);
                has_token || brings_no_cookie(request, caller)
            }
        }
    }

    /// Whether the session's cookie comes with different values, so that nobody is signed in.
    fn has_several_cookies(&self, request: &WebRequest, caller: &Caller) -> bool {
        caller.carrier == Carrier::Cookie && self.inner().cookies.is_ambiguous(request, CookieKind::Session)
    }

    /// A form of ours carries a token, and no other site sent it.
    pub(super) async fn form_is_ours(&self, request: &WebRequest, caller: &Caller, form: &Form) -> bool {
        let ours = self.has_form_token(request, caller, form) && self.site(request) != Site::Foreign;
        if !ours {
            self.not_ours(request, caller).await;
        }
        ours
    }

    /// Why a request counts as another site's, noted if it may be one: who sends a form of before is told so, and forges nothing.
    pub(super) async fn not_ours(&self, request: &WebRequest, caller: &Caller) -> Case {
        let case = self.why_not_ours(request, caller);
        if case == Case::Csrf {
            self.note_csrf(request, caller).await;
        }
        case
    }

    fn has_form_token(&self, request: &WebRequest, caller: &Caller, form: &Form) -> bool {
        form.get("csrf_token").is_some_and(|token| self.is_csrf_token(request, caller, token))
    }

    // -- JSON --

    pub(super) async fn api_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let object = match StrictObject::parse(&request.header_values("content-type"), &request.body) {
            Ok(object) => object,
            Err(error) => return self.bad_api_body(request, error),
        };
        let mut fields = object.fields();
        let (username, password) = (fields.required_string("username"), fields.required_string("password"));
        let by_token = fields.optional_bool("token").unwrap_or(false);
        // Who asks for a token is a program that keeps it, unless it says otherwise.
        let staying = fields.optional_bool("stay_signed_in").unwrap_or(by_token);
        // What is no note is as none: a program that kept one for long must be able to sign in.
        let device = fields.optional_string("device_token").and_then(|text| DeviceToken::parse(&text));
        if let Err(error) = fields.finish() {
            return self.bad_api_body(request, error);
        }
        // A sign-in that sets no cookie signs no browser in: there is nothing to forge.
        if !by_token && self.csrf_by_browser(request, caller) != Some(true) {
            self.note_csrf(request, caller).await;
            return self.problem(request, Case::Csrf, &[]);
        }
        let credentials =
            match Credentials::parse(&username.unwrap_or_default(), &password.unwrap_or_default()) {
                Ok(credentials) => credentials,
                Err(invalid) => {
                    let errors: Vec<FieldError> = invalid.iter().map(FieldError::from).collect();
                    return self.problem(request, Case::Invalid, &errors);
                }
            };
        if by_token {
            return self.api_login_by_token(request, caller, credentials, device.as_ref(), staying).await;
        }
        match self.sign_in(request, caller, credentials, device, staying).await {
            Ok((signed_in, csrf_token)) => match self.signed_in_json(&signed_in, &caller.client).await {
                Ok(mut answer) => {
                    answer.insert("csrf_token".to_owned(), csrf_token.into());
                    let response = self.json(request, 200, &answer.into());
                    if took_over(&signed_in) { self.clears_pages(response) } else { response }
                }
                Err(error) => self.api_failed(request, &error),
            },
            Err(error) => self.api_failed(request, &error),
        }
    }

    /// For native clients: the token is in the answer, and no cookie is set.
    async fn api_login_by_token(
        &self,
        request: &WebRequest,
        caller: &Caller,
        credentials: Credentials,
        device: Option<&DeviceToken>,
        stay_signed_in: bool,
    ) -> WebResponse {
        let login = Login {
            identifier: &credentials.identifier,
            password: credentials.password,
            device,
            trusted: None,
            carrier: Carrier::Bearer,
            stay_signed_in,
            replaces: None,
            client: &caller.client,
        };
        match self.iam().protocol().login(login).await {
            Ok(signed_in) => match self.signed_in_json(&signed_in, &caller.client).await {
                Ok(answer) => self.json(request, 200, &self.with_token(answer, &signed_in).into()),
                Err(error) => self.api_failed(request, &error),
            },
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_logout(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        // With several cookies no token is of any.
        let is_ours = if self.has_several_cookies(request, caller) {
            self.site(request) == Site::Same
        } else {
            self.csrf_by_headers(request, caller) == Some(true)
        };
        if !is_ours && !brings_no_cookie(request, caller) {
            self.note_csrf(request, caller).await;
            return self.problem(request, Case::Csrf, &[]);
        }
        match self.sign_out(request, caller).await {
            Ok(()) => self.clears_own_pages(request, caller, self.own(request, WebResponse::new(204))),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) fn api_csrf(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        match self.csrf_token(request, caller) {
            Ok(token) => self.json(request, 200, &json!({ "csrf_token": token })),
            Err(error) => self.api_failed(request, &error),
        }
    }

    pub(super) async fn api_me(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.principal() else {
            return self.api_not_signed_in(request, caller).await;
        };
        self.json(
            request,
            200,
            &json!({
                "account": {
                    "id": principal.account().to_string(),
                    "username": principal.username(),
                    "parent": principal.parent_key(),
                    "roles": principal.roles().collect::<Vec<_>>(),
                },
                "session": {
                    "id": principal.session().to_string(),
                    "signed_in_at": principal.signed_in_at().to_string(),
                    "amr": principal.amr().collect::<Vec<_>>(),
                    "assurance": principal.assurance().as_str(),
                    "stays_signed_in_until": principal.stays_until().map(|at| at.to_string()),
                    "second_factor_due_at": principal.factor_due_at().map(|at| at.to_string()),
                },
            }),
        )
    }

    /// Under the JSON interface a problem is a document, whatever the request accepts.
    pub(super) fn bad_api_body(&self, request: &WebRequest, error: crate::fields::BodyError) -> WebResponse {
        use crate::fields::BodyError;
        match error {
            BodyError::UnsupportedMediaType => self.problem(request, Case::UnsupportedMediaType, &[]),
            BodyError::Malformed(_) => self.problem(request, Case::BadRequest, &[]),
            BodyError::Fields(errors) => self.problem(request, Case::Invalid, &errors),
        }
    }

    pub(super) fn api_failed(&self, request: &WebRequest, error: &Error) -> WebResponse {
        let case = Case::of(error);
        if case.status() >= 500 {
            self.log(request, error);
        }
        let errors: Vec<FieldError> = match error {
            Error::Invalid(invalid) => vec![invalid.into()],
            _ => Vec::new(),
        };
        with_retry_after(self.problem(request, case, &errors), retry_after(error))
    }

    // -- both --

    pub(super) async fn note_csrf(&self, request: &WebRequest, caller: &Caller) {
        let path = request.target.split('?').next().unwrap_or_default();
        let endpoints = self.web().auth_endpoints();
        let route = endpoints.iter().map(|(pattern, _)| pattern.as_str());
        let route = route.into_iter().find(|pattern| path_matches(pattern, path));
        self.iam().protocol().note_csrf(caller.principal(), route, &caller.client).await;
    }

    /// Signs in and sets the cookies; gives a CSRF token of the new session, too.
    async fn sign_in(
        &self,
        request: &WebRequest,
        caller: &Caller,
        credentials: Credentials,
        device: Option<DeviceToken>,
        stay_signed_in: bool,
    ) -> Result<(SignedIn, String), Error> {
        let cookies = &self.inner().cookies;
        let device = device.or_else(|| self.device_cookie(request));
        let trusted = cookies.read(request, CookieKind::TrustedDevice);
        let trusted = trusted.and_then(|text| TrustedDeviceToken::parse(&text));
        let by_token = || caller.token.as_ref().map(Replaced::By);
        let claimant = caller.claimant();
        let replaced = claimant.as_ref().map(Replaced::Of).or_else(by_token);
        let signed_in = self
            .iam()
            .protocol()
            .login(Login {
                identifier: &credentials.identifier,
                password: credentials.password,
                device: device.as_ref(),
                trusted: trusted.as_ref(),
                carrier: Carrier::Cookie,
                stay_signed_in,
                replaces: replaced.filter(|_| caller.carrier == Carrier::Cookie),
                client: &caller.client,
            })
            .await?;
        let binding = signed_in.token.hash();
        let csrf_token =
            csrf::issue(&self.inner().csrf_key, Binding::Session(&binding), self.iam().randomness())?;
        // Before the second factor it is good for that alone, and need not outlive the browser.
        let stays_until = signed_in.stays_until.filter(|_| signed_in.state == SessionState::Active);
        self.set_session_cookie(&signed_in.token, stays_until);
        self.keep_device(&signed_in);
        self.add_cookie(cookies.clear(CookieKind::Pre));
        Ok((signed_in, csrf_token))
    }

    fn device_cookie(&self, request: &WebRequest) -> Option<DeviceToken> {
        let text = self.inner().cookies.read(request, CookieKind::Device)?;
        DeviceToken::parse(&text)
    }

    /// The note of the device that somebody is signed in on. With a bearer token cookies don't count.
    pub(super) fn note_of(&self, request: &WebRequest, caller: &Caller) -> Option<DeviceToken> {
        self.device_cookie(request).filter(|_| caller.carrier == Carrier::Cookie)
    }

    /// Puts a note into its cookie.
    pub(super) fn keep_note(&self, device: Option<&DeviceToken>) {
        if let Some(device) = device {
            let lifetime = Some(DeviceToken::LIFETIME);
            self.add_cookie(self.inner().cookies.set(CookieKind::Device, &device.expose(), lifetime));
        }
    }

    /// The note of a complete sign-in stays on the device, and so does what says that it is trusted.
    pub(super) fn keep_device(&self, signed_in: &SignedIn) {
        self.keep_note(signed_in.device.as_ref());
        if let (Some(trusted), Some(time)) = (&signed_in.trusted, self.iam().factor_policy().trusted_devices)
        {
            self.add_cookie(self.inner().cookies.set(
                CookieKind::TrustedDevice,
                &trusted.expose(),
                Some(time),
            ));
        }
    }

    /// How far a sign-in has come, for programs. What is still due names the methods.
    pub(super) async fn signed_in_json(
        &self,
        signed_in: &SignedIn,
        client: &Client,
    ) -> Result<Map<String, Value>, Error> {
        let mut answer = Map::new();
        if signed_in.state == SessionState::Active {
            answer.insert("status".to_owned(), "authenticated".into());
            answer.insert("account".to_owned(), json!({ "id": signed_in.account.to_string() }));
            return Ok(answer);
        }
        let offers =
            match self.iam().protocol().authenticate(&signed_in.token, Activity::Background, client).await? {
                Authentication::PendingSecondFactor(pending) => {
                    self.iam().protocol().offers(&(&pending).into()).await?
                }
                _ => Vec::new(),
            };
        let methods: Vec<Value> = offers.iter().map(|offer| offer.kind.as_str().into()).collect();
        answer.insert("status".to_owned(), "mfa_required".into());
        answer.insert("methods".to_owned(), methods.into());
        Ok(answer)
    }

    /// With the token itself, for who carries it themselves: one that opens everything, or the second factor only.
    pub(super) fn with_token(
        &self,
        mut answer: Map<String, Value>,
        signed_in: &SignedIn,
    ) -> Map<String, Value> {
        let policy = self.iam().session_policy();
        let token = signed_in.token.expose();
        answer.insert("token_type".to_owned(), "Bearer".into());
        if signed_in.state == SessionState::Active {
            answer.insert("session_token".to_owned(), token.as_str().into());
            let long = signed_in.stays_until.zip(self.iam().long_sessions());
            let (absolute, idle) = match long {
                Some((until, long)) => (until.since(self.iam().now()), long.idle()),
                None => (policy.absolute, policy.idle),
            };
            answer.insert("expires_in".to_owned(), absolute.as_secs().into());
            answer.insert("idle_timeout".to_owned(), idle.as_secs().into());
        } else {
            answer.insert("mfa_token".to_owned(), token.as_str().into());
            answer.insert(
                "expires_in".to_owned(),
                self.iam().factor_limits().pending_lifetime.as_secs().into(),
            );
        }
        add_device_token(&mut answer, signed_in.device.as_ref());
        answer
    }

    async fn sign_out(&self, request: &WebRequest, caller: &Caller) -> Result<(), Error> {
        // By the session, not by its token: another request may renew that one at this moment.
        if let Some(claimant) = caller.claimant() {
            self.iam().protocol().logout_of(&claimant, &caller.client).await?;
        } else if let Some(token) = &caller.token {
            self.iam().protocol().logout(token, &caller.client).await?;
        }
        let cookies = &self.inner().cookies;
        if self.has_several_cookies(request, caller) {
            // Which one is the browser's own can't be told, so none of them is left.
            let texts = cookies.different(request, CookieKind::Session);
            let tokens = texts.iter().filter_map(|text| SessionToken::parse(text, Carrier::Cookie));
            for token in tokens.take(MOST_SIGNED_OUT) {
                self.iam().protocol().logout(&token, &caller.client).await?;
            }
        }
        // Who came with a bearer token signs that out, and not the browser.
        if !brings_no_cookie(request, caller) {
            self.add_cookie(cookies.clear(CookieKind::Session));
        }
        Ok(())
    }
}

/// Whether a request has no cookie to lose: nobody forges it then. With a header `Authorization`, which no browser sends by itself, none
/// counts.
fn brings_no_cookie(request: &WebRequest, caller: &Caller) -> bool {
    caller.carrier == Carrier::Bearer || request.header_values("cookie").is_empty()
}

/// Whether a sign-in took the place of somebody else's.
fn took_over(signed_in: &SignedIn) -> bool {
    signed_in.replaced.is_some_and(|account| account != signed_in.account)
}

/// Whether a box on a form was ticked: with the value that our pages give it, and no other.
pub(super) fn is_ticked(form: &Form, field: &str) -> bool {
    form.get(field) == Some("1")
}

/// The login page's contents.
#[derive(Default)]
struct LoginPage<'a> {
    next: Option<&'a str>,
    username: &'a str,
    notice: Option<&'static str>,
    error: Option<Message>,
    invalid: &'a [Invalid],
    /// They want to stay signed in.
    staying: bool,
}

impl<'a> LoginPage<'a> {
    /// The same page with nothing said: what the person typed stays.
    fn again(page: &LoginPage<'a>) -> Self {
        Self { next: page.next, username: page.username, staying: page.staying, ..Self::default() }
    }
}

enum Message {
    Key(&'static str),
    Text(String),
}

impl From<&'static str> for Message {
    fn from(key: &'static str) -> Self {
        Self::Key(key)
    }
}

/// The note of a known device, in an answer to a program that keeps no cookies. Browsers have it in a cookie that no script reads.
pub(super) fn add_device_token(answer: &mut Map<String, Value>, device: Option<&DeviceToken>) {
    if let Some(device) = device {
        answer.insert("device_token".to_owned(), device.expose().into());
    }
}

struct Credentials {
    identifier: LoginIdentifier,
    password: PlainPassword,
}

impl Credentials {
    /// All that is wrong, at once.
    fn parse(username: &str, password: &str) -> Result<Self, Vec<Invalid>> {
        match (LoginIdentifier::parse(username), PlainPassword::new(password)) {
            (Ok(identifier), Ok(password)) => Ok(Self { identifier, password }),
            (identifier, password) => Err([identifier.err(), password.err()].into_iter().flatten().collect()),
        }
    }
}

fn field_text(invalid: &Invalid) -> String {
    let problem = match invalid.problem {
        Problem::Required => "required",
        Problem::TooLong { .. } => "too_long",
        _ => "invalid",
    };
    format!("login.field.{}.{problem}", invalid.field)
}
