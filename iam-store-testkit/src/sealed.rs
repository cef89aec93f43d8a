//! Sealed values, wherever they lie, and the keys under which nothing is sealed any more.

use iam_core::ports::{
    ChallengeId, ChallengePurpose, Claimed, Delivery, InterruptedId, MessageId, Method, MethodId,
    NewChallenge, NewInterrupted, NewMessage, Place, SealedColumn, SealedRow, Settled, Ticket, TicketId,
    TicketPurpose, key_id,
};
use iam_core::{Channel, FactorKind, KeyRing, MethodName, OsRandomness};

use super::*;

/// What key `n` makes of something, as far as a store can tell.
fn under(key: u32, n: u8) -> Vec<u8> {
    [&[1], key.to_be_bytes().as_slice(), &[n; 60]].concat()
}

fn method(n: u8, sealed: Option<Vec<u8>>) -> Method {
    Method {
        id: MethodId::from_bytes([n; 16]),
        account: account_id(1),
        kind: FactorKind::Totp.into(),
        name: MethodName::parse("phone").unwrap(),
        secret: sealed,
        lookup: None,
        created_at: NOW,
        confirmed_at: Some(NOW),
        last_used_at: None,
        last_step: None,
    }
}

fn message(n: u8, sealed: Vec<u8>) -> NewMessage {
    NewMessage {
        id: MessageId::from_bytes([n; 16]),
        account: account_id(1),
        challenge: None,
        channel: Channel::Email,
        sealed,
        created_at: NOW,
        expires_at: after(1000),
    }
}

fn interrupted(n: u8, sealed: Vec<u8>) -> NewInterrupted {
    NewInterrupted {
        id: InterruptedId::from_bytes([n; 16]),
        account: account_id(1),
        session: session_id(2),
        sealed,
        created_at: NOW,
        expires_at: after(1000),
    }
}

/// Each of a session of its own, so that none takes another one's place.
fn challenge(n: u8, sealed: Vec<u8>) -> NewChallenge {
    NewChallenge {
        id: ChallengeId::from_bytes([n; 16]),
        account: account_id(1),
        session: session_id(n),
        purpose: ChallengePurpose::SignIn,
        kind: ProofMethod::EmailOtp,
        method: None,
        kept: Some(sealed),
        approval: None,
        tries: 0,
        sends: 1,
        created_at: NOW,
        expires_at: after(1000),
    }
}

fn ticket(n: u8, sealed: Vec<u8>) -> Ticket {
    Ticket {
        id: TicketId::from_bytes([n; 16]),
        purpose: TicketPurpose::Setup,
        account: None,
        parent: None,
        payload: Some(sealed),
        created_at: NOW,
        expires_at: after(1000),
    }
}

/// Whose the rows of a column are.
fn owner(column: SealedColumn) -> [u8; 16] {
    match column {
        SealedColumn::MethodSecret | SealedColumn::OutboxMessage | SealedColumn::ChallengeKept => {
            *account_id(1).as_bytes()
        }
        SealedColumn::InterruptedRequest => *session_id(2).as_bytes(),
        SealedColumn::TicketPayload => [0; 16],
    }
}

/// Puts a value into row `n` of a column.
async fn put(store: &dyn Store, column: SealedColumn, n: u8, sealed: Vec<u8>) {
    let mut unit = store.begin().await.unwrap();
    match column {
        SealedColumn::MethodSecret => {
            let method = method(n, Some(sealed));
            assert_eq!(unit.methods().insert(&method, 1000).await.unwrap(), Kept::Done);
        }
        SealedColumn::OutboxMessage => unit.outbox().put(&message(n, sealed)).await.unwrap(),
        SealedColumn::InterruptedRequest => {
            unit.interrupted_requests().keep(&interrupted(n, sealed), 1000).await.unwrap();
        }
        SealedColumn::ChallengeKept => unit.challenges().issue(&challenge(n, sealed)).await.unwrap(),
        SealedColumn::TicketPayload => {
            unit.tickets().issue(&token(n), &ticket(n, sealed)).await.unwrap();
        }
    }
    unit.commit().await.unwrap();
}

