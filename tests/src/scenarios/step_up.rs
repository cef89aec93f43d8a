use std::sync::atomic::Ordering;
use std::time::Duration;

use iam_core::ports::{AuthVersion, StepUpProof, StepUpProofId};
use iam_core::{Actor, ParentKey, ProofMethod, Purpose, RequirementOf, RoleName, SessionId};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::factors::{CHALLENGE, FACTORS, VERIFY, add_app, half_way, mailed, verify, with_address, with_app};
use crate::app::App;
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

pub(super) const STEP_UP: &str = "/api/v1/auth/step-up";
const PAY: [(&str, &str); 2] = [("amount", "100"), ("payee", "bob")];

/// Somebody who has signed in with both factors, a minute ago.
async fn signed_in(world: &World, app: &App, name: &str) -> Browser {
    let mut browser = half_way(world, name).await;
    assert_eq!(verify(&mut browser, &app.code(world, 0)).await.status, 200);
    world.later(60);
    browser
}

/// Proves for a purpose who they are, by JSON.
async fn step_up(world: &World, browser: &mut Browser, app: &App, purpose: &str) {
    let asked = browser.post_json(STEP_UP, &json!({ "purpose": purpose })).await;
    assert_eq!((asked.status, &asked.json()["method"]), (200, &json!("totp")), "{}", asked.body);
    let done = browser.post_json(VERIFY, &json!({ "code": app.code(world, 0) })).await;
    assert_eq!((done.status, &done.json()["purpose"]), (200, &json!(purpose)), "{}", done.body);
    // The next code is another one.
    world.later(30);
}

/// Sends the form as a script does.
async fn pay(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let origin = browser.origin();
    browser.submit_with(path, fields, &[("origin", origin.as_str())]).await
}

pub(super) fn needs_step_up(answer: &Answer) -> bool {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    answer.status == 401
        && answer.json()["code"] == "step_up_required"
        && challenge.contains("error=\"insufficient_user_authentication\"")
}

/// The value of a field of the page.
fn field(page: &Answer, name: &str) -> String {
    let (_, rest) = page
        .body
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("{name}: {}", page.body));
    rest.split('"').next().unwrap().replace("&#x2f;", "/").replace("&amp;", "&")
}

/// Fills in the code on the page that asks for it, as a browser does, and sends the form.
async fn confirm(world: &World, browser: &mut Browser, app: &App, location: &str) -> Answer {
    let page = browser.open(location).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (token, next) = (page.csrf_token(), field(&page, "next"));
    let code = app.code(world, 0);
    let mut fields =
        vec![("csrf_token", token), ("next", next), ("code", code), ("method", field(&page, "method"))];
    for name in ["purpose", "methods", "resume"] {
        if page.body.contains(&format!("name=\"{name}\"")) {
            fields.push((name, field(&page, name)));
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit("/auth/mfa/verify", &fields).await
}

fn payments(page: &Answer) -> usize {
    page.body.matches("<li>100 to bob</li>").count()
}

/// RFC 9470: a fresh proof for this alone; it lasts five minutes, in this session, and the session's token stays.
pub async fn a_purpose_asks_for_a_proof_of_its_own(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = half_way(&world, "amy").await;
    assert_eq!(verify(&mut browser, &app.code(&world, 0)).await.status, 200);
    let refused = browser.get("/payroll").await;
    assert!(needs_step_up(&refused), "signing in, however fresh, is no such proof: {}", refused.body);
    let challenge = refused.header("www-authenticate").unwrap();
    assert_eq!(
        challenge,
        "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\", max_age=300"
    );
    let document = refused.json();
    for (member, value) in [
        ("purpose", json!("payroll")),
        ("methods", json!(["totp"])),
        ("max_age", json!(300)),
        ("once", json!(false)),
        ("step_up", json!(STEP_UP)),
        ("verify", json!(VERIFY)),
        ("page", json!("/auth/mfa/verify?purpose=payroll&next=/payroll")),
    ] {
        assert_eq!(document[member], value, "{member}");
    }
    assert_eq!(document["request_id"].as_str(), refused.header("x-request-id"));
    let token = browser.session_cookie().unwrap().to_owned();
    let asked = browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert_eq!((&asked.json()["method"], &asked.json()["methods"]), (&json!("totp"), &json!(["totp"])));
    let wrong = browser.post_json(VERIFY, &json!({"code": app.wrong(&world)})).await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &json!("invalid_code")));
    assert!(needs_step_up(&browser.get("/payroll").await), "asking and failing opens nothing");
    let used = browser.post_json(VERIFY, &json!({"code": app.code(&world, 0)})).await;
    assert_eq!(used.status, 401, "the code that signed in");
    world.later(30);
    step_up(&world, &mut browser, &app, "payroll").await;
    assert_eq!(browser.session_cookie().unwrap(), token, "the token stays");
    let seen = browser.get("/payroll").await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    let mut other = signed_in(&world, &app, "amy").await;
    assert!(needs_step_up(&other.get("/payroll").await), "another session");
    assert_eq!(browser.get("/payroll").await.status, 200);
    // 30 s and 60 s have passed.
    world.later(209);
    assert_eq!(browser.get("/payroll").await.status, 200, "after 299 s");
    world.later(1);
    assert!(needs_step_up(&browser.get("/payroll").await), "after 300 s");
    assert_eq!(world.logged("authn_step_up_used").await, 0, "it was looked at, and not used up");
    assert!(world.logged("authn_step_up_required").await >= 4);
    // The specification's `recent_successful_mfa`.
    let rows = "SELECT count(*) FROM iam_mfa_challenge WHERE purpose = 'payroll' AND consumed_at IS NOT NULL";
    assert_eq!(world.count(rows).await, 1);

    // Once.
    step_up(&world, &mut browser, &app, "payroll").await;
    let paid = pay(&mut browser, "/payroll", &PAY).await;
    assert_eq!((paid.status, payments(&paid)), (200, 1), "{}", paid.body);
    let again = pay(&mut browser, "/payroll", &PAY).await;
    assert!(needs_step_up(&again), "{}", again.body);
    assert_eq!(again.json()["once"], true);
    assert!(needs_step_up(&browser.get("/payroll").await), "used up is used up");
    assert_eq!(world.logged("authn_step_up_used").await, 1);
    // It is used up before the handler looks at the form.
    step_up(&world, &mut browser, &app, "payroll").await;
    assert_eq!(pay(&mut browser, "/payroll", &[("amount", "1")]).await.status, 422);
    assert!(needs_step_up(&pay(&mut browser, "/payroll", &PAY).await));
    // What a guarded request costs.
    step_up(&world, &mut browser, &app, "payroll").await;
    browser.get("/payroll").await;
    let (reads, units) =
        (world.faults.reads.load(Ordering::SeqCst), world.faults.units.load(Ordering::SeqCst));
    for _ in 0..5 {
        assert_eq!(browser.get("/payroll").await.status, 200);
        assert_eq!(browser.get("/transfers").await.status, 200);
    }
    assert_eq!(
        world.faults.reads.load(Ordering::SeqCst) - reads,
        5 * 2 + 5,
        "session and roles are one read, and the proofs are one more where a guard asks for one"
    );
    assert_eq!(world.faults.units.load(Ordering::SeqCst), units);
}

