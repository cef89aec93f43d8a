//! WebSockets and streams: who may open one, and when it ends.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

#[path = "../../tests/cases/handshakes.rs"]
mod cases;

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::{self, Data, Payload};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer};
use actix_ws::Message;
use futures_util::StreamExt;
use iam_actix::{CurrentUser, IamLayer, MaybeUser, SessionWatch, requires_login, requires_role};
use iam_testkit::{PEER, TestIam};
use tokio::sync::Notify;

async fn open(request: HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(Message::Text(text))) = messages.next().await {
            if session.text(text).await.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

async fn watched(
    request: HttpRequest,
    body: Payload,
    watch: SessionWatch,
    look: Data<Notify>,
) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        let mut ended = pin!(watch.ended(|| look.notified()));
        loop {
            tokio::select! {
                () = &mut ended => break,
                message = messages.next() => match message {
                    Some(Ok(Message::Text(text))) => if session.text(text).await.is_err() { return },
                    _ => return,
                },
            }
        }
        let _ = session.close(None).await;
    });
    Ok(response)
}

fn serve(test: &TestIam, look: &Arc<Notify>) -> (SocketAddr, ServerHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (web, look) = (test.web(), Data::from(Arc::clone(look)));
    let app = move || {
        App::new()
            .app_data(look.clone())
            .route("/guarded", web::get().to(open).wrap(requires_login()))
            .route("/current", web::get().to(|_: CurrentUser, request, body| open(request, body)))
            .route("/maybe", web::get().to(|_: MaybeUser, request, body| open(request, body)))
            .route("/watched", web::get().to(watched).wrap(requires_role(["auditor"])))
            .wrap(IamLayer::new(&web))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
    let handle = server.handle();
    tokio::spawn(server);
    (address, handle)
}

#[tokio::test]
async fn an_upgrade_is_unsafe_for_guards_and_extractors() {
    let test = TestIam::new().await;
    let (address, server) = serve(&test, &Arc::default());
    cases::check(&test, address).await;
    server.stop(false).await;
}

#[tokio::test]
async fn a_connection_ends_with_its_session() {
    let (test, look) = (TestIam::new().await, Arc::default());
    let (address, server) = serve(&test, &look);
    cases::check_ends(&test, address, &look).await;
    server.stop(false).await;
}

/// actix-web serves no extended CONNECT of HTTP/2; whatever comes by that method is unsafe all the same.
#[tokio::test]
async fn a_connect_is_unsafe() {
    let test = TestIam::new().await;
    let app = App::new()
        .route("/guarded", web::to(async || "").wrap(requires_login()))
        .route("/current", web::to(async |_: CurrentUser| ""))
        .wrap(IamLayer::new(test.web()));
    let app = init_service(app).await;
    let alice = test.signed_in("alice").await;
    let own = alice.origin();
    for path in ["/guarded", "/current"] {
        for (origin, expected) in [
            (None, StatusCode::FORBIDDEN),
            (Some("https://evil.example"), StatusCode::FORBIDDEN),
            (Some(own.as_str()), StatusCode::OK),
        ] {
            let mut request = TestRequest::with_uri(path).method(Method::CONNECT).peer_addr(PEER);
            request = request.insert_header(("cookie", alice.cookie()));
            if let Some(origin) = origin {
                request = request.insert_header(("origin", origin));
            }
            let answer = try_call_service(&app, request.to_request()).await.unwrap();
            assert_eq!(answer.status(), expected, "{path} {origin:?}");
        }
    }
}
