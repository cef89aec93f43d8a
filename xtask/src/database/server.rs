//! A server of our own: made, started, waited for and stopped.
//!
//! It is the child of a small shell script (`scripts/guard.sh`), which stops it as soon as this program ends
//! in whatever way. Its log is locked for as long as it or the script lives; a folder whose log is not locked
//! is left over from a crash of the whole machine.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::source::Program;
use super::{Kind, folder};
use crate::process as programs;
use crate::trouble::{Result, Trouble, Trying as _};

const GUARD: &str = include_str!("../../scripts/guard.sh");

const LOG: &str = "server.log";
const DATA: &str = "data";
const TABLES: &str = "tables.sql";
const PASSWORD: &str = "password";
const PORT: &str = "port";
/// Is written when the data folder is complete.
const MADE: &str = "made";
/// How the folders in the system's temporary folder begin.
const TEMPORARY: &str = "iam-test-database-";

/// How long a server may take to make its data folder, or to answer.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LINES_OF_LOG: usize = 20;

/// What speeds up tests: nothing of it shows until the whole machine crashes.
const CARELESS: &[&str] =
    &["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-doublewrite=OFF"];

/// What the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Its data is thrown away; the account may do everything.
    Tests,
    /// Its data is kept; the account may do everything in one database.
    Developer,
}

/// A server that runs. It is stopped on drop.
#[derive(Debug)]
pub(super) struct Server {
    folder: Folder,
    guard: Child,
    url: String,
    program: Program,
    port: u16,
    /// What else it was told.
    further: Vec<String>,
}

/// The folder of a server, which is nobody else's.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    purpose: Purpose,
    /// Locked.
    log: File,
}

impl Server {
    /// A new one for one run of the tests.
    pub(super) fn for_tests(program: &Program) -> Result<Self> {
        Self::start(program, Folder::temporary(program.kind)?, &[])
    }

    /// A new one for one test, with options of the test's.
    pub(super) fn for_one_test(program: &Program, further: &[String]) -> Result<Self> {
        Self::start(program, Folder::temporary(program.kind)?, further)
    }

    /// The one with the developer's data.
    pub(super) fn for_developer(program: &Program) -> Result<Self> {
        Self::start(program, Folder::kept(program.kind)?, &[])
    }

    fn start(program: &Program, folder: Folder, further: &[String]) -> Result<Self> {
        folder.make_data(program)?;
        let password = folder.password()?;
        let statements = folder.path.join("accounts.sql");
        private_file(&statements, &accounts(program.kind, folder.purpose, &password))?;
        // Chosen as late as can be: somebody else could take it until the server does.
        let port = folder.port()?;
        let mut options = serving(program.kind, port, further);
        options.push(option("--init-file=", &statements));
        let guard = folder.guard(program, options, None)?;
        let url = match folder.purpose {
            Purpose::Tests => format!("mysql://root:{password}@127.0.0.1:{port}"),
            Purpose::Developer => format!("mysql://iam:{password}@127.0.0.1:{port}/iam"),
        };
        let mut server =
            Self { folder, guard, url, program: program.clone(), port, further: further.to_vec() };
        server.wait_for_greeting(port)?;
        // The server has read it.
        fs::remove_file(&statements).trying(|| format!("remove {}", statements.display()))?;
        Ok(server)
    }

