//! The audit trail: typed events, written in the same unit of work as what they tell of.
//!
//! Names follow the OWASP Logging Vocabulary where it has one.

mod listing;
mod tally;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::authz::actor::Actor;
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, MethodId, ParentId, SessionId};
use crate::delivery::Delivery;
use crate::factor::challenge::ChallengePurpose;
use crate::model::account::ExternalId;
use crate::model::channel::Channel;
use crate::model::client::Client;
use crate::model::factor_kind::StoredKind;
use crate::model::proof::ProofMethod;
use crate::model::purpose::Purpose;
use crate::model::session_state::EndReason;

pub(crate) use listing::Listing;
pub(crate) use tally::{Tally, begun_before};
pub use target::Target;

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
    SecondFactorAccepted(ProofMethod, ChallengePurpose),
    /// A second factor was wrong; which, and what for.
    SecondFactorRefused(ProofMethod, ChallengePurpose),
    /// Somebody was asked to prove who they are for a purpose.
    StepUpRequired(Purpose),
    /// What was proved for a purpose was used up; by what, and which.
    ProofUsed(ProofMethod, Purpose),
    /// A second factor came to be required, or no longer is; of which role's holders or parent's accounts, from, to.
    FactorRequirementChanged(Target, String, String),
    /// An invitation to set up the first factor was given out.
    InvitationIssued,
    /// A browser came to be trusted.
    DeviceTrusted,
    /// No browser of an account is trusted any more; how many were.
    DevicesForgotten(u64),
    /// Second factors of an account were wrong so often that none is taken any more.
    SecondFactorLocked,
    /// A code was made, to be sent; by what.
    CodeIssued(ProofMethod),
    /// A message was not delivered; by what, and how it ended.
    DeliveryFailed(Channel, Delivery),
    /// A factor counts from now on; which, and its name.
    FactorAdded(StoredKind, MethodId, String),
    /// A factor was given another name; from, to.
    FactorRenamed(MethodId, String, String),
    /// A factor counts no more; which, and its name.
    FactorRemoved(StoredKind, MethodId, String),
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
    ParentCreated(ParentId, String),
    /// A parent's status changed; from, to.
    ParentStatusChanged(ParentId, &'static str, &'static str),
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

/// All that the trail says of an event by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// The event's name.
    pub(crate) name: &'static str,
    /// Whether what was tried came about.
    pub(crate) outcome: Outcome,
    /// Its details, in one short text.
    details: Option<String>,
    /// The session that it names.
    session: Option<SessionId>,
    /// What it was done to, if that is neither the session nor an account.
    target: Option<Target>,
    /// How often it happened.
    count: u32,
    /// Whether it is counted and not listed: what anyone on the internet can cause without end, and what comes in thousands.
    coalesce: bool,
}

impl Description {
    const fn new(name: &'static str, outcome: Outcome) -> Self {
        Self { name, outcome, details: None, session: None, target: None, count: 1, coalesce: false }
    }

    fn details(self, details: impl fmt::Display) -> Self {
        Self { details: Some(details.to_string()), ..self }
    }

    fn tries(self, tries: u32) -> Self {
        self.details(format_args!("tries={tries}"))
    }

    fn number(self, count: impl fmt::Display) -> Self {
        self.details(format_args!("count={count}"))
    }

    fn change(self, from: impl fmt::Display, to: impl fmt::Display) -> Self {
        self.details(format_args!("{from} -> {to}"))
    }

    fn proof(self, by: ProofMethod, purpose: impl fmt::Display) -> Self {
        self.details(format_args!("{by} for {purpose}"))
    }

    fn long(self, long: bool) -> Self {
        if long { self.details("long") } else { self }
    }

