//! `iam_user_account`.

use async_trait::async_trait;
use iam_core::ports::{
    AccountReads, Accounts, AuthVersion, Inserted, LoginCandidate, LoginIdentifier, Rehash,
};
use iam_core::{
    Account, AccountId, AccountStatus, EmailAddress, ExternalId, ParentId, ParentStatus, PasswordHash,
    StoreError, Timestamp, Username,
};
use sqlx::sqlite::SqliteRow;

use crate::error::{failed, unless_taken};
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

/// ?1 the least version, ?2 now, ?3 the id before the first, ?4 how many.
const RAISE_VERSIONS: &str =
    "UPDATE iam_user_account SET auth_version = max(auth_version + 1, ?1), updated_at = ?2
    WHERE id IN (SELECT id FROM iam_user_account WHERE id > ?3 ORDER BY id LIMIT ?4) RETURNING id";

fn candidate(row: &SqliteRow) -> Result<LoginCandidate, StoreError> {
    let columns = Columns { table: "iam_user_account", row };
    let parent = match columns.maybe_id("parent_id")? {
        None => None,
        Some(id) => Some((ParentId::from_bytes(id), columns.parsed("parent_status", ParentStatus::parse)?)),
    };
    Ok(LoginCandidate {
        account: AccountId::from_bytes(columns.id("id")?),
        status: columns.parsed("status", AccountStatus::parse)?,
        auth_version: AuthVersion::from_i64(columns.number("auth_version")?),
        password: columns.maybe_bytes("password_hash")?.map(PasswordHash::from_stored_bytes),
        password_changed_at: columns.maybe_time("password_changed_at")?,
        parent,
        second_factor: columns.number("second_factor")? != 0,
    })
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let columns = Columns { table: "iam_user_account", row };
    let id = AccountId::from_bytes(columns.id("id")?);
    let username = Username::from_stored(columns.text("username")?);
    let mut account = Account::new(id, username, columns.time("created_at")?);
    account.email = columns.maybe_parsed("email", |text| EmailAddress::parse(text).ok())?;
    account.email_verified_at = columns.maybe_time("email_verified_at")?;
    account.status = columns.parsed("status", AccountStatus::parse)?;
    account.parent = columns.maybe_id("parent_id")?.map(ParentId::from_bytes);
    account.auth_version = AuthVersion::from_i64(columns.number("auth_version")?);
    account.external_id = columns.maybe_text("external_id")?.map(ExternalId::from_stored);
    account.password_changed_at = columns.maybe_time("password_changed_at")?;
    account.updated_at = columns.time("updated_at")?;
    Ok(account)
}