    /// Where it is, with the account to use.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// The folder of its data and log.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Ends it as if its machine had died, but for its files.
    pub(super) fn crash(&mut self) -> Result<()> {
        self.signal("KILL")?;
        let start = Instant::now();
        // Not `wait`, which closes the pipe: the guard would remove the folder.
        while status(&mut self.guard)?.is_none() {
            if start.elapsed() > PATIENCE {
                return Err(Trouble::new("A server that was killed does not end."));
            }
            pause(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Starts it again after it crashed, with what it had.
    pub(super) fn start_again(&mut self) -> Result<()> {
        let options = serving(self.program.kind, self.port, &self.further);
        self.guard = self.folder.guard(&self.program, options, None)?;
        self.wait_for_greeting(self.port)
    }

    /// Sends it a signal, such as `STOP`.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let file = self.folder.path.join(DATA).join("server.pid");
        let pid = fs::read_to_string(&file).trying(|| format!("read {}", file.display()))?;
        programs::read(Command::new("kill").arg(format!("-{name}")).arg(pid.trim())).map(drop)
    }

    /// Waits until it ends by itself.
    pub(super) fn wait(&mut self) -> Result<()> {
        // Not `wait`, which closes the pipe that keeps the server running.
        loop {
            if let Some(status) = status(&mut self.guard)? {
                return Err(self.folder.ended("The server ended", status));
            }
            pause(Duration::from_millis(500));
        }
    }

    /// Tells it to stop. What is answered waits for that on drop.
    pub(super) fn begin_to_stop(&mut self) -> Stopping<'_> {
        drop(self.guard.stdin.take());
        Stopping(self)
    }

    fn wait_for_greeting(&mut self, port: u16) -> Result<()> {
        let start = Instant::now();
        while !greets(port) {
            if let Some(status) = status(&mut self.guard)? {
                return Err(self.folder.ended("The server ended before it answered", status));
            }
            if start.elapsed() > PATIENCE {
                return Err(Trouble::new(format!(
                    "The server does not answer after {} s.{}",
                    PATIENCE.as_secs(),
                    self.folder.end_of_log()
                )));
            }
            pause(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.begin_to_stop());
    }
}

/// A server that was told to stop.
#[derive(Debug)]
pub(super) struct Stopping<'a>(&'a mut Server);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.guard.wait() {
            println!("Could not wait for a server to stop: {error}.");
        }
    }
}

impl Folder {
    fn temporary(kind: Kind) -> Result<Self> {
        let unique = random()?.split_off(16);
        let path = env::temp_dir().join(format!("{TEMPORARY}{}-{unique}", kind.word()));
        // Under another name first: under its own, it would be a leftover as long as its log is not locked.
        let making = env::temp_dir().join(format!("iam-new-{unique}"));
        private_folder(&making)?;
        let log = open_log(&making)?;
        log.try_lock().map_err(|error| Trouble::new(format!("Could not lock a new log: {error}.")))?;
        fs::rename(&making, &path).trying(|| format!("rename {}", making.display()))?;
        Ok(Self { path, purpose: Purpose::Tests, log })
    }

