//! Known vulnerabilities among the dependencies, by the `RustSec` database of advisories.
//!
//! The database is the one that cargo-deny fetches; where that can't be reached, the copy that `IAM_ADVISORY_DB` names; else there is none.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::{Outcome, Report};
use crate::trouble::{Result, Trouble, Trying as _};
use crate::{cargo_deny, place, process};

/// The setting: a folder with the files of the database, or a `.tar.gz` of them.
const SETTING: &str = "IAM_ADVISORY_DB";

const URL: &str = "https://github.com/rustsec/advisory-db";

/// What cargo-deny calls its copy of the database at [`URL`].
const COPY: &str = "advisory-db-3157b0e258782691";

/// The one check, where not having asked is a failure.
pub(crate) fn alone() -> Result<()> {
    let mut report = Report::default();
    report.step("security advisories", run);
    report.fail_what_was_skipped();
    report.finish()
}

/// Checks the workspace.
pub(crate) fn run() -> Result<Outcome> {
    let Some(mut fetch) = cargo_deny::command()? else { return Ok(cargo_deny::missing()) };
    if process::read(fetch.args(["fetch", "db"])).is_ok() {
        return check_by_fetched();
    }
    match env::var_os(SETTING).filter(|value| !value.is_empty()) {
        Some(named) => check_by(Path::new(&named), &place::workspace()?.join("target")),
        None => Ok(Outcome::skipped(
            "The database of advisories (git repository RustSec/advisory-db) cannot be reached from here.",
            "Name a copy of it in IAM_ADVISORY_DB: a folder, or a .tar.gz.",
        )),
    }
}

fn check_by_fetched() -> Result<Outcome> {
    let Some(mut check) = cargo_deny::command()? else { return Ok(cargo_deny::missing()) };
    process::run(check.args(["check", "--hide-inclusion-graph", "advisories"]))?;
    Ok(Outcome::Passed)
}

/// Checks by a copy of the database, which is left as it is: cargo-deny wants a git repository in a folder of its own making.
fn check_by(named: &Path, scratch: &Path) -> Result<Outcome> {
    let folder = scratch.join("advisories");
    if folder.exists() {
        fs::remove_dir_all(&folder).trying(|| format!("remove {}", folder.display()))?;
    }
    let copy = folder.join(COPY);
    fs::create_dir_all(&copy).trying(|| format!("make {}", copy.display()))?;
    take(named, &copy)?;
    make_repository(&copy)?;
    let config = folder.join("deny.toml");
    let rules = place::workspace()?.join("deny.toml");
    let rules = fs::read_to_string(&rules).trying(|| format!("read {}", rules.display()))?;
    fs::write(&config, with_database(&rules, &folder)?).trying(|| format!("write {}", config.display()))?;
    let Some(mut check) = cargo_deny::command()? else { return Ok(cargo_deny::missing()) };
    check.arg("--offline").arg("--config").arg(&config);
    process::run(check.args(["check", "--hide-inclusion-graph", "advisories"]))?;
    // A copy does not grow old by itself where anybody sees it.
    let newest = newest(&copy.join("crates"))?;
    Ok(Outcome::Got(format!("by {}, whose newest advisory is of {newest}", named.display())))
}

/// The latest date of an advisory, as it is written in each: `date = "2026-08-19"`.
fn newest(crates: &Path) -> Result<String> {
    let mut newest = String::new();
    let read = |folder: &Path| fs::read_dir(folder).trying(|| format!("read {}", folder.display()));
    for advisories in read(crates)?.filter_map(std::result::Result::ok) {
        for file in read(&advisories.path())?.filter_map(std::result::Result::ok) {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            let date = text.lines().find_map(|line| line.strip_prefix("date = \"")?.strip_suffix('"'));
            newest = newest.max(date.unwrap_or_default().to_owned());
        }
    }
    Ok(newest)
}

/// Copies what is in a folder or archive, in which the database may lie one folder down.
fn take(named: &Path, copy: &Path) -> Result<()> {
    // Relative to where the person is, not to the workspace.
    let named = std::path::absolute(named).trying(|| format!("find {}", named.display()))?;
    if named.is_dir() {
        process::read(Command::new("cp").arg("-R").arg(root_of(&named)?.join(".")).arg(copy))?;
    } else {
        process::read(Command::new("tar").arg("-xzf").arg(&named).arg("-C").arg(copy))?;
        let root = root_of(copy)?;
        if root != copy {
            process::read(Command::new("cp").arg("-R").arg(root.join(".")).arg(copy))?;
        }
    }
    Ok(())
}

