//! Sign-ins: how fast, with how much processor and memory, how evenly; and what statements a request costs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that can't be set up has nothing to measure, and what it measured is for a person to read"
)]

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{env, thread};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use iam_bench::usage::Cpu;
use iam_bench::{app, stats, usage};
use iam_core::ports::LoginIdentifier;
use iam_core::protocol::Login;
use iam_core::{
    AccountStatus, Actor, Argon2Params, Client, Error, HashingConfig, Iam, LoginLimits, PlainPassword,
};
use iam_tests::{Faults, FaultyStore};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Sign-ins of one storm, and hashes of its yardstick.
const LOGINS: u32 = 100;
/// Storms. The first finds a server that has never hashed.
const ROUNDS: u32 = 3;
const REQUESTS: u32 = 1000;
/// Samples of each kind of failed sign-in.
const SAMPLES: u32 = 100;

/// Set, this program is the server, on the database in this folder.
const SERVE: &str = "IAM_BENCH_SERVE";

fn main() {
    let runtime = Runtime::new().unwrap();
    if let Some(folder) = env::var_os(SERVE) {
        return serve(&runtime, Path::new(&folder));
    }
    storms(&runtime);
    statements(&runtime);
    timing(&runtime);
}

fn heading(what: &str) {
    println!("\n{what}\n{:44}{:>26}   goal", "", "measured");
}

fn line(what: &str, measured: &str, goal: &str) {
    println!("{what:44}{measured:>26}   {goal}");
}

// -- storms --

fn storms(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let store = app::store(folder.path()).await;
        let iam = app::builder(store, "http://localhost").build().await.unwrap();
        for n in 0..LOGINS {
            app::add(&iam, &name(n), None).await;
        }
    });
    let threads = HashingConfig::for_params(&Argon2Params::default()).threads;
    let server = Server::start(folder.path());
    let idle = usage::memory(server.process.id());
    for round in 1..=ROUNDS {
        let raw = hash_all(threads);
        let storm = runtime.block_on(storm(&server));
        heading(&format!(
            "{LOGINS} sign-ins at once, {threads} hashing threads, m=19456 t=2 p=1: round {round} of {ROUNDS}"
        ));
        storm.print(raw, threads);
    }
    let peak = usage::memory(server.process.id()).peak;
    heading("Memory of the server, which never hashed before the first round");
    line("idle (the peak until then)", &format!("{} ({}) MiB", mib(idle.now), mib(idle.peak)), "");
    line("peak of all rounds", &format!("{} MiB", mib(peak)), "");
    line("peak over idle", &format!("{} MiB", mib(peak - idle.now)), "at most 60 MiB");
}

fn name(n: u32) -> String {
    format!("person{n}")
}

fn mib(kib: u32) -> String {
    format!("{:.1}", f64::from(kib) / 1024.0)
}

/// The yardstick: the same number of hashes on as many threads with memory that is used again, and nothing else.
fn hash_all(threads: usize) -> Duration {
    let params = Params::new(19_456, 2, 1, Some(32)).unwrap();
    let (left, ready) = (AtomicU32::new(LOGINS), Barrier::new(threads + 1));
    let work = || {
        let mut blocks = vec![Block::default(); params.block_count()];
        let mut hash = || {
            let mut tag = [0; 32];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
                .hash_password_into_with_memory(app::PASSWORD.as_bytes(), &[9; 16], &mut tag, &mut blocks)
                .unwrap();
            std::hint::black_box(tag);
        };
        hash();
        ready.wait();
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            hash();
        }
    };
    let start = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
        ready.wait();
        Instant::now()
    });
    start.elapsed()
}

