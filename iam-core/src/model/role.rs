//! Roles: global names that hosts give a meaning, and who holds them.

use std::borrow::Cow;
use std::fmt;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, RoleId};
use crate::base::invalid::{Invalid, Problem};
use crate::model::policy::FactorRequirement;

/// The prefix of roles that mean something to this library itself.
pub const RESERVED_PREFIX: &str = "iam:";

/// Administers everything.
pub const PLATFORM_ADMIN: &str = "iam:platform-admin";

/// Administers the accounts of its own parent.
pub const PARENT_ADMIN: &str = "iam:parent-admin";

/// What an administrator administers. Each is a role of this library's own, given by
/// [`Roles::grant_administrator`](crate::Roles::grant_administrator) and by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdministratorScope {
    /// Everything.
    Platform,
    /// The accounts of the administrator's own parent.
    Parent,
}

impl AdministratorScope {
    const ALL: [Self; 2] = [Self::Platform, Self::Parent];

    /// The name that programs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Parent => "parent",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The role's name.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Platform => PLATFORM_ADMIN,
            Self::Parent => PARENT_ADMIN,
        }
    }

    /// The scope whose role has this name.
    pub fn of_role(name: &RoleName) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.role() == name.as_str())
    }

    pub(crate) fn role_name(self) -> RoleName {
        RoleName(self.role().to_owned())
    }
}

/// Whether a name is one of this library's own.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Role {
    /// Never reused.
    pub id: RoleId,
    /// Unique.
    pub name: RoleName,
    /// For people.
    pub description: String,
    /// That who holds it must have a second factor.
    pub factor_required: Option<FactorRequirement>,
}

impl Role {
    /// A role without a description.
    pub fn new(id: RoleId, name: RoleName) -> Self {
        Self { id, name, description: String::new(), factor_required: None }
    }
}

/// The source of a grant: this service and its people, or a provider's claims. An account may hold a role from several at once; each takes away
/// what it gave and nothing else, and the role counts while any of them gives it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantSource(Cow<'static, str>);

impl GrantSource {
    /// The service itself, or somebody who administers it.
    pub const LOCAL: Self = Self(Cow::Borrowed("local"));

    /// Checks a name: lower-case letters, digits and `_ . : -`, at most 64.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            Problem::Required
        } else if text.len() > 64 {
            Problem::TooLong { max: 64 }
        } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b))
        {
            Problem::Malformed
        } else {
            return Ok(Self(Cow::Owned(text.to_owned())));
        };
        Err(Invalid::new("source", problem))
    }

    /// The name that stores use.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GrantSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantSource({:?})", self.0)
    }
}

/// A role that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleGrant {
    /// Who holds it.
    pub account: AccountId,
    /// Which.
    pub role: RoleId,
    /// Where it comes from.
    pub source: GrantSource,
    /// Who gave it; nobody, when the service did.
    pub granted_by: Option<AccountId>,
    /// When it was given.
    pub granted_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Option<Timestamp>,
}

/// A role's name: letters, digits and `_ . : -`, at most 64, compared exactly. Names beginning with `iam:` are reserved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

impl RoleName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            Problem::Required
        } else if text.len() > 64 {
            Problem::TooLong { max: 64 }
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b)) {
            Problem::Malformed
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("role", problem))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name means something to this library.
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleName({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for right in ["admin", "iam:platform-admin", "Sales_EU.lead"] {
            assert_eq!(RoleName::parse(right).unwrap().as_str(), right);
        }
        for wrong in ["", "a b", "a,b", "é", "a\0", &"a".repeat(65)] {
            assert!(RoleName::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(GrantSource::parse("local").unwrap(), GrantSource::LOCAL);
        for wrong in ["", "Local", "a b", "é", &"a".repeat(65)] {
            assert!(GrantSource::parse(wrong).is_err(), "{wrong}");
        }
        assert!(RoleName::parse("IAM:x").unwrap().is_reserved());
        assert!(!RoleName::parse("admin").unwrap().is_reserved());
        for scope in AdministratorScope::ALL {
            assert_eq!(RoleName::parse(scope.role()).as_ref(), Ok(&scope.role_name()));
            assert!(scope.role_name().is_reserved());
            assert_eq!(AdministratorScope::of_role(&scope.role_name()), Some(scope));
            assert_eq!(AdministratorScope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(AdministratorScope::of_role(&RoleName::parse("IAM:platform-admin").unwrap()), None);
    }
}
