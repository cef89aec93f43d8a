//! `iam_role` and `iam_user_role`.

use async_trait::async_trait;
use iam_core::ports::{GrantSource, Holders, Inserted, RoleGrant, RoleOfAccount, RoleReads, Roles};
use iam_core::{AccountId, FactorRequirement, Role, RoleId, RoleName, StoreError, Timestamp};
use iam_store_sql::grace_seconds;

use crate::error::{failed, unless_taken};
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type RoleRow = iam_store_sql::RoleRow<Micros>;
type RoleOfAccountRow = iam_store_sql::RoleOfAccountRow<Micros>;

#[async_trait]
impl<C: Reading> RoleReads for Work<C> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError> {
        let rows = sqlx::query_as!(
            RoleOfAccountRow,
            "SELECT r.name, g.granted_at, g.expires_at, r.factor_required_at, r.factor_grace
             FROM iam_user_role g JOIN iam_role r ON r.id = g.role_id
             WHERE g.account_id = ? ORDER BY r.name, g.source",
            &account.as_bytes()[..]
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.into_iter().map(RoleOfAccountRow::read).collect()
    }

    async fn by_name(&mut self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        let row = sqlx::query_as!(
            RoleRow,
            "SELECT id, name, description, factor_required_at, factor_grace FROM iam_role WHERE name = ?",
            name.as_str()
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(RoleRow::read).transpose()
    }
}

#[async_trait]
impl<C: Link> Roles for Work<C> {
    async fn insert(&mut self, role: &Role, now: Timestamp) -> Result<Inserted, StoreError> {
        let done = sqlx::query!(
            "INSERT INTO iam_role (id, name, description, created_at) VALUES (?, ?, ?, ?)",
            &role.id.as_bytes()[..],
            role.name.as_str(),
            &role.description,
            now.as_micros()
        )
        .execute(self.connection())
        .await;
        unless_taken(done)
    }

    async fn grant(&mut self, grant: &RoleGrant) -> Result<bool, StoreError> {
        let done = sqlx::query!("INSERT INTO iam_user_role (account_id, role_id, source, granted_by, granted_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (account_id, role_id, source) DO UPDATE
                SET granted_by = excluded.granted_by, granted_at = excluded.granted_at, expires_at = excluded.expires_at
                WHERE granted_by IS NOT excluded.granted_by OR expires_at IS NOT excluded.expires_at", &grant.account.as_bytes()[..], &grant.role.as_bytes()[..], grant.source.as_str(), grant.granted_by.map(|id| id.as_bytes().to_vec()), grant.granted_at.as_micros(), grant.expires_at.map(Timestamp::as_micros))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke(
        &mut self,
        account: AccountId,
        role: RoleId,
        source: &GrantSource,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_user_role WHERE account_id = ? AND role_id = ? AND source = ?",
            &account.as_bytes()[..],
            &role.as_bytes()[..],
            source.as_str()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_source(&mut self, account: AccountId, source: &GrantSource) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_user_role WHERE account_id = ? AND source = ?",
            &account.as_bytes()[..],
            source.as_str()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn set_factor_requirement(
        &mut self,
        id: RoleId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_role SET factor_required_at = ?, factor_grace = ?
             WHERE id = ? AND factor_required_at IS ? AND factor_grace IS ?",
            to.map(|to| to.since.as_micros()),
            to.map(grace_seconds),
            &id.as_bytes()[..],
            from.map(|from| from.since.as_micros()),
            from.map(grace_seconds)
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn is_held(&mut self, role: RoleId) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM iam_user_role WHERE role_id = ?) AS "is_held!: bool""#,
            &role.as_bytes()[..]
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }

    async fn are_last_holders(&mut self, role: RoleId, who: Holders) -> Result<bool, StoreError> {
        let (account, parent) = match who {
            Holders::Account(id) => (Some(id.as_bytes().to_vec()), None),
            Holders::Parent(id) => (None, Some(id.as_bytes().to_vec())),
        };
        // There is one unit that writes at a time.
        sqlx::query_scalar!(
            r#"SELECT EXISTS (
        SELECT 1 FROM iam_user_role held JOIN iam_user_account account ON account.id = held.account_id
        WHERE held.role_id = ?1 AND (account.id = ?2 OR account.parent_id = ?3)
    ) AND NOT EXISTS (
        SELECT 1 FROM iam_user_role held JOIN iam_user_account account ON account.id = held.account_id
            LEFT JOIN iam_parent parent ON parent.id = account.parent_id
        WHERE held.role_id = ?1 AND held.expires_at IS NULL
            AND account.status = 'active' AND (parent.id IS NULL OR parent.status = 'active')
            AND (?2 IS NULL OR account.id <> ?2) AND (?3 IS NULL OR account.parent_id IS NOT ?3)
    ) AS "are_last!: bool""#,
            &role.as_bytes()[..],
            account,
            parent
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }
}
