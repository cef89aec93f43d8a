//! Migrations, beside a host's own and by many at once; and who may do what.

use std::time::{Duration, Instant};

use iam_core::ports::{Record, StepUpProofId, Store, TicketPurpose, TokenHash};
use iam_core::{
    Outcome, ParentId, ProofMethod, Readiness, SessionId, StoreError, StoreErrorKind, Target, Timestamp,
};
use iam_store_mysql::MySqlStore;
use sqlx::Connection;
use sqlx::migrate::Migrator;
use tokio::task::JoinSet;

use crate::common::{BOTH, Database, Server, run_on};
use crate::rows::{account, sign_in};

async fn migrated(database: &Database) -> MySqlStore {
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn says(error: &StoreError, what: &str) -> bool {
    format!("{error:?}").contains(what)
}

#[tokio::test]
async fn connecting_never_changes_the_schema() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = MySqlStore::connect(&database.url()).await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
        let tables = sqlx::query("SHOW TABLES").fetch_all(&mut database.connection().await).await.unwrap();
        assert_eq!(tables.len(), 0);
    }
}

#[tokio::test]
async fn migrating_makes_it_ready_and_twice_is_once() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = migrated(&database).await;
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        sign_in(&store).await;
        store.migrate().await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        assert_eq!(
            store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(),
            Some(account())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_migrate_at_once_beside_a_hosts_own_migrations() {
    for server in BOTH {
        for _ in 0..4 {
            let Some(database) = Database::create(server).await else { continue };
            database
                .run(
                    "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
                         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
                         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
                     INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (1, 'the host''s', TRUE, x'1234', 0), (2, 'the next', TRUE, x'56', 0)",
                )
                .await;
            let mut tasks = JoinSet::new();
            for _ in 0..4 {
                let url = database.url();
                tasks.spawn(async move {
                    let store = MySqlStore::connect(&url).await.unwrap();
                    store.migrate().await.unwrap();
                    store.readiness().await.unwrap()
                });
            }
            assert_eq!(tasks.join_all().await, [Readiness::Ready; 4], "{server:?}");
            let others: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT version, description, checksum FROM _sqlx_migrations ORDER BY version",
            )
            .fetch_all(&mut database.connection().await)
            .await
            .unwrap();
            let as_before =
                [(1, "the host's".to_owned(), vec![0x12, 0x34]), (2, "the next".to_owned(), vec![0x56])];
            assert_eq!(others, as_before);
        }
    }
}

/// The migration from which on the trail only grows.
const TRAIL: i64 = 10;

#[tokio::test]
async fn every_older_schema_comes_up_to_date_with_its_rows() {
    let versions: Vec<i64> = sqlx::migrate!("./migrations").iter().map(|step| step.version).collect();
    for server in BOTH {
        for &version in &versions {
            let Some(database) = Database::create(server).await else { continue };
            at_version(&database, version).await;
            let mut connection = database.connection().await;
            run_on(
                &mut connection,
                "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
                 VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, '2026-01-01', '2026-01-01')",
            )
            .await;
            let has_counts = version < TRAIL;
            if has_counts {
                let counted = "INSERT INTO iam_auth_log (at, last_at, count, event, outcome, coalesce_key)
                    VALUES ('2026-01-01', '2026-01-02', 40, 'authz_fail', 'denied', REPEAT('x', 32));
                    INSERT INTO iam_auth_log (at, last_at, event, outcome, reason)
                    VALUES ('2026-01-03', '2026-01-03', 'privilege_permissions_changed', 'success', 'granted admin')";
                run_on(&mut connection, counted).await;
            }
            let store = migrated(&database).await;
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
            let entries = store.reader().await.unwrap().audit().entries(None, 9).await.unwrap();
            let kept: Vec<_> =
                entries.iter().map(|entry| (entry.record.count, entry.record.target.clone())).collect();
            let expected = [(1, Some(Target::new(Target::ROLE, "admin"))), (40, None)];
            assert_eq!(kept, if has_counts { &expected[..] } else { &[] }, "{server:?} {version}");
            assert_eq!(
                store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(),
                Some(account())
            );
        }
    }
}

