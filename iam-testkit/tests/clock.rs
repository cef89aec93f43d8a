//! The clock: what a step of it revives (nothing), whom it is compared with, and what is said of it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may stop at once")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use iam_core::ports::{LoginIdentifier, Place, SealedColumn, SealedRow, Store};
use iam_core::protocol::{
    Activity, Authentication, Carrier, Claimant, DeviceToken, Login, SessionToken, SignedIn,
};
use iam_core::{
    Actor, Argon2Params, Channel, Client, Clock, EmailAddress, EndReason, Error, FactorKind, HashingConfig,
    Iam, Keys, ManualClock, ManualTime, MethodName, NewAccount, PlainPassword, Readiness, SteadyClock,
    TimeSource, Timestamp, Username, Worker,
};
use iam_mfa::MemorySender;
use iam_store_sqlite::SqliteStore;
use iam_store_testkit::faults::{Faults, FaultyStore, Held, Point};
use sha1::Sha1;

const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const PASSWORD: &str = "correct horse battery";
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// In real time, for what happens at once or never.
const SOON: Duration = Duration::from_secs(20);

/// A directory that is removed when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("clock-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// What a process closes when it stops is its own.
    async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.0.join("iam.db")).await.unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine with a database, and what its processes share.
struct Machine {
    directory: Directory,
    store: SqliteStore,
    faults: Arc<Faults>,
    time: Arc<ManualTime>,
    mail: MemorySender,
}

impl Machine {
    async fn new() -> Self {
        let directory = Directory::create();
        let store = directory.store().await;
        store.migrate().await.unwrap();
        let machine = Self {
            directory,
            store,
            faults: Arc::default(),
            time: Arc::new(ManualTime::new(START)),
            mail: MemorySender::new(Channel::Email),
        };
        machine.set_wall(START);
        machine
    }

    /// Sets the wall clock, and the database's with it.
    fn set_wall(&self, to: Timestamp) {
        self.time.set_wall(to);
        self.faults.set_database_time(Some(to));
    }

    fn advance(&self, by: Duration) {
        self.time.advance(by);
        self.faults.set_database_time(Some(self.time.wall()));
    }

    /// A process that is started now.
    async fn start(&self) -> Iam {
        self.start_with(SteadyClock::of(Arc::clone(&self.time))).await.0
    }

    async fn start_with(&self, clock: impl Clock) -> (Iam, Worker) {
        let keys = Keys::danger_known_for_tests();
        let cost = Argon2Params::danger_weak_for_tests();
        let store = FaultyStore::new(self.directory.store().await, Arc::clone(&self.faults));
        let builder = Iam::builder(store, keys)
            .argon2(cost)
            .hashing(HashingConfig { threads: 1, ..HashingConfig::for_params(&cost) })
            .clock(clock)
            .factors(iam_mfa::standard())
            .sender(self.mail.clone());
        builder.build_with_manual_worker().await.unwrap()
    }

    /// Holds a process that is being started where it asks the database for the time again, as it found the noted one ahead.
    async fn asked_after_the_note(&self) -> Held {
        let before = self.faults.units.load(Ordering::SeqCst);
        let mut held = self.faults.hold(Point::DatabaseTime);
        loop {
            tokio::time::timeout(SOON, held.reached()).await.unwrap();
            if self.faults.units.load(Ordering::SeqCst) > before {
                return held;
            }
            held = self.faults.hold(Point::DatabaseTime);
        }
    }

    async fn logged(&self, event: &str) -> u32 {
        let entries = self.store.reader().await.unwrap().audit().entries(None, 1000).await.unwrap();
        entries.iter().filter(|entry| entry.record.event == event).map(|entry| entry.record.count).sum()
    }

    async fn mailed_code(&self, iam: &Iam) -> String {
        while iam.deliver().await.unwrap() > 0 {}
        self.mail.last_code().unwrap()
    }

