//! Notes of known devices: who has signed in on a device before has tries of their own there, so that a stranger who keeps
//! guessing can't keep them out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").

use std::fmt;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::base::random::{self, Randomness, RandomnessUnavailable};
use crate::model::account::AuthVersion;
use crate::secrets::secret_key::MacKey;

/// Account, device, time, tag.
const LENGTH: usize = 16 + 16 + 8 + 32;

/// A signed note that an account has signed in on a device. It proves nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken([u8; LENGTH]);

impl DeviceToken {
    /// How long it counts.
    pub const LIFETIME: Duration = Duration::from_hours(24 * 90);

    /// A note with today's date, for the device that is known already, or for a new one.
    pub(crate) fn issue(
        key: &MacKey,
        account: AccountId,
        version: AuthVersion,
        known: Option<[u8; 16]>,
        now: Timestamp,
        random: &dyn Randomness,
    ) -> Result<Self, RandomnessUnavailable> {
        let device = match known {
            Some(device) => device,
            None => random::bytes::<16>(random)?,
        };
        Ok(Self::signed(key, account, version, device, now))
    }

    /// The tag holds the account's version: a change of password or factors makes strangers of all devices, but of the one on which
    /// its owner makes it, which is given a new note.
    fn signed(
        key: &MacKey,
        account: AccountId,
        version: AuthVersion,
        device: [u8; 16],
        at: Timestamp,
    ) -> Self {
        let at = at.as_micros().to_be_bytes();
        let tag = key.tag(&[account.as_bytes(), &device, &at, &version.as_i64().to_be_bytes()]);
        let mut bytes = [0; LENGTH];
        let parts = account.as_bytes().iter().chain(&device).chain(&at).chain(&tag);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// Reads the text of a note. Whether it counts is decided at sign-in.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        let decoded = Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len();
        (decoded == LENGTH).then_some(Self(bytes))
    }

    /// The text of the note, for a cookie or for a program's own store. It belongs in no log.
    pub fn expose(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.0)
    }

    /// The device, if the note is ours, about this account, and not too old.
    pub(crate) fn device_of(
        &self,
        key: &MacKey,
        account: AccountId,
        version: AuthVersion,
        now: Timestamp,
    ) -> Option<[u8; 16]> {
        let (id, rest) = self.0.split_first_chunk::<16>()?;
        let (device, rest) = rest.split_first_chunk::<16>()?;
        let (at, tag) = rest.split_first_chunk::<8>()?;
        let issued_at = Timestamp::from_micros(i64::from_be_bytes(*at));
        let counts = key.verify(&[id, device, at, &version.as_i64().to_be_bytes()], tag)
            && id == account.as_bytes()
            && issued_at.is_within(Self::LIFETIME, now);
        counts.then_some(*device)
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::TOLERATED_LEAD;
    use crate::base::random::OsRandomness;
    use crate::secrets::secret_key::SecretKey;

    const V1: AuthVersion = AuthVersion::FIRST;

    #[test]
    fn counts_for_its_account_and_time_only() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap().derive("device");
        let (alice, bob) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
        let now = Timestamp::from_micros(1_000_000);
        let token = DeviceToken::issue(&key, alice, V1, None, now, &OsRandomness).unwrap();
        let token = DeviceToken::parse(&token.expose()).unwrap();
        let device = token.device_of(&key, alice, V1, now).unwrap();
        assert_eq!(token.device_of(&key, bob, V1, now), None);
        assert_eq!(token.device_of(&key, alice, V1, now.plus(DeviceToken::LIFETIME)), None);
        let (tolerated, ahead) = (TOLERATED_LEAD, TOLERATED_LEAD + Duration::from_micros(1));
        assert_eq!(token.device_of(&key, alice, V1, now.minus(tolerated)), Some(device), "another process's");
        assert_eq!(token.device_of(&key, alice, V1, now.minus(ahead)), None, "the clock was put back");
        let other_key = SecretKey::from_bytes(&[2; 32]).unwrap().derive("device");
        assert_eq!(token.device_of(&other_key, alice, V1, now), None);
        assert_eq!(
            token.device_of(&key, alice, AuthVersion::from_i64(2), now),
            None,
            "the password was changed"
        );
        let later = now.plus(Duration::from_secs(9));
        let renewed = DeviceToken::issue(&key, alice, V1, Some(device), later, &OsRandomness).unwrap();
        assert_eq!(renewed.device_of(&key, alice, V1, now.plus(DeviceToken::LIFETIME)), Some(device));
        for i in 0..LENGTH {
            let mut forged = token.clone();
            forged.0[i] ^= 1;
            assert_eq!(forged.device_of(&key, alice, V1, now), None, "byte {i}");
        }
        assert!(DeviceToken::parse("").is_none());
        assert!(DeviceToken::parse(&"A".repeat(97)).is_none());
    }
}
