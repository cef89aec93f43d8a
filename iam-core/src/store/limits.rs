use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::limits::{Change, Counter, Held, LimitKey, Refusal, Reservation, Slot, Throttle, Window};

/// Counters of limits, in a unit of work.
///
/// A store keeps one [`Counter`] for a key and says nothing about it: how tries and places change one is written in `Counter`, and the
/// methods from [`change`](Self::change) on are made of it. A store implements those before, and MUST leave the others as they are.
#[async_trait]
pub trait Limits: Send {
    /// The counters of these keys, as far as there are any, in any order. Until the unit of work is over nobody else can lock or
    /// [write](Self::write) them: another unit MUST wait for it, and then find what this one has kept. One statement MUST lock them, in the order
    /// of the keys' bytes, so that two units that lock some of the same can't wait for each other.
    async fn lock(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError>;

    /// Writes counters that this unit has locked, and new ones of keys that had none, in one statement. It MUST wait for another unit of work that
    /// writes one of the new keys, too. If one is there by now, nothing is written, that one is locked, and the answer is `false`.
    async fn write(
        &mut self,
        locked: &[(LimitKey, Counter)],
        new: &[(LimitKey, Counter)],
    ) -> Result<bool, StoreError>;

    /// The counters of these keys, without a lock.
    async fn look(&mut self, keys: &[LimitKey]) -> Result<Vec<(LimitKey, Counter)>, StoreError>;

    /// Removes up to `most` counters that are forgotten, and not blocked, at `now`. Says how many.
    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError>;

    /// Changes several counters, all or none: with the first that is refused nothing is written, and that one is named. Two changes MUST NOT be
    /// of one key. What gives back, or forgets, where there is no counter, changes nothing.
    async fn change(
        &mut self,
        changes: &[(LimitKey, Change)],
        now: Timestamp,
    ) -> Result<Result<Vec<Slot>, (LimitKey, Refusal)>, StoreError> {
        let keys: Vec<LimitKey> = changes.iter().map(|(key, _)| *key).collect();
        loop {
            let mut held = Held::new(self.lock(&keys).await?);
            let done = held.change_all(changes, now);
            let [locked, new] = held.changed();
            // Each time round there is one key more that is locked.
            if done.is_err() || self.write(&locked, &new).await? {
                return Ok(done);
            }
        }
    }

    /// Reserves one try of a throttle, as [`Change::Try`] says: of any number of callers at once, not one more is granted than the throttle
    /// allows.
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let done = self.change(&[(*key, Change::Try(*rule))], now).await?;
        Ok(one(done))
    }

    /// Gives one try back: [`Change::GiveBack`].
    async fn give_back(&mut self, key: &LimitKey, slot: &Slot, rule: &Throttle) -> Result<(), StoreError> {
        self.change(&[(*key, Change::GiveBack(*slot, *rule))], slot.since).await.map(drop)
    }

    /// Takes one place of a window, as [`Change::Take`] says.
    async fn reserve_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        if rule.limit == 0 {
            return Ok(Reservation::Refused(now.plus(rule.length)));
        }
        let done = self.change(&[(*key, Change::Take(*rule))], now).await?;
        Ok(one(done))
    }

    /// Gives one place of a window back, if it is still the same window.
    async fn give_back_in_window(&mut self, key: &LimitKey, slot: &Slot) -> Result<(), StoreError> {
        self.change(&[(*key, Change::Leave(*slot))], slot.since).await.map(drop)
    }

    /// Counts one in a window, whatever its limit. None is ever lost.
    async fn count_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(&[(*key, Change::Count(*rule))], now).await.map(drop)
    }

    /// Until when a window is full, if it is. Nothing is locked.
    async fn full_until(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        if rule.limit == 0 {
            return Ok(Some(now.plus(rule.length)));
        }
        let found = self.look(std::slice::from_ref(key)).await?;
        Ok(found.first().and_then(|(_, counter)| counter.full_until(rule, now)))
    }

    /// Forgets a key: its counting begins anew, with a `since` that no counting of it had before.
    async fn forget(&mut self, key: &LimitKey) -> Result<(), StoreError> {
        self.change(&[(*key, Change::Forget)], Timestamp::from_micros(0)).await.map(drop)
    }
}

fn one(done: Result<Vec<Slot>, (LimitKey, Refusal)>) -> Reservation {
    match done {
        Ok(slots) => slots
            .first()
            .map_or(Reservation::Refused(Timestamp::from_micros(0)), |slot| Reservation::Granted(*slot)),
        Err((_, refusal)) => Reservation::Refused(refusal.until),
    }
}
