//! Challenges: a factor that is asked for, and what becomes of it.

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ChallengeId, MethodId, SessionId};
use crate::model::proof::ProofMethod;
use crate::model::purpose::Purpose;

/// What a challenge is for. An answer to one is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChallengePurpose {
    /// Signing in.
    SignIn,
    /// Proving again who one is.
    Reauthenticate,
    /// Setting up a factor.
    Enrol,
    /// Something that asks for a proof of its own.
    StepUp(Purpose),
}

impl ChallengePurpose {
    /// The name that stores use.
    pub fn as_str(&self) -> &str {
        match self {
            Self::SignIn => "sign_in",
            Self::Reauthenticate => "reauthenticate",
            Self::Enrol => "enrol",
            Self::StepUp(purpose) => purpose.as_str(),
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        let own = [Self::SignIn, Self::Reauthenticate, Self::Enrol];
        // No purpose of a host's has one of these names.
        own.into_iter()
            .find(|purpose| purpose.as_str() == name)
            .or_else(|| Purpose::parse(name).map(Self::StepUp))
    }
}

/// A challenge to be kept. It belongs to one session and one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChallenge {
    /// Which one.
    pub id: ChallengeId,
    /// Whose it is.
    pub account: AccountId,
    /// The session, signed in or about to be.
    pub session: SessionId,
    /// What it is for.
    pub purpose: ChallengePurpose,
    /// What is asked for.
    pub kind: ProofMethod,
    /// The method that is being set up; for a challenge of any other purpose none, since every method of the kind will do.
    pub method: Option<MethodId>,
    /// What its factor keeps until the answer comes ([`FactorBegun::keep`](super::FactorBegun::keep)); sealed, and gone once the challenge is over.
    pub kept: Option<Vec<u8>>,
    /// What the code is sent for alone, if it is bound to that.
    pub approval: Option<[u8; 32]>,
    /// How often the one that it replaces was tried, where trying must not begin anew.
    pub tries: u32,
    /// How many codes were sent for this purpose in this session, this one included.
    pub sends: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to be good.
    pub expires_at: Timestamp,
}

/// A challenge as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What it began as.
    pub new: NewChallenge,
    /// How often it was tried.
    pub tries: u32,
    /// When it was answered.
    pub consumed_at: Option<Timestamp>,
    /// When another one took its place.
    pub replaced_at: Option<Timestamp>,
}

impl Challenge {
    /// Whether it waits for an answer. One of the future does not.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.consumed_at.is_none()
            && self.replaced_at.is_none()
            && now < self.new.expires_at
            && !self.new.created_at.is_ahead_of(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_of_the_future_waits_for_no_answer() {
        let (now, minute) = (Timestamp::from_micros(0), std::time::Duration::from_mins(1));
        let made = |created_at: Timestamp| Challenge {
            new: NewChallenge {
                id: ChallengeId::from_bytes([1; 16]),
                account: AccountId::from_bytes([1; 16]),
                session: SessionId::from_bytes([1; 16]),
                purpose: ChallengePurpose::SignIn,
                kind: ProofMethod::EmailOtp,
                method: None,
                kept: None,
                approval: None,
                tries: 0,
                sends: 1,
                created_at,
                expires_at: created_at.plus(5 * minute),
            },
            tries: 0,
            consumed_at: None,
            replaced_at: None,
        };
        assert!(made(now).is_open(now) && !made(now).is_open(now.plus(5 * minute)));
        assert!(made(now.plus(minute)).is_open(now), "the clocks of two processes differ");
        assert!(!made(now.plus(2 * minute)).is_open(now));
    }
}
