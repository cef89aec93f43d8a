use std::time::Duration;

use iam_core::{AccountStatus, Actor, FactorKind, FactorPolicy, IamBuilder, PlainPassword};
use serde_json::{Value, json};

use super::factors::{
    CHALLENGE, FACTORS, VERIFY, add_app, half_way, mailed, send_json, verify, with_address, with_app,
};
use super::step_up::{needs_step_up, require_of_admins};
use crate::app::App;
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const TRUSTED_DEVICES: &str = "/api/v1/account/trusted-devices";
const MONTH: u64 = 30 * 24 * 3600;
const NEW_PASSWORD: &str = "a wholly different pass phrase";

/// With browsers that may be trusted for thirty days.
pub(super) fn trusting(builder: IamBuilder) -> IamBuilder {
    builder.factor_policy(policy(Some(MONTH), None))
}

fn policy(time: Option<u64>, sign_in: Option<FactorKind>) -> FactorPolicy {
    let mut policy = FactorPolicy::default();
    policy.trusted_devices = time.map(Duration::from_secs);
    if let Some(kind) = sign_in {
        policy.sign_in = vec![kind];
    }
    policy
}

/// Answers with a code, and wants the browser to be trusted. The next code is another one.
async fn verify_trusting(world: &World, browser: &mut Browser, app: &App) -> Answer {
    let body = json!({"code": app.code(world, 0), "method": "totp", "trust_device": true});
    let answer = browser.post_json(VERIFY, &body).await;
    world.later(30);
    answer
}

/// A browser that somebody has come to trust.
pub(super) async fn trusted(world: &World, app: &App, name: &str) -> Browser {
    let mut browser = half_way(world, name).await;
    let done = verify_trusting(world, &mut browser, app).await;
    assert_eq!((done.status, &done.json()["device_trusted"]), (200, &json!(true)), "{}", done.body);
    assert!(browser.cookies.contains_key("iam_trusted"));
    browser
}

/// How far signing in comes in a browser, with what it keeps but the session.
pub(super) async fn comes(browser: &Browser, name: &str, password: &str) -> String {
    let mut fresh = browser.clone();
    fresh.cookies.remove("iam_session");
    let answer = fresh.api_sign_in(name, password).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["status"].as_str().unwrap().to_owned()
}

/// Somebody who signs in on a browser that asks for nothing but the password.
async fn in_by_trust(browser: &Browser, name: &str) -> Browser {
    let mut browser = browser.clone();
    let answer = browser.api_sign_in(name, PASSWORD).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("authenticated")), "{}", answer.body);
    browser
}

async fn rows(world: &World) -> i64 {
    world.count("SELECT count(*) FROM iam_trusted_device").await
}

