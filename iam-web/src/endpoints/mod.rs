//! The addresses of this family and what answers there.

mod account;
mod setup;

use std::borrow::Cow;
use std::collections::BTreeMap;

use iam_core::Error;
use iam_core::account::LoginIdentifier;
use iam_core::device::DeviceToken;
use iam_core::error::{Invalid, Problem};
use iam_core::flow::{Activity, Login, SignedIn};
use iam_core::origin::BaseUrl;
use iam_core::password::PlainPassword;
use iam_core::token::{Carrier, OneTimeToken, SessionToken};
use minijinja::context;
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::{Caller, RequestContext};
use crate::cookies::CookieKind;
use crate::csrf::{self, Binding, Site};
use crate::fields::FieldError;
use crate::form::{Form, parse_query};
use crate::json::StrictObject;
use crate::message::{WebRequest, WebResponse};
use crate::next::LocalTarget;
use crate::problem::{Case, retry_after, whole_seconds};
use crate::respond::with_retry_after;
use crate::web::WebIam;

/// An address of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// The login page and its form.
    LoginPage,
    /// Signing out, from a form.
    LogoutPage,
    /// Signing in, by JSON.
    ApiLogin,
    /// Signing out, by JSON.
    ApiLogout,
    /// A CSRF token for scripts.
    ApiCsrf,
    /// Who is signed in.
    ApiMe,
    /// The own account's page.
    AccountPage,
    /// Changing the own password, from a form.
    AccountPassword,
    /// Ending one of the own sessions, from a form.
    AccountEndSession,
    /// Ending all other sessions, from a form.
    AccountEndSessions,
    /// Proving again who one is: the page and its form.
    ReauthenticatePage,
    /// Making the first administrator, behind a link that works once.
    SetupPage,
    /// Proving again who one is, by JSON.
    ApiReauthenticate,
    /// Changing the own password, by JSON.
    ApiPassword,
    /// The own sessions, and ending all others.
    ApiSessions,
    /// Ending one of the own sessions, by JSON.
    ApiSession,
}

impl WebIam {
    /// Every address with its endpoint. An adapter mounts each exactly, for every method; the endpoint itself says which it takes.
    /// A part `{id}` stands for any one part, as [`path_matches`] reads it.
    pub fn auth_endpoints(&self) -> Vec<(String, Endpoint)> {
        let (auth, api) = (&self.inner.auth_path, &self.inner.api_path);
        vec![
            (format!("{auth}/login"), Endpoint::LoginPage),
            (format!("{auth}/logout"), Endpoint::LogoutPage),
            (format!("{api}/auth/login"), Endpoint::ApiLogin),
            (format!("{api}/auth/logout"), Endpoint::ApiLogout),
            (format!("{api}/auth/csrf"), Endpoint::ApiCsrf),
            (format!("{api}/me"), Endpoint::ApiMe),
            (format!("{auth}/account"), Endpoint::AccountPage),
            (format!("{auth}/account/password"), Endpoint::AccountPassword),
            (format!("{auth}/account/sessions/end"), Endpoint::AccountEndSession),
            (format!("{auth}/account/sessions/end-others"), Endpoint::AccountEndSessions),
            (format!("{auth}/reauthenticate"), Endpoint::ReauthenticatePage),
            (format!("{auth}/setup/{{id}}"), Endpoint::SetupPage),
            (format!("{api}/auth/reauthenticate"), Endpoint::ApiReauthenticate),
            (format!("{api}/account/password"), Endpoint::ApiPassword),
            (format!("{api}/account/sessions"), Endpoint::ApiSessions),
            (format!("{api}/account/sessions/{{id}}"), Endpoint::ApiSession),
        ]
    }
}

impl WebIam {
    /// The text of the link that makes the first administrator.
    pub fn setup_link(&self, token: &OneTimeToken) -> Zeroizing<String> {
        let origin = self.iam().base_url().map(BaseUrl::origin).unwrap_or_default();
        Zeroizing::new(format!("{origin}{}/setup/{}", self.inner.auth_path, token.expose().as_str()))
    }
}

/// A path as logs may show it: a part that looks like a secret of this family's links is left out.
pub fn loggable_path(path: &str) -> Cow<'_, str> {
    // A link that was cut or copied with something on it, too.
    let is_secret = |part: &str| {
        part.len() >= SessionToken::TEXT_LENGTH - 3
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !path.split('/').any(is_secret) {
        return Cow::Borrowed(path);
    }
    let shown: Vec<&str> = path.split('/').map(|part| if is_secret(part) { "***" } else { part }).collect();
    Cow::Owned(shown.join("/"))
}

