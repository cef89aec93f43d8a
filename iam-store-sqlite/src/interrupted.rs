//! `iam_interrupted_request`.

use async_trait::async_trait;
use iam_core::ports::{
    Interrupted, InterruptedId, InterruptedRequestReads, InterruptedRequests, NewInterrupted,
};
use iam_core::{AccountId, SessionId, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const LEAVE_NEWEST: &str = "DELETE FROM iam_interrupted_request WHERE id IN
    (SELECT id FROM iam_interrupted_request WHERE session_id = ?1 AND id <> ?2 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)";

const PURGE: &str = "DELETE FROM iam_interrupted_request WHERE id IN
    (SELECT id FROM iam_interrupted_request WHERE expires_at < ? ORDER BY expires_at LIMIT ?)";

#[async_trait]
impl<C: Reading> InterruptedRequestReads for Work<C> {
    async fn by_id(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError> {
        let row = sqlx::query(
            "SELECT account_id, sealed, created_at, expires_at, resumed_at FROM iam_interrupted_request
             WHERE id = ? AND session_id = ? AND expires_at > ? AND created_at <= ?",
        )
        .bind(&id.as_bytes()[..])
        .bind(&session.as_bytes()[..])
        .bind(now.as_micros())
        .bind(now.latest_tolerated().as_micros())
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns { table: "iam_interrupted_request", row: &row };
        let new = NewInterrupted {
            id,
            account: AccountId::from_bytes(columns.id("account_id")?),
            session,
            sealed: columns.maybe_bytes("sealed")?.unwrap_or_default().to_vec(),
            created_at: columns.time("created_at")?,
            expires_at: columns.time("expires_at")?,
        };
        Ok(Some(Interrupted { new, resumed_at: columns.maybe_time("resumed_at")? }))
    }
}

#[async_trait]
impl<C: Link> InterruptedRequests for Work<C> {
    async fn keep(&mut self, request: &NewInterrupted, most: u32) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO iam_interrupted_request (id, account_id, session_id, sealed, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&request.id.as_bytes()[..])
        .bind(&request.account.as_bytes()[..])
        .bind(&request.session.as_bytes()[..])
        .bind(&request.sealed)
        .bind(request.created_at.as_micros())
        .bind(request.expires_at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query(LEAVE_NEWEST)
            .bind(&request.session.as_bytes()[..])
            .bind(&request.id.as_bytes()[..])
            .bind(i64::from(most.saturating_sub(1)))
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
        let done = sqlx::query(
            "UPDATE iam_interrupted_request SET resumed_at = ?1
             WHERE id = ?2 AND session_id = ?3 AND resumed_at IS NULL AND expires_at > ?1 AND created_at <= ?4",
        )
        .bind(now.as_micros())
        .bind(&id.as_bytes()[..])
        .bind(&session.as_bytes()[..])
        .bind(now.latest_tolerated().as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE, expired_before, most).await
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAVE_NEWEST, PURGE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn rows_are_found_by_index() {
        assert_by_index(&[
            (LEAVE_NEWEST, &["iam_interrupted_request_session"]),
            (PURGE, &["iam_interrupted_request_expiry"]),
        ])
        .await;
    }
}
