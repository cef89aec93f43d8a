//! Messages to be sent.

use iam_core::ports::{
    AttemptOutcome, ChallengeId, Claimed, Delivery, DeliveryAttempt, MessageId, NewMessage, Settled,
};
use iam_core::{Channel, Receipt};

use iam_core::ports::SealedColumn;

use super::*;

/// Before this, nothing was ever taken.
const LONG_AGO: Timestamp = Timestamp::from_micros(0);

const ACCEPTED: Settled = Settled::Over(Delivery::Accepted);

fn message_id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

fn challenge_id(n: u8) -> ChallengeId {
    ChallengeId::from_bytes([n; 16])
}

/// Message `n` of account 1, made `n` seconds after the beginning and good until the thousandth.
fn message(n: u8) -> NewMessage {
    NewMessage {
        id: message_id(n),
        account: account_id(1),
        challenge: None,
        channel: Channel::Email,
        sealed: vec![n; 500],
        created_at: after(u64::from(n)),
        expires_at: after(1000),
    }
}

async fn put(store: &dyn Store, message: &NewMessage) {
    let mut unit = store.begin().await.unwrap();
    unit.outbox().put(message).await.unwrap();
    unit.commit().await.unwrap();
}

/// What provider `sms` did for message 1, under a reference.
fn attempt_at(attempt: u32, position: u32, outcome: AttemptOutcome) -> DeliveryAttempt {
    DeliveryAttempt {
        message: message_id(1),
        attempt,
        position,
        provider: "sms".to_owned(),
        reference: Some(format!("ref-{attempt}-{position}")),
        outcome,
        cost_micros: Some(75_000),
        at: after(u64::from(10 * attempt + position)),
    }
}

async fn record(store: &dyn Store, attempts: &[DeliveryAttempt]) {
    let mut unit = store.begin().await.unwrap();
    for attempt in attempts {
        unit.outbox().record_attempt(attempt).await.unwrap();
    }
    unit.commit().await.unwrap();
}

async fn attempts(store: &dyn Store) -> Vec<DeliveryAttempt> {
    store.reader().await.unwrap().outbox().attempts_of(message_id(1)).await.unwrap()
}