/// Whether a path, as it is written in the request, is that of an endpoint. `{id}` stands for any one part that is not empty.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(part)) if !part.is_empty() => {}
            (Some(expected), Some(part)) if expected == part => {}
            _ => return false,
        }
    }
}

impl Endpoint {
    /// The methods that it takes, `HEAD` aside.
    pub(crate) const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::LoginPage | Self::ReauthenticatePage | Self::SetupPage => &["GET", "POST"],
            Self::LogoutPage
            | Self::ApiLogin
            | Self::ApiLogout
            | Self::AccountPassword
            | Self::AccountEndSession
            | Self::AccountEndSessions
            | Self::ApiReauthenticate
            | Self::ApiPassword => &["POST"],
            Self::ApiCsrf | Self::ApiMe | Self::AccountPage => &["GET"],
            Self::ApiSessions => &["GET", "DELETE"],
            Self::ApiSession => &["DELETE"],
        }
    }
}

impl RequestContext {
    /// Answers a request to one of this family's own addresses.
    pub async fn handle(&self, endpoint: Endpoint, request: &WebRequest) -> WebResponse {
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        if !endpoint.methods().contains(&method) {
            let mut allow = endpoint.methods().join(", ");
            if endpoint.methods().contains(&"GET") {
                allow.push_str(", HEAD");
            }
            return self.refusal(request, Case::MethodNotAllowed).header("allow", allow);
        }
        let caller = match self.caller(request, Activity::Active).await {
            Ok(caller) => caller,
            Err(error) => return self.cannot_tell(request, &error),
        };
        match (endpoint, method) {
            (Endpoint::LoginPage, "GET") => self.show_login(request, caller),
            (Endpoint::LoginPage, _) => self.submit_login(request, caller).await,
            (Endpoint::LogoutPage, _) => self.submit_logout(request, caller).await,
            (Endpoint::ApiLogin, _) => self.api_login(request, caller).await,
            (Endpoint::ApiLogout, _) => self.api_logout(request, caller).await,
            (Endpoint::ApiCsrf, _) => self.api_csrf(request, caller),
            (Endpoint::ApiMe, _) => self.api_me(request, caller),
            (Endpoint::AccountPage, _) => self.show_account(request, caller).await,
            (Endpoint::AccountPassword, _) => self.submit_password(request, caller).await,
            (Endpoint::AccountEndSession, _) => self.submit_end_session(request, caller).await,
            (Endpoint::AccountEndSessions, _) => self.submit_end_sessions(request, caller).await,
            (Endpoint::ReauthenticatePage, "GET") => self.show_reauthenticate(request, caller),
            (Endpoint::ReauthenticatePage, _) => self.submit_reauthenticate(request, caller).await,
            (Endpoint::SetupPage, "GET") => self.show_setup(request, caller).await,
            (Endpoint::SetupPage, _) => self.submit_setup(request, caller).await,
            (Endpoint::ApiReauthenticate, _) => self.api_reauthenticate(request, caller).await,
            (Endpoint::ApiPassword, _) => self.api_password(request, caller).await,
            (Endpoint::ApiSessions, "GET") => self.api_sessions(request, caller).await,
            (Endpoint::ApiSessions, _) => self.api_end_sessions(request, caller).await,
            (Endpoint::ApiSession, _) => self.api_end_session(request, caller).await,
        }
    }

    // -- pages --

