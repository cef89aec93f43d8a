//! The clock: its comparison with the database's, and what is done when it was put back between two runs.

use std::time::Duration;

use crate::audit::{Event, Subject};
use crate::base::clock::{Correction, Offsets, Timestamp, WARN_FROM, WRONG_FROM, micros};
use crate::iam::Iam;
use crate::model::client::Client;
use crate::model::error::Error;
use crate::model::session_state::EndReason;

/// The most rows of one statement of what is done after a clock was put back. A program does it at its start, before it serves anybody;
/// others may be serving.
const AT_ONCE: u32 = 500;

/// The shortest step that is written to the log.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// What is brought back after a clock was put back.
#[derive(Clone, Copy, Debug)]
enum Part {
    Sessions,
    /// What outlives them.
    Rest,
}

impl Iam {
    /// Compares the clock with the wall clock and the database's, and corrects it (see [`SteadyClock`](crate::base::clock::SteadyClock)). Gives
    /// the difference from the database's that is left. The [`Worker`](crate::Worker) does so every five minutes and when the wall clock
    /// was set; [`readiness`](Self::readiness) and [`upkeep`](Self::upkeep) do, too. A clock of the host's own differs from nothing.
    pub async fn compare_clock(&self) -> Result<Duration, Error> {
        let Some(clock) = self.inner.clock.steady() else { return Ok(Duration::ZERO) };
        let _alone = clock.compare_alone().await;
        let asked = self.now();
        let found = self.inner.store.database_time().await;
        // The database looked at its clock somewhere in between.
        let uncertainty = self.now().since(asked) / 2;
        let database = found.as_ref().ok().map(|found| asked.plus(uncertainty).offset_to(*found));
        let (correction, offsets) = clock.compare(database, uncertainty);
        let difference = clock.difference();
        log(correction, offsets);
        found?;
        if difference >= WRONG_FROM {
            tracing::error!(?difference, "the clock is not the database's: codes and time-outs are wrong");
        } else if difference >= WARN_FROM {
            tracing::warn!(?difference, "the clock differs from the database's");
        }
        Ok(difference)
    }

    /// Whether the wall clock was set since it was compared.
    pub(crate) fn clock_has_stepped(&self) -> bool {
        self.inner.clock.steady().is_some_and(crate::base::clock::SteadyClock::has_stepped)
    }

    /// Whether the clock was not found to be wrong.
    pub(super) fn has_the_databases_time(&self) -> bool {
        self.inner.clock.steady().is_none_or(|clock| clock.difference() < WRONG_FROM)
    }

    /// Notes in the store what time it is, so that a program finds out at its start that the clock was put back meanwhile; and brings the
    /// store back to what time it is, if it was. A clock that is not the database's says nothing about that.
    pub(crate) async fn note_time(&self) -> Result<(), Error> {
        // An older comparison says nothing: this machine, or the database's, may have stood still since, and nobody saw a step. Who
        // notes a time of the future has others end all sessions.
        self.compare_clock().await?;
        if !self.has_the_databases_time() {
            return Ok(());
        }
        let now = self.now();
        let seen = self
            .retried(|| async {
                let mut unit = self.begin().await?;
                let seen = unit.seen_time().note(now).await?;
                unit.commit().await?;
                Ok(seen)
            })
            .await?;
        if !seen.is_ahead_of(now) {
            return Ok(());
        }
        // Or has it stood still while it waited for the store?
        self.compare_clock().await?;
        let now = self.now();
        if self.has_the_databases_time() && seen.is_ahead_of(now) {
            tracing::error!(%seen, %now, "the clock was put back: all sessions end, with all that was under way");
            self.bring_store_back(seen, now).await?;
        }
        Ok(())
    }

    /// What had run out would begin anew, for as long as the clock was put back, and what was made later would outlive its time. Codes,
    /// step-up proofs, pending sign-ins and stopped forms end with their sessions. The noted time goes back last: whoever dies before
    /// that leaves all of it to be done again.
    async fn bring_store_back(&self, seen: Timestamp, now: Timestamp) -> Result<(), Error> {
        let mut sessions = 0;
        for part in [Part::Sessions, Part::Rest] {
            loop {
                let Some(rows) = self.bring_some_back(part, seen, now).await? else { return Ok(()) };
                if matches!(part, Part::Sessions) {
                    sessions += rows;
                }
                if rows < u64::from(AT_ONCE) {
                    break;
                }
            }
        }
        self.retried(|| async {
            let mut unit = self.begin().await?;
            // Another process may have done all of it beside this one.
            if unit.seen_time().put_back(now).await? {
                let event = Event::ClockPutBack { seen, sessions };
                unit.record(&event, Subject::default(), &Client::default()).await?;
            }
            Ok(unit.commit().await?)
        })
        .await
    }

    /// One batch; says how many rows there were. Nothing when another process has done all of it: what there is now was made after that.
    async fn bring_some_back(
        &self,
        part: Part,
        seen: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u64>, Error> {
        self.retried(|| async {
            let mut unit = self.begin().await?;
            // It holds the noted time until the end, so that nobody takes it back in between.
            if !unit.seen_time().note(now).await?.is_ahead_of(now) {
                return Ok(None);
            }
            let rows = match part {
                Part::Sessions => {
                    unit.seen_time().end_sessions(EndReason::ClockPutBack, now, AT_ONCE).await?
                }
                Part::Rest => unit.seen_time().bring_back(now, seen, AT_ONCE).await?,
            };
            unit.commit().await?;
            Ok(Some(rows))
        })
        .await
    }
}

fn log(correction: Correction, offsets: Offsets) {
    if offsets.wall.abs() < micros(WORTH_A_LINE) {
        return;
    }
    let (wall, database) = (seconds(offsets.wall), offsets.database.map(seconds));
    match correction {
        Correction::Disbelieved => tracing::warn!(
            wall,
            database,
            "the wall clock was set, and the database does not agree: time goes on without it (seconds)"
        ),
        Correction::Slewed | Correction::Forward => {
            tracing::warn!(?correction, wall, database, "the wall clock was set (seconds)");
        }
    }
}

/// For the log.
fn seconds(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a line in the log")]
    let micros = micros as f64;
    micros / 1e6
}
