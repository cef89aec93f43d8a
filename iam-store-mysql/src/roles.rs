//! `iam_role` and `iam_user_role`.

use async_trait::async_trait;
use iam_core::ports::{GrantSource, Holders, Inserted, RoleGrant, RoleOfAccount, RoleReads, Roles};
use iam_core::{AccountId, FactorRequirement, Role, RoleId, RoleName, StoreError, Timestamp};
use iam_store_sql::grace_seconds;

use crate::connection::{Link, Reading, all, execute, optional};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

type RoleRow = iam_store_sql::RoleRow<DateTimes>;
type RoleOfAccountRow = iam_store_sql::RoleOfAccountRow<DateTimes>;

#[async_trait]
impl<L: Reading> RoleReads for Work<L> {
    async fn of_account(&mut self, account: AccountId) -> Result<Vec<RoleOfAccount>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                RoleOfAccountRow,
                "SELECT r.name, g.granted_at, g.expires_at, r.factor_required_at, r.factor_grace
                 FROM iam_user_role g JOIN iam_role r ON r.id = g.role_id
                 WHERE g.account_id = ? ORDER BY r.name, g.source",
                &account.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.into_iter().map(RoleOfAccountRow::read).collect()
    }

    async fn by_name(&mut self, name: &RoleName) -> Result<Option<Role>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                RoleRow,
                "SELECT id, name, description, factor_required_at, factor_grace FROM iam_role WHERE name = ?",
                name.as_str().as_bytes()
            ))
        };
        self.0.read(find).await?.map(RoleRow::read).transpose()
    }
}

#[async_trait]
impl<L: Link> Roles for Work<L> {
    async fn insert(&mut self, role: &Role, now: Timestamp) -> Result<Inserted, StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_role (id, name, description, created_at) VALUES (?, ?, ?, ?)",
                &role.id.as_bytes()[..],
                role.name.as_str().as_bytes(),
                role.description,
                utc(now)
            ))
        };
        self.insert_unless_taken(insert).await
    }

    async fn grant(&mut self, grant: &RoleGrant) -> Result<bool, StoreError> {
        let (account, role) = (&grant.account.as_bytes()[..], &grant.role.as_bytes()[..]);
        let source = grant.source.as_str();
        let giver = grant.granted_by.map(|id| id.as_bytes().to_vec());
        let (at, until) = (utc(grant.granted_at), grant.expires_at.map(utc));
        // Those who give roles to one account take turns, so that none finds the other's row half way.
        let take_turn = || {
            optional(sqlx::query!(
                "SELECT auth_version FROM iam_user_account WHERE id = ? FOR UPDATE",
                account
            ))
        };
        let replace = || {
            execute(sqlx::query!(
                "UPDATE iam_user_role SET granted_by = ?, granted_at = ?, expires_at = ?
                 WHERE account_id = ? AND role_id = ? AND source = ? AND NOT (granted_by <=> ? AND expires_at <=> ?)",
                giver,
                at,
                until,
                account,
                role,
                source,
                giver,
                until
            ))
        };
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_user_role (account_id, role_id, source, granted_by, granted_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?)",
                account,
                role,
                source,
                giver,
                at,
                until
            ))
        };
        self.0.lock(take_turn).await?;
        if self.0.write(replace).await? == 1 {
            return Ok(true);
        }
        // Taken: it is held in the same way, or it would have been replaced.
        Ok(self.insert_unless_taken(insert).await? == Inserted::Done)
    }

    async fn revoke(
        &mut self,
        account: AccountId,
        role: RoleId,
        source: &GrantSource,
    ) -> Result<bool, StoreError> {
        let revoke = || {
            execute(sqlx::query!(
                "DELETE FROM iam_user_role WHERE account_id = ? AND role_id = ? AND source = ?",
                &account.as_bytes()[..],
                &role.as_bytes()[..],
                source.as_str()
            ))
        };
        Ok(self.0.write(revoke).await? == 1)
    }

    async fn revoke_source(&mut self, account: AccountId, source: &GrantSource) -> Result<u64, StoreError> {
        let revoke = || {
            execute(sqlx::query!(
                "DELETE FROM iam_user_role WHERE account_id = ? AND source = ?",
                &account.as_bytes()[..],
                source.as_str()
            ))
        };
        self.0.write(revoke).await
    }

    async fn set_factor_requirement(
        &mut self,
        id: RoleId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
    ) -> Result<bool, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_role SET factor_required_at = ?, factor_grace = ?
                 WHERE id = ? AND factor_required_at <=> ? AND factor_grace <=> ?",
                to.map(|to| utc(to.since)),
                to.map(grace_seconds),
                &id.as_bytes()[..],
                from.map(|from| utc(from.since)),
                from.map(grace_seconds)
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }

    async fn is_held(&mut self, role: RoleId) -> Result<bool, StoreError> {
        let role = &role.as_bytes()[..];
        // The answer holds until the unit is over: nobody gives the role meanwhile, since that needs a lock on its row.
        let hold = || optional(sqlx::query!("SELECT id FROM iam_role WHERE id = ? FOR UPDATE", role));
        let find = || {
            optional(sqlx::query!(
                "SELECT role_id FROM iam_user_role WHERE role_id = ? LIMIT 1 LOCK IN SHARE MODE",
                role
            ))
        };
        self.0.lock(hold).await?;
        Ok(self.0.lock(find).await?.is_some())
    }

    async fn are_last_holders(&mut self, role: RoleId, who: Holders) -> Result<bool, StoreError> {
        let role = &role.as_bytes()[..];
        let (account, parent) = match who {
            Holders::Account(id) => (Some(id.as_bytes().to_vec()), None),
            Holders::Parent(id) => (None, Some(id.as_bytes().to_vec())),
        };
        // Who asks holds the role's row, so that two who would each leave the other's don't both go on.
        let hold = || optional(sqlx::query!("SELECT id FROM iam_role WHERE id = ? FOR UPDATE", role));
        let among_them = || {
            optional(sqlx::query!(
                "SELECT g.account_id FROM iam_user_role g JOIN iam_user_account a ON a.id = g.account_id
                 WHERE g.role_id = ? AND (a.id = ? OR a.parent_id = ?) LIMIT 1 LOCK IN SHARE MODE",
                role,
                account,
                parent
            ))
        };
        let beside_them = || {
            optional(sqlx::query!(
                "SELECT g.account_id FROM iam_user_role g JOIN iam_user_account a ON a.id = g.account_id
                    LEFT JOIN iam_parent p ON p.id = a.parent_id
                 WHERE g.role_id = ? AND g.expires_at IS NULL
                    AND a.status = 'active' AND (p.id IS NULL OR p.status = 'active')
                    AND (? IS NULL OR a.id <> ?) AND (? IS NULL OR NOT (a.parent_id <=> ?))
                 LIMIT 1 LOCK IN SHARE MODE",
                role,
                account,
                account,
                parent,
                parent
            ))
        };
        self.0.lock(hold).await?;
        Ok(self.0.lock(among_them).await?.is_some() && self.0.lock(beside_them).await?.is_none())
    }
}
