//! Why somebody may pass, or may not: each rule with what the account has for it. For whoever runs the service, and for hosts; it is
//! no decision, and nothing opens by it.

use std::fmt;

use crate::authz::requirement::Requirement;
use crate::authz::standing::{RequiredBy, factor_demands};
use crate::authz::step_up::StepUp;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::factor::challenge::ChallengePurpose;
use crate::iam::Accounts;
use crate::model::account::AccountStatus;
use crate::model::error::Error;
use crate::model::long_sessions::LongSessions;
use crate::model::parent::{Parent, ParentStatus};
use crate::model::policy::FactorPolicy;
use crate::model::proof::ProofMethod;
use crate::model::session::RoleOfAccount;

/// Whether a rule is met by an account. Of *all* the least counts, of *any* the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Met {
    /// It is not, whatever is asked for.
    No,
    /// It depends on the request: on its object, or on a fresh proof that can be given for it.
    ByRequest,
    /// It is, once they are signed in.
    Yes,
}

/// As a list of rules begins its lines.
impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::No => "FAIL",
            Self::ByRequest => "depends",
            Self::Yes => "pass",
        })
    }
}

/// A rule, and what an account has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleCheck {
    /// How deep the rule lies in others: those of the account itself, and the requirement as a whole, at zero.
    pub depth: usize,
    /// The rule, in words.
    pub rule: String,
    /// Its kind, for programs. It stays what it is: `account_active`, `parent_active`, `second_factor_required` and (where there are long
    /// sessions; it refuses nobody) `long_sessions`, which are the account's own; `signed_in`, `role`, `same_parent`, `parent`, `step_up`,
    /// `all_of` and `any_of`, which are a requirement's. What hides keeps its kind: the rule's words end with `, hidden`.
    pub code: &'static str,
    /// Whether it is met.
    pub met: Met,
    /// Why, in words.
    pub because: String,
}

/// What becomes of an account at a requirement, rule by rule. Shown with a line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The account's own rules, then the requirement and all in it, as it is written.
    pub rules: Vec<RuleCheck>,
    /// What it comes to.
    pub verdict: Met,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RuleCheck { depth, rule, met, because, .. } in &self.rules {
            writeln!(f, "{met:7}  {:indent$}{rule}: {because}", "", indent = depth * 2)?;
        }
        f.write_str(match self.verdict {
            Met::No => "verdict: may not pass",
            Met::ByRequest => "verdict: may pass, depending on the request",
            Met::Yes => "verdict: may pass",
        })
    }
}

impl Accounts<'_> {
    /// What an account has for each rule of a requirement, and for those that hold everywhere: its status, its parent's, and whether it
    /// must have a second factor. It agrees with [`Requirement::decide`] on whoever is signed in with that account; sessions and limits
    /// are not looked at. Roles whose time is over don't count, and are named.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an account that does not exist, or of which the actor does not administer the parent.
    pub async fn explain(self, account: AccountId, requirement: &Requirement) -> Result<Explanation, Error> {
        let store = &self.iam.inner.store;
        let known = store.reader().await?.accounts().by_id(account).await?;
        let known = known.filter(|known| self.sees(known)).ok_or(Error::NotFound("account"))?;
        let parent = match known.parent {
            Some(id) => {
                Some(store.reader().await?.parents().by_id(id).await?.ok_or(Error::NotFound("parent"))?)
            }
            None => None,
        };
        let (roles, methods) = (
            store.reader().await?.roles().of_account(account).await?,
            store.reader().await?.methods().of_account(account).await?,
        );
        let policy = &self.iam.inner.factor_policy;
        let mut at_sign_in = self.iam.usable_kinds(account, &methods, ChallengePurpose::SignIn).await?;
        at_sign_in.retain(|method| method.factor().is_some_and(|kind| policy.is_satisfied_by(kind)));
        let (by_policy, mut step_ups) = (policy.step_up_methods(), Vec::new());
        for asked in requirement.step_ups() {
            let purpose = ChallengePurpose::StepUp(asked.purpose());
            let usable = self.iam.usable_kinds(account, &methods, purpose).await?;
            step_ups.push(Proofs::of(asked, &by_policy, &usable));
        }
        let has = Holdings {
            status: known.status,
            created_at: known.created_at,
            parent,
            roles,
            at_sign_in,
            step_ups,
            policy: policy.clone(),
            long: self.iam.inner.long_sessions.clone(),
            now: self.iam.now(),
        };
        Ok(has.explain(requirement))
    }
}

