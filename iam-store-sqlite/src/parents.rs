//! `iam_parent`.

use async_trait::async_trait;
use iam_core::ports::{Inserted, ParentReads, Parents};
use iam_core::{FactorRequirement, Parent, ParentId, ParentKey, ParentStatus, StoreError, Timestamp};

use crate::error::{failed, unless_taken};
use crate::rows::{Columns, grace_seconds};
use crate::unit::{Link, Reading, Work};

#[async_trait]
impl<C: Reading> ParentReads for Work<C> {
    async fn by_id(&mut self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        let query = sqlx::query(
            "SELECT key, name, status, factor_required_at, factor_grace FROM iam_parent WHERE id = ?",
        )
        .bind(&id.as_bytes()[..]);
        let Some(row) = query.fetch_optional(self.connection()).await.map_err(failed)? else {
            return Ok(None);
        };
        let columns = Columns { table: "iam_parent", row: &row };
        let mut parent = Parent::new(id, columns.parsed("key", |key| ParentKey::parse(key).ok())?);
        parent.name = columns.text("name")?;
        parent.status = columns.parsed("status", ParentStatus::parse)?;
        parent.factor_required = columns.requirement("factor_required_at", "factor_grace")?;
        Ok(Some(parent))
    }

    async fn by_key(&mut self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        let query = sqlx::query(
            "SELECT id, name, status, factor_required_at, factor_grace FROM iam_parent WHERE key = ?",
        )
        .bind(key.as_str());
        let Some(row) = query.fetch_optional(self.connection()).await.map_err(failed)? else {
            return Ok(None);
        };
        let columns = Columns { table: "iam_parent", row: &row };
        let mut parent = Parent::new(ParentId::from_bytes(columns.id("id")?), key.clone());
        parent.name = columns.text("name")?;
        parent.status = columns.parsed("status", ParentStatus::parse)?;
        parent.factor_required = columns.requirement("factor_required_at", "factor_grace")?;
        Ok(Some(parent))
    }
}

#[async_trait]
impl<C: Link> Parents for Work<C> {
    async fn insert(&mut self, parent: &Parent, now: Timestamp) -> Result<Inserted, StoreError> {
        let done = sqlx::query(
            "INSERT INTO iam_parent (id, key, name, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
            ",
        )
        .bind(&parent.id.as_bytes()[..])
        .bind(parent.key.as_str())
        .bind(&parent.name)
        .bind(parent.status.as_str())
        .bind(now.as_micros())
        .bind(now.as_micros())
        .execute(self.connection())
        .await;
        unless_taken(done)
    }

    async fn set_status(
        &mut self,
        id: ParentId,
        from: ParentStatus,
        to: ParentStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE iam_parent SET status = ?, updated_at = ? WHERE id = ? AND status = ?")
                .bind(to.as_str())
                .bind(now.as_micros())
                .bind(&id.as_bytes()[..])
                .bind(from.as_str())
                .execute(self.connection())
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_factor_requirement(
        &mut self,
        id: ParentId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_parent SET factor_required_at = ?, factor_grace = ?, updated_at = ?
             WHERE id = ? AND factor_required_at IS ? AND factor_grace IS ?",
        )
        .bind(to.map(|to| to.since.as_micros()))
        .bind(to.map(grace_seconds))
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(from.map(|from| from.since.as_micros()))
        .bind(from.map(grace_seconds))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
