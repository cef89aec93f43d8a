use crate::model::repeat::KeptRequest;
use crate::model::token::TokenHash;
use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::SessionId;
use crate::model::repeat::{Claim, KeptAnswer};

/// Reads of requests that may come twice: in a unit of work, or beside any.
#[async_trait]
pub trait RepeatableAnswerReads: Send {
    /// What is kept of a request that may come twice, by the token that it came with, whatever its age.
    async fn by_old_token(&mut self, old_token: &TokenHash) -> Result<Option<KeptRequest>, StoreError>;
}

/// Requests that may come twice, with their answers (`iam_repeatable_answer`), in a unit of work. Of each session there is one at most.
#[async_trait]
pub trait RepeatableAnswers: RepeatableAnswerReads {
    /// Claims a request. It takes the place of another one of its session; but not that of an equal one (the same request, the same old
    /// token), whether that was answered or not, unless that was claimed or answered at `stale_since` or before, or is of the future. Says
    /// whether it did; of any number of equal requests at once at most one caller MUST ever be told so.
    async fn claim(&mut self, claim: &Claim, stale_since: Timestamp) -> Result<bool, StoreError>;

    /// Keeps the answer to a request that was claimed, as of `at`, if this very claim is still there and was not answered. Says whether it
    /// did.
    async fn answer(&mut self, claim: &Claim, answer: &KeptAnswer, at: Timestamp)
    -> Result<bool, StoreError>;

    /// Gives a claim back, if this very one is still there and was not answered. Says whether it did.
    async fn give_back(&mut self, claim: &Claim) -> Result<bool, StoreError>;

    /// Forgets what is kept of a session. Says whether there was anything.
    async fn forget(&mut self, session: SessionId) -> Result<bool, StoreError>;

    /// Removes up to `most` that were answered before a time, or claimed before an earlier one. Says how many.
    async fn purge(
        &mut self,
        answered_before: Timestamp,
        claimed_before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError>;
}
