//! Forgetting the browsers that are trusted, as a form and as JSON. They come to be trusted where the second factor is verified.

use iam_core::protocol::Carrier;
use serde_json::json;

use crate::context::{Caller, RequestContext};
use crate::cookies::CookieKind;
use crate::message::{WebRequest, WebResponse};

impl RequestContext {
    pub(super) async fn submit_forget_devices(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let (principal, _) = match self.form_of_somebody(request, caller).await {
            Ok(found) => found,
            Err(response) => return *response,
        };
        match self.iam().own_account(principal, &caller.client).forget_trusted_devices().await {
            Ok(_) => {
                self.add_cookie(self.inner().cookies.clear(CookieKind::TrustedDevice));
                self.to_account(request, "browsers")
            }
            Err(error) => self.prove_first(request, &error, &self.account_path()),
        }
    }

    pub(super) async fn api_forget_devices(&self, request: &WebRequest, caller: &Caller) -> WebResponse {
        let principal = match self.api_caller(request, caller).await {
            Ok(principal) => principal,
            Err(response) => return *response,
        };
        match self.iam().own_account(principal, &caller.client).forget_trusted_devices().await {
            Ok(forgotten) => {
                if caller.carrier == Carrier::Cookie {
                    self.add_cookie(self.inner().cookies.clear(CookieKind::TrustedDevice));
                }
                self.json(request, 200, &json!({ "forgotten": forgotten }))
            }
            Err(error) => self.api_failed(request, &error),
        }
    }
}
