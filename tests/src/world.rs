//! A host application on some adapter and some store, with people in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iam_core::ports::{Content, PasswordScheme, Record, StepUpProof, Store};
use iam_core::{
    AccountId, Actor, AdministratorScope, Argon2Params, Channel, Iam, IamBuilder, Keys, ManualClock,
    NewAccount, ParentKey, PlainPassword, RoleName, SessionId, Timestamp, Username,
};
use iam_mfa::{MemorySender, Smtp};
use tokio::net::TcpListener;

use crate::database::{LockedSessions, Opened, Raw};
use crate::{Backend, Browser, Database, Faults};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// For how long a connection may be idle.
const IDLE: Duration = Duration::from_secs(75);

/// The adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// `iam-axum`.
    Axum,
    /// `iam-actix`.
    Actix,
}

/// A running host application: people `amy` (role admin, acme), `bob` (no role, acme), `gus` (role auditor, globex), `max`
/// (no role, no parent).
#[derive(Debug)]
pub struct World {
    /// The identity layer inside it.
    pub iam: Iam,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// What can be made to fail.
    pub faults: Arc<Faults>,
    /// Where it listens.
    pub address: SocketAddr,
    adapter: Adapter,
    backend: Backend,
    /// Where its data lies.
    pub database: Arc<Database>,
    /// What was sent by e-mail.
    pub mail: MemorySender,
    store: Arc<dyn Store>,
    raw: Raw,
}

/// How a world sends what is to be sent.
enum Post {
    /// It is kept, to be looked at.
    Kept,
    /// By a mail server.
    Smtp(Box<Smtp>),
    /// Only when a scenario says so: there is no worker.
    ByHand,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: String,
    /// How often.
    pub count: i64,
    /// Its details.
    pub reason: Option<String>,
    /// From where.
    pub address: Option<String>,
}

impl World {
    /// Starts one with people in it.
    pub async fn new(adapter: Adapter, backend: Backend) -> Self {
        Self::with(adapter, backend, |builder| builder).await
    }

    /// The same, with a password scheme of the scenario's.
    pub async fn with_scheme(adapter: Adapter, backend: Backend, scheme: impl PasswordScheme) -> Self {
        Self::with(adapter, backend, |builder| builder.password_scheme(scheme)).await
    }

    /// The same, set up further.
    pub async fn with(
        adapter: Adapter,
        backend: Backend,
        set_up: impl FnOnce(IamBuilder) -> IamBuilder,
    ) -> Self {
        Self::make(adapter, backend, Arc::new(Database::create(backend).await), Post::Kept, set_up).await
    }

    /// The same; mail goes to a server.
    pub async fn with_smtp(adapter: Adapter, backend: Backend, smtp: Smtp) -> Self {
        let (database, post) = (Arc::new(Database::create(backend).await), Post::Smtp(Box::new(smtp)));
        Self::make(adapter, backend, database, post, |builder| builder).await
    }

    /// The same, and no worker runs.
    pub async fn without_worker(adapter: Adapter, backend: Backend) -> Self {
        let database = Arc::new(Database::create(backend).await);
        Self::make(adapter, backend, database, Post::ByHand, |builder| builder).await
    }

    /// The same, on a database that is there.
    pub async fn on(adapter: Adapter, backend: Backend, database: Arc<Database>) -> Self {
        Self::make(adapter, backend, database, Post::Kept, |builder| builder).await
    }

