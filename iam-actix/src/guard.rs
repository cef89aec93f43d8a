//! Guards for routes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest};
use iam_core::flow::Activity;
use iam_core::guard::Requirement;
use iam_core::id::ParentId;
use iam_web::{Evidence, Progress, extractor_refused};

use crate::convert::{self, Context, View};

type BoxError = Box<dyn StdError>;
type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
type Found = Result<Option<ParentId>, BoxError>;
type Resolver = Arc<dyn for<'a> Fn(&'a HttpRequest) -> LocalBoxFuture<'a, Found> + Send + Sync>;

/// Lets only those pass who are signed in.
pub fn requires_login() -> Guard {
    Guard::new(Requirement::SignedIn)
}

/// Lets only those pass who hold at least one of these roles.
pub fn requires_role<I>(names: I) -> Guard
where
    I: IntoIterator,
    I::Item: Into<Cow<'static, str>>,
{
    Guard::new(Requirement::AnyRole(names.into_iter().map(Into::into).collect()))
}

/// Lets only those pass who have the same parent as the object of the request. `resolver` says which parent that is: an
/// async function of extractors that gives `Result<Option<ParentId>, E>`. An object that does not exist has no parent, and
/// is refused like somebody else's. A value that the client sent wrongly (`/documents/zz`) counts as an object that does not
/// exist. The body is not the resolver's to read: it finds none.
///
/// The resolver runs only for people who are signed in and have a parent.
pub fn requires_parent<F, Args, E>(resolver: F) -> Guard
where
    F: Handler<Args, Output = Result<Option<ParentId>, E>> + Send + Sync,
    Args: FromRequest + 'static,
    E: Into<BoxError>,
{
    let resolver: Resolver = Arc::new(move |request| {
        let resolver = resolver.clone();
        Box::pin(async move {
            match Args::from_request(request, &mut Payload::None).await {
                Ok(arguments) => resolver.call(arguments).await.map_err(Into::into),
                Err(rejection) => {
                    let rejection: Error = rejection.into();
                    let status = rejection.as_response_error().status_code().as_u16();
                    extractor_refused(status).map_err(|error| -> BoxError { error })
                }
            }
        })
    });
    Guard { resolver: Some(resolver), ..Guard::new(Requirement::SameParent) }
}

/// A guard, to `wrap` a route, a resource or a scope with.
///
/// On a route it protects that method, and must come after the handler: `web::get().to(handler).wrap(guard)`. On a resource
/// it protects every method, and answers before a wrong one is told so. On a scope it runs before the scope's routes are
/// looked at: there a resolver that takes a part of the path finds none, and everybody is refused.
///
/// An unsafe request (not `GET`, `HEAD`, `OPTIONS`, `TRACE`) passes only if it comes from a page of an allowed origin or
/// carries a CSRF token.
#[derive(Clone)]
#[must_use]
pub struct Guard {
    requirement: Requirement,
    activity: Activity,
    resolver: Option<Resolver>,
}

impl Guard {
    fn new(requirement: Requirement) -> Self {
        Self { requirement, activity: Activity::Active, resolver: None }
    }

    /// For requests that a page sends by itself, such as polls: they keep nobody signed in.
    pub fn background(self) -> Self {
        Self { activity: Activity::Background, ..self }
    }

    /// Whether the request may go on; the error is the answer.
    async fn admit(&self, request: &mut ServiceRequest) -> Result<(), Error> {
        let context = Context::of(request.request())?.request;
        let mut evidence = Evidence::default();
        loop {
            let view = View::of(request.request());
            match context.check(&view, &self.requirement, self.activity, &evidence).await {
                Progress::Allow(_) => return Ok(()),
                Progress::Refuse(response) => return Err(convert::refused(*response)),
                Progress::NeedObjectParent => match self.object_parent(request.request()).await {
                    Ok(parent) => evidence.object_parent = Some(parent),
                    Err(error) => return Err(convert::refused(*context.unanswered(&view, error.as_ref()))),
                },
                Progress::NeedForm => match convert::read_body(request.take_payload()).await {
                    Ok(form) => {
                        evidence.form = Some(form.clone());
                        request.set_payload(form.into());
                    }
                    Err(problem) => {
                        let view = View::of(request.request());
                        return Err(convert::refused(context.body_refused(&view, problem)));
                    }
                },
            }
        }
    }

    async fn object_parent(&self, request: &HttpRequest) -> Found {
        match &self.resolver {
            Some(resolver) => resolver(request).await,
            None => Err("the guard has no resolver".into()),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.requirement).finish()
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = GuardService<S>;
    type InitError = ();
    type Future = Ready<Result<GuardService<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(GuardService { guard: Rc::new(self.clone()), inner: Rc::new(inner) }))
    }
}

/// The service of a [`Guard`].
pub struct GuardService<S> {
    guard: Rc<Guard>,
    inner: Rc<S>,
}

impl<S> fmt::Debug for GuardService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardService").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl<S, B> Service<ServiceRequest> for GuardService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&self, cx: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let (guard, inner) = (Rc::clone(&self.guard), Rc::clone(&self.inner));
        Box::pin(async move {
            match guard.admit(&mut request).await {
                Ok(()) => inner.call(request).await.map(ServiceResponse::map_into_left_body),
                Err(refusal) => Ok(request.error_response(refusal).map_into_right_body()),
            }
        })
    }
}
