//! Keys that protect nothing.

use crate::password::pepper::PepperRing;
use crate::secrets::keys::Keys;
use crate::secrets::seal::KeyRing;
use crate::secrets::secret_key::{SecretKey, looks_made_up};

/// A key that protects nothing, by the setting that it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
#[non_exhaustive]
pub struct UnsafeKey {
    /// The setting.
    pub setting: &'static str,
    /// Why it protects nothing.
    pub reason: &'static str,
}

/// What is wrong with keys that have the right form: made up rather than drawn, or one key in two places. Of a ring only the first key
/// must be drawn at random: those behind it are being left.
pub fn unsafe_keys(keys: Option<&Keys>, pepper: Option<&PepperRing>) -> Vec<UnsafeKey> {
    const SECRET: &str = "IAM_SECRET_KEY";
    const RING: &str = "MFA_ENCRYPTION_KEY";
    const PEPPER: &str = "IAM_PASSWORD_PEPPER";
    const MADE_UP: &str = "was not drawn at random (few different bytes, a sequence, or text): make one with `openssl rand -base64 32`";
    let (secret, ring) = (keys.map(|keys| &keys.secret), keys.map(|keys| &keys.ring));
    let ring_keys = || ring.into_iter().flat_map(KeyRing::keys);
    let is_pepper = |key: &[u8]| pepper.is_some_and(|pepper| pepper.holds(key));
    let cases = [
        (secret.is_some_and(SecretKey::looks_made_up), SECRET, MADE_UP),
        (ring_keys().next().is_some_and(|key| looks_made_up(key)), RING, MADE_UP),
        (pepper.is_some_and(PepperRing::looks_made_up), PEPPER, MADE_UP),
        (
            secret.is_some_and(|secret| ring_keys().any(|key| key.as_slice() == secret.as_bytes())),
            RING,
            "is the same as IAM_SECRET_KEY: who learns one learns both",
        ),
        (
            secret.is_some_and(|secret| is_pepper(secret.as_bytes())),
            PEPPER,
            "is the same as IAM_SECRET_KEY: who learns one learns both",
        ),
        (
            ring_keys().any(|key| is_pepper(key)),
            PEPPER,
            "is the same as MFA_ENCRYPTION_KEY: who learns one learns both",
        ),
    ];
    let unsafe_key = |(_, setting, reason)| UnsafeKey { setting, reason };
    cases.into_iter().filter(|(is_wrong, ..)| *is_wrong).map(unsafe_key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tests_do() {
        assert_eq!(unsafe_keys(Some(&Keys::danger_known_for_tests()), None), []);
    }
}
