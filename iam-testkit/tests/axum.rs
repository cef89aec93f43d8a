//! A service on axum, tested with the kit.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use iam_axum::{
    CurrentUser, IamLayer, ParentId, WebIam, auth_routes, requires_login, requires_parent, requires_role,
};
use iam_testkit::{PEER, TestIam, TestIamBuilder};
use tower::ServiceExt;

type Documents = Arc<BTreeMap<u64, ParentId>>;

async fn document_parent(
    State(all): State<Documents>,
    Path(id): Path<u64>,
) -> Result<Option<ParentId>, Infallible> {
    Ok(all.get(&id).copied())
}

async fn ok() -> &'static str {
    "ok"
}

/// Whose row of the service's own table it is.
async fn customer(user: CurrentUser) -> String {
    user.external_id().unwrap_or("nobody's").to_owned()
}

fn service(web: WebIam, documents: Documents) -> Router {
    let same_parent = requires_parent(document_parent).with_state(documents);
    Router::new()
        .route("/reports", get(ok).post(ok).route_layer(requires_role(["auditor"])))
        .route("/documents/{id}", get(ok).route_layer(same_parent))
        .route("/customer", get(customer).route_layer(requires_login()))
        .route("/free", get(ok))
        .route("/own", get(async || ([("strict-transport-security", "max-age=1")], "own")))
        .route("/unguarded/{secret}", post(customer))
        .nest(
            "/team/{team}",
            Router::new().route("/invitations/{secret}", post(ok).route_layer(requires_login())),
        )
        .merge(auth_routes(&web))
        .layer(IamLayer::new(web))
}

/// The service, with document 1 of `acme` and document 2 of `globex`.
async fn app(test: &TestIam) -> Router {
    let documents = BTreeMap::from([(1, test.parent("acme").await), (2, test.parent("globex").await)]);
    service(test.web(), Arc::new(documents)).layer(Extension(ConnectInfo(PEER)))
}

async fn send(app: &Router, request: Builder) -> StatusCode {
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
}

#[tokio::test]
async fn roles() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let reports = || Request::get("/reports");
    assert_eq!(send(&app, reports()).await, StatusCode::UNAUTHORIZED);
    let alice = test.signed_in("alice").role("auditor").await;
    let bob = test.signed_in("bob").role("clerk").await;
    assert_eq!(send(&app, reports().header("cookie", alice.cookie())).await, StatusCode::OK);
    assert_eq!(test.logged("authz_fail").await, 0);
    for _ in 0..3 {
        assert_eq!(send(&app, reports().header("cookie", bob.cookie())).await, StatusCode::FORBIDDEN);
    }
    assert_eq!(test.logged("authz_fail").await, 3);
    let refused: Vec<_> =
        test.events().await.into_iter().filter(|event| event.event == "authz_fail").collect();
    assert!(refused.iter().all(|event| event.actor == Some(bob.account())), "{refused:?}");
    test.account("bob").role("auditor").await;
    assert_eq!(send(&app, reports().header("cookie", bob.cookie())).await, StatusCode::OK);
}

#[tokio::test]
async fn keys_of_the_services_own() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").external_id("42").await;
    let bob = test.signed_in("bob").await;
    for (person, key) in [(&alice, "42"), (&bob, "nobody's")] {
        let request =
            Request::get("/customer").header("cookie", person.cookie()).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(to_bytes(response.into_body(), 1 << 10).await.unwrap(), key);
    }
}

#[tokio::test]
async fn the_store_being_down() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let reports = || Request::get("/reports").header("cookie", alice.cookie());
    test.store_fails(true);
    assert_eq!(send(&app, reports()).await, StatusCode::SERVICE_UNAVAILABLE);
    test.store_fails(false);
    assert_eq!(send(&app, reports()).await, StatusCode::OK);
}

#[tokio::test]
async fn parents() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").parent("acme").await;
    let max = test.signed_in("max").await;
    for (person, path, status) in [
        (&alice, "/documents/1", StatusCode::OK),
        (&alice, "/documents/2", StatusCode::FORBIDDEN),
        (&alice, "/documents/3", StatusCode::FORBIDDEN),
        (&max, "/documents/1", StatusCode::FORBIDDEN),
    ] {
        let request = Request::get(path).header("cookie", person.cookie());
        assert_eq!(send(&app, request).await, status, "{person:?} {path}");
    }
}

