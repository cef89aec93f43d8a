//! What sqlx says, in the family's terms.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use iam_core::ports::Inserted;
use iam_core::{StoreError, StoreErrorKind, UniqueKey};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteQueryResult;

pub(crate) fn failed(error: impl Into<sqlx::Error>) -> StoreError {
    let error = error.into();
    StoreError::new(kind(&error), error)
}

/// A unique key in the way undoes the one statement; the transaction goes on.
pub(crate) fn unless_taken(done: Result<SqliteQueryResult, sqlx::Error>) -> Result<Inserted, StoreError> {
    match done {
        Ok(_) => Ok(Inserted::Done),
        Err(error) => match error.as_database_error() {
            Some(found) if found.is_unique_violation() => Ok(Inserted::Taken(key_of(found.message()))),
            _ => Err(failed(error)),
        },
    }
}

/// The key that SQLite names, always in English: `UNIQUE constraint failed: iam_role.name`.
fn key_of(message: &str) -> UniqueKey {
    match message.rsplit(' ').next().unwrap_or_default() {
        "iam_user_account.username" => UniqueKey::Username,
        "iam_user_account.email" => UniqueKey::VerifiedEmail,
        "iam_user_account.external_id" => UniqueKey::ExternalId,
        "iam_parent.key" => UniqueKey::ParentKey,
        "iam_role.name" => UniqueKey::RoleName,
        "iam_mfa_method.lookup" => UniqueKey::FactorLookup,
        _ => UniqueKey::Other,
    }
}

/// A file that can't be opened: which, and why.
#[derive(Debug)]
struct CannotOpen {
    file: PathBuf,
    cause: StoreError,
}

impl fmt::Display for CannotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be opened as a database", self.file.display())
    }
}

impl Error for CannotOpen {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// The same failure, with the file's name.
pub(crate) fn of_file(file: &Path, cause: StoreError) -> StoreError {
    StoreError::new(cause.kind(), CannotOpen { file: file.to_owned(), cause })
}

pub(crate) fn migration_failed(error: MigrateError) -> StoreError {
    let kind = match &error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => kind(cause),
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, error)
}

/// Whether somebody else has the file at this moment: `SQLITE_BUSY`.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(5)
}

/// Whether a write failed for what the file lies on: read-only, an I/O error, full, gone. `SQLITE_READONLY`, `SQLITE_IOERR`,
/// `SQLITE_FULL`, `SQLITE_CANTOPEN`.
pub(crate) fn can_not_write(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(8 | 10 | 13 | 14))
}

fn kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::WorkerCrashed => StoreErrorKind::Unavailable,
        sqlx::Error::ColumnDecode { .. } => StoreErrorKind::Corrupt,
        _ => match primary_code(error) {
            // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN.
            Some(5 | 6 | 8 | 10 | 13 | 14) => StoreErrorKind::Unavailable,
            // SQLITE_CORRUPT, SQLITE_NOTADB.
            Some(11 | 26) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Other,
        },
    }
}

/// SQLite's own code, without the extension in its higher bytes.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<i32>().ok()? & 0xff)
}
