//! What the tests of this crate share.

use iam_core::ports::{ChallengeId, Digest, FactorContext, Message};
use iam_core::{AccountId, OsRandomness, Randomness, RandomnessUnavailable, SecretKey, Timestamp};

#[derive(Debug)]
pub(crate) struct NoRandomness;

impl Randomness for NoRandomness {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessUnavailable> {
        Err(RandomnessUnavailable)
    }
}

pub(crate) fn with_digest<T>(f: impl FnOnce(&Digest<'_>) -> T) -> T {
    digest(1, f)
}

pub(crate) fn with_other_challenge<T>(f: impl FnOnce(&Digest<'_>) -> T) -> T {
    digest(2, f)
}

fn digest<T>(challenge: u8, f: impl FnOnce(&Digest<'_>) -> T) -> T {
    let key = SecretKey::from_bytes(&[7; 32]).unwrap().derive("test");
    let challenge = ChallengeId::from_bytes([challenge; 16]);
    f(&Digest::new(&key, AccountId::from_bytes([9; 16]), Some(challenge)))
}

/// Nothing but a digest, real chance, and the time.
pub(crate) fn context<'a>(digest: &Digest<'a>) -> FactorContext<'a> {
    let (service, account, now) = ("s", "a", Timestamp::from_micros(0));
    FactorContext { service, account, base_url: None, now, random: &OsRandomness, digest: *digest }
}

pub(crate) fn code_for(to: &str) -> Message {
    let content = serde_json::json!({ "code": { "code": "01234567", "minutes": 5 } });
    message(to, "amy", &content)
}

pub(crate) fn message(to: &str, username: &str, content: &serde_json::Value) -> Message {
    serde_json::from_value(serde_json::json!({ "to": to, "username": username, "content": content })).unwrap()
}
