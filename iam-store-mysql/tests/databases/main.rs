//! The store on real servers. `IAM_TEST_MYSQL_URL` and `IAM_TEST_MARIADB_URL` name them, by an administrator's URL
//! without a database (`mysql://root:password@127.0.0.1:3306`); what has no server is skipped, unless
//! `IAM_TEST_REQUIRE_DATABASES` has a value.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test may stop at once, and says what it skips"
)]

mod clock;
mod common;
mod conforms;
mod costs;
mod failover;
mod flows;
mod host;
mod migrations;
mod probe;
mod rows;
mod runtimes;
mod schema;
mod sessions;
mod sql;
