//! A program that is killed while people sign in: what it has acknowledged holds, and nothing is half written.

use std::collections::BTreeSet;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::database::Raw;
use crate::program::{Program, Running};
use crate::{Backend, PASSWORD};

const PEOPLE: usize = 40;
/// Who sign in at the same time.
const CLIENTS: usize = 12;
/// Acknowledged sign-ins after which the program is killed.
const BEFORE_DEATH: std::ops::RangeInclusive<usize> = 5..=40;
/// How often a program is killed on one database. What was under way stays counted as a try (the safe side), so that there is
/// no end of it without anyone having to wait.
const DEATHS_OF_A_DATABASE: usize = 3;

/// What somebody got who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    Cookie(String),
    Bearer(String),
}

/// What the program has acknowledged, and what nobody knows.
#[derive(Debug, Default)]
struct Acknowledged {
    signed_in: Vec<Proof>,
    signed_out: Vec<Proof>,
    /// Whose sign-in was not answered.
    in_vain: BTreeSet<usize>,
}

/// Kills a program in the middle of sign-ins and sign-outs, and starts it again, as often as `IAM_TEST_DEATHS` says.
pub async fn killed_while_people_sign_in(program: &'static str, backend: Backend) {
    if !backend.is_there() {
        return;
    }
    let mut left = env::var("IAM_TEST_DEATHS").map_or(DEATHS_OF_A_DATABASE, |deaths| deaths.parse().unwrap());
    while left > 0 {
        let deaths = left.min(DEATHS_OF_A_DATABASE);
        left -= deaths;
        one_database(program, backend, deaths).await;
    }
}

async fn one_database(path: &'static str, backend: Backend, deaths: usize) {
    let program = Program::new(path, backend, (0..PEOPLE).map(name)).await;
    let next = Arc::new(AtomicUsize::new(0));
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let mut running = program.start();
    for _ in 0..deaths {
        storm(running, &next, &acknowledged).await;
        nothing_is_half_written(&program.database.raw()).await;
        running = program.start();
        what_was_acknowledged_holds(&running, &acknowledged).await;
        nothing_is_half_written(&program.database.raw()).await;
    }
}

fn name(n: usize) -> String {
    format!("person{n}")
}

/// Signs people in and some of them out until enough of it was acknowledged, and then kills the program.
async fn storm(running: Running, next: &Arc<AtomicUsize>, acknowledged: &Arc<Mutex<Acknowledged>>) {
    let (count, mut counted) = watch::channel(0);
    let count = Arc::new(count);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = Caller::of(running.address);
        let (next, acknowledged) = (Arc::clone(next), Arc::clone(acknowledged));
        let count = Arc::clone(&count);
        clients.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let person = n % PEOPLE;
                let Some(proof) = client.sign_in(person, n % 2 == 0).await else {
                    acknowledged.lock().await.in_vain.insert(person);
                    return;
                };
                // Before it is counted: what is counted was acknowledged.
                acknowledged.lock().await.signed_in.push(proof.clone());
                count.send_modify(|count| *count += 1);
                if n % 5 == 0 {
                    // From here to the answer nobody can know.
                    acknowledged.lock().await.signed_in.retain(|known| *known != proof);
                    if client.sign_out(&proof).await.is_none() {
                        return;
                    }
                    acknowledged.lock().await.signed_out.push(proof);
                }
            }
        });
    }
    let enough = random(BEFORE_DEATH);
    let seen = counted.wait_for(|count| *count >= enough);
    tokio::time::timeout(Duration::from_mins(2), seen).await.expect("people get in").unwrap();
    running.kill();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

fn random(range: std::ops::RangeInclusive<usize>) -> usize {
    let many = range.end() - range.start() + 1;
    range.start() + usize::try_from(RandomState::new().hash_one(many) >> 33).unwrap() % many
}

async fn what_was_acknowledged_holds(running: &Running, acknowledged: &Arc<Mutex<Acknowledged>>) {
    let client = Caller::of(running.address);
    let mut acknowledged = acknowledged.lock().await;
    for proof in &acknowledged.signed_in {
        assert_eq!(client.me(proof).await, 200, "a session that was acknowledged is gone");
    }
    for proof in &acknowledged.signed_out {
        assert_eq!(client.me(proof).await, 401, "a session that was signed out is back");
    }
    // Whom the death kept from signing in does so now, at once: a try that stays counted keeps nobody out.
    for person in std::mem::take(&mut acknowledged.in_vain) {
        let proof = client.sign_in(person, true).await.expect("an answer");
        acknowledged.signed_in.push(proof);
    }
}

