//! LG-02: whether timing tells why a sign-in failed. Every way of failing is tried on every pathway, over HTTP on loopback, in
//! random order; the program fails when one of them can be told from a wrong password.
//!
//! ```text
//! cargo xtask timing --samples 300
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what can't be set up can't be measured, and what was measured is for a person to read"
)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use iam_bench::{app, stats};
use iam_core::{
    AccountStatus, Actor, Argon2Params, Iam, LoginLimits, NewAccount, ParentKey, ParentStatus, PasswordHash,
    PlainPassword, Username,
};
use reqwest::header::HeaderMap;
use reqwest::{Client, redirect};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tokio::net::TcpListener;

/// As many as LG-02 asks for, of each class.
const SAMPLES: usize = 300;
/// As often as that are taken, at most, while a bound seems to be broken.
const MOST_TIMES: usize = 3;
/// Of each class, before anything is counted.
const WARM_UP: usize = 5;

/// The bounds of LG-02, on the difference of two medians ...
const MOST: Duration = Duration::from_millis(5);
/// ... as a share of that of wrong passwords ...
const MOST_SHARE: f64 = 0.05;
/// ... and on what one sample tells.
const MOST_TELLING: std::ops::RangeInclusive<f64> = 0.40..=0.60;

const WRONG: &str = "wrong horse battery staple";
/// The same as the first class. If it can be told apart, then by what else the machine does.
const CONTROL: &str = "the same once more (control)";
/// The longest password that is taken.
const LONGEST: usize = 1024;

/// Where a password is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pathway {
    LoginPage,
    LoginJson,
    ProofPage,
    ProofJson,
}

impl Pathway {
    const fn address(self) -> &'static str {
        match self {
            Self::LoginPage => "/auth/login",
            Self::LoginJson => "/api/v1/auth/login",
            Self::ProofPage => "/auth/reauthenticate",
            Self::ProofJson => "/api/v1/auth/reauthenticate",
        }
    }

    const fn is_page(self) -> bool {
        matches!(self, Self::LoginPage | Self::ProofPage)
    }
}

/// One way of failing.
struct Class {
    what: &'static str,
    name: &'static str,
    password: String,
    /// It can be told apart on purpose (docs/ARCHITECTURE.md, known limits): measured, and no failure.
    is_known_limit: bool,
}

impl Class {
    fn new(what: &'static str, name: &'static str, password: &str) -> Self {
        Self { what, name, password: password.to_owned(), is_known_limit: false }
    }
}

/// The ways in which a sign-in fails. The first is the one that all others are compared with. Where there is a password, the
/// right one is sent: it is what would tell most.
fn sign_ins() -> Vec<Class> {
    let class = Class::new;
    vec![
        class("wrong password", "amy", WRONG),
        class(CONTROL, "amy", WRONG),
        class("unknown user", "nobody", app::PASSWORD),
        class("disabled account", "bob", app::PASSWORD),
        class("locked account", "carl", app::PASSWORD),
        class("account without a password", "dora", app::PASSWORD),
        class("account with a damaged hash", "eve", app::PASSWORD),
        class("account of a suspended parent", "fay", app::PASSWORD),
        class("longest password, unknown user", "nobody", &"x".repeat(LONGEST)),
        class("longest password, wrong", "amy", &"x".repeat(LONGEST)),
        class("unknown e-mail address", "nobody@example.com", app::PASSWORD),
        class("dearer imported hash, lowered", "ivy", WRONG),
        Class { is_known_limit: true, ..class("dearer imported hash, not yet used", "jan", WRONG) },
    ]
}

/// Proving again who one is: for whoever is signed in there is no more to tell. (A change of status or of the password ends the
/// session, so that such an account does not come this far.)
fn proofs() -> Vec<Class> {
    let class = Class::new;
    vec![
        class("wrong password", "amy", WRONG),
        class(CONTROL, "amy", WRONG),
        class("password was removed", "gus", app::PASSWORD),
        class("hash was damaged", "hal", app::PASSWORD),
        class("longest password, wrong", "amy", &"x".repeat(LONGEST)),
    ]
}

