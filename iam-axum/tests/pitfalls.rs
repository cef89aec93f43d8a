//! What is easy to get wrong on axum, and what happens then.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Router, http};
use iam_axum::{
    CurrentUser, Iam, IamLayer, KeyRing, Keys, MaybeUser, ParentId, SecretKey, auth_routes, requires_login,
    requires_parent,
};
use iam_store_sqlite::SqliteStore;
use tempfile::TempDir;
use tower::ServiceExt;

async fn iam() -> (Iam, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("iam.db")).await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys { secret: SecretKey::from_bytes(&[1; 32]).unwrap(), ring: KeyRing::single([2; 32]) };
    (Iam::builder(store, keys).build().await.unwrap(), folder)
}

async fn send(app: &Router, request: http::request::Builder) -> (StatusCode, String) {
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 4711)));
    send_bare(app, request.extension(peer)).await
}

async fn send_bare(app: &Router, request: http::request::Builder) -> (StatusCode, String) {
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let location = response.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
    (response.status(), location.unwrap_or_default())
}

fn page(path: &str) -> http::request::Builder {
    Request::get(path).header("accept", "text/html")
}

async fn ok() -> &'static str {
    "ok"
}

#[tokio::test]
async fn a_method_added_after_the_guard_is_not_guarded() {
    let (iam, _folder) = iam().await;
    let app = Router::new()
        .route("/after", get(ok).route_layer(requires_login()).post(ok))
        .route("/before", get(ok).post(ok).route_layer(requires_login()))
        .layer(IamLayer::new(iam));
    assert_eq!(send(&app, Request::get("/after")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, Request::post("/after")).await.0, StatusCode::OK, "as the documentation warns");
    assert_eq!(send(&app, Request::post("/before")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, Request::put("/before")).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn without_the_layer_everything_that_asks_answers_500() {
    let (iam, _folder) = iam().await;
    let app: Router = Router::new()
        .merge(auth_routes(&iam))
        .layer(IamLayer::new(iam.clone()))
        .route("/guarded", get(ok).route_layer(requires_login()))
        .route("/current", get(|_: CurrentUser| ok()))
        .route("/maybe", get(|_: MaybeUser| ok()))
        .route("/open", get(ok));
    for path in ["/guarded", "/current", "/maybe"] {
        assert_eq!(send(&app, Request::get(path)).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(send(&app, Request::get("/open")).await.0, StatusCode::OK);
    assert_eq!(send(&app, Request::get("/auth/login")).await.0, StatusCode::OK);
    let bare: Router = auth_routes(&iam);
    assert_eq!(send(&bare, Request::get("/auth/login")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn without_the_peers_address_nobody_is_let_in_by_mistake() {
    let (iam, _folder) = iam().await;
    let app: Router = Router::new()
        .route("/guarded", get(ok).route_layer(requires_login()))
        .route("/open", get(ok))
        .merge(auth_routes(&iam))
        .layer(IamLayer::new(iam));
    for path in ["/guarded", "/auth/login"] {
        assert_eq!(send_bare(&app, Request::get(path)).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(send_bare(&app, Request::get("/open")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn nesting_keeps_the_whole_address() {
    let (iam, _folder) = iam().await;
    let inner = Router::new().route("/reports", get(ok).route_layer(requires_login()));
    let app: Router = Router::new().nest("/v2", inner).layer(IamLayer::new(iam));
    let (status, location) = send(&app, page("/v2/reports?a=b")).await;
    assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, "/auth/login?next=/v2/reports%3Fa%3Db"));
    // An address that is no good to come back to is left out.
    let (status, location) = send(&app, page("/v2/reports?%0d%0a=\\")).await;
    assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, "/auth/login"));
}

#[tokio::test]
async fn pages_can_be_mounted_elsewhere() {
    let (iam, _folder) = iam().await;
    let web = iam_axum::WebIam::builder(iam).auth_path("/konto").api_path("/dienst").build();
    let app: Router = Router::new()
        .route("/x", get(ok).route_layer(requires_login()))
        .merge(auth_routes(&web))
        .layer(IamLayer::new(web));
    assert_eq!(send(&app, page("/x")).await.1, "/konto/login?next=/x");
    assert_eq!(send(&app, page("/konto/login")).await.0, StatusCode::OK);
    assert_eq!(send(&app, Request::get("/dienst/me")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, page("/auth/login")).await.0, StatusCode::NOT_FOUND);
}

async fn never() -> Result<Option<ParentId>, std::io::Error> {
    panic!("asked on behalf of nobody")
}

#[tokio::test]
async fn a_resolver_runs_for_nobody_who_is_refused_anyway() {
    let (iam, _folder) = iam().await;
    let app: Router =
        Router::new().route("/x", post(ok).route_layer(requires_parent(never))).layer(IamLayer::new(iam));
    assert_eq!(send(&app, Request::post("/x")).await.0, StatusCode::UNAUTHORIZED);
}
