//! Migrations that live with a host's own.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use iam_core::{Readiness, StoreError, StoreErrorKind};
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions, Connection, Executor, MySqlConnection};
use tokio::time::timeout;

use crate::connection::{Connections, STATEMENT, Statement, optional};
use crate::error::{failed, is_denied, is_no_such_table, migration_failed, refused, timed_out};
use crate::server::{SESSION, denied};

/// What was applied is kept apart from a host's own migrations; what a newer program applied is left as it is.
static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("iam_schema_migrations");
    migrator.set_ignore_missing(true);
    // sqlx waits for its lock for ever, which MariaDB refuses to do: it then goes on without one.
    migrator.set_locking(false);
    migrator
});

/// As sqlx makes it, but with a character set by name.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS iam_schema_migrations (
        version        BIGINT    NOT NULL,
        description    TEXT      NOT NULL,
        installed_on   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        success        BOOLEAN   NOT NULL,
        checksum       BLOB      NOT NULL,
        execution_time BIGINT    NOT NULL,
        PRIMARY KEY (version)
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// One for each database of a server; in seconds, how long others may take.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('iam_schema_migrations.', LEFT(SHA2(DATABASE(), 256), 32)), 120)";
const UNLOCK: &str = "SELECT RELEASE_LOCK(CONCAT('iam_schema_migrations.', LEFT(SHA2(DATABASE(), 256), 32)))";

pub(crate) async fn run(connections: &Connections) -> Result<(), StoreError> {
    if is_done(connections).await? {
        return Ok(());
    }

    // A connection of its own: no pool gets one back that holds the lock.
    let options = connections.options();
    let connecting = timeout(STATEMENT, options.connect()).await;
    let mut connection = connecting.unwrap_or_else(|_| Err(timed_out())).map_err(failed)?;
    connection.execute(SESSION).await.map_err(failed)?;
    // A change of the schema waits for statements under way, and lets none begin meanwhile: not for long.
    connection.execute("SET SESSION lock_wait_timeout = 10").await.map_err(failed)?;
    let locked: Option<i64> = sqlx::query_scalar(LOCK).fetch_one(&mut connection).await.map_err(failed)?;
    if locked != Some(1) {
        let why = "another program is migrating this database, and was not done within two minutes";
        return Err(StoreError::new(StoreErrorKind::Unavailable, why));
    }
    let done = apply(&mut connection).await;
    if done.is_ok() {
        connection.execute(UNLOCK).await.map_err(failed)?;
    }

    // Without a reply to wait for; the lock would go with it too.
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
    done
}

async fn apply(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    connection.execute(HISTORY).await.map_err(failed)?;
    // sqlx notes that a migration begins and refuses to go on when one did not end. Every statement of ours can be run
    // again, and nobody else is at it while we have the lock: so what was left half done is simply done again. What we
    // do not know is left to the program that does.
    for migration in MIGRATOR.iter() {
        let forget = "DELETE FROM iam_schema_migrations WHERE version = ? AND success = 0";
        sqlx::query(forget).bind(migration.version).execute(&mut *connection).await.map_err(failed)?;
    }

    // Not `run`: the compiler can't tell that its future may be sent between threads.
    MIGRATOR.run_direct(None, connection, false).await.map_err(migration_failed)
}

/// Whether there is nothing to do, so that a user without the right to change a schema may ask for it.
async fn is_done(connections: &Connections) -> Result<bool, StoreError> {
    let Some(history) = history(connections).await? else { return Ok(false) };
    let mut found = HashMap::new();
    for (version, success, checksum) in history {
        if success {
            found.insert(version, checksum);
        }
    }
    for migration in MIGRATOR.iter() {
        match found.get(&migration.version) {
            None => return Ok(false),
            Some(checksum) if checksum[..] != migration.checksum[..] => {
                let version = migration.version;
                return Err(refused(format!(
                    "migration {version} was applied with another content than it has now"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(true)
}

type Applied = (i64, bool, Vec<u8>);

/// What was applied; `None` when nothing ever was.
async fn history(connections: &Connections) -> Result<Option<Vec<Applied>>, StoreError> {
    match connections.try_read(find_history).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if is_no_such_table(&error) => Ok(None),
        Err(error) if is_denied(&error) => Err(denied(&error)),
        Err(error) => Err(failed(error)),
    }
}

/// Not checked when it is compiled: its table is none that a migration makes.
fn find_history() -> Statement<Vec<Applied>> {
    let query = sqlx::query_as("SELECT version, success, checksum FROM iam_schema_migrations");
    Box::new(|connection| Box::pin(query.fetch_all(connection)))
}

pub(crate) async fn readiness(connections: &Connections) -> Result<Readiness, StoreError> {
    let Some(history) = history(connections).await? else { return Ok(Readiness::SchemaTooOld) };
    let is_applied = |version| history.iter().any(|(applied, success, _)| *applied == version && *success);
    if !MIGRATOR.iter().all(|migration| is_applied(migration.version)) {
        return Ok(Readiness::SchemaTooOld);
    }
    let newest = MIGRATOR.iter().map(|migration| migration.version).max();
    let find = || optional(sqlx::query!("SELECT min_program FROM iam_schema"));
    // No migration would put it back, so it is not the schema's age.
    let row = connections.read(find).await?.ok_or_else(|| {
        refused(
            "iam_schema has no row, so it does not say which programs are too old for it: put it back from a backup, or, if no \
             newer program was ever used here, `INSERT INTO iam_schema (id, min_program) VALUES (1, 1)`",
        )
    })?;
    Ok(if Some(row.min_program) <= newest { Readiness::Ready } else { Readiness::ProgramTooOld })
}