/// Takes what [`put`] put there, the only one.
async fn take(store: &dyn Store, column: SealedColumn, n: u8) {
    let mut unit = store.begin().await.unwrap();
    match column {
        SealedColumn::MethodSecret => {
            assert!(unit.methods().remove(account_id(1), MethodId::from_bytes([n; 16])).await.unwrap());
        }
        SealedColumn::OutboxMessage => {
            let claimed = unit.outbox().claim(after(1), NOW, 255).await.unwrap();
            for Claimed { message, attempt, .. } in claimed {
                let taken = message.id == MessageId::from_bytes([n; 16]);
                let end = if taken { Settled::Over(Delivery::Accepted) } else { Settled::Again(NOW) };
                assert!(unit.outbox().settle(message.id, attempt, end, after(1)).await.unwrap());
            }
        }
        SealedColumn::InterruptedRequest => {
            assert_eq!(unit.interrupted_requests().purge(after(2000), 9).await.unwrap(), 1);
        }
        SealedColumn::ChallengeKept => {
            assert!(unit.challenges().consume(ChallengeId::from_bytes([n; 16]), None, NOW).await.unwrap());
        }
        SealedColumn::TicketPayload => assert_eq!(unit.tickets().purge(after(2000), 9).await.unwrap(), 1),
    }
    unit.commit().await.unwrap();
}

async fn rows(store: &dyn Store, column: SealedColumn) -> Vec<SealedRow> {
    store.reader().await.unwrap().sealed_values().rows(column, None, 1000).await.unwrap()
}

async fn values(store: &dyn Store, column: SealedColumn) -> Vec<Vec<u8>> {
    rows(store, column).await.into_iter().filter_map(|row| row.sealed).collect()
}

async fn replace(store: &dyn Store, column: SealedColumn, n: u8, old: &[u8], new: &[u8]) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.sealed_values().replace(column, &[n; 16], old, new).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn put_canary(store: &dyn Store, key: u32) {
    let mut unit = store.begin().await.unwrap();
    unit.keys().put(key, b"canary").await.unwrap();
    unit.commit().await.unwrap();
}

async fn retire(store: &dyn Store, key: u32) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.keys().retire(key).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn canaries(store: &dyn Store) -> Vec<u32> {
    let mut unit = store.begin().await.unwrap();
    unit.keys().all().await.unwrap().into_iter().map(|(key, _)| key).collect()
}

