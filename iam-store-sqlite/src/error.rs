//! What sqlx says, in the family's terms.

use iam_core::store::{StoreError, StoreErrorKind};

pub(crate) fn failed(error: impl Into<sqlx::Error>) -> StoreError {
    let error = error.into();
    let kind = match &error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::WorkerCrashed => StoreErrorKind::Unavailable,
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN; extended codes keep them in the low byte.
        sqlx::Error::Database(database) => match database.code().and_then(|code| code.parse::<i32>().ok()) {
            Some(code) if matches!(code & 0xff, 5 | 6 | 10 | 13 | 14) => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        },
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, error)
}

pub(crate) fn migration_failed(error: sqlx::migrate::MigrateError) -> StoreError {
    StoreError::new(StoreErrorKind::Other, error)
}
