//! What a guard is made of, whatever the framework: what it asks for, how it refuses, and who answers its questions.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use iam_core::protocol::{Activity, MOST_WITHIN, is_seen};
use iam_core::{AdministratorScope, ParentKey, ProofMethod, Purpose, Requirement, RoleName, StepUp};

/// The longest name of a field that is approved, in bytes.
const MOST_FIELD_NAME: usize = 128;

/// What a guard asks for, and how it refuses. Shown as one text in the inventory of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) requirement: Arc<Requirement>,
    pub(crate) activity: Activity,
    mistakes: Vec<Mistake>,
}

/// A mistake in a host's code, by which a guard would refuse everybody, or guard less than it says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mistake {
    what: String,
    at: &'static Location<'static>,
}

impl Policy {
    /// Stops the program if the guard is written wrongly, as the frameworks do with routes that they can't take: it would start, and refuse
    /// everybody without a word. An adapter calls this where it puts a guard on a route, with method and path if it knows them.
    ///
    /// # Panics
    /// With every mistake in it, and where in the host's code that is.
    #[expect(
        clippy::panic,
        reason = "a program that is written wrongly stops when it starts; no request gets here"
    )]
    pub fn must_be_right(&self, route: Option<(&str, &str)>) {
        let mut list: Vec<String> =
            self.mistakes.iter().map(|Mistake { what, at }| format!("  {at}: {what}")).collect();
        let approves = self.requirement.step_ups().any(|asked| !asked.approved_fields().is_empty());
        if approves && route.is_some_and(|(method, _)| method == "GET") {
            list.push("  approving(..) is for fields of a body, and a GET has none".to_owned());
        }
        if list.is_empty() {
            return;
        }
        let route = route.map(|(method, path)| format!(" of {method} {path}")).unwrap_or_default();
        panic!("the guard{route} is written wrongly:\n{}", list.join("\n"))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.requirement.fmt(f)?;
        if self.activity == Activity::Background {
            f.write_str(", background")?;
        }
        Ok(())
    }
}

