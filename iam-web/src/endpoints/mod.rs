//! The addresses of this family and what answers there.

mod account;
mod factors;
mod repeat;
mod second_factor;
mod setup;
mod sign_in;
mod step_up;
mod trusted_devices;

use iam_core::BaseUrl;
use iam_core::protocol::{Activity, TicketToken};
use zeroize::Zeroizing;

use crate::context::{Caller, RequestContext};
use crate::fields::is_encoded;
use crate::form::{Form, parse_query};
use crate::message::{WebRequest, WebResponse};
use crate::problem::Case;
use crate::web::WebIam;

/// The part of an address behind which the token of a set-up link stands.
const SETUP: &str = "setup";

/// A W3C "Well-Known URL for Changing Passwords".
const CHANGE_PASSWORD: &str = "/.well-known/change-password";

/// The parts of this family's addresses behind which a secret stands.
pub(crate) const SECRET_BEHIND: &[&str] = &[SETUP];

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
    /// The second factor: the page that asks for a code, and its form.
    VerifyPage,
    /// Having a code sent, or choosing another method, from a form.
    ResendPage,
    /// Setting up a factor: the page and its form.
    NewFactorPage,
    /// Confirming a factor, from a form.
    ConfirmFactor,
    /// Giving a factor another name, from a form.
    RenameFactor,
    /// Taking a factor away, from a form.
    RemoveFactor,
    /// Drawing new recovery codes, from a form.
    RecoveryCodes,
    /// Going on with a form that a guard stopped.
    ResumePage,
    /// Choosing which factor to set up.
    EnrolPage,
    /// Asking for a proof for a purpose, by JSON.
    ApiStepUp,
    /// Asking for a second factor, by JSON.
    ApiChallenge,
    /// Answering, by JSON.
    ApiVerify,
    /// The own factors, and setting up another one.
    ApiFactors,
    /// Naming or taking away one of the own factors.
    ApiFactor,
    /// Confirming a factor, by JSON.
    ApiConfirmFactor,
    /// Drawing new recovery codes, by JSON.
    ApiRecoveryCodes,
    /// Trusting no browser any more, from a form.
    ForgetDevices,
    /// Trusting no browser any more, by JSON.
    ApiTrustedDevices,
    /// Where password managers look for the page on which to change a password.
    ChangePassword,
}

impl WebIam {
    /// Every address with its endpoint. An adapter mounts each exactly, for every method; the endpoint itself says which it takes.
    /// A part `{id}` stands for any one part, as [`path_matches`] reads it, and `{token}` for one that is a secret.
    pub fn auth_endpoints(&self) -> Vec<(String, Endpoint)> {
        let mut endpoints = endpoints(&self.inner.auth_path, &self.inner.api_path);
        let change_password = (CHANGE_PASSWORD.to_owned(), Endpoint::ChangePassword);
        endpoints.extend(self.inner.change_password_url.then_some(change_password));
        endpoints
    }
}

fn endpoints(auth: &str, api: &str) -> Vec<(String, Endpoint)> {
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
        (format!("{auth}/{SETUP}/{{token}}"), Endpoint::SetupPage),
        (format!("{api}/auth/reauthenticate"), Endpoint::ApiReauthenticate),
        (format!("{api}/account/password"), Endpoint::ApiPassword),
        (format!("{api}/account/sessions"), Endpoint::ApiSessions),
        (format!("{api}/account/sessions/{{id}}"), Endpoint::ApiSession),
        (format!("{auth}/mfa/verify"), Endpoint::VerifyPage),
        (format!("{auth}/mfa/resend"), Endpoint::ResendPage),
        (format!("{auth}/account/factors/new"), Endpoint::NewFactorPage),
        (format!("{auth}/account/factors/confirm"), Endpoint::ConfirmFactor),
        (format!("{auth}/account/factors/rename"), Endpoint::RenameFactor),
        (format!("{auth}/account/factors/remove"), Endpoint::RemoveFactor),
        (format!("{auth}/account/recovery-codes"), Endpoint::RecoveryCodes),
        (format!("{auth}/mfa/resume/{{id}}"), Endpoint::ResumePage),
        (format!("{auth}/mfa/enrol"), Endpoint::EnrolPage),
        (format!("{api}/auth/step-up"), Endpoint::ApiStepUp),
        (format!("{api}/auth/mfa/challenge"), Endpoint::ApiChallenge),
        (format!("{api}/auth/mfa/verify"), Endpoint::ApiVerify),
        (format!("{api}/account/factors"), Endpoint::ApiFactors),
        (format!("{api}/account/factors/{{id}}"), Endpoint::ApiFactor),
        (format!("{api}/account/factors/{{id}}/confirm"), Endpoint::ApiConfirmFactor),
        (format!("{api}/account/recovery-codes"), Endpoint::ApiRecoveryCodes),
        (format!("{auth}/account/trusted-devices/forget"), Endpoint::ForgetDevices),
        (format!("{api}/account/trusted-devices"), Endpoint::ApiTrustedDevices),
    ]
}

