//! Long sessions: for whom a session may outlive the ordinary limits, for how long, and what it is worth then.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::parent::ParentKey;
use crate::model::role::{RoleName, is_reserved};
use crate::model::session_state::{EndReason, SessionPolicy};
use crate::model::token::TokenHash;

/// How old a token becomes before it is replaced.
pub const REPLACED_AFTER: Duration = Duration::from_hours(24);

/// How long a token that nobody has used yet waits for its owner, before the one before it is given another.
const UNUSED_FOR: Duration = Duration::from_hours(1);

/// How long after the first use of a new token a request with the old one may have been under way.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(10);

/// Sessions that outlive the ordinary limits: for mobile applications and for people who ticked 'stay signed in'. For roles and
/// parents that it names, and never for who holds a role that begins with `iam:`. Beyond the ordinary limits such a session has proved
/// nothing but that it was made once: whatever asks for a factor or a fresh proof asks again.
///
/// ```
/// use std::time::Duration;
/// use iam_core::LongSessions;
///
/// let (idle, absolute) = (Duration::from_hours(24 * 30), Duration::from_hours(24 * 90));
/// let for_customers = LongSessions::new(idle, absolute).for_role("customer").for_parent("acme");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct LongSessions {
    idle: Duration,
    absolute: Duration,
    roles: Vec<String>,
    parents: Vec<String>,
    everybody: bool,
}

impl LongSessions {
    /// The most that `idle` may be.
    pub const MOST_IDLE: Duration = Duration::from_hours(24 * 30);

    /// The most that `absolute` may be.
    pub const MOST_ABSOLUTE: Duration = Duration::from_hours(24 * 90);

    /// Sessions that end when they are not used for as long as `idle`, and `absolute` after the sign-in whatever is done in them; for
    /// nobody yet.
    pub const fn new(idle: Duration, absolute: Duration) -> Self {
        Self { idle, absolute, roles: Vec::new(), parents: Vec::new(), everybody: false }
    }

    /// Also for whoever holds this role.
    pub fn for_role(mut self, name: impl Into<String>) -> Self {
        self.roles.push(name.into());
        self
    }

    /// Also for the accounts of the parent with this key.
    pub fn for_parent(mut self, key: impl Into<String>) -> Self {
        self.parents.push(key.into());
        self
    }

    /// For everybody who holds no role that begins with `iam:`: where a service's people have no roles.
    pub const fn for_everybody(mut self) -> Self {
        self.everybody = true;
        self
    }

    /// Ends a long session that is not used.
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// Ends a long session, counted from the sign-in.
    pub const fn absolute(&self) -> Duration {
        self.absolute
    }

    /// Whether somebody with these roles and this parent may have one.
    pub(crate) fn allows<'r>(
        &self,
        roles: impl IntoIterator<Item = &'r str>,
        parent: Option<&ParentKey>,
    ) -> bool {
        let roles: Vec<&str> = roles.into_iter().collect();
        self.why(&roles, parent).is_ok()
    }

    /// The same, and why.
    pub(crate) fn why(&self, roles: &[&str], parent: Option<&ParentKey>) -> Result<String, String> {
        if let Some(reserved) = roles.iter().find(|role| is_reserved(role)) {
            return Err(format!("it holds {reserved}"));
        }
        if let Some(role) = roles.iter().find(|role| self.roles.iter().any(|named| named == *role)) {
            return Ok(format!("by role {role}"));
        }
        let parent = parent.filter(|key| self.parents.iter().any(|named| named == key.as_str()));
        match parent {
            Some(key) => Ok(format!("by parent {key}")),
            None if self.everybody => Ok("as everybody".to_owned()),
            None => Err("it holds no role, and is of no parent, that is named".to_owned()),
        }
    }

    /// What is wrong with it beside the ordinary limits, in words, or nothing.
    pub(crate) fn problem(&self, ordinary: &SessionPolicy) -> Option<String> {
        if self.idle < ordinary.idle || self.idle > Self::MOST_IDLE {
            return Some(
                "the idle time-out of a long session must be between the ordinary one and 30 days".to_owned(),
            );
        }
        if self.absolute < self.idle.max(ordinary.absolute) || self.absolute > Self::MOST_ABSOLUTE {
            return Some(
                "the absolute time-out of a long session must be between its idle time-out (and the ordinary absolute one) and 90 days"
                    .to_owned(),
            );
        }
        if self.roles.is_empty() && self.parents.is_empty() && !self.everybody {
            return Some("they are for nobody: name a role or a parent".to_owned());
        }
        let bad_role = self.roles.iter().find(|name| RoleName::parse(name).is_err());
        if let Some(name) = bad_role.or_else(|| self.roles.iter().find(|name| is_reserved(name))) {
            return Some(format!("`{name}` can't be a role that has long sessions"));
        }
        let bad_parent = self.parents.iter().find(|key| ParentKey::parse(key).is_err());
        bad_parent.map(|key| format!("`{key}` can't be a parent's key"))
    }
}

