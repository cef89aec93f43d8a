//! `iam_rate_limit`: each decision is one conditional statement, and what it decided is read from the row that it
//! then holds.
//!
//! An UPDATE assigns from left to right and sees what it has assigned already (without the mode
//! `SIMULTANEOUS_ASSIGNMENT`, which is refused), so a column that others are made from comes after them, and one that
//! is made from others after those.

use async_trait::async_trait;
use iam_core::ports::{Delays, LimitKey, Limits, Reservation, Slot, bounded_micros};
use iam_core::{StoreError, Throttle, Timestamp, Window};

use crate::connection::{Link, execute, one, optional};
use crate::rows::Column;
use crate::unit::Work;

#[async_trait]
impl<L: Link> Limits for Work<L> {
    async fn reserve(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        if self.count_try(key, rule, now).await? {
            return self.granted(key).await;
        }
        // Blocked, mostly: to say until when takes no lock.
        let until = || {
            optional(sqlx::query!(
                "SELECT blocked_until FROM iam_rate_limit WHERE `key` = ? AND blocked_until > ?",
                &key.as_bytes()[..],
                now.as_micros()
            ))
        };
        if let Some(row) = self.0.read(until).await? {
            return Ok(Reservation::Refused(Timestamp::from_micros(row.blocked_until)));
        }
        self.hold(key, now).await?;
        if self.count_try(key, rule, now).await? {
            return self.granted(key).await;
        }
        let until = || {
            one(sqlx::query!(
                "SELECT blocked_until FROM iam_rate_limit WHERE `key` = ? FOR UPDATE",
                &key.as_bytes()[..]
            ))
        };
        Ok(Reservation::Refused(Timestamp::from_micros(self.0.lock(until).await?.blocked_until)))
    }

    async fn give_back(&mut self, key: &LimitKey, slot: &Slot, rule: &Throttle) -> Result<(), StoreError> {
        let number = i64::from(slot.number);
        let give_back = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET
                    expires_at = CASE WHEN number = ? THEN expires_before ELSE expires_at END,
                    blocked_until = CASE WHEN number = ? OR GREATEST(count - 1, 0) < ? THEN 0 ELSE blocked_until END,
                    count = GREATEST(count - 1, 0)
                 WHERE `key` = ? AND since = ?",
                number,
                number,
                i64::from(rule.free),
                &key.as_bytes()[..],
                slot.since.as_micros()
            ))
        };
        self.0.write(give_back).await.map(drop)
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
        if self.count_one(key, rule, now).await? {
            return self.granted(key).await;
        }
        if let Some(until) = self.full_until(key, rule, now).await? {
            return Ok(Reservation::Refused(until));
        }
        self.hold(key, now).await?;
        if self.count_one(key, rule, now).await? {
            return self.granted(key).await;
        }
        let until = || {
            one(sqlx::query!(
                "SELECT expires_at FROM iam_rate_limit WHERE `key` = ? FOR UPDATE",
                &key.as_bytes()[..]
            ))
        };
        Ok(Reservation::Refused(Timestamp::from_micros(self.0.lock(until).await?.expires_at)))
    }

    async fn give_back_in_window(&mut self, key: &LimitKey, slot: &Slot) -> Result<(), StoreError> {
        let give_back = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET count = GREATEST(count - 1, 0) WHERE `key` = ? AND since = ?",
                &key.as_bytes()[..],
                slot.since.as_micros()
            ))
        };
        self.0.write(give_back).await.map(drop)
    }

    async fn count_in_window(
        &mut self,
        key: &LimitKey,
        rule: &Window,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let unlimited = Window { limit: u32::MAX, ..*rule };
        if !self.count_one(key, &unlimited, now).await? {
            self.hold(key, now).await?;
            self.count_one(key, &unlimited, now).await?;
        }
        Ok(())
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
        let find = || {
            optional(sqlx::query!(
                "SELECT expires_at FROM iam_rate_limit WHERE `key` = ? AND expires_at > ? AND expires_at <= ? AND count >= ?",
                &key.as_bytes()[..],
                now.as_micros(),
                rule.latest_end(now).as_micros(),
                i64::from(rule.limit)
            ))
        };
        Ok(self.0.read(find).await?.map(|row| Timestamp::from_micros(row.expires_at)))
    }

    async fn forget(&mut self, key: &LimitKey) -> Result<(), StoreError> {
        // The row stays, since it knows the last `since`; with another one no slot of the old counting is given back.
        let forget = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET count = 0, since = since + 1, blocked_until = 0, expires_at = 0 WHERE `key` = ?",
                &key.as_bytes()[..]
            ))
        };
        self.0.write(forget).await.map(drop)
    }

    async fn purge(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        // What somebody else has locked is left for the next time: two sign-ins that each hold a limit and clear away
        // another's would wait for each other.
        let purge = || {
            execute(sqlx::query!(
                "DELETE l FROM
                    (SELECT `key` FROM iam_rate_limit FORCE INDEX (iam_rate_limit_expiry)
                     WHERE expires_at <= ? AND blocked_until <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_rate_limit l FORCE INDEX (PRIMARY) ON l.`key` = old.`key`",
                now.as_micros(),
                now.as_micros(),
                most
            ))
        };
        self.0.write(purge).await
    }
}

