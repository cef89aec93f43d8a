//! What is particular to a store in a file: opening, migrating, a file shared with the host, what a restart keeps.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use iam_core::ports::{
    ChallengeId, Changed, Delivery, Inserted, LimitKey, LoginIdentifier, MessageId, NewMessage, NewSession,
    Proof, ProofMethod, Proofs, Record, Reservation, SessionState, Settled, StepUpProofId, Store,
    TicketPurpose, TokenHash,
};
use iam_core::{
    Account, AccountId, Channel, Client, EndReason, Outcome, ParentId, Readiness, SessionId, StoreErrorKind,
    Target, Throttle, Timestamp, Username,
};
use iam_store_sqlite::SqliteStore;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    (directory, file)
}

async fn migrated(file: &Path) -> SqliteStore {
    let store = SqliteStore::open(file).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A pool of the host's own on a file.
async fn host_pool(file: &Path, connections: u32) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    SqlitePoolOptions::new().max_connections(connections).connect_with(options).await.unwrap()
}

async fn run(pool: &SqlitePool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

fn account() -> Account {
    Account::new(AccountId::from_bytes([1; 16]), Username::parse("alice").unwrap(), NOW)
}

/// Account 1 with a session whose token is 1.
async fn sign_in(store: &SqliteStore) {
    let session = NewSession {
        id: SessionId::from_bytes([1; 16]),
        account: account().id,
        auth_version: account().auth_version,
        token: TokenHash::from_bytes([1; 32]),
        state: SessionState::Active,
        proofs: Proofs::of(Proof::new(ProofMethod::Password, NOW)),
        tries: 1,
        login_at: NOW,
        long: false,
        client: Client::at([192, 0, 2, 1].into()).user_agent(b"test"),
    };
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.accounts().insert(&account(), None).await.unwrap(), Inserted::Done);
    assert_eq!(unit.sessions().insert(&session).await.unwrap(), Changed::Done);
    unit.commit().await.unwrap();
}

// -- opening --

#[tokio::test]
async fn opening_never_changes_the_schema() {
    let (_directory, file) = place();
    let store = SqliteStore::open(&file).await.unwrap();
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&host_pool(&file, 1).await)
        .await
        .unwrap();
    assert_eq!(tables, 0);
    assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_and_those_beside_it_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name());
    }
    assert!(names.len() > 1, "the log lies beside the file: {names:?}");
}

#[tokio::test]
async fn a_file_that_is_there_keeps_its_rows() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    drop(store);
    let again = SqliteStore::open(&file).await.unwrap();
    assert_eq!(again.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(), Some(account()));
}

