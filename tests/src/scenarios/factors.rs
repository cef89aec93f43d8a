use std::sync::Arc;
use std::time::{Duration, Instant};

use iam_core::ports::SendError;
use iam_core::{Actor, EmailAddress, FactorLimits, NewAccount, PlainPassword, Username};
use iam_mfa::{MemoryOutcome, Smtp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::app::App;
use crate::mail_server::{Act, MailServer};
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

pub(super) const VERIFY: &str = "/api/v1/auth/mfa/verify";
pub(super) const CHALLENGE: &str = "/api/v1/auth/mfa/challenge";
pub(super) const FACTORS: &str = "/api/v1/account/factors";

pub(super) async fn send_json(browser: &mut Browser, method: &str, path: &str, body: &Value) -> Answer {
    let origin = browser.origin();
    let headers = [("content-type", "application/json"), ("origin", origin.as_str())];
    browser.send(method, path, &headers, body.to_string().into_bytes()).await
}

/// Sets up an app for somebody who has just signed in.
pub(super) async fn add_app(world: &World, browser: &mut Browser, name: &str) -> (App, String) {
    let begun = browser.post_json(FACTORS, &json!({"kind": "totp", "name": name})).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let secret = begun.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 32, "160 bits");
    assert!(begun.json()["otpauth_uri"].as_str().unwrap().starts_with("otpauth://totp/"));
    let (app, id) = (App::from_base32(&secret), begun.json()["id"].as_str().unwrap().to_owned());
    let done =
        browser.post_json(&format!("{FACTORS}/{id}/confirm"), &json!({"code": app.code(world, 0)})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    (app, id)
}

/// Somebody with an app, whose code of this moment is used up, half a minute later.
pub(super) async fn with_app(world: &World, name: &str) -> App {
    let mut browser = world.signed_in(name).await;
    let (app, _) = add_app(world, &mut browser, "phone").await;
    world.later(60);
    app
}

/// A browser whose second factor is due.
pub(super) async fn half_way(world: &World, name: &str) -> Browser {
    let mut browser = world.browser();
    let answer = browser.api_sign_in(name, PASSWORD).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("mfa_required")), "{}", answer.body);
    browser
}

pub(super) async fn verify(browser: &mut Browser, code: &str) -> Answer {
    browser.post_json(VERIFY, &json!({ "code": code, "method": "totp" })).await
}

/// Somebody with a verified address.
pub(super) async fn with_address(world: &World, name: &str, address: &str) {
    let new = NewAccount::new(Username::parse(name).unwrap())
        .password(PlainPassword::new(PASSWORD).unwrap())
        .verified_email(EmailAddress::parse(address).unwrap());
    world.iam.accounts(&Actor::service()).create(new).await.unwrap();
}

/// Waits for the next code by e-mail.
pub(super) async fn mailed(world: &World, known: usize) -> String {
    for _ in 0..500 {
        let codes = world.codes();
        if codes.len() > known {
            return codes.last().unwrap().clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no code came")
}

/// An app is added, asked for from then on, and all other sessions end.
pub async fn an_app_is_added_and_asked_for(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut elsewhere = world.signed_in("amy").await;
    let mut browser = world.signed_in("amy").await;
    let before = browser.session_cookie().unwrap().to_owned();
    let unconfirmed = browser.post_json(FACTORS, &json!({"kind": "totp", "name": "old phone"})).await;
    assert_eq!(unconfirmed.status, 201);
    assert_eq!(
        half_signed_in(&world, "amy").await,
        "authenticated",
        "what nobody confirmed is not asked for"
    );
    let (app, id) = add_app(&world, &mut browser, "phone").await;
    assert_ne!(browser.session_cookie().unwrap(), before, "another token");
    assert_eq!(elsewhere.get("/api/v1/me").await.status, 401, "ended");
    let me = browser.get("/api/v1/me").await;
    assert_eq!((me.status, &me.json()["session"]["amr"]), (200, &json!(["pwd", "otp", "mfa"])));
    let listed = browser.get(FACTORS).await.json();
    assert_eq!(listed["factors"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["factors"][0]["id"], &listed["factors"][0]["name"]), (&json!(id), &json!("phone")));
    assert!(!listed.to_string().contains("secret"));

    world.later(60);
    let mut browser = world.browser();
    let answer = browser.api_sign_in("amy", PASSWORD).await;
    assert_eq!(answer.json()["methods"], json!(["totp"]));
    // What the password alone gave opens nothing but the second factor.
    assert!(
        answer.set_cookies().iter().all(|line| !line.starts_with("iam_device")),
        "{:?}",
        answer.set_cookies()
    );
    for path in ["/reports", "/documents/1", "/api/v1/me", "/api/v1/account/sessions", FACTORS] {
        let refused = browser.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
    }
    let wrong = verify(&mut browser, &app.wrong(&world)).await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &json!("invalid_code")));
    let pending = browser.session_cookie().unwrap().to_owned();
    let done = verify(&mut browser, &app.code(&world, 0)).await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("authenticated")), "{}", done.body);
    assert_ne!(browser.session_cookie().unwrap(), pending);
    assert_eq!(browser.get("/reports").await.status, 200);
    let mut old = world.browser();
    old.cookies.insert("iam_session".into(), pending);
    assert_eq!(old.get("/api/v1/me").await.status, 401);
    assert_eq!(verify(&mut old, &app.code(&world, 1)).await.status, 401, "it is over");
    let me = browser.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "otp", "mfa"]));
    for (event, times) in [
        ("mfa_factor_added", 1),
        ("authn_mfa_success", 1),
        ("authn_mfa_fail", 1),
        ("authn_first_factor_success", 1),
    ] {
        assert_eq!(world.logged(event).await, times, "{event}");
    }
}

async fn half_signed_in(world: &World, name: &str) -> String {
    let answer = world.browser().api_sign_in(name, PASSWORD).await;
    answer.json()["status"].as_str().unwrap_or_default().to_owned()
}

