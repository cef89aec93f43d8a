//! A service on actix-web, tested with the kit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::{self, Data, Path};
use actix_web::{App, HttpResponse};
use iam_actix::{
    CurrentUser, IamLayer, ParentId, WebIam, auth_routes, requires_login, requires_parent, requires_role,
};
use iam_testkit::{PEER, TestIam, TestIamBuilder};

type Documents = BTreeMap<u64, ParentId>;

async fn document_parent(all: Data<Documents>, id: Path<u64>) -> Result<Option<ParentId>, Infallible> {
    Ok(all.get(&id).copied())
}

async fn ok() -> &'static str {
    "ok"
}

/// Whose row of the service's own table it is.
async fn customer(user: CurrentUser) -> String {
    user.external_id().unwrap_or("nobody's").to_owned()
}

async fn own() -> HttpResponse {
    HttpResponse::Ok().insert_header(("strict-transport-security", "max-age=1")).body("own")
}

fn routes(web: WebIam, documents: Documents) -> impl FnOnce(&mut web::ServiceConfig) {
    let reports = web::resource("/reports").get(ok).post(ok).wrap(requires_role(["auditor"]));
    let document = web::resource("/documents/{id}").get(ok).wrap(requires_parent(document_parent));
    move |config| {
        let config = config.app_data(Data::new(documents)).service(reports).service(document);
        config.route("/customer", web::get().to(customer).wrap(requires_login()));
        config.route("/free", web::get().to(ok));
        config.route("/own", web::get().to(own));
        config.route("/unguarded/{secret}", web::post().to(customer));
        let invitation = web::resource("/invitations/{secret}").post(ok).wrap(requires_login());
        config.service(web::scope("/team/{team}").service(invitation));
        config.configure(auth_routes(&web));
    }
}

/// The service, with document 1 of `acme` and document 2 of `globex`. A macro, because actix-web does not say what the type of an
/// application's request is.
macro_rules! app {
    ($test:expr) => {{
        let test: &TestIam = &$test;
        let documents = BTreeMap::from([(1, test.parent("acme").await), (2, test.parent("globex").await)]);
        init_service(App::new().configure(routes(test.web(), documents)).wrap(IamLayer::new(test.web())))
            .await
    }};
}

macro_rules! send {
    ($app:expr, $request:expr) => {
        call_service($app, $request.peer_addr(PEER).to_request()).await.status()
    };
}

#[tokio::test]
async fn roles() {
    let test = TestIam::new().await;
    let app = app!(test);
    let reports = || TestRequest::get().uri("/reports");
    assert_eq!(send!(&app, reports()), StatusCode::UNAUTHORIZED);
    let alice = test.signed_in("alice").role("auditor").await;
    let bob = test.signed_in("bob").role("clerk").await;
    assert_eq!(send!(&app, reports().insert_header(("cookie", alice.cookie()))), StatusCode::OK);
    assert_eq!(test.logged("authz_fail").await, 0);
    for _ in 0..3 {
        assert_eq!(send!(&app, reports().insert_header(("cookie", bob.cookie()))), StatusCode::FORBIDDEN);
    }
    assert_eq!(test.logged("authz_fail").await, 3);
    let refused: Vec<_> =
        test.events().await.into_iter().filter(|event| event.event == "authz_fail").collect();
    assert!(refused.iter().all(|event| event.actor == Some(bob.account())), "{refused:?}");
    test.account("bob").role("auditor").await;
    assert_eq!(send!(&app, reports().insert_header(("cookie", bob.cookie()))), StatusCode::OK);
}

#[tokio::test]
async fn keys_of_the_services_own() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").external_id("42").await;
    let bob = test.signed_in("bob").await;
    for (person, key) in [(&alice, "42"), (&bob, "nobody's")] {
        let request = TestRequest::get().uri("/customer").insert_header(("cookie", person.cookie()));
        let response = call_service(&app, request.peer_addr(PEER).to_request()).await;
        assert_eq!(read_body(response).await, key);
    }
}

#[tokio::test]
async fn the_store_being_down() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").role("auditor").await;
    let reports = || TestRequest::get().uri("/reports").insert_header(("cookie", alice.cookie()));
    test.store_fails(true);
    assert_eq!(send!(&app, reports()), StatusCode::SERVICE_UNAVAILABLE);
    test.store_fails(false);
    assert_eq!(send!(&app, reports()), StatusCode::OK);
}

#[tokio::test]
async fn parents() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").parent("acme").await;
    let max = test.signed_in("max").await;
    for (person, path, status) in [
        (&alice, "/documents/1", StatusCode::OK),
        (&alice, "/documents/2", StatusCode::FORBIDDEN),
        (&alice, "/documents/3", StatusCode::FORBIDDEN),
        (&max, "/documents/1", StatusCode::FORBIDDEN),
    ] {
        let request = TestRequest::get().uri(path).insert_header(("cookie", person.cookie()));
        assert_eq!(send!(&app, request), status, "{person:?} {path}");
    }
}

