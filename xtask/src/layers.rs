//! The arrows inside `iam-core`, read from its sources: each layer sees those before it and no other, and no files of a layer see each
//! other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::trouble::{Result, Trouble, Trying as _};

/// The layers, from the bottom up. Each is a folder of `iam-core/src`.
const LAYERS: [&str; 12] = [
    "base", "model", "secrets", "limits", "password", "delivery", "factor", "authz", "audit", "store", "iam",
    "flow",
];

/// What stands beside them: the doors, and the properties that fuzzing looks at.
const BESIDE: [&str; 2] = ["lib.rs", "fuzzing.rs"];

/// What makes a value with which a password may be compared with a hash. There is one.
const COUNTED_TRY: &str = "impl CountedTry for";

/// What opens a session and what raises one, and the one module that may.
const OPENS_SESSIONS: [&str; 2] = [".sessions().insert(", ".sessions().renew("];
const SIGN_IN: &str = "flow::sign_in";

/// A source file, as a module, with the modules of the crate that it names.
struct File {
    module: String,
    names: BTreeSet<String>,
    counted_tries: usize,
    opens_sessions: bool,
}

/// Checks the core's layers.
pub(crate) fn run() -> Result<()> {
    let source = Path::new("iam-core/src");
    let mut files = Vec::new();
    for path in sources(source).trying(|| "list the sources of iam-core".to_owned())? {
        let text = fs::read_to_string(&path).trying(|| format!("read {}", path.display()))?;
        let relative = path.strip_prefix(source).unwrap_or(&path);
        files.push(File::read(relative, &text));
    }
    let faults = faults(&files);
    if faults.is_empty() {
        println!("iam-core: {} layers, no circle", LAYERS.len());
        Ok(())
    } else {
        Err(Trouble::new(faults.join("\n")))
    }
}

fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

impl File {
    fn read(path: &Path, text: &str) -> Self {
        // Tests may name what they like.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let mut names = BTreeSet::new();
        for tree in code.split("crate::").skip(1) {
            expand("", tree, &mut names);
        }
        let counted_tries = code.matches(COUNTED_TRY).count();
        // However its lines are broken.
        let calls: String = code.split_whitespace().collect();
        let opens_sessions = OPENS_SESSIONS.iter().any(|call| calls.contains(call));
        Self { module: module(path), names, counted_tries, opens_sessions }
    }

    fn layer(&self) -> &str {
        self.module.split("::").next().unwrap_or_default()
    }
}

/// `flow/second_factor/mod.rs` -> `flow::second_factor`
fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).filter(|part| part != "mod").collect();
    parts.join("::")
}

/// Adds every path that a tree of names at the beginning of a text stands for: `a::{b, c::D}` is `a::b` and `a::c::D`. Gives the rest.
fn expand<'t>(before: &str, text: &'t str, paths: &mut BTreeSet<String>) -> &'t str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{before}{path}");
    let Some(inside) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        paths.insert(path.trim_end_matches(':').to_owned());
        return rest;
    };
    rest = inside;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        let left = expand(&path, rest, paths);
        let left = left.trim_start();
        // `Name as Other`
        let left = left
            .strip_prefix("as ")
            .map_or(left, |alias| alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
        if left.len() == rest.len() {
            return left;
        }
        rest = left;
    }
}

fn faults(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        let rank = LAYERS.iter().position(|layer| *layer == file.layer());
        let Some(rank) = rank else {
            if !BESIDE.contains(&format!("{}.rs", file.module).as_str()) {
                faults.push(format!("iam-core: `{}` is in no layer of xtask/src/layers.rs.", file.module));
            }
            continue;
        };
        for name in &file.names {
            let layer = name.split("::").next().unwrap_or_default();
            if LAYERS.iter().position(|known| *known == layer).is_some_and(|seen| seen > rank) {
                faults.push(format!("iam-core: `{}` names `{name}`, of a layer above it.", file.module));
            }
        }
    }
    for file in files.iter().filter(|file| file.opens_sessions && file.module != SIGN_IN) {
        let fault = format!("iam-core: `{}` opens or raises sessions, which `{SIGN_IN}` does.", file.module);
        faults.push(fault);
    }
    faults.extend(circles(files));
    let tries: usize = files.iter().map(|file| file.counted_tries).sum();
    if tries != 1 {
        faults.push(format!(
            "iam-core: `{COUNTED_TRY}` stands {tries} times: passwords are compared in one place."
        ));
    }
    faults
}

