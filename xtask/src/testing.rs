//! `cargo xtask test`: every test, fetching and starting what it needs. What that is, [`needs`] decides.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::browser::{self, Ready, System};
use crate::database::{Databases, Kind};
use crate::needs::{self, Machine, Thing, Wishes};
use crate::report::{Outcome, Report};
use crate::trouble::{Result, Trouble};
use crate::{disk, place, process, readme};

/// What becomes of tests that cannot be run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// They are named in the summary.
    Named,
    /// They are failures: what CI wants.
    Failures,
}

/// What stands behind `cargo xtask test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    all: bool,
    offline: bool,
    only: Option<String>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--all" => options.all = true,
                "--offline" => options.offline = true,
                "--only" => {
                    let name = words.next().ok_or_else(|| {
                        Trouble::new("--only which? A test program, such as `databases`, or `browser`, `documentation` or `readme`.")
                    })?;
                    options.only = Some((*name).to_owned());
                }
                other => {
                    return Err(Trouble::new(format!(
                        "`test` knows no `{other}`; `cargo xtask help` says what it knows."
                    )));
                }
            }
        }
        Ok(options)
    }

    /// With `arguments` for the test programs, only those of cargo are run: a name picks among them.
    fn wishes(&self, arguments: &[String]) -> Wishes {
        let only = self.only.as_deref();
        Wishes {
            offline: self.offline,
            all: self.all,
            servers: !matches!(only, Some("browser" | "readme")),
            browser: only == Some("browser") || (only.is_none() && arguments.is_empty()),
        }
    }

    /// Everything there is.
    fn everything(&self, arguments: &[String]) -> bool {
        self.only.is_none() && arguments.is_empty()
    }
}

/// Runs the tests.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<()> {
    let wishes = options.wishes(arguments);
    let start = Instant::now();
    let mut report = Report::default();
    println!("Looking for what the tests need ...");
    let mut databases = if wishes.servers { Databases::look()? } else { Databases::none() };
    let fetched = needs::to_fetch(&machine(&databases)?, wishes);
    announce(&fetched, options.everything(arguments))?;
    for kind in Kind::ALL.into_iter().filter(|_| wishes.servers) {
        let fetch = fetched.contains(&Thing::Server(kind));
        report.step(step_of(kind), || server(&mut databases, kind, fetch, wishes));
    }
    if wishes.browser {
        report.step("a browser for the tests", || browser_for(fetched.contains(&Thing::Browser), wishes));
    }
    let machine = machine(&databases)?;
    if wishes.servers {
        report.step("small disks for the tests", disk::can_be_mounted);
        if machine.own().next().is_some() || !machine.without_own().is_empty() {
            report.step("servers of the tests' own", || Ok(own_servers(&machine)));
        }
        programs(&mut report, options, arguments, &|command| {
            databases.tell(command, &needs::variables(&machine, wishes)).map(drop)
        });
    }
    drop(databases);
    if options.everything(arguments) || options.only.as_deref() == Some("readme") {
        report.step("the service of README.md", readme::run);
    }
    // What is missing was said above.
    if wishes.browser && machine.browser_is_ready() {
        report.step("browser tests", || browser_tests(options, arguments));
    }
    if wishes.all {
        report.fail_what_was_skipped();
    }
    let ended = report.finish();
    if ended.is_ok() && options.everything(arguments) {
        note_how_long(start.elapsed());
    }
    ended
}

fn step_of(kind: Kind) -> &'static str {
    match kind {
        Kind::MySql => "MySQL for the tests",
        Kind::MariaDb => "MariaDB for the tests",
    }
}

/// What is there now.
fn machine(databases: &Databases) -> Result<Machine> {
    let browser::There { node, npm, packages, chromium } = browser::there()?;
    let (mysql, mariadb) = (databases.known(Kind::MySql), databases.known(Kind::MariaDb));
    Ok(Machine { mysql, mariadb, node, npm, packages, chromium })
}

/// Says what is to come.
fn announce(fetched: &[Thing], everything: bool) -> Result<()> {
    let cache = place::cache()?;
    if !fetched.is_empty() {
        let things: Vec<&str> = fetched
            .iter()
            .map(|thing| match thing {
                Thing::Server(Kind::MySql) => "MySQL (about 50 MB)",
                Thing::Server(Kind::MariaDb) => "MariaDB (about 15 MB)",
                Thing::Browser => {
                    "the npm packages of the browser tests, and Chromium unless there is one (5 or 75 MB)"
                }
            })
            .collect();
        println!(
            "Fetched first, into {}: {}. --offline keeps it from that.",
            cache.display(),
            things.join(", ")
        );
    }
    if everything {
        println!("{}", how_long()?);
    }
    Ok(())
}