    const fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    fn on(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    const fn times(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    const fn counted(mut self) -> Self {
        self.coalesce = true;
        self
    }
}

/// An event that came about.
const fn done(name: &'static str) -> Description {
    Description::new(name, Outcome::Success)
}

/// One that was tried wrongly.
const fn failed(name: &'static str) -> Description {
    Description::new(name, Outcome::Failure)
}

/// One that was not allowed, and that its sender can repeat without end.
const fn refused(name: &'static str) -> Description {
    Description::new(name, Outcome::Denied).counted()
}

impl Event {
    /// What the trail says of it: the one table of events.
    pub(crate) fn describe(&self) -> Description {
        match self {
            Self::LoginSucceeded { session, tries: 0 | 1 } => done("authn_login_success").session(*session),
            Self::LoginSucceeded { session, tries } => {
                done("authn_login_successafterfail").tries(*tries).session(*session)
            }
            Self::FirstFactorAccepted { session, tries } => {
                done("authn_first_factor_success").tries(*tries).session(*session)
            }
            Self::LoginContinued { session, long } => {
                done("authn_login_continued").long(*long).session(*session)
            }
            // Anyone can make up names.
            Self::LoginFailed(why @ LoginFailure::UnknownAccount) => {
                failed("authn_login_fail").details(why.as_str()).counted()
            }
            Self::LoginFailed(why) => failed("authn_login_fail").details(why.as_str()),
            Self::SecondFactorAccepted(kind, purpose) => {
                done("authn_mfa_success").proof(*kind, purpose.as_str())
            }
            Self::SecondFactorRefused(kind, purpose) => {
                failed("authn_mfa_fail").proof(*kind, purpose.as_str())
            }
            Self::SecondFactorLocked => refused("authn_mfa_lock"),
            Self::StepUpRequired(purpose) => {
                refused("authn_step_up_required").details(purpose).on(Target::purpose(purpose))
            }
            Self::ProofUsed(kind, purpose) => {
                done("authn_step_up_used").proof(*kind, purpose).on(Target::purpose(purpose))
            }
            Self::Reauthenticated => done("authn_reauth_success"),
            Self::ReauthenticationFailed => failed("authn_reauth_fail"),
            Self::SessionCreated { session, long } => done("session_created").long(*long).session(*session),
            Self::SessionEnded(session, why) => {
                done(name_of_end(*why)).details(why.as_str()).session(*session)
            }
            Self::SessionsEnded(count) => done("session_revoked").number(count),
            Self::SessionUsedAfterEnd(session) => refused("session_use_after_expire").session(*session),
            Self::LimitExceeded(limit) => refused("excess_rate_limit_exceeded").details(limit),
            Self::CsrfRefused(route) => refused("malicious_csrf").details(route),
            Self::AccessDenied(asked_for) => refused("authz_fail").details(asked_for),
            Self::FactorRequirementChanged(of, from, to) => {
                done("mfa_requirement_changed").details(format_args!("{of}: {from} -> {to}")).on(of.clone())
            }
            Self::InvitationIssued => done("mfa_invitation_issued"),
            Self::FactorAdded(kind, id, name) => {
                done("mfa_factor_added").details(format_args!("{kind} {name}")).on(Target::method(*id))
            }
            Self::FactorRenamed(id, from, to) => {
                done("mfa_factor_renamed").change(from, to).on(Target::method(*id))
            }
            Self::FactorRemoved(kind, id, name) => {
                done("mfa_factor_removed").details(format_args!("{kind} {name}")).on(Target::method(*id))
            }
            Self::FactorsReset(count) => done("mfa_factors_reset").number(count),
            Self::RecoveryCodesMade(count) => done("mfa_recovery_codes_made").number(count),
            Self::DeviceTrusted => done("device_trusted"),
            Self::DevicesForgotten(count) => done("device_trust_revoked").number(count),
            Self::CodeIssued(kind) => done("otp_issued").details(kind),
            Self::DeliveryFailed(channel, how) => {
                failed("delivery_fail").details(format_args!("{channel} {}", how.as_str()))
            }
            Self::PasswordChanged => done("authn_password_change"),
            Self::PasswordRehashed => done("authn_password_rehash"),
            Self::BreachCheckSkipped(why) => done("breach_check_skipped").details(why),
            Self::EmailVerified => done("user_email_verified"),
            Self::AccountCreated(name) => done("user_created").details(name),
            Self::AccountStatusChanged(from, to) => done("user_updated").change(from, to),
            Self::ExternalIdChanged(from, to) => {
                let text =
                    |id: &Option<ExternalId>| id.as_ref().map_or("none".to_owned(), ToString::to_string);
                done("user_updated").details(format_args!("external_id {} -> {}", text(from), text(to)))
            }
            Self::ParentCreated(id, key) => done("parent_created").details(key).on(Target::parent(*id)),
            Self::ParentStatusChanged(id, from, to) => {
                done("parent_updated").change(from, to).on(Target::parent(*id))
            }
            Self::RoleCreated(name) => done("role_created").details(name).on(Target::role(name)),
            Self::RoleGranted(role) => done("privilege_permissions_changed")
                .details(format_args!("granted {role}"))
                .on(Target::role(role)),
            Self::RoleRevoked(role) => done("privilege_permissions_changed")
                .details(format_args!("revoked {role}"))
                .on(Target::role(role)),
            Self::SetupOffered => done("setup_offered"),
            Self::KeysResealed { key, count } => done("key_resealed")
                .details(format_args!("key={key}"))
                .on(Target::key(*key))
                .times(*count)
                .counted(),
            Self::KeyRetired(key) => {
                done("key_retired").details(format_args!("key={key}")).on(Target::key(*key))
            }
            Self::StoreRestored { count } => done("store_restored").times(*count).counted(),
            Self::ClockPutBack { seen, sessions } => {
                done("sys_clock_put_back").details(format_args!("seen={seen} sessions={sessions}"))
            }
            Self::Started => done("sys_startup"),
            Self::Stopped => done("sys_shutdown"),
        }
    }
}

const fn name_of_end(why: EndReason) -> &'static str {
    match why {
        EndReason::Logout => "authn_logout",
        EndReason::Idle | EndReason::Expired => "session_expired",
        _ => "session_revoked",
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

/// The parent that an event happened in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InParent {
    /// That of the account that it was done to: the unit of work finds out which.
    #[default]
    OfAccount,
    /// One that is known where the event happened, or none.
    Known(Option<ParentId>),
}

impl From<Option<ParentId>> for InParent {
    fn from(parent: Option<ParentId>) -> Self {
        Self::Known(parent)
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
    pub(crate) parent: InParent,
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

impl Actor {
    /// Something that the actor does, to nothing that has a name of its own here.
    pub(crate) fn subject(&self) -> Subject {
        Subject { actor: self.account(), ..Subject::default() }
    }

    /// Something that the actor does to an account.
    pub(crate) fn on(&self, account: AccountId) -> Subject {
        Subject { account: Some(account), ..self.subject() }
    }

    /// Something that the actor does to a parent.
    pub(crate) fn in_parent(&self, parent: ParentId) -> Subject {
        Subject { parent: Some(parent).into(), ..self.subject() }
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
    /// What it was done to.
    pub target: Option<Target>,
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
    /// Where set, it is counted: a second record with the same key adds its `count` to the first one's.
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
            target: None,
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
        let described = event.describe();
        let mut record = Self {
            count: described.count,
            reason: described.details.map(|details| details.chars().take(500).collect()),
            actor: subject.actor,
            account: subject.account,
            parent: match subject.parent {
                InParent::Known(parent) => parent,
                InParent::OfAccount => None,
            },
            session: described.session.or(subject.session),
            target: described
                .target
                .or(described.session.map(Target::session))
                .or(subject.account.map(Target::account)),
            amr: subject.amr,
            identifier: subject.identifier,
            client: client.clone(),
            ..Self::at(now, described.name, described.outcome)
        };
        if described.coalesce {
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
        assert_eq!(first_try.describe().name, "authn_login_success");
    }
}
