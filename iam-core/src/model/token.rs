//! Bearer secrets: the plain token goes to its owner once, only its hash is ever stored.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::random::{Randomness, RandomnessUnavailable};

/// How a token is carried. One that was given out for one way is worth nothing on the other: its hash is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// In a cookie, by a browser.
    Cookie,
    /// In the header `Authorization`, by a native client (RFC 6750).
    Bearer,
}

/// A session's token: 256 random bits. Whoever holds it is the session's owner.
#[derive(Clone)]
pub struct SessionToken {
    bytes: Zeroizing<[u8; 32]>,
    carrier: Carrier,
}

impl SessionToken {
    /// Length of the text form.
    pub const TEXT_LENGTH: usize = 43;

    pub(crate) fn generate(carrier: Carrier, random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut())?;
        Ok(Self { bytes, carrier })
    }

    /// Reads a token from its text. Exactly one text belongs to a token: anything shorter, longer or padded is none.
    pub fn parse(text: &str, carrier: Carrier) -> Option<Self> {
        if text.len() != Self::TEXT_LENGTH {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        let decoded = Base64UrlUnpadded::decode(text, bytes.as_mut()).ok()?.len();
        (decoded == 32).then_some(Self { bytes, carrier })
    }

    /// The text that goes to the owner: base64url without padding (RFC 4648).
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64UrlUnpadded::encode_string(self.bytes.as_ref()))
    }

    /// What a store keeps.
    pub fn hash(&self) -> TokenHash {
        let mut hash = Sha256::new();
        if self.carrier == Carrier::Bearer {
            hash.update(b"bearer");
        }
        hash.update(self.bytes.as_ref());
        TokenHash(hash.finalize().into())
    }

    /// The bytes themselves.
    pub(super) fn into_bytes(self) -> Zeroizing<[u8; 32]> {
        self.bytes
    }

    /// How it is carried.
    pub const fn carrier(&self) -> Carrier {
        self.carrier
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// The SHA-256 of a token. A token has 256 bits of entropy, so no salt and no slow hash is needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// A hash as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    #[test]
    fn one_text_for_one_token() {
        let token = SessionToken::generate(Carrier::Cookie, &OsRandomness).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), SessionToken::TEXT_LENGTH);
        assert_eq!(SessionToken::parse(&text, Carrier::Cookie).unwrap().hash(), token.hash());
        assert_ne!(
            SessionToken::parse(&text, Carrier::Bearer).unwrap().hash(),
            token.hash(),
            "another carrier"
        );
        let cut = &text[..42];
        for wrong in
            [cut.to_owned(), format!("{}x", *text), format!("{cut}="), format!("{cut}+"), format!("{cut}é")]
        {
            assert!(SessionToken::parse(&wrong, Carrier::Cookie).is_none(), "{wrong}");
        }
        // The last character holds two bits that must be zero: none of its three siblings decodes to the same token.
        let siblings = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .chars()
            .filter(|c| SessionToken::parse(&format!("{cut}{c}"), Carrier::Cookie).is_some())
            .count();
        assert_eq!(siblings, 16);
    }

    #[test]
    fn tokens_are_uniform_and_never_shown() {
        let mut ones = 0;
        for _ in 0..1000 {
            ones += SessionToken::generate(Carrier::Cookie, &OsRandomness)
                .unwrap()
                .bytes
                .iter()
                .map(|b| b.count_ones())
                .sum::<u32>();
        }
        // 256 000 bits: six standard deviations are 1518.
        assert!((126_482..129_518).contains(&ones), "{ones}");
        let token = SessionToken::generate(Carrier::Cookie, &OsRandomness).unwrap();
        assert_eq!(format!("{token:?}{:?}", token.hash()), "SessionToken(..)TokenHash(..)");
    }
}
