//! What an example application writes into its log.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::{Running, STARTS_WITHIN};
use crate::{Backend, Browser, PASSWORD, Program};

/// For what must be answered at all.
const AT_ALL: Duration = Duration::from_mins(1);

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Pages, a sign-in that fails and one that does not, what is guarded: each is answered, and says more than a pipe holds.
async fn everything_is_answered(address: SocketAddr) {
    let work = async {
        let browser = || Browser::new(address).with_header("sec-fetch-site", "same-origin");
        assert_eq!(browser().api_sign_in("amy", "wrong pony charger").await.status, 401);
        let mut amy = browser();
        assert_eq!(amy.api_sign_in("amy", PASSWORD).await.status, 200);
        for _ in 0..50 {
            assert_eq!(amy.get("/reports").await.status, 200);
            assert_eq!(browser().get("/auth/login").await.status, 200);
            assert_eq!(browser().get("/healthz").await.status, 200);
        }
    };
    timeout(AT_ALL, work).await.expect("everything is answered");
}

/// Whoever reads the log may go, or stand still.
pub async fn nobody_who_reads_the_log_is_waited_for(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, ["amy".to_owned()].into_iter()).await;
    for leaves in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = program.command();
        command
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer);
        let mut process = Killed(command.spawn().unwrap());
        // Its ends of the pipe.
        drop(command);
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(',').next()?.parse().ok()
        });
        let reader = if leaves { None } else { Some(lines) };
        everything_is_answered(address.expect("it listens")).await;
        assert!(process.0.try_wait().unwrap().is_none());
        drop(reader);
    }
}

/// The disk behind the log may be full, and there may be no log at all.
pub async fn a_log_that_can_not_be_written_ends_no_request(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, ["amy".to_owned()].into_iter()).await;
    for where_to in [">/dev/full 2>&1", "2>/dev/full", ">&- 2>&-"] {
        // Nobody says where it listens.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = program.command_by(Some(&format!("exec \"$0\" {where_to}")));
        command.env("RUST_LOG", "trace").env("IAM_LISTEN", free.to_string());
        let mut process = Killed(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(free).await.is_err() {
            assert!(process.0.try_wait().unwrap().is_none(), "{where_to}: it has ended");
            assert!(begun.elapsed() < STARTS_WITHIN, "{where_to}: it does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        everything_is_answered(free).await;
        assert!(process.0.try_wait().unwrap().is_none(), "{where_to}");
    }
}

/// A set-up link shows in no line of the log, however somebody has spelled it. (Its owner is shown it outside of the log.)
pub async fn no_link_shows_in_the_log(program: &'static str) {
    let program = Program::new(program, Backend::Sqlite, std::iter::empty()).await.with("RUST_LOG", "info");
    let running = program.start();
    let said = said_until(&running, "/auth/setup/").await;
    let (_, token) = said.split_once("/auth/setup/").expect("a link is shown");
    let token = token.lines().next().unwrap().trim().to_owned();
    assert!(token.len() >= 40, "{said}");

    let (first, second) = token.split_at(20);
    let encoded = first.bytes().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat();
    let spelled = [
        format!("/auth/setup/{token}"),
        format!("/auth/setup/{token}."),
        format!("/auth/setup/{token}),"),
        format!("/auth/setup/{token}/"),
        format!("/auth/setup//{token}"),
        format!("//auth//setup//{token}"),
        format!("/auth/setup/{first}.{second}"),
        format!("/auth/setup/{first}%2f{second}"),
        format!("/auth/setup/{encoded}{second}"),
        format!("/auth/%73etup/{first}"),
        format!("/auth/setup%2F{first}"),
        format!("/mounted/elsewhere/auth/setup/{first}"),
        format!("/auth/setup/{first}%0aINFO%20{second}?{token}"),
        format!("/reports/{token}"),
    ];
    for target in &spelled {
        for method in ["GET", "POST"] {
            let (status, _) = running.browser().send_raw(method, target).await;
            assert!(matches!(status, 200 | 303 | 400..=499), "{method} {target}: {status}");
        }
    }
    running.browser().open("/auth/login").await;
    let said = said_until(&running, "path=\"/auth/login\"}").await;
    let logged: Vec<&str> = said.lines().filter(|line| line.contains("request{")).collect();
    // What has no route some frameworks answer before anything is logged.
    assert!(logged.iter().filter(|line| line.contains("/auth/setup/***")).count() >= 10, "{said}");
    // Its owner alone is shown it.
    for line in said.lines().filter(|line| !line.trim_start().starts_with("http")) {
        let shows = |part: &str| line.contains(part);
        assert!(!shows(first) && !shows(second) && !shows(&encoded), "{line}");
    }
}

/// What a program has said, once a part of it is there: it is read by a thread of ours. All that was said before is there, too.
async fn said_until(running: &Running, part: &str) -> String {
    for _ in 0..1000 {
        let said = running.said();
        // A whole line of it.
        if said.split_once(part).is_some_and(|(_, rest)| rest.contains('\n')) {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{part}: {}", running.said())
}
