//! Guards for routes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use iam_core::{ObjectParent, ParentKey, ProofMethod, Purpose};
use iam_web::{Evidence, Progress, Rule, extractor_refused};
use tower_layer::Layer;
use tower_service::Service;

use crate::convert::{self, Context, View};
use crate::extract::Proof;

type BoxError = Box<dyn StdError + Send + Sync>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub(crate) type Resolver<S> = Arc<
    dyn for<'a> Fn(&'a mut Parts, &'a S) -> BoxFuture<'a, Result<Option<ObjectParent>, BoxError>>
        + Send
        + Sync,
>;

/// Lets only those pass who are signed in.
pub fn requires_login<S>() -> Guard<S> {
    Guard(Rule::login())
}

/// Lets only those pass who hold at least one of these roles. A name that no role can have stops the program when the guard is put on a
/// route.
#[track_caller]
pub fn requires_role<I, S>(names: I) -> Guard<S>
where
    I: IntoIterator,
    I::Item: Into<Cow<'static, str>>,
{
    Guard(Rule::role(names))
}

/// Lets only those pass who have the same parent as the object of the request. `resolver` says which parent that is: an
/// async function of extractors that gives `Result<Option<ParentId>, E>`, or `Result<Option<ParentKey>, E>` where the host's objects have
/// the parent's key. An object that does not exist has no parent, and is refused like somebody else's. Neither costs a query of this
/// library's: who asks is known with id and key.
///
/// Where it is always the same parent, its key stands in place of the resolver:
///
/// ```
/// use iam_axum::ParentKey;
/// use iam_axum::{GuardedRouter, requires_parent};
/// # use axum::extract::Path;
/// # async fn handler() {}
///
/// /// For addresses such as `/acme/reports`.
/// async fn tenant(Path(key): Path<String>) -> Result<Option<ParentKey>, std::convert::Infallible> {
///     Ok(ParentKey::parse(&key).ok())
/// }
///
/// let router: GuardedRouter = GuardedRouter::new()
///     .get("/{tenant}/reports", requires_parent(tenant), handler)
///     .get("/operations", requires_parent("acme"), handler);
/// ```
///
/// The resolver may take `State` where the guard is an argument of a [`GuardedRouter`](crate::GuardedRouter). A layer can't see
/// the router's state: there, give it its state with [`Guard::with_state`].
///
/// It runs only for people who are signed in and have a parent, and only if its answer matters.
#[track_caller]
pub fn requires_parent<F, M, S>(resolver: F) -> Guard<S>
where
    F: ParentResolver<M, S>,
{
    resolver.into_guard()
}

/// Lets only those pass who have proved lately, for this purpose alone, who they are (RFC 9470): by an authenticator app within the last
/// five minutes, unless the guard says otherwise ([`within`](Guard::within), [`factors`](Guard::factors), [`once`](Guard::once),
/// [`approving`](Guard::approving)). Signing in is no such proof, and a proof for one purpose opens no other.
///
/// A page is sent to where the code is asked for, and back; a form that was stopped is shown and sent once after that. A program is told
/// purpose, methods and where to go. Purposes are lower-case letters, digits and `_ . : -`, beginning with a letter, at most 32; a name
/// that is none stops the program when the guard is put on a route, and so does everything else in a guard that would refuse everybody
/// without a word. Who wants to be told earlier gives a `const`
/// ([`Purpose::of`](iam_core::Purpose::of)), which then does not compile.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::{get, post}};
/// use iam_axum::requires_step_up;
/// # async fn payroll() {}
/// # async fn pay() {}
///
/// let see = requires_step_up("payroll").within(Duration::from_mins(10));
/// let pay_out = requires_step_up("pay").once().approving(["amount", "payee"]);
/// let app: Router = Router::new()
///     .route("/payroll", get(payroll).route_layer(see))
///     .route("/pay", post(pay).route_layer(pay_out));
/// ```
#[track_caller]
pub fn requires_step_up<S>(purpose: impl TryInto<Purpose, Error: fmt::Display>) -> Guard<S> {
    Guard(Rule::step_up(purpose))
}

/// Lets those pass whom any of these guards does. Without any in the list nobody passes.
///
/// A resolver is asked only if no other guard lets the request pass without. What one of the guards says by
/// [`background`](Guard::background) goes for all; what [hides](Guard::hide) hides itself.
pub fn any_of<S>(guards: impl IntoIterator<Item = Guard<S>>) -> Guard<S> {
    Guard(Rule::any_of(guards.into_iter().map(|guard| guard.0)))
}

/// Lets everybody pass, on purpose: what a [`GuardedRouter`](crate::GuardedRouter) wants in place of a guard.
pub fn public() -> Public {
    Public(())
}

/// See [`public`]. It can't be combined with a guard.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Public(());

