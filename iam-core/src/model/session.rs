//! Sessions: what a token stands for, and for how long.

use crate::model::session_state::{EndReason, SessionPolicy, SessionState};

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId, SessionId};
use crate::model::account::{AccountStatus, AuthVersion, ExternalId, Username};
use crate::model::client::Client;
use crate::model::long_sessions::{LongSessions, Moments, Tokens};
use crate::model::parent::{ParentKey, ParentStatus};
use crate::model::policy::FactorRequirement;
use crate::model::proof::Proofs;
use crate::model::role::RoleName;
use crate::model::token::TokenHash;

/// A session to be made. `login_at` is where both limits count from.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Stays the same for the session's life.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// The account's version as the password was checked: the insert is conditional on it.
    pub auth_version: AuthVersion,
    /// The token's hash.
    pub token: TokenHash,
    /// How far the sign-in has come.
    pub state: SessionState,
    /// What the person proved.
    pub proofs: Proofs,
    /// How many tries at the password led to it, this one included, as far as limits remember; 0 if nobody counted.
    pub tries: u32,
    /// When.
    pub login_at: Timestamp,
    /// Whether it was asked for as a long one ([`LongSessions`]).
    pub long: bool,
    /// From where.
    pub client: Client,
}

/// What a unit of work that holds a session knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSession {
    /// What was proved in it so far.
    pub proofs: Proofs,
    /// [`NewSession::tries`].
    pub tries: u32,
}

/// A session whose owner has proved again who they are: what it gets, on condition that it still has the token that was shown.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The new token's hash.
    pub token: TokenHash,
    /// How far the sign-in must have come ...
    pub from_state: SessionState,
    /// ... and how far it has come with this.
    pub state: SessionState,
    /// What was proved in the session by now, all of it.
    pub proofs: Proofs,
    /// The account's version that the session must have been made under ...
    pub from_version: AuthVersion,
    /// ... and the one that it has from now on: the same, or the one that the owner's own change of password made.
    pub to_version: AuthVersion,
    /// Up to when what was proved before counts no more, in a long session; without it, that is not written anew.
    pub lapsed_at: Option<Timestamp>,
    /// When. It is noted as the session's use.
    pub at: Timestamp,
}

/// A session that has not ended, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// The session.
    pub id: SessionId,
    /// When it was made.
    pub login_at: Timestamp,
    /// What was proved in it.
    pub proofs: Proofs,
    /// When it was last seen in use.
    pub last_seen_at: Timestamp,
    /// Up to when what was proved in it counts no more, where that was noted.
    pub lapsed_at: Option<Timestamp>,
    /// Whether it was asked for as a long one; of those that [`OwnAccount::sessions`](crate::OwnAccount::sessions) gives, whether it is one.
    pub long: bool,
    /// From where it was made: the address, and what the browser called itself.
    pub client: Client,
}

impl SessionSummary {
    /// Whether it still counts, though nobody may have ended it yet. `long`: what its owner may have.
    pub(crate) fn counts(&self, policy: &SessionPolicy, long: Option<&LongSessions>, now: Timestamp) -> bool {
        let moments = Moments {
            login_at: self.login_at,
            authenticated_at: self.proofs.authenticated_at().unwrap_or(self.login_at),
            second_factor_at: self.proofs.second_factor_at(),
            last_seen_at: self.last_seen_at,
            lapsed_at: self.lapsed_at,
        };
        moments.over(policy, long.filter(|_| self.long), now).is_none() && !lies_ahead(&moments, now)
    }
}

/// A session and everything that decides over it, read in one statement.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// How far the sign-in has come.
    pub state: SessionState,
    /// The account's version that the session was made under.
    pub auth_version: AuthVersion,
    /// What was proved in it.
    pub proofs: Proofs,
    /// When it was made.
    pub login_at: Timestamp,
    /// When it was last seen in use.
    pub last_seen_at: Timestamp,
    /// Whether it was asked for as a long one.
    pub long: bool,
    /// Up to when what was proved in it counts no more, where that was noted.
    pub lapsed_at: Option<Timestamp>,
    /// Its tokens.
    pub tokens: Tokens,
    /// When and why it ended.
    pub ended: Option<(Timestamp, EndReason)>,
    /// Its account.
    pub account: AccountId,
    /// The account's name.
    pub username: Username,
    /// The host's own key for the account.
    pub external_id: Option<ExternalId>,
    /// Whether the account may sign in.
    pub account_status: AccountStatus,
    /// The account's version now.
    pub account_auth_version: AuthVersion,
    /// When the account was made.
    pub account_created_at: Timestamp,
    /// The account's parent.
    pub parent: Option<ParentOfAccount>,
    /// The roles that the account was granted.
    pub roles: Vec<RoleOfAccount>,
}

/// A role that an account was granted, as a session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleOfAccount {
    /// The role's name.
    pub name: RoleName,
    /// Since when the account holds it.
    pub granted_at: Timestamp,
    /// Until when it counts.
    pub expires_at: Option<Timestamp>,
    /// That its holders must have a second factor.
    pub factor_required: Option<FactorRequirement>,
}

/// The parent of an account, as a session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentOfAccount {
    /// The parent.
    pub id: ParentId,
    /// Its key.
    pub key: ParentKey,
    /// Whether its accounts may be used.
    pub status: ParentStatus,
    /// That its accounts must have a second factor.
    pub factor_required: Option<FactorRequirement>,
}

/// Whether a session was made, proved or used in the future: the clock was put back since, and what had run out must not begin anew.
pub(crate) fn lies_ahead(moments: &Moments, now: Timestamp) -> bool {
    let times = [
        Some(moments.login_at),
        Some(moments.authenticated_at),
        moments.second_factor_at,
        Some(moments.last_seen_at),
    ];
    times.into_iter().flatten().any(|at| at.is_ahead_of(now))
}

impl RoleOfAccount {
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}