/// The same with a token of one's own, which stays as it is, too.
pub async fn native_clients_step_up_by_bearer_tokens(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let body = json!({"username": "amy", "password": PASSWORD, "token": true}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = world.browser().send("POST", "/api/v1/auth/login", &headers, body.into()).await.json();
    let mut pending = world
        .browser()
        .with_header("authorization", &format!("Bearer {}", answer["mfa_token"].as_str().unwrap()));
    let post = async |client: &mut Browser, path: &str, body: Value| {
        client.send("POST", path, &headers, body.to_string().into()).await
    };
    let refused = post(&mut pending, STEP_UP, json!({"purpose": "payroll"})).await;
    assert_eq!(refused.status, 401, "who is not signed in yet");
    let done = post(&mut pending, VERIFY, json!({"code": app.code(&world, 0)})).await.json();
    let token = done["session_token"].as_str().unwrap().to_owned();
    let mut client = world.browser().with_header("authorization", &format!("Bearer {token}"));
    world.later(30);
    assert!(needs_step_up(&client.get("/payroll").await));
    for (body, status, code) in [
        (json!({}), 422, "invalid"),
        (json!({"purpose": "Pay roll"}), 422, "invalid"),
        (json!({"purpose": "sign_in"}), 422, "invalid"),
        (json!({"purpose": 1}), 422, "invalid"),
        (json!({"purpose": "payroll", "method": "push"}), 422, "invalid"),
        (json!({"purpose": "payroll", "method": "email_otp"}), 422, "no_method"),
        (json!({"purpose": "payroll", "method": "invitation"}), 422, "no_method"),
        (json!({"purpose": "payroll", "approval": "x"}), 422, "invalid"),
        (json!({"purpose": "payroll", "more": 1}), 422, "invalid"),
        (json!({"purpose": "iam:login"}), 422, "invalid"),
    ] {
        let answer = post(&mut client, STEP_UP, body.clone()).await;
        assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (status, code), "{body}");
    }
    let asked = post(&mut client, STEP_UP, json!({"purpose": "payroll", "method": "totp"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let wrong = post(&mut client, VERIFY, json!({"code": app.code(&world, 0), "purpose": "other"})).await;
    assert_eq!(wrong.status, 422, "nobody asked for that");
    let done = post(&mut client, VERIFY, json!({"code": app.code(&world, 0), "purpose": "payroll"})).await;
    assert_eq!((done.status, done.set_cookies()), (200, Vec::new()), "{}", done.body);
    assert_eq!(done.json()["session_token"], json!(token), "the same");
    assert_eq!(client.get("/payroll").await.status, 200);
    let paid = client.submit_with("/payroll", &PAY, &[]).await;
    assert_eq!((paid.status, payments(&paid)), (200, 1));
    assert!(needs_step_up(&client.submit_with("/payroll", &PAY, &[]).await));
    // What is paid there is shown there, and not where another guard stands; nor to anybody else.
    assert_eq!(payments(&client.get("/transfers").await), 0);
    let mut bob = world.signed_in("bob").await;
    assert_eq!(payments(&bob.get("/transfers").await), 0);
    // With a bearer token a page gets no page: it has nowhere to be sent.
    let as_page = client.open("/payroll").await;
    assert_eq!(as_page.status, 401);
}

/// A page leads to the code and back to where it was.
pub async fn a_page_is_sent_to_prove_and_comes_back(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    let sent = browser.open("/payroll?month=1&x=a%20b").await;
    let location = "/auth/mfa/verify?purpose=payroll&next=/payroll%3Fmonth%3D1%26x%3Da%2520b";
    assert_eq!((sent.status, sent.location()), (303, location));
    let page = browser.open(location).await;
    assert!(
        page.body.contains("To go on, confirm once more that it is you. This is for: payroll."),
        "{}",
        page.body
    );
    assert!(page.body.contains("href=\"&#x2f;\"") || page.body.contains("href=\"/\""), "cancel leads away");
    let before = browser.session_cookie().unwrap().to_owned();
    let done = confirm(&world, &mut browser, &app, location).await;
    assert_eq!((done.status, done.location()), (303, "/payroll?month=1&x=a%20b"), "{}", done.body);
    assert_eq!(browser.session_cookie().unwrap(), before);
    assert_eq!(browser.open("/payroll").await.status, 200);
    // Who was not signed in is, first, and comes back to the same question.
    let mut stranger = world.browser();
    let to_login = stranger.open(location).await;
    assert_eq!(to_login.status, 303);
    assert!(to_login.location().starts_with("/auth/login?next=/auth/mfa/verify%3Fpurpose%3Dpayroll"));
    for (path, status) in [
        ("/auth/mfa/verify?purpose=No+purpose", 400),
        ("/auth/mfa/verify?purpose=sign_in", 400),
        ("/auth/mfa/verify?purpose=iam:login", 400),
        ("/auth/mfa/verify?purpose=a&purpose=b", 422),
        ("/auth/mfa/verify?resume=x", 400),
        ("/auth/mfa/verify?resume=019b76da-a800-7000-8000-0000000000ff", 409),
        ("/auth/mfa/resume/019b76da-a800-7000-8000-0000000000ff", 409),
        ("/auth/mfa/resume/x", 404),
        ("/auth/mfa/verify?purpose=payroll&methods=%3Cscript%3E&next=//evil.example", 200),
    ] {
        let answer = browser.open(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(!answer.body.contains("evil.example") && !answer.body.contains("<script"), "{path}");
    }
    let asked = browser.open(location).await;
    let token = asked.csrf_token();
    let code = app.code(&world, 1);
    for fields in [
        vec![("code", code.as_str()), ("purpose", "payroll")],
        vec![("code", code.as_str()), ("purpose", "payroll"), ("csrf_token", "x")],
    ] {
        assert_eq!(browser.submit("/auth/mfa/verify", &fields).await.status, 403, "{fields:?}");
    }
    let fields = [("code", code.as_str()), ("purpose", "sign_in"), ("csrf_token", token.as_str())];
    assert_eq!(browser.submit("/auth/mfa/verify", &fields).await.status, 400);
}

/// A form that was stopped is shown and sent once, whatever is clicked twice, opened twice, or gone back to.
pub async fn a_stopped_form_goes_on_once(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    let fields =
        [("amount", "100"), ("payee", "bob"), ("note", "a <b> & \"c\" é\r\nd"), ("password", "hunter22")];
    let stopped = browser.submit("/payroll", &fields).await;
    assert_eq!(stopped.status, 303, "{}", stopped.body);
    let verify_at = stopped.location().to_owned();
    assert!(verify_at.starts_with("/auth/mfa/verify?resume="), "{verify_at}");
    let sealed = world.count("SELECT count(*) FROM iam_interrupted_request WHERE length(sealed) > 60").await;
    assert_eq!(sealed, 1);
    let early = browser.open(&verify_at.replace("/mfa/verify?resume=", "/mfa/resume/")).await;
    assert_eq!((early.status, early.location()), (303, verify_at.as_str()), "not before they have proved it");
    let confirmed = confirm(&world, &mut browser, &app, &verify_at).await;
    assert_eq!(confirmed.status, 303, "{}", confirmed.body);
    let resume_at = confirmed.location().to_owned();
    let page = browser.open(&resume_at).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("action=\"&#x2f;payroll\"") || page.body.contains("action=\"/payroll\""),
        "{}",
        page.body
    );
    assert!(page.body.contains("a &lt;b&gt; &amp; &quot;c&quot; é"), "{}", page.body);
    assert_eq!(page.body.matches("hunter22").count(), 1, "in the form, and not on the screen");
    assert_eq!(payments(&browser.open("/payroll").await), 0, "nothing was sent yet");
    // Another session can't go on with it, and neither can another person.
    let mut elsewhere = world.signed_in("bob").await;
    assert_eq!(elsewhere.open(&resume_at).await.status, 409);
    assert_eq!(elsewhere.open(&verify_at).await.status, 409);
    let token = page.csrf_token();
    let fields = [("amount", "100"), ("payee", "bob"), ("note", "x"), ("csrf_token", token.as_str())];
    let second_tab = browser.open(&resume_at).await.csrf_token();
    let paid = browser.submit("/payroll", &fields).await;
    assert_eq!((paid.status, payments(&paid)), (200, 1), "{}", paid.body);
    // The double click, though the proof is used up: to be asked for it again, for the same, would lead to sending it twice.
    let again = browser.submit("/payroll", &fields).await;
    assert_eq!(again.status, 409, "{}", again.body);
    assert!(again.body.contains("This was not sent again"));
    assert_eq!(browser.open(&verify_at).await.status, 409, "back to the code");
    // The second tab, with a proof of its own; and the back button.
    world.later(30);
    step_up(&world, &mut browser, &app, "payroll").await;
    let fields = [("amount", "100"), ("payee", "bob"), ("csrf_token", second_tab.as_str())];
    let again = browser.submit("/payroll", &fields).await;
    assert_eq!(again.status, 409, "{}", again.body);
    assert!(again.body.contains("This was not sent again"));
    assert_eq!(browser.open(&resume_at).await.status, 409);
    assert_eq!(payments(&browser.open("/payroll").await), 1);
    // That refusal used nothing up: another form goes through with the same proof.
    let fresh = browser.open("/payroll").await.csrf_token();
    let paid =
        browser.submit("/payroll", &[("amount", "100"), ("payee", "bob"), ("csrf_token", &fresh)]).await;
    assert_eq!((paid.status, payments(&paid)), (200, 2), "{}", paid.body);
    // Many at once, over two processes.
    let stopped = browser.submit("/payroll", &PAY).await.location().to_owned();
    let resume_at = confirm(&world, &mut browser, &app, &stopped).await.location().to_owned();
    let token = browser.open(&resume_at).await.csrf_token();
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let (mut browser, token) = (browser.clone(), token.clone());
        tasks.spawn(async move {
            let fields = [("amount", "100"), ("payee", "bob"), ("csrf_token", token.as_str())];
            browser.submit("/payroll", &fields).await.status
        });
    }
    let passed = tasks.join_all().await.into_iter().filter(|status| *status == 200).count();
    assert_eq!(passed, 1);
    // Who looks at it until the proof is too old is asked once more; and only by the newest page it is sent.
    world.later(30);
    let stopped = browser.submit("/payroll", &PAY).await.location().to_owned();
    let resume_at = confirm(&world, &mut browser, &app, &stopped).await.location().to_owned();
    let token = browser.open(&resume_at).await.csrf_token();
    world.later(300);
    let fields = [("amount", "100"), ("payee", "bob"), ("csrf_token", token.as_str())];
    let again = browser.submit("/payroll", &fields).await;
    assert_eq!(again.status, 303, "{}", again.body);
    let verify_at = again.location().to_owned();
    assert_eq!(browser.submit("/payroll", &fields).await.status, 409);
    let resume_at = confirm(&world, &mut browser, &app, &verify_at).await.location().to_owned();
    let token = browser.open(&resume_at).await.csrf_token();
    let paid =
        browser.submit("/payroll", &[("amount", "100"), ("payee", "bob"), ("csrf_token", &token)]).await;
    assert_eq!((paid.status, payments(&paid)), (200, 4), "{}", paid.body);
}

/// What a browser can't send once more as it was is not kept, and that is said; so is what waited too long.
pub async fn what_can_not_be_kept_says_so(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    let origin = browser.origin();
    let large = format!("amount=1&payee=b&note={}", "x".repeat(17_000));
    for (method, kind, body) in [
        ("POST", "application/x-www-form-urlencoded", large.as_str()),
        ("POST", "multipart/form-data; boundary=x", "--x\r\n\r\n"),
        ("POST", "text/plain", "amount=1"),
        ("POST", "application/x-www-form-urlencoded", "amount=%ff"),
        ("POST", "application/x-www-form-urlencoded; charset=utf-16le", "amount=1"),
    ] {
        let headers = [("content-type", kind), ("origin", origin.as_str()), ("accept", "text/html")];
        let answer = browser.send(method, "/payroll", &headers, body.as_bytes().to_vec()).await;
        assert_eq!(answer.status, 401, "{kind}: {}", answer.body);
        assert!(answer.body.contains("send it again"), "{kind}: {}", answer.body);
        assert!(answer.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
        assert!(
            answer.body.contains("mfa&#x2f;verify?purpose=payroll")
                || answer.body.contains("mfa/verify?purpose=payroll")
        );
    }
    let kept = async || world.count("SELECT count(*) FROM iam_interrupted_request").await;
    assert_eq!(kept().await, 0);
    // What another site made the browser send is refused, and not kept for its owner to confirm.
    let headers = [("origin", "https://evil.example"), ("accept", "text/html")];
    assert_eq!(browser.submit_with("/payroll", &PAY, &headers).await.status, 403);
    assert_eq!(kept().await, 0);
    // Only so many wait at once.
    let mut last = String::new();
    for _ in 0..8 {
        browser.submit("/payroll", &PAY).await.location().clone_into(&mut last);
    }
    assert_eq!(kept().await, 5);
    world.later(600);
    assert_eq!(browser.open(&last).await.status, 409, "after ten minutes");
    world.iam.upkeep().await.unwrap();
    world.later(1);
    world.iam.upkeep().await.unwrap();
    assert_eq!(kept().await, 0);
    // It waits for the same session alone: a sign-out ends it.
    let waiting = browser.submit("/payroll", &PAY).await.location().to_owned();
    let mut other = signed_in(&world, &app, "amy").await;
    assert_eq!(other.open(&waiting).await.status, 409);
}

/// Without a factor that will do, a page leads to where one is set up, and back; a program is told.
pub async fn without_a_factor_one_is_to_be_set_up(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut browser = world.signed_in("amy").await;
    let refused = browser.get("/payroll").await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("enrolment_required")));
    assert_eq!((&refused.json()["methods"], &refused.json()["enrol"]), (&json!(["totp"]), &json!(FACTORS)));
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
    let refused = browser.post_json(STEP_UP, &json!({"purpose": "payroll", "method": "totp"})).await;
    assert_eq!(refused.status, 422);
    let sent = browser.open("/payroll").await;
    assert_eq!((sent.status, sent.location()), (303, "/auth/mfa/enrol?methods=totp&next=/payroll"));
    let page = browser.open(sent.location()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Add an authenticator app"), "{}", page.body);
    let page = browser.open("/auth/account/factors/new?kind=totp&next=/payroll").await;
    let fields =
        [("kind", "totp"), ("name", "phone"), ("next", "/payroll"), ("csrf_token", &page.csrf_token())];
    let page = browser.submit("/auth/account/factors/new", &fields).await;
    let secret =
        page.body.split("translate=\"no\">").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let app = App::from_base32(&secret);
    let (factor, token, code) = (field(&page, "factor"), page.csrf_token(), app.code(&world, 0));
    let fields = [
        ("factor", factor.as_str()),
        ("kind", "totp"),
        ("code", &code),
        ("next", "/payroll"),
        ("csrf_token", &token),
    ];
    let done = browser.submit("/auth/account/factors/confirm", &fields).await;
    assert_eq!((done.status, done.location()), (303, "/payroll"), "{}", done.body);
    let asked = browser.open("/payroll").await;
    assert!(
        asked.location().starts_with("/auth/mfa/verify?purpose=payroll"),
        "setting it up is no proof for this"
    );
    world.later(30);
    assert_eq!(confirm(&world, &mut browser, &app, asked.location()).await.location(), "/payroll");
    assert_eq!(browser.open("/payroll").await.status, 200);
    let form = world.signed_in("bob").await.submit("/payroll", &PAY).await;
    assert_eq!(form.status, 401, "{}", form.body);
    assert!(form.body.contains("Set up a second step"));
}

/// What is approved is what is sent: not another amount, not another payee, not without approval, not twice.
pub async fn a_proof_is_bound_to_what_is_approved(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    let refused = pay(&mut browser, "/transfers", &PAY).await;
    assert!(needs_step_up(&refused), "{}", refused.body);
    assert_eq!(
        refused.json()["approve"],
        json!([{"field": "amount", "value": "100"}, {"field": "payee", "value": "bob"}])
    );
    let approval = refused.json()["approval"].as_str().unwrap().to_owned();
    // A proof for the purpose, and for nothing in particular, is none for this.
    step_up(&world, &mut browser, &app, "transfer").await;
    assert!(needs_step_up(&pay(&mut browser, "/transfers", &PAY).await));
    let asked = browser.post_json(STEP_UP, &json!({"purpose": "transfer", "approval": approval})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert_eq!(asked.json()["approve"][1]["value"], "bob");
    let elsewhere = browser.post_json(STEP_UP, &json!({"purpose": "payroll", "approval": approval})).await;
    assert_eq!(elsewhere.status, 422, "of another purpose");
    // A code says itself what it approves: what was asked for last may be something else by now.
    let other = pay(&mut browser, "/transfers", &[("amount", "9"), ("payee", "eve")]).await;
    let other = other.json()["approval"].as_str().unwrap().to_owned();
    let code = app.code(&world, 0);
    for words in [
        json!({"code": code}),
        json!({"code": code, "purpose": "transfer"}),
        json!({"code": code, "approval": other}),
        json!({"code": code, "approval": "x"}),
    ] {
        let refused = browser.post_json(VERIFY, &words).await;
        assert_eq!(
            (refused.status, refused.json()["errors"][0]["field"].as_str()),
            (422, Some("approval")),
            "{words}"
        );
    }
    world.later(1);
    let asked = browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await;
    assert_eq!(asked.status, 200);
    let refused = browser.post_json(VERIFY, &json!({"code": code, "approval": approval})).await;
    assert_eq!(refused.status, 422, "payroll was asked for last, and approves nothing");
    let words = json!({"code": code, "purpose": "transfer", "approval": approval});
    let done = browser.post_json(VERIFY, &words).await;
    assert_eq!((done.status, &done.json()["purpose"]), (200, &json!("transfer")), "{}", done.body);
    world.later(30);
    for changed in [
        [("amount", "1000"), ("payee", "bob")],
        [("amount", "100"), ("payee", "eve")],
        [("amount", "bob"), ("payee", "100")],
    ] {
        assert!(needs_step_up(&pay(&mut browser, "/transfers", &changed).await), "{changed:?}");
    }
    let unseen = [("amount", "100 "), ("payee", "bob")];
    assert_eq!(pay(&mut browser, "/transfers", &unseen).await.status, 422, "nobody sees a space at the end");
    assert!(needs_step_up(&pay(&mut browser, "/transfers?x", &PAY).await), "another address");
    // One body that is read in two ways: what was approved, and in another charset something else.
    let mut twofold = b"amount=100&payee=bob&x=1".to_vec();
    twofold.extend("&amount=9000&payee=eve&".encode_utf16().flat_map(u16::to_le_bytes));
    let origin = browser.origin();
    for charset in ["utf-16le", "utf-16", "iso-8859-1", "utf-8; charset=utf-16le"] {
        let content_type = format!("application/x-www-form-urlencoded; charset={charset}");
        let headers = [("origin", origin.as_str()), ("content-type", content_type.as_str())];
        for body in [twofold.clone(), b"amount=100&payee=bob".to_vec()] {
            assert_eq!(browser.send("POST", "/transfers", &headers, body).await.status, 415, "{charset}");
        }
    }
    assert!(needs_step_up(&pay(&mut browser, "/payroll", &PAY).await), "another purpose");
    assert_eq!(pay(&mut browser, "/transfers", &[("amount", "100")]).await.status, 422);
    let twice = [("amount", "100"), ("amount", "1"), ("payee", "bob")];
    assert_eq!(pay(&mut browser, "/transfers", &twice).await.status, 422);
    let paid = pay(&mut browser, "/transfers", &PAY).await;
    assert_eq!((paid.status, payments(&paid)), (200, 1), "{}", paid.body);
    assert!(needs_step_up(&pay(&mut browser, "/transfers", &PAY).await), "once");
    // As a page: it is shown before it is confirmed, and what is sent then is that.
    let stopped = browser.submit("/transfers", &PAY).await.location().to_owned();
    let page = browser.open(&stopped).await;
    assert!(page.body.contains("You are about to approve"), "{}", page.body);
    assert!(page.body.contains("<bdi>100</bdi>") && page.body.contains("<bdi>bob</bdi>"));
    let resume_at = confirm(&world, &mut browser, &app, &stopped).await.location().to_owned();
    let token = browser.open(&resume_at).await.csrf_token();
    let changed = [("amount", "999"), ("payee", "bob"), ("csrf_token", token.as_str())];
    let refused = browser.submit("/transfers", &changed).await;
    assert_eq!(refused.status, 303, "asked again, for that: {}", refused.body);
    let page = browser.open(refused.location()).await;
    assert!(page.body.contains("<bdi>999</bdi>"));
    let fields = [("amount", "100"), ("payee", "bob"), ("csrf_token", token.as_str())];
    assert_eq!(browser.submit("/transfers", &fields).await.status, 409, "what took its place waits now");
    assert_eq!(payments(&browser.open("/transfers").await), 1);
}

/// One statement decides: of any number at once on one proof, over two processes, one passes.
pub async fn of_many_requests_on_one_proof_one_passes(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let beside = world.restarted().await;
    let mut browser = signed_in(&world, &app, "amy").await;
    for _ in 0..3 {
        step_up(&world, &mut browser, &app, "payroll").await;
        let mut tasks = JoinSet::new();
        for n in 0..32 {
            let mut one = if n % 2 == 0 { world.browser() } else { beside.browser() };
            one.cookies.clone_from(&browser.cookies);
            tasks.spawn(async move { pay(&mut one, "/payroll", &PAY).await.status });
        }
        let statuses = tasks.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    }
    assert_eq!(world.logged("authn_step_up_used").await, 3);
}

/// Nobody fills the table by asking; and whoever answers is not held up.
pub async fn questions_have_a_limit(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    let mut other = signed_in(&world, &app, "amy").await;
    for n in 0..30 {
        let asked = browser.post_json(STEP_UP, &json!({"purpose": format!("p{}", n % 20)})).await;
        assert_eq!(asked.status, 200, "{n}: {}", asked.body);
    }
    for client in [&mut browser, &mut other] {
        let refused = client.post_json(STEP_UP, &json!({"purpose": "payroll"})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("throttled")), "{}", refused.body);
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 600);
    }
    // A code for what was asked before is taken, and ends it.
    let done = browser.post_json(VERIFY, &json!({"code": app.code(&world, 0), "purpose": "p3"})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(other.post_json(STEP_UP, &json!({"purpose": "payroll"})).await.status, 200);
    for n in 0..29 {
        let asked = browser.post_json(STEP_UP, &json!({"purpose": format!("q{n}")})).await;
        assert_eq!(asked.status, 200, "{n}: {}", asked.body);
    }
    assert_eq!(browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await.status, 429);
    world.later(600);
    assert_eq!(browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await.status, 200);
    // Wrong answers stay counted however often it is asked.
    for n in 0..5 {
        assert_eq!(browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await.status, 200, "{n}");
        let words = json!({"code": app.wrong(&world), "purpose": "payroll"});
        assert_eq!(browser.post_json(VERIFY, &words).await.json()["code"], "invalid_code", "{n}");
    }
    let right = browser.post_json(VERIFY, &json!({"code": app.code(&world, 0), "purpose": "payroll"})).await;
    assert_eq!(right.json()["code"], "challenge_spent");
    let refused = browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("600")));
    world.later(600);
    step_up(&world, &mut browser, &app, "payroll").await;
    // What was not asked for, and counts by no policy, is not looked at: a code of the list would be lost for nothing.
    assert_eq!(browser.post_json(STEP_UP, &json!({"purpose": "payroll"})).await.status, 200);
    for method in ["recovery_code", "password"] {
        let words = json!({"code": PASSWORD, "method": method, "purpose": "payroll"});
        assert_eq!(browser.post_json(VERIFY, &words).await.json()["code"], "no_method", "{method}");
    }
    // A password can be sent as often as one likes: it makes no room for more.
    for n in 1..30 {
        let words = json!({"purpose": format!("w{n}"), "method": "password"});
        assert_eq!(browser.post_json(STEP_UP, &words).await.status, 200, "{n}");
        if n % 10 == 0 {
            let done = browser.post_json(VERIFY, &json!({"code": PASSWORD})).await;
            assert_eq!((done.status, &done.json()["purpose"]), (200, &words["purpose"]), "{}", done.body);
        }
        world.later(1);
    }
    assert_eq!(browser.post_json(STEP_UP, &json!({"purpose": "w", "method": "password"})).await.status, 429);
    // What nobody answered is no history: it goes.
    world.later(30 * 24 * 3600);
    world.iam.upkeep().await.unwrap();
    world.later(1);
    world.iam.upkeep().await.unwrap();
}

