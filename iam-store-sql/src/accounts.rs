//! `iam_user_account`.

use iam_core::ports::{AuthVersion, LoginCandidate};
use iam_core::{
    Account, AccountId, AccountStatus, EmailAddress, ExternalId, ParentId, ParentStatus, PasswordHash,
    StoreError, Username,
};

use crate::{Column, Dialect};

const fn column(name: &'static str) -> Column {
    Column("iam_user_account", name)
}

/// A row of `iam_user_account`, without the password's hash.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct AccountRow<D: Dialect> {
    pub id: Vec<u8>,
    pub username: D::Text,
    pub email: Option<D::Text>,
    pub email_verified_at: Option<D::Time>,
    pub status: String,
    pub parent_id: Option<Vec<u8>>,
    pub auth_version: i64,
    pub external_id: Option<D::Text>,
    pub password_changed_at: Option<D::Time>,
    pub created_at: D::Time,
    pub updated_at: D::Time,
}

impl<D: Dialect> AccountRow<D> {
    /// The account.
    pub fn read(self) -> Result<Account, StoreError> {
        let id = AccountId::from_bytes(column("id").id(&self.id)?);
        let username = Username::from_stored(column("username").text(self.username)?);
        let mut account = Account::new(id, username, D::timestamp(self.created_at));
        let email = self.email.map(|bytes| column("email").text(bytes)).transpose()?;
        account.email = email.map(EmailAddress::from_stored);
        account.email_verified_at = self.email_verified_at.map(D::timestamp);
        account.status = AccountStatus::from_stored(&self.status);
        account.parent = column("parent_id").maybe_id(self.parent_id.as_deref())?.map(ParentId::from_bytes);
        account.auth_version = AuthVersion::from_i64(self.auth_version);
        let external_id = self.external_id.map(|bytes| column("external_id").text(bytes)).transpose()?;
        account.external_id = external_id.map(ExternalId::from_stored);
        account.password_changed_at = self.password_changed_at.map(D::timestamp);
        account.updated_at = D::timestamp(self.updated_at);
        Ok(account)
    }
}

/// A row of `iam_user_account` as a sign-in reads it, with its parent's status.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct CandidateRow<D: Dialect> {
    pub id: Vec<u8>,
    pub status: String,
    pub auth_version: i64,
    pub password_hash: Option<Vec<u8>>,
    pub password_changed_at: Option<D::Time>,
    pub parent_id: Option<Vec<u8>>,
    pub parent_status: Option<String>,
    pub second_factor: bool,
}

impl<D: Dialect> CandidateRow<D> {
    /// The account that may sign in.
    pub fn read(self) -> Result<LoginCandidate, StoreError> {
        let parent = match column("parent_id").maybe_id(self.parent_id.as_deref())? {
            None => None,
            Some(id) => {
                let status = Column("iam_parent", "status").needed(self.parent_status)?;
                Some((ParentId::from_bytes(id), ParentStatus::from_stored(&status)))
            }
        };
        Ok(LoginCandidate {
            account: AccountId::from_bytes(column("id").id(&self.id)?),
            status: AccountStatus::from_stored(&self.status),
            auth_version: AuthVersion::from_i64(self.auth_version),
            password: self.password_hash.as_deref().map(PasswordHash::from_stored_bytes),
            password_changed_at: self.password_changed_at.map(D::timestamp),
            parent,
            second_factor: self.second_factor,
        })
    }
}
