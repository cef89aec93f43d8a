use serde_json::json;

use super::factors::{VERIFY, half_way, verify, with_app};
use super::step_up::needs_step_up;
use crate::twofold::{ENCODED, PLAIN, TWOFOLD};
use crate::{Adapter, Answer, Backend, Browser, PASSWORD, World};

/// IN-04, CSRF-04.
pub async fn json_is_strict_and_names_the_field(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut client = world.browser();
    let origin = client.origin();
    for (body, field, code) in [
        (r"{}", "username", "required"),
        (r#"{"username":"amy"}"#, "password", "required"),
        (r#"{"username":1,"password":"p"}"#, "username", "wrong_type"),
        (r#"{"username":["amy"],"password":"p"}"#, "username", "wrong_type"),
        (r#"{"username":"amy","password":"p","role":"admin"}"#, "role", "unknown"),
        (r#"{"username":"amy","password":"p","password":"q"}"#, "password", "duplicate"),
        (r#"{"username":"a\u0000b","password":"p"}"#, "username", "invalid"),
        (r#"{"username":"","password":"p"}"#, "username", "required"),
        (r#"{"username":"amy","password":""}"#, "password", "required"),
    ] {
        let headers = [("content-type", "application/json"), ("origin", origin.as_str())];
        let answer = client.send("POST", "/api/v1/auth/login", &headers, body.into()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let error = &answer.json()["errors"][0];
        assert_eq!((error["field"].as_str(), error["code"].as_str()), (Some(field), Some(code)), "{body}");
    }
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/json", "{}x", 400),
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "username=amy", 415),
        ("multipart/form-data", "", 415),
    ] {
        let headers = [("content-type", kind), ("origin", origin.as_str())];
        let answer = client.send("POST", "/api/v1/auth/login", &headers, body.into()).await;
        assert_eq!(answer.status, status, "{kind} {body}");
    }
    // The form says it, too, and keeps what was typed.
    let page = client.sign_in("amy", "").await;
    assert_eq!(page.status, 422);
    assert!(page.body.contains("value=\"amy\"") && page.body.contains("Enter your password."));
    let twice = [("username", "amy"), ("username", "bob"), ("password", "x")];
    assert_eq!(client.submit("/auth/login", &twice).await.status, 422);
    assert_eq!(client.open("/auth/login?next=/a&next=/b").await.status, 422);
}

/// DOS-02, PW-02.
pub async fn bodies_are_bounded(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut client = world.browser();
    let huge = "x".repeat(1024 * 1024);
    assert_eq!(client.api_sign_in("amy", &huge).await.status, 413);
    assert_eq!(client.submit("/auth/login", &[("password", &huge)]).await.status, 413);
    let mut one_more = vec![b' '; 16 * 1024 - 40];
    one_more.extend_from_slice(b"{}");
    let headers = [("content-type", "application/json")];
    assert_eq!(client.send("POST", "/api/v1/auth/login", &headers, one_more).await.status, 422);
    assert_eq!(world.logged("authn_login_fail").await, 0, "nothing was hashed");
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Sends a body from a page of ours, with these lines of `Content-Encoding`.
async fn send_encoded(
    browser: &mut Browser,
    path: &str,
    content_type: &str,
    encoding: &[&str],
    body: &[u8],
) -> Answer {
    let origin = browser.origin();
    let mut headers = vec![("origin", origin.as_str()), ("content-type", content_type)];
    headers.extend(encoding.iter().map(|value| ("content-encoding", *value)));
    browser.send("POST", path, &headers, body.to_vec()).await
}

/// A body that is packed may hold something else than what it seems to: the guard would look at the one, the handler at the other.
pub async fn what_is_approved_is_what_is_paid(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let app = with_app(&world, "amy").await;
    let mut amy = half_way(&world, "amy").await;
    assert_eq!(verify(&mut amy, &app.code(&world, 0)).await.status, 200);
    world.later(60);
    let pay = [("amount", "100"), ("payee", "bob")];
    let origin = amy.origin();
    let stopped = amy.submit_with("/transfers", &pay, &[("origin", &origin)]).await;
    assert!(needs_step_up(&stopped), "{}", stopped.body);
    let approval = stopped.json()["approval"].clone();
    let words = json!({"purpose": "transfer", "approval": approval});
    assert_eq!(amy.post_json("/api/v1/auth/step-up", &words).await.status, 200);
    let code = app.code(&world, 0);
    let words = json!({"code": code, "purpose": "transfer", "approval": approval});
    assert_eq!(amy.post_json(VERIFY, &words).await.status, 200);
    for encoding in ENCODED {
        let answer = send_encoded(&mut amy, "/transfers", FORM, encoding, TWOFOLD).await;
        assert_eq!(answer.status, 415, "{encoding:?}: {}", answer.body);
    }
    assert!(!amy.open("/transfers").await.body.contains("eve"), "nothing of it was paid");
    // The approval is still there, for what was approved.
    let paid = amy.submit_with("/transfers", &pay, &[("origin", &origin)]).await;
    assert_eq!(paid.status, 200, "{}", paid.body);
}

/// Wherever the family reads a body itself.
pub async fn encoded_bodies_are_refused_by_name(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let token = amy.open("/").await.csrf_token();
    let form = format!("title=x&amount=1&payee=bob&username=amy&password=x&code=1&csrf_token={token}");
    let login = json!({"username": "amy", "password": "x"}).to_string();
    for (path, content_type, body) in [
        // Ours, as forms and as JSON.
        ("/auth/login", FORM, form.as_str()),
        ("/auth/logout", FORM, &form),
        ("/auth/account/password", FORM, &form),
        ("/auth/mfa/verify", FORM, &form),
        ("/auth/setup/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", FORM, &form),
        ("/api/v1/auth/login", JSON, &login),
        ("/api/v1/auth/mfa/verify", JSON, r#"{"code":"123456"}"#),
        ("/api/v1/account/factors", JSON, r#"{"kind":"totp","name":"x"}"#),
        // A host's: what is approved.
        ("/transfers", FORM, &form),
        ("/transfers", JSON, r#"{"amount":1,"payee":"bob"}"#),
    ] {
        for encoding in ENCODED {
            let answer = send_encoded(&mut amy, path, content_type, encoding, body.as_bytes()).await;
            let what = format!("{path} {content_type} {encoding:?}: {}", answer.body);
            assert_eq!((answer.status, answer.set_cookies()), (415, Vec::new()), "{what}");
            assert_eq!(answer.json()["code"], "unsupported_encoding", "{what}");
            assert_eq!(answer.json()["errors"][0]["field"], "content-encoding", "{what}");
            assert_eq!(answer.header("accept-encoding"), Some("identity"), "{what}");
        }
    }
    // The token in a form that says of itself nothing else: it can't be looked for in what is packed.
    let form = format!("title=x&csrf_token={token}");
    let headers = [("content-type", FORM), ("accept", "text/html"), ("content-encoding", "br")];
    let page = amy.send("POST", "/reports", &headers, form.clone().into_bytes()).await;
    assert_eq!(page.status, 415);
    assert!(page.body.contains("compressed"), "{}", page.body);
    for encoding in PLAIN {
        let mut headers = headers[..2].to_vec();
        headers.extend(encoding.iter().map(|value| ("content-encoding", *value)));
        let answer = amy.send("POST", "/reports", &headers, form.clone().into_bytes()).await;
        assert_eq!(answer.status, 201, "{encoding:?}");
    }
}

/// CSRF-02: as a proxy sends a form on, or a client over HTTP/2: nobody says how long it is.
pub async fn the_token_of_a_form_in_chunks_counts(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let token = amy.open("/").await.csrf_token();
    let form = format!("title=x&csrf_token={token}");
    // A host's route, and ours.
    assert_eq!(amy.send_chunked("/reports", &[], &form).await.0, 201);
    for (path, form, status) in [
        ("/reports", "title=x".to_owned(), 403),
        ("/reports", format!("{form}x"), 403),
        ("/reports", format!("{form}&more={}", "x".repeat(16 * 1024)), 413),
        ("/auth/logout", "csrf_token=x".to_owned(), 403),
        ("/auth/logout", format!("{form}&more={}", "x".repeat(16 * 1024)), 413),
    ] {
        let (answered, body) = amy.send_chunked(path, &[], &form).await;
        assert_eq!(answered, status, "{path}: {body}");
    }
    let (status, body) = amy.send_chunked("/auth/logout", &[("accept", "text/html")], &form).await;
    assert_eq!(status, 303, "{body}");
    assert_eq!(amy.get("/reports").await.status, 401, "signed out");
}

/// SES-09: never an error of ours, never a way in.
pub async fn broken_credentials_are_nobody(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let amy = world.signed_in("amy").await;
    let real = amy.session_cookie().unwrap().to_owned();
    let long = "a".repeat(6000);
    for cookie in [
        "",
        ";",
        "=",
        "iam_session",
        "iam_session=",
        "iam_session=x",
        "iam_session=\"x\"",
        &long,
        &format!("iam_session={real}; iam_session=x"),
        &format!("IAM_SESSION={real}"),
        &format!("__Host-iam_session={real}"),
        &format!("iam_session={real}%00"),
        &format!("iam_session= {real}x"),
    ] {
        let answer = world.browser().send("GET", "/reports", &[("cookie", cookie)], Vec::new()).await;
        assert_eq!(answer.status, 401, "{cookie}");
    }
    for authorization in ["", "Bearer", "Bearer x", "Basic x", &format!("Bearer {real}")] {
        let mut client = amy.clone();
        let answer = client.send("GET", "/reports", &[("authorization", authorization)], Vec::new()).await;
        assert_eq!(answer.status, 401, "{authorization}");
    }
    // Nor does the address that a stranger claims count.
    let mut client = world
        .browser()
        .with_header("x-forwarded-for", "203.0.113.1")
        .with_header("forwarded", "for=203.0.113.2");
    client.api_sign_in("amy", "wrong").await;
    assert!(world.log().await.iter().all(|e| e.address.as_deref().is_none_or(|a| a == "127.0.0.1")));
}

/// 405 names the methods; nothing happens by a GET.
pub async fn methods_are_answered_exactly(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut client = world.browser();
    for (method, path, allow) in [
        ("PUT", "/auth/login", "GET, POST, HEAD"),
        ("DELETE", "/auth/login", "GET, POST, HEAD"),
        ("GET", "/auth/logout", "POST"),
        ("GET", "/api/v1/auth/login", "POST"),
        ("GET", "/api/v1/auth/logout", "POST"),
        ("POST", "/api/v1/auth/csrf", "GET, HEAD"),
        ("OPTIONS", "/api/v1/me", "GET, HEAD"),
    ] {
        let answer = client.send(method, path, &[], Vec::new()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let head = client.send("HEAD", "/auth/login", &[("accept", "text/html")], Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in ["/auth/login/", "//auth/login", "/auth//login", "/AUTH/login", "/auth/login;x"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
}

/// WEB-01: on our pages, and on nobody else's.
pub async fn family_pages_have_their_headers_and_host_pages_their_own(adapter: Adapter, backend: Backend) {
    let world = World::new(adapter, backend).await;
    let mut amy = world.signed_in("amy").await;
    let mut answers =
        vec![amy.open("/auth/login").await, amy.get("/api/v1/me").await, amy.get("/api/v1/auth/csrf").await];
    answers.push(world.browser().get("/reports").await);
    answers.push(world.signed_in("bob").await.open("/reports").await);
    answers.push(world.browser().api_sign_in("amy", "wrong").await);
    for answer in answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 16));
    }
    let page = amy.open("/auth/login").await;
    let policy = page.header("content-security-policy").unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(page.body.contains(&format!("<style nonce=\"{nonce}\">")));
    assert!(!page.body.contains("<script") && !page.body.contains("style=\""));
    for (path, cached) in [("/reports", Some("no-store")), ("/", Some("no-store")), ("/healthz", None)] {
        let answer = amy.open(path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, cached), "{path}");
        assert!(
            answer.header("content-security-policy").is_none() && answer.header("x-frame-options").is_none()
        );
    }
    // PW-10.
    for part in ["autocomplete=\"username\"", "autocomplete=\"current-password\"", "type=\"password\""] {
        assert!(world.browser().open("/auth/login").await.body.contains(part), "{part}");
    }
    let hostile = "\"><script>alert(1)</script>";
    let echoed = world.browser().sign_in(hostile, PASSWORD).await;
    assert!(!echoed.body.contains("<script"));
}