/// Purpose x age x factor x session x account x parent x version x used up: every one of them, over HTTP, and said a second time in plain
/// words.
pub async fn every_proof_opens_what_it_was_made_for(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let session_of = async |browser: &mut Browser| -> SessionId {
        browser.get("/api/v1/me").await.json()["session"]["id"].as_str().unwrap().parse().unwrap()
    };
    let mut amy = world.signed_in("amy").await;
    let mut elsewhere = world.signed_in("amy").await;
    let sessions = [session_of(&mut amy).await, session_of(&mut elsewhere).await];
    let accounts = [world.account("amy").await, world.account("bob").await];
    let service = Actor::service();
    let mut parents = Vec::new();
    for key in ["acme", "globex"] {
        parents
            .push(Some(world.iam.parents(&service).ensure(&ParentKey::parse(key).unwrap()).await.unwrap()));
    }
    let purposes = ["payroll", "other"].map(|name| Purpose::parse(name).unwrap());
    let kinds = [ProofMethod::Totp, ProofMethod::SmsOtp, ProofMethod::EmailOtp, ProofMethod::Password];
    let (mut tried, mut opened) = (0_u32, 0);
    for case in 0..2_usize.pow(7) {
        let bit = |n: usize| case >> n & 1;
        for kind in kinds {
            tried += 1;
            let mut id = [7; 16];
            id[..4].copy_from_slice(&tried.to_be_bytes());
            let age = Duration::from_secs([299, 300][bit(1)]);
            let proof = StepUpProof {
                id: StepUpProofId::from_bytes(id),
                account: accounts[bit(3)],
                parent: parents[bit(4)],
                auth_version: AuthVersion::from_i64([1, 2][bit(5)]),
                purpose: purposes[bit(0)],
                kind,
                proved_at: world.iam.now().minus(age),
                approval: None,
            };
            world.prove(&proof, sessions[bit(2)], bit(6) == 1).await;
            let is_good = case == 0 && kind == ProofMethod::Totp;
            let seen = amy.get("/payroll").await;
            assert_eq!(seen.status == 200, is_good, "{case:07b} {kind}: {}", seen.body);
            let paid = pay(&mut amy, "/payroll", &PAY).await;
            assert_eq!(paid.status == 200, is_good, "{case:07b} {kind}: {}", paid.body);
            opened += u32::from(is_good);
            world.execute("DELETE FROM iam_step_up_proof").await;
        }
    }
    assert_eq!((tried, opened), (512, 1));
}

