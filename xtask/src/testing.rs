//! `cargo xtask test`: every test, starting what it needs.

use crate::database::Databases;
use crate::report::{Outcome, Report};
use crate::trouble::Result;
use crate::{browser, disk, process};

/// What becomes of tests that cannot be run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// They are named in the summary.
    Named,
    /// They are failures: what CI wants.
    Failures,
}

/// Runs all tests. With `arguments` for the test programs, only those of cargo: a name picks among them.
pub(crate) fn run(gaps: Gaps, arguments: &[String]) -> Result<()> {
    let mut report = Report::default();
    let mut databases = Databases::new(gaps == Gaps::Failures);
    let [mysql, mariadb] = Databases::start();
    report.step("MySQL for the tests", || databases.add(mysql));
    report.step("MariaDB for the tests", || databases.add(mariadb));
    report.step("small disks for the tests", disk::can_be_mounted);
    report.step("servers of the tests' own", || Ok(databases.own_servers()));
    report.step("unit and integration tests", || unit_and_integration(&databases, arguments));
    report.step("examples in the documentation", || documentation(&databases, arguments));
    drop(databases);
    if arguments.is_empty() {
        report.step("browser tests", browser_tests);
    }
    if gaps == Gaps::Failures {
        report.fail_what_was_skipped();
    }
    report.finish()
}

/// All targets but the benchmarks.
fn unit_and_integration(databases: &Databases, arguments: &[String]) -> Result<()> {
    let targets = ["--lib", "--bins", "--tests", "--examples"];
    process::run(
        databases
            .tell(&mut process::cargo()?)
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(targets)
            .arg("--")
            .args(arguments),
    )
}

fn documentation(databases: &Databases, arguments: &[String]) -> Result<()> {
    process::run(
        databases
            .tell(&mut process::cargo()?)
            .args(["test", "--workspace", "--no-fail-fast", "--doc", "--"])
            .args(arguments),
    )
}

fn browser_tests() -> Result<Outcome> {
    let tests = browser::tests()?;
    if tests.is_empty() {
        return Ok(Outcome::Got("there are none yet".to_owned()));
    }
    match browser::ready()? {
        Ok(ready) => {
            // Named like this, it is built with the features of the tests above, and so nothing is built twice.
            process::run(process::cargo()?.args(["build", "--workspace", "--tests", "--bin", "axum-app"]))?;
            ready.run(&tests)?;
            Ok(Outcome::Passed)
        }
        Err(missing) => Ok(Outcome::skipped(missing, "`cargo xtask setup` installs what they need.")),
    }
}
