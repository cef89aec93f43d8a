//! Second factors: what they are, and the one life cycle of their challenges.
//!
//! A [`Factor`] has no input and output of its own. Setting it up and proving it are two steps each: one that begins, of which something is kept
//! and something shown or sent, and one that finishes with what was kept and what somebody answered. Everything else is the same for all of
//! them and written once, in [`flow`](crate::flow): a try is counted before anything is compared, a challenge is good for five tries and some
//! minutes, and is used up by the right answer (NIST SP 800-63B-4, OWASP ASVS 6.5 and 6.6).

use crate::model::factor_kind::FactorKind;

pub(crate) mod challenge;
pub(crate) mod method;

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::code::Code;

use crate::base::base_url::BaseUrl;
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId, MethodId};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::limits::Window;
use crate::secrets::secret_key::MacKey;

/// How often one challenge may be tried. The next try is refused even with the right answer.
pub const TRIES: u32 = 5;

/// The most that a challenge keeps for its factor, in bytes.
pub const MOST_KEPT: usize = 4096;

/// The longest [`lookup`](Credential::lookup) of a factor, in bytes: that of a `WebAuthn` credential's id.
pub const MOST_LOOKUP: usize = 1023;

/// A way to prove that one has something, or is reached somewhere. Without input and output: time, chance and keys are given.
///
/// An implementation MUST NOT panic whatever was stored or answered, and MUST compare secrets in constant time.
pub trait Factor: Send + Sync + fmt::Debug + 'static {
    /// Which kind it is. A service has one of each at most.
    fn kind(&self) -> FactorKind;

    /// Begins to set it up for an account. What it [keeps](FactorBegun::keep) lies sealed until the answer comes.
    fn begin_enrolment(&self, cx: &FactorContext<'_>) -> Result<FactorBegun, RandomnessUnavailable>;

    /// Finishes setting it up. `kept` is what the beginning kept, `answer` what [`read`](Self::read) made of what was answered.
    fn finish_enrolment(
        &self,
        cx: &FactorContext<'_>,
        kept: &[u8],
        answer: &str,
    ) -> Result<Credential, WrongAnswer>;

    /// What somebody typed, as [`finish`](Self::finish) gets it: [`typed::code`](crate::base::typed::code) of it, if a factor has no form of its
    /// own for its answers. Nothing, where it can't be an answer of this kind, whatever is stored: that is said at once, and is no try.
    fn read(&self, typed: &str) -> Option<Code> {
        let code = crate::base::typed::code(typed);
        (!code.is_empty()).then(|| Code::new(code.as_str()))
    }

    /// Begins a challenge for the methods of an account. There are none where a code to its address shows whose the account is, before
    /// anything was set up.
    fn begin(
        &self,
        cx: &FactorContext<'_>,
        methods: &[OpenedMethod],
    ) -> Result<FactorBegun, RandomnessUnavailable>;

    /// Finishes a challenge: compares with all of these methods.
    fn finish(&self, cx: &FactorContext<'_>, kept: &[u8], methods: &[OpenedMethod], answer: &str) -> Verdict;

    /// The latest time step of which it would accept a code at this time. None for a factor without time steps.
    fn latest_step(&self, _now: Timestamp) -> Option<i64> {
        None
    }
}

/// The circumstances in which a factor begins or finishes: all that it may know of the service, the account, the time and chance.
#[derive(Clone, Copy)]
pub struct FactorContext<'a> {
    /// The service's name, for a device to show.
    pub service: &'a str,
    /// The account's name, for a device to show.
    pub account: &'a str,
    /// The service's address, if it has one: its origin and host bind keys to it.
    pub base_url: Option<&'a BaseUrl>,
    /// The time.
    pub now: Timestamp,
    /// Chance.
    pub random: &'a dyn Randomness,
    /// Digests, bound to the account and the challenge.
    pub digest: Digest<'a>,
}

impl fmt::Debug for FactorContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactorContext").field("now", &self.now).finish_non_exhaustive()
    }
}

/// The beginning of a challenge, or of setting a factor up.
#[derive(Default)]
pub struct FactorBegun {
    /// What is kept, sealed, until the answer comes: at most [`MOST_KEPT`] bytes.
    pub keep: Zeroizing<Vec<u8>>,
    /// What is shown to the person, or handed to their browser.
    pub show: Show,
    /// A code to be sent.
    pub send: Option<Code>,
}