#[tokio::test]
async fn time() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let bearer = alice.bearer().await;
    let by_cookie = || Request::get("/reports").header("cookie", alice.cookie());
    let by_bearer = || Request::get("/reports").header("authorization", bearer.as_str());
    test.later(Duration::from_mins(29));
    assert_eq!(send(&app, by_cookie()).await, StatusCode::OK);
    test.later(Duration::from_mins(2));
    assert_eq!(send(&app, by_cookie()).await, StatusCode::OK, "it was used");
    assert_eq!(send(&app, by_bearer()).await, StatusCode::UNAUTHORIZED, "it was not");
    test.later(Duration::from_mins(31));
    assert_eq!(send(&app, by_cookie()).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bearer_tokens() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let bearer = alice.bearer().await;
    let with = |header: Builder| header.header("authorization", bearer.as_str());
    assert_eq!(send(&app, with(Request::get("/reports"))).await, StatusCode::OK);
    assert_eq!(send(&app, with(Request::post("/reports"))).await, StatusCode::OK, "needs no origin");
    let as_cookie = bearer.replace("Bearer ", "iam_session=");
    let request = Request::get("/reports").header("cookie", as_cookie);
    assert_eq!(send(&app, request).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn unsafe_requests() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let post = || Request::post("/reports").header("cookie", alice.cookie());
    assert_eq!(send(&app, post()).await, StatusCode::FORBIDDEN);
    let foreign = post().header("origin", "https://evil.example");
    assert_eq!(send(&app, foreign).await, StatusCode::FORBIDDEN);
    assert_eq!(test.logged("malicious_csrf").await, 2);
    assert_eq!(send(&app, post().header("origin", alice.origin())).await, StatusCode::OK);
}

/// What stands in a host's own paths may be a secret of its: the trail has the route as the host wrote it.
#[tokio::test]
async fn a_forged_request_leaves_no_secret_of_the_hosts_in_the_trail() {
    let test = TestIam::new().await;
    let app = app(&test).await;
    for (name, path, route) in [
        ("alice", "/unguarded/s3cret", "/unguarded/{secret}"),
        ("bob", "/team/7/invitations/s3cret?s3cret", "/team/{team}/invitations/{secret}"),
    ] {
        let person = test.signed_in(name).await;
        let forged =
            Request::post(path).header("cookie", person.cookie()).header("origin", "https://evil.example");
        assert_eq!(send(&app, forged).await, StatusCode::FORBIDDEN);
        let events = test.events().await;
        // Two that are refused at one moment stand in no order.
        let mut refused = events.iter().filter(|event| event.event == "malicious_csrf");
        assert!(refused.any(|event| event.reason.as_deref() == Some(route)), "{route}: {events:?}");
        assert!(events.iter().all(|event| !format!("{event:?}").contains("s3cret")), "{events:?}");
    }
}

/// Whatever answers: a page of ours, a handler of the host's, a refusal, no route at all.
#[tokio::test]
async fn strict_transport_security_is_on_every_answer_where_it_is_set() {
    let hsts = |builder: TestIamBuilder| builder.web(|web| web.hsts("730d".parse().unwrap()));
    let over_https = || TestIam::builder().with(|iam| iam.base_url("https://app.example".parse().unwrap()));
    for (builder, expected) in [
        (hsts(over_https()), Some("max-age=63072000")),
        (over_https(), None),
        (hsts(TestIam::builder()), None),
    ] {
        let test = builder.build().await;
        let app = app(&test).await;
        for (path, status) in
            [("/auth/login", 200), ("/free", 200), ("/reports", 401), ("/auth/setup/x", 404)]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path}");
            let headers: Vec<_> = answer.headers().get_all("strict-transport-security").iter().collect();
            assert_eq!(headers, expected.as_slice(), "{path}");
        }
        let own = app.clone().oneshot(Request::get("/own").body(Body::empty()).unwrap()).await.unwrap();
        let headers: Vec<_> = own.headers().get_all("strict-transport-security").iter().collect();
        assert_eq!(headers, ["max-age=1"], "the host's own stays");
    }
}

#[tokio::test]
async fn origins_are_allowed_however_they_are_written() {
    let test =
        TestIam::builder().web(|web| web.allow_origin("https://WWW.example.com:443").unwrap()).build().await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let post = |origin| Request::post("/reports").header("cookie", alice.cookie()).header("origin", origin);
    assert_eq!(send(&app, post("https://www.example.com")).await, StatusCode::OK);
    assert_eq!(send(&app, post("https://example.com")).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn behind_https() {
    let test = TestIam::builder()
        .with(|iam| iam.base_url("https://app.example.com".parse().unwrap()))
        .web(|web| web.api_path("/v1"))
        .build()
        .await;
    let app = app(&test).await;
    let alice = test.signed_in("alice").role("auditor").await;
    let post = Request::post("/reports").header("cookie", alice.cookie()).header("origin", alice.origin());
    assert_eq!(send(&app, post).await, StatusCode::OK);
    let me = Request::get("/v1/me").header("cookie", alice.cookie());
    assert_eq!(send(&app, me).await, StatusCode::OK, "the surface that was set up");
}