/// What the programs before the list of proofs wrote down in four columns, and with the challenges that were answered.
#[tokio::test]
async fn sessions_keep_what_they_have_proved() {
    let rows = "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
            VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, '2026-01-01', '2026-01-01');
        INSERT INTO iam_auth_session (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at,
            authenticated_at, second_factor_at, factors, ended_at, end_reason)
        SELECT UNHEX(LPAD(n, 32, '0')), x'01010101010101010101010101010101', UNHEX(LPAD(n, 64, '0')), 'active', 1, amr,
            '1970-01-01 00:00:07', '2026-01-01', authenticated_at, second_factor_at, factors, ended_at, IF(ended_at IS NULL, NULL, 'logout')
        FROM (SELECT 1 AS n, 'pwd' AS amr, NULL AS authenticated_at, NULL AS second_factor_at, NULL AS factors, NULL AS ended_at
            UNION ALL SELECT 2, 'pwd trusted_device', '1970-01-01 00:00:08.000001', NULL, '', NULL
            UNION ALL SELECT 3, 'pwd otp mfa email', '1970-01-01 00:00:09', '1970-01-01 00:00:30', 'totp email_otp', NULL
            UNION ALL SELECT 4, 'pwd otp mfa', NULL, '1970-01-01 00:00:20', NULL, NULL
            UNION ALL SELECT 5, 'pwd otp email', NULL, NULL, 'email_otp', NULL
            UNION ALL SELECT 6, 'pwd', NULL, NULL, NULL, '1970-01-01 00:00:09') older;
        INSERT INTO iam_mfa_challenge (id, account_id, session_id, purpose, kind, sends, created_at, expires_at, consumed_at)
        SELECT UNHEX(LPAD(n, 32, '0')), x'01010101010101010101010101010101', UNHEX(LPAD(session, 32, '0')), purpose, kind, 0,
            '2026-01-01', '2026-01-01', TIMESTAMPADD(SECOND, consumed_at, '1970-01-01')
        FROM (SELECT 1 AS n, 3 AS session, 'sign_in' AS purpose, 'totp' AS kind, 10 AS consumed_at
            UNION ALL SELECT 2, 3, 'reauthenticate', 'totp', 25 UNION ALL SELECT 3, 3, 'enrol', 'email_otp', 12
            UNION ALL SELECT 4, 3, 'payroll', 'totp', 30 UNION ALL SELECT 5, 3, 'payroll', 'password', 31
            UNION ALL SELECT 6, 3, 'reauthenticate', 'recovery_code', 11 UNION ALL SELECT 7, 3, 'reauthenticate', 'totp', NULL
            UNION ALL SELECT 8, 4, 'sign_in', 'totp', 20 UNION ALL SELECT 9, 5, 'payroll', 'email_otp', 21
            UNION ALL SELECT 10, 5, 'iam:enrol', 'email_otp', 22 UNION ALL SELECT 11, 1, 'iam:enrol', 'invitation', 23) older";
    let proofs = [
        "password@7000000",
        "password@8000001 trusted_browser@7000000",
        // A kind that is in the list no more was taken away.
        "password@9000000 totp@25000000 email_otp@12000000 step_up:totp@30000000",
        "password@7000000 totp@20000000",
        "password@7000000 step_up:email_otp@21000000",
        "",
    ];
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let versions = sqlx::migrate!("./migrations");
        let before = versions.iter().map(|step| step.version).filter(|version| *version < 11).max();
        at_version(&database, before.unwrap()).await;
        database.run(rows).await;
        let store = migrated(&database).await;
        let find = async || -> Vec<String> {
            sqlx::query_scalar("SELECT proofs FROM iam_auth_session ORDER BY id")
                .fetch_all(&mut database.connection().await)
                .await
                .unwrap()
        };
        assert_eq!(find().await, proofs, "{server:?}");
        // Run again, as after a program that died before it had noted what it did, it changes nothing more.
        database.run("DELETE FROM iam_schema_migrations WHERE version = 11").await;
        store.migrate().await.unwrap();
        assert_eq!(find().await, proofs, "{server:?}");
    }
}

