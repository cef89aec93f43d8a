//! The roles that mean something to the library itself: one way to them, and somebody is left who has the highest.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::Error;
use iam_core::account::AccountStatus;
use iam_core::error::{Invalid, Problem};
use iam_core::flow::{Actor, RequirementOf};
use iam_core::id::AccountId;
use iam_core::parent::ParentStatus;
use iam_core::role::{AdministratorScope, PARENT_ADMIN, PLATFORM_ADMIN, RoleName};
use iam_testkit::TestIam;

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

fn is_reserved<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Invalid(Invalid { field: "role", problem: Problem::Reserved })))
}

fn is_last<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict("last administrator")))
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
        assert!(is_reserved(&iam.grant_role(alice, &role(name), &service).await), "{name}");
        let made = iam.ensure_role(&role(name), &service).await;
        assert_eq!(is_reserved(&made), ![PLATFORM_ADMIN, PARENT_ADMIN].contains(&name), "{name}");
    }
    for name in [PLATFORM_ADMIN, PARENT_ADMIN] {
        assert!(is_reserved(&iam.revoke_role(alice, &role(name), &service).await), "{name}");
    }
    assert_eq!(trail(&test).await, [""; 0]);
    let refusal = iam.grant_role(alice, &role(PLATFORM_ADMIN), &service).await.unwrap_err().to_string();
    assert!(refusal.contains("grant_administrator"), "{refusal}");
    // A factor may well be required of administrators.
    let of = RequirementOf::Role(role(PLATFORM_ADMIN));
    assert!(iam.require_second_factor(&of, Duration::ZERO, &service).await.unwrap());
}

#[tokio::test]
async fn administrators_are_made_and_unmade_by_their_own_calls() {
    use AdministratorScope::{Parent, Platform};
    let test = TestIam::new().await;
    let (alice, bob) = (test.account("alice").await, test.account("bob").parent("acme").await);
    let (iam, service) = (test.iam(), Actor::service());
    iam.grant_administrator(alice, Platform, &service).await.unwrap();
    iam.grant_administrator(bob, Parent, &service).await.unwrap();
    iam.grant_administrator(bob, Parent, &service).await.unwrap();
    let refused = iam.grant_administrator(alice, Parent, &service).await;
    assert!(matches!(refused, Err(Error::Conflict("parent"))), "of no parent");
    let nobody = iam.grant_administrator(AccountId::from_bytes([9; 16]), Platform, &service).await;
    assert!(matches!(nobody, Err(Error::NotFound("account"))));
    assert!(iam.revoke_administrator(bob, Parent, &service).await.unwrap());
    assert!(!iam.revoke_administrator(bob, Parent, &service).await.unwrap());
    assert!(!iam.revoke_administrator(bob, Platform, &service).await.unwrap());
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
    let set_status = async |account, to| iam.set_account_status(account, to, &service).await;
    let suspend =
        async || iam.set_parent_status(acme, ParentStatus::Active, ParentStatus::Suspended, &service).await;
    iam.grant_administrator(alice, Platform, &service).await.unwrap();
    assert!(is_last(&iam.revoke_administrator(alice, Platform, &service).await));
    assert!(is_last(&set_status(alice, AccountStatus::Disabled).await));
    assert!(is_last(&set_status(alice, AccountStatus::Locked).await));
    set_status(bob, AccountStatus::Disabled).await.unwrap();
    iam.grant_administrator(bob, Platform, &service).await.unwrap();
    assert!(is_last(&iam.revoke_administrator(alice, Platform, &service).await), "the other can't sign in");

    set_status(bob, AccountStatus::Active).await.unwrap();
    assert!(iam.revoke_administrator(alice, Platform, &service).await.unwrap());
    assert!(is_last(&suspend().await), "nor could who belongs to a parent that is suspended");
    iam.grant_administrator(alice, Platform, &service).await.unwrap();
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
