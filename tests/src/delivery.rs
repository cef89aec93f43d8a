//! Programs that send codes, and are killed while they do: what was promised arrives while it is good, and nothing arrives for a
//! third time.

use std::env;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::database::Raw;
use crate::mail_server::{Act, MailServer};
use crate::program::{Program, Running};
use crate::{Answer, Backend, Browser, PASSWORD};

/// More than one process sends to at once.
const PEOPLE: usize = 10;
/// As many as that.
const AT_ONCE: usize = 8;
/// For everything that must happen at all: no test of speed.
const AT_ALL: Duration = Duration::from_mins(1);

const CHALLENGE: &str = "/api/v1/auth/mfa/challenge";
const VERIFY: &str = "/api/v1/auth/mfa/verify";
const FACTORS: &str = "/api/v1/account/factors";

/// Kills a program that sends codes: once before the server has taken them, once when it has and nobody wrote it down, and once just
/// after some were promised.
pub async fn killed_while_codes_are_sent(path: &'static str, backend: Backend) {
    if !backend.is_there() {
        return;
    }
    let house = House::new(path, backend).await;
    let mut running = house.program.start();
    house.everybody_takes_codes_by_mail(&running).await;
    let steps = [Some("MAIL"), Some("DATA"), Some("."), None];
    let deaths = env::var("IAM_TEST_DEATHS").map_or(steps.len(), |deaths| deaths.parse().unwrap());
    for step in steps.into_iter().cycle().take(deaths) {
        running = house.one_death(running, step).await;
    }
}

/// Two programs on one database send each message once; what one of them leaves behind, the other one sends.
pub async fn two_programs_share_the_messages(path: &'static str, backend: Backend) {
    if !backend.is_there() {
        return;
    }
    let house = House::new(path, backend).await;
    let (one, two) = (house.program.start(), house.program.start());
    house.everybody_takes_codes_by_mail(&one).await;

    let asked = house.everybody_asks_by([&one, &two]).await;
    house.until_all_is_sent().await;
    for (n, known) in asked.known.iter().enumerate() {
        assert_eq!(house.codes(n).len(), known + 1, "person {n}: once in all");
    }
    house.what_was_promised_signs_in(&two, asked).await;

    house.server.fail("DATA", Act::Hang, usize::MAX);
    let asked = house.everybody_asks_by([&one, &two]).await;
    until("all are under way", async || house.server.held() >= PEOPLE).await;
    one.kill();
    house.server.heal();
    house.a_minute_passes().await;
    house.until_all_is_sent().await;
    for (n, known) in asked.known.iter().enumerate() {
        assert_eq!(house.codes(n).len(), known + 1, "person {n}: once in all");
    }
    house.what_was_promised_signs_in(&two, asked).await;
    assert_eq!(two.browser().get("/readyz").await.status, 200);
}

/// A program, a mail server, and people.
struct House {
    program: Program,
    server: MailServer,
    raw: Raw,
}

/// What was promised to whom.
struct Asked {
    /// Whose browsers were told that a code is on its way.
    browsers: Vec<(usize, Browser)>,
    /// How many codes each person had before.
    known: Vec<usize>,
}

impl House {
    async fn new(path: &'static str, backend: Backend) -> Self {
        let server = MailServer::start().await;
        let program = Program::new(path, backend, (0..PEOPLE).map(|n| format!("person{n}")))
            .await
            .with("SMTP_URL", server.url())
            .with("SMTP_FROM", "Acme <no-reply@acme.example>")
            .with("IAM_TRUSTED_PROXIES", "127.0.0.1/32");
        let raw = program.database.raw();
        Self { program, server, raw }
    }

    fn codes(&self, n: usize) -> Vec<String> {
        self.server.codes(&address(n))
    }

    async fn everybody_takes_codes_by_mail(&self, running: &Running) {
        for n in 0..PEOPLE {
            let mut browser = browser(running, n);
            assert_eq!(sign_in(&mut browser, n).await.status, 200);
            let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp", "email": address(n)})).await;
            assert_eq!(begun.status, 201, "{}", begun.body);
            until("a code comes", async || !self.codes(n).is_empty()).await;
            let id = begun.json()["id"].as_str().unwrap().to_owned();
            let code = json!({"code": self.codes(n)[0]});
            let done = browser.post_json(&format!("{FACTORS}/{id}/confirm"), &code).await;
            assert_eq!(done.status, 200, "{}", done.body);
        }
        self.until_all_is_sent().await;
    }

    /// Everybody's password is right, and a code is due.
    async fn everybody_signs_in_by(&self, programs: [&Running; 2]) -> Vec<Browser> {
        // As if an hour had passed: no more than five codes go to one address within that.
        self.raw.execute("DELETE FROM iam_rate_limit").await;
        let mut browsers = Vec::new();
        for n in 0..PEOPLE {
            let mut browser = browser(programs[n % 2], n);
            let answer = sign_in(&mut browser, n).await;
            assert_eq!(answer.json()["status"], "mfa_required", "{}", answer.body);
            browsers.push(browser);
        }
        browsers
    }

