//! Guards: who may pass. Sans-IO: a [`Requirement`] is checked against a [`Principal`] and the facts known so far, and says
//! either what it decides or what it needs to know next. Whoever asks fetches that, and asks again.

use std::borrow::Cow;
use std::fmt;

use crate::account::{AuthVersion, ExternalId, Username};
use crate::clock::Timestamp;
use crate::id::{AccountId, ParentId, SessionId};
use crate::mfa::Assurance;
use crate::parent::ParentKey;
use crate::role::{PLATFORM_ADMIN, RoleName};

/// Somebody who is signed in, as of this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub(crate) account: AccountId,
    pub(crate) username: Username,
    pub(crate) external_id: Option<ExternalId>,
    pub(crate) parent: Option<(ParentId, ParentKey)>,
    pub(crate) roles: Vec<RoleName>,
    pub(crate) session: SessionId,
    pub(crate) signed_in_at: Timestamp,
    pub(crate) auth_version: AuthVersion,
    pub(crate) authenticated_at: Timestamp,
    pub(crate) second_factor_at: Option<Timestamp>,
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

    /// The host's own key for it.
    pub fn external_id(&self) -> Option<&str> {
        self.external_id.as_ref().map(ExternalId::as_str)
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

    /// When they last proved a second factor.
    pub fn second_factor_at(&self) -> Option<Timestamp> {
        self.second_factor_at
    }

    /// How sure one may be that it is them.
    pub fn assurance(&self) -> Assurance {
        Assurance::of_amr(&self.amr)
    }

    /// How they proved who they are (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.amr.split(' ')
    }
}

/// What a guard asks for.
///
/// Each [`SameParent`](Self::SameParent) in it is a question of its own. They are numbered from zero as they are written,
/// from left to right, however deep: whoever combines two requirements puts their resolvers one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// To be signed in.
    SignedIn,
    /// To hold at least one of these roles. Without any role in the list nobody passes.
    AnyRole(Vec<Cow<'static, str>>),
    /// To have the same parent as the object of the request.
    SameParent,
    /// To meet each of these. Without any in the list nobody passes: an empty list is a mistake, and no permission.
    All(Vec<Requirement>),
    /// To meet one of these. Without any in the list nobody passes.
    AnyOf(Vec<Requirement>),
}

/// Shown in the audit log, and in the inventory of a service's routes.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("signed in"),
            Self::AnyRole(names) if names.is_empty() => f.write_str("nobody"),
            Self::AnyRole(names) => write!(f, "role {}", names.join(" or ")),
            Self::SameParent => f.write_str("same parent"),
            Self::All(parts) | Self::AnyOf(parts) if parts.is_empty() => f.write_str("nobody"),
            Self::All(parts) => list(f, "all of", parts),
            Self::AnyOf(parts) => list(f, "any of", parts),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, parts: &[Requirement]) -> fmt::Result {
    write!(f, "{what} (")?;
    for (position, part) in parts.iter().enumerate() {
        let comma = if position == 0 { "" } else { "; " };
        write!(f, "{comma}{part}")?;
    }
    f.write_str(")")
}

/// What is known of the objects of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    object_parents: Vec<(usize, Option<ParentId>)>,
}

impl Facts {
    /// Answers [`Step::NeedObjectParent`]. An object that does not exist has no parent. A question's first answer stays.
    pub fn answer(&mut self, question: usize, parent: Option<ParentId>) {
        if self.object_parent(question).is_none() {
            self.object_parents.push((question, parent));
        }
    }

    /// The answer to a question: not asked yet, or the parent.
    pub fn object_parent(&self, question: usize) -> Option<Option<ParentId>> {
        self.object_parents.iter().find(|(asked, _)| *asked == question).map(|(_, parent)| *parent)
    }

