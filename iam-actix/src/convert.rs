//! Between actix-web's requests and responses and those of `iam-web`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::body::{BodyStream, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::ConnectionType;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use iam_web::{BODY_TIMEOUT, BodyProblem, Rejoined, RequestContext, RequestView, WebRequest, WebResponse};

/// The request's context, as the layer put it there.
#[derive(Clone, Debug)]
pub(crate) struct Context(pub(crate) Arc<RequestContext>);

impl Context {
    pub(crate) fn of(request: &HttpRequest) -> Result<Arc<RequestContext>, Error> {
        request.extensions().get::<Self>().map(|context| Arc::clone(&context.0)).ok_or_else(|| {
            let remedy = "call `.wrap(IamLayer::new(iam))` on the App, or on a scope that holds every guarded route, \
                          after every other `.wrap` that needs it";
            refused(iam_web::layer_missing(request.match_pattern().as_deref(), remedy))
        })
    }
}

/// The peer's address.
pub(crate) fn peer(request: &HttpRequest) -> Result<IpAddr, &'static str> {
    let peer = request.peer_addr().map(|address| address.ip());
    peer.ok_or("serve the application over TCP: a Unix socket has no client addresses")
}

/// What a guard sees of a request: what of it may be looked at from any thread, as the request itself may not.
pub(crate) struct View<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a HeaderMap,
    route: Option<String>,
}

impl<'a> View<'a> {
    pub(crate) fn of(request: &'a HttpRequest) -> Self {
        let method = request.method().as_str();
        // Looked for where it may be needed alone: what only reads is never refused as forged.
        let only_reads = matches!(method, "GET" | "HEAD") && !request.headers().contains_key("upgrade");
        let route = if only_reads { None } else { request.match_pattern() };
        Self { method, target: target(request), headers: request.headers(), route }
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
        self.headers.get_all(name).map(HeaderValue::as_bytes).collect()
    }

    fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }
}

/// Path and query as the client sent them. The URI keeps them: scopes and the decoding of `%` touch a copy.
fn target(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// Reads a body, within the limit and in time.
pub(crate) async fn read_body(body: Payload) -> Result<Bytes, BodyProblem> {
    iam_web::read_body(body, tokio::time::sleep(BODY_TIMEOUT)).await
}

/// Looks for a form in a body of which nobody has said how long it is: the form, unless the body is larger than one, and the body as if it
/// had not been read.
pub(crate) async fn look_for_form(mut body: Payload) -> Result<(Option<Bytes>, Payload), BodyProblem> {
    match iam_web::read_start(Pin::new(&mut body), tokio::time::sleep(BODY_TIMEOUT)).await? {
        (form, true) => Ok((Some(form.clone()), form.into())),
        (start, false) => Ok((None, Payload::Stream { payload: Box::pin(Rejoined::new(start, body)) })),
    }
}

/// The whole request, for one of the family's own endpoints.
pub(crate) fn web_request(request: &HttpRequest, body: Bytes) -> WebRequest {
    let headers =
        request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    WebRequest {
        method: request.method().as_str().to_owned(),
        target: target(request).to_owned(),
        headers: headers.collect(),
        body,
    }
}

/// An answer of `iam-web`, as actix-web's.
pub(crate) fn response(web: WebResponse) -> HttpResponse {
    let status = StatusCode::from_u16(web.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match web.body {
        iam_web::Body::Full(bytes) => BoxBody::new(bytes),
        iam_web::Body::Stream(stream) => BodyStream::new(stream).boxed(),
    };
    let mut response = HttpResponse::with_body(status, body);
    // The rest of a body that was not read in bounds is not waited for.
    if matches!(web.status, 408 | 413) {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    for (name, value) in web.headers {
        append(response.headers_mut(), name, value);
    }
    response
}

/// An answer of `iam-web` in place of what was asked for, which is an error to actix-web.
pub(crate) fn refused(web: WebResponse) -> Error {
    InternalError::from_response(Refused, response(web)).into()
}

#[derive(Debug, thiserror::Error)]
#[error("refused by the identity layer")]
struct Refused;

/// Adds one header to an answer.
pub(crate) fn append(headers: &mut HeaderMap, name: &'static str, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => headers.append(HeaderName::from_static(name), value),
        Err(_) => tracing::error!(header = name, "an answer's header can't be sent"),
    }
}
