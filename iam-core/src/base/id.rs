//! Ids: `UUIDv7` (RFC 9562), one type for each thing, never reused.

use std::fmt;
use std::str::FromStr;

use crate::base::clock::Timestamp;
use crate::base::random::{self, Randomness, RandomnessUnavailable};

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 hexadecimal digits with hyphens are expected")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// The id as a store holds it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(uuid::Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes that a store holds.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// A new id of this moment.
            pub(crate) fn generate(now: Timestamp, random: &dyn Randomness) -> Result<Self, RandomnessUnavailable> {
                let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
                let noise = random::bytes::<10>(random)?;
                Ok(Self(uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        /// Only the canonical form: lower case, with hyphens.
        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = uuid::Uuid::try_parse(text).map_err(|_| InvalidId)?;
                let canonical = id.as_hyphenated().to_string() == text;
                canonical.then_some(Self(id)).ok_or(InvalidId)
            }
        }
    )*};
}

ids! {
    /// An account.
    AccountId
    /// A parent: a tenant, a customer, whatever owns objects and accounts in the host.
    ParentId
    /// A role.
    RoleId
    /// A session. Public: it is shown and logged; it opens nothing, only its token does.
    SessionId
    /// A factor that somebody has set up.
    MethodId
    /// A challenge.
    ChallengeId
    /// A step-up proof.
    StepUpProofId
    /// A message to be sent.
    MessageId
    /// A request that a guard stopped, until its sender has proved again who they are.
    InterruptedId
    /// A browser that is trusted.
    DeviceId
    /// A ticket.
    TicketId
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    #[test]
    fn ids_are_version_7_and_round_trip() {
        let now = Timestamp::from_micros(1_767_225_600_000_000);
        let id = AccountId::generate(now, &OsRandomness).unwrap();
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.to_string().parse::<AccountId>().unwrap(), id);
        assert_eq!(AccountId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn only_the_canonical_form_parses() {
        let text = "019b76da-a800-7000-8000-0000000000ff";
        assert!(text.parse::<RoleId>().is_ok());
        for wrong in [
            "",
            "019B76DA-A800-7000-8000-0000000000FF",
            "019b76daa80070008000000000000000",
            "{019b76da-a800-7000-8000-0000000000ff}",
        ] {
            assert_eq!(wrong.parse::<RoleId>(), Err(InvalidId), "{wrong}");
        }
    }
}
