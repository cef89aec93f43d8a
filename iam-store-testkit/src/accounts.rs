//! Accounts.

use iam_core::ports::{LoginCandidate, LoginIdentifier, Rehash};
use iam_core::{EmailAddress, EndReason, ExternalId, ParentStatus};

use super::*;

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn verified(n: u8, email: &str) -> Account {
    let mut account = account(n);
    account.email = Some(address(email));
    account.email_verified_at = Some(NOW);
    account
}

async fn candidate(store: &dyn Store, identifier: &str) -> Option<LoginCandidate> {
    store
        .reader()
        .await
        .unwrap()
        .accounts()
        .login_candidate(&LoginIdentifier::parse(identifier).unwrap())
        .await
        .unwrap()
}

pub async fn an_account_comes_back_as_it_was_added(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut full = verified(1, "a@example.com");
    full.status = AccountStatus::Locked;
    full.parent = Some(parent(1).id);
    full.auth_version = AuthVersion::from_i64(7);
    full.external_id = Some(ExternalId::from_stored("key"));
    full.updated_at = after(1);
    for account in [full, account(2)] {
        assert_eq!(insert_account(store, &account).await, Inserted::Done);
        assert_eq!(
            store.reader().await.unwrap().accounts().by_id(account.id).await.unwrap().as_ref(),
            Some(&account)
        );
        assert_eq!(
            store.reader().await.unwrap().accounts().by_username(&account.username).await.unwrap(),
            Some(account)
        );
    }
}

pub async fn insert_gives_taken_for_a_username_address_or_external_id(store: &dyn Store) {
    let mut first = verified(1, "a@example.com");
    first.external_id = Some(ExternalId::from_stored("key"));
    assert_eq!(insert_account(store, &first).await, Inserted::Done);
    let same_name = Account::new(account_id(2), first.username.clone(), NOW);
    let same_address = verified(2, "a@example.com");
    let mut same_key = account(2);
    same_key.external_id.clone_from(&first.external_id);
    let taken = [UniqueKey::Username, UniqueKey::VerifiedEmail, UniqueKey::ExternalId].map(Inserted::Taken);
    for (second, taken) in [same_name, same_address, same_key].iter().zip(taken) {
        assert_eq!(insert_account(store, second).await, taken);
        assert!(store.reader().await.unwrap().accounts().by_id(account_id(2)).await.unwrap().is_none());
    }
    assert_eq!(store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap(), Some(first));
}

