//! Who must have a second factor, from when, and which factors count for what.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::factor_kind::{Assurance, FactorKind};
use crate::model::token::Carrier;

/// The longest time that people can be given to set up a factor.
pub const MOST_GRACE: Duration = Duration::from_hours(24 * 90);

/// That the holders of a role, or the accounts of a parent, must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorRequirement {
    /// Since when.
    pub since: Timestamp,
    /// How long everybody has to set one up, from then, or from when they came to be among those that it is about.
    pub grace: Duration,
}

impl FactorRequirement {
    /// When somebody who belongs to those since a time must have a factor.
    pub fn due_at(&self, belongs_since: Timestamp) -> Timestamp {
        self.since.max(belongs_since).plus(self.grace)
    }
}

/// Which factors count for what. The defaults are the library's advice; a host may narrow them, and widening is on its own decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactorPolicy {
    /// Those that satisfy a [`FactorRequirement`]. Default: authenticator apps, and codes that are sent.
    pub sign_in: Vec<FactorKind>,
    /// Those that count for step-up where the route names none. Default: authenticator apps. Codes by e-mail, recovery codes and passwords count only where a route names them.
    pub step_up: Vec<FactorKind>,
    /// That everybody must have a factor that satisfies a requirement, with no grace: until then they can do nothing but set one up.
    /// Default: nobody must but those of whom it is required ([`Factors::require`](crate::Factors::require)). With it
    /// passwords may be shorter than 15 characters.
    pub required_of_everybody: bool,
    /// For how long a browser may be trusted, so that signing in on it asks for no second factor (at most 30 days). Default: it may
    /// not. Without it those that were trusted before are so no longer; a shorter time holds for those that come to be trusted from
    /// then on.
    pub trusted_devices: Option<Duration>,
}

impl Default for FactorPolicy {
    fn default() -> Self {
        use FactorKind::{EmailOtp, SmsOtp, Totp, WhatsappOtp};
        Self {
            sign_in: vec![Totp, EmailOtp, SmsOtp, WhatsappOtp],
            step_up: vec![Totp],
            required_of_everybody: false,
            trusted_devices: None,
        }
    }
}

impl FactorPolicy {
    /// Whether a browser may be trusted once a factor was proved on it. Only by what satisfies a requirement: at the next sign-in the
    /// browser stands in for it. And never by a code of the list, which somebody uses who has lost the rest, nor without a browser.
    pub fn may_trust(&self, kind: FactorKind, carrier: Carrier) -> bool {
        self.trusted_devices.is_some() && carrier == Carrier::Cookie && self.sign_in.contains(&kind)
    }

    /// Whether a factor that was proved satisfies a [`FactorRequirement`]. A code of the list stands in for whichever was lost.
    pub(crate) fn is_satisfied_by(&self, kind: FactorKind) -> bool {
        kind.is_list() || self.sign_in.contains(&kind)
    }

    /// What is wrong with it, in words, or nothing.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let thirty_days = Duration::from_hours(24 * 30);
        if self.sign_in.is_empty() || !self.sign_in.iter().all(|kind| kind.is_set_up()) {
            Some("the factors that satisfy a requirement must be some that people can set up")
        } else if !self.step_up.iter().all(|kind| kind.is_set_up() && kind.assurance() == Assurance::Aal2) {
            Some(
                "by policy only authenticator apps, keys, SMS and WhatsApp may count for step-up; a route may name others",
            )
        } else if self.trusted_devices.is_some_and(|time| time.is_zero() || time > thirty_days) {
            Some("a browser may be trusted for at most 30 days")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_the_whole_grace() {
        let at = |secs: i64| Timestamp::from_micros(secs * 1_000_000);
        let asked = FactorRequirement { since: at(1000), grace: Duration::from_secs(50) };
        assert_eq!(asked.due_at(at(10)), at(1050), "who was there before");
        assert_eq!(asked.due_at(at(2000)), at(2050), "who came later");
    }

    #[test]
    fn policies_have_bounds() {
        let with = |change: fn(&mut FactorPolicy)| {
            let mut policy = FactorPolicy::default();
            change(&mut policy);
            policy.problem().is_none()
        };
        assert!(with(|_| {}));
        assert!(with(|policy| policy.step_up.push(FactorKind::SmsOtp)));
        assert!(with(|policy| policy.step_up.clear()));
        assert!(with(|policy| policy.trusted_devices = Some(Duration::from_hours(720))));
        for broken in [
            (|policy| policy.step_up.push(FactorKind::EmailOtp)) as fn(&mut FactorPolicy),
            |policy| policy.step_up.push(FactorKind::RecoveryCode),
            |policy| policy.sign_in.clear(),
            |policy| policy.sign_in.push(FactorKind::RecoveryCode),
            |policy| policy.trusted_devices = Some(Duration::from_hours(721)),
            |policy| policy.trusted_devices = Some(Duration::ZERO),
        ] {
            assert!(!with(broken));
        }
    }
}
