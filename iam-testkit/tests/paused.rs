//! A service's test whose tokio clock stands still: what waits for the store or a hash is not told that its time is over, and what waits
//! for a time is at once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong fails the test")]

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use iam_axum::{IamLayer, auth_routes, requires_role};
use iam_core::ports::Content;
use iam_core::{Actor, EmailAddress, NewAccount, PlainPassword, RoleName, Username};
use iam_testkit::{PASSWORD, PEER, TestIam};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

/// As hosts bound their requests.
const PATIENCE: Duration = Duration::from_millis(100);

struct Service(Router);

impl Service {
    async fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = match token {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        };
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = timeout(PATIENCE, self.0.clone().oneshot(request)).await.expect("no time has passed");
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> Value {
        let (status, answer) = self.send("POST", path, token, &body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }
}

async fn mailed_code(test: &TestIam) -> String {
    let mails = test.mails().await;
    let code = mails.iter().rev().find_map(|mail| match &mail.content {
        Content::Code { code, .. } => Some(code.clone()),
        _ => None,
    });
    code.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_ends_no_waiting() {
    let begun = Instant::now();
    let test = timeout(PATIENCE, TestIam::new()).await.expect("no time has passed");
    let app = Router::new()
        .route("/reports", get(async || "reports").route_layer(requires_role(["auditor"])))
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    let service = Service(app);
    let actor = Actor::service();
    let new = NewAccount::new(Username::parse("amy").unwrap())
        .password(PlainPassword::new(PASSWORD).unwrap())
        .verified_email(EmailAddress::parse("amy@example.com").unwrap());
    let amy = test.iam().accounts(&actor).create(new).await.unwrap();
    test.iam().roles(&actor).grant(amy, &RoleName::parse("auditor").unwrap()).await.unwrap();

    let sign_in = json!({"username": "amy", "password": PASSWORD, "token": true});
    let signed_in = service.post("/api/v1/auth/login", "", sign_in.clone()).await;
    let token = signed_in["session_token"].as_str().unwrap();
    let factor = json!({"kind": "email_otp", "name": "mail"});
    let factor = service.post("/api/v1/account/factors", token, factor).await;
    let path = format!("/api/v1/account/factors/{}/confirm", factor["id"].as_str().unwrap());
    service.post(&path, token, json!({"code": mailed_code(&test).await})).await;

    test.later(Duration::from_mins(2));
    let pending = service.post("/api/v1/auth/login", "", sign_in).await;
    assert_eq!(pending["status"], "mfa_required");
    let token = pending["mfa_token"].as_str().unwrap();
    service.post("/api/v1/auth/mfa/challenge", token, json!({"method": "email_otp"})).await;
    let code = json!({"code": mailed_code(&test).await});
    let verified = service.post("/api/v1/auth/mfa/verify", token, code).await;
    let token = verified["session_token"].as_str().unwrap();
    assert_eq!(service.send("GET", "/reports", token, &Value::Null).await.0, 200);
    let signed_in = timeout(PATIENCE, test.signed_in("bob")).await.expect("no time has passed");
    let bearer = timeout(PATIENCE, signed_in.bearer()).await.expect("no time has passed");
    assert_eq!(service.send("GET", "/reports", &bearer[7..], &Value::Null).await.0, 403);
    assert!(!test.events().await.is_empty());
    assert_eq!(begun.elapsed(), Duration::ZERO);

    // What is the test's own is as it was.
    sleep(Duration::from_hours(1)).await;
    assert_eq!(begun.elapsed().as_secs(), 3600);
}