    /// The one before may still be stopping.
    fn kept(kind: Kind) -> Result<Self> {
        let path = folder()?.join(format!("{}-data", kind.word()));
        private_folder(&path)?;
        let log = open_log(&path)?;
        let start = Instant::now();
        loop {
            match log.try_lock() {
                Ok(()) => return Ok(Self { path, purpose: Purpose::Developer, log }),
                Err(TryLockError::WouldBlock) if start.elapsed() < Duration::from_secs(15) => {
                    pause(LOOK_AGAIN);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Trouble::new(format!(
                        "A server runs already with the data in {}.",
                        path.display()
                    )));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(Trouble::new(format!(
                        "Could not lock the log in {}: {error}.",
                        path.display()
                    )));
                }
            }
        }
    }

    /// Lets the server make its system tables, unless it has.
    fn make_data(&self, program: &Program) -> Result<()> {
        let (data, made) = (self.path.join(DATA), self.path.join(MADE));
        if made.is_file() {
            return Ok(());
        }
        if data.exists() {
            fs::remove_dir_all(&data).trying(|| format!("remove the unfinished {}", data.display()))?;
        }
        let mut guard = match (program.kind, &program.tree) {
            // It makes its own folder, and certificates for TLS in it.
            (Kind::MySql, _) => self.guard(program, words(&["--initialize-insecure"]), None)?,
            (Kind::MariaDb, Some(tree)) => {
                private_folder(&data)?;
                let tables = self.path.join(TABLES);
                private_file(&tables, &system_tables(tree)?)?;
                let options = ["--bootstrap", "--log-warnings=0", "--max-allowed-packet=8M"];
                self.guard(program, words(&options), Some(&tables))?
            }
            (Kind::MariaDb, None) => {
                let script = ["mariadb-install-db", "mysql_install_db"]
                    .into_iter()
                    .find_map(programs::on_path)
                    .ok_or_else(|| Trouble::new("Its mariadb-install-db is not on the PATH."))?;
                let options = ["--auth-root-authentication-method=normal", "--skip-test-db"];
                let script = Program { path: script, ..program.clone() };
                self.guard(&script, words(&options), None)?
            }
        };
        let start = Instant::now();
        let status = loop {
            match status(&mut guard)? {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => {
                    drop(guard.stdin.take());
                    guard.wait().trying(|| "stop the server".to_owned())?;
                    return Err(Trouble::new(format!(
                        "Its data folder is not made after {} s.{}",
                        PATIENCE.as_secs(),
                        self.end_of_log()
                    )));
                }
                None => pause(LOOK_AGAIN),
            }
        };
        if !status.success() {
            return Err(self.ended("Its data folder could not be made", status));
        }
        let tables = self.path.join(TABLES);
        if tables.is_file() {
            fs::remove_file(&tables).trying(|| format!("remove {}", tables.display()))?;
        }
        fs::write(&made, &program.version).trying(|| format!("write {}", made.display()))
    }

    /// Starts a program under the guard, with what it needs to know in any case.
    fn guard(&self, program: &Program, options: Vec<OsString>, input: Option<&Path>) -> Result<Child> {
        let log = || self.log.try_clone().trying(|| "share the server's log".to_owned());
        let fate = match self.purpose {
            Purpose::Tests => "remove",
            Purpose::Developer => "keep",
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "guard.sh"])
            .arg(&self.path)
            .arg(fate)
            .arg(input.unwrap_or(Path::new("/dev/null")))
            .arg(&program.path)
            // It must be the first: nothing of the machine's own settings is for us.
            .arg("--no-defaults")
            .arg(option("--datadir=", &self.path.join(DATA)))
            // A server that starts removes what looks like tables of before in the folder for temporary ones: another's.
            .arg(option("--tmpdir=", &self.path))
            .args(own_files(program))
            .args(root().then_some("--user=root"));
        if self.purpose == Purpose::Tests {
            command.args(CARELESS);
        }
        command.args(options);
        // Where the environment says where its socket or settings are, it means another server.
        for variable in ["MYSQL_HOME", "MYSQL_UNIX_PORT", "MYSQL_TCP_PORT", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        // The folder of the data holds nothing else, and whoever starts us may be in one that goes.
        command.current_dir(&self.path).stdin(Stdio::piped()).stdout(log()?).stderr(log()?);
        own_group(&mut command);
        command.spawn().trying(|| "start a shell (sh)".to_owned())
    }

    /// A developer's stays the same, so that the address does too.
    fn password(&self) -> Result<String> {
        if self.purpose == Purpose::Tests {
            return random();
        }
        let file = self.path.join(PASSWORD);
        match fs::read_to_string(&file) {
            Ok(password) if !password.is_empty() => Ok(password),
            _ => {
                let password = random()?;
                private_file(&file, &password)?;
                Ok(password)
            }
        }
    }

    /// A free port; a developer's stays the same while nobody else has it.
    fn port(&self) -> Result<u16> {
        if self.purpose == Purpose::Tests {
            return free_port(0);
        }
        let file = self.path.join(PORT);
        let last = fs::read_to_string(&file).ok().and_then(|port| port.trim().parse().ok());
        let port = last.map_or_else(|| free_port(0), |port| free_port(port).or_else(|_| free_port(0)))?;
        fs::write(&file, port.to_string()).trying(|| format!("write {}", file.display()))?;
        Ok(port)
    }

    fn ended(&self, what: &str, status: ExitStatus) -> Trouble {
        Trouble::new(format!("{what} ({status}).{}", self.end_of_log()))
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.path.join(LOG)).unwrap_or_default();
        let lines = last_lines(&String::from_utf8_lossy(&log));
        if lines.is_empty() { String::new() } else { format!(" Its log ends with:\n{lines}") }
    }
}

impl Drop for Folder {
    /// The guard has removed it already, unless the server ended by itself.
    fn drop(&mut self) {
        if self.purpose == Purpose::Tests && self.path.exists() {
            remove(&self.path);
        }
    }
}

/// A developer's server may still be stopping.
pub(super) fn wait_for_the_one_before(kind: Kind) -> Result<()> {
    Folder::kept(kind).map(drop)
}

