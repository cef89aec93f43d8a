//! Step-up: a proof for one purpose. Asking for it and answering are those of every second factor; what is different is here.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{Claimant, Known};
use crate::audit::{Event, Subject};
use crate::authz::principal::Principal;
use crate::authz::step_up::{Approval, MOST_WITHIN, StepUp};
use crate::base::id::{InterruptedId, MethodId, StepUpProofId};
use crate::factor::challenge::{ChallengePurpose, NewChallenge};
use crate::flow::SignedIn;
use crate::flow::attempt::Proven;
use crate::iam::{Iam, Protocol, Unit};
use crate::model::client::Client;
use crate::model::error::{Error, SecondFactorRefusal};
use crate::model::interrupted::{Interrupted, NewInterrupted};
use crate::model::proof::ProofMethod;
use crate::model::purpose::Purpose;
use crate::model::step_up_proof::StepUpProof;
use crate::model::token::SessionToken;
use crate::password::PlainPassword;
use crate::secrets::seal::Place;
use crate::store::SealedColumn;

/// How long a request that a guard stopped is kept.
pub const INTERRUPTED_FOR: Duration = Duration::from_mins(10);

/// How many of them are kept for a session.
const MOST_INTERRUPTED: u32 = 5;

/// What became of step-up proofs, and of the request that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Used {
    /// They are used up for this request.
    ForThis,
    /// Another request was first, or they are too old by now.
    Spent,
    /// The request that is gone on with was gone on with before.
    SentBefore,
    /// The session is over, or its token was replaced.
    Gone,
}

impl Claimant {
    /// Somebody who is to prove who they are for a purpose.
    pub fn step_up(principal: &Principal, purpose: Purpose) -> Self {
        Self { purpose: ChallengePurpose::StepUp(purpose), ..Self::from(principal) }
    }

    /// Only by these methods.
    #[must_use]
    pub fn accepting(self, methods: &[ProofMethod]) -> Self {
        Self { accepted: Some(methods.to_vec()), ..self }
    }

    /// What the proof is to be good for alone, if it is bound to something ([`Approval::digest`]).
    pub const fn approval(&self) -> Option<[u8; 32]> {
        self.approval
    }

    /// The proof is to be good for this alone ([`Approval::digest`]).
    #[must_use]
    pub fn approving(self, approval: Option<[u8; 32]>) -> Self {
        Self { approval, ..self }
    }
}

impl Protocol<'_> {
    /// The claimant that a code without further words is from: whoever was asked last for a purpose in this session (for this one, if
    /// it is said) is, for that and for what it was bound to, by what was asked for or counts by policy; everybody else proves again who
    /// they are.
    pub async fn claimant_asked_last(
        self,
        principal: &Principal,
        purpose: Option<Purpose>,
    ) -> Result<Claimant, Error> {
        let iam = self.iam;
        let asked = iam
            .inner
            .store
            .reader()
            .await?
            .challenges()
            .asked_last(principal.session(), purpose, iam.now())
            .await?;
        let Some((ChallengePurpose::StepUp(purpose), new)) =
            asked.map(|found| (found.new.purpose, found.new))
        else {
            return Ok(principal.into());
        };
        let claimant = Claimant::step_up(principal, purpose).approving(new.approval);
        if claimant.opens_first_factor() {
            return Ok(claimant);
        }
        let mut accepted = iam.inner.factor_policy.step_up_methods();
        if !accepted.contains(&new.kind) {
            accepted.push(new.kind);
        }
        Ok(claimant.accepting(&accepted))
    }

    /// The kinds by which somebody can meet a step-up, in the order in which to offer them. Without any they have to set one up first.
    pub async fn step_up_methods(
        self,
        principal: &Principal,
        asked: &StepUp,
    ) -> Result<Vec<ProofMethod>, Error> {
        let iam = self.iam;
        let claimant = Claimant::step_up(principal, asked.purpose())
            .accepting(asked.accepted(&iam.inner.factor_policy.step_up_methods()));
        Ok(self.offers(&claimant).await?.into_iter().map(|offer| offer.kind).collect())
    }

    /// What a request is about, of which a route binds the proof to these fields.
    pub fn approval(self, method: &str, target: &str, fields: Vec<(String, String)>) -> Approval {
        let iam = self.iam;
        Approval::new(&iam.inner.approval_key, method, target, fields)
    }

    /// The same principal with what they have proved in their session for purposes, read now: only what is theirs, young enough for the
    /// longest that a route may ask for, and not used up. A guard with a step-up asks for it, so that no other one pays for it.
    pub async fn with_step_up_proofs(self, principal: &Principal) -> Result<Principal, Error> {
        let iam = self.iam;
        let proved_after = principal.as_of.minus(MOST_WITHIN);
        let mut reader = iam.inner.store.reader().await?;
        let found = reader.step_up_proofs().of_session(principal.session(), proved_after).await?;
        Ok(principal.with_step_up_proofs(found))
    }

    /// Uses proofs up for a request, all or none; and marks the request, if it is one that was stopped before, as gone on with.
    pub async fn use_step_up_proofs(
        self,
        principal: &Principal,
        token: &SessionToken,
        proofs: &[StepUpProof],
        resumed: Option<InterruptedId>,
        client: &Client,
    ) -> Result<Used, Error> {
        let iam = self.iam;
        iam.retried(|| async {
            let now = iam.now();
            let mut unit = iam.begin().await?;
            if iam.hold_if_there(&mut unit, &principal.into(), token).await?.is_none() {
                return Ok(Used::Gone);
            }
            // Whoever sends the same form twice is told so, and not asked for another proof.
            if let Some(id) = resumed
                && !unit.interrupted_requests().resume(id, principal.session(), now).await?
            {
                return Ok(Used::SentBefore);
            }
            for proof in proofs {
                let proved_after = now.minus(MOST_WITHIN);
                if !unit.step_up_proofs().use_proof(proof.id, principal.session(), proved_after, now).await? {
                    return Ok(Used::Spent);
                }
                let event = Event::ProofUsed(proof.kind, proof.purpose);
                unit.record(&event, subject(principal), client).await?;
            }
            unit.commit().await?;
            Ok(Used::ForThis)
        })
        .await
    }

    /// Keeps a request that a guard stopped, sealed, until its sender has proved again who they are: for [`INTERRUPTED_FOR`], and for
    /// this session alone. One that it takes the place of can't be gone on with any more; if it was gone on with, or is too old, nothing
    /// is kept: who clicks twice is not asked to confirm the same a second time.
    pub async fn keep_interrupted(
        self,
        principal: &Principal,
        token: &SessionToken,
        request: &[u8],
        replaces: Option<InterruptedId>,
    ) -> Result<Option<InterruptedId>, Error> {
        let iam = self.iam;
        let now = iam.now();
        let id = InterruptedId::generate(now, iam.randomness())?;
        let sealed =
            iam.inner.keys.ring.seal(interrupted_place(principal, &id), request, iam.randomness())?;
        let new = NewInterrupted {
            id,
            account: principal.account,
            session: principal.session(),
            sealed,
            created_at: now,
            expires_at: now.plus(INTERRUPTED_FOR),
        };
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.hold(&mut unit, &principal.into(), token).await?;
            if let Some(old) = replaces
                && !unit.interrupted_requests().resume(old, principal.session(), now).await?
            {
                return Ok(None);
            }
            unit.interrupted_requests().keep(&new, MOST_INTERRUPTED).await?;
            unit.commit().await?;
            Ok(Some(id))
        })
        .await
    }

    /// A request of this session's that a guard stopped; and whether it was gone on with already.
    pub async fn interrupted(
        self,
        principal: &Principal,
        id: InterruptedId,
    ) -> Result<Option<(Zeroizing<Vec<u8>>, bool)>, Error> {
        let iam = self.iam;
        let found = iam
            .inner
            .store
            .reader()
            .await?
            .interrupted_requests()
            .by_id(id, principal.session(), iam.now())
            .await?;
        let Some(Interrupted { new, resumed_at }) = found else { return Ok(None) };
        match iam.inner.keys.ring.open(interrupted_place(principal, &id), &new.sealed) {
            Ok(request) => Ok(Some((request, resumed_at.is_some()))),
            Err(error) => {
                tracing::error!(%id, error = &error as &dyn std::error::Error, "a request that was kept can't be read");
                Ok(None)
            }
        }
    }
}