    fn show_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let query = match parse_query(query_of(&request.target)) {
            Ok(query) => query,
            Err(error) => return self.bad_body(request, error),
        };
        let notice = if query.get("signed_out").is_some() {
            Some("login.signed_out")
        } else {
            query.get("set_up").is_some().then_some("login.set_up")
        };
        let page = LoginPage { next: query.get("next"), notice, ..LoginPage::default() };
        self.login_page(request, caller, 200, &page)
    }

    async fn submit_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let form = match Form::parse(&request.header_values("content-type"), &request.body) {
            Ok(form) => form,
            Err(error) => return self.bad_body(request, error),
        };
        let username = form.get("username").unwrap_or_default();
        let page = LoginPage { next: form.get("next"), username, ..LoginPage::default() };
        if !self.form_is_ours(request, caller, &form).await {
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
        match self.sign_in(request, caller, credentials).await {
            Ok(_) => {
                let next = page.next.and_then(LocalTarget::parse);
                let next = next.as_ref().map_or("/", LocalTarget::as_str);
                self.own(request, WebResponse::redirect(303, next))
            }
            Err(error) => self.login_failed(request, caller, &page, &error),
        }
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
        let next = page.next.and_then(LocalTarget::parse);
        let next = next.as_ref().map_or("", LocalTarget::as_str);
        let error = page.error.as_ref().map(|message| match message {
            Message::Key(key) => pages.text(key),
            Message::Text(text) => text.clone(),
        });
        let fields: BTreeMap<&str, String> =
            page.invalid.iter().map(|invalid| (invalid.field, pages.text(&field_text(invalid)))).collect();
        let values = context! {
            action => format!("{auth}/login"),
            logout_action => format!("{auth}/logout"),
            csrf_token => csrf_token,
            next => next,
            continue_to => if next.is_empty() { "/" } else { next },
            username => page.username,
            signed_in_as => caller.principal().map(iam_core::guard::Principal::username),
            notice => page.notice.map(|key| pages.text(key)),
            error => error,
            fields => fields,
        };
        let response = self.page(request, status, "login.html", &values);
        if status == 401 { response.header("www-authenticate", "Bearer") } else { response }
    }

    async fn submit_logout(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let form = match Form::parse(&request.header_values("content-type"), &request.body) {
            Ok(form) => form,
            Err(error) => return self.bad_body(request, error),
        };
        if caller.principal().is_some() && !self.form_is_ours(request, caller, &form).await {
            return self.refusal(request, Case::Csrf);
        }
        match self.sign_out(request, caller).await {
            Ok(()) => {
                let location = format!("{}/login?signed_out=1", self.inner().auth_path);
                self.own(request, WebResponse::redirect(303, &location))
            }
            Err(error) => self.failed(request, &error),
        }
    }

    /// A form of ours carries a token, and no other site sent it.
    async fn form_is_ours(&self, request: &WebRequest, caller: &Caller, form: &Form) -> bool {
        let has_token =
            form.get("csrf_token").is_some_and(|token| self.is_csrf_token(request, caller, token));
        let ours = has_token && self.site(request) != Site::Foreign;
        if !ours {
            self.note_csrf(request, caller).await;
        }
        ours
    }

    // -- JSON --

    async fn api_login(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let object = match StrictObject::parse(&request.header_values("content-type"), &request.body) {
            Ok(object) => object,
            Err(error) => return self.bad_api_body(request, error),
        };
        let mut fields = object.fields();
        let (username, password) = (fields.required_string("username"), fields.required_string("password"));
        let by_token = fields.optional_bool("token").unwrap_or(false);
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
            return self.api_login_by_token(request, caller, credentials).await;
        }
        match self.sign_in(request, caller, credentials).await {
            Ok((signed_in, csrf_token)) => self.json(
                request,
                200,
                &json!({
                    "status": "authenticated",
                    "account": { "id": signed_in.account.to_string() },
                    "csrf_token": csrf_token,
                }),
            ),
            Err(error) => self.api_failed(request, &error),
        }
    }

    /// For native clients: the token is in the answer, and no cookie is set.
    async fn api_login_by_token(
        &self,
        request: &WebRequest,
        caller: &Caller,
        credentials: Credentials,
    ) -> WebResponse {
        let login = Login {
            identifier: &credentials.identifier,
            password: credentials.password,
            device: None,
            carrier: Carrier::Bearer,
            replaces: None,
            client: &caller.client,
        };
        match self.iam().login(login).await {
            Ok(signed_in) => self.json(
                request,
                200,
                &json!({
                    "status": "authenticated",
                    "account": { "id": signed_in.account.to_string() },
                    "token_type": "Bearer",
                    "session_token": *signed_in.token.expose(),
                    "expires_in": self.iam().session_policy().absolute.as_secs(),
                    "idle_timeout": self.iam().session_policy().idle.as_secs(),
                }),
            ),
            Err(error) => self.api_failed(request, &error),
        }
    }

    async fn api_logout(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        if caller.principal().is_some() && self.csrf_by_headers(request, caller) != Some(true) {
            self.note_csrf(request, caller).await;
            return self.problem(request, Case::Csrf, &[]);
        }
        match self.sign_out(request, caller).await {
            Ok(()) => self.own(request, WebResponse::new(204)),
            Err(error) => self.api_failed(request, &error),
        }
    }

    fn api_csrf(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        match self.csrf_token(request, caller) {
            Ok(token) => self.json(request, 200, &json!({ "csrf_token": token })),
            Err(error) => self.api_failed(request, &error),
        }
    }

    fn api_me(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(principal) = caller.principal() else {
            return self.problem(request, Case::Unauthenticated, &[]);
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
                },
            }),
        )
    }

    /// Under the JSON interface a problem is a document, whatever the request accepts.
    fn bad_api_body(&self, request: &WebRequest, error: crate::fields::BodyError) -> WebResponse {
        use crate::fields::BodyError;
        match error {
            BodyError::UnsupportedMediaType => self.problem(request, Case::UnsupportedMediaType, &[]),
            BodyError::Malformed(_) => self.problem(request, Case::BadRequest, &[]),
            BodyError::Fields(errors) => self.problem(request, Case::Invalid, &errors),
        }
    }

    fn api_failed(&self, request: &WebRequest, error: &Error) -> WebResponse {
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

    async fn note_csrf(&self, request: &WebRequest, caller: &Caller) {
        let path = loggable_path(request.target.split('?').next().unwrap_or_default());
        self.iam().note_csrf(caller.principal(), &path, &caller.client).await;
    }

    /// Signs in and sets the cookies; gives a CSRF token of the new session, too.
    async fn sign_in(
        &self,
        request: &WebRequest,
        caller: &Caller,
        credentials: Credentials,
    ) -> Result<(SignedIn, String), Error> {
        let cookies = &self.inner().cookies;
        let device = cookies.read(request, CookieKind::Device).and_then(|text| DeviceToken::parse(&text));
        let signed_in = self
            .iam()
            .login(Login {
                identifier: &credentials.identifier,
                password: credentials.password,
                device: device.as_ref(),
                carrier: Carrier::Cookie,
                replaces: caller.token.as_ref().filter(|_| caller.carrier == Carrier::Cookie),
                client: &caller.client,
            })
            .await?;
        let binding = signed_in.token.hash();
        let csrf_token =
            csrf::issue(&self.inner().csrf_key, Binding::Session(&binding), self.iam().randomness())?;
        self.add_cookie(cookies.set(CookieKind::Session, &signed_in.token.expose(), None));
        let lifetime = Some(DeviceToken::LIFETIME);
        self.add_cookie(cookies.set(CookieKind::Device, &signed_in.device.expose(), lifetime));
        self.add_cookie(cookies.clear(CookieKind::Pre));
        Ok((signed_in, csrf_token))
    }

    async fn sign_out(&self, request: &WebRequest, caller: &Caller) -> Result<(), Error> {
        if let Some(token) = &caller.token {
            self.iam().logout(token, &caller.client).await?;
        }
        let cookies = &self.inner().cookies;
        // Who came with a bearer token signs that out, and not the browser.
        if caller.carrier == Carrier::Cookie && !request.header_values("cookie").is_empty() {
            self.add_cookie(cookies.clear(CookieKind::Session));
        }
        Ok(())
    }
}

