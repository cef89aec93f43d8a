//! The kit itself: what it makes, and how it says what it can't.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::ports::LoginIdentifier;
use iam_core::protocol::{Activity, Authentication, Carrier, Claimant, Login, SessionToken};
use iam_core::{
    AccountId, Actor, Client, Error, ExternalId, FactorKind, Met, MethodName, NewAccount, PlainPassword,
    ProofMethod, Purpose, Readiness, Requirement, RequirementOf, RoleName, SessionPolicy, StepUp, Username,
};
use iam_store_sqlite::SqliteStore;
use iam_testkit::{Outcome, PASSWORD, PEER, TestIam};

#[tokio::test]
async fn everybody_is_made_once() {
    let test = TestIam::new().await;
    let bob = test.account("bob").role("clerk").parent("acme").await;
    assert_eq!(test.account("bob").await, bob);
    let signed_in = test.signed_in("bob").role("auditor").parent("acme").await;
    assert_eq!(signed_in.account(), bob);
    assert_eq!(test.logged("user_created").await, 1);
    assert_eq!(test.logged("privilege_permissions_changed").await, 2, "roles add up");
    assert_eq!(test.logged("parent_created").await, 1);
    let account = test
        .iam()
        .accounts(&Actor::service())
        .by_username(&Username::parse("bob").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(account.parent, Some(test.parent("acme").await));
    assert_eq!(test.iam().readiness().await.unwrap(), Readiness::Ready);
}

#[tokio::test]
async fn at_the_same_time_too() {
    let test = TestIam::new().await;
    let sign_in = || test.signed_in("alice").role("auditor").parent("acme").into_future();
    let (one, other) = tokio::join!(sign_in(), sign_in());
    assert_eq!(one.account(), other.account());
    assert_ne!(one.session(), other.session());
    assert_ne!(one.cookie(), other.cookie());
}

#[tokio::test]
async fn a_test_is_alone() {
    let (one, other) = tokio::join!(TestIam::new(), TestIam::new());
    one.signed_in("alice").await;
    one.later(Duration::from_secs(5));
    assert_eq!(other.logged("user_created").await, 0);
    assert_eq!(one.now().since(other.now()), Duration::from_secs(5));
    assert_eq!(other.iam().now(), other.now(), "the clock is the identity layer's");
}

#[tokio::test]
async fn a_bearer_token_is_a_session_of_its_own_and_made_when_asked_for() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").await;
    assert_eq!(test.logged("session_created").await, 1);
    let bearer = alice.bearer().await;
    assert_eq!(alice.clone().bearer().await, bearer, "and once");
    assert_eq!(test.logged("session_created").await, 2);
    let token = bearer.strip_prefix("Bearer ").unwrap();
    assert!(!alice.cookie().contains(token));
    assert!(!format!("{alice:?}").contains(token));
}

#[tokio::test]
async fn the_cookie_is_called_as_the_base_url_asks() {
    let test = TestIam::new().await;
    assert!(test.signed_in("alice").await.cookie().starts_with("iam_session="));
    assert_eq!(test.origin(), "http://localhost");
    let test =
        TestIam::builder().with(|iam| iam.base_url("https://app.example.com".parse().unwrap())).build().await;
    let alice = test.signed_in("alice").await;
    assert!(alice.cookie().starts_with("__Host-iam_session="));
    assert_eq!(alice.origin(), "https://app.example.com");
}

#[tokio::test]
async fn events_come_in_order_however_many() {
    let test = TestIam::new().await;
    let alice = test.account("alice").await;
    let (role, service) = (RoleName::parse("clerk").unwrap(), iam_core::Actor::service());
    for _ in 0..501 {
        test.iam().roles(&service).grant(alice, &role).await.unwrap();
        test.iam().roles(&service).revoke(alice, &role).await.unwrap();
        test.later(Duration::from_secs(1));
    }
    let events = test.events().await;
    assert!(events.is_sorted_by_key(|event| event.at));
    assert_eq!(events[0].event, "sys_startup");
    assert_eq!(test.logged("privilege_permissions_changed").await, 1002);
    test.signed_in("alice").await;
    let events = test.events().await;
    let [.., login, session] = &events[..] else { panic!("{events:?}") };
    assert_eq!((login.event.as_ref(), session.event.as_ref()), ("authn_login_success", "session_created"));
    assert_eq!((login.outcome, login.account), (Outcome::Success, Some(alice)));
    assert_eq!(login.client.address, Some(PEER.ip()));
}

