//! An example application as a process of its own.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Backend, Browser, Database, PASSWORD};

/// How long it may take to start: migrations, and a hash for each of its people, on a machine that does other things too.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_mins(2);

/// Where an example application lives: its database, the folder with its keys, and the people that it makes.
#[derive(Debug)]
pub struct Program {
    path: &'static str,
    folder: TempDir,
    /// Its database.
    pub database: Database,
    people: String,
    settings: Vec<(&'static str, String)>,
    /// Whether it is told of writes beyond its limits, instead of being ended.
    is_shielded: bool,
}

/// The program, running. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Program {
    /// An application that was never started, with these people of role `admin` in `acme`.
    pub async fn new(path: &'static str, backend: Backend, people: impl Iterator<Item = String>) -> Self {
        let people: Vec<_> = people.map(|name| format!("{name}:{PASSWORD}:admin@acme")).collect();
        Self {
            path,
            folder: tempfile::tempdir().unwrap(),
            database: Database::create(backend).await,
            people: people.join(","),
            settings: Vec::new(),
            is_shielded: false,
        }
    }

    /// A write beyond what it may write is refused, as by a broken disk. (Else the kernel ends the process.)
    #[must_use]
    pub fn shielded(mut self) -> Self {
        self.is_shielded = true;
        self
    }

    /// With a setting more, or another.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// The program, with the settings of development and nothing from outside.
    pub(crate) fn command(&self) -> Command {
        self.command_by(self.is_shielded.then_some("trap '' XFSZ; exec \"$0\" \"$@\""))
    }

    /// The same, started by a line of a shell, which calls it `$0`.
    pub(crate) fn command_by(&self, line: Option<&str>) -> Command {
        let mut command = match line {
            Some(line) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", line, self.path]);
                shell
            }
            None => Command::new(self.path),
        };
        for (name, _) in env::vars_os() {
            let name_text = name.to_string_lossy();
            if ["IAM_", "MFA_", "SMTP_"].iter().any(|ours| name_text.starts_with(ours)) {
                command.env_remove(&name);
            }
        }
        command
            // Its keys are kept there, and no `.env` is.
            .current_dir(self.folder.path())
            .env("IAM_LISTEN", "127.0.0.1:0")
            .env("IAM_DATABASE_URL", self.database.url())
            .env("IAM_DEMO_USERS", &self.people)
            .env("RUST_LOG", "warn,example_host=info")
            .env("NO_COLOR", "1")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it listens.
    pub fn start(&self) -> Running {
        let mut process = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (listens, address) = mpsc::channel();
        // It writes as long as it lives, and would stand still if nobody read.
        let errors = process.stderr.take().unwrap();
        listen(errors, Arc::clone(&said), None);
        let output = process.stdout.take().unwrap();
        listen(output, Arc::clone(&said), Some(listens));
        let Ok(address) = address.recv_timeout(STARTS_WITHIN) else {
            drop(process.kill());
            panic!("{} did not start:\n{}", self.path, said.lock().unwrap());
        };
        Running { process, address, said }
    }

    /// Asks it who may pass: what it prints on its two outputs, and its exit code.
    pub fn explain(&self, words: &[&str]) -> (String, String, Option<i32>) {
        self.run(&[&["explain"], words].concat())
    }

    /// Runs a command: what it prints on its two outputs, and its exit code.
    pub fn run(&self, words: &[&str]) -> (String, String, Option<i32>) {
        let done = self.command().args(words).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(done.stdout), text(done.stderr), done.status.code())
    }

    /// Starts it where something listens already: what it says on its error output, and its exit code.
    pub fn start_at(&self, taken: SocketAddr) -> (String, Option<i32>) {
        let done = self.command().env("IAM_LISTEN", taken.to_string()).stdin(Stdio::null()).output().unwrap();
        (String::from_utf8(done.stderr).unwrap(), done.status.code())
    }

    /// The addresses of the family that it serves, each with its method.
    pub fn own_addresses(&self) -> Vec<(String, String)> {
        let printed = self.command().arg("--routes").output().unwrap();
        let text = String::from_utf8(printed.stdout).unwrap();
        let routes = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        routes
            .filter_map(|words| match words[..] {
                [method, path, "iam"] => Some((method.to_owned(), path.to_owned())),
                _ => None,
            })
            .collect()
    }
}

fn listen(
    output: impl Read + Send + 'static,
    said: Arc<Mutex<String>>,
    listens: Option<mpsc::Sender<SocketAddr>>,
) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let address = line.split_once("listening on ").and_then(|(_, rest)| rest.split(',').next());
            if let (Some(listens), Some(address)) = (&listens, address) {
                // Said once; who waited may be gone.
                let _ = listens.send(address.parse().unwrap());
            }
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

impl Running {
    /// Kills it without a word, as the kernel does when memory is short.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop, as a service manager does, and waits until it has. Says whether all went well.
    pub fn stop(mut self) -> bool {
        rustix::process::kill_process(self.id(), rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().success()
    }

    /// Its process.
    pub fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.process)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// What it has said so far, on both of its outputs.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// A new browser, whose requests come from the program's own pages.
    pub fn browser(&self) -> Browser {
        Browser::new(self.address).with_header("sec-fetch-site", "same-origin")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
