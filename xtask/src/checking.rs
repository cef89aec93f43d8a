//! `cargo xtask check`: everything that reads the code without running it.

use crate::report::{Outcome, Report};
use crate::testing::Gaps;
use crate::trouble::Result;
use crate::{advisories, architecture, cargo_deny, documents, layers, process};

/// Runs every check, also after one has failed.
pub(crate) fn run(gaps: Gaps) -> Result<()> {
    let mut report = Report::default();
    report.step("formatting", formatting);
    report.step("lints", lints);
    report.step("documentation", documentation);
    report.step("documents", documents::run);
    report.step("architecture", architecture::run);
    report.step("layers of iam-core", layers::run);
    report.step("dependencies", dependencies);
    report.step("security advisories", advisories::run);
    if gaps == Gaps::Failures {
        report.fail_what_was_skipped();
    }
    report.finish()
}

fn formatting() -> Result<()> {
    process::run(process::cargo()?.args(["fmt", "--all", "--check"]))?;
    // A workspace of its own. It says no more than which property is fuzzed: the properties are in the crates.
    process::run(process::cargo()?.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn lints() -> Result<()> {
    process::run(process::cargo()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    process::run(process::cargo()?.env("RUSTDOCFLAGS", "-D warnings").args([
        "doc",
        "--workspace",
        "--no-deps",
    ]))
}

/// Licences, banned crates and where crates come from; `deny.toml` says what is allowed.
fn dependencies() -> Result<Outcome> {
    let Some(mut cargo_deny) = cargo_deny::command()? else { return Ok(cargo_deny::missing()) };
    process::run(cargo_deny.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}