#[async_trait]
impl<C: Reading> AccountReads for Work<C> {
    async fn login_candidate(
        &mut self,
        identifier: &LoginIdentifier,
    ) -> Result<Option<LoginCandidate>, StoreError> {
        const BY_USERNAME: &str =
            "SELECT a.id, a.status, a.auth_version, CAST(a.password_hash AS BLOB) AS password_hash, a.password_changed_at, a.parent_id,
                p.status AS parent_status,
                EXISTS (SELECT 1 FROM iam_mfa_method m WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS second_factor
            FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
            WHERE a.username = ?";
        const BY_EMAIL: &str =
            "SELECT a.id, a.status, a.auth_version, CAST(a.password_hash AS BLOB) AS password_hash, a.password_changed_at, a.parent_id,
                p.status AS parent_status,
                EXISTS (SELECT 1 FROM iam_mfa_method m WHERE m.account_id = a.id AND m.confirmed_at IS NOT NULL) AS second_factor
            FROM iam_user_account a LEFT JOIN iam_parent p ON p.id = a.parent_id
            WHERE a.email = ? AND a.email_verified_at IS NOT NULL";
        // What no account can have is looked up all the same: every name takes the same way.
        let (sql, value) = match identifier {
            LoginIdentifier::Username(username) => (BY_USERNAME, username.as_str()),
            LoginIdentifier::Email(address) => (BY_EMAIL, address.as_str()),
            LoginIdentifier::Unknown(text) => (BY_USERNAME, text.as_str()),
        };
        let row = sqlx::query(sql).bind(value).fetch_optional(self.connection()).await.map_err(failed)?;
        row.as_ref().map(candidate).transpose()
    }

    async fn by_id(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        const SQL: &str =
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
            FROM iam_user_account WHERE id = ?";
        let query = sqlx::query(SQL).bind(&id.as_bytes()[..]);
        let row = query.fetch_optional(self.connection()).await.map_err(failed)?;
        row.as_ref().map(account).transpose()
    }

    async fn by_external_id(&mut self, external_id: &ExternalId) -> Result<Option<Account>, StoreError> {
        const SQL: &str =
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
            FROM iam_user_account WHERE external_id = ?";
        let query = sqlx::query(SQL).bind(external_id.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed)?;
        row.as_ref().map(account).transpose()
    }

    async fn by_username(&mut self, username: &Username) -> Result<Option<Account>, StoreError> {
        const SQL: &str =
            "SELECT id, username, email, email_verified_at, status, parent_id, auth_version, external_id,
                password_changed_at, created_at, updated_at
            FROM iam_user_account WHERE username = ?";
        let query = sqlx::query(SQL).bind(username.as_str());
        let row = query.fetch_optional(self.connection()).await.map_err(failed)?;
        row.as_ref().map(account).transpose()
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
        let done = sqlx::query(
            "INSERT INTO iam_user_account (id, username, email, email_verified_at, password_hash, status, parent_id,
                auth_version, external_id, password_changed_at, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&account.id.as_bytes()[..])
        .bind(account.username.as_str())
        .bind(account.email.as_ref().map(EmailAddress::as_str))
        .bind(account.email_verified_at.map(Timestamp::as_micros))
        .bind(password.map(PasswordHash::expose))
        .bind(account.status.as_str())
        .bind(parent)
        .bind(account.auth_version.as_i64())
        .bind(account.external_id.as_ref().map(ExternalId::as_str))
        .bind(account.password_changed_at.map(Timestamp::as_micros))
        .bind(account.created_at.as_micros())
        .bind(account.updated_at.as_micros())
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
        let done = sqlx::query("UPDATE iam_user_account SET external_id = ?, updated_at = ? WHERE id = ?")
            .bind(external_id.map(ExternalId::as_str))
            .bind(now.as_micros())
            .bind(&id.as_bytes()[..])
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET status = ?, auth_version = auth_version + 1, updated_at = ?
             WHERE id = ? AND status = ?",
        )
        .bind(to.as_str())
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(from.as_str())
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET password_hash = ?1, auth_version = auth_version + 1, password_changed_at = ?2, updated_at = ?2
             WHERE id = ?3",
        )
        .bind(password.expose())
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET password_hash = ?1, auth_version = auth_version + 1, password_changed_at = ?2, updated_at = ?2
             WHERE id = ?3 AND auth_version = ?4 AND status = 'active'",
        )
        .bind(password.expose())
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(expected.as_i64())
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET password_hash = ?1, password_changed_at = ?2
             WHERE id = ?3 AND auth_version = ?4 AND password_hash = ?5 AND status = 'active'
               AND (?6 IS NULL OR password_changed_at IS NULL OR password_changed_at <= ?6)",
        )
        .bind(rehash.new.expose())
        .bind(rehash.at.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(expected.as_i64())
        .bind(rehash.old.expose())
        .bind(rehash.unchanged_since.map(Timestamp::as_micros))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn hold(&mut self, id: AccountId, expected: AuthVersion) -> Result<bool, StoreError> {
        // There is one writer: whoever has a unit of work holds everything.
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM iam_user_account WHERE id = ? AND auth_version = ? AND status = 'active')",
        )
        .bind(&id.as_bytes()[..])
        .bind(expected.as_i64())
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET auth_version = auth_version + 1, updated_at = ?
             WHERE id = ? AND auth_version = ? AND status = 'active'",
        )
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(expected.as_i64())
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
        let rows = sqlx::query(RAISE_VERSIONS)
            .bind(least.as_i64())
            .bind(now.as_micros())
            .bind(after)
            .bind(i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        let ids = rows.iter().map(|row| Columns { table: "iam_user_account", row }.id("id"));
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
        let done = sqlx::query(
            "UPDATE iam_user_account SET email = ?1, email_verified_at = ?2, updated_at = ?2 WHERE id = ?3",
        )
        .bind(email.as_str())
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .execute(self.connection())
        .await;
        unless_taken(done)
    }
}