/// A [`Policy`] with its resolvers, one for each question of the requirement, in their order. `R` is an adapter's type: how it
/// asks the host for the parent of a request's object.
///
/// The one place where requirements and resolvers are put together, so that none is asked another one's question. What a host can write
/// wrongly in it is kept until the guard is put on a route: [`Policy::must_be_right`].
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

    /// To hold one of these roles. A name that no role can have, and none at all, are mistakes.
    #[track_caller]
    pub fn role<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        let names: Vec<Cow<'static, str>> = names.into_iter().map(Into::into).collect();
        let mut mistakes: Vec<String> = names.iter().filter_map(|name| no_role(name)).collect();
        if names.is_empty() {
            mistakes.push("requires_role(..) names no role: nobody would pass".to_owned());
        }
        let rule = Self::new(Requirement::AnyRole(names), Vec::new());
        rule.with_mistakes(mistakes, Location::caller())
    }

    /// To have the parent of the object that the resolver finds.
    pub fn parent(resolver: R) -> Self {
        Self::new(Requirement::SameParent, vec![resolver])
    }

    /// To have the parent with this key. A text that is none is a mistake.
    #[track_caller]
    pub fn parent_key(key: &str) -> Self {
        match ParentKey::parse(key) {
            Ok(key) => Self::new(Requirement::Parent(key), Vec::new()),
            Err(_) => Self::nobody(
                format!(
                    "`{key}` is no parent's key: lower-case letters, digits and inner hyphens, at most 63"
                ),
                Location::caller(),
            ),
        }
    }

    /// To have proved lately, for this purpose alone, who one is. A name that is no purpose of a service is a mistake.
    #[track_caller]
    pub fn step_up(purpose: impl TryInto<Purpose, Error: fmt::Display>) -> Self {
        match purpose.try_into() {
            Ok(purpose) => Self::new(Requirement::StepUp(StepUp::new(purpose)), Vec::new()),
            Err(error) => Self::nobody(error.to_string(), Location::caller()),
        }
    }

    /// How old the proofs of its step-ups may be: from a second to an hour.
    #[track_caller]
    pub fn within(self, age: Duration) -> Self {
        let wrong = (age < Duration::from_secs(1) || age > MOST_WITHIN)
            .then(|| format!("within({age:?}): a proof may be a second to an hour old"));
        let rule = self.map_step_ups("within", |asked| asked.within(age), Location::caller());
        rule.with_mistakes(wrong, Location::caller())
    }

    /// By which factors alone its step-ups are met.
    #[track_caller]
    pub fn factors(self, methods: impl IntoIterator<Item = impl Into<ProofMethod>>) -> Self {
        let kinds: Vec<ProofMethod> = methods.into_iter().map(Into::into).collect();
        self.map_step_ups("factors", |asked| asked.factors(kinds.iter().copied()), Location::caller())
    }

    /// That each proof for its step-ups is good for one request.
    #[track_caller]
    pub fn once(self) -> Self {
        self.map_step_ups("once", StepUp::once, Location::caller())
    }

    /// The fields of a request whose values the proofs for its step-ups are good for. A name that no field can have, one that is there
    /// twice, and none at all are mistakes.
    ///
    /// Values are those of an url-encoded form, or of the members of a JSON object itself: a text as such, all else as it is written, so that
    /// `100`, `100.0` and `1e2` are three values, `null` is one, and what is nested keeps its spaces. A text that could be taken for JSON
    /// keeps its quotation marks. A field that is missing, that a form repeats, that is longer than 1,024 bytes, or that has what
    /// can't be seen is 422; a body that is neither, or that says a member twice, is 415.
    #[track_caller]
    pub fn approving(self, fields: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        let fields: Vec<Cow<'static, str>> = fields.into_iter().map(Into::into).collect();
        let mistakes = no_fields(&fields);
        let rule = self.map_step_ups(
            "approving",
            |asked| asked.approving(fields.iter().cloned()),
            Location::caller(),
        );
        rule.with_mistakes(mistakes, Location::caller())
    }

    /// Any of these. What one of them says about activity goes for all; what it hides stays its own.
    pub fn any_of(rules: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::new(Requirement::AnyOf(Vec::new()), Vec::new());
        let mut requirements = Vec::new();
        for rule in rules {
            requirements.push(all.take_in(rule));
        }
        all.policy.requirement = Arc::new(Requirement::AnyOf(requirements));
        all
    }

    /// Both. What one of them says about activity goes for both; what it hides stays its own.
    pub fn and(mut self, other: Self) -> Self {
        let other = self.take_in(other);
        self.map(|own| own.and(other))
    }

    /// This, or to administer the whole platform.
    pub fn or_platform_admin(self) -> Self {
        self.map(Requirement::or_platform_admin)
    }

    /// Refuses people who are signed in, and don't meet what was written so far, as if nothing were there. What is added later hides
    /// nothing by it.
    pub fn hide(self) -> Self {
        self.map(Requirement::hide)
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
        Self { policy: Policy { requirement, activity: Activity::Active, mistakes: Vec::new() }, resolvers }
    }

    /// Should it ever guard something, nobody passes.
    fn nobody(mistake: String, at: &'static Location<'static>) -> Self {
        Self::new(Requirement::AnyOf(Vec::new()), Vec::new()).with_mistakes([mistake], at)
    }

    fn with_mistakes(
        mut self,
        mistakes: impl IntoIterator<Item = String>,
        at: &'static Location<'static>,
    ) -> Self {
        self.policy.mistakes.extend(mistakes.into_iter().map(|what| Mistake { what, at }));
        self
    }

    /// Takes everything over but the requirement, which is given back.
    fn take_in(&mut self, other: Self) -> Requirement {
        if other.policy.activity == Activity::Background {
            self.policy.activity = Activity::Background;
        }
        self.policy.mistakes.extend(other.policy.mistakes);
        self.resolvers.extend(other.resolvers);
        Arc::unwrap_or_clone(other.policy.requirement)
    }

    fn map(mut self, change: impl FnOnce(Requirement) -> Requirement) -> Self {
        self.policy.requirement = Arc::new(change(Arc::unwrap_or_clone(self.policy.requirement)));
        self
    }

    /// What is said of step-ups where there is none would be lost without a word, unless the one that was there is a mistake already.
    fn map_step_ups(
        self,
        what: &str,
        change: impl Fn(StepUp) -> StepUp,
        at: &'static Location<'static>,
    ) -> Self {
        let is_lost = self.policy.requirement.step_ups().next().is_none() && self.policy.mistakes.is_empty();
        let lost = is_lost
            .then(|| format!("{what}(..) belongs behind requires_step_up(..): there is none before it"));
        self.map(|requirement| in_step_ups(requirement, &change)).with_mistakes(lost, at)
    }
}