/// What an account has, as of a moment.
struct Holdings {
    status: AccountStatus,
    created_at: Timestamp,
    parent: Option<Parent>,
    roles: Vec<RoleOfAccount>,
    /// The factors that it can prove and that satisfy a requirement of one.
    at_sign_in: Vec<ProofMethod>,
    /// For each step-up of the requirement, as numbered there.
    step_ups: Vec<Proofs>,
    policy: FactorPolicy,
    long: Option<LongSessions>,
    now: Timestamp,
}

/// By what a step-up can be met.
struct Proofs {
    /// What counts and can be proved ...
    has: Vec<ProofMethod>,
    /// ... and what counts and can't.
    lacks: Vec<ProofMethod>,
}

impl Proofs {
    fn of(asked: &StepUp, by_policy: &[ProofMethod], usable: &[ProofMethod]) -> Self {
        let (has, lacks) = asked.accepted(by_policy).iter().partition(|kind| usable.contains(kind));
        Self { has, lacks }
    }
}

impl Holdings {
    fn explain(&self, requirement: &Requirement) -> Explanation {
        let mut rules = vec![self.account_active(), self.parent_active(), self.second_factor_required()];
        rules.extend(self.long.as_ref().map(|long| self.long_sessions(long)));
        self.check(requirement, 0, &mut 0, &mut rules);
        let verdict = rules.iter().filter(|rule| rule.depth == 0).map(|rule| rule.met).min();
        Explanation { verdict: verdict.unwrap_or(Met::No), rules }
    }

    fn account_active(&self) -> RuleCheck {
        let met = yes_or_no(self.status == AccountStatus::Active);
        own_rule("account active", "account_active", met, format!("it is {}", self.status.as_str()))
    }

    fn parent_active(&self) -> RuleCheck {
        let (active, because) = match &self.parent {
            None => (true, "it belongs to no parent".to_owned()),
            Some(parent) => (
                parent.status == ParentStatus::Active,
                format!("its parent {} is {}", parent.key, parent.status.as_str()),
            ),
        };
        own_rule("parent active", "parent_active", yes_or_no(active), because)
    }

    /// It says whether the account may stay signed in; whether it passes does not hang on that.
    fn long_sessions(&self, long: &LongSessions) -> RuleCheck {
        let held = self.roles.iter().filter(|role| role.counts(self.now)).map(|role| role.name.as_str());
        let because = match long
            .why(&held.collect::<Vec<_>>(), self.parent.as_ref().map(|parent| &parent.key))
        {
            Ok(why) => {
                let days = |time: std::time::Duration| time.as_secs().div_ceil(86_400);
                format!("it may, {why}: {} days unused, {} in all", days(long.idle()), days(long.absolute()))
            }
            Err(why) => format!("it may not: {why}"),
        };
        own_rule("stays signed in", "long_sessions", Met::Yes, because)
    }

    fn second_factor_required(&self) -> RuleCheck {
        let by_parent = self.parent.as_ref().and_then(|parent| parent.factor_required);
        let mut demands: Vec<_> =
            factor_demands(&self.policy, by_parent, self.created_at, &self.roles, self.now).collect();
        demands.sort_by_key(|(_, due_at)| *due_at);
        let words: Vec<String> = demands
            .iter()
            .map(|(by, due_at)| match (by, &self.parent) {
                (RequiredBy::Service, _) => format!("of everybody (due {due_at})"),
                (RequiredBy::Role(name), _) => format!("by role {name} (due {due_at})"),
                (RequiredBy::Parent, Some(parent)) => format!("by parent {} (due {due_at})", parent.key),
                (RequiredBy::Parent, None) => format!("(due {due_at})"),
            })
            .collect();
        let (met, because) = match demands.first() {
            None => (Met::Yes, "required by no role of its, and not by its parent".to_owned()),
            Some((_, due_at)) => {
                let required = format!("required {}", words.join(" and "));
                if !self.at_sign_in.is_empty() {
                    (Met::Yes, format!("{required}, and it has {}", names(&self.at_sign_in, " and ")))
                } else if self.now < *due_at {
                    (Met::Yes, format!("{required}; it has none that counts, and is let pass until then"))
                } else {
                    (Met::No, format!("{required}, and it has none that counts"))
                }
            }
        };
        own_rule("second factor", "second_factor_required", met, because)
    }

