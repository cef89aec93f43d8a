//! Step-up proofs: what was proved in a session for one purpose.

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, StepUpProofId};
use crate::model::account::AuthVersion;
use crate::model::proof::ProofMethod;
use crate::model::purpose::Purpose;
use std::time::Duration;

/// A proof that somebody gave in a session for one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpProof {
    /// Which one.
    pub id: StepUpProofId,
    /// Whose it was.
    pub account: AccountId,
    /// The parent that the account had then.
    pub parent: Option<ParentId>,
    /// The account's version then: a change of factors or of the password ends it.
    pub auth_version: AuthVersion,
    /// What for.
    pub purpose: Purpose,
    /// By what.
    pub kind: ProofMethod,
    /// When.
    pub proved_at: Timestamp,
    /// For which request alone, as [`Approval::digest`](crate::protocol::Approval::digest).
    pub approval: Option<[u8; 32]>,
}

impl StepUpProof {
    /// Whether it is for a purpose, by one of these kinds, and young enough.
    pub(crate) fn is_of(
        &self,
        purpose: Purpose,
        kinds: &[ProofMethod],
        within: Duration,
        now: Timestamp,
    ) -> bool {
        self.purpose == purpose && kinds.contains(&self.kind) && self.proved_at.is_within(within, now)
    }
}
