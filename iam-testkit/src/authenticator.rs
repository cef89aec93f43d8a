//! What people have besides a password.

use std::fmt;
use std::time::Duration;

use iam_core::ports::{Kept, Method, MethodId, Place, SealedColumn, SessionState};
use iam_core::protocol::{Activity, Authentication, Claimant, SignedIn};
use iam_core::{
    AccountId, Client, Error, FactorKind, Keys, MethodName, OsRandomness, ProofMethod, Randomness,
    SecondFactorRefusal, StoreError, Timestamp,
};
use totp_rs::{Algorithm, Builder};

use crate::must;
use crate::test_iam::{PEER, TestIam};

const STEP: Duration = Duration::from_secs(30);
const STEP_MICROS: i64 = 30_000_000;

/// As long as those that `iam_mfa::Totp` draws.
const SECRET_BYTES: usize = 20;

/// The most methods that an account of a test may have.
const MOST: u32 = 1000;

/// An authenticator app of somebody in a test, which shows codes by the test's clock. From [`TestIam::authenticator`].
#[derive(Clone)]
pub struct Authenticator {
    test: TestIam,
    app: App,
}

/// The app itself, which knows no time.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) account: AccountId,
    method: MethodId,
    secret: Vec<u8>,
}

impl Authenticator {
    /// The account that it is set up for.
    pub fn account(&self) -> AccountId {
        self.app.account
    }

    /// The code that it shows now. It is good once, as for people: for another one at once there is [`next_code`](Self::next_code).
    pub fn code(&self) -> String {
        self.app.code_of(step_at(self.test.now()))
    }

    /// The code that it shows next, as for somebody who waits for it: the clock moves on by thirty seconds.
    pub fn next_code(&self) -> String {
        self.test.later(STEP);
        self.code()
    }

    /// A code of six digits that it shows neither now nor a step earlier or later.
    pub fn wrong_code(&self) -> String {
        let now = step_at(self.test.now());
        let right: Vec<String> = (now - 1..=now + 1).map(|step| self.app.code_of(step)).collect();
        let wrong = (0..4).map(|number| format!("{number:06}")).find(|code| !right.contains(code));
        wrong.unwrap_or_default()
    }
}

impl App {
    fn code_of(&self, step: i64) -> String {
        let app = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(STEP.as_secs())
            .with_secret(self.secret.as_slice())
            .build();
        let seconds = u64::try_from(step).unwrap_or(0) * STEP.as_secs();
        must(app, "an authenticator can't be made").generate(seconds).to_string()
    }
}

/// Without the secret.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("account", &self.app.account).finish_non_exhaustive()
    }
}

/// Likewise.
impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("account", &self.account).finish_non_exhaustive()
    }
}

impl TestIam {
    /// An authenticator app that somebody set up before the test began. Their account is made, unless it is there. From now on their password
    /// signs them in half the way only; [`signed_in`](Self::signed_in) goes all of it.
    ///
    /// An account that is made here has no parent, and keeps none: make one that is to have one before, by [`account`](Self::account).
    ///
    /// ```
    /// # use iam_testkit::TestIam;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let test = TestIam::new().await;
    /// test.account("alice").role("accountant").parent("acme").await;
    /// let app = test.authenticator("alice").await;
    /// let alice = test.signed_in("alice").await; // with a code of the app
    /// let code = app.code(); // for a step-up: `POST /api/v1/auth/mfa/verify`, say
    /// # let _ = (alice, code);
    /// # }
    /// ```
    pub async fn authenticator(&self, name: &str) -> Authenticator {
        let account = self.account(name).await;
        let mut secret = vec![0; SECRET_BYTES];
        must(OsRandomness.fill(&mut secret), "no secret can be drawn");
        let mut id = [0; 16];
        must(OsRandomness.fill(&mut id), "no id can be drawn");
        let app = App { account, method: MethodId::from_bytes(id), secret };
        let set_up = self.set_up(&app).await;
        must(set_up, format_args!("{name}'s authenticator can't be set up"));
        self.keep_app(app.clone());
        Authenticator { test: self.clone(), app }
    }

    /// The code of the latest e-mail that has one, for whomever it was.
    pub async fn mailed_code(&self) -> String {
        drop(self.mails().await);
        match self.mail().last_code() {
            Some(code) => code,
            None => panic!("iam-testkit: no code was sent by e-mail"),
        }
    }

    /// Goes the second half of the way, where there is one and the account has an app of this test's.
    pub(crate) async fn complete(&self, signed_in: SignedIn) -> SignedIn {
        let half =
            (signed_in.state != SessionState::Active).then(|| self.app_of(signed_in.account)).flatten();
        let Some(app) = half else { return signed_in };
        let (client, token) = (Client::at(PEER.ip()), &signed_in.token);
        // By the code before this one, which is as good: the one of now is left to the test.
        let earliest = self.last_step_of(&app).await.map_or(0, |step| step.saturating_add(2));
        let wait = earliest.saturating_sub(step_at(self.now()));
        self.later(STEP * u32::try_from(wait).unwrap_or(0));
        let asked = self.iam().protocol().authenticate(token, Activity::Active, &client).await;
        let Authentication::PendingSecondFactor(pending) = must(asked, "a sign-in can't be read") else {
            panic!("iam-testkit: a sign-in is over before its second half")
        };
        let claimant = Claimant::from(&pending);
        let challenge = self.iam().protocol().challenge(&claimant, token, ProofMethod::Totp, &client).await;
        must(challenge, "no code is asked for");
        let verify = async |step| {
            let code = app.code_of(step);
            self.iam().protocol().verify(&claimant, token, ProofMethod::Totp, &code, &client).await
        };
        let now = step_at(self.now());
        match verify(now - 1).await {
            // Where the service takes the code of this very step only.
            Err(Error::SecondFactor(SecondFactorRefusal::Rejected { .. })) => {
                must(verify(now).await, "a code of the app is refused")
            }
            done => must(done, "a code of the app is refused"),
        }
    }

    /// Puts an app where a person's would be.
    async fn set_up(&self, app: &App) -> Result<(), StoreError> {
        let (column, now) = (SealedColumn::MethodSecret, self.now());
        let place = Place {
            table: column.table(),
            column: column.column(),
            owner: app.account.as_bytes(),
            row: app.method.as_bytes(),
        };
        let ring = Keys::danger_known_for_tests().ring;
        let method = Method {
            id: app.method,
            account: app.account,
            kind: FactorKind::Totp.into(),
            name: must(MethodName::parse("app"), "the app has no name"),
            secret: Some(must(ring.seal(place, &app.secret, &OsRandomness), "a secret can't be sealed")),
            created_at: now,
            lookup: None,
            confirmed_at: Some(now),
            last_used_at: None,
            last_step: None,
        };
        let mut unit = self.store().begin().await?;
        let inserted = unit.methods().insert(&method, MOST).await?;
        assert_eq!(inserted, Kept::Done, "iam-testkit: an account has {MOST} factors at most");
        unit.commit().await
    }

    async fn last_step_of(&self, app: &App) -> Option<i64> {
        let mut reader = must(self.store().reader().await, "factors can't be read");
        let methods = must(reader.methods().of_account(app.account).await, "factors can't be read");
        methods.iter().find(|method| method.id == app.method).and_then(|method| method.last_step)
    }
}

fn step_at(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(STEP_MICROS)
}
