use crate::model::interrupted::Interrupted;
use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::{InterruptedId, SessionId};
use crate::model::interrupted::NewInterrupted;

/// Reads of requests that a guard stopped: in a unit of work, or beside any.
#[async_trait]
pub trait InterruptedRequestReads: Send {
    /// A request of this session that a guard stopped, whatever became of it, if it has not expired and is not of the future.
    async fn by_id(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError>;
}

/// Requests that a guard stopped (`iam_interrupted_request`), in a unit of work.
#[async_trait]
pub trait InterruptedRequests: InterruptedRequestReads {
    /// Keeps a request. Of those of its session only the `most` newest are left, this one among them.
    async fn keep(&mut self, request: &NewInterrupted, most: u32) -> Result<(), StoreError>;

    /// Marks a request of this session as resumed, if it was not, has not expired, and is not of the future. It MUST be one conditional
    /// statement: at most one caller is ever told that it did.
    async fn resume(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Removes up to `most` requests that expired before a time. Says how many.
    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
