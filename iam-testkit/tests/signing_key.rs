//! A factor that signs challenges, as WebAuthn's keys do: in several steps, with a credential that is found by its id and a counter that rises.
//! Its signature is a MAC, since nothing here depends on what kind it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at once")]

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use iam_core::ports::{
    Code, Credential, Factor, FactorBegun, FactorContext, LoginIdentifier, Method, MethodId, OpenedMethod,
    Show, Spend, Store, Verdict, WrongAnswer,
};
use iam_core::protocol::{Activity, Authentication, Carrier, Claimant, Login, SessionToken};
use iam_core::{
    Assurance, Client, Conflict, Error, FactorKind, FactorPolicy, MethodName, PlainPassword, Principal,
    ProofMethod, Purpose, RandomnessUnavailable, SecondFactorRefusal, StoredKind, Timestamp, UniqueKey,
};
use iam_store_sqlite::SqliteStore;
use iam_testkit::{PASSWORD, TestIam};
use serde::{Deserialize, Serialize};
use sha1::Sha1;

const PAYROLL: Purpose = Purpose::of("payroll");

/// What is shown to the browser.
#[derive(Serialize, Deserialize)]
struct Options {
    challenge: String,
    /// The ids of the credentials that may answer.
    allowed: Vec<String>,
}

/// What the browser answers.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: String,
    origin: String,
    counter: u32,
    tag: String,
    /// The key itself, where it is registered.
    key: Option<String>,
}

/// What the service stores of a credential.
#[derive(Serialize, Deserialize)]
struct Registered {
    id: String,
    key: String,
    counter: u32,
}

/// The service's side.
#[derive(Debug)]
struct SigningKeys;

impl SigningKeys {
    fn challenge(cx: &FactorContext<'_>, allowed: Vec<String>) -> Result<FactorBegun, RandomnessUnavailable> {
        let mut challenge = vec![0; 32];
        cx.random.fill(&mut challenge)?;
        let options = Options { challenge: hex(&challenge), allowed };
        let show = Show::Options(serde_json::to_string(&options).unwrap());
        Ok(FactorBegun { keep: challenge.into(), show, send: None })
    }

    fn registered(method: &OpenedMethod) -> Option<Registered> {
        serde_json::from_slice(method.secret.as_ref()?).ok()
    }
}

impl Factor for SigningKeys {
    fn kind(&self) -> FactorKind {
        FactorKind::WebAuthn
    }

    fn begin_enrolment(&self, cx: &FactorContext<'_>) -> Result<FactorBegun, RandomnessUnavailable> {
        Self::challenge(cx, Vec::new())
    }

    fn finish_enrolment(
        &self,
        cx: &FactorContext<'_>,
        kept: &[u8],
        answer: &str,
    ) -> Result<Credential, WrongAnswer> {
        let answer: Answer = serde_json::from_str(answer).map_err(|_| WrongAnswer)?;
        let key = answer.key.clone().ok_or(WrongAnswer)?;
        if !is_signed(cx, &key, kept, &answer) {
            return Err(WrongAnswer);
        }
        let lookup = Some(answer.id.clone().into_bytes());
        let registered = Registered { id: answer.id, key, counter: answer.counter };
        let secret = Some(serde_json::to_vec(&registered).unwrap().into());
        Ok(Credential { secret, lookup, step: None })
    }

    fn read(&self, typed: &str) -> Option<Code> {
        serde_json::from_str::<Answer>(typed).ok().map(|_| Code::new(typed))
    }

    fn begin(
        &self,
        cx: &FactorContext<'_>,
        methods: &[OpenedMethod],
    ) -> Result<FactorBegun, RandomnessUnavailable> {
        Self::challenge(cx, methods.iter().filter_map(Self::registered).map(|known| known.id).collect())
    }

    fn finish(&self, cx: &FactorContext<'_>, kept: &[u8], methods: &[OpenedMethod], answer: &str) -> Verdict {
        let Ok(answer) = serde_json::from_str::<Answer>(answer) else { return Verdict::Rejected };
        for (id, known) in methods.iter().filter_map(|method| Some((method.id, Self::registered(method)?))) {
            if known.id == answer.id
                && is_signed(cx, &known.key, kept, &answer)
                && answer.counter > known.counter
            {
                let secret = serde_json::to_vec(&Registered { counter: answer.counter, ..known }).unwrap();
                return Verdict::Accepted { method: Some(id), spend: Spend::Rewrite(id, secret.into()) };
            }
        }
        Verdict::Rejected
    }
}

