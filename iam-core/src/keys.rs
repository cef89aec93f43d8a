//! The secret key of a deployment and the keys derived from it.

use std::fmt;

use base64ct::{Base64, Encoding};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::random::{Randomness, RandomnessUnavailable};
use crate::seal::KeyRing;

/// Everything secret that a deployment must keep: lose it, and what is sealed stays sealed.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs tokens and cookies; changing it invalidates those, and nothing else.
    pub secret: SecretKey,
    /// Seals what is secret at rest; a key may go only when nothing is sealed under it any more
    /// ([`Iam::retire_key`](crate::Iam::retire_key)).
    pub ring: KeyRing,
}

/// A key that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Not base64.
    #[error("the key is not base64")]
    Encoding,
    /// The key has another length than it must have.
    #[error("the key has {found} bytes, {needed} are needed")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// A key id that is no number, or stands twice.
    #[error("the key ids must be different whole numbers, as in `1:<base64>,0:<base64>`")]
    KeyId,
}

/// At least 256 bits from which every sub-key comes, each for one purpose (HKDF-SHA-256, RFC 5869).
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    /// The least that is accepted, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Takes a key as it is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        if bytes.len() < Self::MIN_BYTES {
            return Err(InvalidKey::Length { found: bytes.len(), needed: Self::MIN_BYTES });
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads a key from its base64 form.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = Zeroizing::new(Base64::decode_vec(text.trim()).map_err(|_| InvalidKey::Encoding)?);
        Self::from_bytes(&bytes)
    }

    /// Draws a new key.
    pub fn generate(random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new(vec![0; Self::MIN_BYTES]);
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The base64 form, to be kept where only the service can read it.
    pub fn expose_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(&self.0))
    }

    /// The sub-key for a purpose. Different purposes give independent keys.
    pub fn derive(&self, purpose: &'static str) -> MacKey {
        let mut key = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::new(Some(b"iam/v1"), &self.0).expand(purpose.as_bytes(), key.as_mut());
        debug_assert!(expanded.is_ok(), "32 bytes are within what HKDF-SHA-256 gives");
        MacKey(key)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A key for HMAC-SHA-256 (RFC 2104) over a list of parts.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; 32]>);

impl MacKey {
    /// The tag of these parts. Each part's length goes in too, so that no two lists give the same input.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether the tag belongs to these parts, in constant time.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.mac(parts).verify_slice(tag).is_ok()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes every key length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn purposes_are_independent() {
        assert_ne!(key().derive("csrf").tag(&[b"x"]), key().derive("device").tag(&[b"x"]));
        assert_eq!(key().derive("csrf").tag(&[b"x"]), key().derive("csrf").tag(&[b"x"]));
    }

    #[test]
    fn parts_do_not_run_together() {
        let mac = key().derive("test");
        assert_ne!(mac.tag(&[b"ab", b"c"]), mac.tag(&[b"a", b"bc"]));
        let tag = mac.tag(&[b"ab", b"c"]);
        assert!(mac.verify(&[b"ab", b"c"], &tag));
        assert!(!mac.verify(&[b"ab", b"c"], &tag[..31]));
        assert!(!mac.verify(&[b"abc"], &tag));
    }

    #[test]
    fn short_keys_are_refused_and_nothing_shows() {
        assert_eq!(
            SecretKey::from_bytes(&[0; 31]).unwrap_err(),
            InvalidKey::Length { found: 31, needed: 32 }
        );
        assert_eq!(SecretKey::from_base64("no base64!").unwrap_err(), InvalidKey::Encoding);
        assert_eq!(format!("{:?}{:?}", key(), key().derive("x")), "SecretKey(..)MacKey(..)");
        assert_eq!(*SecretKey::from_base64(&key().expose_base64()).unwrap().0, *key().0);
    }
}
