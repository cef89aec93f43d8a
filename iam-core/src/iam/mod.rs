//! The facade: everything a service asks of its identity layer.

mod check;
mod handles;
mod session_cache;
mod unit;
mod unsafe_keys;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::audit::{Event, Listing, Record, Subject, Tally};
use crate::authz::standing::Rules;
use crate::base::base_url::BaseUrl;
use crate::base::clock::{Clock, SteadyClock, Timestamp, WARN_FROM, WRONG_FROM};
use crate::base::random::{OsRandomness, Randomness};
use crate::base::store_error::StoreErrorKind;
use crate::delivery::{AT_ONCE, OtpSender, SEND_TIMEOUT};
use crate::factor::{Factor, FactorLimits};
use crate::limits::LoginLimits;
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::long_sessions::LongSessions;
use crate::model::policy::FactorPolicy;
use crate::model::session_state::SessionPolicy;
use crate::password::{
    Argon2Params, Argon2id, BreachedPasswords, Hashing, HashingConfig, HashingThreads, PasswordPolicy,
    PasswordScheme, PepperRing, Registry,
};
use crate::secrets::keys::Keys;
use crate::secrets::seal::{KeyRing, Place};
use crate::secrets::secret_key::MacKey;
use crate::store::{Readiness, Store};

pub use handles::{Accounts, Factors, Parents, Roles, SealingKeys, Sessions, Setup, Trail};
pub(crate) use session_cache::CachedSessions;
pub use session_cache::SessionCache;
pub(crate) use unit::Unit;
use unit::announce;
pub use unsafe_keys::{UnsafeKey, unsafe_keys};
pub use worker::Worker;

/// The identity and access layer of a service. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct Iam {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) random: Arc<dyn Randomness>,
    pub(crate) hashing: Hashing,
    pub(crate) password_policy: PasswordPolicy,
    pub(crate) breached_passwords: Option<Box<dyn BreachedPasswords>>,
    pub(crate) session_policy: SessionPolicy,
    pub(crate) long_sessions: Option<LongSessions>,
    pub(crate) login_limits: LoginLimits,
    pub(crate) factor_limits: FactorLimits,
    pub(crate) factor_policy: FactorPolicy,
    pub(crate) factors: Vec<Box<dyn Factor>>,
    pub(crate) senders: Vec<Box<dyn OtpSender>>,
    pub(crate) service: String,
    pub(crate) base_url: Option<BaseUrl>,
    pub(crate) audit_retention: Duration,
    pub(crate) keeps_audit: bool,
    pub(crate) most_sessions: u32,
    pub(crate) cached_sessions: Option<CachedSessions>,
    /// One permit for each message that may be on its way at once.
    pub(crate) sending: Arc<tokio::sync::Semaphore>,
    /// Nothing more is to be sent.
    pub(crate) stopping: AtomicBool,
    /// When this process's worker last looked for messages, in microseconds.
    pub(crate) looked_at: AtomicI64,
    /// Something was put into the outbox.
    pub(crate) outbox_wake: Arc<tokio::sync::Notify>,
    listing: Listing,
    tally: Tally,
    flushes: Flushes,
    pub(crate) keys: Keys,
    pub(crate) limit_key: MacKey,
    pub(crate) device_key: MacKey,
    pub(crate) code_key: MacKey,
    pub(crate) identifier_key: MacKey,
    pub(crate) approval_key: MacKey,
    pub(crate) repeat_key: MacKey,
    pub(crate) repeat_seal_key: MacKey,
}

/// One task writes refusals down at a time, for all that wait.
#[derive(Default)]
struct Flushes {
    turn: tokio::sync::Mutex<()>,
    begun: AtomicU64,
}

/// How long a message may lie there before its first attempt, until that shows: no worker runs.
const UNDELIVERED: Duration = Duration::from_secs(30);

/// The most refusals in one unit of work.
const MOST_REFUSALS: usize = 500;

