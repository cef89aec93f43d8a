//! Limits: how often something may be tried. What is counted is the store's, and held by one unit of work at a time, so that a limit is
//! exact under concurrency, shared by all processes and survives a restart; what is counted how is said in [`Counter`] alone.

mod counter;

use std::time::Duration;

use crate::base::clock::{TOLERATED_LEAD, Timestamp, micros};
use crate::secrets::secret_key::MacKey;

pub(crate) use counter::Held;
pub use counter::{Change, Counter, Refusal};

/// What is counted: a keyed hash of purpose and subject, so that the table tells nobody's address or name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitKey([u8; 32]);

impl LimitKey {
    pub(crate) fn new(key: &MacKey, purpose: &'static str, subject: &[u8]) -> Self {
        Self(key.tag(&[purpose.as_bytes(), subject]))
    }

    /// A key as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LimitKey(..)")
    }
}

/// A limit that slows down and never locks: some free tries, then a delay that doubles with each further one. It forgets
/// everything when nothing was tried for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Tries without a delay.
    pub free: u32,
    /// The first delay, before the try after the free ones.
    pub first_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// Quiet time, after the last try that was not given back and its delay, that forgets all of them.
    pub forget_after: Duration,
}

impl Throttle {
    /// The latest end of a block that counts: a later one was made before the clock was put back, and who waited for it would wait for as
    /// long as that. Another process may have made it whose clock is ahead.
    pub fn latest_block(&self, now: Timestamp) -> Timestamp {
        latest(now, self.max_delay)
    }

    /// How long the try after the `count`th has to wait.
    pub fn delay_after(&self, count: u32) -> Duration {
        match count.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(extra) => {
                self.first_delay.saturating_mul(2_u32.saturating_pow(extra.min(30))).min(self.max_delay)
            }
        }
    }
}

/// A duration in microseconds that can be added to any time of the next 200 centuries within 64 bits.
pub(crate) fn bounded_micros(duration: Duration) -> i64 {
    micros(duration).min(1 << 60)
}

/// A limit on how many within a window; the window begins with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub limit: u32,
    /// In what time.
    pub length: Duration,
}

impl Window {
    /// One of `parts` windows (at least one) that together grant as many as this one.
    pub(crate) const fn part(&self, index: u32, parts: u32) -> Self {
        let rest = if index < self.limit % parts { 1 } else { 0 };
        Self { limit: self.limit / parts + rest, length: self.length }
    }

    /// The latest end that counts, as [`Throttle::latest_block`].
    pub fn latest_end(&self, now: Timestamp) -> Timestamp {
        latest(now, self.length)
    }
}

fn latest(now: Timestamp, longest: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(bounded_micros(longest))).plus(TOLERATED_LEAD)
}

/// A slot that was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// How many there are now, this one included.
    pub count: u32,
    /// Which counting this belongs to: it begins anew when the limit forgets, and an old slot is then not given back.
    pub since: Timestamp,
    /// Which try of the counting this is. It rises with every try, given back or not, so that it tells whether another one
    /// came after.
    pub number: u32,
}

/// A place in a window that something has taken: what is needed to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenPlace {
    /// Of which limit.
    pub key: LimitKey,
    /// In which counting ([`Slot::since`]): when the window is over, there is nothing to give back.
    pub since: Timestamp,
}

impl TakenPlace {
    /// As the slot that [`Limits::give_back_in_window`](crate::store::Limits::give_back_in_window) takes.
    pub(crate) const fn slot(&self) -> Slot {
        Slot { count: 1, since: self.since, number: 1 }
    }
}

/// The answer to an attempt to reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reservation {
    /// Go on; the slot is taken.
    Granted(Slot),
    /// Not before this time. Nothing was counted.
    Refused(Timestamp),
}

/// The limits on signing in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginLimits {
    /// Of one account, whoever tries; of each device that has signed in before, apart from that; and of each session in which
    /// its owner proves again who they are.
    pub account: Throttle,
    /// Failures on all devices of one account together. Over it, its devices count as strangers.
    pub devices: Window,
    /// Wrong passwords in one session, slowed down as `account` says. With the last of them the session ends.
    pub session: Window,
    /// Failures of one address (/64 for IPv6), in the short run ...
    pub address: Window,
    /// ... and in the long run.
    pub address_long: Window,
    /// Sign-ins of one address that may be under way at once; what is never finished is forgotten after the window.
    pub address_in_flight: Window,
    /// Right passwords of one account: each leaves a session and records behind. Its known devices together have as many of their own,
    /// and so have proofs of who is signed in already. Over it even a right password has to wait.
    pub sign_ins: Window,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            account: Throttle {
                free: 5,
                first_delay: Duration::from_secs(1),
                max_delay: Duration::from_mins(15),
                forget_after: Duration::from_mins(5),
            },
            devices: Window { limit: 50, length: Duration::from_hours(1) },
            session: Window { limit: 20, length: Duration::from_hours(24) },
            address: Window { limit: 10, length: Duration::from_mins(1) },
            address_long: Window { limit: 100, length: Duration::from_hours(1) },
            address_in_flight: Window { limit: 200, length: Duration::from_mins(1) },
            sign_ins: Window { limit: 100, length: Duration::from_mins(10) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_ceiling_and_never_lock() {
        let throttle = LoginLimits::default().account;
        let seconds: Vec<_> = (3..9).map(|count| throttle.delay_after(count).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8]);
        assert_eq!(throttle.delay_after(u32::MAX), Duration::from_mins(15));
    }
}
