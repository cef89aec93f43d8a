//! Servers that nobody else uses: they can be set to refuse writes, and follow each other.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use crate::Backend;

/// A server of a scenario's own, under the program that `IAM_TEST_OWN_SERVER` names; `IAM_TEST_OWN_SERVER_KINDS` says of which
/// kinds it can start some (`mysql mariadb`; all of them without it). `cargo xtask test` sets both. It writes a log, so that another one can follow it, and ends with its pipe.
#[derive(Debug)]
pub struct OwnServer {
    backend: Backend,
    url: String,
    program: Child,
    orders: Option<ChildStdin>,
}

impl OwnServer {
    /// Starts two at the same time, unless there is no program that starts them; with `IAM_TEST_REQUIRE_DATABASES` that is a
    /// failure.
    pub fn pair(backend: Backend) -> Option<[Self; 2]> {
        let Some(program) = program(backend) else {
            assert!(set("IAM_TEST_REQUIRE_DATABASES").is_none(), "no {backend:?} can be started");
            return None;
        };
        let begun = [1, 2].map(|id| Self::begin(&program, backend, id));
        Some(begun.map(Self::wait))
    }

    fn begin(program: &str, backend: Backend, id: u32) -> Self {
        let kind = word(backend);
        let options: &[&str] = match backend {
            Backend::MySql => &["--gtid-mode=ON", "--enforce-gtid-consistency=ON"],
            _ => &[],
        };
        let mut program = Command::new(program)
            .args(["own-server", kind, "--", "--log-bin=log"])
            .arg(format!("--server-id={id}"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = program.stdin.take();
        Self { backend, url: String::new(), program, orders }
    }

    fn wait(mut self) -> Self {
        let mut answers = BufReader::new(self.program.stdout.take().unwrap()).lines();
        self.url = answers.next().expect("a server that starts").unwrap();
        self
    }

    /// Its address, with an account that may do everything but what a fenced server lets its administrators do: write.
    pub fn url(&self) -> String {
        format!("mysql://app:app@{}", self.place())
    }

    /// Host and port.
    pub fn place(&self) -> String {
        self.url.rsplit_once('@').unwrap().1.to_owned()
    }

    /// Lets it do all that another one does, and has done from now on.
    pub async fn follow(&self, source: &Self) {
        let (host, port) = source.url.rsplit_once('@').unwrap().1.rsplit_once(':').unwrap();
        let (_, password) = source.url.rsplit_once('@').unwrap().0.rsplit_once(':').unwrap();
        let (forget, follow) = match self.backend {
            Backend::MySql => (
                "RESET BINARY LOGS AND GTIDS",
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, SOURCE_USER = 'root',
                        SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1;
                     START REPLICA"
                ),
            ),
            _ => (
                "RESET MASTER",
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USER = 'root',
                        MASTER_PASSWORD = '{password}', MASTER_USE_GTID = slave_pos;
                     START SLAVE"
                ),
            ),
        };
        let account = "CREATE USER app@localhost IDENTIFIED BY 'app';
            GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES ON *.* TO app@localhost";
        for server in [source, self] {
            server.run(account).await;
            // Each has begun with accounts of its own, which are not the other's.
            server.run(forget).await;
        }
        self.run(&follow).await;
    }

    /// Waits until it has done all that the one that it follows did, follows no longer, and is the one that is written to.
    pub async fn take_over(&self, source: &Self) {
        let (place, wait, stop) = match self.backend {
            Backend::MySql => {
                ("SELECT @@GLOBAL.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 20)", "STOP REPLICA")
            }
            _ => ("SELECT @@GLOBAL.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(?, 20)", "STOP SLAVE"),
        };
        let place: String =
            sqlx::query_scalar(place).fetch_one(&mut source.connection().await).await.unwrap();
        let mut connection = self.connection().await;
        let late: i64 = sqlx::query_scalar(wait).bind(place).fetch_one(&mut connection).await.unwrap();
        assert_eq!(late, 0, "it does what the other one did");
        self.run(stop).await;
    }

    /// Has it refuse to write, as whoever fences the primary of before does.
    pub async fn fence(&self) {
        self.run(match self.backend {
            Backend::MySql => "SET GLOBAL super_read_only = ON",
            _ => "SET GLOBAL read_only = ON",
        })
        .await;
    }

    async fn connection(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        self.connection().await.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }
}

/// What starts a server of this kind, if anything does.
fn program(backend: Backend) -> Option<String> {
    let kinds = set("IAM_TEST_OWN_SERVER_KINDS");
    let can = kinds.is_none_or(|kinds| kinds.split_whitespace().any(|kind| kind == word(backend)));
    set("IAM_TEST_OWN_SERVER").filter(|_| can)
}

/// What that program knows it by.
fn word(backend: Backend) -> &'static str {
    match backend {
        Backend::MySql => "mysql",
        Backend::MariaDb => "mariadb",
        Backend::Sqlite => panic!("a file has no server"),
    }
}

/// A variable's value. An empty one means the same as none.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// It is thrown away with its data.
impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.program.wait();
    }
}