/// The secrets do not show.
impl fmt::Debug for FactorBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactorBegun").field("show", &self.show).finish_non_exhaustive()
    }
}

/// What is shown when a factor is asked for, or set up. It is shown once.
#[derive(Default)]
pub enum Show {
    /// Nothing: a device shows it, or a message carries it.
    #[default]
    Nothing,
    /// A secret for a device.
    Secret {
        /// For typing into a device that can't scan (base32).
        typed: Zeroizing<String>,
        /// For scanning: an `otpauth:` URI.
        uri: Zeroizing<String>,
    },
    /// Codes to be kept. They count at once, in place of all that were given before.
    Codes(Vec<Code>),
    /// Options for the browser's own dialogue, as JSON (`PublicKeyCredentialCreationOptions` or `PublicKeyCredentialRequestOptions`).
    Options(String),
}

/// The secrets do not show.
impl fmt::Debug for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Secret { .. } => "Secret { .. }",
            Self::Codes(_) => "Codes(..)",
            Self::Options(_) => "Options(..)",
        })
    }
}

/// A factor that was set up.
#[derive(Default)]
pub struct Credential {
    /// What is stored of it, sealed. Without it, what lies there already stays: the address that codes are sent to.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// What it is found by, at most [`MOST_LOOKUP`] bytes, if anything: no other method of the kind may have the same, whoever's it is.
    pub lookup: Option<Vec<u8>>,
    /// The time step of the code that showed it, for a factor with time steps.
    pub step: Option<i64>,
}

/// The secret does not show.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("step", &self.step).finish_non_exhaustive()
    }
}

/// An answer that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is wrong")]
pub struct WrongAnswer;

/// A confirmed method of an account, opened.
pub struct OpenedMethod {
    /// Which one.
    pub id: MethodId,
    /// What was stored of it.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// The last time step of which it has accepted a code: only later ones count.
    pub last_step: Option<i64>,
}

/// The secret does not show.
impl fmt::Debug for OpenedMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedMethod")
            .field("id", &self.id)
            .field("last_step", &self.last_step)
            .finish_non_exhaustive()
    }
}

/// The outcome of a comparison.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is wrong.
    Rejected,
    /// It is right, if what it takes can be spent.
    Accepted {
        /// The method that it proves, where it proves one.
        method: Option<MethodId>,
        /// What the answer uses up, by one conditional statement: it counts only if that succeeds.
        spend: Spend,
    },
}

/// What a right answer uses up beside the try.
#[derive(PartialEq, Eq)]
pub enum Spend {
    /// The challenge alone, which every right answer uses up.
    Challenge,
    /// A time step of a method: good if no code of this or a later step was accepted before.
    Step(MethodId, i64),
    /// What is stored of a method, in whose place this comes (a counter that has risen): good if nobody replaced it meanwhile.
    Rewrite(MethodId, Zeroizing<Vec<u8>>),
    /// A code of the account's list, by its digest: good if it is one of them and was not used yet.
    Code([u8; 32]),
}

/// Nothing stored shows.
impl fmt::Debug for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge => f.write_str("Challenge"),
            Self::Step(id, step) => write!(f, "Step({id}, {step})"),
            Self::Rewrite(id, _) => write!(f, "Rewrite({id}, ..)"),
            Self::Code(_) => f.write_str("Code(..)"),
        }
    }
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

    /// Whether a code has this digest, in constant time. What is no digest is no code's.
    pub fn matches(&self, code: &str, kept: &[u8]) -> bool {
        use subtle::ConstantTimeEq;
        self.of(code).as_slice().ct_eq(kept).into()
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
    fn nothing_secret_shows() {
        let secret = || Zeroizing::new(b"JBSWY3DP".to_vec());
        let id = MethodId::from_bytes([1; 16]);
        let shown = [
            format!("{:?}", OpenedMethod { id, secret: Some(secret()), last_step: None }),
            format!("{:?}", FactorBegun { keep: secret(), ..FactorBegun::default() }),
            format!("{:?}", Credential { secret: Some(secret()), lookup: Some(vec![74]), step: None }),
            format!("{:?}", Spend::Rewrite(id, secret())),
            format!("{:?}", Spend::Code([74; 32])),
            format!(
                "{:?}",
                Show::Secret { typed: String::from("JBSWY3DP").into(), uri: String::from("otp").into() }
            ),
        ]
        .join(" ");
        assert!(!shown.contains("74") && !shown.contains("JBSW") && !shown.contains("otp"), "{shown}");
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
