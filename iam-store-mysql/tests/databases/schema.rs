//! The schema as a whole: what the file in `db/` shows, and what holds for every table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use iam_store_mysql::MySqlStore;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use crate::common::{BOTH, Database, Server};

const HEAD: &str = "\
-- The family's tables on MySQL and MariaDB, as the migrations of iam-store-mysql make them. Made by a program: don't
-- edit. For reading, and for who must create tables by hand: `MySqlStore::migrate` makes the same, and a program asks
-- for the record that it keeps in `iam_schema_migrations`.
";

async fn tables(connection: &mut MySqlConnection) -> BTreeSet<String> {
    let rows = sqlx::query("SHOW TABLES").fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

/// Every table after those that it refers to.
async fn in_order(connection: &mut MySqlConnection) -> Vec<String> {
    let mut left = tables(connection).await;
    let references: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(TABLE_NAME AS CHAR), CAST(REFERENCED_TABLE_NAME AS CHAR) FROM information_schema.KEY_COLUMN_USAGE
         WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let is_free =
            |table: &String| !references.iter().any(|(from, to)| from == table && left.contains(to));
        let free: Vec<String> = left.iter().filter(|table| is_free(table)).cloned().collect();
        assert!(!free.is_empty(), "tables refer to each other in a circle: {left:?}");
        for table in free {
            left.remove(&table);
            ordered.push(table);
        }
    }
    ordered
}

async fn dump(connection: &mut MySqlConnection) -> String {
    let mut text = HEAD.to_owned();
    for table in in_order(connection).await {
        let sql = AssertSqlSafe(format!("SHOW CREATE TABLE {table}"));
        let row = sqlx::query(sql).fetch_one(&mut *connection).await.unwrap();
        let create: String = row.get(1);
        // How far a counter has come is no part of the schema.
        let create: Vec<&str> =
            create.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect();
        // Some say again what holds for the whole table.
        let create =
            create.join(" ").replace(" CHARACTER SET utf8mb4 COLLATE", " COLLATE").replace("_utf8mb4'", "'");
        write!(text, "\n{create};\n").unwrap();
    }
    let find = sqlx::query_scalar("SELECT min_program FROM iam_schema");
    let min_program: i64 = find.fetch_one(&mut *connection).await.unwrap();
    write!(text, "\nINSERT INTO `iam_schema` (`id`, `min_program`) VALUES (1, {min_program});\n").unwrap();
    text
}

async fn migrated(database: &Database) -> MySqlConnection {
    MySqlStore::connect(&database.url()).await.unwrap().migrate().await.unwrap();
    database.connection().await
}

/// With `IAM_WRITE_SCHEMA` set to 1 it writes the file instead.
#[tokio::test]
async fn the_schema_file_is_what_the_migrations_make() {
    let Some(database) = Database::create(Server::MySql).await else { return };
    let made = dump(&mut migrated(&database).await).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../db/iam_schema.sql");
    if std::env::var("IAM_WRITE_SCHEMA").is_ok_and(|write| write == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == made,
        "db/iam_schema.sql is not what the migrations make; run this test with IAM_WRITE_SCHEMA=1\n{made}"
    );
}

/// So that nobody who loads it is surprised.
#[tokio::test]
async fn both_servers_take_the_schema_file_and_make_the_same_of_it() {
    for server in BOTH {
        let Some(by_file) = Database::create(server).await else { continue };
        let Some(by_migrations) = Database::create(server).await else { continue };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../db/iam_schema.sql");
        by_file.run(&std::fs::read_to_string(file).unwrap()).await;
        // In which order a server shows the conditions is its own affair.
        let lines = |text: String| -> BTreeSet<String> {
            text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
        };
        let made = lines(dump(&mut migrated(&by_migrations).await).await);
        let read = lines(dump(&mut by_file.connection().await).await);
        let differ: Vec<_> = made.symmetric_difference(&read).collect();
        assert!(differ.is_empty(), "{server:?}: {differ:#?}");
    }
}

#[tokio::test]
async fn every_table_is_as_the_rules_ask() {
    for server in BOTH {
        let Some(database) = Database::create(server).await else { continue };
        let mut connection = migrated(&database).await;
        let rows = sqlx::query(
            "SELECT CAST(TABLE_NAME AS CHAR), CAST(ENGINE AS CHAR), CAST(TABLE_COLLATION AS CHAR),
                (SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA
                    AND c.TABLE_NAME = t.TABLE_NAME AND c.CONSTRAINT_TYPE = 'PRIMARY KEY')
             FROM information_schema.TABLES t WHERE TABLE_SCHEMA = DATABASE()",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert!(rows.len() > 9);
        for row in rows {
            let (table, engine, collation, keys): (String, String, String, i64) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            assert!(table.starts_with("iam_"), "{table}");
            assert_eq!((engine.as_str(), collation.as_str(), keys), ("InnoDB", "utf8mb4_bin", 1), "{table}");
        }
        let rows = sqlx::query(
            "SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), CAST(COLUMN_TYPE AS CHAR),
                CAST(COLLATION_NAME AS CHAR)
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let mut kinds = BTreeMap::new();
        for row in rows {
            let (table, column, kind, collation): (String, String, String, Option<String>) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let place = format!("{table}.{column}");
            assert!(collation.is_none_or(|collation| collation == "utf8mb4_bin"), "{place}");
            if kind.starts_with("datetime") {
                assert_eq!(kind, "datetime(6)", "{place}");
            }
            if column.ends_with("_id") && !["key_id", "request_id", "external_id"].contains(&column.as_str())
            {
                assert_eq!(kind, "binary(16)", "{place}");
            }
            kinds.insert(place, kind);
        }
        for place in [
            "iam_user_account.username",
            "iam_user_account.email",
            "iam_user_account.external_id",
            "iam_user_account.password_hash",
            "iam_role.name",
            "iam_parent.key",
            "iam_key_canary.sealed",
            "iam_mfa_method.name",
            "iam_mfa_method.secret",
            "iam_mfa_challenge.kept",
            "iam_ticket.payload",
            "iam_outbox.sealed",
        ] {
            assert!(kinds[place].starts_with("varbinary"), "{place} is {}", kinds[place]);
        }
        for place in [
            "iam_auth_session.token_hash",
            "iam_recovery_code.digest",
            "iam_mfa_challenge.approval",
            "iam_step_up_proof.approval",
            "iam_trusted_device.token_hash",
        ] {
            assert_eq!(kinds[place], "binary(32)", "{place}");
        }
    }
}
