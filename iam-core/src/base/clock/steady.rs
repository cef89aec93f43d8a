//! The clock of a process: it never goes back, whatever becomes of the wall clock.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::clock::{Clock, SystemClock, Timestamp, micros};

/// The difference that is worth a look.
pub(crate) const WARN_FROM: Duration = Duration::from_secs(5);

/// The difference that makes codes and time-outs wrong; and the step from which on the wall clock is believed only if the database
/// agrees.
pub(crate) const WRONG_FROM: Duration = Duration::from_secs(30);

/// How far the wall clock may wander from the monotonic one between two comparisons, until that is a step.
const STEP: Duration = Duration::from_secs(1);

/// The two clocks of a machine.
pub trait TimeSource: Send + Sync + fmt::Debug + 'static {
    /// The wall clock, which people and programs set.
    fn wall(&self) -> Timestamp;

    /// The monotonic clock: the time since some moment. It MUST never go back.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct OsTime(Instant);

impl Default for OsTime {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl TimeSource for OsTime {
    fn wall(&self) -> Timestamp {
        SystemClock.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Two clocks that move only when told to, for tests.
#[derive(Debug)]
pub struct ManualTime {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl ManualTime {
    /// Clocks that stand, the wall clock at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { wall: AtomicI64::new(start.as_micros()), monotonic: AtomicU64::new(0) }
    }

    /// Lets time pass: both clocks move.
    pub fn advance(&self, by: Duration) {
        let by = micros(by);
        self.wall.fetch_add(by, Ordering::SeqCst);
        self.monotonic.fetch_add(by.unsigned_abs(), Ordering::SeqCst);
    }

    /// Sets the wall clock, backwards too. No time passes.
    pub fn set_wall(&self, to: Timestamp) {
        self.wall.store(to.as_micros(), Ordering::SeqCst);
    }
}

impl TimeSource for ManualTime {
    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic.load(Ordering::SeqCst))
    }
}

impl<T: TimeSource> TimeSource for std::sync::Arc<T> {
    fn wall(&self) -> Timestamp {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }
}

/// The wall clock as it was at the start, carried on by the monotonic clock, and compared with the wall clock and the database's at the
/// start and every five minutes.
///
/// - A step back of the wall clock is slewed: time goes on at half speed until the wall clock has caught up, and none of it comes twice.
/// - A step forward (or the time for which a machine slept) is followed at once.
/// - A step of more than 30 seconds is believed only if the database agrees, in either direction; and a step back of any length is not
///   believed against the database. A slew that it contradicts later is stopped, and what it took is given back.
pub struct SteadyClock {
    source: Box<dyn TimeSource>,
    state: Mutex<State>,
    /// Held by who compares: an answer of the database's is measured by this clock, which another comparison may move meanwhile.
    comparing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Where this stretch of time begins ...
    base: Timestamp,
    /// ... on the monotonic clock.
    since: Duration,
    /// How far time was ahead of the wall clock there. It goes at half speed until that is used up.
    lead: Duration,
    /// How much the slew under way had already taken off time by then.
    lost: Duration,
    /// The wall clock as it was judged last, less the monotonic one.
    wall_offset: i64,
    /// The difference from the database's clock at the last comparison.
    difference: Duration,
}

impl State {
    fn time(&self, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.since);
        self.base.plus(passed.saturating_sub(self.slowed(monotonic)))
    }

    fn slowed(&self, monotonic: Duration) -> Duration {
        (monotonic.saturating_sub(self.since) / 2).min(self.lead)
    }

    /// How much the slew under way has taken off time. None is under way once the wall clock has caught up.
    fn lost(&self, monotonic: Duration) -> Duration {
        let slowed = self.slowed(monotonic);
        if slowed < self.lead { self.lost.saturating_add(slowed) } else { Duration::ZERO }
    }

