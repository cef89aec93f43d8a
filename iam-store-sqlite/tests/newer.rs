//! What a newer program wrote: nobody becomes unreadable by it, and it allows nothing.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use iam_core::ports::{Inserted, LoginIdentifier, Store as _};
use iam_core::{Account, AccountId, AccountStatus, ParentStatus, Timestamp, Username};
use iam_store_sqlite::SqliteStore;
use iam_store_sqlite::sqlx::sqlite::SqlitePoolOptions;
use iam_store_sqlite::sqlx::{SqlitePool, query};

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// A store with one account, and what writes to it as a newer program would.
async fn store() -> (tempfile::TempDir, SqliteStore, SqlitePool, AccountId) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.migrate().await.unwrap();
    let id = AccountId::from_bytes([1; 16]);
    let mut unit = store.begin().await.unwrap();
    let account = Account::new(id, Username::parse("alice").unwrap(), NOW);
    assert_eq!(unit.accounts().insert(&account, None).await.unwrap(), Inserted::Done);
    unit.commit().await.unwrap();
    // A newer program's schema allows more.
    let options = SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect(&format!("sqlite:{}", file.display())).await.unwrap();
    query("PRAGMA ignore_check_constraints = ON").execute(&pool).await.unwrap();
    (directory, store, pool, id)
}

#[tokio::test]
async fn a_status_or_an_address_of_a_newer_program_is_read() {
    let (_directory, store, pool, id) = store().await;
    query("INSERT INTO iam_parent (id, key, name, status, created_at, updated_at) VALUES (?, 'acme', 'Acme', 'archived', 0, 0)")
        .bind(&[2; 16][..])
        .execute(&pool)
        .await
        .unwrap();
    query("UPDATE iam_user_account SET status = 'dormant', email = 'no address of today', parent_id = ?")
        .bind(&[2; 16][..])
        .execute(&pool)
        .await
        .unwrap();
    let mut reader = store.reader().await.unwrap();
    let account = reader.accounts().by_id(id).await.unwrap().unwrap();
    assert_eq!(account.status, AccountStatus::Unknown);
    assert_eq!(account.email.unwrap().as_str(), "no address of today");
    let named = LoginIdentifier::parse("alice").unwrap();
    let candidate = reader.accounts().login_candidate(&named).await.unwrap().unwrap();
    assert_eq!(candidate.status, AccountStatus::Unknown);
    assert_eq!(candidate.parent.unwrap().1, ParentStatus::Unknown);
}

#[tokio::test]
async fn a_message_for_a_channel_of_a_newer_program_stops_no_other() {
    let (_directory, store, pool, account) = store().await;
    for (id, channel) in [(3, "pigeon"), (4, "email")] {
        query(
            "INSERT INTO iam_outbox (id, account_id, channel, sealed, state, created_at, expires_at, next_attempt_at)
             VALUES (?, ?, ?, x'00', 'waiting', ?4, ?4 + 1000000, ?4)",
        )
        .bind(&[id; 16][..])
        .bind(&account.as_bytes()[..])
        .bind(channel)
        .bind(NOW.as_micros())
        .execute(&pool)
        .await
        .unwrap();
    }
    let mut unit = store.begin().await.unwrap();
    let claimed = unit.outbox().claim(NOW, Timestamp::from_micros(0), 10).await.unwrap();
    let ids: Vec<u8> = claimed.iter().map(|claimed| claimed.message.id.as_bytes()[0]).collect();
    assert_eq!(ids, [4]);
}