#[tokio::test]
async fn the_worker_runs_when_it_is_told() {
    let test = TestIam::new().await;
    test.signed_in("alice").await;
    test.later(Duration::from_hours(13));
    assert_eq!(test.logged("session_expired").await, 0);
    test.iam().upkeep().await.unwrap();
    assert_eq!(test.logged("session_expired").await, 1);
}

#[tokio::test]
async fn the_rules_can_be_set() {
    let idle = Duration::from_mins(5);
    let test = TestIam::builder()
        .with(move |iam| iam.sessions(SessionPolicy { idle, ..SessionPolicy::default() }))
        .with(|iam| iam.most_sessions(1))
        .build()
        .await;
    assert_eq!(test.iam().session_policy().idle, idle, "each change comes on top of the one before");
    test.signed_in("alice").await;
    test.signed_in("alice").await;
    let events = test.events().await;
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("evicted")));
}

#[tokio::test]
async fn people_have_keys_of_the_services_own() {
    let test = TestIam::new().await;
    let holder = async |id: &str| {
        let account = test
            .iam()
            .accounts(&Actor::service())
            .by_external_id(&ExternalId::parse(id).unwrap())
            .await
            .unwrap();
        account.map(|account| account.id)
    };
    let alice = test.account("alice").external_id("42").await;
    assert_eq!(holder("42").await, Some(alice));
    assert_eq!(test.logged("user_updated").await, 0, "made with it");
    test.signed_in("alice").external_id("42").await;
    assert_eq!(test.logged("user_updated").await, 0);
    test.signed_in("alice").external_id("43").await;
    assert_eq!((holder("42").await, holder("43").await), (None, Some(alice)));
    let (one, other) = tokio::join!(
        test.signed_in("bob").external_id("7").into_future(),
        test.signed_in("bob").external_id("7").into_future()
    );
    assert_eq!(one.account(), other.account());
}

#[tokio::test]
#[should_panic(expected = "bob can't have the external id `42`: it is that of alice")]
async fn a_key_of_somebody_else_is_refused() {
    let test = TestIam::new().await;
    test.account("alice").external_id("42").await;
    test.account("bob").external_id("42").await;
}

#[tokio::test]
async fn the_store_fails_when_it_is_told_to() {
    let test = TestIam::new().await;
    test.account("alice").await;
    test.clone().store_fails(true);
    assert!(test.iam().readiness().await.is_err());
    test.store_fails(false);
    assert_eq!(test.iam().readiness().await.unwrap(), Readiness::Ready);
    assert_eq!(test.logged("user_created").await, 1, "what was there is there");
}

#[tokio::test]
#[should_panic(expected = "as the test asked")]
async fn nobody_is_made_while_the_store_fails() {
    let test = TestIam::new().await;
    test.store_fails(true);
    test.account("alice").await;
}

#[tokio::test]
async fn a_password_of_ones_own() {
    let test = TestIam::new().await;
    test.account("carol").password("wrong pony charger").await;
    test.signed_in("carol").password("wrong pony charger").await;
}

#[tokio::test]
#[should_panic(
    expected = "carol can't sign in: the account has another password (then give it with `.password(..)`)"
)]
async fn another_password_is_pointed_out() {
    let test = TestIam::new().await;
    test.account("carol").password("wrong pony charger").await;
    test.signed_in("carol").password(PASSWORD).await;
}

#[tokio::test]
#[should_panic(expected = "alice can't be put in `globex`: the account is there, in another parent")]
async fn a_second_parent_is_refused() {
    let test = TestIam::new().await;
    test.account("alice").parent("acme").await;
    test.signed_in("alice").parent("globex").await;
}

#[tokio::test]
#[should_panic(expected = "alice can't be put in `acme`: the account is there, without a parent")]
async fn a_parent_that_comes_late_is_refused() {
    let test = TestIam::new().await;
    test.account("alice").await;
    test.account("alice").parent("acme").await;
}

#[tokio::test]
#[should_panic(expected = "alice can't be in `acme` and in `globex`: an account has one parent")]
async fn two_parents_at_once_are_refused() {
    let test = TestIam::new().await;
    test.account("alice").parent("acme").parent("acme").parent("globex").await;
}

#[tokio::test]
#[should_panic(expected = "`Not A Key` can't be a parent's key: parent")]
async fn a_wrong_name_is_pointed_out() {
    TestIam::new().await.parent("Not A Key").await;
}

