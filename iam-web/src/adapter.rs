//! What every adapter does in the same way: reading a body, finishing what has begun, closing an answer, and the words for a host's mistakes.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_channel::oneshot;
use futures_core::Stream;
use iam_core::ObjectParent;
use tracing::Instrument;

use crate::context::RequestContext;
use crate::endpoints::Endpoint;
use crate::guard::MAX_FORM_BYTES;
use crate::message::{Body, WebRequest, WebResponse};
use crate::respond::BodyProblem;

/// The time that a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a body that is too large is read and thrown away. A client that sends all of it before it reads would else
/// find the connection broken, and not the answer that says why.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// An answer's header: the session's next token, for who came with a bearer token.
const SESSION_TOKEN_HEADER: &str = "iam-session-token";

/// Work that an adapter hands to its runtime.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reads a body of at most [`MAX_FORM_BYTES`] until `timer` is over, which is the adapter's for [`BODY_TIMEOUT`].
pub async fn read_body<S, E>(body: S, timer: impl Future) -> Result<Bytes, BodyProblem>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let (mut body, mut timer) = (pin!(body), pin!(timer));
    let mut read = BytesMut::new();
    let mut length = 0_usize;
    poll_fn(|cx| {
        while let Poll::Ready(piece) = body.as_mut().poll_next(cx) {
            match piece {
                Some(Ok(piece)) => {
                    length = length.saturating_add(piece.len());
                    if length <= MAX_FORM_BYTES {
                        read.extend_from_slice(&piece);
                    } else if length > MAX_DISCARDED_BYTES {
                        return Poll::Ready(Err(BodyProblem::TooLarge));
                    }
                }
                _ if length > MAX_FORM_BYTES => return Poll::Ready(Err(BodyProblem::TooLarge)),
                None => return Poll::Ready(Ok(mem::take(&mut read).freeze())),
                Some(Err(_)) => return Poll::Ready(Err(BodyProblem::Broken)),
            }
        }
        let late = if length > MAX_FORM_BYTES { BodyProblem::TooLarge } else { BodyProblem::TooSlow };
        timer.as_mut().poll(cx).map(|_| Err(late))
    })
    .await
}

/// The beginning of a body of which nobody has said how long it is, and whether that is all: what is read is more than [`MAX_FORM_BYTES`] if
/// it is not. `timer` is as [`read_body`]'s. What follows is still in the body ([`Rejoined`]).
pub async fn read_start<S, E>(mut body: Pin<&mut S>, timer: impl Future) -> Result<(Bytes, bool), BodyProblem>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut timer = pin!(timer);
    let mut read = BytesMut::new();
    poll_fn(|cx| {
        while let Poll::Ready(piece) = body.as_mut().poll_next(cx) {
            match piece {
                Some(Ok(piece)) => read.extend_from_slice(&piece),
                Some(Err(_)) => return Poll::Ready(Err(BodyProblem::Broken)),
                None => return Poll::Ready(Ok((mem::take(&mut read).freeze(), true))),
            }
            if read.len() > MAX_FORM_BYTES {
                return Poll::Ready(Ok((mem::take(&mut read).freeze(), false)));
            }
        }
        timer.as_mut().poll(cx).map(|_| Err(BodyProblem::TooSlow))
    })
    .await
}

/// A body whose beginning was read, as if it had not been.
#[derive(Debug)]
pub struct Rejoined<S> {
    start: Option<Bytes>,
    rest: S,
}

impl<S> Rejoined<S> {
    /// What was read, and what was not.
    pub const fn new(start: Bytes, rest: S) -> Self {
        Self { start: Some(start), rest }
    }
}

impl<S, E> Stream for Rejoined<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.start.take() {
            Some(start) => Poll::Ready(Some(Ok(start))),
            None => Pin::new(&mut self.rest).poll_next(cx),
        }
    }
}

/// The answer where the adapter's layer is missing. Nothing can be decided there: that is the host's mistake, said in the log
/// with its `remedy`, and not to the client. `route` is as [`RequestView::route`](crate::RequestView::route) has it.
pub fn layer_missing(route: Option<&str>, remedy: &str) -> WebResponse {
    tracing::error!(route, "IamLayer is not installed here: {remedy}");
    let mut response = WebResponse::new(500);
    response.body = Body::Full(Bytes::from_static(b"internal error"));
    response
}