/// The same by pages: what was asked for is reached in the end.
pub async fn pages_ask_for_the_second_step(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = world.browser();
    let page = browser.open("/auth/login?next=/reports").await;
    let token = page.csrf_token();
    let fields = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", "/reports")];
    let answer = browser.submit("/auth/login", &fields).await;
    assert_eq!((answer.status, answer.location()), (303, "/auth/mfa/verify?next=/reports"));
    let stopped = browser.open("/reports?a=b").await;
    assert_eq!((stopped.status, stopped.location()), (303, "/auth/mfa/verify?next=/reports%3Fa%3Db"));
    let page = browser.open("/auth/mfa/verify?next=/reports").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("autocomplete=\"one-time-code\"") && page.body.contains("<bdi>amy</bdi>"));
    let token = page.csrf_token();
    let form = |code: &'static str| [("code", code), ("method", "totp"), ("next", "/reports")];
    let forged = browser.submit("/auth/mfa/verify", &form("123456")).await;
    assert_eq!(forged.status, 403, "without its token");
    let empty = browser.submit("/auth/mfa/verify", &[("code", " "), ("csrf_token", &token)]).await;
    assert_eq!(empty.status, 422);
    let wrong_code = app.wrong(&world);
    let fields =
        [("code", wrong_code.as_str()), ("method", "totp"), ("next", "/reports"), ("csrf_token", &token)];
    let wrong = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("That code was not accepted."));
    let right = app.code(&world, 0);
    let fields = [("code", right.as_str()), ("method", "totp"), ("next", "/reports"), ("csrf_token", &token)];
    let done = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/reports"));
    assert_eq!(browser.open("/reports").await.status, 200);
    // Who is signed in already sees no form for signing in, and a cancelled sign-in is gone.
    let mut other = half_way(&world, "amy").await;
    let token = other.open("/auth/mfa/verify").await.csrf_token();
    assert_eq!(other.submit("/auth/logout", &[("csrf_token", &token)]).await.status, 303);
    assert_eq!(verify(&mut other, &app.code(&world, 1)).await.status, 401);
}

