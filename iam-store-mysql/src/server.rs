//! What a server must be for this store: found out at the start, and refused with what to do about it.

use iam_core::StoreError;
use sqlx::mysql::MySqlRow;
use sqlx::{Executor, Row};

use crate::connection::{Connections, Statement};
use crate::error::{failed, is_denied, refused};

/// What a session of this store's own pool is set to. Statements that wait for a lock give up before the store does.
pub(crate) const SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
        sql_safe_updates = 0, innodb_lock_wait_timeout = 2, lock_wait_timeout = 2, autocommit = 1";

/// The oldest servers that this store is tested with.
const OLDEST_MYSQL: (u32, u32) = (8, 4);
const OLDEST_MARIADB: (u32, u32) = (10, 11);

/// What the store asks of each table; the rest of what a statement needs is no privilege.
const PRIVILEGES: [&str; 78] = [
    "EXPLAIN SELECT id FROM iam_parent",
    "EXPLAIN INSERT INTO iam_parent (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_parent SET id = id WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_user_account",
    "EXPLAIN INSERT INTO iam_user_account (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_user_account SET id = id WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_role",
    "EXPLAIN INSERT INTO iam_role (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_role SET id = id WHERE 1 = 0",
    "EXPLAIN SELECT role_id FROM iam_user_role",
    "EXPLAIN INSERT INTO iam_user_role (role_id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_user_role SET role_id = role_id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_user_role WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_auth_session",
    "EXPLAIN INSERT INTO iam_auth_session (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_auth_session SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_auth_session WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_auth_log",
    "EXPLAIN INSERT INTO iam_auth_log (id) VALUES (NULL)",
    "EXPLAIN SELECT count FROM iam_auth_tally",
    "EXPLAIN INSERT INTO iam_auth_tally (count) VALUES (NULL)",
    "EXPLAIN UPDATE iam_auth_tally SET count = count WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_auth_tally WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_ticket",
    "EXPLAIN INSERT INTO iam_ticket (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_ticket SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_ticket WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_mfa_method",
    "EXPLAIN INSERT INTO iam_mfa_method (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_mfa_method SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_mfa_method WHERE 1 = 0",
    "EXPLAIN SELECT digest FROM iam_recovery_code",
    "EXPLAIN INSERT INTO iam_recovery_code (digest) VALUES (NULL)",
    "EXPLAIN UPDATE iam_recovery_code SET digest = digest WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_recovery_code WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_mfa_challenge",
    "EXPLAIN INSERT INTO iam_mfa_challenge (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_mfa_challenge SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_mfa_challenge WHERE 1 = 0",
    "EXPLAIN SELECT attempt FROM iam_delivery_attempt",
    "EXPLAIN INSERT INTO iam_delivery_attempt (attempt) VALUES (NULL)",
    "EXPLAIN UPDATE iam_delivery_attempt SET attempt = attempt WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_outbox",
    "EXPLAIN INSERT INTO iam_outbox (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_outbox SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_outbox WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_step_up_proof",
    "EXPLAIN INSERT INTO iam_step_up_proof (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_step_up_proof SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_step_up_proof WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_interrupted_request",
    "EXPLAIN INSERT INTO iam_interrupted_request (id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_interrupted_request SET id = id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_interrupted_request WHERE 1 = 0",
    "EXPLAIN SELECT at FROM iam_repeatable_answer",
    "EXPLAIN INSERT INTO iam_repeatable_answer (session_id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_repeatable_answer SET at = at WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_repeatable_answer WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_trusted_device",
    "EXPLAIN INSERT INTO iam_trusted_device (id) VALUES (NULL)",
    "EXPLAIN DELETE FROM iam_trusted_device WHERE 1 = 0",
    "EXPLAIN SELECT count FROM iam_rate_limit",
    "EXPLAIN INSERT INTO iam_rate_limit (count) VALUES (NULL)",
    "EXPLAIN UPDATE iam_rate_limit SET count = count WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_rate_limit WHERE 1 = 0",
    "EXPLAIN SELECT seen_at FROM iam_clock",
    "EXPLAIN INSERT INTO iam_clock (id, seen_at) VALUES (NULL, NULL)",
    "EXPLAIN UPDATE iam_clock SET seen_at = seen_at WHERE 1 = 0",
    "EXPLAIN SELECT key_id FROM iam_key_canary",
    "EXPLAIN INSERT INTO iam_key_canary (key_id) VALUES (NULL)",
    "EXPLAIN UPDATE iam_key_canary SET key_id = key_id WHERE 1 = 0",
    "EXPLAIN DELETE FROM iam_key_canary WHERE 1 = 0",
    "EXPLAIN SELECT id FROM iam_schema",
    "EXPLAIN SELECT version FROM iam_schema_migrations",
    // What ON DUPLICATE KEY UPDATE and the upkeep ask for once more, as they are written.
    "EXPLAIN INSERT INTO iam_key_canary (key_id) VALUES (NULL) ON DUPLICATE KEY UPDATE key_id = key_id",
    "EXPLAIN INSERT INTO iam_rate_limit (count) VALUES (NULL) ON DUPLICATE KEY UPDATE count = count",
    "EXPLAIN INSERT INTO iam_auth_tally (count) VALUES (NULL) ON DUPLICATE KEY UPDATE count = count",
    "EXPLAIN SELECT id FROM iam_role FOR UPDATE",
];