impl Iam {
    /// Begins to set up an identity layer on a store.
    pub fn builder(store: impl Store, keys: Keys) -> IamBuilder {
        let argon2 = Argon2Params::default();
        IamBuilder {
            store: Box::new(store),
            keys,
            clock: Box::new(SteadyClock::new()),
            random: Arc::new(OsRandomness),
            argon2,
            hashing: None,
            schemes: Vec::new(),
            pepper: None,
            lower_imported: true,
            password_policy: PasswordPolicy::default(),
            breached_passwords: None,
            session_policy: SessionPolicy::default(),
            long_sessions: None,
            login_limits: LoginLimits::default(),
            factor_limits: FactorLimits::default(),
            factor_policy: FactorPolicy::default(),
            factors: Vec::new(),
            senders: Vec::new(),
            audit_retention: Duration::from_hours(24 * 400),
            keeps_audit: false,
            most_sessions: 10,
            session_cache: None,
            service: "IAM".to_owned(),
            base_url: None,
        }
    }

    /// The time by the service's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The service's source of randomness.
    pub fn randomness(&self) -> &dyn Randomness {
        self.inner.random.as_ref()
    }

    /// A key for a purpose of the caller's, from the deployment's secret. Take a purpose that nobody else has.
    pub fn derive_key(&self, purpose: &'static str) -> MacKey {
        self.inner.keys.secret.derive(purpose)
    }

    /// The service's name, as people know it.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// Where the service lives, if it was told.
    pub fn base_url(&self) -> Option<&BaseUrl> {
        self.inner.base_url.as_ref()
    }

    /// The rules of session time-outs.
    pub fn session_policy(&self) -> SessionPolicy {
        self.inner.session_policy
    }

    /// For whom sessions may outlive those, if for anybody.
    pub fn long_sessions(&self) -> Option<&LongSessions> {
        self.inner.long_sessions.as_ref()
    }

