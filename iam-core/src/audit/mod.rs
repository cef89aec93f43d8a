//! The audit trail: typed events, written in the same unit of work as what they tell of.
//!
//! Names follow the OWASP Logging Vocabulary where it has one.

mod listing;
mod tally;

use std::borrow::Cow;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, SessionId};
use crate::delivery::Delivery;
use crate::factor::challenge::ChallengePurpose;
use crate::model::account::ExternalId;
use crate::model::channel::Channel;
use crate::model::client::Client;
use crate::model::factor_kind::FactorKind;
use crate::model::purpose::Purpose;
use crate::model::session_state::EndReason;

pub(crate) use listing::Listing;
pub(crate) use tally::Tally;

/// Repeated events of strangers are counted in one row for each of these windows.
const COALESCING_WINDOW: Duration = Duration::from_mins(10);

/// Why a sign-in failed. In the log only: the person is told the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum LoginFailure {
    /// No account has the name.
    UnknownAccount,
    /// The account has no password.
    NoPassword,
    /// The stored hash can't be used.
    UnusableHash,
    /// The password is wrong.
    WrongPassword,
    /// The password is right, the account is switched off.
    AccountDisabled,
    /// The password is right, an administrator locked the account.
    AccountLocked,
    /// The password is right, the account's parent is suspended.
    ParentSuspended,
    /// The account changed while the password was checked.
    ChangedMeanwhile,
}

