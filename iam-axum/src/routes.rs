//! The family's own addresses, mounted.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use iam_web::{Endpoint, WebIam};

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
    let answer = match convert::read_body(body).await {
        Ok(body) => {
            let request = convert::web_request(&parts, body);
            context.finish(endpoint, request, |task| drop(tokio::spawn(task))).await
        }
        Err(problem) => context.body_refused(&View::of(&parts), problem),
    };
    convert::response(answer)
}
