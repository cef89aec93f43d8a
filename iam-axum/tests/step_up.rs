//! Step-up guards: which proof opens them. What else they do is in the scenarios.

#[path = "../../tests/cases/step_up.rs"]
mod cases;

use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use iam_axum::{
    FactorKind, Guard, GuardedRouter, IamLayer, ProofMethod, Purpose, any_of, requires_role, requires_step_up,
};
use iam_testkit::{PEER, TestIam};
use tower::ServiceExt;

async fn ok() -> &'static str {
    "ok"
}

fn guarded(guard: Guard) -> axum::routing::MethodRouter {
    get(ok).route_layer(guard)
}

fn app(test: &TestIam) -> Router {
    let asked = || requires_step_up("p");
    Router::new()
        .route("/default", guarded(asked()))
        .route("/password", guarded(asked().factors([ProofMethod::Password])))
        .route("/mail", guarded(asked().factors([FactorKind::EmailOtp, FactorKind::RecoveryCode])))
        .route("/nothing", guarded(asked().factors([ProofMethod::Totp; 0])))
        .route("/other-purpose", guarded(requires_step_up("q")))
        .route("/short", guarded(asked().within(Duration::from_secs(30))))
        .route("/twice", guarded(asked()).route_layer(requires_step_up::<()>("p").once()))
        .route("/once-and-once", guarded(asked().once()).route_layer(requires_step_up::<()>("p").once()))
        .route("/role-or-proof", guarded(any_of([requires_role(["admin"]), asked()])))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)))
}

#[tokio::test]
async fn a_proof_opens_what_it_is_good_for() {
    let test = TestIam::new().await;
    let app = app(&test);
    for (n, (path, by, opens)) in cases::CASES.iter().enumerate() {
        let person = cases::who(&test, n, *by).await;
        let request = Request::get(*path).header("cookie", person.cookie()).body(Body::empty()).unwrap();
        let status = app.clone().oneshot(request).await.unwrap().status();
        assert_eq!(status == StatusCode::OK, *opens, "{path} by {by:?}: {status}");
    }
}

const PAY: Purpose = Purpose::of("p");

/// Nobody would pass, and nothing would say why. What else counts as a mistake is in the table of `iam_web::Rule`.
#[tokio::test]
async fn a_guard_that_is_written_wrongly_stops_the_start() {
    cases::stops("the guard of POST /pay is written wrongly:\n  iam-axum/tests/step_up.rs:", || {
        GuardedRouter::<()>::new().post("/pay", requires_step_up("Pay Out"), ok)
    });
    cases::stops("`Has Space` can't be a role's name", || {
        GuardedRouter::<()>::new().get("/reports", requires_role(["admin", "Has Space"]).hide(), ok)
    });
    cases::stops("the guard is written wrongly:\n  iam-axum/tests/step_up.rs:", || {
        Router::<()>::new()
            .route("/pay", guarded(requires_step_up("pay").within(Duration::ZERO)))
            .with_state::<()>(())
    });
    let right = GuardedRouter::<()>::new().post("/pay", requires_step_up(PAY).approving(["amount"]), ok);
    assert!(right.inventory().to_string().contains("step-up for p "));
}
