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
use std::thread;

use crate::needs::{self, Value};
use crate::place;
use crate::report::Outcome;
use crate::trouble::{Result, Trouble, Trying as _};
use server::Server;
use source::{Program, Source};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MySql,
    MariaDb,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::MySql, Self::MariaDb];

    /// What its packages and folders are called by.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }

    /// Its name as its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// The variable that holds the address of a server for the tests.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::MySql => "IAM_TEST_MYSQL_URL",
            Self::MariaDb => "IAM_TEST_MARIADB_URL",
        }
    }
}

/// A server that the tests can use.
#[derive(Debug)]
struct Found {
    url: String,
    shown: String,
    /// The one that is ours to stop.
    server: Option<Server>,
    /// Whether more of the kind can be started.
    others: bool,
}

/// One that was found, or why there is none.
type Looked = std::result::Result<Found, String>;

/// The servers that the tests can use. Those that were started for them are stopped and thrown away on drop.
#[derive(Debug)]
pub(crate) struct Databases {
    looked: Vec<(Kind, Looked)>,
}

impl Databases {
    /// None, and nobody looked.
    pub(crate) fn none() -> Self {
        Self { looked: Vec::new() }
    }

    /// Looks for all of them and starts them, at once.
    pub(crate) fn look() -> Result<Self> {
        server::remove_leftovers();
        let looking = Kind::ALL.map(|kind| (kind, thread::spawn(move || find_or_start(kind))));
        // All are waited for before one's trouble ends it.
        let looked = looking.map(|(kind, work)| (kind, work.join()));
        let looked = looked.into_iter().map(|(kind, looked)| {
            let panicked = || Trouble::new(format!("Starting {} panicked.", kind.name()));
            Ok((kind, looked.map_err(|_| panicked())??))
        });
        Ok(Self { looked: looked.collect::<Result<_>>()? })
    }

    /// One of a kind.
    pub(crate) fn look_for(kind: Kind) -> Result<Self> {
        server::remove_leftovers();
        let mut databases = Self { looked: vec![(kind, find_or_start(kind)?)] };
        if databases.url(kind).is_err() {
            databases.fetch(kind)?;
        }
        Ok(databases)
    }

    /// Its URL, with an account that has every privilege, or why there is none.
    pub(crate) fn url(&self, kind: Kind) -> std::result::Result<&str, String> {
        match self.looked(kind) {
            Some(Ok(found)) => Ok(&found.url),
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("Nobody looked for {}.", kind.name())),
        }
    }

    /// What is known of a kind.
    pub(crate) fn known(&self, kind: Kind) -> needs::Server {
        match self.looked(kind) {
            Some(Ok(Found { server: Some(_), .. })) => needs::Server::Started,
            Some(Ok(Found { others, .. })) => needs::Server::Named { others: *others },
            Some(Err(_)) | None => needs::Server::Missing,
        }
    }

    /// Which server it is, or why there is none.
    pub(crate) fn shown(&self, kind: Kind) -> std::result::Result<String, String> {
        match self.looked(kind) {
            Some(Ok(found)) => Ok(found.shown.clone()),
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("Nobody looked for {}.", kind.name())),
        }
    }

    /// Fetches one that was not found, and starts it. If that can't be done, what was said of it says so, too.
    pub(crate) fn fetch(&mut self, kind: Kind) -> Result<()> {
        let why = match unpacked::install(kind) {
            Ok(Ok(_)) => {
                let looked = find_or_start(kind)?;
                self.looked.retain(|(other, _)| *other != kind);
                self.looked.push((kind, looked));
                return Ok(());
            }
            Ok(Err(why)) => why,
            Err(trouble) => {
                println!("{trouble}");
                "It can't be fetched; why stands above.".to_owned()
            }
        };
        for (_, looked) in self.looked.iter_mut().filter(|(other, _)| *other == kind) {
            if let Err(before) = looked {
                *before = format!("{before} {why}");
            }
        }
        Ok(())
    }

    /// Tells a program that runs tests what it has to know.
    pub(crate) fn tell<'a>(
        &self,
        command: &'a mut Command,
        variables: &[(&'static str, Value)],
    ) -> Result<&'a mut Command> {
        for (name, value) in variables {
            match value {
                Value::Url(kind) => match self.looked(*kind) {
                    Some(Ok(found)) => command.env(name, &found.url),
                    _ => command.env_remove(name),
                },
                Value::ThisProgram => {
                    command.env(name, env::current_exe().trying(|| "find this program".to_owned())?)
                }
                Value::Text(text) => command.env(name, text),
                Value::None => command.env_remove(name),
                Value::Inherited => command,
            };
        }
        Ok(command)
    }

    fn looked(&self, kind: Kind) -> Option<&Looked> {
        self.looked.iter().find(|(other, _)| *other == kind).map(|(_, looked)| looked)
    }
}

impl Drop for Databases {
    /// All are told to stop before one is waited for.
    fn drop(&mut self) {
        let found = self.looked.iter_mut().filter_map(|(_, looked)| looked.as_mut().ok());
        let servers: Vec<&mut Server> = found.filter_map(|found| found.server.as_mut()).collect();
        let stopping: Vec<_> = servers.into_iter().map(Server::begin_to_stop).collect();
        drop(stopping);
    }
}

fn find_or_start(kind: Kind) -> Result<Looked> {
    let programs = match source::find(kind)? {
        Source::Named(url) => {
            let shown = format!("the server that {} names", kind.variable());
            return Ok(Ok(Found { url, shown, server: None, others: can_start(kind) }));
        }
        Source::Programs(programs) => programs,
        Source::Missing(why) => return Ok(Err(why)),
    };
    Ok(match first_that_starts(&programs, Server::for_tests) {
        Ok((program, server)) => {
            Ok(Found { url: server.url(), shown: program.to_string(), server: Some(server), others: true })
        }
        Err(trouble) => Err(trouble.to_string()),
    })
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
                "There is no {} to start. `cargo xtask setup` fetches one where it can; or install {} or later.",
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

/// Whether one of this kind can be started here, by doing so: a program that says its version may be kept from our folders.
fn can_start(kind: Kind) -> bool {
    let Ok(Source::Programs(programs)) = source::program_on_machine_or_unpacked(kind) else { return false };
    first_that_starts(&programs, Server::for_tests).is_ok()
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
