//! For the tests of services that use the IAM family: an identity layer with people in one line, a clock that can be moved, and
//! the audit trail to look at.
//!
//! It goes under `[dev-dependencies]`. What is tested is the service itself, with its real guards and the real rules: only the
//! store (SQLite, gone with the test, unless it is given another), the cost of password hashes, the clock and the keys are the test's.
//!
//! # With axum
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::body::Body;
//! use axum::extract::ConnectInfo;
//! use axum::http::{Request, StatusCode};
//! use axum::{Extension, Router, routing::get};
//! use iam_axum::{IamLayer, WebIam, auth_routes, requires_role};
//! use iam_testkit::{PEER, TestIam};
//! use tower::ServiceExt;
//!
//! // The service, as its `main` makes it.
//! fn my_app(web: WebIam) -> Router {
//!     Router::new()
//!         .route("/reports", get(async || "reports").post(async || "made").route_layer(requires_role(["auditor"])))
//!         .merge(auth_routes(&web))
//!         .layer(IamLayer::new(web))
//! }
//!
//! // #[tokio::test]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() { only_auditors_read_reports().await }
//! async fn only_auditors_read_reports() {
//!     let test = TestIam::new().await;
//!     // Without a connection nobody knows where a request comes from: this says it for all of them. Last, outside the layer.
//!     let app = my_app(test.web()).layer(Extension(ConnectInfo(PEER)));
//!     let send = async |request: Request<Body>| app.clone().oneshot(request).await.unwrap().status();
//!
//!     let alice = test.signed_in("alice").role("auditor").parent("acme").await;
//!     let by_cookie = || Request::get("/reports").header("cookie", alice.cookie()).body(Body::empty()).unwrap();
//!     assert_eq!(send(by_cookie()).await, StatusCode::OK);
//!
//!     // A program shows a bearer token instead.
//!     let bearer = alice.bearer().await;
//!     let request = Request::get("/reports").header("authorization", bearer).body(Body::empty()).unwrap();
//!     assert_eq!(send(request).await, StatusCode::OK);
//!
//!     // A browser says which page an unsafe request comes from; without that it is refused.
//!     let post = || Request::post("/reports").header("cookie", alice.cookie());
//!     assert_eq!(send(post().body(Body::empty()).unwrap()).await, StatusCode::FORBIDDEN);
//!     let request = post().header("origin", alice.origin()).body(Body::empty()).unwrap();
//!     assert_eq!(send(request).await, StatusCode::OK);
//!
//!     // Somebody else may not, and that is in the audit trail.
//!     let bob = test.signed_in("bob").await;
//!     let request = Request::get("/reports").header("cookie", bob.cookie()).body(Body::empty()).unwrap();
//!     assert_eq!(send(request).await, StatusCode::FORBIDDEN);
//!     let events = test.events().await;
//!     assert!(events.iter().any(|event| event.event == "authz_fail" && event.account == Some(bob.account())));
//!
//!     // After half an hour without a request the session is over.
//!     test.later(Duration::from_mins(31));
//!     assert_eq!(send(by_cookie()).await, StatusCode::UNAUTHORIZED);
//! }
//! ```
//!
//! # With actix-web
//!
//! The same people, cookies and events; a request says itself where it comes from.
//!
//! ```
//! use actix_web::http::StatusCode;
//! use actix_web::test::{TestRequest, call_service, init_service};
//! use actix_web::{App, web};
//! use iam_actix::{IamLayer, WebIam, auth_routes, requires_role};
//! use iam_testkit::{PEER, TestIam};
//!
//! // The service's routes, as its `main` has them.
//! fn my_routes(web: WebIam) -> impl FnOnce(&mut web::ServiceConfig) {
//!     move |config| {
//!         let reports = web::get().to(async || "reports").wrap(requires_role(["auditor"]));
//!         config.route("/reports", reports).configure(auth_routes(&web));
//!     }
//! }
//!
//! // #[actix_web::test]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() { only_auditors_read_reports().await }
//! async fn only_auditors_read_reports() {
//!     let test = TestIam::new().await;
//!     let app = App::new().configure(my_routes(test.web())).wrap(IamLayer::new(test.web()));
//!     let app = init_service(app).await;
//!
//!     let alice = test.signed_in("alice").role("auditor").await;
//!     let request = TestRequest::get().uri("/reports").peer_addr(PEER);
//!     let request = request.insert_header(("cookie", alice.cookie())).to_request();
//!     assert_eq!(call_service(&app, request).await.status(), StatusCode::OK);
//!
//!     let request = TestRequest::get().uri("/reports").peer_addr(PEER).to_request();
//!     assert_eq!(call_service(&app, request).await.status(), StatusCode::UNAUTHORIZED);
//! }
//! ```
//!
//! # Objects of a parent
//!
//! [`TestIam::parent`] gives the id that the service's objects name, and that its resolver for `requires_parent` answers with:
//!
//! ```
//! # use iam_testkit::TestIam;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let test = TestIam::new().await;
//! let acme = test.parent("acme").await; // now save a document of `acme`
//! let alice = test.signed_in("alice").parent("acme").await; // who may read it
//! let eve = test.signed_in("eve").parent("globex").await; // who may not
//! # let _ = (acme, alice, eve);
//! # }
//! ```
//!
//! An account belongs to at most one parent, for good: to ask for another one, or for one when it was made without, panics. So somebody with
//! a parent and an [`authenticator`](TestIam::authenticator) is made first: `test.account("alice").parent("acme").await`.
//!
//! # A table of the service's own
//!
//! A service that joins its own table of people by [`external_id`](SignIn::external_id) makes both in a line each; a handler then
//! finds the key in its `CurrentUser`, by `user.external_id()`:
//!
//! ```
//! # use iam_testkit::TestIam;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let test = TestIam::new().await;
//! // now save customer 42
//! let alice = test.signed_in("alice").external_id("42").await;
//! # let _ = alice;
//! # }
//! ```
//!
//! # While the store is down
//!
//! [`TestIam::store_fails`] lets a test see what people are shown then:
//!
//! ```
//! # use iam_testkit::TestIam;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let test = TestIam::new().await;
//! let alice = test.signed_in("alice").await;
//! test.store_fails(true); // guards answer 503 now, to alice as well
//! test.store_fails(false); // and she is still signed in
//! # let _ = alice;
//! # }
//! ```
//!
//! # Codes and approvals
//!
//! [`SignedInPerson::proves`] leaves behind what a right code for a purpose does, and [`SignedInPerson::approves`] what it does for a guard
//! that binds it to the values of a request. A test that goes all of the way has an [`Authenticator`], and [`TestIam::mailed_code`]. On axum:
//!
//! ```
//! use axum::body::{Body, to_bytes};
//! use axum::extract::ConnectInfo;
//! use axum::http::{Request, StatusCode};
//! use axum::{Extension, Router};
//! use iam_axum::{GuardedRouter, IamLayer, WebIam, requires_step_up};
//! use iam_testkit::{PEER, TestIam};
//! use serde_json::{Value, json};
//! use tower::ServiceExt;
//!
//! fn my_app(web: WebIam) -> Router {
//!     GuardedRouter::new()
//!         .post("/transfers", requires_step_up("transfer").once().approving(["amount", "payee"]), async || "sent")
//!         .auth_routes(&web)
//!         .layer(IamLayer::new(web))
//!         .into_router()
//! }
//!
//! // #[tokio::test]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() { money_leaves_when_it_was_approved().await }
//! async fn money_leaves_when_it_was_approved() {
//!     let test = TestIam::new().await;
//!     let app = my_app(test.web()).layer(Extension(ConnectInfo(PEER)));
//!     let phone = test.authenticator("alice").await;
//!     let alice = test.signed_in("alice").await;
//!     let post = async |path: &str, body: Value| {
//!         let request = Request::post(path).header("cookie", alice.cookie()).header("origin", alice.origin());
//!         let request = request.header("content-type", "application/json").body(Body::from(body.to_string()));
//!         let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
//!         let (status, body) = (answer.status(), to_bytes(answer.into_body(), 1 << 16).await.unwrap());
//!         (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
//!     };
//!     let transfer = async || post("/transfers", json!({"amount": 100, "payee": "bob"})).await;
//!
//!     // In a line:
//!     alice.approves("transfer", "POST", "/transfers", &[("amount", "100"), ("payee", "bob")]).await;
//!     assert_eq!(transfer().await.0, StatusCode::OK);
//!
//!     // All of the way, as a program goes it:
//!     let (status, asked) = transfer().await;
//!     assert_eq!((status, &asked["code"]), (StatusCode::UNAUTHORIZED, &json!("step_up_required")));
//!     let approval = &asked["approval"];
//!     post("/api/v1/auth/step-up", json!({"purpose": "transfer", "approval": approval})).await;
//!     let code = json!({"code": phone.code(), "purpose": "transfer", "approval": approval});
//!     assert_eq!(post("/api/v1/auth/mfa/verify", code).await.0, StatusCode::OK);
//!     assert_eq!(transfer().await.0, StatusCode::OK);
//! }
//! ```
//!
//! On actix-web:
//!
//! ```
//! use actix_web::App;
//! use actix_web::http::StatusCode;
//! use actix_web::test::{TestRequest, call_service, init_service, read_body};
//! use iam_actix::{GuardedRouter, IamLayer, requires_step_up};
//! use iam_testkit::{PEER, TestIam};
//! use serde_json::{Value, json};
//!
//! fn my_routes() -> GuardedRouter {
//!     let guard = requires_step_up("transfer").once().approving(["amount", "payee"]);
//!     GuardedRouter::new().post("/transfers", guard, async || "sent")
//! }
//!
//! // #[actix_web::test]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() { money_leaves_when_it_was_approved().await }
//! async fn money_leaves_when_it_was_approved() {
//!     let test = TestIam::new().await;
//!     let app = App::new().configure(my_routes().auth_routes(test.web()).into_config());
//!     let app = init_service(app.wrap(IamLayer::new(test.web()))).await;
//!     let phone = test.authenticator("alice").await;
//!     let alice = test.signed_in("alice").await;
//!     let post = async |path: &str, body: Value| {
//!         let request = TestRequest::post().uri(path).peer_addr(PEER).set_json(body);
//!         let request = request.insert_header(("cookie", alice.cookie())).insert_header(("origin", alice.origin()));
//!         let answer = call_service(&app, request.to_request()).await;
//!         (answer.status(), serde_json::from_slice(&read_body(answer).await).unwrap_or(Value::Null))
//!     };
//!     let transfer = async || post("/transfers", json!({"amount": 100, "payee": "bob"})).await;
//!
//!     alice.approves("transfer", "POST", "/transfers", &[("amount", "100"), ("payee", "bob")]).await;
//!     assert_eq!(transfer().await.0, StatusCode::OK);
//!
//!     let (status, asked) = transfer().await;
//!     assert_eq!((status, &asked["code"]), (StatusCode::UNAUTHORIZED, &json!("step_up_required")));
//!     let approval = &asked["approval"];
//!     post("/api/v1/auth/step-up", json!({"purpose": "transfer", "approval": approval})).await;
//!     let code = json!({"code": phone.code(), "purpose": "transfer", "approval": approval});
//!     assert_eq!(post("/api/v1/auth/mfa/verify", code).await.0, StatusCode::OK);
//!     assert_eq!(transfer().await.0, StatusCode::OK);
//! }
//! ```
//!
//! # A database of the service's own
//!
//! [`TestIamBuilder::store`] takes the service's own pool, or whatever else is a store; its documentation shows how.
//!
//! # Other rules than the default ones
//!
//! [`TestIam::builder`] takes what the service's own start says, to the identity layer and to its HTTP surface:
//!
//! ```
//! use iam_testkit::TestIam;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let test = TestIam::builder()
//!     .with(|iam| iam.service("Reports").base_url("https://app.example.com".parse().unwrap()))
//!     .web(|web| web.auth_path("/account"))
//!     .build()
//!     .await;
//! assert_eq!(test.origin(), "https://app.example.com");
//! assert!(test.signed_in("alice").await.cookie().starts_with("__Host-iam_session="));
//! # }
//! ```
//!
//! # What to know
//!
//! - **The base URL is `http://localhost`** unless [`with`](TestIamBuilder::with) says otherwise. The session's cookie is then
//!   called `iam_session`; under an `https` base URL it is `__Host-iam_session`. [`SignedInPerson::cookie`] has the right one.
//! - **Nothing happens in the background.** The worker, which ends sessions that ran out and removes old records, does not run, so
//!   that events come in the same order every time. `test.iam().upkeep().await` does its work once. Guards don't wait for it.
//! - **Signing in is real** and is in the events: `user_created`, `authn_login_success`, `session_created`. Count what your own
//!   request adds, or look for its account.
//! - **Everything panics** that does not work, with the reason: this is for tests.