#[tokio::test]
async fn links_of_an_older_schema_go_on_working_once() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        at_version(&database, 11).await;
        database
            .run(
                "INSERT INTO iam_one_time_token (hash, purpose, issued_at, expires_at)
                 VALUES (UNHEX(LPAD('1', 64, '0')), 'setup', '2026-01-01', '2026-01-03')",
            )
            .await;
        let store = migrated(&database).await;
        // Run again, as after a program that died before it had noted what it did, it changes nothing more.
        database.run("DELETE FROM iam_schema_migrations WHERE version = 13").await;
        store.migrate().await.unwrap();
        let mut hash = [0; 32];
        hash[31] = 1;
        let now = Timestamp::from_micros(1_767_312_000_000_000);
        for is_there in [true, false] {
            let mut unit = store.begin().await.unwrap();
            let hash = TokenHash::from_bytes(hash);
            let found = unit.tickets().consume(&hash, TicketPurpose::Setup, now).await.unwrap();
            unit.commit().await.unwrap();
            assert_eq!(found.is_some(), is_there, "{server:?}");
        }
    }
}

#[tokio::test]
async fn a_migration_that_was_not_noted_is_too_old_a_schema() {
    let newest = sqlx::migrate!("./migrations").iter().map(|migration| migration.version).max().unwrap();
    for server in BOTH {
        for version in 1..=newest {
            let Some(database) = Database::create(server).await else { continue };
            // As after a program that died before it had noted what it did: every statement can be run again.
            at_version(&database, version).await;
            database.run(&format!("DELETE FROM iam_schema_migrations WHERE version = {version}")).await;
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
            store.migrate().await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{server:?} {version}");
        }
    }
}

/// What was proved just before the upgrade opens afterwards what it opened before.
#[tokio::test]
async fn proofs_of_an_older_schema_are_kept_while_they_are_young() {
    let (session, since) = (SessionId::from_bytes([2; 16]), Timestamp::from_micros(0));
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        at_version(&database, 8).await;
        database
            .run(
                "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
                    VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, '2026-01-01', '2026-01-01');
                 INSERT INTO iam_mfa_challenge (id, account_id, session_id, purpose, kind, sends, created_at, expires_at, consumed_at,
                        auth_version, parent_id, approval, used_at)
                    SELECT UNHEX(REPEAT(n, 16)), x'01010101010101010101010101010101', x'02020202020202020202020202020202', 'payroll',
                        'totp', 0, '2026-01-01 12:00', '2026-01-01 12:10', proved, version, UNHEX(REPEAT(parent, 16)),
                        UNHEX(REPEAT(approval, 32)), used
                    FROM (SELECT '0a' n, '2026-01-01 12:00' proved, 7 version, '03' parent, '09' approval, NULL used
                        UNION ALL SELECT '0b', '2026-01-01 12:00', NULL, NULL, NULL, NULL
                        UNION ALL SELECT '0c', '2026-01-01 12:00', 7, NULL, NULL, '2026-01-01 12:01'
                        UNION ALL SELECT '0d', '2026-01-01 11:00', 7, NULL, NULL, NULL
                        UNION ALL SELECT '0e', NULL, NULL, NULL, NULL, NULL) rows_before",
            )
            .await;
        let store = migrated(&database).await;
        let found = store.reader().await.unwrap().step_up_proofs().of_session(session, since).await.unwrap();
        let [found] = &found[..] else { panic!("{server:?}: {found:?}") };
        assert_eq!(found.id, StepUpProofId::from_bytes([10; 16]));
        assert_eq!(
            (found.purpose.as_str(), found.kind, found.auth_version.as_i64()),
            ("payroll", ProofMethod::Totp, 7)
        );
        assert_eq!((found.parent, found.approval), (Some(ParentId::from_bytes([3; 16])), Some([9; 32])));
        let challenges: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM iam_mfa_challenge")
            .fetch_one(&mut database.connection().await)
            .await
            .unwrap();
        assert_eq!(challenges, 5);
    }
}

