//! `iam_interrupted_request`.

use async_trait::async_trait;
use iam_core::ports::{
    Interrupted, InterruptedId, InterruptedRequestReads, InterruptedRequests, NewInterrupted,
};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type InterruptedRow = iam_store_sql::InterruptedRow<Micros>;

#[async_trait]
impl<C: Reading> InterruptedRequestReads for Work<C> {
    async fn by_id(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError> {
        let row = sqlx::query_as!(
            InterruptedRow,
            "SELECT account_id, sealed, created_at, expires_at, resumed_at FROM iam_interrupted_request
             WHERE id = ? AND session_id = ? AND expires_at > ? AND created_at <= ?",
            &id.as_bytes()[..],
            &session.as_bytes()[..],
            now.as_micros(),
            now.latest_tolerated().as_micros()
        )
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        row.map(|row| row.read(id, session)).transpose()
    }
}

#[async_trait]
impl<C: Link> InterruptedRequests for Work<C> {
    async fn keep(&mut self, request: &NewInterrupted, most: u32) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO iam_interrupted_request (id, account_id, session_id, sealed, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?)",
            &request.id.as_bytes()[..],
            &request.account.as_bytes()[..],
            &request.session.as_bytes()[..],
            &request.sealed,
            request.created_at.as_micros(),
            request.expires_at.as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query!("DELETE FROM iam_interrupted_request WHERE id IN
    (SELECT id FROM iam_interrupted_request WHERE session_id = ?1 AND id <> ?2 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)", &request.session.as_bytes()[..], &request.id.as_bytes()[..], i64::from(most.saturating_sub(1)))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn resume(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query!("UPDATE iam_interrupted_request SET resumed_at = ?1
             WHERE id = ?2 AND session_id = ?3 AND resumed_at IS NULL AND expires_at > ?1 AND created_at <= ?4", now.as_micros(), &id.as_bytes()[..], &session.as_bytes()[..], now.latest_tolerated().as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_interrupted_request WHERE id IN
    (SELECT id FROM iam_interrupted_request WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
            expired_before.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
