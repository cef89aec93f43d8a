//! Input that can't be used.

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
