//! `iam_interrupted_request`.

use async_trait::async_trait;
use iam_core::ports::{
    Interrupted, InterruptedId, InterruptedRequestReads, InterruptedRequests, NewInterrupted,
};
use iam_core::{SessionId, StoreError, Timestamp};

use crate::connection::{Link, Reading, execute, optional};
use crate::rows::{DateTimes, utc};
use crate::unit::Work;

type InterruptedRow = iam_store_sql::InterruptedRow<DateTimes>;

#[async_trait]
impl<L: Reading> InterruptedRequestReads for Work<L> {
    async fn by_id(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Interrupted>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                InterruptedRow,
                "SELECT account_id, sealed, created_at, expires_at, resumed_at FROM iam_interrupted_request
                 WHERE id = ? AND session_id = ? AND expires_at > ? AND created_at <= ?",
                &id.as_bytes()[..],
                &session.as_bytes()[..],
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        self.0.read(find).await?.map(|row| row.read(id, session)).transpose()
    }
}

#[async_trait]
impl<L: Link> InterruptedRequests for Work<L> {
    async fn keep(&mut self, request: &NewInterrupted, most: u32) -> Result<(), StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_interrupted_request (id, account_id, session_id, sealed, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?)",
                &request.id.as_bytes()[..],
                &request.account.as_bytes()[..],
                &request.session.as_bytes()[..],
                request.sealed.clone(),
                utc(request.created_at),
                utc(request.expires_at)
            ))
        };
        self.0.write(insert).await?;
        let leave_newest = || {
            execute(sqlx::query!(
                "DELETE r FROM
                    (SELECT id FROM iam_interrupted_request FORCE INDEX (iam_interrupted_request_session)
                     WHERE session_id = ? AND id <> ? ORDER BY created_at DESC, id DESC LIMIT 1000 OFFSET ?) old
                 STRAIGHT_JOIN iam_interrupted_request r FORCE INDEX (PRIMARY) ON r.id = old.id",
                &request.session.as_bytes()[..],
                &request.id.as_bytes()[..],
                most.saturating_sub(1)
            ))
        };
        self.0.write(leave_newest).await.map(drop)
    }

    async fn resume(
        &mut self,
        id: InterruptedId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let resume = || {
            execute(sqlx::query!(
                "UPDATE iam_interrupted_request SET resumed_at = ?
                 WHERE id = ? AND session_id = ? AND resumed_at IS NULL AND expires_at > ? AND created_at <= ?",
                utc(now),
                &id.as_bytes()[..],
                &session.as_bytes()[..],
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        Ok(self.0.write(resume).await? == 1)
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE r FROM
                    (SELECT id FROM iam_interrupted_request FORCE INDEX (iam_interrupted_request_expiry)
                     WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_interrupted_request r FORCE INDEX (PRIMARY) ON r.id = old.id",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