/// The times of a session that its end, and the worth of its proofs, hang on.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "as the records have them")]
pub(crate) struct Moments {
    pub(crate) login_at: Timestamp,
    pub(crate) authenticated_at: Timestamp,
    pub(crate) second_factor_at: Option<Timestamp>,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) lapsed_at: Option<Timestamp>,
}

impl Moments {
    /// Why the session is over, if it is. `long`: it was asked for as a long one, and its owner may have that.
    pub(crate) fn over(
        &self,
        policy: &SessionPolicy,
        long: Option<&LongSessions>,
        now: Timestamp,
    ) -> Option<EndReason> {
        let proved_at = self.age_counts_from();
        let (end, idle_end) = match long {
            Some(long) => {
                let unseen = self.last_seen_at.plus(long.idle).plus(policy.touch_interval());
                (self.login_at.plus(long.absolute), unseen)
            }
            None => (proved_at.plus(policy.absolute), policy.idle_deadline(self.login_at, self.last_seen_at)),
        };
        if now >= end {
            return Some(EndReason::Expired);
        }
        // Without the privilege it would have been over then, whatever it was used for since.
        let outlived = long.is_none() && self.lapsed_at.is_some_and(|lapsed_at| proved_at <= lapsed_at);
        (outlived || now >= idle_end).then_some(EndReason::Idle)
    }

    /// Whoever proves again all that they had proved begins anew (NIST SP 800-63B-4, 5.2); the password alone makes no session of two
    /// factors live longer.
    fn age_counts_from(&self) -> Timestamp {
        self.second_factor_at.map_or(self.authenticated_at, |at| at.min(self.authenticated_at))
    }

    /// That the session lay idle beyond the ordinary limit, and nobody has noted it yet: what was proved up to then counts no more.
    pub(crate) fn lapses(&self, policy: &SessionPolicy, now: Timestamp) -> Option<Timestamp> {
        (now >= policy.idle_deadline(self.login_at, self.last_seen_at)).then_some(self.last_seen_at)
    }

    /// Up to when what was proved in a long session counts no more.
    pub(crate) fn proofs_lapsed_at(&self, policy: &SessionPolicy, now: Timestamp) -> Timestamp {
        let by_age = now.minus(policy.absolute);
        [self.lapsed_at, self.lapses(policy, now)].into_iter().flatten().fold(by_age, Timestamp::max)
    }
}

/// The tokens of a session, as a store has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The one that was given out last; nothing, once it was forgotten.
    pub current: Option<TokenHash>,
    /// The one that a day replaced by it. It counts until the current one is first used.
    pub before: Option<TokenHash>,
    /// When the current one was made.
    pub made_at: Timestamp,
    /// When the current one was first used. That of the sign-in counts as used from the start.
    pub used_at: Option<Timestamp>,
}

/// What a token is that was shown for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The session's token. `first`: it is shown for the first time, and the one before it is dead from then on. `due`: it is time to
    /// replace it, if the session is a long one.
    Good { first: bool, due: bool },
    /// A dead one: its owner has used the next one since this time.
    Dead(Timestamp),
}

impl Tokens {
    /// As a store has them: `made_at` and `used_at` are those of a token that has replaced another one, and nothing before that.
    pub fn new(
        current: Option<TokenHash>,
        before: Option<TokenHash>,
        login_at: Timestamp,
        made_at: Option<Timestamp>,
        used_at: Option<Timestamp>,
    ) -> Self {
        let (made_at, used_at) = match made_at {
            Some(made_at) => (made_at, used_at),
            None => (login_at, Some(login_at)),
        };
        Self { current, before, made_at, used_at }
    }

    /// Whether this is the current one, and no request has come with it yet.
    pub(crate) fn is_unused(&self, token: &TokenHash) -> bool {
        self.current == Some(*token) && self.used_at.is_none()
    }

    pub(crate) fn shown(&self, token: &TokenHash, now: Timestamp) -> Shown {
        let age = now.since(self.made_at);
        match self.used_at {
            _ if self.current == Some(*token) => {
                let first = self.used_at.is_none();
                Shown::Good { first, due: !first && age >= REPLACED_AFTER }
            }
            None => Shown::Good { first: false, due: age >= UNUSED_FOR },
            Some(used_at) => Shown::Dead(used_at),
        }
    }
}

/// The daily replacement of a token: on these conditions, and at most one caller is told so.
#[derive(Clone, Copy, Debug)]
pub struct Replacement {
    /// The token that was shown: the session's own, or the one before it while its own was not used.
    pub shown: TokenHash,
    /// The next one.
    pub new: TokenHash,
    /// When.
    pub at: Timestamp,
    /// The session's own must have been made by then ...
    pub made_by: Timestamp,
    /// ... or by then, if it was not used and the one before it was shown.
    pub unused_made_by: Timestamp,
}

