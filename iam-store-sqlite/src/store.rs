//! Opening, migrating, and the reads that need no unit of work.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iam_core::account::{Account, AuthVersion, ExternalId, LoginIdentifier, Username};
use iam_core::audit::Entry;
use iam_core::clock::Timestamp;
use iam_core::id::{AccountId, InterruptedId, ParentId, SessionId};
use iam_core::interrupted::Interrupted;
use iam_core::mfa::{Challenge, ChallengePurpose, FactorKind, Method};
use iam_core::outbox::Delivery;
use iam_core::parent::{Parent, ParentKey};
use iam_core::role::{Role, RoleName};
use iam_core::session::{RoleOfAccount, SessionRecord, SessionSummary};
use iam_core::step_up::Purpose;
use iam_core::store::{
    LoginCandidate, Ports, Readiness, SealedColumn, SealedRow, Store, StoreError, UnitOfWork,
};
use iam_core::token::TokenHash;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use crate::error::{failed, is_busy, migration_failed};
use crate::unit::Work;
use crate::{
    accounts, audit, factors, interrupted, outbox, parents, roles, sealed, seen_time, sessions,
    trusted_devices,
};

/// How long to wait for a connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for another process, or a host's own pool, that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// Guards read in parallel up to this.
const READERS: u32 = 4;

/// What was applied is kept apart from a host's own migrations; what a newer program applied is left as it is.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("iam_schema_migrations");
    migrator.set_ignore_missing(true);
    migrator
});

/// A store in a SQLite file. Cheap to clone: all clones are the same one.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    write: SqlitePool,
    read: SqlitePool,
    /// Goes last: after the connections to what lies in it.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for what dropping it does"))]
    scratch: Option<Arc<ScratchDirectory>>,
}

impl SqliteStore {
    /// Opens a file, and makes it (readable by this user alone) when it is not there. Opening never changes the schema.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        // A sign-out that was answered must survive a loss of power, so each commit reaches the disk.
        open_file(path.as_ref(), SqliteSynchronous::Full).await
    }

    /// Opens an empty store that nobody else sees and that is gone with its last clone; for tests and trials.
    ///
    /// It lies in a temporary file that is never flushed to disk. A database in memory proper belongs to one connection: a
    /// read beside an open unit of work would then wait for that unit for ever.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        let scratch = ScratchDirectory::create().map_err(failed)?;
        let store = open_file(&scratch.0.join("iam.db"), SqliteSynchronous::Off).await?;
        Ok(Self { scratch: Some(Arc::new(scratch)), ..store })
    }

    /// Uses a pool of the host's, for reads and writes, whose file then holds the family's tables beside the host's own.
    ///
    /// How it waits and how safely it commits are the pool's settings; foreign keys must be on, as they are by default in
    /// sqlx. It needs two connections or more if the host reads while it holds a unit of work.
    pub fn from_pool(pool: SqlitePool) -> Self {
        Self { write: pool.clone(), read: pool, scratch: None }
    }

    /// Lends the store to a transaction of the host's: what is written through it is the host's to commit or to roll back. For
    /// [`Iam::create_account_in`](iam_core::Iam::create_account_in). It must be a transaction on the database that holds the family's
    /// tables; begin it with `BEGIN IMMEDIATE`, or it may fail half way because another one wrote first.
    pub fn within(connection: &mut SqliteConnection) -> impl Ports {
        Work(connection)
    }

    /// Brings the schema up to date. What was applied is recorded in `iam_schema_migrations`, apart from a host's own
    /// migrations. A newer schema than this program knows is left as it is. Any number of programs may do this at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // sqlx takes no lock for SQLite. One transaction around all of it makes the others wait, then find it done.
        let mut whole = self.write.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        // Not `run`: the compiler can't tell that its future may be sent between threads.
        MIGRATOR.run_direct(None, &mut *whole, false).await.map_err(migration_failed)?;
        whole.commit().await.map_err(failed)
    }
}

