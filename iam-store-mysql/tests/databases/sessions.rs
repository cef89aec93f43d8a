//! Sessions of the server: what they are set to, and which are refused.

use iam_core::ports::{Store, TokenHash};
use iam_core::{Readiness, StoreErrorKind};
use iam_store_mysql::MySqlStore;

use crate::common::{BOTH, Database};
use crate::rows::{account, sign_in};

#[tokio::test]
async fn a_session_that_would_cut_off_values_is_refused() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        for (session, what) in [
            ("SET SESSION sql_mode = ''", "STRICT_TRANS_TABLES"),
            ("SET SESSION sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES'", "ANSI_QUOTES"),
            ("SET SESSION autocommit = 0", "autocommit"),
            ("SET NAMES latin1", "utf8mb4"),
            ("SET SESSION sql_safe_updates = 1", "sql_safe_updates"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "READ COMMITTED"),
        ] {
            let store = MySqlStore::from_pool(database.pool(1, session).await);
            for error in
                [store.readiness().await.err(), store.migrate().await.err(), store.begin().await.err()]
            {
                let error = error.unwrap();
                assert_eq!(error.kind(), StoreErrorKind::Other);
                assert!(format!("{error:?}").contains(what), "{session}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_pool_of_the_hosts_serves_reads_and_writes() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let host = database.pool(4, "SET SESSION time_zone = '+09:00'").await;
        let store = MySqlStore::from_pool(host.clone());
        store.migrate().await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        sign_in(&store).await;
        let found = store.session(&TokenHash::from_bytes([1; 32])).await.unwrap().unwrap();
        assert_eq!(found.login_at, account().created_at, "whatever the session's zone");
        let host_sees: String = sqlx::query_scalar("SELECT CAST(login_time AS CHAR) FROM iam_auth_session")
            .fetch_one(&host)
            .await
            .unwrap();
        assert_eq!(host_sees, "2026-01-01 00:00:00.000000", "UTC");
    }
}

#[tokio::test]
async fn a_closed_pool_is_unavailable() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let host = database.pool(1, "DO 0").await;
        let store = MySqlStore::from_pool(host.clone());
        host.close().await;
        assert_eq!(store.readiness().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(store.begin().await.err().map(|error| error.kind()), Some(StoreErrorKind::Unavailable));
    }
}

#[tokio::test]
async fn what_shows_a_store_shows_no_password() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = MySqlStore::connect(&database.url()).await.unwrap();
        assert_eq!(format!("{store:?}"), "MySqlStore { .. }");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_in_time() {
    let began = std::time::Instant::now();
    // Nobody listens on a port that was just free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = MySqlStore::connect(&format!("mysql://u:hunter2@127.0.0.1:{port}/iam")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    let began = std::time::Instant::now();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = MySqlStore::connect(&format!("mysql://u:p@127.0.0.1:{port}/iam")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

/// How many statements a session of the server was asked, over all.
async fn statements(database: &Database) -> i64 {
    // The counter of a session dies with it, so it is the server's; what else happens on it is in the minimum of many
    // tries.
    let mut connection = database.connection().await;
    let (_, count): (String, String) = sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    count.parse().unwrap()
}

#[tokio::test]
async fn the_guards_read_is_one_statement() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = MySqlStore::connect(&database.url()).await.unwrap();
        store.migrate().await.unwrap();
        sign_in(&store).await;
        let token = TokenHash::from_bytes([1; 32]);
        let read = async || assert!(store.session(&token).await.unwrap().is_some());
        read().await;
        let mut least = i64::MAX;
        for _ in 0..50 {
            let before = statements(&database).await;
            for _ in 0..10 {
                read().await;
            }
            // The look itself is one too.
            least = least.min(statements(&database).await - before - 1);
        }
        assert_eq!(least, 10, "{server:?}");
    }
}

#[tokio::test]
async fn tables_that_somebody_changed_are_refused_by_name() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
        for (damage, repair, name) in [
            (
                "ALTER TABLE iam_rate_limit DROP CONSTRAINT iam_rate_limit_count; ALTER TABLE iam_rate_limit ENGINE = MyISAM",
                "ALTER TABLE iam_rate_limit ENGINE = InnoDB",
                "iam_rate_limit must be on InnoDB",
            ),
            (
                "ALTER TABLE iam_role MODIFY name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL",
                "ALTER TABLE iam_role MODIFY name VARBINARY(64) NOT NULL",
                "iam_role.name must hold bytes",
            ),
            (
                "ALTER TABLE iam_user_role MODIFY granted_by CHAR(16)",
                "ALTER TABLE iam_user_role MODIFY granted_by BINARY(16)",
                "iam_user_role.granted_by must hold bytes",
            ),
            (
                "ALTER TABLE iam_auth_log MODIFY event VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL",
                "ALTER TABLE iam_auth_log MODIFY event VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
                "iam_auth_log.event must be compared letter by letter",
            ),
        ] {
            database.run(damage).await;
            let error = MySqlStore::connect(&database.url()).await.unwrap_err();
            assert!(format!("{error:?}").contains(name), "{server:?}: {error:?}");
            // The way of a host with a pool of its own, also after it migrated.
            let store = MySqlStore::from_pool(database.pool(1, "DO 0").await);
            store.migrate().await.unwrap();
            let error = store.readiness().await.unwrap_err();
            assert!(format!("{error:?}").contains(name), "{server:?}: {error:?}");
            database.run(repair).await;
            MySqlStore::connect(&database.url()).await.unwrap();
        }
    }
}
