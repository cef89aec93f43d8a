//! Serving with bounds: a client that sends or reads slowly, or not at all, is not waited for. `axum::serve` has no such bounds.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::rt::Timer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tower::ServiceExt;

/// The time that a request's head may take from its first byte to its last, and the first one of a connection from when that was opened.
/// For how long a connection may have no request is a setting: balancers keep theirs for a minute and more, and send the next request into
/// one that is closed at that moment.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to read the next piece of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections at once; more wait to be accepted. Per client it is the proxy in front, which sees them all, that counts.
const MAX_CONNECTIONS: usize = 4096;

/// The largest head.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long requests that are under way may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(30);

/// Answers until `stop`, then lets what is under way finish. A connection may be `idle` for so long between two requests.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    idle: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|accepted| (place, accepted))
        };
        tokio::select! {
            accepted = accept => match accepted {
                Ok((place, (stream, peer))) => connect(&graceful, place, stream, peer, idle, app.clone()),
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

fn connect(
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
    stream: TcpStream,
    peer: SocketAddr,
    idle: Duration,
    app: Router,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let app = app.clone();
        async move {
            let mut request: Request = request.map(axum::body::Body::new);
            // Limits and the audit log need to know where a request comes from.
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let stream = Impatient::new(stream);
    let connection = bounded(&stream, idle).serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke");
        }
        drop(place);
    });
}

/// How a connection is read.
fn bounded<S>(stream: &Impatient<S>, idle: Duration) -> http1::Builder {
    let heard = Arc::clone(&stream.heard);
    let mut builder = http1::Builder::new();
    // The timer knows better; but hyper asks it only if it is told of a time.
    builder
        .timer(HeadTimer { heard, idle, is_first: AtomicBool::new(true) })
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
}

/// The one clock that hyper has for the time until a head is there, which it starts before anything of that head came. So it is two:
/// one for the silence before it, and one for the head, as soon as something was heard.
struct HeadTimer {
    heard: Arc<AtomicBool>,
    idle: Duration,
    is_first: AtomicBool,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.heard.store(false, Ordering::Relaxed);
        let is_first = self.is_first.swap(false, Ordering::Relaxed);
        let time = if is_first { HEAD_TIMEOUT } else { self.idle };
        let sleep = Box::pin(tokio::time::sleep(time));
        Box::pin(HeadSleep { heard: Arc::clone(&self.heard), is_begun: is_first, sleep })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

struct HeadSleep {
    heard: Arc<AtomicBool>,
    is_begun: bool,
    sleep: Pin<Box<Sleep>>,
}

impl Future for HeadSleep {
    type Output = ();

    /// Polled after each read that did not complete the head.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_begun && self.heard.load(Ordering::Relaxed) {
            self.is_begun = true;
            self.sleep.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for HeadSleep {}

/// A stream whose writes fail when the other side reads nothing for [`WRITE_TIMEOUT`].
struct Impatient<S> {
    stream: S,
    /// Set by each read that brought something.
    heard: Arc<AtomicBool>,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S) -> Self {
        Self { stream, heard: Arc::default(), patience: None }
    }

    fn waited<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.waited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.waited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::sleep;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const IDLE: Duration = Duration::from_secs(75);
    const NEARLY_IDLE: Duration = Duration::from_secs(74);
    const SECOND: Duration = Duration::from_secs(1);

    fn connected() -> DuplexStream {
        let (client, server) = tokio::io::duplex(4096);
        let stream = Impatient::new(server);
        let answer = async |_| Ok::<_, Infallible>(hyper::Response::new(String::new()));
        let connection = bounded(&stream, IDLE).serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
        client
    }

    async fn is_answered(client: &mut DuplexStream) -> bool {
        client.read(&mut [0; 4096]).await.unwrap() > 0
    }

    /// How long a connection lasts on which a byte of a head comes each second, or nothing.
    async fn let_go_after(client: &mut DuplexStream, slow: &[u8]) -> Duration {
        let begun = Instant::now();
        for byte in slow {
            client.write_all(&[*byte]).await.unwrap();
            tokio::select! {
                is_answered = is_answered(client) => {
                    assert!(!is_answered);
                    return begun.elapsed();
                }
                () = sleep(SECOND) => {}
            }
        }
        assert!(!is_answered(client).await);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
        let mut client = connected();
        for pause in [Duration::ZERO, NEARLY_IDLE, HEAD_TIMEOUT] {
            sleep(pause).await;
            client.write_all(REQUEST).await.unwrap();
            assert!(is_answered(&mut client).await, "{pause:?}");
        }
        assert_eq!(let_go_after(&mut client, b"").await, IDLE);

        let mut client = connected();
        client.write_all(REQUEST).await.unwrap();
        assert!(is_answered(&mut client).await);
        sleep(NEARLY_IDLE).await;
        assert_eq!(let_go_after(&mut client, &REQUEST[..20]).await, HEAD_TIMEOUT, "a slow head, whenever");

        assert_eq!(let_go_after(&mut connected(), &REQUEST[..20]).await, HEAD_TIMEOUT, "the first one");
        assert_eq!(let_go_after(&mut connected(), b"").await, HEAD_TIMEOUT, "none at all");
    }

    /// The clock is tokio's own and stands still until nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_let_go_and_who_reads_slowly_is_not() {
        let (mut client, server) = tokio::io::duplex(10);
        let mut server = Impatient::new(server);
        let slow_reader = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(WRITE_TIMEOUT / 2).await;
                client.read_exact(&mut [0; 10]).await.unwrap();
            }
            client
        });
        server.write_all(&[0; 100]).await.unwrap();
        let _still_open = slow_reader.await.unwrap();
        let begun = Instant::now();
        let error = server.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, WRITE_TIMEOUT));
    }
}
