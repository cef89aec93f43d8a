//! MySQL and MariaDB: finding them, installing them and running them.
//!
//! The tests are told by the environment which servers there are ([`Kind::variable`]). They make and drop
//! databases and accounts of their own there, so the account in the address needs every privilege. Where a
//! person names no server, one is started for the tests alone and thrown away after them.

mod apt;
mod server;
mod source;
mod unpacked;
mod version;

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use crate::place;
use crate::report::Outcome;
use crate::trouble::{Result, Trouble, Trying as _};
use server::Server;
use source::{Program, Source};

/// Names the program that a test calls for a server of its own ([`own`]): this one.
const OWN_SERVER: &str = "IAM_TEST_OWN_SERVER";

/// Has any value when a test that finds no server must fail instead of being skipped.
const REQUIRED: &str = "IAM_TEST_REQUIRE_DATABASES";

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MySql,
    MariaDb,
}

impl Kind {
    const ALL: [Self; 2] = [Self::MySql, Self::MariaDb];

    /// What its packages and folders are called by.
    fn word(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// Its name as its makers write it.
    fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// The variable that holds the address of a server for the tests.
    fn variable(self) -> &'static str {
        match self {
            Self::MySql => "IAM_TEST_MYSQL_URL",
            Self::MariaDb => "IAM_TEST_MARIADB_URL",
        }
    }

    fn remedy(self) -> String {
        format!(
            "`cargo xtask setup` gets one where it can; or install {} {} or newer, or name a server in {}.",
            self.name(),
            self.oldest(),
            self.variable()
        )
    }
}

/// A server that is being started while other work goes on.
#[derive(Debug)]
pub(crate) struct Starting {
    kind: Kind,
    work: JoinHandle<Result<std::result::Result<Found, String>>>,
}

/// A server that the tests can use.
#[derive(Debug)]
struct Found {
    url: String,
    shown: String,
    /// The one that is ours to stop.
    server: Option<Server>,
}

/// The servers that the tests can use. Those that were started for them are stopped and thrown away on drop.
#[derive(Debug, Default)]
pub(crate) struct Databases {
    found: Vec<(Kind, Found)>,
    required: bool,
}

impl Databases {
    /// With `required`, a test that finds no server is told to fail.
    pub(crate) fn new(required: bool) -> Self {
        Self { found: Vec::new(), required }
    }

    /// Begins to start all of them at once.
    pub(crate) fn start() -> [Starting; 2] {
        server::remove_leftovers();
        Kind::ALL.map(|kind| Starting { kind, work: thread::spawn(move || find_or_start(kind)) })
    }

    /// Waits until one is there.
    pub(crate) fn add(&mut self, starting: Starting) -> Result<Outcome> {
        let Starting { kind, work } = starting;
        let found =
            work.join().map_err(|_| Trouble::new(format!("Starting {} panicked.", kind.name())))??;
        Ok(match found {
            Ok(found) => {
                let outcome = Outcome::Got(found.shown.clone());
                self.found.push((kind, found));
                outcome
            }
            Err(missing) => Outcome::skipped(missing, kind.remedy()),
        })
    }

    /// Tells a program that runs tests where the servers are.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for kind in Kind::ALL {
            match self.found.iter().find(|(found, _)| *found == kind) {
                Some((_, found)) => command.env(kind.variable(), &found.url),
                // An empty one means the same as none.
                None => command.env_remove(kind.variable()),
            };
        }
        match env::current_exe() {
            Ok(this) if self.can_start_more() => command.env(OWN_SERVER, this),
            _ => command.env_remove(OWN_SERVER),
        };
        if self.required {
            command.env(REQUIRED, "1");
        }
        command
    }
}

impl Databases {
    /// Whether the tests can have servers of their own, to be killed, frozen and fenced.
    pub(crate) fn own_servers(&self) -> Outcome {
        if self.can_start_more() {
            return Outcome::Got("there can be".to_owned());
        }
        Outcome::skipped(
            "No servers can be started for the tests that kill, freeze or fence one (a_server_that_dies_or_hangs, stale_primary).",
            "`cargo xtask setup` gets both kinds where it can; or install them.",
        )
    }

    /// Where somebody named the servers there may be none to start.
    fn can_start_more(&self) -> bool {
        !self.found.is_empty() && Kind::ALL.into_iter().all(can_start)
    }
}

