//! Requests that a guard stopped.

use iam_core::ports::{InterruptedId, NewInterrupted};

use super::*;

fn id(n: u8) -> InterruptedId {
    InterruptedId::from_bytes([n; 16])
}

/// Request `n` of a session, stopped `n` seconds after the beginning and kept for a minute.
fn request(n: u8, session: u8) -> NewInterrupted {
    NewInterrupted {
        id: id(n),
        account: account_id(1),
        session: session_id(session),
        sealed: vec![n; 40_000],
        created_at: after(n.into()),
        expires_at: after(u64::from(n) + 60),
    }
}

async fn keep(store: &dyn Store, new: &NewInterrupted, most: u32) {
    let mut unit = store.begin().await.unwrap();
    unit.interrupted_requests().keep(new, most).await.unwrap();
    unit.commit().await.unwrap();
}

async fn resume(store: &dyn Store, n: u8, session: u8, now: u64) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let done = unit.interrupted_requests().resume(id(n), session_id(session), after(now)).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

async fn is_kept(store: &dyn Store, n: u8) -> bool {
    store
        .reader()
        .await
        .unwrap()
        .interrupted_requests()
        .by_id(id(n), session_id(1), after(20))
        .await
        .unwrap()
        .is_some()
}

pub async fn a_request_comes_back_in_its_session_while_it_is_kept(store: &dyn Store) {
    add_account(store).await;
    let new = request(1, 1);
    keep(store, &new, 5).await;
    let find = async |session, now| {
        store
            .reader()
            .await
            .unwrap()
            .interrupted_requests()
            .by_id(id(1), session_id(session), after(now))
            .await
    };
    let found = find(1, 60).await.unwrap().unwrap();
    assert_eq!(
        (found.new.account, found.new.session, found.new.sealed),
        (new.account, new.session, new.sealed)
    );
    assert_eq!((found.new.created_at, found.new.expires_at), (new.created_at, new.expires_at));
    assert_eq!(found.resumed_at, None);
    assert!(find(2, 60).await.unwrap().is_none(), "another session");
    assert!(find(1, 61).await.unwrap().is_none(), "too late");
}

pub async fn a_request_of_the_future_is_not_there(store: &dyn Store) {
    add_account(store).await;
    keep(store, &request(1, 1), 5).await;
    let find = async |now| {
        store.reader().await.unwrap().interrupted_requests().by_id(id(1), session_id(1), now).await
    };
    let resume = async |now| {
        let mut unit = store.begin().await.unwrap();
        unit.interrupted_requests().resume(id(1), session_id(1), now).await.unwrap()
    };
    let tolerated = after(1).minus(TOLERATED_LEAD);
    let put_back = tolerated.minus(MICROSECOND);
    assert!(find(put_back).await.unwrap().is_none() && !resume(put_back).await);
    assert!(find(tolerated).await.unwrap().is_some(), "the clocks of two processes differ");
    assert!(resume(tolerated).await);
}

pub async fn a_request_is_resumed_once_in_time_and_in_its_session(store: &dyn Store) {
    add_account(store).await;
    keep(store, &request(1, 1), 5).await;
    assert!(!resume(store, 2, 1, 10).await, "another one");
    assert!(!resume(store, 1, 2, 10).await, "another session");
    assert!(!resume(store, 1, 1, 61).await, "too late");
    assert!(resume(store, 1, 1, 10).await);
    assert!(!resume(store, 1, 1, 11).await, "again");
    let found = store
        .reader()
        .await
        .unwrap()
        .interrupted_requests()
        .by_id(id(1), session_id(1), after(20))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.resumed_at, Some(after(10)));
}

pub async fn only_the_newest_of_a_session_are_kept(store: &dyn Store) {
    add_account(store).await;
    keep(store, &request(9, 2), 3).await;
    for n in 1..=5 {
        keep(store, &request(n, 1), 3).await;
    }
    for n in 1..=5 {
        assert_eq!(is_kept(store, n).await, n > 2, "{n}");
    }
    // One that is older by the clock is new all the same.
    keep(store, &NewInterrupted { created_at: NOW, ..request(6, 1) }, 1).await;
    for n in 1..=6 {
        assert_eq!(is_kept(store, n).await, n == 6, "{n}");
    }
    assert!(
        store
            .reader()
            .await
            .unwrap()
            .interrupted_requests()
            .by_id(id(9), session_id(2), after(20))
            .await
            .unwrap()
            .is_some()
    );
}

pub async fn purge_removes_what_has_expired(store: &dyn Store) {
    add_account(store).await;
    for n in 1..=3 {
        keep(store, &request(n, 1), 5).await;
    }
    let purge = async |before: u64, most: u32| {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.interrupted_requests().purge(after(before), most).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert_eq!((purge(61, 9).await, purge(63, 1).await), (0, 1));
    assert!(!is_kept(store, 1).await && is_kept(store, 2).await);
    assert_eq!(purge(99, 9).await, 2);
}

pub async fn of_any_number_one_resumes_a_request(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    keep(stores[0].as_ref(), &request(1, 1), 5).await;
    let done = race(stores, |store, _| async move { resume(store.as_ref(), 1, 1, 10).await });
    assert_eq!(done.await.into_iter().filter(|resumed| *resumed).count(), 1);
}
