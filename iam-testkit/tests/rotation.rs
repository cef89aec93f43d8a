//! Changing the key that seals, from the first start with the new one to the first without the old one.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop at once")]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use iam_core::ports::{
    ChallengeId, ChallengePurpose, InterruptedId, Kept, LoginIdentifier, MessageId, Method, MethodId,
    NewChallenge, NewInterrupted, NewMessage, Place, SealedColumn, SealedRow, SessionState, Store, Ticket,
    TicketId, TicketPurpose, TokenHash, key_id,
};
use iam_core::protocol::{Activity, Authentication, Carrier, Claimant, Login, SessionToken};
use iam_core::{
    AccountId, Actor, Argon2Params, Channel, Client, Error, FactorKind, HashingConfig, Iam, KeyRing, Keys,
    ManualClock, MethodName, NewAccount, OsRandomness, PepperRing, PlainPassword, ProofMethod, Resealing,
    Retirement, SessionId, Timestamp, Username,
};
use iam_mfa::MemorySender;
use iam_store_sqlite::SqliteStore;
use iam_store_testkit::faults::{Faults, FaultyStore, Point};
use sha1::Sha1;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

const OLD: &str = "0:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
const NEW: &str = "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const PASSWORD: &str = "correct horse battery";

/// What all processes of a service share.
struct Service {
    store: SqliteStore,
    faults: Arc<Faults>,
    clock: Arc<ManualClock>,
    mail: MemorySender,
}

impl Service {
    async fn new() -> Self {
        let store = SqliteStore::open_in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let clock = Arc::new(ManualClock::new(START));
        Self { store, faults: Arc::default(), clock, mail: MemorySender::new(Channel::Email) }
    }

    /// A process that was started with these keys.
    async fn start(&self, ring: &str) -> Result<Iam, Error> {
        self.start_with(ring, None).await
    }

    async fn start_with(&self, ring: &str, pepper: Option<&str>) -> Result<Iam, Error> {
        let keys =
            Keys { secret: Keys::danger_known_for_tests().secret, ring: KeyRing::parse(ring).unwrap() };
        let cost = Argon2Params::danger_weak_for_tests();
        let store = FaultyStore::new(self.store.clone(), Arc::clone(&self.faults));
        let mut builder = Iam::builder(store, keys)
            .argon2(cost)
            .hashing(HashingConfig { threads: 1, ..HashingConfig::for_params(&cost) })
            .clock(Arc::clone(&self.clock))
            .factors(iam_mfa::standard())
            .sender(self.mail.clone());
        if let Some(pepper) = pepper {
            builder = builder.password_pepper(PepperRing::parse(pepper).unwrap());
        }
        Ok(builder.build_with_manual_worker().await?.0)
    }

    /// Methods of somebody's, sealed as a process with this ring would.
    async fn add_methods(&self, ring: &str, account: AccountId, ids: std::ops::Range<u8>) {
        let ring = KeyRing::parse(ring).unwrap();
        for n in ids {
            let row = [n; 16];
            let place = place(SealedColumn::MethodSecret, account.as_bytes(), &row);
            self.add_method(account, n, ring.seal(place, &[n; 20], &OsRandomness).unwrap()).await;
        }
    }

    async fn add_method(&self, account: AccountId, n: u8, sealed: Vec<u8>) {
        let method = Method {
            id: MethodId::from_bytes([n; 16]),
            account,
            kind: FactorKind::Totp.into(),
            name: MethodName::parse("phone").unwrap(),
            secret: Some(sealed),
            lookup: None,
            created_at: START,
            confirmed_at: Some(START),
            last_used_at: None,
            last_step: None,
        };
        let mut unit = self.store.begin().await.unwrap();
        assert_eq!(unit.methods().insert(&method, 1000).await.unwrap(), Kept::Done);
        unit.commit().await.unwrap();
    }

    async fn add_message(&self, ring: &str, account: AccountId) {
        let (ring, row) = (KeyRing::parse(ring).unwrap(), [9; 16]);
        let place = place(SealedColumn::OutboxMessage, account.as_bytes(), &row);
        let message =
            r#"{"to":"amy@example.com","username":"amy","content":{"code":{"code":"01234567","minutes":5}}}"#;
        let message = NewMessage {
            id: MessageId::from_bytes(row),
            account,
            challenge: None,
            channel: Channel::Email,
            sealed: ring.seal(place, message.as_bytes(), &OsRandomness).unwrap(),
            created_at: START,
            expires_at: START.plus(Duration::from_hours(99)),
        };
        let mut unit = self.store.begin().await.unwrap();
        unit.outbox().put(&message).await.unwrap();
        unit.commit().await.unwrap();
    }

