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
//! A unit that fails with [`StoreErrorKind::Conflict`] is tried again, at most three times, by whoever began it: a store can't do so,
//! since it does not know what the unit was going to do.

mod accounts;
mod audit;
mod factors;
mod interrupted;
mod keys;
mod limits;
mod one_time;
mod outbox;
mod parents;
mod repeatable;
mod roles;
mod sealed;
mod seen_time;
mod sessions;
mod trusted_devices;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use accounts::{Accounts, LoginCandidate, Rehash};
pub use audit::AuditLog;
pub use factors::{Challenges, Methods, RecoveryCodes};
pub use interrupted::InterruptedRequests;
pub use keys::KeyCanaries;
pub use limits::Limits;
pub use one_time::OneTimeTokens;
pub use outbox::Outbox;
pub use parents::Parents;
pub use repeatable::RepeatableAnswers;
pub use roles::{Holders, Roles};
pub use sealed::{SealedColumn, SealedRow, SealedValues};
pub use seen_time::SeenTime;
pub use sessions::Sessions;
pub use trusted_devices::TrustedDevices;

use crate::account::{Account, AuthVersion, ExternalId, LoginIdentifier, Username};
use crate::audit::Entry;
use crate::clock::Timestamp;
use crate::id::{AccountId, InterruptedId, ParentId, SessionId};
use crate::interrupted::Interrupted;
use crate::long_sessions::Replacement;
use crate::mfa::{Challenge, ChallengePurpose, FactorKind, Method};
use crate::outbox::Delivery;
use crate::parent::{Parent, ParentKey};
use crate::repeat::KeptRequest;
use crate::role::{Role, RoleName};
use crate::session::{RoleOfAccount, SessionRecord, SessionSummary};
use crate::step_up::Purpose;
use crate::token::TokenHash;

