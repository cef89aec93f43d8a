//! Guards: who may pass. Sans-IO: a [`Requirement`] is checked against a [`Principal`] and the facts known so far, and says
//! either what it decides or what it needs to know next. Whoever asks fetches that, and asks again.

use crate::authz::principal::{ObjectParent, Principal};

use std::borrow::Cow;
use std::fmt;

use crate::authz::step_up::{Approval, StepUp};
use crate::base::id::StepUpProofId;
use crate::model::parent::ParentKey;
use crate::model::proof::ProofMethod;
use crate::model::role::PLATFORM_ADMIN;
use crate::model::step_up_proof::StepUpProof;

/// What a guard asks for.
///
/// Each [`SameParent`](Self::SameParent) in it is a question of its own, and so is each [`StepUp`](Self::StepUp). Each of both kinds is
/// numbered from zero as it is written, from left to right, however deep: whoever combines two requirements puts their resolvers one
/// after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// To be signed in.
    SignedIn,
    /// To hold at least one of these roles. Without any role in the list nobody passes.
    AnyRole(Vec<Cow<'static, str>>),
    /// To have the same parent as the object of the request.
    SameParent,
    /// To have this parent, whatever the request is about.
    Parent(ParentKey),
    /// To meet this; and whoever does not must not learn that something is there: [`Decision::Hidden`].
    Hidden(Box<Requirement>),
    /// To have proved lately, for this alone, who one is.
    StepUp(StepUp),
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
            Self::Parent(key) => write!(f, "parent {key}"),
            Self::Hidden(what) => write!(f, "{what}, hidden"),
            Self::StepUp(asked) => asked.fmt(f),
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

/// What is known of a request so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    object_parents: Vec<(usize, Option<ObjectParent>)>,
    approvals: Vec<(usize, Approval)>,
    unapproved: Vec<usize>,
    used: Vec<StepUpProofId>,
    spent: Vec<StepUpProofId>,
    step_up_by_policy: Vec<ProofMethod>,
}

impl Facts {
    /// The same, with the factors that count for step-up where a route names none
    /// ([`FactorPolicy::step_up`](crate::model::policy::FactorPolicy::step_up)). Without them no factor does.
    #[must_use]
    pub fn step_up_by(self, by_policy: impl Into<Vec<ProofMethod>>) -> Self {
        Self { step_up_by_policy: by_policy.into(), ..self }
    }

    /// Answers [`Step::NeedObjectParent`]. An object that does not exist has no parent. A question's first answer stays.
    pub fn answer(&mut self, question: usize, parent: Option<impl Into<ObjectParent>>) {
        if self.object_parent(question).is_none() {
            self.object_parents.push((question, parent.map(Into::into)));
        }
    }

    /// Answers [`Step::NeedApproval`]: what the request is about. A question's first answer stays.
    pub fn approve(&mut self, question: usize, approval: Approval) {
        if self.approval(question).is_none() {
            self.approvals.push((question, approval));
        }
    }

    /// Answers [`Step::NeedApproval`]: the request has not what is to be approved, or not so that a person could read it. This way is
    /// closed to it.
    pub fn can_not_approve(&mut self, question: usize) {
        self.unapproved.push(question);
    }

    /// Answers [`Step::NeedUse`]: the proofs were used up for this request; or somebody else was first, and they are worth nothing.
    pub fn note_use(&mut self, proofs: &[StepUpProofId], for_this: bool) {
        let list = if for_this { &mut self.used } else { &mut self.spent };
        list.extend_from_slice(proofs);
    }

    /// The answer to a question: not asked yet, or the parent.
    pub fn object_parent(&self, question: usize) -> Option<Option<&ObjectParent>> {
        self.object_parents.iter().find(|(asked, _)| *asked == question).map(|(_, parent)| parent.as_ref())
    }

    /// The answers that there are, as they came, each with its question.
    pub fn object_parents(&self) -> impl Iterator<Item = (usize, Option<&ObjectParent>)> {
        self.object_parents.iter().map(|(question, parent)| (*question, parent.as_ref()))
    }

    /// What the request is about, for a question that was answered.
    pub fn approval(&self, question: usize) -> Option<&Approval> {
        self.approvals.iter().find(|(asked, _)| *asked == question).map(|(_, approval)| approval)
    }

    /// The factors that count for step-up where a route names none.
    pub fn step_up_by_policy(&self) -> &[ProofMethod] {
        &self.step_up_by_policy
    }
}