#[tokio::test]
async fn a_file_that_can_not_be_is_unavailable() {
    let (directory, _) = place();
    let nowhere = directory.path().join("missing").join("iam.db");
    assert_eq!(SqliteStore::open(nowhere).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let (_directory, file) = place();
    std::fs::write(&file, [b'x'; 8192]).unwrap();
    assert_eq!(SqliteStore::open(&file).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_store_in_memory_is_its_own_and_shared_by_its_clones() {
    let one = SqliteStore::open_in_memory().await.unwrap();
    let two = SqliteStore::open_in_memory().await.unwrap();
    one.migrate().await.unwrap();
    assert_eq!(two.readiness().await.unwrap(), Readiness::SchemaTooOld);
    let clone = one.clone();
    sign_in(&one).await;
    drop(one);
    assert!(clone.reader().await.unwrap().accounts().by_id(account().id).await.unwrap().is_some());
}

// -- migrating --

#[tokio::test]
async fn migrating_makes_it_ready_and_twice_is_once() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    sign_in(&store).await;
    store.migrate().await.unwrap();
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    assert!(store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap().is_some());
}

/// Four programs start at the same time.
async fn four_at_once(file: &Path) {
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let file = file.to_owned();
        tasks.spawn(async move { migrated(&file).await.readiness().await.unwrap() });
    }
    assert_eq!(tasks.join_all().await, [Readiness::Ready; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_open_and_migrate_a_new_file_at_once() {
    for _ in 0..20 {
        let (_directory, file) = place();
        four_at_once(&file).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_bring_an_older_schema_up_to_date_at_once() {
    for _ in 0..20 {
        let (_directory, file) = place();
        // As far as a new migration can tell: there is a history, and it lacks that migration.
        run(
            &host_pool(&file, 1).await,
            "CREATE TABLE iam_schema_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
                 installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
                 checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
        )
        .await;
        four_at_once(&file).await;
    }
}

/// What was proved just before the upgrade opens afterwards what it opened before.
#[tokio::test]
async fn proofs_of_an_older_schema_are_kept_while_they_are_young() {
    let (_directory, file) = place();
    let host = host_pool(&file, 1).await;
    let mut older = sqlx::migrate!("./migrations");
    older.migrations = older.migrations.iter().take(9).cloned().collect();
    older.dangerous_set_table_name("iam_schema_migrations");
    older.run(&host).await.unwrap();
    run(
        &host,
        "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
            VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, 5, 5);
         INSERT INTO iam_mfa_challenge (id, account_id, session_id, purpose, kind, sends, created_at, expires_at, consumed_at,
                auth_version, parent_id, approval, used_at)
            SELECT unhex(replace(hex(zeroblob(16)), '00', n)), x'01010101010101010101010101010101',
                x'02020202020202020202020202020202', 'payroll', 'totp', 0, 5, 5, proved, version,
                unhex(replace(hex(zeroblob(16)), '00', parent)), unhex(replace(hex(zeroblob(32)), '00', approval)), used
            FROM (SELECT '0a' n, 7200000000 proved, 7 version, '03' parent, '09' approval, NULL used
                UNION ALL SELECT '0b', 7200000000, NULL, NULL, NULL, NULL
                UNION ALL SELECT '0c', 7200000000, 7, NULL, NULL, 7200000001
                UNION ALL SELECT '0d', 3600000000, 7, NULL, NULL, NULL
                UNION ALL SELECT '0e', NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let store = migrated(&file).await;
    let (session, since) = (SessionId::from_bytes([2; 16]), Timestamp::from_micros(0));
    let found = store.reader().await.unwrap().step_up_proofs().of_session(session, since).await.unwrap();
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.id, StepUpProofId::from_bytes([10; 16]));
    assert_eq!(
        (found.purpose.as_str(), found.kind, found.auth_version.as_i64()),
        ("payroll", ProofMethod::Totp, 7)
    );
    assert_eq!((found.parent, found.approval), (Some(ParentId::from_bytes([3; 16])), Some([9; 32])));
    let challenges: i64 =
        sqlx::query_scalar("SELECT count(*) FROM iam_mfa_challenge").fetch_one(&host).await.unwrap();
    assert_eq!(challenges, 5);
}

/// The file of the first release, with people in it.
#[tokio::test]
async fn a_file_of_the_foundation_is_upgraded_in_place() {
    let (_directory, file) = place();
    let host = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(&file).create_if_missing(true))
        .await
        .unwrap();
    let mut foundation = sqlx::migrate!("./migrations");
    foundation.migrations = foundation.migrations.iter().take(1).cloned().collect();
    foundation.dangerous_set_table_name("iam_schema_migrations");
    foundation.run(&host).await.unwrap();
    run(
        &host,
        "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
            VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, 5, 5);
         INSERT INTO iam_auth_session (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at)
            VALUES (x'02020202020202020202020202020202', x'01010101010101010101010101010101', zeroblob(32), 'active', 1, 'pwd', 7, 9);
         INSERT INTO iam_rate_limit (key, count, since, last_at, blocked_until, expires_at)
            VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 5, 1, 1, 1000000, 2000000);
         INSERT INTO iam_auth_log (at, last_at, event, outcome) VALUES (7, 7, 'authn_login_success', 'success');
         INSERT INTO iam_auth_log (at, last_at, count, event, outcome, coalesce_key) VALUES (8, 9, 40, 'authz_fail', 'denied', zeroblob(32));
         INSERT INTO iam_auth_log (at, last_at, event, outcome, reason, account_id)
            VALUES (9, 9, 'privilege_permissions_changed', 'success', 'granted admin', x'01010101010101010101010101010101');
         INSERT INTO iam_auth_log (at, last_at, event, outcome) VALUES (10, 10, 'sys_shutdown', 'success');
         DELETE FROM iam_auth_log WHERE at = 10",
    )
    .await;
    let store = SqliteStore::open(&file).await.unwrap();
    assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
    store.migrate().await.unwrap();
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    let session = store.session(&TokenHash::from_bytes([0; 32])).await.unwrap().unwrap();
    assert_eq!((session.username.as_str(), session.proofs.to_string().as_str()), ("alice", "password@7"));
    let alice = LoginIdentifier::parse("alice").unwrap();
    assert!(
        !store
            .reader()
            .await
            .unwrap()
            .accounts()
            .login_candidate(&alice)
            .await
            .unwrap()
            .unwrap()
            .second_factor
    );
    let mut unit = store.begin().await.unwrap();
    unit.audit().append_all(&[Record::at(NOW, "sys_startup", Outcome::Success)]).await.unwrap();
    unit.commit().await.unwrap();
    let entries = store.reader().await.unwrap().audit().entries(None, 9).await.unwrap();
    let kept: Vec<(u64, u32, &str)> =
        entries.iter().map(|entry| (entry.id, entry.record.count, &*entry.record.event)).collect();
    let expected = [
        (5, 1, "sys_startup"),
        (3, 1, "privilege_permissions_changed"),
        (2, 40, "authz_fail"),
        (1, 1, "authn_login_success"),
    ];
    assert_eq!(kept, expected, "and no id comes twice, though the highest row was gone");
    assert_eq!(entries[1].record.target, Some(Target::new(Target::ROLE, "admin")));
    let rule = Throttle {
        free: 5,
        first_delay: Duration::from_secs(1),
        max_delay: Duration::from_mins(15),
        forget_after: Duration::from_mins(5),
    };
    let mut unit = store.begin().await.unwrap();
    let key = LimitKey::from_bytes([1; 32]);
    let refused = unit.limits().reserve(&key, &rule, Timestamp::from_micros(999_999)).await.unwrap();
    assert_eq!(refused, Reservation::Refused(Timestamp::from_micros(1_000_000)), "a block stays");
    let Reservation::Granted(slot) =
        unit.limits().reserve(&key, &rule, Timestamp::from_micros(1_000_000)).await.unwrap()
    else {
        panic!("the block is over")
    };
    assert_eq!(slot.count, 6, "and what was counted still counts");
}

/// What the programs before the list of proofs wrote down in four columns, and with the challenges that were answered.
#[tokio::test]
async fn sessions_keep_what_they_have_proved() {
    let (_directory, file) = place();
    let host = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(&file).create_if_missing(true))
        .await
        .unwrap();
    let mut older = sqlx::migrate!("./migrations");
    older.migrations = older.migrations.iter().filter(|step| step.version < 12).cloned().collect();
    older.dangerous_set_table_name("iam_schema_migrations");
    older.run(&host).await.unwrap();
    run(
        &host,
        "INSERT INTO iam_user_account (id, username, status, auth_version, created_at, updated_at)
            VALUES (x'01010101010101010101010101010101', 'alice', 'active', 1, 5, 5);
         WITH old (n, amr, authenticated_at, second_factor_at, factors, ended_at) AS (VALUES
            (1, 'pwd', NULL, NULL, NULL, NULL),
            (2, 'pwd trusted_device', 8, NULL, '', NULL),
            (3, 'pwd otp mfa email', 9, 30, 'totp email_otp', NULL),
            (4, 'pwd otp mfa', NULL, 20, NULL, NULL),
            (5, 'pwd otp email', NULL, NULL, 'email_otp', NULL),
            (6, 'pwd', NULL, NULL, NULL, 9))
         INSERT INTO iam_auth_session (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at,
            authenticated_at, second_factor_at, factors, ended_at, end_reason)
         SELECT unhex(printf('%032d', n)), x'01010101010101010101010101010101', unhex(printf('%064d', n)), 'active', 1, amr, 7, 9,
            authenticated_at, second_factor_at, factors, ended_at, CASE WHEN ended_at IS NULL THEN NULL ELSE 'logout' END FROM old;
         WITH old (n, session, purpose, kind, consumed_at) AS (VALUES
            (1, 3, 'sign_in', 'totp', 10), (2, 3, 'reauthenticate', 'totp', 25), (3, 3, 'enrol', 'email_otp', 12),
            (4, 3, 'payroll', 'totp', 30), (5, 3, 'payroll', 'password', 31), (6, 3, 'reauthenticate', 'recovery_code', 11),
            (7, 3, 'reauthenticate', 'totp', NULL), (8, 4, 'sign_in', 'totp', 20), (9, 5, 'payroll', 'email_otp', 21),
            (10, 5, 'iam:enrol', 'email_otp', 22), (11, 1, 'iam:enrol', 'invitation', 23))
         INSERT INTO iam_mfa_challenge (id, account_id, session_id, purpose, kind, sends, created_at, expires_at, consumed_at)
         SELECT unhex(printf('%032d', n)), x'01010101010101010101010101010101', unhex(printf('%032d', session)), purpose, kind, 0, 1, 2,
            consumed_at FROM old",
    )
    .await;
    let store = SqliteStore::open(&file).await.unwrap();
    store.migrate().await.unwrap();
    for (n, proofs) in [
        (1_u8, "password@7"),
        (2, "password@8 trusted_browser@7"),
        // A kind that is in the list no more was taken away.
        (3, "password@9 totp@25 email_otp@12 step_up:totp@30"),
        (4, "password@7 totp@20"),
        (5, "password@7 step_up:email_otp@21"),
        (6, ""),
    ] {
        let mut hash = [0; 32];
        hash[31] = n;
        let found = store.session(&TokenHash::from_bytes(hash)).await.unwrap();
        assert_eq!(found.unwrap().proofs.to_string(), proofs, "{n}");
    }
}

#[tokio::test]
async fn links_of_an_older_schema_go_on_working_once() {
    let (_directory, file) = place();
    let host = host_pool(&file, 1).await;
    let mut older = sqlx::migrate!("./migrations");
    older.migrations = older.migrations.iter().filter(|step| step.version < 14).cloned().collect();
    older.dangerous_set_table_name("iam_schema_migrations");
    older.run(&host).await.unwrap();
    run(
        &host,
        "INSERT INTO iam_one_time_token (hash, purpose, issued_at, expires_at, used_at)
            VALUES (unhex(printf('%064d', 1)), 'setup', 5, 9, NULL), (unhex('1' || printf('%063d', 2)), 'setup', 5, 9, 6)",
    )
    .await;
    let store = migrated(&file).await;
    let mut hash = [0; 32];
    hash[31] = 1;
    for is_there in [true, false] {
        let mut unit = store.begin().await.unwrap();
        let (hash, now) = (TokenHash::from_bytes(hash), Timestamp::from_micros(7));
        let found = unit.tickets().consume(&hash, TicketPurpose::Setup, now).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(found.map(|ticket| ticket.expires_at), is_there.then_some(Timestamp::from_micros(9)));
    }
    let used: i64 = sqlx::query_scalar("SELECT count(*) FROM iam_ticket WHERE used_at = 6")
        .fetch_one(&host)
        .await
        .unwrap();
    assert_eq!(used, 1);
}

#[tokio::test]
async fn the_trail_is_append_only_and_found_by_index() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    let mut unit = store.begin().await.unwrap();
    unit.audit().append_all(&[Record::at(NOW, "sys_startup", Outcome::Success)]).await.unwrap();
    unit.commit().await.unwrap();
    let host = host_pool(&file, 1).await;
    let changed = sqlx::query("UPDATE iam_auth_log SET reason = 'x'").execute(&host).await.unwrap_err();
    assert!(changed.to_string().contains("append-only"), "{changed}");
    for (condition, index) in [
        ("account_id = x'01'", "iam_auth_log_account"),
        ("actor_id = x'01'", "iam_auth_log_actor"),
        ("event = 'authz_fail'", "iam_auth_log_event"),
        ("parent_id = x'01'", "iam_auth_log_parent"),
        // Who was given a role.
        ("target_kind = 'role' AND target = 'admin' AND reason = 'granted admin'", "iam_auth_log_target"),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT * FROM iam_auth_log WHERE {condition} AND id < 99 ORDER BY id DESC LIMIT 9"
        );
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&host).await.unwrap();
        assert_eq!(plan.len(), 1, "no row is sorted: {plan:?}");
        assert!(plan[0].3.contains(&format!("INDEX {index} (")), "{condition}: {plan:?}");
    }
}

