//! A database of a scenario's own, gone with it.

use std::env;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use iam_core::ports::Store;
use iam_store_mysql::MySqlStore;
use iam_store_sqlite::SqliteStore;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, MySqlPool, Sqlite, SqlitePool};
use tempfile::TempDir;

use crate::{Faults, FaultyStore};

/// The stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `iam-store-sqlite`.
    Sqlite,
    /// `iam-store-mysql` on MySQL.
    MySql,
    /// `iam-store-mysql` on `MariaDB`.
    MariaDb,
}

impl Backend {
    /// Whether there is one to test with. `cargo xtask test` starts what it can get and says what it could not;
    /// with `IAM_TEST_REQUIRE_DATABASES` (as `--all` sets it) a missing one is a failure.
    pub fn is_there(self) -> bool {
        let Some(variable) = self.variable() else { return true };
        // An empty value is none.
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let there = is_set(variable);
        assert!(there || !is_set("IAM_TEST_REQUIRE_DATABASES"), "{variable} is not set");
        there
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::MySql => Some("IAM_TEST_MYSQL_URL"),
            Self::MariaDb => Some("IAM_TEST_MARIADB_URL"),
        }
    }
}

/// A database that nobody else uses.
#[derive(Debug)]
pub struct Database(Place);

#[derive(Debug)]
enum Place {
    File(TempDir),
    Schema { server: String, name: String, by_way_of: OnceLock<SocketAddr>, kept: bool },
}

/// A connection to it behind the store's back.
#[derive(Clone, Debug)]
pub enum Raw {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    MySql(MySqlPool),
}

/// A store on a database, opened: as it is, and with faults before it.
#[derive(Debug)]
pub struct Opened {
    /// As it is.
    pub store: Arc<dyn Store>,
    /// With faults before it.
    pub faulty: FaultyStore,
    /// Neither.
    pub raw: Raw,
}

impl Database {
    /// Makes one, empty.
    pub async fn create(backend: Backend) -> Self {
        let Some(variable) = backend.variable() else {
            return Self(Place::File(tempfile::tempdir().unwrap()));
        };
        Self::make(env::var(variable).unwrap(), false).await
    }

    /// Makes one, empty, on a server that is thrown away: it is not dropped.
    pub async fn on(server: &str) -> Self {
        Self::make(server.to_owned(), true).await
    }

    async fn make(server: String, kept: bool) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("iam_scenario_{}_{number}", std::process::id());
        run(&server, format!("CREATE DATABASE {name}")).await;
        Self(Place::Schema { server, name, by_way_of: OnceLock::new(), kept })
    }

    /// The copy that another server has, which is not dropped either.
    #[must_use]
    pub fn at(&self, server: &str) -> Self {
        let Place::Schema { name, .. } = &self.0 else { panic!("a file is on no server") };
        let (server, name) = (server.to_owned(), name.clone());
        Self(Place::Schema { server, name, by_way_of: OnceLock::new(), kept: true })
    }

    /// The URL that a service is set up with.
    pub fn url(&self) -> String {
        match &self.0 {
            Place::File(folder) => format!("sqlite://{}", folder.path().join("iam.db").display()),
            Place::Schema { server, name, by_way_of, .. } => match by_way_of.get() {
                None => direct(server, name),
                Some(proxy) => {
                    let (before, _) = server.rsplit_once('@').unwrap();
                    format!("{before}@{proxy}/{name}")
                }
            },
        }
    }

    /// Host and port of the server, when it is on one.
    pub fn server(&self) -> Option<String> {
        let Place::Schema { server, .. } = &self.0 else { return None };
        let (_, place) = server.rsplit_once('@')?;
        Some(place.split('/').next()?.to_owned())
    }

    /// From now on the store reaches its server by way of a proxy.
    pub fn by_way_of(self: Arc<Self>, proxy: SocketAddr) -> Arc<Self> {
        if let Place::Schema { by_way_of, .. } = &self.0 {
            by_way_of.set(proxy).unwrap();
        }
        self
    }

    /// Opens it as a service would, and brings its schema up to date.
    pub async fn open(&self, faults: &Arc<Faults>) -> Opened {
        match &self.0 {
            Place::File(folder) => {
                let file = folder.path().join("iam.db");
                let store = SqliteStore::open(&file).await.unwrap();
                store.migrate().await.unwrap();
                let faulty = FaultyStore::new(store.clone(), Arc::clone(faults));
                Opened { store: Arc::new(store), faulty, raw: self.raw() }
            }
            Place::Schema { .. } => {
                let store = MySqlStore::connect(&self.url()).await.unwrap();
                store.migrate().await.unwrap();
                let faulty = FaultyStore::new(store.clone(), Arc::clone(faults));
                Opened { store: Arc::new(store), faulty, raw: self.raw() }
            }
        }
    }

    /// A way to it behind the store's back. It connects when it is first used.
    pub fn raw(&self) -> Raw {
        match &self.0 {
            Place::File(folder) => {
                let options = SqliteConnectOptions::new().filename(folder.path().join("iam.db"));
                Raw::Sqlite(SqlitePool::connect_lazy_with(options))
            }
            Place::Schema { server, name, .. } => {
                let pool = MySqlPoolOptions::new().max_connections(1).connect_lazy(&direct(server, name));
                Raw::MySql(pool.unwrap())
            }
        }
    }
}

