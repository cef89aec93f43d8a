//! Parents: the tenants, customers or departments that accounts and the host's objects belong to.

use std::fmt;

use crate::base::id::ParentId;
use crate::base::invalid::{Invalid, Problem};
use crate::model::policy::FactorRequirement;

/// A parent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// Never reused.
    pub id: ParentId,
    /// Short, unique.
    pub key: ParentKey,
    /// For people.
    pub name: String,
    /// Whether its accounts may be used.
    pub status: ParentStatus,
    /// That its accounts must have a second factor.
    pub factor_required: Option<FactorRequirement>,
}

impl Parent {
    /// An active parent that is named by its key.
    pub fn new(id: ParentId, key: ParentKey) -> Self {
        Self { id, name: key.0.clone(), key, status: ParentStatus::Active, factor_required: None }
    }
}

/// Whether the accounts of a parent may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParentStatus {
    /// They may.
    Active,
    /// None of them may, from the next request on.
    Suspended,
    /// A status of a newer program, read only: none of them may. No store writes it.
    Unknown,
}

impl ParentStatus {
    /// The name that stores and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended].into_iter().find(|status| status.as_str() == name)
    }

    /// A status as a store holds it. What a newer program wrote makes nobody unreadable: it is [`Unknown`](Self::Unknown).
    pub fn from_stored(name: &str) -> Self {
        Self::parse(name).unwrap_or(Self::Unknown)
    }
}

/// A parent's short name, such as `acme`: lower-case letters, digits and inner hyphens, at most 63.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParentKey(String);

impl ParentKey {
    /// Checks a key.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            Problem::Required
        } else if text.len() > 63 {
            Problem::TooLong { max: 63 }
        } else if text.starts_with('-')
            || text.ends_with('-')
            || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            Problem::Malformed
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("parent", problem))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ParentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ParentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParentKey({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert!(ParentKey::parse("acme").is_ok());
        assert!(ParentKey::parse("a-1").is_ok());
        for wrong in ["", "-a", "a-", "Acme", "a b", "a/b", "é", &"a".repeat(64)] {
            assert!(ParentKey::parse(wrong).is_err(), "{wrong}");
        }
    }
}
