//! How the servers go about each statement of the store: by index, whatever is asked. The statements are those in
//! `.sqlx`, which are all of them.

use std::path::Path;

use iam_store_mysql::MySqlStore;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use crate::common::{BOTH, Database, run_on};

/// Enough rows that a server has something to choose from.
const ROWS: &str = "
    SET SESSION cte_max_recursion_depth = 100000;
    INSERT INTO iam_parent (id, `key`, name, status, created_at, updated_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 50)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), CONCAT('parent-', n), '', 'active', '2026-01-01', '2026-01-01' FROM m;
    INSERT INTO iam_role (id, name, description, created_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 20)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), CONCAT('role-', n), '', '2026-01-01' FROM m;
    INSERT INTO iam_user_account (id, username, email, email_verified_at, status, parent_id, auth_version, created_at, updated_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 500)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), CONCAT('user-', n), CONCAT(n, '@example.com'), '2026-01-01', 'active',
            UNHEX(LPAD(HEX(1 + n MOD 50), 32, '0')), 1, '2026-01-01', '2026-01-01' FROM m;
    INSERT INTO iam_user_role (account_id, role_id, granted_at)
        SELECT a.id, r.id, '2026-01-01' FROM iam_user_account a JOIN iam_role r ON r.id < x'00000000000000000000000000000004';
    INSERT INTO iam_auth_session (id, account_id, token_hash, state, auth_version, amr, login_time, last_seen_at, ended_at, end_reason)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')),
            CASE WHEN n MOD 3 = 0 THEN NULL ELSE UNHEX(LPAD(HEX(n), 64, '0')) END, 'active', 1, 'pwd',
            TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n, '2026-01-01'),
            CASE WHEN n MOD 2 = 0 THEN TIMESTAMPADD(MINUTE, n, '2026-01-01') END, CASE WHEN n MOD 2 = 0 THEN 'logout' END FROM m;
    INSERT INTO iam_auth_log (at, last_at, event, outcome)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n, '2026-01-01'), 'x', 'ok' FROM m;
    INSERT INTO iam_auth_tally (coalesce_key, at, last_at, count, event, outcome)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 64, '0')), TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n, '2026-01-01'), 1, 'x', 'ok'
        FROM m;
    INSERT INTO iam_ticket (id, token_hash, purpose, account_id, created_at, expires_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(n), 64, '0')), 'first_administrator', NULL, '2026-01-01', TIMESTAMPADD(MINUTE, n, '2026-01-01') FROM m;
    INSERT INTO iam_mfa_method (id, account_id, kind, name, created_at, confirmed_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), 'totp', 'phone',
            TIMESTAMPADD(MINUTE, n, '2026-01-01'), CASE WHEN n MOD 3 = 0 THEN '2026-01-02' END FROM m;
    INSERT INTO iam_recovery_code (account_id, digest, created_at, used_at)
        SELECT a.id, UNHEX(LPAD(HEX(r.created_at + 0), 64, '0')), '2026-01-01', NULL FROM iam_user_account a
        JOIN (SELECT DISTINCT created_at FROM iam_mfa_method WHERE id < x'0000000000000000000000000000000b') r;
    INSERT INTO iam_mfa_challenge (id, account_id, session_id, purpose, kind, sends, created_at, expires_at, consumed_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')),
            'sign_in', 'email_otp', 1, TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n + 10, '2026-01-01'),
            CASE WHEN n MOD 2 = 0 THEN '2026-01-02' END FROM m;
    INSERT INTO iam_step_up_proof (id, session_id, account_id, auth_version, purpose, kind, proved_at, used_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')),
            1, 'payroll', 'totp', TIMESTAMPADD(MINUTE, n, '2026-01-01'), CASE WHEN n MOD 2 = 0 THEN '2026-01-02' END FROM m;
    INSERT INTO iam_interrupted_request (id, account_id, session_id, sealed, created_at, expires_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), 'x',
            TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n + 10, '2026-01-01') FROM m;
    INSERT INTO iam_repeatable_answer (session_id, slot, old_token, request, at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), 0, UNHEX(LPAD(HEX(n), 64, '0')), UNHEX(LPAD(HEX(n), 64, '0')),
            TIMESTAMPADD(MINUTE, n, '2026-01-01') FROM m;
    INSERT INTO iam_trusted_device (id, account_id, token_hash, auth_version, created_at, expires_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), UNHEX(LPAD(HEX(n), 64, '0')), 1,
            TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n + 10, '2026-01-01') FROM m;
    INSERT INTO iam_outbox (id, account_id, challenge_id, channel, sealed, state, attempts, created_at, expires_at, next_attempt_at,
            claimed_at, settled_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(1 + n MOD 500), 32, '0')), UNHEX(LPAD(HEX(n), 32, '0')), 'email',
            CASE WHEN n MOD 10 < 2 THEN 'x' END, CASE n MOD 10 WHEN 0 THEN 'waiting' WHEN 1 THEN 'claimed' ELSE 'accepted' END, n MOD 10,
            TIMESTAMPADD(MINUTE, n, '2026-01-01'), TIMESTAMPADD(MINUTE, n + 10, '2026-01-01'), TIMESTAMPADD(MINUTE, n, '2026-01-01'),
            CASE WHEN n MOD 10 = 1 THEN TIMESTAMPADD(MINUTE, n, '2026-01-01') END, CASE WHEN n MOD 10 > 1 THEN '2026-01-02' END FROM m;
    INSERT INTO iam_delivery_attempt (message_id, attempt, position, provider, reference, outcome, at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 32, '0')), 1, 0, 'sms', HEX(n), 'accepted', TIMESTAMPADD(MINUTE, n, '2026-01-01') FROM m;
    INSERT INTO iam_rate_limit (`key`, count, number, since, last_at, blocked_until, expires_before, expires_at)
        WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900)
        SELECT UNHEX(LPAD(HEX(n), 64, '0')), 1, 1, n, n, 0, n, n FROM m;
    ANALYZE TABLE iam_parent, iam_auth_log, iam_auth_session, iam_auth_tally, iam_delivery_attempt, iam_interrupted_request, iam_mfa_challenge, iam_mfa_method, iam_outbox, iam_rate_limit, iam_recovery_code, iam_repeatable_answer, iam_role, iam_step_up_proof, iam_ticket, iam_user_account, iam_user_role,
        iam_trusted_device";

