//! The database's file: opened, kept apart from others, watched while it is open, and left whole at the end.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iam_core::{StoreError, StoreErrorKind};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::time::timeout;

use crate::error::{failed, is_busy};

/// How long to wait for a connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for another process, or a host's own pool, that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait at the end for units of work and reads that are under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Guards read in parallel up to this.
pub(crate) const READERS: u32 = 4;

/// A file that is open, with what lies beside it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// What must be at which path, as it was when the file was opened.
    parts: Vec<(PathBuf, Identity)>,
    /// A connection that only stays: SQLite removes the log with the last one, and so would make a new one later. It also takes
    /// the log into the file at the end.
    anchor: Mutex<Option<SqliteConnection>>,
    is_missed: AtomicBool,
}

/// Pools of a file: of the connection that writes, and of those that read.
pub(crate) struct Pools {
    pub(crate) write: SqlitePool,
    pub(crate) read: SqlitePool,
    pub(crate) file: Arc<OpenFile>,
}

/// Opens a file, and makes it when it is not there.
pub(crate) async fn open(path: &Path, synchronous: SqliteSynchronous) -> Result<Pools, StoreError> {
    // Absolute, so that no name (`:memory:`, `file:..`) means anything else than a file to SQLite.
    let path = std::path::absolute(path).map_err(failed)?;
    create_private(&path).map_err(failed)?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(synchronous);
    let file = Arc::new(OpenFile::open(&path, &options).await.map_err(failed)?);
    let pool = |most, options| {
        let file = Arc::clone(&file);
        SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            // None that is old leads elsewhere than one that is new.
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |_, _| {
                let is_there = file.is_there();
                Box::pin(async move { if is_there { Ok(()) } else { Err(replaced()) } })
            })
            .connect_lazy_with(options)
    };
    let write = pool(1, options.clone());
    let read = pool(READERS, options.pragma("query_only", "ON"));
    Ok(Pools { write, read, file })
}

/// The refusal of a new connection: it would lead to another file than those that are open.
fn replaced() -> sqlx::Error {
    io::Error::new(io::ErrorKind::NotFound, "the database's file was removed or replaced while it was open")
        .into()
}

impl OpenFile {
    async fn open(path: &Path, options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let mut anchor = options.connect().await?;
        let mode = use_write_ahead_log(&mut anchor).await?;
        // Now the log and its index are there, too.
        sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut anchor).await?;
        let mut paths = vec![path.to_owned()];
        if mode == "wal" {
            // Beside the file itself, where a link leads elsewhere.
            let real = std::fs::canonicalize(path)?;
            paths.extend(["-wal", "-shm"].map(|end| beside(&real, end)));
        } else {
            tracing::warn!(
                mode,
                "no write-ahead log on this file system: readers and the writer wait for each other"
            );
        }
        let parts = paths.into_iter().filter_map(|path| Identity::of(&path).map(|identity| (path, identity)));
        Ok(Self {
            parts: parts.collect(),
            anchor: Mutex::new(Some(anchor)),
            is_missed: AtomicBool::new(false),
        })
    }

    /// Whether what is open is what is there. Says in the log when that changes.
    pub(crate) fn is_there(&self) -> bool {
        let missed = self.parts.iter().find(|(path, identity)| Identity::of(path).as_ref() != Some(identity));
        let was_missed = self.is_missed.swap(missed.is_some(), Ordering::SeqCst);
        match missed {
            Some((path, _)) if !was_missed => {
                tracing::error!(
                    "{} was removed or replaced while it was open: what is written now is lost with this process. Stop it, put \
                     the file back, and start it again",
                    path.display()
                );
            }
            None if was_missed => tracing::info!("the database's file is there again"),
            _ => {}
        }
        missed.is_none()
    }

    /// Takes the log into the file and closes the last connection. To be called when the pools are closed.
    async fn close(&self) -> Result<(), sqlx::Error> {
        let anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut anchor) = anchor else { return Ok(()) };
        let taken: Result<(i64, i64, i64), _> =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut anchor).await;
        if !matches!(taken, Ok((0, ..))) {
            tracing::warn!(
                "the log was not taken into the database's file, as another program has it open or the disk is full: a copy of the file \
                 needs the log (-wal) beside it"
            );
        }
        anchor.close().await?;
        taken.map(drop)
    }
}

impl Pools {
    /// Waits for what is under way, for a while, and closes all connections: the file then holds everything.
    pub(crate) async fn close(
        write: &SqlitePool,
        read: &SqlitePool,
        file: &OpenFile,
    ) -> Result<(), StoreError> {
        // Each pool is closed once it is told so, though it waits for what is under way: nothing begins from here on, even if
        // something has to be left.
        let (reads, writes) = (read.close(), write.close());
        let done = timeout(CLOSE_TIMEOUT, async {
            writes.await;
            reads.await;
        })
        .await;
        file.close().await.map_err(failed)?;
        done.map_err(|_| {
            let why = "connections were still in use when the store was closed";
            StoreError::new(StoreErrorKind::Unavailable, why)
        })
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// What tells a file from every other that has its name.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    /// By its name: opening the file, and closing it again, would drop SQLite's locks on it.
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), number: metadata.ino() })
    }

    /// Elsewhere a file that is open can't be removed or renamed.
    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

/// Readers and the writer then don't wait for each other. The mode is a property of the file, so it is set once, here.
///
/// To change it SQLite needs the file for itself and does not wait for that. To begin an exclusive transaction it does
/// wait: so whoever comes second waits that way, and then finds the mode changed.
async fn use_write_ahead_log(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    const TRIES: u32 = 10;
    let mut tried = 0;
    loop {
        tried += 1;
        match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await {
            Err(error) if is_busy(&error) && tried < TRIES => {
                connection.begin_with("BEGIN EXCLUSIVE").await?.rollback().await?;
            }
            answer => return answer,
        }
    }
}

/// So that nobody else on the machine can read what lies in it. The log and index files beside it get the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    // Closing any handle of a file drops every POSIX lock that this process holds on it, SQLite's too. So only a file that
    // did not exist is ever opened here, and nobody goes on to SQLite with it before that handle is closed.
    static CREATING: Mutex<()> = Mutex::new(());
    let _closed_before_the_next = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path).map(drop) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => warn_of_others(path),
        Ok(()) => {}
    }
    Ok(())
}

/// A file that was there has the mode that somebody gave it: said, not changed.
fn warn_of_others(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
    {
        tracing::warn!("{} can be read by others on this machine: chmod 600 it", path.display());
    }

    #[cfg(not(unix))]
    let _ = path;
}
