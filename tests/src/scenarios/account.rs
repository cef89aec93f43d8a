use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;

use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const NEW: &str = "a wholly different pass phrase";

async fn delete(browser: &mut Browser, path: &str) -> Answer {
    let origin = browser.origin();
    browser.send("DELETE", path, &[("origin", &origin)], Vec::new()).await
}

async fn listed(browser: &mut Browser) -> Vec<serde_json::Value> {
    let answer = browser.get("/api/v1/account/sessions").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["sessions"].as_array().unwrap().clone()
}

/// A client that holds a token instead of cookies.
pub(super) async fn bearer(world: &World, name: &str) -> (Browser, String) {
    let body = json!({"username": name, "password": PASSWORD, "token": true});
    let headers = [("content-type", "application/json")];
    let answer = world.browser().send("POST", "/api/v1/auth/login", &headers, body.to_string().into()).await;
    assert_eq!((answer.status, answer.set_cookies()), (200, Vec::new()), "{}", answer.body);
    let token = answer.json()["session_token"].as_str().unwrap().to_owned();
    (world.browser().with_header("authorization", &format!("Bearer {token}")), token)
}

/// SES-08: see them, end one, end all others.
pub async fn people_see_and_end_their_own_sessions(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut here = world.signed_in("bob").await;
    world.later(60);
    let mut phone = world.signed_in("bob").await;
    let mut tablet = world.signed_in("bob").await;
    let mut amy = world.signed_in("amy").await;

    let sessions = listed(&mut here).await;
    assert_eq!(sessions.len(), 3);
    assert_eq!(sessions.iter().filter(|session| session["current"] == true).count(), 1);
    assert_eq!(sessions[2]["current"], true, "the oldest comes last");
    assert_eq!(sessions[0]["address"], "127.0.0.1");

    let not_mine = listed(&mut amy).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(delete(&mut here, &format!("/api/v1/account/sessions/{not_mine}")).await.status, 404);
    assert_eq!(amy.get("/reports").await.status, 200, "nobody else's");
    for wrong in ["x", "00000000-0000-0000-0000-000000000000", &not_mine.to_uppercase()] {
        assert_eq!(delete(&mut here, &format!("/api/v1/account/sessions/{wrong}")).await.status, 404);
    }

    let of_phone = listed(&mut phone).await;
    let of_phone =
        of_phone.iter().find(|session| session["current"] == true).unwrap()["id"].as_str().unwrap();
    let path = format!("/api/v1/account/sessions/{of_phone}");
    let foreign = here.send("DELETE", &path, &[("origin", "http://evil.example")], Vec::new()).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(delete(&mut here, &path).await.status, 204);
    assert_eq!(phone.get("/api/v1/me").await.status, 401, "on the very next request");
    assert_eq!(delete(&mut here, &path).await.status, 404, "once");

    // By the page, too: the button of the one that is not this one.
    let page = tablet.open("/auth/account").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("127.0.0.1") && page.body.contains("bob"));
    let token = page.csrf_token();
    let ended = tablet.submit("/auth/account/sessions/end-others", &[("csrf_token", &token)]).await;
    assert_eq!((ended.status, ended.location()), (303, "/auth/account?done=sessions"));
    assert!(tablet.open("/auth/account?done=sessions").await.body.contains("All other sessions have ended."));
    assert_eq!(here.get("/api/v1/me").await.status, 401);
    assert_eq!(listed(&mut tablet).await.len(), 1);
    assert_eq!(delete(&mut tablet, "/api/v1/account/sessions").await.json()["ended"], 0);
    assert_eq!(world.logged("session_revoked").await, 2);
}