async fn set_external_id(store: &dyn Store, n: u8, key: Option<&str>) -> Inserted {
    let mut unit = store.begin().await.unwrap();
    let key = key.map(ExternalId::from_stored);
    let done = unit.accounts().set_external_id(account_id(n), key.as_ref(), after(1)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

async fn owner_of(store: &dyn Store, key: &str) -> Option<AccountId> {
    let found =
        store.reader().await.unwrap().accounts().by_external_id(&ExternalId::from_stored(key)).await.unwrap();
    found.map(|account| account.id)
}

pub async fn an_external_id_is_set_taken_away_and_found_by(store: &dyn Store) {
    for n in [1, 2] {
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
    }
    assert_eq!(owner_of(store, "key").await, None);
    assert_eq!(set_external_id(store, 1, Some("key")).await, Inserted::Done);
    assert_eq!(set_external_id(store, 1, Some("key")).await, Inserted::Done, "the same again");
    assert_eq!(set_external_id(store, 2, Some("key")).await, Inserted::Taken(UniqueKey::ExternalId));
    assert_eq!((owner_of(store, "key").await, owner_of(store, "KEY").await), (Some(account_id(1)), None));
    let found = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!((found.updated_at, found.auth_version), (after(1), AuthVersion::FIRST));
    assert_eq!(set_external_id(store, 1, None).await, Inserted::Done);
    assert_eq!(set_external_id(store, 2, None).await, Inserted::Done, "any number have none");
    assert_eq!(set_external_id(store, 2, Some("key")).await, Inserted::Done);
    assert_eq!(owner_of(store, "key").await, Some(account_id(2)));
    assert_eq!(
        set_external_id(store, 9, Some("other")).await,
        Inserted::Done,
        "an account that is not there"
    );
}

pub async fn after_taken_the_unit_can_go_on(store: &dyn Store) {
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.accounts().insert(&account(1), None).await.unwrap(), Inserted::Done);
    let same_name = Account::new(account_id(2), account(1).username, NOW);
    assert_eq!(unit.accounts().insert(&same_name, None).await.unwrap(), Inserted::Taken(UniqueKey::Username));
    assert_eq!(unit.accounts().insert(&account(2), None).await.unwrap(), Inserted::Done);
    unit.commit().await.unwrap();
    assert!(store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().is_some());
    assert!(store.reader().await.unwrap().accounts().by_id(account_id(2)).await.unwrap().is_some());
}

pub async fn an_address_is_unique_and_signs_in_only_once_verified(store: &dyn Store) {
    for n in [1, 2] {
        let mut unverified = account(n);
        unverified.email = Some(address("a@example.com"));
        assert_eq!(insert_account(store, &unverified).await, Inserted::Done);
    }
    assert!(candidate(store, "a@example.com").await.is_none());
    assert_eq!(insert_account(store, &verified(3, "a@example.com")).await, Inserted::Done);
    assert_eq!(candidate(store, "a@example.com").await.unwrap().account, account_id(3));
}

pub async fn a_login_candidate_has_what_a_sign_in_needs(store: &dyn Store) {
    add_parent(store, &parent(1)).await;
    let mut member = account(1);
    member.parent = Some(parent(1).id);
    assert_eq!(insert_account(store, &member).await, Inserted::Done);
    let found = candidate(store, "user-1").await.unwrap();
    assert_eq!((found.account, found.status), (member.id, AccountStatus::Active));
    assert_eq!(found.auth_version, AuthVersion::FIRST);
    assert_eq!(found.password, Some(hash("$test$1")));
    assert_eq!(found.parent, Some((parent(1).id, ParentStatus::Active)));
    assert!(!found.second_factor);

    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.accounts().insert(&account(2), None).await.unwrap(), Inserted::Done);
    unit.commit().await.unwrap();
    let found = candidate(store, "user-2").await.unwrap();
    assert_eq!((found.password, found.parent), (None, None));
}

pub async fn set_status_asks_for_the_old_one_and_raises_the_version(store: &dyn Store) {
    add_account(store).await;
    assert!(!set_status(store, AccountStatus::Locked, AccountStatus::Disabled).await);
    assert_eq!(
        store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap(),
        account(1)
    );
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Disabled).await);
    let changed = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!(changed.status, AccountStatus::Disabled);
    assert_eq!((changed.auth_version, changed.updated_at), (AuthVersion::from_i64(2), after(1)));
}

pub async fn set_password_raises_the_version(store: &dyn Store) {
    add_account(store).await;
    let mut unit = store.begin().await.unwrap();
    assert!(unit.accounts().set_password(account_id(1), &hash("$test$2"), after(1)).await.unwrap());
    unit.commit().await.unwrap();
    let changed = candidate(store, "user-1").await.unwrap();
    assert_eq!(changed.password, Some(hash("$test$2")));
    assert_eq!(changed.auth_version, AuthVersion::from_i64(2));
    assert_eq!(
        store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap().updated_at,
        after(1)
    );
}

pub async fn change_password_asks_for_the_version_and_an_active_account(store: &dyn Store) {
    add_account(store).await;
    let change = async |version: AuthVersion, new: &str| {
        let mut unit = store.begin().await.unwrap();
        let done =
            unit.accounts().change_password(account_id(1), version, &hash(new), after(1)).await.unwrap();
        unit.commit().await.unwrap();
        done
    };
    let (one, two) = (AuthVersion::FIRST, AuthVersion::FIRST.next());
    assert!(!change(two, "$test$2").await, "another version");
    assert!(change(one, "$test$2").await);
    assert!(!change(one, "$test$3").await, "changed before");
    let changed = candidate(store, "user-1").await.unwrap();
    assert_eq!((changed.password, changed.auth_version), (Some(hash("$test$2")), two));
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Locked).await);
    assert!(!change(two.next(), "$test$3").await, "not active");
}