pub async fn sealed_rows_come_newest_first_and_in_pages(store: &dyn Store) {
    add_account(store).await;
    for column in SealedColumn::ALL {
        assert_eq!(rows(store, column).await, []);
        for n in [2, 5, 1, 4, 3] {
            put(store, column, n, under(0, n)).await;
        }
        let expected = |n: u8| SealedRow { row: [n; 16], owner: owner(column), sealed: Some(under(0, n)) };
        assert_eq!(rows(store, column).await, [5, 4, 3, 2, 1].map(expected));
        let mut pages = Vec::new();
        for before in [None, Some(4), Some(2), Some(1)] {
            pages.push(
                store
                    .reader()
                    .await
                    .unwrap()
                    .sealed_values()
                    .rows(column, before.map(|n| [n; 16]), 2)
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(
            pages,
            [[5, 4].map(expected).to_vec(), [3, 2].map(expected).to_vec(), vec![expected(1)], vec![]]
        );
    }
}

pub async fn a_row_without_a_value_is_a_row(store: &dyn Store) {
    add_account(store).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.methods().insert(&method(1, None), 9).await.unwrap(), Kept::Done);
    unit.commit().await.unwrap();
    put(store, SealedColumn::OutboxMessage, 1, under(0, 1)).await;
    take(store, SealedColumn::OutboxMessage, 1).await;
    for column in [SealedColumn::MethodSecret, SealedColumn::OutboxMessage] {
        let row = SealedRow { row: [1; 16], owner: owner(column), sealed: None };
        assert_eq!(rows(store, column).await, [row]);
    }
}

pub async fn replace_asks_for_the_old_value_and_changes_nothing_else(store: &dyn Store) {
    add_account(store).await;
    for column in SealedColumn::ALL {
        for n in [1, 2] {
            put(store, column, n, under(0, n)).await;
        }
        assert!(!replace(store, column, 3, &under(0, 1), &under(1, 1)).await, "no such row");
        assert!(!replace(store, column, 1, &under(0, 2), &under(1, 1)).await, "another row's value");
        assert!(!replace(store, column, 1, &under(0, 1)[..20], &under(1, 1)).await, "a part of it");
        assert_eq!(values(store, column).await, [under(0, 2), under(0, 1)]);
        assert!(replace(store, column, 1, &under(0, 1), &under(1, 1)).await);
        assert!(!replace(store, column, 1, &under(0, 1), &under(1, 9)).await, "twice");
        assert_eq!(values(store, column).await, [under(0, 2), under(1, 1)]);
    }
    let expected = [method(1, Some(under(1, 1))), method(2, Some(under(0, 2)))];
    assert_eq!(store.reader().await.unwrap().methods().of_account(account_id(1)).await.unwrap(), expected);
    let mut unit = store.begin().await.unwrap();
    let mut claimed = unit.outbox().claim(after(1), NOW, 9).await.unwrap();
    claimed.sort_by_key(|claimed| claimed.message.id);
    let claimed: Vec<_> = claimed.into_iter().map(|claimed| (claimed.message, claimed.attempt)).collect();
    assert_eq!(claimed, [(message(1, under(1, 1)), 1), (message(2, under(0, 2)), 1)]);
    let kept = interrupted(1, under(1, 1));
    let found = store
        .reader()
        .await
        .unwrap()
        .interrupted_requests()
        .by_id(kept.id, kept.session, after(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.new.sealed, found.new.created_at, found.new.expires_at),
        (kept.sealed, NOW, after(1000))
    );
    assert_eq!(found.resumed_at, None);
}

pub async fn a_value_that_is_gone_does_not_come_back(store: &dyn Store) {
    add_account(store).await;
    for column in SealedColumn::ALL {
        put(store, column, 1, under(0, 1)).await;
        take(store, column, 1).await;
        assert!(!replace(store, column, 1, &under(0, 1), &under(1, 1)).await);
        assert_eq!(values(store, column).await, Vec::<Vec<u8>>::new());
    }
}

pub async fn a_replacement_that_was_not_kept_is_not_there(store: &dyn Store) {
    add_account(store).await;
    for column in SealedColumn::ALL {
        put(store, column, 1, under(0, 1)).await;
        let mut unit = store.begin().await.unwrap();
        assert!(unit.sealed_values().replace(column, &[1; 16], &under(0, 1), &under(1, 1)).await.unwrap());
        drop(unit);
        assert_eq!(values(store, column).await, [under(0, 1)]);
    }
}

pub async fn a_key_is_retired_only_when_nothing_is_sealed_under_it(store: &dyn Store) {
    add_account(store).await;
    // Ids that share bytes; the second one is all of the bytes that a comparison as text would mind.
    let keys = [0, 0x4120_0041, 0x4120_0061, 0x6120_0041];
    for key in keys {
        put_canary(store, key).await;
    }
    assert!(!retire(store, 7).await, "nobody knows it");
    for column in SealedColumn::ALL {
        put(store, column, 1, under(keys[1], 1)).await;
        // Neither what is too short to name a key, nor what has the key's bytes elsewhere, is sealed under it.
        put(store, column, 2, vec![1, 0, 0, 0]).await;
        put(store, column, 3, [&[1; 5], under(0, 0).as_slice()].concat()).await;
        assert!(!retire(store, keys[1]).await, "{column:?}");
        assert_eq!(canaries(store).await, keys);
        assert!(replace(store, column, 1, &under(keys[1], 1), &under(9, 1)).await);
    }
    for (n, key) in keys.into_iter().enumerate() {
        assert!(retire(store, key).await, "{key:x}");
        assert!(!retire(store, key).await, "twice");
        assert_eq!(canaries(store).await, keys[n + 1..]);
    }
}

pub async fn a_key_that_was_not_retired_for_good_is_there(store: &dyn Store) {
    put_canary(store, 0).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.keys().retire(0).await.unwrap());
    drop(unit);
    assert_eq!(canaries(store).await, [0]);
}

pub async fn a_retired_key_may_come_back(store: &dyn Store) {
    put_canary(store, 0).await;
    assert!(retire(store, 0).await);
    put_canary(store, 0).await;
    assert_eq!(canaries(store).await, [0]);
}

pub async fn at_most_one_caller_replaces_a_value(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    for column in SealedColumn::ALL {
        put(stores[0].as_ref(), column, 1, under(0, 1)).await;
        let done = race(stores, move |store, n| async move {
            let new = under(1, n);
            replace(store.as_ref(), column, 1, &under(0, 1), &new).await.then_some(new)
        })
        .await;
        let done: Vec<_> = done.into_iter().flatten().collect();
        assert_eq!(done.len(), 1);
        assert_eq!(values(stores[1].as_ref(), column).await, done);
    }
}

const OLD: &str = "0:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
const NEW: &str =
    "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=,0:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";

fn place<'a>(column: SealedColumn, owner: &'a [u8; 16], row: &'a [u8; 16]) -> Place<'a> {
    Place { table: column.table(), column: column.column(), owner, row }
}