/// The server, in a process of its own: what it uses is told apart from what the client uses.
struct Server {
    process: Child,
    origin: String,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(SERVE, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address: SocketAddr = address.trim().parse().unwrap();
        Self { process, origin: origin(address), address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input is the sign to end.
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

fn origin(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

/// Serves until the input ends, also when whoever started it is gone.
fn serve(runtime: &Runtime, folder: &Path) {
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let iam = app::builder(app::store(folder).await, &origin(address)).build().await.unwrap();
        let app = app::router(&iam).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        address
    });
    println!("{address}");
    stdout().flush().unwrap();
    stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Storm {
    /// Status and time of each sign-in.
    answers: Vec<(u16, Duration)>,
    /// Until the last was answered.
    total: Duration,
    /// What the server used for it.
    cpu: Cpu,
}

/// Everybody signs in at once, each on a connection of their own.
async fn storm(server: &Server) -> Storm {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1/auth/login", server.address);
    let before = usage::cpu(server.process.id());
    let start = Instant::now();
    let logins: Vec<_> = (0..LOGINS)
        .map(|n| {
            let body = format!(r#"{{"username":"{}","password":"{}"}}"#, name(n), app::PASSWORD);
            let request = http
                .post(&url)
                .header("origin", &server.origin)
                .header("content-type", "application/json")
                .body(body);
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                let status = response.status().as_u16();
                response.bytes().await.unwrap();
                (status, start.elapsed())
            })
        })
        .collect();
    let mut answers = Vec::new();
    for login in logins {
        answers.push(login.await.unwrap());
    }
    let total = start.elapsed();
    Storm { answers, total, cpu: usage::cpu(server.process.id()) - before }
}

impl Storm {
    fn print(&self, raw: Duration, threads: usize) {
        let times: Vec<_> = self.answers.iter().map(|(_, time)| *time).collect();
        let slowest = times.iter().max().unwrap();
        let right = self.answers.iter().filter(|(status, _)| *status == 200).count();
        let capacity = self.total * u32::try_from(threads).unwrap();
        let share = |time: Duration| format!("{:.1} %", 100.0 * time.div_duration_f64(capacity));
        let hashing = self.cpu.hashing;
        line("answered with 200", &format!("{right} of {LOGINS}"), "all");
        line(&format!("{LOGINS} hashes and nothing else"), &seconds(raw), "");
        line("slowest sign-in", &seconds(*slowest), "");
        line(
            "slowest sign-in / hashes and nothing else",
            &format!("{:.3}", slowest.div_duration_f64(raw)),
            "at most 1.25",
        );
        line("median sign-in", &seconds(stats::median(&times)), "");
        line("all of them", &seconds(self.total), "");
        line("hashing threads: running", &share(hashing.running), "at least 95 %");
        line("hashing threads: running or kept waiting", &share(hashing.running + hashing.waiting), "");
        line(
            "server without hashing, CPU per sign-in",
            &millis(self.cpu.others.running / LOGINS),
            "at most 2 ms",
        );
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

// -- statements --

/// Each read of a store is one statement.
fn statements(runtime: &Runtime) {
    const NOTES: &str = "1 a minute, 0";
    heading(&format!("What {REQUESTS} requests with a session cookie ask of the store"));
    for (path, goal, notes_goal) in
        [("/open", "0", "0, 0"), ("/me", "1 each", NOTES), ("/admin", "1 each", NOTES)]
    {
        let (reads, notes, units) = runtime.block_on(statements_of(path));
        line(&format!("{path}: reads"), &reads.to_string(), goal);
        line(&format!("{path}: notes of use, units of work"), &format!("{notes}, {units}"), notes_goal);
    }
}

async fn statements_of(path: &str) -> (usize, usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = FaultyStore::new(app::store(folder.path()).await, Arc::clone(&faults));
    let iam = app::builder(store, "http://localhost:3000").build().await.unwrap();
    app::add(&iam, "amy", Some("admin")).await;
    let cookie = app::session_cookie(&iam, "amy").await;
    let router = app::router(&iam);
    let counts =
        || [&faults.reads, &faults.touches, &faults.units].map(|counter| counter.load(Ordering::SeqCst));
    let [reads, touches, units] = counts();
    for _ in 0..REQUESTS {
        let response = router.clone().oneshot(app::request(path, &cookie)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let [reads_after, touches_after, units_after] = counts();
    (reads_after - reads, touches_after - touches, units_after - units)
}

// -- timing --

/// The ways in which a sign-in fails that must look the same.
#[derive(Clone, Copy)]
enum Wrong {
    Password,
    Account,
    Status,
}

impl Wrong {
    const ALL: [Self; 3] = [Self::Password, Self::Account, Self::Status];

    const fn describe(self) -> &'static str {
        match self {
            Self::Password => "wrong password",
            Self::Account => "unknown account",
            Self::Status => "disabled account",
        }
    }

    async fn sign_in(self, iam: &Iam) -> Duration {
        let (name, password) = match self {
            Self::Password => ("amy", "wrong horse battery staple"),
            Self::Account => ("nobody", app::PASSWORD),
            Self::Status => ("bob", app::PASSWORD),
        };
        let identifier = LoginIdentifier::parse(name).unwrap();
        let password = PlainPassword::new(password).unwrap();
        let client = Client::at(app::PEER.ip());
        let start = Instant::now();
        let login = Login {
            identifier: &identifier,
            password,
            device: None,
            trusted: None,
            carrier: iam_core::protocol::Carrier::Cookie,
            stay_signed_in: false,
            replaces: None,
            client: &client,
        };
        let refused = iam.protocol().login(login).await;
        let time = start.elapsed();
        assert!(matches!(refused, Err(Error::Credentials)));
        time
    }
}

fn timing(runtime: &Runtime) {
    let [password, account, status] = runtime.block_on(failed_sign_ins());
    heading(&format!("{SAMPLES} failed sign-ins of each kind, in turns"));
    for (wrong, times) in Wrong::ALL.iter().zip([&password, &account, &status]) {
        line(&format!("{}: median", wrong.describe()), &millis(stats::median(times)), "");
    }
    for (what, a, b) in [
        ("unknown account - wrong password", &account, &password),
        ("disabled account - wrong password", &status, &password),
        ("disabled account - unknown account", &status, &account),
    ] {
        let [a_median, b_median] = [a, b].map(|times| stats::median(times).as_secs_f64() * 1000.0);
        let difference = a_median - b_median;
        let measured = format!("{difference:+.3} ms, {:+.2} %", 100.0 * difference / b_median);
        line(what, &measured, "at most 5 ms and 5 %");
        line("  how well one sample tells (AUC)", &format!("{:.3}", stats::auc(b, a)), "0.40 to 0.60");
    }
}

async fn failed_sign_ins() -> [Vec<Duration>; 3] {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = LoginLimits::default();
    limits.account.free = 1_000_000;
    for window in [&mut limits.address, &mut limits.address_long, &mut limits.address_in_flight] {
        window.limit = 1_000_000;
    }
    let store = app::store(folder.path()).await;
    let iam = app::builder(store, "http://localhost:3000").login_limits(limits).build().await.unwrap();
    app::add(&iam, "amy", None).await;
    let bob = app::add(&iam, "bob", None).await;
    iam.accounts(&Actor::service()).set_status(bob, AccountStatus::Disabled).await.unwrap();
    for wrong in Wrong::ALL {
        wrong.sign_in(&iam).await;
    }
    let mut times = [const { Vec::new() }; 3];
    let mut turns: Vec<_> = Wrong::ALL.into_iter().zip(&mut times).collect();
    for _ in 0..SAMPLES {
        for (wrong, times) in &mut turns {
            times.push(wrong.sign_in(&iam).await);
        }
        // None is always the first.
        turns.rotate_left(1);
    }
    times
}