impl LoginFailure {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown_account",
            Self::NoPassword => "no_password",
            Self::UnusableHash => "unusable_hash",
            Self::WrongPassword => "wrong_password",
            Self::AccountDisabled => "account_disabled",
            Self::AccountLocked => "account_locked",
            Self::ParentSuspended => "parent_suspended",
            Self::ChangedMeanwhile => "changed_meanwhile",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Event {
    /// Somebody signed in; `tries` counts this one and the failed ones before it that still count.
    LoginSucceeded {
        /// The session that it made.
        session: SessionId,
        /// Tries within the limit's memory, this one included.
        tries: u32,
    },
    /// Somebody's password was right, and their second factor is due.
    FirstFactorAccepted {
        /// The session that is to be.
        session: SessionId,
        /// Tries within the limit's memory, this one included.
        tries: u32,
    },
    /// The password of somebody who has a session was right where people sign in: it goes on as it is. No freshness is renewed, and no
    /// session is made.
    LoginContinued {
        /// The session.
        session: SessionId,
        /// Whether it may outlive the ordinary limits from now on, and might not before.
        long: bool,
    },
    /// A second factor was right; which, and what for.
    SecondFactorAccepted(FactorKind, ChallengePurpose),
    /// A second factor was wrong; which, and what for.
    SecondFactorRefused(FactorKind, ChallengePurpose),
    /// Somebody was asked to prove who they are for a purpose.
    StepUpRequired(Purpose),
    /// What was proved for a purpose was used up; by what, and which.
    ProofUsed(FactorKind, Purpose),
    /// A second factor came to be required, or no longer is; of whom, from, to.
    FactorRequirementChanged(String, String, String),
    /// An invitation to set up the first factor was given out.
    InvitationIssued,
    /// A browser came to be trusted.
    DeviceTrusted,
    /// No browser of an account is trusted any more; how many were.
    DevicesForgotten(u64),
    /// Second factors of an account were wrong so often that none is taken any more.
    SecondFactorLocked,
    /// A code was made, to be sent; by what.
    CodeIssued(FactorKind),
    /// A message was not delivered; by what, and how it ended.
    DeliveryFailed(Channel, Delivery),
    /// A factor counts from now on; which, and its name.
    FactorAdded(FactorKind, String),
    /// A factor was given another name; from, to.
    FactorRenamed(String, String),
    /// A factor counts no more; which, and its name.
    FactorRemoved(FactorKind, String),
    /// New recovery codes were made; how many.
    RecoveryCodesMade(usize),
    /// All factors of an account were taken away; how many.
    FactorsReset(u64),
    /// An address was verified.
    EmailVerified,
    /// Somebody did not sign in.
    LoginFailed(LoginFailure),
    /// A session was made.
    SessionCreated {
        /// Which.
        session: SessionId,
        /// Whether it may outlive the ordinary limits.
        long: bool,
    },
    /// A session ended.
    SessionEnded(SessionId, EndReason),
    /// All sessions of an account were ended; how many.
    SessionsEnded(u64),
    /// An ended session's token was shown again.
    SessionUsedAfterEnd(SessionId),
    /// A limit refused something; which.
    LimitExceeded(&'static str),
    /// A request that another site may have sent was refused; its route, as the host wrote it.
    CsrfRefused(String),
    /// A guard refused; what it asked for.
    AccessDenied(String),
    /// An account was made; its name.
    AccountCreated(String),
    /// An account's status changed; from, to.
    AccountStatusChanged(&'static str, &'static str),
    /// The host's key of an account was set or taken away; from, to.
    ExternalIdChanged(Option<ExternalId>, Option<ExternalId>),
    /// Somebody proved again who they are.
    Reauthenticated,
    /// Somebody tried to, and did not.
    ReauthenticationFailed,
    /// A password was set.
    PasswordChanged,
    /// A password's hash was renewed at sign-in.
    PasswordRehashed,
    /// A new password was taken without knowing whether it is known from a breach; why.
    BreachCheckSkipped(&'static str),
    /// A parent was made; its key.
    ParentCreated(String),
    /// A parent's status changed; from, to.
    ParentStatusChanged(&'static str, &'static str),
    /// A role was made; its name.
    RoleCreated(String),
    /// A role was given; its name.
    RoleGranted(String),
    /// A role was taken away; its name.
    RoleRevoked(String),
    /// A link that makes the first administrator was given out.
    SetupOffered,
    /// Values were sealed anew, under this key; how many.
    KeysResealed {
        /// The key's id.
        key: u32,
        /// Values.
        count: u32,
    },
    /// Nothing was sealed under a key any more, and the service starts without it from now on; its id.
    KeyRetired(u32),
    /// A store that was put back from a backup was made safe; how many accounts.
    StoreRestored {
        /// Accounts.
        count: u32,
    },
    /// The clock was put back, so that all sessions were ended, with all that was under way.
    ClockPutBack {
        /// The latest time that the store had seen.
        seen: Timestamp,
        /// Sessions.
        sessions: u64,
    },
    /// The service started.
    Started,
    /// The service stopped.
    Stopped,
}

impl Event {
    /// The event's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::LoginSucceeded { tries: 0 | 1, .. } => "authn_login_success",
            Self::LoginSucceeded { .. } => "authn_login_successafterfail",
            Self::FirstFactorAccepted { .. } => "authn_first_factor_success",
            Self::LoginContinued { .. } => "authn_login_continued",
            Self::SecondFactorAccepted(..) => "authn_mfa_success",
            Self::SecondFactorRefused(..) => "authn_mfa_fail",
            Self::StepUpRequired(_) => "authn_step_up_required",
            Self::ProofUsed(..) => "authn_step_up_used",
            Self::FactorRequirementChanged(..) => "mfa_requirement_changed",
            Self::InvitationIssued => "mfa_invitation_issued",
            Self::DeviceTrusted => "device_trusted",
            Self::DevicesForgotten(_) => "device_trust_revoked",
            Self::SecondFactorLocked => "authn_mfa_lock",
            Self::CodeIssued(_) => "otp_issued",
            Self::DeliveryFailed(..) => "delivery_fail",
            Self::FactorAdded(..) => "mfa_factor_added",
            Self::FactorRenamed(..) => "mfa_factor_renamed",
            Self::FactorRemoved(..) => "mfa_factor_removed",
            Self::RecoveryCodesMade(_) => "mfa_recovery_codes_made",
            Self::FactorsReset(_) => "mfa_factors_reset",
            Self::EmailVerified => "user_email_verified",
            Self::LoginFailed(_) => "authn_login_fail",
            Self::SessionCreated { .. } => "session_created",
            Self::SessionEnded(_, EndReason::Logout) => "authn_logout",
            Self::SessionEnded(_, EndReason::Idle | EndReason::Expired) => "session_expired",
            Self::SessionEnded(..) | Self::SessionsEnded(_) => "session_revoked",
            Self::SessionUsedAfterEnd(_) => "session_use_after_expire",
            Self::LimitExceeded(_) => "excess_rate_limit_exceeded",
            Self::CsrfRefused(_) => "malicious_csrf",
            Self::AccessDenied(_) => "authz_fail",
            Self::AccountCreated(_) => "user_created",
            Self::AccountStatusChanged(..) | Self::ExternalIdChanged(..) => "user_updated",
            Self::Reauthenticated => "authn_reauth_success",
            Self::ReauthenticationFailed => "authn_reauth_fail",
            Self::PasswordChanged => "authn_password_change",
            Self::PasswordRehashed => "authn_password_rehash",
            Self::BreachCheckSkipped(_) => "breach_check_skipped",
            Self::ParentCreated(_) => "parent_created",
            Self::ParentStatusChanged(..) => "parent_updated",
            Self::RoleCreated(_) => "role_created",
            Self::RoleGranted(_) | Self::RoleRevoked(_) => "privilege_permissions_changed",
            Self::SetupOffered => "setup_offered",
            Self::KeysResealed { .. } => "key_resealed",
            Self::KeyRetired(_) => "key_retired",
            Self::StoreRestored { .. } => "store_restored",
            Self::ClockPutBack { .. } => "sys_clock_put_back",
            Self::Started => "sys_startup",
            Self::Stopped => "sys_shutdown",
        }
    }

    /// Whether what was tried came about.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::LoginFailed(_)
            | Self::ReauthenticationFailed
            | Self::SecondFactorRefused(..)
            | Self::DeliveryFailed(..) => Outcome::Failure,
            Self::SecondFactorLocked
            | Self::SessionUsedAfterEnd(_)
            | Self::LimitExceeded(_)
            | Self::CsrfRefused(_)
            | Self::StepUpRequired(_)
            | Self::AccessDenied(_) => Outcome::Denied,
            _ => Outcome::Success,
        }
    }

    /// The details, in one short text.
    fn reason(&self) -> Option<String> {
        match self {
            Self::LoginSucceeded { tries: 0 | 1, .. }
            | Self::SessionCreated { long: false, .. }
            | Self::LoginContinued { long: false, .. }
            | Self::SessionUsedAfterEnd(_)
            | Self::Reauthenticated
            | Self::ReauthenticationFailed
            | Self::PasswordChanged
            | Self::PasswordRehashed
            | Self::SetupOffered
            | Self::EmailVerified
            | Self::InvitationIssued
            | Self::DeviceTrusted
            | Self::SecondFactorLocked
            | Self::StoreRestored { .. }
            | Self::Started
            | Self::Stopped => None,
            Self::LoginSucceeded { tries, .. } | Self::FirstFactorAccepted { tries, .. } => {
                Some(format!("tries={tries}"))
            }
            Self::SecondFactorAccepted(kind, purpose) | Self::SecondFactorRefused(kind, purpose) => {
                Some(format!("{kind} for {}", purpose.as_str()))
            }
            Self::SessionCreated { long: true, .. } | Self::LoginContinued { long: true, .. } => {
                Some("long".to_owned())
            }
            Self::StepUpRequired(purpose) => Some(purpose.to_string()),
            Self::ProofUsed(kind, purpose) => Some(format!("{kind} for {purpose}")),
            Self::FactorRequirementChanged(of, from, to) => Some(format!("{of}: {from} -> {to}")),
            Self::CodeIssued(kind) => Some(kind.to_string()),
            Self::DeliveryFailed(channel, delivery) => Some(format!("{channel} {}", delivery.as_str())),
            Self::FactorAdded(kind, name) | Self::FactorRemoved(kind, name) => Some(format!("{kind} {name}")),
            Self::FactorRenamed(from, to) => Some(format!("{from} -> {to}")),
            Self::RecoveryCodesMade(count) => Some(format!("count={count}")),
            Self::LoginFailed(failure) => Some(failure.as_str().to_owned()),
            Self::SessionEnded(_, reason) => Some(reason.as_str().to_owned()),
            Self::SessionsEnded(count) | Self::FactorsReset(count) | Self::DevicesForgotten(count) => {
                Some(format!("count={count}"))
            }
            Self::LimitExceeded(what) | Self::BreachCheckSkipped(what) => Some((*what).to_owned()),
            Self::CsrfRefused(path) => Some(path.clone()),
            Self::AccessDenied(asked_for) => Some(asked_for.clone()),
            Self::AccountCreated(name) | Self::ParentCreated(name) | Self::RoleCreated(name) => {
                Some(name.clone())
            }
            Self::AccountStatusChanged(from, to) | Self::ParentStatusChanged(from, to) => {
                Some(format!("{from} -> {to}"))
            }
            Self::ExternalIdChanged(from, to) => {
                let text =
                    |id: &Option<ExternalId>| id.as_ref().map_or("none".to_owned(), ToString::to_string);
                Some(format!("external_id {} -> {}", text(from), text(to)))
            }
            Self::KeysResealed { key, .. } | Self::KeyRetired(key) => Some(format!("key={key}")),
            Self::ClockPutBack { seen, sessions } => Some(format!("seen={seen} sessions={sessions}")),
            Self::RoleGranted(role) => Some(format!("granted {role}")),
            Self::RoleRevoked(role) => Some(format!("revoked {role}")),
        }
    }

    const fn session(&self) -> Option<SessionId> {
        match self {
            Self::LoginSucceeded { session, .. }
            | Self::FirstFactorAccepted { session, .. }
            | Self::LoginContinued { session, .. }
            | Self::SessionCreated { session, .. }
            | Self::SessionEnded(session, _)
            | Self::SessionUsedAfterEnd(session) => Some(*session),
            _ => None,
        }
    }

    /// How often it happened.
    const fn count(&self) -> u32 {
        match self {
            Self::KeysResealed { count, .. } | Self::StoreRestored { count } => *count,
            _ => 1,
        }
    }

    /// What anyone on the internet can cause without end is counted, not listed; and so is what comes in thousands.
    const fn is_coalesced(&self) -> bool {
        matches!(
            self,
            Self::LoginFailed(LoginFailure::UnknownAccount)
                | Self::SessionUsedAfterEnd(_)
                | Self::LimitExceeded(_)
                | Self::CsrfRefused(_)
                | Self::AccessDenied(_)
                | Self::SecondFactorLocked
                | Self::StepUpRequired(_)
                | Self::KeysResealed { .. }
                | Self::StoreRestored { .. }
        )
    }
}

