//! A store that fails when it is told to, and that counts what is asked of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iam_core::account::{Account, AuthVersion, ExternalId, LoginIdentifier, Username};
use iam_core::audit::{Entry, Record};
use iam_core::clock::{RealWork, Timestamp};
use iam_core::id::{AccountId, InterruptedId, ParentId, SessionId};
use iam_core::interrupted::Interrupted;
use iam_core::long_sessions::Replacement;
use iam_core::mfa::{Challenge, ChallengePurpose, FactorKind, Method};
use iam_core::outbox::Delivery;
use iam_core::parent::{Parent, ParentKey};
use iam_core::repeat::KeptRequest;
use iam_core::role::{Role, RoleName};
use iam_core::session::{
    EndReason, NewSession, Renewal, RoleOfAccount, SessionRecord, SessionState, SessionSummary,
};
use iam_core::step_up::Purpose;
use iam_core::store::{
    Accounts, AuditLog, Challenges, Insert, InterruptedRequests, KeyCanaries, Limits, LoginCandidate,
    Methods, OneTimeTokens, Outbox, Parents, Ports, Readiness, RecoveryCodes, RepeatableAnswers, Roles,
    SealedColumn, SealedRow, SealedValues, SeenTime, Sessions, Store, StoreError, StoreErrorKind,
    TrustedDevices, UnitOfWork,
};
use iam_core::token::TokenHash;
use tokio::sync::oneshot;

/// Switches and counters.
#[derive(Debug, Default)]
pub struct Faults {
    /// Nothing works.
    pub down: AtomicBool,
    /// Nothing can be written to the audit log.
    pub audit: AtomicBool,
    /// So many units of work lose against another one, at their end.
    pub conflicts: AtomicUsize,
    /// The use of sessions can't be noted.
    pub touch: AtomicBool,
    /// Reads outside units of work.
    pub reads: AtomicUsize,
    /// Sessions looked up by their token, once that was answered.
    pub sessions_found_out: AtomicUsize,
    /// Notes of a session's use.
    pub touches: AtomicUsize,
    /// Units of work begun.
    pub units: AtomicUsize,
    /// Units of work that are open now.
    pub open_units: AtomicUsize,
    /// What the database's clock shows, instead of what it does.
    database_time: Mutex<Option<Timestamp>>,
    hold: Mutex<Option<Hold>>,
}

/// Where a call can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before a session's use is noted.
    Touch,
    /// Before the account that somebody signs in to, or proves again to have, is looked up.
    Candidate,
    /// After a session got another token, in a unit of work that is still open.
    Renewed,
    /// After sealed values were read.
    SealedRead,
    /// Before the database is asked what time it is.
    DatabaseTime,
    /// Before something is written to the audit log, in a unit of work that is still open.
    Audit,
}

/// A call that is to be held, seen from the call.
#[derive(Debug)]
struct Hold {
    at: Point,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

/// A call that is to be held, seen from the test. Dropped, it lets the call go on.
#[derive(Debug)]
pub struct Held {
    reached: Option<oneshot::Receiver<()>>,
    _release: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the call is there.
    ///
    /// # Panics
    /// When another one was to be held instead.
    pub async fn reached(&mut self) {
        if let Some(reached) = self.reached.take() {
            assert!(reached.await.is_ok(), "nothing is held any more");
        }
    }
}

impl Faults {
    /// Sets the database's clock. Without a time it is the one that it has.
    pub fn set_database_time(&self, time: Option<Timestamp>) {
        *self.database_time.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// Holds the next call, and only that one, that comes to a point. One at a time.
    pub fn hold(&self, at: Point) -> Held {
        let (reached, is_reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let hold = Hold { at, reached, released };
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
        Held { reached: Some(is_reached), _release: release }
    }

    async fn pass(&self, point: Point) {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner).take_if(|hold| hold.at == point);
        if let Some(hold) = hold
            && hold.reached.send(()).is_ok()
        {
            // It ends when the test lets go, whichever way.
            drop(hold.released.await);
        }
    }

    /// What the store does from here on, it does in real time.
    fn check(&self) -> Result<RealWork, StoreError> {
        fail_if(&self.down)?;
        Ok(RealWork::begin())
    }

    fn read(&self) -> Result<RealWork, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check()
    }
}

fn fail_if(switch: &AtomicBool) -> Result<(), StoreError> {
    if switch.load(Ordering::SeqCst) {
        Err(StoreError::new(StoreErrorKind::Unavailable, "as the test asked"))
    } else {
        Ok(())
    }
}

/// Any store, with [`Faults`] before it.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Box<dyn Store>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    /// Puts faults before a store.
    pub fn new(inner: impl Store, faults: Arc<Faults>) -> Self {
        Self { inner: Box::new(inner), faults }
    }
}