async fn receive(store: &dyn Store, attempt: &DeliveryAttempt, receipt: Receipt) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.outbox().receive(attempt, receipt).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn resettle(store: &dyn Store, attempt: u32, settled: Settled) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.outbox().resettle(message_id(1), attempt, settled, after(600)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

/// Whether message 1 still has its content.
async fn is_kept(store: &dyn Store) -> bool {
    let mut reader = store.reader().await.unwrap();
    let rows = reader.sealed_values().rows(SealedColumn::OutboxMessage, None, 9).await.unwrap();
    rows.iter().any(|row| row.row == [1; 16] && row.sealed.is_some())
}

pub async fn what_providers_did_comes_back_in_order_and_by_reference(store: &dyn Store) {
    add_messages(store, 1).await;
    let mut bare = attempt_at(1, 0, AttemptOutcome::NotNow);
    (bare.reference, bare.cost_micros) = (None, None);
    let all = [bare, attempt_at(1, 1, AttemptOutcome::Refused), attempt_at(2, 0, AttemptOutcome::Accepted)];
    record(store, &[all[2].clone(), all[0].clone(), all[1].clone()]).await;
    assert_eq!(attempts(store).await, all);
    let find = async |provider: &str, reference: &str| {
        let mut reader = store.reader().await.unwrap();
        reader.outbox().attempt_by_reference(provider, reference).await.unwrap()
    };
    assert_eq!(find("sms", "ref-2-0").await.as_ref(), Some(&all[2]));
    assert_eq!(find("sms", "REF-2-0").await, None, "bytes are compared");
    assert_eq!(find("other", "ref-2-0").await, None);
    assert_eq!(taken(store, 9, 0).await.len(), 1);
    assert!(settle(store, 1, 1, ACCEPTED).await);
    assert_eq!(purge(store, 900, 9).await, 1);
    assert_eq!(attempts(store).await, [], "they go with the message");
}

pub async fn what_awaits_a_receipt_is_kept_until_it_comes(store: &dyn Store) {
    add_messages(store, 1).await;
    taken(store, 9, 0).await;
    assert!(settle(store, 1, 1, Settled::AwaitsReceipt).await);
    assert!(is_kept(store).await);
    assert_eq!(taken(store, 900, 900).await, [], "its provider has it");
    assert!(!settle(store, 1, 1, ACCEPTED).await, "no attempt is under way");
    assert!(!resettle(store, 2, Settled::Again(after(20))).await, "another attempt");
    assert!(resettle(store, 1, Settled::Again(after(20))).await, "it did not arrive");
    assert_eq!(taken(store, 20, 0).await, [(message_id(1), 2, 0)]);
    assert!(!resettle(store, 2, ACCEPTED).await, "an attempt is under way");
    assert!(settle(store, 1, 2, Settled::AwaitsReceipt).await);
    assert!(resettle(store, 2, Settled::Over(Delivery::Delivered)).await);
    assert!(!is_kept(store).await);
    assert!(!resettle(store, 2, Settled::Again(after(20))).await, "over");
    assert_eq!(purge(store, 900, 9).await, 1);
}

pub async fn what_awaits_a_receipt_is_over_when_it_expires_and_when_it_is_replaced(store: &dyn Store) {
    add_account(store).await;
    put(store, &message(1)).await;
    put(store, &NewMessage { challenge: Some(challenge_id(7)), ..message(2) }).await;
    taken(store, 9, 0).await;
    for n in [1, 2] {
        assert!(settle(store, n, 1, Settled::AwaitsReceipt).await);
    }
    assert_eq!(replace(store, 7).await, 1);
    assert_eq!(expire(store, 1000, 9).await, [], "nothing failed");
    assert!(!is_kept(store).await);
    assert!(!resettle(store, 1, Settled::Again(after(20))).await);
    assert_eq!(purge(store, 900, 9).await, 2);
}

pub async fn a_receipt_counts_once(store: &dyn Store) {
    add_messages(store, 1).await;
    let [accepted, refused] =
        [attempt_at(1, 1, AttemptOutcome::Accepted), attempt_at(1, 0, AttemptOutcome::Refused)];
    record(store, &[refused.clone(), accepted.clone()]).await;
    assert!(!receive(store, &refused, Receipt::Delivered).await, "it was not accepted");
    assert!(receive(store, &accepted, Receipt::Undelivered).await);
    assert!(!receive(store, &accepted, Receipt::Undelivered).await, "twice");
    assert!(!receive(store, &accepted, Receipt::Delivered).await, "the first word counts");
    let told = DeliveryAttempt { outcome: AttemptOutcome::Undelivered, ..accepted };
    assert_eq!(attempts(store).await, [refused, told]);
}

pub async fn of_equal_receipts_at_once_one_counts(stores: &Handles) {
    add_messages(stores[0].as_ref(), 1).await;
    let accepted = attempt_at(1, 0, AttemptOutcome::Accepted);
    record(stores[0].as_ref(), std::slice::from_ref(&accepted)).await;
    let done = race(stores, move |store, _| {
        let accepted = accepted.clone();
        async move { receive(store.as_ref(), &accepted, Receipt::Delivered).await }
    });
    assert_eq!(done.await.into_iter().filter(|done| *done).count(), 1);
}

/// Account 1 with messages 1 to `n`.
async fn add_messages(store: &dyn Store, n: u8) {
    add_account(store).await;
    for n in 1..=n {
        put(store, &message(n)).await;
    }
}

async fn claim(store: &dyn Store, now: Timestamp, stale_before: Timestamp, most: u32) -> Vec<Claimed> {
    let mut reader = store.reader().await.unwrap();
    let expected = reader.outbox().has_claimable(now, stale_before).await.unwrap();
    drop(reader);
    let mut unit = store.begin().await.unwrap();
    let mut claimed = unit.outbox().claim(now, stale_before, most).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(
        expected && most > 0,
        !claimed.is_empty(),
        "whoever looks before knows whether there is anything"
    );
    claimed.sort_unstable_by_key(|claimed| claimed.message.id);
    claimed
}

/// Which messages are taken, on which attempt, and how many were lost before.
async fn taken(store: &dyn Store, now: u64, stale_before: u64) -> Vec<(MessageId, u32, u32)> {
    let claimed = claim(store, after(now), after(stale_before), 99).await;
    claimed.into_iter().map(|claimed| (claimed.message.id, claimed.attempt, claimed.lost)).collect()
}

async fn settle(store: &dyn Store, n: u8, attempt: u32, settled: Settled) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.outbox().settle(message_id(n), attempt, settled, after(500)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn replace(store: &dyn Store, challenge: u8) -> u64 {
    let mut unit = store.begin().await.unwrap();
    let done = unit.outbox().replace(challenge_id(challenge), after(500)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn expire(store: &dyn Store, now: u64, most: u32) -> Vec<MessageId> {
    let mut unit = store.begin().await.unwrap();
    let expired = unit.outbox().expire(after(now), most).await.unwrap();
    unit.commit().await.unwrap();
    let mut ids: Vec<_> = expired.into_iter().map(|message| message.id).collect();
    ids.sort_unstable();
    ids
}

async fn purge(store: &dyn Store, made_before: u64, most: u32) -> u64 {
    let mut unit = store.begin().await.unwrap();
    let done = unit.outbox().purge(after(made_before), most).await.unwrap();
    unit.commit().await.unwrap();
    done
}

pub async fn a_message_is_due_at_once_and_taken_as_it_was_put(store: &dyn Store) {
    add_account(store).await;
    let mut of_challenge = message(1);
    (of_challenge.challenge, of_challenge.channel) = (Some(challenge_id(7)), Channel::Sms);
    let mut large = message(2);
    (large.channel, large.sealed) = (Channel::Whatsapp, (0..=255).cycle().take(2000).collect());
    let messages = [of_challenge, large, message(3)];
    for message in &messages {
        put(store, message).await;
    }
    assert!(claim(store, NOW, LONG_AGO, 9).await.is_empty(), "not before they were made");
    let expected = messages.map(|message| Claimed { message, attempt: 1, lost: 0 });
    assert_eq!(claim(store, after(3), LONG_AGO, 9).await, expected);
}

pub async fn a_message_that_was_not_kept_is_not_sent(store: &dyn Store) {
    add_account(store).await;
    let mut unit = store.begin().await.unwrap();
    unit.outbox().put(&message(1)).await.unwrap();
    drop(unit);
    assert_eq!(taken(store, 9, 0).await, []);
}

pub async fn what_was_taken_is_not_taken_again(store: &dyn Store) {
    add_messages(store, 2).await;
    assert_eq!(taken(store, 9, 0).await.len(), 2);
    assert_eq!(taken(store, 9, 9).await, [], "nobody knows yet, but it was only now");
    assert!(settle(store, 1, 1, ACCEPTED).await);
    assert!(settle(store, 2, 1, Settled::Over(Delivery::Unknown)).await);
    assert_eq!(taken(store, 900, 900).await, [], "over");
}

pub async fn no_more_are_taken_than_asked_for_and_the_longest_due_first(store: &dyn Store) {
    add_messages(store, 5).await;
    assert!(claim(store, after(9), LONG_AGO, 0).await.is_empty());
    let ids = async |most| -> Vec<_> {
        claim(store, after(9), LONG_AGO, most).await.into_iter().map(|claimed| claimed.message.id).collect()
    };
    assert_eq!(ids(2).await, [1, 2].map(message_id));
    assert_eq!(ids(9).await, [3, 4, 5].map(message_id));
    assert_eq!(claim(store, after(99), after(90), 3).await.len(), 3, "stale ones likewise");
}

pub async fn what_failed_waits_for_its_time(store: &dyn Store) {
    add_messages(store, 1).await;
    assert_eq!(taken(store, 9, 0).await, [(message_id(1), 1, 0)]);
    assert!(settle(store, 1, 1, Settled::Again(after(60))).await);
    assert_eq!(taken(store, 59, 59).await, []);
    assert_eq!(taken(store, 60, 59).await, [(message_id(1), 2, 0)]);
    assert!(settle(store, 1, 2, Settled::Again(after(61))).await);
    let third = claim(store, after(61), LONG_AGO, 9).await;
    assert_eq!(third, [Claimed { message: message(1), attempt: 3, lost: 0 }], "it has kept what it says");
}

pub async fn what_nobody_wrote_down_is_taken_again_and_counted(store: &dyn Store) {
    add_messages(store, 1).await;
    assert_eq!(taken(store, 10, 0).await, [(message_id(1), 1, 0)]);
    assert_eq!(taken(store, 99, 10).await, [], "not taken before that");
    assert_eq!(taken(store, 99, 11).await, [(message_id(1), 2, 1)]);
    assert_eq!(taken(store, 120, 100).await, [(message_id(1), 3, 2)]);
    assert!(settle(store, 1, 3, Settled::Again(after(130))).await);
    assert_eq!(taken(store, 130, 100).await, [(message_id(1), 4, 2)], "this one was not lost");
}

pub async fn what_has_expired_is_not_taken(store: &dyn Store) {
    add_messages(store, 1).await;
    put(store, &NewMessage { expires_at: after(50), ..message(2) }).await;
    put(store, &NewMessage { expires_at: after(50), ..message(3) }).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.outbox().claim(after(2), LONG_AGO, 9).await.unwrap().len(), 2);
    unit.commit().await.unwrap();
    assert_eq!(taken(store, 50, 40).await, [(message_id(1), 2, 1)]);
}

pub async fn only_what_came_of_the_latest_attempt_is_written_down(store: &dyn Store) {
    add_messages(store, 2).await;
    assert!(!settle(store, 1, 0, ACCEPTED).await, "nobody has taken it");
    assert_eq!(taken(store, 9, 0).await.len(), 2);
    assert!(!settle(store, 1, 2, ACCEPTED).await);
    assert!(!settle(store, 3, 1, ACCEPTED).await, "no such message");
    assert_eq!(taken(store, 99, 90).await.len(), 2);
    assert!(!settle(store, 1, 1, ACCEPTED).await, "too late");
    assert!(settle(store, 1, 2, ACCEPTED).await);
    assert!(!settle(store, 1, 2, Settled::Again(after(99))).await, "twice");
    assert!(settle(store, 2, 2, Settled::Again(after(99))).await);
    assert!(!settle(store, 2, 2, ACCEPTED).await, "it waits again");
    assert_eq!(taken(store, 200, 150).await, [(message_id(2), 3, 1)]);
}

pub async fn every_end_of_an_attempt_can_be_written_down(store: &dyn Store) {
    let ends = [Delivery::Accepted, Delivery::Refused, Delivery::Unknown, Delivery::Expired];
    add_messages(store, 4).await;
    assert_eq!(taken(store, 9, 0).await.len(), 4);
    for (n, end) in (1..).zip(ends) {
        assert!(settle(store, n, 1, Settled::Over(end)).await, "{end:?}");
    }
    assert_eq!(taken(store, 900, 900).await, []);
    assert_eq!(expire(store, 2000, 9).await, [], "they are over");
    assert_eq!(purge(store, 2000, 9).await, 4);
}

pub async fn the_messages_of_a_challenge_are_replaced(store: &dyn Store) {
    add_account(store).await;
    for (n, challenge) in [(1, Some(1)), (2, Some(1)), (3, Some(1)), (4, Some(2)), (5, None)] {
        put(store, &NewMessage { challenge: challenge.map(challenge_id), ..message(n) }).await;
    }
    // The first is sent, the second is being sent, the third waits.
    assert_eq!(taken(store, 2, 0).await.len(), 2);
    assert!(settle(store, 1, 1, ACCEPTED).await);
    assert_eq!(replace(store, 1).await, 2);
    assert_eq!(replace(store, 1).await, 0, "over");
    assert!(!settle(store, 2, 1, ACCEPTED).await, "what became of it is no matter any more");
    assert_eq!(taken(store, 900, 900).await, [(message_id(4), 1, 0), (message_id(5), 1, 0)]);
    assert_eq!(purge(store, 900, 9).await, 3);
}

pub async fn all_that_waits_or_was_taken_is_withdrawn(store: &dyn Store) {
    add_messages(store, 4).await;
    assert_eq!(claim(store, after(1), LONG_AGO, 1).await.len(), 1);
    let withdraw = async |most| {
        let mut unit = store.begin().await.unwrap();
        let count = unit.outbox().withdraw(after(9), most).await.unwrap();
        unit.commit().await.unwrap();
        count
    };
    assert_eq!((withdraw(3).await, withdraw(3).await, withdraw(3).await), (3, 1, 0));
    assert_eq!(taken(store, 500, 499).await, []);
    let rows = store
        .reader()
        .await
        .unwrap()
        .sealed_values()
        .rows(SealedColumn::OutboxMessage, None, 9)
        .await
        .unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.sealed.is_none()), "{rows:?}");
}

pub async fn what_has_expired_is_marked_once(store: &dyn Store) {
    add_account(store).await;
    for n in 1..=5 {
        let new = NewMessage { expires_at: after(100 + u64::from(n)), ..message(n) };
        put(store, &NewMessage { challenge: Some(challenge_id(n)), ..new }).await;
    }
    // The first is sent, the second is being sent, the others wait.
    assert_eq!(taken(store, 2, 0).await.len(), 2);
    assert!(settle(store, 1, 1, ACCEPTED).await);
    assert_eq!(expire(store, 100, 9).await, []);
    assert_eq!(expire(store, 104, 1).await, [message_id(2)]);
    assert_eq!(expire(store, 104, 9).await, [3, 4].map(message_id));
    assert_eq!(expire(store, 104, 9).await, []);
    assert_eq!(replace(store, 3).await, 0, "over");
    let mut unit = store.begin().await.unwrap();
    let expired = unit.outbox().expire(after(900), 9).await.unwrap();
    unit.commit().await.unwrap();
    let expected = (message_id(5), account_id(1), Some(challenge_id(5)), Channel::Email);
    let shown: Vec<_> = expired.iter().map(|one| (one.id, one.account, one.challenge, one.channel)).collect();
    assert_eq!(shown, [expected]);
}

pub async fn purge_removes_what_is_over(store: &dyn Store) {
    add_messages(store, 5).await;
    assert_eq!(taken(store, 4, 0).await.len(), 4);
    for n in [1, 2, 4] {
        assert!(settle(store, n, 1, ACCEPTED).await);
    }
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (4, 1), (4, 9), (4, 9), (900, 9)] {
        done.push(purge(store, before, most).await);
    }
    assert_eq!(done, [0, 1, 1, 0, 1], "not what is being sent, nor what waits");
    assert_eq!(taken(store, 900, 900).await.len(), 2);
}