    pub(crate) fn session_rules(&self) -> Rules<'_> {
        Rules {
            sessions: &self.inner.session_policy,
            long: self.inner.long_sessions.as_ref(),
            factors: &self.inner.factor_policy,
            pending_lifetime: self.inner.factor_limits.pending_lifetime,
        }
    }

    /// The limits on second factors.
    pub fn factor_limits(&self) -> FactorLimits {
        self.inner.factor_limits
    }

    /// Which factors count for what.
    pub fn factor_policy(&self) -> &FactorPolicy {
        &self.inner.factor_policy
    }

    /// Whether the store can be reached and has the schema that this program needs, the clock is that of the database, and messages
    /// are being delivered.
    pub async fn readiness(&self) -> Result<Readiness, Error> {
        let readiness = self.inner.store.readiness().await?;
        if readiness != Readiness::Ready {
            return Ok(readiness);
        }
        let difference = self.compare_clock().await?;
        if difference >= WRONG_FROM {
            return Ok(Readiness::ClockWrong(difference));
        }
        let now = self.now();
        // A worker that looks is none that is missing, however slow the provider is.
        let looked_at = Timestamp::from_micros(self.inner.looked_at.load(Ordering::Relaxed).max(0));
        if now.since(looked_at) >= UNDELIVERED
            && let Some(made_at) = self.inner.store.reader().await?.outbox().oldest_due(now).await?
            && now.since(made_at) >= UNDELIVERED
        {
            return Ok(Readiness::MessagesWait);
        }
        Ok(if difference >= WARN_FROM { Readiness::ClockDiffers(difference) } else { Readiness::Ready })
    }

    /// Notes in the audit log that the service stops, and what was not yet written, waits up to 20 seconds for messages that are on
    /// their way, and closes the store. Call it after the last request was answered, and before the program ends: only then does a
    /// file of SQLite's hold everything.
    pub async fn stopped(&self) -> Result<(), Error> {
        self.inner.stopping.store(true, Ordering::Relaxed);
        if tokio::time::timeout(SEND_TIMEOUT, self.inner.sending.acquire_many(AT_ONCE)).await.is_err() {
            tracing::warn!("messages were still on their way; what becomes of them is not known");
        }
        let flushed = self.flush_refusals().await;
        let noted = self.note_time().await;
        let recorded = self.record(&Event::Stopped, Subject::default(), &Client::default()).await;
        // Whatever could not be written.
        let closed = self.close().await;
        flushed.and(noted).and(recorded).and(closed)
    }

    /// Closes the store without a record: for a program that served nobody, such as a command. Whatever is asked of this layer, and of
    /// the store's other clones, fails from then on.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.stopping.store(true, Ordering::Relaxed);
        Ok(self.inner.store.close().await?)
    }

    /// Does a unit of work again when it lost against another one: at most three times more, after a short time that differs for
    /// each, so that the same two don't meet again.
    pub(crate) async fn retried<T, F>(&self, mut unit: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        for tried in 1_u32..=3 {
            match unit().await {
                Err(Error::Store(error)) if error.kind() == StoreErrorKind::Conflict => {
                    tracing::debug!(
                        tried,
                        error = &error as &dyn std::error::Error,
                        "a unit of work is tried again"
                    );
                    let [jitter] = crate::base::random::bytes(self.randomness())?;
                    tokio::time::sleep(Duration::from_micros(100 * (u64::from(jitter) + 1)) * tried).await;
                }
                done => return done,
            }
        }
        unit().await
    }

    /// Writes an event that comes with no other change.
    pub(crate) async fn record(&self, event: &Event, subject: Subject, client: &Client) -> Result<(), Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            unit.record(event, subject.clone(), client).await?;
            Ok(unit.commit().await?)
        })
        .await
    }

    /// Notes something that anyone can cause without end and that is refused whether or not that can be written: it is counted,
    /// and written at once if it is the first of its kind. What can't be written now is kept and tried again.
    pub(crate) async fn record_refusal(&self, event: &Event, subject: Subject, client: &Client) {
        announce(event, &subject, client);
        let record = self.inner.listing.bounded(Record::new(event, subject, client, self.now()));
        let Some(key) = record.coalesce else {
            tracing::error!(event = event.describe().name, "an event that is no refusal was not audited");
            return;
        };
        if !self.inner.tally.count(key, record) {
            return;
        }
        // Whatever begins from here on takes this one along.
        let begun = self.inner.flushes.begun.load(Ordering::SeqCst);
        let turn = self.inner.flushes.turn.lock().await;
        // Who had the turn before may have written this one too, or have found that nothing can be written.
        let failed_since = self.inner.flushes.begun.load(Ordering::SeqCst) > begun;
        if failed_since || !self.inner.tally.waits(key) {
            return;
        }
        if let Err(error) = self.write_refusals().await {
            tracing::error!(
                event = event.describe().name,
                request_id = client.request_id.as_deref(),
                error = &error as &dyn std::error::Error,
                "could not be audited yet"
            );
        }
        drop(turn);
    }

    /// Writes down the refusals that were only counted so far.
    pub(crate) async fn flush_refusals(&self) -> Result<(), Error> {
        if self.inner.tally.waiting(1).is_empty() {
            return Ok(());
        }
        let _turn = self.inner.flushes.turn.lock().await;
        self.write_refusals().await.inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "refusals could not be audited yet");
        })
    }

    async fn write_refusals(&self) -> Result<(), Error> {
        self.inner.flushes.begun.fetch_add(1, Ordering::SeqCst);
        loop {
            let records = self.inner.tally.waiting(MOST_REFUSALS);
            if records.is_empty() {
                return Ok(());
            }
            self.retried(|| async {
                let mut unit = self.begin().await?;
                unit.audit().count_all(&records).await?;
                Ok(unit.commit().await?)
            })
            .await?;
            self.inner.tally.written(&records, self.now());
        }
    }
}

impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam").field("store", &self.inner.store).finish_non_exhaustive()
    }
}

