//! What both example applications share: their data, their pages, and how they start. What is left to each of them is what
//! the example shows: routes with their guards, and serving.

mod commands;
mod documents;
mod explain;
mod keys;
mod log;
pub mod pages;
mod start;

pub use documents::{Document, Documents, Ledger, Payment};
pub use start::{Host, Stop, run};

use iam_core::{Iam, Readiness};

/// The largest form that the host's own routes take.
pub const MAX_FORM_BYTES: usize = 64 * 1024;

/// What `/readyz` says: a status and a text.
pub async fn readiness(iam: &Iam) -> (u16, &'static str) {
    iam.readiness().await.map_or((503, "the database can't be reached"), said)
}

/// How much the clocks differ is in the log.
const fn said(readiness: Readiness) -> (u16, &'static str) {
    match readiness {
        Readiness::Ready => (200, "ready"),
        Readiness::ClockDiffers(_) => {
            (200, "ready, but the clock differs from the database's by 5 seconds or more")
        }
        Readiness::ClockWrong(_) => (503, "the clock differs from the database's by 30 seconds or more"),
        Readiness::NotWritable => (503, "the database can't be written"),
        Readiness::Replaced => (503, "the database's file was removed or replaced"),
        Readiness::MessagesWait => (503, "messages wait, and no worker sends them"),
        _ => (503, "the database was not migrated"),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_differs_is_a_warning_and_a_wrong_one_a_failure() {
        let by = Duration::from_secs(6);
        let (status, text) = said(Readiness::ClockDiffers(by));
        assert_eq!((status, text.starts_with("ready, but the clock")), (200, true));
        assert_eq!(said(Readiness::ClockWrong(by)).0, 503);
        assert_eq!(said(Readiness::Ready), (200, "ready"));
    }
}
