//! What a guarded request and a storm of logins cost.
//!
//! ```text
//! cargo xtask bench                                  both, optimised; about a minute once built
//! cargo bench --package iam-bench --bench guard      one of them
//! cargo xtask timing                                 whether timing tells why a sign-in failed; fails if it does
//! ```
//!
//! - `guard` times requests through a router, without sockets: what the layer, a guard and an extractor add. criterion
//!   compares with its last run on this machine.
//! - `logins` prints figures beside the goals of the design: a storm of sign-ins against a server in a process of its own, the
//!   statements of a request, and whether timing tells which accounts exist. It reads `/proc`, so it needs Linux.
//!
//! Neither of the two benchmarks fails because of a figure: a busy machine is no bug. Nothing else should run meanwhile; compare ratios of one run
//! rather than seconds of two. The database lies in `$TMPDIR`, and each sign-in waits for that disk twice.
//!
//! Here is what both need: the application under test ([`app`]), samples ([`stats`]) and what a process uses ([`usage`]).

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a benchmark that can't be set up has nothing to measure"
)]

pub mod app;
pub mod stats;
pub mod usage;