/// Whether what was tried came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It did.
    Success,
    /// It was tried wrongly.
    Failure,
    /// It was not allowed.
    Denied,
}

impl Outcome {
    /// The name that stores use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Success, Self::Failure, Self::Denied].into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// Who and what an event is about, around the event itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// Who did it; nobody, when the service itself did, or a stranger.
    pub(crate) actor: Option<AccountId>,
    /// To whom it was done.
    pub(crate) account: Option<AccountId>,
    /// The parent that it happened in.
    pub(crate) parent: Option<ParentId>,
    /// A session that the event itself does not name.
    pub(crate) session: Option<SessionId>,
    /// How the actor had proved who they are.
    pub(crate) amr: Option<String>,
    /// A name without an account, as a keyed hash: people type passwords into that field.
    pub(crate) identifier: Option<String>,
}

impl Subject {
    /// An event that an account caused and that is about itself.
    pub(crate) fn own(account: AccountId) -> Self {
        Self { actor: Some(account), account: Some(account), ..Self::default() }
    }
}

/// A record as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Rises from record to record, and none comes twice.
    pub id: u64,
    /// What it says. Its `coalesce` key is not read back.
    pub record: Record,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// When; the first time, if it counts several.
    pub at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// How often.
    pub count: u32,
    /// The event's name.
    pub event: Cow<'static, str>,
    /// Whether it came about.
    pub outcome: Outcome,
    /// Its details.
    pub reason: Option<String>,
    /// Who did it.
    pub actor: Option<AccountId>,
    /// To whom it was done.
    pub account: Option<AccountId>,
    /// In which parent.
    pub parent: Option<ParentId>,
    /// In which session.
    pub session: Option<SessionId>,
    /// How the actor had proved who they are.
    pub amr: Option<String>,
    /// A keyed hash of a name that no account has.
    pub identifier: Option<String>,
    /// From where.
    pub client: Client,
    /// Where set, a second record with the same key adds its `count` to the first one's instead of a row.
    pub coalesce: Option<[u8; 32]>,
}

