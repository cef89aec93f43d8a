//! `iam_clock`, and what is done when the clock was put back behind it.

use async_trait::async_trait;
use iam_core::ports::SeenTime;
use iam_core::{EndReason, StoreError, Timestamp};
use time::PrimitiveDateTime;

use crate::connection::{Connections, Link, execute, one};
use crate::rows::{timestamp, utc};
use crate::unit::Work;

/// The one statement that asks for the time.
pub(crate) async fn database_time(connections: &Connections) -> Result<Timestamp, StoreError> {
    let find = || one(sqlx::query!(r#"SELECT UTC_TIMESTAMP(6) AS "now!: PrimitiveDateTime""#));
    Ok(timestamp(connections.read(find).await?.now))
}

#[async_trait]
impl<L: Link> SeenTime for Work<L> {
    async fn note(&mut self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let note = || {
            execute(sqlx::query!(
                "INSERT INTO iam_clock (id, seen_at) VALUES (1, ?)
                 ON DUPLICATE KEY UPDATE seen_at = GREATEST(seen_at, VALUES(seen_at))",
                utc(now)
            ))
        };
        self.0.write(note).await?;
        let find = || one(sqlx::query!("SELECT seen_at FROM iam_clock WHERE id = 1 FOR UPDATE"));
        Ok(timestamp(self.0.lock(find).await?.seen_at))
    }

    async fn put_back(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let put_back = || {
            execute(sqlx::query!(
                "UPDATE iam_clock SET seen_at = ? WHERE id = 1 AND seen_at > ?",
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        Ok(self.0.write(put_back).await? == 1)
    }

    async fn end_sessions(
        &mut self,
        reason: EndReason,
        now: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let end = || {
            execute(sqlx::query!(
                "UPDATE iam_auth_session SET ended_at = ?, end_reason = ? WHERE ended_at IS NULL LIMIT ?",
                utc(now),
                reason.as_str(),
                most
            ))
        };
        self.0.write(end).await
    }

    /// Whole tables are read, once in the life of a store whose clock is left alone.
    async fn bring_back(&mut self, now: Timestamp, seen: Timestamp, most: u32) -> Result<u64, StoreError> {
        let void_links = || {
            execute(sqlx::query!(
                "UPDATE iam_ticket SET used_at = ?
                 WHERE used_at IS NULL AND (created_at > ? OR expires_at <= ?) LIMIT ?",
                utc(now),
                utc(now.latest_tolerated()),
                utc(seen),
                most
            ))
        };
        let forget_browsers = || {
            execute(sqlx::query!(
                "DELETE FROM iam_trusted_device WHERE created_at > ? OR expires_at <= ? LIMIT ?",
                utc(now.latest_tolerated()),
                utc(seen),
                most
            ))
        };
        // From left to right: `last_at` is what it was until the end.
        let shift_limits = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET
                    blocked_until = CASE WHEN blocked_until > last_at THEN ? + (blocked_until - last_at) ELSE 0 END,
                    expires_at = ? + GREATEST(expires_at - last_at, 0),
                    expires_before = LEAST(expires_before, ?),
                    last_at = ?
                 WHERE last_at > ? LIMIT ?",
                now.as_micros(),
                now.as_micros(),
                now.as_micros(),
                now.as_micros(),
                now.latest_tolerated().as_micros(),
                most
            ))
        };
        let shift_messages = || {
            execute(sqlx::query!(
                "UPDATE iam_outbox SET
                    next_attempt_at = LEAST(next_attempt_at, ?),
                    claimed_at = LEAST(claimed_at, ?)
                 WHERE settled_at IS NULL AND (next_attempt_at > ? OR claimed_at > ?) LIMIT ?",
                utc(now),
                utc(now),
                utc(now.latest_tolerated()),
                utc(now.latest_tolerated()),
                most
            ))
        };
        let mut rows = self.0.write(void_links).await?;
        rows = rows.max(self.0.write(forget_browsers).await?);
        rows = rows.max(self.0.write(shift_limits).await?);
        Ok(rows.max(self.0.write(shift_messages).await?))
    }
}