#[tokio::test]
async fn time() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").role("auditor").await;
    let bearer = alice.bearer().await;
    let reports = || TestRequest::get().uri("/reports");
    let by_cookie = || reports().insert_header(("cookie", alice.cookie()));
    let by_bearer = || reports().insert_header(("authorization", bearer.as_str()));
    test.later(Duration::from_mins(29));
    assert_eq!(send!(&app, by_cookie()), StatusCode::OK);
    test.later(Duration::from_mins(2));
    assert_eq!(send!(&app, by_cookie()), StatusCode::OK, "it was used");
    assert_eq!(send!(&app, by_bearer()), StatusCode::UNAUTHORIZED, "it was not");
    test.later(Duration::from_mins(31));
    assert_eq!(send!(&app, by_cookie()), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bearer_tokens() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").role("auditor").await;
    let bearer = alice.bearer().await;
    let with =
        |request: TestRequest| request.uri("/reports").insert_header(("authorization", bearer.as_str()));
    assert_eq!(send!(&app, with(TestRequest::get())), StatusCode::OK);
    assert_eq!(send!(&app, with(TestRequest::post())), StatusCode::OK, "needs no origin");
    let as_cookie = bearer.replace("Bearer ", "iam_session=");
    let request = TestRequest::get().uri("/reports").insert_header(("cookie", as_cookie));
    assert_eq!(send!(&app, request), StatusCode::UNAUTHORIZED);
}

/// What stands in a host's own paths may be a secret of its: the trail has the route as the host wrote it.
#[tokio::test]
async fn a_forged_request_leaves_no_secret_of_the_hosts_in_the_trail() {
    let test = TestIam::new().await;
    let app = app!(test);
    for (name, path, route) in [
        ("alice", "/unguarded/s3cret", "/unguarded/{secret}"),
        ("bob", "/team/7/invitations/s3cret?s3cret", "/team/{team}/invitations/{secret}"),
    ] {
        let person = test.signed_in(name).await;
        let forged = TestRequest::post().uri(path).insert_header(("cookie", person.cookie()));
        let forged = forged.insert_header(("origin", "https://evil.example"));
        assert_eq!(send!(&app, forged), StatusCode::FORBIDDEN);
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
        let app = app!(test);
        for (path, status) in
            [("/auth/login", 200), ("/free", 200), ("/reports", 401), ("/auth/setup/x", 404)]
        {
            let answer = call_service(&app, TestRequest::get().uri(path).peer_addr(PEER).to_request()).await;
            assert_eq!(answer.status().as_u16(), status, "{path}");
            let headers: Vec<_> = answer.headers().get_all("strict-transport-security").collect();
            assert_eq!(headers, expected.as_slice(), "{path}");
        }
        let own = call_service(&app, TestRequest::get().uri("/own").peer_addr(PEER).to_request()).await;
        let headers: Vec<_> = own.headers().get_all("strict-transport-security").collect();
        assert_eq!(headers, ["max-age=1"], "the host's own stays");
    }
}

#[tokio::test]
async fn unsafe_requests() {
    let test = TestIam::new().await;
    let app = app!(test);
    let alice = test.signed_in("alice").role("auditor").await;
    let post = || TestRequest::post().uri("/reports").insert_header(("cookie", alice.cookie()));
    assert_eq!(send!(&app, post()), StatusCode::FORBIDDEN);
    let foreign = post().insert_header(("origin", "https://evil.example"));
    assert_eq!(send!(&app, foreign), StatusCode::FORBIDDEN);
    assert_eq!(test.logged("malicious_csrf").await, 2);
    assert_eq!(send!(&app, post().insert_header(("origin", alice.origin()))), StatusCode::OK);
}

#[tokio::test]
async fn behind_https() {
    let test = TestIam::builder()
        .with(|iam| iam.base_url("https://app.example.com".parse().unwrap()))
        .web(|web| web.api_path("/v1"))
        .build()
        .await;
    let app = app!(test);
    let alice = test.signed_in("alice").role("auditor").await;
    let post = TestRequest::post().uri("/reports").insert_header(("cookie", alice.cookie()));
    assert_eq!(send!(&app, post.insert_header(("origin", alice.origin()))), StatusCode::OK);
    let me = TestRequest::get().uri("/v1/me").insert_header(("cookie", alice.cookie()));
    assert_eq!(send!(&app, me), StatusCode::OK, "the surface that was set up");
}
