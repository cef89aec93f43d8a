//! The ports that a store implements.
//!
//! [`Store::begin`] gives a [`UnitOfWork`]: what is written through it is kept by [`commit`](UnitOfWork::commit), all of
//! it or nothing; dropping it rolls back. A change and its audit record go into one unit. No unit is open while a password
//! is hashed: what was read before is a condition of what is written after.
//!
//! Four things hold for every method:
//! - **Absent is not an error**: look-ups give an `Option`, conditional writes say whether they took place.
//! - **The database decides.** Uniqueness, single use and limits are a unique key or one conditional statement, never a look
//!   and then a write.
//! - **Time is bound.** A statement takes its time as a parameter and never asks the database for it. What was made later than
//!   [`Timestamp::latest_tolerated`] of it is of the future: the clock was put back since, and it counts for nothing.
//! - **Ids, hashes and names compare byte by byte.**
//!
//! A unit that fails with [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict) is tried again, at most three times, by whoever began it: a store can't do so,
//! since it does not know what the unit was going to do.

use crate::base::store_error::StoreError;

mod accounts;
mod audit;
mod factors;
mod interrupted;
mod keys;
mod limits;
mod outbox;
mod parents;
mod ports;
mod repeatable;
mod roles;
mod sealed;
mod seen_time;
mod sessions;
mod step_up_proofs;
mod tickets;
mod trusted_devices;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use accounts::{AccountReads, Accounts, LoginCandidate, Rehash};
pub use audit::{AuditLog, AuditReads, AuditRetention};
pub use factors::{
    ChallengeReads, Challenges, Confirmation, Confirmed, MethodReads, Methods, RecoveryCodeReads,
    RecoveryCodes,
};
pub use interrupted::{InterruptedRequestReads, InterruptedRequests};
pub use keys::{KeyCanaries, KeyCanaryReads};
pub use limits::Limits;
pub use outbox::{Outbox, OutboxReads};
pub use parents::{ParentReads, Parents};
pub use ports::{Ports, Reads};
pub use repeatable::{RepeatableAnswerReads, RepeatableAnswers};
pub use roles::{Holders, RoleReads, Roles};
pub use sealed::{SealedColumn, SealedRow, SealedValueReads, SealedValues};
pub use seen_time::SeenTime;
pub use sessions::{SessionReads, Sessions};
pub use step_up_proofs::{StepUpProofReads, StepUpProofs};
pub use tickets::{TicketReads, Tickets};
pub use trusted_devices::{TrustedDeviceReads, TrustedDevices};

use crate::base::clock::Timestamp;
use crate::base::id::SessionId;
use crate::model::conflict::UniqueKey;
use crate::model::long_sessions::Replacement;
use crate::model::session::SessionRecord;
use crate::model::token::TokenHash;

/// A store: units of work for writing, and the reads that need none.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Begins a unit of work.
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError>;

    /// Reads beside any unit of work: of what was committed, each by itself. It MUST take nothing that a writer waits for.
    async fn reader(&self) -> Result<Box<dyn Reads>, StoreError>;

    /// Whether the store can be reached, its schema is what this program needs, and it can be written. A schema that a newer program
    /// extended MUST do, until it says itself that this program is too old for it. That it can be written MUST be found out by
    /// writing, not longer ago than some seconds; after a write of the store's own that the database could not do it MUST NOT be called
    /// ready before another one succeeded.
    async fn readiness(&self) -> Result<Readiness, StoreError>;

    /// Closes all that the store has open, for all of its clones, after what is under way (within seconds); what was committed then
    /// lies in the database itself and in no file beside it. Whatever is asked of the store afterwards MUST be
    /// [`StoreErrorKind::Unavailable`](crate::StoreErrorKind::Unavailable); closing it again is no error. A pool of the host's is left to the host.
    async fn close(&self) -> Result<(), StoreError>;

    /// The database's own clock, in UTC whatever the zone of its server or session. It is for comparison alone, and the one thing that
    /// asks a database for the time. It MUST NOT be remembered. (A database within the process has the machine's.)
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// The session of a token, or of the one that a day replaced by it, with all that decides over it. The guard's read: it MUST be one
    /// statement that finds the session by a unique index for each, and MUST also find a session that has ended.
    async fn session(&self, token: &TokenHash) -> Result<Option<SessionRecord>, StoreError>;

    /// Notes that a session was used at `now`, unless it has ended or was noted after `unless_after`; and up to when what was proved in it
    /// counts no more, if that is given. It MUST be one conditional statement that never brings an ended session back. Says whether it
    /// wrote.
    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless_after: Timestamp,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError>;

    /// Gives a long session that has not ended another token, on the conditions of the [`Replacement`]; the token that was shown is kept as
    /// the one before it. It MUST be one conditional statement. Says whether it did; of those who show the same token at once, at most
    /// one is told so.
    async fn replace_token(&self, id: SessionId, replacement: &Replacement) -> Result<bool, StoreError>;
}

/// Writes that are kept together or not at all. Dropping it without [`commit`](Self::commit) MUST undo all of it, also when
/// the task that held it was cancelled at any point.
#[async_trait]
pub trait UnitOfWork: Ports {
    /// Keeps what was written.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// The outcome of a write that a unique key may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// It was written.
    Done,
    /// This key stood in the way (of several, one of them); nothing was written, and the unit of work can go on.
    Taken(UniqueKey),
}

/// The outcome of adding to a list that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It was added.
    Done,
    /// The list is full; nothing was written.
    Full,
}

/// The outcome of a write on the condition that what was read before still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It was written.
    Done,
    /// It does not hold any more; nothing was written.
    Stale,
}

/// Whether a store can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It can.
    Ready,
    /// Migrations that this program needs were not applied.
    SchemaTooOld,
    /// A newer program took away what this one needs.
    ProgramTooOld,
    /// Nothing can be written: the disk is full, or it or the server is read-only.
    NotWritable,
    /// The database's file was removed, renamed or replaced while it was open: what is written goes where nobody will look for it.
    Replaced,
    /// Messages lie there that no worker takes. A store never says so; [`Iam::readiness`](crate::Iam::readiness) does.
    MessagesWait,
    /// It can, but the clock differs from the database's by this much: worth a look. Nor does a store say this ...
    ClockDiffers(Duration),
    /// ... or this: the clock differs by so much that codes and time-outs are wrong.
    ClockWrong(Duration),
}
