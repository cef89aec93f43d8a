//! What the builders refuse to start with: each named by its call, or by the setting that a key is known by.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what goes wrong fails the test")]

use std::time::Duration;

use iam_core::ports::Store;
use iam_core::{
    Argon2Params, Channel, Error, FactorKind, FactorLimits, FactorPolicy, Iam, IamBuilder, InvalidOrigin,
    KeyRing, Keys, LoginLimits, LongSessions, PasswordPolicy, PepperRing, SecretKey, SessionCache,
    SessionPolicy, Window,
};
use iam_mfa::{MemorySender, SentCode, Totp};
use iam_store_sqlite::SqliteStore;
use iam_web::WebIam;

const SECRET: &str = "3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
const SEAL: &str = "Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
const PEPPER: &str = "q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=";
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn keys(secret: &str, ring: &str) -> Keys {
    Keys { secret: SecretKey::from_base64(secret).unwrap(), ring: KeyRing::parse(ring).unwrap() }
}

fn cache(millis: u64, most: usize) -> SessionCache {
    SessionCache { most, max_age: Duration::from_millis(millis) }
}

async fn store() -> SqliteStore {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn builder(keys: Keys) -> IamBuilder {
    Iam::builder(store().await, keys).argon2(Argon2Params::danger_weak_for_tests())
}

async fn refusal(builder: IamBuilder) -> String {
    match builder.build().await {
        Err(Error::Misconfigured(problem)) => problem,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it starts"),
    }
}

type Change = fn(IamBuilder) -> IamBuilder;

fn sessions(idle: u64, absolute: u64) -> SessionPolicy {
    SessionPolicy { idle: Duration::from_secs(idle), absolute: Duration::from_secs(absolute) }
}

fn long(idle: u64, absolute: u64) -> LongSessions {
    LongSessions::new(Duration::from_hours(24 * idle), Duration::from_hours(24 * absolute))
}

fn login(change: fn(&mut LoginLimits)) -> LoginLimits {
    let mut limits = LoginLimits::default();
    change(&mut limits);
    limits
}

fn limits(change: fn(&mut FactorLimits)) -> FactorLimits {
    let mut limits = FactorLimits::default();
    change(&mut limits);
    limits
}

fn policy(change: fn(&mut FactorPolicy)) -> FactorPolicy {
    let mut policy = FactorPolicy::default();
    change(&mut policy);
    policy
}

const NONE: Window = Window { limit: 0, length: Duration::from_secs(1) };
const NEVER: Window = Window { limit: 1, length: Duration::ZERO };

/// Each alone makes a builder that is fine otherwise unusable.
const BAD: &[(&str, Change)] = &[
    ("sessions: the idle", |iam| iam.sessions(sessions(0, 60))),
    ("sessions: the idle", |iam| iam.sessions(sessions(3601, 7200))),
    ("sessions: the absolute", |iam| iam.sessions(sessions(60, 59))),
    ("sessions: the absolute", |iam| iam.sessions(sessions(60, 86_401))),
    ("session_cache: a session", |iam| iam.session_cache(cache(1001, 100))),
    ("session_cache: a session", |iam| iam.session_cache(cache(0, 100))),
    ("session_cache: fewer than 16", |iam| iam.session_cache(cache(1000, 15))),
    ("long_sessions: the idle", |iam| iam.long_sessions(long(31, 90).for_everybody())),
    ("long_sessions: the idle", |iam| iam.long_sessions(long(0, 90).for_everybody())),
    ("long_sessions: the absolute", |iam| iam.long_sessions(long(30, 91).for_everybody())),
    ("long_sessions: the absolute", |iam| iam.long_sessions(long(30, 29).for_everybody())),
    ("long_sessions: the absolute", |iam| {
        let (idle, absolute) = (Duration::from_hours(1), Duration::from_hours(11));
        iam.long_sessions(LongSessions::new(idle, absolute).for_everybody())
    }),
    ("long_sessions: they are for nobody", |iam| iam.long_sessions(long(30, 90))),
    ("long_sessions: `iam:platform-admin` can't be a role", |iam| {
        iam.long_sessions(long(30, 90).for_role("customer").for_role("iam:platform-admin"))
    }),
    ("long_sessions: `IAM:x` can't be a role", |iam| iam.long_sessions(long(30, 90).for_role("IAM:x"))),
    ("long_sessions: `` can't be a parent's key", |iam| iam.long_sessions(long(30, 90).for_parent(""))),
    ("password_policy: the least length of a password must be 8 or more", |iam| {
        iam.password_policy(PasswordPolicy::default().min_length(0))
    }),
    ("password_policy: the least length of a password must be 8 or more", |iam| {
        iam.password_policy(PasswordPolicy::default().min_length(7))
            .factors(iam_mfa::standard())
            .factor_policy(policy(|policy| policy.required_of_everybody = true))
    }),
    ("password_policy: the least length of a password must be 15 or more, unless", |iam| {
        iam.password_policy(PasswordPolicy::default().min_length(8))
    }),
    ("password_policy: the least length of a password must be 15 or more, unless", |iam| {
        iam.password_policy(PasswordPolicy::default().min_length(14)).factors(iam_mfa::standard())
    }),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.account.free = 0))),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.devices = NONE))),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.session = NONE))),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.address = NONE))),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.address_long = NEVER))),
    ("login_limits: a limit of zero", |iam| {
        iam.login_limits(login(|limits| limits.address_in_flight = NEVER))
    }),
    ("login_limits: a limit of zero", |iam| iam.login_limits(login(|limits| limits.sign_ins = NONE))),
    ("factor_limits: a limit of zero", |iam| iam.factor_limits(limits(|limits| limits.failures = NONE))),
    ("factor_limits: a limit of zero", |iam| iam.factor_limits(limits(|limits| limits.sends = NONE))),
    ("factor_limits: a limit of zero", |iam| iam.factor_limits(limits(|limits| limits.sends_long = NEVER))),
    ("factor_limits: a limit of zero", |iam| {
        iam.factor_limits(limits(|limits| limits.sends_of_address = NEVER))
    }),
    ("factor_limits: second factors may be tried", |iam| {
        iam.factor_limits(limits(|limits| limits.in_a_row = 101))
    }),
    ("factor_limits: a code that is sent", |iam| {
        iam.factor_limits(limits(|limits| limits.code_lifetime = Duration::from_secs(601)))
    }),
    ("factor_limits: a second factor must be due", |iam| {
        iam.factor_limits(limits(|limits| limits.pending_lifetime = Duration::ZERO))
    }),
    ("factor_policy: the factors that satisfy", |iam| {
        iam.factor_policy(policy(|policy| policy.sign_in.clear()))
    }),
    ("factor_policy: by policy only", |iam| {
        iam.factor_policy(policy(|policy| policy.step_up.push(FactorKind::EmailOtp)))
    }),
    ("factor_policy: a browser may be trusted", |iam| {
        iam.factor_policy(policy(|policy| policy.trusted_devices = Some(Duration::from_hours(721))))
    }),
    ("factor_policy: a factor is required of everybody, and none", |iam| {
        iam.factor_policy(policy(|policy| policy.required_of_everybody = true))
    }),
    ("factor_policy: a factor is required of everybody, and none", |iam| {
        iam.factor(Totp::new()).factor_policy(policy(|policy| {
            policy.required_of_everybody = true;
            policy.sign_in = vec![FactorKind::EmailOtp];
        }))
    }),
    ("factor_policy: a factor is required of everybody, and none", |iam| {
        // Offered, but nobody sends it.
        iam.factors(iam_mfa::standard()).factor_policy(policy(|policy| {
            policy.required_of_everybody = true;
            policy.sign_in = vec![FactorKind::EmailOtp];
        }))
    }),
    ("factor: totp is offered twice", |iam| iam.factors(iam_mfa::standard()).factor(Totp::new())),
    ("factor: sms_otp needs telephone numbers", |iam| iam.factor(SentCode::sms())),
    ("factor: whatsapp_otp needs telephone numbers", |iam| {
        iam.factors(iam_mfa::standard()).factor(SentCode::whatsapp())
    }),
    ("sender: there are two for email", |iam| {
        iam.sender(MemorySender::new(Channel::Email)).sender(MemorySender::new(Channel::Email))
    }),
    ("audit_retention: ", |iam| iam.audit_retention(Duration::from_secs(86_399))),
    ("IAM_PASSWORD_PEPPER: was not drawn at random", |iam| {
        iam.password_pepper(PepperRing::parse(ZEROS).unwrap())
    }),
    ("IAM_PASSWORD_PEPPER: is the same as IAM_SECRET_KEY", |iam| {
        iam.password_pepper(PepperRing::parse(SECRET).unwrap())
    }),
    ("IAM_PASSWORD_PEPPER: is the same as MFA_ENCRYPTION_KEY", |iam| {
        iam.password_pepper(PepperRing::parse(&format!("1:{PEPPER},0:{SEAL}")).unwrap())
    }),
];

