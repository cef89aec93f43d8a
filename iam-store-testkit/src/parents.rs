//! Parents.

use iam_core::ParentStatus;

use super::*;

pub async fn a_parent_comes_back_as_it_was_added(store: &dyn Store) {
    let mut added = parent(1);
    added.name.push_str(" Ünïted \u{1f3e2}");
    added.status = ParentStatus::Suspended;
    add_parent(store, &added).await;
    assert_eq!(
        store.reader().await.unwrap().parents().by_key(&added.key).await.unwrap().as_ref(),
        Some(&added)
    );
    assert_eq!(store.reader().await.unwrap().parents().by_id(added.id).await.unwrap(), Some(added));
    assert_eq!(
        store.reader().await.unwrap().parents().by_id(ParentId::from_bytes([0xee; 16])).await.unwrap(),
        None
    );
}

pub async fn insert_gives_taken_for_a_key(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut unit = store.begin().await.unwrap();
    let second = Parent::new(ParentId::from_bytes([2; 16]), parent(1).key);
    assert_eq!(unit.parents().insert(&second, NOW).await.unwrap(), Inserted::Taken(UniqueKey::ParentKey));
    unit.commit().await.unwrap();
    assert_eq!(
        store.reader().await.unwrap().parents().by_key(&parent(1).key).await.unwrap(),
        Some(parent(1))
    );
}

pub async fn set_status_asks_for_the_old_one(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut unit = store.begin().await.unwrap();
    let (active, suspended) = (ParentStatus::Active, ParentStatus::Suspended);
    assert!(!unit.parents().set_status(parent(1).id, suspended, active, after(1)).await.unwrap());
    assert!(unit.parents().set_status(parent(1).id, active, suspended, after(1)).await.unwrap());
    assert!(!unit.parents().set_status(parent(1).id, active, suspended, after(1)).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(
        store.reader().await.unwrap().parents().by_key(&parent(1).key).await.unwrap().unwrap().status,
        suspended
    );
}

pub async fn of_equal_parents_added_at_once_one_is_inserted(stores: &Handles) {
    let done = race(stores, |store, n| async move {
        let same = Parent::new(ParentId::from_bytes([n; 16]), ParentKey::parse("same").unwrap());
        let mut unit = store.begin().await.unwrap();
        let done = unit.parents().insert(&same, NOW).await.unwrap();
        unit.commit().await.unwrap();
        done
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done == Inserted::Done).count(), 1);
}
