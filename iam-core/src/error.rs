//! Errors, classed by whose fault they are: an adapter maps the class, not the case.

use std::time::Duration;

use crate::random::RandomnessUnavailable;
use crate::role::RoleName;
use crate::store::StoreError;

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
        proof: Proof,
        /// How old a proof may be.
        max_age: Duration,
    },
    /// The second factor was not accepted.
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorRefusal),
    /// Too many tries: a right password is refused, too. Nothing was checked, but where right ones have a limit of their own
    /// ([`LoginLimits::sign_ins`](crate::limit::LoginLimits::sign_ins)).
    #[error("too many tries")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// What was to be made exists already.
    #[error("{0} is taken")]
    Conflict(&'static str),
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
pub enum Proof {
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
            Self::Conflict(_) => Fault::Conflict,
            Self::NotFound(_) | Self::UnknownRole(_) => Fault::Absent,
            Self::Busy { .. } => Fault::Overload,
            Self::Misconfigured(_) => Fault::Configuration,
            Self::Store(_) | Self::Randomness(_) => Fault::Backend,
        }
    }
}

/// An input that can't be used: the field by its public name, and the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, as it is called in forms and JSON.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing was given.
    #[error("is required")]
    Required,
    /// More than can be taken.
    #[error("is too long: at most {max} bytes")]
    TooLong {
        /// The limit, in bytes of UTF-8.
        max: usize,
    },
    /// Less than is needed.
    #[error("is too short: at least {min} characters")]
    TooShort {
        /// The limit, in Unicode code points.
        min: usize,
    },
    /// Somebody has it already.
    #[error("is taken: choose another")]
    Taken,
    /// A name that means something to this library itself.
    #[error(
        "is reserved: names that begin with `iam:` are given and taken away by `grant_administrator` and `revoke_administrator` alone"
    )]
    Reserved,
    /// Characters or a form that can't be there.
    #[error("contains characters that are not allowed, or has the wrong form")]
    Malformed,
    /// A password that is guessed first: a common one, or one that is made of one by a simple rule.
    #[error(
        "is among the first that are guessed: a common password, or one made of it by repeating or by adding digits, years or \
         keys in a row; choose several words that have nothing to do with each other"
    )]
    TooCommon,
    /// A password that is made of what everybody knows about the account.
    #[error(
        "is made of a name that everybody knows: yours, your e-mail address, your organisation's or this service's; choose \
         several words that have nothing to do with you or with each other"
    )]
    MadeOfContext,
    /// A password that is known from a breach.
    #[error(
        "is known from a breach of some service, so it is tried everywhere; choose another one, and change it wherever else \
         you use it"
    )]
    Breached,
}

impl Invalid {
    pub(crate) const fn new(field: &'static str, problem: Problem) -> Self {
        Self { field, problem }
    }

    /// The same problem in a field of another name.
    #[must_use]
    pub fn of_field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}
