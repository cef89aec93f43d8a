//! `cargo xtask sql`: what databases say of the stores' statements, by which these are checked when they are compiled.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::database::{Databases, Kind};
use crate::place;
use crate::process;
use crate::trouble::{Result, Trouble, Trying as _};

/// A store, and the database that is asked.
struct Store {
    package: &'static str,
    /// The variable of its `sqlx.toml`.
    variable: &'static str,
}

const SQLITE: Store = Store { package: "iam-store-sqlite", variable: "IAM_SQLITE_DATABASE_URL" };
const MYSQL: Store = Store { package: "iam-store-mysql", variable: "IAM_MYSQL_DATABASE_URL" };

/// Writes `.sqlx` of both stores anew, from empty databases with their migrations; or says how it differs from that.
pub(crate) fn run(check: bool) -> Result<()> {
    let work = place::workspace()?.join("target/iam-sql");
    fs::create_dir_all(&work).trying(|| format!("make {}", work.display()))?;
    let file = work.join("iam.db");
    if file.exists() {
        fs::remove_file(&file).trying(|| format!("remove {}", file.display()))?;
    }
    SQLITE.ask(&format!("sqlite:{}?mode=rwc", file.display()), &work, check)?;
    let databases = Databases::look_for(Kind::MySql)?;
    let url = databases.url(Kind::MySql).map_err(Trouble::new)?;
    // What is kept names the database, so it has one name everywhere.
    MYSQL.ask(&format!("{}/iam_build", url.trim_end_matches('/')), &work, check)
}

impl Store {
    #[expect(clippy::disallowed_methods, reason = "a file is touched, which tells us nothing")]
    fn ask(&self, url: &str, work: &Path, check: bool) -> Result<()> {
        let root = place::workspace()?;
        let folder = root.join(self.package);
        let migrations = folder.join("migrations");
        // Its URL may hold a password, so the command is not shown.
        process::read(
            process::cargo()?
                .args(["run", "--quiet", "--package", "iam-schema", "--"])
                .arg(&migrations)
                .arg(url),
        )?;
        let fresh = work.join(self.package);
        if fresh.exists() {
            fs::remove_dir_all(&fresh).trying(|| format!("remove {}", fresh.display()))?;
        }
        fs::create_dir_all(&fresh).trying(|| format!("make {}", fresh.display()))?;
        // What is compiled already would ask nobody.
        let library = folder.join("src/lib.rs");
        let touching = || format!("touch {}", library.display());
        let opened = fs::OpenOptions::new().append(true).open(&library).trying(touching)?;
        opened.set_modified(SystemTime::now()).trying(touching)?;
        process::run(
            process::cargo()?
                .args(["check", "--package", self.package])
                .env("SQLX_OFFLINE_DIR", &fresh)
                .env(self.variable, url),
        )?;
        let (kept, fresh) = (folder.join(".sqlx"), statements(&fresh)?);
        if check { self.compare(&statements(&kept)?, &fresh) } else { self.write(&kept, &fresh) }
    }

    fn compare(&self, kept: &BTreeMap<String, String>, fresh: &BTreeMap<String, String>) -> Result<()> {
        let differing = fresh.iter().filter(|(name, text)| kept.get(*name) != Some(text)).count();
        let left_over = kept.keys().filter(|name| !fresh.contains_key(*name)).count();
        if differing + left_over == 0 {
            println!("{}: {} statements, as they are kept", self.package, fresh.len());
            return Ok(());
        }
        Err(Trouble::new(format!(
            "{}/.sqlx is not what the database says: {differing} statements are missing or differ, {left_over} are left over. \
             `cargo xtask sql` writes it anew.",
            self.package
        )))
    }

    fn write(&self, kept: &Path, fresh: &BTreeMap<String, String>) -> Result<()> {
        fs::create_dir_all(kept).trying(|| format!("make {}", kept.display()))?;
        for name in statements(kept)?.keys().filter(|name| !fresh.contains_key(*name)) {
            fs::remove_file(kept.join(name)).trying(|| format!("remove {name}"))?;
        }
        for (name, text) in fresh {
            fs::write(kept.join(name), text).trying(|| format!("write {name}"))?;
        }
        println!("{}: {} statements written", self.package, fresh.len());
        Ok(())
    }
}

/// The files of statements in a folder, by name.
fn statements(folder: &Path) -> Result<BTreeMap<String, String>> {
    let reading = || format!("read {}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).trying(reading)? {
        let path = entry.trying(reading)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("query-") {
            found.insert(name, fs::read_to_string(&path).trying(reading)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_statement_that_is_missing_differs_or_is_left_over_is_told() {
        let fresh = map(&[("a", "1"), ("b", "2")]);
        SQLITE.compare(&fresh, &fresh).unwrap();
        let trouble = SQLITE.compare(&map(&[("b", "3"), ("c", "4")]), &fresh).unwrap_err().to_string();
        assert!(trouble.contains("2 statements are missing or differ, 1 are left over"), "{trouble}");
    }
}
