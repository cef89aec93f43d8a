//! Roles and who holds them.

use iam_core::ports::{GrantSource, Holders, RoleGrant, RoleOfAccount};
use iam_core::{FactorRequirement, ParentStatus, StoreError, StoreErrorKind};

use super::*;

fn grant_of_role_1() -> RoleGrant {
    RoleGrant {
        account: account_id(1),
        role: role(1).id,
        source: GrantSource::LOCAL,
        granted_by: None,
        granted_at: NOW,
        expires_at: None,
    }
}

async fn give(store: &dyn Store, grant: &RoleGrant) -> bool {
    let mut unit = store.begin().await.unwrap();
    let done = unit.roles().grant(grant).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn held(store: &dyn Store) -> Vec<(RoleName, Option<Timestamp>)> {
    find(store, 1).await.unwrap().roles.into_iter().map(|role| (role.name, role.expires_at)).collect()
}

pub async fn a_role_comes_back_as_it_was_added(store: &dyn Store) {
    let mut added = role(1);
    added.description.push_str("Counts beans.");
    add_role(store, &added).await;
    assert_eq!(store.reader().await.unwrap().roles().by_name(&added.name).await.unwrap(), Some(added));
}

pub async fn insert_gives_taken_for_a_name(store: &dyn Store) {
    add_role(store, &role(1)).await;
    let mut unit = store.begin().await.unwrap();
    let second = Role::new(RoleId::from_bytes([2; 16]), role(1).name);
    assert_eq!(unit.roles().insert(&second, NOW).await.unwrap(), Inserted::Taken(UniqueKey::RoleName));
    unit.commit().await.unwrap();
    assert_eq!(store.reader().await.unwrap().roles().by_name(&role(1).name).await.unwrap(), Some(role(1)));
}

pub async fn granting_again_replaces_and_the_same_again_is_told_apart(store: &dyn Store) {
    add_session(store).await;
    add_role(store, &role(1)).await;
    let first = grant_of_role_1();
    assert!(give(store, &first).await);
    assert_eq!(held(store).await, [(role(1).name, None)]);
    assert!(!give(store, &first).await);
    assert!(!give(store, &RoleGrant { granted_at: after(5), ..first.clone() }).await, "held in the same way");

    let expiring = RoleGrant { granted_at: after(9), expires_at: Some(after(60)), ..first.clone() };
    assert!(give(store, &expiring).await);
    assert_eq!(held(store).await, [(role(1).name, Some(after(60)))]);
    assert!(!give(store, &expiring).await);
    assert!(give(store, &RoleGrant { granted_by: Some(account_id(1)), ..expiring }).await, "another giver");
    assert!(give(store, &first).await);
    assert_eq!(held(store).await, [(role(1).name, None)]);
}

pub async fn each_source_gives_and_takes_its_own(store: &dyn Store) {
    add_account(store).await;
    for n in [1, 2] {
        add_role(store, &role(n)).await;
    }
    let claims = GrantSource::parse("idp:staff").unwrap();
    let theirs = RoleGrant { source: claims.clone(), granted_at: after(5), ..grant_of_role_1() };
    assert!(give(store, &grant_of_role_1()).await);
    assert!(give(store, &theirs).await, "from another source");
    assert!(!give(store, &theirs).await, "held in the same way");
    assert!(give(store, &RoleGrant { role: role(2).id, ..theirs }).await);
    let held = async || -> Vec<Timestamp> {
        let found = store.reader().await.unwrap().roles().of_account(account_id(1)).await.unwrap();
        found.into_iter().filter(|held| held.name == role(1).name).map(|held| held.granted_at).collect()
    };
    assert_eq!(held().await.len(), 2);
    let mut unit = store.begin().await.unwrap();
    assert!(unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    assert!(!unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(held().await, [after(5)], "what the other one gave stays");
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.roles().revoke_source(account_id(1), &claims).await.unwrap(), 2);
    assert!(!unit.roles().is_held(role(1).id).await.unwrap());
    unit.commit().await.unwrap();
    assert!(held().await.is_empty());
}

pub async fn revoke_says_whether_it_was_held(store: &dyn Store) {
    add_session(store).await;
    add_role(store, &role(1)).await;
    add_role(store, &role(2)).await;
    assert!(give(store, &grant_of_role_1()).await);
    assert!(give(store, &RoleGrant { role: role(2).id, ..grant_of_role_1() }).await);
    let mut unit = store.begin().await.unwrap();
    assert!(unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    assert!(!unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(held(store).await, [(role(2).name, None)]);
}

pub async fn roles_of_an_account_come_by_name_whatever_their_time(store: &dyn Store) {
    add_session(store).await;
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    for n in [2, 1, 3] {
        add_role(store, &role(n)).await;
    }
    let asked = FactorRequirement { since: after(3), grace: Duration::from_mins(1) };
    let mut unit = store.begin().await.unwrap();
    assert!(unit.roles().set_factor_requirement(role(2).id, None, Some(asked)).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(store.reader().await.unwrap().roles().of_account(account_id(1)).await.unwrap(), []);
    let over = RoleGrant { role: role(2).id, expires_at: Some(NOW), ..grant_of_role_1() };
    assert!(give(store, &over).await);
    assert!(give(store, &RoleGrant { granted_at: after(5), ..grant_of_role_1() }).await);
    assert!(give(store, &RoleGrant { account: account_id(2), role: role(3).id, ..grant_of_role_1() }).await);
    let found = store.reader().await.unwrap().roles().of_account(account_id(1)).await.unwrap();
    assert_eq!(
        found,
        [
            RoleOfAccount {
                name: role(1).name,
                granted_at: after(5),
                expires_at: None,
                factor_required: None
            },
            RoleOfAccount {
                name: role(2).name,
                granted_at: NOW,
                expires_at: Some(NOW),
                factor_required: Some(asked),
            },
        ]
    );
    // The guard's read says the same.
    let mut of_session = find(store, 1).await.unwrap().roles;
    of_session.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(of_session, found);
    assert_eq!(
        store.reader().await.unwrap().roles().of_account(account_id(9)).await.unwrap(),
        [],
        "of nobody"
    );
}

pub async fn is_held_by_anyone_at_all(store: &dyn Store) {
    add_account(store).await;
    add_role(store, &role(1)).await;
    let mut unit = store.begin().await.unwrap();
    assert!(!unit.roles().is_held(role(1).id).await.unwrap());
    assert!(unit.roles().grant(&grant_of_role_1()).await.unwrap());
    assert!(unit.roles().is_held(role(1).id).await.unwrap());
    assert!(!unit.roles().is_held(role(2).id).await.unwrap());
    assert!(unit.roles().revoke(account_id(1), role(1).id, &GrantSource::LOCAL).await.unwrap());
    assert!(!unit.roles().is_held(role(1).id).await.unwrap());
}

pub async fn the_last_holders_are_those_beside_whom_nobody_else_can_go_on(store: &dyn Store) {
    let role_id = role(1).id;
    add_role(store, &role(1)).await;
    add_role(store, &role(2)).await;
    add_parent(store, &parent(1)).await;
    for n in 1..=3 {
        let mut added = account(n);
        added.parent = (n > 1).then_some(parent(1).id);
        assert_eq!(insert_account(store, &added).await, Inserted::Done);
    }
    let last = async |who| {
        let mut unit = store.begin().await.unwrap();
        unit.roles().are_last_holders(role_id, who).await.unwrap()
    };
    let (one, two, three) =
        (Holders::Account(account_id(1)), Holders::Account(account_id(2)), Holders::Account(account_id(3)));
    let parents = Holders::Parent(parent(1).id);
    let is_last = async || [last(one).await, last(two).await, last(three).await, last(parents).await];
    let of = |n, expires_at| RoleGrant { account: account_id(n), expires_at, ..grant_of_role_1() };
    assert_eq!(is_last().await, [false; 4], "nobody holds it");
    assert!(give(store, &RoleGrant { role: role(2).id, ..grant_of_role_1() }).await);
    assert_eq!(is_last().await, [false; 4], "another role");
    assert!(give(store, &of(1, None)).await);
    assert_eq!(is_last().await, [true, false, false, false]);
    assert!(give(store, &of(2, Some(after(60)))).await);
    assert_eq!(is_last().await, [true, false, false, false], "one that expires leaves nobody in the end");
    assert!(give(store, &of(2, None)).await);
    assert_eq!(is_last().await, [false; 4]);

    set_status(store, 1, AccountStatus::Active, AccountStatus::Disabled).await;
    assert_eq!(is_last().await, [false, true, false, true], "the other one can't sign in");
    assert!(give(store, &of(3, None)).await);
    assert_eq!(is_last().await, [false, false, false, true]);
    set_status(store, 1, AccountStatus::Disabled, AccountStatus::Active).await;
    let mut unit = store.begin().await.unwrap();
    assert!(
        unit.parents()
            .set_status(parent(1).id, ParentStatus::Active, ParentStatus::Suspended, NOW)
            .await
            .unwrap()
    );
    unit.commit().await.unwrap();
    assert_eq!(is_last().await, [true, false, false, false], "the others' parent is suspended");
}

async fn set_status(store: &dyn Store, n: u8, from: AccountStatus, to: AccountStatus) {
    let mut unit = store.begin().await.unwrap();
    assert!(unit.accounts().set_status(account_id(n), from, to, NOW).await.unwrap());
    unit.commit().await.unwrap();
}

pub async fn of_holders_who_give_up_at_once_one_is_left(stores: &Handles) {
    add_role(stores[0].as_ref(), &role(1)).await;
    for n in 1..=TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
        assert!(give(stores[0].as_ref(), &RoleGrant { account: account_id(n), ..grant_of_role_1() }).await);
    }
    let gave_up = race(stores, |store, n| async move {
        for _ in 0..50 {
            match revoke_unless_last(store.as_ref(), n + 1).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => tokio::task::yield_now().await,
                done => return done.unwrap(),
            }
        }
        panic!("lost fifty times");
    })
    .await;
    assert_eq!(gave_up.into_iter().filter(|gave_up| !*gave_up).count(), 1);
}

async fn revoke_unless_last(store: &dyn Store, n: u8) -> Result<bool, StoreError> {
    let mut unit = store.begin().await?;
    if unit.roles().are_last_holders(role(1).id, Holders::Account(account_id(n))).await? {
        return Ok(false);
    }
    assert!(unit.roles().revoke(account_id(n), role(1).id, &GrantSource::LOCAL).await?);
    unit.commit().await?;
    Ok(true)
}

pub async fn of_equal_grants_at_once_one_is_told_so(stores: &Handles) {
    add_session(stores[0].as_ref()).await;
    add_role(stores[0].as_ref(), &role(1)).await;
    let done = race(stores, |store, _| async move { give(store.as_ref(), &grant_of_role_1()).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}

pub async fn of_those_who_find_a_role_unheld_at_once_one_gives_it(stores: &Handles) {
    add_role(stores[0].as_ref(), &role(1)).await;
    for n in 1..=TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
    }
    let given = race(stores, |store, n| async move {
        // A unit that loses against another one is tried again, as the ports say.
        for _ in 0..20 {
            match give_if_unheld(store.as_ref(), n + 1).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => tokio::task::yield_now().await,
                done => return done.unwrap(),
            }
        }
        panic!("lost twenty times");
    })
    .await;
    assert_eq!(given.into_iter().filter(|given| *given).count(), 1);
}

async fn give_if_unheld(store: &dyn Store, n: u8) -> Result<bool, StoreError> {
    let mut unit = store.begin().await?;
    if unit.roles().is_held(role(1).id).await? {
        return Ok(false);
    }
    let grant = RoleGrant {
        account: account_id(n),
        role: role(1).id,
        source: GrantSource::LOCAL,
        granted_by: None,
        granted_at: NOW,
        expires_at: None,
    };
    assert!(unit.roles().grant(&grant).await?);
    unit.commit().await?;
    Ok(true)
}