pub async fn rehash_asks_for_version_hash_and_an_active_account(store: &dyn Store) {
    add_account(store).await;
    let rehash = async |version: i64, old: &str| {
        let mut unit = store.begin().await.unwrap();
        let (old, new) = (hash(old), hash("$test$2"));
        let rehash = Rehash { old: &old, new: &new, unchanged_since: None, at: after(7) };
        let done =
            unit.accounts().rehash(account_id(1), AuthVersion::from_i64(version), &rehash).await.unwrap();
        unit.commit().await.unwrap();
        done
    };
    assert!(!rehash(2, "$test$1").await, "another version");
    assert!(!rehash(1, "$test$0").await, "another hash");
    assert_eq!(candidate(store, "user-1").await.unwrap().password, Some(hash("$test$1")));
    assert!(rehash(1, "$test$1").await);
    let changed = candidate(store, "user-1").await.unwrap();
    assert_eq!((changed.password, changed.auth_version), (Some(hash("$test$2")), AuthVersion::FIRST));
    assert_eq!(changed.password_changed_at, Some(after(7)));
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Locked).await);
    assert!(!rehash(2, "$test$2").await, "not active");
}

/// Rehashes account 1 from hash `n` to the next one, as an account of the first version.
async fn rehash(store: &dyn Store, n: u8, unchanged_since: Option<Timestamp>, at: Timestamp) -> bool {
    retried(|| async {
        let mut unit = store.begin().await?;
        let (old, new) = (hash(&format!("$test${n}")), hash(&format!("$test${}", n + 1)));
        let rehash = Rehash { old: &old, new: &new, unchanged_since, at };
        let done = unit.accounts().rehash(account_id(1), AuthVersion::FIRST, &rehash).await?;
        unit.commit().await?;
        Ok(done)
    })
    .await
}

pub async fn rehash_leaves_a_hash_that_was_changed_since(store: &dyn Store) {
    add_account(store).await;
    assert!(rehash(store, 1, Some(NOW), after(10)).await, "no change was ever noted");
    assert!(!rehash(store, 2, Some(after(9)), after(20)).await, "changed since");
    assert!(rehash(store, 2, Some(after(10)), after(20)).await, "not since");
    assert!(rehash(store, 3, None, after(21)).await, "whenever it was changed");
    assert_eq!(candidate(store, "user-1").await.unwrap().password, Some(hash("$test$4")));
}

pub async fn the_time_of_a_password_is_that_of_its_last_change(store: &dyn Store) {
    let mut made = account(1);
    made.password_changed_at = Some(after(3));
    assert_eq!(insert_account(store, &made).await, Inserted::Done);
    let at = async || {
        let account = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
        let candidate = candidate(store, "user-1").await.unwrap();
        assert_eq!(account.password_changed_at, candidate.password_changed_at);
        account.password_changed_at
    };
    assert_eq!(at().await, Some(after(3)));
    let mut unit = store.begin().await.unwrap();
    assert!(unit.accounts().set_password(account_id(1), &hash("x"), after(4)).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(at().await, Some(after(4)));
    let mut unit = store.begin().await.unwrap();
    let version = AuthVersion::FIRST.next();
    assert!(unit.accounts().change_password(account_id(1), version, &hash("y"), after(5)).await.unwrap());
    unit.commit().await.unwrap();
    assert_eq!(at().await, Some(after(5)));
    assert_eq!(insert_account(store, &account(2)).await, Inserted::Done);
    assert_eq!(candidate(store, "user-2").await.unwrap().password_changed_at, None, "brought over");
}

pub async fn of_those_who_rehash_at_once_one_does(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, _| async move { rehash(store.as_ref(), 1, Some(NOW), NOW).await }).await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}