/// The answer where a handler asks for the proof of a guard, and no guard has let the request pass: the host's mistake, too.
pub fn guard_missing(route: Option<&str>) -> WebResponse {
    tracing::error!(route, "no guard is on this route, but its handler asks for the proof of one");
    let mut response = WebResponse::new(500);
    response.body = Body::Full(Bytes::from_static(b"internal error"));
    response
}

/// What it means for a guard that an extractor of its resolver refused the request with this status: a value that the client
/// sent wrongly (`/documents/zz`) is an object that does not exist. Anything else is a fault of the service, such as state that was not
/// registered, or a path without the part that is asked for; `extractor` says which one it was.
pub fn extractor_refused(
    status: u16,
    extractor: &str,
) -> Result<Option<ObjectParent>, Box<dyn StdError + Send + Sync>> {
    if (400..500).contains(&status) {
        Ok(None)
    } else {
        Err(format!("the extractor {extractor} of the guard's resolver failed with {status}").into())
    }
}

impl RequestContext {
    /// Answers a request to one of this family's own addresses, by a task of its own: what has begun is finished though the
    /// client hangs up. What it reserved is given back, what it found is written down.
    pub async fn finish(
        self: Arc<Self>,
        endpoint: Endpoint,
        request: WebRequest,
        spawn: impl FnOnce(Task),
    ) -> WebResponse {
        let (done, answer) = oneshot::channel();
        let work = async move {
            let response = self.handle(endpoint, &request).await;
            // Nobody is there any more to get the answer: that is what this is for.
            drop(done.send(response));
        };
        spawn(Box::pin(work.in_current_span()));
        answer.await.unwrap_or_else(|_| {
            tracing::error!(?endpoint, "an endpoint did not finish");
            WebResponse::new(500)
        })
    }

    /// Closes an answer, whoever made it: its cookies, each given once; no cache for what depends on who asked; that browsers come by
    /// HTTPS only, where that is set; or another answer in its place. `has` says whether the host has set a header of the name itself:
    /// then it stays.
    ///
    /// It is the last thing that an adapter does, with every answer, also with that of an error. Of a stream it is the head that is closed,
    /// before anything is sent.
    pub fn close(&self, status: u16, has: impl Fn(&str) -> bool) -> Closing {
        let cookies = self.take_cookies().into_iter().map(|cookie| ("set-cookie", cookie));
        // Who came with a bearer token keeps it as they keep that; browsers have it in their cookie.
        let next_token = self.take_next_token().map(|token| (SESSION_TOKEN_HEADER, token));
        let cookies = cookies.chain(next_token);
        let hsts = self.inner().hsts.clone().map(|hsts| ("strict-transport-security", hsts));
        if status < 500
            && let Some(mut instead) = self.take_unknown()
        {
            tracing::error!(
                request_id = self.known_request_id(),
                made = status,
                sent = instead.status,
                "the handler went on though it could not be told who asks; its answer is not sent"
            );
            instead.headers.extend(cookies.chain(hsts));
            return Closing::Replace(Box::new(instead));
        }
        // A token in a cache that others share would be theirs: the host's own word does not count there.
        let no_store = || ("cache-control", "no-store".to_owned());
        let has_token = self.has_next_token();
        let of_token = has_token.then(no_store);
        let of_guard = (self.is_guarded() && !has_token).then(no_store);
        let unless_set = of_guard.into_iter().chain(hsts).filter(|(name, _)| !has(name));
        Closing::Append(cookies.chain(of_token).chain(unless_set).collect())
    }
}

