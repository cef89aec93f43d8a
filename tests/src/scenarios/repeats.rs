//! Double clicks, retries and answers that were lost, wherever success renews the session.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::account::bearer;
use super::factors::{FACTORS, VERIFY, add_app, half_way, send_json, with_app};
use super::long_sessions::{long, tick};
use crate::app::App;
use crate::{Adapter, Answer, Backend, Browser, Held, PASSWORD, Point, World};

const NEW: &str = "a wholly different pass phrase";
const PROOF: &str = "/api/v1/auth/reauthenticate";

/// Where success renews a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    PasswordPage,
    PasswordJson,
    ProofPage,
    ProofJson,
    CodePage,
    CodeJson,
    ConfirmPage,
    ConfirmJson,
    RemovePage,
    RemoveJson,
}

use Place::{
    CodeJson, CodePage, ConfirmJson, ConfirmPage, PasswordJson, PasswordPage, ProofJson, ProofPage,
    RemoveJson, RemovePage,
};

/// A change to a request, which may need the token of another form of the same session.
type Change = fn(&mut Request, &str);

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

fn text_of(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap().to_owned()
}

/// Every place, and whether a bearer token does it there.
const PLACES: [(Place, bool); 14] = [
    (PasswordPage, false),
    (PasswordJson, false),
    (PasswordJson, true),
    (ProofPage, false),
    (ProofJson, false),
    (ProofJson, true),
    (CodePage, false),
    (CodeJson, false),
    (CodeJson, true),
    (ConfirmPage, false),
    (ConfirmJson, false),
    (ConfirmJson, true),
    (RemovePage, false),
    (RemoveJson, false),
];

/// A request as it can be sent any number of times.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Request {
    fn form(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Self {
        let body: Vec<_> = fields.iter().map(|(n, v)| format!("{n}={}", encode(v))).collect();
        let form = "application/x-www-form-urlencoded".to_owned();
        let headers =
            vec![("content-type", form), ("origin", browser.origin()), ("accept", "text/html".to_owned())];
        Self { method: "POST", path: path.to_owned(), headers, body: body.join("&") }
    }

    fn json(browser: &Browser, method: &'static str, path: &str, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned()), ("origin", browser.origin())];
        Self { method, path: path.to_owned(), headers, body: body.to_string() }
    }

    /// Sends it with what a browser had at that time; gives the browser as it is then.
    async fn by(&self, browser: &Browser) -> (Answer, Browser) {
        let mut browser = browser.clone();
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = browser.send(self.method, &self.path, &headers, self.body.clone().into()).await;
        if let Ok(Value::Object(body)) = serde_json::from_str(&answer.body)
            && let Some(token) = body.get("session_token").and_then(Value::as_str)
        {
            browser.headers = vec![("authorization".to_owned(), format!("Bearer {token}"))];
        }
        (answer, browser)
    }
}

