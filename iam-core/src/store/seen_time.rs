use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::model::session_state::EndReason;

/// The latest time that the store has seen, and what is to be done when the clock was put back behind it; in a unit of work.
#[async_trait]
pub trait SeenTime: Send {
    /// Notes that it is `now`, unless a later time was noted. Gives the time that is noted from then on. It MUST be decided by the
    /// database: of several at once the latest stays.
    async fn note(&mut self, now: Timestamp) -> Result<Timestamp, StoreError>;

    /// Takes the noted time back to `now`, if it is of the future ([`Timestamp::is_ahead_of`]). It MUST be one conditional statement. Says
    /// whether it did.
    async fn put_back(&mut self, now: Timestamp) -> Result<bool, StoreError>;

    /// Ends up to `most` sessions that have not ended, whatever their accounts. Says how many.
    async fn end_sessions(&mut self, reason: EndReason, now: Timestamp, most: u32)
    -> Result<u64, StoreError>;

    /// Brings what outlives a session in order, up to `most` rows of each kind; says how many there were of the kind that had the most.
    /// - Links that are of the future at `now`, or had expired at `seen`, MUST be void.
    /// - Browsers of which the same is true MUST be trusted no longer.
    /// - Limits last counted in the future MUST count as last counted at `now`: count, `since` and number stay, and what was left of
    ///   their block and of their time until they are forgotten, counted from their last try, begins at `now`.
    /// - Messages that wait for a time of the future, or were taken then, MUST be due, or count as taken, at `now`.
    async fn bring_back(&mut self, now: Timestamp, seen: Timestamp, most: u32) -> Result<u64, StoreError>;
}