impl WebIam {
    /// The text of the link that makes the first administrator.
    pub fn setup_link(&self, token: &TicketToken) -> Zeroizing<String> {
        let origin = self.iam().base_url().map(BaseUrl::origin).unwrap_or_default();
        Zeroizing::new(format!("{origin}{}/{SETUP}/{}", self.inner.auth_path, token.expose().as_str()))
    }
}

/// Whether a path, as it is written in the request, is that of an endpoint. `{id}` and `{token}` stand for any one part that is not
/// empty.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("{id}" | "{token}"), Some(part)) if !part.is_empty() => {}
            (Some(expected), Some(part)) if expected == part => {}
            _ => return false,
        }
    }
}

impl Endpoint {
    /// The methods that it takes, `HEAD` aside.
    pub(crate) const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::LoginPage
            | Self::ReauthenticatePage
            | Self::SetupPage
            | Self::VerifyPage
            | Self::NewFactorPage
            | Self::ApiFactors => &["GET", "POST"],
            Self::LogoutPage
            | Self::ApiLogin
            | Self::ApiLogout
            | Self::AccountPassword
            | Self::AccountEndSession
            | Self::AccountEndSessions
            | Self::ApiReauthenticate
            | Self::ApiPassword
            | Self::ResendPage
            | Self::ConfirmFactor
            | Self::RenameFactor
            | Self::RemoveFactor
            | Self::RecoveryCodes
            | Self::ApiStepUp
            | Self::ApiChallenge
            | Self::ApiVerify
            | Self::ApiConfirmFactor
            | Self::ApiRecoveryCodes
            | Self::ForgetDevices => &["POST"],
            Self::ApiCsrf
            | Self::ApiMe
            | Self::AccountPage
            | Self::ResumePage
            | Self::EnrolPage
            | Self::ChangePassword => &["GET"],
            Self::ApiSessions => &["GET", "DELETE"],
            Self::ApiSession | Self::ApiTrustedDevices => &["DELETE"],
            Self::ApiFactor => &["PATCH", "DELETE"],
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
        if method != "GET" && is_encoded(request) {
            return self.encoded_body(request);
        }
        let caller = match self.caller(request, Activity::Active).await {
            Ok(caller) => caller,
            Err(answer) => return *answer,
        };
        let answer = Box::pin(self.answer(endpoint, method, request, caller));
        if endpoint.renews(method) { self.once(request, caller, answer).await } else { answer.await }
    }

    async fn answer(
        &self,
        endpoint: Endpoint,
        method: &str,
        request: &WebRequest,
        caller: &Caller,
    ) -> WebResponse {
        match (endpoint, method) {
            // Whoever is not signed in is asked there.
            (Endpoint::ChangePassword, _) => {
                self.own(request, WebResponse::redirect(303, &self.account_path()))
            }
            (Endpoint::LoginPage, "GET") => self.show_login(request, caller),
            (Endpoint::LoginPage, _) => self.submit_login(request, caller).await,
            (Endpoint::LogoutPage, _) => self.submit_logout(request, caller).await,
            (Endpoint::ApiLogin, _) => self.api_login(request, caller).await,
            (Endpoint::ApiLogout, _) => self.api_logout(request, caller).await,
            (Endpoint::ApiCsrf, _) => self.api_csrf(request, caller),
            (Endpoint::ApiMe, _) => self.api_me(request, caller).await,
            (Endpoint::AccountPage, _) => self.show_account(request, caller).await,
            (Endpoint::AccountPassword, _) => self.submit_password(request, caller).await,
            (Endpoint::AccountEndSession, _) => self.submit_end_session(request, caller).await,
            (Endpoint::AccountEndSessions, _) => self.submit_end_sessions(request, caller).await,
            (Endpoint::ReauthenticatePage, "GET") => self.show_reauthenticate(request, caller).await,
            (Endpoint::ReauthenticatePage, _) => self.submit_reauthenticate(request, caller).await,
            (Endpoint::SetupPage, "GET") => self.show_setup(request, caller).await,
            (Endpoint::SetupPage, _) => self.submit_setup(request, caller).await,
            (Endpoint::ApiReauthenticate, _) => self.api_reauthenticate(request, caller).await,
            (Endpoint::ApiPassword, _) => self.api_password(request, caller).await,
            (Endpoint::ApiSessions, "GET") => self.api_sessions(request, caller).await,
            (Endpoint::ApiSessions, _) => self.api_end_sessions(request, caller).await,
            (Endpoint::ApiSession, _) => self.api_end_session(request, caller).await,
            (Endpoint::VerifyPage, "GET") => self.show_verify(request, caller).await,
            (Endpoint::VerifyPage, _) => self.submit_verify(request, caller).await,
            (Endpoint::ResendPage, _) => self.submit_resend(request, caller).await,
            (Endpoint::NewFactorPage, "GET") => self.show_new_factor(request, caller).await,
            (Endpoint::NewFactorPage, _) => self.submit_new_factor(request, caller).await,
            (Endpoint::ConfirmFactor, _) => self.submit_confirm_factor(request, caller).await,
            (Endpoint::RenameFactor, _) => self.submit_rename_factor(request, caller).await,
            (Endpoint::RemoveFactor, _) => self.submit_remove_factor(request, caller).await,
            (Endpoint::RecoveryCodes, _) => self.submit_recovery_codes(request, caller).await,
            (Endpoint::ResumePage, _) => self.show_resume(request, caller).await,
            (Endpoint::EnrolPage, _) => self.show_enrol(request, caller).await,
            (Endpoint::ApiStepUp, _) => self.api_step_up(request, caller).await,
            (Endpoint::ApiChallenge, _) => self.api_challenge(request, caller).await,
            (Endpoint::ApiVerify, _) => self.api_verify(request, caller).await,
            (Endpoint::ApiFactors, "GET") => self.api_factors(request, caller).await,
            (Endpoint::ApiFactors, _) => self.api_new_factor(request, caller).await,
            (Endpoint::ApiFactor, "DELETE") => self.api_remove_factor(request, caller).await,
            (Endpoint::ApiFactor, _) => self.api_rename_factor(request, caller).await,
            (Endpoint::ApiConfirmFactor, _) => self.api_confirm_factor(request, caller).await,
            (Endpoint::ApiRecoveryCodes, _) => self.api_recovery_codes(request, caller).await,
            (Endpoint::ForgetDevices, _) => self.submit_forget_devices(request, caller).await,
            (Endpoint::ApiTrustedDevices, _) => self.api_forget_devices(request, caller).await,
        }
    }
}

impl RequestContext {
    /// What a page knows of the query of its address ([`parse_query`]).
    fn query(&self, request: &WebRequest, known: &[&str]) -> Result<Form, Box<WebResponse>> {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        parse_query(query, known).map_err(|error| Box::new(self.bad_body(request, error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_whole_and_part_by_part() {
        assert!(path_matches("/a/{token}", "/a/x") && !path_matches("/a/{token}", "/a/"));
        assert!(path_matches("/a/{id}", "/a/x") && path_matches("/a/b", "/a/b"));
        for path in ["/a", "/a/", "/a/x/", "/a/x/y", "//a/x", "/A/x", "/b/x", "/a//x"] {
            assert!(!path_matches("/a/{id}", path), "{path}");
        }
    }
}
