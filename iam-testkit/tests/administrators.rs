//! The roles that mean something to the library itself: one way to them, and somebody is left who has the highest.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::{
    AccountId, AccountStatus, Actor, AdministratorScope, Conflict, Error, Invalid, Met, NewAccount,
    PARENT_ADMIN, PLATFORM_ADMIN, ParentStatus, Problem, Requirement, RequirementOf, RoleName, Username,
};
use iam_testkit::TestIam;

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

fn is_reserved<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Invalid(Invalid { field: "role", problem: Problem::Reserved })))
}

fn is_last<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict(Conflict::LastAdministrator)))
}

/// What changed somebody's roles, as the trail has it.
async fn trail(test: &TestIam) -> Vec<String> {
    let events =
        test.events().await.into_iter().filter(|event| event.event == "privilege_permissions_changed");
    events.filter_map(|event| event.reason).collect()
}

#[tokio::test]
async fn reserved_roles_are_given_by_no_call_for_roles() {
    let test = TestIam::new().await;
    let alice = test.account("alice").await;
    let (iam, service) = (test.iam(), Actor::service());
    for name in [PLATFORM_ADMIN, PARENT_ADMIN, "iam:", "iam:auditor", "IAM:platform-admin", "Iam:x"] {
        assert!(is_reserved(&iam.roles(&service).grant(alice, &role(name)).await), "{name}");
        let made = iam.roles(&service).ensure(&role(name)).await;
        assert_eq!(is_reserved(&made), ![PLATFORM_ADMIN, PARENT_ADMIN].contains(&name), "{name}");
    }
    for name in [PLATFORM_ADMIN, PARENT_ADMIN] {
        assert!(is_reserved(&iam.roles(&service).revoke(alice, &role(name)).await), "{name}");
    }
    assert_eq!(trail(&test).await, [""; 0]);
    let refusal = iam.roles(&service).grant(alice, &role(PLATFORM_ADMIN)).await.unwrap_err().to_string();
    assert!(refusal.contains("grant_administrator"), "{refusal}");
    // A factor may well be required of administrators.
    let of = RequirementOf::Role(role(PLATFORM_ADMIN));
    assert!(iam.factors(&service).require(&of, Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn administrators_are_made_and_unmade_by_their_own_calls() {
    use AdministratorScope::{Parent, Platform};
    let test = TestIam::new().await;
    let (alice, bob) = (test.account("alice").await, test.account("bob").parent("acme").await);
    let (iam, service) = (test.iam(), Actor::service());
    iam.roles(&service).grant_administrator(alice, Platform).await.unwrap();
    iam.roles(&service).grant_administrator(bob, Parent).await.unwrap();
    iam.roles(&service).grant_administrator(bob, Parent).await.unwrap();
    let refused = iam.roles(&service).grant_administrator(alice, Parent).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::NoParent))), "of no parent");
    let nobody = iam.roles(&service).grant_administrator(AccountId::from_bytes([9; 16]), Platform).await;
    assert!(matches!(nobody, Err(Error::NotFound("account"))));
    assert!(iam.roles(&service).revoke_administrator(bob, Parent).await.unwrap());
    assert!(!iam.roles(&service).revoke_administrator(bob, Parent).await.unwrap());
    assert!(!iam.roles(&service).revoke_administrator(bob, Platform).await.unwrap());
    assert_eq!(
        trail(&test).await,
        ["granted iam:platform-admin", "granted iam:parent-admin", "revoked iam:parent-admin"]
    );
}

#[tokio::test]
async fn the_last_administrator_of_the_platform_stays() {
    use AdministratorScope::Platform;
    let test = TestIam::new().await;
    let (alice, bob) = (test.account("alice").await, test.account("bob").parent("acme").await);
    let (iam, service, acme) = (test.iam(), Actor::service(), test.parent("acme").await);
    let set_status = async |account, to| iam.accounts(&service).set_status(account, to).await;
    let suspend =
        async || iam.parents(&service).set_status(acme, ParentStatus::Active, ParentStatus::Suspended).await;
    iam.roles(&service).grant_administrator(alice, Platform).await.unwrap();
    assert!(is_last(&iam.roles(&service).revoke_administrator(alice, Platform).await));
    assert!(is_last(&set_status(alice, AccountStatus::Disabled).await));
    assert!(is_last(&set_status(alice, AccountStatus::Locked).await));
    set_status(bob, AccountStatus::Disabled).await.unwrap();
    iam.roles(&service).grant_administrator(bob, Platform).await.unwrap();
    assert!(
        is_last(&iam.roles(&service).revoke_administrator(alice, Platform).await),
        "the other can't sign in"
    );

    set_status(bob, AccountStatus::Active).await.unwrap();
    assert!(iam.roles(&service).revoke_administrator(alice, Platform).await.unwrap());
    assert!(is_last(&suspend().await), "nor could who belongs to a parent that is suspended");
    iam.roles(&service).grant_administrator(alice, Platform).await.unwrap();
    suspend().await.unwrap();
    assert!(is_last(&set_status(alice, AccountStatus::Disabled).await));
    assert_eq!(
        trail(&test).await,
        [
            "granted iam:platform-admin",
            "granted iam:platform-admin",
            "revoked iam:platform-admin",
            "granted iam:platform-admin"
        ]
    );
}

/// With all of them, or not at all; and none that opens what is the library's own.
#[tokio::test]
async fn accounts_are_made_with_their_roles_or_not_at_all() {
    let test = TestIam::new().await;
    let (iam, service) = (test.iam(), Actor::service());
    let new = |name: &str| NewAccount::new(Username::parse(name).unwrap());
    for name in ["editor", "reader"] {
        iam.roles(&service).ensure(&role(name)).await.unwrap();
    }
    let amy =
        iam.accounts(&service).create(new("amy").role("editor").role("reader").role("editor")).await.unwrap();
    assert_eq!(trail(&test).await, ["granted editor", "granted reader"]);
    let events = test.events().await;
    let granted: Vec<_> =
        events.iter().filter(|event| event.event == "privilege_permissions_changed").collect();
    assert!(granted.iter().all(|event| event.account == Some(amy)));
    let auditors = Requirement::AnyRole(vec!["editor".into()]);
    assert_eq!(iam.accounts(&Actor::service()).explain(amy, &auditors).await.unwrap().verdict, Met::Yes);

    let records = test.events().await.len();
    let refusal = iam.accounts(&service).create(new("bob").role("editor").role("auditor")).await.unwrap_err();
    assert!(matches!(&refusal, Error::UnknownRole(name) if name.as_str() == "auditor"), "{refusal:?}");
    assert_eq!(refusal.to_string(), "no such role: auditor");
    for name in [PLATFORM_ADMIN, PARENT_ADMIN, "iam:auditor", "IAM:platform-admin"] {
        let made = iam.accounts(&service).create(new("bob").role("editor").role(name)).await;
        assert!(is_reserved(&made), "{name}: {made:?}");
    }
    for name in ["", "Has Space"] {
        let made = iam.accounts(&service).create(new("bob").role(name)).await;
        assert!(matches!(made, Err(Error::Invalid(Invalid { field: "role", .. }))), "{name}: {made:?}");
    }
    // The name is taken: no grant is left over.
    let taken = iam.accounts(&service).create(new("amy").role("editor")).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    assert_eq!(test.events().await.len(), records);
    assert!(
        iam.accounts(&Actor::service())
            .by_username(&Username::parse("bob").unwrap())
            .await
            .unwrap()
            .is_none()
    );
}