/// How far a check has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Decided.
    Done(Decision),
    /// Needs the answer to this question: which parent the object has.
    NeedObjectParent(usize),
    /// Needs to know what the request is about, for this step-up ([`Requirement::step_up`] says which fields).
    NeedApproval(usize),
    /// Nothing else stands in the way: it needs these proofs to be used up, all or none. Whoever asks for it has checked everything
    /// else about the request.
    NeedUse(Vec<StepUpProofId>),
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
    /// Somebody is, and may not even know whether something is there.
    Hidden,
    /// Somebody is, and may, once they have proved who they are for this step-up ([`Requirement::step_up`] says which).
    StepUp(usize),
}

/// What a part of a requirement comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Allow,
    /// Allowed, if these are used up.
    Using(Vec<StepUpProofId>),
    StepUp(usize),
    Forbidden,
    /// It depends on an answer, and comes to something from `least` to `most`.
    Open {
        ask: Step,
        least: Rank,
        most: Rank,
    },
}

/// How good an outcome is: of *all* parts the worst counts, of *any* the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Forbidden,
    StepUp,
    Using,
    Allow,
}

impl Outcome {
    /// The worst and the best that it can come to.
    fn bounds(&self) -> (Rank, Rank) {
        let rank = match self {
            Self::Allow => Rank::Allow,
            Self::Using(_) => Rank::Using,
            Self::StepUp(_) => Rank::StepUp,
            Self::Forbidden => Rank::Forbidden,
            Self::Open { least, most, .. } => return (*least, *most),
        };
        (rank, rank)
    }

    /// It may be refused, or allowed.
    const fn open(ask: Step) -> Self {
        Self::Open { ask, least: Rank::Forbidden, most: Rank::Allow }
    }
}

/// What somebody who is refused may know of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knows {
    /// Not even whether it is there: something that hides refuses.
    Nothing,
    /// Nothing was said about it: nothing in it hides.
    Unsaid,
    /// That it is there: something that hides lets them pass.
    Existence,
}

/// The numbers of the next questions.
#[derive(Clone, Copy, Default)]
struct Next {
    parent: usize,
    step_up: usize,
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

    /// This, and whoever does not meet it must not learn that something is there. What it is put together with later does not hide by it:
    /// of *all*, one part that hides and refuses decides, whatever else is missing; of *any*, so it does unless a part that hides lets
    /// them pass.
    #[must_use]
    pub fn hide(self) -> Self {
        match self {
            Self::Hidden(_) => self,
            open => Self::Hidden(Box::new(open)),
        }
    }

    /// This, or to administer the whole platform ([`PLATFORM_ADMIN`]).
    #[must_use]
    pub fn or_platform_admin(self) -> Self {
        Self::AnyOf(vec![self, Self::AnyRole(vec![Cow::Borrowed(PLATFORM_ADMIN)])])
    }

    /// A step-up of this requirement, by its number.
    pub fn step_up(&self, question: usize) -> Option<&StepUp> {
        self.step_ups().nth(question)
    }

