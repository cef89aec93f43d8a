//! The database's clock, and what is done when the clock was put back.

use iam_core::ports::{
    DeviceId, LimitKey, MessageId, NewMessage, NewTrustedDevice, Reservation, Ticket, TicketId, TicketPurpose,
};
use iam_core::{Channel, Clock, EndReason, SystemClock, Throttle, Window};

use super::*;

/// How far the clock was put back.
const BACK: Duration = Duration::from_hours(1);

/// The time after that.
const THEN: Timestamp = Timestamp::from_micros(NOW.as_micros() - 3_600_000_000);

async fn note(store: &dyn Store, now: Timestamp) -> Timestamp {
    retried(|| async {
        let mut unit = store.begin().await?;
        let seen = unit.seen_time().note(now).await?;
        unit.commit().await?;
        Ok(seen)
    })
    .await
}

async fn put_back(store: &dyn Store, now: Timestamp) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.seen_time().put_back(now).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn bring_back(store: &dyn Store, most: u32) -> u64 {
    let mut unit = store.begin().await.unwrap();
    let rows = unit.seen_time().bring_back(THEN, NOW, most).await.unwrap();
    unit.commit().await.unwrap();
    rows
}

pub async fn the_database_has_a_clock_in_utc(store: &dyn Store) {
    let before = SystemClock.now();
    let found = store.database_time().await.unwrap();
    let found_later = store.database_time().await.unwrap();
    // A server may be another machine; another zone than UTC is off by a quarter of an hour or more.
    let tolerance = Duration::from_mins(5);
    assert!(found > before.minus(tolerance) && found < SystemClock.now().plus(tolerance), "{found}");
    assert!(found_later >= found, "it is not remembered, and goes on: {found} {found_later}");
    let waits_for_the_next = async {
        while store.database_time().await.unwrap() == found {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits_for_the_next).await.unwrap();
}

pub async fn the_latest_time_stays(store: &dyn Store) {
    assert_eq!(note(store, NOW).await, NOW);
    assert_eq!(note(store, NOW.minus(BACK)).await, NOW);
    assert_eq!(note(store, NOW.plus(MICROSECOND)).await, NOW.plus(MICROSECOND));
}

pub async fn only_a_time_of_the_future_is_taken_back(store: &dyn Store) {
    assert!(!put_back(store, NOW).await, "nothing was noted");
    note(store, NOW).await;
    assert!(!put_back(store, NOW.minus(TOLERATED_LEAD)).await, "the clocks of two processes differ");
    assert_eq!(note(store, THEN).await, NOW);
    assert!(put_back(store, THEN).await);
    assert_eq!(note(store, THEN).await, THEN);
    assert!(!put_back(store, THEN).await);
}

pub async fn all_sessions_end_whatever_their_accounts(store: &dyn Store) {
    for n in 1..=3 {
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
        assert_eq!(insert_session(store, &session(n, n)).await, Changed::Done);
    }
    let end = async |most| {
        let mut unit = store.begin().await.unwrap();
        let ended = unit.seen_time().end_sessions(EndReason::ClockPutBack, THEN, most).await.unwrap();
        unit.commit().await.unwrap();
        ended
    };
    assert_eq!([end(2).await, end(2).await, end(2).await], [2, 1, 0]);
    for n in 1..=3 {
        assert_eq!(find(store, n).await.unwrap().ended, Some((THEN, EndReason::ClockPutBack)), "{n}");
    }
}

pub async fn links_of_the_future_and_those_that_had_expired_are_void(store: &dyn Store) {
    let day = Duration::from_hours(24);
    // Made in the future; expired meanwhile; made before and good for longer.
    let links = [(1, NOW, NOW.plus(day)), (2, THEN.minus(day), NOW), (3, THEN, NOW.plus(MICROSECOND))];
    for (n, issued_at, expires_at) in links {
        let new = Ticket {
            id: TicketId::from_bytes([n; 16]),
            purpose: TicketPurpose::Setup,
            account: Some(account_id(n)),
            parent: None,
            payload: None,
            created_at: issued_at,
            expires_at,
        };
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
        let mut unit = store.begin().await.unwrap();
        unit.tickets().issue(&token(n), &new).await.unwrap();
        unit.commit().await.unwrap();
    }
    assert_eq!(
        [bring_back(store, 1).await, bring_back(store, 9).await, bring_back(store, 9).await],
        [1, 1, 0]
    );
    // Also when the clock has caught up.
    for (n, now, is_good) in [(1, NOW, false), (2, THEN, false), (3, THEN, true)] {
        let mut unit = store.begin().await.unwrap();
        let found = unit.tickets().peek(&token(n), TicketPurpose::Setup, now).await.unwrap();
        assert_eq!(found.is_some(), is_good, "{n}");
    }
}

pub async fn browsers_of_the_future_and_those_whose_time_was_over_are_forgotten(store: &dyn Store) {
    add_account(store).await;
    let day = Duration::from_hours(24);
    let browsers = [(1, NOW, NOW.plus(day)), (2, THEN.minus(day), NOW), (3, THEN, NOW.plus(MICROSECOND))];
    for (n, created_at, expires_at) in browsers {
        let new = NewTrustedDevice {
            id: DeviceId::from_bytes([n; 16]),
            account: account_id(1),
            auth_version: AuthVersion::FIRST,
            token: token(n),
            created_at,
            expires_at,
            client: Client::default(),
        };
        let mut unit = store.begin().await.unwrap();
        unit.trusted_devices().trust(&new, 9).await.unwrap();
        unit.commit().await.unwrap();
    }
    assert_eq!(bring_back(store, 9).await, 2);
    for (n, now, is_trusted) in [(1, NOW, false), (2, THEN, false), (3, THEN, true)] {
        let found = store
            .reader()
            .await
            .unwrap()
            .trusted_devices()
            .is_trusted(&token(n), account_id(1), AuthVersion::FIRST, now)
            .await
            .unwrap();
        assert_eq!(found, is_trusted, "{n}");
    }
}

pub async fn what_is_left_of_a_limit_begins_now(store: &dyn Store) {
    let rule = Throttle {
        free: 1,
        first_delay: Duration::from_secs(10),
        max_delay: Duration::from_secs(10),
        forget_after: Duration::from_secs(100),
    };
    let window = Window { limit: 1, length: Duration::from_mins(10) };
    let key = |n| LimitKey::from_bytes([n; 32]);
    let throttled = async |n, now| {
        let mut unit = store.begin().await.unwrap();
        let done = unit.limits().reserve(&key(n), &rule, now).await.unwrap();
        unit.commit().await.unwrap();
        done
    };
    let in_window = async |now| {
        let mut unit = store.begin().await.unwrap();
        let done = unit.limits().reserve_in_window(&key(2), &window, now).await.unwrap();
        unit.commit().await.unwrap();
        done
    };
    assert!(matches!(throttled(1, NOW).await, Reservation::Granted(_)));
    assert!(matches!(in_window(NOW).await, Reservation::Granted(_)));
    assert!(matches!(throttled(3, THEN).await, Reservation::Granted(_)));
    let before = throttled(3, THEN).await;
    assert_eq!(bring_back(store, 9).await, 2);
    assert_eq!(throttled(1, THEN).await, Reservation::Refused(THEN.plus(rule.first_delay)));
    assert_eq!(in_window(THEN).await, Reservation::Refused(THEN.plus(window.length)));
    assert_eq!(throttled(3, THEN).await, before, "one of the present stays");
    let Reservation::Granted(slot) = throttled(1, THEN.plus(rule.first_delay)).await else {
        panic!("the block is over");
    };
    assert_eq!((slot.count, slot.number), (2, 2), "nothing was forgotten");
    assert!(matches!(in_window(THEN.plus(window.length)).await, Reservation::Granted(_)));
}

pub async fn messages_of_the_future_are_due(store: &dyn Store) {
    add_account(store).await;
    let message = |n, created_at: Timestamp| NewMessage {
        id: MessageId::from_bytes([n; 16]),
        account: account_id(1),
        challenge: None,
        channel: Channel::Email,
        sealed: vec![n; 9],
        created_at,
        expires_at: created_at.plus(BACK),
    };
    let claim = async |now: Timestamp, stale_before| {
        let mut unit = store.begin().await.unwrap();
        let claimed = unit.outbox().claim(now, stale_before, 9).await.unwrap();
        unit.commit().await.unwrap();
        claimed.len()
    };
    let put = async |new: NewMessage| {
        let mut unit = store.begin().await.unwrap();
        unit.outbox().put(&new).await.unwrap();
        unit.commit().await.unwrap();
    };
    put(message(1, NOW)).await;
    assert_eq!(claim(NOW, THEN).await, 1, "taken by a worker that died");
    put(message(2, NOW)).await;
    assert_eq!(claim(THEN, THEN).await, 0);
    assert_eq!(bring_back(store, 9).await, 2);
    assert_eq!(claim(THEN, THEN).await, 1);
    let later = THEN.plus(Duration::from_mins(2));
    assert_eq!(
        claim(later, THEN.plus(Duration::from_mins(1))).await,
        2,
        "both were taken then, and are lost"
    );
}

pub async fn of_times_noted_at_once_the_latest_stays(stores: &Handles) {
    race(stores, |store, n| async move { note(store.as_ref(), after(n.into())).await }).await;
    assert_eq!(note(stores[0].as_ref(), NOW).await, after(u64::from(TASKS) - 1));
}

pub async fn of_those_who_take_a_time_back_at_once_one_is_told_so(stores: &Handles) {
    note(stores[0].as_ref(), NOW).await;
    let told = race(stores, |store, _| async move { put_back(store.as_ref(), THEN).await }).await;
    assert_eq!(told.into_iter().filter(|told| *told).count(), 1);
}
