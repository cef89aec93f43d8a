//! Guards for routes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix_web::body::EitherBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, FromRequest, Handler, HttpMessage, HttpRequest};
use iam_core::{ObjectParent, ParentKey, ProofMethod, Purpose};
use iam_web::{Evidence, Progress, Rule, extractor_refused};

use crate::convert::{self, Context, View};
use crate::extract::Proof;

type BoxError = Box<dyn StdError>;
type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
type Found = Result<Option<ObjectParent>, BoxError>;
pub(crate) type Resolver = Arc<dyn for<'a> Fn(&'a HttpRequest) -> LocalBoxFuture<'a, Found> + Send + Sync>;

/// Lets only those pass who are signed in.
pub fn requires_login() -> Guard {
    Guard(Rule::login())
}

/// Lets only those pass who hold at least one of these roles. A name that no role can have stops the program when the guard is put on a
/// route.
#[track_caller]
pub fn requires_role<I>(names: I) -> Guard
where
    I: IntoIterator,
    I::Item: Into<Cow<'static, str>>,
{
    Guard(Rule::role(names))
}

/// Lets only those pass who have the same parent as the object of the request. `resolver` says which parent that is: an
/// async function of extractors that gives `Result<Option<ParentId>, E>`, or `Result<Option<ParentKey>, E>` where the host's objects have
/// the parent's key. An object that does not exist has no parent, and is refused like somebody else's. Neither costs a query of this
/// library's: who asks is known with id and key. A value that the client sent wrongly (`/documents/zz`) counts as an object that does not
/// exist. The body is not the resolver's to read: it finds none.
///
/// Where it is always the same parent, its key stands in place of the resolver:
///
/// ```
/// use actix_web::web::Path;
/// use iam_actix::ParentKey;
/// use iam_actix::{GuardedRouter, requires_parent};
/// # async fn handler() -> &'static str { "" }
///
/// /// For addresses such as `/acme/reports`.
/// async fn tenant(key: Path<String>) -> Result<Option<ParentKey>, std::convert::Infallible> {
///     Ok(ParentKey::parse(&key).ok())
/// }
///
/// let router = GuardedRouter::new()
///     .get("/{tenant}/reports", requires_parent(tenant), handler)
///     .get("/operations", requires_parent("acme"), handler);
/// ```
///
/// The resolver runs only for people who are signed in and have a parent, and only if its answer matters.
#[track_caller]
pub fn requires_parent<F, M>(resolver: F) -> Guard
where
    F: ParentResolver<M>,
{
    resolver.into_guard()
}

/// An async function of extractors that finds the parent of a request's object; or the key of one parent, whatever the request is about.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't say which parent an object has",
    label = "must be an async fn of extractors that gives Result<Option<ParentId>, E>, or with ParentKey; or one parent's key",
    note = "each argument must implement FromRequest, E must implement Into<Box<dyn Error>>, and the function must be Send and Sync"
)]
pub trait ParentResolver<M> {
    /// The guard that asks it.
    #[doc(hidden)]
    #[track_caller]
    fn into_guard(self) -> Guard;
}

/// In place of a resolver's extractors: nothing is asked.
#[doc(hidden)]
#[derive(Debug)]
pub struct ByKey(());

impl ParentResolver<ByKey> for &str {
    fn into_guard(self) -> Guard {
        Guard(Rule::parent_key(self))
    }
}

impl ParentResolver<ByKey> for ParentKey {
    fn into_guard(self) -> Guard {
        Guard(Rule::parent_key(self.as_str()))
    }
}