#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "it is for tests: what does not work fails the test, and the crate's documentation says so"
)]

mod authenticator;
mod people;
mod test_iam;

pub use authenticator::Authenticator;
pub use iam_core::ports::{Message, Record};
pub use iam_core::{AccountId, Iam, IamBuilder, ManualClock, Outcome, ParentId, SessionId, Timestamp};
pub use iam_mfa::{MemoryOutcome, MemorySender};
pub use iam_web::{WebIam, WebIamBuilder};
pub use people::{Person, SignIn, SignedInPerson};
pub use test_iam::{PASSWORD, PEER, TestIam, TestIamBuilder};

/// What `result` holds, or the end of the test.
fn must<T, E: std::error::Error>(result: Result<T, E>, what: impl std::fmt::Display) -> T {
    result.unwrap_or_else(|error| {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let causes: String = causes.flat_map(|cause| [": ".to_owned(), cause.to_string()]).collect();
        panic!("iam-testkit: {what}: {error}{causes}")
    })
}

/// Here because a crate's examples may use whatever its tests do: both adapters, both stores. `tests/documents.rs` sees to it that no
/// document with code is left out.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/FIRST_HOUR.md")]
mod first_hour {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/INVOICES.md")]
mod invoices {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/CUSTOMISING.md")]
mod customising {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/RUNNING.md")]
mod running {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/MOBILE.md")]
mod mobile {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/STEP_UP.md")]
mod step_up {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/STREAMS.md")]
mod streams {}

/// Likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/ADAPTERS.md")]
mod adapters {}
