//! `iam_parent`.

use async_trait::async_trait;
use iam_core::ports::{Inserted, ParentReads, Parents};
use iam_core::{FactorRequirement, Parent, ParentId, ParentKey, ParentStatus, StoreError, Timestamp};
use iam_store_sql::grace_seconds;

use crate::connection::{Link, Reading, execute, optional};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

type ParentRow = iam_store_sql::ParentRow<DateTimes>;

#[async_trait]
impl<L: Reading> ParentReads for Work<L> {
    async fn by_id(&mut self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                ParentRow,
                "SELECT id, `key`, name, status, factor_required_at, factor_grace FROM iam_parent WHERE id = ?",
                &id.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.map(ParentRow::read).transpose()
    }

    async fn by_key(&mut self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                ParentRow,
                "SELECT id, `key`, name, status, factor_required_at, factor_grace FROM iam_parent WHERE `key` = ?",
                key.as_str().as_bytes()
            ))
        };
        self.0.read(find).await?.map(ParentRow::read).transpose()
    }
}

#[async_trait]
impl<L: Link> Parents for Work<L> {
    async fn insert(&mut self, parent: &Parent, now: Timestamp) -> Result<Inserted, StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_parent (id, `key`, name, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
                &parent.id.as_bytes()[..],
                parent.key.as_str().as_bytes(),
                parent.name,
                parent.status.as_str(),
                utc(now),
                utc(now)
            ))
        };
        self.insert_unless_taken(insert).await
    }

    async fn set_status(
        &mut self,
        id: ParentId,
        from: ParentStatus,
        to: ParentStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_parent SET status = ?, updated_at = ? WHERE id = ? AND status = ?",
                to.as_str(),
                utc(now),
                &id.as_bytes()[..],
                from.as_str()
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }

    async fn set_factor_requirement(
        &mut self,
        id: ParentId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let set = || {
            execute(sqlx::query!(
                "UPDATE iam_parent SET factor_required_at = ?, factor_grace = ?, updated_at = ?
                 WHERE id = ? AND factor_required_at <=> ? AND factor_grace <=> ?",
                to.map(|to| utc(to.since)),
                to.map(grace_seconds),
                utc(now),
                &id.as_bytes()[..],
                from.map(|from| utc(from.since)),
                from.map(grace_seconds)
            ))
        };
        Ok(self.0.write(set).await? == 1)
    }
}
