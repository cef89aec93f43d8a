//! Requests that may come twice.

use iam_core::ports::{Claim, ClaimOutcome, KeptAnswer, KeptRequest, MOST_OF_A_SESSION};

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
    what_became_of(store, claim, stale_since).await == ClaimOutcome::First
}

async fn what_became_of(store: &dyn Store, claim: &Claim, stale_since: Timestamp) -> ClaimOutcome {
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

async fn forget(store: &dyn Store, session: u8) -> bool {
    let mut unit = store.begin().await.unwrap();
    let gone = unit.repeatable_answers().forget(session_id(session)).await.unwrap();
    unit.commit().await.unwrap();
    gone
}

/// What is kept by a token, the requests in their order.
async fn all_found(store: &dyn Store, session: u8) -> Vec<KeptRequest> {
    let mut found =
        store.reader().await.unwrap().repeatable_answers().by_old_token(&token(session)).await.unwrap();
    found.sort_by_key(|kept| kept.claim.request);
    found
}

/// The one that is kept, if there is any.
async fn found(store: &dyn Store, session: u8) -> Option<KeptRequest> {
    let mut found = all_found(store, session).await;
    assert!(found.len() < 2, "{found:?}");
    found.pop()
}

pub async fn a_request_is_claimed_once_until_that_is_stale(store: &dyn Store) {
    let first = claim(1, 1, 10);
    assert!(found(store, 1).await.is_none());
    assert!(try_claim(store, &first, NONE_STALE).await);
    assert_eq!(found(store, 1).await, Some(KeptRequest { claim: first.clone(), answer: None }));
    let again = claim(1, 1, 40);
    assert_eq!(
        what_became_of(store, &again, after(10).minus(MICROSECOND)).await,
        ClaimOutcome::Before,
        "not stale yet"
    );
    assert_eq!(found(store, 1).await.unwrap().claim, first);
    assert!(try_claim(store, &again, after(10)).await, "nobody works on it any more");
    assert_eq!(found(store, 1).await.unwrap().claim, again);
    // Another session's is another one.
    assert!(try_claim(store, &claim(2, 1, 40), NONE_STALE).await);
}

pub async fn a_few_requests_of_a_session_are_noted_side_by_side(store: &dyn Store) {
    let first = claim(1, 0, 10);
    assert!(try_claim(store, &first, NONE_STALE).await && try_answer(store, &first, 9, 11).await);
    for n in 1..MOST_OF_A_SESSION {
        assert!(try_claim(store, &claim(1, n, 12), NONE_STALE).await, "{n}");
    }
    let kept = all_found(store, 1).await;
    assert_eq!(kept.len(), usize::from(MOST_OF_A_SESSION));
    assert_eq!(kept[0].answer, Some(answer(9)), "it is not the newest that counts");
    // Nobody's place is taken, by another request or the same words with another token.
    let one_more = claim(1, 9, 13);
    let renewed = Claim { old_token: token(3), ..claim(1, 1, 13) };
    for claim in [&one_more, &renewed] {
        assert_eq!(what_became_of(store, claim, NONE_STALE).await, ClaimOutcome::NoRoom);
    }
    assert_eq!(
        what_became_of(store, &claim(1, 1, 13), NONE_STALE).await,
        ClaimOutcome::Before,
        "an equal one"
    );
    assert_eq!(all_found(store, 1).await, kept);
    assert!(try_claim(store, &claim(2, 9, 13), NONE_STALE).await, "another session's");
    // Room is made by who gives back, ...
    assert!(give_back(store, &claim(1, 2, 12)).await);
    assert!(try_claim(store, &renewed, NONE_STALE).await);
    assert_eq!(what_became_of(store, &one_more, NONE_STALE).await, ClaimOutcome::NoRoom);
    assert_eq!(found(store, 3).await.unwrap().claim, renewed);
    // ... by time, ...
    assert_eq!(what_became_of(store, &one_more, after(11).minus(MICROSECOND)).await, ClaimOutcome::NoRoom);
    assert!(try_claim(store, &one_more, after(11)).await, "the one that was answered is stale");
    assert_eq!(all_found(store, 1).await.len(), 3);
    // ... and by what lies in the future.
    assert!(forget(store, 1).await);
    for n in 0..MOST_OF_A_SESSION {
        assert!(try_claim(store, &claim(1, n, 1000), NONE_STALE).await, "{n}");
    }
    assert!(try_claim(store, &one_more, NONE_STALE).await);
    assert_eq!(found(store, 1).await.unwrap().claim, one_more);
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
    // It leaves the others of its session as they are.
    let other = claim(1, 2, 11);
    assert!(try_claim(store, &other, NONE_STALE).await && give_back(store, &claim(1, 1, 10)).await);
    assert_eq!(found(store, 1).await.unwrap().claim, other);
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
    // Several requests, of several tokens, answered and not.
    let renewed = Claim { old_token: token(3), ..claim(1, 1, 11) };
    assert!(
        try_claim(store, &claim(1, 2, 11), NONE_STALE).await && try_claim(store, &renewed, NONE_STALE).await
    );
    assert!(try_answer(store, &claim(1, 2, 11), 9, 12).await);
    assert!(forget(store, 1).await && !forget(store, 1).await);
    assert!(all_found(store, 1).await.is_empty() && found(store, 3).await.is_none());
    assert!(found(store, 2).await.is_some());
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
    // Of several of a session each by itself.
    let (first, second) = (claim(5, 1, 10), claim(5, 2, 10));
    assert!(try_claim(store, &first, NONE_STALE).await && try_claim(store, &second, NONE_STALE).await);
    assert!(try_answer(store, &first, 9, 11).await);
    assert_eq!(purge(12, 10, 9).await, 1);
    assert_eq!(found(store, 5).await.unwrap().claim, second);
}

pub async fn of_any_number_one_claims_a_request(stores: &Handles) {
    for round in 1..=4 {
        // There was none, there was another one, and so on.
        let done = race(stores, move |store, _| async move {
            try_claim(store.as_ref(), &claim(1, round, u64::from(round)), NONE_STALE).await
        });
        assert_eq!(done.await.into_iter().filter(|claimed| *claimed).count(), 1, "{round}");
    }
    assert_eq!(all_found(stores[0].as_ref(), 1).await.len(), usize::from(MOST_OF_A_SESSION));
}

pub async fn of_any_number_of_different_ones_a_few_are_claimed(stores: &Handles) {
    // As their callers do, they ask again if others came in between. Each is there twice.
    let ask = |session: u8| {
        race(stores, move |store, n| async move {
            let request = claim(session, n / 2, 10);
            for _ in 0..50 {
                let became = what_became_of(store.as_ref(), &request, NONE_STALE).await;
                let kept = all_found(store.as_ref(), session).await;
                if became != ClaimOutcome::Before || kept.iter().any(|kept| kept.claim == request) {
                    return became;
                }
            }
            panic!("neither noted nor refused");
        })
    };
    for session in 1..=3 {
        let done = ask(session).await;
        let first = done.iter().filter(|became| **became == ClaimOutcome::First).count();
        assert_eq!(first, usize::from(MOST_OF_A_SESSION), "{session}: {done:?}");
        assert!(done.contains(&ClaimOutcome::NoRoom), "{session}: {done:?}");
        assert_eq!(all_found(stores[0].as_ref(), session).await.len(), first);
    }
}