/// Somebody, as they are before they send something that renews their session, and what they send.
async fn prepare(world: &World, place: Place, by_bearer: bool, name: &str) -> (Browser, Request) {
    world.add(name, &[], None).await;
    let is_code = matches!(place, CodePage | CodeJson);
    let app = if is_code { Some(with_app(world, name).await) } else { None };
    let mut browser = match (is_code, by_bearer) {
        (true, true) => half_way_by_bearer(world, name).await,
        (true, false) => half_way(world, name).await,
        (false, true) => bearer(world, name).await.0,
        (false, false) => world.signed_in(name).await,
    };
    let code = app.as_ref().map(|app| app.code(world, 0)).unwrap_or_default();
    let (mut app, mut id) = (app, String::new());
    if matches!(place, RemovePage | RemoveJson) {
        let added = add_app(world, &mut browser, "phone").await;
        (app, id) = (Some(added.0), added.1);
        world.later(1);
    }
    if matches!(place, ConfirmPage | ConfirmJson) {
        let begun = browser.post_json(FACTORS, &json!({"kind": "totp", "name": "phone"})).await;
        assert_eq!(begun.status, 201, "{}", begun.body);
        app = Some(App::from_base32(begun.json()["secret"].as_str().unwrap()));
        id = text_of(&begun.json(), "id");
    }
    let confirming = app.as_ref().map(|app| app.code(world, 0)).unwrap_or_default();
    let csrf = browser.get("/api/v1/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
    let csrf = ("csrf_token", csrf.as_str());
    let (current, new) = (("current_password", PASSWORD), ("new_password", NEW));
    let factor = ("factor", id.as_str());
    let request = match place {
        PasswordPage => Request::form(&browser, "/auth/account/password", &[csrf, current, new]),
        PasswordJson => {
            let body = json!({"current_password": PASSWORD, "new_password": NEW});
            Request::json(&browser, "POST", "/api/v1/account/password", &body)
        }
        ProofPage => Request::form(&browser, "/auth/reauthenticate", &[csrf, ("password", PASSWORD)]),
        ProofJson => Request::json(&browser, "POST", PROOF, &json!({"password": PASSWORD})),
        CodePage => {
            let fields = [csrf, ("code", code.as_str()), ("method", "totp")];
            Request::form(&browser, "/auth/mfa/verify", &fields)
        }
        CodeJson => Request::json(&browser, "POST", VERIFY, &json!({"code": code, "method": "totp"})),
        ConfirmPage => {
            let fields = [csrf, factor, ("kind", "totp"), ("code", confirming.as_str())];
            Request::form(&browser, "/auth/account/factors/confirm", &fields)
        }
        ConfirmJson => {
            let path = format!("{FACTORS}/{id}/confirm");
            Request::json(&browser, "POST", &path, &json!({"code": confirming}))
        }
        RemovePage => Request::form(&browser, "/auth/account/factors/remove", &[csrf, factor]),
        RemoveJson => {
            let mut request = Request::json(&browser, "DELETE", &format!("{FACTORS}/{id}"), &json!({}));
            request.headers.push(("x-csrf-token", csrf.1.to_owned()));
            request
        }
    };
    (browser, request)
}

async fn half_way_by_bearer(world: &World, name: &str) -> Browser {
    let body = json!({"username": name, "password": PASSWORD, "token": true});
    let answer = world.browser().post_json("/api/v1/auth/login", &body).await;
    let token = answer.json()["mfa_token"].as_str().unwrap().to_owned();
    world.browser().with_header("authorization", &format!("Bearer {token}"))
}

async fn me(browser: &Browser) -> u16 {
    browser.clone().get("/api/v1/me").await.status
}

fn assert_alike(first: &Answer, second: &Answer, what: &str) {
    assert!(matches!(first.status, 200 | 303), "{what}: {} {}", first.status, first.body);
    assert_eq!((first.status, &first.body), (second.status, &second.body), "{what}");
    assert_eq!(first.set_cookies(), second.set_cookies(), "{what}");
    assert_eq!(first.location(), second.location(), "{what}");
    let ours = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    assert_ne!(ours(first), ours(second), "{what}: each request has a name of its own");
}

/// A token of old is nobody's; and what is answered to it takes no cookie away.
fn assert_nobodys(answer: &Answer, what: &str) {
    assert!(matches!(answer.status, 401 | 303), "{what}: {} {}", answer.status, answer.body);
    assert!(answer.status == 401 || answer.location().starts_with("/auth/login"), "{what}");
    let session = answer.set_cookies().into_iter().find(|line| line.starts_with("iam_session"));
    assert_eq!(session, None, "{what}");
    assert!(!answer.body.contains("session_token"), "{what}");
}

/// Each of `places` is gone through with an answer that is lost, and asked for again.
pub async fn an_answer_that_was_lost_is_given_again(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for (n, (place, by_bearer)) in PLACES.into_iter().enumerate() {
        let what = format!("{place:?}, bearer: {by_bearer}");
        let (old, request) = prepare(&world, place, by_bearer, &format!("person{n}")).await;
        world.execute("DELETE FROM iam_repeatable_answer").await;
        let (first, _) = request.by(&old).await;
        world.later(9);
        let (second, new) = request.by(&old).await;
        assert_alike(&first, &second, &what);
        let (third, _) = request.by(&old).await;
        assert_alike(&first, &third, &what);
        // The token of old is dead for everything else, and takes nothing away.
        assert_nobodys(&old.clone().get("/api/v1/me").await, &what);
        if !by_bearer {
            assert_nobodys(&old.clone().open("/reports").await, &what);
        }
        assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 1, "{what}");
        assert_eq!(me(&new).await, 200, "{what}: signed in");
        // Its owner has it.
        assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 0, "{what}");
        assert_nobodys(&request.by(&old).await.0, &what);
        assert_eq!(me(&new).await, 200, "{what}: still signed in");
    }
    assert_eq!(world.logged("authn_password_change").await, 3);
    assert_eq!(world.logged("authn_reauth_success").await, 3);
}

