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

use crate::error::{failed, unless_taken};
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type AccountRow = iam_store_sql::AccountRow<Micros>;
type CandidateRow = iam_store_sql::CandidateRow<Micros>;

#[async_trait]
impl<C: Reading> AccountReads for Work<C> {
    async fn login_candidate(
        &mut self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        // What no account can have is looked up all the same: every name takes the same way.
        let name = match identifier {
            LoginIdentifier::Username(username) => username.as_str(),
            LoginIdentifier::Unknown(text) => text.as_str(),
            LoginIdentifier::Email(address) => {
                let row = sqlx::query_as!(
                    CandidateRow,
                    r#"SELECT a.id, a.status, a.auth_version, CAST(a.password_hash AS BLOB) AS "password_hash: Vec<u8>", a.password_changed_at, a.parent_id,
                    p.status AS "parent_status?",
                    EXISTS (SELECT 1 FROM iam_mfa_method m WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS "second_factor!: bool"
                FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
                WHERE a.email = ? AND a.email_verified_at IS NOT NULL"#,
                    address.as_str()
                );
                let row = row.fetch_optional(self.connection()).await.map_err(failed)?;
                return row.map(CandidateRow::read).transpose();
            }
        };
        let row = sqlx::query_as!(
            CandidateRow,
            r#"SELECT a.id, a.status, a.auth_version, CAST(a.password_hash AS BLOB) AS "password_hash: Vec<u8>", a.password_changed_at, a.parent_id,
                p.status AS "parent_status?",
                EXISTS (SELECT 1 FROM iam_mfa_method m WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS "second_factor!: bool"
            FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
            WHERE a.username = ?"#,
            name
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(CandidateRow::read).transpose()
    }

    async fn by_id(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query_as!(
            AccountRow,
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
             FROM iam_user_account WHERE id = ?",
            &id.as_bytes()[..]
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(AccountRow::read).transpose()
    }

    async fn by_external_id(&mut self, external_id: &ExternalId) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query_as!(
            AccountRow,
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
             FROM iam_user_account WHERE external_id = ?",
            external_id.as_str()
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(AccountRow::read).transpose()
    }

    async fn by_username(&mut self, username: &Username) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query_as!(
            AccountRow,
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
             FROM iam_user_account WHERE username = ?",
            username.as_str()
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(AccountRow::read).transpose()
    }
}

#[async_trait]
impl<C: Link> Accounts for Work<C> {
    async fn insert(
        &mut self,
        account: &Account,
        password: Option<&PasswordHash>,
    ) -> Result<Inserted, StoreError> {
        let parent = account.parent.map(|id| id.as_bytes().to_vec());
        let done = sqlx::query!("INSERT INTO iam_user_account (id, username, email, email_verified_at, password_hash, status, parent_id,
                auth_version, external_id, password_changed_at, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &account.id.as_bytes()[..], account.username.as_str(), account.email.as_ref().map(EmailAddress::as_str), account.email_verified_at.map(Timestamp::as_micros), password.map(PasswordHash::expose), account.status.as_str(), parent, account.auth_version.as_i64(), account.external_id.as_ref().map(ExternalId::as_str), account.password_changed_at.map(Timestamp::as_micros), account.created_at.as_micros(), account.updated_at.as_micros())
        .execute(self.connection())
        .await;
        unless_taken(done)
    }

    async fn set_external_id(
        &mut self,
        id: AccountId,
        external_id: Option<&ExternalId>,
        now: Timestamp,
    ) -> Result<Inserted, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_user_account SET external_id = ?, updated_at = ? WHERE id = ?",
            external_id.map(ExternalId::as_str),
            now.as_micros(),
            &id.as_bytes()[..]
        )
        .execute(self.connection())
        .await;
        unless_taken(done)
    }

    async fn set_status(
        &mut self,
        id: AccountId,
        from: AccountStatus,
        to: AccountStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_user_account SET status = ?, auth_version = auth_version + 1, updated_at = ?
             WHERE id = ? AND status = ?",
            to.as_str(),
            now.as_micros(),
            &id.as_bytes()[..],
            from.as_str()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_password(
        &mut self,
        id: AccountId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!("UPDATE iam_user_account SET password_hash = ?1, auth_version = auth_version + 1, password_changed_at = ?2, updated_at = ?2
             WHERE id = ?3", password.expose(), now.as_micros(), &id.as_bytes()[..])
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn change_password(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!("UPDATE iam_user_account SET password_hash = ?1, auth_version = auth_version + 1, password_changed_at = ?2, updated_at = ?2
             WHERE id = ?3 AND auth_version = ?4 AND status = 'active'", password.expose(), now.as_micros(), &id.as_bytes()[..], expected.as_i64())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn rehash(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        rehash: &Rehash<'_>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_user_account SET password_hash = ?1, password_changed_at = ?2
             WHERE id = ?3 AND auth_version = ?4 AND password_hash = ?5 AND status = 'active'
               AND (?6 IS NULL OR password_changed_at IS NULL OR password_changed_at <= ?6)",
            rehash.new.expose(),
            rehash.at.as_micros(),
            &id.as_bytes()[..],
            expected.as_i64(),
            rehash.old.expose(),
            rehash.unchanged_since.map(Timestamp::as_micros)
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn hold(&mut self, id: AccountId, expected: AuthVersion) -> Result<bool, StoreError> {
        // There is one writer: whoever has a unit of work holds everything.
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM iam_user_account WHERE id = ? AND auth_version = ? AND status = 'active') AS "is_there!: bool""#,
            &id.as_bytes()[..],
            expected.as_i64()
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }

    async fn raise_version(
        &mut self,
        id: AccountId,
        expected: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_user_account SET auth_version = auth_version + 1, updated_at = ?
             WHERE id = ? AND auth_version = ? AND status = 'active'",
            now.as_micros(),
            &id.as_bytes()[..],
            expected.as_i64()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
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
        let rows = sqlx::query!(
            "UPDATE iam_user_account SET auth_version = max(auth_version + 1, ?1), updated_at = ?2
    WHERE id IN (SELECT id FROM iam_user_account WHERE id > ?3 ORDER BY id LIMIT ?4) RETURNING id AS \"id!\"",
            least.as_i64(),
            now.as_micros(),
            after,
            i64::from(most)
        )
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        let ids = rows.iter().map(|row| Column("iam_user_account", "id").id(&row.id));
        let mut ids = ids.map(|id| id.map(AccountId::from_bytes)).collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable_by_key(|id| *id.as_bytes());
        Ok(ids)
    }

    async fn verify_email(
        &mut self,
        id: AccountId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Inserted, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_user_account SET email = ?1, email_verified_at = ?2, updated_at = ?2 WHERE id = ?3",
            email.as_str(),
            now.as_micros(),
            &id.as_bytes()[..]
        )
        .execute(self.connection())
        .await;
        unless_taken(done)
    }
}