    /// The code that bob's app shows at a time.
    async fn app_code(&self, iam: &Iam, at: Timestamp) -> String {
        let mut rows = Vec::new();
        // Until it is confirmed, the challenge keeps it.
        for column in [SealedColumn::MethodSecret, SealedColumn::ChallengeKept] {
            let mut reader = self.store.reader().await.unwrap();
            let found = reader.sealed_values().rows(column, None, 9).await.unwrap();
            rows.extend(found.into_iter().map(|row| (column, row)));
        }
        let bob = Username::parse("bob").unwrap();
        let bob = iam.accounts(&Actor::service()).by_username(&bob).await.unwrap().unwrap().id;
        let open = |(column, row): &(SealedColumn, SealedRow)| {
            let place = Place {
                table: column.table(),
                column: column.column(),
                owner: bob.as_bytes(),
                row: &row.row,
            };
            Keys::danger_known_for_tests().ring.open(place, row.sealed.as_ref()?).ok()
        };
        let secret = rows.iter().find_map(open).unwrap();
        let mut mac = Hmac::<Sha1>::new_from_slice(&secret).unwrap();
        mac.update(&(at.as_micros() / 30_000_000).to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let from = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[from..from + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

fn client() -> Client {
    Client::at([192, 0, 2, 1].into())
}

async fn join(iam: &Iam, name: &str) {
    let new = NewAccount::new(Username::parse(name).unwrap()).password(PlainPassword::new(PASSWORD).unwrap());
    iam.accounts(&Actor::service()).create(new).await.unwrap();
}

async fn try_to_sign_in(
    iam: &Iam,
    name: &str,
    password: &str,
    device: Option<&DeviceToken>,
) -> Result<SignedIn, Error> {
    iam.login(Login {
        identifier: &LoginIdentifier::parse(name).unwrap(),
        password: PlainPassword::new(password).unwrap(),
        device,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &client(),
    })
    .await
}

async fn sign_in(iam: &Iam, name: &str) -> SessionToken {
    try_to_sign_in(iam, name, PASSWORD, None).await.unwrap().token
}

async fn who(iam: &Iam, token: &SessionToken) -> Authentication {
    iam.authenticate(token, Activity::Background, &client()).await.unwrap()
}

async fn is_anonymous(iam: &Iam, token: &SessionToken) -> bool {
    matches!(who(iam, token).await, Authentication::Anonymous)
}

async fn is_signed_in(iam: &Iam, token: &SessionToken) -> bool {
    matches!(who(iam, token).await, Authentication::SignedIn(_))
}

async fn pending(iam: &Iam, token: &SessionToken) -> Claimant {
    match who(iam, token).await {
        Authentication::PendingSecondFactor(pending) => Claimant::from(&pending),
        other => panic!("{other:?}"),
    }
}

async fn verify(
    iam: &Iam,
    claimant: &Claimant,
    token: &SessionToken,
    kind: FactorKind,
    code: &str,
) -> Result<SessionToken, Error> {
    Ok(iam.verify_second_factor(claimant, token, kind.into(), code, &client()).await?.token)
}

async fn enrol(machine: &Machine, iam: &Iam, name: &str, kind: FactorKind) {
    join(iam, name).await;
    let token = sign_in(iam, name).await;
    let Authentication::SignedIn(principal) = who(iam, &token).await else { panic!("{name}") };
    let address = EmailAddress::parse("alice@example.com").unwrap();
    let email = (kind == FactorKind::EmailOtp).then_some(&address);
    let called = MethodName::parse("mine").unwrap();
    let id = iam.enrol_factor(&token, &principal, kind, &called, email, &client()).await.unwrap().id;
    let code = match kind {
        FactorKind::EmailOtp => machine.mailed_code(iam).await,
        _ => machine.app_code(iam, iam.now()).await,
    };
    iam.confirm_factor(&token, &principal, id, &code, None, &client()).await.unwrap();
}

/// What was given out, and ran out.
struct Past {
    /// Not used for longer than the idle time-out.
    session: SessionToken,
    /// A sign-in whose mailed code was not typed in time.
    waiting: (Claimant, SessionToken, String),
    /// A sign-in that waits for an app, and the code that a sign-in before it has used.
    used: (Claimant, SessionToken, String),
}

impl Past {
    async fn make(machine: &Machine, iam: &Iam) -> Self {
        enrol(machine, iam, "alice", FactorKind::EmailOtp).await;
        enrol(machine, iam, "bob", FactorKind::Totp).await;
        join(iam, "carol").await;
        machine.advance(2 * MINUTE);
        let session = sign_in(iam, "carol").await;
        assert!(is_signed_in(iam, &session).await);
        let token = sign_in(iam, "alice").await;
        let claimant = pending(iam, &token).await;
        iam.challenge(&claimant, &token, FactorKind::EmailOtp.into(), &client()).await.unwrap();
        let waiting = (claimant, token, machine.mailed_code(iam).await);
        let token = sign_in(iam, "bob").await;
        let code = machine.app_code(iam, iam.now()).await;
        verify(iam, &pending(iam, &token).await, &token, FactorKind::Totp, &code).await.unwrap();
        let token = sign_in(iam, "bob").await;
        let used = (pending(iam, &token).await, token, code);
        machine.advance(45 * MINUTE);
        Self { session, waiting, used }
    }

    async fn assert_dead(&self, iam: &Iam, when: &str) {
        for token in [&self.session, &self.waiting.1, &self.used.1] {
            assert!(is_anonymous(iam, token).await, "{when}");
        }
        for ((claimant, token, code), kind) in
            [(&self.waiting, FactorKind::EmailOtp), (&self.used, FactorKind::Totp)]
        {
            assert!(verify(iam, claimant, token, kind, code).await.is_err(), "{when}: {kind}");
        }
    }
}

#[tokio::test]
async fn a_step_back_under_a_running_process_revives_nothing() {
    for back in [44 * MINUTE, 3 * HOUR] {
        let machine = Machine::new().await;
        let iam = machine.start().await;
        let past = Past::make(&machine, &iam).await;
        machine.set_wall(machine.time.wall().minus(back));
        let before = iam.now();
        assert_eq!(iam.compare_clock().await.unwrap(), back);
        assert_eq!(iam.now(), before, "no time comes twice");
        past.assert_dead(&iam, "as time goes on").await;
        // What is made meanwhile is good for as long as ever.
        let session = sign_in(&iam, "carol").await;
        machine.advance(MINUTE);
        assert!(is_signed_in(&iam, &session).await);
        // Half speed.
        machine.advance(2 * HOUR);
        assert!(is_anonymous(&iam, &session).await);
        assert_eq!(machine.logged("sys_clock_put_back").await, 0);
    }
}

#[tokio::test]
async fn a_step_back_between_two_runs_revives_nothing() {
    for back in [44 * MINUTE, 3 * HOUR] {
        let machine = Machine::new().await;
        let iam = machine.start().await;
        let past = Past::make(&machine, &iam).await;
        iam.stopped().await.unwrap();
        drop(iam);

        machine.set_wall(machine.time.wall().minus(back));
        let iam = machine.start().await;
        past.assert_dead(&iam, "after the start").await;
        assert_eq!(machine.logged("sys_clock_put_back").await, 1);
        let session = sign_in(&iam, "carol").await;
        iam.stopped().await.unwrap();
        drop(iam);

        // It was put back once, and nobody pays for it twice.
        let iam = machine.start().await;
        assert_eq!(machine.logged("sys_clock_put_back").await, 1);
        assert!(is_signed_in(&iam, &session).await);
        // Nor does it come back when the clock has caught up.
        machine.advance(back);
        past.assert_dead(&iam, "when the time is the same").await;
    }
}

#[tokio::test]
async fn a_hosts_own_clock_that_goes_back_is_noticed_with_the_next_upkeep() {
    let machine = Machine::new().await;
    let clock = Arc::new(ManualClock::new(START));
    let iam = machine.start_with(Arc::clone(&clock)).await.0;
    join(&iam, "carol").await;
    let session = sign_in(&iam, "carol").await;
    clock.set(START.minus(HOUR));
    assert!(is_anonymous(&iam, &session).await, "it is of the future");
    iam.upkeep().await.unwrap();
    clock.set(START);
    assert!(is_anonymous(&iam, &session).await, "and stays ended");
    let ended = machine.store.session(&session.hash()).await.unwrap().unwrap().ended;
    assert_eq!(ended.map(|(_, reason)| reason), Some(EndReason::ClockPutBack));
    assert_eq!(iam.readiness().await.unwrap(), Readiness::Ready, "and is compared with nothing");
}

#[tokio::test]
async fn a_wait_of_the_future_is_no_longer_than_its_rule() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    join(&iam, "carol").await;
    let wait = async |iam: &Iam| loop {
        match try_to_sign_in(iam, "carol", "wrong pony charger", None).await {
            Err(Error::Credentials) => {}
            Err(Error::Throttled { retry_after }) => break retry_after,
            other => panic!("{other:?}"),
        }
    };
    let before = wait(&iam).await;
    iam.stopped().await.unwrap();
    drop(iam);
    machine.set_wall(START.minus(5 * HOUR));
    let iam = machine.start().await;
    assert!(wait(&iam).await <= before, "not five hours");
    machine.advance(before);
    assert!(try_to_sign_in(&iam, "carol", PASSWORD, None).await.is_ok());
}

/// Nor is it until somebody notices, or where nobody can: a process that is not sure of its clock brings nothing back.
#[tokio::test]
async fn a_wait_of_the_future_is_no_longer_than_its_rule_before_anything_is_brought_back() {
    let machine = Machine::new().await;
    let clock = Arc::new(ManualClock::new(START));
    let iam = machine.start_with(Arc::clone(&clock)).await.0;
    for name in ["carol", "dave"] {
        join(&iam, name).await;
    }
    let wrong = async |name: &str| try_to_sign_in(&iam, name, "wrong pony charger", None).await;
    // Carol's own limit, and that of her address.
    while !matches!(wrong("carol").await, Err(Error::Throttled { .. })) {}
    let mut names = 0;
    while !matches!(wrong(&format!("nobody{names}")).await, Err(Error::Throttled { .. })) {
        names += 1;
    }
    clock.set(START.minus(24 * HOUR));
    for name in ["carol", "dave"] {
        assert!(try_to_sign_in(&iam, name, PASSWORD, None).await.is_ok(), "{name} does not wait for a day");
    }
}

#[tokio::test]
async fn a_step_forward_is_believed_if_the_database_agrees() {
    for (database_agrees, is_alive) in [(true, false), (false, true)] {
        let machine = Machine::new().await;
        let iam = machine.start().await;
        join(&iam, "carol").await;
        let session = sign_in(&iam, "carol").await;
        machine.time.set_wall(START.plus(HOUR));
        if database_agrees {
            machine.faults.set_database_time(Some(START.plus(HOUR)));
        }
        assert_eq!(iam.readiness().await.unwrap(), Readiness::Ready);
        assert_eq!(is_signed_in(&iam, &session).await, is_alive);
        assert_eq!(iam.now(), if database_agrees { START.plus(HOUR) } else { START });
    }
}

#[tokio::test]
async fn readiness_warns_from_five_seconds_and_fails_from_thirty() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    let secs = Duration::from_secs;
    for ahead in [true, false] {
        let differing = async |by: u64| {
            let time = if ahead { START.plus(secs(by)) } else { START.minus(secs(by)) };
            machine.faults.set_database_time(Some(time));
            iam.readiness().await.unwrap()
        };
        assert_eq!(differing(4).await, Readiness::Ready);
        assert!(matches!(differing(6).await, Readiness::ClockDiffers(by) if by <= secs(6) && by >= secs(5)));
        assert!(matches!(differing(31).await, Readiness::ClockWrong(by) if by >= secs(30)));
        assert_eq!(differing(0).await, Readiness::Ready, "and as soon as that is over");
    }
    // A database that says nothing is no agreement.
    machine.faults.down.store(true, Ordering::SeqCst);
    assert!(iam.readiness().await.is_err());
}

#[tokio::test]
async fn a_clock_that_is_not_the_databases_ends_nobodys_sessions() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    join(&iam, "carol").await;
    let session = sign_in(&iam, "carol").await;
    // A second machine, an hour behind, on the same database.
    machine.time.set_wall(START.minus(HOUR));
    let behind = machine.start().await;
    assert!(matches!(behind.readiness().await.unwrap(), Readiness::ClockWrong(_)));
    assert!(is_anonymous(&behind, &session).await, "it can't say when that runs out");
    behind.upkeep().await.unwrap();
    assert!(is_signed_in(&iam, &session).await);
    // A third, a year ahead: nobody takes its word for what time it is.
    machine.time.set_wall(START.plus(8766 * HOUR));
    let ahead = machine.start().await;
    ahead.upkeep().await.unwrap();
    assert!(is_signed_in(&iam, &session).await, "nor does it end what it takes for old");
    machine.time.set_wall(START);
    machine.start().await;
    assert!(is_signed_in(&iam, &session).await);
    assert_eq!(machine.logged("sys_clock_put_back").await, 0);
}

/// Nobody sees a step where both clocks of a machine stood still.
#[tokio::test]
async fn a_process_that_stood_still_ends_nobodys_sessions() {
    for stops in [false, true] {
        let machine = Machine::new().await;
        let iam = machine.start().await;
        // On a machine of its own, on the same database.
        let time = Arc::new(ManualTime::new(START));
        let paused = machine.start_with(SteadyClock::of(Arc::clone(&time))).await.0;
        join(&iam, "carol").await;
        let session = sign_in(&iam, "carol").await;
        machine.advance(3 * MINUTE);
        iam.upkeep().await.unwrap();
        if stops {
            paused.stopped().await.unwrap();
        } else {
            paused.upkeep().await.unwrap();
        }
        assert!(is_signed_in(&iam, &session).await);
        assert_eq!(machine.logged("sys_clock_put_back").await, 0);
        if stops {
            continue;
        }
        // Its wall clock is put right, and it goes on with the others.
        time.set_wall(machine.time.wall());
        paused.upkeep().await.unwrap();
        assert_eq!(paused.now(), iam.now());
        assert!(is_signed_in(&paused, &session).await);
    }
}

#[tokio::test]
async fn a_database_that_stood_still_with_a_process_ends_nobodys_sessions() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    let time = Arc::new(ManualTime::new(START));
    let elsewhere = machine.start_with(SteadyClock::of(Arc::clone(&time))).await.0;
    join(&iam, "carol").await;
    let session = sign_in(&iam, "carol").await;
    time.advance(3 * MINUTE);
    elsewhere.upkeep().await.unwrap();
    iam.upkeep().await.unwrap();
    assert!(is_signed_in(&iam, &session).await);
    assert_eq!(machine.logged("sys_clock_put_back").await, 0);
}

