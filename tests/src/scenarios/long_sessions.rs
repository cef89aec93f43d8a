use std::time::Duration;

use iam_core::{Actor, AdministratorScope, IamBuilder, LongSessions, RequirementOf, RoleName};
use serde_json::{Value, json};

use super::account::bearer;
use super::factors::{add_app, send_json, until, verify, with_address, with_app};
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const NEXT: &str = "iam-session-token";

/// For auditors and for everybody of acme: a month without use, three in all.
pub(super) fn long(builder: IamBuilder) -> IamBuilder {
    let days = |days: u64| Duration::from_secs(days * DAY);
    builder.long_sessions(LongSessions::new(days(30), days(90)).for_role("auditor").for_parent("acme"))
}

fn with_token(world: &World, token: &str) -> Browser {
    world.browser().with_header("authorization", &format!("Bearer {token}"))
}

async fn status(client: &mut Browser) -> u16 {
    client.get("/api/v1/me").await.status
}

/// Signs in by the page, with the box ticked.
pub(super) async fn tick(world: &World, name: &str) -> (Browser, Answer) {
    let mut browser = world.browser();
    let token = browser.open("/auth/login").await.csrf_token();
    let fields =
        [("username", name), ("password", PASSWORD), ("stay_signed_in", "1"), ("csrf_token", &token)];
    let answer = browser.submit("/auth/login", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    (browser, answer)
}

fn session_cookie_of(answer: &Answer) -> String {
    let set = answer.set_cookies().into_iter().find(|line| line.starts_with("iam_session="));
    set.unwrap_or_else(|| panic!("{:?}", answer.headers))
}

/// B: a mobile application stays signed in, for those whom the service names; nobody else does.
pub async fn a_mobile_application_stays_signed_in_for_those_that_are_named(
    adapter: Adapter,
    backend: Backend,
) {
    let world = World::with(adapter, backend, long).await;
    // By role, by parent; by neither.
    let (mut gus, _) = bearer(&world, "gus").await;
    let (mut bob, _) = bearer(&world, "bob").await;
    let (mut max, _) = bearer(&world, "max").await;
    let sign_in = async |extra: Value| {
        let mut body = json!({"username": "bob", "password": PASSWORD, "token": true});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        world.browser().post_json("/api/v1/auth/login", &body).await
    };
    let said = sign_in(json!({})).await.json();
    assert_eq!((&said["expires_in"], &said["idle_timeout"]), (&json!(90 * DAY), &json!(30 * DAY)), "{said}");
    let unwanted = sign_in(json!({"stay_signed_in": false})).await.json();
    assert_eq!(unwanted["expires_in"], json!(12 * HOUR), "{unwanted}");
    let mut unwanted = with_token(&world, unwanted["session_token"].as_str().unwrap());
    assert_eq!(sign_in(json!({"stay_signed_in": "yes"})).await.status, 422);
    let mut page = world.signed_in("bob").await;

    world.later(3 * HOUR);
    for (client, expected) in
        [(&mut gus, 200), (&mut bob, 200), (&mut max, 401), (&mut unwanted, 401), (&mut page, 401)]
    {
        assert_eq!(status(client).await, expected);
    }
    // Beyond a day, and beyond a month without use.
    for _ in 0..3 {
        world.later(29 * DAY);
        assert_eq!(status(&mut gus).await, 200);
    }
    assert_eq!(status(&mut bob).await, 401, "not used for a month");
    world.later(3 * DAY - 3 * HOUR - 1);
    assert_eq!(status(&mut gus).await, 200);
    world.later(1);
    assert_eq!(status(&mut gus).await, 401, "three months after the sign-in");
    let log = world.log().await;
    let ended = log.iter().filter(|entry| entry.event == "session_expired");
    let ended: Vec<_> = ended.filter_map(|entry| entry.reason.as_deref()).collect();
    assert!(ended.contains(&"expired") && ended.contains(&"idle"), "{ended:?}");
    assert_eq!(log.iter().filter(|entry| entry.reason.as_deref() == Some("long")).count(), 3, "{log:?}");
}

/// What a policy does not name lives as before, whatever is asked for; and so does everybody where there is none.
pub async fn without_a_policy_nobody_stays_signed_in(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (mut gus, _) = bearer(&world, "gus").await;
    assert!(!world.browser().open("/auth/login").await.body.contains("stay_signed_in"));
    let (mut amy, answer) = tick(&world, "amy").await;
    assert!(!session_cookie_of(&answer).contains("Max-Age"));
    world.later(12 * HOUR);
    assert_eq!((status(&mut gus).await, status(&mut amy).await), (401, 401));
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE long_lived <> 0").await, 0);
}

/// The box is on the page, keeps its tick, outlives the second step, and makes a cookie that outlives the browser.
pub async fn a_ticked_box_keeps_people_signed_in(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let mut browser = world.browser();
    let page = browser.open("/auth/login").await;
    let unticked = "name=\"stay_signed_in\" type=\"checkbox\" value=\"1\" aria-describedby=\"stay-hint\">";
    assert!(page.body.contains(unticked) && page.body.contains("after 30 days without use"), "{}", page.body);
    let token = page.csrf_token();
    let wrong = [("username", "bob"), ("password", "x"), ("stay_signed_in", "1"), ("csrf_token", &token)];
    let again = browser.submit("/auth/login", &wrong).await;
    assert_eq!(again.status, 401);
    assert!(again.body.contains("aria-describedby=\"stay-hint\" checked>"), "{}", again.body);

    let (mut bob, answer) = tick(&world, "bob").await;
    let cookie = session_cookie_of(&answer);
    assert!(cookie.ends_with(&format!("HttpOnly; SameSite=Lax; Path=/; Max-Age={}", 90 * DAY)), "{cookie}");
    let (_, of_nobody) = tick(&world, "max").await;
    assert!(!session_cookie_of(&of_nobody).contains("Max-Age"), "whom nobody named");
    // The newest comes first.
    world.later(1);
    let mut other = world.signed_in("bob").await;
    assert!(bob.open("/auth/account").await.body.contains("Stays signed in"));
    let listed = other.get("/api/v1/account/sessions").await.json();
    let listed = listed["sessions"].as_array().unwrap().clone();
    assert_eq!(listed.iter().map(|one| &one["stays_signed_in"]).collect::<Vec<_>>(), [false, true]);
    let me = bob.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["stays_signed_in_until"], "2026-04-01T00:00:00.000000Z", "{me}");

    // By a script, and with a second step, before which nothing outlives the browser.
    let (app, _) = add_app(&world, &mut bob, "phone").await;
    world.later(60);
    let mut script = world.browser();
    let body = json!({"username": "bob", "password": PASSWORD, "stay_signed_in": true});
    let half = script.post_json("/api/v1/auth/login", &body).await;
    assert_eq!(
        (&half.json()["status"], session_cookie_of(&half).contains("Max-Age")),
        (&json!("mfa_required"), false)
    );
    let whole = verify(&mut script, &app.code(&world, 0)).await;
    assert_eq!(whole.status, 200, "{}", whole.body);
    assert!(session_cookie_of(&whole).contains(&format!("Max-Age={}", 90 * DAY)), "{:?}", whole.headers);
    let (mut page, half) = tick(&world, "bob").await;
    assert_eq!(half.location(), "/auth/mfa/verify");
    world.later(30);
    let asked = page.open("/auth/mfa/verify").await;
    let (code, token) = (app.code(&world, 0), asked.csrf_token());
    let fields = [("code", code.as_str()), ("method", "totp"), ("csrf_token", &token)];
    let whole = page.submit("/auth/mfa/verify", &fields).await;
    assert!(session_cookie_of(&whole).contains(&format!("Max-Age={}", 90 * DAY - 30)), "{:?}", whole.headers);
    world.later(2 * DAY);
    assert_eq!((status(&mut script).await, status(&mut page).await), (200, 200));
}

