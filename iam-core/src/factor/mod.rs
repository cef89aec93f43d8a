//! Second factors: what they are, and the one life cycle of their challenges.
//!
//! A [`Factor`] is a pair without input and output of its own: [`start`](Factor::start) says what to send and what to store,
//! [`finish`](Factor::finish) compares what was stored with what somebody typed. Everything else is the same for all of them and
//! written once, in [`flow`](crate::flow): a try is counted before anything is compared, a challenge is good for five tries and some
//! minutes, and is used up by the right answer (NIST SP 800-63B-4, OWASP ASVS 6.5 and 6.6).

use crate::model::factor_kind::FactorKind;

pub(crate) mod challenge;
pub(crate) mod method;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::code::Code;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::limits::Window;
use crate::secrets::secret_key::MacKey;

/// How often one challenge may be tried. The next try is refused even with the right answer.
pub const TRIES: u32 = 5;

/// A way to prove that one has something, or is reached somewhere. Without input and output: time, chance and keys are given.
///
/// An implementation MUST NOT panic whatever was stored or typed, and MUST compare secrets in constant time.
pub trait Factor: Send + Sync + fmt::Debug + 'static {
    /// Which kind it is. A service has one of each at most.
    fn kind(&self) -> FactorKind;

    /// Begins to set it up for an account.
    fn enrol(&self, label: &Label<'_>, random: &dyn Randomness) -> Result<Enrolment, RandomnessUnavailable>;

    /// What somebody typed, as [`finish`](Self::finish) gets it: [`typed::code`](crate::base::typed::code) of it, if a factor has no form of its
    /// own for its codes. Nothing, where it can't be a code of this kind, whatever is stored: that is said at once, and is no try.
    fn read(&self, typed: &str) -> Option<Code> {
        let code = crate::base::typed::code(typed);
        (!code.is_empty()).then(|| Code::new(code.as_str()))
    }

    /// Begins a challenge.
    fn start(&self, digest: &Digest<'_>, random: &dyn Randomness) -> Result<Start, RandomnessUnavailable>;

    /// Compares. `response` is what [`read`](Self::read) made of what was typed.
    fn finish(&self, stored: &Stored<'_>, response: &str) -> Verdict;

    /// The latest time step of which it would accept a code at this time. None for a factor without time steps.
    fn latest_step(&self, _now: Timestamp) -> Option<i64> {
        None
    }
}

/// Whose device it is, for the device to show.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// The service's name.
    pub service: &'a str,
    /// The account's name.
    pub account: &'a str,
}

/// What setting up a factor takes.
pub enum Enrolment {
    /// A secret for a device. It counts once the device has shown a right code.
    Secret {
        /// The secret, to be sealed and stored.
        secret: Zeroizing<Vec<u8>>,
        /// What the person types into a device that can't scan (base32).
        typed: Zeroizing<String>,
        /// The same for scanning: an `otpauth:` URI.
        uri: Zeroizing<String>,
    },
    /// Codes to be kept. They count at once, in place of all that were given before.
    Codes(Vec<Code>),
    /// Nothing but an address. It counts once a code that was sent there comes back.
    Address,
}

/// The secrets do not show.
impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret { .. } => "Secret { .. }",
            Self::Codes(_) => "Codes(..)",
            Self::Address => "Address",
        })
    }
}

/// The beginning of a challenge.
#[derive(Debug)]
pub struct Start {
    /// The code to send, if any; its [`Digest::of`] is what the challenge keeps.
    pub send: Option<Code>,
    /// What to keep.
    pub answer: Option<[u8; 32]>,
}

/// What a response is compared with.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    /// The secret of the method, opened.
    pub secret: Option<&'a [u8]>,
    /// The last time step of which the method has accepted a code: only later ones count.
    pub last_step: Option<i64>,
    /// What the challenge has kept.
    pub answer: Option<&'a [u8; 32]>,
    /// To digest a response with.
    pub digest: &'a Digest<'a>,
    /// The time.
    pub now: Timestamp,
}

/// The secret does not show.
impl fmt::Debug for Stored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("last_step", &self.last_step)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is wrong.
    Rejected,
    /// It is right.
    Verified,
    /// It is the code of this time step: right, if no code of this or a later step was accepted before.
    AtStep(i64),
    /// It is right if it is one of the account's codes that was not used yet.
    IfUnused([u8; 32]),
}

/// Digests of codes, bound to what they belong to, so that a copy of the table tells nothing.
#[derive(Clone, Copy)]
pub struct Digest<'a> {
    pub(crate) key: &'a MacKey,
    pub(crate) account: AccountId,
    pub(crate) challenge: Option<ChallengeId>,
}

