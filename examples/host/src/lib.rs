//! What both example applications share: their data, their pages, and how they start. What is left to each of them is what
//! the example shows: routes with their guards, and serving.

mod commands;
mod documents;
mod explain;
mod keys;
pub mod pages;
mod start;

pub use documents::{Document, Documents, Ledger, Payment};
pub use start::{Host, run, stop_signal};

use iam_core::Iam;
use iam_core::store::Readiness;

/// The largest form that the host's own routes take.
pub const MAX_FORM_BYTES: usize = 64 * 1024;

/// What `/readyz` says: a status and a text.
pub async fn readiness(iam: &Iam) -> (u16, &'static str) {
    match iam.readiness().await {
        Ok(Readiness::Ready) => (200, "ready"),
        Ok(Readiness::NotWritable) => (503, "the database can't be written"),
        Ok(Readiness::Replaced) => (503, "the database's file was removed or replaced"),
        Ok(Readiness::MessagesWait) => (503, "messages wait, and no worker sends them"),
        Ok(_) => (503, "the database was not migrated"),
        Err(_) => (503, "the database can't be reached"),
    }
}

/// What is said about a form that the framework could not read and answers with this status.
pub const fn form_refused(status: u16) -> &'static str {
    match status {
        413 => "the form is too large",
        415 => "a form is needed",
        422 => "a field is missing",
        _ => "the form can't be read",
    }
}
