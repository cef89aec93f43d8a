//! `iam_parent`.

use async_trait::async_trait;
use iam_core::ports::{Inserted, ParentReads, Parents};
use iam_core::{FactorRequirement, Parent, ParentId, ParentKey, ParentStatus, StoreError, Timestamp};
use iam_store_sql::grace_seconds;

use crate::error::{failed, unless_taken};
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type ParentRow = iam_store_sql::ParentRow<Micros>;

#[async_trait]
impl<C: Reading> ParentReads for Work<C> {
    async fn by_id(&mut self, id: ParentId) -> Result<Option<Parent>, StoreError> {
        let row = sqlx::query_as!(
            ParentRow,
            "SELECT id, key, name, status, factor_required_at, factor_grace FROM iam_parent WHERE id = ?",
            &id.as_bytes()[..]
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(ParentRow::read).transpose()
    }

    async fn by_key(&mut self, key: &ParentKey) -> Result<Option<Parent>, StoreError> {
        let row = sqlx::query_as!(
            ParentRow,
            "SELECT id, key, name, status, factor_required_at, factor_grace FROM iam_parent WHERE key = ?",
            key.as_str()
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(ParentRow::read).transpose()
    }
}

#[async_trait]
impl<C: Link> Parents for Work<C> {
    async fn insert(&mut self, parent: &Parent, now: Timestamp) -> Result<Inserted, StoreError> {
        let done = sqlx::query!(
            "INSERT INTO iam_parent (id, key, name, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
            ",
            &parent.id.as_bytes()[..],
            parent.key.as_str(),
            &parent.name,
            parent.status.as_str(),
            now.as_micros(),
            now.as_micros()
        )
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
        let done = sqlx::query!(
            "UPDATE iam_parent SET status = ?, updated_at = ? WHERE id = ? AND status = ?",
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

    async fn set_factor_requirement(
        &mut self,
        id: ParentId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_parent SET factor_required_at = ?, factor_grace = ?, updated_at = ?
             WHERE id = ? AND factor_required_at IS ? AND factor_grace IS ?",
            to.map(|to| to.since.as_micros()),
            to.map(grace_seconds),
            now.as_micros(),
            &id.as_bytes()[..],
            from.map(|from| from.since.as_micros()),
            from.map(grace_seconds)
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
