//! The family's own chores. `cargo xtask` lists them.
//!
//! - [`testing`] runs every test and says plainly what it had to skip; [`needs`] decides what that is.
//! - [`checking`] runs everything that reads the code without running it.
//! - [`advisories`] asks whether a dependency is known to be vulnerable.
//! - [`sbom`] says what the published crates are made of.
//! - [`architecture`] holds the table of which crate must never see which, [`layers`] the same for the folders of `iam-core`.
//! - [`database`] finds and runs MySQL and MariaDB.
//! - [`documents`] looks at what README.md and docs/*.md print.
//! - [`disk`] finds out whether small file systems can be mounted for tests.
//! - [`fuzz`] gives the readers of strangers' input more of it than anyone would write.
//! - [`readme`] makes the service of README.md of what is printed there.
//! - [`timing`] measures whether timing tells why a sign-in failed.
//! - [`statements`] asks databases what they say of the stores' SQL.
//! - [`setup`] installs what the others need, ahead of them, into one cache folder ([`place::cache`]).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling a person at a terminal what happens is what this program is for"
)]

mod advisories;
mod architecture;
mod browser;
mod cargo_deny;
mod checking;
mod database;
mod disk;
mod documents;
mod fuzz;
mod layers;
mod needs;
mod place;
mod process;
mod progress;
mod readme;
mod report;
mod sbom;
mod setup;
mod statements;
mod testing;
mod timing;
mod trouble;

use std::env;
use std::process::ExitCode;

use trouble::{Result, Trouble};

const HELP: &str = "\
cargo xtask test                     every test. It gets what is missing (MySQL, MariaDB, npm packages, Chromium) into the
                                     cache folder, says how long it takes, and at the end what it had to skip
     --offline                       nothing is fetched
     --all                           what had to be skipped counts as failed (CI)
     --only NAME                     one test program (tests/NAME.rs of any crate), or `browser`, `documentation` or `readme`
     -- ARGS                         go to the test programs, such as a part of a test's name
                                     It uses IAM_TEST_MYSQL_URL and IAM_TEST_MARIADB_URL (an account with
                                     every privilege) when set, else starts servers of its own.
cargo xtask db mysql|mariadb         a server for a developer until Ctrl-C; prints the address; keeps its data
cargo xtask check [--all]            formatting, lints, documentation, documents, architecture, dependencies, advisories
                                     --all: what had to be skipped counts as failed (CI)
                                     IAM_ADVISORY_DB: a copy of RustSec's advisory-db, a folder or a .tar.gz, for
                                     where it can't be fetched
cargo xtask advisories               known vulnerabilities, alone
cargo xtask architecture             which crate, and which layer of the core, sees which, alone
cargo xtask sql [--check]            what MySQL and SQLite say of the stores' statements, written anew into .sqlx of both, or compared
cargo xtask sbom [FILE]              what the published crates are made of, as CycloneDX 1.6
cargo xtask bench [-- ARGS]          benchmarks
cargo xtask fuzz [TARGET...] [--runs N] [-- ARGS]
                                     ten million runs of each fuzz target, or N; ARGS go to libFuzzer.
                                     It needs a C++ compiler. `test` runs what is kept in fuzz/corpus
cargo xtask timing [--samples N]     whether timing tells why a sign-in failed; some minutes, on a quiet machine;
                                     fails when it does
cargo xtask setup                    installs what `test` and `check` need beyond Rust, ahead of them, into the cache folder:
                                     $IAM_CACHE, else $XDG_CACHE_HOME/iam, else ~/.cache/iam
                                     IAM_MYSQL_ARCHIVE=\"URL SUITE\": take MySQL from that archive of packages
";

fn main() -> ExitCode {
    let (own, passed_on) = split_arguments(env::args().skip(1));
    match run(&own, &passed_on) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("\n{trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(own: &[String], passed_on: &[String]) -> Result<()> {
    let words: Vec<&str> = own.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", options @ ..] => testing::run(&testing::Options::parse(options)?, passed_on),
        ["check"] => checking::run(testing::Gaps::Named),
        ["check", "--all"] => checking::run(testing::Gaps::Failures),
        ["advisories"] => advisories::alone(),
        ["sbom"] => sbom::run(None),
        ["sbom", file] => sbom::run(Some(file)),
        ["architecture"] => architecture::run().and_then(|()| layers::run()),
        ["sql"] => statements::run(false),
        ["sql", "--check"] => statements::run(true),
        ["db", "mysql"] => database::serve(database::Kind::MySql),
        ["db", "mariadb"] => database::serve(database::Kind::MariaDb),
        // For a test, so it is not in the list.
        ["own-server", "mysql"] => database::own(database::Kind::MySql, passed_on),
        ["own-server", "mariadb"] => database::own(database::Kind::MariaDb, passed_on),
        ["bench"] => bench(passed_on),
        ["fuzz", words @ ..] => fuzz::run(words, passed_on),
        ["timing", arguments @ ..] => timing::run(arguments),
        ["setup"] => setup::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Trouble::new(format!("There is no chore `{}`. There are:\n\n{HELP}", other.join(" ")))),
    }
}

fn bench(passed_on: &[String]) -> Result<()> {
    process::run(process::cargo()?.args(["bench", "--package", "iam-bench", "--"]).args(passed_on))
}

/// What stands before the first `--` is ours, what stands after it is passed on.
fn split_arguments(arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let mut own: Vec<String> = arguments.collect();
    let end = own.iter().position(|word| word == "--").unwrap_or(own.len());
    let passed_on = own.split_off(end).into_iter().skip(1).collect();
    (own, passed_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> (Vec<String>, Vec<String>) {
        split_arguments(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_split_at_the_first_double_dash() {
        assert_eq!(split("test --all"), (vec!["test".into(), "--all".into()], vec![]));
        assert_eq!(split("test -- a -- b"), (vec!["test".into()], vec!["a".into(), "--".into(), "b".into()]));
    }

    #[test]
    fn an_unknown_chore_is_answered_with_the_list() {
        let trouble = run(&["tset".into()], &[]).unwrap_err().to_string();
        assert!(trouble.contains("no chore `tset`") && trouble.contains("cargo xtask setup"), "{trouble}");
    }
}