#[tokio::test]
async fn a_migration_that_was_not_applied_is_too_old_a_schema() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    run(&host_pool(&file, 1).await, "DELETE FROM iam_schema_migrations").await;
    assert_eq!(store.readiness().await.unwrap(), Readiness::SchemaTooOld);
}

#[tokio::test]
async fn a_schema_says_itself_which_program_is_too_old() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    let host = host_pool(&file, 1).await;
    run(&host, "UPDATE iam_schema SET min_program = 12").await;
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    run(&host, "UPDATE iam_schema SET min_program = 9999").await;
    assert_eq!(store.readiness().await.unwrap(), Readiness::ProgramTooOld);
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_schema() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    run(
        &host_pool(&file, 1).await,
        "ALTER TABLE iam_user_account ADD COLUMN from_the_future TEXT;
         INSERT INTO iam_schema_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    store.migrate().await.unwrap();
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    sign_in(&store).await;
    assert_eq!(store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(), Some(account()));
}

#[tokio::test]
async fn a_hosts_own_migrations_are_left_alone() {
    type Rows = Vec<(i64, String, Vec<u8>)>;
    const OTHERS: &str = "SELECT version, description, checksum FROM _sqlx_migrations";
    let (_directory, file) = place();
    let host = host_pool(&file, 1).await;
    // The host's first migration has the version of ours, and another content.
    run(
        &host,
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
             checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (1, 'the host''s', TRUE, x'1234', 0), (2, 'the next', TRUE, x'56', 0);
         CREATE TABLE reports (title TEXT)",
    )
    .await;
    let before: Rows = sqlx::query_as(OTHERS).fetch_all(&host).await.unwrap();
    let store = migrated(&file).await;
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    let after: Rows = sqlx::query_as(OTHERS).fetch_all(&host).await.unwrap();
    assert_eq!((before.len(), before), (2, after));
}