/// Sets up an [`Iam`]. What is not set has the default that SECURITY asks for.
#[must_use]
pub struct IamBuilder {
    store: Box<dyn Store>,
    keys: Keys,
    clock: Box<dyn Clock>,
    random: Arc<dyn Randomness>,
    argon2: Argon2Params,
    hashing: Option<HashingConfig>,
    schemes: Vec<Box<dyn PasswordScheme>>,
    pepper: Option<PepperRing>,
    lower_imported: bool,
    password_policy: PasswordPolicy,
    breached_passwords: Option<Box<dyn BreachedPasswords>>,
    session_policy: SessionPolicy,
    long_sessions: Option<LongSessions>,
    login_limits: LoginLimits,
    factor_limits: FactorLimits,
    factor_policy: FactorPolicy,
    factors: Vec<Box<dyn Factor>>,
    senders: Vec<Box<dyn OtpSender>>,
    audit_retention: Duration,
    keeps_audit: bool,
    most_sessions: u32,
    session_cache: Option<SessionCache>,
    service: String,
    base_url: Option<BaseUrl>,
}

impl IamBuilder {
    /// The service's name: above every page, in messages, and nothing to make a password of. Default `IAM`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Where the service lives, as browsers see it.
    pub fn base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// Takes the time from elsewhere than a [`SteadyClock`] of this process. A clock of the host's own is taken as it is, and not compared
    /// with the database's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Takes randomness from elsewhere than the operating system.
    pub fn randomness(mut self, random: impl Randomness) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// The cost of new password hashes.
    pub fn argon2(mut self, params: Argon2Params) -> Self {
        self.argon2 = params;
        self
    }

    /// How much hashing there may be at once.
    pub fn hashing(mut self, config: HashingConfig) -> Self {
        self.hashing = Some(config);
        self
    }

    /// Verifies hashes of another format too; they are renewed as Argon2id when their owners sign in, if the scheme says so.
    pub fn password_scheme(mut self, scheme: impl PasswordScheme) -> Self {
        self.schemes.push(Box::new(scheme));
        self
    }

    /// Hashes passwords under a key of this ring that the database does not have (`IAM_PASSWORD_PEPPER`).
    pub fn password_pepper(mut self, ring: PepperRing) -> Self {
        self.pepper = Some(ring);
        self
    }

    /// Whether hashes that are dearer than [`argon2`](Self::argon2) says are replaced at sign-in, too. On by default: a hash that
    /// was brought over and takes longer than today's tells by its time that its account exists, and its memory is this service's.
    ///
    /// A hash is made cheaper at most once a day, and not within a day of its last change: two programs with different costs on
    /// one store don't replace each other's hashes by turns. A weaker one is replaced at once, whatever is said here.
    pub fn lower_imported(mut self, lower_imported: bool) -> Self {
        self.lower_imported = lower_imported;
        self
    }

    /// What a new password must be.
    pub fn password_policy(mut self, policy: PasswordPolicy) -> Self {
        self.password_policy = policy;
        self
    }

    /// Refuses new passwords that this service knows from breaches. By default nobody is asked.
    pub fn breached_passwords(mut self, service: impl BreachedPasswords) -> Self {
        self.breached_passwords = Some(Box::new(service));
        self
    }

    /// How long sessions live.
    pub fn sessions(mut self, policy: SessionPolicy) -> Self {
        self.session_policy = policy;
        self
    }

    /// For whom sessions may outlive those limits where that is asked for: by `"token": true`, and by a ticked 'stay signed in', which is
    /// then on the sign-in page. Default: for nobody.
    pub fn long_sessions(mut self, policy: LongSessions) -> Self {
        self.long_sessions = Some(policy);
        self
    }

    /// How often signing in may be tried.
    pub fn login_limits(mut self, limits: LoginLimits) -> Self {
        self.login_limits = limits;
        self
    }

    /// Offers a second factor: `iam-mfa` has those that there are.
    pub fn factor(mut self, factor: impl Factor) -> Self {
        self.factors.push(Box::new(factor));
        self
    }

    /// Offers several.
    pub fn factors(mut self, factors: impl IntoIterator<Item = Box<dyn Factor>>) -> Self {
        self.factors.extend(factors);
        self
    }

    /// How often second factors may be tried, and how long they are good.
    pub fn factor_limits(mut self, limits: FactorLimits) -> Self {
        self.factor_limits = limits;
        self
    }

    /// Which factors count for what.
    pub fn factor_policy(mut self, policy: FactorPolicy) -> Self {
        self.factor_policy = policy;
        self
    }

