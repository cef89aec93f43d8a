//! The embedded default store of the IAM family: everything in one SQLite file, with nothing to install.
//!
//! ```
//! use iam_store_sqlite::SqliteStore;
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("iam.db").await?;
//! store.migrate().await?; // opening alone never changes the schema
//! # Ok(()) }
//! ```
//!
//! One writer: a connection of its own writes, begun with `BEGIN IMMEDIATE`, beside a pool of readers (write-ahead log). A
//! unit of work therefore never meets a busy database half way. One file for each aggregate, named like its port in
//! [`iam_core::ports`].
//!
//! # Building
//!
//! Statements are checked when the crate is compiled, against what SQLite said of them: that is kept in `.sqlx`, so a build needs no
//! database, and a `DATABASE_URL` of the host's is not looked at. After a change of statements or migrations `cargo xtask sql` makes it anew.

mod accounts;
mod audit;
mod error;
mod factors;
mod file;
mod interrupted;
mod keys;
mod limits;
mod outbox;
mod parents;
mod repeatable;
mod roles;
mod rows;
mod sealed;
mod seen_time;
mod sessions;
mod step_up_proofs;
mod store;
mod tickets;
mod trusted_devices;
mod unit;
mod writer;

/// The sqlx whose pool [`SqliteStore::from_pool`] takes. A host that names it by this path has the right version whatever it depends on besides.
pub use sqlx;
pub use store::SqliteStore;