/// However often a request comes at once, and to whichever process, it is carried out once, and everybody gets its answer.
pub async fn of_equal_requests_at_once_one_is_carried_out(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let beside = world.restarted().await;
    let places =
        [(PasswordPage, false), (ProofJson, true), (CodePage, false), (CodeJson, true), (ConfirmPage, false)];
    for (n, (place, by_bearer)) in places.into_iter().enumerate() {
        let what = format!("{place:?}, bearer: {by_bearer}");
        let (old, request) = prepare(&world, place, by_bearer, &format!("person{n}")).await;
        let rows = world.log().await.len();
        let start = Arc::new(Barrier::new(16));
        let mut tasks = Vec::new();
        for n in 0..16 {
            let mut browser = if n % 2 == 0 { world.browser() } else { beside.browser() };
            (browser.cookies, browser.headers) = (old.cookies.clone(), old.headers.clone());
            let (mut request, start) = (request.clone(), Arc::clone(&start));
            // Of the one public origin, wherever it is sent to.
            request.headers.iter_mut().filter(|(name, _)| *name == "origin").for_each(|(_, origin)| {
                *origin = browser.origin();
            });
            tasks.push(tokio::spawn(async move {
                start.wait().await;
                request.by(&browser).await
            }));
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let (first, new) = &answers[0];
        for (answer, _) in &answers[1..] {
            assert_alike(first, answer, &what);
        }
        assert_eq!(me(new).await, 200, "{what}");
        let log = world.log().await;
        let events: Vec<_> = log[rows..].iter().map(|entry| (entry.event.as_str(), entry.count)).collect();
        let mut names: Vec<_> = events.iter().map(|(event, _)| *event).collect();
        names.dedup();
        assert_eq!(names.len(), events.len(), "{what}: each once: {events:?}");
        assert!(
            events.iter().all(|(event, count)| *count == 1 && !event.contains("fail")),
            "{what}: {events:?}"
        );
    }
    let twice = world.count("SELECT count(*) FROM iam_mfa_challenge WHERE tries > 1").await;
    assert_eq!(twice, 0, "no code was looked at twice");
}

/// Who clicks twice while the first is being looked at waits for it.
pub async fn a_second_click_waits_for_the_first(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let (old, request) = prepare(&world, PasswordPage, false, "mia").await;
    let mut held = world.faults.hold(Point::Candidate);
    let send = |request: Request, old: Browser| tokio::spawn(async move { request.by(&old).await });
    let first = send(request.clone(), old.clone());
    held.reached().await;
    let reads = world.faults.reads.load(Ordering::SeqCst);
    let second = send(request.clone(), old.clone());
    // It has found out who asks, and looked for the answer several times.
    while world.faults.reads.load(Ordering::SeqCst) < reads + 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!second.is_finished());
    drop(held);
    let ((first, _), (second, new)) = (first.await.unwrap(), second.await.unwrap());
    assert_alike(&first, &second, "while the first is looked at");
    assert_eq!((me(&new).await, world.logged("authn_password_change").await), (200, 1));
}

type Sent = tokio::task::JoinHandle<(Answer, Browser)>;

/// Sends it while others do so, too.
fn sent(request: &Request, old: &Browser) -> Sent {
    let (request, old) = (request.clone(), old.clone());
    tokio::spawn(async move { request.by(&old).await })
}