#[tokio::test]
async fn mails_are_there_when_they_are_asked_for() {
    let test = TestIam::new().await;
    let alice = test.account("alice").await;
    let actor = iam_core::Actor::service();
    let password = iam_core::PlainPassword::new("wrong pony charger").unwrap();
    test.iam().accounts(&actor).set_password(alice, &password).await.unwrap();
    assert!(test.mails().await.is_empty(), "alice has no address");
    let new = iam_core::NewAccount::new(Username::parse("bob").unwrap())
        .verified_email(iam_core::EmailAddress::parse("bob@example.com").unwrap());
    let bob = test.iam().accounts(&actor).create(new).await.unwrap();
    test.iam().accounts(&actor).set_password(bob, &password).await.unwrap();
    let mails = test.mails().await;
    assert_eq!((mails.len(), mails[0].to.as_str()), (1, "bob@example.com"));
}

/// What the core's own tests can't see: that it is read from the store as it is now.
#[tokio::test]
async fn what_an_account_has_for_each_rule_is_as_of_now() {
    let test = TestIam::new().await;
    let alice = test.account("alice").role("clerk").parent("acme").await;
    let step_up = |kind| StepUp::new(Purpose::parse("payroll").unwrap()).factors([kind]);
    let requirement = Requirement::AnyRole(vec!["clerk".into()])
        .and(Requirement::StepUp(step_up(ProofMethod::Password)))
        .and(Requirement::AnyOf(vec![
            Requirement::SameParent,
            Requirement::StepUp(step_up(ProofMethod::Totp)),
        ]));
    let met = async || {
        let explanation = test.iam().accounts(&Actor::service()).explain(alice, &requirement).await.unwrap();
        (explanation.rules.iter().map(|rule| (rule.code, rule.met)).collect::<Vec<_>>(), explanation.verdict)
    };
    let mut rules = vec![
        ("account_active", Met::Yes),
        ("parent_active", Met::Yes),
        ("second_factor_required", Met::Yes),
        ("all_of", Met::ByRequest),
        ("role", Met::Yes),
        ("step_up", Met::ByRequest),
        ("any_of", Met::ByRequest),
        ("same_parent", Met::ByRequest),
        ("step_up", Met::No),
    ];
    assert_eq!(met().await, (rules.clone(), Met::ByRequest));

    let service = Actor::service();
    let of_acme = RequirementOf::Parent(test.parent("acme").await);
    test.iam().factors(&service).require(&of_acme, Duration::from_mins(1)).await.unwrap();
    assert_eq!(met().await, (rules.clone(), Met::ByRequest), "there is time");
    test.later(Duration::from_mins(1));
    rules[2].1 = Met::No;
    assert_eq!(met().await, (rules.clone(), Met::No));
    let clerk = RoleName::parse("clerk").unwrap();
    test.iam().roles(&service).revoke(alice, &clerk).await.unwrap();
    (rules[3].1, rules[4].1) = (Met::No, Met::No);
    assert_eq!(met().await, (rules, Met::No));

    let logged = test.events().await.len();
    let nobody = AccountId::from_bytes([7; 16]);
    assert!(matches!(
        test.iam().accounts(&Actor::service()).explain(nobody, &requirement).await,
        Err(Error::NotFound("account"))
    ));
    test.store_fails(true);
    assert!(matches!(
        test.iam().accounts(&Actor::service()).explain(alice, &requirement).await,
        Err(Error::Store(_))
    ));
    test.store_fails(false);
    assert_eq!(test.events().await.len(), logged, "asking leaves no trace");
}

async fn half_way(test: &TestIam, name: &str) -> (SessionToken, Claimant) {
    let (identifier, password) =
        (LoginIdentifier::parse(name).unwrap(), PlainPassword::new(PASSWORD).unwrap());
    let login = Login {
        identifier: &identifier,
        password,
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        replaces: None,
        stay_signed_in: false,
        client: &Client::at(PEER.ip()),
    };
    let token = test.iam().protocol().login(login).await.unwrap().token;
    let asked =
        test.iam().protocol().authenticate(&token, Activity::Active, &Client::at(PEER.ip())).await.unwrap();
    let Authentication::PendingSecondFactor(pending) = asked else { panic!("{asked:?}") };
    (token, Claimant::from(&pending))
}