/// MFA-06: off unless the service says otherwise: nothing is offered, and who asks for it all the same gets nothing.
pub async fn no_browser_is_trusted_unless_that_is_allowed(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = half_way(&world, "amy").await;
    let page = browser.open("/auth/mfa/verify").await;
    assert!(page.body.contains("name=\"code\"") && !page.body.contains("trust"), "{}", page.body);
    let (token, code) = (page.csrf_token(), app.code(&world, 0));
    let fields =
        [("code", code.as_str()), ("method", "totp"), ("trust_device", "1"), ("csrf_token", token.as_str())];
    let done = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/"), "{}", done.body);
    assert!(!browser.cookies.contains_key("iam_trusted"));
    assert!(!browser.open("/auth/account").await.body.contains("trusted"));
    world.later(30);
    let mut browser = half_way(&world, "amy").await;
    for wrong in [json!("true"), json!(1), Value::Null] {
        let refused = browser.post_json(VERIFY, &json!({"code": "000000", "trust_device": wrong})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid")), "{wrong}");
    }
    let done = verify_trusting(&world, &mut browser, &app).await;
    assert_eq!((done.status, &done.json()["device_trusted"]), (200, &json!(false)), "{}", done.body);
    assert!(!browser.cookies.contains_key("iam_trusted"));
    assert_eq!(rows(&world).await, 0);
    assert_eq!(world.logged("device_trusted").await, 0);
}

/// MFA-06: a browser whose owner ticks it, with the right code, is not asked again, for thirty days.
pub async fn a_trusted_browser_is_not_asked_again(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let app = with_app(&world, "amy").await;
    let mut browser = half_way(&world, "amy").await;
    let page = browser.open("/auth/mfa/verify").await;
    let unticked = "name=\"trust_device\" type=\"checkbox\" value=\"1\" aria-describedby=\"trust-hint\">";
    assert!(page.body.contains(unticked), "{}", page.body);
    assert!(page.body.contains("Do not ask again on this browser for 30 days"), "{}", page.body);
    let (token, wrong, code) = (page.csrf_token(), app.wrong(&world), app.code(&world, 0));
    let mut fields =
        [("code", wrong.as_str()), ("method", "totp"), ("trust_device", "1"), ("csrf_token", token.as_str())];
    let refused = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("aria-describedby=\"trust-hint\" checked>"), "what was ticked stays");
    assert_eq!(rows(&world).await, 0, "a wrong code trusts nobody");
    fields[0].1 = &code;
    let done = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/"), "{}", done.body);
    let cookie = done.set_cookies().into_iter().find(|line| line.starts_with("iam_trusted=")).unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");
    assert!(value.starts_with("iam_trusted=totp.") && value.len() == "iam_trusted=totp.".len() + 43);
    assert_eq!((rows(&world).await, world.logged("device_trusted").await), (1, 1));

    // By the page, straight to where it was going; and by JSON.
    let mut again = browser.clone();
    again.cookies.remove("iam_session");
    let token = again.open("/auth/login?next=/reports").await.csrf_token();
    let fields = [("username", "amy"), ("password", PASSWORD), ("csrf_token", &token), ("next", "/reports")];
    let done = again.submit("/auth/login", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/reports"), "{}", done.body);
    assert_eq!(again.open("/reports").await.status, 200);
    let mut again = in_by_trust(&browser, "amy").await;
    let me = again.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "trusted_device"]));
    assert_eq!(me["session"]["assurance"], "aal1", "nothing but the password was proved");
    let by_trust = "SELECT count(*) FROM iam_auth_log WHERE event = 'authn_login_success' AND amr = 'pwd trusted_device'";
    assert_eq!(world.count(by_trust).await, 2);

    // Another browser is asked, and so is this one with anything else in the cookie.
    assert_eq!(comes(&world.browser(), "amy", PASSWORD).await, "mfa_required");
    let value = browser.cookies["iam_trusted"].clone();
    let other = if value.ends_with('A') { 'E' } else { 'A' };
    for text in [
        format!("{}{other}", &value[..value.len() - 1]),
        value.replace("totp", "email_otp"),
        value.replace("totp", "recovery_code"),
        value["totp.".len()..].to_owned(),
        format!("{value}x"),
        "totp.".to_owned(),
        browser.session_cookie().unwrap().to_owned(),
        format!("totp.{}", browser.session_cookie().unwrap()),
    ] {
        let mut forged = world.browser();
        forged.cookies.insert("iam_trusted".to_owned(), text.clone());
        assert_eq!(comes(&forged, "amy", PASSWORD).await, "mfa_required", "{text}");
    }
    let twice = world.browser().with_header("cookie", &format!("iam_trusted={value}; iam_trusted={value}x"));
    assert_eq!(comes(&twice, "amy", PASSWORD).await, "mfa_required", "which of two counts can't be told");

    // LG-01: a wrong password is a wrong password.
    let mut wrong = browser.clone();
    wrong.cookies.retain(|name, _| name == "iam_trusted");
    let here = wrong.api_sign_in("amy", "not her pass phrase").await;
    let elsewhere = world.browser().api_sign_in("amy", "not her pass phrase").await;
    assert_eq!(here.comparable(), elsewhere.comparable());

    // A second before thirty days, and after them.
    world.later(MONTH - 1);
    assert_eq!(comes(&browser, "amy", PASSWORD).await, "authenticated");
    world.later(1);
    assert_eq!(comes(&browser, "amy", PASSWORD).await, "mfa_required");
    world.later(1);
    world.iam.upkeep().await.unwrap();
    assert_eq!(rows(&world).await, 0);
}