/// The same request, with another new password.
fn with_another_new_password(request: &Request, word: &str) -> Request {
    let body = request.body.replace("wholly", word).replace(&encode("wholly"), &encode(word));
    assert_ne!(body, request.body);
    Request { body, ..request.clone() }
}

/// Sends it with other new passwords, each of which is held where it is looked at.
async fn hold(world: &World, request: &Request, old: &Browser, words: &[&str]) -> Vec<(Held, Sent)> {
    let mut waiting = Vec::new();
    for word in words {
        let mut held = world.faults.hold(Point::Candidate);
        let task = sent(&with_another_new_password(request, word), old);
        held.reached().await;
        waiting.push((held, task));
    }
    waiting
}

async fn let_go(waiting: Vec<(Held, Sent)>, what: &str) {
    for (held, task) in waiting {
        drop(held);
        assert_refused(&task.await.unwrap().0, what);
    }
}

fn assert_refused(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.body);
    assert!(answer.set_cookies().iter().all(|line| !line.starts_with("iam_session")), "{what}");
}

/// Of two different requests of one session, each sent several times, one is carried out; whoever sent that gets its answer, and whoever
/// sent the other one a refusal.
pub async fn of_two_requests_at_once_one_wins_with_its_equals(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let places = [(PasswordPage, false), (PasswordJson, false), (PasswordJson, true)];
    for (n, (place, by_bearer)) in (0..).zip(places) {
        let what = format!("{place:?}, bearer: {by_bearer}");
        let (old, one) = prepare(&world, place, by_bearer, &format!("person{n}")).await;
        let other = with_another_new_password(&one, "really");
        let mut held = world.faults.hold(Point::Candidate);
        let mut ones = vec![sent(&one, &old)];
        held.reached().await;
        let mut held_too = world.faults.hold(Point::Candidate);
        let mut others = vec![sent(&other, &old)];
        held_too.reached().await;
        let reads = world.faults.reads.load(Ordering::SeqCst);
        for _ in 0..3 {
            ones.push(sent(&one, &old));
            others.push(sent(&other, &old));
        }
        // Everybody has found out who asks, and looked for the answer several times.
        while world.faults.reads.load(Ordering::SeqCst) < reads + 48 {
            assert!(ones.iter().chain(&others).all(|task| !task.is_finished()), "{what}: each waits");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 2, "{what}");
        drop(held);
        let mut answers = Vec::new();
        for task in ones {
            answers.push(task.await.unwrap());
        }
        let (first, new) = &answers[0];
        for (answer, _) in &answers[1..] {
            assert_alike(first, answer, &what);
        }
        drop(held_too);
        for task in others {
            assert_refused(&task.await.unwrap().0, &what);
        }
        assert_alike(first, &one.by(&old).await.0, &what);
        assert_eq!(world.logged("authn_password_change").await, n + 1, "{what}");
        assert_eq!(me(new).await, 200, "{what}");
        assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 0, "{what}");
    }
}

/// A few different ones of a session are noted at a time. What finds no room there is carried out as any other request, and takes nobody's.
pub async fn what_finds_no_room_is_an_ordinary_request(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    for (n, place) in (0..).zip([PasswordPage, PasswordJson]) {
        let what = format!("{place:?}");
        let (old, request) = prepare(&world, place, false, &format!("person{n}")).await;
        let rows = async || world.count("SELECT count(*) FROM iam_repeatable_answer").await;
        let held = hold(&world, &request, &old, &["really", "truly", "nearly", "hardly"]).await;
        assert_eq!(rows().await, 4, "{what}");
        let (first, new) = request.by(&old).await;
        assert!(matches!(first.status, 200 | 303), "{what}: {} {}", first.status, first.body);
        assert_eq!(rows().await, 4, "{what}: nobody lost their place");
        assert_nobodys(&request.by(&old).await.0, &what);
        let_go(held, &what).await;
        assert_eq!((me(&new).await, rows().await), (200, 0), "{what}");
        assert_eq!(world.logged("authn_password_change").await, n + 1, "{what}");
    }
}

