//! Conflicts: why a change does not fit the state of things.

use std::fmt;

/// A unique key that another row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UniqueKey {
    /// The user name of an account.
    Username,
    /// The verified address of an account.
    VerifiedEmail,
    /// The host's key of an account.
    ExternalId,
    /// The key of a parent.
    ParentKey,
    /// The name of a role.
    RoleName,
    /// What a factor is found by, such as a credential's id.
    FactorLookup,
    /// Any other: an id, or a key that somebody added to the table.
    Other,
}

impl UniqueKey {
    /// The field that holds it, as forms and JSON name it.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::VerifiedEmail => "email",
            Self::ExternalId => "external_id",
            Self::ParentKey => "parent",
            Self::RoleName => "role",
            Self::FactorLookup => "factor",
            Self::Other => "id",
        }
    }
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}

/// The reason of a conflict: what is taken, full, missing, or was changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// Another one has the key.
    #[error("{0} is taken")]
    Taken(UniqueKey),
    /// Somebody else changed it at that moment: read it again.
    #[error("the {0} was changed meanwhile")]
    Changed(Changing),
    /// The account has as many factors as it may have.
    #[error("the account has as many factors as it may")]
    TooManyFactors,
    /// The account has a factor already: of this kind, of which it may have one; or at all, where it is to be its first.
    #[error("the account has such a factor already")]
    HasFactor,
    /// The service offers no factor that would meet the requirement.
    #[error("no factor that counts is offered")]
    NoFactorOffered,
    /// The account belongs to no parent that it could administer.
    #[error("the account has no parent")]
    NoParent,
    /// Nobody else would be left to administer the platform.
    #[error("it is the last administrator")]
    LastAdministrator,
}

/// A thing that was changed by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Changing {
    /// An account.
    Account,
    /// A parent.
    Parent,
    /// A role.
    Role,
    /// The session that it was asked in.
    Session,
    /// The requirement of a second factor.
    Requirement,
}

impl fmt::Display for Changing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Parent => "parent",
            Self::Role => "role",
            Self::Session => "session",
            Self::Requirement => "requirement",
        })
    }
}