/// MFA-06: a browser is trusted for the account that asked for it; and each account trusts its ten newest.
pub async fn a_browser_is_trusted_for_its_account_alone(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let (amys, bobs) = (with_app(&world, "amy").await, with_app(&world, "bob").await);
    let first = trusted(&world, &amys, "amy").await;
    assert_eq!(comes(&first, "bob", PASSWORD).await, "mfa_required");
    assert_eq!(comes(&first, "max", PASSWORD).await, "authenticated", "who has no second factor");
    // The other one's sign-in takes nothing away.
    let mut shared = first.clone();
    shared.api_sign_in("bob", PASSWORD).await;
    assert_eq!(verify(&mut shared, &bobs.code(&world, 0)).await.status, 200);
    assert_eq!(comes(&shared, "amy", PASSWORD).await, "authenticated");
    assert_eq!(comes(&shared, "bob", PASSWORD).await, "mfa_required");
    world.later(30);
    let bob = trusted(&world, &bobs, "bob").await;
    let mut newest = Vec::new();
    for _ in 0..10 {
        newest.push(trusted(&world, &amys, "amy").await);
    }
    assert_eq!(comes(&first, "amy", PASSWORD).await, "mfa_required", "the oldest of eleven");
    assert_eq!(comes(&newest[0], "amy", PASSWORD).await, "authenticated");
    assert_eq!(comes(&bob, "bob", PASSWORD).await, "authenticated");
    assert_eq!(rows(&world).await, 11);
}

/// PW-09, MFA-06: whatever changes what an account signs in with ends the trust.
pub async fn trust_ends_with_every_change(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let app = with_app(&world, "amy").await;
    let (account, service) = (world.account("amy").await, Actor::service());
    let mut ended = 0;
    let mut is_over = async |browser: &Browser, name: &str, password: &str, what: &str| {
        ended += 1;
        assert_eq!(comes(browser, name, password).await, "mfa_required", "{what}");
        assert_eq!(rows(&world).await, 0, "{what}");
        assert_eq!(world.logged("device_trust_revoked").await, ended, "{what}");
    };

    // The owner's own change of password, in a session that the trust made: that stands on it no longer.
    let browser = trusted(&world, &app, "amy").await;
    let mut signed_in = in_by_trust(&browser, "amy").await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    assert_eq!(signed_in.post_json("/api/v1/account/password", &body).await.status, 200);
    assert_eq!(signed_in.get("/api/v1/me").await.json()["session"]["amr"], json!(["pwd"]));
    is_over(&browser, "amy", NEW_PASSWORD, "her own password").await;
    let old = PlainPassword::new(PASSWORD).unwrap();
    world.iam.accounts(&service).set_password(account, &old).await.unwrap();

    let browser = trusted(&world, &app, "amy").await;
    world.iam.accounts(&service).set_password(account, &old).await.unwrap();
    is_over(&browser, "amy", PASSWORD, "a password by an administrator").await;

    let browser = trusted(&world, &app, "amy").await;
    for to in [AccountStatus::Disabled, AccountStatus::Active] {
        world.iam.accounts(&service).set_status(account, to).await.unwrap();
    }
    is_over(&browser, "amy", PASSWORD, "disabled and enabled").await;

    // A factor more, and one less.
    let browser = trusted(&world, &app, "amy").await;
    let mut changing = in_by_trust(&browser, "amy").await;
    assert_eq!(verify(&mut changing, &app.code(&world, 0)).await.status, 200);
    world.later(30);
    let (_, tablet) = add_app(&world, &mut changing, "tablet").await;
    let me = changing.get("/api/v1/me").await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "otp", "mfa"]), "proved now");
    is_over(&browser, "amy", PASSWORD, "a factor more").await;
    world.later(30);
    let mut browser = trusted(&world, &app, "amy").await;
    let removed = send_json(&mut browser, "DELETE", &format!("{FACTORS}/{tablet}"), &json!({})).await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    is_over(&browser, "amy", PASSWORD, "a factor less").await;

    // Without any factor there is nothing to stand in for, and an old cookie says nothing.
    let browser = trusted(&world, &app, "amy").await;
    world.iam.factors(&service).reset(account).await.unwrap();
    assert_eq!(rows(&world).await, 0);
    let mut after = in_by_trust(&browser, "amy").await;
    assert_eq!(after.get("/api/v1/me").await.json()["session"]["amr"], json!(["pwd"]));
    world.later(30);
    add_app(&world, &mut after, "phone").await;
    assert_eq!(comes(&browser, "amy", PASSWORD).await, "mfa_required");
}