/// GHSA-hp74-gm6m-2qm5 and its like: nothing weaker, older, or meant for something else opens a purpose.
pub async fn no_shortcut_opens_a_purpose(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "ann", "ann@example.com").await;
    let mut browser = world.signed_in("ann").await;
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    world.later(60);
    let mail = browser.post_json(FACTORS, &json!({"kind": "email_otp"})).await;
    assert_eq!(mail.status, 201, "{}", mail.body);
    let code = mailed(&world, 0).await;
    let id = mail.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        browser.post_json(&format!("{FACTORS}/{id}/confirm"), &json!({"code": code})).await.status,
        200
    );
    let codes = browser.post_json("/api/v1/account/recovery-codes", &json!({})).await.json();
    let recovery = codes["recovery_codes"][0].as_str().unwrap().to_owned();
    assert!(needs_step_up(&browser.get("/payroll").await), "setting factors up");
    // Proving again who one is.
    assert_eq!(
        browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await.status,
        200
    );
    assert!(needs_step_up(&browser.get("/payroll").await), "the password");
    world.later(60);
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "totp"})).await.status, 200);
    assert_eq!(browser.post_json(VERIFY, &json!({"code": app.code(&world, 0)})).await.status, 200);
    assert!(needs_step_up(&browser.get("/payroll").await), "a fresh code, for something else");
    world.later(60);
    // For the purpose, by what does not count there. It is taken, and opens nothing.
    for (method, code) in [("password", PASSWORD.to_owned()), ("recovery_code", recovery)] {
        let asked = browser.post_json(STEP_UP, &json!({"purpose": "payroll", "method": method})).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        let done = browser.post_json(VERIFY, &json!({"code": code, "method": method})).await;
        assert_eq!(done.status, 200, "{method}: {}", done.body);
        assert!(needs_step_up(&browser.get("/payroll").await), "{method}");
    }
    let known = world.codes().len();
    let asked = browser.post_json(STEP_UP, &json!({"purpose": "payroll", "method": "email_otp"})).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let code = mailed(&world, known).await;
    let done = browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert!(needs_step_up(&browser.get("/payroll").await), "a code by e-mail");
    // The page offers what counts, and nothing else.
    let page = browser.open("/auth/mfa/verify?purpose=payroll&next=/payroll").await;
    assert!(!page.body.contains("email_otp") && !page.body.contains("recovery_code"), "{}", page.body);
    // For another purpose.
    step_up(&world, &mut browser, &app, "other").await;
    assert!(needs_step_up(&browser.get("/payroll").await), "another purpose");
    // A good one, and then something weaker and newer: the good one still counts, the weaker one never does.
    step_up(&world, &mut browser, &app, "payroll").await;
    let asked = browser.post_json(STEP_UP, &json!({"purpose": "payroll", "method": "password"})).await;
    assert_eq!(asked.status, 200);
    let newer = browser.post_json(VERIFY, &json!({"code": PASSWORD, "method": "password"})).await;
    assert_eq!(newer.status, 200, "{}", newer.body);
    assert_eq!(browser.get("/payroll").await.status, 200);
    world.later(269);
    assert_eq!(browser.get("/payroll").await.status, 200);
    world.later(1);
    assert!(needs_step_up(&browser.get("/payroll").await), "the weaker one is younger");
    // A fresh sign-in in the same browser, by the password and the mailed code.
    step_up(&world, &mut browser, &app, "payroll").await;
    assert_eq!(browser.api_sign_in("ann", PASSWORD).await.json()["status"], "mfa_required");
    let refused = browser.get("/payroll").await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("mfa_required")));
    let known = world.codes().len();
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "email_otp"})).await.status, 200);
    let code = mailed(&world, known).await;
    assert_eq!(browser.post_json(VERIFY, &json!({"code": code, "method": "email_otp"})).await.status, 200);
    assert!(needs_step_up(&browser.get("/payroll").await), "the session that had it is over");
    // Wrong passwords have the limit of re-authentication.
    for n in 0..5 {
        browser.post_json(STEP_UP, &json!({"purpose": "payroll", "method": "password"})).await;
        let wrong =
            browser.post_json(VERIFY, &json!({"code": "not the password", "method": "password"})).await;
        assert_eq!(wrong.status, 401, "{n}: {}", wrong.body);
    }
    let limited = browser.post_json(VERIFY, &json!({"code": PASSWORD, "method": "password"})).await;
    assert_eq!(limited.status, 429, "{}", limited.body);
}