/// Tables of a few rows, read as a whole at the start of a program.
const SMALL: [&str; 4] = ["iam_clock", "iam_key_canary", "iam_schema", "iam_schema_migrations"];

/// Parts of the statements that read a table as a whole: once, after a clock was put back, before the program that found out serves anybody.
const ONCE: [&str; 5] = [
    "WHERE ended_at IS NULL LIMIT ?",
    "(created_at > ? OR expires_at <= ?)",
    "WHERE created_at > ? OR expires_at <= ?",
    "WHERE last_at > ? LIMIT ?",
    "(next_attempt_at > ? OR claimed_at > ?)",
];

/// Every statement of the store.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("\"query\": \"")).unwrap();
        let sql = line.strip_suffix("\",").unwrap();
        statements.push(sql.replace("\\n", "\n").replace("\\\"", "\"").replace("\\t", " "));
    }
    statements
}

/// The statement with a value in each place, of the kind that the column before it is of: a server chooses by that.
fn with_values(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let before: Vec<&str> = filled
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .collect();
        let last = before.last().copied().unwrap_or_default();
        let micros = filled.contains("iam_rate_limit");
        let value = match last {
            "LIMIT" => "10",
            "id" if filled.contains("iam_auth_log") => "400",
            "key" if filled.contains("iam_parent") => "x'706172656e742d37'",
            "key"
            | "token_hash"
            | "previous_token_hash"
            | "old_token"
            | "hash"
            | "digest"
            | "coalesce_key" => "x'0000000000000000000000000000000000000000000000000000000000000007'",
            "username" | "name" => "x'757365722d37'",
            "verified_email" => "x'37406578616d706c652e636f6d'",
            "password_hash" => "x'61'",
            "status" | "state" => "'active'",
            "provider" | "reference" => "x'37'",
            "purpose" => "'first_administrator'",
            "kind" => "'email_otp'",
            _ if last == "id" || last.ends_with("_id") => "x'00000000000000000000000000000007'",
            _ if !micros && (last == "at" || last.ends_with("_at") || last.ends_with("_time")) => {
                "TIMESTAMP'2026-01-01 00:10:00'"
            }
            _ if micros => "20",
            _ => "1",
        };
        filled.push_str(value);
        filled.push_str(part);
    }
    filled
}