/// MFA-04, MFA-06: it stands in for the second factor at sign-in, and for nothing else.
pub async fn a_trusted_browser_proves_nothing(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let app = with_app(&world, "amy").await;
    let browser = trusted(&world, &app, "amy").await;
    let mut signed_in = in_by_trust(&browser, "amy").await;
    assert_eq!(signed_in.get("/reports").await.status, 200);
    // Step-up, whose answer trusts no browser either.
    assert!(needs_step_up(&signed_in.get("/payroll").await));
    let page = signed_in.open("/auth/mfa/verify?purpose=payroll").await;
    assert!(page.body.contains("name=\"code\"") && !page.body.contains("trust_device"), "{}", page.body);
    // Changing factors: the password is fresh, and the factor is asked for.
    let id = signed_in.get(FACTORS).await.json()["factors"][0]["id"].as_str().unwrap().to_owned();
    let removal = format!("{FACTORS}/{id}");
    for (method, path, body) in [
        ("POST", FACTORS, json!({"kind": "totp", "name": "mine"})),
        ("DELETE", removal.as_str(), json!({})),
        ("POST", "/api/v1/account/recovery-codes", json!({})),
    ] {
        let refused = send_json(&mut signed_in, method, path, &body).await;
        let code = refused.json()["code"].clone();
        assert_eq!((refused.status, code), (401, json!("mfa_reauthentication_required")), "{method} {path}");
    }
    let page = signed_in.open("/auth/mfa/verify").await;
    assert!(page.body.contains("name=\"code\"") && !page.body.contains("trust_device"), "{}", page.body);
    let before = rows(&world).await;
    let again = verify_trusting(&world, &mut signed_in, &app).await;
    assert_eq!((again.status, &again.json()["device_trusted"]), (200, &json!(false)), "{}", again.body);
    assert!(needs_step_up(&signed_in.get("/payroll").await), "that was for something else");
    let asked = signed_in.post_json("/api/v1/auth/step-up", &json!({"purpose": "payroll"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let stepped = verify_trusting(&world, &mut signed_in, &app).await;
    assert_eq!((stepped.status, &stepped.json()["device_trusted"]), (200, &json!(false)), "{}", stepped.body);
    assert_eq!(signed_in.get("/payroll").await.status, 200);
    assert_eq!(rows(&world).await, before);
    assert_eq!(signed_in.post_json(FACTORS, &json!({"kind": "totp", "name": "mine"})).await.status, 201);
    // The next sign-in on that browser has proved nothing again.
    let mut next = in_by_trust(&signed_in, "amy").await;
    assert!(needs_step_up(&next.get("/payroll").await));
}

/// MFA-06: who carries a token has no browser; and who uses a recovery code has lost what a browser could stand in for.
pub async fn only_a_factor_on_a_browser_makes_it_trusted(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let mut amy = world.signed_in("amy").await;
    let (app, _) = add_app(&world, &mut amy, "phone").await;
    let made = amy.post_json("/api/v1/account/recovery-codes", &json!({})).await.json();
    let recovery = made["recovery_codes"][0].as_str().unwrap().to_owned();
    world.later(60);

    let sign_in = json!({"username": "amy", "password": PASSWORD, "token": true});
    let begun = world.browser().post_json("/api/v1/auth/login", &sign_in).await.json();
    let bearer = format!("Bearer {}", begun["mfa_token"].as_str().unwrap());
    let mut client = world.browser().with_header("authorization", &bearer);
    let done = verify_trusting(&world, &mut client, &app).await;
    assert_eq!((done.status, &done.json()["device_trusted"]), (200, &json!(false)), "{}", done.body);
    assert_eq!(done.set_cookies(), Vec::<String>::new());

    let mut browser = half_way(&world, "amy").await;
    let page = browser.open("/auth/mfa/verify?method=recovery_code").await;
    assert!(page.body.contains("name=\"code\"") && !page.body.contains("trust_device"), "{}", page.body);
    let body = json!({"code": recovery, "method": "recovery_code", "trust_device": true});
    let done = browser.post_json(VERIFY, &body).await;
    assert_eq!((done.status, &done.json()["device_trusted"]), (200, &json!(false)), "{}", done.body);
    assert!(!browser.cookies.contains_key("iam_trusted"));
    assert_eq!((rows(&world).await, world.logged("device_trusted").await), (0, 0));

    // What a browser keeps does not help who wants a token.
    let mut browser = trusted(&world, &app, "amy").await;
    let begun = browser.post_json("/api/v1/auth/login", &sign_in).await;
    assert_eq!(begun.json()["status"], "mfa_required", "{}", begun.body);
}

/// A factor that is required is as good as proved on a trusted browser; as far as the policy goes, and as long as it says so.
pub async fn a_trusted_browser_satisfies_a_requirement(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let app = with_app(&world, "amy").await;
    require_of_admins(&world, 0).await;
    let browser = trusted(&world, &app, "amy").await;
    let mut signed_in = in_by_trust(&browser, "amy").await;
    assert_eq!(signed_in.get("/reports").await.status, 200);

    // Switched off: what was trusted counts for nothing, and neither does a session that stands on it.
    let off = world.restarted_with(|builder| builder.factor_policy(policy(None, None))).await;
    let at = |there: &World, browser: &Browser| {
        let mut moved = there.browser();
        moved.cookies.clone_from(&browser.cookies);
        moved
    };
    assert_eq!(comes(&at(&off, &browser), "amy", PASSWORD).await, "mfa_required");
    let refused = at(&off, &signed_in).get("/reports").await;
    // They have the factor, and prove it.
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("mfa_required")));
    assert_eq!(refused.json()["methods"], json!(["totp"]));
    let mut due = at(&off, &signed_in);
    let sent = due.open("/reports").await;
    assert_eq!((sent.status, sent.location()), (303, "/auth/mfa/verify?next=/reports"));
    let page = due.open(sent.location()).await;
    assert!(page.body.contains("logout"), "there is a way out: {}", page.body);
    let proved = due.post_json(VERIFY, &json!({"code": app.code(&off, 0)})).await;
    assert_eq!(proved.status, 200, "{}", proved.body);
    assert_eq!(due.get("/reports").await.status, 200);
    // A factor that satisfies nothing any more is not stood in for.
    let narrow = policy(Some(MONTH), Some(FactorKind::EmailOtp));
    let narrow = world.restarted_with(|builder| builder.factor_policy(narrow)).await;
    assert_eq!(comes(&at(&narrow, &browser), "amy", PASSWORD).await, "mfa_required");
    assert_eq!(comes(&browser, "amy", PASSWORD).await, "authenticated");

    // And nobody gets by a browser what the factor alone would not give them.
    let strict = policy(Some(MONTH), Some(FactorKind::Totp));
    let strict = world.restarted_with(|builder| builder.factor_policy(strict)).await;
    with_address(&strict, "eve", "eve@example.com").await;
    let mut eve = strict.signed_in("eve").await;
    let begun = eve.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    let path = format!("{FACTORS}/{}/confirm", begun.json()["id"].as_str().unwrap());
    let code = mailed(&strict, 0).await;
    assert_eq!(eve.post_json(&path, &json!({"code": code})).await.status, 200);
    strict.later(60);
    let mut eve = half_way(&strict, "eve").await;
    assert_eq!(eve.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&strict, 1).await;
    assert!(!eve.open("/auth/mfa/verify").await.body.contains("trust_device"));
    let done = eve.post_json(VERIFY, &json!({"code": code, "trust_device": true})).await;
    assert_eq!((done.status, &done.json()["device_trusted"]), (200, &json!(false)), "{}", done.body);
}

/// The owner forgets all of them, with a fresh proof; from then on each is asked.
pub async fn people_forget_their_trusted_browsers(adapter: Adapter, backend: Backend) {
    let world = World::with(adapter, backend, trusting).await;
    let (amys, bobs) = (with_app(&world, "amy").await, with_app(&world, "bob").await);
    let bob = trusted(&world, &bobs, "bob").await;
    let (mut here, lost) = (trusted(&world, &amys, "amy").await, trusted(&world, &amys, "amy").await);
    let page = here.open("/auth/account").await;
    assert!(page.body.contains("Forget all trusted browsers"), "{}", page.body);
    assert!(!world.signed_in("max").await.open("/auth/account").await.body.contains("trusted"));
    for headers in [vec![], vec![("sec-fetch-site", "cross-site")]] {
        assert_eq!(here.send("DELETE", TRUSTED_DEVICES, &headers, Vec::new()).await.status, 403);
    }
    let forget = "/auth/account/trusted-devices/forget";
    assert_eq!(here.submit(forget, &[]).await.status, 403);
    assert_eq!(world.browser().submit(forget, &[]).await.status, 401);
    assert_eq!(send_json(&mut world.browser(), "DELETE", TRUSTED_DEVICES, &json!({})).await.status, 401);
    world.later(15 * 60);
    let stale = send_json(&mut here, "DELETE", TRUSTED_DEVICES, &json!({})).await;
    assert_eq!((stale.status, &stale.json()["code"]), (401, &json!("reauthentication_required")));
    let token = here.open("/auth/account").await.csrf_token();
    let stale = here.submit(forget, &[("csrf_token", &token)]).await;
    assert_eq!((stale.status, stale.location()), (303, "/auth/reauthenticate?next=/auth/account"));
    assert_eq!(rows(&world).await, 3);

    // A sign-in by the trust is a proof of the password, and will do.
    let mut here = in_by_trust(&here, "amy").await;
    let done = send_json(&mut here, "DELETE", TRUSTED_DEVICES, &json!({})).await;
    assert_eq!((done.status, done.json()), (200, json!({"forgotten": 2})), "{}", done.body);
    let cleared = "iam_trusted=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
    assert!(done.set_cookies().iter().any(|line| line == cleared), "{:?}", done.set_cookies());
    assert_eq!(here.get("/api/v1/me").await.status, 200, "sessions go on");
    assert_eq!(comes(&lost, "amy", PASSWORD).await, "mfa_required");
    assert_eq!(comes(&bob, "bob", PASSWORD).await, "authenticated", "nobody else's");
    assert_eq!(rows(&world).await, 1);
    let again = send_json(&mut here, "DELETE", TRUSTED_DEVICES, &json!({})).await;
    assert_eq!(again.json(), json!({"forgotten": 0}));
    assert_eq!(world.logged("device_trust_revoked").await, 1, "only what happened is written down");

    // By the page.
    let mut here = trusted(&world, &amys, "amy").await;
    let token = here.open("/auth/account").await.csrf_token();
    let done = here.submit(forget, &[("csrf_token", &token)]).await;
    assert_eq!((done.status, done.location()), (303, "/auth/account?done=browsers"), "{}", done.body);
    assert!(!here.cookies.contains_key("iam_trusted"));
    assert!(here.open(done.location()).await.body.contains("No browser is trusted any more."));
}