/// Ending sessions asks for a proof of the last quarter of an hour; that gives the session another token.
pub async fn what_ends_sessions_asks_for_a_fresh_proof(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut here = world.signed_in("bob").await;
    let mut there = world.signed_in("bob").await;
    world.later(16 * 60);
    there.get("/api/v1/me").await;
    let refused = delete(&mut here, "/api/v1/account/sessions").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("reauthentication_required")));
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_user_authentication") && challenge.contains("max_age=900"));
    assert_eq!(here.get("/api/v1/me").await.status, 200, "still signed in");

    let page = here.open("/auth/account").await;
    let token = page.csrf_token();
    let sent = here.submit("/auth/account/sessions/end-others", &[("csrf_token", &token)]).await;
    assert_eq!((sent.status, sent.location()), (303, "/auth/reauthenticate?next=/auth/account"));
    let page = here.open(sent.location()).await;
    assert!(page.body.contains("Confirm that it is you"));
    let token = page.csrf_token();
    let path = "/auth/reauthenticate";
    let wrong =
        here.submit(path, &[("csrf_token", &token), ("password", "wrong"), ("next", "/auth/account")]).await;
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.body.contains("The password is not right")
            && wrong.body.contains("value=\"&#x2f;auth&#x2f;account\"")
    );
    let old = here.clone();
    let fields = [("csrf_token", token.as_str()), ("password", PASSWORD), ("next", "/auth/account")];
    let proved = here.submit(path, &fields).await;
    assert_eq!((proved.status, proved.location()), (303, "/auth/account"));
    assert_ne!(old.session_cookie(), here.session_cookie());
    assert_eq!(old.clone().get("/api/v1/me").await.status, 401, "the old token is dead");
    let stale = here.submit(path, &fields).await;
    assert_eq!(stale.status, 403, "so is the old form token");

    assert_eq!(delete(&mut here, "/api/v1/account/sessions").await.json()["ended"], 1);
    let proof = json!({"password": PASSWORD});
    assert_eq!(here.post_json("/api/v1/auth/reauthenticate", &proof).await.status, 200);
    assert_eq!((world.logged("authn_reauth_success").await, world.logged("authn_reauth_fail").await), (2, 1));
    let evil = json!({"password": PASSWORD, "next": "/"});
    assert_eq!(here.post_json("/api/v1/auth/reauthenticate", &evil).await.status, 422);
    for next in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let token = here.open("/auth/account").await.csrf_token();
        let fields = [("csrf_token", token.as_str()), ("password", PASSWORD), ("next", next)];
        assert_eq!(here.submit(path, &fields).await.location(), "/auth/account", "{next}");
    }
}