/// How long all of it will take: as long as the last time, if there was one.
fn how_long() -> Result<String> {
    let last = fs::read_to_string(duration_file()?).ok().and_then(|secs| secs.trim().parse::<u64>().ok());
    if let Some(secs) = last {
        return Ok(format!("Everything took {} minutes here the last time.", secs.div_ceil(60)));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let built = place::built_program("axum-app")?.is_file();
    let minutes = needs::about_minutes(cores, built);
    let why = if built { "" } else { ", most of which is building it for the first time" };
    let cores = if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") };
    Ok(format!("Everything takes about {minutes} minutes on {cores}{why}."))
}

fn note_how_long(took: Duration) {
    // Only a guess is lost.
    let _ = duration_file().map(|file| fs::write(file, took.as_secs().to_string()));
}

fn duration_file() -> Result<PathBuf> {
    Ok(place::cache()?.join("test-took"))
}

/// A server that the tests share.
fn server(databases: &mut Databases, kind: Kind, fetch: bool, wishes: Wishes) -> Result<Outcome> {
    if fetch {
        databases.fetch(kind)?;
    }
    Ok(match databases.shown(kind) {
        Ok(shown) => Outcome::Got(shown),
        Err(why) => {
            let remedy = needs::remedy(Thing::Server(kind), &machine(databases)?, wishes);
            Outcome::skipped(
                format!("{why} All tests on {} are left out.", kind.name()),
                remedy.unwrap_or_default(),
            )
        }
    })
}

/// What the browser tests need.
fn browser_for(fetch: bool, wishes: Wishes) -> Result<Outcome> {
    let why = match fetch.then(|| browser::install(System::StaysAsItIs)) {
        Some(Err(trouble)) => {
            println!("{trouble}");
            " It can't be fetched; why stands above."
        }
        _ => "",
    };
    Ok(match browser::ready()? {
        Ok(ready) => Outcome::Got(ready.browser().display().to_string()),
        Err(missing) => {
            let remedy = needs::remedy(Thing::Browser, &machine(&Databases::none())?, wishes);
            Outcome::skipped(
                format!("{missing}{why} All browser tests are left out."),
                remedy.unwrap_or_default(),
            )
        }
    })
}

/// Whether tests can have servers of their own, to be killed, frozen and fenced.
fn own_servers(machine: &Machine) -> Outcome {
    let without = machine.without_own();
    if without.is_empty() {
        let names: Vec<&str> = machine.own().map(Kind::name).collect();
        return Outcome::Got(if names.is_empty() {
            "none, as said above".to_owned()
        } else {
            names.join(", ")
        });
    }
    let names: Vec<&str> = without.iter().map(|kind| kind.name()).collect();
    let variables: Vec<&str> = without.iter().map(|kind| kind.variable()).collect();
    let (names, variables) = (names.join(" or "), variables.join(" and "));
    Outcome::skipped(
        format!("No {names} can be started, so the tests that kill, freeze or fence a server leave it out."),
        format!("Run it without {variables}, and it fetches what it starts; or install {names}."),
    )
}

/// The test programs of cargo.
fn programs(
    report: &mut Report,
    options: &Options,
    arguments: &[String],
    tell: &dyn Fn(&mut Command) -> Result<()>,
) {
    let cargo = |targets: &[&str]| {
        let mut cargo = process::cargo()?;
        tell(&mut cargo)?;
        process::run(
            cargo.args(["test", "--workspace", "--no-fail-fast"]).args(targets).arg("--").args(arguments),
        )
    };
    match options.only.as_deref() {
        Some("documentation") => {}
        Some(name) => report.step("the tests that were named", || cargo(&["--test", name])),
        // All targets but the benchmarks.
        None => {
            report
                .step("unit and integration tests", || cargo(&["--lib", "--bins", "--tests", "--examples"]));
        }
    }
    if matches!(options.only.as_deref(), None | Some("documentation")) {
        report.step("examples in the documentation", || cargo(&["--doc"]));
    }
}

fn browser_tests(options: &Options, arguments: &[String]) -> Result<Outcome> {
    let tests = browser::tests()?;
    let ready: Ready = browser::ready()?.map_err(Trouble::new)?;
    // Named like this, it is built with the features of the tests above, and so nothing is built twice.
    let after_the_others: &[&str] = &["--workspace", "--tests", "--bin", "axum-app"];
    let alone: &[&str] = &["--package", "axum-app"];
    let what = if options.only.is_some() { alone } else { after_the_others };
    process::run(process::cargo()?.arg("build").args(what))?;
    ready.run(&tests, arguments)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn options_come_in_any_order() {
        assert_eq!(parsed("").unwrap(), Options::default());
        let only = Some("databases".to_owned());
        assert_eq!(parsed("--only databases --all").unwrap(), Options { all: true, offline: false, only });
        assert_eq!(parsed("--offline").unwrap(), Options { all: false, offline: true, only: None });
        for (wrong, said) in [("--only", "--only which?"), ("--al", "knows no `--al`"), ("x", "knows no `x`")]
        {
            let trouble = parsed(wrong).unwrap_err().to_string();
            assert!(trouble.contains(said), "{trouble}");
        }
    }

    #[test]
    fn what_is_asked_for_decides_what_is_needed() {
        let needed = |line, arguments: &[String]| {
            let wishes = parsed(line).unwrap().wishes(arguments);
            (wishes.servers, wishes.browser)
        };
        assert_eq!(needed("", &[]), (true, true));
        assert_eq!(needed("", &["failover".to_owned()]), (true, false));
        assert_eq!(needed("--only databases", &[]), (true, false));
        assert_eq!(needed("--only documentation", &[]), (true, false));
        assert_eq!(needed("--only browser", &[]), (false, true));
        assert_eq!(needed("--only readme", &[]), (false, false));
    }
}