impl Record {
    /// A record of one event that says no more than this. The identity layer makes its own; a store's tests need others.
    pub fn at(at: Timestamp, event: impl Into<Cow<'static, str>>, outcome: Outcome) -> Self {
        Self {
            at,
            last_at: at,
            count: 1,
            event: event.into(),
            outcome,
            reason: None,
            actor: None,
            account: None,
            parent: None,
            session: None,
            amr: None,
            identifier: None,
            client: Client::default(),
            coalesce: None,
        }
    }

    pub(crate) fn new(event: &Event, subject: Subject, client: &Client, now: Timestamp) -> Self {
        let mut record = Self {
            count: event.count(),
            reason: event.reason().map(|reason| reason.chars().take(500).collect()),
            actor: subject.actor,
            account: subject.account,
            parent: subject.parent,
            session: event.session().or(subject.session),
            amr: subject.amr,
            identifier: subject.identifier,
            client: client.clone(),
            ..Self::at(now, event.name(), event.outcome())
        };
        if event.is_coalesced() {
            record.coalesce = Some(record.coalescing_key(0));
        }
        record
    }

    /// What is left to say when there are too many to list: what and how often, not who. It has one of a few rows, so that those who
    /// are counted at the same time don't all wait for the same one.
    fn unlisted(self) -> Self {
        const ROWS: u8 = 16;
        let row = self.coalesce.map_or(0, |key| key[31] % ROWS);
        let nobody = Self::at(self.at, self.event, self.outcome);
        let mut record = Self { reason: Some("unlisted".to_owned()), count: self.count, ..nobody };
        record.coalesce = Some(record.coalescing_key(row));
        record
    }

