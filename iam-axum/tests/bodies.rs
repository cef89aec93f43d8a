//! What a guard reads of a body, and what a handler reads: the same, on whichever side of the guard a host unpacks bodies.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

#[path = "../../tests/cases/twofold.rs"]
mod twofold;
#[path = "../../tests/cases/unsaid.rs"]
mod unsaid;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use iam_axum::{IamLayer, ProofMethod, requires_login, requires_step_up};
use iam_testkit::{PEER, SignedInPerson, TestIam};
use tower::ServiceExt;
use tower_http::decompression::RequestDecompressionLayer;
use twofold::{ENCODED, PLAIN, TWOFOLD};

async fn handler(body: String) -> String {
    body
}

fn app(test: &TestIam) -> Router {
    let step_up = || requires_step_up("transfer").factors([ProofMethod::Password]);
    let unpacks = RequestDecompressionLayer::new;
    Router::new()
        // The guard is outside of what unpacks ...
        .route(
            "/inside",
            post(handler).layer(unpacks()).route_layer(step_up().approving(["amount", "payee"])),
        )
        .route("/inside/once", post(handler).layer(unpacks()).route_layer(step_up().once()))
        .route("/inside/login", post(handler).layer(unpacks()).route_layer(requires_login()))
        // ... or inside of it.
        .route(
            "/outside",
            post(handler).route_layer(step_up().approving(["amount", "payee"])).layer(unpacks()),
        )
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)))
}

async fn send(
    app: &Router,
    person: &SignedInPerson,
    path: &str,
    encoding: &[&str],
    body: &'static [u8],
) -> (StatusCode, String) {
    let mut request = Request::post(path)
        .header("cookie", person.cookie())
        .header("origin", person.origin())
        .header("content-length", body.len())
        .header("content-type", "application/x-www-form-urlencoded");
    for line in encoding {
        request = request.header("content-encoding", *line);
    }
    let answer = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_a_guard_looks_at_is_what_the_handler_reads() {
    let test = TestIam::new().await;
    let app = app(&test);
    let alice = test.signed_in("alice").await;
    // A guard that goes on with a stopped form looks for its token before it uses the proof up.
    alice.proves_by("transfer", ProofMethod::Password).await;
    for path in ["/inside", "/inside/once"] {
        for encoding in ENCODED {
            let (status, body) = send(&app, &alice, path, encoding, TWOFOLD).await;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {encoding:?}: {body}");
            assert!(body.contains("\"content-encoding\""), "{body}");
        }
    }
    for encoding in PLAIN {
        let (status, body) = send(&app, &alice, "/inside", encoding, b"amount=100&payee=bob").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "asked to prove it: {body}");
        assert!(body.contains("bob"), "{body}");
    }
    let plain: &[&str] = &["identity"];
    let (status, body) = send(&app, &alice, "/inside/once", plain, b"amount=100&payee=bob").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::OK, "amount=100&payee=bob"),
        "the proof was still there"
    );
    // Unpacked before the guard looks: what it shows is what the handler gets.
    let (status, body) = send(&app, &alice, "/outside", &["br"], TWOFOLD).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    assert!(body.contains("9999") && body.contains("eve") && !body.contains("bob"), "{body}");
}

/// A body that no guard looks at is the host's to read.
#[tokio::test]
async fn what_no_guard_looks_at_may_be_packed() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").await;
    let answer = send(&app(&test), &alice, "/inside/login", &["br"], TWOFOLD).await;
    assert_eq!(answer, (StatusCode::OK, "amount=9999&payee=eve".to_owned()));
}

#[tokio::test]
async fn a_form_of_no_known_length_counts_like_another() {
    let test = TestIam::new().await;
    let step_up = || requires_step_up("transfer").factors([ProofMethod::Password]).once();
    let app = Router::new()
        .route("/login", post(handler).route_layer(requires_login()))
        .route("/once", post(handler).route_layer(step_up()))
        .route("/approving", post(handler).route_layer(step_up().approving(["amount"])))
        .merge(iam_axum::auth_routes(test.web()))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    let answer = async |request: Request<Body>| {
        let answer = app.clone().oneshot(request).await.unwrap();
        let location = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, location.unwrap_or_else(|| String::from_utf8(body.to_vec()).unwrap()))
    };
    let token = async |cookie: String| {
        let request = Request::get("/api/v1/auth/csrf").header("cookie", cookie).body(Body::empty()).unwrap();
        let (_, body) = answer(request).await;
        body.split('"').nth(3).unwrap().to_owned()
    };
    unsaid::check(&test, token, async |sent| {
        let request = sent
            .headers
            .iter()
            .fold(Request::post(sent.path), |request, (name, value)| request.header(*name, value));
        let pieces: Vec<_> = sent.body.as_bytes().chunks(1000).map(<[u8]>::to_vec).collect();
        let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
        answer(request.body(Body::from_stream(pieces)).unwrap()).await
    })
    .await;
}
