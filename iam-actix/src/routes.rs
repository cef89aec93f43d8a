//! The family's own addresses, mounted.

use actix_web::dev::Payload;
use actix_web::guard::fn_guard;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use actix_web::web::{self, Bytes, ServiceConfig};
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
    let body = if is_endless(&request) { Ok(Bytes::new()) } else { convert::read_body(body).await };
    let answer = match body {
        Ok(body) => {
            let request = convert::web_request(&request, body);
            context.finish(endpoint, request, |task| drop(tokio::spawn(task))).await
        }
        Err(problem) => context.body_refused(&View::of(&request), problem),
    };
    Ok(convert::response(answer))
}

/// Whether what actix-web takes for the body is all that follows: so it does where another protocol is asked for and no length is said.
fn is_endless(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(UPGRADE)
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}
