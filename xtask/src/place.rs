//! Where things lie.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::trouble::{Result, Trouble, Trying as _};

/// The folder of the workspace.
pub(crate) fn workspace() -> Result<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .and_then(|xtask| xtask.parent().map(Path::to_path_buf))
        .ok_or_else(|| {
            Trouble::new("Start this program by `cargo xtask`: it asks cargo where the workspace is.")
        })
}

/// The folder of the browser tests, with the list of the npm packages that they need.
pub(crate) fn browser_tests() -> Result<PathBuf> {
    Ok(workspace()?.join("tests").join("browser"))
}

/// A program of the workspace that was built as this one was: it lies beside this one.
pub(crate) fn built_program(name: &str) -> Result<PathBuf> {
    let this = env::current_exe().trying(|| "find out where this program lies".to_owned())?;
    Ok(this.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// The one folder that `cargo xtask test` and `cargo xtask setup` install into. Removing it undoes that.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("IAM_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|caches| caches.join("iam")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache").join("iam")))
        .ok_or_else(|| {
            Trouble::new("There is no home folder to keep a cache in: name a folder in IAM_CACHE.")
        })?;
    std::path::absolute(&cache).trying(|| format!("find the folder {}", cache.display()))
}

/// Nobody else installs anything into the cache folder as long as this is kept.
pub(crate) fn alone_in_the_cache() -> Result<File> {
    let cache = cache()?;
    fs::create_dir_all(&cache).trying(|| format!("make the folder {}", cache.display()))?;
    let lock = cache.join("lock");
    let file = File::create(&lock).trying(|| format!("open {}", lock.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("Another `cargo xtask` installs into {}; waiting for it.", cache.display());
            file.lock().trying(|| format!("lock {}", lock.display()))?;
        }
        Err(TryLockError::Error(error)) => return Err(error).trying(|| format!("lock {}", lock.display())),
    }
    Ok(file)
}