    /// Every step-up of this requirement, as numbered.
    pub fn step_ups(&self) -> Box<dyn Iterator<Item = &StepUp> + Send + '_> {
        match self {
            Self::StepUp(asked) => Box::new(std::iter::once(asked)),
            Self::Hidden(what) => what.step_ups(),
            Self::All(parts) | Self::AnyOf(parts) => Box::new(parts.iter().flat_map(Self::step_ups)),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// What is missing for a refusal to become a permission, in words: the parts that refuse. Nothing about what was not asked yet.
    pub fn missing(&self, principal: &Principal, facts: &Facts) -> Vec<String> {
        let mut missing = Vec::new();
        self.collect_missing(principal, facts, &mut Next::default(), &mut missing);
        missing
    }

    /// Says whether this part refuses.
    fn collect_missing(
        &self,
        principal: &Principal,
        facts: &Facts,
        next: &mut Next,
        missing: &mut Vec<String>,
    ) -> bool {
        match self {
            Self::All(parts) if !parts.is_empty() => parts
                .iter()
                .map(|part| part.collect_missing(principal, facts, next, missing))
                .fold(false, |any, refuses| any | refuses),
            _ => {
                let refuses = self.evaluate(principal, facts, next) == Outcome::Forbidden;
                if refuses {
                    missing.push(self.to_string());
                }
                refuses
            }
        }
    }

    /// Decides, or says what it needs to know. It asks only while the answer can change the decision: of *all* one refusal
    /// decides, of *any* one permission does, wherever in the list it stands. Nothing is asked on behalf of nobody.
    ///
    /// A proof is asked for only when nothing else refuses; where there is another way to pass, it is not. What is refused is asked about
    /// once more where the answer says whether they may know that it is there.
    pub fn decide(&self, principal: Option<&Principal>, facts: &Facts) -> Step {
        let Some(principal) = principal else { return Step::Done(Decision::Unauthenticated) };
        match self.evaluate(principal, facts, &mut Next::default()) {
            Outcome::Allow => Step::Done(Decision::Allow),
            Outcome::Using(proofs) => Step::NeedUse(proofs),
            Outcome::StepUp(question) => Step::Done(Decision::StepUp(question)),
            Outcome::Forbidden => self.refusal(principal, facts),
            Outcome::Open { ask, .. } => ask,
        }
    }

    /// How it refuses; or the question on which that depends.
    fn refusal(&self, principal: &Principal, facts: &Facts) -> Step {
        if !self.hides() {
            return Step::Done(Decision::Forbidden);
        }
        let open: Vec<usize> = (0..self.object_questions())
            .filter(|question| facts.object_parent(*question).is_none())
            .collect();
        // As if the first of the open questions were answered in their favour, and the others not.
        let knows_nothing = |in_favour: usize| {
            let mut facts = facts.clone();
            for (position, question) in open.iter().enumerate() {
                facts.answer(*question, principal.parent().filter(|_| position < in_favour));
            }
            self.knowledge(principal, &facts, &mut Next::default()) == Knows::Nothing
        };
        let at_worst = knows_nothing(0);
        // No answer in their favour takes away what they may know: if the best differs, one of the steps to it does.
        let decisive = open.iter().zip(1..).find(|(_, answered)| knows_nothing(*answered) != at_worst);
        match decisive {
            Some((question, _)) => Step::NeedObjectParent(*question),
            None if at_worst => Step::Done(Decision::Hidden),
            None => Step::Done(Decision::Forbidden),
        }
    }

    fn hides(&self) -> bool {
        match self {
            Self::Hidden(_) => true,
            Self::All(parts) | Self::AnyOf(parts) => parts.iter().any(Self::hides),
            _ => false,
        }
    }

    /// How many questions about objects there are in it.
    fn object_questions(&self) -> usize {
        match self {
            Self::SameParent => 1,
            Self::Hidden(what) => what.object_questions(),
            Self::All(parts) | Self::AnyOf(parts) => parts.iter().map(Self::object_questions).sum(),
            _ => 0,
        }
    }

    /// What they may know, as far as this part says, once every question about objects is answered.
    fn knowledge(&self, principal: &Principal, facts: &Facts, next: &mut Next) -> Knows {
        let before = *next;
        let refuses = self.evaluate(principal, facts, next) == Outcome::Forbidden;
        match self {
            Self::Hidden(_) if refuses => Knows::Nothing,
            Self::Hidden(_) => Knows::Existence,
            Self::All(parts) | Self::AnyOf(parts) => {
                let mut inside = before;
                let known: Vec<Knows> =
                    parts.iter().map(|part| part.knowledge(principal, facts, &mut inside)).collect();
                let (any_nothing, any_existence) =
                    (known.contains(&Knows::Nothing), known.contains(&Knows::Existence));
                match self {
                    Self::All(_) if any_nothing => Knows::Nothing,
                    _ if any_existence => Knows::Existence,
                    // Who passes by another part is not kept from anything here.
                    _ if any_nothing && refuses => Knows::Nothing,
                    _ => Knows::Unsaid,
                }
            }
            _ => Knows::Unsaid,
        }
    }

    fn evaluate(&self, principal: &Principal, facts: &Facts, next: &mut Next) -> Outcome {
        let allowed = match self {
            Self::SignedIn => true,
            Self::AnyRole(names) => names.iter().any(|name| principal.has_role(name)),
            Self::SameParent => {
                let this = next.parent;
                next.parent += 1;
                match (principal.parent(), facts.object_parent(this)) {
                    (None, _) => false,
                    (Some(_), None) => return Outcome::open(Step::NeedObjectParent(this)),
                    (Some(_), Some(of_object)) => of_object.is_some_and(|parent| parent.is_of(principal)),
                }
            }
            Self::Parent(key) => principal.parent.as_ref().is_some_and(|(_, own)| own == key),
            Self::Hidden(what) => return what.evaluate(principal, facts, next),
            Self::StepUp(asked) => {
                let this = next.step_up;
                next.step_up += 1;
                return step_up(asked, this, principal, facts);
            }
            // Every part is gone through, or the questions would be counted wrongly.
            Self::All(parts) => {
                return all(&parts
                    .iter()
                    .map(|part| part.evaluate(principal, facts, next))
                    .collect::<Vec<_>>());
            }
            Self::AnyOf(parts) => {
                return any(&parts
                    .iter()
                    .map(|part| part.evaluate(principal, facts, next))
                    .collect::<Vec<_>>());
            }
        };
        if allowed { Outcome::Allow } else { Outcome::Forbidden }
    }
}

fn step_up(asked: &StepUp, this: usize, principal: &Principal, facts: &Facts) -> Outcome {
    let (by_policy, approval) = (facts.step_up_by_policy(), facts.approval(this));
    if asked.accepted(by_policy).is_empty() || facts.unapproved.contains(&this) {
        // No proof would do, so none is asked for.
        return Outcome::Forbidden;
    }
    if !asked.approved_fields().is_empty() && approval.is_none() {
        let ask = Step::NeedApproval(this);
        return Outcome::Open { ask, least: Rank::StepUp, most: Rank::Allow };
    }
    let meets = |proof: &&StepUpProof| {
        !facts.spent.contains(&proof.id) && asked.is_met_by(proof, by_policy, approval, principal.as_of)
    };
    // The oldest first: the newer ones are still good then.
    let Some(proof) = principal.step_up_proofs().iter().filter(meets).min_by_key(|proof| proof.proved_at)
    else {
        return Outcome::StepUp(this);
    };
    let was_used = |proof: &StepUpProof| facts.used.contains(&proof.id);
    if !asked.is_once() || principal.step_up_proofs().iter().filter(meets).any(was_used) {
        return Outcome::Allow;
    }
    Outcome::Using(vec![proof.id])
}

/// The worst part counts, once it is sure which that is.
fn all(parts: &[Outcome]) -> Outcome {
    let least = parts.iter().map(|part| part.bounds().0).min().unwrap_or(Rank::Forbidden);
    let most = parts.iter().map(|part| part.bounds().1).min().unwrap_or(Rank::Forbidden);
    // Only a part that can come out worse than that is worth a question; or one that may need nothing to be used up.
    let matters = |part: &Outcome| part.bounds().0 < most || most == Rank::Using;
    if let Some(ask) = first_question(parts, matters) {
        return Outcome::Open { ask, least, most };
    }
    settled(parts, most)
}

/// The best part counts, once it is sure which that is.
fn any(parts: &[Outcome]) -> Outcome {
    let least = parts.iter().map(|part| part.bounds().0).max().unwrap_or(Rank::Forbidden);
    let most = parts.iter().map(|part| part.bounds().1).max().unwrap_or(Rank::Forbidden);
    if let Some(ask) = first_question(parts, |part| part.bounds().1 > least) {
        return Outcome::Open { ask, least, most };
    }
    if most != Rank::Using {
        return settled(parts, most);
    }
    // One way is enough. Where none is known yet, the question is which proofs it takes.
    if let Some(way) = parts.iter().find(|part| matches!(part, Outcome::Using(_))) {
        return way.clone();
    }
    match first_question(parts, |part| part.bounds().1 == most) {
        Some(ask) => Outcome::Open { ask, least, most },
        None => Outcome::Forbidden,
    }
}

/// What can refuse for good is asked before what a request's body is needed for.
fn first_question(parts: &[Outcome], matters: impl Fn(&Outcome) -> bool) -> Option<Step> {
    let asked = || {
        parts.iter().filter(|part| matters(part)).filter_map(|part| match part {
            Outcome::Open { ask, .. } => Some(ask),
            _ => None,
        })
    };
    asked().find(|ask| matches!(ask, Step::NeedObjectParent(_))).or_else(|| asked().next()).cloned()
}

/// The outcome of this rank: the first proof that is missing, or everything that is to be used up.
fn settled(parts: &[Outcome], rank: Rank) -> Outcome {
    match rank {
        Rank::Allow => Outcome::Allow,
        Rank::Forbidden => Outcome::Forbidden,
        Rank::StepUp => {
            let proof = parts.iter().find(|part| matches!(part, Outcome::StepUp(_)));
            proof.cloned().unwrap_or(Outcome::Forbidden)
        }
        Rank::Using => {
            let mut proofs: Vec<StepUpProofId> = Vec::new();
            for part in parts {
                if let Outcome::Using(used) = part {
                    proofs.extend(used.iter().filter(|id| !proofs.contains(id)).copied().collect::<Vec<_>>());
                }
            }
            Outcome::Using(proofs)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::authz::credential::{Credential, DailyToken, SessionFacts};
    use crate::base::clock::Timestamp;
    use crate::base::id::{AccountId, ParentId, SessionId};
    use crate::model::account::{AuthVersion, Username};
    use crate::model::purpose::Purpose;
    use crate::model::role::RoleName;
    use std::time::Duration;

    fn principal(parent: Option<u8>, roles: &[&str]) -> Principal {
        Principal {
            account: AccountId::from_bytes([1; 16]),
            external_id: None,
            auth_version: AuthVersion::FIRST,
            username: Username::parse("alice").unwrap(),
            parent: parent.map(|n| (ParentId::from_bytes([n; 16]), ParentKey::parse("acme").unwrap())),
            roles: roles.iter().map(|name| RoleName::parse(name).unwrap()).collect(),
            credential: Credential::Session(SessionFacts {
                id: SessionId::from_bytes([2; 16]),
                signed_in_at: Timestamp::from_micros(0),
                proofs: crate::model::proof::Proofs::default(),
                factor_due_at: None,
                step_up_proofs: vec![],
                lapsed_at: None,
                stays_until: None,
                daily_token: DailyToken::default(),
            }),
            as_of: Timestamp::from_micros(0),
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

    /// Who may not know that it is there is told nothing, whatever else is missing; who may know is told what is.
    #[test]
    fn what_hides_refuses_first_and_hides_nothing_else() {
        let hidden = || Requirement::SameParent.hide();
        let role = |name: &'static str| Requirement::AnyRole(vec![name.into()]);
        let proof = || Requirement::StepUp(asked("p"));
        let both = || hidden().and(role("editor"));
        let (ask, missing) = (Step::NeedObjectParent(0), Step::Done(Decision::Hidden));
        let (allow, refuse) = (Step::Done(Decision::Allow), Step::Done(Decision::Forbidden));
        let [unknown, own, of_other] = [Facts::default(), facts(Some(1)), facts(Some(2))];
        for (requirement, parent, roles, facts, step) in [
            (both(), Some(1), "editor", &unknown, &ask),
            (both(), Some(1), "editor", &own, &allow),
            (both(), Some(1), "editor", &of_other, &missing),
            // Asked though it can't pass any more: it depends on that how it is refused.
            (both(), Some(1), "reader", &unknown, &ask),
            (both(), Some(1), "reader", &own, &refuse),
            (both(), Some(1), "reader", &of_other, &missing),
            (role("editor").and(hidden()), Some(1), "reader", &of_other, &missing),
            (both(), None, "editor", &unknown, &missing),
            // What is written after all of it hides all of it, and then nothing more is asked.
            (both().hide(), Some(1), "reader", &unknown, &missing),
            (Requirement::SameParent.and(role("editor").hide()), Some(1), "reader", &unknown, &missing),
            (Requirement::SameParent.and(role("editor").hide()), Some(1), "editor", &of_other, &refuse),
            (both().or_platform_admin(), Some(1), "reader", &own, &refuse),
            (both().or_platform_admin(), Some(1), "reader", &of_other, &missing),
            (both().or_platform_admin(), Some(1), PLATFORM_ADMIN, &unknown, &allow),
            // An auditor passes here without being of the parent, and is kept from nothing by it.
            (Requirement::AnyOf(vec![hidden(), role("a")]).and(role("b")), Some(1), "a", &unknown, &refuse),
            (Requirement::AnyOf(vec![hidden(), role("a")]).and(role("b")), Some(1), "c", &of_other, &missing),
            (hidden().and(proof()), Some(1), "", &of_other, &missing),
            (hidden().and(proof()), Some(1), "", &own, &Step::Done(Decision::StepUp(0))),
            (Requirement::Parent(ParentKey::parse("acme").unwrap()), Some(2), "", &unknown, &allow),
            (Requirement::Parent(ParentKey::parse("globex").unwrap()), Some(2), "", &unknown, &refuse),
            (Requirement::Parent(ParentKey::parse("acme").unwrap()).hide(), None, "", &unknown, &missing),
        ] {
            let roles: Vec<&str> = Some(roles).filter(|role| !role.is_empty()).into_iter().collect();
            let facts = facts.clone().step_up_by([ProofMethod::Totp]);
            let decided = requirement.decide(Some(&principal(parent, &roles)), &facts);
            assert_eq!(decided, *step, "{requirement}, {roles:?} of {parent:?}, {facts:?}");
        }
        assert_eq!(both().to_string(), "all of (same parent, hidden; role editor)");
        assert_eq!(both().hide().to_string(), "all of (same parent, hidden; role editor), hidden");
        assert_eq!(hidden().hide(), hidden());
        assert_eq!(hidden().decide(None, &Facts::default()), Step::Done(Decision::Unauthenticated));
    }

    #[test]
    fn objects_name_their_parent_by_its_id_or_its_key() {
        let key = |key: &str| Some(ParentKey::parse(key).unwrap());
        for (own, answer, step) in [
            (Some(1), key("acme"), Decision::Allow),
            (Some(1), key("globex"), Decision::Forbidden),
            (Some(1), None, Decision::Forbidden),
            (None, key("acme"), Decision::Forbidden),
        ] {
            let mut facts = Facts::default();
            facts.answer(0, answer.clone());
            let decided = Requirement::SameParent.decide(Some(&principal(own, &[])), &facts);
            assert_eq!(decided, Step::Done(step), "{own:?} {answer:?}");
        }
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
        let asked = asked("payroll")
            .factors([ProofMethod::Totp, ProofMethod::SmsOtp])
            .once()
            .approving(["amount", "payee"]);
        assert_eq!(
            Requirement::StepUp(asked).to_string(),
            "step-up for payroll within 300 s by totp or sms_otp, once, approving amount and payee"
        );
    }

    /// What a requirement comes to once all is known: a permission is worth more than a proof to be given, that more than a refusal; of
    /// *all* the least counts, of *any* the most. `parents` answers each question in turn. With it comes whether they may know that something
    /// is there, as far as that was said.
    fn rank_and_knowledge(
        requirement: &Requirement,
        who: &Principal,
        parents: &mut std::slice::Iter<'_, Option<u8>>,
    ) -> (u8, Option<bool>) {
        let allowed = match requirement {
            Requirement::SignedIn => true,
            Requirement::Parent(key) => who.parent_key() == Some(key.as_str()),
            Requirement::Hidden(what) => {
                let rank = rank_and_knowledge(what, who, parents).0;
                return (rank, Some(rank > 0));
            }
            Requirement::AnyRole(names) => names.iter().any(|name| who.has_role(name)),
            Requirement::SameParent => {
                let object = parents.next().unwrap().map(|n| ParentId::from_bytes([n; 16]));
                who.parent().is_some() && who.parent() == object
            }
            Requirement::StepUp(asked) => {
                let is_met = who.step_up_proofs().iter().any(|proof| proof.purpose == asked.purpose());
                let rank = match (is_met, asked.is_once()) {
                    (false, _) => 1,
                    (true, true) => 2,
                    (true, false) => 3,
                };
                return (rank, None);
            }
            Requirement::All(parts) => {
                let all: Vec<_> = parts.iter().map(|part| rank_and_knowledge(part, who, parents)).collect();
                let rank = all.iter().map(|(rank, _)| *rank).min().unwrap_or(0);
                return (rank, all.iter().filter_map(|(_, knows)| *knows).reduce(|one, other| one && other));
            }
            Requirement::AnyOf(parts) => {
                let all: Vec<_> = parts.iter().map(|part| rank_and_knowledge(part, who, parents)).collect();
                let rank = all.iter().map(|(rank, _)| *rank).max().unwrap_or(0);
                let knows = all.iter().filter_map(|(_, knows)| *knows).reduce(|one, other| one || other);
                return (rank, knows.filter(|knows| *knows || rank == 0));
            }
        };
        (if allowed { 3 } else { 0 }, None)
    }

    /// The same as one number: what is refused without a word is the least.
    fn worth(requirement: &Requirement, who: &Principal, parents: &[Option<u8>]) -> u8 {
        match rank_and_knowledge(requirement, who, &mut parents.iter()) {
            (0, Some(false)) => 0,
            (rank, _) => rank + 1,
        }
    }

    fn asked(purpose: &str) -> StepUp {
        StepUp::new(Purpose::parse(purpose).unwrap())
    }

    fn proof(id: u8, purpose: &str, kind: ProofMethod, secs: i64) -> StepUpProof {
        StepUpProof {
            id: StepUpProofId::from_bytes([id; 16]),
            account: AccountId::from_bytes([1; 16]),
            parent: None,
            auth_version: AuthVersion::FIRST,
            purpose: Purpose::parse(purpose).unwrap(),
            kind,
            proved_at: Timestamp::from_micros(secs * 1_000_000),
            approval: None,
        }
    }

    fn any_requirement() -> impl Strategy<Value = Requirement> {
        let leaf = prop_oneof![
            1 => Just(Requirement::SignedIn),
            1 => proptest::sample::subsequence(vec!["a", "b", PLATFORM_ADMIN], 0..3)
                .prop_map(|names| Requirement::AnyRole(names.into_iter().map(Into::into).collect())),
            3 => Just(Requirement::SameParent),
            1 => Just(Requirement::Parent(ParentKey::parse("acme").unwrap())),
            2 => proptest::sample::select(vec!["p", "q"]).prop_map(|purpose| Requirement::StepUp(asked(purpose))),
            1 => proptest::sample::select(vec!["p", "q"]).prop_map(|purpose| Requirement::StepUp(asked(purpose).once())),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Requirement::All),
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Requirement::AnyOf),
                (inner.clone(), inner.clone()).prop_map(|(one, other)| one.and(other)),
                inner.clone().prop_map(Requirement::or_platform_admin),
                inner.prop_map(Requirement::hide),
            ]
        })
    }

    fn questions(requirement: &Requirement) -> usize {
        match requirement {
            Requirement::SameParent => 1,
            Requirement::Hidden(what) => questions(what),
            Requirement::All(parts) | Requirement::AnyOf(parts) => parts.iter().map(questions).sum(),
            _ => 0,
        }
    }

    const MOST_QUESTIONS: usize = 256;

    fn by_policy() -> Facts {
        Facts::default().step_up_by([ProofMethod::Totp])
    }

    proptest! {
        /// Step by step it comes to what the whole truth says, and asks nothing that could not change that.
        #[test]
        fn every_combination_decides_as_the_model(
            requirement in any_requirement(),
            own in proptest::option::of(1_u8..3),
            roles in proptest::sample::subsequence(vec!["a", "b", PLATFORM_ADMIN], 0..3),
            parents in proptest::collection::vec(proptest::option::of(1_u8..3), MOST_QUESTIONS),
            proved in proptest::bool::ANY,
        ) {
            let mut who = principal(own, &roles);
            if proved {
                who.facts_mut().step_up_proofs.push(proof(1, "p", ProofMethod::Totp, 0));
                who.facts_mut().step_up_proofs.push(proof(2, "q", ProofMethod::Totp, 0));
            }
            let mut used = false;
            prop_assert!(questions(&requirement) <= MOST_QUESTIONS);
            let truth = worth(&requirement, &who, &parents);
            let mut facts = by_policy();
            loop {
                match requirement.decide(Some(&who), &facts) {
                    Step::Done(decision) => {
                        let worth = match decision {
                            Decision::Allow if used => 3,
                            Decision::Allow => 4,
                            Decision::StepUp(question) => {
                                let unmet = requirement.step_up(question).unwrap().purpose();
                                prop_assert!(who.step_up_proofs().iter().all(|proof| proof.purpose != unmet));
                                2
                            }
                            Decision::Forbidden => 1,
                            _ => 0,
                        };
                        prop_assert_eq!(worth, truth);
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
                            outcomes.push(worth(&requirement, &who, &open));
                        }
                        // With a proof that is to be used up, the question can be which one.
                        prop_assert!(outcomes[0] > outcomes[1] || outcomes == [3, 3], "it was decided already");
                        facts.answer(question, parents[question].map(|n| ParentId::from_bytes([n; 16])));
                    }
                    Step::NeedUse(proofs) => {
                        prop_assert!(!used && !proofs.is_empty());
                        used = true;
                        facts.note_use(&proofs, true);
                        prop_assert_eq!(requirement.decide(Some(&who), &facts), Step::Done(Decision::Allow));
                    }
                    step => prop_assert!(false, "{step:?}: nothing is bound here"),
                }
            }
            prop_assert_eq!(
                requirement.decide(None, &facts),
                Step::Done(Decision::Unauthenticated)
            );
        }

        /// Purpose x age x factor x what is named x bound or not x used up: one function of them all, said a second time in plain words.
        #[test]
        fn a_proof_opens_what_it_was_made_for(
            proofs in proptest::collection::vec(
                (proptest::sample::select(vec!["p", "q"]), 0..700_i64, proptest::sample::select(ProofMethod::ASKED.to_vec()), 0..3_u8, proptest::bool::ANY),
                0..4,
            ),
            within in 1..600_u64,
            named in proptest::option::of(proptest::sample::subsequence(ProofMethod::ASKED.to_vec(), 0..3)),
            once in proptest::bool::ANY,
            bound in 0..3_u8,
        ) {
            const NOW: i64 = 1_000;
            let key = crate::secrets::secret_key::SecretKey::from_bytes(&[1; 32]).unwrap().derive("approval");
            let about = |n: u8| Approval::new(&key, "POST", "/", vec![("amount".into(), n.to_string())]);
            let mut who = principal(None, &[]);
            who.as_of = Timestamp::from_micros(NOW * 1_000_000);
            let mut facts = by_policy();
            for (n, (purpose, age, kind, approved, spent)) in proofs.iter().enumerate() {
                let mut proof = proof(u8::try_from(n).unwrap(), purpose, *kind, NOW - age);
                proof.approval = (*approved > 0).then(|| about(*approved).digest());
                if *spent {
                    facts.note_use(&[proof.id], false);
                }
                who.facts_mut().step_up_proofs.push(proof);
            }
            let mut asked = asked("p").within(Duration::from_secs(within));
            if let Some(named) = &named {
                asked = asked.factors(named.clone());
            }
            if once {
                asked = asked.once();
            }
            if bound > 0 {
                asked = asked.approving(["amount"]);
            }
            let requirement = Requirement::StepUp(asked);
            let good: Vec<u8> = proofs
                .iter()
                .enumerate()
                .filter(|(_, (purpose, age, kind, approved, spent))| {
                    let counts = named.as_ref().map_or(*kind == ProofMethod::Totp, |named| named.contains(kind));
                    *purpose == "p" && *age < i64::try_from(within).unwrap() && counts && *approved == bound && !spent
                })
                .map(|(n, _)| u8::try_from(n).unwrap())
                .collect();
            if named.as_ref().is_some_and(Vec::is_empty) {
                prop_assert_eq!(requirement.decide(Some(&who), &facts), Step::Done(Decision::Forbidden));
                return Ok(());
            }
            if bound > 0 {
                prop_assert_eq!(requirement.decide(Some(&who), &facts), Step::NeedApproval(0));
                facts.approve(0, about(bound));
            }
            match requirement.decide(Some(&who), &facts) {
                Step::Done(Decision::StepUp(0)) => prop_assert!(good.is_empty()),
                Step::Done(Decision::Allow) => prop_assert!(!once && !good.is_empty()),
                Step::NeedUse(used) => {
                    prop_assert!(once && used.len() == 1 && good.contains(&used[0].as_bytes()[0]));
                    // Used for this request it passes; used by another one first it is worth nothing.
                    let mut ours = facts.clone();
                    ours.note_use(&used, true);
                    prop_assert_eq!(requirement.decide(Some(&who), &ours), Step::Done(Decision::Allow));
                    facts.note_use(&used, false);
                    let next = requirement.decide(Some(&who), &facts);
                    if good.len() == 1 {
                        prop_assert_eq!(next, Step::Done(Decision::StepUp(0)));
                    } else {
                        prop_assert!(matches!(next, Step::NeedUse(other) if other != used));
                    }
                }
                step => prop_assert!(false, "{step:?}"),
            }
        }
    }

