//! Guards for routes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use iam_core::flow::Activity;
use iam_core::guard::Requirement;
use iam_core::id::ParentId;
use iam_web::{Evidence, Progress, extractor_refused};
use tower_layer::Layer;
use tower_service::Service;

use crate::convert::{self, Context, View};

type BoxError = Box<dyn StdError + Send + Sync>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Resolver<S> = Arc<
    dyn for<'a> Fn(&'a mut Parts, &'a S) -> BoxFuture<'a, Result<Option<ParentId>, BoxError>> + Send + Sync,
>;

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
/// is refused like somebody else's. If the resolver takes `State<S>`, give it its state with [`Guard::with_state`].
///
/// The resolver runs only for people who are signed in and have a parent.
pub fn requires_parent<F, M, S>(resolver: F) -> Guard<S>
where
    F: ParentResolver<M, S>,
    M: 'static,
    S: Sync,
{
    let resolver: Resolver<S> =
        Arc::new(move |parts, state| Box::pin(resolver.clone().resolve(parts, state)));
    Guard { requirement: Requirement::SameParent, activity: Activity::Active, resolver: Some(resolver) }
}

/// A guard, for `route_layer`.
///
/// It protects the methods that the route has **when the guard is added**: `get(a).route_layer(guard).post(b)` leaves `b`
/// open. Guard last, or guard each method by itself.
///
/// An unsafe request (not `GET`, `HEAD`, `OPTIONS`, `TRACE`) passes only if it comes from a page of an allowed origin or
/// carries a CSRF token.
#[must_use]
pub struct Guard<S = ()> {
    requirement: Requirement,
    activity: Activity,
    resolver: Option<Resolver<S>>,
}

impl Guard {
    fn new(requirement: Requirement) -> Self {
        Self { requirement, activity: Activity::Active, resolver: None }
    }
}

impl<S> Guard<S> {
    /// For requests that a page sends by itself, such as polls: they keep nobody signed in.
    pub fn background(self) -> Self {
        Self { activity: Activity::Background, ..self }
    }
}

impl<S: Clone + Send + Sync + 'static> Guard<S> {
    /// The state that the resolver's `State` extractors take theirs from.
    pub fn with_state(self, state: S) -> Guard {
        let resolver = self.resolver.map(|resolver| -> Resolver<()> {
            Arc::new(move |parts, (): &()| {
                let (resolver, state) = (Arc::clone(&resolver), state.clone());
                Box::pin(async move { resolver(parts, &state).await })
            })
        });
        Guard { requirement: self.requirement, activity: self.activity, resolver }
    }
}

impl<S> Clone for Guard<S> {
    fn clone(&self) -> Self {
        Self {
            requirement: self.requirement.clone(),
            activity: self.activity,
            resolver: self.resolver.clone(),
        }
    }
}

impl<S> fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.requirement).finish()
    }
}

impl Guard {
    /// The request, if it may go on, else the answer.
    async fn admit(&self, request: Request) -> Result<Request, Box<Response>> {
        let (mut parts, mut body) = request.into_parts();
        let context = Context::of(&parts)?;
        let mut evidence = Evidence::default();
        loop {
            let progress =
                context.check(&View::of(&parts), &self.requirement, self.activity, &evidence).await;
            match progress {
                Progress::Allow(_) => return Ok(Request::from_parts(parts, body)),
                Progress::Refuse(response) => return Err(Box::new(convert::response(*response))),
                Progress::NeedObjectParent => match self.object_parent(&mut parts).await {
                    Ok(parent) => evidence.object_parent = Some(parent),
                    Err(error) => {
                        let response = context.unanswered(&View::of(&parts), error.as_ref());
                        return Err(Box::new(convert::response(*response)));
                    }
                },
                Progress::NeedForm => match convert::read_body(body).await {
                    Ok(form) => {
                        evidence.form = Some(form.clone());
                        body = Body::from(form);
                    }
                    Err(problem) => {
                        let response = context.body_refused(&View::of(&parts), problem);
                        return Err(Box::new(convert::response(response)));
                    }
                },
            }
        }
    }

    async fn object_parent(&self, parts: &mut Parts) -> Result<Option<ParentId>, BoxError> {
        match &self.resolver {
            Some(resolver) => resolver(parts, &()).await,
            None => Err("the guard has no resolver".into()),
        }
    }
}

impl<S> Layer<S> for Guard {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { guard: Arc::new(self.clone()), inner }
    }
}

/// The service of a [`Guard`].
#[derive(Clone, Debug)]
pub struct GuardService<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S> Service<Request> for GuardService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        // The service that was polled ready is the one to call: the clone takes its place (see tower's `Service`).
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            match guard.admit(request).await {
                Ok(request) => inner.call(request).await,
                Err(response) => Ok(*response),
            }
        })
    }
}

/// An async function of extractors that finds the parent of a request's object.
///
/// A value that the client sent wrongly (`/documents/zz`) counts as an object that does not exist.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't say which parent an object has",
    label = "must be an async fn of up to four extractors that gives Result<Option<ParentId>, E>",
    note = "each argument must implement FromRequestParts, E must implement Into<Box<dyn Error + Send + Sync>>"
)]
pub trait ParentResolver<M, S>: Clone + Send + Sync + 'static {
    /// Finds it.
    fn resolve(
        self,
        parts: &mut Parts,
        state: &S,
    ) -> impl Future<Output = Result<Option<ParentId>, BoxError>> + Send;
}

macro_rules! resolvers {
    ($(($($T:ident),*))*) => {$(
        impl<F, Fut, S, E, $($T,)*> ParentResolver<($($T,)*), S> for F
        where
            F: Fn($($T,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Option<ParentId>, E>> + Send,
            E: Into<BoxError>,
            S: Sync,
            $($T: FromRequestParts<S> + Send,)*
        {
            #[allow(
                non_snake_case,
                unused_variables,
                clippy::allow_attributes,
                reason = "the arguments have their types' names, and one form of the macro has none"
            )]
            async fn resolve(self, parts: &mut Parts, state: &S) -> Result<Option<ParentId>, BoxError> {
                $(let $T = match $T::from_request_parts(parts, state).await {
                    Ok(value) => value,
                    Err(rejection) => return extractor_refused(rejection.into_response().status().as_u16()),
                };)*
                self($($T,)*).await.map_err(Into::into)
            }
        }
    )*};
}

resolvers! { () (T1) (T1, T2) (T1, T2, T3) (T1, T2, T3, T4) }
