//! Browsers that are trusted.

use iam_core::ports::{DeviceId, NewTrustedDevice};

use super::*;

/// Browser `n` of an account, trusted from `n` seconds after the beginning for a minute.
fn device(n: u8, account: u8) -> NewTrustedDevice {
    NewTrustedDevice {
        id: DeviceId::from_bytes([n; 16]),
        account: account_id(account),
        auth_version: AuthVersion::FIRST,
        token: token(n),
        created_at: after(n.into()),
        expires_at: after(u64::from(n) + 60),
        client: Client::at([192, 0, 2, n].into()).user_agent(b"test"),
    }
}

async fn trust(store: &dyn Store, new: &NewTrustedDevice, most: u32) {
    let mut unit = store.begin().await.unwrap();
    unit.trusted_devices().trust(new, most).await.unwrap();
    unit.commit().await.unwrap();
}

async fn is_trusted(store: &dyn Store, n: u8, account: u8) -> bool {
    store
        .reader()
        .await
        .unwrap()
        .trusted_devices()
        .is_trusted(&token(n), account_id(account), AuthVersion::FIRST, after(20))
        .await
        .unwrap()
}

async fn two_accounts(store: &dyn Store) {
    for n in 1..=2 {
        assert_eq!(insert_account(store, &account(n)).await, Inserted::Done);
    }
}

pub async fn a_browser_is_trusted_for_its_account_and_version_and_time(store: &dyn Store) {
    two_accounts(store).await;
    trust(store, &device(1, 1), 5).await;
    assert!(is_trusted(store, 1, 1).await);
    assert!(!is_trusted(store, 1, 2).await, "somebody else's");
    assert!(!is_trusted(store, 2, 1).await, "another token");
    let of = async |version, now| {
        let version = AuthVersion::from_i64(version);
        store
            .reader()
            .await
            .unwrap()
            .trusted_devices()
            .is_trusted(&token(1), account_id(1), version, after(now))
            .await
            .unwrap()
    };
    assert!(of(1, 60).await);
    assert!(!of(1, 61).await, "too late");
    assert!(!of(2, 60).await, "the account has changed");
}

pub async fn a_browser_of_the_future_is_not_trusted(store: &dyn Store) {
    two_accounts(store).await;
    trust(store, &device(1, 1), 5).await;
    let at = async |now| {
        store
            .reader()
            .await
            .unwrap()
            .trusted_devices()
            .is_trusted(&token(1), account_id(1), AuthVersion::FIRST, now)
            .await
            .unwrap()
    };
    let tolerated = after(1).minus(TOLERATED_LEAD);
    assert!(at(tolerated).await, "the clocks of two processes differ");
    assert!(!at(tolerated.minus(MICROSECOND)).await);
}

pub async fn only_the_newest_of_an_account_are_trusted(store: &dyn Store) {
    two_accounts(store).await;
    trust(store, &device(9, 2), 2).await;
    for n in 1..=4 {
        trust(store, &device(n, 1), 2).await;
    }
    for n in 1..=4 {
        assert_eq!(is_trusted(store, n, 1).await, n > 2, "{n}");
    }
    assert!(is_trusted(store, 9, 2).await);
}

pub async fn forget_all_forgets_those_of_the_account(store: &dyn Store) {
    two_accounts(store).await;
    for (n, account) in [(1, 1), (2, 1), (3, 2)] {
        trust(store, &device(n, account), 5).await;
    }
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.trusted_devices().forget_all(account_id(1)).await.unwrap(), 2);
    assert_eq!(unit.trusted_devices().forget_all(account_id(1)).await.unwrap(), 0);
    unit.commit().await.unwrap();
    assert!(
        !is_trusted(store, 1, 1).await && !is_trusted(store, 2, 1).await && is_trusted(store, 3, 2).await
    );
}

pub async fn purge_removes_what_is_over(store: &dyn Store) {
    two_accounts(store).await;
    for n in 1..=3 {
        trust(store, &device(n, 1), 5).await;
    }
    let purge = async |before: u64, most: u32| {
        let mut unit = store.begin().await.unwrap();
        let gone = unit.trusted_devices().purge(after(before), most).await.unwrap();
        unit.commit().await.unwrap();
        gone
    };
    assert_eq!((purge(61, 9).await, purge(63, 1).await, purge(99, 9).await), (0, 1, 2));
}

pub async fn of_any_number_trusted_at_once_no_more_than_that_are_left(stores: &Handles) {
    add_account(stores[0].as_ref()).await;
    let done = race(stores, |store, n| async move {
        retried(|| async {
            let mut unit = store.begin().await?;
            assert!(unit.accounts().hold(account_id(1), AuthVersion::FIRST).await?);
            unit.trusted_devices().trust(&device(n + 1, 1), 5).await?;
            unit.commit().await
        })
        .await;
    });
    done.await;
    let mut left = 0;
    for n in 1..=TASKS {
        let found = stores[1]
            .reader()
            .await
            .unwrap()
            .trusted_devices()
            .is_trusted(&token(n), account_id(1), AuthVersion::FIRST, after(20))
            .await;
        left += u32::from(found.unwrap());
    }
    assert_eq!(left, 5);
}
