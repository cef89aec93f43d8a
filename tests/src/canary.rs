//! A whole life with second factors, by a program that logs all it can: nothing secret shows where it was not meant to be shown.

use std::time::{Duration, Instant};

use iam_core::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::app::App;
use crate::mail_server::MailServer;
use crate::program::{Program, Running};
use crate::{Answer, Backend, Browser, PASSWORD};

const MISTYPED: &str = "correct horse batterie";
const NEW_PASSWORD: &str = "a wholly different pass phrase";
const ADDRESS: &str = "amy@example.com";

const FACTORS: &str = "/api/v1/account/factors";
const VERIFY: &str = "/api/v1/auth/mfa/verify";
const CHALLENGE: &str = "/api/v1/auth/mfa/challenge";
const RECOVERY_CODES: &str = "/api/v1/account/recovery-codes";

/// Lives it, and looks into the program's output, all of its answers, and every text and every byte in its database.
pub async fn nothing_secret_shows(path: &'static str, backend: Backend) {
    if !backend.is_there() {
        return;
    }
    let server = MailServer::start().await;
    let program = Program::new(path, backend, ["amy".to_owned()].into_iter())
        .await
        .with("SMTP_URL", server.url())
        .with("SMTP_FROM", "Acme <no-reply@acme.example>")
        .with("IAM_TRUSTED_DEVICES", "30d")
        .with("RUST_LOG", "trace");
    let running = program.start();
    let mut life = Life::new(&running, &server);
    life.is_lived().await;
    let raw = program.database.raw();
    let left = "SELECT count(*) FROM iam_outbox WHERE settled_at IS NULL";
    until(async || raw.count(left).await == 0).await;

    let output = without_times(&running.said());
    assert!(output.contains("DEBUG"), "it says all it can:\n{output}");
    let everything = raw.everything().await;
    assert!(everything.iter().any(|(place, _)| place == "iam_mfa_method.secret"));
    assert!(everything.iter().any(|(place, _)| place == "iam_auth_log.event"));
    assert!(everything.iter().any(|(place, _)| place == "iam_trusted_device.token_hash"));
    let mut shown = Vec::new();
    for secret in &life.secrets {
        if let Some(line) = output.lines().find(|line| secret.is_in(line.as_bytes())) {
            shown.push(format!("{} in the output: {line}", secret.what));
        }
        for (place, value) in &everything {
            if secret.is_in(value) {
                shown.push(format!("{} in {place}", secret.what));
            }
        }
        // Where it is meant to be, it is found.
        if let Some((what, answer)) = secret.shown_by.and_then(|by| life.answers.get(by)) {
            assert!(secret.is_in(answer.as_bytes()), "{} in the answer to {what}", secret.what);
        }
        for (n, (what, answer)) in life.answers.iter().enumerate() {
            let meant = secret.shown_by.is_none_or(|by| by == n);
            if !meant && secret.is_in(answer.as_bytes()) {
                shown.push(format!("{} in the answer to {what}", secret.what));
            }
        }
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

/// Something that nobody else may know.
struct Secret {
    what: String,
    /// In the forms in which it might be written.
    forms: Vec<Vec<u8>>,
    /// A number, which may be part of another one by chance.
    is_number: bool,
    /// The answer that shows it, once; without one it may be in any answer.
    shown_by: Option<usize>,
}

/// Of an answer that there is not.
const NEVER: Option<usize> = Some(usize::MAX);

impl Secret {
    fn is_in(&self, text: &[u8]) -> bool {
        self.forms.iter().any(|form| {
            text.windows(form.len()).enumerate().any(|(at, window)| {
                let edge = |at: Option<usize>| {
                    at.and_then(|at| text.get(at)).is_none_or(|byte| !byte.is_ascii_digit() && *byte != b'.')
                };
                window == form && (!self.is_number || edge(at.checked_sub(1)) && edge(Some(at + form.len())))
            })
        })
    }
}

struct Life<'a> {
    running: &'a Running,
    server: &'a MailServer,
    secrets: Vec<Secret>,
    /// Each answer, with what was asked.
    answers: Vec<(String, String)>,
}

impl<'a> Life<'a> {
    fn new(running: &'a Running, server: &'a MailServer) -> Self {
        let mut life = Self { running, server, secrets: Vec::new(), answers: Vec::new() };
        for (what, text) in [
            ("the password", PASSWORD),
            ("a mistyped password", MISTYPED),
            ("the new password", NEW_PASSWORD),
            ("the mail server's password", "s3cret"),
        ] {
            life.keep(what, text, NEVER);
        }
        life
    }

    fn keep(&mut self, what: &str, text: &str, shown_by: Option<usize>) {
        assert!(!text.is_empty(), "there is no {what} to look for");
        // As it is in a form, and as in Rust's own words for bytes.
        let plus = text.replace(' ', "+");
        let bytes = format!("{:?}", text.as_bytes());
        let forms = [text, &plus, &text.replace(' ', "%20"), bytes.trim_matches(['[', ']'])];
        self.secrets.push(Secret {
            what: what.to_owned(),
            forms: forms.into_iter().map(|form| form.as_bytes().to_vec()).collect(),
            is_number: text.bytes().all(|byte| byte.is_ascii_digit()),
            shown_by,
        });
    }

    async fn ask(&mut self, browser: &mut Browser, method: &str, path: &str, body: Option<Value>) -> Answer {
        let headers = [("content-type", "application/json")];
        let answer = match body {
            Some(body) => browser.send(method, path, &headers, body.to_string().into()).await,
            None => browser.get(path).await,
        };
        self.note(&format!("{method} {path}"), answer)
    }

    async fn open(&mut self, browser: &mut Browser, path: &str) -> Answer {
        let answer = browser.open(path).await;
        self.note(&format!("page {path}"), answer)
    }

    async fn submit(&mut self, browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = browser.submit(path, fields).await;
        self.note(&format!("form {path}"), answer)
    }

    /// Keeps an answer, and the tokens in it.
    fn note(&mut self, what: &str, answer: Answer) -> Answer {
        let number = self.answers.len();
        for line in answer.set_cookies() {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.len() > 10 {
                self.keep(&format!("the cookie {name} of {what}"), value, Some(number));
                // Without the word before it that is no secret.
                if let Some((_, secret)) = value.split_once('.') {
                    self.keep(&format!("the secret in the cookie {name} of {what}"), secret, Some(number));
                }
            }
        }
        if let Ok(json) = serde_json::from_str::<Value>(&answer.body) {
            for name in ["session_token", "mfa_token", "device_token"] {
                if let Some(token) = json[name].as_str() {
                    self.keep(&format!("the {name} of {what}"), token, Some(number));
                }
            }
        }
        if answer.body.contains("name=\"csrf_token\"") {
            // A page's own, and in every form of it.
            self.keep(&format!("the CSRF token of {what}"), &answer.csrf_token(), None);
        }
        let headers =
            answer.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        self.answers.push((what.to_owned(), format!("{}\n{}", headers.collect::<String>(), answer.body)));
        answer
    }

    /// The next code by mail.
    async fn mailed(&mut self, known: usize) -> String {
        until(async || self.server.codes(ADDRESS).len() > known).await;
        let code = self.server.codes(ADDRESS)[known].clone();
        self.keep("a code by mail", &code, NEVER);
        code
    }

    /// The app's code of now, or of a step before or after.
    fn typed(&mut self, app: &App, steps: i64) -> String {
        let code = app.code_at(now(), steps);
        self.keep("a code of the app", &code, NEVER);
        code
    }

    /// The app that an answer, the last one, has shown the secret of, as a text that is typed.
    fn app(&mut self, typed: &str) -> App {
        let shown_by = Some(self.answers.len() - 1);
        self.keep("the app's secret", typed, shown_by);
        let secret = typed.replace(' ', "");
        if secret != typed {
            self.keep("the app's secret in one piece", &secret, NEVER);
        }
        let app = App::from_base32(&secret);
        self.keep("the app's secret in small letters", &secret.to_lowercase(), NEVER);
        let halves = app.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let hex: String = halves.map(|half| char::from_digit(half.into(), 16).unwrap()).collect();
        self.keep("the app's secret in hex", &hex, NEVER);
        self.keep("the app's secret in HEX", &hex.to_uppercase(), NEVER);
        let numbers = format!("{:?}", app.0);
        let forms = vec![app.0.clone(), numbers.trim_matches(['[', ']']).as_bytes().to_vec()];
        let what = "the bytes of the app's secret".to_owned();
        self.secrets.push(Secret { what, forms, is_number: false, shown_by: NEVER });
        app
    }

    fn recovery_codes(&mut self, codes: &[String]) {
        let shown_by = Some(self.answers.len() - 1);
        for code in codes {
            self.keep("a recovery code", code, shown_by);
            let plain = code.replace('-', "");
            for form in [plain.as_str(), &plain.to_lowercase(), &code.to_lowercase()] {
                self.keep("a recovery code, typed otherwise", form, NEVER);
            }
        }
    }

    async fn sign_in(&mut self, password: &str, status: &str) -> Browser {
        let mut browser = self.running.browser();
        let body = json!({"username": "amy", "password": password});
        let answer = self.ask(&mut browser, "POST", "/api/v1/auth/login", Some(body)).await;
        assert_eq!(answer.json()["status"], status, "{}", answer.body);
        browser
    }

    async fn post(&mut self, browser: &mut Browser, path: &str, body: Value, status: u16) -> Value {
        let answer = self.ask(browser, "POST", path, Some(body)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    async fn is_lived(&mut self) {
        let mut stranger = self.running.browser();
        let body = json!({"username": "amy", "password": MISTYPED});
        self.post(&mut stranger, "/api/v1/auth/login", body, 401).await;
        let mut browser = self.sign_in(PASSWORD, "authenticated").await;

        // Codes by mail, mistyped once.
        let body = json!({"kind": "email_otp", "email": ADDRESS});
        let begun = self.post(&mut browser, FACTORS, body, 201).await;
        let code = self.mailed(0).await;
        let confirm = format!("{FACTORS}/{}/confirm", begun["id"].as_str().unwrap());
        self.post(&mut browser, &confirm, json!({"code": "0000000x"}), 422).await;
        self.post(&mut browser, &confirm, json!({"code": code}), 200).await;

        // An app.
        let begun = self.post(&mut browser, FACTORS, json!({"kind": "totp", "name": "phone"}), 201).await;
        let app = self.app(begun["secret"].as_str().unwrap());
        let confirm = format!("{FACTORS}/{}/confirm", begun["id"].as_str().unwrap());
        self.post(&mut browser, &confirm, json!({"code": "00000x"}), 422).await;
        let code = self.typed(&app, -1);
        self.post(&mut browser, &confirm, json!({"code": code}), 200).await;

        // Recovery codes; a look at everything there is to see.
        let made = self.post(&mut browser, RECOVERY_CODES, json!({}), 201).await;
        let made = made["recovery_codes"].as_array().unwrap().iter();
        let recovery: Vec<_> = made.map(|code| code.as_str().unwrap().to_owned()).collect();
        self.recovery_codes(&recovery);
        for path in [FACTORS, "/api/v1/me", "/api/v1/account/sessions"] {
            assert_eq!(self.ask(&mut browser, "GET", path, None).await.status, 200);
        }
        for path in ["/", "/auth/account", "/reports"] {
            assert_eq!(self.open(&mut browser, path).await.status, 200);
        }

        self.second_steps(&app, &recovery).await;

        // Another app by pages, whose secret they show once.
        let page = self.open(&mut browser, "/auth/account/factors/new?kind=totp").await;
        let token = page.csrf_token();
        let fields = [("kind", "totp"), ("name", "tablet"), ("csrf_token", token.as_str())];
        let page = self.submit(&mut browser, "/auth/account/factors/new", &fields).await;
        // In groups, for those who type it.
        let (_, rest) = page.body.split_once("<code translate=\"no\">").expect("a secret");
        let tablet = self.app(rest.split('<').next().unwrap());
        let factor = page.body.split_once("name=\"factor\" value=\"").unwrap().1.split('"').next().unwrap();
        let mut fields = vec![("factor", factor), ("kind", "totp"), ("csrf_token", token.as_str())];
        let code = self.typed(&tablet, 0);
        fields.push(("code", "00000x"));
        self.submit(&mut browser, "/auth/account/factors/confirm", &fields).await;
        fields[3].1 = &code;
        let done = self.submit(&mut browser, "/auth/account/factors/confirm", &fields).await;
        assert_eq!(done.status, 303, "{}", done.body);

        // New recovery codes by a page, another password, and an end.
        let token = self.open(&mut browser, "/auth/account").await.csrf_token();
        let page = self
            .submit(&mut browser, "/auth/account/recovery-codes", &[("csrf_token", token.as_str())])
            .await;
        // Each in pieces, where a narrow page may break it.
        let listed = page.body.split("<code>").skip(1).map(|rest| {
            let shown = rest.split("</code>").next().unwrap();
            shown.split('<').map(|piece| piece.rsplit('>').next().unwrap()).collect::<String>()
        });
        let shown: Vec<String> = listed.collect();
        assert_eq!(shown.len(), 10, "{}", page.body);
        self.recovery_codes(&shown);
        let body = json!({"current_password": MISTYPED, "new_password": NEW_PASSWORD});
        self.post(&mut browser, "/api/v1/account/password", body, 401).await;
        let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        self.post(&mut browser, "/api/v1/account/password", body, 200).await;
        let body = json!({"password": NEW_PASSWORD});
        self.post(&mut browser, "/api/v1/auth/reauthenticate", body, 200).await;
        let removed = format!("{FACTORS}/{factor}");
        assert_eq!(self.ask(&mut browser, "DELETE", &removed, Some(json!({}))).await.status, 200);
        self.post(&mut browser, "/api/v1/auth/logout", json!({}), 204).await;

        // A browser comes to be trusted, and signs in by that.
        let mut browser = self.sign_in(NEW_PASSWORD, "mfa_required").await;
        self.post(&mut browser, CHALLENGE, json!({"method": "email_otp"}), 200).await;
        let code = self.mailed(2).await;
        let body = json!({"code": code, "method": "email_otp", "trust_device": true});
        self.post(&mut browser, VERIFY, body, 200).await;
        let body = json!({"username": "amy", "password": NEW_PASSWORD});
        let trusted = self.post(&mut browser, "/api/v1/auth/login", body, 200).await;
        assert_eq!(trusted["status"], "authenticated", "{trusted}");
        let notices = self.server.received().iter().filter(|mail| mail.code().is_none()).count();
        assert!(notices >= 4, "notices came, too: {notices}");
    }

    /// Sign-ins by each of the factors, by JSON, by page and for a token; wrong tries among them.
    async fn second_steps(&mut self, app: &App, recovery: &[String]) {
        let mut browser = self.sign_in(PASSWORD, "mfa_required").await;
        self.post(&mut browser, CHALLENGE, json!({"method": "email_otp"}), 200).await;
        let code = self.mailed(1).await;
        self.post(&mut browser, VERIFY, json!({"code": "0000000x", "method": "email_otp"}), 422).await;
        self.post(&mut browser, VERIFY, json!({"code": code, "method": "email_otp"}), 200).await;
        self.post(&mut browser, VERIFY, json!({"code": code, "method": "email_otp"}), 401).await;

        let mut browser = self.sign_in(PASSWORD, "mfa_required").await;
        let token = self.open(&mut browser, "/auth/mfa/verify?method=totp").await.csrf_token();
        let code = self.typed(app, 0);
        let mut fields = [("method", "totp"), ("code", code.as_str()), ("csrf_token", token.as_str())];
        fields[1].1 = "00000x";
        assert_eq!(self.submit(&mut browser, "/auth/mfa/verify", &fields).await.status, 422);
        fields[1].1 = &code;
        assert_eq!(self.submit(&mut browser, "/auth/mfa/verify", &fields).await.status, 303);

        let mut browser = self.sign_in(PASSWORD, "mfa_required").await;
        let token = self.open(&mut browser, "/auth/mfa/verify?method=recovery_code").await.csrf_token();
        let code = recovery[0].to_lowercase();
        let fields = [("method", "recovery_code"), ("code", &code), ("csrf_token", &token)];
        assert_eq!(self.submit(&mut browser, "/auth/mfa/verify", &fields).await.status, 303);

        let body = json!({"username": "amy", "password": PASSWORD, "token": true});
        let begun = self.post(&mut self.running.browser(), "/api/v1/auth/login", body, 200).await;
        let bearer = |token: &Value| format!("Bearer {}", token.as_str().unwrap());
        let mut client = self.running.browser().with_header("authorization", &bearer(&begun["mfa_token"]));
        let code = self.typed(app, 1);
        let done = self.post(&mut client, VERIFY, json!({"code": code}), 200).await;
        let mut client = self.running.browser().with_header("authorization", &bearer(&done["session_token"]));
        assert_eq!(self.ask(&mut client, "GET", "/api/v1/me", None).await.status, 200);
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Without the time at the start of each line: any six digits are in it now and then.
fn without_times(output: &str) -> String {
    let line = |line: &str| {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_time = first.ends_with('Z') && first.contains('T');
        format!("{}\n", if is_time { rest } else { line })
    };
    output.lines().map(line).collect()
}

async fn until(holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_mins(1), "it never came to that");
        sleep(Duration::from_millis(20)).await;
    }
}
