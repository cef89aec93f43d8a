//! The identity layer of a test.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iam_core::ports::{Message, Record, StepUpProof, StepUpProofId, Store};
use iam_core::{
    AccountId, Actor, Argon2Params, BaseUrl, Channel, Clock, HashingConfig, Iam, IamBuilder, Keys,
    ManualClock, ParentId, ParentKey, ProofMethod, Purpose, RealWork, SessionId, StoreError, Timestamp,
};
use iam_mfa::MemorySender;
use iam_store_sqlite::SqliteStore;
use iam_store_testkit::faults::{Faults, FaultyStore};
use iam_web::{WebIam, WebIamBuilder};

use crate::authenticator::App;
use crate::must;
use crate::people::{Person, SignIn};

/// Everybody's password, unless they were given another one.
pub const PASSWORD: &str = "correct horse battery";

/// Where people sign in from, and where a test's requests may come from: an address that is nobody's (RFC 5737).
pub const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 49_152);

/// Where the clock of a test begins: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// So that no two proofs have the same id.
static PROOFS: AtomicU64 = AtomicU64::new(1);

/// How many audit records are read at once.
const PAGE: u32 = 1000;

/// The identity layer of a test. Cheap to clone: all clones are the same one. Each [`new`](Self::new) is another one, that shares
/// nothing with the rest, so tests can run at the same time.
#[derive(Clone, Debug)]
pub struct TestIam {
    web: WebIam,
    store: Arc<dyn Store>,
    apps: Arc<Mutex<Vec<App>>>,
    faults: Arc<Faults>,
    mail: MemorySender,
    clock: Arc<ManualClock>,
}

impl TestIam {
    /// One with the default rules, and nobody in it.
    pub async fn new() -> Self {
        Self::builder().build().await
    }

    /// Begins to set one up.
    pub fn builder() -> TestIamBuilder {
        TestIamBuilder { iam: Vec::new(), web: Vec::new(), store: None }
    }

    /// What the service's routes and layer take. A clone, which is cheap.
    pub fn web(&self) -> WebIam {
        self.web.clone()
    }

    /// The identity layer itself: for a service that sets up its HTTP surface alone, and for everything that has no short form
    /// here.
    pub fn iam(&self) -> &Iam {
        self.web.iam()
    }

    /// The clock. [`later`](Self::later) moves it.
    pub fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    /// The time by that clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock forward. Nothing waits, nothing runs meanwhile.
    pub fn later(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Makes the store fail from now on, or work again: what does the service show while its database is down? Guards answer 503,
    /// and nobody is signed out by it.
    ///
    /// Nobody can be made or signed in meanwhile, and [`events`](Self::events) can't be read: do that before, or after
    /// `store_fails(false)`.
    pub fn store_fails(&self, fails: bool) {
        self.faults.down.store(fails, Ordering::SeqCst);
    }

    /// The `Origin` that a browser sends from the service's own pages.
    pub fn origin(&self) -> String {
        self.iam().base_url().map(BaseUrl::origin).unwrap_or_default()
    }

    /// Somebody with an account who is not signed in. Made when it is awaited, unless the account is there; gives its id.
    pub fn account(&self, name: &str) -> Person {
        Person::new(self.clone(), name)
    }

    /// Somebody who has just signed in. The account is made when it is awaited, unless it is there. Every time is another
    /// session, as from another browser.
    pub fn signed_in(&self, name: &str) -> SignIn {
        SignIn::new(self.account(name))
    }

    /// A parent's id. It is made, unless it is there.
    pub async fn parent(&self, key: &str) -> ParentId {
        let parsed = must(ParentKey::parse(key), format_args!("`{key}` can't be a parent's key"));
        must(
            self.iam().parents(&Actor::service()).ensure(&parsed).await,
            format_args!("the parent `{key}` can't be made"),
        )
    }

    /// All of the audit trail so far, oldest first.
    ///
    /// Refusals of one kind to one caller within ten minutes are one record that counts them: see [`logged`](Self::logged).
    pub async fn events(&self) -> Vec<Record> {
        must(
            self.iam().trail(&Actor::service()).flush().await,
            "the refusals can't be written to the audit trail",
        );
        let _real = RealWork::begin();
        let mut reader = must(self.store.reader().await, "the store can't be read");
        let (mut records, mut before) = (Vec::new(), None);
        loop {
            let page = must(reader.audit().entries(before, PAGE).await, "the audit trail can't be read");
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id);
            records.extend(page.into_iter().map(|entry| entry.record));
        }
        records.reverse();
        // What is still being counted lies beside it.
        records.extend(must(reader.audit().counts(u32::MAX).await, "what is counted can't be read"));
        records.sort_by_key(|record| record.at);
        records
    }

    /// What was sent by e-mail so far, oldest first: codes, and news of an account to its owner's verified address.
    pub async fn mails(&self) -> Vec<Message> {
        while must(self.iam().deliver().await, "mails can't be delivered") > 0 {}
        self.mail.messages()
    }

    /// What sends them, to make it fail.
    pub fn mail(&self) -> &MemorySender {
        &self.mail
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn keep_app(&self, app: App) {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).push(app);
    }

