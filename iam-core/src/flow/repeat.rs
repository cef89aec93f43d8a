//! Carrying out once what comes twice: of several equal requests that would renew a session one is carried out, and the others get its
//! answer, as long as nobody has used what it gave.

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::authz::standing::Standing;
use crate::base::clock::Timestamp;
use crate::base::id::SessionId;
use crate::flow::Claimant;
use crate::iam::{Iam, Protocol};
use crate::model::error::Error;
use crate::model::repeat::{Claim, ClaimOutcome, KeptAnswer, KeptRequest, Repeatable};
use crate::model::token::TokenHash;
use crate::secrets::seal::{KeyRing, Place};

/// How long after its success a request is answered once more.
pub const REPEATABLE_FOR: Duration = Duration::from_secs(10);

/// After that nobody is carrying a request out any more: whoever claimed it has died.
pub(super) const CLAIMED_FOR: Duration = Duration::from_secs(30);

/// How long a request waits for an equal one that is being carried out.
const WAITS_FOR: Duration = Duration::from_secs(10);

/// How often it looks, at first and at last.
const LOOKS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(160)];

/// The most that is kept of an answer.
const MOST_KEPT: usize = 16 * 1024;

/// What to do with a request that may have come before.
#[must_use]
pub enum Begun {
    /// It is the first of its kind: it is to be carried out, and [`Protocol::end_repeatable`] to be told what came of it.
    First(First),
    /// An equal one was carried out: this is the answer.
    Answered(Zeroizing<Vec<u8>>),
    /// It is as any other request.
    Ordinary,
}

/// An answer holds a token.
impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First(_) => "First(..)",
            Self::Answered(_) => "Answered(..)",
            Self::Ordinary => "Ordinary",
        })
    }
}

/// A request that is carried out, while equal ones wait.
#[derive(Debug)]
#[must_use]
pub struct First {
    claim: Claim,
    /// Seals the answer; only who sends the same request once more has it.
    key: KeyRing,
}

/// What became of a request that came before.
enum Before {
    /// There is none.
    Nothing,
    /// It is being carried out.
    UnderWay,
    /// It was answered, so ...
    Answered(Zeroizing<Vec<u8>>),
    /// ... or it can't be answered once more.
    Over,
}

impl Protocol<'_> {
    /// Begins a request whose success renews the session `of` whoever sends it. Somebody whose token is dead already can't begin one, and
    /// only gets the answer to an equal one. What finds no room beside others of its session is carried out all the same, and once for each
    /// time that it comes.
    ///
    /// The caller answers for it that the request holds something that nobody knows who knows its token alone.
    ///
    /// # Errors
    /// [`Error::Busy`] when an equal one takes too long.
    pub async fn begin_repeatable(
        self,
        request: &Repeatable<'_>,
        of: Option<&Claimant>,
    ) -> Result<Begun, Error> {
        let iam = self.iam;
        let old_token = request.token.hash();
        let digest = iam.inner.repeat_key.tag(&request.parts(old_token.as_bytes()));
        let key =
            KeyRing::single(iam.inner.repeat_seal_key.tag(&request.parts(request.token.expose().as_bytes())));
        let until = Instant::now() + WAITS_FOR;
        let [mut look, slowest] = LOOKS;
        let mut may_claim = true;
        loop {
            if let Some(claimant) = of.filter(|_| may_claim) {
                let claim = Claim { session: claimant.session.id, old_token, request: digest, at: iam.now() };
                match iam.claim(&claim).await? {
                    ClaimOutcome::First => return Ok(Begun::First(First { claim, key })),
                    ClaimOutcome::NoRoom => return Ok(Begun::Ordinary),
                    ClaimOutcome::Before => {}
                }
            }
            // Waiting reads only: whoever waits keeps nobody else from writing.
            may_claim = match iam.before(&old_token, &digest, &key, of.is_some()).await? {
                Before::Answered(answer) => return Ok(Begun::Answered(answer)),
                Before::Over => return Ok(Begun::Ordinary),
                // Given back at this moment: now it may be ours.
                Before::Nothing if of.is_none() => return Ok(Begun::Ordinary),
                Before::Nothing => true,
                Before::UnderWay => false,
            };
            if Instant::now() >= until {
                return match of {
                    Some(_) => Err(Error::Busy { retry_after: Duration::from_secs(1) }),
                    None => Ok(Begun::Ordinary),
                };
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(slowest);
        }
    }

    /// Ends it: with the token that the session goes on with, and the answer, if it succeeded; else an equal request is carried out anew.
    /// What can't be written down costs whoever sends the request once more their answer, and nobody else anything.
    pub async fn end_repeatable(self, first: First, success: Option<(&TokenHash, &[u8])>) {
        let iam = self.iam;
        let First { claim, key } = first;
        if let Err(error) = iam.try_end(&claim, &key, success).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "what came of a request that may come twice was not kept"
            );
        }
    }
}