/// A store: units of work for writing, and the reads that need none.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Begins a unit of work.
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError>;

    /// Whether the store can be reached, its schema is what this program needs, and it can be written. A schema that a newer program
    /// extended MUST do, until it says itself that this program is too old for it. That it can be written MUST be found out by
    /// writing, not longer ago than some seconds; after a write of the store's own that the database could not do it MUST NOT be called
    /// ready before another one succeeded.
    async fn readiness(&self) -> Result<Readiness, StoreError>;

    /// Closes all that the store has open, for all of its clones, after what is under way (within seconds); what was committed then
    /// lies in the database itself and in no file beside it. Whatever is asked of the store afterwards MUST be
    /// [`StoreErrorKind::Unavailable`]; closing it again is no error. A pool of the host's is left to the host.
    async fn close(&self) -> Result<(), StoreError>;

    /// The database's own clock, in UTC whatever the zone of its server or session. It is for comparison alone, and the one thing that
    /// asks a database for the time. It MUST NOT be remembered. (A database within the process has the machine's.)
    async fn database_time(&self) -> Result<Timestamp, StoreError>;

    /// The session of a token, or of the one that a day replaced by it, with all that decides over it. The guard's read: it MUST be one
    /// statement that finds the session by a unique index for each, and MUST also find a session that has ended. Of the session's grants those come with it that were
    /// made after `granted_after` and are not used up.
    async fn session(
        &self,
        token: &TokenHash,
        granted_after: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError>;

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

    /// The active sessions of an account that have not ended, newest first. Those whose second factor is due are none of its owner's
    /// business yet.
    async fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError>;

    /// The methods of an account, confirmed or not, in the order in which they were made.
    async fn methods_of(&self, account: AccountId) -> Result<Vec<Method>, StoreError>;

    /// How many recovery codes of an account were not used.
    async fn recovery_codes_left(&self, account: AccountId) -> Result<u32, StoreError>;

    /// The challenges of a session and purpose that were not answered and not replaced, whatever their age, each with how far the
    /// message that carries its code has come.
    async fn open_challenges(
        &self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError>;

    /// The challenge of a session that was asked for last, was not answered and not replaced, and has not expired; for this purpose, or
    /// for any but setting up a factor and signing in.
    async fn asked_last(
        &self,
        session: SessionId,
        purpose: Option<Purpose>,
        now: Timestamp,
    ) -> Result<Option<Challenge>, StoreError>;

    /// A request of this session that a guard stopped, whatever became of it, if it has not expired and is not of the future.
    async fn interrupted(
        &self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError>;

    /// What is kept of requests that may come twice, by the token that they came with, whatever their age. They are of one session.
    async fn repeatable(&self, old_token: &TokenHash) -> Result<Vec<KeptRequest>, StoreError>;

    /// Whether a browser is trusted: the token is one that was given to it for this account under this version, and its time is not
    /// over; nor is it of the future.
    async fn is_trusted_device(
        &self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The factors that were proved in a session, to sign in, to prove again who one is, or to set one up: the latest time for each kind.
    /// What makes a grant is not among them.
    async fn factors_proved(&self, session: SessionId) -> Result<Vec<(FactorKind, Timestamp)>, StoreError>;

    /// When the oldest message was made that is due at `now`, has not expired, and that nobody has taken yet.
    async fn oldest_due_message(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Up to `most` rows of a column's table, the newest first (by their ids, from the highest down), below the id `before` when one is
    /// given; those without a value, too. It MUST find them by the primary key and read no others, so that it takes the same time
    /// however large the table is.
    async fn sealed_rows(
        &self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError>;

    /// Up to `most` sessions that have not ended and were not used since a time, longest unused first; those that were asked for as long
    /// ones, or all others. It MUST find them by an index, however many of the other kind there are.
    async fn sessions_unseen_since(
        &self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError>;

    /// What a sign-in needs to know of an account: found by user name, or by address once that is verified.
    async fn login_candidate(
        &self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError>;

    /// An account by id.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError>;

    /// An account by the host's own key.
    async fn account_by_external_id(&self, id: &ExternalId) -> Result<Option<Account>, StoreError>;

    /// An account by name.
    async fn account_by_username(&self, username: &Username) -> Result<Option<Account>, StoreError>;

    /// Up to `most` records of the audit log, newest first, below the id `before` when one is given.
    async fn audit_entries(&self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError>;

    /// A parent by id.
    async fn parent(&self, id: ParentId) -> Result<Option<Parent>, StoreError>;

    /// A parent by key.
    async fn parent_by_key(&self, key: &ParentKey) -> Result<Option<Parent>, StoreError>;

    /// The roles that an account was granted, those whose time is over among them, by name. It MUST find them by an index.
    async fn roles_of(&self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError>;

    /// A role by name.
    async fn role_by_name(&self, name: &RoleName) -> Result<Option<Role>, StoreError>;
}

/// What one transaction can write, whoever's it is: a [`UnitOfWork`] of this library's, or one of the host's that a store lends
/// itself to.
pub trait Ports: Send {
    /// Accounts.
    fn accounts(&mut self) -> &mut dyn Accounts;
    /// Parents.
    fn parents(&mut self) -> &mut dyn Parents;
    /// Roles and who holds them.
    fn roles(&mut self) -> &mut dyn Roles;
    /// Sessions.
    fn sessions(&mut self) -> &mut dyn Sessions;
    /// Links that work once.
    fn one_time_tokens(&mut self) -> &mut dyn OneTimeTokens;
    /// Factors that were set up.
    fn methods(&mut self) -> &mut dyn Methods;
    /// Recovery codes.
    fn recovery_codes(&mut self) -> &mut dyn RecoveryCodes;
    /// Challenges.
    fn challenges(&mut self) -> &mut dyn Challenges;
    /// Requests that a guard stopped.
    fn interrupted_requests(&mut self) -> &mut dyn InterruptedRequests;
    /// Requests that may come twice.
    fn repeatable_answers(&mut self) -> &mut dyn RepeatableAnswers;
    /// Browsers that are trusted.
    fn trusted_devices(&mut self) -> &mut dyn TrustedDevices;
    /// Messages to be sent.
    fn outbox(&mut self) -> &mut dyn Outbox;
    /// Limits.
    fn limits(&mut self) -> &mut dyn Limits;
    /// The audit log.
    fn audit(&mut self) -> &mut dyn AuditLog;
    /// Proofs that the keys are the right ones.
    fn keys(&mut self) -> &mut dyn KeyCanaries;
    /// Sealed values, wherever they lie.
    fn sealed_values(&mut self) -> &mut dyn SealedValues;
    /// The latest time that the store has seen.
    fn seen_time(&mut self) -> &mut dyn SeenTime;
}

/// Writes that are kept together or not at all. Dropping it without [`commit`](Self::commit) MUST undo all of it, also when
/// the task that held it was cancelled at any point.
#[async_trait]
pub trait UnitOfWork: Ports {
    /// Keeps what was written.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Whether a row was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insert {
    /// It was.
    Inserted,
    /// A unique key stood in the way; nothing was written, and the unit of work can go on.
    Taken,
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

/// A store failed.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// How a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It can't be reached, or did not answer in time: later it may.
    Unavailable,
    /// The unit of work lost against another one that was under way (a deadlock, or a row that changed under it): all of it is
    /// undone, and may be tried again from its beginning. A lock that did not come free in time is `Unavailable`.
    Conflict,
    /// It holds something that this program can't read.
    Corrupt,
    /// Anything else.
    Other,
}

impl StoreError {
    /// An error of this kind, with its cause.
    pub fn new(kind: StoreErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }

    /// A column that holds what it never should.
    pub fn corrupt(table: &'static str, column: &'static str) -> Self {
        Self::new(StoreErrorKind::Corrupt, format!("{table}.{column} holds an unreadable value"))
    }

    /// How it failed.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Conflict => "the store is contended",
            StoreErrorKind::Corrupt => "the store holds an unreadable value",
            StoreErrorKind::Other => "the store failed",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}