/// Drops the schema, on a thread and runtime of its own: this may run inside one.
impl Drop for Database {
    fn drop(&mut self) {
        let Place::Schema { server, name, kept: false, .. } = &self.0 else { return };
        let (server, sql) = (server.clone(), format!("DROP DATABASE {name}"));
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(run(&server, sql));
        });
        assert!(dropped.join().is_ok() || std::thread::panicking(), "{name} was not dropped");
    }
}

fn direct(server: &str, name: &str) -> String {
    format!("{}/{name}", server.trim_end_matches('/'))
}

async fn run(server: &str, sql: String) {
    let mut connection = MySqlConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

impl Raw {
    /// A number.
    pub async fn count(&self, sql: &'static str) -> i64 {
        match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Self::MySql(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// A text; what holds secrets or names is a column of bytes on a server.
    pub async fn text(&self, sql: &'static str) -> String {
        match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Self::MySql(pool) => {
                let bytes: Vec<u8> = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
                String::from_utf8(bytes).unwrap()
            }
        }
    }

    /// Everything that lies there in text or bytes, by table and column.
    pub async fn everything(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for (table, column) in self.columns().await {
            let sql = AssertSqlSafe(match self {
                Self::Sqlite(_) => {
                    format!(
                        "SELECT CAST(\"{column}\" AS BLOB) FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
                    )
                }
                Self::MySql(_) => {
                    format!("SELECT CAST(`{column}` AS BINARY) FROM `{table}` WHERE `{column}` IS NOT NULL")
                }
            });
            let values: Vec<Vec<u8>> = match self {
                Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
                Self::MySql(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
            };
            all.extend(values.into_iter().map(|value| (format!("{table}.{column}"), value)));
        }
        all
    }

    /// Every column of every table that can hold text or bytes.
    async fn columns(&self) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(pool) => {
                let sql = "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                    WHERE m.type = 'table' AND c.type NOT IN ('INTEGER', 'REAL')";
                sqlx::query_as(sql).fetch_all(pool).await.unwrap()
            }
            Self::MySql(pool) => {
                let sql = "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR)
                    FROM information_schema.columns WHERE table_schema = DATABASE()
                    AND (data_type LIKE '%char%' OR data_type LIKE '%text%' OR data_type LIKE '%binary%'
                         OR data_type LIKE '%blob%' OR data_type = 'json')";
                sqlx::query_as(sql).fetch_all(pool).await.unwrap()
            }
        }
    }

    /// Changes something.
    pub async fn execute(&self, sql: &'static str) {
        match self {
            Self::Sqlite(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            Self::MySql(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
    }
}

/// All sessions of a database, locked against every change by a connection of the test's own.
#[derive(Debug)]
pub enum LockedSessions {
    /// In a file.
    Sqlite(PoolConnection<Sqlite>),
    /// On a server.
    MySql(PoolConnection<MySql>),
}

impl Raw {
    /// Locks all sessions.
    pub async fn lock_sessions(&self) -> LockedSessions {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.unwrap();
                LockedSessions::Sqlite(connection)
            }
            Self::MySql(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                let lock = "BEGIN; SELECT id FROM iam_auth_session FOR UPDATE";
                sqlx::raw_sql(lock).execute(&mut *connection).await.unwrap();
                LockedSessions::MySql(connection)
            }
        }
    }
}

impl LockedSessions {
    /// Lets go of them.
    pub async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
            }
            Self::MySql(mut connection) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
            }
        }
    }
}