impl<F, Args, P, E> ParentResolver<(Args,)> for F
where
    F: Handler<Args, Output = Result<Option<P>, E>> + Send + Sync,
    Args: FromRequest + 'static,
    P: Into<ObjectParent>,
    E: Into<BoxError>,
{
    fn into_guard(self) -> Guard {
        let resolver: Resolver = Arc::new(move |request| {
            let resolver = self.clone();
            Box::pin(async move {
                match Args::from_request(request, &mut Payload::None).await {
                    Ok(arguments) => {
                        let found = resolver.call(arguments).await;
                        found.map(|parent| parent.map(Into::into)).map_err(Into::into)
                    }
                    Err(rejection) => {
                        let rejection: Error = rejection.into();
                        let status = rejection.as_response_error().status_code().as_u16();
                        let extractors = std::any::type_name::<Args>();
                        extractor_refused(status, extractors).map_err(|error| -> BoxError { error })
                    }
                }
            })
        });
        Guard(Rule::parent(resolver))
    }
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
/// use actix_web::web;
/// use iam_actix::requires_step_up;
/// # async fn payroll() -> &'static str { "" }
/// # async fn pay() -> &'static str { "" }
///
/// let see = requires_step_up("payroll").within(Duration::from_mins(10));
/// let pay_out = requires_step_up("pay").once().approving(["amount", "payee"]);
/// let app = actix_web::App::new()
///     .route("/payroll", web::get().to(payroll).wrap(see))
///     .route("/pay", web::post().to(pay).wrap(pay_out));
/// # let _ = app;
/// ```
#[track_caller]
pub fn requires_step_up(purpose: impl TryInto<Purpose, Error: fmt::Display>) -> Guard {
    Guard(Rule::step_up(purpose))
}

/// Lets those pass whom any of these guards does. Without any in the list nobody passes.
///
/// A resolver is asked only if no other guard lets the request pass without. What one of the guards says by
/// [`background`](Guard::background) goes for all; what [hides](Guard::hide) hides itself.
pub fn any_of(guards: impl IntoIterator<Item = Guard>) -> Guard {
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

/// A guard, for a [`GuardedRouter`](crate::GuardedRouter), or to `wrap` a route, a resource or a scope with.
///
/// On a route it protects that method, and must come after the handler: `web::get().to(handler).wrap(guard)`. On a resource
/// it protects every method, and answers before a wrong one is told so. On a scope it runs before the scope's routes are
/// looked at: there a resolver that takes a part of the path finds none, and everybody is refused.
///
/// An unsafe request (not `GET`, `HEAD`, `OPTIONS`, `TRACE`; or one that asks for another protocol, as a WebSocket does) passes only if it
/// comes from a page of an allowed origin or carries a CSRF token, or is a program's with a bearer token. Where the guard reads a body
/// itself, one with a `Content-Encoding` is refused (415).
///
/// Guards combine:
///
/// ```
/// use actix_web::web::{self, Path};
/// use iam_actix::{ParentId, any_of, requires_login, requires_parent, requires_role};
/// # async fn document() -> &'static str { "" }
/// async fn document_parent(id: Path<u64>) -> Result<Option<ParentId>, std::io::Error> {
///     Ok(None)
/// }
///
/// let readers = requires_parent(document_parent).and(requires_role(["reader"]));
/// let guard = any_of([readers, requires_role(["auditor"])]).or_platform_admin().hide();
/// let route = web::resource("/documents/{id}").get(document).wrap(guard);
/// # let _ = actix_web::App::new().service(route);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Guard(pub(crate) Rule<Resolver>);

impl Guard {
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

    /// Whether the request may go on; the error is the answer.
    async fn admit(&self, request: &mut ServiceRequest) -> Result<(), Error> {
        let context = Context::of(request.request())?;
        let mut evidence = Evidence::default();
        loop {
            let view = View::of(request.request());
            match context.check(&view, self.0.policy(), &evidence).await {
                Progress::Allow(granted) => {
                    request.extensions_mut().insert(Proof(granted));
                    return Ok(());
                }
                Progress::Refuse(response) => return Err(convert::refused(*response)),
                Progress::NeedObjectParent(question) => {
                    match self.object_parent(question, request.request()).await {
                        Ok(parent) => evidence.facts.answer(question, parent),
                        Err(error) => {
                            return Err(convert::refused(*context.unanswered(&view, error.as_ref())));
                        }
                    }
                }
                Progress::LookForForm => match convert::look_for_form(request.take_payload()).await {
                    Ok((form, whole)) => {
                        (evidence.larger, evidence.form) = (form.is_none(), form);
                        request.set_payload(whole);
                    }
                    Err(problem) => {
                        let view = View::of(request.request());
                        return Err(convert::refused(context.body_refused(&view, problem)));
                    }
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

    async fn object_parent(&self, question: usize, request: &HttpRequest) -> Found {
        match self.0.resolver(question) {
            Some(resolver) => resolver(request).await,
            None => Err("the guard has no resolver".into()),
        }
    }
}

impl fmt::Debug for Guard {
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
pub trait RouteGuard: sealed::Sealed {
    /// The guard, if there is one.
    #[doc(hidden)]
    fn into_guard(self) -> Option<Guard>;
}

impl RouteGuard for Guard {
    fn into_guard(self) -> Option<Self> {
        Some(self)
    }
}

impl RouteGuard for Public {
    fn into_guard(self) -> Option<Guard> {
        None
    }
}

/// What says who may pass is decided here: a guard of somebody else's would not be one.
mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Guard {}
    impl Sealed for super::Public {}
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
        self.0.policy().must_be_right(None);
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