// -- sharing and restarting --

#[tokio::test]
async fn a_pool_of_the_hosts_serves_reads_and_writes() {
    let (_directory, file) = place();
    let host = host_pool(&file, 4).await;
    run(&host, "CREATE TABLE reports (title TEXT)").await;
    let store = SqliteStore::from_pool(host.clone());
    store.migrate().await.unwrap();
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
    sign_in(&store).await;
    let token = TokenHash::from_bytes([1; 32]);
    assert!(store.session(&token).await.unwrap().is_some());
    // A unit that is dropped leaves the host no open transaction.
    let mut unit = store.begin().await.unwrap();
    assert!(unit.sessions().end(SessionId::from_bytes([1; 16]), EndReason::Logout, NOW).await.unwrap());
    drop(unit);
    run(&host, "INSERT INTO reports VALUES ('one')").await;
    assert!(store.session(&token).await.unwrap().unwrap().ended.is_none());
}

#[tokio::test]
async fn a_closed_pool_is_unavailable() {
    let (_directory, file) = place();
    let host = host_pool(&file, 1).await;
    let store = SqliteStore::from_pool(host.clone());
    host.close().await;
    assert_eq!(store.readiness().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let begun = store.begin().await;
    assert_eq!(begun.err().map(|error| error.kind()), Some(StoreErrorKind::Unavailable));
}

#[tokio::test]
async fn limits_count_on_after_a_restart() {
    let rule = Throttle {
        free: 2,
        first_delay: Duration::from_mins(1),
        max_delay: Duration::from_mins(1),
        forget_after: Duration::from_hours(1),
    };
    let (_directory, file) = place();
    migrated(&file).await;
    for count in 1..=2 {
        let store = SqliteStore::open(&file).await.unwrap();
        let mut unit = store.begin().await.unwrap();
        let done = unit.limits().reserve(&LimitKey::from_bytes([1; 32]), &rule, NOW).await.unwrap();
        assert!(matches!(done, Reservation::Granted(slot) if slot.count == count));
        unit.commit().await.unwrap();
    }
    let store = SqliteStore::open(&file).await.unwrap();
    let mut unit = store.begin().await.unwrap();
    let done = unit.limits().reserve(&LimitKey::from_bytes([1; 32]), &rule, NOW).await.unwrap();
    assert_eq!(done, Reservation::Refused(NOW.plus(Duration::from_mins(1))));
}

// -- ending, and what becomes of the file meanwhile --

/// A copy of it has everything, whichever connections were used, and though there are clones of the store.
#[tokio::test]
async fn a_closed_store_leaves_one_file_with_everything() {
    for read in [false, true] {
        let (directory, file) = place();
        let store = migrated(&file).await;
        sign_in(&store).await;
        if read {
            assert!(store.reader().await.unwrap().accounts().by_id(account().id).await.unwrap().is_some());
        }
        let clone = store.clone();
        store.close().await.unwrap();
        let names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["iam.db"], "read: {read}");
        let copy = directory.path().join("copy.db");
        std::fs::copy(&file, &copy).unwrap();
        let copy = SqliteStore::open(&copy).await.unwrap();
        assert_eq!(
            copy.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(),
            Some(account())
        );
        assert_eq!(clone.reader().await.err().unwrap().kind(), StoreErrorKind::Unavailable);
        assert_eq!(clone.readiness().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}

/// Another process has the file open at that moment.
#[tokio::test]
async fn a_store_that_is_closed_beside_another_has_everything_in_the_file() {
    let (directory, file) = place();
    let (one, two) = (migrated(&file).await, SqliteStore::open(&file).await.unwrap());
    sign_in(&one).await;
    one.close().await.unwrap();
    let copy = directory.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    let copy = SqliteStore::open(&copy).await.unwrap();
    assert_eq!(copy.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(), Some(account()));
    assert_eq!(two.readiness().await.unwrap(), Readiness::Ready);
    assert_eq!(two.reader().await.unwrap().accounts().by_id(account().id).await.unwrap(), Some(account()));
}

/// What is written goes where nobody will look for it.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_removed_renamed_or_replaced_is_noticed() {
    for part in ["", "-wal", "-shm"] {
        let (directory, file) = place();
        let store = migrated(&file).await;
        sign_in(&store).await;
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
        let path = directory.path().join(format!("iam.db{part}"));
        let aside = directory.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Replaced, "{path:?} renamed");
        std::fs::copy(&aside, &path).unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Replaced, "{path:?} replaced");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(store.readiness().await.unwrap(), Readiness::Ready, "{path:?} put back");
    }
}

