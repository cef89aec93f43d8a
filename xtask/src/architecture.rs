//! The arrows between the crates, proved from what cargo would build.
//!
//! Adapters -> `iam-web` -> `iam-core` <- stores, factors, single sign-on; and nothing that a crate must never see
//! comes in by way of a dependency's dependency either.

use crate::process;
use crate::trouble::{Result, Trouble};

/// What one crate of the family may depend on, directly or not, with all its features on.
struct Rule {
    /// The crate.
    of: &'static str,
    /// The crates that it must never see. A `*` at the end stands for any ending.
    never: &'static [&'static [&'static str]],
    /// The crates of the family that it may see.
    family: &'static [&'static str],
}

const SQL: &[&str] =
    &["sqlx*", "rusqlite", "libsqlite3-sys", "mysql*", "tokio-postgres", "diesel*", "sea-orm*", "sea-query*"];
const HTTP: &[&str] =
    &["http", "http-body*", "hyper*", "h2", "h3", "headers", "tower*", "reqwest*", "ureq", "curl*", "isahc"];
const FRAMEWORKS: &[&str] = &["axum*", "actix*", "warp", "rocket*", "poem*", "salvo*", "tonic*"];
const NETWORK: &[&str] = &[
    // Not tokio itself, which is timers and tasks: its `net` brings these.
    "tokio-*",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "async-io",
    "rustls*",
    "native-tls",
    "openssl*",
    "lettre",
    "openidconnect",
    "oauth2",
    "hickory*",
    "quinn*",
];
const AXUM: &[&str] = &["axum*"];
const ACTIX: &[&str] = &["actix*"];

/// The architecture. A crate that is not there yet is passed over; a crate that has no row here is an error.
const RULES: &[Rule] = &[
    Rule { of: "iam-core", never: &[SQL, HTTP, FRAMEWORKS, NETWORK], family: &[] },
    Rule { of: "iam-store-sql", never: &[SQL, HTTP, FRAMEWORKS, NETWORK], family: &["iam-core"] },
    Rule { of: "iam-store-sqlite", never: &[HTTP, FRAMEWORKS], family: &["iam-core", "iam-store-sql"] },
    Rule { of: "iam-store-mysql", never: &[HTTP, FRAMEWORKS], family: &["iam-core", "iam-store-sql"] },
    Rule { of: "iam-store-testkit", never: &[SQL, HTTP, FRAMEWORKS], family: &["iam-core"] },
    // For the tests of hosts on either framework, so it brings neither; its store does bring SQL.
    Rule {
        of: "iam-testkit",
        never: &[HTTP, FRAMEWORKS],
        family: &["iam-core", "iam-mfa", "iam-store-sql", "iam-store-sqlite", "iam-store-testkit", "iam-web"],
    },
    // These two speak HTTP to others, so they may see a client, which brings `http` and `tower`.
    Rule { of: "iam-mfa", never: &[SQL, FRAMEWORKS], family: &["iam-core"] },
    Rule { of: "iam-sso", never: &[SQL, FRAMEWORKS], family: &["iam-core"] },
    Rule { of: "iam-web", never: &[SQL, HTTP, FRAMEWORKS], family: &["iam-core"] },
    Rule { of: "iam-axum", never: &[SQL, ACTIX], family: &["iam-core", "iam-web"] },
    Rule { of: "iam-actix", never: &[SQL, AXUM], family: &["iam-core", "iam-web"] },
];

/// Members that prove things about the family from outside, and may see all of it.
const OUTSIDE: &[&str] = &["iam-tests", "iam-bench", "iam-schema"];

/// Checks every crate of the family.
pub(crate) fn run() -> Result<()> {
    let members = members()?;
    let mut faults: Vec<String> = members.iter().filter_map(|member| missing_row(member)).collect();
    for rule in RULES.iter().filter(|rule| members.iter().any(|member| member == rule.of)) {
        let found = rule.faults(&tree(rule.of)?);
        if found.is_empty() {
            println!("{}: sees nothing that it must not", rule.of);
        }
        faults.extend(found);
    }
    for example in EXAMPLES {
        faults.extend(made_for_tests(example, &features(example)?));
    }
    if faults.is_empty() { Ok(()) } else { Err(Trouble::new(faults.join("\n"))) }
}

/// Services as a host builds them.
const EXAMPLES: [&str; 2] = ["axum-app", "actix-app"];

/// The feature with which passwords are hashed at next to no cost.
const FOR_TESTS: &str = "danger-weak-for-tests";

/// What a service would be built with though it is made for tests.
fn made_for_tests(of: &str, tree: &str) -> Option<String> {
    tree.contains(FOR_TESTS).then(|| {
        format!(
            "{of} is built with the feature {FOR_TESTS} of iam-core. `cargo tree -p {of} -e normal,features -i iam-core` shows by which way."
        )
    })
}