/// A native client: a token for the second factor alone, then one for everything.
pub async fn native_clients_verify_by_bearer_tokens(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let body = json!({"username": "amy", "password": PASSWORD, "token": true}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = world.browser().send("POST", "/api/v1/auth/login", &headers, body.into()).await;
    assert_eq!((answer.status, answer.set_cookies()), (200, Vec::new()));
    let answer = answer.json();
    assert_eq!((&answer["status"], &answer["session_token"]), (&json!("mfa_required"), &Value::Null));
    let token = answer["mfa_token"].as_str().unwrap();
    let mut client = world.browser().with_header("authorization", &format!("Bearer {token}"));
    for path in ["/reports", "/api/v1/me", "/api/v1/account/sessions"] {
        assert_eq!(client.get(path).await.status, 401, "{path}");
    }
    let post = async |client: &mut Browser, path: &str, body: Value| {
        client.send("POST", path, &[("content-type", "application/json")], body.to_string().into()).await
    };
    let mut as_cookie = world.browser();
    as_cookie.cookies.insert("iam_session".into(), token.to_owned());
    assert_eq!(
        verify(&mut as_cookie, &app.code(&world, 0)).await.status,
        401,
        "carried otherwise it is nothing"
    );
    let asked = post(&mut client, CHALLENGE, json!({"method": "totp"})).await;
    assert_eq!((asked.status, &asked.json()["resend_after"]), (200, &Value::Null), "{}", asked.body);
    for (body, status) in [
        (json!({"method": "push"}), 422),
        (json!({"method": "email_otp"}), 422),
        (json!({"method": 1}), 422),
        (json!({}), 422),
    ] {
        assert_eq!(post(&mut client, CHALLENGE, body.clone()).await.status, status, "{body}");
    }
    let done = post(&mut client, VERIFY, json!({"code": app.code(&world, 0)})).await;
    assert_eq!((done.status, done.set_cookies()), (200, Vec::new()), "{}", done.body);
    let session = done.json()["session_token"].as_str().unwrap().to_owned();
    assert_ne!(session, token);
    let mut signed_in = world.browser().with_header("authorization", &format!("Bearer {session}"));
    assert_eq!(signed_in.get("/reports").await.status, 200);
    assert_eq!(client.get("/api/v1/me").await.status, 401);
    assert_eq!(post(&mut client, VERIFY, json!({"code": app.code(&world, 1)})).await.status, 401);
}

/// TOTP-03: a code works once, however it is typed, and no older one after it.
pub async fn a_code_of_an_app_works_once(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browser = world.signed_in("amy").await;
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    let mut other = half_way(&world, "amy").await;
    assert_eq!(verify(&mut other, &app.code(&world, 0)).await.status, 401, "used to confirm it");
    world.later(60);
    let code = app.code(&world, 0);
    let wide: String = code.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect();
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let mut second = half_way(&world, "amy").await;
    assert_eq!(verify(&mut second, &spaced).await.status, 200);
    for variant in [code.clone(), spaced, format!(" {code}"), wide] {
        let mut fresh = half_way(&world, "amy").await;
        assert_eq!(verify(&mut fresh, &variant).await.status, 401, "{variant:?}");
    }
    for (steps, status) in [(0, 401), (-1, 401), (1, 200), (0, 401), (2, 401)] {
        let mut fresh = half_way(&world, "amy").await;
        assert_eq!(verify(&mut fresh, &app.code(&world, steps)).await.status, status, "step {steps}");
    }
}

/// OTP-05: of any number of right answers at once, over two processes, one signs in.
pub async fn of_many_right_codes_at_once_one_signs_in(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let beside = world.restarted().await;
    let before = world.count("SELECT count(*) FROM iam_auth_session WHERE state = 'active'").await;
    let one = half_way(&world, "amy").await;
    let code = app.code(&world, 0);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let mut browser = if n % 2 == 0 { world.browser() } else { beside.browser() };
        browser.cookies.clone_from(&one.cookies);
        // Each is another request: equal ones are one that came several times.
        let body = json!({"code": code, "method": "totp"}).to_string() + &" ".repeat(n);
        tasks.spawn(async move {
            let origin = browser.origin();
            let headers = [("content-type", "application/json"), ("origin", origin.as_str())];
            browser.send("POST", VERIFY, &headers, body.into()).await
        });
    }
    let answers = tasks.join_all().await;
    let signed_in = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(signed_in, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 401)));
    let after = world.count("SELECT count(*) FROM iam_auth_session WHERE state = 'active'").await;
    assert_eq!(after - before, 1);
    // And of two sign-ins of one person with one code.
    world.later(60);
    let (code, mut tasks) = (app.code(&world, 0), JoinSet::new());
    for _ in 0..8 {
        let mut browser = half_way(&world, "amy").await;
        let code = code.clone();
        tasks.spawn(async move { verify(&mut browser, &code).await.status });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

/// OTP-03: five tries of a challenge are looked at, whatever comes at once; then the right one is refused, too.
pub async fn of_many_wrong_codes_at_once_five_are_looked_at(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let beside = world.restarted().await;
    let mut one = half_way(&world, "amy").await;
    let mut tasks = JoinSet::new();
    // Each another one: equal requests would wait for each other.
    for (n, code) in app.all_wrong(&world).take(64).enumerate() {
        let mut browser = if n % 2 == 0 { world.browser() } else { beside.browser() };
        browser.cookies.clone_from(&one.cookies);
        tasks.spawn(async move { verify(&mut browser, &code).await });
    }
    let answers = tasks.join_all().await;
    let others =
        answers.iter().filter(|answer| answer.status != 401).map(|answer| (answer.status, answer.json()));
    assert_eq!(others.collect::<Vec<_>>(), []);
    let looked_at = answers.iter().filter(|answer| answer.json()["code"] == "invalid_code").count();
    assert_eq!(looked_at, 5);
    assert_eq!(world.logged("authn_mfa_fail").await, 5);
    let right = verify(&mut one, &app.code(&world, 0)).await;
    assert_eq!((right.status, &right.json()["code"]), (401, &json!("challenge_spent")));
    let asked = one.post_json(CHALLENGE, &json!({"method": "totp"})).await;
    assert_eq!(asked.status, 200);
    assert_eq!(verify(&mut one, &app.code(&world, 0)).await.status, 401, "asking again gives no more tries");
    let mut fresh = half_way(&world, "amy").await;
    assert_eq!(verify(&mut fresh, &app.code(&world, 0)).await.status, 200, "a new sign-in does");
}

/// OTP-04: no sign-in, challenge or factor gives more tries than a day has; then only an administrator helps, or time.
pub async fn endless_sign_ins_give_no_endless_tries(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let (mut looked_at, mut locked) = (0, 0);
    for _ in 0..6 {
        let mut browser = half_way(&world, "amy").await;
        for n in 0..5 {
            let (method, code) = match n % 2 {
                0 => ("totp", app.wrong(&world)),
                _ => ("recovery_code", "AAAAAA-AAAAAA-AAAAAA-AAAAAA".to_owned()),
            };
            let answer = browser.post_json(VERIFY, &json!({"code": code, "method": method})).await;
            match (answer.status, answer.json()["code"].as_str().unwrap()) {
                (401, "invalid_code") => looked_at += 1,
                (429, "mfa_locked") => {
                    assert!(answer.header("retry-after").is_some());
                    locked += 1;
                }
                (401, "unauthenticated") => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(looked_at, 20);
    assert_eq!(locked, 2, "each sign-in dies with it");
    let mut browser = half_way(&world, "amy").await;
    let right = verify(&mut browser, &app.code(&world, 0)).await;
    assert_eq!((right.status, &right.json()["code"]), (429, &json!("mfa_locked")));
    assert_eq!(world.logged("authn_mfa_lock").await, 3);
    // Her other session, and the rest of the house, go on.
    assert_eq!(world.signed_in("bob").await.get("/api/v1/me").await.status, 200);
    let removed = world.iam.factors(&Actor::service()).reset(world.account("amy").await).await.unwrap();
    assert_eq!(removed, 1);
    assert_eq!(half_signed_in(&world, "amy").await, "authenticated");
    assert_eq!(world.logged("mfa_factors_reset").await, 1);
}

/// OTP-04, too: failures in a row end with a right code of the same kind only, and over the ceiling time does not help.
pub async fn failures_in_a_row_end_with_a_right_code_of_the_kind(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, |builder| {
        let mut limits = FactorLimits::default();
        (limits.failures.limit, limits.in_a_row) = (100, 6);
        builder.factor_limits(limits)
    })
    .await;
    let mut browser = world.signed_in("amy").await;
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    let codes = browser.post_json("/api/v1/account/recovery-codes", &json!({})).await.json();
    let mut codes = codes["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap());
    world.later(60);
    let recover = async |code: &str| {
        let mut browser = half_way(&world, "amy").await;
        browser.post_json(VERIFY, &json!({"code": code, "method": "recovery_code"})).await.status
    };
    let guess = async |times: usize| {
        for _ in 0..times {
            let mut browser = half_way(&world, "amy").await;
            assert_eq!(verify(&mut browser, &app.wrong(&world)).await.status, 401);
        }
    };
    guess(5).await;
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200, "begins anew");
    guess(3).await;
    assert_eq!(recover(codes.next().unwrap()).await, 200, "another kind, which ends nothing");
    guess(3).await;
    world.later(90 * 24 * 3600);
    let mut browser = half_way(&world, "amy").await;
    let locked = verify(&mut browser, &app.code(&world, 0)).await;
    assert_eq!((locked.status, locked.header("retry-after")), (429, None), "{}", locked.body);
    assert_eq!(recover(codes.next().unwrap()).await, 200, "what was not guessed at still works");
    world.iam.factors(&Actor::service()).reset(world.account("amy").await).await.unwrap();
    assert_eq!(half_signed_in(&world, "amy").await, "authenticated");
}

/// OTP-07: nobody is sent more than so many codes, and nobody can use up somebody else's.
pub async fn codes_are_sent_so_often_and_no_more(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut eve = world.signed_in("eve").await;
    let begun = eve.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
    let code = mailed(&world, 0).await;
    assert_eq!(eve.post_json(&path, &json!({"code": code})).await.status, 200);

    // A stranger who types her address again and again: with a cool-down, and only so often.
    let mut stranger = world.signed_in("max").await;
    let body = json!({"kind": "email_otp", "email": "eve@example.com"});
    let mut statuses = Vec::new();
    for _ in 0..9 {
        statuses.push(stranger.post_json(FACTORS, &body).await.status);
        world.later(29);
        assert_eq!(stranger.post_json(FACTORS, &body).await.status, 429, "too soon");
        world.later(1);
        world.later(if statuses.len() > 1 { 90 } else { 0 });
        // Idle, and a proof that gets old.
        stranger = world.signed_in("max").await;
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        4,
        "and one was her own: {statuses:?}"
    );

    // That keeps nobody from signing in. What is sent to an address counts, answered or not: five an hour.
    for round in 0..2 {
        let mut eve = half_way(&world, "eve").await;
        let known = world.codes().len();
        let asked = eve.post_json(CHALLENGE, &json!({"method": "email_otp"})).await;
        assert_eq!(asked.status, 200, "round {round}: {}", asked.body);
        let code = mailed(&world, known).await;
        assert_eq!(eve.post_json(VERIFY, &json!({"code": code})).await.status, 200, "round {round}");
    }
    let mut sent = Vec::new();
    for _ in 0..5 {
        let mut eve = half_way(&world, "eve").await;
        sent.push(eve.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status);
    }
    assert_eq!(sent, [200, 200, 200, 429, 429]);
}

/// OTP-06: a code is good for the session and the purpose that it was sent for, and for its owner.
pub async fn a_code_is_good_where_it_was_asked_for(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    for (n, name) in ["eve", "ada"].into_iter().enumerate() {
        with_address(&world, name, &format!("{name}@example.com")).await;
        let mut browser = world.signed_in(name).await;
        let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
        let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
        let code = mailed(&world, n).await;
        assert_eq!(browser.post_json(&path, &json!({"code": code})).await.status, 200);
    }
    let ask = async |browser: &mut Browser| {
        let known = world.codes().len();
        let asked = browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        mailed(&world, known).await
    };
    let answer = async |browser: &mut Browser, code: &str| {
        browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await.status
    };
    let (mut first, mut second) = (half_way(&world, "eve").await, half_way(&world, "eve").await);
    let mut other = half_way(&world, "ada").await;
    let (of_first, of_second, of_other) =
        (ask(&mut first).await, ask(&mut second).await, ask(&mut other).await);
    assert_eq!(answer(&mut first, &of_second).await, 401, "another sign-in's");
    assert_eq!(answer(&mut first, &of_other).await, 401, "somebody else's");
    assert_eq!(answer(&mut first, &of_first).await, 200);
    // Signed in now: what the other sign-in was sent proves nothing here, and the reverse.
    assert_eq!(answer(&mut first, &of_second).await, 401, "another purpose");
    world.later(30);
    let again = ask(&mut first).await;
    assert_eq!(answer(&mut second, &again).await, 401);
    assert_eq!(answer(&mut first, &again).await, 200);
    assert_eq!(answer(&mut second, &of_second).await, 200);
}

/// Codes by e-mail: the address is proved first; each code works once, the last one only, for five minutes.
pub async fn codes_come_by_mail(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browser = world.signed_in("max").await;
    let missing = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    assert_eq!((missing.status, &missing.json()["errors"][0]["field"]), (422, &json!("email")));
    let body = json!({"kind": "email_otp", "email": "Max@Example.com"});
    let begun = browser.post_json(FACTORS, &body).await;
    assert_eq!((begun.status, &begun.json()["challenge"]["destination"]), (201, &json!("m***@example.com")));
    let code = mailed(&world, 0).await;
    assert!(code.len() == 8 && !begun.body.contains(&code));
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let confirm = format!("{FACTORS}/{id}/confirm");
    assert_eq!(browser.post_json(&confirm, &json!({"code": "00000000"})).await.status, 401);
    assert_eq!(browser.post_json(&confirm, &json!({"code": code})).await.status, 200);
    assert_eq!(browser.post_json(&confirm, &json!({"code": code})).await.status, 404, "once");
    assert_eq!(world.logged("user_email_verified").await, 1);

    let mut browser = world.browser();
    let answer = browser.api_sign_in("max", PASSWORD).await;
    assert_eq!(answer.json()["methods"], json!(["email_otp"]));
    let spent = browser.post_json(VERIFY, &json!({"code": code})).await;
    assert_eq!((spent.status, &spent.json()["code"]), (401, &json!("challenge_spent")), "nothing was asked");
    let asked = browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await;
    assert_eq!((asked.status, &asked.json()["destination"]), (200, &json!("m***@example.com")));
    assert_eq!((&asked.json()["resend_after"], &asked.json()["expires_in"]), (&json!(30), &json!(300)));
    let first = mailed(&world, 1).await;
    let early = browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await;
    assert_eq!((early.status, early.header("retry-after")), (429, Some("30")));
    world.later(30);
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let second = mailed(&world, 2).await;
    if first != second {
        assert_eq!(browser.post_json(VERIFY, &json!({"code": first})).await.status, 401, "replaced");
    }
    world.later(59);
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 429, "60 s now");
    assert_eq!(browser.post_json(VERIFY, &json!({"code": second})).await.status, 200);
    let me = browser.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "otp", "email"]));

    // Five minutes and no longer; and another person's code is nothing.
    let mut late = half_way(&world, "max").await;
    assert_eq!(late.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&world, 3).await;
    world.later(300);
    let spent = late.post_json(VERIFY, &json!({"code": code})).await;
    assert_eq!((spent.status, &spent.json()["code"]), (401, &json!("challenge_spent")));
}

