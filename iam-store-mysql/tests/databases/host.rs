//! A service whose customers have accounts: both are made in one transaction of the service's own.

use iam_core::ports::Store;
use iam_core::{
    Actor, Argon2Params, Conflict, Error, ExternalId, Iam, Keys, NewAccount, PlainPassword, UniqueKey,
    Username,
};
use iam_store_mysql::MySqlStore;
use sqlx::MySqlPool;

use crate::common::{BOTH, Database};

fn customer(number: &str) -> NewAccount {
    NewAccount::new(Username::parse(&format!("customer-{number}")).unwrap())
        .password(PlainPassword::new("correct horse battery").unwrap())
        .external_id(ExternalId::parse(number).unwrap())
}

async fn count(pool: &MySqlPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn both_are_made_or_neither_and_a_taken_name_leaves_the_transaction_usable() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let pool = database.pool(4, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        sqlx::query("CREATE TABLE customer (number VARCHAR(20) NOT NULL PRIMARY KEY)")
            .execute(&pool)
            .await
            .unwrap();
        let store = MySqlStore::from_pool(pool.clone());
        store.migrate().await.unwrap();
        let keys = Keys::danger_known_for_tests();
        let builder = Iam::builder(store.clone(), keys).argon2(Argon2Params::danger_weak_for_tests());
        let iam = builder.build().await.unwrap();

        for (number, commit) in [("1", true), ("2", false)] {
            let prepared = iam.accounts(&Actor::service()).prepare(customer(number)).await.unwrap();
            let mut transaction = pool.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO customer VALUES (?)").bind(number);
            insert.execute(&mut *transaction).await.unwrap();
            let mut within = MySqlStore::within(&mut transaction);
            iam.accounts(&Actor::service()).create_in(&mut within, &prepared).await.unwrap();
            drop(within);
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
        }
        let prepared = iam.accounts(&Actor::service()).prepare(customer("1")).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        let mut within = MySqlStore::within(&mut transaction);
        let taken = iam.accounts(&Actor::service()).create_in(&mut within, &prepared).await;
        assert!(
            matches!(
                taken,
                Err(Error::Conflict(Conflict::Taken(UniqueKey::Username | UniqueKey::ExternalId)))
            ),
            "{server:?} {taken:?}"
        );
        drop(within);
        sqlx::query("INSERT INTO customer VALUES ('3')").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();

        assert_eq!(count(&pool, "SELECT count(*) FROM customer").await, 2, "{server:?}");
        assert_eq!(count(&pool, "SELECT count(*) FROM iam_user_account").await, 1, "{server:?}");
        let made = store.reader().await.unwrap().audit().entries(None, 100).await.unwrap();
        let made = made.into_iter().filter(|entry| entry.record.event == "user_created").count();
        assert_eq!(made, 1, "{server:?}");
        let found =
            iam.accounts(&Actor::service()).by_external_id(&ExternalId::parse("1").unwrap()).await.unwrap();
        assert_eq!(found.unwrap().username.as_str(), "customer-1", "{server:?}");
    }
}
