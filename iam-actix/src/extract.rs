//! Extractors: one fact each.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use iam_core::{Actor, Principal};
use iam_web::Granted;

use crate::convert::{Context, View, refused};

/// Who sends the request. Nobody signed in is refused as [`requires_login`](crate::requires_login) would.
///
/// Where nobody may be signed in, ask for [`MaybeUser`] and not for `Option<CurrentUser>`: actix-web makes any failure a
/// `None`, so that with the store down everybody would look signed out. The answer of a handler that went on like that is
/// not sent: the layer puts a 503 in its place, and says so in the log.
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
/// use actix_web::{Error, HttpRequest, HttpResponse, web::Payload};
/// use futures_util::StreamExt;
/// use iam_actix::SessionWatch;
///
/// async fn news(request: HttpRequest, body: Payload, watch: SessionWatch) -> Result<HttpResponse, Error> {
///     let (response, session, mut messages) = actix_ws::handle(&request, body)?;
///     actix_web::rt::spawn(async move {
///         let ended = watch.ended(|| actix_web::rt::time::sleep(Duration::from_secs(30)));
///         tokio::select! {
///             () = ended => {}
///             _ = messages.next() => {} // and whatever else goes on
///         }
///         let _ = session.close(None).await;
///     });
///     Ok(response)
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
/// use iam_actix::{CurrentActor, Error, Iam, RoleName, Scope, Username};
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
/// use iam_actix::Proof;
///
/// async fn document(proof: Proof) -> String {
///     format!("{} reads what belongs to {:?}", proof.principal().username(), proof.object_parent())
/// }
/// ```
///
/// Nobody else can make one:
///
/// ```compile_fail,E0603
/// fn forged(granted: iam_actix::Granted) -> iam_actix::Proof {
///     iam_actix::Proof(granted.into())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof(pub(crate) Box<Granted>);

/// An extractor's future: it belongs to the worker, as the request does.
type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

impl FromRequest for CurrentUser {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = Context::of(&request)?;
            let principal = context.required_principal(&View::of(&request)).await;
            principal.map(Self).map_err(|refusal| refused(*refusal))
        })
    }
}

impl FromRequest for CurrentActor {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = Context::of(&request)?;
            context.actor(&View::of(&request)).await.map(Self).map_err(|refusal| refused(*refusal))
        })
    }
}

impl FromRequest for MaybeUser {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = Context::of(&request)?;
            let principal =
                context.principal(&View::of(&request)).await.map_err(|refusal| refused(*refusal))?;
            Ok(Self(principal.map(CurrentUser)))
        })
    }
}

impl FromRequest for SessionWatch {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = Context::of(&request)?;
            context.watch(&View::of(&request)).await.map(Self).map_err(|refusal| refused(*refusal))
        })
    }
}

impl FromRequest for CsrfToken {
    type Error = Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let context = Context::of(&request)?;
            context.form_token(&View::of(&request)).await.map(Self).map_err(|refusal| refused(*refusal))
        })
    }
}

impl FromRequest for Proof {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let missing = || refused(iam_web::guard_missing(request.match_pattern().as_deref()));
        ready(request.extensions().get::<Self>().cloned().ok_or_else(missing))
    }
}

impl FromRequest for RequestId {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = Context::of(request);
        ready(context.map(|context| Self(context.request_id(&View::of(request)).to_owned())))
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