/// Recovery codes: shown once, each good once, new ones void the old; and they are no factor by themselves.
pub async fn recovery_codes_work_once(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browser = world.signed_in("amy").await;
    let path = "/api/v1/account/recovery-codes";
    assert_eq!(browser.post_json(path, &json!({})).await.status, 422, "there is nothing to recover");
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    let made = browser.post_json(path, &json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let codes: Vec<String> = made.json()["recovery_codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes.len(), 10);
    assert!(!browser.get(FACTORS).await.body.contains(&codes[0]));
    let mut tasks = JoinSet::new();
    // No more than may wait for their second factor at once.
    for _ in 0..10 {
        let mut browser = half_way(&world, "amy").await;
        let code = codes[0].to_lowercase().replace('-', " ");
        tasks.spawn(async move {
            browser.post_json(VERIFY, &json!({"code": code, "method": "recovery_code"})).await.status
        });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    let mut lost = half_way(&world, "amy").await;
    let body = |code: &str| json!({"code": code, "method": "recovery_code"});
    assert_eq!(lost.post_json(VERIFY, &body(&codes[1])).await.status, 200);
    let me = lost.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "recovery", "mfa"]));
    // Who came back by one takes the lost phone away, and is asked for nothing more than is left.
    let factors = lost.get(FACTORS).await.json();
    assert_eq!(factors["recovery_codes_left"], 8);
    let id = factors["factors"][0]["id"].as_str().unwrap().to_owned();
    let new = lost.post_json(path, &json!({})).await;
    assert_eq!(new.status, 201);
    let mut other = half_way(&world, "amy").await;
    assert_eq!(other.post_json(VERIFY, &body(&codes[2])).await.status, 401, "void");
    let new = new.json()["recovery_codes"][0].as_str().unwrap().to_owned();
    assert_eq!(other.post_json(VERIFY, &body(&new)).await.status, 200);
    let removed = send_json(&mut lost, "DELETE", &format!("{FACTORS}/{id}"), &json!({})).await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(half_signed_in(&world, "amy").await, "authenticated", "the last one is gone");
    assert_eq!(lost.get(FACTORS).await.json()["recovery_codes_left"], 0);
    drop(app);
}