/// Signs in by the form of a tab that was open before; without the box ticked, unless it is said.
async fn by_stale_tab(browser: &mut Browser, stale: &str, name: &str, stay: Option<&str>) -> Answer {
    let mut fields = vec![("username", name), ("password", PASSWORD), ("csrf_token", stale), ("next", "/")];
    fields.extend(stay.map(|value| ("stay_signed_in", value)));
    let answer = browser.submit("/auth/login", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer
}

/// Who ticks the box in a second tab, being signed in already, stays signed in: with the session that they have. The trail says what
/// happened, and no freshness is renewed.
pub async fn a_ticked_box_counts_for_who_is_signed_in_already(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let mut bob = world.browser();
    let stale = bob.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut bob, &stale, "bob", None).await;
    let session = bob.session_cookie().unwrap().to_owned();
    let until = async |bob: &mut Browser| {
        bob.get("/api/v1/me").await.json()["session"]["stays_signed_in_until"].clone()
    };
    assert_eq!(until(&mut bob).await, Value::Null);
    world.later(16 * 60);
    // What no page of ours sends ticks nothing.
    for other in ["", "0", "off", "false", "no", "2"] {
        let answer = by_stale_tab(&mut bob, &stale, "bob", Some(other)).await;
        assert_eq!(answer.set_cookies(), Vec::<String>::new(), "{other:?}");
    }
    assert_eq!(until(&mut bob).await, Value::Null);
    let answer = by_stale_tab(&mut bob, &stale, "bob", Some("1")).await;
    let cookie = session_cookie_of(&answer);
    let lifetime = format!("HttpOnly; SameSite=Lax; Path=/; Max-Age={}", 90 * DAY - 16 * 60);
    assert!(
        cookie.starts_with(&format!("iam_session={session};")) && cookie.ends_with(&lifetime),
        "{cookie}"
    );
    // The next request brings another token.
    assert_eq!(until(&mut bob).await, "2026-04-01T00:00:00.000000Z");
    assert_ne!(bob.session_cookie().unwrap(), session);
    // Once more: an answer that was lost does no harm. An unticked box takes nothing away.
    assert!(session_cookie_of(&by_stale_tab(&mut bob, &stale, "bob", Some("1")).await).ends_with(&lifetime));
    assert_eq!(by_stale_tab(&mut bob, &stale, "bob", None).await.set_cookies(), Vec::<String>::new());
    assert_eq!(until(&mut bob).await, "2026-04-01T00:00:00.000000Z");
    let log = world.log().await;
    let continued = log.iter().filter(|entry| entry.event == "authn_login_continued");
    let reasons: Vec<_> = continued.map(|entry| entry.reason.as_deref()).collect();
    assert_eq!(reasons, [&[None; 6][..], &[Some("long"), None, None]].concat());
    assert_eq!(world.logged("authn_reauth_success").await, 0, "nobody re-authenticated");
    let stale_proof = send_json(&mut bob, "DELETE", "/api/v1/account/sessions", &json!({})).await;
    assert_eq!(stale_proof.status, 401, "it is no fresh proof: {}", stale_proof.body);
    world.later(3 * HOUR);
    assert_eq!(status(&mut bob).await, 200);
    // When its token is due, the next one comes with another answer, and this one does not bring the old one back.
    world.later(DAY);
    let due = by_stale_tab(&mut bob, &stale, "bob", Some("1")).await;
    assert_eq!(due.set_cookies(), Vec::<String>::new());
    assert_ne!(session_cookie_of(&bob.open("/").await), cookie);
    assert_eq!(status(&mut bob).await, 200);
    let mut other = world.browser();
    let stale = other.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut other, &stale, "bob", None).await;
    let mut copy = other.clone();
    by_stale_tab(&mut other, &stale, "bob", Some("1")).await;
    assert_eq!((status(&mut other).await, status(&mut other).await), (200, 200));
    world.later(10);
    assert_eq!((status(&mut copy).await, status(&mut other).await), (401, 401), "a copy ends the session");
}

