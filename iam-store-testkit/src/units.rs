//! Units of work, and what holds for every method.

use iam_core::ports::{
    AuthVersion, ChallengeId, ChallengePurpose, GrantSource, Inserted, LimitKey, LoginIdentifier, Rehash,
    Renewal, SessionState, Slot, Store, UnitOfWork,
};
use iam_core::{
    AccountStatus, EndReason, ExternalId, ParentStatus, ProofMethod, Readiness, RoleName, Throttle, Window,
};

use super::*;

async fn add_two(unit: &mut dyn UnitOfWork, first: u8) {
    for n in [first, first + 1] {
        let done = unit.parents().insert(&parent(n), NOW).await.unwrap();
        assert_eq!(done, Inserted::Done);
    }
}

async fn is_there(store: &dyn Store, n: u8) -> bool {
    store.reader().await.unwrap().parents().by_key(&parent(n).key).await.unwrap().is_some()
}

pub async fn a_migrated_store_is_ready(store: &dyn Store) {
    assert_eq!(store.readiness().await.unwrap(), Readiness::Ready);
}

pub async fn a_store_that_was_closed_has_kept_everything(stores: &Handles) {
    let mut unit = stores[0].begin().await.unwrap();
    add_two(unit.as_mut(), 1).await;
    unit.commit().await.unwrap();
    for _ in 0..2 {
        stores[0].close().await.unwrap();
    }
    assert!(is_there(stores[1].as_ref(), 1).await && is_there(stores[1].as_ref(), 2).await);
    assert_eq!(stores[1].readiness().await.unwrap(), Readiness::Ready);
    // On a pool of a host's it goes on.
    if let Err(error) = stores[0].begin().await {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!(stores[0].readiness().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}

pub async fn commit_keeps_what_was_written(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    add_two(unit.as_mut(), 1).await;
    unit.commit().await.unwrap();
    assert!(is_there(store, 1).await && is_there(store, 2).await);
}

pub async fn dropping_a_unit_undoes_all_of_it(store: &dyn Store) {
    for _ in 0..20 {
        let mut unit = store.begin().await.unwrap();
        add_two(unit.as_mut(), 1).await;
        drop(unit);
        assert!(!is_there(store, 1).await && !is_there(store, 2).await);
    }
}

pub async fn cancelling_a_unit_at_any_point_undoes_all_of_it(stores: &Handles) {
    let (mut kept, mut undone) = (0, 0);
    for n in 0..100_u8 {
        let store = Arc::clone(&stores[0]);
        let task = async move {
            let mut unit = store.begin().await.unwrap();
            add_two(unit.as_mut(), 2 * n).await;
            unit.commit().await.unwrap();
        };
        // In a task of its own, so that it is polled only when there is something to do.
        let finished =
            tokio::spawn(CancelledAfter { task: Box::pin(task), polls: u32::from(n % 10) }).await.unwrap();
        // The other handle can write at once: nothing was left open.
        stores[1].begin().await.unwrap().commit().await.unwrap();
        let mut first = is_there(stores[1].as_ref(), 2 * n).await;
        let second = is_there(stores[1].as_ref(), 2 * n + 1).await;
        if first != second {
            // On a server a commit that nobody waits for may take place between the two looks.
            first = is_there(stores[1].as_ref(), 2 * n).await;
        }
        assert_eq!(first, second, "half a unit");
        assert!(first || finished.is_none(), "a commit that was answered is gone");
        *(if first { &mut kept } else { &mut undone }) += 1;
    }
    assert!(kept > 0 && undone > 0, "{kept} kept, {undone} undone: cancelled at too few points");
}

pub async fn a_unit_that_reads_first_can_write_then(stores: &Handles) {
    let counts = race(stores, |store, _| async move {
        let window = Window { limit: u32::from(TASKS), length: Duration::from_mins(1) };
        let key = LimitKey::from_bytes([1; 32]);
        let mut unit = store.begin().await.unwrap();
        let full = unit.limits().full_until(&key, &window, NOW).await.unwrap();
        assert_eq!(full, None, "what was read holds until the unit is over");
        unit.limits().count_in_window(&key, &window, NOW).await.unwrap();
        unit.commit().await.unwrap();
    })
    .await;
    assert_eq!(counts.len(), usize::from(TASKS));
}

pub async fn a_read_beside_an_open_unit_neither_waits_nor_sees_it(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    add_two(unit.as_mut(), 1).await;
    assert!(!is_there(store, 1).await);
    unit.commit().await.unwrap();
    assert!(is_there(store, 1).await);
}

pub async fn absent_is_not_an_error(store: &dyn Store) {
    let unknown = LoginIdentifier::parse("not a name").unwrap();
    let address = LoginIdentifier::parse("a@example.com").unwrap();
    let name = LoginIdentifier::parse("alice").unwrap();
    for identifier in [unknown, address, name] {
        assert!(
            store.reader().await.unwrap().accounts().login_candidate(&identifier).await.unwrap().is_none()
        );
    }
    assert!(find(store, 1).await.is_none());
    assert!(store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().is_none());
    assert!(
        store.reader().await.unwrap().accounts().by_username(&username("alice")).await.unwrap().is_none()
    );
    assert!(store.reader().await.unwrap().parents().by_key(&parent(1).key).await.unwrap().is_none());
    assert!(store.reader().await.unwrap().roles().by_name(&role(1).name).await.unwrap().is_none());
    assert!(!store.touch_session(session_id(1), NOW, NOW, None).await.unwrap());
    let mut unit = store.begin().await.unwrap();
    let (active, locked) = (AccountStatus::Active, AccountStatus::Locked);
    assert!(!unit.accounts().set_status(account_id(1), active, locked, NOW).await.unwrap());
    assert!(!unit.accounts().set_password(account_id(1), &hash("x"), NOW).await.unwrap());
    let (old, new) = (hash("x"), hash("y"));
    let rehash = Rehash { old: &old, new: &new, unchanged_since: None, at: NOW };
    let rehashed = unit.accounts().rehash(account_id(1), AuthVersion::FIRST, &rehash).await;
    assert!(!rehashed.unwrap());
    let (active, suspended) = (ParentStatus::Active, ParentStatus::Suspended);
    assert!(!unit.parents().set_status(parent(1).id, active, suspended, NOW).await.unwrap());
    assert!(!unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    assert!(!unit.roles().is_held(role(1).id).await.unwrap());
    let renewal = Renewal {
        token: token(2),
        from_state: SessionState::Active,
        state: SessionState::Active,
        proofs: password(NOW),
        from_version: AuthVersion::FIRST,
        to_version: AuthVersion::FIRST,
        lapsed_at: None,
        at: NOW,
    };
    let replaced = unit.sessions().renew(session_id(1), &token(1), &renewal).await;
    assert!(!replaced.unwrap());
    assert!(!unit.sessions().end(session_id(1), EndReason::Logout, NOW).await.unwrap());
    assert_eq!(unit.sessions().end_all(account_id(1), EndReason::Logout, NOW).await.unwrap(), 0);
    assert!(unit.keys().all().await.unwrap().is_empty());
    absent_limits(unit.as_mut()).await;
    absent_factors(unit.as_mut()).await;
}

async fn absent_factors(unit: &mut dyn UnitOfWork) {
    assert!(unit.sessions().hold(session_id(1), &token(1)).await.unwrap().is_none());
    assert!(!unit.accounts().raise_version(account_id(1), AuthVersion::FIRST, NOW).await.unwrap());
    assert_eq!(unit.methods().remove_all(account_id(1)).await.unwrap(), 0);
    assert_eq!(unit.methods().purge_unconfirmed(NOW, 10).await.unwrap(), 0);
    assert!(!unit.recovery_codes().consume(account_id(1), &[1; 32], NOW).await.unwrap());
    let (purpose, kind) = (ChallengePurpose::SignIn, ProofMethod::Totp);
    assert_eq!(unit.challenges().open(session_id(1), purpose, kind, None).await.unwrap(), None);
    assert_eq!(unit.challenges().purge(NOW, 10).await.unwrap(), 0);
    assert_eq!(unit.outbox().replace(ChallengeId::from_bytes([1; 16]), NOW).await.unwrap(), 0);
    assert!(unit.outbox().claim(NOW, NOW, 10).await.unwrap().is_empty());
    assert!(unit.outbox().expire(NOW, 10).await.unwrap().is_empty());
    assert_eq!(unit.outbox().purge(NOW, 10).await.unwrap(), 0);
}

async fn absent_limits(unit: &mut dyn UnitOfWork) {
    let key = LimitKey::from_bytes([1; 32]);
    let slot = Slot { count: 1, since: NOW, number: 1 };
    let minute = Duration::from_mins(1);
    let throttle = Throttle { free: 1, first_delay: minute, max_delay: minute, forget_after: minute };
    let window = Window { limit: 1, length: minute };
    unit.limits().give_back(&key, &slot, &throttle).await.unwrap();
    unit.limits().give_back_in_window(&key, &slot).await.unwrap();
    unit.limits().forget(&key).await.unwrap();
    assert_eq!(unit.limits().full_until(&key, &window, NOW).await.unwrap(), None);
    assert_eq!(unit.limits().purge(NOW, 10).await.unwrap(), 0);
}

pub async fn ids_hashes_and_names_compare_byte_by_byte(store: &dyn Store) {
    for (n, external_id) in [(1, "Key"), (2, "key"), (3, "key "), (4, "ke\u{301}y"), (5, "k\u{e9}y")] {
        let mut account = account(n);
        account.external_id = Some(ExternalId::from_stored(external_id));
        assert_eq!(insert_account(store, &account).await, Inserted::Done, "{external_id:?}");
    }
    for (n, name) in [(1, "Admin"), (2, "admin")] {
        let role = Role::new(role(n).id, RoleName::parse(name).unwrap());
        add_role(store, &role).await;
        assert_eq!(
            store.reader().await.unwrap().roles().by_name(&role.name).await.unwrap().unwrap().id,
            role.id
        );
    }
    let mut unit = store.begin().await.unwrap();
    let (old, new) = (hash("$TEST$1"), hash("x"));
    let rehash = Rehash { old: &old, new: &new, unchanged_since: None, at: NOW };
    let rehashed = unit.accounts().rehash(account_id(1), AuthVersion::FIRST, &rehash).await;
    assert!(!rehashed.unwrap());
}
