//! Connecting, and the reads that need no unit of work.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use iam_core::ports::{Ports, Reads, Replacement, SessionRecord, Store, TokenHash, UnitOfWork};
use iam_core::{Readiness, SessionId, StoreError, StoreErrorKind, Timestamp};
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlPool;
use tokio::time::timeout;

use crate::connection::Connections;
use crate::unit::Work;
use crate::{migrate, options, seen_time, server, sessions};

/// How long to wait at the end for units of work and reads that are under way.
const CLOSE: Duration = Duration::from_secs(5);

/// A store in a database of MySQL or MariaDB. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct MySqlStore {
    connections: Connections,
    checked: Arc<Checked>,
}

/// What of the server was found right, and is not looked at again.
#[derive(Default)]
struct Checked {
    settings: AtomicBool,
    tables: AtomicBool,
    privileges: AtomicBool,
}

/// Says nothing of how the database is reached: there is a password in it.
impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore").finish_non_exhaustive()
    }
}

impl MySqlStore {
    /// Connects to a database, such as `mysql://user:password@db.example.com:3306/app`. Connecting never changes the
    /// schema, and gives up after about three seconds.
    ///
    /// **TLS.** A server elsewhere is only spoken to through TLS, unless the URL says otherwise
    /// (`?ssl-mode=DISABLED`); one on this machine (`localhost`, 127.0.0.0/8, `::1`, a socket) also without, if it
    /// has none. `?ssl-mode=VERIFY_IDENTITY`, with `&ssl-ca=/path/to/ca.pem` for a certificate authority of your own,
    /// also checks whose certificate it is: ask for it wherever the network in between is not yours alone.
    ///
    /// **What is refused**, with an error that says what to do: servers older than MySQL 8.4 and MariaDB 10.11; a
    /// server whose `sql_mode` is not strict, since it would cut off what does not fit; a user who may not do what
    /// the store does; tables that somebody changed so that they no longer keep what the store promises. SELECT,
    /// INSERT, UPDATE and DELETE are enough; [`migrate`](Self::migrate) needs more.
    ///
    /// The runtime that this is called on drives all connections, so it must live as long as the store.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let store = Self::on(Connections::own(options::from_url(url)?));
        // Also finds out whether the server can be reached, and what is refused. It may well be not ready yet.
        store.readiness().await?;
        Ok(store)
    }

    /// Uses a pool of the host's, whose database then holds the family's tables beside the host's own.
    ///
    /// How many connections it has and how they reach the server are the pool's settings. Its sessions must have a
    /// strict `sql_mode`, `utf8mb4`, autocommit and no `sql_safe_updates`, which is looked at when the store is first used; give them READ
    /// COMMITTED (`SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED` in `after_connect`): the store is right
    /// under REPEATABLE READ too, but waits more. Set `innodb_lock_wait_timeout` to 2 seconds likewise.
    ///
    /// When the server does not answer in time, or turns out to be the primary of before a failover, all connections of the pool that
    /// are idle at that moment are closed: they have probably met the same fate.
    ///
    /// If this is called on a runtime, that one drives the connections that the store opens, so it must live as long as
    /// the store.
    pub fn from_pool(pool: MySqlPool) -> Self {
        Self::on(Connections::hosts(pool))
    }

    fn on(connections: Connections) -> Self {
        Self { connections, checked: Arc::default() }
    }

    /// Lends the store to a transaction of the host's: what is written through it is the host's to commit or to roll back. For
    /// [`Accounts::create_in`](iam_core::Accounts::create_in). It must be a transaction on the database that holds the family's
    /// tables, and its session must be as [`from_pool`](Self::from_pool) asks. How long it waits is the host's own setting.
    pub fn within(connection: &mut MySqlConnection) -> impl Ports {
        Work(connection)
    }

    /// Brings the schema up to date. What was applied is recorded in `iam_schema_migrations`, apart from a host's own
    /// migrations. A newer schema than this program knows is left as it is. Any number of programs may do this at
    /// once: they take turns by a lock of the server. What was left half done is done again: a change that waits in vain
    /// for somebody's open transaction fails as `Unavailable`, and may be asked for again. (On a cluster such a lock is each node's own: let one program
    /// migrate, or all by way of one node.)
    ///
    /// Needs the rights CREATE, ALTER, INDEX and REFERENCES besides those of daily work, when there is something to do.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.check_settings().await?;
        migrate::run(&self.connections).await?;
        // There may be tables now that were not looked at.
        self.checked.tables.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn check_settings(&self) -> Result<(), StoreError> {
        if !self.checked.settings.load(Ordering::Relaxed) {
            server::check_settings(&self.connections).await?;
            self.checked.settings.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn check_tables(&self) -> Result<(), StoreError> {
        if !self.checked.tables.load(Ordering::Relaxed) {
            server::check_tables(&self.connections).await?;
            self.checked.tables.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn check_privileges(&self) -> Result<(), StoreError> {
        if !self.checked.privileges.load(Ordering::Relaxed) {
            server::check_privileges(&self.connections).await?;
            self.checked.privileges.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[async_trait]
impl Store for MySqlStore {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError> {
        self.check_settings().await?;
        Ok(Box::new(Work(self.connections.begin().await?)))
    }

    async fn reader(&self) -> Result<Box<dyn Reads>, StoreError> {
        Ok(Box::new(Work(self.connections.clone())))
    }

    async fn readiness(&self) -> Result<Readiness, StoreError> {
        self.check_settings().await?;
        let readiness = migrate::readiness(&self.connections).await?;
        if readiness == Readiness::Ready {
            self.check_tables().await?;
            self.check_privileges().await?;
            if !self.connections.probe.can_write(&self.connections).await? {
                return Ok(Readiness::NotWritable);
            }
        }
        Ok(readiness)
    }

    async fn close(&self) -> Result<(), StoreError> {
        // What is still under way then ends with its connection.
        timeout(CLOSE, self.connections.close()).await.map_err(|_| {
            let why = "connections were still in use when the store was closed";
            StoreError::new(StoreErrorKind::Unavailable, why)
        })
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        seen_time::database_time(&self.connections).await
    }

    async fn session(&self, token: &TokenHash) -> Result<Option<SessionRecord>, StoreError> {
        sessions::by_token(&self.connections, token).await
    }

    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless_after: Timestamp,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.check_settings().await?;
        sessions::touch(&self.connections, id, now, unless_after, lapsed_at).await
    }

    async fn replace_token(&self, id: SessionId, replacement: &Replacement) -> Result<bool, StoreError> {
        self.check_settings().await?;
        sessions::replace_token(&self.connections, id, replacement).await
    }
}