#[tokio::test]
async fn what_would_not_work_or_protects_nothing_is_refused_by_its_call() {
    builder(keys(SECRET, SEAL)).await.build().await.unwrap();
    let longest = long(30, 90).for_role("customer").for_parent("acme");
    builder(keys(SECRET, SEAL)).await.long_sessions(longest).build().await.unwrap();
    for (n, (expected, change)) in BAD.iter().enumerate() {
        let problem = refusal(change(builder(keys(SECRET, SEAL)).await)).await;
        assert!(problem.starts_with(expected), "{n}: {expected}: {problem}");
    }
}

#[tokio::test]
async fn keys_that_protect_nothing_are_refused_by_their_setting() {
    for (secret, ring, expected) in [
        (ZEROS, SEAL, "IAM_SECRET_KEY: was not drawn at random"),
        // 07 over and over, counting, text.
        ("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", SEAL, "IAM_SECRET_KEY: was not drawn at random"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", SEAL, "IAM_SECRET_KEY: was not drawn at random"),
        ("cGxlYXNlIGNoYW5nZSBtZSB0byBhIHJlYWwga2V5ISE=", SEAL, "IAM_SECRET_KEY: was not drawn at random"),
        (SECRET, ZEROS, "MFA_ENCRYPTION_KEY: was not drawn at random"),
        (SECRET, SECRET, "MFA_ENCRYPTION_KEY: is the same as IAM_SECRET_KEY"),
        (SECRET, &format!("1:{SEAL},0:{SECRET}"), "MFA_ENCRYPTION_KEY: is the same as IAM_SECRET_KEY"),
        (SECRET, &format!("2147483648:{SEAL}"), "MFA_ENCRYPTION_KEY: the ids"),
    ] {
        let problem = refusal(builder(keys(secret, ring)).await).await;
        assert!(problem.starts_with(expected), "{expected}: {problem}");
    }
    // Behind another one it waits to be left.
    builder(keys(SECRET, &format!("1:{SEAL},0:{ZEROS}"))).await.build().await.unwrap();
}

/// PW-01: shorter passwords only where something else always stands beside them.
#[tokio::test]
async fn passwords_may_be_shorter_where_a_factor_is_required_of_everybody() {
    let short = PasswordPolicy::default().min_length(8);
    let required = policy(|policy| policy.required_of_everybody = true);
    let builder = builder(keys(SECRET, SEAL)).await.factors(iam_mfa::standard());
    builder.password_policy(short).factor_policy(required).build().await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_not_migrated_and_a_missing_runtime_are_named() {
    let bare = SqliteStore::open_in_memory().await.unwrap();
    assert!(bare.readiness().await.is_ok());
    let problem = refusal(Iam::builder(bare, keys(SECRET, SEAL))).await;
    assert!(problem.contains("call migrate()"), "{problem}");
}

#[tokio::test]
async fn an_origin_that_no_browser_sends_is_refused() {
    let iam = |base: &'static str| async move {
        builder(keys(SECRET, SEAL)).await.base_url(base.parse().unwrap()).build().await.unwrap()
    };
    let (far, near) = (iam("https://app.example").await, iam("http://localhost:3000").await);
    let bare = builder(keys(SECRET, SEAL)).await.build().await.unwrap();
    for (origin, expected) in [
        ("*", InvalidOrigin::Wildcard),
        ("https://*.example", InvalidOrigin::Wildcard),
        ("https://a.example/", InvalidOrigin::Malformed),
        ("https://a.example/path", InvalidOrigin::Malformed),
        ("https://amy:s3cret@a.example", InvalidOrigin::Malformed),
        ("a.example", InvalidOrigin::Malformed),
        ("null", InvalidOrigin::Malformed),
        ("", InvalidOrigin::Malformed),
        ("http://a.example", InvalidOrigin::Insecure),
        ("http://localhost:3000", InvalidOrigin::Insecure),
    ] {
        for iam in [&far, &bare] {
            let refused = WebIam::builder(iam.clone()).allow_origin(origin).unwrap_err();
            assert_eq!(refused, expected, "{origin}");
        }
    }
    assert!(WebIam::builder(near).allow_origin("http://127.0.0.1:3000").is_ok());
    assert!(WebIam::builder(far).allow_origin("https://a.example:8443").is_ok());
}
