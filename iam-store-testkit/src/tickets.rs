//! Tickets: links that work once.

use iam_core::ports::{Ticket, TicketId, TicketPurpose};

use super::*;

fn new(n: u8, account: Option<u8>) -> Ticket {
    Ticket {
        id: TicketId::from_bytes([n; 16]),
        purpose: TicketPurpose::Setup,
        account: account.map(account_id),
        parent: None,
        payload: None,
        created_at: NOW,
        expires_at: after(60),
    }
}

async fn issue(store: &dyn Store, n: u8, account: Option<u8>) {
    let mut unit = store.begin().await.unwrap();
    unit.tickets().issue(&token(n), &new(n, account)).await.unwrap();
    unit.commit().await.unwrap();
}

async fn consume(store: &dyn Store, n: u8, now: Timestamp) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.tickets().consume(&token(n), TicketPurpose::Setup, now).await.unwrap();
    unit.commit().await.unwrap();
    done.is_some()
}

async fn is_good(store: &dyn Store, n: u8, now: Timestamp) -> bool {
    let mut reader = store.reader().await.unwrap();
    reader.tickets().peek(&token(n), TicketPurpose::Setup, now).await.unwrap().is_some()
}

pub async fn a_ticket_comes_back_with_what_it_carries(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    add_account(store).await;
    let full = Ticket { parent: Some(parent(1).id), payload: Some(vec![0, 1, 255]), ..new(1, Some(1)) };
    for (n, ticket) in [(1, full), (2, new(2, None))] {
        let mut unit = store.begin().await.unwrap();
        unit.tickets().issue(&token(n), &ticket).await.unwrap();
        unit.commit().await.unwrap();
        let mut unit = store.begin().await.unwrap();
        let peeked = unit.tickets().peek(&token(n), TicketPurpose::Setup, after(1)).await.unwrap();
        let consumed = unit.tickets().consume(&token(n), TicketPurpose::Setup, after(1)).await.unwrap();
        assert_eq!([peeked, consumed], [Some(ticket.clone()), Some(ticket)]);
    }
}

pub async fn a_ticket_is_for_its_purpose_alone(store: &dyn Store) {
    issue(store, 1, None).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.tickets().peek(&token(1), TicketPurpose::Invitation, NOW).await.unwrap(), None);
    assert_eq!(unit.tickets().consume(&token(1), TicketPurpose::Invitation, NOW).await.unwrap(), None);
    unit.commit().await.unwrap();
    assert!(consume(store, 1, NOW).await, "it was not used by that");
}

pub async fn a_ticket_is_consumed_once_and_in_time(store: &dyn Store) {
    issue(store, 1, None).await;
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

pub async fn a_ticket_of_the_future_is_no_good(store: &dyn Store) {
    issue(store, 1, None).await;
    let (tolerated, put_back) = (NOW.minus(TOLERATED_LEAD), NOW.minus(TOLERATED_LEAD + MICROSECOND));
    assert!(!is_good(store, 1, put_back).await && !consume(store, 1, put_back).await);
    assert!(is_good(store, 1, tolerated).await, "the clocks of two processes differ");
    assert!(consume(store, 1, tolerated).await);
}

pub async fn a_new_ticket_voids_those_before_it(store: &dyn Store) {
    add_account(store).await;
    for (n, account) in [(1, None), (2, Some(1)), (3, None)] {
        issue(store, n, account).await;
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
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
        issue(store, n, Some(n)).await;
    }
    let mut unit = store.begin().await.unwrap();
    unit.tickets().void(TicketPurpose::Invitation, account_id(1), NOW).await.unwrap();
    unit.commit().await.unwrap();
    assert!(is_good(store, 1, NOW).await, "of another purpose");
    let mut unit = store.begin().await.unwrap();
    unit.tickets().void(TicketPurpose::Setup, account_id(1), NOW).await.unwrap();
    unit.commit().await.unwrap();
    assert!(!is_good(store, 1, NOW).await && !consume(store, 1, NOW).await);
    assert!(is_good(store, 2, NOW).await, "somebody else's");
}

pub async fn a_ticket_that_is_not_kept_is_not_there(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.tickets().issue(&token(1), &new(1, None)).await.unwrap();
    drop(unit);
    assert!(!is_good(store, 1, NOW).await);
    issue(store, 1, None).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.tickets().consume(&token(1), TicketPurpose::Setup, NOW).await.unwrap().is_some());
    drop(unit);
    assert!(is_good(store, 1, NOW).await, "a unit that is undone has used nothing");
}

pub async fn purge_removes_expired_tickets(store: &dyn Store) {
    for n in 1..=3 {
        let ticket = Ticket { expires_at: after(u64::from(n)), ..new(n, None) };
        let mut unit = store.begin().await.unwrap();
        unit.tickets().issue(&token(n), &ticket).await.unwrap();
        unit.commit().await.unwrap();
    }
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (3, 1), (3, 9), (9, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.tickets().purge(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 1, 1, 1]);
}

pub async fn at_most_one_caller_consumes_a_ticket(stores: &Handles) {
    issue(stores[0].as_ref(), 1, None).await;
    let done = race(stores, |store, _| async move { consume(store.as_ref(), 1, NOW).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}
