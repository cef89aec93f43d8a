//! What is easy to get wrong on axum, and what happens then.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{Request, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, http};
use iam_axum::{
    CookiePrefix, CsrfToken, CurrentActor, CurrentUser, ForwardHeader, Iam, IamLayer, KeyRing, Keys,
    MaybeUser, ParentId, Refusal, RequestId, SecretKey, SessionWatch, TrustedProxies, auth_routes,
    requires_login, requires_parent,
};
use iam_store_sqlite::SqliteStore;
use iam_testkit::{PEER, TestIam};
use tower::ServiceExt;

async fn send(app: &Router, request: http::request::Builder) -> (StatusCode, String) {
    send_bare(app, request.extension(ConnectInfo(PEER))).await
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
    let test = TestIam::new().await;
    let app = Router::new()
        .route("/after", get(ok).route_layer(requires_login()).post(ok))
        .route("/before", get(ok).post(ok).route_layer(requires_login()))
        .layer(IamLayer::new(test.web()));
    assert_eq!(send(&app, Request::get("/after")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, Request::post("/after")).await.0, StatusCode::OK, "as the documentation warns");
    assert_eq!(send(&app, Request::post("/before")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&app, Request::put("/before")).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

/// As `docs/BROWSERS.md` says: what is nested keeps its guards, and the pages to sign in on are told the prefix.
#[tokio::test]
async fn an_application_below_a_prefix_signs_people_in_beside_it() {
    let test =
        TestIam::builder().web(|web| web.auth_path("/shop/auth").api_path("/shop/api/v1")).build().await;
    let shop = Router::new().route("/reports", get(ok).route_layer(requires_login()));
    let app =
        Router::new().nest("/shop", shop).merge(auth_routes(test.web())).layer(IamLayer::new(test.web()));
    let (status, location) = send(&app, page("/shop/reports?a=b")).await;
    assert_eq!(
        (status, location.as_str()),
        (StatusCode::SEE_OTHER, "/shop/auth/login?next=/shop/reports%3Fa%3Db")
    );
    assert_eq!(send(&app, page("/shop/auth/login")).await.0, StatusCode::OK);
    let (status, location) = send(&app, page("/.well-known/change-password")).await;
    assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, "/shop/auth/account"));
    assert_eq!(send(&app, Request::get("/shop/api/v1/me")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_address_that_the_host_has_itself_is_the_hosts() {
    let test = TestIam::builder().web(|web| web.change_password_url(false)).build().await;
    let app = Router::new()
        .route("/.well-known/change-password", get(ok))
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()));
    assert_eq!(send(&app, page("/.well-known/change-password")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn cookies_have_the_names_that_a_host_gives_them() {
    let prefix = CookiePrefix::parse("shop_").unwrap();
    let test = TestIam::builder().web(|web| web.cookie_prefix(prefix).clear_pages(false)).build().await;
    let app = Router::new()
        .route("/guarded", get(ok).route_layer(requires_login()))
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()));
    let amy = test.signed_in("amy").await;
    let cookie = amy.cookie();
    assert!(cookie.starts_with("shop_session="), "{cookie}");
    assert_eq!(send(&app, Request::get("/guarded").header("cookie", &cookie)).await.0, StatusCode::OK);
    let other = cookie.replace("shop_", "iam_");
    assert_eq!(
        send(&app, Request::get("/guarded").header("cookie", other)).await.0,
        StatusCode::UNAUTHORIZED
    );
    let out =
        Request::post("/api/v1/auth/logout").header("cookie", cookie).header("sec-fetch-site", "same-origin");
    let out = app.oneshot(out.extension(ConnectInfo(PEER)).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!((out.status(), out.headers().get("clear-site-data")), (StatusCode::NO_CONTENT, None));
    let cleared = out.headers().get("set-cookie").unwrap().to_str().unwrap();
    assert!(cleared.starts_with("shop_session=;"), "{cleared}");
}

#[tokio::test]
async fn without_the_layer_everything_that_asks_answers_500() {
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()))
        .route("/guarded", get(ok).route_layer(requires_login()))
        .route("/current", get(|_: CurrentUser| ok()))
        .route("/maybe", get(|_: MaybeUser| ok()))
        .route("/open", get(ok));
    for path in ["/guarded", "/current", "/maybe"] {
        assert_eq!(send(&app, Request::get(path)).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(send(&app, Request::get("/open")).await.0, StatusCode::OK);
    assert_eq!(send(&app, Request::get("/auth/login")).await.0, StatusCode::OK);
    let bare: Router = auth_routes(test.web());
    assert_eq!(send(&bare, Request::get("/auth/login")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn without_the_peers_address_nobody_is_let_in_by_mistake() {
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .route("/guarded", get(ok).route_layer(requires_login()))
        .route("/open", get(ok))
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()));
    for path in ["/guarded", "/auth/login"] {
        assert_eq!(send_bare(&app, Request::get(path)).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(send_bare(&app, Request::get("/open")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn nesting_keeps_the_whole_address() {
    let test = TestIam::new().await;
    let inner = Router::new().route("/reports", get(ok).route_layer(requires_login()));
    let app: Router = Router::new().nest("/v2", inner).layer(IamLayer::new(test.web()));
    let (status, location) = send(&app, page("/v2/reports?a=b")).await;
    assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, "/auth/login?next=/v2/reports%3Fa%3Db"));
    // An address that is no good to come back to is left out.
    let (status, location) = send(&app, page("/v2/reports?%0d%0a=\\")).await;
    assert_eq!((status, location.as_str()), (StatusCode::SEE_OTHER, "/auth/login"));
}

#[tokio::test]
async fn pages_can_be_mounted_elsewhere() {
    let test = TestIam::builder().web(|web| web.auth_path("/konto").api_path("/dienst")).build().await;
    let app: Router = Router::new()
        .route("/x", get(ok).route_layer(requires_login()))
        .merge(auth_routes(test.web()))
        .layer(IamLayer::new(test.web()));
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
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .route("/x", post(ok).route_layer(requires_parent(never)))
        .layer(IamLayer::new(test.web()));
    assert_eq!(send(&app, Request::post("/x")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_store_being_down_signs_nobody_out() {
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .route("/guarded", get(ok).route_layer(requires_login()))
        .route("/current", get(|_: CurrentUser| ok()))
        .route("/maybe", get(|_: MaybeUser| ok()))
        .layer(IamLayer::new(test.web()));
    let alice = test.signed_in("alice").await;
    for (fails, status) in [(true, StatusCode::SERVICE_UNAVAILABLE), (false, StatusCode::OK)] {
        test.store_fails(fails);
        for path in ["/guarded", "/current", "/maybe"] {
            let request = Request::get(path).header("cookie", alice.cookie());
            assert_eq!(send(&app, request).await.0, status, "{path}");
        }
    }
}

/// A layer of the host's that turns every failure into a page of its own.
async fn smooths(request: Request<Body>, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status().is_server_error() { "sorry".into_response() } else { response }
}

fn greeting<T, E>(asked: &Result<T, E>) -> &'static str {
    if asked.is_ok() { "somebody" } else { "nobody" }
}

/// What a handler makes of it that nobody could tell who asks, is not sent.
#[tokio::test]
async fn the_context_remembers_that_nobody_could_tell() {
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .route("/current", get(async |user: Result<CurrentUser, Refusal>| greeting(&user)))
        .route("/maybe", get(async |user: Result<MaybeUser, Refusal>| greeting(&user)))
        .route("/token", get(async |token: Result<CsrfToken, Refusal>| greeting(&token)))
        .route("/watch", get(async |watch: Result<SessionWatch, Refusal>| greeting(&watch)))
        .route(
            "/sends-away",
            get(async |user: Result<CurrentUser, Refusal>| match user {
                Ok(_) => "somebody".into_response(),
                Err(_) => Redirect::to("/auth/login").into_response(),
            }),
        )
        .route("/streams", get(async |_: Result<CurrentUser, Refusal>| Body::from("begun")))
        .route("/smoothed", get(async |_: CurrentUser| "somebody").layer(from_fn(smooths)))
        .route("/guarded", get(ok).route_layer(requires_login()).layer(from_fn(smooths)))
        .route("/open", get(async |_: RequestId| "open"))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    let alice = test.signed_in("alice").await.cookie();
    let asks = ["/current", "/maybe", "/token", "/watch", "/sends-away", "/streams", "/smoothed", "/guarded"];
    let send = async |path: &str| {
        let request = Request::get(path).header("cookie", &alice).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    test.store_fails(true);
    for path in asks {
        let answer = send(path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().get("set-cookie").is_none(), "{path}: the cookie stays");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        assert!(body.starts_with(b"{") && !body.windows(6).any(|part| part == b"nobody"), "{path}");
    }
    assert_eq!(send("/open").await.status(), StatusCode::OK, "who asks nothing is told nothing");
    test.store_fails(false);
    for path in asks {
        assert_eq!(send(path).await.status(), StatusCode::OK, "{path}");
    }
}

/// A store that is gone for a moment, just when a middleware looks at who asks: nothing is carried out behind it that the client is then told
/// to send again.
#[tokio::test]
async fn what_could_not_be_told_once_is_not_asked_again() {
    let (test, acted) = (Arc::new(TestIam::new().await), Arc::new(AtomicBool::new(false)));
    let (faults, acts) = (Arc::clone(&test), Arc::clone(&acted));
    let looks = move |request: axum::extract::Request, next: Next| {
        let faults = Arc::clone(&faults);
        async move {
            let (mut parts, body) = request.into_parts();
            faults.store_fails(true);
            assert!(MaybeUser::from_request_parts(&mut parts, &()).await.is_err());
            faults.store_fails(false);
            next.run(Request::from_parts(parts, body)).await
        }
    };
    let pays = get(async move || acts.store(true, Ordering::SeqCst));
    let app: Router = Router::new()
        .route("/pay", pays.route_layer(requires_login()))
        .layer(from_fn(looks))
        .layer(IamLayer::new(test.web()));
    let cookie = test.signed_in("alice").await.cookie();
    assert_eq!(send(&app, page("/pay").header("cookie", cookie)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!acted.load(Ordering::SeqCst), "the handler did not run");
}

/// Who says nothing of where the service lives is taken to live behind HTTPS. (`TestIam` always says so, so here is a layer made by
/// hand.)
#[tokio::test]
async fn without_a_base_url_cookies_are_for_https() {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    let keys = Keys {
        secret: SecretKey::from_base64("3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=").unwrap(),
        ring: KeyRing::parse("Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=").unwrap(),
    };
    let iam = Iam::builder(store, keys).build().await.unwrap();
    let app: Router = Router::new().merge(auth_routes(&iam)).layer(IamLayer::new(iam));
    let request = page("/auth/login").extension(ConnectInfo(PEER)).body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-iam_pre=") && cookie.contains("; Secure"), "{cookie}");
}

/// What is done in somebody's name says who, from where as the proxies tell it, and under which request.
#[tokio::test]
async fn handlers_know_who_acts_and_from_where() {
    let behind = |web: iam_axum::WebIamBuilder| {
        web.trusted_proxies(TrustedProxies::parse("192.0.2.0/24").unwrap(), ForwardHeader::XForwardedFor)
    };
    let test = TestIam::builder().web(behind).build().await;
    let acts = async |actor: CurrentActor, id: RequestId| {
        let (account, address) = (actor.account().unwrap(), actor.client().address.unwrap());
        assert_eq!(actor.client().request_id.as_deref(), Some(&*id.0));
        format!("{account} {address}")
    };
    let app = Router::new()
        .route("/acts", get(acts))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    let send = async |request: http::request::Builder| {
        let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        (status, to_bytes(answer.into_body(), 1 << 16).await.unwrap())
    };
    let alice = test.signed_in("alice").await;
    let by_proxy =
        Request::get("/acts").header("cookie", alice.cookie()).header("x-forwarded-for", "198.51.100.7");
    let (status, body) = send(by_proxy).await;
    let said = format!("{} 198.51.100.7", test.account("alice").await);
    assert_eq!((status, &body[..]), (StatusCode::OK, said.as_bytes()));
    assert_eq!(send(Request::get("/acts")).await.0, StatusCode::UNAUTHORIZED);
}
