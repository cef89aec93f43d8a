//! What a server says of its version, and whether that will do.

use std::fmt;

use super::Kind;

/// The first two numbers of a version: nothing here depends on the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Kind {
    /// The oldest version that the family supports.
    pub(crate) fn oldest(self) -> Version {
        match self {
            Self::MySql => Version { major: 8, minor: 4 },
            Self::MariaDb => Version { major: 10, minor: 11 },
        }
    }

    /// The version, whole, out of what a server says of itself (`mysqld --version`) or why it is no use.
    /// A `mysqld` may well be MariaDB.
    pub(super) fn judge(self, said: &str) -> Result<String, String> {
        let (kind, shown, version) = read(said).ok_or_else(|| "says no version".to_owned())?;
        if kind != self {
            Err(format!("is {} {shown}", kind.name()))
        } else if version < self.oldest() {
            Err(format!("is {} {shown}, older than {}", self.name(), self.oldest()))
        } else {
            Ok(shown)
        }
    }
}

/// `mysqld  Ver 8.4.3 for Linux on x86_64` -> MySQL, `8.4.3`, 8.4
fn read(said: &str) -> Option<(Kind, String, Version)> {
    let whole = said.split_whitespace().skip_while(|word| *word != "Ver").nth(1)?;
    let kind = if said.to_ascii_lowercase().contains("mariadb") { Kind::MariaDb } else { Kind::MySql };
    let number = whole.split('-').next().unwrap_or(whole);
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    let version = Version { major: parts.next()??, minor: parts.next()?? };
    Some((kind, number.to_owned(), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n";
    const OLD: &str = "mysqld  Ver 8.0.43-0ubuntu0.24.04.1 for Linux on x86_64 ((Ubuntu))";
    const MARIADB: &str = "mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";

    #[test]
    fn a_server_that_will_do_says_its_version() {
        assert_eq!(Kind::MySql.judge(NEW), Ok("9.7.4".into()));
        assert_eq!(Kind::MySql.judge("mysqld  Ver 8.4.0 for Linux on x86_64 (MySQL)"), Ok("8.4.0".into()));
        assert_eq!(Kind::MariaDb.judge(MARIADB), Ok("10.11.19".into()));
        assert_eq!(
            Kind::MariaDb.judge("mariadbd  Ver 11.8.2-MariaDB for Linux on x86_64"),
            Ok("11.8.2".into())
        );
    }

    #[test]
    fn an_old_one_and_another_kind_are_named_as_such() {
        assert_eq!(Kind::MySql.judge(OLD), Err("is MySQL 8.0.43, older than 8.4".into()));
        assert_eq!(Kind::MySql.judge(MARIADB), Err("is MariaDB 10.11.19".into()));
        assert_eq!(Kind::MariaDb.judge(NEW), Err("is MySQL 9.7.4".into()));
        let old = "mariadbd  Ver 10.6.22-MariaDB for debian-linux-gnu on x86_64";
        assert_eq!(Kind::MariaDb.judge(old), Err("is MariaDB 10.6.22, older than 10.11".into()));
    }

    #[test]
    fn anything_else_is_no_version() {
        for said in ["", "Ver", "mysqld Ver", "mysqld Ver x.y", "mysqld Ver 9", "version 9.1.0"] {
            assert_eq!(Kind::MySql.judge(said), Err("says no version".into()), "{said}");
        }
    }
}