/// Removes the folders of servers that nobody runs any more.
pub(super) fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        if ours && File::open(path.join(LOG)).is_ok_and(|log| log.try_lock().is_ok()) {
            println!("Removing {}, left over from before.", path.display());
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        println!("Could not remove {}: {error}.", path.display());
    }
}

/// How the server is to serve. Paths without a folder are in that of its data: a socket's name must be short.
/// What stands last holds.
fn serving(kind: Kind, port: u16, further: &[String]) -> Vec<OsString> {
    let mut options = words(&[
        "--bind-address=127.0.0.1",
        "--socket=server.sock",
        "--pid-file=server.pid",
        "--max-connections=400",
        "--innodb-buffer-pool-size=64M",
    ]);
    options.push(format!("--port={port}").into());
    options.extend(match kind {
        Kind::MySql => words(&["--mysqlx=OFF", "--disable-log-bin", "--secure-file-priv=NULL"]),
        Kind::MariaDb => words(&["--skip-log-bin"]),
    });
    options.extend(further.iter().map(OsString::from));
    options
}

/// Where a server that was unpacked finds what came with it.
fn own_files(program: &Program) -> Vec<OsString> {
    let Some(tree) = &program.tree else { return Vec::new() };
    let usr = tree.join("usr");
    let share = usr.join("share").join("mysql");
    vec![
        option("--basedir=", &usr),
        option("--lc-messages-dir=", &share),
        option("--character-sets-dir=", &share.join("charsets")),
        option("--plugin-dir=", &usr.join("lib").join("mysql").join("plugin")),
    ]
}

/// What MariaDB's own script for a new data folder feeds to the server. That script runs programs which need
/// the libraries of the machine.
fn system_tables(tree: &Path) -> Result<String> {
    let share = tree.join("usr").join("share").join("mysql");
    let parts = [
        "mysql_system_tables.sql",
        "mysql_performance_tables.sql",
        "mysql_system_tables_data.sql",
        "fill_help_tables.sql",
        "maria_add_gis_sp_bootstrap.sql",
        "mysql_sys_schema.sql",
    ];
    let mut statements = "create database mysql;\nuse mysql;\nset @auth_root_socket=null;\n".to_owned();
    for part in parts {
        // Some versions call it so.
        let names = [part.to_owned(), part.replacen("mysql_", "mariadb_", 1)];
        let file = names.iter().map(|name| share.join(name)).find(|file| file.is_file());
        let file = file.ok_or_else(|| Trouble::new(format!("There is no {part} in {}.", share.display())))?;
        statements.push_str(&fs::read_to_string(&file).trying(|| format!("read {}", file.display()))?);
        statements.push('\n');
    }
    Ok(statements)
}

/// What the server runs before it lets anybody in, a statement a line.
fn accounts(kind: Kind, purpose: Purpose, password: &str) -> String {
    let mut statements = vec![format!("ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';")];
    if kind == Kind::MariaDb {
        // It makes one without a password for each name of this machine.
        statements
            .push("DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';".to_owned());
        statements.push("FLUSH PRIVILEGES;".to_owned());
    }
    if purpose == Purpose::Developer {
        statements.extend([
            "CREATE DATABASE IF NOT EXISTS iam CHARACTER SET utf8mb4;".to_owned(),
            format!("CREATE USER IF NOT EXISTS 'iam'@'localhost' IDENTIFIED BY '{password}';"),
            format!("ALTER USER 'iam'@'localhost' IDENTIFIED BY '{password}';"),
            "GRANT ALL PRIVILEGES ON iam.* TO 'iam'@'localhost';".to_owned(),
        ]);
    }
    statements.push(String::new());
    statements.join("\n")
}

/// Whether a server answers there. It speaks first; its packet has a head of four bytes and then the number
/// of its protocol, which is 10. Before it lets people in, it accepts a connection but says nothing.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut head = [0; 5];
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok() && stream.read_exact(&mut head).is_ok()
    }) && head.ends_with(&[0x0a])
}

/// This port, or any that is free for `0`.
fn free_port(port: u16) -> Result<u16> {
    let trying = || "find a free port".to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).trying(trying)?;
    Ok(listener.local_addr().trying(trying)?.port())
}

/// 128 random bits.
fn random() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .trying(|| "read /dev/urandom".to_owned())?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