#[tokio::test]
async fn the_database_is_asked_again_before_anything_is_brought_back() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    join(&iam, "carol").await;
    let session = sign_in(&iam, "carol").await;
    machine.set_wall(START.minus(HOUR));
    let contradicts = async {
        let _held = machine.asked_after_the_note().await;
        machine.faults.set_database_time(Some(START));
    };
    tokio::join!(machine.start(), contradicts);
    assert!(is_signed_in(&iam, &session).await);
    assert_eq!(machine.logged("sys_clock_put_back").await, 0);
}

#[tokio::test]
async fn of_two_that_bring_the_store_back_the_slower_ends_no_new_session() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    iam.stopped().await.unwrap();
    machine.set_wall(START.minus(HOUR));
    let faster = async {
        let _held = machine.asked_after_the_note().await;
        let iam = machine.start().await;
        join(&iam, "carol").await;
        let session = sign_in(&iam, "carol").await;
        (iam, session)
    };
    let (slower, (faster, session)) = tokio::join!(machine.start(), faster);
    for iam in [&slower, &faster] {
        assert!(is_signed_in(iam, &session).await);
    }
    assert_eq!(machine.logged("sys_clock_put_back").await, 1);
}

#[tokio::test]
async fn comparisons_wait_for_one_another() {
    let machine = Machine::new().await;
    let iam = machine.start().await;
    let mut held = machine.faults.hold(Point::DatabaseTime);
    let another = async {
        held.reached().await;
        let compared = tokio::time::timeout(Duration::ZERO, iam.compare_clock()).await;
        assert!(compared.is_err(), "it would move the clock by which the first one measures");
        machine.set_wall(START.plus(HOUR));
        drop(held);
    };
    let (difference, ()) = tokio::join!(iam.compare_clock(), another);
    assert_eq!(difference.unwrap(), Duration::ZERO);
    assert_eq!(iam.now(), START.plus(HOUR));
}