/// The answer is found among others of the same token that are under way: by an equal request, by who signs out with the token of old, and
/// by a guess, which costs it.
pub async fn an_answer_is_one_of_several(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    for (n, place) in (0..).zip([PasswordPage, PasswordJson]) {
        let what = format!("{place:?}");
        let rows = async || world.count("SELECT count(*) FROM iam_repeatable_answer").await;
        let (old, request) = prepare(&world, place, false, &format!("person{n}")).await;
        let held = hold(&world, &request, &old, &["really", "truly", "nearly"]).await;
        let (first, new) = request.by(&old).await;
        assert_alike(&first, &request.by(&old).await.0, &what);
        assert_eq!(rows().await, 4, "{what}");
        assert_nobodys(&with_another_new_password(&request, "hardly").by(&old).await.0, &what);
        assert_eq!(rows().await, 0, "{what}");
        assert_nobodys(&request.by(&old).await.0, &what);
        let_go(held, &what).await;
        assert_eq!(me(&new).await, 200, "{what}");

        let (old, request) = prepare(&world, place, false, &format!("leaving{n}")).await;
        let held = hold(&world, &request, &old, &["really", "truly", "nearly"]).await;
        let (first, new) = request.by(&old).await;
        assert_alike(&first, &request.by(&old).await.0, &what);
        let (mut leaving, origin) = (old.clone(), old.origin());
        let out = leaving.send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await;
        assert_eq!((out.status, me(&new).await), (204, 401), "{what}: signed out by the token of old");
        let_go(held, &what).await;
        assert_nobodys(&request.by(&old).await.0, &what);
        world.execute("DELETE FROM iam_repeatable_answer").await;
    }
}

