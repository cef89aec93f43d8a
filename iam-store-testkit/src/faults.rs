//! A store that fails when it is told to, and that counts what is asked of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iam_core::ports::{
    AccountReads, AuditLog, AuditReads, Changed, HeldSession, LoginCandidate, LoginIdentifier, NewSession,
    Ports, Reads, Record, Renewal, Replacement, SealedColumn, SealedRow, SealedValueReads, SessionReads,
    SessionRecord, SessionState, Sessions, Store, TokenHash, UnitOfWork,
};
use iam_core::{
    Account, AccountId, EndReason, Entry, ExternalId, Readiness, RealWork, SessionId, SessionSummary,
    StoreError, StoreErrorKind, Timestamp, Username,
};
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
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    /// Puts faults before a store.
    pub fn new(inner: impl Store, faults: Arc<Faults>) -> Self {
        Self { inner: Arc::new(inner), faults }
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

    async fn reader(&self) -> Result<Box<dyn Reads>, StoreError> {
        let real = self.faults.check()?;
        let (store, inner) = (Arc::clone(&self.inner), Some(self.inner.reader().await?));
        Ok(Box::new(FaultyReads { store, inner, faults: Arc::clone(&self.faults), _real: real }))
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

    async fn session(&self, token: &TokenHash) -> Result<Option<SessionRecord>, StoreError> {
        let _real = self.faults.read()?;
        let found = self.inner.session(token).await;
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
}

macro_rules! forward_port {
    (sessions: $writes:ident) => {};
    (audit: $writes:ident) => {};
    ($port:ident: $writes:ident) => {
        fn $port(&mut self) -> &mut dyn iam_core::ports::$writes {
            self.inner.$port()
        }
    };
}

macro_rules! rest_of_the_unit {
    (reads { $($read:ident: $reads:ident;)* } ports { $($port:ident: $writes:ident;)* }) => {
        $(forward_port!($port: $writes);)*
    };
}

impl Ports for FaultyUnit {
    fn sessions(&mut self) -> &mut dyn Sessions {
        self
    }

    fn audit(&mut self) -> &mut dyn AuditLog {
        self
    }

    iam_core::for_each_port!(rest_of_the_unit);
}

/// Reads, each of which counts.
struct FaultyReads {
    store: Arc<dyn Store>,
    inner: Option<Box<dyn Reads>>,
    faults: Arc<Faults>,
    _real: RealWork,
}

impl FaultyReads {
    #[expect(clippy::expect_used, reason = "there is one, but while a call is held")]
    fn counted(&mut self) -> &mut dyn Reads {
        self.faults.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.as_deref_mut().expect("a reader")
    }

    /// Passes a point without a connection of the store's: whoever is held there keeps none from others.
    async fn pass(&mut self, point: Point) -> Result<(), StoreError> {
        drop(self.inner.take());
        self.faults.pass(point).await;
        self.inner = Some(self.store.reader().await?);
        Ok(())
    }
}

macro_rules! count_read {
    (accounts: $reads:ident) => {};
    (sealed_values: $reads:ident) => {};
    ($read:ident: $reads:ident) => {
        fn $read(&mut self) -> &mut dyn iam_core::ports::$reads {
            self.counted().$read()
        }
    };
}

macro_rules! rest_of_the_reads {
    (reads { $($read:ident: $reads:ident;)* } ports { $($port:ident: $writes:ident;)* }) => {
        $(count_read!($read: $reads);)*
    };
}

impl Reads for FaultyReads {
    fn accounts(&mut self) -> &mut dyn AccountReads {
        self
    }

    fn sealed_values(&mut self) -> &mut dyn SealedValueReads {
        self
    }

    iam_core::for_each_port!(rest_of_the_reads);
}

#[async_trait]
impl AccountReads for FaultyReads {
    async fn login_candidate(
        &mut self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        self.pass(Point::Candidate).await?;
        self.counted().accounts().login_candidate(identifier).await
    }

    async fn by_id(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.counted().accounts().by_id(id).await
    }

    async fn by_external_id(&mut self, id: &ExternalId) -> Result<Option<Account>, StoreError> {
        self.counted().accounts().by_external_id(id).await
    }

    async fn by_username(&mut self, username: &Username) -> Result<Option<Account>, StoreError> {
        self.counted().accounts().by_username(username).await
    }
}

#[async_trait]
impl SealedValueReads for FaultyReads {
    async fn rows(
        &mut self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let rows = self.counted().sealed_values().rows(column, before, most).await;
        self.pass(Point::SealedRead).await?;
        rows
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
impl AuditReads for FaultyUnit {
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        self.inner.audit().entries(before, most).await
    }

    async fn counts(&mut self, most: u32) -> Result<Vec<Record>, StoreError> {
        self.inner.audit().counts(most).await
    }
}

#[async_trait]
impl SessionReads for FaultyUnit {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        self.inner.sessions().of_account(account).await
    }

    async fn unseen_since(
        &mut self,
        before: Timestamp,
        long: bool,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        self.inner.sessions().unseen_since(before, long, most).await
    }
}

#[async_trait]
impl AuditLog for FaultyUnit {
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        fail_if(&self.faults.audit)?;
        self.faults.pass(Point::Audit).await;
        self.inner.audit().append_all(records).await
    }

    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError> {
        fail_if(&self.faults.audit)?;
        self.faults.pass(Point::Audit).await;
        self.inner.audit().count_all(records).await
    }

    async fn take_counts(&mut self, before: Timestamp, most: u32) -> Result<Vec<Record>, StoreError> {
        self.inner.audit().take_counts(before, most).await
    }
}

#[async_trait]
impl Sessions for FaultyUnit {
    async fn insert(&mut self, session: &NewSession) -> Result<Changed, StoreError> {
        self.inner.sessions().insert(session).await
    }

    async fn hold(&mut self, id: SessionId, token: &TokenHash) -> Result<Option<HeldSession>, StoreError> {
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
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner.sessions().lengthen(id, account, token, now).await
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
