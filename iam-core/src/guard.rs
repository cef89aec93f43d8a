//! Guards: who may pass. Sans-IO: a [`Requirement`] is checked against a [`Principal`] and the facts known so far, and says
//! either what it decides or what it needs to know next. Whoever asks fetches that, and asks again.

use std::borrow::Cow;
use std::fmt;

use crate::account::Username;
use crate::clock::Timestamp;
use crate::id::{AccountId, ParentId, SessionId};
use crate::parent::ParentKey;
use crate::role::RoleName;

/// Somebody who is signed in, as of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(crate) account: AccountId,
    pub(crate) username: Username,
    pub(crate) parent: Option<(ParentId, ParentKey)>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) session: SessionId,
    pub(crate) signed_in_at: Timestamp,
    pub(crate) authenticated_at: Timestamp,
    pub(crate) amr: String,
}

impl Principal {
    /// The account.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Its name.
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// Its parent.
    pub fn parent(&self) -> Option<ParentId> {
        self.parent.as_ref().map(|(id, _)| *id)
    }

    /// Its parent's key.
    pub fn parent_key(&self) -> Option<&str> {
        self.parent.as_ref().map(|(_, key)| key.as_str())
    }

    /// The roles that it holds now.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(RoleName::as_str)
    }

    /// Whether it holds a role now.
    pub fn has_role(&self, name: &str) -> bool {
        self.roles().any(|role| role == name)
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// When the session began.
    pub fn signed_in_at(&self) -> Timestamp {
        self.signed_in_at
    }

    /// When they last proved who they are: at sign-in, or after that by re-authentication.
    pub fn authenticated_at(&self) -> Timestamp {
        self.authenticated_at
    }

    /// How they proved who they are (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.amr.split(' ')
    }
}

/// What a guard asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// To be signed in.
    SignedIn,
    /// To hold at least one of these roles. Without any role in the list nobody passes.
    AnyRole(Vec<Cow<'static, str>>),
    /// To have the same parent as the object of the request.
    SameParent,
}

/// Shown in the audit log.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("signed in"),
            Self::AnyRole(names) => write!(f, "role {}", names.join(" or ")),
            Self::SameParent => f.write_str("parent"),
        }
    }
}

/// What is known of the object of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The parent of the object: not asked yet, or the answer. An object that does not exist has none.
    pub object_parent: Option<Option<ParentId>>,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Decided.
    Done(Decision),
    /// Needs the parent of the request's object.
    NeedObjectParent,
}

/// What a guard decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// May pass.
    Allow,
    /// Nobody is signed in.
    Unauthenticated,
    /// Somebody is, and may not.
    Forbidden,
}

impl Requirement {
    /// Decides, or says what it needs to know. Nothing is asked for on behalf of somebody who is refused anyway.
    pub fn decide(&self, principal: Option<&Principal>, facts: &Facts) -> Step {
        let Some(principal) = principal else { return Step::Done(Decision::Unauthenticated) };
        let allowed = match self {
            Self::SignedIn => true,
            Self::AnyRole(names) => names.iter().any(|name| principal.has_role(name)),
            Self::SameParent => match (principal.parent(), facts.object_parent) {
                (None, _) => false,
                (Some(_), None) => return Step::NeedObjectParent,
                (Some(own), Some(of_object)) => of_object == Some(own),
            },
        };
        Step::Done(if allowed { Decision::Allow } else { Decision::Forbidden })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(parent: Option<u8>, roles: &[&str]) -> Principal {
        Principal {
            account: AccountId::from_bytes([1; 16]),
            username: Username::parse("alice").unwrap(),
            parent: parent.map(|n| (ParentId::from_bytes([n; 16]), ParentKey::parse("acme").unwrap())),
            roles: roles.iter().map(|name| RoleName::parse(name).unwrap()).collect(),
            session: SessionId::from_bytes([2; 16]),
            signed_in_at: Timestamp::from_micros(0),
            authenticated_at: Timestamp::from_micros(0),
            amr: "pwd".into(),
        }
    }

    fn facts(parent: Option<u8>) -> Facts {
        Facts { object_parent: Some(parent.map(|n| ParentId::from_bytes([n; 16]))) }
    }

    #[test]
    fn nobody_passes_nothing_and_nothing_is_asked() {
        for requirement in
            [Requirement::SignedIn, Requirement::AnyRole(vec!["a".into()]), Requirement::SameParent]
        {
            assert_eq!(requirement.decide(None, &Facts::default()), Step::Done(Decision::Unauthenticated));
        }
    }

    #[test]
    fn roles_compare_exactly() {
        let asks = Requirement::AnyRole(vec!["admin".into(), "auditor".into()]);
        let decide = |roles: &[&str]| asks.decide(Some(&principal(None, roles)), &Facts::default());
        assert_eq!(decide(&["auditor"]), Step::Done(Decision::Allow));
        for roles in [&[][..], &["Admin"], &["administrator"], &["iam:platform-admin"]] {
            assert_eq!(decide(roles), Step::Done(Decision::Forbidden), "{roles:?}");
        }
        let nothing = Requirement::AnyRole(vec![]);
        assert_eq!(
            nothing.decide(Some(&principal(None, &["a"])), &Facts::default()),
            Step::Done(Decision::Forbidden)
        );
    }

    #[test]
    fn absent_parents_never_match() {
        let decide = |own, facts| Requirement::SameParent.decide(Some(&principal(own, &[])), &facts);
        assert_eq!(decide(Some(1), Facts::default()), Step::NeedObjectParent);
        assert_eq!(decide(Some(1), facts(Some(1))), Step::Done(Decision::Allow));
        assert_eq!(decide(Some(1), facts(Some(2))), Step::Done(Decision::Forbidden));
        assert_eq!(decide(Some(1), facts(None)), Step::Done(Decision::Forbidden));
        assert_eq!(decide(None, facts(None)), Step::Done(Decision::Forbidden));
        assert_eq!(decide(None, Facts::default()), Step::Done(Decision::Forbidden));
    }
}
