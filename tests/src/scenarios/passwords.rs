//! Every place that takes a password, and what all of them have in common (LG-04).

use std::collections::BTreeSet;
use std::sync::Arc;

use iam_core::{AccountStatus, Actor};
use serde_json::json;
use tokio::sync::Barrier;

use super::account::bearer;
use super::factors::{VERIFY, until, with_address};
use super::step_up::STEP_UP;
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const WRONG: &str = "not the password";
const NEW: &str = "a wholly different pass phrase";
const NOBODYS_ID: &str = "019b76da-a800-7000-8000-0000000000ff";

/// Where a password of somebody who is signed in is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ReauthenticationPage,
    ReauthenticationJson,
    ChangePage,
    ChangeJson,
    StepUpPage,
    StepUpJson,
}

use Place::{ChangeJson, ChangePage, ReauthenticationJson, ReauthenticationPage, StepUpJson, StepUpPage};

/// Every place, and whether a bearer token leads there, too.
const PLACES: [(Place, bool); 6] = [
    (ReauthenticationPage, false),
    (ReauthenticationJson, true),
    (ChangePage, false),
    (ChangeJson, true),
    (StepUpPage, false),
    (StepUpJson, true),
];

/// Every route of the family with a field for a secret that somebody types, each with what becomes of it. Whoever adds a route says
/// here what it is, and drives it below if it looks at a password.
const ROUTES: &[(&str, &str)] = &[
    // Signing in: the scenarios of limits.
    ("POST /auth/login", "password"),
    ("POST /api/v1/auth/login", "password"),
    // Looked at: `PLACES`.
    ("POST /auth/reauthenticate", "password"),
    ("POST /api/v1/auth/reauthenticate", "password"),
    ("POST /auth/account/password", "current_password"),
    ("POST /api/v1/account/password", "current_password"),
    ("POST /auth/mfa/verify", "code"),
    ("POST /api/v1/auth/mfa/verify", "code"),
    // Set, and compared with nothing.
    ("POST /auth/account/password", "new_password"),
    ("POST /api/v1/account/password", "new_password"),
    ("POST /auth/setup/{token}", "password"),
    // The code of a factor that is being set up.
    ("POST /api/v1/account/factors/{id}/confirm", "code"),
];

/// The place's CSRF token, of a page that has one.
async fn token_for(browser: &mut Browser) -> String {
    browser.open("/auth/account").await.csrf_token()
}

/// Gives a password there.
async fn give(browser: &mut Browser, place: Place, token: &str, password: &str) -> Answer {
    let change = [("csrf_token", token), ("current_password", password), ("new_password", NEW)];
    let step_up = [
        ("csrf_token", token),
        ("code", password),
        ("method", "password"),
        ("purpose", "payroll"),
        ("methods", "password"),
    ];
    match place {
        ReauthenticationPage => {
            browser.submit("/auth/reauthenticate", &[("csrf_token", token), ("password", password)]).await
        }
        ReauthenticationJson => {
            browser.post_json("/api/v1/auth/reauthenticate", &json!({ "password": password })).await
        }
        ChangePage => browser.submit("/auth/account/password", &change).await,
        ChangeJson => {
            let body = json!({"current_password": password, "new_password": NEW});
            browser.post_json("/api/v1/account/password", &body).await
        }
        StepUpPage => browser.submit("/auth/mfa/verify", &step_up).await,
        StepUpJson => {
            let body = json!({"purpose": "payroll", "method": "password"});
            let asked = browser.post_json(STEP_UP, &body).await;
            if asked.status != 200 {
                return asked;
            }
            let body = json!({"purpose": "payroll", "method": "password", "code": password});
            browser.post_json(VERIFY, &body).await
        }
    }
}

/// The secrets that the forms of a page ask for: where each goes (nowhere else, if that is empty), and what it is called.
fn asked_for_by(page: &str) -> Vec<(String, String)> {
    let value_of = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.replace("&#x2f;", "/"))
    };
    let mut found = Vec::new();
    for form in page.split("<form").skip(1) {
        let (head, rest) = form.split_once('>').unwrap();
        let inside = rest.split("</form>").next().unwrap();
        for input in inside.split("<input").skip(1) {
            let tag = input.split_once('>').unwrap().0;
            if value_of(tag, "type").as_deref() == Some("password") {
                found.push((value_of(head, "action").unwrap(), value_of(tag, "name").unwrap()));
            }
        }
    }
    found
}