/// What is wrong with a role's name, if something is.
fn no_role(name: &str) -> Option<String> {
    match RoleName::parse(name) {
        Err(_) => Some(format!("`{name}` can't be a role's name: letters, digits and `_ . : -`, at most 64")),
        Ok(role) if role.is_reserved() && AdministratorScope::of_role(&role).is_none() => {
            Some(format!("`{name}` is held by nobody: names that begin with `iam:` are reserved"))
        }
        Ok(_) => None,
    }
}

/// What is wrong with the names of fields that are to be approved.
fn no_fields(fields: &[Cow<'static, str>]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let wrong = fields.iter().filter_map(|field| {
        let unseen = field.trim() != field || !field.chars().all(is_seen);
        if field.is_empty() || field.len() > MOST_FIELD_NAME || unseen {
            Some(format!(
                "approving({field:?}): no field has this name, which is 1 to {MOST_FIELD_NAME} bytes of what can be seen"
            ))
        } else if field == "csrf_token" {
            Some("approving(\"csrf_token\"): it is another one in each page, and approves nothing".to_owned())
        } else if !known.insert(field) {
            Some(format!("approving({field:?}): it is named twice"))
        } else {
            None
        }
    });
    let mut wrong: Vec<String> = wrong.collect();
    if fields.is_empty() {
        wrong.push("approving(..) names no field: a proof would be good for any".to_owned());
    }
    wrong
}

