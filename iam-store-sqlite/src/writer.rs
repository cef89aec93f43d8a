//! The connection that writes: sound before each unit of work, or replaced.
//!
//! A full disk, an I/O error or a cancelled task may take a transaction away under its owner, or leave one open. sqlx then still
//! counts one, and refuses to begin the next. So before each unit a connection that is not sound is closed, and the pool opens
//! another one.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iam_core::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, SqlSafeStr, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::error::{can_not_write, failed, is_busy};

/// How long a write that succeeded counts as a proof that the next one would. Anyone may ask whether the service is ready, so
/// this also bounds what asking costs: one flush of the disk in this time.
const PROVEN: Duration = Duration::from_secs(10);

/// The pool of the connection that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: SqlitePool,
    health: Arc<Health>,
}

/// What came of the last write.
#[derive(Debug, Default)]
struct Health {
    /// The next connection is to be replaced.
    suspect: AtomicBool,
    failing: AtomicBool,
    written_at: Mutex<Option<Instant>>,
}

impl Health {
    fn written(&self) {
        *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.failing.swap(false, Ordering::SeqCst) {
            tracing::info!("the database can be written again");
        }
    }

    fn failed(&self, error: &sqlx::Error) {
        if error.as_database_error().is_none() || is_busy(error) {
            return;
        }
        self.suspect.store(true, Ordering::SeqCst);
        if can_not_write(error) && !self.failing.swap(true, Ordering::SeqCst) {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "the database can't be written: is the disk full, read-only or damaged?"
            );
        }
    }

    /// Something was not written. Whatever the reason, what was written before it proves nothing any more.
    fn doubted(&self) {
        *self.written_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_proven(&self) -> bool {
        let written_at = *self.written_at.lock().unwrap_or_else(PoisonError::into_inner);
        !self.failing.load(Ordering::SeqCst) && written_at.is_some_and(|at| at.elapsed() < PROVEN)
    }
}

impl Writer {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self { pool, health: Arc::default() }
    }

    /// For a single statement, which is a transaction of its own. Whose failure is to be told by [`doubted`](Self::doubted).
    pub(crate) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// A single statement failed.
    pub(crate) fn doubted(&self) {
        self.health.doubted();
    }

    /// Begins a transaction. Immediate: its owner may write, so that no unit fails half way because another one wrote first.
    pub(crate) async fn begin(&self) -> Result<Unit, sqlx::Error> {
        match self.try_begin().await {
            // Once more, on a connection that is new.
            Err(_) if self.health.suspect.load(Ordering::SeqCst) => self.try_begin().await,
            begun => begun,
        }
    }

    async fn try_begin(&self) -> Result<Unit, sqlx::Error> {
        let connection = self.sound().await?;
        let begun = Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await;
        let transaction = begun.inspect_err(|error| self.health.failed(error))?;
        Ok(Unit { transaction, outcome: Outcome { health: Arc::clone(&self.health), is_known: false } })
    }

    async fn sound(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        loop {
            let connection = self.pool.acquire().await?;
            let is_suspect = self.health.suspect.swap(false, Ordering::SeqCst);
            if !is_suspect && !connection.is_in_transaction() {
                return Ok(connection);
            }
            tracing::warn!("a connection on which a unit of work failed is replaced");
            // What it says at its end is of no use to anyone.
            let _ = connection.close().await;
        }
    }

    /// Whether something can be written, found out by writing something, unless that succeeded a moment ago.
    pub(crate) async fn can_write(&self) -> Result<bool, StoreError> {
        if self.health.is_proven() {
            return Ok(true);
        }
        match self.write_nothing().await {
            Ok(()) => Ok(true),
            Err(error) if can_not_write(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// A transaction that reaches the disk and leaves everything as it was: a limit that no key has comes and goes.
    async fn write_nothing(&self) -> Result<(), sqlx::Error> {
        let mut unit = self.begin().await?;
        let written = sqlx::raw_sql(
            "INSERT INTO iam_rate_limit (key, count, since, last_at, blocked_until, expires_at)
                VALUES (zeroblob(32), 0, 0, 0, 0, 0) ON CONFLICT (key) DO NOTHING;
             DELETE FROM iam_rate_limit WHERE key = zeroblob(32)",
        )
        .execute(&mut *unit)
        .await;
        written.inspect_err(|error| self.health.failed(error))?;
        unit.commit().await
    }
}

/// A transaction of our own. Dropped, it is rolled back.
pub(crate) struct Unit {
    transaction: Transaction<'static, Sqlite>,
    outcome: Outcome,
}

/// What becomes of a unit. Its statements are the owner's, and so is what they say; but who was told that one failed drops the
/// unit, as those do who change their mind.
struct Outcome {
    health: Arc<Health>,
    is_known: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.is_known {
            self.health.doubted();
        }
    }
}

impl Unit {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { transaction, mut outcome } = self;
        let committed = transaction.commit().await;
        outcome.is_known = true;
        match &committed {
            Ok(()) => outcome.health.written(),
            Err(error) => outcome.health.failed(error),
        }
        committed
    }
}

