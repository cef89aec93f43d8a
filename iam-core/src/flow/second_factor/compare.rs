//! Whether an answer is right: compared with what is stored, and used up in the same statement.

use super::{Known, is_confirmed, secret_place};
use crate::base::code::Code;
use crate::base::id::{AccountId, MethodId};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::factor::challenge::{ChallengePurpose, NewChallenge};
use crate::factor::method::Method;
use crate::factor::{Digest, Enrolment, Factor, Label, Start, Stored, Verdict};
use crate::iam::{Iam, Unit};
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::model::purpose::Purpose;
use crate::model::ticket::{TicketPurpose, TicketToken};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Right(Right),
    Wrong,
    /// Right, and used before.
    Used,
}

/// What a right answer was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Method(MethodId),
    Recovery,
    /// It shows whose the account is, and belongs to no method.
    Claim,
}

impl Iam {
    /// Compares with every method of the kind, and uses up what was right.
    pub(super) async fn compare(
        &self,
        unit: &mut Unit<'_>,
        account: AccountId,
        known: &Known<'_>,
        challenge: &NewChallenge,
        response: &str,
    ) -> Result<Compared, Error> {
        let kind = known.factor.kind();
        if kind == FactorKind::Invitation {
            let Some(token) = TicketToken::parse(response) else { return Ok(Compared::Wrong) };
            let hash = token.hash_for(account);
            let used = unit.tickets().consume(&hash, TicketPurpose::Invitation, self.now()).await?;
            return Ok(if used.is_some() { Compared::Right(Right::Claim) } else { Compared::Wrong });
        }
        if kind == FactorKind::EmailOtp && challenge.purpose == ChallengePurpose::StepUp(Purpose::ENROL) {
            let verdict = self.verdict(account, known.factor, None, challenge, response);
            return Ok(if verdict == Verdict::Verified {
                Compared::Right(Right::Claim)
            } else {
                Compared::Wrong
            });
        }
        if kind == FactorKind::RecoveryCode {
            let verdict = self.verdict(account, known.factor, None, challenge, response);
            let Verdict::IfUnused(digest) = verdict else { return Ok(Compared::Wrong) };
            let used = unit.recovery_codes().consume(account, &digest, self.now()).await?;
            return Ok(if used { Compared::Right(Right::Recovery) } else { Compared::Wrong });
        }
        let mut was_used = false;
        for method in known.methods.iter().filter(|method| method.kind == kind && is_confirmed(method)) {
            let step = match self.verdict(account, known.factor, Some(method), challenge, response) {
                Verdict::Rejected | Verdict::IfUnused(_) => continue,
                Verdict::Verified => None,
                Verdict::AtStep(step) => Some(step),
            };
            if unit.methods().note_use(account, method.id, step, self.now()).await? {
                return Ok(Compared::Right(Right::Method(method.id)));
            }
            was_used = true;
        }
        Ok(if was_used { Compared::Used } else { Compared::Wrong })
    }

    pub(in crate::flow) fn verdict(
        &self,
        account: AccountId,
        factor: &dyn Factor,
        method: Option<&Method>,
        challenge: &NewChallenge,
        response: &str,
    ) -> Verdict {
        let secret = match method.and_then(|method| Some((method, method.secret.as_ref()?))) {
            None => None,
            Some((method, sealed)) => {
                match self.inner.keys.ring.open(secret_place(&account, &method.id), sealed) {
                    Ok(secret) => Some(secret),
                    Err(error) => {
                        tracing::error!(id = %method.id, error = &error as &dyn std::error::Error, "a factor can't be used");
                        return Verdict::Rejected;
                    }
                }
            }
        };
        let stored = Stored {
            secret: secret.as_ref().map(|secret| secret.as_slice()),
            last_step: method.and_then(|method| method.last_step),
            answer: challenge.answer.as_ref(),
            digest: &self.digest(account, Some(challenge.id)),
            now: self.now(),
        };
        factor.finish(&stored, response)
    }
}

/// What is asked for like a factor, and compared by the core itself.
#[derive(Debug)]
pub(super) struct Claim(pub(super) FactorKind);

impl Factor for Claim {
    fn kind(&self) -> FactorKind {
        self.0
    }

    fn enrol(&self, _: &Label<'_>, _: &dyn Randomness) -> Result<Enrolment, RandomnessUnavailable> {
        Ok(Enrolment::Codes(Vec::new()))
    }

    /// An invitation is a token, in which hyphens count: it is trimmed as names are. A password is taken as it is.
    fn read(&self, typed: &str) -> Option<Code> {
        if self.0 == FactorKind::Password {
            return Some(Code::new(typed));
        }
        let token = crate::base::typed::name(typed.trim());
        TicketToken::parse(token).map(|_| Code::new(token))
    }

    fn start(&self, _: &Digest<'_>, _: &dyn Randomness) -> Result<Start, RandomnessUnavailable> {
        Ok(Start { send: None, answer: None })
    }

    fn finish(&self, _: &Stored<'_>, _: &str) -> Verdict {
        Verdict::Rejected
    }
}
