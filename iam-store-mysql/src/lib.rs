//! The store of the IAM family on MySQL 8.4+ and MariaDB 10.11+.
//!
//! ```no_run
//! use iam_store_mysql::MySqlStore;
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MySqlStore::connect("mysql://app:password@db.example.com/app?ssl-mode=VERIFY_IDENTITY").await?;
//! store.migrate().await?; // connecting alone never changes the schema
//! # Ok(()) }
//! ```
//!
//! One file for each aggregate, named like its port in [`iam_core::ports`].
//!
//! # Units of work
//!
//! A unit is one transaction, READ COMMITTED on the store's own connections. What a decision rests on is a condition
//! of the statement that writes, or is locked first: always in the order account, session, challenge, limit, method,
//! outbox, log, so that units rarely stand in a circle. A row that refers to an account shares a lock of it when it is
//! inserted, so who holds a session holds its account too, from the beginning. One that loses against another all the same is begun anew by the store, up to three
//! times, while its owner was told of nothing that it wrote. Later the whole unit fails and nothing of it is kept: as
//! [`Conflict`](iam_core::StoreErrorKind::Conflict) when it lost by a deadlock, and may be tried again from its
//! beginning; as [`Unavailable`](iam_core::StoreErrorKind::Unavailable) when it waited for a lock in vain.
//!
//! # Runtimes
//!
//! The runtime that the store was connected on drives its connections, whichever asks: a worker with a runtime of its own
//! that computes, or ends, keeps nobody else's statement waiting. So connect on a runtime that lives as long as the store
//! and is never blocked (in `main`, not in a worker's factory). When it has ended all the same, each caller's own
//! runtime has to do.
//!
//! # Servers that fail
//!
//! Every wait has an end: three seconds for a read or one statement, with the wait for a connection in it; ten for a
//! unit. A connection that did not answer in time, that died, or that leads to a server which can't write any more is
//! closed and replaced, and so are those that lie idle beside it: one time-out is enough. Reads, and the beginning of a unit, are
//! then tried again at once. One that lay idle for a second has to answer before it is used, within a second.
//!
//! The read of a session says whether its server is set to `read_only`, as a primary is that has been replaced. Then it does not count,
//! neither what is there nor what is not. A primary that was cut off and does not know it yet is believed until its own
//! time-outs end that: `docs/DATABASES.md` says which they are. When the answer to a commit is
//! lost, nobody knows whether it took place: the unit fails, and who asks again finds out, since what may happen once
//! is decided by the database.
//!
//! # The schema
//!
//! Its migrations are recorded in `iam_schema_migrations`, apart from a host's own. They only add, so that old and
//! new programs run side by side; `iam_schema.min_program` says when one is too old. The database user of daily work
//! needs no more than SELECT, INSERT, UPDATE and DELETE. `db/iam_schema.sql` shows the whole; it is made from the
//! migrations by
//!
//! ```text
//! IAM_WRITE_SCHEMA=1 IAM_TEST_MYSQL_URL=mysql://root:password@127.0.0.1:3306 \
//!     cargo test -p iam-store-mysql --test databases schema::the_schema_file_is_what_the_migrations_make
//! ```
//!
//! # Building
//!
//! Every statement is checked when the crate is compiled, against what a server said of it: that is kept in `.sqlx`,
//! so a build needs no server, and a `DATABASE_URL` of the host's is not looked at. After a change of statements or
//! migrations `cargo xtask sql` makes it anew from an empty database; what one server says serves both.

mod accounts;
mod audit;
mod connection;
mod doubt;
mod error;
mod factors;
mod interrupted;
mod keys;
mod limits;
mod migrate;
mod options;
mod outbox;
mod parents;
mod probe;
mod repeatable;
mod roles;
mod rows;
mod sealed;
mod seen_time;
mod server;
mod sessions;
mod step_up_proofs;
mod store;
mod tickets;
mod trusted_devices;
mod unit;

/// The sqlx whose pool [`MySqlStore::from_pool`] takes. A host that names it by this path has the right version whatever it depends on besides.
pub use sqlx;
pub use store::MySqlStore;
