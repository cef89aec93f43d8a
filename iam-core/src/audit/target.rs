//! The object of an event.

use std::borrow::Cow;
use std::fmt;

use crate::base::id::{AccountId, MethodId, ParentId, SessionId};
use crate::model::purpose::Purpose;

/// The object of an event: the narrowest thing that it was done to, so that the trail finds all that was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind: one of the names below, or one of a newer program's.
    pub kind: Cow<'static, str>,
    /// Its id; of a role or a purpose, which have no other, its name.
    pub id: String,
}

impl Target {
    /// The kind of accounts.
    pub const ACCOUNT: &'static str = "account";
    /// The kind of roles.
    pub const ROLE: &'static str = "role";
    /// The kind of parents.
    pub const PARENT: &'static str = "parent";
    /// The kind of sessions.
    pub const SESSION: &'static str = "session";
    /// The kind of factors that somebody has set up.
    pub const METHOD: &'static str = "method";
    /// The kind of purposes that somebody proves who they are for.
    pub const PURPOSE: &'static str = "purpose";
    /// The kind of keys that seal.
    pub const KEY: &'static str = "key";

    /// One of a kind. Of an id that is longer than any of ours the first two hundred characters are kept.
    pub fn new(kind: impl Into<Cow<'static, str>>, id: impl fmt::Display) -> Self {
        Self { kind: kind.into(), id: id.to_string().chars().take(200).collect() }
    }

    pub(crate) fn account(id: AccountId) -> Self {
        Self::new(Self::ACCOUNT, id)
    }

    pub(crate) fn role(name: impl fmt::Display) -> Self {
        Self::new(Self::ROLE, name)
    }

    pub(crate) fn parent(id: ParentId) -> Self {
        Self::new(Self::PARENT, id)
    }

    pub(crate) fn session(id: SessionId) -> Self {
        Self::new(Self::SESSION, id)
    }

    pub(crate) fn method(id: MethodId) -> Self {
        Self::new(Self::METHOD, id)
    }

    pub(crate) fn purpose(purpose: &Purpose) -> Self {
        Self::new(Self::PURPOSE, purpose)
    }

    pub(crate) fn key(id: u32) -> Self {
        Self::new(Self::KEY, id)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}
