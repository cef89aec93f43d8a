//! What a guard reads of a body, and what a handler reads: the same, though actix-web unpacks bodies by itself.

#[path = "../../tests/cases/twofold.rs"]
mod twofold;
#[path = "../../tests/cases/unsaid.rs"]
mod unsaid;

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, init_service, read_body, try_call_service};
use actix_web::{App, web};
use futures_util::Stream;
use iam_actix::{IamLayer, ProofMethod, requires_login, requires_step_up};
use iam_testkit::{PEER, TestIam};
use twofold::{ENCODED, PLAIN, TWOFOLD};

async fn handler(body: String) -> String {
    body
}

fn routes(config: &mut web::ServiceConfig) {
    let step_up = || requires_step_up("transfer").factors([ProofMethod::Password]);
    config
        .route("/approving", web::post().to(handler).wrap(step_up().approving(["amount", "payee"])))
        .route("/once", web::post().to(handler).wrap(step_up().once()))
        .route("/login", web::post().to(handler).wrap(requires_login()));
}

/// Sends a form. A macro, because actix-web does not say what the type of an application's request is.
macro_rules! send {
    ($app:expr, $person:expr, $path:expr, $encoding:expr, $body:expr) => {{
        let body: &'static [u8] = $body;
        let mut request = TestRequest::post()
            .uri($path)
            .peer_addr(PEER)
            .insert_header(("cookie", $person.cookie()))
            .insert_header(("origin", $person.origin()))
            .insert_header(("content-length", body.len()))
            .insert_header(("content-type", "application/x-www-form-urlencoded"));
        for line in $encoding.iter() {
            request = request.append_header(("content-encoding", *line));
        }
        let answer = try_call_service($app, request.set_payload(body).to_request()).await.unwrap();
        (answer.status(), String::from_utf8(read_body(answer).await.to_vec()).unwrap())
    }};
}

#[tokio::test]
async fn what_a_guard_looks_at_is_what_the_handler_reads() {
    let test = TestIam::new().await;
    let app = init_service(App::new().configure(routes).wrap(IamLayer::new(test.web()))).await;
    let alice = test.signed_in("alice").await;
    // A guard that goes on with a stopped form looks for its token before it uses the proof up.
    alice.proves_by("transfer", ProofMethod::Password).await;
    for path in ["/approving", "/once"] {
        for encoding in ENCODED {
            let (status, body) = send!(&app, alice, path, encoding, TWOFOLD);
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {encoding:?}: {body}");
            assert!(body.contains("\"content-encoding\""), "{body}");
        }
    }
    for encoding in PLAIN {
        let (status, body) = send!(&app, alice, "/approving", encoding, b"amount=100&payee=bob");
        assert_eq!(status, StatusCode::UNAUTHORIZED, "asked to prove it: {body}");
        assert!(body.contains("bob"), "{body}");
    }
    let plain: &[&str] = &["identity"];
    let (status, body) = send!(&app, alice, "/once", plain, b"amount=100&payee=bob");
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::OK, "amount=100&payee=bob"),
        "the proof was still there"
    );
}

/// A body that no guard looks at is the host's to read.
#[tokio::test]
async fn what_no_guard_looks_at_may_be_packed() {
    let test = TestIam::new().await;
    let app = init_service(App::new().configure(routes).wrap(IamLayer::new(test.web()))).await;
    let alice = test.signed_in("alice").await;
    let answer = send!(&app, alice, "/login", &["br"], TWOFOLD);
    assert_eq!(answer, (StatusCode::OK, "amount=9999&payee=eve".to_owned()));
}

/// The status, and where the answer leads or what it holds. A macro, as above.
macro_rules! answer {
    ($app:expr, $request:expr) => {{
        let answer = try_call_service($app, $request).await.unwrap();
        let location = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = read_body(answer).await;
        (status, location.unwrap_or_else(|| String::from_utf8(body.to_vec()).unwrap()))
    }};
}

#[tokio::test]
async fn a_form_of_no_known_length_counts_like_another() {
    let test = TestIam::new().await;
    let step_up = || requires_step_up("transfer").factors([ProofMethod::Password]).once();
    let app = App::new()
        .app_data(web::PayloadConfig::new(1 << 20))
        .route("/login", web::post().to(handler).wrap(requires_login()))
        .route("/once", web::post().to(handler).wrap(step_up()))
        .route("/approving", web::post().to(handler).wrap(step_up().approving(["amount"])))
        .configure(iam_actix::auth_routes(test.web()))
        .wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    let token = async |cookie: String| {
        let request = TestRequest::get().uri("/api/v1/auth/csrf").peer_addr(PEER);
        let (_, body) = answer!(&app, request.insert_header(("cookie", cookie)).to_request());
        body.split('"').nth(3).unwrap().to_owned()
    };
    unsaid::check(&test, token, async |sent| {
        let request = TestRequest::post().uri(sent.path).peer_addr(PEER);
        let request = sent.headers.into_iter().fold(request, TestRequest::insert_header);
        let request = request.to_request();
        let pieces: Vec<_> = sent.body.as_bytes().chunks(1000).map(web::Bytes::copy_from_slice).collect();
        let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, PayloadError>));
        let pieces: Pin<Box<dyn Stream<Item = _>>> = Box::pin(pieces);
        answer!(&app, request.replace_payload(Payload::Stream { payload: pieces }).0)
    })
    .await;
}
