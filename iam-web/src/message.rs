//! Requests and responses as this crate speaks them, so that no framework's types are in its interface.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

/// A request with its body, for one of the family's own addresses.
#[derive(Clone, Default)]
pub struct WebRequest {
    /// The method, as it was sent.
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// Names in lower case, with their values in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl WebRequest {
    pub(crate) fn header_values(&self, name: &str) -> Vec<&[u8]> {
        self.header(name)
    }
}

/// Target, headers and body may hold secrets: a set-up link, a cookie, a password.
impl fmt::Debug for WebRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a guard needs to see of a request. An adapter gives a view of its framework's own, without copying.
pub trait RequestView: Sync {
    /// The method, as it was sent.
    fn method(&self) -> &str;
    /// Path and query, as the client sent them.
    fn target(&self) -> &str;
    /// All values of a header, in order. The name is given in lower case.
    fn header(&self, name: &str) -> Vec<&[u8]>;
    /// The route that the framework found, as the host wrote it (`/documents/{id}`), where that is known. Logs and the trail name requests
    /// by it: what stands in its place in the request may be a secret of the host's.
    fn route(&self) -> Option<&str> {
        None
    }
}

impl RequestView for WebRequest {
    fn method(&self) -> &str {
        &self.method
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn header(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
    }
}

/// An answer.
pub struct WebResponse {
    /// The status code.
    pub status: u16,
    /// Headers, in order; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// Header values may be secret: `set-cookie` holds a session's token.
impl fmt::Debug for WebResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("WebResponse")
            .field("status", &self.status)
            .field("headers", &names)
            .field("body", &self.body)
            .finish()
    }
}

/// The body of an answer.
pub enum Body {
    /// All at once.
    Full(Bytes),
    /// Piece by piece.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream(..)"),
        }
    }
}

impl WebResponse {
    /// A second one like it; of a stream there is only one, so it has none.
    pub(crate) fn copy(&self) -> Self {
        let body = match &self.body {
            Body::Full(bytes) => bytes.clone(),
            Body::Stream(_) => Bytes::new(),
        };
        Self { status: self.status, headers: self.headers.clone(), body: Body::Full(body) }
    }

    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Full(Bytes::new()) }
    }

    /// "See there": the browser goes on with a GET.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status).header("location", location)
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub(crate) fn html(self, html: String) -> Self {
        let mut response = self.header("content-type", "text/html; charset=utf-8");
        response.body = Body::Full(html.into());
        response
    }

    #[must_use]
    pub(crate) fn json(self, value: &serde_json::Value, content_type: &'static str) -> Self {
        let mut response = self.header("content-type", content_type);
        response.body = Body::Full(value.to_string().into());
        response
    }
}
