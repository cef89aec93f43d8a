use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::{SessionId, StepUpProofId};
use crate::model::step_up_proof::StepUpProof;

/// Reads of step-up proofs: in a unit of work, or beside any.
#[async_trait]
pub trait StepUpProofReads: Send {
    /// The proofs of a session that were made after `proved_after` and are not used up, the oldest first. One of a purpose or a kind
    /// that only a newer program knows is left out: it opens nothing here, and keeps nobody out.
    async fn of_session(
        &mut self,
        session: SessionId,
        proved_after: Timestamp,
    ) -> Result<Vec<StepUpProof>, StoreError>;
}

/// Step-up proofs (`iam_step_up_proof`), in a unit of work.
#[async_trait]
pub trait StepUpProofs: StepUpProofReads {
    /// Adds a proof. Whoever calls it holds the session and has marked the challenge that was answered in the same unit, so that
    /// an answer makes one proof.
    async fn insert(&mut self, session: SessionId, proof: &StepUpProof) -> Result<(), StoreError>;

    /// Uses a proof up that was made in this session after `proved_after` and was not used up, if the session has not ended. It MUST
    /// be one conditional statement: of any number of callers at once at most one is ever told that it did.
    async fn use_proof(
        &mut self,
        id: StepUpProofId,
        session: SessionId,
        proved_after: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Removes up to `most` proofs that were made before a time. Says how many.
    async fn purge(&mut self, proved_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
