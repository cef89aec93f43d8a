//! Errors, classed by whose fault they are: an adapter maps the class, not the case.

use std::time::Duration;

use crate::base::invalid::Invalid;
use crate::base::random::RandomnessUnavailable;
use crate::base::store_error::StoreError;
use crate::model::conflict::Conflict;
use crate::model::role::RoleName;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's input: which field, and what is wrong with it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The credentials do not sign anyone in. Why is in the audit log only.
    #[error("the credentials were not accepted")]
    Credentials,
    /// They last proved who they are too long ago for this: to be done again after re-authentication (RFC 9470).
    #[error("re-authentication is required")]
    Stale {
        /// What is to be proved again.
        proof: ProofKind,
        /// How old a proof may be.
        max_age: Duration,
    },
    /// The second factor was not accepted.
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorRefusal),
    /// Too many tries: a right password is refused, too. Nothing was checked, but where right ones have a limit of their own
    /// ([`LoginLimits::sign_ins`](crate::limits::LoginLimits::sign_ins)).
    #[error("too many tries")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// It is outside what the actor may administer ([`Scope`](crate::Scope)). Nothing was done, and the trail has it.
    #[error("the actor may not administer this")]
    Denied,
    /// The state of things: what was to be made exists already, or what was to be changed is not what it was.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// What was named does not exist.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A role that was named does not exist.
    #[error("no such role: {0}")]
    UnknownRole(RoleName),
    /// More work is waiting than can be done in time.
    #[error("too busy")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The program that embeds the library is set up wrongly; the text names the setting.
    #[error("misconfigured: {0}")]
    Misconfigured(String),
    /// The store failed. Neither a denial nor an allowance.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// No random bytes could be had.
    #[error(transparent)]
    Randomness(#[from] RandomnessUnavailable),
}

/// Something that shows who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofKind {
    /// Their password.
    Password,
    /// A second factor.
    SecondFactor,
    /// That the account is theirs, though it has no second factor yet and must have one: a code to its verified address, or an
    /// administrator's invitation.
    FirstFactor,
}

/// Why a second factor was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecondFactorRefusal {
    /// The code is wrong, or was used before.
    #[error("the code was not accepted")]
    Rejected {
        /// How many tries this challenge has left.
        tries_left: u32,
    },
    /// No challenge waits for this answer: it was tried too often, has expired, or another took its place.
    #[error("no challenge waits for this code")]
    Spent,
    /// There is no such method to be asked for.
    #[error("this method can't be used")]
    NoMethod,
    /// The sign-in that it belongs to is over.
    #[error("the sign-in is over")]
    Gone,
    /// Too many wrong codes for this account. Right ones are refused as well.
    #[error("too many codes were wrong")]
    Locked {
        /// How long that lasts; without it, until an administrator resets the factors.
        retry_after: Option<Duration>,
    },
}

/// Whose fault an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The caller sent something that can't be used.
    Input,
    /// The caller's credentials.
    Credentials,
    /// The age of the caller's proof of who they are.
    Freshness,
    /// A limit.
    Limit,
    /// What the caller may do.
    Permission,
    /// The state of things.
    Conflict,
    /// What was named is not there.
    Absent,
    /// Overload: the same may succeed later.
    Overload,
    /// Whoever set the service up.
    Configuration,
    /// The store, or the machine.
    Backend,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Invalid(_) => Fault::Input,
            Self::Stale { .. } => Fault::Freshness,
            Self::Throttled { .. } | Self::SecondFactor(SecondFactorRefusal::Locked { .. }) => Fault::Limit,
            Self::Credentials | Self::SecondFactor(_) => Fault::Credentials,
            Self::Denied => Fault::Permission,
            Self::Conflict(_) => Fault::Conflict,
            Self::NotFound(_) | Self::UnknownRole(_) => Fault::Absent,
            Self::Busy { .. } => Fault::Overload,
            Self::Misconfigured(_) => Fault::Configuration,
            Self::Store(_) | Self::Randomness(_) => Fault::Backend,
        }
    }
}
