//! Links that work once.

use iam_core::ports::{NewOneTimeToken, TicketPurpose};

use super::*;

fn new(n: u8, account: Option<u8>) -> NewOneTimeToken {
    NewOneTimeToken {
        hash: token(n),
        purpose: TicketPurpose::Setup,
        account: account.map(account_id),
        expires_at: after(60),
    }
}

async fn issue(store: &dyn Store, new: &NewOneTimeToken) {
    let mut unit = store.begin().await.unwrap();
    unit.one_time_tokens().issue(new, NOW).await.unwrap();
    unit.commit().await.unwrap();
}

async fn consume(store: &dyn Store, n: u8, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.one_time_tokens().consume(&token(n), TicketPurpose::Setup, now).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn is_good(store: &dyn Store, n: u8, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    unit.one_time_tokens().is_good(&token(n), TicketPurpose::Setup, now).await.unwrap()
}

pub async fn a_token_is_consumed_once_and_in_time(store: &dyn Store) {
    issue(store, &new(1, None)).await;
    assert!(!consume(store, 2, NOW).await, "another one");
    assert!(!is_good(store, 2, NOW).await);
    assert!(!consume(store, 1, after(60)).await, "too late");
    assert!(!is_good(store, 1, after(60)).await);
    for _ in 0..2 {
        assert!(is_good(store, 1, after(59)).await, "looking does not use it");
    }
    assert!(consume(store, 1, after(59)).await);
    assert!(!is_good(store, 1, after(59)).await);
    assert!(!consume(store, 1, after(59)).await, "twice");
}

pub async fn a_token_of_the_future_is_no_good(store: &dyn Store) {
    issue(store, &new(1, None)).await;
    let (tolerated, put_back) = (NOW.minus(TOLERATED_LEAD), NOW.minus(TOLERATED_LEAD + MICROSECOND));
    assert!(!is_good(store, 1, put_back).await && !consume(store, 1, put_back).await);
    assert!(is_good(store, 1, tolerated).await, "the clocks of two processes differ");
    assert!(consume(store, 1, tolerated).await);
}

pub async fn a_new_token_voids_those_before_it(store: &dyn Store) {
    add_account(store).await;
    for (n, account) in [(1, None), (2, Some(1)), (3, None)] {
        issue(store, &new(n, account)).await;
    }
    let mut good = Vec::new();
    for n in 1..=3 {
        good.push(is_good(store, n, NOW).await);
    }
    assert_eq!(good, [false, true, true], "each account's own, and nobody's");
    assert!(!consume(store, 1, NOW).await);
}

pub async fn void_ends_those_of_the_account(store: &dyn Store) {
    for n in 1..=2 {
        assert_eq!(insert_account(store, &account(n)).await, Insert::Inserted);
        issue(store, &new(n, Some(n))).await;
    }
    let mut unit = store.begin().await.unwrap();
    unit.one_time_tokens().void(TicketPurpose::Invitation, account_id(1), NOW).await.unwrap();
    unit.commit().await.unwrap();
    assert!(is_good(store, 1, NOW).await, "of another purpose");
    let mut unit = store.begin().await.unwrap();
    unit.one_time_tokens().void(TicketPurpose::Setup, account_id(1), NOW).await.unwrap();
    unit.commit().await.unwrap();
    assert!(!is_good(store, 1, NOW).await && !consume(store, 1, NOW).await);
    assert!(is_good(store, 2, NOW).await, "somebody else's");
}

pub async fn a_token_that_is_not_kept_is_not_there(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.one_time_tokens().issue(&new(1, None), NOW).await.unwrap();
    drop(unit);
    assert!(!is_good(store, 1, NOW).await);
    issue(store, &new(1, None)).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.one_time_tokens().consume(&token(1), TicketPurpose::Setup, NOW).await.unwrap());
    drop(unit);
    assert!(is_good(store, 1, NOW).await, "a unit that is undone has used nothing");
}

pub async fn purge_removes_expired_tokens(store: &dyn Store) {
    for n in 1..=3 {
        let expires_at = after(u64::from(n));
        issue(store, &NewOneTimeToken { expires_at, ..new(n, None) }).await;
    }
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (3, 1), (3, 9), (9, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.one_time_tokens().purge(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 1, 1, 1]);
}

pub async fn at_most_one_caller_consumes_a_token(stores: &Handles) {
    issue(stores[0].as_ref(), &new(1, None)).await;
    let done = race(stores, |store, _| async move { consume(store.as_ref(), 1, NOW).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}
