//! Step-up guards: which proof opens them. What else they do is in the scenarios.

#[path = "../../tests/cases/step_up.rs"]
mod cases;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use iam_actix::{
    FactorKind, Guard, GuardedRouter, IamLayer, ProofMethod, Purpose, any_of, requires_role, requires_step_up,
};
use iam_testkit::{PEER, TestIam};

async fn ok() -> &'static str {
    "ok"
}

fn routes(config: &mut web::ServiceConfig) {
    let asked = || requires_step_up("p");
    let guards: [(&str, Guard); 7] = [
        ("/default", asked()),
        ("/password", asked().factors([ProofMethod::Password])),
        ("/mail", asked().factors([FactorKind::EmailOtp, FactorKind::RecoveryCode])),
        ("/nothing", asked().factors([ProofMethod::Totp; 0])),
        ("/other-purpose", requires_step_up("q")),
        ("/short", asked().within(Duration::from_secs(30))),
        ("/role-or-proof", any_of([requires_role(["admin"]), asked()])),
    ];
    for (path, guard) in guards {
        config.route(path, web::get().to(ok).wrap(guard));
    }
    config.route("/twice", web::get().to(ok).wrap(asked()).wrap(asked().once()));
    config.route("/once-and-once", web::get().to(ok).wrap(asked().once()).wrap(asked().once()));
}

#[tokio::test]
async fn a_proof_opens_what_it_is_good_for() {
    let test = TestIam::new().await;
    let app = init_service(App::new().configure(routes).wrap(IamLayer::new(test.web()))).await;
    for (n, (path, by, opens)) in cases::CASES.iter().enumerate() {
        let person = cases::who(&test, n, *by).await;
        let request = TestRequest::get().uri(path).peer_addr(PEER);
        let request = request.insert_header(("cookie", person.cookie())).to_request();
        let status = call_service(&app, request).await.status();
        assert_eq!(status == StatusCode::OK, *opens, "{path} by {by:?}: {status}");
    }
}

const PAY: Purpose = Purpose::of("p");

/// Nobody would pass, and nothing would say why. What else counts as a mistake is in the table of `iam_web::Rule`.
#[test]
fn a_guard_that_is_written_wrongly_stops_the_start() {
    cases::stops("the guard of POST /pay is written wrongly:\n  iam-actix/tests/step_up.rs:", || {
        GuardedRouter::new().post("/pay", requires_step_up("Pay Out"), ok)
    });
    cases::stops("`Has Space` can't be a role's name", || {
        GuardedRouter::new().get("/reports", requires_role(["admin", "Has Space"]).hide(), ok)
    });
    cases::stops("the guard is written wrongly:\n  iam-actix/tests/step_up.rs:", || {
        let start = async {
            let guard = requires_step_up("pay").within(Duration::ZERO);
            init_service(App::new().route("/pay", web::get().to(ok).wrap(guard))).await
        };
        actix_web::rt::System::new().block_on(start)
    });
    let right = GuardedRouter::new().post("/pay", requires_step_up(PAY).approving(["amount"]), ok);
    assert!(right.inventory().to_string().contains("step-up for p "));
}