/// Whoever changes what a proof was made under ends it.
pub async fn a_proof_belongs_to_session_account_parent_and_version(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    step_up(&world, &mut browser, &app, "payroll").await;
    assert_eq!(browser.get("/payroll").await.status, 200);
    // Somebody else's does not count, even in the table.
    let mut bob = world.signed_in("bob").await;
    let (bobs, _) = add_app(&world, &mut bob, "phone").await;
    assert!(needs_step_up(&bob.get("/payroll").await));
    let moved = "UPDATE iam_step_up_proof SET session_id = (SELECT s.id FROM iam_auth_session s JOIN iam_user_account a
        ON a.id = s.account_id WHERE a.username = 'bob' AND s.ended_at IS NULL ORDER BY s.login_time DESC LIMIT 1) WHERE purpose = 'payroll'";
    world.execute(moved).await;
    assert!(needs_step_up(&bob.get("/payroll").await), "of another account");
    assert!(needs_step_up(&browser.get("/payroll").await));
    step_up(&world, &mut browser, &app, "payroll").await;
    // Another parent, from the next request on.
    world
        .execute("UPDATE iam_user_account SET parent_id = (SELECT id FROM iam_parent WHERE iam_parent.name = 'globex') WHERE username = 'amy'")
        .await;
    assert!(needs_step_up(&browser.get("/payroll").await), "the account has another parent now");
    step_up(&world, &mut browser, &app, "payroll").await;
    assert_eq!(browser.get("/payroll").await.status, 200);
    // A change of the own factors: this session goes on, the proof does not.
    assert_eq!(
        browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await.status,
        200
    );
    assert_eq!(browser.post_json(CHALLENGE, &json!({"method": "totp"})).await.status, 200);
    assert_eq!(browser.post_json(VERIFY, &json!({"code": app.code(&world, 0)})).await.status, 200);
    assert_eq!(browser.get("/payroll").await.status, 200, "the token is another one, the session the same");
    world.later(30);
    add_app(&world, &mut browser, "tablet").await;
    assert!(needs_step_up(&browser.get("/payroll").await), "the factors have changed");
    drop(bobs);
    // An ended session, shown again.
    world.later(60);
    step_up(&world, &mut browser, &app, "payroll").await;
    let mut copy = browser.clone();
    assert_eq!(browser.post_json("/api/v1/auth/logout", &json!({})).await.status, 204);
    assert_eq!(copy.get("/payroll").await.status, 401);
    assert_eq!(copy.get("/payroll").await.json()["code"], "unauthenticated");
}