struct FaultyUnit {
    inner: Box<dyn UnitOfWork>,
    faults: Arc<Faults>,
    _open: Open,
    _real: RealWork,
}

/// Counts an open unit until it is gone, whichever way.
struct Open(Arc<Faults>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_units.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError> {
        let real = self.faults.check()?;
        let inner = self.inner.begin().await?;
        self.faults.units.fetch_add(1, Ordering::SeqCst);
        self.faults.open_units.fetch_add(1, Ordering::SeqCst);
        let faults = Arc::clone(&self.faults);
        Ok(Box::new(FaultyUnit { inner, _open: Open(Arc::clone(&faults)), _real: real, faults }))
    }

    async fn readiness(&self) -> Result<Readiness, StoreError> {
        let _real = self.faults.check()?;
        self.inner.readiness().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _real = RealWork::begin();
        self.inner.close().await
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        let _real = self.faults.check()?;
        self.faults.pass(Point::DatabaseTime).await;
        let told = *self.faults.database_time.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(time) => Ok(time),
            None => self.inner.database_time().await,
        }
    }

    async fn session(
        &self,
        token: &TokenHash,
        granted_after: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let _real = self.faults.read()?;
        let found = self.inner.session(token, granted_after).await;
        self.faults.sessions_found_out.fetch_add(1, Ordering::SeqCst);
        found
    }

    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless: Timestamp,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let _real = self.faults.check()?;
        fail_if(&self.faults.touch)?;
        self.faults.pass(Point::Touch).await;
        self.faults.touches.fetch_add(1, Ordering::SeqCst);
        self.inner.touch_session(id, now, unless, lapsed_at).await
    }

    async fn replace_token(&self, id: SessionId, replacement: &Replacement) -> Result<bool, StoreError> {
        let _real = self.faults.check()?;
        self.inner.replace_token(id, replacement).await
    }

    async fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.sessions_of(account).await
    }

    async fn methods_of(&self, account: AccountId) -> Result<Vec<Method>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.methods_of(account).await
    }

    async fn recovery_codes_left(&self, account: AccountId) -> Result<u32, StoreError> {
        let _real = self.faults.read()?;
        self.inner.recovery_codes_left(account).await
    }

    async fn open_challenges(
        &self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.open_challenges(session, purpose).await
    }

    async fn asked_last(
        &self,
        session: SessionId,
        purpose: Option<Purpose>,
        now: Timestamp,
    ) -> Result<Option<Challenge>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.asked_last(session, purpose, now).await
    }

    async fn interrupted(
        &self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.interrupted(id, session, now).await
    }

    async fn repeatable(&self, old_token: &TokenHash) -> Result<Vec<KeptRequest>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.repeatable(old_token).await
    }

    async fn is_trusted_device(
        &self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let _real = self.faults.read()?;
        self.inner.is_trusted_device(token, account, auth_version, now).await
    }

    async fn factors_proved(&self, session: SessionId) -> Result<Vec<(FactorKind, Timestamp)>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.factors_proved(session).await
    }

    async fn oldest_due_message(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.oldest_due_message(now).await
    }

    async fn sealed_rows(
        &self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let _real = self.faults.check()?;
        let rows = self.inner.sealed_rows(column, before, most).await;
        self.faults.pass(Point::SealedRead).await;
        rows
    }

    async fn sessions_unseen_since(
        &self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.sessions_unseen_since(before, long, most).await
    }

    async fn login_candidate(
        &self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        let _real = self.faults.read()?;
        self.faults.pass(Point::Candidate).await;
        self.inner.login_candidate(identifier).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.account(id).await
    }

    async fn account_by_external_id(&self, id: &ExternalId) -> Result<Option<Account>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.account_by_external_id(id).await
    }

    async fn account_by_username(&self, username: &Username) -> Result<Option<Account>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.account_by_username(username).await
    }

    async fn audit_entries(&self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        let _real = self.faults.check()?;
        self.inner.audit_entries(before, most).await
    }

    async fn parent(&self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.parent(id).await
    }

    async fn parent_by_key(&self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.parent_by_key(key).await
    }

    async fn roles_of(&self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.roles_of(account).await
    }

    async fn role_by_name(&self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        let _real = self.faults.read()?;
        self.inner.role_by_name(name).await
    }
}

