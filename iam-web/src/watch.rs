//! The watch of a stream: whether the session in which it was opened is over.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use iam_core::protocol::{Activity, Decision, Facts, Step, TokenHash};
use iam_core::{Error, Iam, Principal, Requirement};

use crate::context::RequestContext;
use crate::message::{RequestView, WebResponse};

/// The session that a stream was opened in, to be asked while the stream runs: a guard looks once, and people sign out or lose a role
/// afterwards.
///
/// It is over with the session, and as soon as the token that opened the stream is replaced by another one (after a change of password, for
/// one): the client opens the stream anew then. It is over, too, when a guard that let the stream begin would not let its owner pass any
/// more. A proof that is good for one request does not outlive it.
#[derive(Clone)]
pub struct SessionWatch {
    iam: Iam,
    /// Not the token itself: nothing secret is kept for as long as a stream runs.
    token: TokenHash,
    /// What the guards wanted, with what they were told.
    guards: Vec<(Arc<Requirement>, Facts)>,
}

impl SessionWatch {
    /// Who is signed in now; nobody once it is over. One read from the store, and another one where a guard asked for a step-up.
    ///
    /// [`Activity::Background`] keeps nobody signed in, as is right for a timer. [`Activity::Active`] is for what a person does on the
    /// stream: it begins the idle time-out anew.
    pub async fn principal(&self, activity: Activity) -> Result<Option<Principal>, Error> {
        let Some(principal) = self.iam.protocol().still_signed_in(&self.token, activity).await? else {
            return Ok(None);
        };
        let asks = |(guard, _): &(Arc<Requirement>, Facts)| guard.step_ups().next().is_some();
        let principal = if self.guards.iter().any(asks) {
            self.iam.protocol().with_step_up_proofs(&principal).await?
        } else {
            principal
        };
        let passes = |principal: &Principal| {
            let mut guards = self.guards.iter();
            guards.all(|(guard, facts)| {
                matches!(guard.decide(Some(principal), facts), Step::Done(Decision::Allow))
            })
        };
        Ok(Some(principal).filter(passes))
    }

    /// Waits until it is over, or can't be told. It looks after each `pause`, such as `|| tokio::time::sleep(Duration::from_secs(30))`: the
    /// stream outlives its session by no more than one.
    pub fn ended<F, P>(&self, pause: F) -> impl Future<Output = ()> + use<F, P>
    where
        F: Fn() -> P,
        P: Future,
    {
        let watch = self.clone();
        async move {
            loop {
                pause().await;
                match watch.principal(Activity::Background).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "a stream ends: it can't be told whether its session is over");
                        return;
                    }
                }
            }
        }
    }
}

/// Without the hash, by which a session could be found.
impl fmt::Debug for SessionWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWatch").field("guards", &self.guards).finish_non_exhaustive()
    }
}

impl RequestContext {
    /// What a stream asks while it runs, for somebody who is signed in; or the answer to somebody who is not.
    pub async fn watch(&self, view: &dyn RequestView) -> Result<SessionWatch, Box<WebResponse>> {
        self.required_principal(view).await?;
        let caller = self.caller(view, Activity::Active).await?;
        match &caller.token {
            Some(token) => {
                Ok(SessionWatch { iam: self.iam().clone(), token: token.hash(), guards: self.passed() })
            }
            None => Err(Box::new(self.unauthenticated(view))),
        }
    }
}
