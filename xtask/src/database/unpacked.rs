//! Servers from the packages of a distribution, unpacked into the cache folder. Nothing is installed, so
//! nothing of the system changes and no rights are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::source::Program;
use super::{Kind, apt, folder as databases};
use crate::trouble::{Result, Trouble, Trying as _};
use crate::{place, process};

/// Starts the server with the libraries that were unpacked with it; it lies in the folder of the tree.
pub(super) const LAUNCHER: &str = "run";
const SCRIPT: &str = include_str!("../../scripts/unpacked-server.sh");

/// The folder that a server is unpacked into.
pub(super) fn folder(kind: Kind) -> Result<PathBuf> {
    Ok(databases()?.join(kind.word()))
}

/// Gets and unpacks a server, or says why that cannot be done here.
pub(super) fn install(kind: Kind) -> Result<std::result::Result<Program, String>> {
    let _alone = place::alone_in_the_cache()?;
    let work = databases()?.join(format!("{}-new", kind.word()));
    let installed = install_by_way_of(&work, kind);
    remove(&work)?;
    installed
}

fn install_by_way_of(work: &Path, kind: Kind) -> Result<std::result::Result<Program, String>> {
    remove(work)?;
    let tree = work.join("tree");
    fs::create_dir_all(&tree).trying(|| format!("make the folder {}", tree.display()))?;
    let packages = match apt::download(kind, &work.join("apt"))? {
        Ok(packages) => packages,
        Err(why) => return Ok(Err(why)),
    };
    for package in &packages {
        process::read(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
    }
    let launcher = tree.join(LAUNCHER);
    fs::write(&launcher, SCRIPT).trying(|| format!("write {}", launcher.display()))?;
    process::read(Command::new("chmod").arg("+x").arg(&launcher))?;
    Program::judged(kind, &launcher, Some(&tree)).map_err(Trouble::new)?;
    // In one piece, so that there is never half a server.
    let folder = folder(kind)?;
    remove(&folder)?;
    fs::rename(&tree, &folder).trying(|| format!("rename {}", tree.display()))?;
    Program::judged(kind, &folder.join(LAUNCHER), Some(&folder)).map(Ok).map_err(Trouble::new)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).trying(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}
