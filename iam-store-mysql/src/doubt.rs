//! Connections of the store's own pool that are not used any more, though nothing went wrong on them yet: they may be dead, or
//! lead to the primary of before.
//!
//! What makes a connection fall silent (a router that forgot it, a server that hangs) rarely befalls one alone, and each
//! would cost somebody the whole time-out. So one that does not answer puts all in doubt that were last heard of before it
//! was asked; and one that leads to a server which can't write any more, all that were opened before that was found out.
//!
//! They are dropped, and not closed as the protocol asks: through TLS that waits for a goodbye from the other side, which is as long in
//! coming as any other answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may take to answer a test: not so long that nothing would be left of a statement's time. What was awaited
/// for less did not fall silent.
pub(crate) const TEST: Duration = Duration::from_secs(1);

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

    /// Whether they cover a connection that was opened at one moment, and last heard of at another.
    pub(crate) fn cover(&self, opened_at: Instant, heard_of: Instant) -> bool {
        self.micros(heard_of) < self.silent.load(Ordering::Relaxed)
            || self.micros(opened_at) < self.fenced.load(Ordering::Relaxed)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX)
    }
}
