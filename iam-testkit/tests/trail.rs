//! What the trail says of who, to whom, what to, and where.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use iam_core::ports::Record;
use iam_core::{
    AccountStatus, Actor, AdministratorScope, Client, ExternalId, PlainPassword, RequirementOf, RoleName,
    Scope, Target,
};
use iam_testkit::TestIam;

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

/// Whatever is done to an account happens in its parent, whoever does it.
#[tokio::test]
async fn what_is_done_to_an_account_is_in_its_parent() {
    let test = TestIam::new().await;
    let acme = test.parent("acme").await;
    let (iam, boss) = (test.iam(), test.account("boss").await);
    let actor = Actor::person(boss, Client::default()).within(Scope::Platform);
    for (name, parent) in [("bob", Some(acme)), ("eve", None)] {
        let person = test.signed_in(name).role("clerk");
        let person = if parent.is_some() { person.parent("acme") } else { person };
        let signed_in = person.await;
        let account = signed_in.account();
        iam.sessions(&actor).revoke(account, signed_in.session()).await.unwrap();
        iam.roles(&actor).grant(account, &role("auditor")).await.unwrap();
        iam.roles(&actor).revoke(account, &role("auditor")).await.unwrap();
        iam.accounts(&actor).set_external_id(account, Some(&ExternalId::parse(name).unwrap())).await.unwrap();
        let password = PlainPassword::new("a longer horse than before").unwrap();
        iam.accounts(&actor).set_password(account, &password).await.unwrap();
        iam.factors(&actor).invite_to_enrol(account).await.unwrap();
        iam.factors(&actor).reset(account).await.unwrap();
        test.signed_in(name).password("a longer horse than before").await;
        test.later(Duration::from_hours(13));
        iam.upkeep().await.unwrap();
        iam.accounts(&actor).set_status(account, AccountStatus::Disabled).await.unwrap();
        iam.accounts(&actor).set_status(account, AccountStatus::Active).await.unwrap();
        if parent.is_some() {
            iam.roles(&actor).grant_administrator(account, AdministratorScope::Parent).await.unwrap();
        }
        let events: Vec<Record> = test.events().await;
        let about: Vec<&Record> = events.iter().filter(|event| event.account == Some(account)).collect();
        assert!(about.len() >= 14, "{about:#?}");
        for event in about {
            assert_eq!(event.parent, parent, "{name}: {event:#?}");
        }
    }
}

/// Each change names the narrowest thing that it was done to, by an id that can be looked up.
#[tokio::test]
async fn every_change_names_what_it_was_done_to() {
    let test = TestIam::new().await;
    let acme = test.parent("acme").await;
    let (iam, service) = (test.iam(), Actor::service());
    let alice = test.signed_in("alice").role("clerk").await;
    let of = RequirementOf::Parent(acme);
    iam.factors(&service).require(&of, Duration::from_hours(1)).await.unwrap();
    let of = RequirementOf::Role(role("clerk"));
    iam.factors(&service).require(&of, Duration::from_hours(1)).await.unwrap();
    iam.accounts(&service).set_status(alice.account(), AccountStatus::Locked).await.unwrap();
    let mut targets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut requirements = Vec::new();
    for event in test.events().await {
        if event.event == "mfa_requirement_changed" {
            requirements.push((event.parent, event.reason.clone().unwrap()));
        }
        let target = event.target.map_or("nothing".to_owned(), |target| target.to_string());
        targets.entry(event.event.into_owned()).or_default().push(target);
    }
    let (account, session) = (alice.account(), alice.session());
    for (event, expected) in [
        ("sys_startup", vec!["nothing".to_owned()]),
        ("parent_created", vec![format!("parent {acme}")]),
        ("role_created", vec!["role clerk".to_owned()]),
        ("user_created", vec![format!("account {account}")]),
        ("privilege_permissions_changed", vec!["role clerk".to_owned()]),
        ("authn_login_success", vec![format!("session {session}")]),
        ("session_created", vec![format!("session {session}")]),
        ("mfa_requirement_changed", vec![format!("parent {acme}"), "role clerk".to_owned()]),
        ("user_updated", vec![format!("account {account}")]),
    ] {
        assert_eq!(targets.get(event), Some(&expected), "{event} in {targets:#?}");
    }
    assert_eq!(requirements[0].0, Some(acme), "what is done to a parent happens in it");
    assert!(requirements[0].1.starts_with(&format!("parent {acme}: ")), "{requirements:?}");
    assert!(requirements[1].1.starts_with("role clerk: "), "{requirements:?}");
    assert_eq!(Target::new(Target::ROLE, "clerk").to_string(), "role clerk");
}

/// By upkeep; or, where the daily database user may remove nothing, by a call of a program that has another one.
#[tokio::test]
async fn old_records_go_by_upkeep_or_by_a_call_elsewhere() {
    for elsewhere in [false, true] {
        let builder = TestIam::builder();
        let builder =
            if elsewhere { builder.with(iam_core::IamBuilder::audit_retention_elsewhere) } else { builder };
        let test = builder.build().await;
        test.signed_in("alice").await;
        test.later(Duration::from_hours(24 * 400 + 1));
        while test.iam().upkeep().await.unwrap().is_more_waiting() {}
        assert_eq!(test.logged("sys_startup").await, u32::from(elsewhere));
        assert_eq!(test.iam().trail(&Actor::service()).delete_old_records().await.unwrap() > 0, elsewhere);
        assert_eq!(test.logged("sys_startup").await, 0);
        assert_eq!(test.logged("session_expired").await, 1, "what is not old stays");
    }
}
