//! Clients that are slow, many, or send too much: everybody else gets in all the same.

#![expect(clippy::print_stderr, reason = "what had to be skipped is said")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::program::{Program, Running};
use crate::{Answer, Backend, Browser, PASSWORD};

/// Of each kind.
const SLOW: usize = 250;
/// Between two bytes of a slow client.
const NOW_AND_THEN: Duration = Duration::from_millis(250);
/// Open at once.
const CONNECTIONS: usize = 2_000;
/// For everything that must happen at all: no test of speed.
const AT_ALL: Duration = Duration::from_mins(1);
/// Less than an idle connection, or a head that is not complete, may last.
const KEPT: Duration = Duration::from_secs(8);

async fn started(path: &'static str) -> (Program, Running) {
    let people = ["amy", "bob", "gus"].map(str::to_owned);
    let program = Program::new(path, Backend::Sqlite, people.into_iter()).await;
    let running = program.start();
    (program, running)
}

/// Signs in, by cookie and by token, and asks for what is guarded.
async fn everybody_gets_in(running: &Running) {
    let work = async {
        for name in ["amy", "bob", "gus"] {
            let mut browser = running.browser();
            let signed_in = browser.api_sign_in(name, PASSWORD).await;
            assert_eq!(signed_in.status, 200, "{}", signed_in.body);
            assert_eq!(browser.get("/reports").await.status, 200);
            assert_eq!(bearer(running, name).await.get("/api/v1/me").await.status, 200);
        }
    };
    timeout(AT_ALL, work).await.expect("everybody gets in");
}

async fn bearer(running: &Running, name: &str) -> Browser {
    let body = json!({"username": name, "password": PASSWORD, "token": true});
    let answer = running.browser().post_json("/api/v1/auth/login", &body).await;
    let token = answer.json()["session_token"].as_str().unwrap().to_owned();
    running.browser().with_header("authorization", &format!("Bearer {token}"))
}

/// Sends a beginning and then a byte now and then, until the other side has had enough. Gives what it said.
async fn dribble(address: SocketAddr, beginning: String, byte: u8) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut said = Vec::new();
    if stream.write_all(beginning.as_bytes()).await.is_err() {
        return String::new();
    }
    let mut piece = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut piece) => match read {
                Ok(0) | Err(_) => return String::from_utf8_lossy(&said).into_owned(),
                Ok(length) => said.extend_from_slice(&piece[..length]),
            },
            () = sleep(NOW_AND_THEN) => {
                if stream.write_all(&[byte]).await.is_err() {
                    return String::from_utf8_lossy(&said).into_owned();
                }
            }
        }
    }
}

/// DOS-03: five hundred clients that never finish a head or a body are in nobody's way, and are let go.
pub async fn slow_clients_hold_nobody_up(path: &'static str) {
    let (_program, mut running) = started(path).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(next_status(&mut idle).await, Some(200));
    let idle_since = Instant::now();
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let head = "GET /auth/login HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned();
        let body = "POST /api/v1/auth/login HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\n\
                    content-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"username\": \""
            .to_owned();
        slow.spawn(dribble(running.address, head, b'x'));
        slow.spawn(dribble(running.address, body, b'x'));
    }
    for _ in 0..3 {
        everybody_gets_in(&running).await;
    }
    let all = async {
        while let Some(said) = slow.join_next().await {
            let said = said.unwrap();
            // Hung up on, or told why.
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
        }
    };
    timeout(AT_ALL, all).await.expect("slow clients are let go");
    // A balancer's connection, which was idle all the while.
    assert!(idle_since.elapsed() > KEPT && idle_since.elapsed() < AT_ALL);
    assert_eq!(next_status(&mut idle).await, Some(200));
    everybody_gets_in(&running).await;
    assert!(running.is_alive());
}

/// Sends a request on an open connection. Nothing, when it is hung up on.
async fn next_status(stream: &mut TcpStream) -> Option<u16> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let mut answer = [0; 1024];
    let read = timeout(AT_ALL, stream.read(&mut answer)).await.expect("an answer, or an end").ok()?;
    String::from_utf8_lossy(&answer[..read]).get(9..12)?.parse().ok()
}

/// Idle connections last as long as it is set.
pub async fn idle_connections_end_when_they_should(path: &'static str) {
    let program = Program::new(path, Backend::Sqlite, std::iter::empty()).await;
    let program = program.with("IAM_IDLE_CONNECTION", "2s");
    let running = program.start();
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for _ in 0..2 {
        assert_eq!(next_status(&mut stream).await, Some(200));
    }
    let begun = Instant::now();
    let end = timeout(AT_ALL, stream.read(&mut [0])).await.expect("an end");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    // Those of heads and of what is not read are longer.
    assert!(begun.elapsed() > Duration::from_secs(1) && begun.elapsed() < KEPT, "{:?}", begun.elapsed());
}

