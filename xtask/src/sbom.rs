//! `cargo xtask sbom`: what the published crates are made of, as `CycloneDX` 1.6. The same workspace gives the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::trouble::{Result, Trouble, Trying as _};
use crate::{place, process};

/// Packages by their id, and what each is built with.
type Packages<'a> = BTreeMap<&'a str, (&'a Value, Vec<&'a str>)>;

/// Writes it to a file, or to the terminal.
pub(crate) fn run(file: Option<&str>) -> Result<()> {
    let text = text()?;
    let Some(file) = file else {
        print!("{text}");
        return Ok(());
    };
    if let Some(folder) = Path::new(file).parent() {
        fs::create_dir_all(folder).trying(|| format!("make the folder {}", folder.display()))?;
    }
    fs::write(file, text).trying(|| format!("write {file}"))
}

fn text() -> Result<String> {
    let metadata = process::read(process::cargo()?.args([
        "metadata",
        "--format-version",
        "1",
        "--all-features",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(io::Error::from)
        .trying(|| "read what `cargo metadata` prints".to_owned())?;
    let lock = place::workspace()?.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).trying(|| format!("read {}", lock.display()))?;
    let tree = tree(&published(&metadata).ok_or_else(unknown)?)?;
    let bill = bill(&metadata, &built(&tree), &checksums(&lock)).ok_or_else(unknown)?;
    Ok(format!("{bill:#}\n"))
}

fn unknown() -> Trouble {
    Trouble::new("`cargo metadata` prints something else than this program knows.")
}

/// The names of the crates that are published: `publish = false` is an empty list of registries.
fn published(metadata: &Value) -> Option<Vec<&str>> {
    let packages = metadata.get("packages")?.as_array()?.iter();
    let own = packages.filter(|package| package["source"].is_null() && package["publish"].is_null());
    own.map(|package| package.get("name")?.as_str()).collect()
}

/// What they are built with, a package a line. `cargo metadata` can't tell: to it, what a dependency needs for the tests of one crate it needs
/// for all.
fn tree(published: &[&str]) -> Result<String> {
    let mut tree = process::cargo()?;
    tree.args(["tree", "--locked", "--edges", "normal,build", "--all-features", "--target", "all"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    process::read(tree.args(published.iter().flat_map(|name| ["--package", name])))
}

/// Name and version of each line, such as `url v2.5.8 (proc-macro)`.
fn built(tree: &str) -> BTreeSet<(&str, &str)> {
    let named = tree.lines().filter_map(|line| line.split_once(" v"));
    named.filter_map(|(name, rest)| Some((name, rest.split(' ').next()?))).collect()
}

fn bill(
    metadata: &Value,
    built: &BTreeSet<(&str, &str)>,
    checksums: &BTreeMap<(&str, &str), &str>,
) -> Option<Value> {
    let packages = packages(metadata, built)?;
    let members: BTreeSet<&str> =
        metadata.get("workspace_members")?.as_array()?.iter().filter_map(Value::as_str).collect();
    // `publish = false` is an empty list of registries.
    let published = |id: &&str| packages.get(id).is_some_and(|(package, _)| package["publish"].is_null());
    let mut waiting: Vec<&str> = members.iter().copied().filter(published).collect();
    let roots = waiting.clone();
    let mut reached = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            waiting.extend(&packages.get(id)?.1);
        }
    }
    let reference = |id: &&str| Some(purl(packages.get(id)?.0));
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for id in &reached {
        let (package, needs) = packages.get(id)?;
        let key = purl(package);
        components.insert(key.clone(), component(package, checksums)?);
        let needs: BTreeSet<String> = needs.iter().map(reference).collect::<Option<_>>()?;
        dependencies.insert(key.clone(), json!({ "ref": key, "dependsOn": needs }));
    }
    let roots: BTreeSet<String> = roots.iter().map(reference).collect::<Option<_>>()?;
    let version = packages.get(members.iter().copied().find(|id| published(id))?)?.0.get("version")?;
    let family = json!({ "type": "framework", "bom-ref": "iam", "name": "iam", "version": version });
    let all: Vec<Value> = std::iter::once(json!({ "ref": "iam", "dependsOn": roots }))
        .chain(dependencies.into_values())
        .collect();
    Some(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "pre-build" }],
            "tools": { "components": [{ "type": "application", "name": "cargo xtask sbom" }] },
            "component": family,
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": all,
    }))
}

