//! `iam_rate_limit`: each decision is one statement.

use async_trait::async_trait;
use iam_core::ports::{Delays, LimitKey, Limits, Reservation, Slot, bounded_micros};
use iam_core::{StoreError, Throttle, Timestamp, Window};
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Work};

/// Grants if no block stands. ?1 key, ?2 now, ?3 to ?6 the delays (see [`Delays`]), ?7 time that forgets, ?8 the latest block.
///
/// A block always ends before its key is forgotten, so the one condition at the end covers both cases. A counting that begins
/// anew never has the `since` of the one before, even if the clock was set back. A free try leaves no block at all (0).
const RESERVE: &str = "
    WITH before AS (
        SELECT count, since, number, expires_at, ?2 >= expires_at AS forgotten FROM iam_rate_limit WHERE key = ?1
    ), counted AS (
        SELECT CASE WHEN forgotten THEN 1 ELSE count + 1 END AS count,
               CASE WHEN forgotten THEN max(?2, since + 1) ELSE since END AS since,
               CASE WHEN forgotten THEN 1 ELSE number + 1 END AS number,
               CASE WHEN forgotten THEN ?2 ELSE expires_at END AS expires_before
        FROM before
        UNION ALL SELECT 1, ?2, 1, ?2 WHERE NOT EXISTS (SELECT 1 FROM before)
    ), delayed AS (
        SELECT *, CASE
            WHEN count < ?3 THEN 0
            WHEN count - ?3 < ?5 THEN ?2 + (?4 << (count - ?3))
            ELSE ?2 + ?6
        END AS blocked_until
        FROM counted
    )
    INSERT INTO iam_rate_limit (key, count, since, number, last_at, blocked_until, expires_before, expires_at)
    SELECT ?1, count, since, number, ?2, blocked_until, expires_before, max(?2, blocked_until) + ?7 FROM delayed WHERE true
    ON CONFLICT (key) DO UPDATE SET
        count = excluded.count,
        since = excluded.since,
        number = excluded.number,
        last_at = excluded.last_at,
        blocked_until = excluded.blocked_until,
        expires_before = excluded.expires_before,
        expires_at = excluded.expires_at
    WHERE iam_rate_limit.blocked_until <= ?2 OR iam_rate_limit.blocked_until > ?8
    RETURNING count, since, number";

/// ?1 key, ?2 the slot's counting, ?3 free tries, ?4 the slot's number.
const GIVE_BACK: &str = "
    UPDATE iam_rate_limit SET
        count = max(count - 1, 0),
        blocked_until = CASE WHEN number = ?4 OR max(count - 1, 0) < ?3 THEN 0 ELSE blocked_until END,
        expires_at = CASE WHEN number = ?4 THEN expires_before ELSE expires_at END
    WHERE key = ?1 AND since = ?2";

/// ?1 key, ?2 now, ?3 limit, ?4 length, ?5 the latest end. A window is over at its `expires_at`, and nothing else ever blocks it.
const RESERVE_IN_WINDOW: &str = "
    INSERT INTO iam_rate_limit (key, count, since, number, last_at, blocked_until, expires_before, expires_at)
    VALUES (?1, 1, ?2, 1, ?2, 0, ?2, ?2 + ?4)
    ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN ?2 >= expires_at THEN 1 ELSE count + 1 END,
        since = CASE WHEN ?2 >= expires_at THEN max(?2, since + 1) ELSE since END,
        number = CASE WHEN ?2 >= expires_at THEN 1 ELSE number + 1 END,
        last_at = ?2,
        expires_at = CASE WHEN ?2 >= expires_at OR expires_at > ?5 THEN ?2 + ?4 ELSE expires_at END
    WHERE ?2 >= expires_at OR count < ?3 OR expires_at > ?5
    RETURNING count, since, number";

/// The row stays, since it knows the last `since`; with another one no slot of the old counting is given back.
const FORGET: &str =
    "UPDATE iam_rate_limit SET count = 0, since = since + 1, blocked_until = 0, expires_at = 0 WHERE key = ?";

#[async_trait]
impl<C: Link> Limits for Work<C> {
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let delays = Delays::of(rule);
        let granted = sqlx::query(RESERVE)
            .bind(&key.as_bytes()[..])
            .bind(now.as_micros())
            .bind(i64::from(rule.free))
            .bind(delays.first)
            .bind(delays.doublings)
            .bind(delays.longest)
            .bind(bounded_micros(rule.forget_after))
            .bind(rule.latest_block(now).as_micros())
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        match granted {
            Some(row) => slot(&row).map(Reservation::Granted),
            None => self.refused_until("SELECT blocked_until FROM iam_rate_limit WHERE key = ?", key).await,
        }
    }

    async fn give_back(&mut self, key: &LimitKey, slot: &Slot, rule: &Throttle) -> Result<(), StoreError> {
        sqlx::query(GIVE_BACK)
            .bind(&key.as_bytes()[..])
            .bind(slot.since.as_micros())
            .bind(i64::from(rule.free))
            .bind(i64::from(slot.number))
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
        if rule.limit == 0 {
            return Ok(Reservation::Refused(now.plus(rule.length)));
        }
        match self.count_one(key, rule, now).await? {
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
        let unlimited = Window { limit: u32::MAX, ..*rule };
        self.count_one(key, &unlimited, now).await.map(drop)
    }

    async fn full_until(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        if rule.limit == 0 {
            return Ok(Some(now.plus(rule.length)));
        }
        let until: Option<i64> = sqlx::query_scalar(
            "SELECT expires_at FROM iam_rate_limit WHERE key = ? AND expires_at > ? AND expires_at <= ? AND count >= ?",
        )
        .bind(&key.as_bytes()[..])
        .bind(now.as_micros())
        .bind(rule.latest_end(now).as_micros())
        .bind(i64::from(rule.limit))
        .fetch_optional(self.connection())
        .await
        .map_err(failed)?;
        Ok(until.map(Timestamp::from_micros))
    }

    async fn forget(&mut self, key: &LimitKey) -> Result<(), StoreError> {
        sqlx::query(FORGET).bind(&key.as_bytes()[..]).execute(self.connection()).await.map_err(failed)?;
        Ok(())
    }

    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_rate_limit WHERE key IN
                (SELECT key FROM iam_rate_limit WHERE expires_at <= ?1 AND blocked_until <= ?1 ORDER BY expires_at LIMIT ?2)",
        )
        .bind(now.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

impl<C: Link> Work<C> {
    async fn count_one(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<Option<SqliteRow>, StoreError> {
        sqlx::query(RESERVE_IN_WINDOW)
            .bind(&key.as_bytes()[..])
            .bind(now.as_micros())
            .bind(i64::from(rule.limit))
            .bind(bounded_micros(rule.length))
            .bind(rule.latest_end(now).as_micros())
            .fetch_optional(self.connection())
            .await
            .map_err(failed)
    }

    /// Until when, once a statement has refused: nobody else writes before this unit of work is over.
    async fn refused_until(&mut self, sql: &'static str, key: &LimitKey) -> Result<Reservation, StoreError> {
        let until: i64 = sqlx::query_scalar(sql)
            .bind(&key.as_bytes()[..])
            .fetch_one(self.connection())
            .await
            .map_err(failed)?;
        Ok(Reservation::Refused(Timestamp::from_micros(until)))
    }
}

fn slot(row: &SqliteRow) -> Result<Slot, StoreError> {
    let columns = Columns { table: "iam_rate_limit", row };
    Ok(Slot {
        count: columns.count("count")?,
        since: columns.time("since")?,
        number: columns.count("number")?,
    })
}