/// The password alone makes no session of two factors live longer.
pub async fn a_box_that_is_ticked_later_asks_for_the_second_factor_too(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let app = with_app(&world, "gus").await;
    let mut gus = world.browser();
    let stale = gus.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut gus, &stale, "gus", None).await;
    assert_eq!(verify(&mut gus, &app.code(&world, 0)).await.status, 200);
    world.later(15 * 60);
    assert_eq!(by_stale_tab(&mut gus, &stale, "gus", Some("1")).await.set_cookies(), Vec::<String>::new());
    let long_ones = "SELECT count(*) FROM iam_auth_session WHERE long_lived <> 0";
    assert_eq!(world.count(long_ones).await, 0);
    for _ in 0..47 {
        assert_eq!(status(&mut gus).await, 200);
        world.later(15 * 60);
    }
    assert_eq!(status(&mut gus).await, 401, "it ends when it would have");
}

/// As at sign-in: not to whom the policy does not name, and not before the second factor.
pub async fn a_box_that_is_ticked_later_gives_what_the_policy_gives(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let long_ones = "SELECT count(*) FROM iam_auth_session WHERE long_lived <> 0";
    let mut max = world.browser();
    let stale = max.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut max, &stale, "max", None).await;
    let answer = by_stale_tab(&mut max, &stale, "max", Some("1")).await;
    assert_eq!((answer.location(), answer.set_cookies()), ("/", Vec::new()));
    world
        .iam
        .roles(&Actor::service())
        .grant_administrator(world.account("bob").await, AdministratorScope::Parent)
        .await
        .unwrap();
    let mut bob = world.browser();
    let stale = bob.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut bob, &stale, "bob", None).await;
    assert_eq!(by_stale_tab(&mut bob, &stale, "bob", Some("1")).await.set_cookies(), Vec::<String>::new());
    assert_eq!(world.count(long_ones).await, 0, "neither one that nobody named, nor an administrator");

    let app = with_app(&world, "gus").await;
    let mut gus = world.browser();
    let stale = gus.open("/auth/login").await.csrf_token();
    assert_eq!(by_stale_tab(&mut gus, &stale, "gus", None).await.location(), "/auth/mfa/verify");
    let half = by_stale_tab(&mut gus, &stale, "gus", Some("1")).await;
    assert_eq!((half.location(), half.set_cookies()), ("/auth/mfa/verify", Vec::new()));
    assert_eq!(world.count(long_ones).await, 0, "half-way nothing changes");
    assert_eq!(verify(&mut gus, &app.code(&world, 0)).await.status, 200);
    let whole = by_stale_tab(&mut gus, &stale, "gus", Some("1")).await;
    assert!(session_cookie_of(&whole).contains("Max-Age="), "{:?}", whole.headers);
    assert_eq!(world.count(long_ones).await, 1);
    // A second factor that came to be due keeps it as it is.
    let mut acme = world.browser();
    let stale = acme.open("/auth/login").await.csrf_token();
    by_stale_tab(&mut acme, &stale, "amy", None).await;
    let of = RequirementOf::Role(RoleName::parse("admin").unwrap());
    assert!(world.iam.factors(&Actor::service()).require(&of, Duration::ZERO).await.unwrap());
    assert_eq!(by_stale_tab(&mut acme, &stale, "amy", Some("1")).await.set_cookies(), Vec::<String>::new());
    assert_eq!(world.count(long_ones).await, 1);
}

