//! The family's own addresses, mounted.

use actix_web::dev::Payload;
use actix_web::guard::fn_guard;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse};
use iam_web::{Endpoint, WebIam};

use crate::convert::{self, Context, View};

/// The sign-in pages and their JSON twins, for `configure` of an application or a scope without a prefix, under the host's
/// [`IamLayer`].
///
/// Where they are is set on the [`WebIam`] that both take, not by a scope's prefix: the pages link to each other. Of two
/// resources at the same path actix-web takes the one that was registered first.
///
/// [`IamLayer`]: crate::IamLayer
pub fn auth_routes(iam: impl Into<WebIam>) -> impl FnOnce(&mut ServiceConfig) {
    let endpoints = iam.into().auth_endpoints();
    move |config| {
        for (path, endpoint) in endpoints {
            // actix-web decodes a path before it looks for the resource. Ours are at the path as it is written alone.
            let written = path.clone();
            let exactly = fn_guard(move |request| iam_web::path_matches(&written, request.head().uri.path()));
            let handler = move |request, body: web::Payload| handle(endpoint, request, body.into_inner());
            config.service(web::resource(path).guard(exactly).to(handler));
        }
    }
}

async fn handle(endpoint: Endpoint, request: HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    let context = Context::of(&request)?;
    let answer = match convert::read_body(body).await {
        Ok(body) => {
            let request = convert::web_request(&request, body);
            context.finish(endpoint, request, |task| drop(tokio::spawn(task))).await
        }
        Err(problem) => context.body_refused(&View::of(&request), problem),
    };
    Ok(convert::response(answer))
}