async fn explain(connection: &mut MySqlConnection, sql: &str) -> Vec<(String, String, String)> {
    let explain = AssertSqlSafe(format!("EXPLAIN FORMAT=TRADITIONAL {sql}"));
    let rows =
        sqlx::query(explain).fetch_all(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |row: &sqlx::mysql::MySqlRow, column: &str| {
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap();
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    };
    rows.iter().map(|row| (text(row, "table"), text(row, "type"), text(row, "key"))).collect()
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_index() {
    let statements = statements();
    assert!(statements.len() > 90, "{}", statements.len());
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
        let mut connection = database.connection().await;
        // Each server refuses a setting of the other's.
        let rows = if server == BOTH[0] { ROWS } else { ROWS.split_once(';').unwrap().1 };
        run_on(&mut connection, rows).await;
        let mut searched = 0;
        for part in ONCE {
            assert_eq!(statements.iter().filter(|sql| sql.contains(part)).count(), 1, "{part}");
        }
        for sql in statements.iter().filter(|sql| !ONCE.iter().any(|part| sql.contains(part))) {
            let is_insert = sql.trim_start().starts_with("INSERT");
            let plan = explain(&mut connection, &with_values(sql)).await;
            for (table, access, key) in &plan {
                // A table that was made for the statement, what was decided without looking, and what is only
                // inserted into.
                let is_base = !table.is_empty() && !table.starts_with('<') && !access.is_empty();
                let is_target = is_insert && access == "ALL" && key.is_empty();
                if !is_base || is_target || SMALL.iter().any(|small| sql.contains(small)) {
                    continue;
                }
                searched += 1;
                let by_index = ["const", "eq_ref", "ref", "range"].contains(&access.as_str());
                assert!(by_index && !key.is_empty(), "{server:?}: {sql}\n{plan:#?}");
            }
        }
        assert!(searched > 80, "{searched}");
    }
}

/// The plans that matter most, by name.
#[tokio::test]
async fn the_guards_read_and_upkeep_use_the_indexes_made_for_them() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
        let mut connection = database.connection().await;
        let rows = if server == BOTH[0] { ROWS } else { ROWS.split_once(';').unwrap().1 };
        run_on(&mut connection, rows).await;
        for (part, index) in [
            ("own.token_hash = ?", "iam_auth_session_token"),
            ("long_lived = ? AND last_seen_at < ?", "iam_auth_session_unseen"),
            ("SET s.token_hash = NULL", "iam_auth_session_secret"),
            ("DELETE s FROM", "iam_auth_session_unseen"),
            ("FROM iam_auth_log FORCE", "PRIMARY"),
            ("FROM iam_auth_tally FORCE INDEX (iam_auth_tally_at) WHERE at < ?", "iam_auth_tally_at"),
            ("FROM iam_rate_limit FORCE", "iam_rate_limit_expiry"),
            ("WHERE live_account_id = ?", "iam_auth_session_live"),
            ("WHERE a.verified_email = ?", "iam_user_account_verified_email"),
            // By the row itself, as who ends or renews a session finds it: who locks the token first meets them head on.
            ("token_used_at IS NULL) AND ended_at IS NULL FOR UPDATE", "PRIMARY"),
            ("SET token_hash = IF(?", "PRIMARY"),
            ("SET previous_token_hash = ?", "PRIMARY"),
            ("SET token_used_at = ?", "PRIMARY"),
            ("SET long_lived = 1", "PRIMARY"),
            ("ORDER BY CASE WHEN last_seen_at > login_time", "iam_auth_session_live"),
            ("state = 'waiting' AND next_attempt_at <= ? AND expires_at > ?", "iam_outbox_waiting"),
            ("state = 'claimed' AND claimed_at < ? AND expires_at > ?", "iam_outbox_claimed"),
            ("WHERE settled_at IS NULL AND expires_at <= ?", "iam_outbox_unsettled"),
            ("WHERE challenge_id = ? AND settled_at IS NULL", "iam_outbox_challenge"),
            ("DELETE o FROM", "iam_outbox_made"),
            ("DELETE c FROM", "iam_mfa_challenge_expiry"),
            ("DELETE m FROM", "iam_mfa_method_unconfirmed"),
            ("AND used_at IS NULL AND proved_at > ? ORDER BY", "iam_step_up_proof_session"),
            ("DELETE p FROM\n                    (SELECT id FROM iam_step_up_proof", "iam_step_up_proof_age"),
            ("SET replaced_at = ?", "iam_mfa_challenge_session"),
        ] {
            let statements = statements();
            let sql = statements.iter().find(|sql| sql.contains(part)).unwrap_or_else(|| panic!("{part}"));
            let plan = explain(&mut connection, &with_values(sql)).await;
            assert!(plan.iter().any(|(_, _, key)| key == index), "{server:?} {part} {index}: {plan:#?}");
        }
    }
}

/// What an administrator asks of the trail; nothing of it is read in another order.
#[tokio::test]
async fn the_trail_is_found_by_index() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
        let mut connection = database.connection().await;
        let rows = "INSERT INTO iam_auth_log (at, last_at, event, outcome, target_kind, target, actor_id, account_id, parent_id)
            SELECT '2026-01-01', '2026-01-01', CONCAT('event', n), 'ok', IF(n MOD 2, 'role', 'account'), CONCAT('target', n),
                UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(LPAD(HEX(n), 32, '0'))
            FROM (WITH RECURSIVE m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 900) SELECT n FROM m) m";
        run_on(&mut connection, rows).await;
        run_on(&mut connection, "ANALYZE TABLE iam_auth_log").await;
        let id = "x'00000000000000000000000000000007'";
        for (condition, index) in [
            (format!("account_id = {id}"), "iam_auth_log_account"),
            (format!("actor_id = {id}"), "iam_auth_log_actor"),
            ("event = 'event7'".to_owned(), "iam_auth_log_event"),
            (format!("parent_id = {id}"), "iam_auth_log_parent"),
            // Who was given a role.
            (
                "target_kind = 'role' AND target = 'target7' AND reason = 'granted x'".to_owned(),
                "iam_auth_log_target",
            ),
        ] {
            let sql = format!("SELECT * FROM iam_auth_log WHERE {condition} ORDER BY id DESC LIMIT 9");
            let plan = explain(&mut connection, &sql).await;
            assert!(plan.iter().all(|(_, _, key)| key == index), "{server:?} {condition}: {plan:#?}");
        }
    }
}