    async fn add_request(&self, ring: &str, account: AccountId) {
        let (ring, session, row) = (KeyRing::parse(ring).unwrap(), [8; 16], [9; 16]);
        let place = place(SealedColumn::InterruptedRequest, &session, &row);
        let request = NewInterrupted {
            id: InterruptedId::from_bytes(row),
            account,
            session: SessionId::from_bytes(session),
            sealed: ring.seal(place, &vec![0; 40_000], &OsRandomness).unwrap(),
            created_at: START,
            expires_at: START.plus(Duration::from_mins(10)),
        };
        let mut unit = self.store.begin().await.unwrap();
        unit.interrupted_requests().keep(&request, 5).await.unwrap();
        unit.commit().await.unwrap();
    }

    async fn add_ticket(&self, ring: &str) {
        let (ring, row) = (KeyRing::parse(ring).unwrap(), [9; 16]);
        let place = place(SealedColumn::TicketPayload, &[0; 16], &row);
        let ticket = Ticket {
            id: TicketId::from_bytes(row),
            purpose: TicketPurpose::Setup,
            account: None,
            parent: None,
            payload: Some(ring.seal(place, b"payload", &OsRandomness).unwrap()),
            created_at: START,
            expires_at: START.plus(Duration::from_mins(10)),
        };
        let mut unit = self.store.begin().await.unwrap();
        unit.tickets().issue(&TokenHash::from_bytes([9; 32]), &ticket).await.unwrap();
        unit.commit().await.unwrap();
    }

    async fn add_challenge(&self, ring: &str, account: AccountId) {
        let (ring, row) = (KeyRing::parse(ring).unwrap(), [9; 16]);
        let place = place(SealedColumn::ChallengeKept, account.as_bytes(), &row);
        let challenge = NewChallenge {
            id: ChallengeId::from_bytes(row),
            account,
            session: SessionId::from_bytes([8; 16]),
            purpose: ChallengePurpose::SignIn,
            kind: ProofMethod::EmailOtp,
            method: None,
            kept: Some(ring.seal(place, &[7; 32], &OsRandomness).unwrap()),
            approval: None,
            tries: 0,
            sends: 1,
            created_at: START,
            expires_at: START.plus(Duration::from_mins(5)),
        };
        let mut unit = self.store.begin().await.unwrap();
        unit.challenges().issue(&challenge).await.unwrap();
        unit.commit().await.unwrap();
    }

    async fn rows(&self, column: SealedColumn) -> Vec<SealedRow> {
        self.store.reader().await.unwrap().sealed_values().rows(column, None, 1000).await.unwrap()
    }

    /// How many values there are under each key.
    async fn keys(&self) -> BTreeMap<Option<u32>, u64> {
        let mut keys = BTreeMap::new();
        for column in SealedColumn::ALL {
            for sealed in self.rows(column).await.into_iter().filter_map(|row| row.sealed) {
                *keys.entry(key_id(&sealed)).or_default() += 1;
            }
        }
        keys
    }

    /// How often something happened.
    async fn logged(&self, event: &str) -> u32 {
        let entries = self.store.reader().await.unwrap().audit().entries(None, 1000).await.unwrap();
        let counts = self.store.reader().await.unwrap().audit().counts(1000).await.unwrap();
        let records = entries.into_iter().map(|entry| entry.record).chain(counts);
        records.filter(|record| record.event == event).map(|record| record.count).sum()
    }

