//! What an [`IamBuilder`] was given that must not start: each named by its call, or by the setting that it is known by.

use std::time::Duration;

use super::{IamBuilder, SessionCache, misconfigured};
use crate::delivery::OtpSender;
use crate::iam::unsafe_keys::unsafe_keys;
use crate::model::channel::Channel;
use crate::model::error::Error;
use crate::model::factor_kind::FactorKind;
use crate::password::PepperRing;

/// The least length of a password that is the only factor, in code points, and of one that another factor always stands beside (NIST SP
/// 800-63B-4, 3.1.1.2).
const ALONE: usize = 15;
const BESIDE_ANOTHER: usize = 8;

impl IamBuilder {
    pub(super) fn check(&self) -> Result<(), Error> {
        let problem =
            self.sessions_problem().or_else(|| self.password_problem()).or_else(|| self.keys_problem());
        let problem = problem.or_else(|| self.login_limits_problem()).or_else(|| self.factor_problem());
        match problem.or_else(|| self.sender_problem()).or_else(|| self.retention_problem()) {
            Some(problem) => Err(misconfigured(problem)),
            None => Ok(()),
        }
    }

    fn sessions_problem(&self) -> Option<String> {
        if let Some(problem) = self.session_policy.problem() {
            return Some(format!("sessions: {problem}"));
        }
        if let Some(problem) = self.session_cache.as_ref().and_then(SessionCache::problem) {
            return Some(format!("session_cache: {problem}"));
        }
        let problem = self.long_sessions.as_ref()?.problem(&self.session_policy);
        problem.map(|problem| format!("long_sessions: {problem}"))
    }

    fn password_problem(&self) -> Option<String> {
        let least = self.password_policy.min_length;
        if least < BESIDE_ANOTHER {
            return Some(format!(
                "password_policy: the least length of a password must be {BESIDE_ANOTHER} or more"
            ));
        }
        (least < ALONE && !self.factor_policy.required_of_everybody).then(|| {
            format!(
                "password_policy: the least length of a password must be {ALONE} or more, unless a second factor is required of \
                 everybody (FactorPolicy::required_of_everybody)"
            )
        })
    }

    fn keys_problem(&self) -> Option<String> {
        if self.keys.ring.sealing_key() >= PepperRing::IDS {
            return Some("MFA_ENCRYPTION_KEY: the ids of the keys must be below 2147483648".to_owned());
        }
        unsafe_keys(Some(&self.keys), self.pepper.as_ref()).first().map(ToString::to_string)
    }

    fn login_limits_problem(&self) -> Option<String> {
        let limits = &self.login_limits;
        let windows = [
            limits.devices,
            limits.session,
            limits.address,
            limits.address_long,
            limits.address_in_flight,
            limits.sign_ins,
        ];
        (limits.account.free == 0 || windows.iter().any(|w| w.limit == 0 || w.length.is_zero()))
            .then(|| "login_limits: a limit of zero would let nobody in".to_owned())
    }

    fn factor_problem(&self) -> Option<String> {
        if let Some(problem) = self.factor_limits.problem() {
            return Some(format!("factor_limits: {problem}"));
        }
        if let Some(problem) = self.factor_policy.problem() {
            return Some(format!("factor_policy: {problem}"));
        }
        for (n, factor) in self.factors.iter().enumerate() {
            let kind = factor.kind();
            if kind.channel().is_some_and(|channel| channel != Channel::Email) {
                // It would take an address of e-mail in place of a number, and send nothing anywhere.
                return Some(format!(
                    "factor: {kind} needs telephone numbers, which accounts do not have yet"
                ));
            }
            if self.factors.iter().skip(n + 1).any(|other| other.kind() == kind) {
                return Some(format!("factor: {kind} is offered twice"));
            }
        }
        // As people are offered it: a code that nobody sends sets up nothing.
        let is_sent = |kind: FactorKind| {
            kind.channel().is_none_or(|channel| self.senders.iter().any(|sender| sender.channel() == channel))
        };
        let counts = |kind| self.factor_policy.sign_in.contains(&kind) && is_sent(kind);
        (self.factor_policy.required_of_everybody && !self.factors.iter().any(|factor| counts(factor.kind())))
            .then(|| {
                "factor_policy: a factor is required of everybody, and none that counts is offered".to_owned()
            })
    }

    fn sender_problem(&self) -> Option<String> {
        self.senders.iter().enumerate().find_map(|(n, sender)| {
            let (channel, provider) = (sender.channel(), sender.provider());
            if provider.is_empty() || provider.len() > 64 {
                return Some(format!("sender: `{provider}` can't be a provider's name: 1 to 64 bytes"));
            }
            let is_same = |other: &dyn OtpSender| other.channel() == channel && other.provider() == provider;
            let is_second = self.senders.iter().skip(n + 1).any(|other| is_same(other.as_ref()));
            is_second.then(|| format!("sender: there are two for {channel} by {provider}"))
        })
    }

    fn retention_problem(&self) -> Option<String> {
        (self.audit_retention < Duration::from_hours(24))
            .then(|| "audit_retention: the audit trail must be kept for a day at least".to_owned())
    }
}