/// What is built, and what cargo knows of each. What is only tested with is no part of it.
fn packages<'a>(metadata: &'a Value, built: &BTreeSet<(&str, &str)>) -> Option<Packages<'a>> {
    let all = metadata.get("packages")?.as_array()?;
    let is_built = |package: &&Value| {
        let name = package["name"].as_str().zip(package["version"].as_str());
        name.is_some_and(|name| built.contains(&name))
    };
    let ids: BTreeSet<&str> = all.iter().filter(is_built).filter_map(|one| one.get("id")?.as_str()).collect();
    let mut needs = BTreeMap::new();
    for node in metadata.get("resolve")?.get("nodes")?.as_array()? {
        let is_built_with = |needed: &&Value| {
            let kinds = needed.get("dep_kinds").and_then(Value::as_array);
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
        };
        let needed = node.get("deps")?.as_array()?.iter().filter(is_built_with);
        let needed = needed.filter_map(|needed| needed.get("pkg")?.as_str());
        let needed: Vec<&str> = needed.filter(|id| ids.contains(id)).collect();
        needs.insert(node.get("id")?.as_str()?, needed);
    }
    all.iter()
        .filter(is_built)
        .map(|package| {
            let id = package.get("id")?.as_str()?;
            Some((id, (package, needs.remove(id).unwrap_or_default())))
        })
        .collect()
}

fn component(package: &Value, checksums: &BTreeMap<(&str, &str), &str>) -> Option<Value> {
    let (name, version) = (package.get("name")?.as_str()?, package.get("version")?.as_str()?);
    let purl = purl(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "scope": "required",
        "purl": purl,
    });
    let fields = component.as_object_mut()?;
    if let Some(licence) = package.get("license").and_then(Value::as_str) {
        // Before there were expressions, a slash stood for `OR`.
        let licences = json!([{ "expression": licence.replace('/', " OR ") }]);
        fields.insert("licenses".to_owned(), licences);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": checksum }]));
    }
    Some(component)
}

/// The package's address, whatever machine it lies on.
fn purl(package: &Value) -> String {
    let field = |name| package.get(name).and_then(Value::as_str).unwrap_or_default();
    // The one character of a version that has another meaning there.
    format!("pkg:cargo/{}@{}", field("name"), field("version").replace('+', "%2B"))
}

/// What the registry's packages were when they were locked.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    fn value<'a>(block: &'a str, key: &str) -> Option<&'a str> {
        block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
    }
    let read = |block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?));
    lock.split("[[package]]").filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_has_what_the_format_asks_for_and_nothing_of_this_machine() {
        let text = text().unwrap();
        assert_eq!(text, super::text().unwrap(), "the same workspace, the same text");
        let workspace = place::workspace().unwrap();
        assert!(!text.contains(&workspace.display().to_string()) && !text.contains("file:"), "a path");
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"], &bill["version"]),
            (&json!("CycloneDX"), &json!("1.6"), &json!(1))
        );
        let components = bill["components"].as_array().unwrap();
        let mut known = BTreeSet::from(["iam"]);
        for component in components {
            let [reference, name, version] =
                ["bom-ref", "name", "version"].map(|field| component[field].as_str().unwrap());
            assert!(known.insert(reference), "{reference} is there twice");
            assert_eq!(component["type"], "library");
            assert_eq!(component["purl"], reference);
            assert!(component["licenses"][0]["expression"].is_string(), "{name} {version} has no licence");
            let hash = component["hashes"][0]["content"].as_str().map(str::len);
            assert_eq!(hash, (!name.starts_with("iam-")).then_some(64), "{name}");
        }
        let dependencies = bill["dependencies"].as_array().unwrap();
        let refs: BTreeSet<&str> = dependencies.iter().map(|entry| entry["ref"].as_str().unwrap()).collect();
        assert_eq!(refs, known, "each component says what it needs");
        for needed in dependencies.iter().flat_map(|entry| entry["dependsOn"].as_array().unwrap()) {
            assert!(known.contains(needed.as_str().unwrap()), "{needed}");
        }
    }

    #[test]
    fn the_bill_has_what_is_built_and_not_what_only_tests_take() {
        let bill: Value = serde_json::from_str(&text().unwrap()).unwrap();
        let names: BTreeSet<&str> =
            bill["components"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        for name in ["iam-core", "iam-axum", "iam-actix", "iam-store-mysql", "sqlx-core", "argon2", "rustls"]
        {
            assert!(names.contains(name), "{name}");
        }
        // The last ones are those of the frameworks' default features, which only tests and examples turn on.
        for name in
            ["xtask", "iam-bench", "iam-tests", "axum-app", "criterion", "zstd-sys", "tokio-tungstenite"]
        {
            assert!(!names.contains(name), "{name}");
        }
    }

    #[test]
    fn an_old_licence_becomes_an_expression_and_a_version_an_address() {
        let package = json!({ "name": "x", "version": "1.0.0+b", "license": "MIT/Apache-2.0" });
        let component = component(&package, &BTreeMap::from([(("x", "1.0.0+b"), "ab")])).unwrap();
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component["purl"], "pkg:cargo/x@1.0.0%2Bb");
        assert_eq!(component["hashes"][0], json!({ "alg": "SHA-256", "content": "ab" }));
    }
}
