//! Requests that may come twice.

use iam_core::ports::{Claim, KeptAnswer, KeptRequest};

use super::*;

/// A time at which no claim is stale yet.
const NONE_STALE: Timestamp = NOW;

/// Request `n` of a session, which has the token of that number, claimed so many seconds after the beginning.
fn claim(session: u8, n: u8, at: u64) -> Claim {
    Claim { session: session_id(session), old_token: token(session), request: [n; 32], at: after(at) }
}

fn answer(n: u8) -> KeptAnswer {
    KeptAnswer { token: token(n), sealed: vec![n; 16_000] }
}

async fn try_claim(store: &dyn Store, claim: &Claim, stale_since: Timestamp) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let claimed = unit.repeatable_answers().claim(claim, stale_since).await?;
        unit.commit().await?;
        Ok(claimed)
    })
    .await
}

async fn try_answer(store: &dyn Store, claim: &Claim, n: u8, at: u64) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let kept = unit.repeatable_answers().answer(claim, &answer(n), after(at)).await?;
        unit.commit().await?;
        Ok(kept)
    })
    .await
}

async fn give_back(store: &dyn Store, claim: &Claim) -> bool {
    let mut unit = store.begin().await.unwrap();
    let gone = unit.repeatable_answers().give_back(claim).await.unwrap();
    unit.commit().await.unwrap();
    gone
}

async fn found(store: &dyn Store, session: u8) -> Option<KeptRequest> {
    store.reader().await.unwrap().repeatable_answers().by_old_token(&token(session)).await.unwrap()
}

pub async fn a_request_is_claimed_once_until_that_is_stale(store: &dyn Store) {
    let first = claim(1, 1, 10);
    assert!(found(store, 1).await.is_none());
    assert!(try_claim(store, &first, NONE_STALE).await);
    assert_eq!(found(store, 1).await, Some(KeptRequest { claim: first.clone(), answer: None }));
    let again = claim(1, 1, 40);
    assert!(!try_claim(store, &again, after(10).minus(MICROSECOND)).await, "not stale yet");
    assert_eq!(found(store, 1).await.unwrap().claim, first);
    assert!(try_claim(store, &again, after(10)).await, "nobody works on it any more");
    assert_eq!(found(store, 1).await.unwrap().claim, again);
    // Another session's is another one.
    assert!(try_claim(store, &claim(2, 1, 40), NONE_STALE).await);
}

pub async fn another_request_takes_the_place_of_the_one_before(store: &dyn Store) {
    let first = claim(1, 1, 10);
    assert!(try_claim(store, &first, NONE_STALE).await && try_answer(store, &first, 9, 11).await);
    let second = claim(1, 2, 12);
    assert!(try_claim(store, &second, NONE_STALE).await);
    assert_eq!(found(store, 1).await, Some(KeptRequest { claim: second, answer: None }), "no answer is left");
    // The same words with another token are another request.
    let renewed = Claim { old_token: token(3), ..claim(1, 2, 13) };
    assert!(try_claim(store, &renewed, NONE_STALE).await);
    assert!(found(store, 1).await.is_none());
    assert_eq!(found(store, 3).await.unwrap().claim, renewed);
}

pub async fn an_answer_is_kept_for_its_own_claim_and_once(store: &dyn Store) {
    let first = claim(1, 1, 10);
    assert!(!try_answer(store, &first, 9, 11).await, "nobody claimed it");
    assert!(try_claim(store, &first, NONE_STALE).await);
    for other in
        [claim(1, 2, 10), claim(2, 1, 10), claim(1, 1, 11), Claim { old_token: token(2), ..first.clone() }]
    {
        assert!(!try_answer(store, &other, 9, 12).await && !give_back(store, &other).await);
    }
    assert!(try_answer(store, &first, 9, 12).await);
    let kept = found(store, 1).await.unwrap();
    assert_eq!(kept.answer, Some(answer(9)));
    assert_eq!(kept.claim, Claim { at: after(12), ..first.clone() });
    assert!(!try_answer(store, &kept.claim, 8, 13).await && !give_back(store, &kept.claim).await);
    assert!(!try_claim(store, &claim(1, 1, 13), NONE_STALE).await, "it was carried out");
}

pub async fn a_claim_that_is_given_back_can_be_made_again(store: &dyn Store) {
    let first = claim(1, 1, 10);
    assert!(try_claim(store, &first, NONE_STALE).await);
    assert!(give_back(store, &first).await && !give_back(store, &first).await);
    assert!(found(store, 1).await.is_none());
    assert!(try_claim(store, &claim(1, 1, 10), NONE_STALE).await);
}

pub async fn a_claim_of_the_future_is_stale(store: &dyn Store) {
    assert!(try_claim(store, &claim(1, 1, 1000), NONE_STALE).await);
    let tolerated = after(1000).minus(TOLERATED_LEAD);
    let at = |at| Claim { at, ..claim(1, 1, 0) };
    assert!(!try_claim(store, &at(tolerated), NONE_STALE).await, "the clocks of two processes differ");
    assert!(try_claim(store, &at(tolerated.minus(MICROSECOND)), NONE_STALE).await);
}

pub async fn forget_leaves_nothing_of_a_session(store: &dyn Store) {
    for session in [1, 2] {
        assert!(try_claim(store, &claim(session, 1, 10), NONE_STALE).await);
    }
    let forget = async || {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.repeatable_answers().forget(session_id(1)).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert!(forget().await && !forget().await);
    assert!(found(store, 1).await.is_none() && found(store, 2).await.is_some());
}

pub async fn purge_removes_answers_sooner_than_claims(store: &dyn Store) {
    for session in 1..=4 {
        let claim = claim(session, 1, 10);
        assert!(try_claim(store, &claim, NONE_STALE).await);
        assert!(session > 2 || try_answer(store, &claim, 9, 10 + u64::from(session)).await);
    }
    let purge = async |answered: u64, claimed: u64, most: u32| {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.repeatable_answers().purge(after(answered), after(claimed), most).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert_eq!((purge(11, 10, 9).await, purge(12, 10, 9).await), (0, 1));
    assert!(found(store, 1).await.is_none() && found(store, 2).await.is_some());
    assert_eq!((purge(13, 10, 9).await, purge(13, 11, 1).await, purge(13, 11, 9).await), (1, 1, 1));
}

pub async fn of_any_number_one_claims_a_request(stores: &Handles) {
    for round in 1..=4 {
        // There was none, there was another one, and so on.
        let done = race(stores, move |store, _| async move {
            try_claim(store.as_ref(), &claim(1, round, u64::from(round)), NONE_STALE).await
        });
        assert_eq!(done.await.into_iter().filter(|claimed| *claimed).count(), 1, "{round}");
    }
}
