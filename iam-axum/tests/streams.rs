//! WebSockets and streams: who may open one, and when it ends.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

#[path = "../../tests/cases/handshakes.rs"]
mod cases;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{Method, Request, StatusCode, Version};
use axum::response::Response;
use axum::routing::{connect, get};
use axum::{Extension, Router};
use iam_axum::{CurrentUser, IamLayer, MaybeUser, SessionWatch, requires_login, requires_role};
use iam_testkit::{PEER, TestIam};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::ServiceExt;

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn watched(
    upgrade: WebSocketUpgrade,
    watch: SessionWatch,
    State(look): State<Arc<Notify>>,
) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let mut ended = pin!(watch.ended(move || {
            let look = Arc::clone(&look);
            async move { look.notified().await }
        }));
        loop {
            tokio::select! {
                () = &mut ended => break,
                message = socket.recv() => match message {
                    Some(Ok(message)) => if socket.send(message).await.is_err() { return },
                    _ => return,
                },
            }
        }
        let _ = socket.send(axum::extract::ws::Message::Close(None)).await;
    })
}

async fn serve(test: &TestIam, look: &Arc<Notify>) -> SocketAddr {
    let open = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo);
    let app: Router = Router::new()
        .route("/guarded", get(open).route_layer(requires_login()))
        .route("/current", get(async |_: CurrentUser, upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/maybe", get(async |_: MaybeUser, upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
        .route("/watched", get(watched).route_layer(requires_role(["auditor"])))
        .with_state(Arc::clone(look))
        .layer(IamLayer::new(test.web()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

#[tokio::test]
async fn an_upgrade_is_unsafe_for_guards_and_extractors() {
    let test = TestIam::new().await;
    let address = serve(&test, &Arc::default()).await;
    cases::check(&test, address).await;
}

#[tokio::test]
async fn a_connection_ends_with_its_session() {
    let (test, look) = (TestIam::new().await, Arc::default());
    let address = serve(&test, &look).await;
    cases::check_ends(&test, address, &look).await;
}

/// HTTP/2 opens a WebSocket by an extended CONNECT (RFC 8441), without any header `Upgrade`.
#[tokio::test]
async fn an_extended_connect_is_unsafe() {
    let test = TestIam::new().await;
    let app: Router = Router::new()
        .route("/guarded", connect(async || "").route_layer(requires_login()))
        .route("/current", connect(async |_: CurrentUser| ""))
        .layer(IamLayer::new(test.web()))
        .layer(Extension(ConnectInfo(PEER)));
    let alice = test.signed_in("alice").await;
    let own = alice.origin();
    for path in ["/guarded", "/current"] {
        for (origin, expected) in [
            (None, StatusCode::FORBIDDEN),
            (Some("https://evil.example"), StatusCode::FORBIDDEN),
            (Some(own.as_str()), StatusCode::OK),
        ] {
            let mut request = Request::builder().method(Method::CONNECT).version(Version::HTTP_2).uri(path);
            request = request.header("cookie", alice.cookie()).header("sec-websocket-version", "13");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), expected, "{path} {origin:?}");
        }
    }
}