    /// Adds what a requirement and all in it come to, from the outside to the inside. `next` is the number of the next step-up, counted
    /// as [`Requirement::decide`] counts them.
    fn check(
        &self,
        requirement: &Requirement,
        depth: usize,
        next: &mut usize,
        rules: &mut Vec<RuleCheck>,
    ) -> Met {
        let (code, met, because) = match requirement {
            Requirement::SignedIn => ("signed_in", Met::Yes, "once it is".to_owned()),
            Requirement::AnyRole(asked) => {
                let (met, because) = self.any_role(asked);
                ("role", met, because)
            }
            Requirement::SameParent => {
                let (met, because) = match &self.parent {
                    None => (Met::No, "it belongs to no parent".to_owned()),
                    Some(parent) => {
                        (Met::ByRequest, format!("the object of the request must belong to {}", parent.key))
                    }
                };
                ("same_parent", met, because)
            }
            Requirement::Parent(asked) => {
                let (met, because) = match &self.parent {
                    None => (Met::No, "it belongs to no parent".to_owned()),
                    Some(parent) => {
                        (yes_or_no(parent.key == *asked), format!("it belongs to {}", parent.key))
                    }
                };
                ("parent", met, because)
            }
            Requirement::Hidden(what) => {
                let place = rules.len();
                let met = self.check(what, depth, next, rules);
                if let Some(rule) = rules.get_mut(place) {
                    rule.rule.push_str(", hidden");
                }
                return met;
            }
            Requirement::StepUp(asked) => {
                let (met, because) = fresh_proof(asked, self.step_ups.get(*next));
                *next += 1;
                ("step_up", met, because)
            }
            Requirement::All(parts) | Requirement::AnyOf(parts) => {
                let is_all = matches!(requirement, Requirement::All(_));
                let (rule, code) = if is_all { ("all of", "all_of") } else { ("any of", "any_of") };
                let place = rules.len();
                let met: Vec<Met> = {
                    let mut inside = Vec::new();
                    let met =
                        parts.iter().map(|part| self.check(part, depth + 1, next, &mut inside)).collect();
                    rules.append(&mut inside);
                    met
                };
                let (met, because) = combined(is_all, &met);
                rules.insert(place, RuleCheck { depth, rule: rule.to_owned(), code, met, because });
                return met;
            }
        };
        rules.push(RuleCheck { depth, rule: requirement.to_string(), code, met, because });
        met
    }

    fn any_role(&self, asked: &[impl AsRef<str>]) -> (Met, String) {
        let is_asked = |role: &&RoleOfAccount| asked.iter().any(|name| name.as_ref() == role.name.as_str());
        let (held, over): (Vec<_>, Vec<_>) = self.roles.iter().partition(|role| role.counts(self.now));
        let names = |roles: &[&RoleOfAccount]| {
            roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(" and ")
        };
        if asked.is_empty() {
            return (Met::No, "without a role that is asked for nobody passes".to_owned());
        }
        let good: Vec<_> = held.iter().copied().filter(is_asked).collect();
        if !good.is_empty() {
            return (Met::Yes, format!("it holds {}", names(&good)));
        }
        let mut because = vec![if held.is_empty() {
            "it holds no role".to_owned()
        } else {
            format!("it holds {}", names(&held))
        }];
        let expired = |role: &RoleOfAccount| Some(format!("{} expired {}", role.name, role.expires_at?));
        because.extend(over.into_iter().filter(is_asked).filter_map(expired));
        (Met::No, because.join("; "))
    }
}

