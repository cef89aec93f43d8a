//! Credentials: what a request was made with, and what is known of it as of that request.

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, SessionId};
use crate::model::account::{AuthVersion, Username};
use crate::model::proof::Proofs;
use crate::model::step_up_proof::StepUpProof;
use crate::model::token::TokenHash;

/// The credential that a principal was recognised by. A guard means a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A session, by its token in a cookie or a header.
    Session(SessionFacts),
}

/// A session, as of the request that was made in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    pub(crate) id: SessionId,
    pub(crate) signed_in_at: Timestamp,
    pub(crate) proofs: Proofs,
    pub(crate) factor_due_at: Option<Timestamp>,
    pub(crate) step_up_proofs: Vec<StepUpProof>,
    /// Up to when what was proved in it counts no more.
    pub(crate) lapsed_at: Option<Timestamp>,
    pub(crate) stays_until: Option<Timestamp>,
    pub(crate) daily_token: DailyToken,
}

/// A session and its account, as they were read: what steps that go on with it take as a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRef {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) username: Username,
    pub(crate) parent: Option<ParentId>,
    pub(crate) auth_version: AuthVersion,
    pub(crate) proofs: Proofs,
    /// Up to when what was proved in it counts no more.
    pub(crate) lapsed_at: Option<Timestamp>,
    /// When it ends, if it is a long one, or is to become one.
    pub(crate) stays_until: Option<Timestamp>,
}

/// How far the daily change of a long session's token has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DailyToken {
    /// The token that the present one replaced.
    pub(crate) before: Option<TokenHash>,
    /// The next one is due.
    pub(crate) is_due: bool,
}

impl SessionFacts {
    /// The session's id.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The time at which it began.
    pub const fn signed_in_at(&self) -> Timestamp {
        self.signed_in_at
    }

    /// The latest proof of the password, or of what opened the session instead.
    pub fn authenticated_at(&self) -> Timestamp {
        self.proofs.authenticated_at().unwrap_or(self.signed_in_at)
    }

    /// The time at which it ends at the latest, if it is a long one ([`LongSessions`](crate::LongSessions)).
    pub const fn stays_until(&self) -> Option<Timestamp> {
        self.stays_until
    }

    /// Whether a proof of that time still counts in it: a long session outlives what was proved in it.
    pub(crate) fn still_proves(&self, proved_at: Timestamp) -> bool {
        self.lapsed_at.is_none_or(|lapsed_at| proved_at > lapsed_at)
    }
}
