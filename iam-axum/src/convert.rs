//! Between axum's requests and responses and those of `iam-web`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, OriginalUri, Request};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use iam_web::{BodyProblem, RequestContext, RequestView, WebRequest, WebResponse};

/// The time that a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The request's context, as the layer put it there.
#[derive(Clone, Debug)]
pub(crate) struct Context(pub(crate) Arc<RequestContext>);

impl Context {
    /// Without the layer nothing can be decided: that is the host's mistake, said in the log and not to the client.
    pub(crate) fn of(parts: &Parts) -> Result<Arc<RequestContext>, Box<Response>> {
        match parts.extensions.get::<Self>() {
            Some(context) => Ok(Arc::clone(&context.0)),
            None => {
                tracing::error!(
                    path = parts.uri.path(),
                    "IamLayer is not installed here: call `.layer(IamLayer::new(iam))` on the router after its last route"
                );
                let mut response = Response::new(Body::from("internal error"));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Box::new(response))
            }
        }
    }
}

/// The peer's address, as `into_make_service_with_connect_info` noted it.
pub(crate) fn peer<B>(request: &http::Request<B>) -> Option<std::net::IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

/// What a guard sees of a request.
pub(crate) struct View<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> View<'a> {
    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self { method: parts.method.as_str(), target: target(parts), headers: &parts.headers }
    }
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn target(&self) -> &str {
        self.target
    }

    fn header(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }
}

/// Path and query as the client sent them: `nest` takes the prefix away from the request's own URI.
fn target(parts: &Parts) -> &str {
    let uri: &Uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

/// Reads a body, within the limit and in time.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Bytes, BodyProblem> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyProblem::TooLarge),
        Ok(Err(_)) => Err(BodyProblem::Broken),
        Err(_) => Err(BodyProblem::TooSlow),
    }
}

/// The whole request, for one of the family's own endpoints.
pub(crate) async fn web_request(request: Request) -> Result<WebRequest, Box<(Parts, BodyProblem)>> {
    let (parts, body) = request.into_parts();
    let body = match read_body(body, iam_web::MAX_FORM_BYTES).await {
        Ok(body) => body,
        Err(problem) => return Err(Box::new((parts, problem))),
    };
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Ok(WebRequest {
        method: parts.method.as_str().to_owned(),
        target: target(&parts).to_owned(),
        headers: headers.collect(),
        body,
    })
}

/// An answer of `iam-web`, as axum's.
pub(crate) fn response(web: WebResponse) -> Response {
    let body = match web.body {
        iam_web::Body::Full(bytes) => Body::from(bytes),
        iam_web::Body::Stream(stream) => Body::from_stream(stream),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(web.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in web.headers {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(response.headers_mut().append(HeaderName::from_static(name), value)),
            Err(_) => tracing::error!(header = name, "an answer's header can't be sent"),
        }
    }
    response
}
