//! The page that makes the first administrator, behind a link that works once.

use std::collections::BTreeMap;

use iam_core::protocol::TicketToken;
use iam_core::{Actor, Error, Invalid, PlainPassword, Username, typed};
use minijinja::context;

use super::account::field_text;
use crate::context::{Caller, RequestContext};
use crate::form::Form;
use crate::message::{WebRequest, WebResponse};
use crate::problem::{Case, retry_after};
use crate::respond::with_retry_after;

impl RequestContext {
    pub(super) async fn show_setup(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(token) = token_of(request) else { return secret(self.refusal(request, Case::NotFound)) };
        match self.iam().setup(&Actor::service()).is_token(&token).await {
            Ok(true) => self.setup_page(request, caller, 200, "", &[]),
            Ok(false) => secret(self.refusal(request, Case::NotFound)),
            Err(error) => secret(self.failed(request, &error)),
        }
    }

    pub(super) async fn submit_setup(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let Some(token) = token_of(request) else { return secret(self.refusal(request, Case::NotFound)) };
        let form = match Form::parse(&request.header_values("content-type"), &request.body) {
            Ok(form) => form,
            Err(error) => return secret(self.bad_body(request, error)),
        };
        if !self.form_is_ours(request, caller, &form).await {
            return secret(self.refusal(request, Case::Csrf));
        }
        let typed = typed::name(form.get("username").unwrap_or_default());
        let password = PlainPassword::new(form.get("password").unwrap_or_default())
            .map_err(|invalid| invalid.of_field("new_password"));
        let (username, password) = match (Username::parse(typed), password) {
            (Ok(username), Ok(password)) => (username, password),
            (username, password) => {
                let invalid: Vec<Invalid> = [username.err(), password.err()].into_iter().flatten().collect();
                return self.setup_page(request, caller, 422, typed, &invalid);
            }
        };
        let actor = Actor::service_for(caller.client.clone());
        match self.iam().setup(&actor).redeem(&token, &username, &password).await {
            Ok(_) => {
                let location = format!("{}/login?set_up=1", self.inner().auth_path);
                secret(self.own(request, WebResponse::redirect(303, &location)))
            }
            Err(Error::Invalid(invalid)) => {
                let field = if invalid.field == "password" { "new_password" } else { invalid.field };
                self.setup_page(request, caller, 422, typed, &[invalid.of_field(field)])
            }
            Err(error) => secret(with_retry_after(self.failed(request, &error), retry_after(&error))),
        }
    }

    fn setup_page(
        &self,
        request: &WebRequest,
        caller: &Caller,
        status: u16,
        username: &str,
        invalid: &[Invalid],
    ) -> WebResponse {
        let csrf_token = match self.csrf_token(request, caller) {
            Ok(token) => token,
            Err(error) => return secret(self.failed(request, &error)),
        };
        let pages = &self.inner().pages;
        let fields: BTreeMap<&str, String> =
            invalid.iter().map(|invalid| (invalid.field, field_text(pages, "setup", invalid))).collect();
        let values = context! {
            // The link itself: a relative address keeps the token out of the page.
            action => "",
            csrf_token => csrf_token,
            username => username,
            fields => fields,
        };
        secret(self.page(request, status, "setup.html", &values))
    }
}

/// The page's address is a secret: no other page learns it.
fn secret(mut response: WebResponse) -> WebResponse {
    response.headers.retain(|(name, _)| *name != "referrer-policy");
    response.header("referrer-policy", "no-referrer")
}

fn token_of(request: &WebRequest) -> Option<TicketToken> {
    let path = request.target.split('?').next().unwrap_or_default();
    TicketToken::parse(path.rsplit('/').next()?)
}
