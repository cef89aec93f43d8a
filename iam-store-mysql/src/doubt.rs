//! Connections of the store's own pool that are not used any more, though nothing went wrong on them yet: they may be dead, or
//! lead to the primary of before.
//!
//! What makes a connection fall silent (a router that forgot it, a server that hangs) rarely befalls one alone, and each
//! would cost somebody the whole time-out. So one that does not answer puts all in doubt that were last heard of before it
//! was asked; and one that leads to a server which can't write any more, all that were opened before that was found out.
//!
//! The pool itself must not be told to close them: through TLS it waits for a goodbye from the other side, which is as long in
//! coming as any other answer. So it lends them, and says what they are ([`Doubts::lent`]).

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::{Connection, MySqlConnection};
use tokio::time::{Instant, timeout};

/// How long a connection may lie idle and is used without being tested.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long a connection may take to answer a test: not so long that nothing would be left of a statement's time. What was awaited
/// for less did not fall silent.
pub(crate) const TEST: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// What is known of what the pool is about to lend to this task.
    static LENT: Cell<Lent>;
}

/// What is known of a connection that the pool lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lent {
    /// Nobody looked at it. If the pool is the store's own, it has just been opened.
    Unseen,
    Trusted,
    /// To be thrown away.
    Doubtful,
}

/// The bounds of trust, as microseconds after `base`; 0 is none.
#[derive(Debug)]
pub(crate) struct Doubts {
    base: Instant,
    silent: AtomicU64,
    fenced: AtomicU64,
}

impl Doubts {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), silent: AtomicU64::new(0), fenced: AtomicU64::new(0) }
    }

    /// One that was asked at this moment did not answer.
    pub(crate) fn fell_silent(&self, asked: Instant) {
        self.silent.fetch_max(self.micros(asked), Ordering::Relaxed);
    }

    /// One leads to a server that can't write any more.
    pub(crate) fn was_fenced(&self) {
        self.fenced.fetch_max(self.micros(Instant::now()), Ordering::Relaxed);
    }

    /// Asks the pool for a connection. Says what is known of what it lends.
    pub(crate) async fn lent<T>(asking: impl Future<Output = T>) -> (T, Lent) {
        let asking = async {
            let lent = asking.await;
            (lent, LENT.with(Cell::get))
        };
        LENT.scope(Cell::new(Lent::Unseen), asking).await
    }

    /// What the pool asks about a connection that lay idle, before it is lent.
    pub(crate) async fn look_at(&self, connection: &mut MySqlConnection, idle: PoolConnectionMetadata) {
        let doubtful = self.cover(&idle) || (idle.idle_for >= TRUSTED && !self.answers(connection).await);
        // Everything that asks this pool does so by way of `lent`.
        let _ = LENT.try_with(|it| it.set(if doubtful { Lent::Doubtful } else { Lent::Trusted }));
    }

    async fn answers(&self, connection: &mut MySqlConnection) -> bool {
        let asked = Instant::now();
        let answer = timeout(TEST, connection.ping()).await;
        if answer.is_err() {
            self.fell_silent(asked);
        }
        matches!(answer, Ok(Ok(())))
    }

    /// The pool hears of a connection when it takes it back.
    fn cover(&self, idle: &PoolConnectionMetadata) -> bool {
        let now = self.micros(Instant::now());
        let before = |age: Duration| now.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        before(idle.idle_for) < self.silent.load(Ordering::Relaxed)
            || before(idle.age) < self.fenced.load(Ordering::Relaxed)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }
}