    fn correct(&mut self, correction: Correction, offsets: Offsets, monotonic: Duration) {
        let ours = self.time(monotonic);
        let (base, lead, lost) = match (correction, offsets.database) {
            (Correction::Forward, _) => (ours.plus(ahead(offsets.wall)), Duration::ZERO, Duration::ZERO),
            (Correction::Slewed, _) => {
                (ours, Duration::from_micros(offsets.wall.unsigned_abs()), self.lost(monotonic))
            }
            // What a slew took that the database contradicts is given back, but no more: in all else nobody takes the word of the
            // database alone.
            (Correction::Disbelieved, Some(database)) => {
                (ours.plus(self.lost(monotonic).min(ahead(database))), Duration::ZERO, Duration::ZERO)
            }
            // Nobody contradicts what was decided before.
            (Correction::Disbelieved, None) => return,
        };
        *self = Self { base, since: monotonic, lead, lost, ..*self };
    }
}

/// How far a clock at this offset is ahead.
fn ahead(offset: i64) -> Duration {
    Duration::from_micros(u64::try_from(offset).unwrap_or(0))
}

/// What a comparison came to. Differences are in microseconds; negative when the other clock is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    /// Time went forward, to the wall clock.
    Forward,
    /// Time goes slower, until the wall clock has caught up.
    Slewed,
    /// The wall clock is not believed, or not yet; time goes on by the monotonic clock.
    Disbelieved,
}

/// How far the wall clock and the database's lie from ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) wall: i64,
    pub(crate) database: Option<i64>,
}

impl Offsets {
    fn decide(self) -> Correction {
        let far = micros(WRONG_FROM).unsigned_abs();
        let is_far = self.wall.unsigned_abs() > far;
        match self.database {
            // A small one is anybody's correction, and forward it makes nothing last longer.
            _ if !is_far && self.wall >= 0 => Correction::Forward,
            Some(database) if self.wall.abs_diff(database) > far => Correction::Disbelieved,
            None if is_far => Correction::Disbelieved,
            _ if self.wall >= 0 => Correction::Forward,
            _ => Correction::Slewed,
        }
    }
}

impl SteadyClock {
    /// The clock of this process.
    pub fn new() -> Self {
        Self::of(OsTime::default())
    }

    /// One made of other clocks than the operating system's.
    pub fn of(source: impl TimeSource) -> Self {
        let (base, since) = (source.wall(), source.monotonic());
        let wall_offset = offset(base, since);
        let zero = Duration::ZERO;
        let state = State { base, since, lead: zero, lost: zero, wall_offset, difference: zero };
        Self { source: Box::new(source), state: Mutex::new(state), comparing: tokio::sync::Mutex::default() }
    }

