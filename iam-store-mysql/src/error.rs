//! What sqlx and the server say, in the family's terms.

use std::{fmt, io};

use iam_core::{StoreError, StoreErrorKind, UniqueKey};
use sqlx::migrate::MigrateError;
use sqlx::mysql::MySqlDatabaseError;

pub(crate) fn failed(error: impl Into<sqlx::Error>) -> StoreError {
    let error = error.into();
    StoreError::new(kind(&error), error)
}

pub(crate) fn refused(why: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Other, why.into())
}

/// A server that did not answer in time.
pub(crate) fn timed_out() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in time").into()
}

/// A server that can't write any more, as the primary of before a failover. It says so by a setting, and may be far behind.
#[derive(Debug)]
struct Fenced;

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is set to read_only: it is not, or no longer, the one that is written to")
    }
}

impl std::error::Error for Fenced {}

pub(crate) fn fenced() -> sqlx::Error {
    io::Error::other(Fenced).into()
}

pub(crate) fn migration_failed(error: MigrateError) -> StoreError {
    match &error {
        MigrateError::Dirty(version) => refused(format!(
            "migration {version}, which this program does not know, was left half done: let the newer program that it belongs to \
             migrate, which does it again"
        )),
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            StoreError::new(kind(cause), error)
        }
        _ => StoreError::new(StoreErrorKind::Other, error),
    }
}

fn kind(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreErrorKind::Unavailable
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreErrorKind::Corrupt,
        // Too many connections, of all or of this user; too many clients that failed to connect.
        _ if matches!(number(error), Some(1040 | 1129 | 1203 | 1226)) => StoreErrorKind::Unavailable,
        // A lock that did not come free was waited for long enough.
        _ if number(error) == Some(1205) => StoreErrorKind::Unavailable,
        _ if is_conflict(error) => StoreErrorKind::Conflict,
        _ if is_disk_full(error) => StoreErrorKind::Unavailable,
        _ if spoils_connection(error) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Other,
    }
}

/// Whether the unit of work lost against another one, so that the store may try it again as a whole: deadlock, lock wait
/// (whether the server then undid one statement or all is its setting), a row or table that changed under a snapshot.
/// When the store can't, or did so in vain, a lock wait is told as `Unavailable`, all else as `Conflict`: who waited two
/// seconds and more is not asked to begin again at once.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1213 | 1205 | 1020 | 1412))
}

/// Whether the connection must not be used again: it is dead, out of step, or leads to a server that can't write any
/// more, as the primary of before a failover. Another one may lead to the right server.
pub(crate) fn spoils_connection(error: &sqlx::Error) -> bool {
    is_dead(error)
        || is_fenced(error)
        || matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_))
        // A group without a majority, or one that undid a transaction.
        || matches!(number(error), Some(3100 | 3101))
}

/// Whether the server can't write any more. What other connections lead to is probably the same one.
pub(crate) fn is_fenced(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => is_fence(error),
        // Read-only by option, transaction or mode; a Galera node outside its cluster.
        _ => matches!(number(error), Some(1290 | 1792 | 1836 | 1047)),
    }
}

fn is_fence(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Fenced>)
}

/// Whether the answer did not come.
pub(crate) fn is_silence(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Whether the connection had died, so that the same may succeed on another one at once.
pub(crate) fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut && !is_fence(error),
        // Shutdown, killed (twice), idle for too long; and as clients say it: gone away, lost.
        _ => matches!(number(error), Some(1053 | 1927 | 3169 | 4031 | 2006 | 2013)),
    }
}

/// Whether the server can write nothing: it is read-only or without a majority, or its disk is full (of a table's space, of a
/// temporary file, as the file system or the engine says it, at the commit).
pub(crate) fn can_not_write(error: &sqlx::Error) -> bool {
    is_disk_full(error) || matches!(number(error), Some(1290 | 1792 | 1836 | 3100 | 3101 | 1047))
}

fn is_disk_full(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(3 | 1021 | 1026 | 1030 | 1114 | 1180))
}

/// The unique key that stood in the way, if one did. Servers name it last and in quotes, whatever their language, MySQL with the table before it.
pub(crate) fn duplicate_key(error: &sqlx::Error) -> Option<UniqueKey> {
    let error = error.as_database_error().filter(|error| error.is_unique_violation())?;
    let name = error.message().rsplit('\'').nth(1).unwrap_or_default();
    Some(match name.rsplit('.').next().unwrap_or_default() {
        "iam_user_account_username" => UniqueKey::Username,
        "iam_user_account_verified_email" => UniqueKey::VerifiedEmail,
        "iam_user_account_external_id" => UniqueKey::ExternalId,
        "iam_parent_key" => UniqueKey::ParentKey,
        "iam_role_name" => UniqueKey::RoleName,
        "iam_mfa_method_lookup" => UniqueKey::FactorLookup,
        _ => UniqueKey::Other,
    })
}

/// Whether a row would break a CHECK.
pub(crate) fn violates_check(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(3819 | 4025))
}

/// Whether a table is missing.
pub(crate) fn is_no_such_table(error: &sqlx::Error) -> bool {
    number(error) == Some(1146)
}

/// Whether a privilege is missing: on a table, a column or the database.
pub(crate) fn is_denied(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1142 | 1143 | 1044))
}

fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}
