//! Counting refusals in memory, so that strangers who cause thousands of them a second cost one write for each kind and
//! second, and not a write each.
//!
//! The first of a kind (a coalescing key) is written before its request is answered, together with all others that wait at
//! that moment; repeats are written soon after. What a process that is killed had not yet written is repeats of a second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{COALESCING_WINDOW, Record};
use crate::base::clock::{TOLERATED_LEAD, Timestamp};

/// Kinds that are told apart at once. Whoever causes more is counted under what they do alone.
const MOST_KINDS: usize = 10_000;

/// Refusals that were not yet written, by coalescing key.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HashMap<[u8; 32], Kind>>);

#[derive(Debug)]
struct Kind {
    /// As the next write says it; `count` is how many were not written.
    record: Record,
    /// Whether one was written already.
    known: bool,
}

impl Tally {
    /// Counts one. Says whether it is the first of its kind, which is to be written at once.
    pub(crate) fn count(&self, key: [u8; 32], record: Record) -> bool {
        let mut kinds = self.lock();
        if kinds.len() >= MOST_KINDS && !kinds.contains_key(&key) {
            forget_what_is_over(&mut kinds, record.at);
        }
        if kinds.len() >= MOST_KINDS && !kinds.contains_key(&key) {
            let unlisted = record.unlisted();
            let key = unlisted.coalesce.unwrap_or_default();
            return add(&mut kinds, key, unlisted);
        }
        add(&mut kinds, key, record)
    }

    /// Up to `most` records that wait to be written.
    pub(crate) fn waiting(&self, most: usize) -> Vec<Record> {
        let kinds = self.lock();
        let waiting = kinds.values().filter(|kind| kind.record.count > 0).take(most);
        let mut records: Vec<Record> = waiting.map(|kind| kind.record.clone()).collect();
        drop(kinds);
        // In the order of their keys: two programs that write the same ones don't wait for each other in a circle.
        records.sort_unstable_by_key(|record| record.coalesce);
        records
    }

    /// Whether records of this kind wait to be written.
    pub(crate) fn waits(&self, key: [u8; 32]) -> bool {
        self.lock().get(&key).is_some_and(|kind| kind.record.count > 0)
    }

    /// What was written waits no longer; what was counted since still does.
    pub(crate) fn written(&self, records: &[Record], now: Timestamp) {
        let mut kinds = self.lock();
        for record in records {
            if let Some(kind) = record.coalesce.and_then(|key| kinds.get_mut(&key)) {
                kind.record.count = kind.record.count.saturating_sub(record.count);
                kind.known = true;
            }
        }
        forget_what_is_over(&mut kinds, now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Kind>> {
        // Nothing panics while it is held; counts that a panic left behind are good all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(kinds: &mut HashMap<[u8; 32], Kind>, key: [u8; 32], record: Record) -> bool {
    match kinds.get_mut(&key) {
        Some(kind) => {
            let last_at = kind.record.last_at.max(record.last_at);
            if kind.record.count == 0 {
                // Written up to here: the next write tells of what came after.
                kind.record.at = record.at;
            }
            kind.record.last_at = last_at;
            kind.record.count = kind.record.count.saturating_add(record.count);
            !kind.known
        }
        None => {
            kinds.insert(key, Kind { record, known: false });
            true
        }
    }
}

/// The time before which a counted event began if its window is over, also for processes whose clock is a little behind.
pub(crate) fn begun_before(now: Timestamp) -> Timestamp {
    now.minus(TOLERATED_LEAD).window(COALESCING_WINDOW)
}

/// A kind belongs to a window of time; once that is over it does not come again.
fn forget_what_is_over(kinds: &mut HashMap<[u8; 32], Kind>, now: Timestamp) {
    // Twice as long, for those who asked the clock a moment ago.
    let over: Duration = COALESCING_WINDOW * 2;
    kinds.retain(|_, kind| kind.record.count > 0 || now < kind.record.last_at.plus(over));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Outcome;

    fn record(at: i64) -> Record {
        let mut record = Record::at(Timestamp::from_micros(at), "authz_fail", Outcome::Denied);
        record.coalesce = Some([1; 32]);
        record
    }

    #[test]
    fn repeats_are_counted_and_written_once() {
        let tally = Tally::default();
        assert!(tally.count([1; 32], record(5)));
        assert!(tally.count([1; 32], record(9)), "until one was written, each is the first");
        let waiting = tally.waiting(10);
        assert_eq!((waiting[0].count, waiting[0].at.as_micros(), waiting[0].last_at.as_micros()), (2, 5, 9));
        // One more comes while the two are being written.
        tally.count([1; 32], record(11));
        tally.written(&waiting, Timestamp::from_micros(12));
        assert!(tally.waits([1; 32]));
        assert!(!tally.count([1; 32], record(13)), "known by now");
        let waiting = tally.waiting(10);
        assert_eq!((waiting[0].count, waiting[0].last_at.as_micros()), (2, 13));
        tally.written(&waiting, Timestamp::from_micros(14));
        assert!(!tally.waits([1; 32]) && tally.waiting(10).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let tally = Tally::default();
        let most = u32::try_from(MOST_KINDS).unwrap();
        for n in 0..most + 500 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            let mut record = record(1);
            record.coalesce = Some(key);
            tally.count(key, record);
        }
        let waiting = tally.waiting(usize::MAX);
        assert!(waiting.len() <= MOST_KINDS + 1);
        assert_eq!(waiting.iter().map(|record| record.count).sum::<u32>(), most + 500);
        let unlisted = waiting.iter().find(|record| record.reason.as_deref() == Some("unlisted")).unwrap();
        assert_eq!((unlisted.count, unlisted.client.address), (500, None));
        // Once written and over, nothing of it is kept.
        let later = Timestamp::from_micros(1).plus(COALESCING_WINDOW * 2);
        tally.written(&waiting, later);
        assert!(tally.lock().is_empty());
    }
}
