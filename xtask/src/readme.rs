//! The service of README.md, made of nothing but what is printed there: a crate of its own with those dependencies, which is checked.
//!
//! That each block of code in the documents compiles is a matter of the documentation's tests (`iam-testkit`); here it is seen that the
//! dependencies and features that are printed beside it are enough.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::trouble::{Result, Trouble, Trying as _};
use crate::{place, process};

/// Where the README takes this repository to lie.
const BESIDE: &str = "../iam/";

/// Makes the service and checks it.
pub(crate) fn run() -> Result<()> {
    let workspace = place::workspace()?;
    let readme = read(&workspace.join("README.md"))?;
    let target = target()?;
    let service = target.join("readme-service");
    let source = service.join("src");
    fs::create_dir_all(&source).trying(|| format!("make the folder {}", source.display()))?;
    write(&service.join("Cargo.toml"), &manifest(block(&readme, "toml")?, &workspace))?;
    write(&source.join("main.rs"), block(&readme, "rust,no_run")?)?;
    // The versions that everything else was tested with: all that is needed was fetched for that.
    write(&service.join("Cargo.lock"), &read(&workspace.join("Cargo.lock"))?)?;
    process::run(
        process::cargo()?
            .args(["check", "--quiet", "--offline"])
            .current_dir(&service)
            .env("CARGO_TARGET_DIR", &target),
    )
}

/// The first block of a language.
fn block<'a>(text: &'a str, language: &str) -> Result<&'a str> {
    let begin = format!("```{language}\n");
    text.split_once(&begin)
        .and_then(|(_, rest)| rest.split_once("```\n"))
        .map(|(block, _)| block)
        .ok_or_else(|| Trouble::new(format!("README.md has no block of `{language}`.")))
}

/// What `cargo new` writes, with the dependencies that are printed. It belongs to no workspace but its own.
fn manifest(dependencies: &str, workspace: &Path) -> String {
    let dependencies = dependencies.replace(BESIDE, &format!("{}/", workspace.display()));
    format!(
        "[package]\nname = \"readme-service\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n{dependencies}"
    )
}

/// The folder of what is built, as this program was: its grandparent.
fn target() -> Result<PathBuf> {
    let this = env::current_exe().trying(|| "find out where this program lies".to_owned())?;
    let target = this.parent().and_then(Path::parent).map(Path::to_path_buf);
    target.ok_or_else(|| Trouble::new("This program does not lie in a target folder."))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).trying(|| format!("read {}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).trying(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# A\n\n```toml\n[dependencies]\na = { path = \"../iam/a\" }\n```\n\n```rust,no_run\nfn main() {}\n```\n";

    #[test]
    fn blocks_are_taken_as_they_are_printed() {
        assert_eq!(block(README, "rust,no_run").unwrap(), "fn main() {}\n");
        assert!(block(README, "text").is_err());
        let manifest = manifest(block(README, "toml").unwrap(), Path::new("/r"));
        assert!(
            manifest.contains("\n[workspace]\n\n[dependencies]\na = { path = \"/r/a\" }\n"),
            "{manifest}"
        );
    }
}
