use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::limits::{LimitKey, Reservation, Slot, Throttle, Window};

/// Limits, in a unit of work.
///
/// A key has a count, the time its counting began, the number of its last try, the time until which it is blocked, and the time
/// at which it is forgotten, with the one before that.
#[async_trait]
pub trait Limits: Send {
    /// Reserves one slot of a throttle.
    ///
    /// If `now` is before the block's end, and that is no later than [`Throttle::latest_block`]: refused, and nothing changes. Else (a block
    /// of before the clock was put back keeps nobody waiting, and its count stays), when `now` is at or after the time at which the
    /// key is forgotten, the counting begins anew, with a `since` that no counting of this key had before. Then count and number
    /// rise by one, the key is blocked until `now` plus [`Throttle::delay_after`] the new count (a delay of zero leaves no block
    /// at all, so that who asked the clock a moment earlier and came later is not refused), and it is forgotten
    /// [`Throttle::forget_after`] after the later of `now` and the block's end. It MUST be decided in one statement: of any
    /// number of callers at once, not one more is granted than the throttle allows.
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError>;

    /// Gives one slot back, if the key's counting is still the one of the slot: the count falls by one, never below zero. If no
    /// try came after the slot's own, all is as if it had not been made: there is no block, and the key is forgotten when it
    /// would have been before (at once, when the slot was the first of its counting). If one came after, the block ends only
    /// when the count is now below [`Throttle::free`].
    async fn give_back(&mut self, key: &LimitKey, slot: &Slot, rule: &Throttle) -> Result<(), StoreError>;

    /// Reserves one slot of a window, which begins with its first and is over after its length. One that ends after
    /// [`Window::latest_end`] (the clock was put back) is not full, whatever its count, which goes on; it then ends its length after `now`.
    /// It MUST be decided in one statement.
    async fn reserve_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Reservation, StoreError>;

    /// Gives one slot of a window back, if it is still the same window.
    async fn give_back_in_window(&mut self, key: &LimitKey, slot: &Slot) -> Result<(), StoreError>;

    /// Counts one in a window, whatever its limit, and else like [`reserve_in_window`](Self::reserve_in_window). None is ever lost.
    async fn count_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whether a window is full: until when. One that ends after [`Window::latest_end`] is not.
    async fn full_until(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Forgets a key: its counting begins anew, with a `since` that no counting of it had before.
    async fn forget(&mut self, key: &LimitKey) -> Result<(), StoreError>;

    /// Removes up to `most` keys that are forgotten, and not blocked, at `now`. Says how many.
    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError>;
}
