//! Serving with bounds: what a client sends slowly, or not at all, is not waited for.
//!
//! Not for the open internet without a proxy in front, which is where TLS comes from in any case: for a client that sends requests
//! without reading the answers actix-web 4 goes on reading and keeps what it answered, some twenty megabytes for each connection,
//! and it reads the rest of a chunked body that nobody wants for as long as the client sends it. A proxy bounds both.
//!
//! Four more bounds are not ours to set. actix-web takes a head of at most 128 KiB and 96 lines. It does not mind how slowly an
//! answer is read, so that only the number of connections bounds those who never do. Nor does it mind how slowly a head comes behind
//! the first one of a connection. And it is each worker that counts its connections.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::{App, HttpServer};
use iam_actix::WebIam;

use crate::Documents;
use crate::app::routes;

/// The time that the first head of a connection may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at once; more wait to be accepted. Per client it is the proxy in front, which sees them all, that counts.
const MAX_CONNECTIONS: usize = 4096;

/// How long requests that are under way may take to finish when the service stops, in seconds.
const DRAIN_SECONDS: u64 = 30;

/// Answers until `stop`, then lets what is under way finish. A connection may be `idle` for so long between two requests. It needs a tokio runtime, and starts threads of its own for
/// the workers.
pub fn serve(
    listener: TcpListener,
    web: WebIam,
    documents: Documents,
    idle: Duration,
    stop: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = io::Result<()>> + Send {
    let workers = available_parallelism().map_or(1, NonZeroUsize::get);
    let server = HttpServer::new(move || App::new().configure(routes(&web, &documents)))
        .workers(workers)
        .max_connections((MAX_CONNECTIONS / workers).max(1))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(idle)
        .shutdown_timeout(DRAIN_SECONDS)
        .shutdown_signal(stop)
        .listen(listener)
        .map(HttpServer::run);
    async move { server?.await }
}
