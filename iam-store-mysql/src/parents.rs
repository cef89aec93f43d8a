//! `iam_parent`.

use async_trait::async_trait;
use iam_core::ports::{Inserted, ParentReads, Parents};
use iam_core::{FactorRequirement, Parent, ParentId, ParentKey, ParentStatus, StoreError, Timestamp};

use crate::connection::{Link, Reading, execute, optional};
use crate::rows::{Column, grace_seconds, utc};
use crate::unit::Work;

#[async_trait]
impl<L: Reading> ParentReads for Work<L> {
    async fn by_id(&mut self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        let bytes = &id.as_bytes()[..];
        let find = || {
            optional(sqlx::query!(
                "SELECT `key`, name, status, factor_required_at, factor_grace FROM iam_parent WHERE id = ?",
                bytes
            ))
        };
        let Some(row) = self.0.read(find).await? else { return Ok(None) };
        let key = Column("iam_parent", "key").parsed(row.key, |key| ParentKey::parse(key).ok())?;
        let mut parent = Parent::new(id, key);
        parent.name = row.name;
        parent.status = Column("iam_parent", "status").parsed(row.status, ParentStatus::parse)?;
        parent.factor_required =
            Column("iam_parent", "factor_grace").requirement(row.factor_required_at, row.factor_grace)?;
        Ok(Some(parent))
    }

    async fn by_key(&mut self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        let bytes = key.as_str().as_bytes();
        let find = || {
            optional(sqlx::query!(
                "SELECT id, name, status, factor_required_at, factor_grace FROM iam_parent WHERE `key` = ?",
                bytes
            ))
        };
        let Some(row) = self.0.read(find).await? else { return Ok(None) };
        let mut parent =
            Parent::new(ParentId::from_bytes(Column("iam_parent", "id").id(&row.id)?), key.clone());
        parent.name = row.name;
        parent.status = Column("iam_parent", "status").parsed(row.status, ParentStatus::parse)?;
        parent.factor_required =
            Column("iam_parent", "factor_grace").requirement(row.factor_required_at, row.factor_grace)?;
        Ok(Some(parent))
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
