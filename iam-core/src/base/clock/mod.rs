//! Time as a port: every rule asks the injected [`Clock`], and no rule asks the database. The [`SteadyClock`] is compared with it.

mod steady;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(crate) use steady::{Correction, Offsets, WARN_FROM, WRONG_FROM};
pub use steady::{ManualTime, OsTime, SteadyClock, TimeSource};

/// The lead that the clock of another process may have: two that both count as ready differ from their database by less than half
/// of it each.
pub const TOLERATED_LEAD: Duration = Duration::from_mins(1);

/// A point in time, UTC, in whole microseconds since 1970: what every store can hold exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `micros` microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// `duration` later, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// `duration` earlier, saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The latest time that another process may have written by `self`: what lies after it was written by a clock that was ahead, or
    /// before this one was put back.
    #[must_use]
    pub fn latest_tolerated(self) -> Self {
        self.plus(TOLERATED_LEAD)
    }

    /// Whether it lies further in the future than the clocks of two processes may differ. What was made then counts for nothing.
    pub fn is_ahead_of(self, now: Self) -> bool {
        self > now.latest_tolerated()
    }

    /// Whether it lies less than `age` back, and not in the future.
    pub(crate) fn is_within(self, age: Duration, now: Self) -> bool {
        now < self.plus(age) && !self.is_ahead_of(now)
    }

    /// How far `other` lies after this, in microseconds; negative when it lies before.
    pub(crate) fn offset_to(self, other: Self) -> i64 {
        other.0.saturating_sub(self.0)
    }

    /// The start of the window of this length that the time lies in, counted from 1970.
    #[must_use]
    pub(crate) fn window(self, length: Duration) -> Self {
        let length = micros(length).max(1);
        Self(self.0.div_euclid(length).saturating_mul(length))
    }

    fn to_utc(self) -> Option<time::OffsetDateTime> {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000).ok()
    }
}

/// RFC 3339, UTC, to the microsecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_utc() {
            Some(t) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                t.microsecond()
            ),
            None => write!(f, "{}us", self.0),
        }
    }
}

/// A duration as whole microseconds, saturating: the unit in which stores count.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// The clock that is compared with the database's, at the start and every five minutes. Any other is the host's own affair.
    fn steady(&self) -> Option<&SteadyClock> {
        None
    }
}

/// The wall clock of the operating system, as it is: it goes back when somebody sets it back. [`SteadyClock`] does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, micros))
    }
}

/// Work that other threads do in real time, for tests: as long as this lives, a tokio clock that stands still (`start_paused`) does not
/// jump to the next timer because nothing else seems to happen, and so ends no waiting for a connection or a hash.
#[cfg(any(test, feature = "danger-weak-for-tests"))]
#[derive(Debug)]
#[must_use = "the clock may jump again when it is dropped"]
pub struct RealWork(
    #[expect(dead_code, reason = "dropped, it ends what waits for it")] std::sync::mpsc::Sender<()>,
);

#[cfg(any(test, feature = "danger-weak-for-tests"))]
impl RealWork {
    /// Begins it on the runtime that runs this; nothing, on one whose clock can't stand still.
    pub fn begin() -> Self {
        use tokio::runtime::{Handle, RuntimeFlavor};
        let (end, ended) = std::sync::mpsc::channel();
        if let Ok(runtime) = Handle::try_current()
            && runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
        {
            // What tokio counts as work, and waits for.
            drop(runtime.spawn_blocking(move || ended.recv()));
        }
        Self(end)
    }
}

/// A clock that moves only when told to, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn steady(&self) -> Option<&SteadyClock> {
        (**self).steady()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rfc_3339() {
        assert_eq!(Timestamp::from_micros(1_767_225_600_000_001).to_string(), "2026-01-01T00:00:00.000001Z");
    }

    #[test]
    fn since_never_goes_below_zero() {
        let early = Timestamp::from_micros(5);
        assert_eq!(early.since(Timestamp::from_micros(9)), Duration::ZERO);
        assert_eq!(Timestamp::from_micros(i64::MAX).plus(Duration::MAX), Timestamp::from_micros(i64::MAX));
    }

    #[test]
    fn what_lies_in_the_future_is_not_recent() {
        let (now, age) = (Timestamp::from_micros(0), Duration::from_mins(5));
        assert!(now.plus(TOLERATED_LEAD).is_within(age, now), "another process's clock");
        assert!(!now.plus(TOLERATED_LEAD + Duration::from_micros(1)).is_within(age, now));
        assert!(now.minus(age).plus(Duration::from_micros(1)).is_within(age, now));
        assert!(!now.minus(age).is_within(age, now));
    }

    #[test]
    fn windows_are_aligned() {
        let minute = Duration::from_mins(1);
        assert_eq!(Timestamp::from_micros(119_999_999).window(minute), Timestamp::from_micros(60_000_000));
        assert_eq!(Timestamp::from_micros(-1).window(minute), Timestamp::from_micros(-60_000_000));
    }
}