#[tokio::test]
async fn processes_whose_clocks_differ_by_seconds_work_with_one_another() {
    for apart in [Duration::from_secs(5), Duration::from_secs(58)] {
        let machine = Machine::new().await;
        let slow = machine.start().await;
        let fast = machine.start_with(Arc::new(ManualClock::new(START.plus(apart)))).await.0;
        enrol(&machine, &slow, "alice", FactorKind::EmailOtp).await;
        join(&slow, "carol").await;
        let carol = try_to_sign_in(&fast, "carol", PASSWORD, None).await.unwrap();
        for iam in [&slow, &fast] {
            assert!(is_signed_in(iam, &carol.token).await);
            iam.upkeep().await.unwrap();
        }
        // A stranger's tries are not those of a device that a faster process has noted.
        for _ in 0..6 {
            let _ = try_to_sign_in(&slow, "carol", "wrong pony charger", None).await;
        }
        assert!(try_to_sign_in(&slow, "carol", PASSWORD, carol.device.as_ref()).await.is_ok());
        // A code that the faster one has sent is answered at the slower one.
        machine.advance(2 * MINUTE);
        let token = sign_in(&slow, "alice").await;
        let claimant = pending(&slow, &token).await;
        fast.challenge(&claimant, &token, FactorKind::EmailOtp.into(), &client()).await.unwrap();
        let code = machine.mailed_code(&fast).await;
        assert!(verify(&slow, &claimant, &token, FactorKind::EmailOtp, &code).await.is_ok(), "{apart:?}");
    }
}

#[tokio::test]
async fn the_worker_compares_when_the_wall_clock_was_set() {
    let machine = Machine::new().await;
    let (iam, worker) = machine.start_with(SteadyClock::of(Arc::clone(&machine.time))).await;
    machine.set_wall(START.plus(HOUR));
    let mut compared = machine.faults.hold(Point::DatabaseTime);
    let worker = tokio::spawn(worker.run());
    // Long before the first round of upkeep, which compares as well.
    tokio::time::timeout(SOON, compared.reached()).await.unwrap();
    drop(compared);
    let followed = async {
        while iam.now() < START.plus(HOUR) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, followed).await.unwrap();
    worker.abort();
}
