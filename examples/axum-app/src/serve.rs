//! Serving with bounds: what a client sends slowly, or not at all, is not waited for. `axum::serve` has no such bounds.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// The time that a request's head may take to arrive; an idle connection is closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long requests that are under way may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(30);

/// Answers until `stop`, then lets what is under way finish.
pub async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connect(&graceful, stream, peer, app.clone()),
                // Too many open files, say: there will be room again.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => tracing::warn!("requests were still under way"),
    }
    Ok(())
}

fn connect(graceful: &GracefulShutdown, stream: TcpStream, peer: SocketAddr, app: Router) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let app = app.clone();
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            // Limits and the audit log need to know where a request comes from.
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
        }
    });
}
