//! What README.md and docs/*.md print: that it is true as far as that can be seen without compiling it.
//!
//! Blocks of Rust are compiled as they are printed, by the documentation's tests of `iam-testkit`, which includes the documents; the README's
//! dependencies by [`readme`](crate::readme). Here it is seen that nothing is left out of that, and that manifests, commands, names of people and links say what
//! there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::trouble::{Result, Trouble, Trying as _};
use crate::{HELP, place};

/// What a block may be written in. Rust is either run or compiled, and nothing of it is hidden.
const LANGUAGES: [&str; 6] = ["rust", "rust,no_run", "toml", "sh", "text", "ini"];
/// The people of `IAM_DEMO_USERS`, as the README makes them.
const PEOPLE: [&str; 2] = ["amy", "bob"];
/// Commands of the examples that take somebody's name.
const OF_A_PERSON: [&str; 3] = ["explain", "invite", "reset-factors"];
/// Where the documents take this repository to lie, seen from a service.
const BESIDE: &str = "../iam/";

/// A block between fences.
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

/// Looks at all of them.
pub(crate) fn run() -> Result<()> {
    let workspace = place::workspace()?;
    let problems = in_workspace(&workspace)?;
    if problems.is_empty() { Ok(()) } else { Err(Trouble::new(problems.join("\n"))) }
}

fn in_workspace(workspace: &Path) -> Result<Vec<String>> {
    let manifest = read(&workspace.join("Cargo.toml"))?;
    let lock = read(&workspace.join("Cargo.lock"))?;
    let included = read(&workspace.join("iam-testkit").join("src").join("lib.rs"))?;
    let mut problems = Vec::new();
    for file in files(workspace)? {
        let text = read(&file)?;
        let name = file.strip_prefix(workspace).unwrap_or(&file).display().to_string();
        let beside = |link: &str| file.parent().is_some_and(|folder| folder.join(link).exists());
        let is_crate = |name: &str| workspace.join(name).join("Cargo.toml").is_file();
        let is_package = |name: &str| is_crate(name) || is_crate(&format!("examples/{name}"));
        let mut found = blocks_of(&text);
        found.extend(manifests(&text, &manifest, &is_crate));
        found.extend(versions(&text, &manifest, &lock));
        found.extend(commands(&text, &is_package));
        found.extend(links(&text, &beside));
        if has_rust(&text) && !included.contains(&format!("include_str!(\"../../{name}\")")) {
            found.push("is not included in iam-testkit/src/lib.rs, so nobody compiles it".to_owned());
        }
        problems.extend(found.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    Ok(problems)
}

fn files(workspace: &Path) -> Result<Vec<PathBuf>> {
    let docs = workspace.join("docs");
    let entries = fs::read_dir(&docs).trying(|| format!("read the folder {}", docs.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.push(workspace.join("README.md"));
    files.sort();
    Ok(files)
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    // Every second part is one, and begins with its language.
    let parts = text.split("```").skip(1).step_by(2);
    parts
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .map(|(language, text)| Block { language, text })
        .collect()
}

fn has_rust(text: &str) -> bool {
    blocks(text).iter().any(|block| block.language.starts_with("rust"))
}

/// What of a language nobody checks, or is compiled otherwise than it is printed.
fn blocks_of(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for Block { language, text } in blocks(text) {
        if !LANGUAGES.contains(&language) {
            problems.push(format!("a block of `{language}`; there may be {}", LANGUAGES.join(", ")));
        }
        let hidden = |line: &&str| *line == "#" || line.starts_with("# ");
        if language.starts_with("rust")
            && let Some(line) = text.lines().find(hidden)
        {
            problems.push(format!("`{line}` is compiled, and a reader takes it for code"));
        }
    }
    problems
}

/// Dependencies that are not what the workspace has, and crates that code uses without one.
fn manifests(text: &str, workspace: &str, is_crate: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut named = BTreeSet::new();
    let blocks = blocks(text);
    for block in blocks.iter().filter(|block| block.language == "toml") {
        for (name, value) in dependencies(block.text) {
            named.insert(name.replace('-', "_"));
            match value.split_once(BESIDE) {
                Some((_, path)) => {
                    let path = path.split('"').next().unwrap_or_default();
                    if path != name || !is_crate(path) {
                        problems.push(format!("`{name}`: there is no {BESIDE}{path}"));
                    }
                }
                None if version(value) != version_in(workspace, name) => {
                    problems.push(format!("`{name}` is {:?} in the workspace", version_in(workspace, name)));
                }
                None => {}
            }
        }
    }
    if !named.is_empty() {
        let used = blocks
            .iter()
            .filter(|block| block.language.starts_with("rust"))
            .flat_map(|block| used(block.text));
        let missing: BTreeSet<&str> = used.filter(|name| !named.contains(*name)).collect();
        problems
            .extend(missing.into_iter().map(|name| format!("`{name}` is used, and is no dependency there")));
    }
    problems
}

/// Versions that are named in a sentence or a table: of a dependency (`sqlx = { version = ..`), and of what only one version of can be
/// linked.
fn versions(text: &str, workspace: &str, lock: &str) -> Vec<String> {
    const LINKED: &str = "libsqlite3-sys";
    let prose: String = text.split("```").step_by(2).collect();
    let mut problems = Vec::new();
    for (name, value) in
        prose.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(" = { version = "))
    {
        if version(value) != version_in(workspace, name) {
            problems.push(format!("`{name}` is {:?} in the workspace", version_in(workspace, name)));
        }
    }
    let locked = lock.split(&format!("name = \"{LINKED}\"\nversion = \"")).nth(1).unwrap_or_default();
    for after in prose.split(&format!("`{LINKED}` ")).skip(1) {
        let named: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        if !locked.starts_with(&format!("{named}.")) {
            problems.push(format!("{LINKED} is {}", locked.split('"').next().unwrap_or_default()));
        }
    }
    problems
}

/// The lines below `[dependencies]` and `[dev-dependencies]`.
fn dependencies(manifest: &str) -> Vec<(&str, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = matches!(line, "[dependencies]" | "[dev-dependencies]");
        } else if inside && let Some((name, value)) = line.split_once(" = ") {
            found.push((name, value));
        }
    }
    found
}

/// `"0.8"` or `{ version = "0.8", .. }`
fn version(value: &str) -> Option<&str> {
    let (_, rest) = value.rsplit_once("version = ").unwrap_or(("", value));
    rest.strip_prefix('"')?.split('"').next()
}

fn version_in<'a>(workspace: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| line.strip_prefix(name)?.strip_prefix(" = ");
    version(workspace.lines().find_map(line)?)
}

