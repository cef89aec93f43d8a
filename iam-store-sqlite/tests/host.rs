//! A service whose customers have accounts: both are made in one transaction of the service's own.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use iam_core::ports::Store;
use iam_core::{
    Actor, Argon2Params, Conflict, Error, ExternalId, Iam, Keys, NewAccount, PasswordHash, PlainPassword,
    Problem, UniqueKey, Username,
};
use iam_store_sqlite::SqliteStore;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;

struct Service {
    iam: Iam,
    store: SqliteStore,
    pool: SqlitePool,
    _directory: TempDir,
}

impl Service {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(directory.path().join("app.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        sqlx::query("CREATE TABLE customer (number TEXT NOT NULL UNIQUE)").execute(&pool).await.unwrap();
        let store = SqliteStore::from_pool(pool.clone());
        store.migrate().await.unwrap();
        let keys = Keys::danger_known_for_tests();
        let builder = Iam::builder(store.clone(), keys).argon2(Argon2Params::danger_weak_for_tests());
        Self { iam: builder.build().await.unwrap(), store, pool, _directory: directory }
    }

    async fn customers(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM customer").fetch_one(&self.pool).await.unwrap()
    }

    /// How often accounts were said to be made.
    async fn made(&self) -> usize {
        let entries = self.store.reader().await.unwrap().audit().entries(None, 100).await.unwrap();
        entries.into_iter().filter(|entry| entry.record.event == "user_created").count()
    }
}

fn customer(number: &str) -> NewAccount {
    NewAccount::new(Username::parse(&format!("customer-{number}")).unwrap())
        .password(PlainPassword::new("correct horse battery").unwrap())
        .external_id(ExternalId::parse(number).unwrap())
}

#[tokio::test]
async fn both_are_made_or_neither() {
    let service = Service::new().await;
    for (number, commit) in [("1", true), ("2", false)] {
        let prepared = service.iam.accounts(&Actor::service()).prepare(customer(number)).await.unwrap();
        let mut transaction = service.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query("INSERT INTO customer VALUES (?)").bind(number).execute(&mut *transaction).await.unwrap();
        let mut within = SqliteStore::within(&mut transaction);
        service.iam.accounts(&Actor::service()).create_in(&mut within, &prepared).await.unwrap();
        drop(within);
        if commit {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    let by_key = |key| {
        let key = ExternalId::parse(key).unwrap();
        async { service.iam.accounts(&Actor::service()).by_external_id(&{ key }).await.unwrap() }
    };
    assert_eq!(by_key("1").await.unwrap().username.as_str(), "customer-1");
    assert!(by_key("2").await.is_none());
    assert_eq!((service.customers().await, service.made().await), (1, 1));
}

#[tokio::test]
async fn a_taken_name_leaves_the_transaction_usable() {
    let service = Service::new().await;
    service.iam.accounts(&Actor::service()).create(customer("1")).await.unwrap();
    let prepared = service.iam.accounts(&Actor::service()).prepare(customer("1")).await.unwrap();
    let mut transaction = service.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut within = SqliteStore::within(&mut transaction);
    let taken = service.iam.accounts(&Actor::service()).create_in(&mut within, &prepared).await;
    assert!(
        matches!(taken, Err(Error::Conflict(Conflict::Taken(UniqueKey::Username | UniqueKey::ExternalId)))),
        "{taken:?}"
    );
    drop(within);
    sqlx::query("INSERT INTO customer VALUES ('1')").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((service.customers().await, service.made().await), (1, 1));
}

/// An existing table of users joins: their hashes come along, and each account is tied to its row.
#[tokio::test]
async fn hashes_are_brought_over_if_they_can_be_verified() {
    let service = Service::new().await;
    let new = |n: u8, hash: &str| {
        NewAccount::new(Username::parse(&format!("user-{n}")).unwrap())
            .password_hash(PasswordHash::from_stored(hash))
    };
    let bcrypt = "$2b$04$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy";
    let tag = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let argon2 = format!("$argon2id$v=19$m=256,t=2,p=1${tag}");
    for (n, hash) in [(1, bcrypt), (2, &argon2)] {
        service.iam.accounts(&Actor::service()).create(new(n, hash)).await.unwrap();
    }
    let too_dear = format!("$argon2id$v=19$m=4194304,t=2,p=1${tag}");
    for hash in
        [too_dear.as_str(), "", "$argon2id$", "$2b$31$short", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$ab$cd"]
    {
        match service.iam.accounts(&Actor::service()).create(new(3, hash)).await {
            Err(Error::Invalid(invalid)) => {
                assert_eq!((invalid.field, invalid.problem), ("password_hash", Problem::Malformed), "{hash}");
            }
            other => panic!("{hash}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_account_is_tied_to_a_key_of_the_host_and_untied() {
    let service = Service::new().await;
    let actor = Actor::service();
    let mut ids = Vec::new();
    for name in ["alice", "bob"] {
        let new = NewAccount::new(Username::parse(name).unwrap());
        ids.push(service.iam.accounts(&actor).create(new).await.unwrap());
    }
    let key = ExternalId::parse("crm:42").unwrap();
    service.iam.accounts(&actor).set_external_id(ids[0], Some(&key)).await.unwrap();
    service.iam.accounts(&actor).set_external_id(ids[0], Some(&key)).await.unwrap();
    let taken = service.iam.accounts(&actor).set_external_id(ids[1], Some(&key)).await;
    assert!(matches!(taken, Err(Error::Conflict(Conflict::Taken(UniqueKey::ExternalId)))), "{taken:?}");
    service.iam.accounts(&actor).set_external_id(ids[0], None).await.unwrap();
    service.iam.accounts(&actor).set_external_id(ids[1], Some(&key)).await.unwrap();
    let found = service.iam.accounts(&Actor::service()).by_external_id(&key).await.unwrap();
    assert_eq!(found.map(|account| account.id), Some(ids[1]));
    let entries = service.store.reader().await.unwrap().audit().entries(None, 100).await.unwrap();
    let mut said: Vec<String> = entries
        .into_iter()
        .filter(|entry| entry.record.event == "user_updated")
        .filter_map(|entry| entry.record.reason)
        .collect();
    said.reverse();
    let expected = ["external_id none -> crm:42", "external_id crm:42 -> none", "external_id none -> crm:42"];
    assert_eq!(said, expected);
}
