//! What an identity layer does beside answering requests.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::iam::{Iam, Inner};

/// How long repeated refusals wait to be written together.
const TICK: Duration = Duration::from_secs(1);

/// How often there is a round of upkeep, in ticks.
const TICKS_BETWEEN_UPKEEP: u32 = 60;

/// The most batches of one round, so that a backlog of years is worked off in the course of a day.
const MOST_BATCHES: u32 = 100;

/// Writes down what was counted, ends what ran out, and removes what nobody needs any more, for as long as the [`Iam`] that
/// it belongs to lives. Any number of processes may do so on one store.
#[derive(Debug)]
#[must_use = "nothing is done until it runs"]
pub struct Worker {
    inner: Weak<Inner>,
}

impl Worker {
    pub(crate) fn of(iam: &Iam) -> Self {
        Self { inner: std::sync::Arc::downgrade(&iam.inner) }
    }

    /// Works until the last clone of its [`Iam`] is gone. Needs a tokio runtime with timers.
    pub async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_upkeep = TICKS_BETWEEN_UPKEEP;
        loop {
            ticks.tick().await;
            let Some(inner) = self.inner.upgrade() else { return };
            let iam = Iam { inner };
            // What went wrong is logged there, and tried again.
            let _ = iam.flush_refusals().await;
            until_upkeep = until_upkeep.saturating_sub(1);
            if until_upkeep == 0 {
                until_upkeep = TICKS_BETWEEN_UPKEEP;
                upkeep(&iam).await;
            }
        }
    }
}

async fn upkeep(iam: &Iam) {
    for _ in 0..MOST_BATCHES {
        match iam.upkeep().await {
            Ok(done) if done.is_more_waiting() => {
                // A long backlog holds nothing else up.
                let _ = iam.flush_refusals().await;
            }
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "upkeep failed; it is tried again in a minute"
                );
                return;
            }
        }
    }
}