struct Settings {
    version: String,
    session_mode: String,
    global_mode: String,
    charsets: [String; 2],
    autocommit: i64,
    safe_updates: i64,
    isolation: String,
}

/// Refuses a server or a session that this store can't work with. The privileges are looked at only when there are
/// tables.
pub(crate) async fn check_settings(connections: &Connections) -> Result<(), StoreError> {
    let settings = connections.read(settings).await?;
    check_version(&settings.version)?;
    check_mode("the server's sql_mode", &settings.global_mode)?;
    check_mode("this session's sql_mode", &settings.session_mode)?;
    if settings.charsets.iter().any(|charset| charset != "utf8mb4") {
        return Err(refused("a connection must speak utf8mb4: `SET NAMES utf8mb4`"));
    }
    if settings.autocommit != 1 {
        return Err(refused("a connection of the pool must have autocommit on"));
    }
    if settings.safe_updates != 0 {
        return Err(refused(
            "a connection of the pool must not be kept from statements that look through a table: `SET SESSION sql_safe_updates = 0`",
        ));
    }
    if settings.isolation == "READ-UNCOMMITTED" {
        return Err(refused(
            "a connection of the pool must not see what was not committed: set its transaction isolation to READ COMMITTED",
        ));
    }
    Ok(())
}

pub(crate) async fn check_privileges(connections: &Connections) -> Result<(), StoreError> {
    for sql in PRIVILEGES {
        match connections.try_read(|| explain(sql)).await {
            Err(error) if is_denied(&error) => return Err(denied(&error)),
            // Anything else is no matter of privileges: nothing is executed here.
            Err(error) if error.as_database_error().is_none() => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The tables as they must be, though somebody else may have changed them: every engine but `InnoDB` forgets what a unit of work
/// promises, and identifiers and secrets in a character set would no longer compare byte by byte.
pub(crate) async fn check_tables(connections: &Connections) -> Result<(), StoreError> {
    for (sql, what) in [
        (
            "SELECT table_name FROM information_schema.tables
             WHERE table_schema = DATABASE() AND table_name LIKE 'iam\\_%' AND engine <> 'InnoDB' LIMIT 1",
            "must be on InnoDB: ALTER TABLE .. ENGINE = InnoDB",
        ),
        (
            "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns
             WHERE table_schema = DATABASE() AND data_type NOT IN ('binary', 'varbinary') AND (
                (table_name = 'iam_parent' AND column_name IN ('id', 'key'))
                OR (table_name = 'iam_user_account' AND column_name IN
                    ('id', 'username', 'email', 'verified_email', 'phone_number', 'external_id', 'password_hash', 'parent_id'))
                OR (table_name = 'iam_role' AND column_name IN ('id', 'name'))
                OR (table_name = 'iam_user_role' AND column_name IN ('account_id', 'role_id', 'granted_by'))
                OR (table_name = 'iam_auth_session' AND column_name IN ('id', 'account_id', 'token_hash'))
                OR (table_name = 'iam_ticket' AND column_name IN ('id', 'token_hash', 'account_id', 'parent_id', 'payload'))
                OR (table_name = 'iam_mfa_method' AND column_name IN ('id', 'account_id', 'name', 'secret', 'lookup'))
                OR (table_name = 'iam_recovery_code' AND column_name IN ('account_id', 'digest'))
                OR (table_name = 'iam_mfa_challenge' AND column_name IN
                    ('id', 'account_id', 'session_id', 'method_id', 'kept', 'approval'))
                OR (table_name = 'iam_step_up_proof' AND column_name IN
                    ('id', 'session_id', 'account_id', 'parent_id', 'approval'))
                OR (table_name = 'iam_interrupted_request' AND column_name IN ('id', 'account_id', 'session_id'))
                OR (table_name = 'iam_repeatable_answer' AND column_name IN ('session_id', 'old_token', 'request', 'token_hash'))
                OR (table_name = 'iam_trusted_device' AND column_name IN ('id', 'account_id', 'token_hash'))
                OR (table_name = 'iam_outbox' AND column_name IN ('id', 'account_id', 'challenge_id', 'sealed'))
                OR (table_name = 'iam_delivery_attempt' AND column_name IN ('message_id', 'provider', 'reference'))
                OR (table_name = 'iam_rate_limit' AND column_name = 'key')
                OR (table_name IN ('iam_auth_log', 'iam_auth_tally') AND column_name IN
                    ('actor_id', 'account_id', 'parent_id', 'session_id', 'coalesce_key'))
                OR (table_name = 'iam_key_canary' AND column_name = 'sealed')) LIMIT 1",
            "must hold bytes (BINARY or VARBINARY), which no collation compares; db/iam_schema.sql says how it was made",
        ),
        (
            // Both servers have further ones that end so, which serve as well.
            "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns
             WHERE table_schema = DATABASE() AND COALESCE(collation_name, '') NOT LIKE 'utf8mb4%\\_bin' AND (
                (table_name IN ('iam_parent', 'iam_user_account') AND column_name = 'status')
                OR (table_name = 'iam_auth_session' AND column_name IN ('state', 'end_reason'))
                OR (table_name = 'iam_ticket' AND column_name = 'purpose')
                OR (table_name = 'iam_user_role' AND column_name = 'source')
                OR (table_name = 'iam_mfa_method' AND column_name = 'kind')
                OR (table_name IN ('iam_mfa_challenge', 'iam_step_up_proof') AND column_name IN ('purpose', 'kind'))
                OR (table_name = 'iam_outbox' AND column_name IN ('channel', 'state'))
                OR (table_name = 'iam_delivery_attempt' AND column_name = 'outcome')
                OR (table_name IN ('iam_auth_log', 'iam_auth_tally') AND column_name IN ('event', 'outcome', 'target_kind', 'target'))) LIMIT 1",
            "must be compared letter by letter: ALTER TABLE .. MODIFY .. CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, and \
             otherwise as db/iam_schema.sql has it",
        ),
    ] {
        if let Some(found) = connections.read(|| first_text(sql)).await? {
            return Err(refused(format!("{found} {what}")));
        }
    }
    Ok(())
}

fn first_text(sql: &'static str) -> Statement<Option<String>> {
    Box::new(move |connection| {
        Box::pin(async move {
            let row: Option<MySqlRow> = connection.fetch_optional(sql).await?;
            // MySQL gives names of its dictionary as bytes.
            row.map(|row| row.try_get::<Vec<u8>, _>(0))
                .transpose()
                .map(|name| name.map(|name| String::from_utf8_lossy(&name).into_owned()))
        })
    })
}

/// A privilege that is missing, and what to do.
pub(crate) fn denied(error: &sqlx::Error) -> StoreError {
    refused(format!(
        "this database user may not do all that the store does ({error}): GRANT SELECT, INSERT, UPDATE, DELETE on the iam \
         tables to it. More is needed only by who migrates"
    ))
}

fn explain(sql: &'static str) -> Statement<()> {
    Box::new(move |connection| Box::pin(async move { connection.fetch_all(sql).await.map(drop) }))
}

fn settings() -> Statement<Settings> {
    const SQL: &str =
        "SELECT VERSION(), @@SESSION.sql_mode, @@GLOBAL.sql_mode, @@SESSION.character_set_connection,
        @@SESSION.character_set_results, @@SESSION.autocommit, @@SESSION.sql_safe_updates";
    // Its name differs between the servers.
    const ISOLATION: &str =
        "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')";
    Box::new(|connection| {
        Box::pin(async move {
            let row: MySqlRow = sqlx::query(SQL).fetch_one(&mut *connection).await?;
            let isolation = sqlx::query(ISOLATION).fetch_one(&mut *connection).await?;
            Ok(Settings {
                version: row.try_get(0)?,
                session_mode: row.try_get(1)?,
                global_mode: row.try_get(2)?,
                charsets: [row.try_get(3)?, row.try_get(4)?],
                autocommit: row.try_get(5)?,
                safe_updates: row.try_get(6)?,
                isolation: isolation.try_get(1)?,
            })
        })
    })
}

fn check_mode(whose: &str, mode: &str) -> Result<(), StoreError> {
    let has = |name: &str| mode.split(',').any(|part| part.eq_ignore_ascii_case(name));
    if !has("STRICT_TRANS_TABLES") && !has("STRICT_ALL_TABLES") {
        return Err(refused(format!(
            "{whose} is not strict, so it would cut off what does not fit: add STRICT_TRANS_TABLES to it"
        )));
    }
    if let Some(name) =
        ["SIMULTANEOUS_ASSIGNMENT", "ANSI_QUOTES", "ORACLE"].into_iter().find(|name| has(name))
    {
        return Err(refused(format!("{whose} changes what statements mean: take {name} out of it")));
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), StoreError> {
    let (name, oldest, found) = if version.contains("MariaDB") {
        // Some say 5.5.5 first, for clients that knew only MySQL.
        ("MariaDB", OLDEST_MARIADB, numbers(version.strip_prefix("5.5.5-").unwrap_or(version)))
    } else {
        ("MySQL", OLDEST_MYSQL, numbers(version))
    };
    if found.is_some_and(|found| found >= oldest) {
        return Ok(());
    }
    Err(refused(format!("{name} {version} is too old: {name} {}.{} or newer is needed", oldest.0, oldest.1)))
}

/// The first two numbers.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in [
            "8.4.0",
            "8.4.6-commercial",
            "9.7.4-2",
            "10.11.0-MariaDB",
            "10.11.19-MariaDB-0+deb12u1",
            "5.5.5-11.4.2-MariaDB-log",
            "12.0.2-MariaDB",
        ] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in [
            "8.0.36",
            "8.3.0",
            "5.7.44-log",
            "8.0.11-TiDB-v7.5.0",
            "10.6.18-MariaDB",
            "5.5.5-10.5.1-MariaDB",
            "",
        ] {
            let error = check_version(bad).unwrap_err();
            assert!(format!("{error:?}").contains("too old"), "{bad}: {error:?}");
        }
    }

    #[test]
    fn modes() {
        for good in ["STRICT_TRANS_TABLES", "ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES,NO_ZERO_DATE"] {
            assert!(check_mode("it", good).is_ok(), "{good}");
        }
        for bad in ["", "NO_ZERO_DATE", "STRICT_ALL_TABLES,SIMULTANEOUS_ASSIGNMENT"] {
            assert!(check_mode("it", bad).is_err(), "{bad}");
        }
    }
}