/// One statement says what must not be, and how often it is.
async fn nothing_is_half_written(raw: &Raw) {
    for (what, statement) in [
        (
            "a session without the record that it was made",
            "SELECT count(*) FROM iam_auth_session s WHERE 1 <> (SELECT count(*) FROM iam_auth_log l
             WHERE l.session_id = s.id AND l.account_id = s.account_id AND l.event = 'session_created')",
        ),
        (
            "a session without the record that somebody signed in",
            "SELECT count(*) FROM iam_auth_session s WHERE 1 <> (SELECT count(*) FROM iam_auth_log l
             WHERE l.session_id = s.id AND l.account_id = s.account_id
             AND l.event IN ('authn_login_success', 'authn_login_successafterfail'))",
        ),
        (
            "a record of a session that is not there",
            "SELECT count(*) FROM iam_auth_log l WHERE l.session_id IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM iam_auth_session s WHERE s.id = l.session_id)",
        ),
        (
            "a session that is signed out without a record, or has one and is not",
            "SELECT count(*) FROM iam_auth_session s WHERE (s.end_reason IS NOT NULL AND s.end_reason = 'logout')
             <> EXISTS (SELECT 1 FROM iam_auth_log l WHERE l.session_id = s.id AND l.event = 'authn_logout')",
        ),
        (
            "a session that has ended by half",
            "SELECT count(*) FROM iam_auth_session WHERE (ended_at IS NULL) <> (end_reason IS NULL)",
        ),
        (
            "an account without its password, its role, or the record that it was made",
            "SELECT count(*) FROM iam_user_account a WHERE a.password_hash IS NULL
             OR 1 <> (SELECT count(*) FROM iam_user_role r WHERE r.account_id = a.id)
             OR 1 <> (SELECT count(*) FROM iam_auth_log l WHERE l.account_id = a.id AND l.event = 'user_created')",
        ),
        (
            "a limit that makes no sense",
            "SELECT count(*) FROM iam_rate_limit WHERE count < 0 OR expires_at < since OR last_at < since",
        ),
    ] {
        assert_eq!(raw.count(statement).await, 0, "{what}");
    }
    let people = raw.count("SELECT count(*) FROM iam_user_account").await;
    assert_eq!(usize::try_from(people).unwrap(), PEOPLE);
}

/// A client that does not mind when nobody answers.
struct Caller {
    http: Client,
    address: SocketAddr,
}

impl Caller {
    fn of(address: SocketAddr) -> Self {
        Self { http: Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap(), address }
    }

    /// Signs in; nothing when there was no whole answer.
    async fn sign_in(&self, person: usize, by_token: bool) -> Option<Proof> {
        let mut body = json!({"username": name(person), "password": PASSWORD});
        if by_token {
            body["token"] = Value::Bool(true);
        }
        let request = self.post("/api/v1/auth/login").header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.ok()?;
        let status = answer.status();
        let lines =
            answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
        let cookies: Vec<_> = lines.collect();
        let text = answer.text().await.ok()?;
        assert_eq!(status, 200, "{text}");
        if by_token {
            let answer: Value = serde_json::from_str(&text).unwrap();
            return Some(Proof::Bearer(answer["session_token"].as_str().unwrap().to_owned()));
        }
        let cookie = cookies.into_iter().find(|line| line.starts_with("iam_session=")).unwrap();
        Some(Proof::Cookie(cookie.split(';').next().unwrap().to_owned()))
    }

    async fn sign_out(&self, proof: &Proof) -> Option<()> {
        let answer = proof.on(self.post("/api/v1/auth/logout")).send().await.ok()?;
        assert_eq!(answer.status(), 204);
        Some(())
    }

    async fn me(&self, proof: &Proof) -> u16 {
        let request = self.http.get(format!("http://{}/api/v1/me", self.address));
        proof.on(request).send().await.unwrap().status().as_u16()
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("http://{}{path}", self.address)).header("sec-fetch-site", "same-origin")
    }
}

impl Proof {
    fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Cookie(cookie) => request.header("cookie", cookie),
            Self::Bearer(token) => request.header("authorization", format!("Bearer {token}")),
        }
    }
}
