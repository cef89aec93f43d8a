//! Counters: what is counted under one key, and the one place where the rules of limits are applied to it.
//!
//! A store keeps counters and holds them for one unit of work at a time; what a try, a place or a failure does to one is decided here, so
//! that all stores count alike.

use super::{LimitKey, Reservation, Slot, Throttle, Window, bounded_micros};
use crate::base::clock::Timestamp;
use std::time::Duration;

/// What is counted under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// How many there are.
    pub count: u32,
    /// The number of the last try of this counting, given back or not.
    pub number: u32,
    /// When the counting began, and its name: no two countings of one key have the same.
    pub since: Timestamp,
    /// When it was last counted.
    pub last_at: Timestamp,
    /// Until when nothing more is granted; long ago, where nothing blocks.
    pub blocked_until: Timestamp,
    /// Of a throttle: when it would be forgotten without its last try. Of a window: when its block was made.
    pub expires_before: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// The end of a block that there is none of.
const NEVER: Timestamp = Timestamp::from_micros(0);

/// A change of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// One more try of a throttle.
    Try(Throttle),
    /// A try of a throttle is given back, as if it had not been made.
    GiveBack(Slot, Throttle),
    /// One more place of a window is taken.
    Take(Window),
    /// A place of a window is given back.
    Leave(Slot),
    /// One more is counted in a window, whatever its limit.
    Count(Window),
    /// No place of a window is granted until this time.
    Block(Timestamp),
    /// All is forgotten: the counting begins anew.
    Forget,
}

impl Change {
    /// Whether a counter has to be made for it. What gives back, or forgets, has nothing to change where there is none.
    pub(crate) const fn needs_counter(&self) -> bool {
        !matches!(self, Self::GiveBack(..) | Self::Leave(_) | Self::Forget)
    }
}

/// What a limit has refused: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Until when it refuses.
    pub until: Timestamp,
    /// Whether a [block](Change::Block) stands, and the window may have room.
    pub is_block: bool,
}

impl From<Result<Slot, Refusal>> for Reservation {
    fn from(done: Result<Slot, Refusal>) -> Self {
        match done {
            Ok(slot) => Self::Granted(slot),
            Err(refusal) => Self::Refused(refusal.until),
        }
    }
}

impl Counter {
    /// The counter of a key under which nothing was counted: as if it had just been forgotten.
    pub fn new(now: Timestamp) -> Self {
        Self {
            count: 0,
            number: 0,
            since: Timestamp::from_micros(now.as_micros().saturating_sub(1)),
            last_at: now,
            blocked_until: NEVER,
            expires_before: now,
            expires_at: now,
        }
    }

    /// Makes a change, or refuses it and leaves the counter as it is.
    pub fn change(&mut self, change: &Change, now: Timestamp) -> Result<Slot, Refusal> {
        match change {
            Change::Try(rule) => return self.try_one(rule, now),
            Change::Take(rule) => return self.take(rule, now),
            Change::Count(rule) => self.count_in_window(rule, now),
            Change::GiveBack(slot, rule) => self.give_back(slot, rule),
            Change::Leave(slot) if self.since == slot.since => self.count = self.count.saturating_sub(1),
            Change::Leave(_) => {}
            Change::Block(until) => {
                (self.blocked_until, self.expires_before, self.last_at) = (*until, now, now);
            }
            Change::Forget => {
                *self = Self {
                    count: 0,
                    since: self.next_since(),
                    blocked_until: NEVER,
                    expires_at: NEVER,
                    ..*self
                };
            }
        }
        Ok(self.slot())
    }

    /// A block always ends before its counter is forgotten. A free try leaves no block at all, so that a caller who asked the clock a
    /// moment earlier and comes later is not refused.
    fn try_one(&mut self, rule: &Throttle, now: Timestamp) -> Result<Slot, Refusal> {
        if self.blocked_until > now && self.blocked_until <= rule.latest_block(now) {
            return Err(Refusal { until: self.blocked_until, is_block: false });
        }
        self.expires_before = if now >= self.expires_at { now } else { self.expires_at };
        self.count_one(now);
        let delay = rule.delay_after(self.count);
        self.blocked_until = if delay.is_zero() { NEVER } else { later(now, delay) };
        self.expires_at = later(now.max(self.blocked_until), rule.forget_after);
        Ok(self.slot())
    }