    /// Waits for the comparison that is under way. The next one begins when what this gives is dropped.
    pub(crate) async fn compare_alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.comparing.lock().await
    }

    /// Whether the wall clock was set (or the machine slept) since it was judged last.
    pub(crate) fn has_stepped(&self) -> bool {
        let now = offset(self.source.wall(), self.source.monotonic());
        now.abs_diff(self.state().wall_offset) > micros(STEP).unsigned_abs()
    }

    /// How far this was from the database's clock at the last comparison.
    pub(crate) fn difference(&self) -> Duration {
        self.state().difference
    }

    /// Compares with the wall clock, and with how far the database's clock was found from this one, where it could be asked; corrects this
    /// one accordingly. `uncertainty` is how far the finding may be wrong. One at a time: see [`compare_alone`](Self::compare_alone).
    pub(crate) fn compare(&self, database: Option<i64>, uncertainty: Duration) -> (Correction, Offsets) {
        let mut state = self.state();
        let (wall, monotonic) = (self.source.wall(), self.source.monotonic());
        let ours = state.time(monotonic);
        let offsets = Offsets { wall: ours.offset_to(wall), database };
        let correction = offsets.decide();
        state.correct(correction, offsets, monotonic);
        // Without a witness it is to be judged again.
        if correction != Correction::Disbelieved || database.is_some() {
            state.wall_offset = offset(wall, monotonic);
        }
        if let Some(database) = database {
            let corrected = ours.offset_to(state.time(monotonic));
            let difference = Duration::from_micros(database.abs_diff(corrected));
            state.difference = difference.saturating_sub(uncertainty);
        }
        (correction, offsets)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offset(wall: Timestamp, monotonic: Duration) -> i64 {
    wall.as_micros().saturating_sub(micros(monotonic))
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteadyClock").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        // Read within the lock, so that of two threads the later one has the later time.
        let state = self.state();
        state.time(self.source.monotonic())
    }

    fn steady(&self) -> Option<&SteadyClock> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn clock() -> (Arc<ManualTime>, SteadyClock) {
        let time = Arc::new(ManualTime::new(START));
        (Arc::clone(&time), SteadyClock::of(time))
    }

    fn secs(secs: i64) -> i64 {
        secs * 1_000_000
    }

    fn compare(clock: &SteadyClock, database: Option<i64>) -> Correction {
        clock.compare(database, Duration::ZERO).0
    }

    #[test]
    fn a_step_back_is_slewed_until_the_wall_clock_has_caught_up() {
        let (time, clock) = clock();
        time.set_wall(START.minus(HOUR));
        assert_eq!(clock.now(), START, "nobody asked the wall clock yet");
        assert!(clock.has_stepped());
        assert_eq!(compare(&clock, Some(secs(-3600))), Correction::Slewed);
        assert_eq!(clock.difference(), HOUR);
        assert_eq!(clock.now(), START, "no time comes twice");
        time.advance(HOUR);
        assert_eq!(clock.now(), START.plus(HOUR / 2), "half speed");
        time.advance(HOUR);
        assert_eq!(clock.now(), time.wall(), "caught up");
        time.advance(HOUR);
        assert_eq!(clock.now(), time.wall(), "and on with it");
        assert!(!clock.has_stepped());
    }

    #[test]
    fn a_step_forward_is_believed_if_the_database_agrees() {
        let (time, clock) = clock();
        time.set_wall(START.plus(HOUR));
        assert_eq!(compare(&clock, Some(secs(3599))), Correction::Forward);
        assert_eq!(clock.now(), START.plus(HOUR));
        assert_eq!(clock.difference(), Duration::from_secs(1));
    }

    #[test]
    fn a_step_forward_is_not_believed_if_the_database_disagrees_or_is_silent() {
        for database in [Some(0), Some(secs(7200)), None] {
            let (time, clock) = clock();
            time.set_wall(START.plus(HOUR));
            assert_eq!(compare(&clock, database), Correction::Disbelieved, "{database:?}");
            time.advance(Duration::from_secs(1));
            assert_eq!(clock.now(), START.plus(Duration::from_secs(1)), "on by the monotonic clock");
            assert_eq!(clock.has_stepped(), database.is_none(), "asked again once the database answers");
        }
        // A small one is anybody's correction.
        for database in [Some(0), None] {
            let (time, clock) = clock();
            time.set_wall(START.plus(WRONG_FROM));
            assert_eq!(compare(&clock, database), Correction::Forward);
        }
    }

    #[test]
    fn a_wall_clock_that_alone_goes_back_is_not_followed() {
        let (time, clock) = clock();
        time.set_wall(START.minus(HOUR));
        assert_eq!(compare(&clock, Some(secs(1))), Correction::Disbelieved);
        time.advance(HOUR);
        assert_eq!(clock.now(), START.plus(HOUR));
        assert_eq!(clock.difference(), Duration::from_secs(1));
    }

    #[test]
    fn a_step_back_is_not_believed_if_the_database_disagrees_or_is_silent() {
        for database in [Some(secs(-7200)), Some(secs(600)), None] {
            let (time, clock) = clock();
            time.set_wall(START.minus(HOUR));
            assert_eq!(compare(&clock, database), Correction::Disbelieved, "{database:?}");
            time.advance(HOUR);
            assert_eq!(clock.now(), START.plus(HOUR), "on by the monotonic clock");
            assert_eq!(clock.has_stepped(), database.is_none(), "asked again once the database answers");
        }
        // A small one, too, where it leads away from the database.
        for (database, correction) in [(Some(secs(20)), Correction::Disbelieved), (None, Correction::Slewed)]
        {
            let (time, clock) = clock();
            time.set_wall(START.minus(Duration::from_secs(20)));
            assert_eq!(compare(&clock, database), correction, "{database:?}");
        }
    }

    #[test]
    fn a_slew_that_the_database_contradicts_is_stopped_and_what_it_took_is_given_back() {
        // The database's clock, set back with the wall clock, was put right; or went elsewhere.
        for (database, given_back) in [(400, 360), (350, 350), (10, 10), (-50, 0)] {
            let (time, clock) = clock();
            time.set_wall(START.minus(HOUR));
            assert_eq!(compare(&clock, Some(secs(-3600))), Correction::Slewed);
            let minutes = Duration::from_mins(6);
            time.advance(minutes);
            assert_eq!(compare(&clock, Some(secs(-3420))), Correction::Slewed, "still under way");
            time.advance(minutes);
            let before = clock.now();
            assert_eq!(before, START.plus(minutes), "half speed: 360 seconds were taken");
            assert_eq!(compare(&clock, Some(secs(database))), Correction::Disbelieved);
            assert_eq!(before.offset_to(clock.now()), secs(given_back), "{database}");
            assert_eq!(micros(clock.difference()), secs((database - given_back).abs()));
            let stopped = clock.now();
            time.advance(minutes);
            assert_eq!(clock.now(), stopped.plus(minutes), "at whole speed");
        }
    }

    #[test]
    fn a_slew_that_is_over_is_not_given_back() {
        let (time, clock) = clock();
        time.set_wall(START.minus(HOUR));
        assert_eq!(compare(&clock, Some(secs(-3600))), Correction::Slewed);
        time.advance(2 * HOUR);
        assert_eq!(clock.now(), time.wall());
        time.set_wall(time.wall().minus(HOUR));
        let before = clock.now();
        assert_eq!(compare(&clock, Some(secs(3600))), Correction::Disbelieved);
        assert_eq!(clock.now(), before);
    }

    #[test]
    fn a_slew_goes_on_while_the_database_is_silent() {
        let (time, clock) = clock();
        time.set_wall(START.minus(HOUR));
        assert_eq!(compare(&clock, Some(secs(-3600))), Correction::Slewed);
        assert_eq!(compare(&clock, None), Correction::Disbelieved);
        time.advance(2 * HOUR);
        assert_eq!(clock.now(), time.wall());
        assert!(!clock.has_stepped());
    }

    #[test]
    fn a_slow_answer_is_no_difference() {
        let (_, clock) = clock();
        clock.compare(Some(secs(6)), Duration::from_secs(2));
        assert_eq!(clock.difference(), Duration::from_secs(4));
    }

    proptest! {
        /// Whatever the wall clock and the database say.
        #[test]
        fn time_never_goes_back(steps in proptest::collection::vec(
            (0_u64..10_000_000_000, proptest::option::of(-400_000_000_000_i64..400_000_000_000), any::<bool>(),
             proptest::option::of(-400_000_000_000_i64..400_000_000_000)), 1..60)) {
            let (time, clock) = clock();
            let mut last = clock.now();
            // Where time would be without any slew since it last followed the wall clock forward.
            let mut unslewed = last;
            for (passed, wall, compares, database) in steps {
                if let Some(wall) = wall {
                    time.set_wall(Timestamp::from_micros(START.as_micros() + wall));
                }
                let corrected = compares && compare(&clock, database) == Correction::Forward;
                let before = clock.now();
                prop_assert!(before >= last, "{before} after {last}");
                if corrected {
                    unslewed = before;
                }
                let given_back = compares && before <= unslewed && database.is_some_and(|to| last.offset_to(before) <= to);
                prop_assert!(corrected || before == last || given_back, "nothing else makes it jump");
                let passed = Duration::from_micros(passed);
                time.advance(passed);
                unslewed = unslewed.plus(passed);
                last = clock.now();
                prop_assert!(last >= before.plus(passed / 2) && last <= before.plus(passed), "half speed or whole");
            }
        }
    }
}