impl Iam {
    /// Marks a challenge as answered, in a unit that holds the session; one that was for a purpose of its own leaves a proof behind.
    pub(super) async fn settle_challenge(
        &self,
        unit: &mut Unit<'_>,
        claimant: &Claimant,
        challenge: &NewChallenge,
        by: Option<MethodId>,
    ) -> Result<(), Error> {
        let now = self.now();
        if !unit.challenges().consume(challenge.id, by, now).await? {
            return Err(SecondFactorRefusal::Spent.into());
        }
        let Some(purpose) = claimant.purpose() else { return Ok(()) };
        let proof = StepUpProof {
            id: StepUpProofId::generate(now, self.randomness())?,
            account: claimant.session.account,
            parent: claimant.session.parent,
            auth_version: claimant.session.auth_version,
            purpose,
            kind: challenge.kind,
            proved_at: now,
            approval: challenge.approval,
        };
        Ok(unit.step_up_proofs().insert(claimant.session.id, &proof).await?)
    }

    /// The password, where a route says that it will do. It is checked with no unit open, within the limits of re-authentication.
    pub(super) async fn verify_password(
        &self,
        claimant: &Claimant,
        token: &SessionToken,
        known: &Known<'_>,
        password: &str,
        client: &Client,
    ) -> Result<SignedIn, Error> {
        let password = PlainPassword::new(password).map_err(|_| Error::Credentials)?;
        let Proven { reserved, told, .. } = self.prove(claimant, &password, client).await?;
        let proved = self.retried(|| async {
            let mut unit = self.begin().await?;
            let held = self.hold(&mut unit, claimant, token).await?;
            let challenge = self.to_answer(&mut unit, claimant, known, client).await?;
            self.settle_challenge(&mut unit, claimant, &challenge, None).await?;
            self.accept(&mut unit, &reserved, told.as_ref(), client).await?;
            let done = self.complete(&mut unit, claimant, held, token, ProofMethod::Password, client).await?;
            unit.commit().await?;
            Ok(done)
        });
        match proved.await {
            Ok(done) => Ok(done),
            Err(error) => {
                // The password was right: no guess.
                self.give_back(&reserved).await?;
                Err(error)
            }
        }
    }
}

fn interrupted_place<'a>(principal: &'a Principal, id: &'a InterruptedId) -> Place<'a> {
    SealedColumn::InterruptedRequest.place(principal.facts().id.as_bytes(), id.as_bytes())
}

fn subject(principal: &Principal) -> Subject {
    crate::flow::own_account::of(principal)
}