    /// The answers that there are, as they came, each with its question.
    pub fn object_parents(&self) -> impl Iterator<Item = (usize, Option<ParentId>)> {
        self.object_parents.iter().copied()
    }
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Decided.
    Done(Decision),
    /// Needs the answer to this question: which parent the object has.
    NeedObjectParent(usize),
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
    /// This and another one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut parts = match self {
            // An empty list lets nobody pass: it must not vanish in a longer one.
            Self::All(parts) if !parts.is_empty() => parts,
            one => vec![one],
        };
        parts.push(other);
        Self::All(parts)
    }

    /// This, or to administer the whole platform ([`PLATFORM_ADMIN`]).
    #[must_use]
    pub fn or_platform_admin(self) -> Self {
        Self::AnyOf(vec![self, Self::AnyRole(vec![Cow::Borrowed(PLATFORM_ADMIN)])])
    }

    /// Decides, or says what it needs to know. It asks only while the answer can change the decision: of *all* one refusal
    /// decides, of *any* one permission does, wherever in the list it stands. Nothing is asked on behalf of nobody.
    pub fn decide(&self, principal: Option<&Principal>, facts: &Facts) -> Step {
        let Some(principal) = principal else { return Step::Done(Decision::Unauthenticated) };
        self.evaluate(principal, facts, &mut 0)
    }

    /// `question` is the number of the next one, and counts on past every one of this requirement.
    fn evaluate(&self, principal: &Principal, facts: &Facts, question: &mut usize) -> Step {
        let allowed = match self {
            Self::SignedIn => true,
            Self::AnyRole(names) => names.iter().any(|name| principal.has_role(name)),
            Self::SameParent => {
                let this = *question;
                *question += 1;
                match (principal.parent(), facts.object_parent(this)) {
                    (None, _) => false,
                    (Some(_), None) => return Step::NeedObjectParent(this),
                    (Some(own), Some(of_object)) => of_object == Some(own),
                }
            }
            Self::All(parts) | Self::AnyOf(parts) => {
                // The one that settles it, else the first question, else the other one.
                let (settles, else_) = match self {
                    Self::All(_) if !parts.is_empty() => (Decision::Forbidden, Decision::Allow),
                    _ => (Decision::Allow, Decision::Forbidden),
                };
                let mut open = None;
                let mut settled = false;
                for part in parts {
                    // Every part is gone through, or the questions would be counted wrongly.
                    match part.evaluate(principal, facts, question) {
                        Step::Done(decision) => settled |= decision == settles,
                        need @ Step::NeedObjectParent(_) => open = open.or(Some(need)),
                    }
                }
                return match open {
                    _ if settled => Step::Done(settles),
                    Some(need) => need,
                    None => Step::Done(else_),
                };
            }
        };
        Step::Done(if allowed { Decision::Allow } else { Decision::Forbidden })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn principal(parent: Option<u8>, roles: &[&str]) -> Principal {
        Principal {
            account: AccountId::from_bytes([1; 16]),
            external_id: None,
            auth_version: AuthVersion::FIRST,
            second_factor_at: None,
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
        let mut facts = Facts::default();
        facts.answer(0, parent.map(|n| ParentId::from_bytes([n; 16])));
        facts
    }

    #[test]
    fn nobody_passes_nothing_and_nothing_is_asked() {
        for requirement in [
            Requirement::SignedIn,
            Requirement::AnyRole(vec!["a".into()]),
            Requirement::SameParent,
            Requirement::SameParent.and(Requirement::SignedIn),
            Requirement::SameParent.or_platform_admin(),
            Requirement::AnyOf(vec![]),
        ] {
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
        assert_eq!(decide(Some(1), Facts::default()), Step::NeedObjectParent(0));
        assert_eq!(decide(Some(1), facts(Some(1))), Step::Done(Decision::Allow));
        assert_eq!(decide(Some(1), facts(Some(2))), Step::Done(Decision::Forbidden));
        assert_eq!(decide(Some(1), facts(None)), Step::Done(Decision::Forbidden));
        assert_eq!(decide(None, facts(None)), Step::Done(Decision::Forbidden));
        assert_eq!(decide(None, Facts::default()), Step::Done(Decision::Forbidden));
    }

    #[test]
    fn combinations_ask_only_what_can_matter() {
        let role = |name: &'static str| Requirement::AnyRole(vec![name.into()]);
        let no_facts = Facts::default();
        let both = Requirement::SameParent.and(role("admin"));
        assert_eq!(both.decide(Some(&principal(Some(1), &[])), &no_facts), Step::Done(Decision::Forbidden));
        assert_eq!(both.decide(Some(&principal(Some(1), &["admin"])), &no_facts), Step::NeedObjectParent(0));
        assert_eq!(
            both.decide(Some(&principal(Some(1), &["admin"])), &facts(Some(1))),
            Step::Done(Decision::Allow)
        );

        let either = Requirement::SameParent.or_platform_admin();
        let platform = principal(Some(1), &[PLATFORM_ADMIN]);
        assert_eq!(either.decide(Some(&platform), &no_facts), Step::Done(Decision::Allow));
        assert_eq!(either.decide(Some(&principal(Some(1), &[])), &no_facts), Step::NeedObjectParent(0));
        assert_eq!(
            either.decide(Some(&principal(None, &["admin"])), &no_facts),
            Step::Done(Decision::Forbidden)
        );

        // The second question keeps its number whatever became of the first.
        let two = Requirement::SameParent.or_platform_admin().and(Requirement::SameParent);
        assert_eq!(two.decide(Some(&platform), &no_facts), Step::NeedObjectParent(1));
        assert_eq!(
            two.decide(Some(&principal(Some(1), &[])), &facts(Some(1))),
            Step::NeedObjectParent(1),
            "one answer is not both"
        );
    }

    #[test]
    fn empty_lists_let_nobody_pass() {
        let everything = principal(Some(1), &["admin", PLATFORM_ADMIN]);
        for empty in [Requirement::All(vec![]), Requirement::AnyOf(vec![])] {
            let with_more = empty.clone().and(Requirement::SignedIn);
            for requirement in [empty, with_more] {
                assert_eq!(
                    requirement.decide(Some(&everything), &Facts::default()),
                    Step::Done(Decision::Forbidden),
                    "{requirement}"
                );
            }
        }
    }

    #[test]
    fn the_audit_log_can_be_read() {
        let roles = Requirement::AnyRole(vec!["admin".into(), "auditor".into()]);
        let both = roles.and(Requirement::SameParent).and(Requirement::SignedIn);
        assert_eq!(both.to_string(), "all of (role admin or auditor; same parent; signed in)");
        assert_eq!(
            Requirement::SameParent.or_platform_admin().to_string(),
            "any of (same parent; role iam:platform-admin)"
        );
        assert_eq!(Requirement::AnyRole(vec![]).to_string(), "nobody");
        assert_eq!(
            Requirement::All(vec![]).and(Requirement::SignedIn).to_string(),
            "all of (nobody; signed in)"
        );
    }

    /// What a requirement means once all is known: plain "and" and "or". `parents` answers each question in turn.
    fn allows(
        requirement: &Requirement,
        who: &Principal,
        parents: &mut std::slice::Iter<'_, Option<u8>>,
    ) -> bool {
        match requirement {
            Requirement::SignedIn => true,
            Requirement::AnyRole(names) => names.iter().any(|name| who.has_role(name)),
            Requirement::SameParent => {
                let object = parents.next().unwrap().map(|n| ParentId::from_bytes([n; 16]));
                who.parent().is_some() && who.parent() == object
            }
            Requirement::All(parts) => {
                let each: Vec<bool> = parts.iter().map(|part| allows(part, who, parents)).collect();
                !each.is_empty() && !each.contains(&false)
            }
            Requirement::AnyOf(parts) => {
                let each: Vec<bool> = parts.iter().map(|part| allows(part, who, parents)).collect();
                each.contains(&true)
            }
        }
    }

    fn any_requirement() -> impl Strategy<Value = Requirement> {
        let leaf = prop_oneof![
            1 => Just(Requirement::SignedIn),
            1 => proptest::sample::subsequence(vec!["a", "b", PLATFORM_ADMIN], 0..3)
                .prop_map(|names| Requirement::AnyRole(names.into_iter().map(Into::into).collect())),
            3 => Just(Requirement::SameParent),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Requirement::All),
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Requirement::AnyOf),
                (inner.clone(), inner.clone()).prop_map(|(one, other)| one.and(other)),
                inner.prop_map(Requirement::or_platform_admin),
            ]
        })
    }

    fn questions(requirement: &Requirement) -> usize {
        match requirement {
            Requirement::SameParent => 1,
            Requirement::All(parts) | Requirement::AnyOf(parts) => parts.iter().map(questions).sum(),
            _ => 0,
        }
    }

    const MOST_QUESTIONS: usize = 256;

    proptest! {
        /// Step by step it comes to what the whole truth says, and asks nothing that could not change that.
        #[test]
        fn every_combination_decides_as_the_model(
            requirement in any_requirement(),
            own in proptest::option::of(1_u8..3),
            roles in proptest::sample::subsequence(vec!["a", "b", PLATFORM_ADMIN], 0..3),
            parents in proptest::collection::vec(proptest::option::of(1_u8..3), MOST_QUESTIONS),
        ) {
            let who = principal(own, &roles);
            prop_assert!(questions(&requirement) <= MOST_QUESTIONS);
            let truth = allows(&requirement, &who, &mut parents.iter());
            let mut facts = Facts::default();
            loop {
                match requirement.decide(Some(&who), &facts) {
                    Step::Done(decision) => {
                        prop_assert_eq!(decision == Decision::Allow, truth);
                        break;
                    }
                    Step::NeedObjectParent(question) => {
                        prop_assert!(question < questions(&requirement));
                        prop_assert_eq!(facts.object_parent(question), None, "asked twice");
                        // Whoever asks must be able to win and to lose: with all that is open answered one way or the other.
                        let mut outcomes = Vec::new();
                        for answer in [own, None] {
                            let open: Vec<_> = (0..questions(&requirement))
                                .map(|n| if facts.object_parent(n).is_some() { parents[n] } else { answer })
                                .collect();
                            outcomes.push(allows(&requirement, &who, &mut open.iter()));
                        }
                        prop_assert_eq!(outcomes, [true, false], "it was decided already");
                        facts.answer(question, parents[question].map(|n| ParentId::from_bytes([n; 16])));
                    }
                }
            }
            prop_assert_eq!(
                requirement.decide(None, &facts),
                Step::Done(Decision::Unauthenticated)
            );
        }
    }
}
