//! The two adapters give the same answers, to the letter: status, headers, body. A host's own 404 and 405 are the framework's.

use iam_tests::{Adapter, Answer, Backend, Browser, PASSWORD, World};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Who asks, how, and with what.
type Request = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const PAGE: (&str, &str) = ("accept", "text/html");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
const BR: (&str, &str) = ("content-encoding", "br");
const UPGRADE: (&str, &str) = ("upgrade", "websocket");
const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");

const REQUESTS: &[Request] = &[
    // The family's pages and JSON.
    ("GET", "/auth/login", &[PAGE], ""),
    ("GET", "/auth/login?next=%2Freports", &[PAGE], ""),
    ("GET", "/auth/login?next=//evil.example", &[PAGE], ""),
    ("GET", "/auth/login?next=%ff", &[PAGE], ""),
    ("HEAD", "/auth/login", &[PAGE], ""),
    ("PUT", "/auth/login", &[PAGE], ""),
    ("OPTIONS", "/auth/login", &[], ""),
    ("GET", "/auth/login/", &[PAGE], ""),
    ("GET", "/auth/%6cogin", &[PAGE], ""),
    ("GET", "/AUTH/login", &[PAGE], ""),
    ("POST", "/auth/login", &[PAGE, SAME, ("content-type", FORM)], "username=amy&password=x"),
    ("POST", "/auth/login", &[PAGE, SAME, ("content-type", FORM)], "username=amy&username=bob"),
    ("POST", "/auth/login", &[PAGE, SAME, ("content-type", "text/plain")], "x"),
    ("POST", "/auth/login", &[PAGE, CROSS, ("content-type", FORM)], "username=amy&password=x"),
    ("GET", "/auth/logout", &[PAGE], ""),
    ("POST", "/auth/logout", &[PAGE, SAME, ("content-type", FORM)], ""),
    ("POST", "/auth/logout", &[PAGE, CROSS, ("content-type", FORM)], ""),
    ("POST", "/api/v1/auth/login", &[SAME, ("content-type", JSON)], "{}"),
    ("POST", "/api/v1/auth/login", &[SAME, ("content-type", JSON)], "{"),
    ("POST", "/api/v1/auth/login", &[SAME, ("content-type", JSON)], r#"{"username":"amy","password":"x"}"#),
    ("POST", "/api/v1/auth/login", &[CROSS, ("content-type", JSON)], r#"{"username":"amy","password":"x"}"#),
    ("POST", "/api/v1/auth/login", &[SAME, ("content-type", "text/plain")], "{}"),
    ("GET", "/api/v1/auth/login", &[], ""),
    ("GET", "/api/v1/auth/csrf", &[], ""),
    ("GET", "/api/v1/me", &[], ""),
    ("GET", "/api/v1/me", &[PAGE], ""),
    ("GET", "/api/v1/me", &[("authorization", "Bearer x")], ""),
    ("DELETE", "/api/v1/me", &[SAME], ""),
    ("GET", "/api/v1/nothing", &[], ""),
    (
        "POST",
        "/api/v1/auth/login",
        &[CROSS, ("content-type", JSON)],
        r#"{"username":"amy","password":"x","token":true}"#,
    ),
    (
        "POST",
        "/api/v1/auth/login",
        &[SAME, ("content-type", JSON)],
        r#"{"username":"amy","password":"x","token":1}"#,
    ),
    (
        "POST",
        "/api/v1/auth/login",
        &[SAME, ("content-type", JSON)],
        r#"{"username":"amy","password":"correct horse battery","token":true,"device_token":1}"#,
    ),
    (
        "POST",
        "/api/v1/auth/login",
        &[SAME, ("content-type", JSON)],
        r#"{"username":"amy","password":"correct horse battery","token":true,"device_token":"x"}"#,
    ),
    // The own account.
    ("GET", "/auth/account", &[PAGE], ""),
    ("GET", "/auth/account?done=password", &[PAGE], ""),
    ("HEAD", "/auth/account", &[PAGE], ""),
    ("POST", "/auth/account", &[PAGE, SAME], ""),
    ("GET", "/auth/reauthenticate?next=/auth/account", &[PAGE], ""),
    ("POST", "/auth/reauthenticate", &[PAGE, SAME, ("content-type", FORM)], "password=x"),
    (
        "POST",
        "/auth/account/password",
        &[PAGE, SAME, ("content-type", FORM)],
        "current_password=x&new_password=y",
    ),
    ("POST", "/auth/account/sessions/end", &[PAGE, CROSS, ("content-type", FORM)], "session=x"),
    ("POST", "/auth/account/sessions/end-others", &[PAGE, ("content-type", FORM)], "csrf_token=x"),
    ("POST", "/api/v1/auth/reauthenticate", &[SAME, ("content-type", JSON)], r#"{"password":"x"}"#),
    ("POST", "/api/v1/account/password", &[SAME, ("content-type", JSON)], r#"{"current_password":"x"}"#),
    ("POST", "/api/v1/account/password", &[CROSS, ("content-type", JSON)], "{}"),
    ("DELETE", "/api/v1/account/sessions", &[CROSS], ""),
    ("DELETE", "/api/v1/account/sessions/x", &[SAME], ""),
    ("DELETE", "/api/v1/account/sessions/00000000-0000-0000-0000-000000000000", &[SAME], ""),
    ("GET", "/api/v1/account/sessions/x", &[], ""),
    ("DELETE", "/api/v1/account/sessions/", &[SAME], ""),
    ("DELETE", "/api/v1/account/sessions/x/", &[SAME], ""),
    ("DELETE", "/api/v1/account/sessions/x%2fy", &[SAME], ""),
    ("DELETE", "/api/v1/account/sessions/x;y", &[SAME], ""),
    ("DELETE", "/api/v1/account//sessions/x", &[SAME], ""),
    ("GET", "/auth/setup/x", &[PAGE], ""),
    ("GET", "/auth/setup/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &[PAGE], ""),
    ("GET", "/auth/mfa/verify?next=/reports", &[PAGE], ""),
    ("HEAD", "/auth/mfa/verify", &[PAGE], ""),
    ("POST", "/auth/mfa/verify", &[PAGE, SAME, ("content-type", FORM)], "code=123456"),
    ("GET", "/auth/mfa/resend", &[PAGE], ""),
    ("POST", "/auth/mfa/resend", &[PAGE, SAME, ("content-type", FORM)], "method=totp"),
    ("GET", "/auth/account/factors/new?kind=totp", &[PAGE], ""),
    ("GET", "/auth/account/factors/new?kind=push", &[PAGE], ""),
    ("POST", "/auth/account/factors/new", &[PAGE, CROSS, ("content-type", FORM)], "kind=totp&name=x"),
    ("POST", "/auth/account/factors/confirm", &[PAGE, SAME, ("content-type", FORM)], "factor=x"),
    ("POST", "/auth/account/factors/remove", &[PAGE, ("content-type", FORM)], "factor=x&csrf_token=x"),
    ("POST", "/auth/account/recovery-codes", &[PAGE, SAME, ("content-type", FORM)], ""),
    ("POST", "/api/v1/auth/mfa/challenge", &[SAME, ("content-type", JSON)], r#"{"method":"totp"}"#),
    ("POST", "/api/v1/auth/mfa/challenge", &[CROSS, ("content-type", JSON)], r#"{"method":"totp"}"#),
    ("POST", "/api/v1/auth/mfa/verify", &[SAME, ("content-type", JSON)], r#"{"code":"123456"}"#),
    ("POST", "/api/v1/auth/mfa/verify", &[SAME, ("content-type", JSON)], r#"{"code":123456}"#),
    ("GET", "/api/v1/auth/mfa/verify", &[], ""),
    ("GET", "/api/v1/account/factors", &[], ""),
    ("POST", "/api/v1/account/factors", &[SAME, ("content-type", JSON)], r#"{"kind":"recovery_code"}"#),
    ("POST", "/api/v1/account/factors", &[SAME, ("content-type", JSON)], r#"{"kind":"email_otp"}"#),
    ("DELETE", "/api/v1/account/factors/x", &[SAME], ""),
    ("PATCH", "/api/v1/account/factors/x", &[SAME, ("content-type", JSON)], r#"{"name":""}"#),
    ("POST", "/api/v1/account/factors/x/confirm", &[SAME, ("content-type", JSON)], r#"{"code":"1"}"#),
    ("POST", "/api/v1/account/recovery-codes", &[SAME], ""),
    ("POST", "/auth/account/trusted-devices/forget", &[PAGE, SAME, ("content-type", FORM)], ""),
    ("GET", "/auth/account/trusted-devices/forget", &[PAGE], ""),
    ("DELETE", "/api/v1/account/trusted-devices", &[SAME], ""),
    ("DELETE", "/api/v1/account/trusted-devices", &[CROSS], ""),
    ("GET", "/api/v1/account/trusted-devices", &[], ""),
    ("POST", "/api/v1/auth/mfa/verify", &[SAME, ("content-type", JSON)], r#"{"code":"1","trust_device":1}"#),
    // Guarded routes of the host.
    ("GET", "/", &[PAGE], ""),
    ("GET", "/reports", &[PAGE], ""),
    ("GET", "/reports?x=1&y=%20", &[PAGE], ""),
    ("GET", "/reports", &[], ""),
    ("HEAD", "/reports", &[PAGE], ""),
    ("HEAD", "/reports", &[], ""),
    ("POST", "/reports", &[PAGE, SAME, ("content-type", FORM)], "title=x"),
    ("POST", "/reports", &[PAGE, CROSS, ("content-type", FORM)], "title=x"),
    ("POST", "/reports", &[PAGE, ("content-type", FORM)], "title=x&csrf_token=no"),
    ("POST", "/reports", &[SAME, ("content-type", FORM)], "title=x"),
    ("POST", "/reports", &[SAME, ("x-csrf-token", "no"), ("content-type", FORM)], "title=x"),
    ("GET", "/documents/1", &[PAGE], ""),
    ("GET", "/documents/2", &[PAGE], ""),
    ("GET", "/documents/3", &[PAGE], ""),
    ("GET", "/documents/zz", &[PAGE], ""),
    ("GET", "/documents/1", &[], ""),
    ("HEAD", "/documents/1", &[], ""),
    ("GET", "/documents/99999999999999999999", &[], ""),
    ("GET", "/payroll", &[PAGE], ""),
    ("GET", "/payroll", &[], ""),
    ("POST", "/payroll", &[SAME, ("content-type", FORM)], "amount=1&payee=b"),
    ("POST", "/payroll", &[CROSS, ("content-type", FORM)], "amount=1&payee=b"),
    ("POST", "/payroll", &[PAGE, SAME, ("content-type", "text/plain")], "amount=1&payee=b"),
    ("POST", "/transfers", &[SAME, ("content-type", FORM)], "amount=1"),
    ("POST", "/transfers", &[SAME, ("content-type", "text/plain")], "amount=1&payee=b"),
    ("POST", "/transfers", &[SAME, ("content-type", JSON)], "{\"amount\":1,\"amount\":2,\"payee\":\"b\"}"),
    // What has to be unpacked first is read nowhere.
    ("POST", "/auth/login", &[PAGE, SAME, BR, ("content-type", FORM)], "username=amy&password=x"),
    ("POST", "/auth/logout", &[SAME, BR, ("content-type", FORM)], ""),
    ("POST", "/api/v1/auth/login", &[SAME, BR, ("content-type", JSON)], "{}"),
    ("DELETE", "/api/v1/account/sessions", &[SAME, BR], ""),
    ("POST", "/transfers", &[SAME, BR, ("content-type", FORM)], "amount=1&payee=b"),
    ("POST", "/payroll", &[PAGE, SAME, BR, ("content-type", FORM)], "amount=1&payee=b"),
    ("POST", "/reports", &[PAGE, BR, ("content-type", FORM)], "title=x"),
    // Signing out, by a page of somebody else's and by JSON.
    ("POST", "/auth/logout", &[("content-type", FORM)], ""),
    ("POST", "/api/v1/auth/logout", &[SAME], ""),
    ("POST", "/api/v1/auth/logout", &[CROSS], ""),
    // Another protocol, for a page of somebody else's.
    ("GET", "/reports", &[CROSS, UPGRADE, ("connection", "upgrade")], ""),
    ("GET", "/reports", &[PAGE, UPGRADE, ("connection", "upgrade")], ""),
    ("GET", "/payroll", &[PAGE, CROSS, UPGRADE, ("connection", "upgrade")], ""),
    ("GET", "/auth/mfa/enrol?methods=totp&next=/payroll", &[PAGE], ""),
    ("GET", "/auth/mfa/verify?purpose=payroll&next=/payroll", &[PAGE], ""),
    ("GET", "/auth/mfa/verify?purpose=No+Purpose", &[PAGE], ""),
    ("GET", "/auth/mfa/verify?resume=019b76da-a800-7000-8000-0000000000ff", &[PAGE], ""),
    ("GET", "/auth/mfa/resume/019b76da-a800-7000-8000-0000000000ff", &[PAGE], ""),
    ("GET", "/auth/mfa/resume/x", &[PAGE], ""),
    ("POST", "/api/v1/auth/step-up", &[SAME, ("content-type", JSON)], "{\"purpose\":\"payroll\"}"),
    ("POST", "/api/v1/auth/step-up", &[SAME, ("content-type", JSON)], "{\"purpose\":\"No\"}"),
    (
        "POST",
        "/api/v1/auth/step-up",
        &[SAME, ("content-type", JSON)],
        "{\"purpose\":\"payroll\",\"method\":\"x\"}",
    ),
    (
        "POST",
        "/api/v1/auth/step-up",
        &[SAME, ("content-type", JSON)],
        "{\"purpose\":\"a\",\"approval\":\"x\"}",
    ),
    ("POST", "/api/v1/auth/step-up", &[CROSS, ("content-type", JSON)], "{\"purpose\":\"payroll\"}"),
    ("GET", "/healthz", &[], ""),
    ("GET", "/readyz", &[], ""),
];

/// What tells the adapters apart by design: how a body's length is told.
fn comparable(answer: &Answer) -> String {
    let framing = ["transfer-encoding", "connection", "content-length", "vary"];
    let text = answer.comparable();
    text.lines()
        .filter(|line| !framing.iter().any(|name| *name != "vary" && line.starts_with(&format!("{name}:"))))
        .collect::<Vec<_>>()
        .join("\n")
}

async fn answers(adapter: Adapter) -> Vec<(String, String)> {
    let world = World::new(adapter, Backend::Sqlite).await;
    let mut people: Vec<(&str, Browser)> = vec![("nobody", world.browser())];
    for name in ["amy", "bob", "max"] {
        people.push((name, world.signed_in(name).await));
    }
    let mut broken = world.browser();
    broken.cookies.insert("iam_session".to_owned(), "x".repeat(43));
    people.push(("a broken cookie", broken));

    let mut all = Vec::new();
    for (who, browser) in &people {
        for (method, path, headers, body) in REQUESTS {
            // Limits are not what is compared here.
            world.later(3600);
            let mut browser = if *who == "nobody" || *who == "a broken cookie" {
                browser.clone()
            } else {
                world.signed_in(who).await
            };
            let answer = browser.send(method, path, headers, body.as_bytes().to_vec()).await;
            let what = format!("{who}: {method} {path} {headers:?} {body}");
            all.push((what, masked(&comparable(&answer), &world, &browser)));
        }
    }
    let mut amy = world.browser();
    for answer in [
        amy.sign_in("amy", PASSWORD).await,
        amy.api_sign_in("amy", PASSWORD).await,
        amy.get("/api/v1/me").await,
        amy.get("/api/v1/auth/csrf").await,
    ] {
        all.push(("a sign-in".to_owned(), masked(&comparable(&answer), &world, &amy)));
    }
    all
}

/// Without ports, ids, times and tokens.
fn masked(text: &str, world: &World, browser: &Browser) -> String {
    let mut text = text.replace(&world.address.port().to_string(), "PORT");
    for name in browser.cookies.keys().map(String::as_str).chain(["iam_session"]) {
        let parts: Vec<_> = text.split(&format!("{name}=")).collect();
        let masked = parts.iter().skip(1).map(|part| part.split_once(';').map_or("", |(_, rest)| rest));
        text = parts.iter().take(1).copied().chain(masked).collect::<Vec<_>>().join(&format!("{name}=*;"));
    }
    text.split('"')
        .map(|part| {
            let is_id = part.len() == 36 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
            let is_token = (part.len() == 43 || part.len() > 60)
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let is_time = part.len() == 27 && part.starts_with("20") && part.ends_with('Z');
            if is_id || is_token || is_time { "*" } else { part }
        })
        .collect::<Vec<_>>()
        .join("\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_adapters_give_the_same_answers() {
    let (axum, actix) = tokio::join!(answers(Adapter::Axum), answers(Adapter::Actix));
    assert_eq!(axum.len(), actix.len());
    let mut differences = Vec::new();
    for ((what, by_axum), (_, by_actix)) in axum.iter().zip(&actix) {
        if by_axum != by_actix {
            differences.push(format!("=== {what}\n--- axum\n{by_axum}\n--- actix\n{by_actix}\n"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), axum.len(), differences.join("\n"));
}