/// The schema as an older program made it.
async fn at_version(database: &Database, version: i64) {
    let mut older: Migrator = sqlx::migrate!("./migrations");
    older.dangerous_set_table_name("iam_schema_migrations");
    older.set_locking(false);
    older.run_direct(Some(version), &mut database.connection().await, false).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_died_half_way_is_run_again() {
    // What each had done before it died between its statements.
    let half_done = [
        (2, "own account", "ALTER TABLE iam_auth_session ADD COLUMN authenticated_at DATETIME(6) AFTER login_time"),
        (
            3,
            "second factors",
            "ALTER TABLE iam_auth_session ADD COLUMN second_factor_at DATETIME(6) AFTER authenticated_at;
             CREATE TABLE iam_recovery_code (
                account_id BINARY(16)  NOT NULL,
                digest     BINARY(32)  NOT NULL,
                created_at DATETIME(6) NOT NULL,
                used_at    DATETIME(6),
                PRIMARY KEY (account_id, digest),
                CONSTRAINT iam_recovery_code_of_account FOREIGN KEY (account_id) REFERENCES iam_user_account (id)
             ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        ),
    ];
    for server in BOTH {
        for (version, description, done) in half_done {
            let Some(database) = Database::create(server).await else { continue };
            at_version(&database, version - 1).await;
            database
                .run(&format!(
                    "INSERT INTO iam_schema_migrations (version, description, success, checksum, execution_time)
                     VALUES ({version}, '{description}', FALSE, x'00', -1); {done}"
                ))
                .await;
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
            store.migrate().await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{server:?} {version}");
            sign_in(&store).await;
        }
    }
}

#[tokio::test]
async fn a_migration_of_a_newer_program_that_died_half_way_is_left_to_that_one() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        at_version(&database, 1).await;
        database
            .run(
                "INSERT INTO iam_schema_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', FALSE, x'00', -1)",
            )
            .await;
        let store = MySqlStore::connect(&database.url()).await.unwrap();
        let error = store.migrate().await.unwrap_err();
        assert!(says(&error, "migration 9999, which this program does not know"), "{error:?}");
    }
}

#[tokio::test]
async fn a_migration_that_waited_in_vain_for_a_transaction_is_run_again_later() {
    let mut running = JoinSet::new();
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        running.spawn(async move {
            at_version(&database, 1).await;
            let store = MySqlStore::connect(&database.url()).await.unwrap();
            let mut reader = database.connection().await;
            run_on(&mut reader, "START TRANSACTION; SELECT COUNT(*) FROM iam_auth_session").await;
            let began = Instant::now();
            let error = store.migrate().await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{server:?}: {error:?}");
            assert!(began.elapsed() < Duration::from_secs(15), "{server:?}: {:?}", began.elapsed());
            reader.close().await.unwrap();
            store.migrate().await.unwrap();
            assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{server:?}");
        });
    }
    running.join_all().await;
}

#[tokio::test]
async fn a_schema_that_does_not_say_which_program_is_too_old_is_refused() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = migrated(&database).await;
        database.run("DELETE FROM iam_schema").await;
        assert!(says(&store.readiness().await.unwrap_err(), "iam_schema has no row"), "{server:?}");
        assert!(says(&MySqlStore::connect(&database.url()).await.unwrap_err(), "iam_schema has no row"));
    }
}

#[tokio::test]
async fn a_migration_of_another_content_is_refused() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = migrated(&database).await;
        database.run("UPDATE iam_schema_migrations SET checksum = x'00'").await;
        assert!(says(&store.migrate().await.unwrap_err(), "another content"));
    }
}

#[tokio::test]
async fn a_schema_says_itself_which_program_is_too_old() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = migrated(&database).await;
        database.run("UPDATE iam_schema SET min_program = 9999").await;
        assert_eq!(store.readiness().await.unwrap(), Readiness::ProgramTooOld);
    }
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_schema() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let store = migrated(&database).await;
        database
            .run(
                "ALTER TABLE iam_user_account ADD COLUMN from_the_future TEXT;
                 ALTER TABLE iam_auth_session ADD COLUMN from_the_future BIGINT NOT NULL DEFAULT 7;
                 INSERT INTO iam_schema_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', TRUE, x'00', 0)",
            )
            .await;
        store.migrate().await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        sign_in(&store).await;
        assert_eq!(
            store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(),
            Some(account())
        );
    }
}

// -- users --

/// Makes a user with these rights on the database.
async fn user(database: &Database, rights: &str) -> String {
    let name = database.name.replace("iam_test_", "u_");
    let db = &database.name;
    database
        .run(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'pw'; GRANT {rights} ON {db}.* TO {name}@'%'"))
        .await;
    name
}

#[tokio::test]
async fn daily_work_needs_no_right_to_change_the_schema() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        migrated(&database).await;
        let name = user(&database, "SELECT, INSERT, UPDATE, DELETE").await;
        let store = MySqlStore::connect(&database.url_of(&name, "pw")).await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        store.migrate().await.unwrap();
        sign_in(&store).await;
        database.run(&format!("DROP USER {name}@'%'")).await;
    }
}

