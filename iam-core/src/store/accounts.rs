use crate::model::account::{LoginIdentifier, Username};
use async_trait::async_trait;

use super::{Inserted, StoreError};
use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId};
use crate::model::account::{Account, AccountStatus, AuthVersion, EmailAddress, ExternalId};
use crate::model::parent::ParentStatus;
use crate::password::PasswordHash;

/// What a sign-in needs to know of an account.
#[derive(Clone, Debug)]
pub struct LoginCandidate {
    /// The account.
    pub account: AccountId,
    /// Whether it may sign in.
    pub status: AccountStatus,
    /// Its version: what is written later is conditional on it.
    pub auth_version: AuthVersion,
    /// Its password's hash, when it has one.
    pub password: Option<PasswordHash>,
    /// When that was last made here ([`Account::password_changed_at`]).
    pub password_changed_at: Option<Timestamp>,
    /// Its parent.
    pub parent: Option<(ParentId, ParentStatus)>,
    /// Whether it has a confirmed method, so that a second factor is due.
    pub second_factor: bool,
}

/// A hash that takes the place of another one.
#[derive(Clone, Copy, Debug)]
pub struct Rehash<'a> {
    /// The one that is replaced.
    pub old: &'a PasswordHash,
    /// The one that takes its place.
    pub new: &'a PasswordHash,
    /// The time after which the old one must not have been changed, if it matters.
    pub unchanged_since: Option<Timestamp>,
    /// The time of this change.
    pub at: Timestamp,
}

/// Reads of accounts: in a unit of work, or beside any.
#[async_trait]
pub trait AccountReads: Send {
    /// What a sign-in needs to know of an account: found by user name, or by address once that is verified.
    async fn login_candidate(
        &mut self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError>;

    /// An account by id.
    async fn by_id(&mut self, id: AccountId) -> Result<Option<Account>, StoreError>;

    /// An account by the host's own key.
    async fn by_external_id(&mut self, id: &ExternalId) -> Result<Option<Account>, StoreError>;

    /// An account by name.
    async fn by_username(&mut self, username: &Username) -> Result<Option<Account>, StoreError>;
}

/// Accounts, in a unit of work.
#[async_trait]
pub trait Accounts: AccountReads {
    /// Adds an account with its password's hash. User name, verified address and external id are unique: it MUST give
    /// [`Inserted::Taken`] with the key when another account has one of them, also when both are added at the same time.
    async fn insert(
        &mut self,
        account: &Account,
        password: Option<&PasswordHash>,
    ) -> Result<Inserted, StoreError>;

    /// Sets or takes away the host's key of an account. [`Inserted::Taken`] when another account has it, also when both are set at the
    /// same time; nothing is changed then. An account that is not there is as one that was changed.
    async fn set_external_id(
        &mut self,
        id: AccountId,
        external_id: Option<&ExternalId>,
        now: Timestamp,
    ) -> Result<Inserted, StoreError>;

    /// Sets the status and raises the version, if the status is `from`. Says whether it did.
    async fn set_status(
        &mut self,
        id: AccountId,
        from: AccountStatus,
        to: AccountStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Sets the password, with the time of its change, and raises the version. Says whether there is such an account.
    async fn set_password(
        &mut self,
        id: AccountId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Sets the password, with the time of its change, and raises the version by one, if it is still `expected` and the account is active. Says whether it did.
    async fn change_password(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Replaces a hash by another one of the same password, with the time of its change and without raising the version: only if
    /// version and hash are still `expected` and `old`, the account is active, and, where `unchanged_since` is given, the hash was
    /// not changed after that (a time that was never noted is before any). Says whether it did. It MUST be one conditional
    /// statement: programs with different policies would else replace each other's hashes by turns.
    async fn rehash(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        rehash: &Rehash<'_>,
    ) -> Result<bool, StoreError>;

    /// Holds an account against all other units until this one is over, if it is active and its version is `expected`. Says whether
    /// it does.
    async fn hold(&mut self, id: AccountId, expected: AuthVersion) -> Result<bool, StoreError>;

    /// Raises the version by one, if it is still `expected` and the account is active: whatever was made under it dies. Says whether
    /// it did.
    async fn raise_version(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Raises the versions of up to `most` accounts, whatever their status, to `least` or above what each was, whichever is more: the
    /// next ones by id after `after`, or the first. Gives their ids in order; fewer than `most` mean that there are no more.
    async fn raise_versions(
        &mut self,
        after: Option<AccountId>,
        least: AuthVersion,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Sets the address, as one that was verified now. [`Inserted::Taken`] when another account has verified it, also when both do so at
    /// the same time; nothing is changed then.
    async fn verify_email(
        &mut self,
        id: AccountId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Inserted, StoreError>;
}
