use async_trait::async_trait;

use super::{Insert, StoreError};
use crate::clock::Timestamp;
use crate::id::{AccountId, SessionId};
use crate::session::{EndReason, NewSession, SessionState};
use crate::token::TokenHash;

/// Sessions, in a unit of work. Insert, replace and end are separate on purpose: a store that saves whole sessions brings
/// ended ones back to life.
#[async_trait]
pub trait Sessions: Send {
    /// Adds a session, only if at this moment its account is active, has the version that the session names, and has no
    /// suspended parent; else [`Insert::Taken`]. It MUST NOT change a session that exists: a second one with the same token is
    /// an error.
    async fn insert(&mut self, session: &NewSession) -> Result<Insert, StoreError>;

    /// Replaces the token and the state of a session that has not ended and has the token `old`. The old token MUST be dead
    /// with it. Where `now` is later than the session's last use, it becomes that. Says whether it did; at most one caller is
    /// ever told so for the same old token.
    async fn replace_token(
        &mut self,
        id: SessionId,
        old: &TokenHash,
        new: &TokenHash,
        state: SessionState,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Ends a session that has not ended. Says whether it did; at most one caller is ever told so.
    async fn end(&mut self, id: SessionId, reason: EndReason, now: Timestamp) -> Result<bool, StoreError>;

    /// Ends all sessions of an account that have not ended. Says how many.
    async fn end_all(
        &mut self,
        account: AccountId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Removes the token's hash of up to `most` sessions that ended before a time; the rows stay. Says how many.
    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` sessions that ended before a time. Says how many.
    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
