//! The layer: gives every request its context, and closes every answer.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage, HttpResponse};
use iam_web::{Closing, RequestContext, WebIam};

use crate::convert::{self, Context, append, peer};

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
        let context = Arc::new(self.web.context(peer(request.request())));
        request.extensions_mut().insert(Context(Arc::clone(&context)));
        // Nothing of the request itself is kept across the call: the router needs it for itself.
        let answer = self.inner.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(mut answer) => match close(&context, answer.status(), answer.headers_mut()) {
                    None => Ok(answer),
                    Some(instead) => Err(InternalError::from_response(NobodyKnows, instead).into()),
                },
                Err(error) => {
                    let mut response = error.error_response();
                    let instead = close(&context, response.status(), response.headers_mut());
                    Err(InternalError::from_response(error, instead.unwrap_or(response)).into())
                }
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it could not be told who asks")]
struct NobodyKnows;

/// Closes an answer; gives the one that takes its place, if one does.
fn close(context: &RequestContext, status: StatusCode, headers: &mut HeaderMap) -> Option<HttpResponse> {
    match context.close(status.as_u16(), |name| headers.contains_key(name)) {
        Closing::Append(more) => {
            for (name, value) in more {
                if Closing::replaces(name) {
                    headers.remove(name);
                }
                append(headers, name, value);
            }
            None
        }
        Closing::Replace(instead) => Some(convert::response(*instead)),
    }
}