impl Replacement {
    pub(crate) fn now(shown: TokenHash, new: TokenHash, at: Timestamp) -> Self {
        Self { shown, new, at, made_by: at.minus(REPLACED_AFTER), unused_made_by: at.minus(UNUSED_FOR) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
    const DAY: u64 = 86_400;

    fn after(secs: u64) -> Timestamp {
        LOGIN.plus(Duration::from_secs(secs))
    }

    fn long() -> LongSessions {
        LongSessions::new(LongSessions::MOST_IDLE, LongSessions::MOST_ABSOLUTE)
    }

    fn moments() -> Moments {
        Moments {
            login_at: LOGIN,
            authenticated_at: LOGIN,
            second_factor_at: None,
            last_seen_at: LOGIN,
            lapsed_at: None,
        }
    }

    #[test]
    fn they_are_for_those_that_are_named_and_for_no_administrator() {
        let (acme, globex) = (ParentKey::parse("acme").unwrap(), ParentKey::parse("globex").unwrap());
        let policy = long().for_role("customer").for_parent("acme");
        assert!(policy.allows(["clerk", "customer"], None));
        assert!(policy.allows([], Some(&acme)));
        assert!(!policy.allows(["clerk"], Some(&globex)));
        assert!(!policy.allows([], None));
        assert!(!policy.allows(["customer", "iam:parent-admin"], Some(&acme)));
        assert!(long().for_everybody().allows([], None));
        assert!(!long().for_everybody().allows(["iam:platform-admin"], None));
        assert!(!long().allows(["customer"], Some(&acme)), "it names nobody");
    }

    #[test]
    fn a_long_one_ends_by_its_own_limits_which_no_proof_moves() {
        let policy = SessionPolicy::default();
        let long = long().for_everybody();
        let over = |moments: Moments, secs| moments.over(&policy, Some(&long), after(secs));
        assert_eq!(over(moments(), 30 * DAY + 59), None);
        assert_eq!(over(moments(), 30 * DAY + 60), Some(EndReason::Idle));
        let seen = Moments { last_seen_at: after(89 * DAY), authenticated_at: after(89 * DAY), ..moments() };
        assert_eq!(over(seen, 90 * DAY - 1), None);
        assert_eq!(over(seen, 90 * DAY), Some(EndReason::Expired));
    }

    #[test]
    fn without_the_privilege_one_that_has_outlived_the_ordinary_limits_is_over() {
        let policy = SessionPolicy::default();
        // Idle for two hours, and used a minute ago.
        let used = Moments { last_seen_at: after(7200), lapsed_at: Some(LOGIN), ..moments() };
        assert_eq!(used.over(&policy, Some(&long().for_everybody()), after(7260)), None);
        assert_eq!(used.over(&policy, None, after(7260)), Some(EndReason::Idle));
        let proved = Moments { authenticated_at: after(7200), ..used };
        assert_eq!(proved.over(&policy, None, after(7260)), None, "as any other one");
    }

    #[test]
    fn proofs_lapse_by_age_and_by_idle_time() {
        let policy = SessionPolicy::default();
        let lapsed_at = |moments: Moments, secs| moments.proofs_lapsed_at(&policy, after(secs));
        assert!(LOGIN > lapsed_at(moments(), 1799));
        assert!(LOGIN <= lapsed_at(moments(), 1800));
        let busy = Moments { last_seen_at: after(43_190), ..moments() };
        assert!(LOGIN > lapsed_at(busy, 43_199));
        assert!(LOGIN <= lapsed_at(busy, 43_200));
        // Once it was noted, use brings nothing back.
        let used = Moments { last_seen_at: after(7200), lapsed_at: Some(LOGIN), ..moments() };
        assert!(LOGIN <= lapsed_at(used, 7201) && after(7200) > lapsed_at(used, 7201));
    }

    #[test]
    fn a_token_is_replaced_after_a_day_and_dead_with_the_first_use_of_the_next() {
        let hash = |n| TokenHash::from_bytes([n; 32]);
        let one = Tokens::new(Some(hash(1)), None, LOGIN, None, None);
        let good = |first, due| Shown::Good { first, due };
        assert_eq!(one.shown(&hash(1), after(DAY - 1)), good(false, false));
        assert_eq!(one.shown(&hash(1), after(DAY)), good(false, true));
        let two =
            Tokens { current: Some(hash(2)), before: Some(hash(1)), made_at: after(DAY), used_at: None };
        assert_eq!(two.shown(&hash(1), after(DAY + 3599)), good(false, false), "the answer may be lost");
        assert_eq!(two.shown(&hash(1), after(DAY + 3600)), good(false, true));
        assert_eq!(two.shown(&hash(2), after(3 * DAY)), good(true, false));
        let used = Tokens { used_at: Some(after(DAY + 9)), ..two };
        assert_eq!(used.shown(&hash(2), after(DAY + 9)), good(false, false));
        assert_eq!(used.shown(&hash(2), after(2 * DAY)), good(false, true));
        assert_eq!(used.shown(&hash(1), after(DAY + 9)), Shown::Dead(after(DAY + 9)));
        let renewed = Tokens::new(Some(hash(3)), None, LOGIN, Some(after(9)), None);
        assert_eq!(renewed.shown(&hash(3), after(9)), good(true, false), "a renewal's is noted as well");
    }
}