    /// Sends codes and notices by a channel: `iam-mfa` has senders. Without one for a channel its factors can't be used; without one
    /// for e-mail nobody is told of changes to their account. Of several for one channel the next is tried where one says for certain that it
    /// did not send a message.
    pub fn sender(mut self, sender: impl OtpSender) -> Self {
        self.senders.push(Box::new(sender));
        self
    }

    /// How many sessions an account may have at once; a further sign-in ends the oldest. Default 10, at least one.
    pub fn most_sessions(mut self, most: u32) -> Self {
        self.most_sessions = most.max(1);
        self
    }

    /// Lets guards use a session that was read less than a second ago, so that a page with many requests reads it once. What this process
    /// changes counts at once; what another one changes (an end, a disabled account, a role) counts when the cached session is too old. By default
    /// each request reads its session. Step-up proofs are always read.
    pub fn session_cache(mut self, cache: SessionCache) -> Self {
        self.session_cache = Some(cache);
        self
    }

    /// How long the audit trail and ended sessions are kept. Default 400 days, at least one.
    pub fn audit_retention(mut self, retention: Duration) -> Self {
        self.audit_retention = retention;
        self
    }

    /// Leaves old records of the audit trail where they are: upkeep removes none. Then the database user of this program needs no right to
    /// remove any, and another program, with another user, calls [`Trail::delete_old_records`].
    pub fn audit_retention_elsewhere(mut self) -> Self {
        self.keeps_audit = true;
        self
    }

    /// Checks the set-up against the store, starts the hashing threads, notes the start in the audit log, and spawns the
    /// [`Worker`] on the tokio runtime that it is called on.
    ///
    /// A service binds its listener before: a second start that fails because the address is in use then writes nothing, and makes no
    /// link of the first one void ([`Setup::issue_token`]). A command that serves nobody has [`build_for_command`](Self::build_for_command).
    ///
    /// # Errors
    /// [`Error::Misconfigured`] names what is wrong by the call of this builder, or by the setting of a key: what is out of bounds or
    /// protects nothing, a store that was not migrated, a key that is not the one that sealed what the store holds, no tokio runtime. [`Error::Store`] when the store can't be reached.
    pub async fn build(self) -> Result<Iam, Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(misconfigured("build() is called outside a tokio runtime"));
        };
        let (iam, worker) = self.build_with_manual_worker().await?;
        runtime.spawn(worker.run());
        Ok(iam)
    }

    /// The same, but the caller runs the worker: in a task of its own choice, or in one process of several only.
    pub async fn build_with_manual_worker(self) -> Result<(Iam, Worker), Error> {
        let iam = self.build_for_command().await?;
        iam.record(&Event::Started, Subject::default(), &Client::default()).await?;
        let worker = Worker::of(&iam);
        Ok((iam, worker))
    }

    /// The same for a program that serves nobody, such as a command: there is no worker, and no start in the audit trail. At its end it
    /// calls [`Iam::close`].
    pub async fn build_for_command(self) -> Result<Iam, Error> {
        self.check()?;
        match self.store.readiness().await? {
            // Messages and clocks are no matters of the store's.
            Readiness::Ready
            | Readiness::MessagesWait
            | Readiness::ClockDiffers(_)
            | Readiness::ClockWrong(_) => {}
            Readiness::SchemaTooOld => {
                return Err(misconfigured(
                    "the store's schema is older than this program: call migrate() on the store",
                ));
            }
            Readiness::ProgramTooOld => {
                return Err(misconfigured(
                    "a newer program has changed the store's schema: this program is too old for it",
                ));
            }
            Readiness::NotWritable => {
                return Err(misconfigured("the store can't be written: is its disk full or read-only?"));
            }
            Readiness::Replaced => {
                return Err(misconfigured("the store's file was removed or replaced after it was opened"));
            }
        }
        let registry = Registry::new(Argon2id::new(self.argon2), self.pepper.clone(), self.schemes)
            .lower_imported(self.lower_imported);
        let config = self.hashing.unwrap_or_else(|| HashingConfig::for_params(&self.argon2));
        let hashing = HashingThreads::start(registry, Arc::clone(&self.random), config)
            .map_err(|error| misconfigured(format!("the hashing threads can't be started: {error}")))?;
        let secret = &self.keys.secret;
        let inner = Inner {
            limit_key: secret.derive("limit"),
            device_key: secret.derive("device"),
            code_key: secret.derive("code"),
            identifier_key: secret.derive("identifier"),
            approval_key: secret.derive("approval"),
            repeat_key: secret.derive("repeat"),
            repeat_seal_key: secret.derive("repeat seal"),
            store: self.store,
            clock: self.clock,
            random: self.random,
            hashing: Hashing::new(hashing),
            password_policy: self.password_policy.service(&self.service),
            breached_passwords: self.breached_passwords,
            session_policy: self.session_policy,
            long_sessions: self.long_sessions,
            login_limits: self.login_limits,
            factor_limits: self.factor_limits,
            factor_policy: self.factor_policy,
            factors: self.factors,
            senders: self.senders,
            audit_retention: self.audit_retention,
            keeps_audit: self.keeps_audit,
            most_sessions: self.most_sessions,
            cached_sessions: self.session_cache.map(CachedSessions::new),
            sending: Arc::new(tokio::sync::Semaphore::new(AT_ONCE as usize)),
            stopping: AtomicBool::new(false),
            looked_at: AtomicI64::new(i64::MIN),
            outbox_wake: Arc::default(),
            listing: Listing::default(),
            tally: Tally::default(),
            flushes: Flushes::default(),
            service: self.service,
            base_url: self.base_url,
            keys: self.keys,
        };
        let iam = Iam { inner: Arc::new(inner) };
        iam.compare_clock().await?;
        iam.note_time().await?;
        iam.retried(|| iam.check_keys(self.pepper.as_ref())).await?;
        iam.look_for_unknown_keys().await?;
        Ok(iam)
    }
}

