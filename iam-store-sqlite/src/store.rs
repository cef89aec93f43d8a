//! Opening, migrating, and the reads that need no unit of work.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use iam_core::account::{Account, LoginIdentifier, Username};
use iam_core::clock::Timestamp;
use iam_core::id::{AccountId, SessionId};
use iam_core::parent::{Parent, ParentKey};
use iam_core::role::{Role, RoleName};
use iam_core::session::SessionRecord;
use iam_core::store::{LoginCandidate, Readiness, Store, StoreError, UnitOfWork};
use iam_core::token::TokenHash;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::error::{failed, migration_failed};
use crate::unit::Work;
use crate::{accounts, parents, roles, sessions};

/// How long to wait for a connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Guards read in parallel up to this.
const READERS: u32 = 4;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// A store in a SQLite file. Cheap to clone: all clones are the same one.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    write: SqlitePool,
    read: SqlitePool,
}

impl SqliteStore {
    /// Opens a file, and makes it (readable by this user alone) when it is not there.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        create_private(path).map_err(failed)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .busy_timeout(ACQUIRE_TIMEOUT)
            // A sign-out that was answered must survive a loss of power, so each commit reaches the disk.
            .synchronous(SqliteSynchronous::Full);
        let pool = || SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
        let write = pool().max_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        let readers = options.pragma("query_only", "ON");
        let read = pool().max_connections(READERS).connect_with(readers).await.map_err(failed)?;
        Ok(Self { write, read })
    }

    /// Uses a pool of the host's, whose file then holds the family's tables beside the host's own. Foreign keys must be on.
    pub fn from_pool(pool: SqlitePool) -> Self {
        Self { write: pool.clone(), read: pool }
    }

    /// Brings the schema up to date. What was applied is recorded in `iam_schema_migrations`, apart from a host's own
    /// migrations. A newer schema than this program knows is left as it is.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrator().run(&self.write).await.map_err(migration_failed)
    }
}

fn migrator() -> Migrator {
    let mut migrator = Migrator { migrations: Cow::Borrowed(&MIGRATOR.migrations), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name("iam_schema_migrations");
    migrator.set_ignore_missing(true);
    migrator
}

/// So that nobody else on the machine can read what lies in it. The log and index files beside it get the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
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
        let complete = MIGRATOR.iter().all(|migration| applied.contains(&migration.version));
        Ok(if complete { Readiness::Ready } else { Readiness::SchemaTooOld })
    }

    async fn session(&self, token: &TokenHash) -> Result<Option<SessionRecord>, StoreError> {
        sessions::by_token(&self.read, token).await
    }

    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless_after: Timestamp,
    ) -> Result<bool, StoreError> {
        sessions::touch(&self.write, id, now, unless_after).await
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

    async fn account_by_username(&self, username: &Username) -> Result<Option<Account>, StoreError> {
        accounts::by_username(&self.read, username).await
    }

    async fn parent_by_key(&self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        parents::by_key(&self.read, key).await
    }

    async fn role_by_name(&self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        roles::by_name(&self.read, name).await
    }
}
