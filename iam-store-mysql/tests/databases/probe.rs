//! A server that can't write is not ready, and is again once it can.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iam_core::ports::Store;
use iam_core::{Readiness, StoreErrorKind};
use iam_store_mysql::MySqlStore;
use sqlx::Executor;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::common::{BOTH, Database};
use crate::rows::sign_in;

/// As after a failover that this process was not told of, or when an operator says so.
#[tokio::test]
async fn a_server_that_is_read_only_is_not_ready() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
        let read_only = Arc::new(AtomicBool::new(true));
        let is_read_only = Arc::clone(&read_only);
        let pool = MySqlPoolOptions::new()
            .max_connections(1)
            .after_connect(move |connection, _| {
                let old = is_read_only.load(Ordering::SeqCst);
                Box::pin(async move {
                    let sql = if old { "SET SESSION TRANSACTION READ ONLY" } else { "DO 0" };
                    connection.execute(sql).await.map(drop)
                })
            })
            .connect_with(MySqlConnectOptions::from_str(&database.url()).unwrap())
            .await
            .unwrap();
        let store = MySqlStore::from_pool(pool);
        for _ in 0..2 {
            assert_eq!(store.readiness().await.unwrap(), Readiness::NotWritable, "{server:?}");
        }
        read_only.store(false, Ordering::SeqCst);
        // The connection from before is not used again.
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{server:?}");
    }
}

/// The errors of a server with a full disk: of the disk, of a file, of a table's space, of the engine.
#[tokio::test]
async fn a_server_without_room_is_not_ready() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let migrated = MySqlStore::connect(&database.url()).await.unwrap();
        migrated.migrate().await.unwrap();
        sign_in(&migrated).await;
        for number in [3, 1021, 1026, 1030, 1114] {
            let proven = MySqlStore::connect(&database.url()).await.unwrap();
            database
                .run(&format!(
                    "CREATE TRIGGER full BEFORE INSERT ON iam_rate_limit FOR EACH ROW
                     SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'no room'"
                ))
                .await;
            // A proof of a moment ago counts; another store has none yet.
            assert_eq!(proven.readiness().await.unwrap(), Readiness::Ready, "{server:?} {number}");
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::NotWritable, "{server:?} {number}");
            let key = iam_core::ports::LimitKey::from_bytes([1; 32]);
            let rule = iam_core::Window { limit: 9, length: std::time::Duration::from_secs(9) };
            let mut unit = store.begin().await.unwrap();
            let error = unit.limits().reserve_in_window(&key, &rule, crate::rows::account().created_at).await;
            assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?} {number}");
            drop(unit);
            // And it does not count any more once a unit of the same store was told otherwise.
            let mut unit = proven.begin().await.unwrap();
            let error = unit.limits().reserve_in_window(&key, &rule, crate::rows::account().created_at).await;
            assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable, "{server:?} {number}");
            drop(unit);
            assert_eq!(proven.readiness().await.unwrap(), Readiness::NotWritable, "{server:?} {number}");
            database.run("DROP TRIGGER full").await;
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{server:?} {number}");
        }
    }
}