    async fn make(
        adapter: Adapter,
        backend: Backend,
        database: Arc<Database>,
        post: Post,
        set_up: impl FnOnce(IamBuilder) -> IamBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000)));
        let world = Self::start(adapter, backend, database, clock, post, set_up).await;
        world.add("amy", &["admin"], Some("acme")).await;
        world.add("bob", &[], Some("acme")).await;
        world.add("gus", &["auditor"], Some("globex")).await;
        world.add("max", &[], None).await;
        world
    }

    /// Another process on the same store, at the same time.
    pub async fn restarted(&self) -> Self {
        self.beside(self.adapter).await
    }

    /// The same, set up otherwise.
    pub async fn restarted_with(&self, set_up: impl FnOnce(IamBuilder) -> IamBuilder) -> Self {
        let (database, clock) = (Arc::clone(&self.database), Arc::clone(&self.clock));
        Self::start(self.adapter, self.backend, database, clock, Post::Kept, set_up).await
    }

    /// Another process on a copy of the data, at the same time.
    pub async fn beside_on(&self, adapter: Adapter, database: Arc<Database>) -> Self {
        Self::start(adapter, self.backend, database, Arc::clone(&self.clock), Post::Kept, |builder| builder)
            .await
    }

    /// The same on another adapter.
    pub async fn beside(&self, adapter: Adapter) -> Self {
        let (database, clock) = (Arc::clone(&self.database), Arc::clone(&self.clock));
        Self::start(adapter, self.backend, database, clock, Post::Kept, |builder| builder).await
    }

    async fn start(
        adapter: Adapter,
        backend: Backend,
        database: Arc<Database>,
        clock: Arc<ManualClock>,
        post: Post,
        set_up: impl FnOnce(IamBuilder) -> IamBuilder,
    ) -> Self {
        let faults = Arc::new(Faults::default());
        let Opened { store, faulty, raw } = database.open(&faults).await;
        let keys = Keys::danger_known_for_tests();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let builder = Iam::builder(faulty, keys)
            .argon2(Argon2Params::danger_weak_for_tests())
            .clock(Arc::clone(&clock))
            .base_url(format!("http://localhost:{}", address.port()).parse().unwrap());
        let mail = MemorySender::new(Channel::Email);
        let builder = builder.factors(iam_mfa::standard());
        let iam = match post {
            Post::Kept => set_up(builder.sender(mail.clone())).build().await.unwrap(),
            Post::Smtp(smtp) => set_up(builder.sender(*smtp)).build().await.unwrap(),
            Post::ByHand => set_up(builder.sender(mail.clone())).build_with_manual_worker().await.unwrap().0,
        };
        match adapter {
            Adapter::Axum => serve_axum(listener, &iam).await,
            Adapter::Actix => serve_actix(listener, &iam).await,
        }
        Self { iam, clock, faults, address, adapter, backend, database, mail, store, raw }
    }

    /// Adds somebody.
    pub async fn add(&self, name: &str, roles: &[&str], parent: Option<&str>) -> AccountId {
        let service = Actor::service();
        let mut new =
            NewAccount::new(Username::parse(name).unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
        if let Some(key) = parent {
            new =
                new.parent(self.iam.parents(&service).ensure(&ParentKey::parse(key).unwrap()).await.unwrap());
        }
        let account = self.iam.accounts(&service).create(new).await.unwrap();
        for role in roles {
            let role = RoleName::parse(role).unwrap();
            match AdministratorScope::of_role(&role) {
                Some(scope) => self.iam.roles(&service).grant_administrator(account, scope).await.unwrap(),
                None => self.iam.roles(&service).grant(account, &role).await.unwrap(),
            }
        }
        account
    }

    /// Somebody's account.
    pub async fn account(&self, name: &str) -> AccountId {
        self.iam
            .accounts(&Actor::service())
            .by_username(&Username::parse(name).unwrap())
            .await
            .unwrap()
            .expect("an account")
            .id
    }

    /// A new browser.
    pub fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// A browser that says it comes from elsewhere, by a proxy that is not trusted.
    pub async fn signed_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        assert_eq!(browser.sign_in(name, PASSWORD).await.status, 303, "{name} signs in");
        browser
    }

    /// Moves the clock.
    pub fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A number from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        self.raw.count(sql).await
    }

    /// Writes a proof into the store, as a right code would, on whatever terms; and uses it up, if asked to.
    pub async fn prove(&self, proof: &StepUpProof, session: SessionId, used: bool) {
        let mut unit = self.store.begin().await.unwrap();
        unit.step_up_proofs().insert(session, proof).await.unwrap();
        if used {
            let before = proof.proved_at.minus(Duration::from_secs(1));
            let now = self.iam.now();
            assert!(unit.step_up_proofs().use_proof(proof.id, session, before, now).await.unwrap());
        }
        unit.commit().await.unwrap();
    }

    /// Changes the database behind the application's back.
    pub async fn execute(&self, sql: &'static str) {
        self.raw.execute(sql).await;
    }

    /// Locks all sessions, as another program on the same database may.
    pub async fn lock_sessions(&self) -> LockedSessions {
        self.raw.lock_sessions().await
    }

    /// A text from the database.
    pub async fn text(&self, sql: &'static str) -> String {
        self.raw.text(sql).await
    }

    /// The codes that were sent by e-mail, oldest first.
    pub fn codes(&self) -> Vec<String> {
        let messages = self.mail.messages().into_iter();
        messages
            .filter_map(|message| match message.content {
                Content::Code { code, .. } => Some(code),
                _ => None,
            })
            .collect()
    }

    /// The notices that were sent, oldest first.
    pub fn notices(&self) -> Vec<&'static str> {
        let messages = self.mail.messages().into_iter();
        messages
            .filter_map(|message| match message.content {
                Content::Notice { notice, .. } => Some(notice.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The audit log, oldest first.
    pub async fn log(&self) -> Vec<Entry> {
        self.iam.trail(&Actor::service()).flush().await.unwrap();
        let mut reader = self.store.reader().await.unwrap();
        let entries = reader.audit().entries(None, 10_000).await.unwrap();
        let mut records: Vec<Record> = entries.into_iter().rev().map(|logged| logged.record).collect();
        // What is still being counted lies beside it.
        records.extend(reader.audit().counts(10_000).await.unwrap());
        records.sort_by_key(|record| record.at);
        let entry = |record: Record| Entry {
            event: record.event.into_owned(),
            count: i64::from(record.count),
            reason: record.reason,
            address: record.client.address.map(|address| address.to_string()),
        };
        records.into_iter().map(entry).collect()
    }

    /// How often an event is in the log, coalesced ones counted.
    pub async fn logged(&self, event: &str) -> i64 {
        self.log().await.iter().filter(|entry| entry.event == event).map(|entry| entry.count).sum()
    }
}

async fn serve_axum(listener: TcpListener, iam: &Iam) {
    let documents = axum_app::Documents::of_the_example(iam).await.unwrap();
    let app = axum_app::router(iam.into(), documents);
    tokio::spawn(async move { axum_app::serve(listener, app, IDLE, std::future::pending()).await.unwrap() });
}

async fn serve_actix(listener: TcpListener, iam: &Iam) {
    let documents = actix_app::Documents::of_the_example(iam).await.unwrap();
    let (listener, web) = (listener.into_std().unwrap(), iam.into());
    tokio::spawn(async move {
        actix_app::serve(listener, web, documents, IDLE, std::future::pending()).await.unwrap();
    });
}
