//! Where a server comes from: the person's own, else one of the machine, else one that `setup` unpacked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, set, unpacked};
use crate::process;
use crate::trouble::{Result, Trouble};

/// Where a server comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A running one, by its address.
    Named(String),
    /// Programs to start, the best first.
    Programs(Vec<Program>),
    /// There is none, and why.
    Missing(String),
}

/// A program that is a server of a version that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    /// The folder that it was unpacked into; an installed one knows itself where its files are.
    pub(super) tree: Option<PathBuf>,
    pub(super) version: String,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.kind.name(), self.version, self.path.display())
    }
}

impl Program {
    /// The program, if it starts and is of the kind and version that is wanted; else why not.
    pub(super) fn judged(
        kind: Kind,
        program: &Path,
        tree: Option<&Path>,
    ) -> std::result::Result<Self, String> {
        let refuse = |why: &str| format!("{} {why}.", program.display());
        let said = process::read(Command::new(program).args(["--no-defaults", "--version"]))
            .map_err(|_| refuse("does not start"))?;
        let version = kind.judge(&said).map_err(|why| refuse(&why))?;
        Ok(Self { kind, path: program.to_path_buf(), tree: tree.map(Path::to_path_buf), version })
    }
}

/// Looks in all places.
pub(super) fn find(kind: Kind) -> Result<Source> {
    match set(kind.variable()) {
        Some(url) => {
            check(&url).map_err(|why| Trouble::new(format!("{} {why}", kind.variable())))?;
            Ok(Source::Named(url))
        }
        None => program_on_machine_or_unpacked(kind),
    }
}

/// Looks for a program to start.
pub(super) fn program_on_machine_or_unpacked(kind: Kind) -> Result<Source> {
    let installed = installed(kind).into_iter().map(|program| Program::judged(kind, &program, None));
    let unpacked = unpacked::folder(kind)?;
    let launcher = unpacked.join(unpacked::LAUNCHER);
    let unpacked = launcher.is_file().then(|| Program::judged(kind, &launcher, Some(&unpacked)));
    Ok(choose(kind, installed.chain(unpacked)))
}

/// All that will do; with none, what was found instead.
fn choose(kind: Kind, found: impl Iterator<Item = std::result::Result<Program, String>>) -> Source {
    let (mut programs, mut refused) = (Vec::new(), format!("There is no {} here.", kind.name()));
    for program in found {
        match program {
            Ok(program) => programs.push(program),
            Err(why) => {
                refused.push(' ');
                refused.push_str(&why);
            }
        }
    }
    if programs.is_empty() { Source::Missing(refused) } else { Source::Programs(programs) }
}

/// Programs of the machine that might be the server. Those of the system often lie outside a person's `PATH`.
fn installed(kind: Kind) -> Vec<PathBuf> {
    let (names, folders): (&[&str], &[&str]) = match kind {
        Kind::MySql => (
            &["mysqld"],
            &[
                "/usr/sbin",
                "/usr/libexec",
                "/usr/local/sbin",
                "/usr/local/mysql/bin",
                "/opt/homebrew/opt/mysql/bin",
            ],
        ),
        Kind::MariaDb => (
            // Long ago it was `mysqld` too, but not in a version that is still of use.
            &["mariadbd"],
            &["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/opt/mariadb/bin"],
        ),
    };
    let mut found: Vec<PathBuf> = names.iter().copied().filter_map(process::on_path).collect();
    for folder in folders {
        found.extend(
            names.iter().map(|name| Path::new(folder).join(name)).filter(|program| program.is_file()),
        );
    }
    // The same program by two ways is one.
    let mut seen = Vec::new();
    found.retain(|program| {
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    found
}

/// Whether this is an address of a server, as far as can be told without asking it.
fn check(url: &str) -> std::result::Result<(), &'static str> {
    let rest = url
        .strip_prefix("mysql://")
        .or_else(|| url.strip_prefix("mariadb://"))
        .ok_or("must be an address like mysql://root:password@127.0.0.1:3306.")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (account, host) = authority.rsplit_once('@').ok_or("names no account (mysql://ACCOUNT:...@host).")?;
    if account.is_empty() || account.starts_with(':') {
        return Err("names no account (mysql://ACCOUNT:...@host).");
    }
    if host.is_empty() || host.starts_with(':') { Err("names no host.") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str) -> Program {
        Program { kind: Kind::MySql, path: path.into(), tree: None, version: "9.7.4".into() }
    }

    #[test]
    fn an_address_needs_the_scheme_an_account_and_a_host() {
        for good in
            ["mysql://root:pw@127.0.0.1:3306", "mariadb://a@db/x?ssl-mode=REQUIRED", "mysql://r:p@[::1]:1"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let bad = [
            "",
            "postgres://a@b",
            "127.0.0.1:3306",
            "mysql://",
            "mysql://host",
            "mysql://a:b@",
            "mysql://@h",
        ];
        for bad in bad.into_iter().chain(["mysql://a@:3306", "mysql://:pw@h", "mysql://h/db?user=a@b"]) {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_will_do_is_kept_in_order() {
        let found = [Err("/a/mysqld is MariaDB 10.11.19.".to_owned()), Ok(program("/b")), Ok(program("/c"))];
        assert_eq!(
            choose(Kind::MySql, found.into_iter()),
            Source::Programs(vec![program("/b"), program("/c")])
        );
    }

    #[test]
    fn with_none_it_is_said_what_was_found_instead() {
        let found = [Err("/a/mysqld is MariaDB 10.11.19.".to_owned())];
        assert_eq!(
            choose(Kind::MySql, found.into_iter()),
            Source::Missing("There is no MySQL here. /a/mysqld is MariaDB 10.11.19.".into())
        );
        assert_eq!(
            choose(Kind::MariaDb, std::iter::empty()),
            Source::Missing("There is no MariaDB here.".into())
        );
    }

    #[test]
    fn a_program_that_is_no_server_is_refused() {
        let refused = Program::judged(Kind::MySql, Path::new("/no/such/mysqld"), None);
        assert_eq!(refused, Err("/no/such/mysqld does not start.".into()));
    }
}
