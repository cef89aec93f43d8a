//! What a session is worth at a moment.

use std::time::Duration;

use crate::authz::credential::{Credential, DailyToken, SessionFacts, SessionRef};
use crate::authz::principal::Principal;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::model::account::AccountStatus;
use crate::model::long_sessions::{LongSessions, Moments, Shown};
use crate::model::parent::ParentStatus;
use crate::model::policy::{FactorPolicy, FactorRequirement};
use crate::model::role::RoleName;
use crate::model::session::{RoleOfAccount, SessionRecord, lies_ahead};
use crate::model::session_state::{EndReason, SessionPolicy, SessionState};
use crate::model::token::TokenHash;

/// A sign-in that still owes its second factor. It grants no access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub(crate) session: SessionRef,
    /// When it is over.
    pub(crate) until: Timestamp,
}

impl Pending {
    /// The account that they say they are.
    pub fn account(&self) -> AccountId {
        self.session.account
    }

    /// Its name.
    pub fn username(&self) -> &str {
        self.session.username.as_str()
    }
}

/// The rules by which a session is judged.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) sessions: &'a SessionPolicy,
    pub(crate) long: Option<&'a LongSessions>,
    pub(crate) factors: &'a FactorPolicy,
    pub(crate) pending_lifetime: Duration,
}

/// What a session is worth at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Signed in. `touch`: its use should be written down now, and with it that what was proved up to `lapses` counts no more.
    /// `factor_due`: a second factor is required, was not proved in this session, and the time to set one up is over. `first_use`: the
    /// token has replaced another one, which is dead once that is written down.
    Active {
        principal: Box<Principal>,
        touch: bool,
        lapses: Option<Timestamp>,
        factor_due: bool,
        first_use: bool,
    },
    /// The second factor is still due.
    Pending(Pending),
    /// It has just run out; nobody has written that down yet.
    RanOut(EndReason),
    /// It had ended before.
    Ended,
    /// The token is dead: its owner uses the next one, since this time.
    Replaced(Timestamp),
    /// Its account, the account's credentials or its parent changed, or it is of the future: it counts for nothing, though it may never
    /// be marked.
    Void,
}

impl SessionRecord {
    /// The one place that says whether a session counts. `shown` is the token that it was found by.
    pub(crate) fn standing(mut self, rules: &Rules<'_>, shown: &TokenHash, now: Timestamp) -> Standing {
        if self.ended.is_some() {
            return Standing::Ended;
        }
        let moments = self.moments();
        if lies_ahead(&moments, now) {
            return Standing::Void;
        }
        let long = rules.long.filter(|long| self.long && self.may_be_long(long, now));
        if self.state == SessionState::PendingSecondFactor
            && now >= self.login_at.plus(rules.pending_lifetime)
        {
            return Standing::RanOut(EndReason::Expired);
        }
        if let Some(reason) = moments.over(rules.sessions, long, now) {
            return Standing::RanOut(reason);
        }
        let parent_active = self.parent.as_ref().is_none_or(|parent| parent.status == ParentStatus::Active);
        if self.account_status != AccountStatus::Active
            || self.auth_version != self.account_auth_version
            || !parent_active
        {
            return Standing::Void;
        }
        let stays_until = long.map(|long| self.login_at.plus(long.absolute()));
        match self.state {
            SessionState::Active => {}
            SessionState::PendingSecondFactor => {
                return Standing::Pending(Pending {
                    session: SessionRef {
                        id: self.id,
                        account: self.account,
                        username: self.username,
                        parent: self.parent.map(|parent| parent.id),
                        auth_version: self.auth_version,
                        proofs: self.proofs,
                        lapsed_at: None,
                        stays_until,
                    },
                    until: self.login_at.plus(rules.pending_lifetime),
                });
            }
        }
        let (first_use, due) = match self.tokens.shown(shown, now) {
            Shown::Good { first, due } => (first, due),
            Shown::Dead(since) => return Standing::Replaced(since),
        };
        let touch_due = !self.was_touched() || now >= self.last_seen_at.plus(rules.sessions.touch_interval());
        let lapsed_at = long.map(|_| moments.proofs_lapsed_at(rules.sessions, now));
        self.forget_proofs_up_to(lapsed_at);
        let principal = self.principal(rules, now, lapsed_at, stays_until, due && long.is_some());
        Standing::Active {
            touch: touch_due && now > moments.last_seen_at,
            lapses: long.and_then(|_| moments.lapses(rules.sessions, now)),
            factor_due: principal.factor_due_at().is_some_and(|due_at| now >= due_at),
            first_use,
            principal: Box::new(principal),
        }
    }

