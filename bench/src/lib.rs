//! What a guarded request and a storm of logins cost.
//!
//! ```text
//! cargo xtask bench                                  all, optimised; some minutes once built
//! cargo bench --package iam-bench --bench guard      one of them
//! cargo bench --package iam-bench --bench networks   on MySQL and MariaDB, too, where IAM_TEST_MYSQL_URL, IAM_TEST_MARIADB_URL are set
//! cargo xtask timing                                 whether timing tells why a sign-in failed; fails if it does
//! ```
//!
//! - `guard` times requests through a router, without sockets: what the layer, a guard and an extractor add. criterion
//!   compares with its last run on this machine. Where `IAM_TEST_MYSQL_URL` names a server on this machine, it also prints what a guarded
//!   request costs this program and that server in processor time, beside one row by its key.
//! - `logins` prints figures beside the goals of the design: a storm of sign-ins against a server in a process of its own, the
//!   statements of a request, and whether timing tells which accounts exist. It reads `/proc`, so it needs Linux.
//! - `networks` compares the sign-ins of people behind one address (an office) with those of as many behind an address each, on every
//!   store that there is. A sign-in holds the row of its network over two commits.
//!
//! None of the benchmarks fails because of a figure: a busy machine is no bug. Nothing else should run meanwhile; compare ratios of one run
//! rather than seconds of two. The database lies in `$TMPDIR`, and each sign-in waits for that disk twice.
//!
//! Here is what they need: the application under test ([`app`]), samples ([`stats`]) and what a process uses ([`usage`]).

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a benchmark that can't be set up has nothing to measure"
)]

pub mod app;
pub mod stats;
pub mod usage;