impl Iam {
    async fn try_end(
        &self,
        claim: &Claim,
        key: &KeyRing,
        success: Option<(&TokenHash, &[u8])>,
    ) -> Result<(), Error> {
        let answer = match success.filter(|(_, answer)| answer.len() <= MOST_KEPT) {
            Some((token, answer)) => {
                let sealed = key.seal(place(&claim.session), answer, self.randomness())?;
                Some(KeptAnswer { token: *token, sealed })
            }
            None => None,
        };
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let kept = unit.repeatable_answers();
            let done = match &answer {
                Some(answer) => kept.answer(claim, answer, self.now()).await?,
                None => kept.give_back(claim).await?,
            };
            if done {
                unit.commit().await?;
            }
            Ok(())
        })
        .await
    }

    async fn claim(&self, claim: &Claim) -> Result<ClaimOutcome, Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let claimed = unit.repeatable_answers().claim(claim, claim.at.minus(CLAIMED_FOR)).await?;
            if claimed == ClaimOutcome::First {
                unit.commit().await?;
            }
            Ok(claimed)
        })
        .await
    }

    /// What became of an equal request that came with the same token. If that is dead, one that is equal to none is a guess at what is kept:
    /// there is one, and it costs every answer of the session.
    async fn before(
        &self,
        old_token: &TokenHash,
        digest: &[u8; 32],
        key: &KeyRing,
        lives: bool,
    ) -> Result<Before, Error> {
        let kept = self.inner.store.reader().await?.repeatable_answers().by_old_token(old_token).await?;
        let session = kept.first().map(|kept| kept.claim.session);
        let equal = kept.into_iter().find(|kept| bool::from(kept.claim.request.ct_eq(digest)));
        let Some(KeptRequest { claim, answer }) = equal else {
            if let Some(session) = session.filter(|_| !lives) {
                self.forget_answers(session).await?;
            }
            return Ok(Before::Nothing);
        };
        let now = self.now();
        let Some(answer) = answer else {
            let is_at_work = claim.at.is_within(CLAIMED_FOR, now);
            return Ok(if is_at_work { Before::UnderWay } else { Before::Over });
        };
        if !claim.at.is_within(REPEATABLE_FOR, now)
            || !self.waits_for_its_owner(claim.session, &answer.token, now).await?
        {
            return Ok(Before::Over);
        }
        match key.open(place(&claim.session), &answer.sealed) {
            Ok(answer) => {
                tracing::info!(session = %claim.session, "a request came twice; the second one got the answer to the first");
                Ok(Before::Answered(answer))
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an answer that was kept can't be read"
                );
                Ok(Before::Over)
            }
        }
    }

    /// Whether a session lives on under this token, with which no request has come yet.
    async fn waits_for_its_owner(
        &self,
        session: SessionId,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let found = self.inner.store.session(token).await?;
        let unused = found.filter(|record| record.id == session && record.tokens.is_unused(token));
        Ok(unused.is_some_and(|record| {
            matches!(record.standing(&self.session_rules(), token, now), Standing::Active { .. })
        }))
    }

    async fn forget_answers(&self, session: SessionId) -> Result<(), Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            unit.repeatable_answers().forget(session).await?;
            Ok(unit.commit().await?)
        })
        .await
    }
}

fn place(session: &SessionId) -> Place<'_> {
    Place { table: "iam_repeatable_answer", column: "answer", owner: session.as_bytes(), row: b"" }
}
