//! Step-up guards: which proof opens them. What else they do is in the scenarios.

#[path = "../../tests/cases/step_up.rs"]
mod cases;

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use iam_actix::mfa::FactorKind;
use iam_actix::{Guard, IamLayer, any_of, requires_role, requires_step_up};
use iam_testkit::{PEER, TestIam};

async fn ok() -> &'static str {
    "ok"
}

fn routes(config: &mut web::ServiceConfig) {
    let asked = || requires_step_up("p");
    let guards: [(&str, Guard); 8] = [
        ("/default", asked()),
        ("/password", asked().factors([FactorKind::Password])),
        ("/mail", asked().factors([FactorKind::EmailOtp, FactorKind::RecoveryCode])),
        ("/nothing", asked().factors([])),
        ("/no-purpose", requires_step_up("No Purpose")),
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