fn main() -> ExitCode {
    let samples = match samples() {
        Ok(samples) => samples,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broken = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path()).await;
        measure(&service, samples).await
    });
    match broken {
        0 => ExitCode::SUCCESS,
        broken => {
            eprintln!("\nTiming tells {broken} of them apart from a wrong password.");
            ExitCode::FAILURE
        }
    }
}

fn samples() -> Result<usize, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(SAMPLES),
        ["--samples", number] => match number.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("--samples: `{number}` is no number of samples")),
        },
        _ => Err("usage: timing [--samples N]".to_owned()),
    }
}

// -- the service --

struct Service {
    address: SocketAddr,
    http: Client,
    /// The headers of each pathway, by who is signed in; nobody for signing in.
    headers: BTreeMap<(Pathway, &'static str), HeaderMap>,
    /// The CSRF token of a page's form, likewise.
    forms: BTreeMap<(Pathway, &'static str), String>,
}

impl Service {
    /// With the costs of production, and limits that are not in the way.
    async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut limits = LoginLimits::default();
        limits.account.free = u32::MAX / 2;
        for window in [
            &mut limits.session,
            &mut limits.address,
            &mut limits.address_long,
            &mut limits.address_in_flight,
        ] {
            window.limit = u32::MAX / 2;
        }
        let builder = app::builder(app::store(folder).await, &origin(address)).login_limits(limits);
        let iam = builder.build().await.unwrap();
        let actor = Actor::service();
        for name in ["amy", "eve", "gus", "hal"] {
            app::add(&iam, name, None).await;
        }
        for (name, status) in [("bob", AccountStatus::Disabled), ("carl", AccountStatus::Locked)] {
            let account = app::add(&iam, name, None).await;
            iam.accounts(&actor).set_status(account, status).await.unwrap();
        }
        iam.accounts(&actor).create(NewAccount::new(Username::parse("dora").unwrap())).await.unwrap();
        let parent = iam.parents(&actor).ensure(&ParentKey::parse("acme").unwrap()).await.unwrap();
        let fay = NewAccount::new(Username::parse("fay").unwrap())
            .password(PlainPassword::new(app::PASSWORD).unwrap())
            .parent(parent);
        iam.accounts(&actor).create(fay).await.unwrap();
        iam.parents(&actor).set_status(parent, ParentStatus::Active, ParentStatus::Suspended).await.unwrap();

        import_dearer(folder, &iam).await;

        let signed_in = {
            let mut cookies = BTreeMap::new();
            for name in ["amy", "gus", "hal"] {
                cookies.insert(name, app::session_cookie(&iam, name).await);
            }
            cookies
        };
        // Behind the service's back, so that the sessions stay.
        let file = format!("sqlite://{}", folder.join("iam.db").display());
        let mut database = SqliteConnection::connect(&file).await.unwrap();
        for statement in [
            "UPDATE iam_user_account SET password_hash = NULL WHERE username = 'gus'",
            "UPDATE iam_user_account SET password_hash = '$argon2id$damaged' WHERE username IN ('eve', 'hal')",
        ] {
            assert!(sqlx::query(statement).execute(&mut database).await.unwrap().rows_affected() > 0);
        }

        let app = app::router(&iam).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        let mut service = Self { address, http, headers: BTreeMap::new(), forms: BTreeMap::new() };
        service.prepare(Pathway::LoginPage, "", None).await;
        service.prepare(Pathway::LoginJson, "", None).await;
        for (name, cookie) in &signed_in {
            service.prepare(Pathway::ProofPage, name, Some(cookie)).await;
            service.prepare(Pathway::ProofJson, name, Some(cookie)).await;
        }
        service
    }

    /// What a request of a pathway carries.
    async fn prepare(&mut self, pathway: Pathway, who: &'static str, cookie: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert("origin", origin(self.address).parse().unwrap());
        if let Some(cookie) = cookie {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        if pathway.is_page() {
            let page = self.http.get(self.url(pathway)).headers(headers.clone()).send().await.unwrap();
            if cookie.is_none() {
                let line = page.headers().get("set-cookie").unwrap().to_str().unwrap();
                headers.insert("cookie", line.split(';').next().unwrap().parse().unwrap());
            }
            let page = page.text().await.unwrap();
            self.forms.insert((pathway, who), between(&page, FORM_TOKEN, "\"").unwrap().to_owned());
            headers.insert("accept", "text/html".parse().unwrap());
            headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        } else {
            headers.insert("content-type", "application/json".parse().unwrap());
        }
        self.headers.insert((pathway, who), headers);
    }

    fn url(&self, pathway: Pathway) -> String {
        format!("http://{}{}", self.address, pathway.address())
    }

    /// Sends a wrong one; says how long it took, and what was answered but for what differs by design.
    async fn fail(&self, pathway: Pathway, class: &Class) -> (Duration, String) {
        let signs_in = matches!(pathway, Pathway::LoginPage | Pathway::LoginJson);
        let who = (pathway, if signs_in { "" } else { class.name });
        let Class { name, password, .. } = class;
        let body = match pathway {
            Pathway::LoginPage | Pathway::ProofPage => format!(
                "username={}&password={}&csrf_token={}",
                name.replace('@', "%40"),
                password.replace(' ', "+"),
                self.forms.get(&who).unwrap()
            ),
            Pathway::LoginJson => json!({ "username": name, "password": password }).to_string(),
            Pathway::ProofJson => json!({ "password": password }).to_string(),
        };
        let headers = self.headers.get(&who).unwrap().clone();
        let request = self.http.post(self.url(pathway)).headers(headers).body(body).build().unwrap();
        let begun = Instant::now();
        let answer = self.http.execute(request).await.unwrap();
        let status = answer.status().as_u16();
        let id = answer.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        let took = begun.elapsed();
        assert_eq!(status, 401, "{pathway:?}, {}: {text}", class.what);
        let mut said = text.replace(&format!("value=\"{name}\""), "value=\"*\"");
        for (before, after) in [(FORM_TOKEN, "\""), ("nonce=\"", "\"")] {
            if let Some(secret) = between(&said, before, after).map(str::to_owned) {
                said = said.replace(&secret, "*");
            }
        }
        if let Some(id) = id {
            said = said.replace(&id, "*");
        }
        // Whoever is signed in sees their own name on the page.
        (took, if signs_in { said } else { said.replace(name, "*") })
    }
}

const FORM_TOKEN: &str = "name=\"csrf_token\" value=\"";

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn origin(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

/// Brings two accounts over with a hash twice as dear as today's; the owner of one signs in, which lowers it.
async fn import_dearer(folder: &Path, iam: &Iam) {
    let dearer = Argon2Params::new(38_912, 2, 1).unwrap();
    let elsewhere = app::builder(app::store(folder).await, "http://localhost").argon2(dearer);
    let (elsewhere, _) = elsewhere.build_with_manual_worker().await.unwrap();
    app::add(&elsewhere, "kay", None).await;
    let file = format!("sqlite://{}", folder.join("iam.db").display());
    let mut database = SqliteConnection::connect(&file).await.unwrap();
    let stored: String =
        sqlx::query_scalar("SELECT password_hash FROM iam_user_account WHERE username = 'kay'")
            .fetch_one(&mut database)
            .await
            .unwrap();
    assert!(stored.contains("m=38912"));
    for name in ["ivy", "jan"] {
        let hash = PasswordHash::from_stored(stored.clone());
        let new = NewAccount::new(Username::parse(name).unwrap()).password_hash(hash);
        iam.accounts(&Actor::service()).create(new).await.unwrap();
    }
    app::session_cookie(iam, "ivy").await;
}

// -- measuring --

/// Measures everything; says how many classes can be told from a wrong password.
async fn measure(service: &Service, samples: usize) -> usize {
    let pathways = [
        (Pathway::LoginPage, sign_ins()),
        (Pathway::LoginJson, sign_ins()),
        (Pathway::ProofPage, proofs()),
        (Pathway::ProofJson, proofs()),
    ];
    let mut broken = 0;
    for (pathway, classes) in pathways {
        let mut times = vec![Vec::new(); classes.len()];
        sample(service, pathway, &classes, WARM_UP, &mut times).await;
        times.iter_mut().for_each(Vec::clear);
        // On a machine that does other things a median of few samples moves by itself. Then more are taken, and all count: what
        // is there stays, and what is not goes away.
        for _ in 0..MOST_TIMES {
            sample(service, pathway, &classes, samples, &mut times).await;
            let is_within = |(class, of_class): (&Class, &Vec<Duration>)| {
                class.is_known_limit || Verdict::of(times.first().unwrap(), of_class).is_within()
            };
            if classes.iter().zip(&times).all(is_within) {
                break;
            }
        }
        broken += report(pathway, &classes, &times);
    }
    broken
}

async fn sample(
    service: &Service,
    pathway: Pathway,
    classes: &[Class],
    samples: usize,
    times: &mut [Vec<Duration>],
) {
    let mut turn: Vec<usize> = (0..classes.len()).collect();
    let mut expected = None;
    for _ in 0..samples {
        // In another order each time: what else the machine does falls on all of them alike.
        shuffle(&mut turn);
        for &n in &turn {
            let class = classes.get(n).unwrap();
            let (took, answer) = service.fail(pathway, class).await;
            times.get_mut(n).unwrap().push(took);
            let expected: &String = expected.get_or_insert_with(|| answer.clone());
            assert_eq!(&answer, expected, "{pathway:?}, {}: another answer", class.what);
        }
    }
}

struct Verdict {
    median: Duration,
    /// From that of wrong passwords, in seconds ...
    difference: f64,
    /// ... and as a share of it.
    share: f64,
    /// How well one sample tells.
    telling: f64,
}

impl Verdict {
    fn of(reference: &[Duration], times: &[Duration]) -> Self {
        let (median, expected) = (stats::median(times), stats::median(reference));
        let difference = median.as_secs_f64() - expected.as_secs_f64();
        let share = difference / expected.as_secs_f64();
        Self { median, difference, share, telling: stats::auc(reference, times) }
    }

    fn is_within(&self) -> bool {
        self.difference.abs() <= MOST.as_secs_f64()
            && self.share.abs() <= MOST_SHARE
            && MOST_TELLING.contains(&self.telling)
    }
}

fn report(pathway: Pathway, classes: &[Class], times: &[Vec<Duration>]) -> usize {
    let reference = times.first().unwrap();
    let samples = reference.len();
    println!("\nPOST {}: {samples} samples of each, in random order", pathway.address());
    println!("{:34}{:>12}{:>12}{:>9}{:>8}", "", "median", "difference", "", "AUC");
    let (mut broken, mut noisy) = (0, false);
    for (class, times) in classes.iter().zip(times) {
        let verdict = Verdict::of(reference, times);
        let within = verdict.is_within();
        broken += usize::from(!within && !class.is_known_limit);
        noisy |= !within && class.what == CONTROL;
        println!(
            "{:34}{:>9.3} ms{:>+9.3} ms{:>+7.2} %{:>8.3}  {}",
            class.what,
            verdict.median.as_secs_f64() * 1000.0,
            verdict.difference * 1000.0,
            verdict.share * 100.0,
            verdict.telling,
            match (within, class.is_known_limit) {
                (true, _) => "ok",
                (false, true) => "told apart: a known limit",
                (false, false) => "TOLD APART",
            },
        );
    }
    if noisy {
        println!("The control is told apart, too: this machine is too busy for the others to mean anything.");
    }
    broken
}

/// Fisher and Yates; the standard library's hasher is random enough for an order.
fn shuffle(order: &mut [usize]) {
    for last in (1..order.len()).rev() {
        let random = usize::try_from(RandomState::new().hash_one(last) >> 33).unwrap();
        order.swap(last, random % (last + 1));
    }
}