/// The crates that a program names by `use`, and by a path where it begins with a word of ours.
fn used(code: &str) -> Vec<&str> {
    let root = |path: &'_ str| path.find("::").filter(|_| !path.starts_with("std::"));
    let by_use = code.lines().filter_map(|line| line.trim_start().strip_prefix("use "));
    let by_path = code
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("iam_"));
    by_use.chain(by_path).filter_map(|path| path.get(..root(path)?)).collect()
}

/// Commands that there are not, and people that nobody makes.
fn commands(text: &str, is_package: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let words = |command: &str| command.split(['`', '\n']).next().unwrap_or_default().trim().to_owned();
    for after in text.split("cargo xtask ").skip(1) {
        let chore: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
        if !chore.is_empty() && !chore.starts_with('-') && !HELP.contains(&format!("cargo xtask {chore}")) {
            problems.push(format!("there is no `cargo xtask {chore}`"));
        }
    }
    for after in text.split("cargo run -p ").skip(1) {
        let package = words(after).split_whitespace().next().unwrap_or_default().to_owned();
        if !is_package(&package) {
            problems.push(format!("there is no package `{package}`"));
        }
    }
    for command in OF_A_PERSON {
        for app in ["-- ", "axum-app ", "actix-app "] {
            for after in text.split(&format!("{app}{command} ")).skip(1) {
                let name: String = after.chars().take_while(|c| c.is_alphanumeric()).collect();
                if name.chars().any(char::is_lowercase) && !PEOPLE.contains(&name.as_str()) {
                    problems.push(format!("`{command} {name}`: there are {}", PEOPLE.join(" and ")));
                }
            }
        }
    }
    for after in text.split("IAM_DEMO_USERS=\"").skip(1) {
        let users = after.split('"').next().unwrap_or_default();
        let names: Vec<&str> = users.split(',').filter_map(|user| user.split(':').next()).collect();
        if names != PEOPLE {
            problems.push(format!("IAM_DEMO_USERS makes {names:?}; everywhere else there are {PEOPLE:?}"));
        }
    }
    problems
}