/// The folder that holds the advisories of crates.
fn root_of(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).trying(|| format!("read {}", folder.display()))?;
    let below = entries.filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(folder.to_path_buf()).chain(below).find(|root| root.join("crates").is_dir()).ok_or_else(
        || Trouble::new(format!("{SETTING}: there are no advisories of crates in {}.", folder.display())),
    )
}

fn make_repository(copy: &Path) -> Result<()> {
    let git = |arguments: &[&str]| {
        let settings =
            ["-c", "user.name=xtask", "-c", "user.email=xtask@localhost", "-c", "commit.gpgsign=false"];
        process::read(Command::new("git").current_dir(copy).args(settings).args(arguments))
    };
    if !copy.join(".git").exists() {
        git(&["init", "--quiet", "--initial-branch", "main"])?;
        git(&["add", "--all"])?;
        git(&["commit", "--quiet", "--message", "a copy"])?;
    }
    // By this cargo-deny tells when the database was fetched.
    let mark = copy.join(".git").join("FETCH_HEAD");
    fs::write(&mark, "").trying(|| format!("write {}", mark.display()))
}

/// Our rules, with where the database lies.
fn with_database(rules: &str, folder: &Path) -> Result<String> {
    const TABLE: &str = "[advisories]\n";
    if !rules.contains(TABLE) {
        return Err(Trouble::new("deny.toml has no table [advisories]."));
    }
    // As in JSON: what Rust escapes, TOML reads.
    let table = format!("{TABLE}db-path = {:?}\ndb-urls = [{URL:?}]\n", folder.display().to_string());
    Ok(rules.replacen(TABLE, &table, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advisory on every version of a crate.
    fn plant(folder: &Path, name: &str) {
        let advisories = folder.join("crates").join(name);
        fs::create_dir_all(&advisories).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2020-9999\"\npackage = \"{name}\"\ndate = \"2020-01-01\"\n\
             [versions]\npatched = []\n```\n\n# Planted\n\nBy a test.\n"
        );
        fs::write(advisories.join("RUSTSEC-2020-9999.md"), text).unwrap();
    }

    fn scratch(name: &str) -> PathBuf {
        let folder = place::workspace().unwrap().join("target").join("xtask-tests").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_planted_advisory_fails_the_check_and_a_foreign_one_does_not() {
        if cargo_deny::command().unwrap().is_none() {
            println!("skipped: cargo-deny is not installed; `cargo xtask setup` installs it");
            return;
        }
        for (name, passes) in [("subtle", false), ("a-crate-that-nobody-takes", true)] {
            let folder = scratch(name);
            let database = folder.join("database");
            plant(&database, name);
            assert_eq!(check_by(&database, &folder).is_ok(), passes, "{name}");
            // The same as an archive, one folder down.
            let archive = folder.join("copy.tar.gz");
            let mut tar = Command::new("tar");
            process::read(tar.arg("-czf").arg(&archive).arg("-C").arg(&folder).arg("database")).unwrap();
            assert_eq!(check_by(&archive, &folder).is_ok(), passes, "{name}, as an archive");
        }
    }

    #[test]
    fn the_age_of_a_copy_is_told() {
        let folder = scratch("age");
        plant(&folder, "one");
        assert_eq!(newest(&folder.join("crates")).unwrap(), "2020-01-01");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        let folder = scratch("empty");
        let trouble = root_of(&folder).unwrap_err().to_string();
        assert!(trouble.starts_with("IAM_ADVISORY_DB: there are no advisories"), "{trouble}");
        assert!(take(&folder.join("missing.tar.gz"), &folder).is_err());
    }

    #[test]
    fn the_rules_stay_those_of_the_workspace() {
        let rules = "[bans]\nx = 1\n\n[advisories]\nyanked = \"deny\"\n";
        let with = with_database(rules, Path::new("/a b/\"c\"")).unwrap();
        assert_eq!(
            with,
            "[bans]\nx = 1\n\n[advisories]\ndb-path = \"/a b/\\\"c\\\"\"\n\
             db-urls = [\"https://github.com/rustsec/advisory-db\"]\nyanked = \"deny\"\n"
        );
        assert!(with_database("[bans]\n", Path::new("/")).is_err());
    }
}