/// DOS-02: on every address of the family, by everybody, and never an error of ours.
pub async fn what_is_too_large_is_refused(path: &'static str) {
    let (program, mut running) = started(path).await;
    let addresses = program.own_addresses();
    assert!(addresses.len() > 16, "{addresses:?}");
    for (method, path) in &addresses {
        // Anew each time: one of the addresses signs her out.
        let amy = bearer(&running, "amy").await;
        let path = path.replace("{id}", "x").replace("{token}", &"A".repeat(43));
        assert!(!path.contains('{'), "{path}: what stands there is not known");
        for who in [&running.browser(), &amy] {
            let send = async |headers: &[(&str, &str)], path: &str, body: Vec<u8>| {
                who.clone().send(method, path, headers, body).await
            };
            let what = |answer: &Answer| format!("{method} {path}: {} {}", answer.status, answer.body);
            let kind = if path.starts_with("/api") { "application/json" } else { FORM };
            let changes = !matches!(method.as_str(), "GET" | "HEAD");
            for length in [16 * 1024 + 1, 1024 * 1024] {
                let answer = send(&[("content-type", kind)], &path, vec![b'x'; length]).await;
                // What changes nothing has no use for a body, whatever its length.
                assert!(answer.status == 413 || !changes && answer.status < 500, "{}", what(&answer));
            }
            for body in deep_documents() {
                let answer = send(&[("content-type", "application/json")], &path, body).await;
                assert!((200..500).contains(&answer.status), "{}", what(&answer));
                // To sign out there is nothing to read.
                let is_read = changes && path.starts_with("/api") && !path.ends_with("/logout");
                if is_read && method == "POST" && (who.headers.len() > 1 || path.ends_with("/login")) {
                    assert!(matches!(answer.status, 400 | 422), "{}", what(&answer));
                }
            }
        }
    }
    for (method, path) in &addresses {
        let long = "x".repeat(200 * 1024);
        let many = "x-one: x\r\n".repeat(200);
        for (what, target, lines) in [
            ("a long head", path.clone(), format!("x-long: {long}\r\n")),
            ("a long target", format!("{path}?{long}"), String::new()),
            ("a head of many lines", path.clone(), many),
        ] {
            let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n");
            let status = status_of(running.address, &head).await;
            assert!(matches!(status, None | Some(400 | 414 | 431)), "{what}: {method} {path}: {status:?}");
        }
    }
    everybody_gets_in(&running).await;
    assert!(running.is_alive());
}

/// What a request is answered with that no proper client would send; nothing, when it is hung up on.
async fn status_of(address: SocketAddr, head: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have been refused before it was sent whole.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(AT_ALL, stream.read_to_end(&mut answer)).await.expect("an answer, or an end");
    String::from_utf8_lossy(&answer).get(9..12)?.parse().ok()
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Within the bound of a body, and as deep as it lets them be.
fn deep_documents() -> Vec<Vec<u8>> {
    let deep = 3_000;
    let lists = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    vec![
        "[".repeat(4 * deep).into_bytes(),
        lists.clone().into_bytes(),
        format!(r#"{{"username":{lists},"password":"x"}}"#).into_bytes(),
        format!(r#"{{"password":{lists}}}"#).into_bytes(),
        format!("{}1{}", r#"{"a":"#.repeat(deep / 2), "}".repeat(deep / 2)).into_bytes(),
    ]
}

/// Two thousand connections, each in the middle of a head, leave room for everybody else; and each of them is answered, too.
pub async fn two_thousand_connections_hold_nobody_up(path: &'static str) {
    if let Err(why) = allow_open_files(2 * CONNECTIONS) {
        eprintln!("skipped: {CONNECTIONS} open connections need more file descriptors: {why}");
        return;
    }
    let (_program, mut running) = started(path).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = timeout(AT_ALL, TcpStream::connect(running.address)).await.unwrap().unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").await.unwrap();
        open.push((stream, Instant::now()));
    }
    everybody_gets_in(&running).await;
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for (mut stream, opened) in open {
        let written = stream.write_all(b"\r\n").await;
        let mut answer = String::new();
        let read = timeout(AT_ALL, stream.read_to_string(&mut answer)).await.expect("an answer, or an end");
        // One that has waited as long as a head may take was let go, and rightly.
        if opened.elapsed() < KEPT {
            written.unwrap();
            read.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        *answers.entry(answer.lines().next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(answers.keys().all(|status| status.is_empty() || !status.contains(" 5")), "{answers:?}");
    everybody_gets_in(&running).await;
    assert!(running.is_alive());
}

/// For this process, and for those that it starts.
fn allow_open_files(needed: usize) -> Result<(), String> {
    let needed = u64::try_from(needed).unwrap();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        return Err(format!("no more than {maximum} may be had"));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|error| error.to_string())
}
