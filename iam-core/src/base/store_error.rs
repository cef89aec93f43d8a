//! How a store fails.

use std::error::Error as StdError;
use std::fmt;

/// A store failed.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

/// How a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It can't be reached, or did not answer in time: later it may.
    Unavailable,
    /// The unit of work lost against another one that was under way (a deadlock, or a row that changed under it): all of it is
    /// undone, and may be tried again from its beginning. A lock that did not come free in time is `Unavailable`.
    Conflict,
    /// It holds something that this program can't read.
    Corrupt,
    /// Anything else.
    Other,
}

impl StoreError {
    /// An error of this kind, with its cause.
    pub fn new(kind: StoreErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: source.into() }
    }

    /// A column that holds what it never should.
    pub fn corrupt(table: &'static str, column: &'static str) -> Self {
        Self::new(StoreErrorKind::Corrupt, format!("{table}.{column} holds an unreadable value"))
    }

    /// How it failed.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Conflict => "the store is contended",
            StoreErrorKind::Corrupt => "the store holds an unreadable value",
            StoreErrorKind::Other => "the store failed",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}
