//! Guards that use a session which was read a moment ago.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::protocol::{Activity, Authentication, Carrier, SessionToken};
use iam_core::{
    AccountStatus, Actor, Client, Error, ParentStatus, Principal, RequirementOf, RoleName, SessionCache,
};
use iam_store_sqlite::SqliteStore;
use iam_testkit::{PEER, SignedInPerson, TestIam};

const CACHE: SessionCache = SessionCache { most: 32, max_age: Duration::from_millis(900) };

async fn caching(store: &SqliteStore) -> TestIam {
    TestIam::builder().store(store.clone()).with(|builder| builder.session_cache(CACHE)).build().await
}

async fn store() -> SqliteStore {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn token(person: &SignedInPerson) -> SessionToken {
    let cookie = person.cookie();
    SessionToken::parse(cookie.split_once('=').unwrap().1, Carrier::Cookie).unwrap()
}

async fn asked(test: &TestIam, token: &SessionToken) -> Result<Authentication, Error> {
    test.iam().protocol().authenticate(token, Activity::Active, &Client::at(PEER.ip())).await
}

async fn principal(test: &TestIam, token: &SessionToken) -> Option<Principal> {
    match asked(test, token).await.unwrap() {
        Authentication::SignedIn(principal) => Some(principal),
        _ => None,
    }
}

#[tokio::test]
async fn a_session_is_read_once_in_a_moment() {
    let test = caching(&store().await).await;
    let alice = token(&test.signed_in("alice").role("auditor").await);
    // Its first use is written down, and what is written down is read anew.
    test.later(Duration::from_secs(5));
    for _ in 0..2 {
        assert!(principal(&test, &alice).await.unwrap().has_role("auditor"));
    }
    test.store_fails(true);
    test.later(Duration::from_millis(899));
    assert!(principal(&test, &alice).await.unwrap().has_role("auditor"));
    test.later(Duration::from_millis(1));
    assert!(asked(&test, &alice).await.is_err(), "too old");
    test.store_fails(false);
    assert!(principal(&test, &alice).await.is_some());
}

#[tokio::test]
async fn what_this_process_changes_counts_at_once() {
    let test = caching(&store().await).await;
    let (iam, actor) = (test.iam(), Actor::service());
    let auditor = RoleName::parse("auditor").unwrap();
    let acme = test.parent("acme").await;

    let alice = test.signed_in("alice").role("auditor").parent("acme").await;
    let shown = token(&alice);
    assert!(principal(&test, &shown).await.unwrap().has_role("auditor"));
    iam.roles(&actor).revoke(alice.account(), &auditor).await.unwrap();
    assert!(!principal(&test, &shown).await.unwrap().has_role("auditor"));
    iam.roles(&actor).grant(alice.account(), &auditor).await.unwrap();
    assert!(principal(&test, &shown).await.unwrap().has_role("auditor"));

    assert_eq!(principal(&test, &shown).await.unwrap().factor_due_at(), None);
    let grace = Duration::from_hours(1);
    iam.factors(&actor).require(&RequirementOf::Role(auditor), grace).await.unwrap();
    assert!(principal(&test, &shown).await.unwrap().factor_due_at().is_some(), "of a role");

    iam.parents(&actor).set_status(acme, ParentStatus::Active, ParentStatus::Suspended).await.unwrap();
    assert!(principal(&test, &shown).await.is_none(), "a suspended parent");
    iam.parents(&actor).set_status(acme, ParentStatus::Suspended, ParentStatus::Active).await.unwrap();
    assert!(principal(&test, &shown).await.is_some());

    iam.sessions(&actor).revoke(alice.account(), alice.session()).await.unwrap();
    assert!(principal(&test, &shown).await.is_none(), "an ended session");

    let bob = test.signed_in("bob").await;
    let shown = token(&bob);
    assert!(principal(&test, &shown).await.is_some());
    iam.accounts(&actor).set_status(bob.account(), AccountStatus::Disabled).await.unwrap();
    assert!(principal(&test, &shown).await.is_none(), "a disabled account");
}

#[tokio::test]
async fn what_another_process_changes_counts_within_a_second() {
    let store = store().await;
    let (test, other) = (caching(&store).await, TestIam::builder().store(store.clone()).build().await);
    let alice = test.signed_in("alice").await;
    let shown = token(&alice);
    test.later(Duration::from_secs(5));
    assert!(principal(&test, &shown).await.is_some());
    assert!(principal(&test, &shown).await.is_some());
    other.iam().sessions(&Actor::service()).revoke(alice.account(), alice.session()).await.unwrap();
    assert!(principal(&test, &shown).await.is_some(), "not known here");
    test.later(CACHE.max_age);
    assert!(principal(&test, &shown).await.is_none());
}

#[tokio::test]
async fn a_full_cache_forgets() {
    let test = caching(&store().await).await;
    let mut tokens = Vec::new();
    for n in 0..100 {
        tokens.push(token(&test.signed_in(&format!("person{n}")).await));
    }
    test.later(Duration::from_secs(5));
    for shown in tokens.iter().chain(&tokens) {
        assert!(principal(&test, shown).await.is_some());
    }
    test.store_fails(true);
    let mut kept = 0;
    for shown in &tokens {
        kept += u32::from(asked(&test, shown).await.is_ok());
    }
    assert!(kept > 0 && kept <= 32, "{kept}");
}
