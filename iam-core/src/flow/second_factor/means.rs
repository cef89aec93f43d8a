//! The means of a proof: a factor that the service offers, or what the core itself compares.

use crate::base::code::Code;
use crate::base::id::{AccountId, ChallengeId};
use crate::base::invalid::{Invalid, Problem};
use crate::base::random::RandomnessUnavailable;
use crate::factor::challenge::NewChallenge;
use crate::factor::method::Method;
use crate::factor::{Factor, FactorBegun, FactorContext, MOST_KEPT, OpenedMethod};
use crate::flow::first_factor;
use crate::iam::Iam;
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::model::proof::ProofMethod;
use crate::store::SealedColumn;

use super::{Claimant, is_confirmed, secret_place};

/// The means by which a method is asked for and compared.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum Means<'f> {
    /// A factor, with the methods of its kind that the account has.
    Factor(&'f dyn Factor),
    /// A code to the account's verified address, before it has any method.
    Address(&'f dyn Factor),
    /// An invitation to set up the first factor: a ticket.
    Invitation,
    /// The password, where a route says that proving it once more will do.
    Password,
}

impl Means<'_> {
    /// The answer, as it is compared; an error, where it can't be one. That is no try.
    pub(in crate::flow) fn read(&self, typed: &str) -> Result<Code, Invalid> {
        let read = match self {
            Self::Factor(factor) | Self::Address(factor) => factor.read(typed),
            Self::Invitation => first_factor::read_invitation(typed),
            // A password is taken as it is.
            Self::Password => Some(Code::new(typed)),
        };
        read.ok_or_else(|| {
            let is_empty = crate::base::typed::code(typed).is_empty();
            Invalid::new("code", if is_empty { Problem::Required } else { Problem::Malformed })
        })
    }

    /// Begins a challenge.
    pub(super) fn begin(
        &self,
        cx: &FactorContext<'_>,
        methods: &[OpenedMethod],
    ) -> Result<FactorBegun, RandomnessUnavailable> {
        match self {
            Self::Factor(factor) => factor.begin(cx, methods),
            Self::Address(factor) => factor.begin(cx, &[]),
            Self::Invitation | Self::Password => Ok(FactorBegun::default()),
        }
    }
}

impl Iam {
    /// The factor of a kind, if the service offers it. Codes that nobody can send are no factor.
    pub(in crate::flow) fn factor(&self, kind: FactorKind) -> Option<&dyn Factor> {
        let factor = self.inner.factors.iter().map(AsRef::as_ref).find(|factor| factor.kind() == kind)?;
        let sent = kind.channel().is_none_or(|channel| self.sender(channel).is_some());
        sent.then_some(factor)
    }

    /// The means by which a claimant may prove a method.
    pub(super) fn means(&self, claimant: &Claimant, method: ProofMethod) -> Option<Means<'_>> {
        match method {
            ProofMethod::Password => Some(Means::Password),
            ProofMethod::Invitation => Some(Means::Invitation),
            method => {
                let factor = self.factor(method.factor()?)?;
                Some(if claimant.opens_first_factor() {
                    Means::Address(factor)
                } else {
                    Means::Factor(factor)
                })
            }
        }
    }

    /// What a factor may know of a challenge's circumstances.
    pub(in crate::flow) fn factor_context<'a>(
        &'a self,
        account: AccountId,
        name: &'a str,
        challenge: Option<ChallengeId>,
    ) -> FactorContext<'a> {
        FactorContext {
            service: self.service(),
            account: name,
            base_url: self.inner.base_url.as_ref(),
            now: self.now(),
            random: self.randomness(),
            digest: self.digest(account, challenge),
        }
    }

    /// The confirmed methods of a kind, opened. One that does not open is left out, and the log names it.
    pub(super) fn opened(&self, methods: &[Method], kind: FactorKind) -> Vec<OpenedMethod> {
        let of_kind = methods.iter().filter(|method| method.kind == kind && is_confirmed(method));
        of_kind
            .filter_map(|method| {
                let open = |sealed: &Vec<u8>| {
                    self.inner.keys.ring.open(secret_place(&method.account, &method.id), sealed)
                };
                match method.secret.as_ref().map(open).transpose() {
                    Ok(secret) => Some(OpenedMethod { id: method.id, secret, last_step: method.last_step }),
                    Err(error) => {
                        tracing::error!(id = %method.id, error = &error as &dyn std::error::Error, "a factor can't be used");
                        None
                    }
                }
            })
            .collect()
    }

    /// What a challenge has kept for its factor, opened; nothing, if there is nothing that opens: no answer is right then.
    pub(in crate::flow) fn kept(&self, challenge: &NewChallenge) -> zeroize::Zeroizing<Vec<u8>> {
        let Some(sealed) = &challenge.kept else { return zeroize::Zeroizing::default() };
        let place = SealedColumn::ChallengeKept.place(challenge.account.as_bytes(), challenge.id.as_bytes());
        self.inner.keys.ring.open(place, sealed).unwrap_or_else(|error| {
            tracing::error!(id = %challenge.id, error = &error as &dyn std::error::Error, "a challenge can't be used");
            zeroize::Zeroizing::default()
        })
    }

    /// The same, sealed; nothing for nothing. A factor that keeps more than there is room for is a mistake in its program.
    pub(super) fn seal_kept(
        &self,
        account: AccountId,
        id: ChallengeId,
        keep: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        if keep.is_empty() {
            return Ok(None);
        }
        if keep.len() > MOST_KEPT {
            return Err(Error::Misconfigured(
                "factor: one keeps more than a challenge has room for".to_owned(),
            ));
        }
        let place = SealedColumn::ChallengeKept.place(account.as_bytes(), id.as_bytes());
        Ok(Some(self.inner.keys.ring.seal(place, keep, self.randomness())?))
    }
}
