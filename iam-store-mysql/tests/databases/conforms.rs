//! The store does what the ports ask of every store, on both servers and under both isolation levels.

use std::sync::Arc;

use crate::common::{Database, Server};
use iam_store_mysql::MySqlStore;
use iam_store_testkit::Handles;

/// As the store sets up its own sessions.
async fn connected(server: Server) -> Option<(Database, [MySqlStore; 2])> {
    let database = Database::create(server).await?;
    let one = MySqlStore::connect(&database.url()).await.unwrap();
    one.migrate().await.unwrap();
    let two = MySqlStore::connect(&database.url()).await.unwrap();
    Some((database, [one, two]))
}

/// On pools of a host's.
async fn pooled(server: Server, session: &'static str) -> Option<(Database, [MySqlStore; 2])> {
    let database = Database::create(server).await?;
    let one = MySqlStore::from_pool(database.pool(10, session).await);
    one.migrate().await.unwrap();
    let two = MySqlStore::from_pool(database.pool(10, session).await);
    Some((database, [one, two]))
}

const REPEATABLE_READ: &str =
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET SESSION innodb_lock_wait_timeout = 2";

macro_rules! conforms {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;

            async fn alone() -> Option<(MySqlStore, Database)> {
                let (database, [store, _]) = $make.await?;
                Some((store, database))
            }

            async fn twice() -> Option<(Handles, Database)> {
                let (database, [one, two]) = $make.await?;
                Some(([Arc::new(one), Arc::new(two)], database))
            }

            iam_store_testkit::conformance!(alone, twice);
        }
    };
}

conforms!(mysql, connected(Server::MySql));
conforms!(mysql_repeatable_read, pooled(Server::MySql, REPEATABLE_READ));
conforms!(mariadb, connected(Server::MariaDb));
conforms!(mariadb_repeatable_read, pooled(Server::MariaDb, REPEATABLE_READ));
