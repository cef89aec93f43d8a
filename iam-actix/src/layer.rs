//! The layer: gives every request its context, and every answer the cookies that came up on the way.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{self, Poll};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage, HttpResponse};
use iam_web::{RequestContext, WebIam};

use crate::convert::{self, Context, View, append, peer};

/// Puts the identity layer under an application or a scope. It costs a request nothing until a guard or an extractor asks who
/// sends it.
///
/// Wrap it **last**: what is wrapped after it is outside of it. A guard that is outside, or on a route of another scope,
/// answers 500 and says so in the log.
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

impl<S, B> Transform<S, ServiceRequest> for IamLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = IamService<S>;
    type InitError = ();
    type Future = Ready<Result<IamService<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(IamService { web: self.web.clone(), inner }))
    }
}

/// The service of [`IamLayer`].
pub struct IamService<S> {
    web: WebIam,
    inner: S,
}

impl<S> fmt::Debug for IamService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamService").field("web", &self.web).finish_non_exhaustive()
    }
}

impl<S, B> Service<ServiceRequest> for IamService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse<B>, Error>>>>;

    fn poll_ready(&self, cx: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let context = Context::new(self.web.context(peer(request.request())));
        request.extensions_mut().insert(context.clone());
        // Nothing of the request itself is kept across the call: the router needs it for itself.
        let answer = self.inner.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(answer) if context.unknown_caller.get() && answer.status().as_u16() < 500 => {
                    let instead = context.request.unknown_caller(&View::of(answer.request()));
                    Err(finished(&context.request, "nobody knows who asked", convert::response(instead)))
                }
                Ok(mut answer) => {
                    finish(&context.request, answer.headers_mut());
                    Ok(answer)
                }
                Err(error) => {
                    let response = error.error_response();
                    Err(finished(&context.request, error, response))
                }
            }
        })
    }
}

/// An error whose answer bears our headers, too.
fn finished(
    context: &RequestContext,
    cause: impl fmt::Debug + fmt::Display + 'static,
    mut response: HttpResponse,
) -> Error {
    finish(context, response.headers_mut());
    InternalError::from_response(cause, response).into()
}

fn finish(context: &RequestContext, headers: &mut HeaderMap) {
    for (name, value) in context.closing_headers(|name| headers.contains_key(name)) {
        append(headers, name, value);
    }
}
