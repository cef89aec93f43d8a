//! The states of a session, why it ends, and the ordinary limits of its life.

use crate::base::clock::Timestamp;

use std::time::Duration;

/// How far a sign-in has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// The first factor was right, the second is still due. No guard accepts it.
    PendingSecondFactor,
    /// Signed in.
    Active,
}

impl SessionState {
    /// The name that stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PendingSecondFactor => "pending",
            Self::Active => "active",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::PendingSecondFactor, Self::Active].into_iter().find(|state| state.as_str() == name)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its owner signed out.
    Logout,
    /// Nothing happened for too long.
    Idle,
    /// It reached its absolute age.
    Expired,
    /// Somebody ended it.
    Revoked,
    /// Its owner signed in again in the same browser.
    Replaced,
    /// Its owner signed in so often elsewhere that there were too many, of which it was not used for longest.
    Evicted,
    /// Its account's password was changed.
    PasswordChanged,
    /// Its account's factors were changed.
    FactorsChanged,
    /// Its second factor was tried too often.
    SecondFactorLocked,
    /// Too many wrong passwords were given in it.
    WrongPasswords,
    /// A token was shown that its owner had replaced: somebody has a copy.
    TokenReused,
    /// It came back with a backup.
    Restored,
    /// The service's clock was put back: when it should have run out can't be told.
    ClockPutBack,
    /// A reason that a newer program knows.
    Other,
}

impl EndReason {
    /// The name that stores and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::PasswordChanged => "password_changed",
            Self::FactorsChanged => "factors_changed",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::WrongPasswords => "wrong_passwords",
            Self::TokenReused => "token_reused",
            Self::Restored => "restored",
            Self::ClockPutBack => "clock_put_back",
            Self::Other => "other",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Self {
        use EndReason::{
            ClockPutBack, Evicted, Expired, FactorsChanged, Idle, Logout, PasswordChanged, Replaced,
            Restored, Revoked, SecondFactorLocked, TokenReused, WrongPasswords,
        };
        [
            Logout,
            Idle,
            Expired,
            Revoked,
            Replaced,
            Evicted,
            PasswordChanged,
            FactorsChanged,
            SecondFactorLocked,
            WrongPasswords,
            TokenReused,
            Restored,
            ClockPutBack,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .unwrap_or(Self::Other)
    }
}

/// How long sessions live (NIST SP 800-63B-4, OWASP ASVS 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// Ends a session that is not used. Default 30 minutes, at most an hour.
    pub idle: Duration,
    /// Ends a session however much it is used. Default 12 hours, at most 24.
    pub absolute: Duration,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self { idle: Duration::from_mins(30), absolute: Duration::from_hours(12) }
    }
}

/// The longest time for which the use of a session is not noted after the last note.
pub const MOST_UNNOTED: Duration = Duration::from_mins(1);

impl SessionPolicy {
    /// What is wrong with the policy, in words, or nothing.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.idle < Duration::from_secs(1) || self.idle > Duration::from_hours(1) {
            Some("the idle time-out of a session must be between a second and an hour")
        } else if self.absolute < self.idle || self.absolute > Duration::from_hours(24) {
            Some("the absolute time-out of a session must be between its idle time-out and 24 hours")
        } else {
            None
        }
    }

    /// When a session that is not used from now on ends. Use within one interval after it was written down is not written again,
    /// so it is given away: the deadline is late by at most that interval, never early.
    pub(crate) fn idle_deadline(&self, login_at: Timestamp, last_seen_at: Timestamp) -> Timestamp {
        let unseen = if last_seen_at > login_at { self.touch_interval() } else { Duration::ZERO };
        last_seen_at.plus(self.idle).plus(unseen)
    }

    /// How often use is written down at most: once a minute, more often only when the idle time-out is very short.
    pub fn touch_interval(&self) -> Duration {
        (self.idle / 30).min(MOST_UNNOTED)
    }
}