fn in_step_ups(requirement: Requirement, change: &impl Fn(StepUp) -> StepUp) -> Requirement {
    match requirement {
        Requirement::StepUp(asked) => Requirement::StepUp(change(asked)),
        Requirement::Hidden(what) => in_step_ups(*what, change).hide(),
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
    fn a_part_hides_itself_and_keeps_the_whole_awake() {
        let text = |rule: Rule<()>| rule.policy().to_string();
        assert_eq!(text(Rule::login().hide().background()), "signed in, hidden, background");
        assert_eq!(
            text(Rule::login().background().and(Rule::role(["a"]).hide())),
            "all of (signed in; role a, hidden), background"
        );
        assert_eq!(
            text(Rule::any_of([Rule::login(), Rule::login().hide()])),
            "any of (signed in; signed in, hidden)"
        );
        assert_eq!(text(Rule::login().and(Rule::role(["a"])).hide()), "all of (signed in; role a), hidden");
        assert_eq!(text(Rule::any_of([])), "nobody");
        assert_eq!(
            text(Rule::parent(()).and(Rule::step_up("pay")).hide().once()),
            "all of (same parent; step-up for pay within 300 s, once), hidden",
            "step-ups are found in what hides"
        );
    }

    fn mistakes(rule: &Rule<()>) -> Vec<&str> {
        rule.policy().mistakes.iter().map(|mistake| mistake.what.as_str()).collect()
    }

    #[test]
    fn what_would_refuse_everybody_or_guard_less_than_it_says_is_a_mistake() {
        let pay = || Rule::<()>::step_up("pay");
        let hours = Duration::from_hours;
        for (rule, begins) in [
            (Rule::step_up("Pay Out"), "`Pay Out` is no purpose"),
            (Rule::step_up(""), "`` is no purpose"),
            (Rule::step_up("iam:enrol"), "`iam:enrol` is no purpose"),
            (Rule::step_up("sign_in"), "`sign_in` is no purpose"),
            (Rule::step_up("Pay Out").once().within(hours(1)), "`Pay Out` is no purpose"),
            (Rule::role(["Has Space"]), "`Has Space` can't be a role's name"),
            (Rule::role([""; 0]), "requires_role(..) names no role"),
            (Rule::role(["admin", ""]), "`` can't be a role's name"),
            (Rule::role(["a".repeat(65)]), "`aaaaaaaaaaaa"),
            (Rule::role(["iam:auditor"]), "`iam:auditor` is held by nobody"),
            (Rule::role(["IAM:platform-admin"]), "`IAM:platform-admin` is held by nobody"),
            (Rule::parent_key("Acme Inc"), "`Acme Inc` is no parent's key"),
            (pay().within(Duration::ZERO), "within(0ns)"),
            (pay().within(Duration::from_millis(999)), "within(999ms)"),
            (pay().within(hours(1) + Duration::from_nanos(1)), "within(3600.000000001s)"),
            (pay().approving([""; 0]), "approving(..) names no field"),
            (pay().approving([""]), "approving(\"\")"),
            (pay().approving(["amount "]), "approving(\"amount \")"),
            (pay().approving(["a\u{200b}b"]), "approving(\"a\\u{200b}b\")"),
            (pay().approving(["x".repeat(129)]), "approving(\"xxx"),
            (pay().approving(["amount", "amount"]), "approving(\"amount\"): it is named twice"),
            (pay().approving(["csrf_token"]), "approving(\"csrf_token\")"),
            (Rule::login().within(hours(1)), "within(..) belongs behind requires_step_up"),
            (Rule::login().once(), "once(..) belongs behind"),
            (Rule::login().factors([ProofMethod::Totp]), "factors(..) belongs behind"),
            (Rule::login().approving(["amount"]), "approving(..) belongs behind"),
            // Nothing is lost on the way to the route.
            (Rule::login().and(Rule::step_up("Pay Out")), "`Pay Out` is no purpose"),
            (Rule::any_of([Rule::login(), Rule::role(["a b"]).hide()]).or_platform_admin(), "`a b` can't be"),
        ] {
            let found = mistakes(&rule);
            assert!(matches!(found[..], [one] if one.starts_with(begins)), "{begins}: {found:?}");
        }
        for rule in [
            Rule::role(["admin", "iam:platform-admin", "iam:parent-admin", "Sales_EU.lead"]),
            Rule::any_of([]),
            Rule::parent_key("acme-1"),
            Rule::step_up(Purpose::of("pay")),
            pay().within(Duration::from_secs(1)).within(hours(1)),
            pay().factors([ProofMethod::Totp; 0]).once().approving([
                "amount",
                "Pay to",
                "address[city]",
                "\u{e9}",
            ]),
            pay().hide().once(),
        ] {
            assert_eq!(mistakes(&rule), [""; 0], "{rule:?}");
            rule.policy().must_be_right(None);
        }
    }

    #[test]
    #[should_panic(
        expected = "the guard of GET /pay is written wrongly:\n  approving(..) is for fields of a body"
    )]
    fn nothing_is_approved_by_a_get() {
        let policy = Rule::<()>::step_up("pay").approving(["amount"]).and(Rule::login());
        policy.policy().must_be_right(Some(("POST", "/pay")));
        policy.policy().must_be_right(Some(("GET", "/pay")));
    }

    #[test]
    #[should_panic(expected = "the guard of POST /pay is written wrongly:\n  iam-web/src/rule.rs:")]
    fn a_mistake_stops_the_program_and_says_where_it_is() {
        Rule::<()>::step_up("Pay Out").policy().must_be_right(Some(("POST", "/pay")));
    }
}