/// MFA-04: factors are changed with a fresh proof of everything that the account has.
pub async fn factors_are_changed_with_a_fresh_proof(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browser = world.signed_in("amy").await;
    world.later(5 * 60);
    let body = json!({"kind": "totp", "name": "phone"});
    let stale = browser.post_json(FACTORS, &body).await;
    assert_eq!((stale.status, &stale.json()["code"]), (401, &json!("reauthentication_required")));
    assert!(stale.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
    let again = browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await;
    assert_eq!(again.status, 200);
    let (app, id) = add_app(&world, &mut browser, "phone").await;
    world.later(5 * 60);
    browser.get("/api/v1/me").await;
    let path = format!("{FACTORS}/{id}");
    let remove = async |browser: &mut Browser| send_json(browser, "DELETE", &path, &json!({})).await;
    assert_eq!(remove(&mut browser).await.json()["code"], "reauthentication_required");
    assert_eq!(
        browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await.status,
        200
    );
    for (method, path) in
        [("DELETE", path.as_str()), ("POST", FACTORS), ("POST", "/api/v1/account/recovery-codes")]
    {
        let body = if path == FACTORS { body.clone() } else { json!({}) };
        let stale = send_json(&mut browser, method, path, &body).await;
        assert_eq!(
            (stale.status, &stale.json()["code"]),
            (401, &json!("mfa_reauthentication_required")),
            "{path}"
        );
    }
    assert_eq!(verify(&mut browser, &app.wrong(&world)).await.status, 401);
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
    // Somebody else's is as if it were not there; a name may change at any time.
    let mut bob = world.signed_in("bob").await;
    assert_eq!(send_json(&mut bob, "DELETE", &path, &json!({})).await.status, 404);
    assert_eq!(send_json(&mut bob, "PATCH", &path, &json!({"name": "mine"})).await.status, 404);
    assert_eq!(send_json(&mut browser, "PATCH", &path, &json!({"name": "new phone"})).await.status, 204);
    assert_eq!(send_json(&mut browser, "PATCH", &path, &json!({"name": "\u{7}"})).await.status, 422);
    assert_eq!(browser.get(FACTORS).await.json()["factors"][0]["name"], "new phone");
    assert_eq!(remove(&mut browser).await.status, 200);
    assert_eq!(remove(&mut browser).await.status, 404);
}

/// MFA-04: what a mailbox proves takes no app away.
pub async fn a_weaker_proof_changes_no_stronger_factor(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut browser = world.signed_in("eve").await;
    let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
    let code = mailed(&world, 0).await;
    assert_eq!(browser.post_json(&path, &json!({"code": code})).await.status, 200);
    assert_eq!(browser.get("/api/v1/me").await.json()["session"]["assurance"], "aal1");
    let (app, id) = add_app(&world, &mut browser, "phone").await;
    assert_eq!(browser.get("/api/v1/me").await.json()["session"]["assurance"], "aal2");

    world.later(60);
    let mut by_mail = half_way(&world, "eve").await;
    assert_eq!(by_mail.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&world, 1).await;
    let body = json!({"code": code, "method": "email_otp"});
    assert_eq!(by_mail.post_json(VERIFY, &body).await.status, 200);
    let path = format!("{FACTORS}/{id}");
    for (method, path) in
        [("DELETE", path.as_str()), ("POST", FACTORS), ("POST", "/api/v1/account/recovery-codes")]
    {
        let body = if path == FACTORS { json!({"kind": "totp", "name": "mine"}) } else { json!({}) };
        let refused = send_json(&mut by_mail, method, path, &body).await;
        assert_eq!(refused.json()["code"], "mfa_reauthentication_required", "{method} {path}");
    }
    assert_eq!(by_mail.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 422, "not enough");
    assert!(!by_mail.open("/auth/mfa/verify").await.body.contains("e***@example.com"));
    assert_eq!(verify(&mut by_mail, &app.code(&world, 0)).await.status, 200);
    assert_eq!(send_json(&mut by_mail, "DELETE", &path, &json!({})).await.status, 200);
}

/// Somebody who has just set up codes by e-mail.
async fn with_mailed_codes(world: &World, name: &str) -> (Browser, String) {
    with_address(world, name, &format!("{name}@example.com")).await;
    let mut browser = world.signed_in(name).await;
    let known = world.codes().len();
    let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let code = mailed(world, known).await;
    let path = format!("{FACTORS}/{id}/confirm");
    assert_eq!(browser.post_json(&path, &json!({"code": code})).await.status, 200);
    (browser, id)
}

async fn proved(browser: &mut Browser) -> (Value, Value) {
    let session = browser.get("/api/v1/me").await.json()["session"].clone();
    (session["amr"].clone(), session["assurance"].clone())
}

/// A session has proved no factor that its owner took away, unless another one of the kind is left.
pub async fn what_a_factor_proved_goes_with_it(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (mut browser, mail) = with_mailed_codes(&world, "eve").await;
    let (_, phone) = add_app(&world, &mut browser, "phone").await;
    let (_, tablet) = add_app(&world, &mut browser, "tablet").await;
    for (id, amr, assurance) in [
        (tablet, json!(["pwd", "otp", "email", "mfa"]), "aal2"),
        (phone, json!(["pwd", "otp", "email"]), "aal1"),
        (mail, json!(["pwd"]), "aal1"),
    ] {
        let removed = send_json(&mut browser, "DELETE", &format!("{FACTORS}/{id}"), &json!({})).await;
        assert_eq!(removed.status, 200, "{}", removed.body);
        assert_eq!(proved(&mut browser).await, (amr, json!(assurance)));
    }
}

/// What was proved for a purpose is seen in the session, and takes no factor away.
pub async fn a_step_up_tells_of_the_session_and_changes_no_factor(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (mut browser, _) = with_mailed_codes(&world, "eve").await;
    let (app, id) = add_app(&world, &mut browser, "phone").await;
    world.later(60);
    let mut browser = half_way(&world, "eve").await;
    let known = world.codes().len();
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&world, known).await;
    assert_eq!(browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await.status, 200);
    assert_eq!(proved(&mut browser).await, (json!(["pwd", "otp", "email"]), json!("aal1")));
    let asked = browser.post_json("/api/v1/auth/step-up", &json!({"purpose": "payroll"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.json()["purpose"], "payroll");
    assert_eq!(proved(&mut browser).await, (json!(["pwd", "otp", "email", "mfa"]), json!("aal2")));
    let path = format!("{FACTORS}/{id}");
    let refused = send_json(&mut browser, "DELETE", &path, &json!({})).await;
    assert_eq!(refused.json()["code"], "mfa_reauthentication_required", "{}", refused.body);
    // The password proved again takes nothing of that away.
    let again = browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(proved(&mut browser).await, (json!(["pwd", "otp", "email", "mfa"]), json!("aal2")));
    world.later(30);
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
    assert_eq!(send_json(&mut browser, "DELETE", &path, &json!({})).await.status, 200);
}

/// A second factor is due for ten minutes, and in the session that the password began.
pub async fn a_second_factor_is_due_for_ten_minutes(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = half_way(&world, "amy").await;
    world.later(599);
    let mut in_time = browser.clone();
    assert_eq!(verify(&mut in_time, &app.wrong(&world)).await.json()["code"], "invalid_code");
    world.later(1);
    let late = verify(&mut browser, &app.code(&world, 0)).await;
    assert_eq!((late.status, &late.json()["code"]), (401, &json!("unauthenticated")));
    // Nor does anybody else's half sign-in do, nor none.
    assert_eq!(verify(&mut world.browser(), &app.code(&world, 0)).await.status, 401);
    let mut bob = world.signed_in("bob").await;
    assert_eq!(verify(&mut bob, &app.code(&world, 0)).await.status, 422, "bob has no app");
    // A session that waits for its second factor is not listed, and evicts nobody.
    let mut amy = half_way(&world, "amy").await;
    assert_eq!(verify(&mut amy, &app.code(&world, 0)).await.status, 200);
    for _ in 0..12 {
        half_way(&world, "amy").await;
    }
    let listed = amy.get("/api/v1/account/sessions").await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "this one, and the one that added the app");
}

/// What is sealed opens for nobody else, and no code or secret lies anywhere in clear.
pub async fn secrets_of_factors_are_bound_to_their_rows(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let (amy, bob) = (with_app(&world, "amy").await, with_app(&world, "bob").await);
    // The older one's sealed secret, in everybody's row.
    world
        .execute(
            "UPDATE iam_mfa_method SET secret =
                (SELECT secret FROM (SELECT secret FROM iam_mfa_method ORDER BY id LIMIT 1) oldest)",
        )
        .await;
    for code in [bob.code(&world, 0), amy.code(&world, 0)] {
        let mut browser = half_way(&world, "bob").await;
        assert_eq!(verify(&mut browser, &code).await.status, 401);
    }
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(verify(&mut browser, &amy.code(&world, 0)).await.status, 200, "her own is as it was");
}

/// Delivery never delays an answer; what fails is tried again, said, and written down.
pub async fn mail_that_fails_delays_nobody(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let mut browser = world.signed_in("eve").await;
    let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let code = mailed(&world, 0).await;
    let done = browser.post_json(&format!("{FACTORS}/{id}/confirm"), &json!({"code": code})).await;
    assert_eq!(done.status, 200);
    // A sender that hangs: the answer is there all the same.
    until(async || world.notices() == ["factor_added"]).await;
    world.mail.set_outcome(MemoryOutcome::Hang);
    let attempts = world.mail.attempts();
    let mut waiting = half_way(&world, "eve").await;
    assert_eq!(waiting.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    until(async || world.mail.attempts() > attempts).await;
    // One that can't now: tried again, until it can.
    world.mail.set_outcome(MemoryOutcome::Fail(SendError::NotNow("down".into())));
    let known = world.codes().len();
    let mut later = half_way(&world, "eve").await;
    assert_eq!(later.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    until(async || {
        world.count("SELECT count(*) FROM iam_outbox WHERE state = 'waiting' AND attempts > 0").await > 0
    })
    .await;
    world.mail.set_outcome(MemoryOutcome::Accept);
    world.later(3);
    let code = mailed(&world, known).await;
    let done = later.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    // One that never will: the page says so, and offers what else there is.
    world.mail.set_outcome(MemoryOutcome::Fail(SendError::Refused("no such mailbox".into())));
    let mut refused = half_way(&world, "eve").await;
    assert_eq!(refused.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    until(async || world.logged("delivery_fail").await == 1).await;
    let page = refused.open("/auth/mfa/verify").await;
    assert!(page.body.contains("could not be delivered"), "{}", page.body);
    no_message_is_kept(&world).await;
}

pub(super) async fn until(holds: impl AsyncFn() -> bool) {
    until_within(Duration::from_secs(10), holds).await;
}

async fn until_within(time: Duration, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < time, "it never came to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A world whose mail goes to a server, and somebody in it with codes by mail.
async fn by_server(adapter: Adapter, backend: Backend) -> (World, MailServer) {
    let server = MailServer::start().await;
    let smtp = Smtp::from_url(&server.url()).from("Acme <no-reply@acme.example>");
    let smtp = smtp.timeout(Duration::from_secs(6)).build().unwrap();
    let world = World::with_smtp(adapter, backend, smtp).await;
    takes_codes_by_mail(&world, &server, "eve").await;
    (world, server)
}

/// Adds somebody who takes codes by mail, at `name@example.com`.
async fn takes_codes_by_mail(world: &World, server: &MailServer, name: &str) {
    let address = format!("{name}@example.com");
    with_address(world, name, &address).await;
    let mut browser = world.signed_in(name).await;
    let begun = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    until(async || server.codes(&address).len() == 1).await;
    let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
    let done = browser.post_json(&path, &json!({"code": server.codes(&address)[0]})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    until(async || in_state(world, "accepted").await == 2).await;
    world.execute("DELETE FROM iam_outbox").await;
}

/// How many messages have come so far.
async fn in_state(world: &World, state: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM iam_outbox WHERE state = '{state}'");
    world.count(sql.leak()).await
}

/// How many were tried, and will be again.
async fn put_off(world: &World) -> i64 {
    world.count("SELECT count(*) FROM iam_outbox WHERE state = 'waiting' AND attempts > 0").await
}

async fn asks_for_mail(world: &World, name: &str) -> Browser {
    let mut browser = half_way(world, name).await;
    asks_again(&mut browser).await;
    browser
}

async fn asks_again(browser: &mut Browser) {
    let asked = browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
}

async fn signs_in_by(browser: &mut Browser, code: &str) {
    let done = browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await;
    assert_eq!(done.status, 200, "{}", done.body);
}

/// A code that the server did not take comes later; one that it refused, or may have taken, is never sent again.
pub async fn codes_are_sent_again_when_nobody_has_them(adapter: Adapter, backend: Backend) {
    let (world, server) = by_server(adapter, backend).await;
    let eve = "eve@example.com";
    // An app, too: another way.
    let mut browser = asks_for_mail(&world, "eve").await;
    until(async || server.codes(eve).len() == 2).await;
    signs_in_by(&mut browser, &server.codes(eve)[1]).await;
    add_app(&world, &mut browser, "phone").await;
    until(async || in_state(&world, "accepted").await == 2).await;

    // Not now: after a while.
    server.fail("RCPT", Act::Say("451 4.7.1 greylisted"), 2);
    let mut browser = asks_for_mail(&world, "eve").await;
    for (once_more, seconds) in [
        ("SELECT count(*) FROM iam_outbox WHERE state = 'waiting' AND attempts = 1", 2),
        ("SELECT count(*) FROM iam_outbox WHERE state = 'waiting' AND attempts = 2", 6),
    ] {
        until(async || world.count(once_more).await == 1).await;
        assert_eq!(server.codes(eve).len(), 2);
        world.later(seconds);
    }
    until(async || server.codes(eve).len() == 3).await;
    signs_in_by(&mut browser, &server.codes(eve)[2]).await;
    assert_eq!(world.logged("delivery_fail").await, 0);

    // Never: it is written down, and the page says so and has another way.
    server.fail("RCPT", Act::Say("550 5.1.1 no such mailbox"), 1);
    let mut browser = asks_for_mail(&world, "eve").await;
    until(async || world.logged("delivery_fail").await == 1).await;
    let page = browser.open("/auth/mfa/verify?method=email_otp").await;
    assert!(page.body.contains("could not be delivered"), "{}", page.body);
    assert!(page.body.contains("method=totp"), "{}", page.body);

    // Nobody knows: as if it had come, which it has.
    server.fail(".", Act::Drop, 1);
    let mut browser = asks_for_mail(&world, "eve").await;
    until(async || world.logged("delivery_fail").await == 2).await;
    let page = browser.open("/auth/mfa/verify?method=email_otp").await;
    assert!(page.body.contains("could not be delivered"), "{}", page.body);
    for seconds in [2, 30, 61, 120] {
        world.later(seconds);
        assert_eq!(world.iam.deliver().await.unwrap(), 0, "never again");
    }
    assert_eq!((server.codes(eve).len(), in_state(&world, "unknown").await), (4, 1));
    signs_in_by(&mut browser, &server.codes(eve)[3]).await;
    no_message_is_kept(&world).await;
}

/// Neither answers nor other people's codes wait for a mail server that hangs.
pub async fn a_mail_server_that_hangs_holds_nobody_up(adapter: Adapter, backend: Backend) {
    /// Much less than an attempt may take.
    const SOON: Duration = Duration::from_secs(3);
    let (world, server) = by_server(adapter, backend).await;
    takes_codes_by_mail(&world, &server, "joe").await;
    let (joes, known) = ("joe@example.com", server.codes("joe@example.com").len());
    // As many as go to one address, of which the server takes its time.
    server.fail_for("eve@example.com", ".", Act::Hang, usize::MAX);
    world.execute("DELETE FROM iam_rate_limit").await;
    for _ in 0..5 {
        let began = Instant::now();
        asks_for_mail(&world, "eve").await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    until(async || server.held() == 5).await;
    let began = Instant::now();
    let mut joe = asks_for_mail(&world, "joe").await;
    until(async || server.codes(joes).len() > known).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    signs_in_by(&mut joe, server.codes(joes).last().unwrap()).await;

    // It hangs altogether: everybody is answered, and gets their codes when it is back.
    server.heal();
    server.fail("MAIL", Act::Hang, usize::MAX);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let began = Instant::now();
        waiting.push(asks_for_mail(&world, "joe").await);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    until(async || server.held() == 3).await;
    server.heal();
    until_within(Duration::from_secs(30), async || in_state(&world, "claimed").await == 0).await;
    world.later(2);
    until(async || server.codes(joes).len() == known + 5).await;
    // The last one had found no place to hang in, and so was the first to come.
    signs_in_by(&mut waiting[3], &server.codes(joes)[known + 1]).await;
}

/// What came too late, or was followed by another code, is not sent; nothing that is over holds a message.
pub async fn what_is_late_or_replaced_is_not_sent(adapter: Adapter, backend: Backend) {
    let (world, server) = by_server(adapter, backend).await;
    let eve = "eve@example.com";
    let known = server.codes(eve).len();
    server.fail("MAIL", Act::Say("421 4.3.2 shutting down"), usize::MAX);
    let mut browser = asks_for_mail(&world, "eve").await;
    until(async || put_off(&world).await == 1).await;
    world.later(30);
    asks_again(&mut browser).await;
    until(async || in_state(&world, "replaced").await == 1).await;
    // The second one is the only one that comes.
    until(async || put_off(&world).await == 1).await;
    server.heal();
    world.later(10);
    until(async || in_state(&world, "accepted").await == 1).await;
    assert_eq!(server.codes(eve).len(), known + 1);
    signs_in_by(&mut browser, server.codes(eve).last().unwrap()).await;

    server.fail("MAIL", Act::Say("421 4.3.2 shutting down"), usize::MAX);
    let mut browser = asks_for_mail(&world, "eve").await;
    until(async || put_off(&world).await == 1).await;
    world.later(300);
    server.heal();
    assert_eq!(world.iam.deliver().await.unwrap(), 0, "too late");
    until(async || {
        world.iam.upkeep().await.unwrap();
        in_state(&world, "expired").await == 1
    })
    .await;
    assert_eq!(server.codes(eve).len(), known + 1);
    assert_eq!(world.logged("delivery_fail").await, 1);
    let spent = browser.post_json(VERIFY, &json!({"code": "00000000", "method": "email_otp"})).await;
    assert_eq!(spent.json()["code"], "challenge_spent");
    no_message_is_kept(&world).await;
}

/// A process that is ready says so only while somebody sends what there is to send.
pub async fn messages_that_nobody_sends_are_seen(adapter: Adapter, backend: Backend) {
    let world = World::without_worker(adapter, backend).await;
    with_address(&world, "eve", "eve@example.com").await;
    let ready = async || {
        let answer = world.browser().get("/readyz").await;
        (answer.status, answer.body)
    };
    let begin = async || {
        let mut browser = world.signed_in("eve").await;
        assert_eq!(browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await.status, 201);
    };
    begin().await;
    world.later(29);
    assert_eq!(ready().await.0, 200);
    world.later(1);
    let (status, text) = ready().await;
    assert_eq!(status, 503);
    assert!(text.contains("messages wait"), "{text}");
    assert_eq!(world.iam.deliver().await.unwrap(), 1);
    assert_eq!((ready().await.0, world.codes().len()), (200, 1));
    // Another process takes over.
    begin().await;
    world.later(30);
    assert_eq!(ready().await.0, 503);
    let beside = world.restarted().await;
    until(async || beside.codes().len() == 1).await;
    assert_eq!(ready().await.0, 200);
    // What is too late to be sent waits for nobody: a process that starts after a long time is ready at once.
    begin().await;
    world.later(300);
    assert_eq!(ready().await.0, 200);
    assert_eq!(world.iam.deliver().await.unwrap(), 0);
}

async fn no_message_is_kept(world: &World) {
    let kept =
        "SELECT count(*) FROM iam_outbox WHERE sealed IS NOT NULL AND state NOT IN ('waiting', 'claimed')";
    assert_eq!(world.count(kept).await, 0);
}

/// A change of the account is told to its owner, at the address that they have proved.
pub async fn changes_are_told_to_their_owner(adapter: Adapter, backend: Backend) {
    let world = Arc::new(World::new(adapter, backend).await);
    with_address(&world, "eve", "eve@example.com").await;
    let mut browser = world.signed_in("eve").await;
    let (_, id) = add_app(&world, &mut browser, "phone").await;
    assert_eq!(browser.post_json("/api/v1/account/recovery-codes", &json!({})).await.status, 201);
    assert_eq!(send_json(&mut browser, "DELETE", &format!("{FACTORS}/{id}"), &json!({})).await.status, 200);
    let body = json!({"current_password": PASSWORD, "new_password": "a wholly different pass phrase"});
    assert_eq!(browser.post_json("/api/v1/account/password", &body).await.status, 200);
    let expected = ["factor_added", "factor_removed", "password_changed", "recovery_codes_made"];
    until(async || {
        let mut told = world.notices();
        told.sort_unstable();
        told == expected
    })
    .await;
    assert!(world.mail.messages().iter().all(|message| message.to == "eve@example.com"));

    // So are wrong codes after the right password: once a day.
    world.mail.clear();
    let mut browser = world.browser();
    let changed = "a wholly different pass phrase";
    assert_eq!(browser.sign_in("eve", changed).await.status, 303);
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    for _ in 0..2 {
        let mut guesser = world.browser();
        assert_eq!(guesser.api_sign_in("eve", changed).await.json()["status"], "mfa_required");
        for _ in 0..5 {
            assert_eq!(verify(&mut guesser, &app.wrong(&world)).await.status, 401);
        }
    }
    until(async || {
        let mut told = world.notices();
        told.sort_unstable();
        told == ["factor_added", "second_factor_failed"]
    })
    .await;
}