impl fmt::Debug for IamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamBuilder").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Iam {
    /// What was sealed under another key is lost with this one, and so is a password that was hashed under another pepper: better
    /// found at the start than at somebody's sign-in. Every key that the store was ever used with must be there until it is retired,
    /// since something may still need it.
    async fn check_keys(&self, pepper: Option<&PepperRing>) -> Result<(), Error> {
        let ring: &KeyRing = &self.inner.keys.ring;
        let mut unit = self.begin().await?;
        let known = unit.keys().all().await?;
        for (row, kept) in &known {
            let (key, setting, is_there) = match row.checked_sub(PepperRing::IDS) {
                Some(id) => {
                    let is_there = pepper.is_some_and(|pepper| pepper.knows(id, kept));
                    (format!("pepper key {id}"), "IAM_PASSWORD_PEPPER", is_there)
                }
                None => {
                    let opened = ring.open(canary_place(&row.to_be_bytes()), kept);
                    let is_there = opened.is_ok_and(|value| value.as_slice() == CANARY);
                    (format!("sealing key {row}"), "MFA_ENCRYPTION_KEY", is_there)
                }
            };
            if !is_there {
                return Err(misconfigured(format!(
                    "the {key} ({setting}) is missing, or not the one that this store was used with"
                )));
            }
        }
        let mut is_new = false;
        let key_id = ring.sealing_key();
        if !known.iter().any(|(row, _)| *row == key_id) {
            let sealed = ring.seal(canary_place(&key_id.to_be_bytes()), CANARY, self.randomness())?;
            unit.keys().put(key_id, &sealed).await?;
            is_new = true;
        }
        if let Some((id, canary)) = pepper.and_then(PepperRing::current) {
            let row = PepperRing::IDS | id;
            if !known.iter().any(|(known, _)| *known == row) {
                unit.keys().put(row, &canary).await?;
                is_new = true;
            }
        }
        if is_new {
            unit.commit().await?;
        }
        Ok(())
    }
}

/// What is sealed under each key to know it again.
const CANARY: &[u8] = b"iam key canary";

fn canary_place(row: &[u8]) -> Place<'_> {
    Place { table: "iam_key_canary", column: "sealed", owner: b"", row }
}

fn misconfigured(text: impl Into<String>) -> Error {
    Error::Misconfigured(text.into())
}