    async fn everybody_asks_by(&self, programs: [&Running; 2]) -> Asked {
        let known = (0..PEOPLE).map(|n| self.codes(n).len()).collect();
        let mut asks = JoinSet::new();
        for (n, mut browser) in self.everybody_signs_in_by(programs).await.into_iter().enumerate() {
            asks.spawn(async move {
                assert!(ask(&mut browser).await);
                (n, browser)
            });
        }
        Asked { browsers: asks.join_all().await, known }
    }

    /// Everybody asks for a code, the program is killed while the server holds the messages at a step, or else after some of them were
    /// promised, and started again.
    async fn one_death(&self, running: Running, step: Option<&'static str>) -> Running {
        let lost_before = self.lost().await;
        let asked = if let Some(step) = step {
            self.server.fail(step, Act::Hang, usize::MAX);
            let asked = self.everybody_asks_by([&running, &running]).await;
            until("as many as can are under way", async || self.server.held() >= AT_ONCE).await;
            running.kill();
            asked
        } else {
            self.killed_after_some_promises(running).await
        };
        self.server.heal();
        self.a_minute_passes().await;
        let running = self.program.start();
        self.what_was_promised_signs_in(&running, asked).await;
        self.until_all_is_sent().await;
        if step.is_some() {
            assert_eq!(self.lost().await - lost_before, i64::try_from(AT_ONCE).unwrap(), "sent again");
        }
        for n in 0..PEOPLE {
            let codes = self.codes(n);
            for code in &codes {
                let times = codes.iter().filter(|other| *other == code).count();
                assert!(times <= 2, "person {n}: {times} times at {step:?}");
            }
        }
        running
    }

    async fn killed_after_some_promises(&self, running: Running) -> Asked {
        let known = (0..PEOPLE).map(|n| self.codes(n).len()).collect();
        let (promise, mut promised) = mpsc::unbounded_channel();
        let mut asks = JoinSet::new();
        let people = self.everybody_signs_in_by([&running, &running]).await;
        for (n, mut browser) in people.into_iter().enumerate() {
            let promise = promise.clone();
            asks.spawn(async move {
                if ask(&mut browser).await {
                    // The other end goes with the program.
                    let _ = promise.send((n, browser));
                }
            });
        }
        drop(promise);
        let mut browsers = Vec::new();
        for _ in 0..PEOPLE / 2 {
            browsers.push(timeout(AT_ALL, promised.recv()).await.expect("codes are promised").unwrap());
        }
        running.kill();
        while let Some(one) = promised.recv().await {
            browsers.push(one);
        }
        asks.join_all().await;
        Asked { browsers, known }
    }

    async fn what_was_promised_signs_in(&self, running: &Running, asked: Asked) {
        for (n, asking) in asked.browsers {
            until("the code comes", async || self.codes(n).len() > asked.known[n]).await;
            let code = self.codes(n).pop().unwrap();
            // The same browser, led to the program that runs now.
            let mut browser = browser(running, n);
            browser.cookies = asking.cookies;
            let done = browser.post_json(VERIFY, &json!({ "code": code })).await;
            assert_eq!(done.status, 200, "person {n}: {}", done.body);
            assert_eq!(browser.get("/reports").await.status, 200);
        }
    }

    /// For messages that somebody has taken. What was taken a minute ago, and nothing written down of, counts as lost.
    async fn a_minute_passes(&self) {
        let sql = match self.raw {
            Raw::Sqlite(_) => {
                "UPDATE iam_outbox SET claimed_at = claimed_at - 61000000 WHERE state = 'claimed'"
            }
            Raw::MySql(_) => {
                "UPDATE iam_outbox SET claimed_at = claimed_at - INTERVAL 61 SECOND WHERE state = 'claimed'"
            }
        };
        self.raw.execute(sql).await;
    }

    async fn lost(&self) -> i64 {
        self.raw.count("SELECT count(*) FROM iam_outbox WHERE lost > 0").await
    }

    async fn until_all_is_sent(&self) {
        let left = "SELECT count(*) FROM iam_outbox WHERE settled_at IS NULL";
        until("everything is sent", async || self.raw.count(left).await == 0).await;
        let failed = "SELECT count(*) FROM iam_outbox WHERE state NOT IN ('accepted', 'replaced')";
        assert_eq!(self.raw.count(failed).await, 0);
    }
}

fn address(n: usize) -> String {
    format!("person{n}@example.com")
}

/// A browser of a network of its own: one network asks for no more than twenty codes.
fn browser(running: &Running, n: usize) -> Browser {
    running.browser().with_header("x-forwarded-for", &format!("198.51.100.{n}"))
}

async fn sign_in(browser: &mut Browser, n: usize) -> Answer {
    browser.api_sign_in(&format!("person{n}"), PASSWORD).await
}

/// Asks for a code; whether one was promised.
async fn ask(browser: &mut Browser) -> bool {
    let body = json!({"method": "email_otp"}).to_string();
    let headers = [("content-type", "application/json")];
    match browser.try_send("POST", CHALLENGE, &headers, body.into()).await {
        Some(answer) => {
            assert_eq!(answer.status, 200, "{}", answer.body);
            true
        }
        None => false,
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < AT_ALL, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