/// What a policy gives is lost with the role, and by a role of ours, from the next request on.
pub async fn a_lost_role_and_a_role_of_ours_end_the_privilege(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (service, auditor) = (Actor::service(), RoleName::parse("auditor").unwrap());
    let (mut gus, _) = bearer(&world, "gus").await;
    let (mut bob, _) = bearer(&world, "bob").await;
    world.later(2 * HOUR);
    assert_eq!((status(&mut gus).await, status(&mut bob).await), (200, 200));
    // They have just been used: it is the ordinary limits that they had outlived before.
    world.iam.roles(&service).revoke(world.account("gus").await, &auditor).await.unwrap();
    let scope = AdministratorScope::Parent;
    world.iam.roles(&service).grant_administrator(world.account("bob").await, scope).await.unwrap();
    assert_eq!((status(&mut gus).await, status(&mut bob).await), (401, 401));
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE end_reason = 'idle'").await, 2);
    // Nor do they get one anew.
    for name in ["gus", "bob"] {
        let (mut client, _) = bearer(&world, name).await;
        assert_eq!(status(&mut client).await, 200);
        assert_eq!(client.get("/api/v1/me").await.json()["session"]["stays_signed_in_until"], Value::Null);
        world.later(2 * HOUR);
        assert_eq!(status(&mut client).await, 401);
    }
    // One that has not outlived anything goes on, as any other.
    world.iam.roles(&service).grant(world.account("max").await, &auditor).await.unwrap();
    let (mut max, _) = bearer(&world, "max").await;
    world.iam.roles(&service).revoke(world.account("max").await, &auditor).await.unwrap();
    world.later(20 * 60);
    assert_eq!(status(&mut max).await, 200);
    world.later(HOUR);
    assert_eq!(status(&mut max).await, 401);
}

