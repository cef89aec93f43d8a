//! The SQLite store does what the ports ask of every store.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use std::sync::Arc;

use iam_store_sqlite::SqliteStore;
use iam_store_testkit::Handles;
use tempfile::TempDir;

/// One migrated store that nobody else sees.
async fn alone() -> Option<(SqliteStore, ())> {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    Some((store, ()))
}

/// One file, opened twice.
async fn twice() -> Option<(Handles, TempDir)> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    let one = SqliteStore::open(&file).await.unwrap();
    one.migrate().await.unwrap();
    let two = SqliteStore::open(&file).await.unwrap();
    Some(([Arc::new(one), Arc::new(two)], directory))
}

iam_store_testkit::conformance!(alone, twice);
