//! `cargo xtask setup`: everything that the other chores need, ahead of them, into the cache folder. `test` fetches its part of it by
//! itself.

use crate::browser::System;
use crate::database::{self, Kind};
use crate::report::Report;
use crate::trouble::Result;
use crate::{browser, cargo_deny, place};

/// Installs everything that `test` and `check` need beyond Rust. What is there already is kept.
pub(crate) fn run() -> Result<()> {
    println!("Installing into {}", place::cache()?.display());
    let mut report = Report::default();
    report.step("cargo-deny, for `cargo xtask check`", cargo_deny::install);
    report.step("a browser, for `cargo xtask test`", || browser::install(System::MayBeChanged));
    report.step("MySQL, for `cargo xtask test`", || database::install(Kind::MySql));
    report.step("MariaDB, for `cargo xtask test`", || database::install(Kind::MariaDb));
    report.finish()
}