    /// One row per event, reason, actor, account, session, network and window. Paths are strangers' text and stay out of the key.
    fn coalescing_key(&self, row: u8) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let reason = if self.event == "malicious_csrf" { "" } else { self.reason.as_deref().unwrap_or("") };
        let network = self.client.network().map(|network| network.to_string()).unwrap_or_default();
        let actor = self.actor.map(|id| *id.as_bytes()).unwrap_or_default();
        let account = self.account.map(|id| *id.as_bytes()).unwrap_or_default();
        let session = self.session.map(|id| *id.as_bytes()).unwrap_or_default();
        let window = self.at.window(COALESCING_WINDOW).as_micros().to_be_bytes();
        let mut hash = Sha256::new();
        for part in [
            self.event.as_bytes(),
            reason.as_bytes(),
            network.as_bytes(),
            &actor,
            &account,
            &session,
            &window,
            &[row],
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: &Event, at: i64, address: &str) -> Record {
        let client = Client::at(address.parse().unwrap());
        Record::new(event, Subject::default(), &client, Timestamp::from_micros(at))
    }

    #[test]
    fn strangers_share_a_row_per_network_and_window() {
        let hit = Event::LimitExceeded("login.account");
        let first = record(&hit, 0, "192.0.2.1").coalesce;
        assert!(first.is_some());
        assert_eq!(first, record(&hit, 599_999_999, "192.0.2.1").coalesce);
        assert_ne!(first, record(&hit, 600_000_000, "192.0.2.1").coalesce);
        assert_ne!(first, record(&hit, 0, "192.0.2.2").coalesce);
        assert_ne!(first, record(&Event::LimitExceeded("login.address"), 0, "192.0.2.1").coalesce);
        let unknown =
            |address| record(&Event::LoginFailed(LoginFailure::UnknownAccount), 0, address).coalesce;
        assert_eq!(unknown("2001:db8::1"), unknown("2001:db8::2"), "whatever name they made up");
        assert_ne!(unknown("2001:db8::1"), unknown("2001:db8:0:1::1"));
        let csrf = |path: &str| record(&Event::CsrfRefused(path.into()), 0, "192.0.2.1").coalesce;
        assert_eq!(csrf("/a"), csrf("/b"));
    }

    #[test]
    fn what_comes_in_thousands_adds_up_for_each_actor() {
        let by = |actor, key| {
            let subject = Subject { actor, ..Subject::default() };
            let event = Event::KeysResealed { key, count: 50 };
            Record::new(&event, subject, &Client::default(), Timestamp::from_micros(0))
        };
        let record = by(None, 1);
        assert_eq!((record.count, record.reason.as_deref()), (50, Some("key=1")));
        assert_eq!(record.coalesce, by(None, 1).coalesce);
        assert_ne!(record.coalesce, by(None, 2).coalesce);
        assert_ne!(record.coalesce, by(Some(AccountId::from_bytes([1; 16])), 1).coalesce);
    }

    #[test]
    fn what_matters_is_never_merged() {
        for event in [Event::LoginFailed(LoginFailure::WrongPassword), Event::Started, Event::PasswordChanged]
        {
            assert_eq!(record(&event, 0, "192.0.2.1").coalesce, None);
        }
        assert_eq!(record(&Event::KeyRetired(0), 0, "192.0.2.1").coalesce, None);
        let first_try = Event::LoginSucceeded { session: SessionId::from_bytes([0; 16]), tries: 1 };
        assert_eq!(first_try.name(), "authn_login_success");
    }
}
