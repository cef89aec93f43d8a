//! Extractors: one fact each.

use std::fmt;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use iam_core::{Actor, Principal};
use iam_web::{Granted, WebResponse};

use crate::convert::{self, Context, View};

/// Who sends the request. Nobody signed in is refused as [`requires_login`](crate::requires_login) would.
///
/// Where nobody may be signed in, ask for [`MaybeUser`]. `Option<CurrentUser>` does not compile: it would make a store that
/// is down look like nobody. `Result<CurrentUser, Refusal>` does; but what a handler makes of a store that is down is not sent: the
/// layer puts a 503 in its place, and says so in the log.
///
/// ```compile_fail,E0277
/// async fn home(_: Option<iam_axum::CurrentUser>) {}
/// let _: axum::Router = axum::Router::new().route("/", axum::routing::get(home));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser(pub Principal);

/// Who sends the request, if anyone is signed in. A store that fails is refused, not taken for nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaybeUser(pub Option<CurrentUser>);

/// The session in which a stream is opened, to be asked while it runs: [`ended`](iam_web::SessionWatch::ended) waits until it is over.
/// Nobody signed in is refused, as by [`CurrentUser`].
///
/// ```
/// use std::time::Duration;
///
/// use axum::extract::ws::WebSocketUpgrade;
/// use axum::response::Response;
/// use iam_axum::SessionWatch;
///
/// async fn news(upgrade: WebSocketUpgrade, watch: SessionWatch) -> Response {
///     upgrade.on_upgrade(async move |mut socket| {
///         let ended = watch.ended(|| tokio::time::sleep(Duration::from_secs(30)));
///         tokio::select! {
///             () = ended => {}
///             _ = socket.recv() => {} // and whatever else goes on
///         }
///     })
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SessionWatch(pub iam_web::SessionWatch);

/// A token for the host's own forms: put it into a field `csrf_token`, or send it as the header `X-CSRF-Token`.
#[derive(Clone, PartialEq, Eq)]
pub struct CsrfToken(pub String);

/// The request's name in logs, answers and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Who acts by this request, as the audit log names it: the account that is signed in, the address as the trusted proxies tell it, the user
/// agent and the request's id. For what a handler does by [`Iam`](iam_core::Iam) in somebody's name, and for a host's own records. Nobody
/// signed in is refused, as by [`CurrentUser`].
///
/// ```
/// use iam_axum::{CurrentActor, Error, Iam, RoleName, Scope, Username};
///
/// // The route asks for the role `staff`, which may make accountants; of the library's own roles it needs none.
/// async fn promote(iam: &Iam, actor: &CurrentActor) -> Result<(), Error> {
///     let actor = actor.within(Scope::Platform);
///     if let Some(amy) = iam.accounts(&actor).by_username(&Username::parse("amy")?).await? {
///         iam.roles(&actor).grant(amy.id, &RoleName::parse("accountant")?).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// By itself it may administer what the person's `iam:` roles say. Where the service's own guard has decided, [`Actor::within`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentActor(pub Actor);

/// That a guard has let this request pass, and what it found out: who sends it, what was asked for, the object's parent.
///
/// A handler that takes it is never reached without a guard: where there is none, as behind [`public`](crate::public), the
/// answer is 500, and the log says why. Of several guards it is the innermost's.
///
/// ```
/// use iam_axum::Proof;
///
/// async fn document(proof: Proof) -> String {
///     format!("{} reads what belongs to {:?}", proof.principal().username(), proof.object_parent())
/// }
/// ```
///
/// Nobody else can make one:
///
/// ```compile_fail,E0603
/// fn forged(granted: iam_axum::Granted) -> iam_axum::Proof {
///     iam_axum::Proof(granted.into())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(pub(crate) Box<Granted>);

/// The answer to a request that an extractor refuses.
#[derive(Debug)]
pub struct Refusal(Box<Response>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Box<Response>> for Refusal {
    fn from(response: Box<Response>) -> Self {
        Self(response)
    }
}

impl From<Box<WebResponse>> for Refusal {
    fn from(response: Box<WebResponse>) -> Self {
        Self(Box::new(convert::response(*response)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.required_principal(&View::of(parts)).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentActor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.actor(&View::of(parts)).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.principal(&View::of(parts)).await?.map(CurrentUser)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Proof {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let missing = || Box::new(iam_web::guard_missing(crate::convert::route(parts)));
        Ok(parts.extensions.get::<Self>().cloned().ok_or_else(missing)?)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionWatch {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.watch(&View::of(parts)).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CsrfToken {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.form_token(&View::of(parts)).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let context = Context::of(parts)?;
        Ok(Self(context.request_id(&View::of(parts)).to_owned()))
    }
}

impl Deref for CurrentUser {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl Deref for CurrentActor {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.0
    }
}

impl Deref for SessionWatch {
    type Target = iam_web::SessionWatch;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Deref for Proof {
    type Target = Granted;

    fn deref(&self) -> &Granted {
        &self.0
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(..)")
    }
}