/// A store that fails is nobody's proof and nobody's refusal.
pub async fn a_failing_store_opens_no_purpose(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut browser = signed_in(&world, &app, "amy").await;
    step_up(&world, &mut browser, &app, "payroll").await;
    world.faults.down.store(true, Ordering::SeqCst);
    assert_eq!(browser.get("/payroll").await.status, 503);
    assert_eq!(pay(&mut browser, "/payroll", &PAY).await.status, 503);
    world.faults.down.store(false, Ordering::SeqCst);
    // What can't be written down is not used up, and the request does not pass.
    world.faults.audit.store(true, Ordering::SeqCst);
    assert_eq!(pay(&mut browser, "/payroll", &PAY).await.status, 503);
    world.faults.audit.store(false, Ordering::SeqCst);
    world.faults.conflicts.store(2, Ordering::SeqCst);
    let paid = pay(&mut browser, "/payroll", &PAY).await;
    assert_eq!((paid.status, payments(&paid)), (200, 1), "{}", paid.body);
}

pub(super) async fn require_of_admins(world: &World, grace: u64) {
    let of = RequirementOf::Role(RoleName::parse("admin").unwrap());
    assert!(world.iam.factors(&Actor::service()).require(&of, Duration::from_secs(grace)).await.unwrap());
}