/// A guard, for a [`GuardedRouter`](crate::GuardedRouter), or for `route_layer`.
///
/// As a layer it protects the methods that the route has **when the guard is added**: `get(a).route_layer(guard).post(b)`
/// leaves `b` open. Guard last, or guard each method by itself.
///
/// An unsafe request (not `GET`, `HEAD`, `OPTIONS`, `TRACE`; or one that asks for another protocol, as a WebSocket does) passes only if it
/// comes from a page of an allowed origin or carries a CSRF token, or is a program's with a bearer token. Where the guard reads a body
/// itself, one with a `Content-Encoding` is refused (415).
///
/// Guards combine:
///
/// ```
/// use axum::{Router, extract::Path, routing::get};
/// use iam_axum::{ParentId, any_of, requires_login, requires_parent, requires_role};
/// # async fn document() {}
/// async fn document_parent(Path(id): Path<u64>) -> Result<Option<ParentId>, std::io::Error> {
///     Ok(None)
/// }
///
/// let readers = requires_parent(document_parent).and(requires_role(["reader"]));
/// let guard = any_of([readers, requires_role(["auditor"])]).or_platform_admin().hide();
/// let app: Router = Router::new().route("/documents/{id}", get(document).route_layer(guard));
/// ```
#[must_use]
pub struct Guard<S = ()>(pub(crate) Rule<Resolver<S>>);

impl<S> Guard<S> {
    /// Lets those pass whom both let pass. What one of them says by
    /// [`background`](Self::background) goes for both; what [hides](Self::hide) hides itself.
    pub fn and(self, other: Self) -> Self {
        Self(self.0.and(other.0))
    }

    /// Lets those pass, too, who hold the role `iam:platform-admin`. No other guard does that by itself.
    pub fn or_platform_admin(self) -> Self {
        Self(self.0.or_platform_admin())
    }

    /// How old the proof of a [`requires_step_up`] may be, from a second to an hour. Default: five minutes. It goes for every step-up
    /// of this guard, as do the three below. Another age, and a guard without a step-up, stop the program when the guard is put on a route.
    #[track_caller]
    pub fn within(self, age: Duration) -> Self {
        Self(self.0.within(age))
    }

    /// Only by these factors, whatever the service's policy counts for step-up. It is the one way in which codes by e-mail, recovery
    /// codes and the password count.
    #[track_caller]
    pub fn factors(self, kinds: impl IntoIterator<Item = impl Into<ProofMethod>>) -> Self {
        Self(self.0.factors(kinds))
    }

    /// Each proof is good for one request. It is used up before the handler runs, and not given back whatever becomes of that.
    #[track_caller]
    pub fn once(self) -> Self {
        Self(self.0.once())
    }

    /// The proof is good only for these values of the request's fields, which its sender is shown: those of an url-encoded form or of a
    /// JSON object, of at most 16 KiB. A proof for other values, or for none, does not count. A name
    /// that no field has, one that is there twice, and none at all stop the program when the guard is put on a route.
    ///
    /// The handler reads the body as it was sent. A JSON text is approved as such, all else as it is written: `100`, `100.0` and `1e2` are three
    /// values, `null` is one, what is nested keeps its spaces; a text that could be taken for JSON keeps its quotation marks. A
    /// field that is missing or there twice is 422, and so is a value that nobody could read (`docs/STEP_UP.md`).
    #[track_caller]
    pub fn approving(self, fields: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        Self(self.0.approving(fields))
    }

    /// Answers 404 in place of 403, so that what is not theirs looks to people who are signed in like what is not there. Nobody
    /// signed in is still asked to sign in: else they never could.
    ///
    /// It goes for what was written so far, and for nothing that is added:
    /// `requires_parent(document_parent).hide().and(requires_role(["editor"]))` says 404 for another tenant's document, whatever else is
    /// missing, and 403 to a reader of the own one. For that the resolver is asked, too, where the role refuses already. With the `hide`
    /// at the end it is 404 for both.
    pub fn hide(self) -> Self {
        Self(self.0.hide())
    }

    /// For requests that a page sends by itself, such as polls: they keep nobody signed in.
    pub fn background(self) -> Self {
        Self(self.0.background())
    }