/// A form, or a page of a script, that was open when a day replaced the session's token may be sent twice as any other.
pub async fn a_form_of_before_a_daily_replacement_may_come_twice(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    for (n, place) in [ProofPage, PasswordPage, ProofJson, PasswordJson].into_iter().enumerate() {
        let what = format!("{place:?}");
        let name = format!("person{n}");
        world.add(&name, &["auditor"], None).await;
        let (mut browser, _) = tick(&world, &name).await;
        let csrf = browser.get("/api/v1/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
        let first_cookie = browser.session_cookie().unwrap().to_owned();
        world.later(24 * 3600);
        assert_eq!(browser.open("/reports").await.status, 200, "{what}");
        assert_ne!(browser.session_cookie().unwrap(), first_cookie, "{what}: replaced");
        let form = ("csrf_token", csrf.as_str());
        let mut request = match place {
            ProofPage => Request::form(&browser, "/auth/reauthenticate", &[form, ("password", PASSWORD)]),
            PasswordPage => {
                let fields = [form, ("current_password", PASSWORD), ("new_password", NEW)];
                Request::form(&browser, "/auth/account/password", &fields)
            }
            ProofJson => Request::json(&browser, "POST", PROOF, &json!({"password": PASSWORD})),
            _ => {
                let body = json!({"current_password": PASSWORD, "new_password": NEW});
                Request::json(&browser, "POST", "/api/v1/account/password", &body)
            }
        };
        if matches!(place, ProofJson | PasswordJson) {
            request.headers.push(("x-csrf-token", csrf.clone()));
        }
        let (first, _) = request.by(&browser).await;
        let (second, new) = request.by(&browser).await;
        assert_alike(&first, &second, &what);
        assert_eq!(me(&new).await, 200, "{what}: signed in");
    }
    assert_eq!(world.logged("authn_reauth_success").await, 2);
    assert_eq!(world.logged("authn_password_change").await, 2);
}

/// A second click when the answer to the first has come already, and its page not yet: it carries the new cookie and the form of before.
/// It is not carried out, and says that its sender is signed in, that the first may have been carried out, and where to go on.
pub async fn a_second_click_with_the_new_cookie_says_what_is_so(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let text = |answer: &Answer| answer.body.replace("&#x2f;", "/");
    let places = [PasswordPage, ProofPage, CodePage, ConfirmPage, RemovePage];
    for (n, place) in places.into_iter().enumerate() {
        let what = format!("{place:?}");
        let (old, request) = prepare(&world, place, false, &format!("person{n}")).await;
        let (first, new) = request.by(&old).await;
        assert!(matches!(first.status, 200 | 303), "{what}: {} {}", first.status, first.body);
        let (second, still) = request.by(&new).await;
        assert_eq!(second.status, 403, "{what}: {}", second.body);
        assert_eq!(second.set_cookies(), Vec::<String>::new(), "{what}");
        assert_eq!(still.session_cookie(), new.session_cookie(), "{what}");
        for said in ["You are still signed in", "may have been carried out", "href=\"/auth/account\""] {
            assert!(text(&second).contains(said), "{what}: {said}: {}", second.body);
        }
        assert_eq!(me(&new).await, 200, "{what}");
        // Who was on the way somewhere goes on there, and nowhere else.
        if matches!(place, ProofPage | CodePage) {
            for (next, href) in [
                ("/reports", "/reports"),
                ("https://evil.example/", "/auth/account"),
                ("/auth/logout", "/auth/account"),
            ] {
                let body = format!("{}&next={}", request.body, encode(next));
                let answer = Request { body, ..request.clone() }.by(&new).await.0;
                assert_eq!(answer.status, 403, "{what}");
                assert!(text(&answer).contains(&format!("href=\"{href}\"")), "{what}: {}", answer.body);
                assert!(!answer.body.contains("evil"), "{what}");
            }
        }
        // Another site's form tells nothing of that.
        let mut foreign = request.clone();
        foreign.headers.retain(|(name, _)| *name != "origin");
        foreign.headers.push(("origin", "https://evil.example".to_owned()));
        let answer = foreign.by(&new).await.0;
        assert!(answer.status == 403 && !answer.body.contains("still signed in"), "{what}: {}", answer.body);
        assert_eq!(me(&new).await, 200, "{what}");
    }
    assert_eq!(world.logged("authn_password_change").await, 1);
    assert_eq!(world.logged("malicious_csrf").await, 5, "the foreign ones");
    // A script's page of before.
    for place in [PasswordJson, ProofJson, ConfirmJson, RemoveJson] {
        let what = format!("{place:?}");
        let (old, mut request) =
            prepare(&world, place, false, &format!("script{place:?}").to_lowercase()).await;
        let csrf =
            old.clone().get("/api/v1/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
        request.headers.retain(|(name, _)| *name != "x-csrf-token");
        request.headers.push(("x-csrf-token", csrf));
        let (first, new) = request.by(&old).await;
        assert_eq!(first.status, 200, "{what}: {}", first.body);
        let second = request.by(&new).await.0;
        assert_eq!((second.status, &second.json()["code"]), (403, &json!("csrf")), "{what}: {}", second.body);
        let detail = second.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains("may have been carried out") && detail.contains("auth/csrf"),
            "{what}: {detail}"
        );
        assert_eq!(me(&new).await, 200, "{what}");
    }
}

/// What differs in anything, comes late, or comes when the new token was used, is nobody's.
pub async fn what_is_not_the_same_request_is_nobodys(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut n = 0;
    let mut begin = async |place| {
        n += 1;
        let (old, request) = prepare(&world, place, false, &format!("person{n}")).await;
        let mut other = old.clone();
        let other = other.get("/api/v1/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
        let (first, new) = request.by(&old).await;
        assert!(matches!(first.status, 200 | 303), "{}", first.body);
        (old, request, new, other)
    };
    for place in [ProofPage, PasswordPage, ProofJson] {
        let changes: [(&str, Change); 6] = [
            ("another field", |request, _| {
                request.body.push_str(if request.body.starts_with('{') { " " } else { "&x=y" });
            }),
            ("another password", |request, _| {
                request.body = request.body.replace("%20", "+").replace(" horse", "  horse");
            }),
            ("another path", |request, _| request.path.push('?')),
            ("another page", |request, _| {
                request.path = match request.path.as_str() {
                    "/auth/reauthenticate" => "/auth/account/password".to_owned(),
                    "/auth/account/password" => "/auth/reauthenticate".to_owned(),
                    _ => "/api/v1/account/password".to_owned(),
                };
            }),
            ("a made-up form", |request, _| {
                request.headers.push(("x-csrf-token", "A".repeat(64)));
                request.body = request.body.replacen("csrf_token=", "csrf_token=%41", 1);
            }),
            ("another form", |request, other| {
                let encoded = encode(other);
                match request.body.split_once("csrf_token=") {
                    Some((_, rest)) => {
                        let rest = rest.split_once('&').unwrap().1.to_owned();
                        request.body = format!("csrf_token={encoded}&{rest}");
                    }
                    None => request.headers.push(("x-csrf-token", other.to_owned())),
                }
            }),
        ];
        for (what, change) in changes {
            let (old, request, new, other) = begin(place).await;
            let mut changed = request.clone();
            change(&mut changed, &other);
            let what = format!("{place:?}: {what}");
            let refused = changed.by(&old).await.0;
            assert!(matches!(refused.status, 401 | 403), "{what}: {}", refused.status);
            assert!(refused.set_cookies().iter().all(|line| !line.starts_with("iam_session")), "{what}");
            assert_eq!(me(&new).await, 200, "{what}");
        }
        // Somebody else's session, and a made-up one.
        let (old, request, new, _) = begin(place).await;
        let mut made_up = world.browser();
        made_up.cookies.insert("iam_session".to_owned(), "A".repeat(43));
        for browser in [world.browser(), made_up] {
            assert_nobodys(&request.by(&browser).await.0, "another device");
        }
        assert_eq!(request.by(&old).await.0.status, request.by(&old).await.0.status);
        // Too late.
        world.later(10);
        assert_nobodys(&request.by(&old).await.0, "after ten seconds");
        assert_eq!(me(&new).await, 200);
        // After it was signed out, here or elsewhere.
        let (old, request, mut new, _) = begin(place).await;
        let origin = new.origin();
        assert_eq!(
            new.clone().send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await.status,
            204
        );
        assert_nobodys(&request.by(&old).await.0, "signed out");
        new.cookies.clear();
        // By the token of old, while the answer is lost: what it was renewed to ends.
        let (old, request, new, _) = begin(place).await;
        let signed_out =
            old.clone().send("POST", "/api/v1/auth/logout", &[("origin", &origin)], Vec::new()).await;
        assert_eq!(signed_out.status, 204);
        assert_nobodys(&request.by(&old).await.0, "signed out by the token of old");
        assert_eq!(me(&new).await, 401);
        let (old, request, new, _) = begin(place).await;
        world.execute("UPDATE iam_user_account SET status = 'disabled' WHERE username LIKE 'person%'").await;
        assert_nobodys(&request.by(&old).await.0, "disabled");
        assert_eq!(me(&new).await, 401);
        world.execute("UPDATE iam_user_account SET status = 'active'").await;
    }
}

/// Whoever has the token of old and nothing else gets nothing, guesses once, and takes nothing away from its owner.
pub async fn a_stolen_token_of_old_is_worth_nothing(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (old, request) = prepare(&world, CodeJson, true, "mia").await;
    let (first, new) = request.by(&old).await;
    assert_eq!(first.status, 200);
    // Without what was typed nothing is looked for.
    for body in ["", "{}", r#"{"code": ""}"#, r#"{"code": 1}"#, "code"] {
        let thiefs = Request { body: body.to_owned(), ..request.clone() };
        assert_nobodys(&thiefs.by(&old).await.0, body);
    }
    for method in ["GET", "DELETE"] {
        let answer = Request { method, ..request.clone() }.by(&old).await.0;
        assert!(matches!(answer.status, 401 | 405), "{}", answer.status);
    }
    assert_nobodys(
        &Request {
            method: "DELETE",
            path: "/api/v1/account/factors/x".into(),
            body: String::new(),
            ..request.clone()
        }
        .by(&old)
        .await
        .0,
        "no body",
    );
    assert_alike(&first, &request.by(&old).await.0, "its owner");
    // A guess costs the answer: of a million codes nobody tries two.
    let guess = Request { body: json!({"code": "000000", "method": "totp"}).to_string(), ..request.clone() };
    assert_nobodys(&guess.by(&old).await.0, "a guess");
    assert_nobodys(&request.by(&old).await.0, "and the right one after it");
    assert_eq!(me(&new).await, 200, "its owner, who has the answer");
    // What is repeated with a bearer token holds what was typed: an empty request tells nothing.
    let (mut amy, _) = bearer(&world, "amy").await;
    let (_, id) = {
        let begun = amy.post_json(FACTORS, &json!({"kind": "totp", "name": "phone"})).await.json();
        let app = App::from_base32(begun["secret"].as_str().unwrap());
        let id = begun["id"].as_str().unwrap().to_owned();
        let confirm = Request::json(
            &amy,
            "POST",
            &format!("{FACTORS}/{id}/confirm"),
            &json!({"code": app.code(&world, 0)}),
        );
        amy = confirm.by(&amy).await.1;
        (app, id)
    };
    let remove = Request {
        body: String::new(),
        ..Request::json(&amy, "DELETE", &format!("{FACTORS}/{id}"), &json!({}))
    };
    let (removed, new) = remove.by(&amy).await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_nobodys(&remove.by(&amy).await.0, "a request that anybody can guess");
    assert_eq!(me(&new).await, 200);
}

/// What failed is tried anew when it comes again, and counts each time; what was kept is gone in time.
pub async fn what_failed_is_no_repeat(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let mut browser = world.signed_in("bob").await;
    let wrong = json!({"password": "not the password"});
    for _ in 0..5 {
        assert_eq!(send_json(&mut browser, "POST", PROOF, &wrong).await.status, 401);
    }
    assert_eq!(send_json(&mut browser, "POST", PROOF, &wrong).await.status, 429, "each of them counted");
    assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 0, "nothing is kept of it");
    // At once, too.
    let start = Arc::new(Barrier::new(4));
    let gus = world.signed_in("gus").await;
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let (mut gus, wrong, start) = (gus.clone(), wrong.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                send_json(&mut gus, "POST", PROOF, &wrong).await.status
            })
        })
        .collect();
    for attempt in tries {
        assert_eq!(attempt.await.unwrap(), 401);
    }
    let mut gus = gus;
    assert_eq!(send_json(&mut gus, "POST", PROOF, &wrong).await.status, 401, "the fifth");
    assert_eq!(send_json(&mut gus, "POST", PROOF, &wrong).await.status, 429);

    // An answer that nobody asks for again is removed by upkeep.
    world.later(3600);
    let (old, request) = prepare(&world, ProofPage, false, "mia").await;
    assert_eq!(request.by(&old).await.0.status, 303);
    world.later(9);
    world.iam.upkeep().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 1);
    world.later(2);
    world.iam.upkeep().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM iam_repeatable_answer").await, 0);
}

/// A renewal costs the request that comes after it one unit of work, and those after that nothing.
pub async fn only_the_first_use_of_a_new_token_is_written(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    assert_eq!(amy.get("/reports").await.status, 200);
    assert_eq!(send_json(&mut amy, "POST", PROOF, &json!({"password": PASSWORD})).await.status, 200);
    let units = || world.faults.units.load(Ordering::SeqCst);
    let reads = || world.faults.reads.load(Ordering::SeqCst);
    let (before, read) = (units(), reads());
    assert_eq!(amy.send("GET", "/reports", &[("iam-activity", "none")], Vec::new()).await.status, 200);
    assert_eq!((units() - before, reads() - read), (1, 1));
    for _ in 0..5 {
        assert_eq!(amy.get("/reports").await.status, 200);
    }
    assert_eq!((units() - before, reads() - read), (1, 6));
    // What can't be noted keeps nobody out.
    assert_eq!(send_json(&mut amy, "POST", PROOF, &json!({"password": PASSWORD})).await.status, 200);
    world.faults.touch.store(true, Ordering::SeqCst);
    assert_eq!(amy.get("/reports").await.status, 200);
}