/// A requirement counts from the next request on, with a grace; after that only what leads to a factor is there.
pub async fn a_required_factor_is_due_after_the_grace(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let beside = world.restarted().await;
    let mut amy = world.signed_in("amy").await;
    let mut bob = world.signed_in("bob").await;
    require_of_admins(&world, 3600).await;
    let me = amy.get("/api/v1/me").await;
    assert_eq!(me.json()["session"]["second_factor_due_at"], "2026-01-01T01:00:00.000000Z", "{}", me.body);
    assert!(amy.open("/auth/account").await.body.contains("your account must have a second step"));
    assert_eq!(bob.get("/api/v1/me").await.json()["session"]["second_factor_due_at"], Value::Null);
    for minutes in [20, 20, 19] {
        world.later(minutes * 60);
        amy.get("/reports").await;
    }
    assert_eq!(amy.get("/reports").await.status, 200, "after 59 minutes");
    world.later(60);
    let mut other = beside.browser();
    other.cookies.clone_from(&amy.cookies);
    for browser in [&mut amy, &mut other] {
        for path in
            ["/reports", "/documents/1", "/payroll", "/transfers", "/api/v1/me", "/api/v1/account/sessions"]
        {
            let refused = browser.get(path).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (401, &json!("enrolment_required")),
                "{path}"
            );
        }
        let page = browser.open("/reports?a=b").await;
        assert_eq!(page.status, 303);
        assert_eq!(
            page.location(),
            "/auth/mfa/enrol?methods=totp%20email_otp%20sms_otp%20whatsapp_otp&next=/reports%3Fa%3Db"
        );
        assert_eq!(browser.open("/auth/account").await.status, 303);
        assert_eq!(browser.submit("/reports", &[("title", "x")]).await.status, 401);
        let home = browser.open("/").await;
        assert!(home.body.contains("Nobody is signed in"), "to a page for everybody they are nobody");
    }
    let page = amy.open("/auth/mfa/enrol?next=/reports").await;
    assert!(page.body.contains("Until you have set one up"), "{}", page.body);
    assert_eq!(world.signed_in("gus").await.get("/reports").await.status, 200, "whom it is not about");
    // A new sign-in leads there, too.
    let fresh = world.browser().api_sign_in("amy", PASSWORD).await;
    assert_eq!(fresh.json()["status"], "authenticated");
    // By parent, of everybody in it; lifted, it is as before.
    let acme = world.iam.parents(&Actor::service()).ensure(&ParentKey::parse("acme").unwrap()).await.unwrap();
    let of = RequirementOf::Parent(acme);
    assert!(world.iam.factors(&Actor::service()).require(&of, Duration::ZERO).await.unwrap());
    let mut bob = world.signed_in("bob").await;
    assert_eq!(bob.get("/documents/1").await.json()["code"], "enrolment_required");
    assert!(world.iam.factors(&Actor::service()).lift(&of).await.unwrap());
    assert!(!world.iam.factors(&Actor::service()).lift(&of).await.unwrap());
    assert_eq!(bob.get("/documents/1").await.status, 200);
    assert_eq!(world.logged("mfa_requirement_changed").await, 3);
    let too_long = world.iam.factors(&Actor::service()).require(&of, Duration::from_hours(24 * 91)).await;
    assert!(too_long.is_err());
    // Who has a factor is not held up; who takes the last one away is, at once.
    let gus = RequirementOf::Role(RoleName::parse("auditor").unwrap());
    let app = with_app(&world, "gus").await;
    let mut browser = signed_in(&world, &app, "gus").await;
    assert!(world.iam.factors(&Actor::service()).require(&gus, Duration::ZERO).await.unwrap());
    assert_eq!(browser.get("/reports").await.status, 200);
    assert_eq!(
        browser.post_json("/api/v1/auth/reauthenticate", &json!({"password": PASSWORD})).await.status,
        200
    );
    assert_eq!(browser.post_json(VERIFY, &json!({"code": app.code(&world, 0)})).await.status, 200);
    let id = browser.get(FACTORS).await.json()["factors"][0]["id"].as_str().unwrap().to_owned();
    let origin = browser.origin();
    let headers = [("origin", origin.as_str())];
    let removed = browser.send("DELETE", &format!("{FACTORS}/{id}"), &headers, Vec::new()).await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(browser.get("/reports").await.json()["code"], "enrolment_required");
}