/// The login page's contents.
#[derive(Default)]
struct LoginPage<'a> {
    next: Option<&'a str>,
    username: &'a str,
    notice: Option<&'static str>,
    error: Option<Message>,
    invalid: &'a [Invalid],
}

impl<'a> LoginPage<'a> {
    /// The same page with nothing said: what the person typed stays.
    fn again(page: &LoginPage<'a>) -> Self {
        Self { next: page.next, username: page.username, ..Self::default() }
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

fn query_of(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_whole_and_part_by_part() {
        assert!(path_matches("/a/{id}", "/a/x") && path_matches("/a/b", "/a/b"));
        for path in ["/a", "/a/", "/a/x/", "/a/x/y", "//a/x", "/A/x", "/b/x", "/a//x"] {
            assert!(!path_matches("/a/{id}", path), "{path}");
        }
    }

    #[test]
    fn logs_show_no_link() {
        let link = format!("/auth/setup/{}", "A".repeat(43));
        assert_eq!(loggable_path(&link), "/auth/setup/***");
        assert_eq!(loggable_path(&format!("{link}x")), "/auth/setup/***");
        assert_eq!(loggable_path("/reports/2026"), "/reports/2026");
        let id = "/api/v1/account/sessions/01a208e5-a254-72f5-9796-9d0c645aba6b";
        assert_eq!(loggable_path(id), id);
    }
}
