//! `iam_rate_limit`: each decision is one statement.

use async_trait::async_trait;
use iam_core::clock::{Timestamp, micros};
use iam_core::limit::{LimitKey, Reservation, Slot, Throttle, Window};
use iam_core::store::{Limits, StoreError};
use sqlx::Row;

use crate::error::failed;
use crate::unit::Work;

/// `Throttle::delay_after` of a count; ?3 free tries, ?4 first delay, ?5 longest delay. At 2^30 every delay has met its
/// ceiling, and a first delay of up to two hours can be shifted that far within 64 bits.
macro_rules! delay_after {
    ($count:literal) => {
        concat!("CASE WHEN ", $count, " < ?3 THEN 0 ELSE min(?4 << min(", $count, " - ?3, 30), ?5) END")
    };
}

/// ?1 key, ?2 now, ?6 time after which all is forgotten (kept as `expires_at`).
const RESERVE: &str = concat!(
    "INSERT INTO iam_rate_limit (key, count, since, last_at, blocked_until, expires_at)
     VALUES (?1, 1, ?2, ?2, ?2 + ",
    delay_after!("1"),
    ", ?2 + ",
    delay_after!("1"),
    " + ?6)
     ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN ?2 >= expires_at THEN 1 ELSE count + 1 END,
        since = CASE WHEN ?2 >= expires_at THEN max(?2, since + 1) ELSE since END,
        last_at = ?2,
        blocked_until = ?2 + CASE WHEN ?2 >= expires_at THEN ",
    delay_after!("1"),
    " ELSE ",
    delay_after!("(count + 1)"),
    " END,
        expires_at = ?6 + ?2 + CASE WHEN ?2 >= expires_at THEN ",
    delay_after!("1"),
    " ELSE ",
    delay_after!("(count + 1)"),
    " END
     WHERE blocked_until <= ?2
     RETURNING count, since"
);

const RESERVE_IN_WINDOW: &str =
    "INSERT INTO iam_rate_limit (key, count, since, last_at, blocked_until, expires_at)
     VALUES (?1, 1, ?2, ?2, 0, ?2 + ?4)
     ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN ?2 >= expires_at THEN 1 ELSE count + 1 END,
        since = CASE WHEN ?2 >= expires_at THEN max(?2, since + 1) ELSE since END,
        last_at = ?2,
        expires_at = CASE WHEN ?2 >= expires_at THEN ?2 + ?4 ELSE expires_at END
     WHERE ?2 >= expires_at OR count < ?3
     RETURNING count, since";

#[async_trait]
impl Limits for Work {
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let granted = sqlx::query(RESERVE)
            .bind(&key.as_bytes()[..])
            .bind(now.as_micros())
            .bind(i64::from(rule.free))
            .bind(micros(rule.first_delay))
            .bind(micros(rule.max_delay))
            .bind(micros(rule.forget_after))
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        match granted {
            Some(row) => slot(&row).map(Reservation::Granted),
            None => self.refused_until("SELECT blocked_until FROM iam_rate_limit WHERE key = ?", key).await,
        }
    }

    async fn give_back(
        &mut self,
        key: &LimitKey,
        slot: &Slot,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE iam_rate_limit SET
                blocked_until = CASE WHEN count - 1 < ?3 OR count = ?4 THEN min(blocked_until, ?5) ELSE blocked_until END,
                count = max(count - 1, 0)
             WHERE key = ?1 AND since = ?2",
        )
        .bind(&key.as_bytes()[..])
        .bind(slot.since.as_micros())
        .bind(i64::from(rule.free))
        .bind(i64::from(slot.count))
        .bind(now.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn reserve_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let granted = sqlx::query(RESERVE_IN_WINDOW)
            .bind(&key.as_bytes()[..])
            .bind(now.as_micros())
            .bind(i64::from(rule.limit))
            .bind(micros(rule.length))
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        match granted {
            Some(row) => slot(&row).map(Reservation::Granted),
            None => self.refused_until("SELECT expires_at FROM iam_rate_limit WHERE key = ?", key).await,
        }
    }

    async fn give_back_in_window(&mut self, key: &LimitKey, slot: &Slot) -> Result<(), StoreError> {
        sqlx::query("UPDATE iam_rate_limit SET count = max(count - 1, 0) WHERE key = ? AND since = ?")
            .bind(&key.as_bytes()[..])
            .bind(slot.since.as_micros())
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn count_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let unlimited = Window { limit: u32::MAX, length: rule.length };
        match self.reserve_in_window(key, &unlimited, now).await? {
            Reservation::Granted(_) | Reservation::Refused(_) => Ok(()),
        }
    }

    async fn full_until(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let until: Option<i64> = sqlx::query_scalar(
            "SELECT expires_at FROM iam_rate_limit WHERE key = ? AND expires_at > ? AND count >= ?",
        )
        .bind(&key.as_bytes()[..])
        .bind(now.as_micros())
        .bind(i64::from(rule.limit))
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        Ok(until.map(Timestamp::from_micros))
    }

    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_rate_limit WHERE key IN (SELECT key FROM iam_rate_limit WHERE expires_at <= ? LIMIT ?)",
        )
        .bind(now.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

impl Work {
    async fn refused_until(&mut self, sql: &'static str, key: &LimitKey) -> Result<Reservation, StoreError> {
        let until: i64 = sqlx::query_scalar(sql)
            .bind(&key.as_bytes()[..])
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(Reservation::Refused(Timestamp::from_micros(until)))
    }
}

fn slot(row: &sqlx::sqlite::SqliteRow) -> Result<Slot, StoreError> {
    let count: i64 = row.try_get("count").map_err(failed)?;
    let since: i64 = row.try_get("since").map_err(failed)?;
    Ok(Slot { count: u32::try_from(count).unwrap_or(u32::MAX), since: Timestamp::from_micros(since) })
}