    fn moments(&self) -> Moments {
        Moments {
            login_at: self.login_at,
            authenticated_at: self.proofs.authenticated_at().unwrap_or(self.login_at),
            second_factor_at: self.proofs.second_factor_at(),
            last_seen_at: self.last_seen_at,
            lapsed_at: self.lapsed_at,
        }
    }

    fn may_be_long(&self, long: &LongSessions, now: Timestamp) -> bool {
        let roles = self.roles.iter().filter(|role| role.counts(now)).map(|role| role.name.as_str());
        long.allows(roles, self.parent.as_ref().map(|parent| &parent.key))
    }

    /// Takes out what was proved so long ago that an ordinary session would be over.
    fn forget_proofs_up_to(&mut self, lapsed_at: Option<Timestamp>) {
        let Some(lapsed_at) = lapsed_at else { return };
        self.proofs = std::mem::take(&mut self.proofs).after(lapsed_at);
    }

    fn principal(
        self,
        rules: &Rules<'_>,
        now: Timestamp,
        lapsed_at: Option<Timestamp>,
        stays_until: Option<Timestamp>,
        token_due: bool,
    ) -> Principal {
        let factor_due_at =
            self.factor_due_at(rules.factors, now).filter(|_| !self.proofs.satisfies(rules.factors));
        let mut roles: Vec<_> =
            self.roles.into_iter().filter(|role| role.counts(now)).map(|role| role.name).collect();
        // Several sources may give the same role; they stand side by side.
        roles.dedup();
        Principal {
            account: self.account,
            username: self.username,
            external_id: self.external_id,
            parent: self.parent.map(|parent| (parent.id, parent.key)),
            roles,
            auth_version: self.auth_version,
            credential: Credential::Session(SessionFacts {
                id: self.id,
                signed_in_at: self.login_at,
                proofs: self.proofs,
                factor_due_at,
                step_up_proofs: Vec::new(),
                lapsed_at,
                stays_until,
                daily_token: DailyToken { before: self.tokens.before, is_due: token_due },
            }),
            as_of: now,
        }
    }

    /// When the account must have a second factor at the latest, if it must at all.
    fn factor_due_at(&self, policy: &FactorPolicy, now: Timestamp) -> Option<Timestamp> {
        let by_parent = self.parent.as_ref().and_then(|parent| parent.factor_required);
        let demands = factor_demands(policy, by_parent, self.account_created_at, &self.roles, now);
        demands.map(|(_, due_at)| due_at).min()
    }

    fn was_touched(&self) -> bool {
        self.last_seen_at > self.login_at
    }
}

/// What requires a second factor of an account.
#[derive(Clone, Copy)]
pub(crate) enum RequiredBy<'a> {
    /// The service, of everybody.
    Service,
    /// Its parent.
    Parent,
    /// A role that it holds.
    Role(&'a RoleName),
}

