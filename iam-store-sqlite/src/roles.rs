//! `iam_role` and `iam_user_role`.

use async_trait::async_trait;
use iam_core::ports::{GrantSource, Holders, Inserted, RoleGrant, RoleOfAccount, RoleReads, Roles};
use iam_core::{AccountId, FactorRequirement, Role, RoleId, RoleName, StoreError, Timestamp};

use crate::error::{failed, unless_taken};
use crate::rows::{Columns, grace_seconds};
use crate::unit::{Link, Reading, Work};

const OF_ACCOUNT: &str = "SELECT iam_role.name, iam_user_role.granted_at, iam_user_role.expires_at,
        iam_role.factor_required_at, iam_role.factor_grace
    FROM iam_user_role JOIN iam_role ON iam_role.id = iam_user_role.role_id
    WHERE iam_user_role.account_id = ? ORDER BY iam_role.name, iam_user_role.source";

#[async_trait]
impl<C: Reading> RoleReads for Work<C> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError> {
        let query = sqlx::query(OF_ACCOUNT).bind(&account.as_bytes()[..]);
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter()
            .map(|row| {
                let columns = Columns { table: "iam_role", row };
                Ok(RoleOfAccount {
                    name: columns.parsed("name", |name| RoleName::parse(name).ok())?,
                    granted_at: columns.time("granted_at")?,
                    expires_at: columns.maybe_time("expires_at")?,
                    factor_required: columns.requirement("factor_required_at", "factor_grace")?,
                })
            })
            .collect()
    }

    async fn by_name(&mut self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        let query = sqlx::query(
            "SELECT id, description, factor_required_at, factor_grace FROM iam_role WHERE name = ?",
        )
        .bind(name.as_str());
        let Some(row) = query.fetch_optional(self.connection()).await.map_err(failed)? else {
            return Ok(None);
        };
        let columns = Columns { table: "iam_role", row: &row };
        let mut role = Role::new(RoleId::from_bytes(columns.id("id")?), name.clone());
        role.description = columns.text("description")?;
        role.factor_required = columns.requirement("factor_required_at", "factor_grace")?;
        Ok(Some(role))
    }
}

#[async_trait]
impl<C: Link> Roles for Work<C> {
    async fn insert(&mut self, role: &Role, now: Timestamp) -> Result<Inserted, StoreError> {
        let done =
            sqlx::query("INSERT INTO iam_role (id, name, description, created_at) VALUES (?, ?, ?, ?)")
                .bind(&role.id.as_bytes()[..])
                .bind(role.name.as_str())
                .bind(&role.description)
                .bind(now.as_micros())
                .execute(self.connection())
                .await;
        unless_taken(done)
    }

    async fn grant(&mut self, grant: &RoleGrant) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO iam_user_role (account_id, role_id, source, granted_by, granted_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (account_id, role_id, source) DO UPDATE
                SET granted_by = excluded.granted_by, granted_at = excluded.granted_at, expires_at = excluded.expires_at
                WHERE granted_by IS NOT excluded.granted_by OR expires_at IS NOT excluded.expires_at",
        )
        .bind(&grant.account.as_bytes()[..])
        .bind(&grant.role.as_bytes()[..])
        .bind(grant.source.as_str())
        .bind(grant.granted_by.map(|id| id.as_bytes().to_vec()))
        .bind(grant.granted_at.as_micros())
        .bind(grant.expires_at.map(Timestamp::as_micros))
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
        let done =
            sqlx::query("DELETE FROM iam_user_role WHERE account_id = ? AND role_id = ? AND source = ?")
                .bind(&account.as_bytes()[..])
                .bind(&role.as_bytes()[..])
                .bind(source.as_str())
                .execute(self.connection())
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_source(&mut self, account: AccountId, source: &GrantSource) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM iam_user_role WHERE account_id = ? AND source = ?")
            .bind(&account.as_bytes()[..])
            .bind(source.as_str())
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
        let done = sqlx::query(
            "UPDATE iam_role SET factor_required_at = ?, factor_grace = ?
             WHERE id = ? AND factor_required_at IS ? AND factor_grace IS ?",
        )
        .bind(to.map(|to| to.since.as_micros()))
        .bind(to.map(grace_seconds))
        .bind(&id.as_bytes()[..])
        .bind(from.map(|from| from.since.as_micros()))
        .bind(from.map(grace_seconds))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn is_held(&mut self, role: RoleId) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM iam_user_role WHERE role_id = ?)")
            .bind(&role.as_bytes()[..])
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
        sqlx::query_scalar(LAST_HOLDERS)
            .bind(&role.as_bytes()[..])
            .bind(account)
            .bind(parent)
            .fetch_one(self.connection())
            .await
            .map_err(failed)
    }
}

const LAST_HOLDERS: &str = "SELECT EXISTS (
        SELECT 1 FROM iam_user_role held JOIN iam_user_account account ON account.id = held.account_id
        WHERE held.role_id = ?1 AND (account.id = ?2 OR account.parent_id = ?3)
    ) AND NOT EXISTS (
        SELECT 1 FROM iam_user_role held JOIN iam_user_account account ON account.id = held.account_id
            LEFT JOIN iam_parent parent ON parent.id = account.parent_id
        WHERE held.role_id = ?1 AND held.expires_at IS NULL
            AND account.status = 'active' AND (parent.id IS NULL OR parent.status = 'active')
            AND (?2 IS NULL OR account.id <> ?2) AND (?3 IS NULL OR account.parent_id IS NOT ?3)
    )";

#[cfg(test)]
mod tests {
    use super::{LAST_HOLDERS, OF_ACCOUNT};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn the_roles_of_an_account_are_found_by_index() {
        // In rows without a number of their own both keys are the tables' order.
        assert_by_index(&[(
            OF_ACCOUNT,
            &["SEARCH iam_user_role USING PRIMARY KEY", "SEARCH iam_role USING"],
        )])
        .await;
        assert_by_index(&[(LAST_HOLDERS, &["SEARCH held USING"])]).await;
    }
}