pub async fn raise_version_asks_for_the_version_and_an_active_account(store: &dyn Store) {
    add_account(store).await;
    let raise = async |version: AuthVersion| {
        let mut unit = store.begin().await.unwrap();
        let done = unit.accounts().raise_version(account_id(1), version, after(1)).await.unwrap();
        unit.commit().await.unwrap();
        done
    };
    let (one, two) = (AuthVersion::FIRST, AuthVersion::FIRST.next());
    assert!(!raise(two).await, "another version");
    assert!(raise(one).await);
    assert!(!raise(one).await, "raised before");
    let changed = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!((changed.auth_version, changed.updated_at), (two, after(1)));
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Locked).await);
    assert!(!raise(two.next()).await, "not active");
}

pub async fn versions_are_raised_account_by_account_whatever_their_status(store: &dyn Store) {
    for n in [3, 1, 4, 2, 5] {
        let mut account = account(n);
        account.auth_version = AuthVersion::from_i64(100 * i64::from(n));
        assert_eq!(insert_account(store, &account).await, Inserted::Done);
    }
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Disabled).await, "now 101");
    let raise = async |after: Option<u8>, least: i64, most| {
        let mut unit = store.begin().await.unwrap();
        let (after_id, least) = (after.map(account_id), AuthVersion::from_i64(least));
        let ids = unit.accounts().raise_versions(after_id, least, most, after_now()).await.unwrap();
        unit.commit().await.unwrap();
        ids
    };
    let versions = async || {
        let mut versions = Vec::new();
        for n in 1..=5 {
            versions.push(
                store
                    .reader()
                    .await
                    .unwrap()
                    .accounts()
                    .by_id(account_id(n))
                    .await
                    .unwrap()
                    .unwrap()
                    .auth_version
                    .as_i64(),
            );
        }
        versions
    };
    assert_eq!(raise(None, 250, 2).await, [1, 2].map(account_id));
    assert_eq!(versions().await, [250, 250, 300, 400, 500], "the others are left alone");
    assert_eq!(raise(Some(2), 350, 2).await, [3, 4].map(account_id));
    assert_eq!(versions().await, [250, 250, 350, 401, 500], "never down, and never the same");
    assert_eq!(raise(Some(4), 1, 2).await, [account_id(5)]);
    assert_eq!(raise(Some(5), 1, 2).await, []);
    assert_eq!(versions().await, [250, 250, 350, 401, 501]);
    let one = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!((one.status, one.updated_at), (AccountStatus::Disabled, after_now()));
}

fn after_now() -> Timestamp {
    after(7)
}

async fn verify_email(store: &dyn Store, n: u8, email: &str) -> Inserted {
    let mut unit = store.begin().await.unwrap();
    let done = unit.accounts().verify_email(account_id(n), &address(email), after(1)).await.unwrap();
    unit.commit().await.unwrap();
    done
}

pub async fn an_address_is_set_as_verified_unless_another_account_has_it(store: &dyn Store) {
    let mut unverified = account(1);
    unverified.email = Some(address("a@example.com"));
    for account in [unverified, verified(2, "b@example.com")] {
        assert_eq!(insert_account(store, &account).await, Inserted::Done);
    }
    assert_eq!(verify_email(store, 1, "b@example.com").await, Inserted::Taken(UniqueKey::VerifiedEmail));
    let kept = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!((kept.email, kept.email_verified_at), (Some(address("a@example.com")), None));
    assert_eq!(verify_email(store, 1, "a@example.com").await, Inserted::Done);
    let found = store.reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!((found.email_verified_at, found.updated_at), (Some(after(1)), after(1)));
    assert_eq!(found.auth_version, AuthVersion::FIRST);
    assert_eq!(candidate(store, "a@example.com").await.unwrap().account, account_id(1));
    assert_eq!(verify_email(store, 1, "a@example.com").await, Inserted::Done, "the same again");
    assert_eq!(verify_email(store, 1, "c@example.com").await, Inserted::Done, "another one");
    assert!(candidate(store, "a@example.com").await.is_none());
    assert_eq!(verify_email(store, 2, "a@example.com").await, Inserted::Done, "free again");
}