/// Beyond the ordinary limits a session has proved nothing lately; a proof counts for the ordinary time and moves no end.
pub async fn beyond_the_ordinary_limits_everything_is_asked_for_again(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (mut first, _) = bearer(&world, "gus").await;
    let (app, id) = add_app(&world, &mut first, "phone").await;
    world.later(60);
    let body = json!({"username": "gus", "password": PASSWORD, "token": true});
    let half = world.browser().post_json("/api/v1/auth/login", &body).await.json();
    let mut half = with_token(&world, half["mfa_token"].as_str().unwrap());
    let whole = verify(&mut half, &app.code(&world, 0)).await.json();
    assert_eq!(whole["expires_in"], json!(90 * DAY), "{whole}");
    let mut gus = with_token(&world, whole["session_token"].as_str().unwrap());
    let assurance =
        async |gus: &mut Browser| gus.get("/api/v1/me").await.json()["session"]["assurance"].clone();
    assert_eq!(assurance(&mut gus).await, "aal2");

    world.later(2 * HOUR);
    assert_eq!(gus.get("/reports").await.status, 200, "what asks for nothing of that goes on");
    assert_eq!(assurance(&mut gus).await, "aal1");
    // And again, now that it is in use.
    assert_eq!(assurance(&mut gus).await, "aal1");
    let stale = |answer: &Answer| {
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        answer.status == 401 && challenge.contains("insufficient_user_authentication")
    };
    let sessions = send_json(&mut gus, "DELETE", "/api/v1/account/sessions", &json!({})).await;
    assert!(stale(&sessions), "{} {}", sessions.status, sessions.body);
    let path = format!("/api/v1/account/factors/{id}");
    let named = send_json(&mut gus, "PATCH", &path, &json!({"name": "mine"})).await;
    assert!(stale(&named), "{} {}", named.status, named.body);

    // The password proves no factor ...
    let proved = gus.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await.json();
    let mut gus = with_token(&world, proved["session_token"].as_str().unwrap());
    assert_eq!(assurance(&mut gus).await, "aal1");
    assert_eq!(send_json(&mut gus, "PATCH", &path, &json!({"name": "mine"})).await.status, 204);
    assert!(stale(&send_json(&mut gus, "DELETE", &path, &json!({})).await), "nor does it take one away");
    // ... which who must have one is asked for.
    let of = RequirementOf::Role(RoleName::parse("auditor").unwrap());
    assert!(world.iam.factors(&Actor::service()).require(&of, Duration::ZERO).await.unwrap());
    let due = gus.get("/reports").await;
    assert_eq!((due.status, &due.json()["code"]), (401, &json!("mfa_required")), "{}", due.body);
    let proved = verify(&mut gus, &app.code(&world, 0)).await;
    assert_eq!(proved.status, 200, "{}", proved.body);
    let mut gus = with_token(&world, proved.json()["session_token"].as_str().unwrap());
    assert_eq!((gus.get("/reports").await.status, assurance(&mut gus).await), (200, json!("aal2")));
    world.later(30 * 60 - 1);
    assert_eq!(gus.get("/reports").await.status, 200);
    // With use all the while until its time is over.
    for _ in 0..23 {
        world.later(30 * 60);
        assert_eq!(gus.get("/reports").await.status, 200);
    }
    world.later(60);
    assert_eq!(gus.get("/reports").await.json()["code"], "mfa_required");

    // No proof moves the end: the last of all comes a day before it.
    for _ in 0..3 {
        world.later(29 * DAY);
        assert_eq!(gus.get("/reports").await.json()["code"], "mfa_required");
    }
    world.later(2 * DAY);
    let proved = verify(&mut gus, &app.code(&world, 0)).await.json();
    let mut gus = with_token(&world, proved["session_token"].as_str().unwrap());
    assert_eq!(gus.get("/reports").await.status, 200);
    assert!(proved["expires_in"].as_u64().unwrap() < DAY, "{proved}");
    world.later(DAY);
    assert_eq!(status(&mut gus).await, 401);
}

