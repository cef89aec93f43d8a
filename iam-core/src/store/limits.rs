use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::limit::{LimitKey, Reservation, Slot, Throttle, Window};

/// Limits, in a unit of work.
///
/// A key has a count, the time its counting began, the time of its last try and the time until which it is blocked.
#[async_trait]
pub trait Limits: Send {
    /// Reserves one slot of a throttle.
    ///
    /// First, when `now` is at or after the later of last try and block, plus [`Throttle::forget_after`], the counting begins
    /// anew. Then, if `now` is before the block's end: refused, and nothing changes. Else the count rises by one, and the key is
    /// blocked until `now` plus [`Throttle::delay_after`] the new count. It MUST be decided in one statement: of any number of
    /// callers at once, not one more is granted than the throttle allows.
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError>;

    /// Gives one slot back, if the key's counting is still the one of the slot: the count falls by one, never below zero. The
    /// block ends if the count is now below [`Throttle::free`], or if no try came after the slot's own.
    async fn give_back(
        &mut self,
        key: &LimitKey,
        slot: &Slot,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Reserves one slot of a window, which begins with its first and is over after its length. It MUST be decided in one
    /// statement.
    async fn reserve_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Reservation, StoreError>;

    /// Gives one slot of a window back, if it is still the same window.
    async fn give_back_in_window(&mut self, key: &LimitKey, slot: &Slot) -> Result<(), StoreError>;

    /// Counts one in a window, whatever its limit. None is ever lost.
    async fn count_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whether a window is full: until when.
    async fn full_until(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Removes up to `most` keys that have nothing left to remember at `now`. Says how many.
    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError>;
}
