//! What a guard is made of, whatever the framework: what it asks for, how it refuses, and who answers its questions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use iam_core::flow::Activity;
use iam_core::guard::Requirement;
use iam_core::step_up::{Purpose, StepUp};

/// What a guard asks for, and how it refuses. Shown as one text in the inventory of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) requirement: Arc<Requirement>,
    pub(crate) activity: Activity,
    pub(crate) hidden: bool,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.requirement.fmt(f)?;
        if self.hidden {
            f.write_str(", hidden")?;
        }
        if self.activity == Activity::Background {
            f.write_str(", background")?;
        }
        Ok(())
    }
}

/// A [`Policy`] with its resolvers, one for each question of the requirement, in their order. `R` is an adapter's type: how it
/// asks the host for the parent of a request's object.
///
/// The one place where requirements and resolvers are put together, so that none is asked another one's question.
#[derive(Clone)]
#[must_use]
pub struct Rule<R> {
    policy: Policy,
    resolvers: Vec<R>,
}

impl<R> Rule<R> {
    /// To be signed in.
    pub fn login() -> Self {
        Self::new(Requirement::SignedIn, Vec::new())
    }

    /// To hold one of these roles.
    pub fn role<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        Self::new(Requirement::AnyRole(names.into_iter().map(Into::into).collect()), Vec::new())
    }

    /// To have the parent of the object that the resolver finds.
    pub fn parent(resolver: R) -> Self {
        Self::new(Requirement::SameParent, vec![resolver])
    }

    /// To have proved lately, for this purpose alone, who one is. A purpose that is none
    /// ([`Purpose::parse`]), or is reserved for this library, lets nobody pass.
    pub fn step_up(purpose: &str) -> Self {
        let requirement = match Purpose::parse(purpose).filter(|purpose| !purpose.is_reserved()) {
            Some(purpose) => Requirement::StepUp(StepUp::new(purpose)),
            None => {
                tracing::error!(purpose, "no purpose of a service has such a name: nobody will pass");
                Requirement::AnyOf(Vec::new())
            }
        };
        Self::new(requirement, Vec::new())
    }

    /// Changes the step-ups of this rule.
    pub fn map_step_up(self, change: impl Fn(StepUp) -> StepUp) -> Self {
        self.map(|requirement| in_step_ups(requirement, &change))
    }

    /// Any of these. What one of them says about hiding and about activity goes for all.
    pub fn any_of(rules: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::new(Requirement::AnyOf(Vec::new()), Vec::new());
        let mut requirements = Vec::new();
        for rule in rules {
            requirements.push(all.take_in(rule));
        }
        all.policy.requirement = Arc::new(Requirement::AnyOf(requirements));
        all
    }

    /// Both. What one of them says about hiding and about activity goes for both.
    pub fn and(mut self, other: Self) -> Self {
        let other = self.take_in(other);
        self.map(|own| own.and(other))
    }

    /// This, or to administer the whole platform.
    pub fn or_platform_admin(self) -> Self {
        self.map(Requirement::or_platform_admin)
    }

    /// Refuses people who are signed in as if nothing were there.
    pub fn hide(mut self) -> Self {
        self.policy.hidden = true;
        self
    }

    /// Keeps nobody signed in.
    pub fn background(mut self) -> Self {
        self.policy.activity = Activity::Background;
        self
    }

    /// What it asks for, and how it refuses.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who answers a question of the requirement.
    pub fn resolver(&self, question: usize) -> Option<&R> {
        self.resolvers.get(question)
    }

    /// The same with other resolvers.
    pub fn map_resolvers<T>(self, change: impl FnMut(R) -> T) -> Rule<T> {
        Rule { policy: self.policy, resolvers: self.resolvers.into_iter().map(change).collect() }
    }

    fn new(requirement: Requirement, resolvers: Vec<R>) -> Self {
        let requirement = Arc::new(requirement);
        Self { policy: Policy { requirement, activity: Activity::Active, hidden: false }, resolvers }
    }

    /// Takes everything over but the requirement, which is given back.
    fn take_in(&mut self, other: Self) -> Requirement {
        self.policy.hidden |= other.policy.hidden;
        if other.policy.activity == Activity::Background {
            self.policy.activity = Activity::Background;
        }
        self.resolvers.extend(other.resolvers);
        Arc::unwrap_or_clone(other.policy.requirement)
    }

    fn map(mut self, change: impl FnOnce(Requirement) -> Requirement) -> Self {
        self.policy.requirement = Arc::new(change(Arc::unwrap_or_clone(self.policy.requirement)));
        self
    }
}

fn in_step_ups(requirement: Requirement, change: &impl Fn(StepUp) -> StepUp) -> Requirement {
    match requirement {
        Requirement::StepUp(asked) => Requirement::StepUp(change(asked)),
        Requirement::All(parts) => {
            Requirement::All(parts.into_iter().map(|part| in_step_ups(part, change)).collect())
        }
        Requirement::AnyOf(parts) => {
            Requirement::AnyOf(parts.into_iter().map(|part| in_step_ups(part, change)).collect())
        }
        other => other,
    }
}

impl<R> fmt::Debug for Rule<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_stay_with_their_questions() {
        let first = Rule::parent('a').or_platform_admin().and(Rule::login());
        let rule = first.and(Rule::any_of([Rule::role(["x"]), Rule::parent('b'), Rule::parent('c')]));
        assert_eq!(
            rule.policy().to_string(),
            "all of (any of (same parent; role iam:platform-admin); signed in; \
             any of (role x; same parent; same parent))"
        );
        assert_eq!([0, 1, 2, 3].map(|n| rule.resolver(n).copied()), [Some('a'), Some('b'), Some('c'), None]);
        let other = rule.map_resolvers(|name| name.to_ascii_uppercase());
        assert_eq!(other.resolver(1), Some(&'B'));
    }

    #[test]
    fn what_one_part_says_goes_for_all() {
        let text = |rule: Rule<()>| rule.policy().to_string();
        assert_eq!(text(Rule::login().hide().background()), "signed in, hidden, background");
        assert_eq!(
            text(Rule::login().background().and(Rule::role(["a"]).hide())),
            "all of (signed in; role a), hidden, background"
        );
        assert_eq!(
            text(Rule::any_of([Rule::login(), Rule::login().hide()])),
            "any of (signed in; signed in), hidden"
        );
        assert_eq!(text(Rule::any_of([])), "nobody");
    }
}