    /// The app that an account was given last.
    pub(crate) fn app_of(&self, account: AccountId) -> Option<App> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.iter().rev().find(|app| app.account == account).cloned()
    }

    /// What a right code for a purpose leaves behind.
    pub(crate) async fn prove(
        &self,
        account: AccountId,
        session: SessionId,
        purpose: Purpose,
        kind: ProofMethod,
        approval: Option<[u8; 32]>,
    ) -> Result<(), StoreError> {
        let _real = RealWork::begin();
        let Some(known) = self.store.reader().await?.accounts().by_id(account).await? else {
            return Ok(());
        };
        let (now, number) = (self.now(), PROOFS.fetch_add(1, Ordering::Relaxed));
        let mut id = *session.as_bytes();
        id.iter_mut().rev().zip(number.to_le_bytes()).for_each(|(byte, more)| *byte ^= more);
        let proof = StepUpProof {
            id: StepUpProofId::from_bytes(id),
            account,
            parent: known.parent,
            auth_version: known.auth_version,
            purpose,
            kind,
            proved_at: now,
            approval,
        };
        let mut unit = self.store.begin().await?;
        unit.step_up_proofs().insert(session, &proof).await?;
        unit.commit().await
    }

    /// How often something happened, by the event's name, such as `authz_fail`.
    pub async fn logged(&self, event: &str) -> u32 {
        self.events().await.iter().filter(|record| record.event == event).map(|record| record.count).sum()
    }
}

type Change<T> = Box<dyn FnOnce(T) -> T + Send>;

type MakeStore = Box<dyn FnOnce(Arc<Faults>) -> (Arc<dyn Store>, FaultyStore) + Send>;

/// Sets up a [`TestIam`].
#[must_use]
pub struct TestIamBuilder {
    store: Option<MakeStore>,
    iam: Vec<Change<IamBuilder>>,
    web: Vec<Change<WebIamBuilder>>,
}

impl TestIamBuilder {
    /// Sets up the identity layer further: limits, policies, the base URL, other password schemes.
    ///
    /// A clock set here would not be the one that [`TestIam::later`] moves.
    pub fn with(mut self, change: impl FnOnce(IamBuilder) -> IamBuilder + Send + 'static) -> Self {
        self.iam.push(Box::new(change));
        self
    }

    /// Sets up the HTTP surface further: paths, origins, proxies.
    pub fn web(mut self, change: impl FnOnce(WebIamBuilder) -> WebIamBuilder + Send + 'static) -> Self {
        self.web.push(Box::new(change));
        self
    }

    /// On this store in place of one of the kit's: on the service's own pool, say, where its tables and those of accounts are in one
    /// database. It is to be migrated already, and nobody else's: the clock of a test begins in January 2026.
    ///
    /// ```
    /// use iam_store_sqlite::SqliteStore;
    /// use iam_testkit::TestIam;
    /// use sqlx::sqlite::SqlitePoolOptions;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // One connection: each further one to `:memory:` would be to another database.
    /// let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
    /// // now the service's own migrations
    /// let store = SqliteStore::from_pool(pool.clone());
    /// store.migrate().await?;
    /// let test = TestIam::builder().store(store).build().await;
    /// let alice = test.signed_in("alice").await;
    /// # let _ = alice;
    /// # Ok(()) }
    /// ```
    pub fn store(mut self, store: impl Store + Clone) -> Self {
        self.store = Some(Box::new(move |faults| {
            let behind = FaultyStore::new(store.clone(), faults);
            (Arc::new(store), behind)
        }));
        self
    }

    /// The identity layer, with nobody in it.
    pub async fn build(mut self) -> TestIam {
        let _real = RealWork::begin();
        if self.store.is_none() {
            let store = must(SqliteStore::open_in_memory().await, "the store can't be opened");
            must(store.migrate().await, "the store can't be migrated");
            self = self.store(store);
        }
        let Some(make_store) = self.store else { panic!("iam-testkit: there is no store") };
        let keys = Keys::danger_known_for_tests();
        let clock = Arc::new(ManualClock::new(START));
        let cost = Argon2Params::danger_weak_for_tests();
        let faults = Arc::new(Faults::default());
        let (store, behind_faults) = make_store(Arc::clone(&faults));
        let builder = Iam::builder(behind_faults, keys)
            .argon2(cost)
            .hashing(HashingConfig { threads: 1, ..HashingConfig::for_params(&cost) })
            .clock(Arc::clone(&clock))
            .base_url(must("http://localhost".parse(), "the base URL is refused"));
        let mail = MemorySender::new(Channel::Email);
        let builder = builder.factors(iam_mfa::standard()).sender(mail.clone());
        let builder = self.iam.into_iter().fold(builder, |builder, change| change(builder));
        // The worker is dropped: what it does would come at any time between the steps of a test.
        let (iam, _worker) =
            must(builder.build_with_manual_worker().await, "the identity layer can't be built");
        let web = self.web.into_iter().fold(WebIam::builder(iam), |builder, change| change(builder));
        TestIam { web: web.build(), store, apps: Arc::default(), faults, mail, clock }
    }
}

impl fmt::Debug for TestIamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIamBuilder").finish_non_exhaustive()
    }
}
