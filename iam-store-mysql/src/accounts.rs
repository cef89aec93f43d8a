//! `iam_user_account`.

use async_trait::async_trait;
use iam_core::ports::{
    AccountReads, Accounts, AuthVersion, Inserted, LoginCandidate, LoginIdentifier, Rehash,
};
use iam_core::{
    Account, AccountId, AccountStatus, EmailAddress, ExternalId, PasswordHash, StoreError, Timestamp,
    Username,
};
use iam_store_sql::Column;

use crate::connection::{Link, Reading, Statement, all, execute, optional};
use crate::error::{duplicate_key, failed};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

type AccountRow = iam_store_sql::AccountRow<DateTimes>;
type CandidateRow = iam_store_sql::CandidateRow<DateTimes>;

#[async_trait]
impl<L: Reading> AccountReads for Work<L> {
    async fn login_candidate(
        &mut self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        let by_username = |name: &[u8]| {
            optional(sqlx::query_as!(
                CandidateRow,
                r#"SELECT a.id, a.status, a.auth_version, a.password_hash, a.password_changed_at, a.parent_id, p.status AS "parent_status?",
                    EXISTS (SELECT 1 FROM iam_mfa_method m FORCE INDEX (iam_mfa_method_account)
                        WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS "second_factor!: bool"
                FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
                WHERE a.username = ?"#,
                name
            ))
        };
        let by_email = |address: &[u8]| {
            optional(sqlx::query_as!(
                CandidateRow,
                r#"SELECT a.id, a.status, a.auth_version, a.password_hash, a.password_changed_at, a.parent_id, p.status AS "parent_status?",
                    EXISTS (SELECT 1 FROM iam_mfa_method m FORCE INDEX (iam_mfa_method_account)
                        WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS "second_factor!: bool"
                FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
                WHERE a.verified_email = ?"#,
                address
            ))
        };
        // What no account can have is looked up all the same: every name takes the same way.
        let find = || match identifier {
            LoginIdentifier::Username(username) => by_username(username.as_str().as_bytes()),
            LoginIdentifier::Email(address) => by_email(address.as_str().as_bytes()),
            LoginIdentifier::Unknown(text) => by_username(text.as_str().as_bytes()),
        };
        self.0.read(find).await?.map(CandidateRow::read).transpose()
    }

    async fn by_id(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                AccountRow,
                "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                    password_changed_at, created_at, updated_at
                FROM iam_user_account WHERE id = ?",
                &id.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.map(AccountRow::read).transpose()
    }

    async fn by_external_id(&mut self, external_id: &ExternalId) -> Result<Option<Account>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                AccountRow,
                "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                    password_changed_at, created_at, updated_at
                FROM iam_user_account WHERE external_id = ?",
                external_id.as_str().as_bytes()
            ))
        };
        self.0.read(find).await?.map(AccountRow::read).transpose()
    }

    async fn by_username(&mut self, username: &Username) -> Result<Option<Account>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                AccountRow,
                "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                    password_changed_at, created_at, updated_at
                FROM iam_user_account WHERE username = ?",
                username.as_str().as_bytes()
            ))
        };
        self.0.read(find).await?.map(AccountRow::read).transpose()
    }
}

