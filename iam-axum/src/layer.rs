//! The layer: gives every request its context, and closes every answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{Request, Response};
use iam_web::{Closing, WebIam};
use tower_layer::Layer;
use tower_service::Service;

use crate::convert::{self, Context, append, peer};

/// Puts the identity layer under a router. It costs a request nothing until a guard or an extractor asks who sends it.
///
/// Add it **after the last route**: axum's `.layer` covers only the routes that are there already. A guard on a route
/// without it answers 500 and says so in the log.
#[derive(Clone, Debug)]
pub struct IamLayer {
    web: WebIam,
}

impl IamLayer {
    /// A layer on an [`Iam`](iam_core::Iam) with the default HTTP surface, or on a [`WebIam`] that was set up otherwise.
    pub fn new(iam: impl Into<WebIam>) -> Self {
        Self { web: iam.into() }
    }
}

impl<S> Layer<S> for IamLayer {
    type Service = IamService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IamService { web: self.web.clone(), inner }
    }
}

/// The service of [`IamLayer`].
#[derive(Clone, Debug)]
pub struct IamService<S> {
    web: WebIam,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for IamService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<axum::BoxError>,
{
    /// With a body of axum's: the answer may be another one than the service made.
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let context = Arc::new(self.web.context(peer(&request)));
        request.extensions_mut().insert(Context(Arc::clone(&context)));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?.map(Body::new);
            match context.close(response.status().as_u16(), |name| response.headers().contains_key(name)) {
                Closing::Append(headers) => {
                    for (name, value) in headers {
                        if Closing::replaces(name) {
                            response.headers_mut().remove(name);
                        }
                        append(response.headers_mut(), name, value);
                    }
                }
                Closing::Replace(instead) => response = convert::response(*instead),
            }
            Ok(response)
        })
    }
}
