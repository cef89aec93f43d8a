//! When a stored hash is replaced by one of today's policy.

use std::time::Duration;

use super::PasswordHash;
use crate::base::clock::Timestamp;

/// The time for which a hash is left alone after its last change before it may be made cheaper: of two programs with different
/// policies on one store, the stricter one raises at once and the other one lowers at most once a day.
const SETTLED_AFTER: Duration = Duration::from_hours(24);

/// Whether a hash is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outdated {
    /// It is as today's are.
    No,
    /// It is weaker, or made in another way.
    Yes,
    /// It is dearer, in one way at least: only when it was not changed for a day.
    OnceSettled,
}

impl Outdated {
    /// Whether a hash that was last changed at a time is to be replaced now, and then which later change is in the way of it. A
    /// time that nobody has noted is long ago.
    pub(crate) fn is_due(self, changed_at: Option<Timestamp>, now: Timestamp) -> Option<Option<Timestamp>> {
        let settled = now.minus(SETTLED_AFTER);
        match self {
            Self::Yes => Some(None),
            Self::OnceSettled if changed_at.is_none_or(|at| at <= settled) => Some(Some(settled)),
            Self::OnceSettled | Self::No => None,
        }
    }
}

/// A hash that is to take the place of another one of the same password.
#[derive(Debug)]
pub(crate) struct RenewedHash {
    pub(crate) hash: PasswordHash,
    /// Only if the one that is there was not changed after this.
    pub(crate) unchanged_since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_made_cheaper_a_day_after_its_last_change_and_stronger_at_once() {
        let now = Timestamp::from_micros(1_767_225_600_000_000);
        let (day, moment) = (Duration::from_hours(24), Duration::from_micros(1));
        let (settled, fresh) = (now.minus(day), now.minus(day).plus(moment));
        assert_eq!(Outdated::OnceSettled.is_due(Some(settled), now), Some(Some(settled)));
        assert_eq!(Outdated::OnceSettled.is_due(None, now), Some(Some(settled)));
        assert_eq!(Outdated::OnceSettled.is_due(Some(fresh), now), None);
        assert_eq!(Outdated::OnceSettled.is_due(Some(now.plus(day)), now), None, "the clock was put back");
        assert_eq!(Outdated::Yes.is_due(Some(now), now), Some(None));
        assert_eq!(Outdated::No.is_due(None, now), None);
    }
}
