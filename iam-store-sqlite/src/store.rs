//! Opening, migrating, and the reads that need no unit of work.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use iam_core::ports::{Ports, Reads, Replacement, SessionRecord, Store, TokenHash, UnitOfWork};
use iam_core::{Readiness, SessionId, StoreError, Timestamp};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{SqliteConnection, SqlitePool};

use crate::error::{failed, migration_failed, of_file};
use crate::file::{OpenFile, Pools};
use crate::unit::Work;
use crate::writer::Writer;
use crate::{file, seen_time, sessions};

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
    writer: Writer,
    read: SqlitePool,
    /// None with a pool of a host's, which is the host's to watch and to close.
    file: Option<Arc<OpenFile>>,
    /// Goes last: after the connections to what lies in it.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for what dropping it does"))]
    scratch: Option<Arc<ScratchDirectory>>,
}

impl SqliteStore {
    /// Opens a file, and makes it (readable by this user alone) when it is not there. Opening never changes the schema.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        // A sign-out that was answered must survive a loss of power, so each commit reaches the disk.
        let file = path.as_ref();
        let opened = file::open(file, SqliteSynchronous::Full).await.map_err(|error| of_file(file, error))?;
        Ok(Self::on(opened, None))
    }

    /// Opens an empty store that nobody else sees and that is gone with its last clone; for tests and trials.
    ///
    /// It lies in a temporary file that is never flushed to disk. A database in memory proper belongs to one connection: a
    /// read beside an open unit of work would then wait for that unit for ever.
    pub async fn open_in_memory() -> Result<Self, StoreError> {
        let scratch = ScratchDirectory::create().map_err(failed)?;
        let pools = file::open(&scratch.0.join("iam.db"), SqliteSynchronous::Off).await?;
        Ok(Self::on(pools, Some(Arc::new(scratch))))
    }

    fn on(Pools { write, read, file }: Pools, scratch: Option<Arc<ScratchDirectory>>) -> Self {
        Self { writer: Writer::new(write), read, file: Some(file), scratch }
    }

    /// Uses a pool of the host's, for reads and writes, whose file then holds the family's tables beside the host's own.
    ///
    /// How it waits and how safely it commits are the pool's settings; foreign keys must be on, as they are by default in
    /// sqlx. It needs two connections or more if the host reads while it holds a unit of work.
    pub fn from_pool(pool: SqlitePool) -> Self {
        Self { writer: Writer::new(pool.clone()), read: pool, file: None, scratch: None }
    }

    /// Lends the store to a transaction of the host's: what is written through it is the host's to commit or to roll back. For
    /// [`Accounts::create_in`](iam_core::Accounts::create_in). It must be a transaction on the database that holds the family's
    /// tables; begin it with `BEGIN IMMEDIATE`, or it may fail half way because another one wrote first.
    pub fn within(connection: &mut SqliteConnection) -> impl Ports {
        Work(connection)
    }

    /// Brings the schema up to date. What was applied is recorded in `iam_schema_migrations`, apart from a host's own
    /// migrations. A newer schema than this program knows is left as it is. Any number of programs may do this at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // sqlx takes no lock for SQLite. One transaction around all of it makes the others wait, then find it done.
        let mut whole = self.writer.begin().await.map_err(failed)?;
        // Not `run`: the compiler can't tell that its future may be sent between threads.
        MIGRATOR.run_direct(None, &mut *whole, false).await.map_err(migration_failed)?;
        whole.commit().await.map_err(failed)
    }
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
        Ok(Box::new(Work(self.writer.begin().await.map_err(failed)?)))
    }

    async fn reader(&self) -> Result<Box<dyn Reads>, StoreError> {
        Ok(Box::new(Work(self.read.acquire().await.map_err(failed)?)))
    }

    async fn close(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) => Pools::close(self.writer.pool(), &self.read, file).await,
            None => Ok(()),
        }
    }

    async fn readiness(&self) -> Result<Readiness, StoreError> {
        if self.read.is_closed() {
            // Its log went as it was closed: that is no file that was replaced.
            return Err(failed(sqlx::Error::PoolClosed));
        }
        if self.file.as_ref().is_some_and(|file| !file.is_there()) {
            return Ok(Readiness::Replaced);
        }
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
        if min_program > newest {
            return Ok(Readiness::ProgramTooOld);
        }
        Ok(if self.writer.can_write().await? { Readiness::Ready } else { Readiness::NotWritable })
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        seen_time::database_time(&self.read).await
    }

    async fn session(&self, token: &TokenHash) -> Result<Option<SessionRecord>, StoreError> {
        sessions::by_token(&self.read, token).await
    }

    async fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
        unless_after: Timestamp,
        lapsed_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let touched = sessions::touch(self.writer.pool(), id, now, unless_after, lapsed_at).await;
        touched.inspect_err(|_| self.writer.doubted())
    }

    async fn replace_token(&self, id: SessionId, replacement: &Replacement) -> Result<bool, StoreError> {
        let replaced = sessions::replace_token(self.writer.pool(), id, replacement).await;
        replaced.inspect_err(|_| self.writer.doubted())
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
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use iam_core::StoreErrorKind;

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
        for pool in [store.writer.pool(), &store.read] {
            assert_eq!(pragma(pool, "PRAGMA journal_mode").await, "wal");
            assert_eq!(pragma(pool, "PRAGMA synchronous").await, "2");
            assert_eq!(pragma(pool, "PRAGMA foreign_keys").await, "1");
            assert_eq!(pragma(pool, "PRAGMA busy_timeout").await, "3000");
        }
        assert_eq!(pragma(&store.read, "PRAGMA query_only").await, "1");
        assert_eq!(pragma(store.writer.pool(), "PRAGMA query_only").await, "0");
        assert_eq!((store.writer.pool().options().get_max_connections(), file::READERS), (1, 4));
    }

    #[tokio::test]
    async fn nothing_begins_while_a_store_that_is_closed_waits_for_a_reader() {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let reading = store.read.acquire().await.unwrap();
        let mut closing = pin!(store.close());
        assert!(poll_fn(|cx| Poll::Ready(closing.as_mut().poll(cx).is_pending())).await);
        let begun = store.begin().await;
        assert_eq!(begun.err().map(|error| error.kind()), Some(StoreErrorKind::Unavailable));
        drop(reading);
        closing.await.unwrap();
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