/// LG-04: a route that takes a password and that nobody has thought about fails here.
pub async fn every_place_that_takes_a_password_is_known(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let link = world.iam.setup(&Actor::service()).issue_token().await.unwrap().unwrap();
    let setup = world.browser().open(&format!("/auth/setup/{}", link.expose().as_str())).await;
    let inventory = axum_app::inventory(world.iam.clone().into(), axum_app::Documents::default());
    let of_setup = asked_for_by(&setup.body).into_iter();
    let mut found: BTreeSet<_> =
        of_setup.map(|(action, field)| (format!("POST /auth/setup/{{token}}{action}"), field)).collect();
    for route in inventory.routes().filter(|route| route.access.kind() == "iam") {
        let mut bob = world.signed_in("bob").await;
        let path = route.path.replace("{id}", NOBODYS_ID).replace("{token}", &"A".repeat(43));
        if route.path.starts_with("/api/") && route.method != "GET" {
            // What is known there is of another type, and what is not is not known.
            let names = ["password", "current_password", "new_password", "code"];
            let body = serde_json::Value::from_iter(names.map(|name| (name, 1)));
            let (origin, json) = (bob.origin(), ("content-type", "application/json"));
            let headers = [json, ("origin", origin.as_str())];
            let answer = bob.send(&route.method, &path, &headers, body.to_string().into()).await;
            let errors = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
            for error in errors["errors"].as_array().into_iter().flatten() {
                if error["code"] == "wrong_type" {
                    let field = error["field"].as_str().unwrap();
                    found.insert((format!("{} {}", route.method, route.path), field.to_owned()));
                }
            }
        } else if route.method == "GET" {
            let asking = format!("{path}?purpose=payroll&methods=password&kind=totp");
            for page in [&path, &asking] {
                for browser in [&mut bob, &mut world.browser()] {
                    for (action, field) in asked_for_by(&browser.open(page).await.body) {
                        let action = if action.is_empty() { route.path.clone() } else { action };
                        found.insert((format!("POST {action}"), field));
                    }
                }
            }
        }
    }
    let known = ROUTES.iter().map(|(route, field)| ((*route).to_owned(), (*field).to_owned()));
    assert_eq!(found, known.collect());
}

/// Five tries, then growing delays, a right password given back, and nothing for an account that may not be used: everywhere.
pub async fn every_place_that_takes_a_password_slows_down_alike(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let clients = PLACES.iter().flat_map(|(place, bearer)| {
        [Some((*place, false)), bearer.then_some((*place, true))].into_iter().flatten()
    });
    for (n, (place, by_bearer)) in clients.enumerate() {
        let (name, what) = (format!("person{n}"), format!("{place:?}, bearer: {by_bearer}"));
        let account = world.add(&name, &[], None).await;
        let mut browser =
            if by_bearer { bearer(&world, &name).await.0 } else { world.signed_in(&name).await };
        let mut elsewhere = world.signed_in(&name).await;
        let token = if by_bearer { String::new() } else { token_for(&mut browser).await };
        for _ in 0..5 {
            assert_eq!(give(&mut browser, place, &token, WRONG).await.status, 401, "{what}");
        }
        for delay in ["1", "2", "4"] {
            // Before anything is looked at.
            for password in [PASSWORD, WRONG] {
                let refused = give(&mut browser, place, &token, password).await;
                let told = (refused.status, refused.header("retry-after"));
                assert_eq!(told, (429, Some(delay)), "{what}: {}", refused.body);
            }
            world.later(delay.parse().unwrap());
            if delay != "4" {
                assert_eq!(give(&mut browser, place, &token, WRONG).await.status, 401, "{what}");
            }
        }
        // Another session of the account has tries of its own, and so has signing in.
        for _ in 0..2 {
            let proved = give(&mut elsewhere, ReauthenticationJson, "", PASSWORD).await;
            assert_eq!(proved.status, 200, "{what}: {}", proved.body);
        }
        let done = give(&mut browser, place, &token, PASSWORD).await;
        assert!(matches!(done.status, 200 | 303), "{what}: {} {}", done.status, done.body);
        // Neither is anything looked at for an account that may not be used.
        let password = if matches!(place, ChangePage | ChangeJson) { NEW } else { PASSWORD };
        for status in [AccountStatus::Locked, AccountStatus::Disabled] {
            world.later(3600);
            let mut browser = world.browser();
            assert_eq!(browser.sign_in(&name, password).await.status, 303, "{what}");
            let token = token_for(&mut browser).await;
            world.iam.accounts(&Actor::service()).set_status(account, status).await.unwrap();
            let before = proofs(&world).await;
            let refused = give(&mut browser, place, &token, password).await;
            assert!(matches!(refused.status, 401 | 403), "{what}, {status:?}: {}", refused.status);
            assert_eq!(proofs(&world).await, before, "nothing was looked at");
            world.iam.accounts(&Actor::service()).set_status(account, AccountStatus::Active).await.unwrap();
        }
    }
}

/// What the trail tells of passwords, right or wrong.
async fn proofs(world: &World) -> usize {
    world.log().await.iter().filter(|entry| entry.event.starts_with("authn_")).count()
}