/// What requires a second factor of an account now, each with when it must have one.
pub(crate) fn factor_demands<'a>(
    policy: &FactorPolicy,
    by_parent: Option<FactorRequirement>,
    created_at: Timestamp,
    roles: &'a [RoleOfAccount],
    now: Timestamp,
) -> impl Iterator<Item = (RequiredBy<'a>, Timestamp)> + use<'a> {
    let by_service = policy.required_of_everybody.then_some((RequiredBy::Service, created_at));
    let by_parent = by_parent.map(|required| (RequiredBy::Parent, required.due_at(created_at)));
    let by_role = roles.iter().filter(move |role| role.counts(now)).filter_map(|role| {
        Some((RequiredBy::Role(&role.name), role.factor_required?.due_at(role.granted_at)))
    });
    by_service.into_iter().chain(by_parent).chain(by_role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::StepUpProofId;
    use crate::base::id::{ParentId, SessionId};
    use crate::model::account::{AuthVersion, Username};
    use crate::model::client::Client;
    use crate::model::factor_kind::FactorKind;
    use crate::model::long_sessions::Tokens;
    use crate::model::parent::ParentKey;
    use crate::model::proof::Proofs;
    use crate::model::proof::{Proof, ProofMethod};
    use crate::model::purpose::Purpose;
    use crate::model::session::{ParentOfAccount, SessionSummary};
    use crate::model::step_up_proof::StepUpProof;
    use proptest::prelude::*;

    const LOGIN: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    const PENDING: Duration = Duration::from_mins(10);

    const TOKEN: TokenHash = TokenHash::from_bytes([9; 32]);

    fn judged(
        record: SessionRecord,
        factors: &FactorPolicy,
        long: Option<&LongSessions>,
        now: Timestamp,
    ) -> Standing {
        let sessions = &SessionPolicy::default();
        let rules = Rules { sessions, long, factors, pending_lifetime: PENDING };
        record.standing(&rules, &TOKEN, now)
    }

    fn record() -> SessionRecord {
        SessionRecord {
            id: SessionId::from_bytes([1; 16]),
            state: SessionState::Active,
            auth_version: AuthVersion::FIRST,
            proofs: password(LOGIN),
            login_at: LOGIN,
            last_seen_at: LOGIN,
            long: false,
            lapsed_at: None,
            tokens: Tokens { current: Some(TOKEN), before: None, made_at: LOGIN, used_at: None },
            ended: None,
            account: AccountId::from_bytes([2; 16]),
            username: Username::parse("alice").unwrap(),
            external_id: None,
            account_status: AccountStatus::Active,
            account_auth_version: AuthVersion::FIRST,
            account_created_at: LOGIN,
            parent: None,
            roles: vec![],
        }
    }

    fn password(at: Timestamp) -> Proofs {
        Proofs::of(Proof::new(ProofMethod::Password, at))
    }

    /// A session whose password was proved when it was made, and this then.
    fn proved(by: impl Into<ProofMethod>, at: Timestamp) -> SessionRecord {
        SessionRecord { proofs: password(LOGIN).with(Proof::new(by, at)), ..record() }
    }

    fn standing(record: SessionRecord, now: Timestamp) -> Standing {
        judged(record, &FactorPolicy::default(), None, now)
    }

    /// A proof of the record's own.
    fn proof() -> StepUpProof {
        StepUpProof {
            id: StepUpProofId::from_bytes([1; 16]),
            account: record().account,
            parent: None,
            auth_version: AuthVersion::FIRST,
            purpose: Purpose::parse("payroll").unwrap(),
            kind: ProofMethod::Totp,
            proved_at: LOGIN,
            approval: None,
        }
    }

    /// How many are left of a proof that was found for a session.
    fn own_proofs(record: SessionRecord, found: StepUpProof, now: Timestamp) -> usize {
        let Standing::Active { principal, .. } = standing(record, now) else { panic!("not active") };
        principal.own_step_up_proofs(vec![found]).len()
    }

    fn role(expires_at: Option<Timestamp>, factor_required: Option<FactorRequirement>) -> RoleOfAccount {
        RoleOfAccount {
            name: RoleName::parse("admin").unwrap(),
            granted_at: LOGIN,
            expires_at,
            factor_required,
        }
    }

    fn is_active(record: SessionRecord, now: Timestamp) -> bool {
        matches!(standing(record, now), Standing::Active { .. })
    }

    fn after(secs: u64) -> Timestamp {
        LOGIN.plus(Duration::from_secs(secs))
    }

    #[test]
    fn idle_and_absolute_limits() {
        assert!(is_active(record(), after(1799)));
        assert!(!is_active(record(), after(1800)));
        let busy = |secs| SessionRecord { last_seen_at: after(secs), ..record() };
        assert!(is_active(busy(43_190), after(43_199)));
        assert!(matches!(standing(busy(43_190), after(43_200)), Standing::RanOut(EndReason::Expired)));
    }

    #[test]
    fn what_is_of_the_future_counts_for_nothing() {
        let (tolerated, ahead) = (after(60), after(60).plus(Duration::from_micros(1)));
        let of = |at| {
            [
                SessionRecord { login_at: at, proofs: password(at), last_seen_at: at, ..record() },
                SessionRecord { proofs: password(at), ..record() },
                proved(FactorKind::Totp, at),
                SessionRecord { last_seen_at: at, ..record() },
            ]
        };
        for record in of(tolerated) {
            assert!(is_active(record, LOGIN), "the clocks of two processes differ");
        }
        for record in of(ahead) {
            let pending = SessionRecord { state: SessionState::PendingSecondFactor, ..record.clone() };
            assert!(matches!(standing(record, LOGIN), Standing::Void));
            assert!(matches!(standing(pending, LOGIN), Standing::Void));
        }
        for (at, held) in [(tolerated, 1), (ahead, 0)] {
            assert_eq!(own_proofs(record(), StepUpProof { proved_at: at, ..proof() }, LOGIN), held);
        }
        let summary = |at| SessionSummary {
            id: record().id,
            login_at: LOGIN,
            proofs: password(LOGIN),
            last_seen_at: at,
            lapsed_at: None,
            long: false,
            client: Client::default(),
        };
        let policy = SessionPolicy::default();
        assert!(
            summary(tolerated).counts(&policy, None, LOGIN) && !summary(ahead).counts(&policy, None, LOGIN)
        );
    }

    #[test]
    fn a_second_factor_is_due_for_ten_minutes_and_accepted_by_no_guard() {
        let pending = || SessionRecord { state: SessionState::PendingSecondFactor, ..record() };
        assert!(matches!(standing(pending(), after(0)), Standing::Pending(_)));
        assert!(matches!(standing(pending(), after(599)), Standing::Pending(_)));
        assert!(matches!(standing(pending(), after(600)), Standing::RanOut(EndReason::Expired)));
    }

    #[test]
    fn who_proves_again_who_they_are_begins_anew() {
        let renewed =
            SessionRecord { proofs: password(after(43_000)), last_seen_at: after(86_000), ..record() };
        assert!(is_active(renewed.clone(), after(86_199)));
        assert!(!is_active(renewed.clone(), after(86_200)));
        // The password is no proof of the other factor.
        let half = |at| SessionRecord {
            proofs: renewed.proofs.clone().with(Proof::new(FactorKind::Totp, after(at))),
            ..renewed.clone()
        };
        assert!(!is_active(half(60), after(43_260)));
        assert!(is_active(half(43_000), after(86_199)));
    }

    #[test]
    fn everything_about_the_account_counts_at_once() {
        let parent = |status| {
            Some(ParentOfAccount {
                id: ParentId::from_bytes([3; 16]),
                key: ParentKey::parse("acme").unwrap(),
                status,
                factor_required: None,
            })
        };
        assert!(is_active(SessionRecord { parent: parent(ParentStatus::Active), ..record() }, LOGIN));
        for void in [
            SessionRecord { account_status: AccountStatus::Disabled, ..record() },
            SessionRecord { account_status: AccountStatus::Locked, ..record() },
            SessionRecord { account_auth_version: AuthVersion::from_i64(2), ..record() },
            SessionRecord { parent: parent(ParentStatus::Suspended), ..record() },
            SessionRecord { state: SessionState::PendingSecondFactor, ..record() },
            SessionRecord { ended: Some((LOGIN, EndReason::Logout)), ..record() },
        ] {
            assert!(!is_active(void, LOGIN));
        }
    }

    #[test]
    fn a_role_ends_on_time() {
        let record = SessionRecord { roles: vec![role(Some(after(60)), None)], ..record() };
        for (secs, held) in [(59, 1), (60, 0)] {
            let Standing::Active { principal, .. } = standing(record.clone(), after(secs)) else {
                panic!("not active")
            };
            assert_eq!(principal.roles().count(), held);
        }
    }

    #[test]
    fn a_required_factor_is_due_after_the_grace_unless_it_was_proved() {
        let required = Some(FactorRequirement { since: LOGIN, grace: Duration::from_mins(1) });
        let is_due = |record: SessionRecord, secs| {
            let Standing::Active { factor_due, .. } = standing(record, after(secs)) else {
                panic!("not active")
            };
            factor_due
        };
        let with = || SessionRecord { roles: vec![role(None, required)], ..record() };
        assert!(!is_due(with(), 59));
        assert!(is_due(with(), 60));
        assert!(!is_due(record(), 60), "of nobody else");
        let ended = SessionRecord { roles: vec![role(Some(after(30)), required)], ..record() };
        assert!(!is_due(ended, 60), "the role is over");
        let by = |kind| SessionRecord { proofs: proved(kind, LOGIN).proofs, ..with() };
        for method in [ProofMethod::Totp, ProofMethod::RecoveryCode, ProofMethod::EmailOtp] {
            assert!(!is_due(by(method), 60), "{method}");
        }
        assert!(is_due(by(ProofMethod::Password), 60) && is_due(by(ProofMethod::Invitation), 60));
        for (trusting, due) in [(true, false), (false, true)] {
            let trusted_devices = trusting.then_some(Duration::from_hours(1));
            let policy = FactorPolicy { trusted_devices, ..FactorPolicy::default() };
            let by_device =
                SessionRecord { proofs: proved(ProofMethod::TrustedBrowser, LOGIN).proofs, ..with() };
            let standing = judged(by_device, &policy, None, after(60));
            let Standing::Active { factor_due, .. } = standing else { panic!("not active") };
            assert_eq!(factor_due, due, "{trusting}");
        }
        let of_everybody = FactorPolicy { required_of_everybody: true, ..FactorPolicy::default() };
        for (record, due) in [(record(), true), (proved(FactorKind::Totp, LOGIN), false)] {
            let standing = judged(record, &of_everybody, None, LOGIN);
            let Standing::Active { factor_due, .. } = standing else { panic!("not active") };
            assert_eq!(factor_due, due, "of everybody, at once");
        }
        let strict = FactorPolicy { sign_in: vec![FactorKind::Totp], ..FactorPolicy::default() };
        let standing = judged(by(ProofMethod::EmailOtp), &strict, None, after(60));
        assert!(matches!(standing, Standing::Active { factor_due: true, .. }), "not by what does not count");
        let of_parent = ParentOfAccount {
            id: ParentId::from_bytes([3; 16]),
            key: ParentKey::parse("acme").unwrap(),
            status: ParentStatus::Active,
            factor_required: required,
        };
        let later = SessionRecord { parent: Some(of_parent), account_created_at: after(30), ..record() };
        assert!(!is_due(later.clone(), 89));
        assert!(is_due(later, 90), "who came later has the whole grace");
    }

    #[test]
    fn proofs_of_others_and_of_before_a_change_are_left_out() {
        let left = |proof: StepUpProof| own_proofs(record(), proof, after(1));
        assert_eq!(left(proof()), 1);
        assert_eq!(left(StepUpProof { account: AccountId::from_bytes([3; 16]), ..proof() }), 0);
        assert_eq!(left(StepUpProof { parent: Some(ParentId::from_bytes([3; 16])), ..proof() }), 0);
        assert_eq!(left(StepUpProof { auth_version: AuthVersion::from_i64(2), ..proof() }), 0);
    }

    #[test]
    fn beyond_the_ordinary_limits_a_long_session_has_proved_nothing_lately() {
        use crate::model::factor_kind::Assurance::{Aal1, Aal2};

        let long = LongSessions::new(LongSessions::MOST_IDLE, LongSessions::MOST_ABSOLUTE).for_role("admin");
        let role = role(None, Some(FactorRequirement { since: LOGIN, grace: Duration::ZERO }));
        let by_app =
            || SessionRecord { long: true, roles: vec![role.clone()], ..proved(FactorKind::Totp, LOGIN) };
        let at = |record: SessionRecord, secs| {
            let standing = judged(record, &FactorPolicy::default(), Some(&long), after(secs));
            let Standing::Active { principal, factor_due, lapses, .. } = standing else {
                panic!("{standing:?}")
            };
            (principal.assurance(), factor_due, lapses)
        };
        assert_eq!(at(by_app(), 1799), (Aal2, false, None));
        assert_eq!(at(by_app(), 1800), (Aal1, true, Some(LOGIN)));
        // Used all the time.
        let busy = |secs| SessionRecord { last_seen_at: after(secs), ..by_app() };
        assert_eq!(at(busy(43_190), 43_199), (Aal2, false, None));
        assert_eq!(at(busy(43_190), 43_200), (Aal1, true, None));
        // Once noted it stays so, until it is proved again; the password proves no factor.
        let noted = |proved_at| SessionRecord {
            lapsed_at: Some(LOGIN),
            proofs: proved(FactorKind::Totp, proved_at).proofs,
            ..busy(7200)
        };
        assert_eq!(at(noted(LOGIN), 7201), (Aal1, true, None));
        let password_again = noted(LOGIN).proofs.with(Proof::new(ProofMethod::Password, after(7200)));
        assert_eq!(at(SessionRecord { proofs: password_again, ..noted(LOGIN) }, 7201).0, Aal1);
        assert_eq!(at(noted(after(7200)), 7201), (Aal2, false, None));
        // So does a browser that was trusted.
        let policy =
            FactorPolicy { trusted_devices: Some(Duration::from_hours(1)), ..FactorPolicy::default() };
        let trusted = SessionRecord { proofs: proved(ProofMethod::TrustedBrowser, LOGIN).proofs, ..by_app() };
        for (secs, due) in [(1799, false), (1800, true)] {
            let standing = judged(trusted.clone(), &policy, Some(&long), after(secs));
            assert!(matches!(standing, Standing::Active { factor_due, .. } if factor_due == due), "{secs}");
        }
        // Without the role, or beside one of ours, it is as any other.
        let ours = RoleOfAccount {
            name: crate::model::role::AdministratorScope::Parent.role_name(),
            ..role.clone()
        };
        for roles in [vec![], vec![role.clone(), ours]] {
            let record = SessionRecord { roles, ..by_app() };
            let standing = judged(record, &FactorPolicy::default(), Some(&long), after(1800));
            assert!(matches!(standing, Standing::RanOut(EndReason::Idle)));
        }
        let of_before = SessionRecord { long: false, ..by_app() };
        let standing = judged(of_before, &FactorPolicy::default(), Some(&long), after(1800));
        assert!(matches!(standing, Standing::RanOut(EndReason::Idle)), "nobody asked for a long one");
    }

    proptest! {
        /// Against a model that knows every use: never dead earlier than 30 minutes after the last use, never alive later than
        /// that and a minute, never alive after 12 hours.
        #[test]
        fn limits_hold_for_every_rhythm(gaps in proptest::collection::vec(1_u64..2400, 1..80)) {
            let policy = SessionPolicy::default();
            let mut stored = record();
            let (mut now, mut last_use) = (LOGIN, LOGIN);
            for gap in gaps {
                now = now.plus(Duration::from_secs(gap));
                let idle = now.since(last_use);
                match standing(stored.clone(), now) {
                    Standing::Active { touch, .. } => {
                        prop_assert!(idle < policy.idle + policy.touch_interval());
                        prop_assert!(now.since(LOGIN) < policy.absolute);
                        last_use = now;
                        if touch {
                            prop_assert!(stored.last_seen_at == LOGIN || now.since(stored.last_seen_at) >= Duration::from_mins(1));
                            stored.last_seen_at = now;
                        }
                    }
                    _ => {
                        prop_assert!(idle >= policy.idle || now.since(LOGIN) >= policy.absolute);
                        break;
                    }
                }
            }
        }
    }
}
