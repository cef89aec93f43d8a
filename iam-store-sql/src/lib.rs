//! Rows of the IAM family's tables, and the reading of them, for stores on SQL databases.
//!
//! A store fetches a row by its own statement into the struct of its aggregate and calls `read`. Neither a statement nor a driver is
//! known here: a [`Dialect`] says as which types a database gives times and texts. What can't be read is
//! [`Corrupt`](iam_core::StoreErrorKind::Corrupt) and names table and column; it is nobody's panic.

mod accounts;
mod column;
mod interrupted;
mod outbox;
mod parents;
mod repeatable;
mod roles;
mod sessions;
mod step_up_proofs;

use iam_core::Timestamp;

pub use accounts::{AccountRow, CandidateRow};
pub use column::{Column, grace_seconds};
pub use interrupted::InterruptedRow;
pub use outbox::{AttemptRow, MessageRow};
pub use parents::ParentRow;
pub use repeatable::KeptRow;
pub use roles::{RoleOfAccountRow, RoleRow};
pub use sessions::{SessionOfRow, SessionRow, SummaryRow, session};
pub use step_up_proofs::StepUpProofRow;

/// The types in which a database's driver gives what databases keep in different ways.
pub trait Dialect {
    /// A point in time.
    type Time: Copy;
    /// A text that is compared byte by byte: a name, an address, a key.
    type Text: Into<Vec<u8>>;

    /// The time, read.
    fn timestamp(time: Self::Time) -> Timestamp;
}
