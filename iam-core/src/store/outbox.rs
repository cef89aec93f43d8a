use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::{ChallengeId, MessageId};
use crate::delivery::{Claimed, DeliveryAttempt, NewMessage, Receipt, Settled};

/// Reads of the outbox: in a unit of work, or beside any.
#[async_trait]
pub trait OutboxReads: Send {
    /// When the oldest message was made that is due at `now`, has not expired, and that nobody has taken yet.
    async fn oldest_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Whether [`claim`](Outbox::claim) would find something at these times.
    async fn has_claimable(&mut self, now: Timestamp, stale_before: Timestamp) -> Result<bool, StoreError>;

    /// What providers did for a message, in the order in which they did it.
    async fn attempts_of(&mut self, id: MessageId) -> Result<Vec<DeliveryAttempt>, StoreError>;

    /// The latest attempt that a provider has called so. It MUST be found by an index.
    async fn attempt_by_reference(
        &mut self,
        provider: &str,
        reference: &str,
    ) -> Result<Option<DeliveryAttempt>, StoreError>;
}

/// Messages to be sent, in a unit of work.
#[async_trait]
pub trait Outbox: OutboxReads {
    /// Keeps a message. It is due at once.
    async fn put(&mut self, message: &NewMessage) -> Result<(), StoreError>;

    /// Takes up to `most` messages to send them: those that wait and are due, and those that were taken before `stale_before` and of
    /// which nobody has written down what came of it (that counts as one more [`lost`](Claimed::lost)). Not those that have expired.
    /// Each call of it raises the attempt of what it takes. Of any number of callers at once each message MUST go to one at most;
    /// none waits for another.
    async fn claim(
        &mut self,
        now: Timestamp,
        stale_before: Timestamp,
        most: u32,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Writes down what came of an attempt, if it is still the latest and the message was not replaced meanwhile. What is over MUST
    /// lose its sealed message with it. Says whether it did.
    async fn settle(
        &mut self,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Writes down what a provider did, in the unit that settles the attempt. It goes with the message.
    async fn record_attempt(&mut self, attempt: &DeliveryAttempt) -> Result<(), StoreError>;

    /// Writes down a provider's word on an attempt that it had accepted, if it is the first. It MUST be one conditional statement: of any
    /// number of callers at most one is told that it did.
    async fn receive(&mut self, attempt: &DeliveryAttempt, receipt: Receipt) -> Result<bool, StoreError>;

    /// Writes down what comes of a message that [awaits a receipt](Settled::AwaitsReceipt) for this attempt, as [`settle`](Self::settle) does for
    /// one that is under way. Says whether it did.
    async fn resettle(
        &mut self,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Marks the messages of a challenge that are not over as replaced, and takes their sealed messages away. Says how many.
    async fn replace(&mut self, challenge: ChallengeId, now: Timestamp) -> Result<u64, StoreError>;

    /// Marks up to `most` messages that have expired and are not over as expired, and takes their sealed messages away. Says which. Those that
    /// await a receipt stay accepted, lose their sealed messages likewise, and are not told: their provider has them.
    async fn expire(&mut self, now: Timestamp, most: u32) -> Result<Vec<NewMessage>, StoreError>;

    /// Marks up to `most` messages that are not over as replaced, whatever they are about, and takes their sealed messages away. Says how
    /// many.
    async fn withdraw(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` messages that were made before a time and are over. Says how many.
    async fn purge(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
