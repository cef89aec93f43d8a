//! Proofs that the keys are the right ones.

use super::*;

pub async fn a_canary_that_is_there_stays(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.keys().put(1, b"first").await.unwrap();
    unit.keys().put(1, b"second").await.unwrap();
    unit.keys().put(u32::MAX, b"").await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.keys().all().await.unwrap(), [(1, b"first".to_vec()), (u32::MAX, Vec::new())]);
}

pub async fn of_canaries_put_at_once_one_stays(stores: &Handles) {
    let seen = race(stores, |store, n| async move {
        let mut unit = store.begin().await.unwrap();
        unit.keys().put(1, &[n]).await.unwrap();
        let seen = unit.keys().all().await.unwrap();
        unit.commit().await.unwrap();
        seen
    })
    .await;
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1] && pair[0].len() == 1));
}