/// PW-09: the current one is needed, all other sessions end, guesses are counted.
pub async fn people_change_their_own_password(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut here = world.signed_in("bob").await;
    let mut there = world.signed_in("bob").await;
    let path = "/api/v1/account/password";
    let body = |current: &str, new: &str| json!({"current_password": current, "new_password": new});

    let short = here.post_json(path, &body(PASSWORD, "short")).await;
    assert_eq!((short.status, short.json()["errors"][0]["field"].as_str()), (422, Some("new_password")));
    assert_eq!(short.json()["errors"][0]["code"], "too_short");
    for (common, code) in [
        ("passwordpassword", "too_common"),
        ("bob-bob-bob-bob-bob", "context"),
        ("acmeacmeacmeacme", "context"),
    ] {
        let refused = here.post_json(path, &body(PASSWORD, common)).await;
        assert_eq!(
            (refused.status, refused.json()["errors"][0]["code"].as_str()),
            (422, Some(code)),
            "{common}"
        );
    }
    assert_eq!(here.post_json(path, &body("wrong", NEW)).await.status, 401);
    assert_eq!(there.get("/api/v1/me").await.status, 200, "nothing happened");

    let before = here.clone();
    let changed = here.post_json(path, &body(PASSWORD, NEW)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(here.get("/api/v1/me").await.status, 200, "this session goes on");
    assert_eq!(before.clone().get("/api/v1/me").await.status, 401, "under another token");
    assert_eq!(there.get("/api/v1/me").await.status, 401, "the others end");
    assert_eq!(world.browser().api_sign_in("bob", PASSWORD).await.status, 401);
    assert_eq!(world.browser().api_sign_in("bob", NEW).await.status, 200);
    assert_eq!(world.logged("authn_password_change").await, 1);

    // By the page: what is wrong is said at its field, and the new CSRF token works.
    let token = here.open("/auth/account").await.csrf_token();
    let fields = |token: &str, current: &str, new: &str| {
        [
            ("csrf_token", token.to_owned()),
            ("current_password", current.to_owned()),
            ("new_password", new.to_owned()),
        ]
    };
    for (current, new, status, text) in [
        ("", "", 422, "Enter your current password."),
        (NEW, "short", 422, "Use at least 15 characters"),
        ("wrong wrong wrong", PASSWORD, 401, "The current password is not right"),
    ] {
        let fields = fields(&token, current, new);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = here.submit("/auth/account/password", &fields).await;
        assert_eq!(page.status, status, "{text}");
        assert!(page.body.contains(text), "{text}");
        assert!(!page.body.contains("wrong wrong wrong"), "no password comes back");
    }
    let fields = fields(&token, NEW, PASSWORD);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = here.submit("/auth/account/password", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/auth/account?done=password"));

    // Five wrong ones, then even the right one waits.
    world.later(600);
    for _ in 0..5 {
        assert_eq!(here.post_json(path, &body("wrong", NEW)).await.status, 401);
    }
    let refused = here.post_json(path, &body(PASSWORD, NEW)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    let proof = json!({"password": PASSWORD});
    assert_eq!(here.post_json("/api/v1/auth/reauthenticate", &proof).await.status, 429, "one budget");
    world.later(1);
    assert_eq!(here.post_json("/api/v1/auth/reauthenticate", &proof).await.status, 200);
}

/// Of two changes at once one counts, and nobody is left with a session of the other.
pub async fn of_two_changes_of_a_password_one_counts(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let path = "/api/v1/account/password";
    let mut tries = Vec::new();
    let start = Arc::new(Barrier::new(4));
    for n in 0..4 {
        let (mut browser, start) = (world.signed_in("bob").await, Arc::clone(&start));
        tries.push(tokio::spawn(async move {
            start.wait().await;
            let new = format!("a new pass phrase, number {n}");
            let answer =
                browser.post_json(path, &json!({"current_password": PASSWORD, "new_password": new})).await;
            (answer.status, new, browser)
        }));
    }
    let mut winners = Vec::new();
    for attempt in tries {
        let (status, new, mut browser) = attempt.await.unwrap();
        let alive = browser.get("/api/v1/me").await.status == 200;
        assert_eq!(alive, status == 200, "{status}");
        assert!(matches!(status, 200 | 401 | 409), "{status}");
        if status == 200 {
            winners.push(new);
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(world.browser().api_sign_in("bob", &winners[0]).await.status, 200);
}

/// An application that is used daily outlives browsers that nobody came back to, though they signed in later.
pub async fn of_too_many_sessions_the_one_unused_for_longest_ends(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut used = world.signed_in("bob").await;
    world.later(1);
    let mut unused = world.signed_in("bob").await;
    for _ in 0..8 {
        world.later(1);
        world.signed_in("bob").await;
    }
    world.later(120);
    assert_eq!(used.get("/api/v1/me").await.status, 200);
    world.later(1);
    let mut new = world.signed_in("bob").await;
    let mut statuses = Vec::new();
    for browser in [&mut used, &mut unused, &mut new] {
        statuses.push(browser.get("/api/v1/me").await.status);
    }
    assert_eq!(statuses, [200, 401, 200]);
}

/// Use within a minute after the last note of it is not noted: nobody is signed out at work for that.
pub async fn the_session_that_is_in_use_is_not_the_one_unused_for_longest(
    adapter: Adapter,
    backend: Backend,
) {
    let world = World::new(adapter, backend).await;
    let mut working = world.signed_in("bob").await;
    for _ in 0..10 {
        assert_eq!(working.get("/api/v1/me").await.status, 200);
        world.later(2);
        world.signed_in("bob").await;
        world.later(2);
    }
    assert_eq!(working.get("/api/v1/me").await.status, 200);
}

/// SES-08: ten at most, also when thirty sign in at once.
pub async fn the_oldest_of_too_many_sessions_end(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browsers = Vec::new();
    for _ in 0..12 {
        world.later(1);
        browsers.push(world.signed_in("bob").await);
    }
    for (n, browser) in browsers.iter_mut().enumerate() {
        let expected = if n < 2 { 401 } else { 200 };
        assert_eq!(browser.get("/api/v1/me").await.status, expected, "session {n}");
    }
    let start = Arc::new(Barrier::new(30));
    let tries: Vec<_> = (0..30)
        .map(|n| {
            // Devices that are known, so that the limit on strangers is not what decides.
            let (mut browser, start) = (browsers[n % 12].clone(), Arc::clone(&start));
            tokio::spawn(async move {
                browser.cookies.remove("iam_session");
                start.wait().await;
                browser.api_sign_in("bob", PASSWORD).await.status
            })
        })
        .collect();
    for attempt in tries {
        let status = attempt.await.unwrap();
        assert!(matches!(status, 200 | 429), "{status}");
    }
    let live = "SELECT count(*) FROM iam_auth_session WHERE ended_at IS NULL";
    assert_eq!(world.count(live).await, 10);
}

/// A native client's whole life: no cookie, no CSRF token, and never the cookie in place of the header.
pub async fn native_clients_live_by_bearer_tokens(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (mut client, token) = bearer(&world, "amy").await;
    let me = client.get("/api/v1/me").await;
    assert_eq!((me.status, me.json()["account"]["username"].as_str()), (200, Some("amy")));
    assert_eq!(client.get("/reports").await.status, 200);
    assert_eq!(client.get("/documents/1").await.status, 200);
    assert_eq!(client.get("/documents/2").await.status, 403);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let posted = client.send("POST", "/reports", &form, b"title=x".to_vec()).await;
    assert_eq!((posted.status, posted.set_cookies()), (201, Vec::new()), "no other site can send the header");
    let foreign = [form[0], ("origin", "http://evil.example")];
    assert_eq!(client.send("POST", "/reports", &foreign, b"title=x".to_vec()).await.status, 201);

    // It is renewed, and its old self is dead.
    let json = [("content-type", "application/json")];
    let body = json!({"password": PASSWORD}).to_string();
    let renewed = client.send("POST", "/api/v1/auth/reauthenticate", &json, body.into()).await;
    assert_eq!((renewed.status, renewed.set_cookies()), (200, Vec::new()), "{}", renewed.body);
    let new = renewed.json()["session_token"].as_str().unwrap().to_owned();
    let dead = client.get("/api/v1/me").await;
    assert_eq!((dead.status, dead.header("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    let mut client = world.browser().with_header("authorization", &format!("Bearer {new}"));
    let listed = client.get("/api/v1/account/sessions").await.json();
    assert_eq!(listed["sessions"][0]["current"], true);

    // Beside a cookie of somebody else's, only the header counts, right or wrong.
    let bob = world.signed_in("bob").await;
    let mut both = bob.clone().with_header("authorization", &format!("Bearer {new}"));
    assert_eq!(both.get("/api/v1/me").await.json()["account"]["username"], "amy");
    for wrong in [
        format!("Bearer {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Basic YW15OnB3".to_owned(),
        format!("bearer  {new}"),
        format!("Bearer {new} "),
        format!("Bearer {new}x"),
        new.clone(),
        String::new(),
    ] {
        let mut both = bob.clone().with_header("authorization", &wrong);
        let answer = both.get("/api/v1/me").await;
        // A client library may trim white space at the end, which is then right.
        let trimmed = wrong.trim_end() == format!("Bearer {new}");
        assert_eq!(answer.status, if trimmed { 200 } else { 401 }, "{wrong:?}");
    }
    let mut twice = bob.clone();
    twice.headers.push(("authorization".into(), format!("Bearer {new}")));
    twice.headers.push(("authorization".into(), format!("Bearer {new}")));
    assert_eq!(twice.get("/api/v1/me").await.status, 401, "which of two counts can't be told");
    let case = world.browser().with_header("authorization", &format!("bEARER {new}")).get("/api/v1/me").await;
    assert_eq!(case.status, 200, "the scheme's case does not matter");

    // Signing out by the header leaves the browser's cookie alone.
    let left = both.send("POST", "/api/v1/auth/logout", &[], Vec::new()).await;
    assert_eq!((left.status, left.set_cookies()), (204, Vec::new()));
    assert_eq!(client.get("/api/v1/me").await.status, 401);
    assert_eq!(bob.clone().get("/api/v1/me").await.status, 200);
}

/// A sign-in for a token is a sign-in like any other: counted, audited, one pipeline.
pub async fn a_sign_in_for_a_token_is_limited_alike(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let json = [("content-type", "application/json")];
    let body = json!({"username": "bob", "password": "wrong", "token": true}).to_string();
    for n in 0..6 {
        let answer = world.browser().send("POST", "/api/v1/auth/login", &json, body.clone().into()).await;
        assert_eq!(answer.status, if n < 5 { 401 } else { 429 });
        assert_eq!(answer.set_cookies(), Vec::<String>::new());
    }
    assert_eq!(world.logged("authn_login_fail").await, 5);
    for wrong in [json!("true"), json!(1), json!(null), json!({})] {
        let body = json!({"username": "amy", "password": PASSWORD, "token": wrong}).to_string();
        let answer = world.browser().send("POST", "/api/v1/auth/login", &json, body.into()).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (422, Some("token")));
    }
}

/// LG-06: the first administrator comes by a link that works once, for a day, and never again.
pub async fn the_first_administrator_comes_by_a_link(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let service = iam_core::Actor::service();
    let issue = || async { world.iam.setup(&service).issue_token().await.unwrap() };
    let link = |token: &iam_core::protocol::TicketToken| format!("/auth/setup/{}", token.expose().as_str());
    let void = link(&issue().await.unwrap());
    let old = link(&issue().await.unwrap());
    world.later(86_400);
    assert_eq!(world.browser().open(&old).await.status, 404, "a day old");
    let good = link(&issue().await.unwrap());

    let mut browser = world.browser();
    for wrong in
        [void.as_str(), "/auth/setup/x", &format!("{good}A"), &good[..good.len() - 1], "/auth/setup/"]
    {
        let answer = browser.open(wrong).await;
        assert_eq!(answer.status, 404, "{wrong}");
        let token = world.browser().open("/auth/login").await.csrf_token();
        let posted =
            browser.submit(wrong, &[("csrf_token", &token), ("username", "root"), ("password", NEW)]).await;
        assert!(matches!(posted.status, 403 | 404), "{wrong}: {}", posted.status);
    }
    for _ in 0..3 {
        let page = browser.open(&good).await;
        assert_eq!((page.status, page.header("referrer-policy")), (200, Some("no-referrer")));
        assert!(!page.body.contains(&good[12..]), "the page does not show its own address");
    }
    let token = browser.open(&good).await.csrf_token();
    for (name, password, text) in [
        ("", "", "Choose a user name."),
        ("ro ot", NEW, "no spaces"),
        ("root", "short", "at least 15 characters"),
        ("root", "rootrootrootroot", "made of a name"),
        ("amy", NEW, "There is an account of this name already."),
    ] {
        let fields = [("csrf_token", token.as_str()), ("username", name), ("password", password)];
        let page = browser.submit(&good, &fields).await;
        assert_eq!(page.status, 422, "{text}");
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
    let fields = [("csrf_token", token.as_str()), ("username", "root"), ("password", NEW)];
    let foreign = browser.submit_with(&good, &fields, &[("origin", "http://evil.example")]).await;
    assert_eq!(foreign.status, 403);
    assert!(
        world.log().await.iter().all(|entry| !entry.reason.as_deref().unwrap_or("").contains(&good[12..]))
    );

    // Many at once with the same link: one administrator.
    let start = Arc::new(Barrier::new(8));
    let tries: Vec<_> = (0..8)
        .map(|n| {
            let (mut browser, good, token) = (browser.clone(), good.clone(), token.clone());
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                let name = format!("root{n}");
                let fields = [("csrf_token", token.as_str()), ("username", &name), ("password", NEW)];
                (browser.submit(&good, &fields).await, name)
            })
        })
        .collect();
    let mut made = Vec::new();
    for attempt in tries {
        let (answer, name) = attempt.await.unwrap();
        match answer.status {
            303 => {
                assert_eq!(answer.location(), "/auth/login?set_up=1");
                made.push(name);
            }
            404 => {}
            other => panic!("{other}: {}", answer.body),
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    let admin = world.browser().api_sign_in(&made[0], NEW).await;
    assert_eq!(admin.status, 200);
    assert!(issue().await.is_none(), "there is one now");
    assert_eq!(browser.open(&good).await.status, 404);
}
