//! Databases for tests: each test has its own, which is gone after it.

use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, MySqlPool};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    MySql,
    MariaDb,
}

pub(crate) const BOTH: [Server; 2] = [Server::MySql, Server::MariaDb];

impl Server {
    /// An administrator's URL without a database, by `IAM_TEST_MYSQL_URL` and `IAM_TEST_MARIADB_URL`. Without it the
    /// test is skipped, unless `IAM_TEST_REQUIRE_DATABASES` says that it must not be.
    pub(crate) fn url(self) -> Option<String> {
        let name = match self {
            Self::MySql => "IAM_TEST_MYSQL_URL",
            Self::MariaDb => "IAM_TEST_MARIADB_URL",
        };
        needed(name)
    }

    /// What the program that starts servers knows it by.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// Whether that program can start one; what it can't is named in `cargo xtask test`'s summary, and is a failure where
    /// `IAM_TEST_REQUIRE_DATABASES` says so.
    pub(crate) fn can_be_started(self) -> bool {
        let kinds = set("IAM_TEST_OWN_SERVER_KINDS");
        let can = kinds.is_none_or(|kinds| kinds.split_whitespace().any(|kind| kind == self.word()));
        assert!(can || set("IAM_TEST_REQUIRE_DATABASES").is_none(), "no {} can be started", self.word());
        can
    }
}

/// A variable's value. An empty one means the same as none.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable that a test can't do without. Any value of `IAM_TEST_REQUIRE_DATABASES` makes a failure of
/// its lack.
pub(crate) fn needed(name: &str) -> Option<String> {
    let value = set(name);
    assert!(value.is_some() || set("IAM_TEST_REQUIRE_DATABASES").is_none(), "{name} is not set");
    value
}

/// An empty database.
#[derive(Debug)]
pub(crate) struct Database {
    admin: String,
    pub(crate) name: String,
}

impl Database {
    pub(crate) async fn create(server: Server) -> Option<Self> {
        Some(Self::of(&server.url()?).await)
    }

    pub(crate) async fn of(admin: &str) -> Self {
        let name = format!("iam_test_{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut connection = MySqlConnection::connect(admin).await.unwrap();
        // Other than the family's tables ask for, so that nothing rests on it.
        run_on(&mut connection, &format!("CREATE DATABASE {name} DEFAULT CHARACTER SET latin1")).await;
        connection.close().await.unwrap();
        Self { admin: admin.to_owned(), name }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.admin.trim_end_matches('/'), self.name)
    }

    /// The URL of another user of this database.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let host = self.admin.rsplit_once('@').unwrap().1.trim_end_matches('/');
        format!("mysql://{user}:{password}@{host}/{}", self.name)
    }

    /// A pool of the host's own, with its own settings for each session.
    pub(crate) async fn pool(&self, connections: u32, session: &'static str) -> MySqlPool {
        MySqlPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(session).await.map(drop) })
            })
            .connect_with(MySqlConnectOptions::from_str(&self.url()).unwrap())
            .await
            .unwrap()
    }

    /// Runs something as the administrator.
    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = MySqlConnection::connect(&self.url()).await.unwrap();
        run_on(&mut connection, sql).await;
        connection.close().await.unwrap();
    }

    pub(crate) async fn connection(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url()).await.unwrap()
    }
}

pub(crate) async fn run_on(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // In a thread, since dropping can't wait; and ended by force, since the test's own runtime stands still
        // meanwhile.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(20), remove(&admin, &name)).await
            })
        });
        match removing.join() {
            Ok(Ok(Ok(()))) => {}
            failed => eprintln!("{} was not removed: {failed:?}", self.name),
        }
    }
}

async fn remove(admin: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect(admin).await?;
    for other in others_on(&mut connection, name).await? {
        // It may have ended by itself.
        let _ = connection.execute(AssertSqlSafe(format!("KILL {other}"))).await;
    }
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await?;
    connection.close().await
}

/// The other connections to a database. A statement with bytes in it, anybody's, can keep MySQL from showing the list; a later look finds it
/// gone.
pub(crate) async fn others_on(connection: &mut MySqlConnection, name: &str) -> Result<Vec<u64>, sqlx::Error> {
    let mut found = others_now(connection, name).await;
    for _ in 0..20 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = others_now(connection, name).await;
    }
    found
}

async fn others_now(connection: &mut MySqlConnection, name: &str) -> Result<Vec<u64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()",
    )
    .bind(name)
    .fetch_all(connection)
    .await
}