/// A connection that is new must not lead elsewhere than those before it.
#[cfg(unix)]
#[tokio::test]
async fn no_connection_is_opened_to_a_file_that_was_replaced() {
    let (directory, file) = place();
    migrated(&file).await.close().await.unwrap();
    let store = SqliteStore::open(&file).await.unwrap();
    std::fs::rename(&file, directory.path().join("aside")).unwrap();
    std::fs::copy(directory.path().join("aside"), &file).unwrap();
    assert!(store.begin().await.is_err() && store.reader().await.is_err());
}

/// Nothing is idle so long that the log goes away by itself.
#[cfg(unix)]
#[tokio::test]
async fn the_log_stays_while_the_store_is_open() {
    let (directory, file) = place();
    let store = migrated(&file).await;
    let other = SqliteStore::open(&file).await.unwrap();
    sign_in(&other).await;
    other.close().await.unwrap();
    assert!(directory.path().join("iam.db-wal").exists());
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
}

// -- rows --

#[tokio::test]
async fn the_session_row_has_the_specifications_columns() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let host = host_pool(&file, 1).await;
    let row = async || {
        let sql =
            "SELECT login_time, logout_time, end_reason, client_address, user_agent FROM iam_auth_session";
        sqlx::query_as::<_, (i64, Option<i64>, Option<String>, String, String)>(sql)
            .fetch_one(&host)
            .await
            .unwrap()
    };
    let (now, address, agent) = (NOW.as_micros(), "192.0.2.1".to_owned(), "test".to_owned());
    assert_eq!(row().await, (now, None, None, address.clone(), agent.clone()));
    let mut unit = store.begin().await.unwrap();
    assert!(unit.sessions().end(SessionId::from_bytes([1; 16]), EndReason::Logout, NOW).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(row().await, (now, Some(now), Some("logout".to_owned()), address, agent));
}