/// The next token comes with an answer once a day, whoever's the route is. A lost answer loses nobody.
pub async fn a_token_is_replaced_once_a_day(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (mut one, _) = bearer(&world, "gus").await;
    let next = |answer: &Answer| answer.header(NEXT).map(str::to_owned);
    world.later(DAY - 1);
    assert_eq!(next(&one.get("/reports").await), None);
    world.later(1);
    // Where tokens are renewed anyway none comes.
    let refused = one.post_json("/api/v1/auth/reauthenticate", &json!({"password": "wrong"})).await;
    assert_eq!((refused.status, next(&refused)), (401, None));
    let answer = one.get("/reports").await;
    assert_eq!((answer.status, answer.set_cookies()), (200, Vec::new()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let lost = next(&answer).expect("a token");
    // The answer was lost: the old one counts, and gets another one after an hour.
    assert_eq!(next(&one.get("/reports").await), None);
    world.later(HOUR - 1);
    assert_eq!(next(&one.get("/reports").await), None);
    world.later(1);
    let answer = one.get("/api/v1/me").await;
    let second = next(&answer).expect("another token, on a route of ours");
    assert_ne!(second, lost);
    assert_eq!(status(&mut with_token(&world, &lost)).await, 401, "nobody has it");
    let mut two = with_token(&world, &second);
    assert_eq!(next(&two.get("/reports").await), None, "it is used, and goes on for a day");
    world.later(DAY - 1);
    assert_eq!(next(&two.get("/reports").await), None);
    world.later(1);
    // On a refusal, too, and on an unsafe route of the host's.
    let refused = two.get("/documents/1").await;
    assert_eq!((refused.status, next(&refused).is_some()), (403, true));
    world.later(HOUR);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let posted = two.send("POST", "/reports", &form, b"title=x".to_vec()).await;
    assert_eq!(posted.status, 201, "{}", posted.body);
    let mut three = with_token(&world, &next(&posted).expect("a token"));
    assert_eq!(three.get("/reports").await.status, 200);
    // Proving again begins anew.
    world.later(DAY);
    let proved = three.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await;
    assert_eq!((proved.status, next(&proved)), (200, None));
    let mut four = with_token(&world, proved.json()["session_token"].as_str().unwrap());
    world.later(DAY - 1);
    assert_eq!(next(&four.get("/reports").await), None);
    assert_eq!(world.count("SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL").await, 1);
    let ordinary = world.signed_in("max").await;
    world.later(60);
    assert_eq!(ordinary.clone().open("/").await.set_cookies(), Vec::<String>::new());
}

/// In a browser it is the cookie, and a form that was open goes on.
pub async fn a_cookie_is_replaced_once_a_day_and_open_forms_go_on(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (mut amy, _) = tick(&world, "amy").await;
    let first = amy.session_cookie().unwrap().to_owned();
    let open = amy.open("/reports").await.csrf_token();
    world.later(DAY);
    let answer = amy.open("/reports").await;
    let cookie = session_cookie_of(&answer);
    assert!(cookie.ends_with(&format!("HttpOnly; SameSite=Lax; Path=/; Max-Age={}", 89 * DAY)), "{cookie}");
    assert_eq!((answer.header(NEXT), answer.header("cache-control")), (None, Some("no-store")));
    assert_ne!(amy.session_cookie().unwrap(), first);
    let on_this = answer.csrf_token();
    for token in [&open, &on_this] {
        let posted = amy.submit_with("/reports", &[("title", "x"), ("csrf_token", token)], &[]).await;
        assert_eq!(posted.status, 201, "{}", posted.body);
    }
    let fresh = amy.open("/reports").await.csrf_token();
    world.later(DAY);
    assert_eq!(amy.open("/reports").await.status, 200);
    for (token, expected) in [(&open, 403), (&fresh, 201)] {
        let posted = amy.submit_with("/reports", &[("title", "x"), ("csrf_token", token)], &[]).await;
        assert_eq!(posted.status, expected, "{}", posted.body);
    }
    // A form of ours is answered by the one new cookie.
    world.later(DAY);
    let page = amy.open("/auth/reauthenticate").await;
    let fields = [("password", PASSWORD), ("csrf_token", &page.csrf_token())];
    let proved = amy.submit("/auth/reauthenticate", &fields).await;
    assert_eq!(proved.status, 303, "{}", proved.body);
    let set = proved.set_cookies().into_iter().filter(|line| line.starts_with("iam_session=")).count();
    assert_eq!(set, 1);
    assert!(session_cookie_of(&proved).contains(&format!("Max-Age={}", 87 * DAY)));
    assert_eq!(amy.open("/auth/account").await.status, 200);
}

/// Of any number of requests at once one brings the next token; all are answered.
pub async fn of_requests_at_once_one_brings_the_next_token(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (client, _) = bearer(&world, "gus").await;
    world.later(DAY);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut client = client.clone();
        tasks.spawn(async move { client.get("/reports").await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let tokens: Vec<_> = answers.iter().filter_map(|answer| answer.header(NEXT)).collect();
    assert_eq!(tokens.len(), 1);
    let mut next = with_token(&world, tokens[0]);
    assert_eq!(next.get("/reports").await.status, 200);
    // One that was under way is refused, and ends nothing.
    world.later(9);
    assert_eq!(status(&mut client.clone()).await, 401);
    assert_eq!(status(&mut next).await, 200);
}

/// Who shows a token that was replaced has a copy: the session ends, and its owner is told.
pub async fn a_copy_of_a_token_ends_the_session(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    with_address(&world, "ida", "ida@example.com").await;
    let auditor = RoleName::parse("auditor").unwrap();
    world.iam.roles(&Actor::service()).grant(world.account("ida").await, &auditor).await.unwrap();
    let (mut owner, stolen) = bearer(&world, "ida").await;
    let (mut elsewhere, _) = bearer(&world, "ida").await;
    let mut thief = with_token(&world, &stolen);
    world.later(DAY);
    let next = owner.get("/reports").await.header(NEXT).unwrap().to_owned();
    assert_eq!(status(&mut thief).await, 200, "which of both it is can't be told yet");
    let mut owner = with_token(&world, &next);
    assert_eq!(status(&mut owner).await, 200);
    world.later(10);
    let refused = thief.get("/reports").await;
    assert_eq!((refused.status, refused.header(NEXT)), (401, None));
    assert_eq!(status(&mut owner).await, 401);
    assert_eq!(status(&mut elsewhere).await, 200, "nothing else ends");
    let ended = "SELECT count(*) FROM iam_auth_session WHERE end_reason = 'token_reused'";
    assert_eq!(world.count(ended).await, 1);
    let log = world.log().await;
    let logged = log.iter().filter(|entry| entry.reason.as_deref() == Some("token_reused"));
    assert_eq!(logged.map(|entry| entry.event.as_str()).collect::<Vec<_>>(), ["session_revoked"]);
    while world.iam.deliver().await.unwrap() > 0 {}
    until(async || world.notices().contains(&"session_copied")).await;

    // The thief may be the first: then it is the owner who finds out.
    let (mut owner, stolen) = bearer(&world, "ida").await;
    world.later(DAY);
    let mut thief = with_token(&world, &stolen);
    let next = thief.get("/reports").await.header(NEXT).unwrap().to_owned();
    let mut thief = with_token(&world, &next);
    assert_eq!((status(&mut thief).await, status(&mut owner).await), (200, 401));
    world.later(10);
    assert_eq!((status(&mut owner).await, status(&mut thief).await), (401, 401));
    assert_eq!(world.count(ended).await, 2);
}

/// Upkeep ends what ran out by its own limit, and leaves the rest.
pub async fn upkeep_leaves_long_sessions_their_time(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, long).await;
    let (mut gus, _) = bearer(&world, "gus").await;
    let _other = world.signed_in("gus").await;
    world.later(29 * DAY);
    let live = "SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL";
    while world.iam.upkeep().await.unwrap().is_more_waiting() {}
    assert_eq!(world.count(live).await, 1);
    assert_eq!(status(&mut gus).await, 200);
    world.later(30 * DAY + 61);
    while world.iam.upkeep().await.unwrap().is_more_waiting() {}
    assert_eq!(world.count(live).await, 0);
}
