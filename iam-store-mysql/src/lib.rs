//! The store of the IAM family on MySQL 8.4+ and MariaDB 10.11+.