/// The user of daily work may add to the trail and read it; what is there it can neither change nor remove.
#[tokio::test]
async fn daily_work_adds_to_the_trail_and_changes_nothing_of_it() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let owner = migrated(&database).await;
        let name = user(&database, "SELECT, INSERT").await;
        let mut connection = database.connection().await;
        let others = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables
            WHERE table_schema = DATABASE() AND table_name LIKE 'iam\\_%' AND table_name <> 'iam_auth_log'";
        let others: Vec<String> = sqlx::query_scalar(others).fetch_all(&mut connection).await.unwrap();
        for table in &others {
            let db = &database.name;
            database.run(&format!("GRANT UPDATE, DELETE ON {db}.{table} TO {name}@'%'")).await;
        }
        let store = MySqlStore::connect(&database.url_of(&name, "pw")).await.unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        let mut counted = Record::at(Timestamp::from_micros(0), "authz_fail", Outcome::Denied);
        let listed = counted.clone();
        counted.coalesce = Some([1; 32]);
        let mut unit = store.begin().await.unwrap();
        unit.audit().append_all(&[listed.clone(), listed]).await.unwrap();
        unit.audit().count_all(&[counted.clone()]).await.unwrap();
        unit.audit().count_all(&[counted]).await.unwrap();
        let taken = unit.audit().take_counts(Timestamp::from_micros(1), 9).await.unwrap();
        unit.audit().append_all(&taken).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(store.reader().await.unwrap().audit().entries(None, 9).await.unwrap().len(), 3);

        let before = Timestamp::from_micros(1);
        let mut unit = store.begin().await.unwrap();
        let denied = unit.audit_retention().delete_before(before, 9).await.unwrap_err();
        assert!(says(&denied, "denied"), "{server:?}: {denied:?}");
        drop(unit);
        let mut daily = sqlx::MySqlConnection::connect(&database.url_of(&name, "pw")).await.unwrap();
        let changed = sqlx::query("UPDATE iam_auth_log SET count = 9").execute(&mut daily).await.unwrap_err();
        assert!(changed.to_string().contains("denied"), "{server:?}: {changed}");
        // Retention has a user of its own.
        let mut unit = owner.begin().await.unwrap();
        assert_eq!(unit.audit_retention().delete_before(before, 9).await.unwrap(), 3);
        unit.commit().await.unwrap();
        database.run(&format!("DROP USER {name}@'%'")).await;
    }
}

#[tokio::test]
async fn a_missing_right_is_told_at_the_start() {
    for server in BOTH {
        for rights in ["SELECT", "SELECT, INSERT, UPDATE", "SELECT, INSERT, DELETE", "SELECT, UPDATE, DELETE"]
        {
            let Some(database) = Database::create(server).await else { continue };
            migrated(&database).await;
            let name = user(&database, rights).await;
            let error = MySqlStore::connect(&database.url_of(&name, "pw")).await.unwrap_err();
            assert!(says(&error, "GRANT SELECT, INSERT, UPDATE, DELETE"), "{server:?} {rights}: {error:?}");
            database.run(&format!("DROP USER {name}@'%'")).await;
        }
    }
}

#[tokio::test]
async fn a_user_without_tls_is_refused_where_the_server_asks_for_it() {
    // MySQL makes itself a certificate; a test server of MariaDB may have none.
    let Some(database) = Database::create(Server::MySql).await else { return };
    let name = database.name.replace("iam_test_", "t_");
    database
        .run(&format!(
            "CREATE USER {name}@'%' IDENTIFIED BY 'pw' REQUIRE SSL; GRANT ALL ON {}.* TO {name}@'%'",
            database.name
        ))
        .await;
    let url = database.url_of(&name, "pw");
    MySqlStore::connect(&url).await.unwrap();
    MySqlStore::connect(&format!("{url}?ssl-mode=REQUIRED")).await.unwrap();
    let error = MySqlStore::connect(&format!("{url}?ssl-mode=DISABLED")).await.unwrap_err();
    assert!(!says(&error, "pw@"), "{error:?}");
    database.run(&format!("DROP USER {name}@'%'")).await;
}
