//! Every statement that `.sqlx` knows is found by an index: SQLite is asked how it would go about it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at once")]

use std::path::Path;

use iam_store_sqlite::SqliteStore;
use iam_store_sqlite::sqlx::{AssertSqlSafe, Row as _, SqlitePool, query};

/// Statements that read a whole table, or a whole partial index, each by a part of its text, and why they may.
const WHOLE_TABLES: &[(&str, &str)] = &[
    ("SELECT key_id AS", "a row for each key that was ever used"),
    ("UPDATE iam_clock", "one row"),
    (
        "FROM iam_ticket WHERE used_at IS NULL AND (created_at >",
        "the clock was put back: once in the life of a store",
    ),
    ("FROM iam_trusted_device WHERE created_at >", "likewise"),
    ("FROM iam_rate_limit WHERE last_at >", "likewise"),
    ("AND (next_attempt_at >", "likewise, by the index of what waits"),
    ("FROM iam_auth_session WHERE ended_at IS NULL LIMIT", "all that live end, by their index"),
    ("WHERE settled_at IS NULL ORDER BY expires_at LIMIT", "all that wait go, by their index"),
];

/// Statements that must use an index though another plan would scan nothing either.
const BY_INDEX: &[(&str, &[&str])] = &[
    ("UPDATE iam_outbox SET state = 'claimed'", &["iam_outbox_waiting", "iam_outbox_claimed"]),
    ("UPDATE iam_outbox\n    SET state = CASE", &["iam_outbox_unsettled"]),
    ("SELECT id, account_id FROM iam_auth_session", &["iam_auth_session_unseen"]),
    ("UPDATE iam_auth_session SET token_hash = NULL", &["iam_auth_session_secret"]),
    ("DELETE FROM iam_auth_session", &["iam_auth_session_ended"]),
    ("INSERT INTO iam_repeatable_answer", &["sqlite_autoindex_iam_repeatable_answer_2"]),
];

fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    files
        .map(|text| {
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["query"].as_str().unwrap().to_owned()
        })
        .collect()
}

async fn plan(pool: &SqlitePool, sql: &str) -> Vec<String> {
    // What was not bound is NULL, and makes no difference to the plan.
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = query(explain).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    SqliteStore::open(&file).await.unwrap().migrate().await.unwrap();
    let pool = SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let statements = statements();
    assert!(statements.len() > 50, "the statements of the store: {}", statements.len());
    let mut faults = Vec::new();
    for sql in &statements {
        let plan = plan(&pool, sql).await;
        let whole = plan.iter().any(|step| step.starts_with("SCAN iam_") || step.starts_with("SCAN sqlite_"));
        let allowed = WHOLE_TABLES.iter().any(|(part, _)| sql.contains(part));
        if whole != allowed {
            faults.push(format!("{sql}\n{plan:#?}"));
        }
    }
    for (begin, indexes) in BY_INDEX {
        let found: Vec<_> = statements.iter().filter(|sql| sql.trim_start().starts_with(begin)).collect();
        assert!(!found.is_empty(), "no statement begins with: {begin}");
        for sql in found {
            let plan = plan(&pool, sql).await;
            if !indexes.iter().all(|index| plan.iter().any(|step| step.contains(index))) {
                faults.push(format!("{sql}\n{plan:#?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// The guard's read, which every request makes.
#[tokio::test]
async fn the_guards_read_is_seven_searches_without_sorting() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("iam.db");
    SqliteStore::open(&file).await.unwrap().migrate().await.unwrap();
    let pool = SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let all = statements();
    let read: Vec<_> = all.iter().filter(|sql| sql.contains("previous_token_hash = ?1))")).collect();
    assert_eq!(read.len(), 1);
    let plan = plan(&pool, read[0]).await;
    let (sub, steps): (Vec<_>, Vec<_>) = plan.iter().partition(|step| step.starts_with("SCALAR SUBQUERY "));
    assert_eq!(sub.len(), 2, "one for each of a session's tokens: {plan:#?}");
    assert_eq!(steps.len(), 7, "a step for each of them and for each table, and no sorting: {plan:#?}");
    assert!(steps.iter().all(|step| step.starts_with("SEARCH ")), "{plan:#?}");
}