fn fresh_proof(asked: &StepUp, proofs: Option<&Proofs>) -> (Met, String) {
    let seconds = asked.max_age().as_secs();
    match proofs {
        Some(Proofs { has, .. }) if !has.is_empty() => {
            (Met::ByRequest, format!("needs a fresh proof by {} within {seconds} s", names(has, " or ")))
        }
        Some(Proofs { lacks, .. }) if !lacks.is_empty() => {
            (Met::No, format!("needs a fresh proof, and has no {} to give it by", names(lacks, " or ")))
        }
        _ => (Met::No, "no factor counts for it: nobody passes".to_owned()),
    }
}

/// As the guard does: of *all* the least counts, of *any* the most, and of nothing comes nothing.
fn combined(is_all: bool, parts: &[Met]) -> (Met, String) {
    let met = if is_all { parts.iter().min() } else { parts.iter().max() };
    let Some(met) = met.copied() else {
        return (Met::No, "without anything that is asked for nobody passes".to_owned());
    };
    let (so, all) = (parts.iter().filter(|part| **part == met).count(), parts.len());
    let verb = match (met, so) {
        (Met::Yes, 1) => "passes",
        (Met::Yes, _) => "pass",
        (Met::ByRequest, 1) => "depends on the request",
        (Met::ByRequest, _) => "depend on the request",
        (Met::No, 1) => "fails",
        (Met::No, _) => "fail",
    };
    (met, format!("{so} of {all} {verb}"))
}

fn own_rule(rule: &str, code: &'static str, met: Met, because: String) -> RuleCheck {
    RuleCheck { depth: 0, rule: rule.to_owned(), code, met, because }
}

fn yes_or_no(met: bool) -> Met {
    if met { Met::Yes } else { Met::No }
}