/// Whoever stole a session slows that down alone, has no more tries elsewhere in it, and none after twenty.
pub async fn a_stolen_session_slows_itself_down_and_ends(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut thief = world.signed_in("eve").await;
    thief.cookies.remove("iam_device");
    let token = token_for(&mut thief).await;
    let mut owner = world.signed_in("eve").await;
    let mut wrong = 0;
    // One budget, wherever it is tried. Waiting long enough gives the first tries back, and nothing else.
    for (n, (place, _)) in PLACES.iter().cycle().enumerate().take(80) {
        let answer = give(&mut thief, *place, &token, WRONG).await;
        match answer.status {
            401 if wrong < 20 => wrong += 1,
            429 => {
                assert!(wrong >= 5, "{n}");
                // The owner is not kept from anything.
                let proved = give(&mut owner, ReauthenticationJson, "", PASSWORD).await;
                assert_eq!(proved.status, 200, "{n}: {}", proved.body);
                world.later(320);
            }
            other => panic!("{n}: {other} after {wrong}: {}", answer.body),
        }
        if wrong == 20 {
            break;
        }
    }
    assert_eq!(wrong, 20);
    assert_eq!(thief.get("/api/v1/me").await.status, 401, "it is over");
    assert_eq!(give(&mut thief, ReauthenticationJson, "", PASSWORD).await.status, 401);
    let log = world.log().await;
    let ended = log.iter().filter(|entry| entry.reason.as_deref() == Some("wrong_passwords"));
    let ended: Vec<_> = ended.map(|entry| entry.event.as_str()).collect();
    assert_eq!(ended, ["session_revoked"]);
    assert_eq!(world.logged("authn_reauth_fail").await, 20);
    until(async || world.notices() == ["session_ended_by_failures"]).await;
    // The owner's goes on, and changes the password.
    assert_eq!(give(&mut owner, ChangeJson, "", PASSWORD).await.status, 200);
}

/// Forty at once, five are looked at.
pub async fn parallel_guesses_in_a_session_are_counted_exactly(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let bob = world.signed_in("bob").await;
    let start = Arc::new(Barrier::new(40));
    let tries: Vec<_> = (0..40)
        .map(|n| {
            let (mut browser, start) = (bob.clone(), Arc::clone(&start));
            let place = if n % 2 == 0 { ReauthenticationJson } else { ChangeJson };
            tokio::spawn(async move {
                start.wait().await;
                give(&mut browser, place, "", WRONG).await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for attempt in tries {
        statuses.push(attempt.await.unwrap());
    }
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(401), count(429)), (5, 35), "{statuses:?}");
    assert_eq!(world.logged("authn_reauth_fail").await, 5);
}

/// A wrong password is a failure of the network that it comes from, whoever gave it.
pub async fn wrong_passwords_in_sessions_count_for_their_network(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (mut bob, mut max) = (world.signed_in("bob").await, world.signed_in("max").await);
    for browser in [&mut bob, &mut max] {
        for _ in 0..5 {
            assert_eq!(give(browser, ReauthenticationJson, "", WRONG).await.status, 401);
        }
    }
    let refused = world.browser().api_sign_in("amy", PASSWORD).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
    // A session is known, as a device is.
    world.later(1);
    assert_eq!(give(&mut bob, ReauthenticationJson, "", PASSWORD).await.status, 200);
}

/// OWASP ASVS 6.3.5: a password that is right after many wrong ones may have been guessed. Nobody is told of a slip.
pub async fn a_right_password_after_many_wrong_ones_is_told(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for name in ["eve", "ida"] {
        with_address(&world, name, &format!("{name}@example.com")).await;
    }
    // Of a slip, nothing.
    let mut ida = world.browser();
    for _ in 0..4 {
        assert_eq!(ida.api_sign_in("ida", WRONG).await.status, 401);
    }
    assert_eq!(ida.api_sign_in("ida", PASSWORD).await.status, 200);
    // At sign-in ...
    for _ in 0..5 {
        assert_eq!(world.browser().api_sign_in("eve", WRONG).await.status, 401);
    }
    world.later(1);
    let mut eve = world.browser();
    assert_eq!(eve.api_sign_in("eve", PASSWORD).await.status, 200);
    until(async || world.notices() == ["password_after_failures"]).await;
    assert!(world.mail.messages().iter().all(|message| message.to == "eve@example.com"));
    // ... and in a session, where it was told today.
    world.later(24 * 3600);
    for (n, place) in [ReauthenticationJson, ChangeJson].into_iter().enumerate() {
        let mut eve = world.signed_in("eve").await;
        for _ in 0..5 {
            assert_eq!(give(&mut eve, place, "", WRONG).await.status, 401);
        }
        world.later(1);
        assert_eq!(give(&mut eve, place, "", PASSWORD).await.status, 200);
        let told = |what: &str| world.notices().iter().filter(|notice| **notice == what).count();
        until(async || told("password_changed") == n && told("password_after_failures") >= 2).await;
        assert_eq!(told("password_after_failures"), 2, "{place:?}: once a day");
    }
}
