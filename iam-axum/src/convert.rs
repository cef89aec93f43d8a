//! Between axum's requests and responses and those of `iam-web`.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use iam_web::{BODY_TIMEOUT, BodyProblem, Rejoined, RequestContext, RequestView, WebRequest, WebResponse};

/// The request's context, as the layer put it there.
#[derive(Clone, Debug)]
pub(crate) struct Context(pub(crate) Arc<RequestContext>);

impl Context {
    pub(crate) fn of(parts: &Parts) -> Result<Arc<RequestContext>, Box<Response>> {
        parts.extensions.get::<Self>().map(|context| Arc::clone(&context.0)).ok_or_else(|| {
            let remedy = "call `.layer(IamLayer::new(iam))` on the router after its last route";
            Box::new(response(iam_web::layer_missing(route(parts), remedy)))
        })
    }
}

/// The peer's address, as `into_make_service_with_connect_info` noted it.
pub(crate) fn peer<B>(request: &http::Request<B>) -> Result<IpAddr, &'static str> {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip())
        .ok_or("serve the application with `into_make_service_with_connect_info::<SocketAddr>()`")
}

/// What a guard sees of a request.
pub(crate) struct View<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a HeaderMap,
    route: Option<&'a str>,
}

impl<'a> View<'a> {
    pub(crate) fn of(parts: &'a Parts) -> Self {
        Self {
            method: parts.method.as_str(),
            target: target(parts),
            headers: &parts.headers,
            route: route(parts),
        }
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

    fn route(&self) -> Option<&str> {
        self.route
    }
}

/// The route that the router found, with the prefixes that it is nested under.
pub(crate) fn route(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// Path and query as the client sent them: `nest` takes the prefix away from the request's own URI.
fn target(parts: &Parts) -> &str {
    let uri: &Uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

/// Reads a body, within the limit and in time.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, BodyProblem> {
    iam_web::read_body(body.into_data_stream(), tokio::time::sleep(BODY_TIMEOUT)).await
}

/// Looks for a form in a body of which nobody has said how long it is: the form, unless the body is larger than one, and the body as if it
/// had not been read.
pub(crate) async fn look_for_form(body: Body) -> Result<(Option<Bytes>, Body), BodyProblem> {
    let mut body = body.into_data_stream();
    match iam_web::read_start(Pin::new(&mut body), tokio::time::sleep(BODY_TIMEOUT)).await? {
        (form, true) => Ok((Some(form.clone()), Body::from(form))),
        (start, false) => Ok((None, Body::from_stream(Rejoined::new(start, body)))),
    }
}

/// The whole request, for one of the family's own endpoints.
pub(crate) fn web_request(parts: &Parts, body: Bytes) -> WebRequest {
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    WebRequest {
        method: parts.method.as_str().to_owned(),
        target: target(parts).to_owned(),
        headers: headers.collect(),
        body,
    }
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
        append(response.headers_mut(), name, value);
    }
    response
}

/// Adds one header to an answer.
pub(crate) fn append(headers: &mut HeaderMap, name: &'static str, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => drop(headers.append(HeaderName::from_static(name), value)),
        Err(_) => tracing::error!(header = name, "an answer's header can't be sent"),
    }
}