/// Files that see each other, directly or by way of others. A module and those inside of it are one.
fn circles(files: &[File]) -> Vec<String> {
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module.as_str()).collect();
    let of = |name: &str| {
        let mut name = name;
        loop {
            if let Some(module) = modules.get(name) {
                return Some(*module);
            }
            name = name.rsplit_once("::")?.0;
        }
    };
    let mut sees: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let seen =
            file.names.iter().filter_map(|name| of(name)).filter(|seen| !is_around(&file.module, seen));
        sees.entry(&file.module).or_default().extend(seen);
    }
    let reached = |from: &str| {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = sees.get(from).into_iter().flatten().copied().collect();
        while let Some(module) = open.pop() {
            if reached.insert(module) {
                open.extend(sees.get(module).into_iter().flatten());
            }
        }
        reached
    };
    let circles = modules.iter().filter(|module| reached(module).contains(*module));
    circles.map(|module| format!("iam-core: `{module}` sees itself by way of others.")).collect()
}

/// Whether one of two modules lies within the other.
fn is_around(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    within(one, other) || within(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File::read(Path::new(path), text)
    }

    fn found(mut files: Vec<File>) -> Vec<String> {
        files.push(file("flow/attempt.rs", "impl CountedTry for Reserved {}"));
        faults(&files)
    }

    #[test]
    fn paths_are_read_from_trees_of_names() {
        let file = file(
            "flow/a.rs",
            "use crate::model::{a::{B, C as D}, e};\nfn f() -> crate::base::G {}\n// crate::iam::H\n",
        );
        let names: Vec<&str> = file.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["base::G", "model::a::B", "model::a::C", "model::e"]);
        assert_eq!(module(Path::new("flow/second_factor/mod.rs")), "flow::second_factor");
    }

    #[test]
    fn an_arrow_upwards_is_found_but_in_tests() {
        let up = "use crate::flow::Login;\n";
        assert_eq!(found(vec![file("model/a.rs", up)]).len(), 1);
        assert_eq!(found(vec![file("model/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{up}}}"))]), [""; 0]);
        assert_eq!(found(vec![file("flow/a.rs", "use crate::model::Account;\n")]), [""; 0]);
        assert_eq!(found(vec![file("new/a.rs", ""), file("lib.rs", up)]).len(), 1);
    }

    #[test]
    fn a_circle_is_found_however_long_and_none_within_a_module() {
        let circle = vec![
            file("model/a.rs", "use crate::model::b::B;"),
            file("model/b.rs", "use crate::model::{c::C};"),
            file("model/c.rs", "use crate::model::a::A;"),
            file("model/d.rs", "use crate::model::a::A;"),
        ];
        assert_eq!(found(circle).len(), 3);
        let within = vec![
            file("base/clock/mod.rs", "use crate::base::clock::steady::S;"),
            file("base/clock/steady.rs", "use crate::base::clock::C;"),
        ];
        assert_eq!(found(within), [""; 0]);
    }

    #[test]
    fn one_place_opens_and_raises_sessions() {
        for call in ["unit.sessions().insert(&new)", "unit\n    .sessions()\n    .renew(id, old, new)"] {
            assert_eq!(found(vec![file("flow/login.rs", call)]).len(), 1, "{call}");
            assert_eq!(found(vec![file("flow/sign_in/mod.rs", call)]), [""; 0]);
        }
        assert_eq!(found(vec![file("flow/login.rs", "unit.sessions().end(id)")]), [""; 0]);
    }

    #[test]
    fn one_place_compares_passwords() {
        assert_eq!(found(vec![file("flow/login.rs", "impl CountedTry for Anything {}")]).len(), 1);
    }
}
