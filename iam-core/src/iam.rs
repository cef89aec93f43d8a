//! The facade: everything a service asks of its identity layer.

use std::fmt;
use std::sync::Arc;

use crate::audit::{Event, Record, Subject};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::Error;
use crate::keys::{Keys, MacKey};
use crate::limit::LoginLimits;
use crate::meta::Client;
use crate::origin::BaseUrl;
use crate::password::{
    Argon2Params, Argon2id, HashingConfig, HashingThreads, PasswordPolicy, PasswordScheme, Registry,
};
use crate::random::{OsRandomness, Randomness};
use crate::seal::{KeyRing, Place};
use crate::session::SessionPolicy;
use crate::store::{Readiness, Store, StoreError, UnitOfWork};

/// The identity and access layer of a service. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct Iam {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) random: Arc<dyn Randomness>,
    pub(crate) hashing: HashingThreads,
    pub(crate) password_policy: PasswordPolicy,
    pub(crate) session_policy: SessionPolicy,
    pub(crate) login_limits: LoginLimits,
    pub(crate) base_url: Option<BaseUrl>,
    keys: Keys,
    pub(crate) limit_key: MacKey,
    pub(crate) device_key: MacKey,
    pub(crate) identifier_key: MacKey,
}

impl Iam {
    /// Begins to set up an identity layer on a store.
    pub fn builder(store: impl Store, keys: Keys) -> IamBuilder {
        let argon2 = Argon2Params::default();
        IamBuilder {
            store: Box::new(store),
            keys,
            clock: Box::new(SystemClock),
            random: Arc::new(OsRandomness),
            argon2,
            hashing: None,
            schemes: Vec::new(),
            password_policy: PasswordPolicy::default(),
            session_policy: SessionPolicy::default(),
            login_limits: LoginLimits::default(),
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

    /// Where the service lives, if it was told.
    pub fn base_url(&self) -> Option<&BaseUrl> {
        self.inner.base_url.as_ref()
    }

    /// The rules of session time-outs.
    pub fn session_policy(&self) -> SessionPolicy {
        self.inner.session_policy
    }

    /// Whether the store can be reached and has the schema that this program needs.
    pub async fn readiness(&self) -> Result<Readiness, Error> {
        Ok(self.inner.store.readiness().await?)
    }

    /// Notes in the audit log that the service stops. Call it after the last request was answered.
    pub async fn stopped(&self) -> Result<(), Error> {
        self.record(&Event::Stopped, Subject::default(), &Client::default()).await
    }

    pub(crate) async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError> {
        self.inner.store.begin().await
    }

    /// Writes an event into a unit of work.
    pub(crate) async fn audit(
        &self,
        unit: &mut dyn UnitOfWork,
        event: &Event,
        subject: Subject,
        client: &Client,
    ) -> Result<(), StoreError> {
        tracing::info!(target: "iam::audit", event = event.name(), outcome = event.outcome().as_str(),
            request_id = client.request_id.as_deref(), account = subject.account.map(tracing::field::display));
        unit.audit().append(&Record::new(event, subject, client, self.now())).await
    }

    /// Writes an event that comes with no other change.
    pub(crate) async fn record(&self, event: &Event, subject: Subject, client: &Client) -> Result<(), Error> {
        let mut unit = self.begin().await?;
        self.audit(unit.as_mut(), event, subject, client).await?;
        Ok(unit.commit().await?)
    }

    /// Writes an event about something that is refused whether or not that can be written. A failure is reported, nothing more.
    pub(crate) async fn record_refusal(&self, event: &Event, subject: Subject, client: &Client) {
        if let Err(error) = self.record(event, subject, client).await {
            tracing::error!(
                event = event.name(),
                error = &error as &dyn std::error::Error,
                "could not be audited"
            );
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
    password_policy: PasswordPolicy,
    session_policy: SessionPolicy,
    login_limits: LoginLimits,
    base_url: Option<BaseUrl>,
}

impl IamBuilder {
    /// Where the service lives, as browsers see it.
    pub fn base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// Takes the time from elsewhere than the system clock.
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

    /// What a new password must be.
    pub fn password_policy(mut self, policy: PasswordPolicy) -> Self {
        self.password_policy = policy;
        self
    }

    /// How long sessions live.
    pub fn sessions(mut self, policy: SessionPolicy) -> Self {
        self.session_policy = policy;
        self
    }

    /// How often signing in may be tried.
    pub fn login_limits(mut self, limits: LoginLimits) -> Self {
        self.login_limits = limits;
        self
    }

    /// Checks the set-up against the store, starts the hashing threads, and notes the start in the audit log.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] names what is wrong: a store that was not migrated, a key that is not the one that sealed what
    /// the store holds, limits out of bounds. [`Error::Store`] when the store can't be reached.
    pub async fn build(self) -> Result<Iam, Error> {
        self.check()?;
        match self.store.readiness().await? {
            Readiness::Ready => {}
            Readiness::SchemaTooOld => {
                return Err(misconfigured(
                    "the store's schema is older than this program: call migrate() on the store",
                ));
            }
        }
        let registry = Registry::new(Argon2id::new(self.argon2), self.schemes);
        let config = self.hashing.unwrap_or_else(|| HashingConfig::for_params(&self.argon2));
        let hashing = HashingThreads::start(registry, Arc::clone(&self.random), config)
            .map_err(|error| misconfigured(format!("the hashing threads can't be started: {error}")))?;
        let secret = &self.keys.secret;
        let inner = Inner {
            limit_key: secret.derive("limit"),
            device_key: secret.derive("device"),
            identifier_key: secret.derive("identifier"),
            store: self.store,
            clock: self.clock,
            random: self.random,
            hashing,
            password_policy: self.password_policy,
            session_policy: self.session_policy,
            login_limits: self.login_limits,
            base_url: self.base_url,
            keys: self.keys,
        };
        let iam = Iam { inner: Arc::new(inner) };
        iam.check_sealing_key().await?;
        iam.record(&Event::Started, Subject::default(), &Client::default()).await?;
        Ok(iam)
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(problem) = self.session_policy.problem() {
            return Err(misconfigured(problem));
        }
        if self.password_policy.min_length < 8 {
            return Err(misconfigured("the least length of a password must be 8 or more"));
        }
        let limits = &self.login_limits;
        let windows = [limits.address, limits.address_long, limits.address_in_flight];
        if limits.account.free == 0 || windows.iter().any(|w| w.limit == 0 || w.length.is_zero()) {
            return Err(misconfigured("a login limit of zero would let nobody in"));
        }
        Ok(())
    }
}

impl fmt::Debug for IamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamBuilder").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Iam {
    /// What was sealed under another key is lost with this one: better found at the start than at somebody's sign-in.
    async fn check_sealing_key(&self) -> Result<(), Error> {
        const KNOWN: &[u8] = b"iam key canary";
        let ring: &KeyRing = &self.inner.keys.ring;
        let key_id = ring.sealing_key();
        let row = key_id.to_be_bytes();
        let place = Place { table: "iam_key_canary", column: "sealed", owner: b"", row: &row };
        let mut unit = self.begin().await?;
        let Some(sealed) = unit.keys().get(key_id).await? else {
            let sealed = ring.seal(place, KNOWN, self.randomness())?;
            unit.keys().put(key_id, &sealed).await?;
            return Ok(unit.commit().await?);
        };
        match ring.open(place, &sealed) {
            Ok(value) if value.as_slice() == KNOWN => Ok(()),
            _ => Err(misconfigured(format!(
                "the sealing key {key_id} (MFA_ENCRYPTION_KEY) is not the one that this store was used with"
            ))),
        }
    }
}

fn misconfigured(text: impl Into<String>) -> Error {
    Error::Misconfigured(text.into())
}