#[tokio::test]
async fn only_a_logout_has_a_logout_time() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.sessions().end_all(account().id, EndReason::Revoked, NOW).await.unwrap(), 1);
    unit.commit().await.unwrap();
    let row: (Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT ended_at, logout_time FROM iam_auth_session")
            .fetch_one(&host_pool(&file, 1).await)
            .await
            .unwrap();
    assert_eq!(row, (Some(NOW.as_micros()), None));
}

#[tokio::test]
async fn what_can_not_be_read_is_corrupt_and_no_panic() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let host = host_pool(&file, 1).await;
    let token = TokenHash::from_bytes([1; 32]);
    // As a row looks after a disk fault. (What a newer program wrote is read: `newer.rs`.)
    let damage = [
        (
            "UPDATE iam_user_account SET username = CAST(x'61ff' AS TEXT)",
            "UPDATE iam_user_account SET username = 'alice'",
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE iam_auth_session SET id = x'0102'",
            "UPDATE iam_auth_session SET id = x'01010101010101010101010101010101'",
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE iam_user_account SET parent_id = x'09090909090909090909090909090909'",
            "UPDATE iam_user_account SET parent_id = NULL",
        ),
    ];
    for (damaged, repaired) in damage {
        run(&host, damaged).await;
        let error = store.session(&token).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damaged}: {error:?}");
        run(&host, repaired).await;
        assert!(store.session(&token).await.unwrap().is_some(), "{repaired}");
    }
}

