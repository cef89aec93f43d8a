//! The family's own addresses, mounted.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use iam_web::{Endpoint, WebIam, WebResponse};
use tracing::Instrument;

use crate::convert::{self, Context, View};

/// The sign-in pages and their JSON twins, to be merged into the host's router, under the host's [`IamLayer`].
///
/// Where they are is set on the [`WebIam`] that both take, not by `nest`: the pages link to each other. A route of the host's
/// at the same path makes axum panic at the start.
///
/// [`IamLayer`]: crate::IamLayer
pub fn auth_routes<S>(iam: impl Into<WebIam>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let endpoints = iam.into().auth_endpoints();
    endpoints.into_iter().fold(Router::new(), |router, (path, endpoint)| {
        router.route(&path, any(move |request: Request| handle(endpoint, request)))
    })
}

async fn handle(endpoint: Endpoint, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let context = match Context::of(&parts) {
        Ok(context) => context,
        Err(response) => return *response,
    };
    let answer = match convert::web_request(Request::from_parts(parts, body)).await {
        // What has begun is finished though the client hangs up: what it reserved is given back, what it found is written down.
        Ok(request) => {
            let finishing = Arc::clone(&context);
            match tokio::spawn(async move { finishing.handle(endpoint, &request).await }.in_current_span())
                .await
            {
                Ok(answer) => answer,
                Err(panic) => {
                    tracing::error!(error = &panic as &dyn std::error::Error, "an endpoint did not finish");
                    WebResponse::new(500)
                }
            }
        }
        Err(refused) => {
            let (parts, problem) = *refused;
            context.body_refused(&View::of(&parts), problem)
        }
    };
    convert::response(answer)
}