pub async fn the_oldest_due_message_is_one_that_nobody_has_taken(store: &dyn Store) {
    add_account(store).await;
    let oldest = async |now| store.reader().await.unwrap().outbox().oldest_due(after(now)).await.unwrap();
    assert_eq!(oldest(9).await, None);
    for n in [3, 1, 2] {
        put(store, &message(n)).await;
    }
    assert_eq!(oldest(0).await, None, "not due");
    assert_eq!(oldest(1).await, Some(after(1)));
    assert_eq!(claim(store, after(2), LONG_AGO, 2).await.len(), 2);
    assert_eq!(oldest(2).await, None, "taken");
    assert_eq!(oldest(9).await, Some(after(3)));
    assert!(settle(store, 1, 1, Settled::Again(after(2))).await);
    assert_eq!(oldest(9).await, Some(after(3)), "the other one was taken before");
    assert_eq!(oldest(999).await, Some(after(3)));
    assert_eq!(oldest(1000).await, None, "too late to be sent");
}

/// Takes two, as a worker does.
async fn claim_two(store: &dyn Store, now: u64, stale_before: u64) -> Vec<(MessageId, u32)> {
    retried(|| async {
        let mut unit = store.begin().await?;
        let claimed = unit.outbox().claim(after(now), after(stale_before), 2).await?;
        unit.commit().await?;
        Ok(claimed.into_iter().map(|claimed| (claimed.message.id, claimed.attempt)).collect())
    })
    .await
}

