//! Messages by several providers: which is tried when, and what they say afterwards.

#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

use std::time::Duration;

use iam_core::ports::{Accepted, AttemptOutcome, DeliveryAttempt, MessageId, SealedColumn, SendError, Store};
use iam_core::{AccountId, Actor, Channel, EmailAddress, NewAccount, PlainPassword, Receipt, Username};
use iam_mfa::{MemoryOutcome, MemorySender};
use iam_store_sqlite::SqliteStore;
use iam_testkit::TestIam;

/// A service with two providers of mail; the kit's own is the first.
struct Service {
    test: TestIam,
    store: SqliteStore,
    second: MemorySender,
    account: AccountId,
}

impl Service {
    async fn new() -> Self {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let second = MemorySender::new(Channel::Email).named("second");
        let sender = second.clone();
        let builder = TestIam::builder().store(store.clone()).with(|builder| builder.sender(sender));
        let test = builder.build().await;
        let new = NewAccount::new(Username::parse("alice").unwrap())
            .verified_email(EmailAddress::parse("alice@example.com").unwrap());
        let account = test.iam().accounts(&Actor::service()).create(new).await.unwrap();
        Self { test, store, second, account }
    }

    /// Puts a message on its way, and tries to send it.
    async fn send(&self) -> MessageId {
        let password = PlainPassword::new("an orange staple").unwrap();
        self.test.iam().accounts(&Actor::service()).set_password(self.account, &password).await.unwrap();
        self.test.iam().deliver().await.unwrap();
        let mut reader = self.store.reader().await.unwrap();
        let rows = reader.sealed_values().rows(SealedColumn::OutboxMessage, None, 1).await.unwrap();
        MessageId::from_bytes(rows.first().unwrap().row)
    }

    fn first_does(&self, outcome: MemoryOutcome) {
        self.test.mail().set_outcome(outcome);
    }

    async fn attempts(&self, message: MessageId) -> Vec<DeliveryAttempt> {
        self.store.reader().await.unwrap().outbox().attempts_of(message).await.unwrap()
    }

    async fn outcomes(&self, message: MessageId) -> Vec<(u32, String, AttemptOutcome)> {
        let attempts = self.attempts(message).await;
        attempts.into_iter().map(|made| (made.attempt, made.provider, made.outcome)).collect()
    }

    fn sent(&self) -> (usize, usize) {
        (self.test.mail().messages().len(), self.second.messages().len())
    }

    async fn receipt(&self, reference: &str, receipt: Receipt) -> bool {
        self.test.iam().record_receipt("memory", reference, receipt).await.unwrap()
    }
}

fn made(attempt: u32, provider: &str, outcome: AttemptOutcome) -> (u32, String, AttemptOutcome) {
    (attempt, provider.to_owned(), outcome)
}

fn with_receipt(reference: &str) -> MemoryOutcome {
    let reference = Some(reference.to_owned());
    MemoryOutcome::AcceptWith(Accepted { reference, cost_micros: Some(75_000), receipt_follows: true })
}

#[tokio::test]
async fn the_next_provider_is_tried_where_one_did_not_send_for_certain() {
    for error in [SendError::NotNow("down".into()), SendError::Refused("no such country".into())] {
        let service = Service::new().await;
        service.first_does(MemoryOutcome::Fail(error.clone()));
        let message = service.send().await;
        assert_eq!(service.sent(), (0, 1), "{error}");
        let [first, second] = &service.outcomes(message).await[..] else { panic!("too few or too many") };
        assert_eq!(*second, made(1, "second", AttemptOutcome::Accepted));
        assert_eq!((first.0, first.1.as_str()), (1, "memory"));
    }
}

#[tokio::test]
async fn what_nobody_knows_of_is_sent_by_nobody_else() {
    let service = Service::new().await;
    service.first_does(MemoryOutcome::Fail(SendError::Unknown("no answer".into())));
    let message = service.send().await;
    service.test.later(Duration::from_hours(1));
    service.test.iam().deliver().await.unwrap();
    assert_eq!(service.second.attempts(), 0);
    assert_eq!(service.outcomes(message).await, [made(1, "memory", AttemptOutcome::Unknown)]);
}

#[tokio::test]
async fn a_provider_that_is_busy_is_not_asked_before_its_time() {
    let service = Service::new().await;
    let (why, retry_after) = ("quota".to_owned(), Duration::from_mins(30));
    let busy = MemoryOutcome::Fail(SendError::Busy { why, retry_after });
    service.first_does(busy.clone());
    service.second.set_outcome(busy);
    service.send().await;
    service.first_does(MemoryOutcome::Accept);
    service.test.later(Duration::from_mins(29));
    service.test.iam().deliver().await.unwrap();
    assert_eq!(service.sent(), (0, 0));
    service.test.later(Duration::from_mins(1));
    service.test.iam().deliver().await.unwrap();
    assert_eq!(service.sent(), (1, 0));
}

#[tokio::test]
async fn what_did_not_arrive_goes_by_the_next_provider() {
    let service = Service::new().await;
    service.first_does(with_receipt("m-1"));
    let message = service.send().await;
    let [first] = &service.attempts(message).await[..] else { panic!("too few or too many") };
    assert_eq!((first.reference.as_deref(), first.cost_micros), (Some("m-1"), Some(75_000)));
    assert!(!service.receipt("m-2", Receipt::Undelivered).await, "of no message");
    assert!(service.receipt("m-1", Receipt::Undelivered).await);
    assert!(!service.receipt("m-1", Receipt::Undelivered).await, "said again");
    service.test.iam().deliver().await.unwrap();
    assert_eq!(service.sent(), (1, 1));
    let expected =
        [made(1, "memory", AttemptOutcome::Undelivered), made(2, "second", AttemptOutcome::Accepted)];
    assert_eq!(service.outcomes(message).await, expected);
}

#[tokio::test]
async fn what_no_provider_brought_there_has_failed() {
    let service = Service::new().await;
    service.first_does(with_receipt("m-1"));
    service.second.set_outcome(MemoryOutcome::Fail(SendError::Refused("no".into())));
    service.send().await;
    assert!(service.receipt("m-1", Receipt::Undelivered).await);
    service.test.iam().deliver().await.unwrap();
    service.test.later(Duration::from_hours(1));
    service.test.iam().deliver().await.unwrap();
    assert_eq!((service.sent(), service.second.attempts()), ((1, 0), 1));
    let failed = service.test.events().await.into_iter().filter(|record| record.event == "delivery_fail");
    assert_eq!(failed.count(), 1);
}

#[tokio::test]
async fn what_arrived_is_over() {
    let service = Service::new().await;
    service.first_does(with_receipt("m-1"));
    let message = service.send().await;
    assert!(service.receipt("m-1", Receipt::Delivered).await);
    assert!(!service.receipt("m-1", Receipt::Undelivered).await, "the first word counts");
    service.test.iam().deliver().await.unwrap();
    assert_eq!(service.sent(), (1, 0));
    assert_eq!(service.outcomes(message).await, [made(1, "memory", AttemptOutcome::Delivered)]);
}