impl Ports for FaultyUnit {
    fn accounts(&mut self) -> &mut dyn Accounts {
        self.inner.accounts()
    }
    fn parents(&mut self) -> &mut dyn Parents {
        self.inner.parents()
    }
    fn roles(&mut self) -> &mut dyn Roles {
        self.inner.roles()
    }
    fn sessions(&mut self) -> &mut dyn Sessions {
        self
    }
    fn one_time_tokens(&mut self) -> &mut dyn OneTimeTokens {
        self.inner.one_time_tokens()
    }
    fn methods(&mut self) -> &mut dyn Methods {
        self.inner.methods()
    }
    fn recovery_codes(&mut self) -> &mut dyn RecoveryCodes {
        self.inner.recovery_codes()
    }
    fn challenges(&mut self) -> &mut dyn Challenges {
        self.inner.challenges()
    }
    fn interrupted_requests(&mut self) -> &mut dyn InterruptedRequests {
        self.inner.interrupted_requests()
    }
    fn repeatable_answers(&mut self) -> &mut dyn RepeatableAnswers {
        self.inner.repeatable_answers()
    }
    fn trusted_devices(&mut self) -> &mut dyn TrustedDevices {
        self.inner.trusted_devices()
    }
    fn outbox(&mut self) -> &mut dyn Outbox {
        self.inner.outbox()
    }
    fn limits(&mut self) -> &mut dyn Limits {
        self.inner.limits()
    }
    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }
    fn keys(&mut self) -> &mut dyn KeyCanaries {
        self.inner.keys()
    }
    fn sealed_values(&mut self) -> &mut dyn SealedValues {
        self.inner.sealed_values()
    }
    fn seen_time(&mut self) -> &mut dyn SeenTime {
        self.inner.seen_time()
    }
}

#[async_trait]
impl UnitOfWork for FaultyUnit {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let _real = self.faults.check()?;
        let lose_one = |left: usize| left.checked_sub(1);
        if self.faults.conflicts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose_one).is_ok() {
            return Err(StoreError::new(StoreErrorKind::Conflict, "as the test asked"));
        }
        self.inner.commit().await
    }
}

#[async_trait]
impl AuditLog for FaultyUnit {
    async fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        fail_if(&self.faults.audit)?;
        self.faults.pass(Point::Audit).await;
        self.inner.audit().append(record).await
    }

    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.inner.audit().delete_before(before, most).await
    }
}

#[async_trait]
impl Sessions for FaultyUnit {
    async fn insert(&mut self, session: &NewSession) -> Result<Insert, StoreError> {
        self.inner.sessions().insert(session).await
    }

    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<bool, StoreError> {
        self.inner.sessions().hold(id, token).await
    }

    async fn renew(&mut self, id: SessionId, old: &TokenHash, renewal: &Renewal) -> Result<bool, StoreError> {
        let renewed = self.inner.sessions().renew(id, old, renewal).await?;
        self.faults.pass(Point::Renewed).await;
        Ok(renewed)
    }

    async fn use_token(
        &mut self,
        id: SessionId,
        token: &TokenHash,
        now: Timestamp,
        seen_at: Option<Timestamp>,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        fail_if(&self.faults.touch)?;
        self.faults.pass(Point::Touch).await;
        self.faults.touches.fetch_add(1, Ordering::SeqCst);
        self.inner.sessions().use_token(id, token, now, seen_at, lapsed_at).await
    }

    async fn lengthen(
        &mut self,
        id: SessionId,
        account: AccountId,
        token: &TokenHash,
    ) -> Result<bool, StoreError> {
        self.inner.sessions().lengthen(id, account, token).await
    }

    async fn end(&mut self, id: SessionId, reason: EndReason, now: Timestamp) -> Result<bool, StoreError> {
        self.inner.sessions().end(id, reason, now).await
    }

    async fn end_all(
        &mut self,
        account: AccountId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.inner.sessions().end_all(account, reason, now).await
    }

    async fn end_others(
        &mut self,
        account: AccountId,
        kept: SessionId,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.inner.sessions().end_others(account, kept, reason, now).await
    }

    async fn end_longest_unused_beyond(
        &mut self,
        account: AccountId,
        state: SessionState,
        new: SessionId,
        keep: u32,
        reason: EndReason,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.inner.sessions().end_longest_unused_beyond(account, state, new, keep, reason, now).await
    }

    async fn forget_tokens(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.inner.sessions().forget_tokens(ended_before, most).await
    }

    async fn delete_ended(&mut self, ended_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.inner.sessions().delete_ended(ended_before, most).await
    }
}