impl Drop for Databases {
    /// All are told to stop before one is waited for.
    fn drop(&mut self) {
        let servers: Vec<&mut Server> =
            self.found.iter_mut().filter_map(|(_, found)| found.server.as_mut()).collect();
        let stopping: Vec<_> = servers.into_iter().map(Server::begin_to_stop).collect();
        drop(stopping);
    }
}

fn find_or_start(kind: Kind) -> Result<std::result::Result<Found, String>> {
    let programs = match source::find(kind)? {
        Source::Named(url) => {
            let shown = format!("the server that {} names", kind.variable());
            return Ok(Ok(Found { url, shown, server: None }));
        }
        Source::Programs(programs) => programs,
        Source::Missing(why) => return Ok(Err(why)),
    };
    let (program, server) = first_that_starts(&programs, Server::for_tests)?;
    Ok(Ok(Found { url: server.url(), shown: program.to_string(), server: Some(server) }))
}

/// A server of the machine may be kept by its own rules from a folder of ours; then the next one is tried.
fn first_that_starts(
    programs: &[Program],
    start: impl Fn(&Program) -> Result<Server>,
) -> Result<(&Program, Server)> {
    let mut troubles = Vec::new();
    for program in programs {
        match start(program) {
            Ok(server) => return Ok((program, server)),
            Err(trouble) => troubles.push(format!("{program} does not start. {trouble}")),
        }
    }
    Err(Trouble::new(troubles.join("\n")))
}

/// Gets a server into the cache folder, unless there is one already.
pub(crate) fn install(kind: Kind) -> Result<Outcome> {
    match source::find(kind)? {
        Source::Named(_) => return Ok(Outcome::Got(format!("{} names a server", kind.variable()))),
        Source::Programs(programs) => {
            let shown: Vec<String> = programs.iter().map(Program::to_string).collect();
            return Ok(Outcome::Got(format!("{} is there already", shown.join(", "))));
        }
        Source::Missing(why) => println!("{why}"),
    }
    Ok(match unpacked::install(kind)? {
        Ok(program) => Outcome::Got(program.to_string()),
        Err(why) => Outcome::skipped(
            why,
            format!(
                "Install {} {} or newer, or name a server in {}.",
                kind.name(),
                kind.oldest(),
                kind.variable()
            ),
        ),
    })
}

/// Runs a server for a developer, with data that is kept from run to run, until Ctrl-C.
pub(crate) fn serve(kind: Kind) -> Result<()> {
    let programs = match source::program_on_machine_or_unpacked(kind)? {
        Source::Programs(programs) => programs,
        Source::Named(_) | Source::Missing(_) => {
            return Err(Trouble::new(format!(
                "There is no {} to start. `cargo xtask setup` gets one if it can; or install {} or later.",
                kind.name(),
                kind.oldest()
            )));
        }
    };
    server::wait_for_the_one_before(kind)?;
    let (program, mut server) = first_that_starts(&programs, Server::for_developer)?;
    println!("{program} runs. Its data is kept in {}.", server.folder().display());
    println!("Ctrl-C stops it. For `cargo run -p axum-app`, in the environment or in .env:\n");
    println!("IAM_DATABASE_URL={}", server.url());
    server.wait()
}

fn can_start(kind: Kind) -> bool {
    matches!(source::program_on_machine_or_unpacked(kind), Ok(Source::Programs(_)))
}

/// A server for one test, which may kill it. Its address is the first line that is printed; after that a line is
/// printed for each of the words `kill`, `start`, `pause` and `resume` that was read and obeyed. It is thrown away when there
/// is nothing more to read. It is started with further options, as one that others follow needs some.
pub(crate) fn own(kind: Kind, options: &[String]) -> Result<()> {
    let Source::Programs(programs) = source::program_on_machine_or_unpacked(kind)? else {
        return Err(Trouble::new(format!("There is no {} to start.", kind.name())));
    };
    let (_, mut server) = first_that_starts(&programs, |program| Server::for_one_test(program, options))?;
    println!("{}", server.url());
    for word in io::stdin().lines() {
        match word.trying(|| "read what to do".to_owned())?.as_str() {
            "kill" => server.crash()?,
            "start" => server.start_again()?,
            "pause" => server.signal("STOP")?,
            "resume" => server.signal("CONT")?,
            other => return Err(Trouble::new(format!("Nothing is known of `{other}`."))),
        }
        println!("done");
    }
    Ok(())
}

/// The folder of everything that has to do with databases.
fn folder() -> Result<PathBuf> {
    Ok(place::cache()?.join("databases"))
}

/// The value of a variable, if it has one.
fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