/// What becomes of an answer before it is sent.
#[derive(Debug)]
#[must_use]
pub enum Closing {
    /// The headers to append to it, each of which [`replaces`](Self::replaces) tells whether it takes another one's place.
    Append(Vec<(&'static str, String)>),
    /// The answer to send in its place: it could not be told who asks, and the other was made as if nobody did.
    Replace(Box<WebResponse>),
}

impl Closing {
    /// Whether a header takes the place of those of its name that the answer has.
    pub fn replaces(name: &str) -> bool {
        name == "cache-control"
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    /// Pieces, and then an end or silence.
    struct Pieces(VecDeque<Result<&'static [u8], &'static str>>, bool);

    impl Stream for Pieces {
        type Item = Result<Bytes, &'static str>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(piece.map(Bytes::from_static))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn read(
        pieces: &[Result<&'static [u8], &'static str>],
        ends: bool,
        over: bool,
    ) -> Poll<Result<Bytes, BodyProblem>> {
        let body = Pieces(pieces.iter().copied().collect(), ends);
        let timer = async move { if over { ready(()).await } else { pending().await } };
        pin!(read_body(body, timer)).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_beginning_of_a_body_is_read_within_the_same_bounds_and_nothing_is_lost() {
        static LARGE: [u8; MAX_FORM_BYTES] = [b'x'; MAX_FORM_BYTES];
        let start = |pieces: &[Result<&'static [u8], &'static str>], ends: bool, over: bool| {
            let mut body = Pieces(pieces.iter().copied().collect(), ends);
            let timer = async move { if over { ready(()).await } else { pending().await } };
            let cx = &mut Context::from_waker(Waker::noop());
            let read = pin!(read_start(Pin::new(&mut body), timer)).poll(cx);
            let Poll::Ready(Ok((start, false))) = &read else { return (read, Vec::new()) };
            // What was read, and what was not, one after the other.
            let (mut all, mut whole) = (Vec::new(), Rejoined::new(start.clone(), body));
            while let Poll::Ready(Some(Ok(piece))) = Pin::new(&mut whole).poll_next(cx) {
                all.extend_from_slice(&piece);
            }
            (read, all)
        };
        let ok = |bytes: &[u8]| Poll::Ready(Ok((Bytes::copy_from_slice(bytes), true)));
        assert_eq!(start(&[], true, false).0, ok(b""));
        assert_eq!(start(&[Ok(b"ab"), Ok(b"c")], true, true).0, ok(b"abc"));
        assert_eq!(start(&[Ok(&LARGE)], true, false).0, ok(&LARGE));
        let (read, all) = start(&[Ok(&LARGE), Ok(b"yz"), Ok(b"!")], true, false);
        assert_eq!(read, Poll::Ready(Ok((Bytes::from([&LARGE[..], b"yz"].concat()), false))));
        assert_eq!(all, [&LARGE[..], b"yz!"].concat());
        assert_eq!(start(&[Ok(b"ab")], false, false).0, Poll::Pending);
        assert_eq!(start(&[Ok(b"ab")], false, true).0, Poll::Ready(Err(BodyProblem::TooSlow)));
        assert_eq!(start(&[Ok(b"ab"), Err("gone")], false, false).0, Poll::Ready(Err(BodyProblem::Broken)));
    }

    #[test]
    fn bodies_are_read_within_bounds() {
        static LARGE: [u8; MAX_FORM_BYTES] = [b'x'; MAX_FORM_BYTES];
        assert_eq!(read(&[], true, false), Poll::Ready(Ok(Bytes::new())));
        assert_eq!(read(&[Ok(b"ab"), Ok(b"c")], true, true), Poll::Ready(Ok(Bytes::from_static(b"abc"))));
        assert_eq!(read(&[Ok(b"ab")], false, false), Poll::Pending);
        assert_eq!(read(&[Ok(b"ab")], false, true), Poll::Ready(Err(BodyProblem::TooSlow)));
        assert_eq!(read(&[Ok(b"ab"), Err("reset")], true, false), Poll::Ready(Err(BodyProblem::Broken)));
        assert!(
            matches!(read(&[Ok(&LARGE)], true, false), Poll::Ready(Ok(body)) if body == LARGE.as_slice())
        );
        let too_large = [Ok(LARGE.as_slice()), Ok(b"x")];
        assert_eq!(read(&too_large, true, false), Poll::Ready(Err(BodyProblem::TooLarge)));
        assert_eq!(read(&too_large, false, false), Poll::Pending, "the rest is thrown away");
        assert_eq!(read(&too_large, false, true), Poll::Ready(Err(BodyProblem::TooLarge)), "in time");
        let endless = [Ok(LARGE.as_slice()); MAX_DISCARDED_BYTES / MAX_FORM_BYTES + 1];
        assert_eq!(
            read(&endless, false, false),
            Poll::Ready(Err(BodyProblem::TooLarge)),
            "and within bounds"
        );
    }

    #[test]
    fn what_a_client_sent_wrongly_is_an_object_that_does_not_exist() {
        assert!(matches!(extractor_refused(404, "Path"), Ok(None)));
        assert!(matches!(extractor_refused(400, "Path"), Ok(None)));
        for status in [500, 503] {
            let error = extractor_refused(status, "State<Documents>").unwrap_err().to_string();
            assert!(error.contains("State<Documents>"), "{error}");
        }
    }

    #[test]
    fn reading_may_move_between_threads() {
        fn sends<T: Send>(_: &T) {}
        let empty = Pieces(VecDeque::new(), true);
        sends(&read_body(empty, pending::<Infallible>()));
    }
}