async fn open_file(path: &Path, synchronous: SqliteSynchronous) -> Result<SqliteStore, StoreError> {
    // Absolute, so that no name (`:memory:`, `file:..`) means anything else than a file to SQLite.
    let path = std::path::absolute(path).map_err(failed)?;
    create_private(&path).map_err(failed)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(synchronous);
    use_write_ahead_log(&options).await.map_err(failed)?;
    let pool = || SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    let write = pool().max_connections(1).connect_lazy_with(options.clone());
    let read = pool().max_connections(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
    Ok(SqliteStore { write, read, scratch: None })
}

/// Readers and the writer then don't wait for each other. The mode is a property of the file, so it is set once, here.
///
/// To change it SQLite needs the file for itself and does not wait for that. To begin an exclusive transaction it does
/// wait: so whoever comes second waits that way, and then finds the mode changed.
async fn use_write_ahead_log(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    const TRIES: u32 = 10;
    let mut connection = options.connect().await?;
    let mut tried = 0;
    let mode: String = loop {
        tried += 1;
        match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut connection).await {
            Err(error) if is_busy(&error) && tried < TRIES => {
                connection.begin_with("BEGIN EXCLUSIVE").await?.rollback().await?;
            }
            answer => break answer?,
        }
    };
    if mode != "wal" {
        tracing::warn!(
            mode,
            "no write-ahead log on this file system: readers and the writer wait for each other"
        );
    }
    connection.close().await
}

/// So that nobody else on the machine can read what lies in it. The log and index files beside it get the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    // Closing any handle of a file drops every POSIX lock that this process holds on it, SQLite's too. So only a file that
    // did not exist is ever opened here, and nobody goes on to SQLite with it before that handle is closed.
    static CREATING: Mutex<()> = Mutex::new(());
    let _closed_before_the_next = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path).map(drop) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => warn_of_others(path),
        Ok(()) => {}
    }
    Ok(())
}