fn is_signed(cx: &FactorContext<'_>, key: &str, challenge: &[u8], answer: &Answer) -> bool {
    let origin = cx.base_url.unwrap().origin();
    // Nothing is answered to nothing.
    challenge.len() == 32
        && answer.origin == origin
        && answer.tag == tag(key, &hex(challenge), &answer.origin, answer.counter)
}

fn tag(key: &str, challenge: &str, origin: &str, counter: u32) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{challenge} {origin} {counter}").as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Somebody's device.
#[derive(Clone)]
struct Device {
    id: &'static str,
    key: &'static str,
    origin: String,
    counter: u32,
}

impl Device {
    fn new(test: &TestIam, id: &'static str) -> Self {
        Self { id, key: "a key", origin: test.origin(), counter: 0 }
    }

    /// Signs what it is shown, with the next number.
    fn sign(&mut self, options: &str) -> String {
        self.counter += 1;
        let Options { challenge, .. } = serde_json::from_str(options).unwrap();
        let tag = tag(self.key, &challenge, &self.origin, self.counter);
        let (id, origin) = (self.id.to_owned(), self.origin.clone());
        serde_json::to_string(&Answer {
            id,
            origin,
            counter: self.counter,
            tag,
            key: Some(self.key.to_owned()),
        })
        .unwrap()
    }
}

fn client() -> Client {
    Client::at([192, 0, 2, 1].into())
}

async fn service() -> (TestIam, SqliteStore) {
    let store = SqliteStore::open_in_memory().await.unwrap();
    store.migrate().await.unwrap();
    let mut policy = FactorPolicy::default();
    policy.sign_in.push(FactorKind::WebAuthn);
    policy.step_up.push(FactorKind::WebAuthn);
    let with = |builder: iam_core::IamBuilder| builder.factor(SigningKeys).factor_policy(policy);
    (TestIam::builder().store(store.clone()).with(with).build().await, store)
}

/// With the password alone.
async fn sign_in(test: &TestIam, name: &str) -> (SessionToken, Authentication) {
    let (identifier, client) = (LoginIdentifier::parse(name).unwrap(), client());
    let done = test.iam().protocol().login(Login {
        identifier: &identifier,
        password: PlainPassword::new(PASSWORD).unwrap(),
        device: None,
        trusted: None,
        carrier: Carrier::Cookie,
        stay_signed_in: false,
        replaces: None,
        client: &client,
    });
    let token = done.await.unwrap().token;
    let found = test.iam().protocol().authenticate(&token, Activity::Active, &client).await.unwrap();
    (token, found)
}

async fn pending(test: &TestIam, name: &str) -> (SessionToken, Claimant) {
    match sign_in(test, name).await {
        (token, Authentication::PendingSecondFactor(pending)) => (token, Claimant::from(&pending)),
        (_, other) => panic!("{other:?}"),
    }
}

async fn principal(test: &TestIam, token: &SessionToken) -> Principal {
    match test.iam().protocol().authenticate(token, Activity::Active, &client()).await.unwrap() {
        Authentication::SignedIn(principal) => principal,
        other => panic!("{other:?}"),
    }
}

/// The options of a challenge.
async fn ask(test: &TestIam, claimant: &Claimant, token: &SessionToken) -> String {
    let asked =
        test.iam().protocol().challenge(claimant, token, ProofMethod::WebAuthn, &client()).await.unwrap();
    asked.options.unwrap()
}

async fn answer(
    test: &TestIam,
    claimant: &Claimant,
    token: &SessionToken,
    answer: &str,
) -> Result<SessionToken, Error> {
    let client = client();
    let done = test.iam().protocol().verify(claimant, token, ProofMethod::WebAuthn, answer, &client);
    Ok(done.await?.token)
}