impl<L: Link> Work<L> {
    /// Counts a try of a throttle if the key is there and no block stands.
    ///
    /// A block always ends before its key is forgotten, so the one condition at the end covers both cases. A counting
    /// that begins anew never has the `since` of the one before, even if the clock was set back. A free try leaves no
    /// block (0).
    async fn count_try(
        &mut self,
        key: &LimitKey,
        rule: &Throttle,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let delays = Delays::of(rule);
        let free = i64::from(rule.free);
        let (now, latest) = (now.as_micros(), rule.latest_block(now).as_micros());
        let count = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET
                    expires_before = CASE WHEN expires_at <= ? THEN ? ELSE expires_at END,
                    since = CASE WHEN expires_at <= ? THEN GREATEST(?, since + 1) ELSE since END,
                    number = CASE WHEN expires_at <= ? THEN 1 ELSE number + 1 END,
                    count = CASE WHEN expires_at <= ? THEN 1 ELSE count + 1 END,
                    last_at = ?,
                    blocked_until = CASE
                        WHEN count < ? THEN 0
                        WHEN count - ? < ? THEN ? + CAST(? << (count - ?) AS SIGNED)
                        ELSE ? + ?
                    END,
                    expires_at = GREATEST(?, blocked_until) + ?
                 WHERE `key` = ? AND (blocked_until <= ? OR blocked_until > ?)",
                now,
                now,
                now,
                now,
                now,
                now,
                now,
                free,
                free,
                delays.doublings,
                now,
                delays.first,
                free,
                now,
                delays.longest,
                now,
                bounded_micros(rule.forget_after),
                &key.as_bytes()[..],
                now,
                latest
            ))
        };
        Ok(self.0.write(count).await? == 1)
    }

    /// Counts one in a window if the key is there and the window is not full. A window is over at its `expires_at`,
    /// and nothing else ever blocks it.
    async fn count_one(&mut self, key: &LimitKey, rule: &Window, now: Timestamp) -> Result<bool, StoreError> {
        let (now, length, latest) =
            (now.as_micros(), bounded_micros(rule.length), rule.latest_end(now).as_micros());
        let count = || {
            execute(sqlx::query!(
                "UPDATE iam_rate_limit SET
                    count = CASE WHEN expires_at <= ? THEN 1 ELSE count + 1 END,
                    since = CASE WHEN expires_at <= ? THEN GREATEST(?, since + 1) ELSE since END,
                    number = CASE WHEN expires_at <= ? THEN 1 ELSE number + 1 END,
                    last_at = ?,
                    expires_at = CASE WHEN expires_at <= ? OR expires_at > ? THEN ? ELSE expires_at END
                 WHERE `key` = ? AND (expires_at <= ? OR count < ? OR expires_at > ?)",
                now,
                now,
                now,
                now,
                now,
                now,
                latest,
                now.saturating_add(length),
                &key.as_bytes()[..],
                now,
                i64::from(rule.limit),
                latest
            ))
        };
        Ok(self.0.write(count).await? == 1)
    }

    /// Makes sure that the key is there, and that nobody else writes it before this unit of work is over. One that
    /// was not is as if it had just been forgotten.
    async fn hold(&mut self, key: &LimitKey, now: Timestamp) -> Result<(), StoreError> {
        let now = now.as_micros();
        let hold = || {
            execute(sqlx::query!(
                "INSERT INTO iam_rate_limit (`key`, count, number, since, last_at, blocked_until, expires_before, expires_at)
                 VALUES (?, 0, 0, ?, ?, 0, ?, ?)
                 ON DUPLICATE KEY UPDATE `key` = `key`",
                &key.as_bytes()[..],
                now.saturating_sub(1),
                now,
                now,
                now
            ))
        };
        self.0.write(hold).await.map(drop)
    }

    /// The slot that was just counted: nobody else writes its row before this unit of work is over.
    async fn granted(&mut self, key: &LimitKey) -> Result<Reservation, StoreError> {
        let find = || {
            one(sqlx::query!(
                "SELECT count, since, number FROM iam_rate_limit WHERE `key` = ? FOR UPDATE",
                &key.as_bytes()[..]
            ))
        };
        let row = self.0.lock(find).await?;
        let number = |value, name| u32::try_from(value).map_err(|_| Column("iam_rate_limit", name).corrupt());
        Ok(Reservation::Granted(Slot {
            count: number(row.count, "count")?,
            since: Timestamp::from_micros(row.since),
            number: number(row.number, "number")?,
        }))
    }
}