    /// The request, if it may go on, else the answer.
    pub(crate) async fn admit(&self, request: Request, state: &S) -> Result<Request, Box<Response>> {
        let (mut parts, mut body) = request.into_parts();
        let context = Context::of(&parts)?;
        let mut evidence = Evidence::default();
        loop {
            match context.check(&View::of(&parts), self.0.policy(), &evidence).await {
                Progress::Allow(granted) => {
                    parts.extensions.insert(Proof(granted));
                    return Ok(Request::from_parts(parts, body));
                }
                Progress::Refuse(response) => return Err(Box::new(convert::response(*response))),
                Progress::NeedObjectParent(question) => {
                    match self.object_parent(question, &mut parts, state).await {
                        Ok(parent) => evidence.facts.answer(question, parent),
                        Err(error) => {
                            let response = context.unanswered(&View::of(&parts), error.as_ref());
                            return Err(Box::new(convert::response(*response)));
                        }
                    }
                }
                Progress::LookForForm => match convert::look_for_form(body).await {
                    Ok((form, whole)) => {
                        (evidence.larger, evidence.form) = (form.is_none(), form);
                        body = whole;
                    }
                    Err(problem) => {
                        let response = context.body_refused(&View::of(&parts), problem);
                        return Err(Box::new(convert::response(response)));
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

    async fn object_parent(
        &self,
        question: usize,
        parts: &mut Parts,
        state: &S,
    ) -> Result<Option<ObjectParent>, BoxError> {
        match self.0.resolver(question) {
            Some(resolver) => resolver(parts, state).await,
            None => Err("the guard has no resolver".into()),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Guard<S> {
    /// The state that the resolvers' `State` extractors take theirs from.
    pub fn with_state<T>(self, state: S) -> Guard<T> {
        Guard(self.0.map_resolvers(|resolver| -> Resolver<T> {
            let state = state.clone();
            Arc::new(move |parts, _| {
                let (resolver, state) = (Arc::clone(&resolver), state.clone());
                Box::pin(async move { resolver(parts, &state).await })
            })
        }))
    }
}

impl<S> Clone for Guard<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.0.policy())
    }
}

/// Who may pass a route of a [`GuardedRouter`](crate::GuardedRouter): a [`Guard`], or everybody by [`public`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no guard",
    label = "a guard belongs here, before the handler",
    note = "say who may pass: requires_login(), requires_role([..]), requires_parent(..), requires_step_up(..), any_of([..]), or public() for everybody"
)]
pub trait RouteGuard<S>: sealed::Sealed {
    /// The guard, if there is one.
    #[doc(hidden)]
    fn into_guard(self) -> Option<Guard<S>>;
}

impl<S> RouteGuard<S> for Guard<S> {
    fn into_guard(self) -> Option<Self> {
        Some(self)
    }
}

impl<S> RouteGuard<S> for Public {
    fn into_guard(self) -> Option<Guard<S>> {
        None
    }
}

/// What says who may pass is decided here: a guard of somebody else's would not be one.
mod sealed {
    pub trait Sealed {}
    impl<S> Sealed for super::Guard<S> {}
    impl Sealed for super::Public {}
}

impl<S> Layer<S> for Guard {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.policy().must_be_right(None);
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
            match guard.admit(request, &()).await {
                Ok(request) => inner.call(request).await,
                Err(response) => Ok(*response),
            }
        })
    }
}

/// An async function of extractors that finds the parent of a request's object; or the key of one parent, whatever the request is about.
///
/// A value that the client sent wrongly (`/documents/zz`) counts as an object that does not exist.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't say which parent an object has",
    label = "must be an async fn of up to four extractors that gives Result<Option<ParentId>, E>, or with ParentKey; or one parent's key",
    note = "each argument must implement FromRequestParts, E must implement Into<Box<dyn Error + Send + Sync>>"
)]
pub trait ParentResolver<M, S> {
    /// The guard that asks it.
    #[doc(hidden)]
    #[track_caller]
    fn into_guard(self) -> Guard<S>;
}

/// In place of a resolver's extractors: nothing is asked.
#[doc(hidden)]
#[derive(Debug)]
pub struct ByKey(());

impl<S> ParentResolver<ByKey, S> for &str {
    fn into_guard(self) -> Guard<S> {
        Guard(Rule::parent_key(self))
    }
}

impl<S> ParentResolver<ByKey, S> for ParentKey {
    fn into_guard(self) -> Guard<S> {
        Guard(Rule::parent_key(self.as_str()))
    }
}

macro_rules! resolvers {
    ($(($($T:ident),*))*) => {$(
        impl<F, Fut, S, P, E, $($T,)*> ParentResolver<($($T,)*), S> for F
        where
            F: Fn($($T,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Option<P>, E>> + Send,
            P: Into<ObjectParent>,
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
            fn into_guard(self) -> Guard<S> {
                let resolver: Resolver<S> = Arc::new(move |parts, state| {
                    let resolver = self.clone();
                    Box::pin(async move {
                        $(let $T = match $T::from_request_parts(parts, state).await {
                            Ok(value) => value,
                            Err(rejection) => {
                                let status = rejection.into_response().status().as_u16();
                                return extractor_refused(status, std::any::type_name::<$T>());
                            }
                        };)*
                        let found = resolver($($T,)*).await;
                        found.map(|parent| parent.map(Into::into)).map_err(Into::into)
                    })
                });
                Guard(Rule::parent(resolver))
            }
        }
    )*};
}

resolvers! { () (T1) (T1, T2) (T1, T2, T3) (T1, T2, T3, T4) }
