use crate::model::session::SessionSummary;
use async_trait::async_trait;

use super::{Changed, StoreError};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, SessionId};
use crate::model::session::{HeldSession, NewSession, Renewal};
use crate::model::session_state::{EndReason, SessionState};
use crate::model::token::TokenHash;

/// Reads of sessions: in a unit of work, or beside any.
#[async_trait]
pub trait SessionReads: Send {
    /// The active sessions of an account that have not ended, newest first. Those whose second factor is due are none of its owner's
    /// business yet.
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError>;

    /// Up to `most` sessions that have not ended and were not used since a time, longest unused first; those that were asked for as long
    /// ones, or all others. It MUST find them by an index, however many of the other kind there are.
    async fn unseen_since(
        &mut self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError>;
}

/// Sessions, in a unit of work. Changed, renew and end are separate on purpose: a store that saves whole sessions brings
/// ended ones back to life.
#[async_trait]
pub trait Sessions: SessionReads {
    /// Adds a session, only if at this moment its account is active, has the version that the session names, and has no
    /// suspended parent; else [`Changed::Stale`]. It MUST NOT change a session that exists: a second one with the same token is
    /// an error.
    async fn insert(&mut self, session: &NewSession) -> Result<Changed, StoreError>;

    /// Holds a session against all other units until this one is over, if it has this token and has not ended. Gives what it has proved by
    /// then, which MUST be what no other unit can change any more; nothing, if there is no such session. As long as a token that replaced
    /// another one was not used, the session has both.
    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<Option<HeldSession>, StoreError>;

    /// Gives a session another token, and what else the [`Renewal`] says, if it has not ended, has the token `old` (as for
    /// [`hold`](Self::hold)), and is in the state and was made under the version that the renewal names. The old token MUST be dead with it,
    /// and so MUST one beside it be; where the new token is the old one, all tokens stay as they are, and else the new one counts as not
    /// used yet. Its own time is kept as that of the session's last use if it is later. The proofs take the place of those that there were:
    /// whoever calls it holds the session. Says whether it did; at most one caller is ever told so for the same old token.
    async fn renew(&mut self, id: SessionId, old: &TokenHash, renewal: &Renewal) -> Result<bool, StoreError>;

    /// Notes the first use of a token that has replaced another one, if the session has this token and has not ended: the token before it
    /// MUST be dead from then on. With it, the session's use at `seen_at`, if that is given and later than what was noted, and up to when
    /// what was proved counts no more, if that is given. Says whether it did; at most one caller is ever told so of a token.
    async fn use_token(
        &mut self,
        id: SessionId,
        token: &TokenHash,
        now: Timestamp,
        seen_at: Option<Timestamp>,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// Makes a session a long one that is not: if it is this account's, is active, has not ended, and has this token as its own. The token
    /// then counts as used at `now`, and as made a day before that: the next request replaces it, so that a copy of it is found out. Says
    /// whether it did; at most one caller is ever told so.
    async fn lengthen(
        &mut self,
        id: SessionId,
        account: AccountId,
        token: &TokenHash,
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

    /// Ends all sessions of an account but one. Says how many.
    async fn end_others(
        &mut self,
        account: AccountId,
        kept: SessionId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Ends the sessions of an account that are in this state beyond the `keep` that were used last, of which `new` is one whatever the clock
    /// says. A session that was used after its sign-in may have been used for [`MOST_UNNOTED`](crate::ports::MOST_UNNOTED) after its last note,
    /// and counts as if it was. Of those used at the same time the newest are kept. Says which. Whatever other units do at the same time, once they
    /// and this one are committed there MUST be no more than `keep`, if each of them inserted its session before it called this.
    async fn end_longest_unused_beyond(
        &mut self,
        account: AccountId,
        state: SessionState,
        new: SessionId,
        keep: u32,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Removes the hashes of the tokens of up to `most` sessions that ended before a time; the rows stay. Says how many.
    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` sessions that ended before a time. Says how many.
    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
