//! What the store asks a server for, as the server counts it.

use iam_core::ports::{Store, TokenHash};
use iam_store_mysql::MySqlStore;

use crate::common::{Database, Server};
use crate::rows::sign_in;

/// How often a user asked for each kind of thing. (`MariaDB` counts nothing unless it is told to at its start.)
const COUNTS: &str = "SELECT CAST(REPLACE(event_name, 'statement/com/', '') AS CHAR), CAST(SUM(count_star) AS SIGNED)
    FROM performance_schema.events_statements_summary_by_account_by_event_name
    WHERE user = ? AND event_name LIKE 'statement/com/%' AND count_star > 0 GROUP BY event_name ORDER BY event_name";

#[tokio::test]
async fn a_guards_read_is_one_statement_and_nothing_else() {
    let Some(database) = Database::create(Server::MySql).await else { return };
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.migrate().await.unwrap();
    sign_in(&store).await;
    let user = database.name.replace("iam_test_", "c_");
    let grant = format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 'pw'; GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {user}@'%'",
        database.name
    );
    database.run(&grant).await;
    let store = MySqlStore::connect(&database.url_of(&user, "pw")).await.unwrap();
    let token = TokenHash::from_bytes([1; 32]);
    let mut admin = database.connection().await;
    let mut counts = async || -> Vec<(String, i64)> {
        sqlx::query_as(COUNTS).bind(&user).fetch_all(&mut admin).await.unwrap()
    };
    // The first one prepares it.
    assert!(store.session(&token).await.unwrap().is_some());
    let before = counts().await;
    for _ in 0..20 {
        assert!(store.session(&token).await.unwrap().is_some());
    }
    let after = counts().await;
    let counted = |counts: &[(String, i64)], name: &str| -> i64 {
        counts.iter().filter(|(counted, _)| counted == name).map(|(_, count)| count).sum()
    };
    for (name, expected) in [("Execute", 20), ("Ping", 0), ("Prepare", 0), ("Query", 0)] {
        assert_eq!(counted(&after, name) - counted(&before, name), expected, "{name}: {before:?} {after:?}");
    }
    store.close().await.unwrap();
    database.run(&format!("DROP USER {user}@'%'")).await;
}