#[async_trait]
impl<L: Link> Accounts for Work<L> {
    async fn insert(
        &mut self,
        account: &Account,
        password: Option<&PasswordHash>,
    ) -> Result<Inserted, StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_user_account (id, username, email, email_verified_at, password_hash, status, parent_id,
                    auth_version, external_id, password_changed_at, created_at, updated_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                &account.id.as_bytes()[..],
                account.username.as_str().as_bytes(),
                account.email.as_ref().map(|address| address.as_str().as_bytes()),
                account.email_verified_at.map(utc),
                password.map(|hash| hash.expose().as_bytes()),
                account.status.as_str(),
                account.parent.map(|id| id.as_bytes().to_vec()),
                account.auth_version.as_i64(),
                account.external_id.as_ref().map(|id| id.as_str().as_bytes()),
                account.password_changed_at.map(utc),
                utc(account.created_at),
                utc(account.updated_at)
            ))
        };
        self.insert_unless_taken(insert).await
    }

    async fn set_external_id(
        &mut self,
        id: AccountId,
        external_id: Option<&ExternalId>,
        now: Timestamp,
    ) -> Result<Inserted, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET external_id = ?, updated_at = ? WHERE id = ?",
                external_id.map(|id| id.as_str().as_bytes()),
                utc(now),
                &id.as_bytes()[..]
            ))
        };
        self.insert_unless_taken(set).await
    }

    async fn set_status(
        &mut self,
        id: AccountId,
        from: AccountStatus,
        to: AccountStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET status = ?, auth_version = auth_version + 1, updated_at = ?
                 WHERE id = ? AND status = ?",
                to.as_str(),
                utc(now),
                &id.as_bytes()[..],
                from.as_str()
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }

    async fn set_password(
        &mut self,
        id: AccountId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET password_hash = ?, auth_version = auth_version + 1, password_changed_at = ?, updated_at = ?
                 WHERE id = ?",
                password.expose().as_bytes(),
                utc(now),
                utc(now),
                &id.as_bytes()[..]
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }

    async fn change_password(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let change = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET password_hash = ?, auth_version = auth_version + 1, password_changed_at = ?, updated_at = ?
                 WHERE id = ? AND auth_version = ? AND status = 'active'",
                password.expose().as_bytes(),
                utc(now),
                utc(now),
                &id.as_bytes()[..],
                expected.as_i64()
            ))
        };
        Ok(self.0.write(change).await? == 1)
    }

    async fn rehash(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        rehash: &Rehash<'_>,
    ) -> Result<bool, StoreError> {
        let unchanged_since = rehash.unchanged_since.map(utc);
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET password_hash = ?, password_changed_at = ?
                 WHERE id = ? AND auth_version = ? AND password_hash = ? AND status = 'active'
                   AND (? IS NULL OR password_changed_at IS NULL OR password_changed_at <= ?)",
                rehash.new.expose().as_bytes(),
                utc(rehash.at),
                &id.as_bytes()[..],
                expected.as_i64(),
                rehash.old.expose().as_bytes(),
                unchanged_since,
                unchanged_since
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }

    async fn hold(&mut self, id: AccountId, expected: AuthVersion) -> Result<bool, StoreError> {
        let find = || {
            optional(sqlx::query!(
                "SELECT id FROM iam_user_account WHERE id = ? AND auth_version = ? AND status = 'active' FOR UPDATE",
                &id.as_bytes()[..],
                expected.as_i64()
            ))
        };
        Ok(self.0.lock(find).await?.is_some())
    }

    async fn raise_version(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let raise = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET auth_version = auth_version + 1, updated_at = ?
                 WHERE id = ? AND auth_version = ? AND status = 'active'",
                utc(now),
                &id.as_bytes()[..],
                expected.as_i64()
            ))
        };
        Ok(self.0.write(raise).await? == 1)
    }

    async fn raise_versions(
        &mut self,
        after: Option<AccountId>,
        least: AuthVersion,
        most: u32,
        now: Timestamp,
    ) -> Result<Vec<AccountId>, StoreError> {
        // No bytes come before all ids.
        let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let find = || {
            all(sqlx::query!(
                "SELECT id FROM iam_user_account FORCE INDEX (PRIMARY) WHERE id > ? ORDER BY id LIMIT ? FOR UPDATE",
                after.clone(),
                most
            ))
        };
        let found = self.0.lock(find).await?;
        let Some(last) = found.last().map(|row| row.id.clone()) else { return Ok(Vec::new()) };
        let raise = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account FORCE INDEX (PRIMARY) SET auth_version = GREATEST(auth_version + 1, ?), updated_at = ?
                 WHERE id > ? AND id <= ?",
                least.as_i64(),
                utc(now),
                after.clone(),
                last.clone()
            ))
        };
        self.0.write(raise).await?;
        found
            .iter()
            .map(|row| Column("iam_user_account", "id").id(&row.id).map(AccountId::from_bytes))
            .collect()
    }

    async fn verify_email(
        &mut self,
        id: AccountId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Inserted, StoreError> {
        let verify = || {
            execute(sqlx::query!(
                "UPDATE iam_user_account SET email = ?, email_verified_at = ?, updated_at = ? WHERE id = ?",
                email.as_str().as_bytes(),
                utc(now),
                utc(now),
                &id.as_bytes()[..]
            ))
        };
        self.insert_unless_taken(verify).await
    }
}

impl<L: Link> Work<L> {
    /// Holds an account against all others that would do the same or change it, until the unit is over.
    pub(crate) async fn hold_account(&mut self, id: AccountId) -> Result<(), StoreError> {
        let hold = || {
            optional(sqlx::query!(
                "SELECT id FROM iam_user_account WHERE id = ? FOR UPDATE",
                &id.as_bytes()[..]
            ))
        };
        self.0.lock(hold).await.map(drop)
    }

    /// Any unique key in the way is [`Inserted::Taken`]. The server then undoes the one statement, and the transaction
    /// goes on.
    pub(crate) async fn insert_unless_taken(
        &mut self,
        insert: impl Fn() -> Statement<u64> + Send,
    ) -> Result<Inserted, StoreError> {
        match self.0.try_write(insert).await {
            Ok(_) => Ok(Inserted::Done),
            Err(error) => match duplicate_key(&error) {
                Some(key) => Ok(Inserted::Taken(key)),
                None => Err(failed(error)),
            },
        }
    }
}