fn open_log(folder: &Path) -> Result<File> {
    let log = folder.join(LOG);
    File::options().create(true).append(true).open(&log).trying(|| format!("open {}", log.display()))
}

fn status(child: &mut Child) -> Result<Option<ExitStatus>> {
    child.try_wait().trying(|| "ask after the server".to_owned())
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LINES_OF_LOG)..).unwrap_or_default().join("\n")
}

/// The servers refuse to run as root unless told to.
fn root() -> bool {
    programs::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, which tells us nothing")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    // A Ctrl-C is for us; the guard then stops the server in good order.
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

/// Nobody else may look into it: it holds passwords.
fn private_folder(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).trying(|| format!("make the folder {}", path.display()))
}

fn private_file(path: &Path, text: &str) -> Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).trying(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes()).trying(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_speaks_the_protocol_has_answered() {
        let answers = |bytes: &'static [u8]| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let speaking = std::thread::spawn(move || listener.accept().unwrap().0.write_all(bytes).unwrap());
            let greets = greets(port);
            speaking.join().unwrap();
            greets
        };
        assert!(answers(b"\x4a\0\0\0\x0a8.4.0"));
        assert!(!answers(b"\x17\0\0\0\xff\x10\x04Too many connections"));
        assert!(!answers(b"\x4a\0"));
        assert!(!greets(free_port(0).unwrap()));
    }

    /// Runs something else than a server under the guard.
    #[cfg(unix)]
    fn guarded(folder: &Path, fate: &str, script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard.sh"]).arg(folder).args([fate, "/dev/null", "sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn a_server_ends_when_nobody_holds_the_pipe_any_more() {
        let folder = env::temp_dir().join(format!("iam-guard-{}", random().unwrap()));
        private_folder(&folder).unwrap();
        let mut guard = guarded(&folder, "remove", "exec sleep 600");
        pause(Duration::from_millis(200));
        assert!(guard.try_wait().unwrap().is_none(), "the pipe is held, so it goes on");
        drop(guard.stdin.take());
        assert_eq!(guard.wait().unwrap().code(), Some(128 + 9));
        assert!(!folder.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_server_with_data_to_keep_may_finish_its_work() {
        let folder = env::temp_dir().join(format!("iam-guard-{}", random().unwrap()));
        private_folder(&folder).unwrap();
        let script = "trap 'exit 3' TERM; while :; do sleep 0.1; done";
        let mut guard = guarded(&folder, "keep", script);
        pause(Duration::from_millis(300));
        drop(guard.stdin.take());
        assert_eq!(guard.wait().unwrap().code(), Some(3));
        assert!(folder.exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_server_that_ends_by_itself_leaves_its_log_to_be_read() {
        let folder = env::temp_dir().join(format!("iam-guard-{}", random().unwrap()));
        private_folder(&folder).unwrap();
        let mut guard = guarded(&folder, "remove", "exit 4");
        let start = Instant::now();
        let status = loop {
            // Not `wait`, which closes the pipe.
            match guard.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(start.elapsed() < PATIENCE),
            }
            pause(LOOK_AGAIN);
        };
        assert_eq!(status.code(), Some(4));
        assert!(folder.exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn no_account_is_left_without_a_password() {
        let tests = accounts(Kind::MariaDb, Purpose::Tests, "pw");
        assert!(tests.starts_with("ALTER USER 'root'@'localhost' IDENTIFIED BY 'pw';\nDELETE "), "{tests}");
        assert!(tests.ends_with(";\n"), "{tests}");
        let developer = accounts(Kind::MySql, Purpose::Developer, "pw");
        assert!(!developer.contains("global_priv") && developer.contains("ON iam.* TO 'iam'"), "{developer}");
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let log: String = (1..=50).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        let shown = last_lines(&log);
        assert!(shown.starts_with("31\n") && shown.ends_with("\n50"), "{shown}");
        assert_eq!(last_lines("one\n"), "one");
        assert_eq!(last_lines(""), "");
    }

    #[test]
    fn passwords_differ_and_need_no_escaping() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one != other && one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }

    #[test]
    fn the_folder_of_a_server_that_runs_is_no_leftover() {
        let folder = Folder::temporary(Kind::MySql).unwrap();
        remove_leftovers();
        assert!(folder.path.join(LOG).is_file());
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }
}