impl Deref for Unit {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Unit {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use iam_core::ports::Store;
    use iam_core::{Readiness, SessionId, StoreErrorKind, Timestamp};

    use super::*;
    use crate::SqliteStore;

    async fn store() -> SqliteStore {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    async fn run(writer: &Writer, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(writer.pool()).await.unwrap();
    }

    async fn unit_works(store: &SqliteStore) -> bool {
        let unit = store.begin().await;
        match unit {
            Ok(unit) => unit.commit().await.is_ok(),
            Err(_) => false,
        }
    }

    const LARGE: &str = "INSERT INTO iam_auth_log (at, last_at, event, outcome, reason)
        VALUES (0, 0, 'large', 'success', hex(zeroblob(100000)))";

    /// SQLite has undone the transaction by itself, which nobody told sqlx.
    #[tokio::test]
    async fn a_full_disk_in_one_unit_stops_no_later_one() {
        let store = store().await;
        let pages: i64 =
            sqlx::query_scalar("PRAGMA page_count").fetch_one(store.writer().pool()).await.unwrap();
        run(store.writer(), &format!("PRAGMA max_page_count = {pages}")).await;
        let mut unit = store.writer().begin().await.unwrap();
        let error = sqlx::raw_sql(LARGE).execute(&mut *unit).await.unwrap_err();
        assert!(can_not_write(&error), "{error:?}");
        drop(unit);
        for n in 0..3 {
            assert!(unit_works(&store).await, "unit {n} after it");
        }
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    }

    #[tokio::test]
    async fn a_statement_that_fails_leaves_no_proof_that_the_next_one_would_not() {
        let store = store().await;
        assert!(unit_works(&store).await && store.writer().health.is_proven());
        let mut unit = store.writer().begin().await.unwrap();
        sqlx::raw_sql("PRAGMA query_only = ON").execute(&mut *unit).await.unwrap();
        let error = sqlx::raw_sql(LARGE).execute(&mut *unit).await.unwrap_err();
        assert!(can_not_write(&error), "{error:?}");
        drop(unit);
        assert!(!store.writer().health.is_proven(), "in a unit");
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "asked anew, by a write");

        assert!(store.writer().health.is_proven());
        run(store.writer(), "PRAGMA query_only = ON").await;
        let now = Timestamp::from_micros(1);
        let touched = store.touch_session(SessionId::from_bytes([1; 16]), now, now, None).await;
        assert_eq!(touched.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert!(!store.writer().health.is_proven(), "alone");
    }

    #[tokio::test]
    async fn a_connection_that_was_left_in_a_transaction_is_replaced() {
        let store = store().await;
        run(store.writer(), "BEGIN; DELETE FROM iam_schema").await;
        for n in 0..3 {
            assert!(unit_works(&store).await, "unit {n} after it");
        }
        // What was left open is undone.
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        run(store.writer(), "PRAGMA query_only = ON").await;
        assert!(unit_works(&store).await, "and so is one that can't write");
    }

    #[tokio::test]
    async fn a_commit_that_fails_is_seen_by_readiness_until_a_write_succeeds() {
        let store = store().await;
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        assert!(store.writer().health.is_proven());
        // A foreign key that is looked at by the commit fails it, and says nothing of the disk.
        let mut unit = store.writer().begin().await.unwrap();
        sqlx::raw_sql(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO iam_user_role (account_id, role_id, granted_at) VALUES (x'01', x'02', 0)",
        )
        .execute(&mut *unit)
        .await
        .unwrap();
        assert!(unit.commit().await.is_err());
        assert!(store.writer().health.is_proven());
        assert!(unit_works(&store).await);
        // As the next commit is told when the disk is full, until one is told otherwise.
        let full = sqlx::Error::Database(Box::new(Full));
        store.writer().health.failed(&full);
        assert!(!store.writer().health.is_proven());
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "asked anew, by a write");
        assert!(store.writer().health.is_proven());
    }

    /// `SQLITE_FULL`.
    #[derive(Debug)]
    struct Full;

    impl std::fmt::Display for Full {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("full")
        }
    }

    impl std::error::Error for Full {}

    impl sqlx::error::DatabaseError for Full {
        fn message(&self) -> &'static str {
            "full"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some("13".into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }
}
