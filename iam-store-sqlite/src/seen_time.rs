//! `iam_clock`, and what is done when the clock was put back behind it.

use async_trait::async_trait;
use iam_core::ports::SeenTime;
use iam_core::{EndReason, StoreError, Timestamp};
use sqlx::SqlitePool;

use crate::error::failed;
use crate::unit::{Link, Work};

/// The one statement that asks for the time. It is the machine's.
pub(crate) async fn database_time(pool: &SqlitePool) -> Result<Timestamp, StoreError> {
    let micros = sqlx::query_scalar!(
        r#"SELECT CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) AS "micros!: i64""#
    )
    .fetch_one(pool)
    .await
    .map_err(failed)?;
    Ok(Timestamp::from_micros(micros))
}

#[async_trait]
impl<C: Link> SeenTime for Work<C> {
    async fn note(&mut self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let seen = sqlx::query_scalar!(
            r#"INSERT INTO iam_clock (id, seen_at) VALUES (1, ?)
             ON CONFLICT (id) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at) RETURNING seen_at AS "seen_at!: i64""#,
            now.as_micros()
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)?;
        Ok(Timestamp::from_micros(seen))
    }

    async fn put_back(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_clock SET seen_at = ? WHERE seen_at > ?",
            now.as_micros(),
            now.latest_tolerated().as_micros()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn end_sessions(
        &mut self,
        reason: EndReason,
        now: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_auth_session SET ended_at = ?1, end_reason = ?2
    WHERE id IN (SELECT id FROM iam_auth_session WHERE ended_at IS NULL LIMIT ?3)",
            now.as_micros(),
            reason.as_str(),
            i64::from(most)
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn bring_back(&mut self, now: Timestamp, seen: Timestamp, most: u32) -> Result<u64, StoreError> {
        // These read whole tables, once in the life of a store whose clock is left alone.
        let (now, latest, seen, most) =
            (now.as_micros(), now.latest_tolerated().as_micros(), seen.as_micros(), i64::from(most));
        let void_links = sqlx::query!(
            "UPDATE iam_ticket SET used_at = ?1 WHERE id IN
    (SELECT id FROM iam_ticket WHERE used_at IS NULL AND (created_at > ?2 OR expires_at <= ?3) LIMIT ?4)",
            now,
            latest,
            seen,
            most
        );
        let forget_browsers = sqlx::query!(
            "DELETE FROM iam_trusted_device WHERE id IN
    (SELECT id FROM iam_trusted_device WHERE created_at > ?1 OR expires_at <= ?2 LIMIT ?3)",
            latest,
            seen,
            most
        );
        let shift_limits = sqlx::query!(
            "UPDATE iam_rate_limit SET
        blocked_until = CASE WHEN blocked_until > last_at THEN ?1 + (blocked_until - last_at) ELSE 0 END,
        expires_at = ?1 + max(expires_at - last_at, 0),
        expires_before = min(expires_before, ?1),
        last_at = ?1
    WHERE key IN (SELECT key FROM iam_rate_limit WHERE last_at > ?2 LIMIT ?3)",
            now,
            latest,
            most
        );
        let shift_messages = sqlx::query!(
            "UPDATE iam_outbox SET
        next_attempt_at = min(next_attempt_at, ?1),
        claimed_at = min(claimed_at, ?1)
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL
        AND (next_attempt_at > ?2 OR claimed_at > ?2) LIMIT ?3)",
            now,
            latest,
            most
        );
        let mut rows = 0;
        for statement in [void_links, forget_browsers, shift_limits, shift_messages] {
            let done = statement.execute(self.connection()).await.map_err(failed)?;
            rows = rows.max(done.rows_affected());
        }
        Ok(rows)
    }
}
