//! What went wrong, as a sentence for the person at the terminal.

use std::fmt;
use std::io;

/// The result of everything here that can fail.
pub(crate) type Result<T> = std::result::Result<T, Trouble>;

/// What went wrong, and where possible what helps.
#[derive(Debug)]
pub(crate) struct Trouble(String);

impl Trouble {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// Puts what was being tried in front of the system's own words.
pub(crate) trait Trying<T> {
    /// `what` completes "Could not ...".
    fn trying(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Trouble::new(format!("Could not {}: {error}.", what())))
    }
}