/// Links to files that are not there.
fn links(text: &str, is_there: &dyn Fn(&str) -> bool) -> Vec<String> {
    // Code has brackets of its own.
    let prose: String = text.split("```").step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files
        .filter(|file| !file.is_empty() && !file.contains("://") && !is_there(file))
        .map(|file| format!("the link to {file} leads nowhere"))
        .collect()
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).trying(|| format!("read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[workspace.dependencies]\naxum = { version = \"0.8\", default-features = false }\ntower-layer = \"0.3\"\n";

    #[test]
    fn the_documents_say_what_there_is() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(in_workspace(workspace).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_block_is_compiled_as_it_is_printed() {
        assert_eq!(blocks_of("```rust\nfn a() {}\n```\n\n```text\n# a\n```\n"), Vec::<String>::new());
        assert_eq!(blocks_of("```rust\n# fn main() {\n```\n").len(), 1);
        assert_eq!(blocks_of("```rust,ignore\nlet a\n```\n").len(), 1);
        assert_eq!(blocks_of("```\nlet a\n```\n").len(), 1);
    }

    #[test]
    fn dependencies_are_those_that_there_are() {
        let is_crate = |name: &str| name == "iam-axum";
        let with = |lines: &str, code: &str| {
            let text = format!("```toml\n[dependencies]\n{lines}\n```\n```rust\n{code}\n```\n");
            manifests(&text, WORKSPACE, &is_crate)
        };
        let good = "axum = \"0.8\"\niam-axum = { path = \"../iam/iam-axum\" }";
        assert_eq!(
            with(good, "use axum::Router;\nuse std::fmt;\nlet a = iam_axum::public();"),
            Vec::<String>::new()
        );
        assert_eq!(with(good, "use tower::ServiceExt;"), ["`tower` is used, and is no dependency there"]);
        assert_eq!(with(good, "iam_mfa::standard()"), ["`iam_mfa` is used, and is no dependency there"]);
        assert_eq!(with("axum = \"0.7\"", ""), ["`axum` is Some(\"0.8\") in the workspace"]);
        assert_eq!(with("axum = { version = \"0.8\", features = [\"ws\"] }", ""), Vec::<String>::new());
        assert_eq!(with("iam-x = { path = \"../iam/iam-x\" }", "").len(), 1);
    }

    #[test]
    fn versions_in_a_sentence_are_those_that_there_are() {
        let lock = "[[package]]\nname = \"libsqlite3-sys\"\nversion = \"0.37.0\"\n";
        let said = |text: &str| versions(text, WORKSPACE, lock);
        assert_eq!(said("`axum = { version = \"0.8\" }`, `libsqlite3-sys` 0.37, and"), Vec::<String>::new());
        assert_eq!(said("`axum = { version = \"0.7\" }`"), ["`axum` is Some(\"0.8\") in the workspace"]);
        assert_eq!(said("`libsqlite3-sys` 0.30"), ["libsqlite3-sys is 0.37.0"]);
    }

    #[test]
    fn commands_and_people_exist() {
        let is_package = |name: &str| name == "axum-app";
        let said = |text: &str| commands(text, &is_package).len();
        assert_eq!(
            said("`cargo xtask test`, `cargo run -p axum-app -- explain amy GET /`, `axum-app invite NAME`"),
            0
        );
        assert_eq!(said("cargo xtask tset"), 1);
        assert_eq!(said("cargo run -p axum-ap"), 1);
        assert_eq!(said("`axum-app explain alice GET /`"), 1);
        assert_eq!(said("IAM_DEMO_USERS=\"amy:x:y@z\" cargo"), 1);
    }

    #[test]
    fn links_lead_somewhere() {
        let is_there = |file: &str| file == "docs/A.md";
        let text = "[a](docs/A.md#b) [c](#d) [e](https://f.example) ```x[0](y)``` [g](docs/H.md)";
        assert_eq!(links(text, &is_there), ["the link to docs/H.md leads nowhere"]);
    }
}