#[tokio::test]
async fn an_authenticator_shows_codes_by_the_clock_of_the_test() {
    let test = TestIam::new().await;
    let phone = test.authenticator("alice").await;
    assert_eq!(test.account("alice").await, phone.account());
    let verify = async |code: &str| {
        let (token, claimant) = half_way(&test, "alice").await;
        let client = Client::at(PEER.ip());
        test.iam().protocol().challenge(&claimant, &token, ProofMethod::Totp, &client).await.unwrap();
        test.iam().protocol().verify(&claimant, &token, ProofMethod::Totp, code, &client).await.is_ok()
    };
    let before = test.now();
    let code = phone.code();
    assert!(!verify(&phone.wrong_code()).await);
    assert!(verify(&code).await);
    assert!(!verify(&code).await, "each code works once");
    assert_eq!(test.now(), before);
    assert!(verify(&phone.next_code()).await);
    test.later(Duration::from_hours(1));
    assert_ne!(phone.code(), code);
    assert!(verify(&phone.code()).await);
    assert!(!format!("{phone:?} {test:?}").contains("secret"));
}

#[tokio::test]
async fn who_has_an_authenticator_is_signed_in_all_the_way() {
    let test = TestIam::new().await;
    let phone = test.authenticator("alice").await;
    let before = test.now();
    let alice = test.signed_in("alice").role("auditor").await;
    assert_eq!(test.now(), before, "and the code of now is left to the test");
    assert_eq!(test.logged("authn_login_success").await, 1);
    for _ in 0..3 {
        test.signed_in("alice").await;
        alice.bearer().await;
    }
    assert!(test.now().since(before) <= Duration::from_mins(3), "as people wait for the next code");
    // The latest of two apps is good, too.
    let other = test.authenticator("alice").await;
    assert_ne!(other.code(), phone.code());
    test.signed_in("alice").await;
    let active = test.events().await;
    assert_eq!(active.iter().filter(|event| event.event == "authn_login_success").count(), 6);
}

#[tokio::test]
async fn codes_come_by_mail() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").email("alice@example.com").await;
    let client = Client::at(PEER.ip());
    let token = SessionToken::parse(alice.cookie().split_once('=').unwrap().1, Carrier::Cookie).unwrap();
    let asked = test.iam().protocol().authenticate(&token, Activity::Active, &client).await.unwrap();
    let Authentication::SignedIn(principal) = asked else { panic!("{asked:?}") };
    let name = MethodName::parse("mail").unwrap();
    let kind = FactorKind::EmailOtp;
    let id = test.iam().own_account(&principal, &client).enrol(&token, kind, &name, None).await.unwrap().id;
    let code = test.mailed_code().await;
    test.iam().own_account(&principal, &client).confirm(&token, id, &code, None).await.unwrap();
    assert_eq!(test.mails().await[0].to, "alice@example.com");
}

#[tokio::test]
#[should_panic(expected = "no code was sent by e-mail")]
async fn a_code_that_was_not_mailed_is_pointed_out() {
    TestIam::new().await.mailed_code().await;
}

/// The service's own pool: its tables and those of accounts in one database, and in one transaction.
#[tokio::test]
async fn the_store_may_be_the_services_own() {
    let pool =
        sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE customer (id TEXT PRIMARY KEY)").execute(&pool).await.unwrap();
    let store = SqliteStore::from_pool(pool.clone());
    store.migrate().await.unwrap();
    let test = TestIam::builder().store(store).build().await;
    let alice = test.signed_in("alice").role("auditor").await;
    let names: Vec<String> =
        sqlx::query_scalar("SELECT username FROM iam_user_account").fetch_all(&pool).await.unwrap();
    assert_eq!(names, ["alice"]);
    let new = NewAccount::new(Username::parse("bob").unwrap()).role("auditor");
    let prepared = test.iam().accounts(&Actor::service()).prepare(new).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO customer (id) VALUES ('42')").execute(&mut *transaction).await.unwrap();
    let mut within = SqliteStore::within(&mut transaction);
    test.iam().accounts(&Actor::service()).create_in(&mut within, &prepared).await.unwrap();
    drop(within);
    transaction.rollback().await.unwrap();
    assert_eq!(test.logged("user_created").await, 1, "neither");
    // It fails like the kit's own.
    test.store_fails(true);
    assert!(test.iam().readiness().await.is_err());
    test.store_fails(false);
    assert_eq!(test.events().await.last().unwrap().account, Some(alice.account()));
}
