//! Whether an answer is right: compared with what is stored, and used up in the same unit.

use super::{Claimant, Known, Means, secret_place};
use crate::base::id::MethodId;
use crate::factor::challenge::NewChallenge;
use crate::factor::{OpenedMethod, Spend, Verdict};
use crate::flow::first_factor;
use crate::iam::{Iam, Unit};
use crate::model::error::Error;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Right(Right),
    Wrong,
    /// Right, and used before.
    Used,
}

/// What a right answer has proved.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Right {
    /// The method, where it was one.
    pub(super) method: Option<MethodId>,
    /// Whether a code of the list was used up.
    pub(super) used_code: bool,
}

impl Iam {
    /// Compares with every method of the kind, and uses up what was right.
    pub(super) async fn compare(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        known: &Known<'_>,
        challenge: &NewChallenge,
        answer: &str,
    ) -> Result<Compared, Error> {
        let (factor, methods) = match known.means {
            Means::Factor(factor) => (factor, self.opened(&known.methods, factor.kind())),
            Means::Address(factor) => (factor, Vec::new()),
            Means::Invitation => {
                let used =
                    first_factor::consume_invitation(unit, claimant.session.account, answer, self.now())
                        .await?;
                return Ok(if used { Compared::Right(Right::default()) } else { Compared::Wrong });
            }
            // It is compared with no unit open.
            Means::Password => return Ok(Compared::Wrong),
        };
        let cx = self.factor_context(claimant.session.account, claimant.username(), Some(challenge.id));
        match factor.finish(&cx, &self.kept(challenge), &methods, answer) {
            Verdict::Accepted { method, spend } if are_given(&methods, method, &spend) => {
                self.spend(unit, claimant, known, (method, spend)).await
            }
            Verdict::Accepted { .. } => {
                tracing::error!(kind = %factor.kind(), "a factor accepted a method that it was not given");
                Ok(Compared::Wrong)
            }
            Verdict::Rejected => Ok(Compared::Wrong),
        }
    }

    /// Uses up what a right answer takes. Who comes second was right, and gets nothing for it.
    async fn spend(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        known: &Known<'_>,
        (method, spend): (Option<MethodId>, Spend),
    ) -> Result<Compared, Error> {
        let (account, now) = (claimant.session.account, self.now());
        let spent = match spend {
            Spend::Challenge => match method {
                Some(id) => unit.methods().note_use(account, id, None, now).await?,
                None => true,
            },
            Spend::Step(id, step) => unit.methods().note_use(account, id, Some(step), now).await?,
            Spend::Rewrite(id, secret) => {
                let stored = known.methods.iter().find(|stored| stored.id == id);
                let Some(old) = stored.and_then(|stored| stored.secret.as_ref()) else {
                    return Ok(Compared::Wrong);
                };
                let new =
                    self.inner.keys.ring.seal(secret_place(&account, &id), &secret, self.randomness())?;
                unit.methods().rewrite(account, id, old, &new, now).await?
            }
            Spend::Code(digest) => {
                // Only now is it known whether it is one of the list at all.
                let used = unit.recovery_codes().consume(account, &digest, now).await?;
                let right = Right { method, used_code: true };
                return Ok(if used { Compared::Right(right) } else { Compared::Wrong });
            }
        };
        Ok(if spent { Compared::Right(Right { method, used_code: false }) } else { Compared::Used })
    }
}

/// Whether a verdict is about methods that the factor was given.
fn are_given(methods: &[OpenedMethod], method: Option<MethodId>, spend: &Spend) -> bool {
    let spent = match spend {
        Spend::Step(id, _) | Spend::Rewrite(id, _) => Some(*id),
        Spend::Challenge | Spend::Code(_) => None,
    };
    // What is spent of a method proves that one.
    let is_given = |id: &MethodId| methods.iter().any(|given| given.id == *id);
    method.iter().all(is_given) && spent.iter().all(is_given) && (spent.is_none() || spent == method)
}
