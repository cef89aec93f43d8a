//! What an actor may administer: everything, the accounts of one parent, or nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::protocol::{Activity, Authentication, Carrier, SessionToken};
use iam_core::{
    AccountId, AccountStatus, Actor, AdministratorScope, Client, Error, ExternalId, NewAccount, ParentId,
    ParentKey, ParentStatus, PlainPassword, RequirementOf, RoleName, Scope, Username,
};
use iam_testkit::{PEER, SignedInPerson, TestIam};

/// What came of something that an actor tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Done,
    Denied,
    /// As if it were not there.
    NotThere,
}
use Came::{Denied, Done, NotThere};

fn came<T>(done: Result<T, Error>) -> Came {
    match done {
        Ok(_) => Done,
        Err(Error::Denied) => Denied,
        Err(Error::NotFound(_)) => NotThere,
        Err(error) => panic!("{error:?}"),
    }
}

fn found<T>(done: Result<Option<T>, Error>) -> Came {
    if done.unwrap().is_some() { Done } else { NotThere }
}

async fn actor(test: &TestIam, person: &SignedInPerson) -> Actor {
    let cookie = person.cookie();
    let token = SessionToken::parse(cookie.split_once('=').unwrap().1, Carrier::Cookie).unwrap();
    let client = Client::at(PEER.ip());
    match test.iam().protocol().authenticate(&token, Activity::Active, &client).await.unwrap() {
        Authentication::SignedIn(principal) => Actor::of(&principal, &client),
        other => panic!("{other:?}"),
    }
}

/// An administrator, signed in.
async fn administrator(test: &TestIam, name: &str, parent: &str, scope: AdministratorScope) -> Actor {
    let account = test.account(name).parent(parent).await;
    test.iam().roles(&Actor::service()).grant_administrator(account, scope).await.unwrap();
    actor(test, &test.signed_in(name).await).await
}

/// The actors, and what each may do: to an account of `acme`, to an administrator of `acme`, to the platform.
async fn actors(test: &TestIam) -> Vec<(&'static str, Actor, [Came; 3])> {
    let nobody = actor(test, &test.signed_in("amy").parent("acme").role("admin").await).await;
    let own = administrator(test, "ann", "acme", AdministratorScope::Parent).await;
    let other = administrator(test, "gus", "globex", AdministratorScope::Parent).await;
    let platform = administrator(test, "pia", "globex", AdministratorScope::Platform).await;
    vec![
        ("service", Actor::service(), [Done, Done, Done]),
        ("platform", platform, [Done, Done, Done]),
        ("own parent", own, [Done, Denied, Denied]),
        ("other parent", other, [NotThere, NotThere, Denied]),
        ("nobody", nobody, [Denied, Denied, Denied]),
        ("service, within another parent", Actor::service().within(Scope::Nothing), [Denied, Denied, Denied]),
    ]
}

fn name(n: usize, what: &str) -> String {
    format!("{what}{n}")
}

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

fn new(name: &str, parent: Option<ParentId>) -> NewAccount {
    let new = NewAccount::new(Username::parse(name).unwrap());
    match parent {
        Some(parent) => new.parent(parent),
        None => new,
    }
}

/// All that can be done to an account, by name.
async fn to_account(
    test: &TestIam,
    actor: &Actor,
    account: AccountId,
    n: usize,
) -> Vec<(&'static str, Came)> {
    let iam = test.iam();
    let password = PlainPassword::new("a wholly new horse battery staple").unwrap();
    let key = ExternalId::parse(name(n, "key")).unwrap();
    let session = test.signed_in("max").await.session();
    let (accounts, factors) = (iam.accounts(actor), iam.factors(actor));
    vec![
        ("set_external_id", came(accounts.set_external_id(account, Some(&key)).await)),
        ("disable", came(accounts.set_status(account, AccountStatus::Disabled).await)),
        ("enable", came(accounts.set_status(account, AccountStatus::Active).await)),
        ("set_password", came(accounts.set_password(account, &password).await)),
        ("revoke", came(iam.sessions(actor).revoke(account, session).await)),
        ("invite_to_enrol", came(factors.invite_to_enrol(account).await)),
        ("reset", came(factors.reset(account).await)),
    ]
}