/// Who must have a factor and has none needs a code to the verified address for the first one: the password alone does not do.
pub async fn a_stolen_password_sets_up_no_first_factor(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    with_address(&world, "ann", "ann@example.com").await;
    let ann = world.account("ann").await;
    world.iam.roles(&Actor::service()).grant(ann, &RoleName::parse("admin").unwrap()).await.unwrap();
    require_of_admins(&world, 0).await;
    let mut thief = world.signed_in("ann").await;
    for kind in ["totp", "email_otp"] {
        let refused = thief.post_json(FACTORS, &json!({"kind": kind, "name": "mine"})).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (401, &json!("enrolment_proof_required")),
            "{kind}"
        );
    }
    let page = thief.open("/auth/account/factors/new?kind=totp&next=/reports").await;
    assert_eq!(page.status, 303);
    assert!(page.location().starts_with("/auth/mfa/verify?purpose=iam%3Aenrol&next="), "{}", page.location());
    for method in ["totp", "password", "recovery_code", "sms_otp"] {
        let asked = thief.post_json(STEP_UP, &json!({"purpose": "iam:enrol", "method": method})).await;
        assert_eq!(asked.status, 422, "{method}: {}", asked.body);
    }
    let wrong = thief.post_json(STEP_UP, &json!({"purpose": "iam:enrol", "method": "email_otp"})).await;
    assert_eq!(
        (wrong.status, &wrong.json()["destination"]),
        (200, &json!("a***@example.com")),
        "{}",
        wrong.body
    );
    for guess in 0..5 {
        let answer = thief.post_json(VERIFY, &json!({"code": format!("0000000{guess}")})).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(
        thief.post_json(FACTORS, &json!({"kind": "totp"})).await.json()["code"],
        "enrolment_proof_required"
    );
    // Her own way, by page.
    let mut browser = world.signed_in("ann").await;
    let known = world.codes().len();
    let sent = browser.open("/auth/account/factors/new?kind=totp&next=/reports").await.location().to_owned();
    let page = browser.open(&sent).await;
    assert!(page.body.contains("Show first that the account is yours"), "{}", page.body);
    let (token, next) = (page.csrf_token(), field(&page, "next"));
    let fields =
        [("csrf_token", token.as_str()), ("purpose", "iam:enrol"), ("method", "email_otp"), ("next", &next)];
    assert_eq!(browser.submit("/auth/mfa/resend", &fields).await.status, 200);
    let code = mailed(&world, known).await;
    let mut fields = fields.to_vec();
    fields.push(("code", &code));
    let done = browser.submit("/auth/mfa/verify", &fields).await;
    assert_eq!((done.status, done.location()), (303, next.as_str()), "{}", done.body);
    // It shows whose the account is, and is no factor.
    assert_eq!(browser.get("/reports").await.json()["code"], "enrolment_required");
    let me = world.text("SELECT amr FROM iam_auth_session ORDER BY login_time DESC, id DESC LIMIT 1").await;
    assert_eq!(me, "pwd");
    assert_eq!(
        thief.post_json(FACTORS, &json!({"kind": "totp"})).await.json()["code"],
        "enrolment_proof_required",
        "in that session alone"
    );
    let (app, _) = add_app(&world, &mut browser, "phone").await;
    assert_eq!(browser.get("/reports").await.status, 200, "satisfied");
    assert_eq!(thief.get("/reports").await.json()["code"], "unauthenticated", "and all others have ended");
    world.later(60);
    let mut again = half_way(&world, "ann").await;
    assert_eq!(verify(&mut again, &app.code(&world, 0)).await.status, 200);
    assert_eq!(again.get("/reports").await.status, 200);
}

/// Without an address an administrator invites.
pub async fn an_invitation_leads_to_the_first_factor(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    require_of_admins(&world, 0).await;
    let mut amy = world.signed_in("amy").await;
    assert_eq!(
        amy.post_json(FACTORS, &json!({"kind": "totp"})).await.json()["code"],
        "enrolment_proof_required"
    );
    let asked = amy.post_json(STEP_UP, &json!({"purpose": "iam:enrol"})).await;
    assert_eq!(
        (asked.status, &asked.json()["methods"]),
        (200, &json!(["invitation"])),
        "no address, no code"
    );
    let (account, bob) = (world.account("amy").await, world.account("bob").await);
    let first = world.iam.factors(&Actor::service()).invite_to_enrol(account).await.unwrap();
    let second = world.iam.factors(&Actor::service()).invite_to_enrol(account).await.unwrap();
    let bobs = world.iam.factors(&Actor::service()).invite_to_enrol(bob).await.unwrap();
    for (wrong, why) in [(&first, "an earlier one is void"), (&bobs, "somebody else's")] {
        let answer =
            amy.post_json(VERIFY, &json!({"code": wrong.expose().as_str(), "method": "invitation"})).await;
        assert_eq!(answer.status, 401, "{why}");
    }
    let done = amy
        .post_json(
            VERIFY,
            &json!({"code": format!(" {} ", second.expose().as_str()), "method": "invitation"}),
        )
        .await;
    assert_eq!(done.status, 200, "{}", done.body);
    let mut other = world.signed_in("amy").await;
    other.post_json(STEP_UP, &json!({"purpose": "iam:enrol"})).await;
    let again =
        other.post_json(VERIFY, &json!({"code": second.expose().as_str(), "method": "invitation"})).await;
    assert_eq!(again.status, 401, "it works once");
    add_app(&world, &mut amy, "phone").await;
    assert_eq!(amy.get("/reports").await.status, 200);
    assert!(
        world.iam.factors(&Actor::service()).invite_to_enrol(account).await.is_err(),
        "who has a factor needs none"
    );
    // Nor does one that was not used outlive that: with the factors gone again, it is as at first.
    world.iam.factors(&Actor::service()).reset(account).await.unwrap();
    let unused = world.iam.factors(&Actor::service()).invite_to_enrol(account).await.unwrap();
    world.iam.factors(&Actor::service()).reset(account).await.unwrap();
    let mut amy = world.signed_in("amy").await;
    amy.post_json(STEP_UP, &json!({"purpose": "iam:enrol"})).await;
    let void =
        amy.post_json(VERIFY, &json!({"code": unused.expose().as_str(), "method": "invitation"})).await;
    assert_eq!(void.status, 401, "{}", void.body);
    // For a day.
    let mut late = world.signed_in("bob").await;
    let of = RequirementOf::Parent(
        world.iam.parents(&Actor::service()).ensure(&ParentKey::parse("acme").unwrap()).await.unwrap(),
    );
    world.iam.factors(&Actor::service()).require(&of, Duration::ZERO).await.unwrap();
    late.post_json(STEP_UP, &json!({"purpose": "iam:enrol"})).await;
    world.later(24 * 3600);
    let mut late = world.signed_in("bob").await;
    late.post_json(STEP_UP, &json!({"purpose": "iam:enrol"})).await;
    let answer =
        late.post_json(VERIFY, &json!({"code": bobs.expose().as_str(), "method": "invitation"})).await;
    assert_eq!(answer.status, 401);
    assert_eq!(world.logged("mfa_invitation_issued").await, 4);
}
