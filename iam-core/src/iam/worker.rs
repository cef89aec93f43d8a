//! What an identity layer does beside answering requests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::delivery::AT_ONCE;
use crate::iam::{Iam, Inner};

/// How long repeated refusals wait to be written together.
const TICK: Duration = Duration::from_secs(1);

/// How often there is a round of upkeep, in ticks.
const TICKS_BETWEEN_UPKEEP: u32 = 60;

/// How long a round of upkeep goes on while there is more to do. The next one then begins with the next tick: what accumulates faster
/// than one worker clears it in most of its time is more than the store takes in.
const UPKEEP: Duration = Duration::from_secs(10);

/// How often the clock is compared with the database's, in ticks.
const TICKS_BETWEEN_COMPARISONS: u32 = 300;

/// Sends messages, writes down what was counted, ends what ran out, and removes what nobody needs any more, for as long as the [`Iam`] that
/// it belongs to lives. Any number of processes may do so on one store.
#[derive(Debug)]
#[must_use = "nothing is done until it runs"]
pub struct Worker {
    inner: Weak<Inner>,
    wake: Arc<Notify>,
}

impl Worker {
    pub(crate) fn of(iam: &Iam) -> Self {
        Self { inner: Arc::downgrade(&iam.inner), wake: Arc::clone(&iam.inner.outbox_wake) }
    }

    /// Works until the last clone of its [`Iam`] is gone. Needs a tokio runtime with timers. Dropping it stops the work.
    pub async fn run(self) {
        // Side by side: a provider that hangs holds no upkeep up, and no upkeep a code.
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_house(Weak::clone(&self.inner)));
        tasks.spawn(deliver(self.inner, self.wake));
        tasks.join_all().await;
    }
}

async fn keep_house(inner: Weak<Inner>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_upkeep = TICKS_BETWEEN_UPKEEP;
    let mut until_comparison = TICKS_BETWEEN_COMPARISONS;
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.stopping.load(Ordering::Relaxed) {
            // The store is being closed.
            return;
        }
        let iam = Iam { inner };
        until_comparison = until_comparison.saturating_sub(1);
        if until_comparison == 0 || iam.clock_has_stepped() {
            until_comparison = TICKS_BETWEEN_COMPARISONS;
            if let Err(error) = iam.compare_clock().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the clock can't be compared with the database's"
                );
            }
        }
        // What went wrong is logged there, and tried again.
        let _ = iam.flush_refusals().await;
        until_upkeep = until_upkeep.saturating_sub(1);
        if until_upkeep == 0 {
            // The store says in the log what it finds, whether or not anybody asks for it.
            let _ = iam.inner.store.readiness().await;
            let more = upkeep(&iam).await;
            until_upkeep = if more { 1 } else { TICKS_BETWEEN_UPKEEP };
        }
    }
}

/// Sends messages as they come: at once when they were put there by this process, within a second when by another one.
async fn deliver(inner: Weak<Inner>, wake: Arc<Notify>) {
    let mut attempts = JoinSet::new();
    loop {
        // Woken or not, it looks.
        let _ = timeout(TICK, wake.notified()).await;
        while attempts.try_join_next().is_some() {}
        let Some(inner) = inner.upgrade() else { return };
        if inner.stopping.load(Ordering::Relaxed) {
            continue;
        }
        let iam = Iam { inner };
        let mut permits = Vec::new();
        while let Ok(permit) = Arc::clone(&iam.inner.sending).try_acquire_owned() {
            permits.push(permit);
        }
        let claimed = match iam.claim_messages(u32::try_from(permits.len()).unwrap_or(AT_ONCE)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "messages can't be taken; tried again"
                );
                continue;
            }
        };
        iam.inner.looked_at.store(iam.now().as_micros(), Ordering::Relaxed);
        for (claimed, permit) in claimed.into_iter().zip(permits) {
            let iam = iam.clone();
            attempts.spawn(async move {
                if let Err(error) = iam.attempt(claimed).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "what came of a message was not written down"
                    );
                }
                drop(permit);
                // There may be more that waited for a place.
                iam.inner.outbox_wake.notify_one();
            });
        }
    }
}

/// A round of upkeep. Says whether there is more to do.
async fn upkeep(iam: &Iam) -> bool {
    let (done, failed) = iam.upkeep_round(UPKEEP).await;
    if let Some(error) = failed {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "some upkeep failed; it is tried again in a minute"
        );
    }
    done.is_more_waiting()
}