#[tokio::test]
async fn an_actor_administers_accounts_in_its_scope() {
    let test = TestIam::new().await;
    let ordinary = test.account("bob").parent("acme").await;
    let ruler = administrator(&test, "rob", "acme", AdministratorScope::Parent).await.account().unwrap();
    for (n, (who, actor, [to_ordinary, to_ruler, _])) in actors(&test).await.into_iter().enumerate() {
        for (what, done) in to_account(&test, &actor, ordinary, n).await {
            assert_eq!(done, to_ordinary, "{who}: {what}");
        }
        for (what, done) in to_account(&test, &actor, ruler, 100 + n).await {
            assert_eq!(done, to_ruler, "{who}: {what} of an administrator");
        }
        let accounts = test.iam().accounts(&actor);
        let seen = if to_ordinary == Done { Done } else { NotThere };
        assert_eq!(found(accounts.by_username(&Username::parse("bob").unwrap()).await), seen, "{who}");
        let explained = accounts.explain(ordinary, &iam_core::Requirement::SignedIn).await;
        assert_eq!(came(explained), seen, "{who}");
    }
}

#[tokio::test]
async fn an_account_is_made_in_the_actors_scope() {
    let test = TestIam::new().await;
    let (acme, globex) = (test.parent("acme").await, test.parent("globex").await);
    test.iam().roles(&Actor::service()).ensure(&role("auditor")).await.unwrap();
    for (n, (who, actor, [to_ordinary, _, platform])) in actors(&test).await.into_iter().enumerate() {
        let accounts = test.iam().accounts(&actor);
        let inside = if to_ordinary == Done { Done } else { Denied };
        assert_eq!(came(accounts.create(new(&name(n, "in"), Some(acme))).await), inside, "{who}");
        let elsewhere = if who == "other parent" { Done } else { platform };
        assert_eq!(came(accounts.create(new(&name(n, "out"), Some(globex))).await), elsewhere, "{who}");
        assert_eq!(came(accounts.create(new(&name(n, "none"), None)).await), platform, "{who}");
        let with_role = new(&name(n, "role"), Some(acme)).role("auditor");
        assert_eq!(came(accounts.create(with_role).await), platform, "{who}");
    }
}

#[tokio::test]
async fn the_platform_is_administered_by_its_own() {
    let test = TestIam::new().await;
    let (iam, acme) = (test.iam(), test.parent("acme").await);
    let bob = test.account("bob").parent("acme").await;
    for (n, (who, actor, [own, _, platform])) in actors(&test).await.into_iter().enumerate() {
        let (roles, parents, factors) = (iam.roles(&actor), iam.parents(&actor), iam.factors(&actor));
        let key = ParentKey::parse(&name(n, "parent")).unwrap();
        let (suspended, active) = (ParentStatus::Suspended, ParentStatus::Active);
        let of_role = RequirementOf::Role(role("auditor"));
        let mut done = vec![
            ("roles.ensure", came(roles.ensure(&role(&name(n, "role"))).await)),
            ("roles.grant", came(roles.grant(bob, &role("auditor")).await)),
            ("roles.revoke", came(roles.revoke(bob, &role("auditor")).await)),
            ("grant_administrator", came(roles.grant_administrator(bob, AdministratorScope::Parent).await)),
            ("revoke_administrator", came(roles.revoke_administrator(bob, AdministratorScope::Parent).await)),
            ("parents.ensure", came(parents.ensure(&key).await)),
            ("suspend", came(parents.set_status(acme, active, suspended).await)),
        ];
        if platform == Done {
            parents.set_status(acme, suspended, active).await.unwrap();
        }
        done.push(("require of a role", came(factors.require(&of_role, Duration::ZERO).await)));
        done.push(("requirement of a role", came(factors.requirement(&of_role).await)));
        done.push(("lift of a role", came(factors.lift(&of_role).await)));
        done.push(("keys.retire", came(iam.keys(&actor).retire(7).await)));
        done.push(("setup.issue_token", came(iam.setup(&actor).issue_token().await)));
        done.push(("trail.flush", came(iam.trail(&actor).flush().await)));
        done.push(("trail.delete_old_records", came(iam.trail(&actor).delete_old_records().await)));
        for (what, came) in done {
            assert_eq!(came, platform, "{who}: {what}");
        }
        let of_parent = RequirementOf::Parent(acme);
        let own = if own == Done { Done } else { Denied };
        assert_eq!(came(factors.require(&of_parent, Duration::from_hours(1)).await), own, "{who}");
        assert_eq!(came(factors.lift(&of_parent).await), own, "{who}");
    }
}

#[tokio::test]
async fn what_is_outside_the_scope_is_in_the_trail() {
    let test = TestIam::new().await;
    let bob = test.account("bob").parent("acme").await;
    let other = administrator(&test, "gus", "globex", AdministratorScope::Parent).await;
    let before = test.logged("authz_fail").await;
    assert_eq!(came(test.iam().accounts(&other).set_status(bob, AccountStatus::Locked).await), NotThere);
    assert_eq!(came(test.iam().roles(&other).grant(bob, &role("auditor")).await), Denied);
    assert_eq!(test.logged("authz_fail").await, before + 2);
}