/// Sets a device up for somebody who has just signed in with the password.
async fn register(test: &TestIam, name: &str, device: &mut Device) -> Result<MethodId, Error> {
    test.account(name).await;
    let (token, _) = sign_in(test, name).await;
    let principal = principal(test, &token).await;
    let called = MethodName::parse(device.id).unwrap();
    let iam = test.iam();
    let begun = iam
        .own_account(&principal, &client())
        .enrol(&token, FactorKind::WebAuthn, &called, None)
        .await
        .unwrap();
    let signed = device.sign(&begun.options.unwrap());
    iam.own_account(&principal, &client()).confirm(&token, begun.id, &signed, None).await.map(|_| begun.id)
}

fn is_rejected<T>(done: &Result<T, Error>) -> bool {
    matches!(done, Err(Error::SecondFactor(SecondFactorRefusal::Rejected { .. })))
}

#[tokio::test]
async fn a_key_is_set_up_and_signs_people_in_by_challenges_of_their_own() {
    let (test, store) = service().await;
    let mut device = Device::new(&test, "key-1");
    let id = register(&test, "alice", &mut device).await.unwrap();
    let (token, claimant) = pending(&test, "alice").await;
    let early = device.clone().sign(r#"{"challenge":"00","allowed":[]}"#);
    let spent = answer(&test, &claimant, &token, &early).await;
    assert!(
        matches!(spent, Err(Error::SecondFactor(SecondFactorRefusal::Spent))),
        "it has to be asked for: {spent:?}"
    );
    let first = ask(&test, &claimant, &token).await;
    let options: Options = serde_json::from_str(&first).unwrap();
    assert_eq!(options.allowed, ["key-1"]);
    let second = ask(&test, &claimant, &token).await;
    assert_ne!(first, second, "each asking draws another challenge");
    let stale = device.clone().sign(&first);
    assert!(is_rejected(&answer(&test, &claimant, &token, &stale).await), "the challenge before");
    let mut elsewhere = Device { origin: "https://phishing.example".to_owned(), ..device.clone() };
    let phished = elsewhere.sign(&second);
    assert!(is_rejected(&answer(&test, &claimant, &token, &phished).await), "signed for another origin");
    let signed = device.sign(&second);
    let token = answer(&test, &claimant, &token, &signed).await.unwrap();
    let alice = principal(&test, &token).await;
    assert_eq!(
        (alice.amr().collect::<Vec<_>>(), alice.assurance()),
        (vec!["pwd", "pop", "mfa"], Assurance::Aal2)
    );
    let mut reader = store.reader().await.unwrap();
    let methods = reader.methods().of_account(alice.account()).await.unwrap();
    let [Method { id: found, lookup, last_used_at, .. }] = &methods[..] else { panic!("{methods:?}") };
    assert_eq!((*found, lookup.as_deref()), (id, Some(&b"key-1"[..])));
    assert_eq!(*last_used_at, Some(test.now()));
}

#[tokio::test]
async fn a_counter_that_does_not_rise_is_a_copy() {
    let (test, _) = service().await;
    let mut device = Device::new(&test, "key-1");
    register(&test, "alice", &mut device).await.unwrap();
    let mut copy = device.clone();
    let (token, claimant) = pending(&test, "alice").await;
    let signed = device.sign(&ask(&test, &claimant, &token).await);
    answer(&test, &claimant, &token, &signed).await.unwrap();
    // The same number again, to a challenge of its own.
    let (token, claimant) = pending(&test, "alice").await;
    let signed = copy.sign(&ask(&test, &claimant, &token).await);
    assert!(is_rejected(&answer(&test, &claimant, &token, &signed).await));
    let signed = copy.sign(&ask(&test, &claimant, &token).await);
    assert!(answer(&test, &claimant, &token, &signed).await.is_ok(), "the number after it");
}

#[tokio::test]
async fn of_two_answers_with_one_number_at_once_one_counts() {
    let (test, _) = service().await;
    let mut device = Device::new(&test, "key-1");
    register(&test, "alice", &mut device).await.unwrap();
    let ((one, first), (two, second)) = (pending(&test, "alice").await, pending(&test, "alice").await);
    let signed_one = device.clone().sign(&ask(&test, &first, &one).await);
    let signed_two = device.sign(&ask(&test, &second, &two).await);
    let done =
        tokio::join!(answer(&test, &first, &one, &signed_one), answer(&test, &second, &two, &signed_two));
    let (done, refused) = if done.0.is_ok() { done } else { (done.1, done.0) };
    assert!(done.is_ok() && is_rejected(&refused), "{done:?} {refused:?}");
}

#[tokio::test]
async fn a_credential_is_one_accounts() {
    let (test, _) = service().await;
    let mut device = Device::new(&test, "key-1");
    register(&test, "alice", &mut device).await.unwrap();
    let taken = register(&test, "bob", &mut device).await;
    assert!(matches!(taken, Err(Error::Conflict(Conflict::Taken(UniqueKey::FactorLookup)))), "{taken:?}");
    register(&test, "bob", &mut Device::new(&test, "key-2")).await.unwrap();
    let wrong = Device { origin: "https://phishing.example".to_owned(), ..Device::new(&test, "key-3") };
    assert!(is_rejected(&register(&test, "carol", &mut { wrong }).await));
}

#[tokio::test]
async fn a_key_proves_for_a_purpose_as_well() {
    let (test, _) = service().await;
    let mut device = Device::new(&test, "key-1");
    register(&test, "alice", &mut device).await.unwrap();
    let (token, claimant) = pending(&test, "alice").await;
    let signed = device.sign(&ask(&test, &claimant, &token).await);
    let token = answer(&test, &claimant, &token, &signed).await.unwrap();
    let claimant = Claimant::step_up(&principal(&test, &token).await, PAYROLL);
    let signed = device.sign(&ask(&test, &claimant, &token).await);
    answer(&test, &claimant, &token, &signed).await.unwrap();
    let again = answer(&test, &claimant, &token, &signed).await;
    assert!(matches!(again, Err(Error::SecondFactor(SecondFactorRefusal::Spent))), "{again:?}");
    let alice = test.iam().protocol().with_step_up_proofs(&principal(&test, &token).await).await.unwrap();
    let minute = Duration::from_mins(1);
    assert!(alice.has_proved(PAYROLL, &[ProofMethod::WebAuthn], minute, None));
    assert!(!alice.has_proved(PAYROLL, &[ProofMethod::Totp], minute, None));
}

/// The factor of a newer program, on an older one.
#[tokio::test]
async fn a_factor_that_is_not_known_is_asked_for_and_never_passed_by() {
    let (test, store) = service().await;
    let alice = test.account("alice").await;
    let (early, _) = sign_in(&test, "alice").await;
    let before = principal(&test, &early).await;
    let newer = Method {
        id: MethodId::from_bytes([7; 16]),
        account: alice,
        kind: StoredKind::parse("palm"),
        name: MethodName::parse("my palm").unwrap(),
        secret: Some(vec![1, 2, 3]),
        lookup: None,
        created_at: Timestamp::from_micros(1),
        confirmed_at: Some(Timestamp::from_micros(1)),
        last_used_at: None,
        last_step: None,
    };
    let mut unit = store.begin().await.unwrap();
    let _ = unit.methods().insert(&newer, 9).await.unwrap();
    unit.commit().await.unwrap();
    let (token, claimant) = pending(&test, "alice").await;
    assert_eq!(test.iam().protocol().offers(&claimant).await.unwrap(), []);
    for method in [ProofMethod::Totp, ProofMethod::WebAuthn, ProofMethod::Password, ProofMethod::Invitation] {
        let refused = test.iam().protocol().verify(&claimant, &token, method, "123456", &client()).await;
        assert!(refused.is_err(), "{method}");
    }
    // Who was signed in before sees it, and neither adds nor removes one without it.
    let (listed, _) = test.iam().own_account(&before, &client()).factors().await.unwrap();
    assert_eq!(listed.iter().map(|factor| factor.kind.as_str()).collect::<Vec<_>>(), ["palm"]);
    let refused = test.iam().own_account(&before, &client()).remove(&early, newer.id, None).await;
    assert!(matches!(refused, Err(Error::Stale { .. })), "{refused:?}");
    // An administrator helps.
    assert_eq!(test.iam().factors(&iam_core::Actor::service()).reset(alice).await.unwrap(), 1);
    assert!(matches!(sign_in(&test, "alice").await.1, Authentication::SignedIn(_)));
}
