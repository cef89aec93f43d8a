//! The store of the IAM family on MySQL 8.4+ and MariaDB 10.11+.

mod accounts;
mod audit;
mod connection;
mod error;
mod keys;
mod limits;
mod migrate;
mod options;
mod parents;
mod roles;
mod rows;
mod server;
mod sessions;
mod store;
mod unit;

pub use store::MySqlStore;