    fn give_back(&mut self, slot: &Slot, rule: &Throttle) {
        if self.since != slot.since {
            return;
        }
        self.count = self.count.saturating_sub(1);
        if self.number == slot.number {
            (self.expires_at, self.blocked_until) = (self.expires_before, NEVER);
        } else if self.count < rule.free {
            self.blocked_until = NEVER;
        }
    }

    /// A window is over at its `expires_at`. A block of the future was made before the clock was put back.
    fn take(&mut self, rule: &Window, now: Timestamp) -> Result<Slot, Refusal> {
        if self.blocked_until > now && !self.expires_before.is_ahead_of(now) {
            return Err(Refusal { until: self.blocked_until, is_block: true });
        }
        if let Some(until) = self.full_until(rule, now) {
            return Err(Refusal { until, is_block: false });
        }
        self.count_in_window(rule, now);
        Ok(self.slot())
    }

    fn count_in_window(&mut self, rule: &Window, now: Timestamp) {
        let begins = now >= self.expires_at || self.expires_at > rule.latest_end(now);
        self.count_one(now);
        if begins {
            self.expires_at = later(now, rule.length);
        }
    }

    /// Until when a window is full, if it is. One that ends after [`Window::latest_end`] is not; one without places always is.
    pub fn full_until(&self, rule: &Window, now: Timestamp) -> Option<Timestamp> {
        if rule.limit == 0 {
            return Some(later(now, rule.length));
        }
        let lasts = self.expires_at > now && self.expires_at <= rule.latest_end(now);
        (lasts && self.count >= rule.limit).then_some(self.expires_at)
    }

    /// Counts one, in a new counting if the one before is forgotten.
    fn count_one(&mut self, now: Timestamp) {
        if now >= self.expires_at {
            (self.since, self.number, self.count) = (now.max(self.next_since()), 0, 0);
        }
        self.number = self.number.saturating_add(1);
        self.count = self.count.saturating_add(1);
        self.last_at = now;
    }

    /// No counting has the `since` of one before, even if the clock was put back.
    fn next_since(&self) -> Timestamp {
        Timestamp::from_micros(self.since.as_micros().saturating_add(1))
    }

    const fn slot(&self) -> Slot {
        Slot { count: self.count, since: self.since, number: self.number }
    }
}

/// Within 64 bits, however long it is.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(time.as_micros().saturating_add(bounded_micros(by)))
}

/// Counters that a unit of work holds, to be changed together and written once.
#[derive(Debug, Default)]
pub(crate) struct Held {
    counters: Vec<HeldCounter>,
}

#[derive(Debug)]
struct HeldCounter {
    key: LimitKey,
    counter: Counter,
    is_new: bool,
    is_changed: bool,
}

impl Held {
    pub(crate) fn new(locked: Vec<(LimitKey, Counter)>) -> Self {
        let held = |(key, counter)| HeldCounter { key, counter, is_new: false, is_changed: false };
        Self { counters: locked.into_iter().map(held).collect() }
    }

    /// Changes the counter of a key. Where there is none a new one is made, if the change needs one.
    pub(crate) fn change(
        &mut self,
        key: &LimitKey,
        change: &Change,
        now: Timestamp,
    ) -> Result<Slot, Refusal> {
        if let Some(held) = self.counters.iter_mut().find(|held| held.key == *key) {
            let before = held.counter;
            let done = held.counter.change(change, now);
            held.is_changed |= held.counter != before;
            return done;
        }
        let mut counter = Counter::new(now);
        if !change.needs_counter() {
            return Ok(counter.slot());
        }
        let slot = counter.change(change, now)?;
        self.counters.push(HeldCounter { key: *key, counter, is_new: true, is_changed: true });
        Ok(slot)
    }

    /// Makes changes until one is refused.
    pub(crate) fn change_all(
        &mut self,
        changes: &[(LimitKey, Change)],
        now: Timestamp,
    ) -> Result<Vec<Slot>, (LimitKey, Refusal)> {
        changes
            .iter()
            .map(|(key, change)| self.change(key, change, now).map_err(|refusal| (*key, refusal)))
            .collect()
    }

    /// What has to be written: of locked counters, and of new ones.
    pub(crate) fn changed(&self) -> [Vec<(LimitKey, Counter)>; 2] {
        [false, true].map(|is_new| {
            let changed = self.counters.iter().filter(|held| held.is_changed && held.is_new == is_new);
            changed.map(|held| (held.key, held.counter)).collect()
        })
    }
}
