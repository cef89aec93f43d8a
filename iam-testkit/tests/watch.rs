//! What a stream is told while it runs.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::protocol::{Activity, Authentication, Carrier, SessionToken};
use iam_core::{Actor, Client, PlainPassword, RoleName};
use iam_testkit::{PASSWORD, PEER, SignedInPerson, TestIam};
use iam_web::{Evidence, Progress, RequestContext, Rule, SessionWatch, WebRequest};

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// A stream of somebody's, let through by these guards.
async fn opened(test: &TestIam, person: &SignedInPerson, guards: &[Rule<()>]) -> SessionWatch {
    let headers = vec![("cookie".to_owned(), person.cookie().into_bytes())];
    let request =
        WebRequest { method: "GET".into(), target: "/news".into(), headers, ..WebRequest::default() };
    let context: RequestContext = test.web().context(Ok(PEER.ip()));
    for guard in guards {
        let progress = context.check(&request, guard.policy(), &Evidence::default()).await;
        assert!(matches!(progress, Progress::Allow(_)), "{progress:?}");
    }
    context.watch(&request).await.unwrap()
}

async fn goes_on(watch: &SessionWatch) -> bool {
    watch.principal(Activity::Background).await.unwrap().is_some()
}

#[tokio::test]
async fn looking_is_no_use_and_a_message_may_be() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").await;
    let watch = opened(&test, &alice, &[]).await;
    for _ in 0..5 {
        test.later(minutes(5));
        assert!(goes_on(&watch).await);
    }
    test.later(minutes(6));
    assert!(!goes_on(&watch).await, "half an hour without a person");

    let alice = test.signed_in("alice").await;
    let watch = opened(&test, &alice, &[]).await;
    for _ in 0..5 {
        test.later(minutes(20));
        assert!(watch.principal(Activity::Active).await.unwrap().is_some(), "somebody is there");
    }
    test.later(minutes(31));
    assert!(watch.principal(Activity::Active).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_is_over_with_its_session_and_alarms_nobody() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").await;
    let watch = opened(&test, &alice, &[]).await;
    assert_eq!(watch.principal(Activity::Background).await.unwrap().unwrap().username(), "alice");
    test.iam().sessions(&Actor::service()).revoke(alice.account(), alice.session()).await.unwrap();
    assert!(!goes_on(&watch).await);
    assert_eq!(test.logged("session_use_after_expire").await, 0, "nobody used it after its end");

    // Under another token the session goes on, and the stream is opened anew.
    let alice = test.signed_in("alice").await;
    let watch = opened(&test, &alice, &[]).await;
    let cookie = alice.cookie();
    let token = SessionToken::parse(cookie.split_once('=').unwrap().1, Carrier::Cookie).unwrap();
    let client = Client::at(PEER.ip());
    let Authentication::SignedIn(principal) =
        test.iam().protocol().authenticate(&token, Activity::Active, &client).await.unwrap()
    else {
        panic!("alice is signed in")
    };
    let password = PlainPassword::new(PASSWORD).unwrap();
    test.iam().own_account(&principal, &client).reauthenticate(&token, &password).await.unwrap();
    assert!(!goes_on(&watch).await);

    let alice = test.signed_in("alice").await;
    let watch = opened(&test, &alice, &[]).await;
    test.store_fails(true);
    assert!(watch.principal(Activity::Background).await.is_err(), "it can't be told");
    test.store_fails(false);
    assert!(goes_on(&watch).await);
}

#[tokio::test]
async fn a_stream_is_over_when_no_guard_would_open_it_any_more() {
    let test = TestIam::new().await;
    let alice = test.signed_in("alice").role("auditor").await;
    // The outer one of two counts, too.
    let watch = opened(&test, &alice, &[Rule::role(["auditor"]), Rule::login()]).await;
    assert!(goes_on(&watch).await);
    let auditor = RoleName::parse("auditor").unwrap();
    test.iam().roles(&Actor::service()).revoke(alice.account(), &auditor).await.unwrap();
    assert!(!goes_on(&watch).await);

    alice.proves("payroll").await;
    let watch = opened(&test, &alice, &[Rule::step_up("payroll")]).await;
    test.later(minutes(4));
    assert!(goes_on(&watch).await);
    test.later(minutes(1));
    assert!(!goes_on(&watch).await, "the proof is five minutes old");

    alice.proves("payroll").await;
    let watch = opened(&test, &alice, &[Rule::step_up("payroll").once()]).await;
    assert!(!goes_on(&watch).await, "it was good for one request");
}