    #[test]
    fn what_can_not_be_approved_leaves_the_other_ways_open() {
        let mut who = principal(None, &[]);
        who.facts_mut().step_up_proofs.push(proof(1, "q", ProofMethod::Totp, 0));
        let bound = || Requirement::StepUp(asked("p").approving(["amount"]));
        let other = Requirement::AnyOf(vec![bound(), Requirement::StepUp(asked("q").once())]);
        let mut facts = by_policy();
        assert_eq!(other.decide(Some(&who), &facts), Step::NeedApproval(0));
        facts.can_not_approve(0);
        assert_eq!(other.decide(Some(&who), &facts), Step::NeedUse(vec![StepUpProofId::from_bytes([1; 16])]));
        assert_eq!(bound().decide(Some(&who), &facts), Step::Done(Decision::Forbidden));
    }

    #[test]
    fn a_proof_is_used_up_only_when_nothing_else_refuses_or_allows() {
        let mut who = principal(Some(1), &["admin"]);
        who.facts_mut().step_up_proofs.push(proof(1, "p", ProofMethod::Totp, 0));
        let once = || Requirement::StepUp(asked("p").once());
        let role = |name: &'static str| Requirement::AnyRole(vec![name.into()]);
        let use_it = Step::NeedUse(vec![StepUpProofId::from_bytes([1; 16])]);
        for (requirement, step) in [
            (once().and(role("admin")), use_it.clone()),
            (role("auditor").and(once()), Step::Done(Decision::Forbidden)),
            (once().and(Requirement::SameParent), Step::NeedObjectParent(0)),
            (once().and(Requirement::StepUp(asked("q"))), Step::Done(Decision::StepUp(1))),
            (Requirement::AnyOf(vec![once(), role("admin")]), Step::Done(Decision::Allow)),
            (Requirement::AnyOf(vec![once(), role("auditor")]), use_it.clone()),
            (Requirement::AnyOf(vec![Requirement::StepUp(asked("q")), once()]), use_it.clone()),
            (once().and(once()), use_it.clone()),
            (
                Requirement::StepUp(asked("p").factors([ProofMethod::Totp; 0])),
                Step::Done(Decision::Forbidden),
            ),
            (
                Requirement::AnyOf(vec![
                    once().and(Requirement::AnyOf(vec![role("admin"), Requirement::SameParent])),
                ]),
                use_it.clone(),
            ),
            (
                Requirement::StepUp(asked("p").approving(["amount"])).and(Requirement::SameParent),
                Step::NeedObjectParent(0),
            ),
        ] {
            assert_eq!(requirement.decide(Some(&who), &by_policy()), step, "{requirement}");
        }
    }
}
