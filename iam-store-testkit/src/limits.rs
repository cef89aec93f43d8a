//! Limits.

use iam_core::ports::{LimitKey, Reservation, Slot};
use iam_core::{Throttle, Window};

use super::*;

const RULE: Throttle = Throttle {
    free: 3,
    first_delay: Duration::from_secs(10),
    max_delay: Duration::from_mins(1),
    forget_after: Duration::from_secs(100),
};

const WINDOW: Window = Window { limit: 3, length: Duration::from_mins(1) };

fn key(n: u8) -> LimitKey {
    LimitKey::from_bytes([n; 32])
}

async fn reserve_by(store: &dyn Store, rule: &Throttle, now: Timestamp) -> Reservation {
    let mut unit = store.begin().await.unwrap();
    let done = unit.limits().reserve(&key(1), rule, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn reserve(store: &dyn Store, now: Timestamp) -> Reservation {
    reserve_by(store, &RULE, now).await
}

async fn granted(store: &dyn Store, now: Timestamp) -> Slot {
    slot(reserve(store, now).await)
}

async fn give_back(store: &dyn Store, slot: &Slot) {
    let mut unit = store.begin().await.unwrap();
    unit.limits().give_back(&key(1), slot, &RULE).await.unwrap();
    unit.commit().await.unwrap();
}

async fn reserve_in_window(store: &dyn Store, now: Timestamp) -> Reservation {
    let mut unit = store.begin().await.unwrap();
    let done = unit.limits().reserve_in_window(&key(1), &WINDOW, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn give_back_in_window(store: &dyn Store, slot: &Slot) {
    let mut unit = store.begin().await.unwrap();
    unit.limits().give_back_in_window(&key(1), slot).await.unwrap();
    unit.commit().await.unwrap();
}

async fn count_in_window(store: &dyn Store, now: Timestamp) {
    let mut unit = store.begin().await.unwrap();
    unit.limits().count_in_window(&key(1), &WINDOW, now).await.unwrap();
    unit.commit().await.unwrap();
}

async fn full_until(store: &dyn Store, limit: u32, now: Timestamp) -> Option<Timestamp> {
    let mut unit = store.begin().await.unwrap();
    unit.limits().full_until(&key(1), &Window { limit, ..WINDOW }, now).await.unwrap()
}

fn slot(reservation: Reservation) -> Slot {
    match reservation {
        Reservation::Granted(slot) => slot,
        Reservation::Refused(until) => panic!("refused until {until}"),
    }
}

fn is_granted(reservation: Reservation) -> bool {
    matches!(reservation, Reservation::Granted(_))
}

pub async fn the_free_tries_are_granted_at_one_instant_and_no_more(store: &dyn Store) {
    for count in 1..=3 {
        assert_eq!(granted(store, NOW).await, Slot { count, since: NOW, number: count });
    }
    assert_eq!(reserve(store, NOW).await, Reservation::Refused(after(10)));
}

pub async fn a_refusal_changes_nothing(store: &dyn Store) {
    for _ in 0..3 {
        granted(store, NOW).await;
    }
    for secs in 0..10 {
        assert_eq!(reserve(store, after(secs)).await, Reservation::Refused(after(10)));
    }
    assert_eq!(granted(store, after(10)).await, Slot { count: 4, since: NOW, number: 4 });
    assert_eq!(reserve(store, after(10)).await, Reservation::Refused(after(30)));
}

pub async fn the_delays_are_those_of_the_throttle(store: &dyn Store) {
    let (hours, days) = (Duration::from_hours(3), Duration::from_hours(24));
    let forget_after = Duration::from_hours(1_000_000);
    let rules = [
        (3, Duration::from_secs(10), Duration::from_mins(1)),
        (5, Duration::from_secs(1), Duration::from_mins(15)),
        (0, Duration::from_secs(1), Duration::from_mins(15)),
        (7, Duration::from_micros(1), Duration::MAX),
        (1, Duration::from_micros(3), Duration::from_millis(1)),
        // Doubled thirty times these pass what 64 bits hold.
        (1, hours, days),
        (2, days, days),
        (2, days, hours),
        (2, Duration::from_hours(24 * 365), Duration::from_hours(24 * 365 * 9)),
        (39, Duration::from_secs(1), Duration::from_mins(1)),
        (4, Duration::ZERO, days),
        (4, days, Duration::ZERO),
        (u32::MAX, Duration::from_secs(1), days),
    ];
    for (n, (free, first_delay, max_delay)) in (1..).zip(rules) {
        let rule = Throttle { free, first_delay, max_delay, forget_after };
        delays_are_exact(store, &key(n), &rule).await;
    }
}

async fn delays_are_exact(store: &dyn Store, key: &LimitKey, rule: &Throttle) {
    let mut now = NOW;
    let mut unit = store.begin().await.unwrap();
    for count in 1..=40 {
        let done = unit.limits().reserve(key, rule, now).await.unwrap();
        assert_eq!(slot(done), Slot { count, since: NOW, number: count }, "{rule:?}");
        let until = now.plus(rule.delay_after(count));
        if until > now {
            let done = unit.limits().reserve(key, rule, now).await.unwrap();
            assert_eq!(done, Reservation::Refused(until), "{rule:?} after {count}");
        }
        now = until;
    }
}

pub async fn the_longest_durations_are_no_error(store: &dyn Store) {
    let longest = Duration::MAX;
    let rule = Throttle { free: 1, first_delay: longest, max_delay: longest, forget_after: longest };
    let first = slot(reserve_by(store, &rule, NOW).await);
    assert!(!is_granted(reserve_by(store, &rule, after(1_000_000_000)).await));
    let mut unit = store.begin().await.unwrap();
    unit.limits().give_back(&key(1), &first, &rule).await.unwrap();
    let window = Window { limit: 1, length: longest };
    assert!(is_granted(unit.limits().reserve_in_window(&key(2), &window, NOW).await.unwrap()));
    assert!(!is_granted(
        unit.limits().reserve_in_window(&key(2), &window, after(1_000_000_000)).await.unwrap()
    ));
}

pub async fn quiet_after_the_last_block_forgets_all(store: &dyn Store) {
    for _ in 0..3 {
        granted(store, NOW).await;
    }
    // The block ends at 10: at 109 all counts still, at 110 nothing does.
    assert_eq!(granted(store, after(109)).await.count, 4);
    // Blocked for 20 from 109: forgotten at 229.
    let anew = granted(store, after(229)).await;
    assert_eq!(anew, Slot { count: 1, since: after(229), number: 1 });
}

pub async fn quiet_after_the_last_try_forgets_all(store: &dyn Store) {
    granted(store, NOW).await;
    assert_eq!(granted(store, after(99)).await, Slot { count: 2, since: NOW, number: 2 });
    assert_eq!(granted(store, after(199)).await, Slot { count: 1, since: after(199), number: 1 });
}

pub async fn a_counting_that_begins_anew_has_another_since(store: &dyn Store) {
    // Nothing is remembered, so each try begins anew, though the clock stands still.
    let forgetful = Throttle { forget_after: Duration::ZERO, ..RULE };
    let first = slot(reserve_by(store, &forgetful, NOW).await);
    let second = slot(reserve_by(store, &forgetful, NOW).await);
    assert_eq!((first.count, second.count), (1, 1));
    assert_ne!(first.since, second.since);
}

pub async fn a_clock_that_is_set_back_repeats_no_since(store: &dyn Store) {
    let before = granted(store, after(200)).await;
    assert_eq!(granted(store, NOW).await, Slot { count: 2, number: 2, ..before });
    let anew = granted(store, after(200)).await;
    assert_eq!(anew.count, 1);
    assert_ne!(anew.since, before.since);
}

/// Of a throttle, after its free tries at another time; and whether the next one, now, has to wait, and until when.
async fn after_free_tries_at(store: &dyn Store, at: Timestamp) -> Reservation {
    for _ in 0..RULE.free {
        granted(store, at).await;
    }
    reserve(store, NOW).await
}

pub async fn no_block_of_the_future_is_longer_than_its_rule(store: &dyn Store) {
    let future = NOW.plus(Duration::from_hours(24));
    // Nothing is forgotten: the next delay is that of the fourth try.
    assert_eq!(slot(after_free_tries_at(store, future).await).count, 4);
    assert_eq!(reserve(store, NOW).await, Reservation::Refused(after(20)));
    assert_eq!(slot(reserve(store, after(20)).await).count, 5);
}

pub async fn a_block_of_a_clock_that_is_ahead_counts(store: &dyn Store) {
    let ahead = NOW.plus(TOLERATED_LEAD);
    assert_eq!(after_free_tries_at(store, ahead).await, Reservation::Refused(ahead.plus(RULE.first_delay)));
}

pub async fn no_window_of_the_future_is_longer_than_its_rule(store: &dyn Store) {
    let future = NOW.plus(Duration::from_hours(24));
    for _ in 0..WINDOW.limit {
        assert!(is_granted(reserve_in_window(store, future).await));
    }
    assert_eq!(full_until(store, WINDOW.limit, NOW).await, None);
    assert_eq!(slot(reserve_in_window(store, NOW).await).count, 4, "nothing is forgotten");
    assert_eq!(reserve_in_window(store, NOW).await, Reservation::Refused(after(60)));
    assert_eq!(full_until(store, WINDOW.limit, NOW).await, Some(after(60)));
    assert_eq!(slot(reserve_in_window(store, after(60)).await).count, 1);
    count_in_window(store, future).await;
    count_in_window(store, future).await;
    count_in_window(store, after(61)).await;
    assert_eq!(full_until(store, 1, after(61)).await, Some(after(121)));
}

pub async fn a_window_of_a_clock_that_is_ahead_counts(store: &dyn Store) {
    let ahead = NOW.plus(TOLERATED_LEAD);
    for _ in 0..WINDOW.limit {
        assert!(is_granted(reserve_in_window(store, ahead).await));
    }
    assert_eq!(reserve_in_window(store, NOW).await, Reservation::Refused(ahead.plus(WINDOW.length)));
    assert_eq!(full_until(store, WINDOW.limit, NOW).await, Some(ahead.plus(WINDOW.length)));
}

pub async fn a_free_try_does_not_block_who_asked_the_clock_earlier(store: &dyn Store) {
    assert_eq!(granted(store, after(1)).await.count, 1);
    assert_eq!(granted(store, NOW).await.count, 2);
}

pub async fn give_back_lowers_the_count_by_one_and_never_below_zero(store: &dyn Store) {
    let first = granted(store, NOW).await;
    granted(store, NOW).await;
    for remaining in [1, 0, 0] {
        give_back(store, &first).await;
        let next = granted(store, NOW).await;
        assert_eq!(next.count, remaining + 1);
        give_back(store, &next).await;
    }
}

pub async fn give_back_ends_the_block_below_the_free_tries(store: &dyn Store) {
    let first = granted(store, NOW).await;
    granted(store, NOW).await;
    granted(store, NOW).await;
    assert!(!is_granted(reserve(store, NOW).await));
    // A later try was counted, but two are fewer than three.
    give_back(store, &first).await;
    assert_eq!(granted(store, NOW).await.count, 3);
}

pub async fn give_back_ends_the_block_of_the_last_try(store: &dyn Store) {
    for _ in 0..3 {
        granted(store, NOW).await;
    }
    granted(store, after(10)).await;
    let last = granted(store, after(30)).await;
    assert_eq!(reserve(store, after(30)).await, Reservation::Refused(after(70)));
    give_back(store, &last).await;
    assert_eq!(granted(store, after(31)).await.count, 5);
}

pub async fn give_back_leaves_the_block_of_a_later_try(store: &dyn Store) {
    for _ in 0..3 {
        granted(store, NOW).await;
    }
    let earlier = granted(store, after(10)).await;
    granted(store, after(30)).await;
    give_back(store, &earlier).await;
    assert_eq!(reserve(store, after(31)).await, Reservation::Refused(after(70)));
    assert_eq!(granted(store, after(70)).await.count, 5, "the count fell all the same");
}

pub async fn a_try_given_back_leaves_nothing_to_remember(store: &dyn Store) {
    let first = granted(store, NOW).await;
    give_back(store, &first).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.limits().purge(NOW, 10).await.unwrap(), 1);
}

pub async fn a_try_given_back_does_not_put_off_forgetting(store: &dyn Store) {
    granted(store, NOW).await;
    for secs in [50, 90, 99] {
        let good = granted(store, after(secs)).await;
        assert_eq!(good.count, 2, "at {secs}");
        give_back(store, &good).await;
    }
    assert_eq!(
        granted(store, after(100)).await.count,
        1,
        "a hundred seconds after the last one that was kept"
    );
}

pub async fn a_try_given_back_leaves_the_time_of_the_last_block(store: &dyn Store) {
    for _ in 0..3 {
        granted(store, NOW).await;
    }
    // Blocked until 10, so forgotten at 110.
    let good = granted(store, after(20)).await;
    give_back(store, &good).await;
    assert_eq!(granted(store, after(109)).await.count, 4);
}

pub async fn only_the_last_try_takes_its_time_back(store: &dyn Store) {
    let first = granted(store, NOW).await;
    granted(store, after(60)).await;
    give_back(store, &first).await;
    assert_eq!(
        granted(store, after(159)).await.count,
        2,
        "the later one is remembered for a hundred seconds"
    );
}

pub async fn give_back_of_an_old_counting_changes_nothing(store: &dyn Store) {
    let old = granted(store, NOW).await;
    granted(store, after(200)).await;
    granted(store, after(200)).await;
    give_back(store, &old).await;
    assert_eq!(granted(store, after(200)).await, Slot { count: 3, since: after(200), number: 3 });
}

pub async fn a_window_begins_with_its_first_and_is_over_after_its_length(store: &dyn Store) {
    for count in 1..=3 {
        let done = reserve_in_window(store, after(10)).await;
        assert_eq!(slot(done), Slot { count, since: after(10), number: count });
    }
    for secs in [10, 11, 69] {
        assert_eq!(reserve_in_window(store, after(secs)).await, Reservation::Refused(after(70)));
    }
    let done = reserve_in_window(store, after(70)).await;
    assert_eq!(slot(done), Slot { count: 1, since: after(70), number: 1 });
}

pub async fn a_window_gets_its_slots_back(store: &dyn Store) {
    let first = slot(reserve_in_window(store, NOW).await);
    for _ in 0..2 {
        assert!(is_granted(reserve_in_window(store, NOW).await));
    }
    give_back_in_window(store, &first).await;
    assert!(is_granted(reserve_in_window(store, NOW).await));
    assert!(!is_granted(reserve_in_window(store, NOW).await));
    for _ in 0..9 {
        give_back_in_window(store, &first).await;
    }
    for _ in 0..3 {
        assert!(is_granted(reserve_in_window(store, NOW).await));
    }
    assert!(!is_granted(reserve_in_window(store, NOW).await), "never below zero");
}

pub async fn a_slot_of_an_old_window_changes_nothing(store: &dyn Store) {
    let old = slot(reserve_in_window(store, NOW).await);
    for _ in 0..3 {
        assert!(is_granted(reserve_in_window(store, after(60)).await));
    }
    give_back_in_window(store, &old).await;
    assert!(!is_granted(reserve_in_window(store, after(60)).await));
}

pub async fn a_window_counts_whatever_its_limit(store: &dyn Store) {
    for _ in 0..10 {
        count_in_window(store, NOW).await;
    }
    assert_eq!(full_until(store, 10, after(59)).await, Some(after(60)));
    assert_eq!(full_until(store, 11, after(59)).await, None);
    assert_eq!(full_until(store, 10, after(60)).await, None, "over");
    count_in_window(store, after(60)).await;
    assert_eq!(full_until(store, 2, after(60)).await, None, "began anew");
    assert_eq!(full_until(store, 1, after(60)).await, Some(after(120)));
}

pub async fn a_window_without_slots_is_always_full(store: &dyn Store) {
    let none = Window { limit: 0, ..WINDOW };
    let mut unit = store.begin().await.unwrap();
    for _ in 0..2 {
        assert_eq!(unit.limits().full_until(&key(1), &none, NOW).await.unwrap(), Some(after(60)));
        let done = unit.limits().reserve_in_window(&key(1), &none, NOW).await.unwrap();
        assert_eq!(done, Reservation::Refused(after(60)));
        unit.limits().count_in_window(&key(1), &none, NOW).await.unwrap();
    }
}

async fn forget(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.limits().forget(&key(1)).await.unwrap();
    unit.commit().await.unwrap();
}

pub async fn forgetting_a_key_begins_anew_with_another_since(store: &dyn Store) {
    forget(store).await;
    let old = granted(store, NOW).await;
    for _ in 0..2 {
        granted(store, NOW).await;
    }
    assert_eq!(reserve(store, NOW).await, Reservation::Refused(after(10)));
    forget(store).await;
    for count in 1..=3 {
        let slot = granted(store, NOW).await;
        assert!(slot.since > old.since, "{slot:?}");
        assert_eq!((slot.count, slot.number), (count, count));
    }
    give_back(store, &old).await;
    assert!(!is_granted(reserve(store, NOW).await), "a slot of what was forgotten changes nothing");
    // Not even before anything is counted anew.
    let last = granted(store, after(10)).await;
    forget(store).await;
    give_back(store, &last).await;
    let anew = granted(store, after(10)).await;
    assert!(anew.count == 1 && anew.since > last.since, "{anew:?}");
}

pub async fn forgetting_a_window_begins_anew_with_another_since(store: &dyn Store) {
    let old = slot(reserve_in_window(store, NOW).await);
    for _ in 0..2 {
        assert!(is_granted(reserve_in_window(store, NOW).await));
    }
    assert_eq!(full_until(store, 3, NOW).await, Some(after(60)));
    forget(store).await;
    assert_eq!(full_until(store, 1, NOW).await, None);
    for count in 1..=3 {
        let slot = slot(reserve_in_window(store, NOW).await);
        assert!(slot.count == count && slot.since > old.since, "{slot:?}");
    }
    give_back_in_window(store, &old).await;
    assert_eq!(reserve_in_window(store, NOW).await, Reservation::Refused(after(60)));
}

pub async fn purge_removes_only_what_has_nothing_left_to_remember(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    for n in 1..=5 {
        assert!(is_granted(unit.limits().reserve(&key(n), &RULE, after(u64::from(n))).await.unwrap()));
    }
    for n in 6..=7 {
        assert!(is_granted(unit.limits().reserve_in_window(&key(n), &WINDOW, after(90)).await.unwrap()));
    }
    // Throttles are forgotten from 101 to 105, windows are over at 150.
    let mut removed = Vec::new();
    for (now, most) in [(100, 10), (103, 2), (103, 10), (149, 10), (150, 10), (150, 10)] {
        removed.push(unit.limits().purge(after(now), most).await.unwrap());
    }
    assert_eq!(removed, [0, 2, 1, 2, 2, 0]);
}

pub async fn of_any_number_at_once_a_throttle_grants_its_free_tries(stores: &Handles) {
    let done = race(stores, |store, _| async move { is_granted(reserve(store.as_ref(), NOW).await) }).await;
    assert_eq!(done.into_iter().filter(|granted| *granted).count(), 3);
    // One more at each end of a block, however many try.
    for now in [after(10), after(30), after(70)] {
        let done =
            race(stores, move |store, _| async move { is_granted(reserve(store.as_ref(), now).await) }).await;
        assert_eq!(done.into_iter().filter(|granted| *granted).count(), 1);
    }
}

pub async fn of_any_number_at_once_a_window_grants_its_limit(stores: &Handles) {
    for now in [NOW, after(60)] {
        let done =
            race(
                stores,
                move |store, _| async move { is_granted(reserve_in_window(store.as_ref(), now).await) },
            )
            .await;
        assert_eq!(done.into_iter().filter(|granted| *granted).count(), 3);
    }
}

pub async fn no_count_is_ever_lost(stores: &Handles) {
    race(stores, |store, _| async move { count_in_window(store.as_ref(), NOW).await }).await;
    let store = stores[1].as_ref();
    assert_eq!(full_until(store, u32::from(TASKS), NOW).await, Some(after(60)));
    assert_eq!(full_until(store, u32::from(TASKS) + 1, NOW).await, None);
}

pub async fn what_is_given_back_at_once_is_all_given_back(stores: &Handles) {
    let free = Throttle { free: u32::MAX, ..RULE };
    race(stores, move |store, _| async move {
        let slot = slot(reserve_by(store.as_ref(), &free, NOW).await);
        let mut unit = store.begin().await.unwrap();
        unit.limits().give_back(&key(1), &slot, &free).await.unwrap();
        unit.commit().await.unwrap();
    })
    .await;
    assert_eq!(slot(reserve_by(stores[0].as_ref(), &free, NOW).await).count, 1);
}
