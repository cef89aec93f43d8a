//! What the family promises, seen from outside.
//!
//! [`scenarios`] has one function per promise. Each gets a [`World`]: a host application on some adapter and some store,
//! served on a random port, with a clock that the scenario moves. `tests/matrix.rs` runs every scenario on every pair; a new
//! adapter or store is one line in [`Adapter`] or [`Backend`].
//!
//! [`storm`], [`delivery`], [`canary`], [`pressure`], [`disk`], [`log`], [`second_start`] and [`explain`] do the same to the example programs, as processes of their own that can be killed; their tests are
//! with the examples, which is where cargo says where a program lies.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "all of it is test code: what goes wrong fails the scenario"
)]

mod app;
pub mod canary;
mod client;
mod database;
pub mod delivery;
pub mod disk;
pub mod explain;
pub mod log;
pub mod mail_server;
mod own_server;
pub mod pressure;
mod program;
mod program_tests;
mod proxy;
pub mod scenarios;
pub mod second_start;
pub mod storm;
#[path = "../cases/twofold.rs"]
mod twofold;
mod world;

pub use client::{Answer, Browser};
pub use database::{Backend, Database, LockedSessions};
pub use iam_store_testkit::faults::{Faults, FaultyStore, Held, Point};
pub use own_server::OwnServer;
pub use program::Program;
pub use proxy::{Proxy, Way};
pub use world::{Adapter, Entry, PASSWORD, World};