#[tokio::test]
async fn an_end_for_a_reason_unheard_of_is_an_end() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let host = host_pool(&file, 1).await;
    for end in [
        "UPDATE iam_auth_session SET ended_at = 1, end_reason = 'unheard of'",
        "PRAGMA ignore_check_constraints = ON; UPDATE iam_auth_session SET ended_at = 1, end_reason = NULL",
    ] {
        run(&host, end).await;
        let found = store.session(&TokenHash::from_bytes([1; 32])).await.unwrap().unwrap();
        assert_eq!(found.ended, Some((Timestamp::from_micros(1), EndReason::Other)));
    }
}

#[tokio::test]
async fn a_hash_that_is_no_text_is_one_that_nothing_matches() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let host = host_pool(&file, 1).await;
    run(&host, "UPDATE iam_user_account SET password_hash = CAST(x'246172ff' AS TEXT)").await;
    let alice = LoginIdentifier::parse("alice").unwrap();
    let candidate = store.reader().await.unwrap().accounts().login_candidate(&alice).await.unwrap().unwrap();
    assert_eq!(candidate.password.unwrap().expose(), "$ar\u{fffd}");
}

#[tokio::test]
async fn what_is_over_has_no_sealed_message() {
    let (_directory, file) = place();
    let store = migrated(&file).await;
    sign_in(&store).await;
    let challenge = |n| ChallengeId::from_bytes([n; 16]);
    let mut unit = store.begin().await.unwrap();
    let outbox = unit.outbox();
    for n in 1..=5 {
        let message = NewMessage {
            id: MessageId::from_bytes([n; 16]),
            account: account().id,
            challenge: Some(challenge(n)),
            channel: Channel::Email,
            sealed: vec![n; 100],
            created_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(5)),
        };
        outbox.put(&message).await.unwrap();
    }
    assert_eq!(outbox.claim(NOW, NOW, 5).await.unwrap().len(), 5);
    for (n, settled) in [
        (1, Settled::Over(Delivery::Accepted)),
        (2, Settled::Over(Delivery::Refused)),
        (3, Settled::Again(NOW)),
    ] {
        assert!(outbox.settle(MessageId::from_bytes([n; 16]), 1, settled, NOW).await.unwrap());
    }
    assert_eq!(outbox.replace(challenge(4), NOW).await.unwrap(), 1);
    unit.commit().await.unwrap();
    let host = host_pool(&file, 1).await;
    let sealed = async || {
        let sql = "SELECT hex(substr(id, 1, 1)) FROM iam_outbox WHERE sealed IS NOT NULL ORDER BY id";
        sqlx::query_scalar::<_, String>(sql).fetch_all(&host).await.unwrap()
    };
    assert_eq!(sealed().await, ["03", "05"]);
    let mut unit = store.begin().await.unwrap();
    let expired = unit.outbox().expire(NOW.plus(Duration::from_mins(5)), 9).await.unwrap();
    unit.commit().await.unwrap();
    assert!(expired.len() == 2 && sealed().await.is_empty());
}

#[tokio::test]
async fn a_file_that_can_not_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("missing").join("iam.db");
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, format!("{} can't be opened as a database", file.display()));
}