pub async fn hold_asks_for_the_version_and_an_active_account(store: &dyn Store) {
    add_account(store).await;
    let hold = async |version| {
        let mut unit = store.begin().await.unwrap();
        unit.accounts().hold(account_id(1), AuthVersion::from_i64(version)).await.unwrap()
    };
    assert!(hold(1).await && !hold(2).await);
    assert!(set_status(store, AccountStatus::Active, AccountStatus::Locked).await);
    assert!(!hold(1).await && !hold(2).await, "not active");
}

/// Each reads how many sessions there are, and adds one only if there is none: that is safe while the account is held.
pub async fn of_those_who_hold_an_account_one_goes_at_a_time(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let held = race(stores, |store, n| async move {
        let mut unit = store.begin().await.unwrap();
        assert!(unit.accounts().hold(account_id(1), AuthVersion::FIRST).await.unwrap());
        if n % 4 == 0 {
            tokio::task::yield_now().await;
        }
        let session = session(n + 1, 1);
        assert_eq!(unit.sessions().insert(&session).await.unwrap(), Changed::Done);
        let (state, reason) = (SessionState::Active, EndReason::Evicted);
        unit.sessions()
            .end_longest_unused_beyond(account_id(1), state, session.id, 1, reason, NOW)
            .await
            .unwrap();
        unit.commit().await.unwrap();
    });
    held.await;
    assert_eq!(
        stores[1].reader().await.unwrap().sessions().of_account(account_id(1)).await.unwrap().len(),
        1
    );
}

pub async fn of_equal_accounts_added_at_once_one_is_inserted(stores: &Handles) {
    let kinds: [fn(u8) -> Account; 3] = [
        |n| Account::new(account_id(n), username("same"), NOW),
        |n| verified(n, "same@example.com"),
        |n| {
            let mut account = account(n);
            account.external_id = Some(ExternalId::from_stored("same"));
            account
        },
    ];
    for (kind, make) in (0_u8..).zip(kinds) {
        let done = race(stores, move |store, n| async move {
            let mut account = make(kind * TASKS + n);
            if kind == 0 {
                account.username = username("same");
            }
            insert_account(store.as_ref(), &account).await
        })
        .await;
        let inserted = done.iter().filter(|done| **done == Inserted::Done).count();
        assert_eq!(inserted, 1, "kind {kind}");
    }
}

pub async fn of_equal_external_ids_set_at_once_one_is_kept(stores: &Handles) {
    for n in 0..TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
    }
    let done = race(stores, |store, n| async move { set_external_id(store.as_ref(), n, Some("same")).await });
    let set = done.await.into_iter().filter(|done| *done == Inserted::Done).count();
    assert_eq!(set, 1);
    assert!(owner_of(stores[1].as_ref(), "same").await.is_some());
}

pub async fn of_equal_addresses_verified_at_once_one_is_kept(stores: &Handles) {
    for n in 0..TASKS {
        assert_eq!(insert_account(stores[0].as_ref(), &account(n)).await, Inserted::Done);
    }
    let done =
        race(stores, |store, n| async move { verify_email(store.as_ref(), n, "same@example.com").await });
    let verified = done.await.into_iter().filter(|done| *done == Inserted::Done).count();
    assert_eq!(verified, 1);
    assert!(candidate(stores[1].as_ref(), "same@example.com").await.is_some());
}

pub async fn a_status_changes_once(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, _| async move {
        set_status(store.as_ref(), AccountStatus::Active, AccountStatus::Disabled).await
    })
    .await;
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
    let changed = stores[1].reader().await.unwrap().accounts().by_id(account_id(1)).await.unwrap().unwrap();
    assert_eq!(changed.auth_version, AuthVersion::from_i64(2));
}