impl<'a> Digest<'a> {
    /// Digests for an account, and for one challenge of its. The flows make their own; this is for whoever tests a [`Factor`].
    pub const fn new(key: &'a MacKey, account: AccountId, challenge: Option<ChallengeId>) -> Self {
        Self { key, account, challenge }
    }

    /// Of a code that belongs to this challenge. Keyed: a short code could be found by trying all.
    pub fn of(&self, code: &str) -> [u8; 32] {
        let challenge = self.challenge.map_or([0; 16], |id| *id.as_bytes());
        self.key.tag(&[b"challenge", self.account.as_bytes(), &challenge, code.as_bytes()])
    }

    /// Of a code that belongs to the account, for as long as that lives: without a key, so that it outlives a change of keys. Such a
    /// code has 112 bits of chance or more, so that nobody finds it from this (OWASP ASVS 6.5.2).
    pub fn of_account(&self, code: &str) -> [u8; 32] {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        for part in [b"iam code of an account".as_slice(), self.account.as_bytes(), code.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Whether a code has this digest, in constant time.
    pub fn matches(&self, code: &str, answer: &[u8; 32]) -> bool {
        use subtle::ConstantTimeEq;
        self.of(code).ct_eq(answer).into()
    }
}

impl fmt::Debug for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// The limits on second factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactorLimits {
    /// Wrong codes of one account, whatever the factor, challenge or sign-in. Nothing but time, or
    /// [`Factors::reset`](crate::Factors::reset), takes one back.
    pub failures: Window,
    /// Wrong codes in a row, until a right one; over it only [`Factors::reset`](crate::Factors::reset) helps. At most 100 (NIST
    /// SP 800-63B-4, 3.2.2).
    pub in_a_row: u32,
    /// How long a code that was sent is good. At most ten minutes.
    pub code_lifetime: Duration,
    /// How long the second factor may be due after the first. At most ten minutes.
    pub pending_lifetime: Duration,
    /// Codes to one destination, in the short run ...
    pub sends: Window,
    /// ... and in the long run.
    pub sends_long: Window,
    /// Codes asked for from one address (/64 for IPv6).
    pub sends_of_address: Window,
}

impl Default for FactorLimits {
    fn default() -> Self {
        let window = |limit, length| Window { limit, length };
        Self {
            failures: window(20, Duration::from_hours(24)),
            in_a_row: 100,
            code_lifetime: Duration::from_mins(5),
            pending_lifetime: Duration::from_mins(10),
            sends: window(5, Duration::from_hours(1)),
            sends_long: window(10, Duration::from_hours(24)),
            sends_of_address: window(20, Duration::from_hours(1)),
        }
    }
}

impl FactorLimits {
    /// What is wrong with the limits, in words, or nothing.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let ten_minutes = Duration::from_mins(10);
        let windows = [self.failures, self.sends, self.sends_long, self.sends_of_address];
        if windows.iter().any(|window| window.limit == 0 || window.length.is_zero()) {
            Some("a limit of zero on second factors would let nobody in")
        } else if self.in_a_row == 0 || self.in_a_row > 100 || self.failures.limit > 100 {
            Some("second factors may be tried at most 100 times in a row")
        } else if self.code_lifetime.is_zero() || self.code_lifetime > ten_minutes {
            Some("a code that is sent must be good for at most ten minutes")
        } else if self.pending_lifetime.is_zero() || self.pending_lifetime > ten_minutes {
            Some("a second factor must be due for at most ten minutes")
        } else {
            None
        }
    }

    /// How long until a code may be sent again, after so many in this challenge: 30, 60, then 120 seconds.
    pub(crate) fn cool_down(sends: u32) -> Duration {
        match sends {
            0 | 1 => Duration::from_secs(30),
            2 => Duration::from_mins(1),
            _ => Duration::from_mins(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_response_is_compared_with_does_not_show() {
        let key = crate::secrets::secret_key::SecretKey::from_bytes(&[1; 32]).unwrap().derive("x");
        let digest = Digest::new(&key, AccountId::from_bytes([1; 16]), None);
        let secret = Some(b"JBSWY3DP".as_slice());
        let now = Timestamp::from_micros(0);
        let stored = Stored { secret, last_step: None, answer: Some(&[7; 32]), digest: &digest, now };
        let shown = format!("{stored:?}");
        assert!(!shown.contains("74") && !shown.contains("JBSW") && !shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(FactorLimits::default().problem(), None);
        for broken in [
            FactorLimits { in_a_row: 101, ..FactorLimits::default() },
            FactorLimits { code_lifetime: Duration::from_mins(11), ..FactorLimits::default() },
            FactorLimits { pending_lifetime: Duration::ZERO, ..FactorLimits::default() },
            FactorLimits {
                failures: Window { limit: 0, length: Duration::from_secs(1) },
                ..FactorLimits::default()
            },
        ] {
            assert!(broken.problem().is_some());
        }
    }
}