    /// The code that somebody's app shows.
    async fn code(&self, account: AccountId, id: MethodId, ring: &str) -> String {
        let rows = self.rows(SealedColumn::MethodSecret).await;
        let row = rows.into_iter().find(|row| row.row == *id.as_bytes()).unwrap();
        // Until it is confirmed, the challenge keeps it.
        let (column, row) = match row.sealed {
            Some(_) => (SealedColumn::MethodSecret, row),
            None => {
                let kept = self.rows(SealedColumn::ChallengeKept).await;
                (SealedColumn::ChallengeKept, kept.into_iter().find(|row| row.sealed.is_some()).unwrap())
            }
        };
        let place = place(column, account.as_bytes(), &row.row);
        let secret = KeyRing::parse(ring).unwrap().open(place, &row.sealed.unwrap()).unwrap();
        let step = iam_core::Clock::now(&self.clock).as_micros() / 30_000_000;
        let mut mac = Hmac::<Sha1>::new_from_slice(&secret).unwrap();
        mac.update(&step.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

fn place<'a>(column: SealedColumn, owner: &'a [u8; 16], row: &'a [u8; 16]) -> Place<'a> {
    Place { table: column.table(), column: column.column(), owner, row }
}

fn client() -> Client {
    Client::at([192, 0, 2, 1].into())
}

async fn join(iam: &Iam, name: &str) -> AccountId {
    let new = NewAccount::new(Username::parse(name).unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
    iam.accounts(&Actor::service()).create(new).await.unwrap()
}

async fn sign_in(iam: &Iam, name: &str) -> (SessionToken, Authentication) {
    let login = Login {
        identifier: &LoginIdentifier::parse(name).unwrap(),
        password: PlainPassword::new(PASSWORD).unwrap(),
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &client(),
    };
    let token = iam.protocol().login(login).await.unwrap().token;
    let who = iam.protocol().authenticate(&token, Activity::Active, &client()).await.unwrap();
    (token, who)
}

/// Sets an app up.
async fn enrol(service: &Service, iam: &Iam, name: &str, ring: &str) -> (AccountId, MethodId) {
    let account = join(iam, name).await;
    let (token, Authentication::SignedIn(principal)) = sign_in(iam, name).await else {
        panic!("{name} is not signed in")
    };
    let phone = MethodName::parse("phone").unwrap();
    let enrolled = iam.own_account(&principal, &client()).enrol(&token, FactorKind::Totp, &phone, None).await;
    let id = enrolled.unwrap().id;
    let code = service.code(account, id, ring).await;
    iam.own_account(&principal, &client()).confirm(&token, id, &code, None).await.unwrap();
    (account, id)
}

/// Signs in with both factors.
async fn sign_in_with_code(
    service: &Service,
    iam: &Iam,
    name: &str,
    method: (AccountId, MethodId),
    ring: &str,
) {
    // Each code works once.
    service.clock.advance(Duration::from_mins(2));
    let (token, Authentication::PendingSecondFactor(pending)) = sign_in(iam, name).await else {
        panic!("{name} has no second factor")
    };
    let claimant = Claimant::from(&pending);
    iam.protocol().challenge(&claimant, &token, ProofMethod::Totp, &client()).await.unwrap();
    let code = service.code(method.0, method.1, ring).await;
    let done = iam.protocol().verify(&claimant, &token, ProofMethod::Totp, &code, &client()).await.unwrap();
    assert_eq!(done.state, SessionState::Active);
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Goes on to the end.
async fn finish(iam: &Iam, mut resealing: Resealing) -> Resealing {
    let mut batches = 0;
    while resealing.is_more_waiting() {
        iam.keys(&Actor::service()).reseal(&mut resealing).await.unwrap();
        batches += 1;
        assert!(batches < 1000, "{resealing:?}");
    }
    let before = resealing.clone();
    iam.keys(&Actor::service()).reseal(&mut resealing).await.unwrap();
    assert_eq!(resealing, before, "it is over");
    resealing
}

#[tokio::test]
async fn a_key_is_changed_while_people_sign_in() {
    let service = Service::new().await;
    let before = service.start(OLD).await.unwrap();
    let amy = enrol(&service, &before, "amy", OLD).await;
    let crowd = join(&before, "crowd").await;
    service.add_methods(OLD, crowd, 1..121).await;
    service.add_message(OLD, crowd).await;
    drop(before);

    // Whatever is made from here on is under the new key.
    let both = format!("{NEW},{OLD}");
    let iam = service.start(&both).await.unwrap();
    enrol(&service, &iam, "bob", &both).await;
    sign_in_with_code(&service, &iam, "amy", amy, &both).await;
    let actor = Actor::service();
    let mut resealing = iam.keys(&Actor::service()).resealing().await.unwrap();
    assert_eq!((resealing.done, resealing.left()), (0, 122));
    assert_eq!(resealing.left, BTreeMap::from([(Some(0), 122)]));
    iam.keys(&actor).reseal(&mut resealing).await.unwrap();
    assert_eq!(resealing.left() + resealing.done, 122);
    assert!(resealing.done > 0 && resealing.left() > 0);
    assert_eq!(iam.keys(&actor).retire(0).await.unwrap(), Retirement::InUse);

    // Cut off, in the middle of a batch: before anything of it, and when all of it is written but not kept.
    let keys = service.keys().await;
    for point in [Point::SealedRead, Point::Audit] {
        let mut held = service.faults.hold(point);
        tokio::select! {
            _ = iam.keys(&actor).reseal(&mut resealing) => panic!("{point:?} was not reached"),
            () = held.reached() => {}
        }
        drop(held);
        assert_eq!(service.keys().await, keys, "{point:?}");
    }
    service.faults.down.store(true, Ordering::SeqCst);
    assert!(iam.keys(&actor).reseal(&mut resealing).await.is_err());
    service.faults.down.store(false, Ordering::SeqCst);
    // Without its record nothing is sealed anew.
    service.faults.audit.store(true, Ordering::SeqCst);
    iam.keys(&actor).reseal(&mut resealing).await.unwrap_err();
    assert_eq!(service.keys().await, keys);
    service.faults.audit.store(false, Ordering::SeqCst);
    drop((resealing, iam));

    // Another process goes on.
    let iam = service.start(&both).await.unwrap();
    let resealing = iam.keys(&Actor::service()).resealing().await.unwrap();
    let left = resealing.left();
    assert_eq!(Some(&left), keys.get(&Some(0)), "only the first batch was done");
    let resealing = finish(&iam, resealing).await;
    assert_eq!((resealing.done, resealing.unreadable, resealing.left()), (left, 0, 0));
    assert_eq!(service.keys().await, BTreeMap::from([(Some(1), 123)]));
    let in_use = iam.keys(&Actor::service()).in_use().await.unwrap();
    let shown: Vec<_> = in_use.iter().map(|key| (key.id, key.seals, key.is_given, key.is_needed)).collect();
    assert_eq!(shown, [(Some(0), false, true, true), (Some(1), true, true, true)]);
    assert_eq!(in_use[0].values, BTreeMap::new());
    let all = [(SealedColumn::MethodSecret, 122), (SealedColumn::OutboxMessage, 1)];
    assert_eq!(in_use[1].values, BTreeMap::from(all));
    assert_eq!(service.logged("key_resealed").await, 122);
    // Again, there is nothing to do.
    assert_eq!(finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await.done, 0);
    assert_eq!(service.logged("key_resealed").await, 122);
    sign_in_with_code(&service, &iam, "amy", amy, NEW).await;

    // The old key goes.
    assert!(service.start(NEW).await.is_err(), "it is needed until it is retired");
    assert_eq!(iam.keys(&actor).retire(1).await.unwrap(), Retirement::Seals);
    assert_eq!(iam.keys(&actor).retire(7).await.unwrap(), Retirement::Unknown);
    service.faults.audit.store(true, Ordering::SeqCst);
    iam.keys(&actor).retire(0).await.unwrap_err();
    service.faults.audit.store(false, Ordering::SeqCst);
    assert_eq!(iam.keys(&actor).retire(0).await.unwrap(), Retirement::Retired);
    assert_eq!(iam.keys(&actor).retire(0).await.unwrap(), Retirement::Unknown);
    assert_eq!(service.logged("key_retired").await, 1);
    assert!(!iam.keys(&Actor::service()).in_use().await.unwrap()[0].is_needed);
    drop(iam);
    let refused = service.start(OLD).await.unwrap_err().to_string();
    assert!(refused.contains("key 1"), "{refused}");
    let iam = service.start(NEW).await.unwrap();
    sign_in_with_code(&service, &iam, "amy", amy, NEW).await;
    while iam.deliver().await.unwrap() > 0 {}
    assert_eq!(service.mail.last_code().as_deref(), Some("01234567"), "it was waiting all the time");
}

#[tokio::test]
async fn a_key_stays_while_one_value_is_left() {
    for column in SealedColumn::ALL {
        let service = Service::new().await;
        let before = service.start(OLD).await.unwrap();
        let amy = join(&before, "amy").await;
        match column {
            SealedColumn::MethodSecret => service.add_methods(OLD, amy, 1..2).await,
            SealedColumn::OutboxMessage => service.add_message(OLD, amy).await,
            SealedColumn::InterruptedRequest => service.add_request(OLD, amy).await,
            SealedColumn::TicketPayload => service.add_ticket(OLD).await,
            SealedColumn::ChallengeKept => service.add_challenge(OLD, amy).await,
        }
        let iam = service.start(&format!("{NEW},{OLD}")).await.unwrap();
        assert_eq!(iam.keys(&Actor::service()).retire(0).await.unwrap(), Retirement::InUse);
        assert_eq!(service.logged("key_retired").await, 0);
        assert!(service.start(NEW).await.is_err());
        assert_eq!(
            iam.keys(&Actor::service()).in_use().await.unwrap()[0].values,
            BTreeMap::from([(column, 1)])
        );
        assert_eq!(finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await.done, 1);
        assert_eq!(iam.keys(&Actor::service()).retire(0).await.unwrap(), Retirement::Retired);
    }
}

#[tokio::test]
async fn the_keys_of_passwords_are_no_matter_of_it() {
    let service = Service::new().await;
    let iam = service.start_with(OLD, Some(NEW)).await.unwrap();
    for pepper in [1 << 31, (1 << 31) + 1] {
        assert_eq!(iam.keys(&Actor::service()).retire(pepper).await.unwrap(), Retirement::Unknown);
    }
    assert_eq!(iam.keys(&Actor::service()).in_use().await.unwrap().len(), 1);
    assert!(service.start(OLD).await.unwrap_err().to_string().contains("IAM_PASSWORD_PEPPER"));
}

#[tokio::test]
async fn what_does_not_open_is_counted_and_left() {
    let service = Service::new().await;
    let before = service.start(OLD).await.unwrap();
    let amy = join(&before, "amy").await;
    // More than a batch of them, and some that open on both sides.
    service.add_methods(OLD, amy, 1..10).await;
    service.add_methods(&format!("7:{}", &NEW[2..]), amy, 10..80).await;
    service.add_methods(OLD, amy, 80..90).await;
    let moved = service.rows(SealedColumn::MethodSecret).await[0].sealed.clone().unwrap();
    service.add_method(amy, 100, moved.clone()).await;
    service.add_method(amy, 101, moved[..moved.len() - 1].to_vec()).await;
    service.add_method(amy, 102, vec![1, 0]).await;
    service.add_method(amy, 103, Vec::new()).await;

    let iam = service.start(&format!("{NEW},{OLD}")).await.unwrap();
    let resealing = finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await;
    assert_eq!((resealing.done, resealing.unreadable), (19, 74));
    assert_eq!(resealing.left, BTreeMap::from([(None, 2), (Some(0), 2), (Some(7), 70)]));
    let rows = service.rows(SealedColumn::MethodSecret).await;
    assert_eq!(rows.iter().find(|row| row.row == [100; 16]).unwrap().sealed, Some(moved));
    assert_eq!(iam.keys(&Actor::service()).retire(0).await.unwrap(), Retirement::InUse);
    let in_use = iam.keys(&Actor::service()).in_use().await.unwrap();
    let shown: Vec<_> = in_use.iter().map(|key| (key.id, key.is_given)).collect();
    assert_eq!(shown, [(None, false), (Some(0), true), (Some(1), true), (Some(7), false)]);
    // What can't be saved goes with its owner's other factors; then so does the key.
    iam.factors(&Actor::service()).reset(amy).await.unwrap();
    assert_eq!(iam.keys(&Actor::service()).retire(0).await.unwrap(), Retirement::Retired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_number_of_processes_may_do_it_at_once() {
    let service = Service::new().await;
    let before = service.start(OLD).await.unwrap();
    let amy = join(&before, "amy").await;
    service.add_methods(OLD, amy, 1..200).await;
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let iam = service.start(&format!("{NEW},{OLD}")).await.unwrap();
        processes
            .spawn(async move { finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await });
    }
    let done = processes.join_all().await;
    assert_eq!(done.iter().map(|resealing| resealing.done).sum::<u64>(), 199);
    assert!(done.iter().all(|resealing| resealing.left() == 0 && resealing.unreadable == 0), "{done:?}");
    assert_eq!(service.logged("key_resealed").await, 199);
    let ring = KeyRing::parse(NEW).unwrap();
    for SealedRow { row, owner, sealed } in service.rows(SealedColumn::MethodSecret).await {
        let place = place(SealedColumn::MethodSecret, &owner, &row);
        assert_eq!(ring.open(place, &sealed.unwrap()).unwrap().as_slice(), [row[0]; 20]);
    }
}

#[tokio::test]
async fn what_a_forgotten_process_seals_under_a_retired_key_is_found() {
    let service = Service::new().await;
    let forgotten = service.start(OLD).await.unwrap();
    let iam = service.start(&format!("{NEW},{OLD}")).await.unwrap();
    assert_eq!(iam.keys(&Actor::service()).retire(0).await.unwrap(), Retirement::Retired);
    let amy = enrol(&service, &forgotten, "amy", OLD).await;

    // One lost value keeps nobody else out, and shows. The key brings it back.
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
    let _guard = subscriber.set_default();
    let iam = service.start(NEW).await.unwrap();
    let said = log.take();
    for part in ["ERROR", "MFA_ENCRYPTION_KEY does not have", "key=0", "iam_mfa_method"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let in_use = iam.keys(&Actor::service()).in_use().await.unwrap();
    let late = &in_use[0];
    assert_eq!((late.id, late.is_given, late.is_needed), (Some(0), false, false));
    assert_eq!(late.values, BTreeMap::from([(SealedColumn::MethodSecret, 1)]));
    let resealing = finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await;
    assert_eq!((resealing.done, resealing.unreadable), (0, 1));
    let said = log.take();
    for part in ["left as it is", "iam_mfa_method", "key=0", &amy.1.to_string()] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let both = format!("{NEW},{OLD}");
    let iam = service.start(&both).await.unwrap();
    assert_eq!(finish(&iam, iam.keys(&Actor::service()).resealing().await.unwrap()).await.done, 1);
    log.take();
    let iam = service.start(NEW).await.unwrap();
    assert!(!log.take().contains("ERROR"), "nothing is under an unknown key any more");
    sign_in_with_code(&service, &iam, "amy", amy, NEW).await;
}

#[tokio::test]
async fn what_changes_meanwhile_is_looked_at_again() {
    let service = Service::new().await;
    let before = service.start(OLD).await.unwrap();
    let amy = join(&before, "amy").await;
    service.add_methods(OLD, amy, 1..5).await;
    let iam = service.start(&format!("{NEW},{OLD}")).await.unwrap();
    let mut resealing = iam.keys(&Actor::service()).resealing().await.unwrap();
    let mut held = service.faults.hold(Point::SealedRead);
    let batch = tokio::spawn({
        let iam = iam.clone();
        async move {
            iam.keys(&Actor::service()).reseal(&mut resealing).await.unwrap();
            resealing
        }
    });
    held.reached().await;
    // Between the look and the change one goes, and another gets a new secret from a process that still has the old key in front.
    let (ring, row) = (KeyRing::parse(OLD).unwrap(), [2; 16]);
    let place = place(SealedColumn::MethodSecret, amy.as_bytes(), &row);
    let rows = service.rows(SealedColumn::MethodSecret).await;
    let old = rows.iter().find(|found| found.row == row).unwrap().sealed.clone().unwrap();
    let new = ring.seal(place, b"another secret", &OsRandomness).unwrap();
    let mut unit = service.store.begin().await.unwrap();
    assert!(unit.methods().remove(amy, MethodId::from_bytes([1; 16])).await.unwrap());
    assert!(unit.sealed_values().replace(SealedColumn::MethodSecret, &row, &old, &new).await.unwrap());
    unit.commit().await.unwrap();
    drop(held);
    let resealing = batch.await.unwrap();
    assert_eq!((resealing.done, resealing.is_more_waiting()), (2, true));
    assert_eq!(service.keys().await, BTreeMap::from([(Some(0), 1), (Some(1), 2)]));
    let resealing = finish(&iam, resealing).await;
    assert_eq!((resealing.done, resealing.unreadable, resealing.left()), (3, 0, 0));
    let rows = service.rows(SealedColumn::MethodSecret).await;
    assert_eq!(rows.len(), 3);
    let sealed = rows.iter().find(|found| found.row == row).unwrap().sealed.clone().unwrap();
    assert_eq!(KeyRing::parse(NEW).unwrap().open(place, &sealed).unwrap().as_slice(), b"another secret");
}