/// A file that was there has the mode that somebody gave it: said, not changed.
fn warn_of_others(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
    {
        tracing::warn!("{} can be read by others on this machine: chmod 600 it", path.display());
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A directory of this user alone, removed when it is dropped.
#[derive(Debug)]
struct ScratchDirectory(PathBuf);

impl ScratchDirectory {
    fn create() -> io::Result<Self> {
        // The name is only to be free; nothing depends on its being secret.
        let name = format!("iam-{}-{:016x}", std::process::id(), RandomState::new().hash_one(()));
        let path = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a temporary store was not removed");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn UnitOfWork>, StoreError> {
        // Immediate: whoever begins may write, so that no unit fails half way because another one wrote first.
        let transaction = self.write.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        Ok(Box::new(Work(transaction)))
    }

    async fn readiness(&self) -> Result<Readiness, StoreError> {
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'iam_schema_migrations'",
        )
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        if known != Some(1) {
            return Ok(Readiness::SchemaTooOld);
        }
        let applied: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM iam_schema_migrations WHERE success = 1")
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
        if !MIGRATOR.iter().all(|migration| applied.contains(&migration.version)) {
            return Ok(Readiness::SchemaTooOld);
        }
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        let min_program: Option<i64> = sqlx::query_scalar("SELECT min_program FROM iam_schema")
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        Ok(if min_program <= newest { Readiness::Ready } else { Readiness::ProgramTooOld })
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        seen_time::database_time(&self.read).await
    }

    async fn session(
        &self,
        token: &TokenHash,
        granted_after: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        sessions::by_token(&self.read, token, granted_after).await
    }

    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless_after: Timestamp,
    ) -> Result<bool, StoreError> {
        sessions::touch(&self.write, id, now, unless_after).await
    }

    async fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionSummary>, StoreError> {
        sessions::of_account(&self.read, account).await
    }

    async fn methods_of(&self, account: AccountId) -> Result<Vec<Method>, StoreError> {
        factors::methods_of(&self.read, account).await
    }

    async fn recovery_codes_left(&self, account: AccountId) -> Result<u32, StoreError> {
        factors::recovery_codes_left(&self.read, account).await
    }

    async fn open_challenges(
        &self,
        session: SessionId,
        purpose: ChallengePurpose,
    ) -> Result<Vec<(Challenge, Option<Delivery>)>, StoreError> {
        factors::open_challenges(&self.read, session, purpose).await
    }

    async fn asked_last(
        &self,
        session: SessionId,
        purpose: Option<Purpose>,
        now: Timestamp,
    ) -> Result<Option<Challenge>, StoreError> {
        factors::asked_last(&self.read, session, purpose, now).await
    }

    async fn interrupted(
        &self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError> {
        interrupted::by_id(&self.read, id, session, now).await
    }

    async fn is_trusted_device(
        &self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        trusted_devices::is_trusted(&self.read, token, account, auth_version, now).await
    }

    async fn factors_proved(&self, session: SessionId) -> Result<Vec<(FactorKind, Timestamp)>, StoreError> {
        factors::proved(&self.read, session).await
    }

    async fn oldest_due_message(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        outbox::oldest_due(&self.read, now).await
    }

    async fn sealed_rows(
        &self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        sealed::rows(&self.read, column, before, most).await
    }

    async fn sessions_unseen_since(
        &self,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<(SessionId, AccountId)>, StoreError> {
        sessions::unseen_since(&self.read, before, most).await
    }

    async fn login_candidate(
        &self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        accounts::login_candidate(&self.read, identifier).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        accounts::by_id(&self.read, id).await
    }

    async fn account_by_external_id(&self, id: &ExternalId) -> Result<Option<Account>, StoreError> {
        accounts::by_external_id(&self.read, id).await
    }

    async fn account_by_username(&self, username: &Username) -> Result<Option<Account>, StoreError> {
        accounts::by_username(&self.read, username).await
    }

    async fn audit_entries(&self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError> {
        audit::entries(&self.read, before, most).await
    }

    async fn parent(&self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        parents::by_id(&self.read, id).await
    }

    async fn parent_by_key(&self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        parents::by_key(&self.read, key).await
    }

    async fn roles_of(&self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError> {
        roles::of_account(&self.read, account).await
    }

    async fn role_by_name(&self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        roles::by_name(&self.read, name).await
    }
}

/// How SQLite goes about a statement, for the tests of each aggregate.
#[cfg(test)]
pub(crate) mod plans {
    use sqlx::Row;

    use super::SqliteStore;

    /// Each statement uses these indexes, and none reads a whole table.
    pub(crate) async fn assert_by_index(statements: &[(&str, &[&str])]) {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        for (sql, indexes) in statements {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            // What was not bound is NULL, and makes no difference to the plan.
            let rows = sqlx::query(explain).fetch_all(&store.read).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            for index in *indexes {
                assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
            }
            let whole = |step: &&String| step.starts_with("SCAN iam_");
            assert_eq!(plan.iter().find(whole), None, "{sql}: {plan:#?}");
        }
    }
}

#[cfg(test)]
impl SqliteStore {
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(pool: &SqlitePool, sql: &'static str) -> String {
        let row = sqlx::query(sql).fetch_one(pool).await.unwrap();
        sqlx::Row::try_get::<i64, _>(&row, 0)
            .map_or_else(|_| sqlx::Row::get::<String, _>(&row, 0), |number| number.to_string())
    }

    #[tokio::test]
    async fn a_file_is_opened_as_safely_as_promised() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("iam.db")).await.unwrap();
        for pool in [&store.write, &store.read] {
            assert_eq!(pragma(pool, "PRAGMA journal_mode").await, "wal");
            assert_eq!(pragma(pool, "PRAGMA synchronous").await, "2");
            assert_eq!(pragma(pool, "PRAGMA foreign_keys").await, "1");
            assert_eq!(pragma(pool, "PRAGMA busy_timeout").await, "3000");
        }
        assert_eq!(pragma(&store.read, "PRAGMA query_only").await, "1");
        assert_eq!(pragma(&store.write, "PRAGMA query_only").await, "0");
        assert_eq!((store.write.options().get_max_connections(), READERS), (1, 4));
    }

    #[tokio::test]
    async fn a_store_in_memory_leaves_nothing_behind() {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let path = store.scratch.as_ref().unwrap().0.clone();
        assert!(path.join("iam.db").is_file());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
            assert_eq!(mode & 0o777, 0o700);
        }
        drop(store.clone());
        assert!(path.is_dir());
        drop(store);
        assert!(!path.exists());
    }
}
