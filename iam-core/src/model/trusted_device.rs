//! Browsers that are trusted for a while, so that signing in on them asks for no second factor.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, DeviceId};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::model::account::AuthVersion;
use crate::model::client::Client;
use crate::model::factor_kind::FactorKind;
use crate::model::policy::FactorPolicy;
use crate::model::token::{Carrier, SessionToken, TokenHash};

/// How many browsers of an account are trusted at most. One more takes the place of the oldest.
pub(crate) const MOST_TRUSTED: u32 = 10;

/// What a trusted browser keeps: 256 random bits, and the factor that was proved on it. It is worth something beside the right
/// password alone, for the account that it was made for.
#[derive(Clone)]
pub struct TrustedDeviceToken {
    bytes: Zeroizing<[u8; 32]>,
    kind: FactorKind,
}

impl TrustedDeviceToken {
    pub(crate) fn generate(kind: FactorKind, random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut())?;
        Ok(Self { bytes, kind })
    }

    /// Reads the text of a cookie. Whether it counts is decided at sign-in.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, text) = text.split_once('.')?;
        let kind = FactorKind::parse(kind)?;
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() != SessionToken::TEXT_LENGTH {
            return None;
        }
        let decoded = Base64UrlUnpadded::decode(text, bytes.as_mut()).ok()?.len();
        (decoded == 32).then_some(Self { bytes, kind })
    }

    /// The text of the cookie.
    pub fn expose(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(Base64UrlUnpadded::encode_string(self.bytes.as_ref()));
        Zeroizing::new(format!("{}.{}", self.kind, bytes.as_str()))
    }

    /// What a store keeps. The kind is part of it, so that nobody can say another one.
    pub fn hash(&self) -> TokenHash {
        let mut hash = Sha256::new();
        hash.update(b"trusted device by ");
        hash.update(self.kind.as_str());
        hash.update(self.bytes.as_ref());
        TokenHash::from_bytes(hash.finalize().into())
    }

    /// Whether the policy lets it stand in for the factor. One by what no longer satisfies a requirement would let people pass whom
    /// the factor itself would not.
    pub(crate) fn may_count(&self, policy: &FactorPolicy, carrier: Carrier) -> bool {
        policy.may_trust(self.kind, carrier)
    }
}

impl fmt::Debug for TrustedDeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedDeviceToken(..)")
    }
}

/// A browser to be trusted.
#[derive(Clone, Debug)]
pub struct NewTrustedDevice {
    /// Which one.
    pub id: DeviceId,
    /// Whose it is.
    pub account: AccountId,
    /// The account's version: a change of its password or factors ends the trust.
    pub auth_version: AuthVersion,
    /// The hash of what the browser keeps.
    pub token: TokenHash,
    /// When it came to be trusted.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
    /// From where.
    pub client: Client,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::random::OsRandomness;
    use crate::model::ticket::TicketToken;

    #[test]
    fn one_text_for_one_token_which_never_shows() {
        let token = TrustedDeviceToken::generate(FactorKind::Totp, &OsRandomness).unwrap();
        let text = token.expose();
        assert_eq!(text.len(), "totp.".len() + 43);
        assert_eq!(TrustedDeviceToken::parse(&text).unwrap().hash(), token.hash());
        assert_eq!(format!("{token:?}"), "TrustedDeviceToken(..)");
        let bytes = text.strip_prefix("totp.").unwrap();
        for wrong in [
            "",
            ".",
            "totp.",
            bytes,
            &format!(".{bytes}"),
            &format!("push.{bytes}"),
            &format!("TOTP.{bytes}"),
            &format!("totp.{}", &bytes[..42]),
            &format!("totp.{bytes}x"),
            &format!("totp.{bytes}="),
            &format!("totp..{}", &bytes[..42]),
            &format!("totp.{}é", &bytes[..41]),
        ] {
            assert!(TrustedDeviceToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    /// No other token of the same bits is this one, and neither is one that names another factor.
    #[test]
    fn its_hash_is_its_own() {
        let token = TrustedDeviceToken::generate(FactorKind::EmailOtp, &OsRandomness).unwrap();
        let text = token.expose();
        let bytes = text.strip_prefix("email_otp.").unwrap();
        let mut hashes = vec![
            SessionToken::parse(bytes, Carrier::Cookie).unwrap().hash(),
            SessionToken::parse(bytes, Carrier::Bearer).unwrap().hash(),
            TicketToken::parse(bytes).unwrap().hash(),
        ];
        hashes.extend(
            FactorKind::ALL
                .into_iter()
                .map(|kind| TrustedDeviceToken::parse(&format!("{kind}.{bytes}")).unwrap().hash()),
        );
        assert_eq!(hashes.iter().filter(|hash| **hash == token.hash()).count(), 1);
    }

    #[test]
    fn it_counts_as_far_as_the_policy_goes() {
        let may = |kind, policy: &FactorPolicy, carrier| {
            TrustedDeviceToken::generate(kind, &OsRandomness).unwrap().may_count(policy, carrier)
        };
        let off = FactorPolicy::default();
        let on = FactorPolicy { trusted_devices: Some(Duration::from_hours(1)), ..off.clone() };
        let strict = FactorPolicy { sign_in: vec![FactorKind::Totp], ..on.clone() };
        assert!(!may(FactorKind::Totp, &off, Carrier::Cookie));
        assert!(
            may(FactorKind::Totp, &on, Carrier::Cookie) && may(FactorKind::EmailOtp, &on, Carrier::Cookie)
        );
        assert!(!may(FactorKind::Totp, &on, Carrier::Bearer), "a browser is what is trusted");
        assert!(!may(FactorKind::RecoveryCode, &on, Carrier::Cookie));
        assert!(may(FactorKind::Totp, &strict, Carrier::Cookie));
        assert!(!may(FactorKind::EmailOtp, &strict, Carrier::Cookie), "it would satisfy no requirement");
    }
}
