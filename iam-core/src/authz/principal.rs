//! Principals: who is signed in, as of a request.

use crate::authz::credential::{Credential, SessionFacts, SessionRef};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, SessionId};
use crate::model::account::{AuthVersion, ExternalId, Username};
use crate::model::factor_kind::Assurance;
use crate::model::parent::ParentKey;
use crate::model::proof::{ProofMethod, Proofs};
use crate::model::purpose::Purpose;
use crate::model::role::RoleName;
use crate::model::step_up_proof::StepUpProof;
use crate::model::token::TokenHash;
use std::time::Duration;

/// Somebody who is signed in, as of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(crate) account: AccountId,
    pub(crate) username: Username,
    pub(crate) external_id: Option<ExternalId>,
    pub(crate) parent: Option<(ParentId, ParentKey)>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) auth_version: AuthVersion,
    pub(crate) credential: Credential,
    pub(crate) as_of: Timestamp,
}

impl Principal {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Its name.
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// The host's own key for it.
    pub fn external_id(&self) -> Option<&str> {
        self.external_id.as_ref().map(ExternalId::as_str)
    }

    /// Its parent.
    pub fn parent(&self) -> Option<ParentId> {
        self.parent.as_ref().map(|(id, _)| *id)
    }

    /// Its parent's key.
    pub fn parent_key(&self) -> Option<&str> {
        self.parent.as_ref().map(|(_, key)| key.as_str())
    }

    pub(crate) fn parent_key_of_account(&self) -> Option<&ParentKey> {
        self.parent.as_ref().map(|(_, key)| key)
    }

    /// The roles that it holds now.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(RoleName::as_str)
    }

    /// Whether it holds a role now.
    pub fn has_role(&self, name: &str) -> bool {
        self.roles().any(|role| role == name)
    }

    /// The credential that the request was made with.
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The session, as of this request.
    pub(crate) const fn facts(&self) -> &SessionFacts {
        let Credential::Session(facts) = &self.credential;
        facts
    }

    pub(crate) fn session_ref(&self) -> SessionRef {
        let facts = self.facts();
        SessionRef {
            id: facts.id,
            account: self.account,
            username: self.username.clone(),
            parent: self.parent(),
            auth_version: self.auth_version,
            proofs: facts.proofs.clone(),
            lapsed_at: facts.lapsed_at,
            stays_until: facts.stays_until,
        }
    }

    #[cfg(test)]
    pub(crate) const fn facts_mut(&mut self) -> &mut SessionFacts {
        let Credential::Session(facts) = &mut self.credential;
        facts
    }

    /// The same principal with these step-up proofs, as far as they are its session's own.
    pub(crate) fn with_step_up_proofs(&self, found: Vec<StepUpProof>) -> Self {
        let facts = SessionFacts { step_up_proofs: self.own_step_up_proofs(found), ..self.facts().clone() };
        Self { credential: Credential::Session(facts), ..self.clone() }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.facts().id
    }

    /// When the session began.
    pub fn signed_in_at(&self) -> Timestamp {
        self.facts().signed_in_at
    }

    /// When they last proved who they are: at sign-in, or after that by re-authentication.
    pub fn authenticated_at(&self) -> Timestamp {
        self.facts().authenticated_at()
    }

    /// When they last proved a second factor.
    pub fn second_factor_at(&self) -> Option<Timestamp> {
        self.facts().proofs.second_factor_at()
    }

    /// When they must have a second factor at the latest, where that is required and none was proved in this session.
    pub fn factor_due_at(&self) -> Option<Timestamp> {
        self.facts().factor_due_at
    }

    /// What they have proved for a purpose lately in this session, and not used up. They are read only where they are asked for: by a
    /// guard with a step-up, and by [`Protocol::with_step_up_proofs`](crate::protocol::Protocol::with_step_up_proofs); elsewhere there are none here.
    pub fn step_up_proofs(&self) -> &[StepUpProof] {
        &self.facts().step_up_proofs
    }

    /// Whether one of the [step-up proofs](Self::step_up_proofs) is for a purpose, by one of these kinds, young enough, and for what is approved (or for nothing in
    /// particular). It decides nothing: a guard does, and uses up what is good for one request.
    pub fn has_proved(
        &self,
        purpose: Purpose,
        kinds: &[ProofMethod],
        within: Duration,
        approval: Option<[u8; 32]>,
    ) -> bool {
        self.step_up_proofs()
            .iter()
            .any(|proof| proof.approval == approval && proof.is_of(purpose, kinds, within, self.as_of))
    }

    /// When the session ends at the latest, if it is a long one ([`LongSessions`](crate::model::long_sessions::LongSessions)).
    pub fn stays_until(&self) -> Option<Timestamp> {
        self.facts().stays_until
    }

    /// The token that a day replaced by the session's own. It opens nothing once that was used; what was bound to it, such as an open form,
    /// may still be taken.
    pub fn token_before(&self) -> Option<&TokenHash> {
        self.facts().daily_token.before.as_ref()
    }

    /// Whether it is time to replace the session's token ([`Protocol::replace_daily_token`](crate::protocol::Protocol::replace_daily_token)).
    pub fn is_token_due(&self) -> bool {
        self.facts().daily_token.is_due
    }

    /// The proofs of its session that count for nobody else: not somebody else's, none from before a change of what decides, none that
    /// has lapsed in a long session, and none of the future.
    pub(crate) fn own_step_up_proofs(&self, proofs: Vec<StepUpProof>) -> Vec<StepUpProof> {
        let is_own = |proof: &StepUpProof| {
            proof.account == self.account
                && proof.parent == self.parent()
                && proof.auth_version == self.auth_version
                && self.still_proves(proof.proved_at)
                && !proof.proved_at.is_ahead_of(self.as_of)
        };
        proofs.into_iter().filter(is_own).collect()
    }

    /// Whether a proof of that time still counts in this session: a long one outlives what was proved in it.
    pub(crate) fn still_proves(&self, proved_at: Timestamp) -> bool {
        self.facts().still_proves(proved_at)
    }

    /// How sure one may be that it is them.
    pub fn assurance(&self) -> Assurance {
        self.facts().proofs.assurance()
    }

    /// What they have proved in this session, as far as it still counts.
    pub fn proofs(&self) -> &Proofs {
        &self.facts().proofs
    }

    /// How they proved who they are (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &'static str> {
        self.facts().proofs.amr()
    }
}

/// Whose the object of a request is, as a host knows it: by the parent's id, or by its key. The guard's own read has both of whoever asks,
/// so neither costs a further one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectParent {
    /// The parent with this id.
    Id(ParentId),
    /// The parent with this key, if there is one.
    Key(ParentKey),
}

impl ObjectParent {
    pub(super) fn is_of(&self, principal: &Principal) -> bool {
        principal.parent.as_ref().is_some_and(|(id, key)| match self {
            Self::Id(this) => this == id,
            Self::Key(this) => this == key,
        })
    }
}

impl From<ParentId> for ObjectParent {
    fn from(id: ParentId) -> Self {
        Self::Id(id)
    }
}

impl From<ParentKey> for ObjectParent {
    fn from(key: ParentKey) -> Self {
        Self::Key(key)
    }
}