/// The crates and features that a package is built with outside of its tests.
fn features(of: &str) -> Result<String> {
    process::read(process::cargo()?.args([
        "tree",
        "--package",
        of,
        "--edges",
        "normal,features",
        "--prefix",
        "none",
    ]))
}

impl Rule {
    /// What in a crate's tree breaks the rule, a sentence each.
    fn faults(&self, tree: &str) -> Vec<String> {
        let mut faults: Vec<String> = tree.lines().filter_map(|line| self.fault(line)).collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    fn fault(&self, line: &str) -> Option<String> {
        let seen = name(line)?;
        let why = if self.never.iter().any(|group| group.iter().any(|pattern| matches(pattern, seen))) {
            "which it must never see"
        } else if seen.starts_with("iam-") && seen != self.of && !self.family.contains(&seen) {
            "an arrow in the wrong direction"
        } else {
            return None;
        };
        Some(format!(
            "{of} depends on {seen}, {why}. \
             `cargo tree -p {of} -e normal --all-features --target all -i {seen}` shows by which way.",
            of = self.of
        ))
    }
}

/// A crate of the family without a row in the table would go unchecked.
fn missing_row(member: &str) -> Option<String> {
    let known = OUTSIDE.contains(&member) || RULES.iter().any(|rule| rule.of == member);
    (member.starts_with("iam-") && !known)
        .then(|| format!("{member} has no row in the table of xtask/src/architecture.rs."))
}

/// The names of the workspace's members.
fn members() -> Result<Vec<String>> {
    let listed =
        process::read(process::cargo()?.args(["tree", "--workspace", "--depth", "0", "--prefix", "none"]))?;
    Ok(listed.lines().filter_map(name).map(str::to_owned).collect())
}

/// Everything that a crate would be built with, on any system and with all features, one package a line.
fn tree(of: &str) -> Result<String> {
    process::read(process::cargo()?.args([
        "tree",
        "--package",
        of,
        "--edges",
        "normal",
        "--all-features",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))
}

/// `sqlx-core v0.9.0 (*)` -> `sqlx-core`
fn name(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(of: &str, tree: &str) -> Vec<String> {
        RULES.iter().find(|rule| rule.of == of).expect("a row of the table").faults(tree)
    }

    #[test]
    fn a_driver_below_core_is_found() {
        let tree =
            "iam-core v0.1.0 (/w/iam-core)\nthiserror v2.0.1\nsqlx-core v0.9.0\nsqlx-core v0.9.0 (*)\n";
        let faults = faults("iam-core", tree);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].starts_with("iam-core depends on sqlx-core, which it must never see."),
            "{faults:?}"
        );
    }

    #[test]
    fn an_arrow_in_the_wrong_direction_is_found() {
        assert_eq!(faults("iam-core", "iam-core v0.1.0\niam-web v0.1.0\n").len(), 1);
        assert_eq!(faults("iam-web", "iam-web v0.1.0\niam-core v0.1.0\niam-axum v0.1.0\n").len(), 1);
        assert_eq!(faults("iam-axum", "iam-axum v0.1.0\niam-web v0.1.0\niam-core v0.1.0\n"), [""; 0]);
    }

    #[test]
    fn each_crate_has_its_own_limits() {
        let tree = "http v1.0.0\nhyper-util v0.1.0\naxum-core v0.5.0\ntokio v1.0.0\nmio v1.0.0\n";
        assert_eq!(faults("iam-core", tree).len(), 4);
        assert_eq!(faults("iam-store-sqlite", tree).len(), 3);
        assert_eq!(faults("iam-web", tree).len(), 3);
        assert_eq!(faults("iam-mfa", tree).len(), 1);
        assert_eq!(faults("iam-axum", tree), [""; 0]);
        assert_eq!(faults("iam-actix", tree).len(), 1);
    }

    #[test]
    fn a_name_matches_whole_or_by_its_beginning() {
        assert!(matches("sqlx*", "sqlx") && matches("sqlx*", "sqlx-sqlite") && matches("http", "http"));
        assert!(!matches("http", "httpdate") && !matches("sqlx*", "my-sqlx"));
    }

    #[test]
    fn a_service_that_is_built_for_tests_is_found() {
        assert!(made_for_tests("axum-app", "iam-core feature \"danger-weak-for-tests\"\n").is_some());
        assert_eq!(made_for_tests("axum-app", "iam-core feature \"default\"\n"), None);
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert!(missing_row("iam-new").is_some());
        assert!(missing_row("iam-core").or(missing_row("iam-tests")).or(missing_row("axum-app")).is_none());
    }
}
