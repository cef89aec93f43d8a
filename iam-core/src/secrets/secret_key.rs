//! The secret key of a deployment and the keys derived from it.

use std::fmt;

use base64ct::{Base64, Encoding};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::random::{Randomness, RandomnessUnavailable};

/// Whether a key was made up rather than drawn: it has fewer than sixteen different bytes, a regular pattern, or it is text, perhaps padded
/// with zeros. Of 32 bytes drawn at random not one in a thousand million is taken for that.
pub(crate) fn looks_made_up(key: &[u8]) -> bool {
    let mut different = key.to_vec();
    different.sort_unstable();
    different.dedup();
    let is_text = std::str::from_utf8(key)
        .is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\0' | '\t' | '\r' | '\n')));
    different.len() < 16 || has_pattern(key) || is_text
}

/// Whether bytes follow a rule: at some distance more than a quarter of them lie equally far from those before, or still
/// more in one of two ways. So it is with counting, with what repeats,
/// with letters in the order of the alphabet that were taken for base64 (distance three), and with squares, whose steps count.
fn has_pattern(key: &[u8]) -> bool {
    let steps = |bytes: &[u8], distance: usize| -> Vec<u8> {
        bytes.iter().skip(distance).zip(bytes).map(|(later, earlier)| later.wrapping_sub(*earlier)).collect()
    };
    let most = u32::try_from(key.len() / 4).unwrap_or(u32::MAX).max(8);
    let is_even = |steps: &[u8]| {
        let mut times = [0_u32; 256];
        for step in steps {
            if let Some(times) = times.get_mut(usize::from(*step)) {
                *times += 1;
            }
        }
        times.sort_unstable();
        let [.., second, first] = times;
        first > most || first + second > most + most / 2
    };
    (1..=16).any(|distance| is_even(&steps(key, distance))) || is_even(&steps(&steps(key, 1), 1))
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
    /// One key under two ids.
    #[error("one key stands under two ids: a new one is drawn, not numbered anew")]
    Twice,
}

/// At least 256 bits from which every sub-key comes, each for one purpose (HKDF-SHA-256, RFC 5869).
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    #[cfg(any(test, feature = "danger-weak-for-tests"))]
    pub(super) fn danger_known_for_tests(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key.to_vec()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

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

    pub(crate) fn looks_made_up(&self) -> bool {
        looks_made_up(&self.0)
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
    #[cfg(any(test, feature = "danger-weak-for-tests"))]
    pub(super) fn danger_known_for_tests() -> Self {
        Self(Zeroizing::new([0; 32]))
    }

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
    fn keys_that_nobody_drew_are_known() {
        let counting: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).map(|n: u8| 200_u8.wrapping_sub(n * 7)).collect();
        let padded = [b"a long pass phrase of mine".as_slice(), &[0; 8]].concat();
        let squares: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(n)).collect();
        let by_turns: Vec<u8> = (0..32).map(|n: u8| if n.is_multiple_of(2) { n } else { 255 - n }).collect();
        let both_ends: Vec<u8> = (0..16).chain(240..=255).collect();
        let nearly: Vec<u8> = (0..31).chain([255]).collect();
        let twice: Vec<u8> = (1..=16).chain(1..=16).collect();
        let letters = Base64::decode_vec("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ=").unwrap();
        for made_up in [
            [0; 32].as_slice(),
            &[0xff; 64],
            counting.as_slice(),
            &down,
            &b"\xde\xad\xbe\xef".repeat(8),
            &b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f".repeat(3),
            b"please change me to a real key!!",
            "schl\u{fc}ssel schl\u{fc}ssel schl\u{fc}ssel 26".as_bytes(),
            b"0123456789abcdef0123456789abcdef",
            &padded,
            &squares,
            &by_turns,
            &both_ends,
            &nearly,
            &twice,
            &letters,
        ] {
            assert!(looks_made_up(made_up), "{made_up:?}");
        }
        for _ in 0..20_000 {
            let drawn: [u8; 32] = crate::base::random::bytes(&crate::base::random::OsRandomness).unwrap();
            assert!(!looks_made_up(&drawn), "{drawn:?}");
        }
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