/// Goes over a column from its newest row on, and seals under key 1 what is under key 0. Says how many rows it was that did so.
async fn reseal(store: Arc<dyn Store>, column: SealedColumn) -> usize {
    let (ring, mut before, mut done) = (KeyRing::parse(NEW).unwrap(), None, 0);
    loop {
        let rows = store.reader().await.unwrap().sealed_values().rows(column, before, 7).await.unwrap();
        let Some(last) = rows.last() else { return done };
        before = Some(last.row);
        let renewals: Vec<_> = rows
            .iter()
            .filter(|row| key_id(row.sealed.as_deref().unwrap()) == Some(0))
            .map(|SealedRow { row, owner, sealed }| {
                let (place, old) = (place(column, owner, row), sealed.clone().unwrap());
                let value = ring.open(place, &old).unwrap();
                (*row, old, ring.seal(place, &value, &OsRandomness).unwrap())
            })
            .collect();
        done += retried(|| async {
            let (mut unit, mut done) = (store.begin().await?, 0);
            for (row, old, new) in &renewals {
                done += usize::from(unit.sealed_values().replace(column, row, old, new).await?);
            }
            unit.commit().await?;
            Ok(done)
        })
        .await;
    }
}

pub async fn of_those_who_reseal_at_once_each_row_has_one_and_opens(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let (old, ring) = (KeyRing::parse(OLD).unwrap(), KeyRing::parse(NEW).unwrap());
    for column in SealedColumn::ALL {
        for n in 1..=40 {
            let (owner, row) = (owner(column), [n; 16]);
            let sealed = old.seal(place(column, &owner, &row), &[n; 20], &OsRandomness).unwrap();
            put(stores[0].as_ref(), column, n, sealed).await;
        }
        let done =
            race(stores, move |store, n| async move { if n < 4 { reseal(store, column).await } else { 0 } })
                .await;
        assert_eq!(done.into_iter().sum::<usize>(), 40);
        let rows = rows(stores[1].as_ref(), column).await;
        assert_eq!(rows.len(), 40);
        for SealedRow { row, owner, sealed } in &rows {
            let sealed = sealed.as_deref().unwrap();
            assert_eq!(key_id(sealed), Some(1));
            assert_eq!(ring.open(place(column, owner, row), sealed).unwrap().as_slice(), &[row[0]; 20]);
        }
    }
}

pub async fn replacing_beside_uses_of_a_method_loses_nothing(stores: &Handles) {
    const KEYS: u32 = 20;
    add_account(stores[0].as_ref()).await;
    let column = SealedColumn::MethodSecret;
    put(stores[0].as_ref(), column, 1, under(0, 0)).await;
    let done = race(stores, move |store, n| async move {
        // One key after the other, so that there is something to replace all the time.
        if n == 0 {
            for key in 0..KEYS {
                assert!(replace(store.as_ref(), column, 1, &under(key, 0), &under(key + 1, 0)).await);
            }
            return false;
        }
        let id = MethodId::from_bytes([1; 16]);
        retried(|| async {
            let mut unit = store.begin().await?;
            let done =
                unit.methods().note_use(account_id(1), id, Some(i64::from(n)), after(n.into())).await?;
            unit.commit().await?;
            Ok(done)
        })
        .await
    })
    .await;
    assert!(done.into_iter().any(|noted| noted));
    let method =
        stores[1].reader().await.unwrap().methods().of_account(account_id(1)).await.unwrap().remove(0);
    assert_eq!(method.secret, Some(under(KEYS, 0)));
    assert_eq!((method.last_step, method.last_used_at), (Some(63), Some(after(63))));
}

pub async fn a_message_that_is_over_stays_wiped_whoever_replaces_it(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let column = SealedColumn::OutboxMessage;
    for n in 1..=TASKS / 2 {
        put(stores[0].as_ref(), column, n, under(0, n)).await;
    }
    let mut unit = stores[0].begin().await.unwrap();
    assert_eq!(unit.outbox().claim(after(1), NOW, 255).await.unwrap().len(), usize::from(TASKS / 2));
    unit.commit().await.unwrap();
    race(stores, move |store, n| async move {
        let row = n / 2 + 1;
        if n % 2 == 0 {
            replace(store.as_ref(), column, row, &under(0, row), &under(1, row)).await
        } else {
            retried(|| async {
                let mut unit = store.begin().await?;
                let (id, over) = (MessageId::from_bytes([row; 16]), Settled::Over(Delivery::Accepted));
                let done = unit.outbox().settle(id, 1, over, after(2)).await?;
                unit.commit().await?;
                Ok(done)
            })
            .await
        }
    })
    .await;
    let rows = rows(stores[1].as_ref(), column).await;
    assert!(rows.len() == usize::from(TASKS / 2) && rows.iter().all(|row| row.sealed.is_none()));
}

pub async fn of_those_who_retire_a_key_at_once_one_is_told_so(stores: &Handles) {
    put_canary(stores[0].as_ref(), 0).await;
    let done = race(stores, |store, _| async move { retire(store.as_ref(), 0).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}
