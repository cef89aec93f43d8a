//! Proofs that the keys are the right ones.

use super::*;

pub(crate) async fn a_canary_that_is_there_stays(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    unit.keys().put(1, b"first").await.unwrap();
    unit.keys().put(1, b"second").await.unwrap();
    unit.keys().put(u32::MAX, b"").await.unwrap();
    unit.commit().await.unwrap();
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.keys().get(1).await.unwrap().as_deref(), Some(&b"first"[..]));
    assert_eq!(unit.keys().get(u32::MAX).await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(unit.keys().get(2).await.unwrap(), None);
}

pub(crate) async fn of_canaries_put_at_once_one_stays(stores: &Handles) {
    let seen = race(stores, |store, n| async move {
        let mut unit = store.begin().await.unwrap();
        unit.keys().put(1, &[n]).await.unwrap();
        let seen = unit.keys().get(1).await.unwrap();
        unit.commit().await.unwrap();
        seen
    })
    .await;
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1] && pair[0].is_some()));
}