fn names(kinds: &[ProofMethod], between: &str) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::authz::credential::{Credential, DailyToken, SessionFacts};
    use crate::authz::principal::Principal;
    use crate::authz::requirement::{Decision, Facts, Step};
    use crate::base::id::{ParentId, SessionId, StepUpProofId};
    use crate::model::account::{AuthVersion, Username};
    use crate::model::parent::ParentKey;
    use crate::model::policy::FactorRequirement;
    use crate::model::purpose::Purpose;
    use crate::model::role::{PLATFORM_ADMIN, RoleName};
    use crate::model::step_up_proof::StepUpProof;

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    /// What counts for step-up where a route names nothing.
    const BY_POLICY: [ProofMethod; 1] = [ProofMethod::Totp];

    fn after(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn parent(n: u8) -> Parent {
        Parent::new(ParentId::from_bytes([n; 16]), ParentKey::parse("acme").unwrap())
    }

    fn role(name: &str, expires_at: Option<Timestamp>) -> RoleOfAccount {
        RoleOfAccount {
            name: RoleName::parse(name).unwrap(),
            granted_at: NOW,
            expires_at,
            factor_required: None,
        }
    }

    fn asked(purpose: &str) -> StepUp {
        StepUp::new(Purpose::parse(purpose).unwrap())
    }

    /// Somebody without a parent, roles or factors, before a requirement.
    fn holdings(requirement: &Requirement, usable: &[ProofMethod]) -> Holdings {
        Holdings {
            status: AccountStatus::Active,
            created_at: NOW,
            parent: None,
            roles: vec![],
            at_sign_in: vec![],
            step_ups: requirement.step_ups().map(|asked| Proofs::of(asked, &BY_POLICY, usable)).collect(),
            policy: FactorPolicy::default(),
            long: None,
            now: NOW,
        }
    }

    fn any_role(names: &[&'static str]) -> Requirement {
        Requirement::AnyRole(names.iter().map(|name| (*name).into()).collect())
    }

    fn lines(has: &Holdings, requirement: &Requirement) -> Vec<String> {
        has.explain(requirement).to_string().lines().skip(3).map(str::to_owned).collect()
    }

    #[test]
    fn each_rule_has_a_line() {
        let payroll = asked("payroll").within(Duration::from_mins(2));
        let requirement = Requirement::AnyOf(vec![any_role(&["auditor"]), Requirement::SameParent])
            .and(Requirement::StepUp(payroll));
        let mut has = holdings(&requirement, &[ProofMethod::Totp]);
        has.parent = Some(parent(1));
        has.roles = vec![role("clerk", None), role("auditor", Some(NOW))];
        let explanation = has.explain(&requirement);
        assert_eq!(
            explanation.to_string(),
            "pass     account active: it is active\n\
             pass     parent active: its parent acme is active\n\
             pass     second factor: required by no role of its, and not by its parent\n\
             depends  all of: 2 of 2 depend on the request\n\
             depends    any of: 1 of 2 depends on the request\n\
             FAIL         role auditor: it holds clerk; auditor expired 2026-01-01T00:00:00.000000Z\n\
             depends      same parent: the object of the request must belong to acme\n\
             depends    step-up for payroll within 120 s: needs a fresh proof by totp within 120 s\n\
             verdict: may pass, depending on the request"
        );
        let codes: Vec<_> = explanation.rules.iter().map(|rule| rule.code).collect();
        assert_eq!(
            codes,
            [
                "account_active",
                "parent_active",
                "second_factor_required",
                "all_of",
                "any_of",
                "role",
                "same_parent",
                "step_up"
            ]
        );
    }

    #[test]
    fn who_may_stay_signed_in_is_said_where_anybody_may() {
        let mut has = holdings(&Requirement::SignedIn, &[]);
        let day = std::time::Duration::from_hours(24);
        has.long = Some(LongSessions::new(30 * day, 90 * day).for_role("clerk"));
        let said = |has: &Holdings| lines(has, &Requirement::SignedIn)[0].clone();
        let (none, some) = (vec![], vec![role("clerk", None)]);
        let administrator = vec![role("clerk", None), role(PLATFORM_ADMIN, None)];
        for (roles, because) in [
            (none, "it may not: it holds no role, and is of no parent, that is named"),
            (some, "it may, by role clerk: 30 days unused, 90 in all"),
            (administrator, "it may not: it holds iam:platform-admin"),
        ] {
            has.roles = roles;
            assert_eq!(said(&has), format!("pass     stays signed in: {because}"));
            assert_eq!(has.explain(&Requirement::SignedIn).verdict, Met::Yes);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let of_nobody = |requirement: &Requirement| lines(&holdings(requirement, &[]), requirement);
        for (requirement, line) in [
            (Requirement::SignedIn, "pass     signed in: once it is"),
            (any_role(&["a", "b"]), "FAIL     role a or b: it holds no role"),
            (any_role(&[]), "FAIL     nobody: without a role that is asked for nobody passes"),
            (Requirement::SameParent, "FAIL     same parent: it belongs to no parent"),
            (Requirement::SameParent.hide(), "FAIL     same parent, hidden: it belongs to no parent"),
            (any_role(&["a"]).and(any_role(&["b"])).hide(), "FAIL     all of, hidden: 2 of 2 fail"),
            (
                Requirement::Parent(ParentKey::parse("acme").unwrap()),
                "FAIL     parent acme: it belongs to no parent",
            ),
            (Requirement::AnyOf(vec![]), "FAIL     any of: without anything that is asked for nobody passes"),
            (
                Requirement::StepUp(asked("p").factors([ProofMethod::Totp, ProofMethod::SmsOtp])),
                "FAIL     step-up for p within 300 s by totp or sms_otp: needs a fresh proof, and has no totp or sms_otp to give it by",
            ),
            (
                Requirement::StepUp(asked("p").factors([ProofMethod::Totp; 0])),
                "FAIL     step-up for p within 300 s by nothing: no factor counts for it: nobody passes",
            ),
        ] {
            assert_eq!(of_nobody(&requirement)[0], line);
        }
    }

    #[test]
    fn step_ups_keep_their_numbers() {
        let by = |kind| Requirement::StepUp(asked("p").factors([kind]));
        let requirement = Requirement::AnyOf(vec![
            by(ProofMethod::SmsOtp).and(Requirement::SignedIn),
            Requirement::SameParent,
            by(ProofMethod::Totp),
        ]);
        let has = holdings(&requirement, &[ProofMethod::Totp]);
        let met: Vec<_> = has.explain(&requirement).rules.into_iter().skip(3).map(|rule| rule.met).collect();
        assert_eq!(met, [Met::ByRequest, Met::No, Met::No, Met::Yes, Met::No, Met::ByRequest]);
    }

    #[test]
    fn the_accounts_own_rules_come_first_and_are_worth_as_much() {
        let verdict = |change: &dyn Fn(&mut Holdings)| {
            let mut has = holdings(&Requirement::SignedIn, &[]);
            change(&mut has);
            let explanation = has.explain(&Requirement::SignedIn);
            let failing = explanation.rules.iter().find(|rule| rule.met == Met::No);
            (explanation.verdict, failing.map(|rule| format!("{}: {}", rule.code, rule.because)))
        };
        let fails = |because: &str| (Met::No, Some(because.to_owned()));
        assert_eq!(verdict(&|_| {}), (Met::Yes, None));
        assert_eq!(verdict(&|has| has.status = AccountStatus::Locked), fails("account_active: it is locked"));
        assert_eq!(
            verdict(&|has| has.parent = Some(Parent { status: ParentStatus::Suspended, ..parent(1) })),
            fails("parent_active: its parent acme is suspended")
        );
        let required = |grace| Some(FactorRequirement { since: NOW, grace: Duration::from_secs(grace) });
        let of_role = |grace, expires_at| RoleOfAccount {
            factor_required: required(grace),
            ..role("admin", expires_at)
        };
        assert_eq!(
            verdict(&|has| has.roles = vec![of_role(0, None)]),
            fails(
                "second_factor_required: required by role admin (due 2026-01-01T00:00:00.000000Z), and it has none that counts"
            )
        );
        assert_eq!(verdict(&|has| has.roles = vec![of_role(0, Some(NOW))]), (Met::Yes, None), "it is over");
        assert_eq!(verdict(&|has| has.roles = vec![of_role(1, None)]), (Met::Yes, None), "it has time");
        let has_one = |has: &mut Holdings| {
            has.roles = vec![of_role(0, None)];
            has.at_sign_in = vec![ProofMethod::Totp];
        };
        assert_eq!(verdict(&has_one), (Met::Yes, None));
        assert_eq!(
            verdict(&|has| has.policy.required_of_everybody = true),
            fails(
                "second_factor_required: required of everybody (due 2026-01-01T00:00:00.000000Z), and it has none that counts"
            )
        );
        // Of two the earlier decides; both are named.
        let both = |has: &mut Holdings| {
            has.roles = vec![of_role(60, None)];
            has.parent = Some(Parent { factor_required: required(0), ..parent(1) });
        };
        assert_eq!(
            verdict(&both),
            fails(
                "second_factor_required: required by parent acme (due 2026-01-01T00:00:00.000000Z) and by role admin (due \
                 2026-01-01T00:01:00.000000Z), and it has none that counts"
            )
        );
    }

    /// The same person, signed in.
    fn principal(has: &Holdings, step_up_proofs: Vec<StepUpProof>) -> Principal {
        Principal {
            account: AccountId::from_bytes([1; 16]),
            username: Username::parse("alice").unwrap(),
            external_id: None,
            parent: has.parent.as_ref().map(|parent| (parent.id, parent.key.clone())),
            roles: has.roles.iter().filter(|role| role.counts(NOW)).map(|role| role.name.clone()).collect(),
            auth_version: AuthVersion::FIRST,
            credential: Credential::Session(SessionFacts {
                id: SessionId::from_bytes([2; 16]),
                signed_in_at: NOW,
                proofs: crate::model::proof::Proofs::default(),
                factor_due_at: None,
                step_up_proofs,
                lapsed_at: None,
                stays_until: None,
                daily_token: DailyToken::default(),
            }),
            as_of: NOW,
        }
    }

    fn proof(purpose: &str, kind: ProofMethod) -> StepUpProof {
        StepUpProof {
            id: StepUpProofId::from_bytes([u8::try_from(purpose.len()).unwrap(); 16]),
            account: AccountId::from_bytes([1; 16]),
            parent: None,
            auth_version: AuthVersion::FIRST,
            purpose: Purpose::parse(purpose).unwrap(),
            kind,
            proved_at: NOW,
            approval: None,
        }
    }

    /// What the guard decides when each object has the parent that is answered for its question.
    fn decided(
        requirement: &Requirement,
        who: &Principal,
        parent: impl Fn(usize) -> Option<ParentId>,
    ) -> Decision {
        let mut facts = Facts::default().step_up_by(BY_POLICY);
        loop {
            match requirement.decide(Some(who), &facts) {
                Step::Done(decision) => return decision,
                Step::NeedObjectParent(question) => facts.answer(question, parent(question)),
                Step::NeedUse(proofs) => facts.note_use(&proofs, true),
                step @ Step::NeedApproval(_) => panic!("{step:?}: nothing is bound here"),
            }
        }
    }

    fn any_step_up() -> impl Strategy<Value = StepUp> {
        let named = proptest::sample::subsequence(ProofMethod::ASKED.to_vec(), 0..3);
        let purpose = proptest::sample::select(vec!["p", "pq"]);
        (purpose, proptest::option::of(named), proptest::bool::ANY).prop_map(|(purpose, named, once)| {
            let asked = asked(purpose);
            let asked = if once { asked.once() } else { asked };
            named.map_or(asked.clone(), |named| asked.factors(named))
        })
    }

    fn any_requirement() -> impl Strategy<Value = Requirement> {
        let leaf = prop_oneof![
            1 => Just(Requirement::SignedIn),
            2 => proptest::sample::subsequence(vec!["a", "b", PLATFORM_ADMIN], 0..3).prop_map(|names| any_role(&names)),
            2 => Just(Requirement::SameParent),
            1 => Just(Requirement::Parent(ParentKey::parse("acme").unwrap())),
            3 => any_step_up().prop_map(Requirement::StepUp),
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

    proptest! {
        /// Said of an account, it holds for every session of it: *no* is never allowed, *yes* always is, and what depends is allowed with
        /// all that a request can have, and refused with nothing.
        #[test]
        fn it_agrees_with_the_guard(
            requirement in any_requirement(),
            own in proptest::option::of(1_u8..3),
            held in proptest::collection::vec((proptest::sample::select(vec!["a", "b", PLATFORM_ADMIN]), 0..3_u64), 0..3),
            usable in proptest::sample::subsequence(ProofMethod::ASKED.to_vec(), 0..4),
            parents in proptest::collection::vec(proptest::option::of(1_u8..3), 16),
            proved in proptest::collection::vec(proptest::bool::ANY, 14),
        ) {
            let mut has = holdings(&requirement, &usable);
            has.parent = own.map(parent);
            has.roles = held.iter().map(|(name, until)| role(name, until.checked_sub(1).map(after))).collect();
            let verdict = has.explain(&requirement).verdict;

            let all: Vec<StepUpProof> =
                ["p", "pq"].into_iter().flat_map(|purpose| usable.iter().map(move |kind| proof(purpose, *kind))).collect();
            let some: Vec<StepUpProof> = all.iter().zip(&proved).filter(|(_, proved)| **proved).map(|(proof, _)| proof.clone()).collect();
            let own = has.parent.as_ref().map(|parent| parent.id);
            let worst = decided(&requirement, &principal(&has, vec![]), |_| None);
            let best = decided(&requirement, &principal(&has, all), |_| own);
            let any = decided(&requirement, &principal(&has, some), |question| {
                parents[question % parents.len()].map(|n| ParentId::from_bytes([n; 16]))
            });
            match verdict {
                Met::Yes => prop_assert_eq!([worst, any, best], [Decision::Allow; 3]),
                Met::ByRequest => {
                    prop_assert_ne!(worst, Decision::Allow);
                    prop_assert_eq!(best, Decision::Allow);
                }
                Met::No => {
                    let can_all_be_proved = has.step_ups.iter().all(|proofs| !proofs.has.is_empty());
                    for decision in [worst, any, best] {
                        prop_assert_ne!(decision, Decision::Allow);
                        // The guard asks for a proof that nobody can give; where each can be given, it refuses at once.
                        let is_refused = matches!(decision, Decision::Forbidden | Decision::Hidden);
                        prop_assert!(!can_all_be_proved || is_refused, "{decision:?}");
                    }
                }
            }
        }
    }
}