pub async fn each_message_goes_to_one_caller(stores: &Handles) {
    add_messages(stores[0].as_ref(), TASKS).await;
    // The first time of new ones, then of those whose workers died.
    for (now, stale_before, attempt) in [(100, 0, 1), (200, 150, 2)] {
        let taken =
            race(stores, move |store, _| async move { claim_two(store.as_ref(), now, stale_before).await })
                .await;
        let mut taken: Vec<_> = taken.into_iter().flatten().collect();
        // What a caller was passed by for another one's sake waits for the next.
        loop {
            let more = claim_two(stores[0].as_ref(), now, stale_before).await;
            if more.is_empty() {
                break;
            }
            taken.extend(more);
        }
        taken.sort_unstable();
        let expected: Vec<_> = (1..=TASKS).map(|n| (message_id(n), attempt)).collect();
        assert_eq!(taken, expected);
    }
}

pub async fn at_most_one_caller_writes_down_what_came_of_an_attempt(stores: &Handles) {
    add_messages(stores[0].as_ref(), 1).await;
    assert_eq!(taken(stores[0].as_ref(), 9, 0).await.len(), 1);
    let done = race(stores, |store, n| async move {
        let settled = if n % 2 == 0 { ACCEPTED } else { Settled::Again(after(100)) };
        settle(store.as_ref(), 1, 1, settled).await
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}

pub async fn what_expires_is_told_to_one_caller(stores: &Handles) {
    add_messages(stores[0].as_ref(), 8).await;
    let done = race(stores, |store, _| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            let expired = unit.outbox().expire(after(1000), 1).await?;
            unit.commit().await?;
            Ok(expired)
        })
        .await
    })
    .await;
    let mut ids: Vec<_> = done.into_iter().flatten().map(|message| message.id).collect();
    ids.extend(expire(stores[1].as_ref(), 1000, 99).await);
    ids.sort_unstable();
    assert_eq!(ids, (1..=8).map(message_id).collect::<Vec<_>>());
}
