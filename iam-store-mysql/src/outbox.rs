//! `iam_outbox`.

use async_trait::async_trait;
use iam_core::ports::{ChallengeId, Claimed, MessageId, NewMessage, Outbox, OutboxReads, Settled};
use iam_core::{StoreError, Timestamp};

use crate::connection::{Link, Reading, all, execute, one, optional};
use crate::rows::{DateTimes, timestamp, utc};
use crate::unit::Work;

type MessageRow = iam_store_sql::MessageRow<DateTimes>;

#[async_trait]
impl<L: Reading> OutboxReads for Work<L> {
    // Of those that were never taken: they have been due since they were made. What has expired waits for upkeep only.
    async fn oldest_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let find = || {
            optional(sqlx::query!(
                "SELECT created_at FROM iam_outbox FORCE INDEX (iam_outbox_waiting)
                 WHERE state = 'waiting' AND attempts = 0 AND next_attempt_at <= ? AND expires_at > ?
                 ORDER BY next_attempt_at LIMIT 1",
                utc(now),
                utc(now)
            ))
        };
        Ok(self.0.read(find).await?.map(|row| timestamp(row.created_at)))
    }

    async fn has_claimable(&mut self, now: Timestamp, stale_before: Timestamp) -> Result<bool, StoreError> {
        let find = || {
            one(sqlx::query!(
                r#"SELECT (EXISTS (SELECT 1 FROM iam_outbox FORCE INDEX (iam_outbox_claimed)
                        WHERE state = 'claimed' AND claimed_at < ? AND expires_at > ?)
                    OR EXISTS (SELECT 1 FROM iam_outbox FORCE INDEX (iam_outbox_waiting)
                        WHERE state = 'waiting' AND next_attempt_at <= ? AND expires_at > ?)) AS "is_there!: bool""#,
                utc(stale_before),
                utc(now),
                utc(now),
                utc(now)
            ))
        };
        Ok(self.0.read(find).await?.is_there)
    }
}

#[async_trait]
impl<L: Link> Outbox for Work<L> {
    async fn put(&mut self, message: &NewMessage) -> Result<(), StoreError> {
        let put = || {
            execute(sqlx::query!(
                "INSERT INTO iam_outbox
                    (id, account_id, challenge_id, channel, sealed, state, created_at, expires_at, next_attempt_at)
                 VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?)",
                &message.id.as_bytes()[..],
                &message.account.as_bytes()[..],
                message.challenge.map(|id| id.as_bytes().to_vec()),
                message.channel.as_str(),
                message.sealed,
                utc(message.created_at),
                utc(message.expires_at),
                utc(message.created_at)
            ))
        };
        self.0.write(put).await.map(drop)
    }

    async fn claim(
        &mut self,
        now: Timestamp,
        stale_before: Timestamp,
        most: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        // Those whose worker died have waited longer.
        for row in self.stale(now, stale_before, most).await? {
            claimed.extend(self.take(row, 1, now).await?);
        }
        let left = most.saturating_sub(u32::try_from(claimed.len()).unwrap_or(u32::MAX));
        for row in self.due(now, left).await? {
            claimed.extend(self.take(row, 0, now).await?);
        }
        Ok(claimed)
    }

    async fn settle(
        &mut self,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let settle = || {
            match settled {
            Settled::Again(at) => execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (PRIMARY) SET state = 'waiting', next_attempt_at = ?, claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = 'claimed'",
                utc(at),
                &id.as_bytes()[..],
                attempt
            )),
            Settled::Over(delivery) => execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (PRIMARY) SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE id = ? AND attempts = ? AND state = 'claimed'",
                delivery.as_str(),
                utc(now),
                &id.as_bytes()[..],
                attempt
            )),
        }
        };
        Ok(self.0.write(settle).await? == 1)
    }

    async fn replace(&mut self, challenge: ChallengeId, now: Timestamp) -> Result<u64, StoreError> {
        let replace = || {
            execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (iam_outbox_challenge)
                 SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE challenge_id = ? AND settled_at IS NULL",
                utc(now),
                &challenge.as_bytes()[..]
            ))
        };
        self.0.write(replace).await
    }

    async fn expire(&mut self, now: Timestamp, most: u32) -> Result<Vec<NewMessage>, StoreError> {
        // What somebody else has locked is left for the next time: upkeep never waits.
        let find = || {
            all(sqlx::query_as!(
                MessageRow,
                r#"SELECT id, account_id, challenge_id, channel, NULL AS "sealed: Vec<u8>", attempts, lost, created_at, expires_at
                FROM iam_outbox FORCE INDEX (iam_outbox_unsettled)
                WHERE settled_at IS NULL AND expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED"#,
                utc(now),
                most
            ))
        };
        let mut expired = Vec::new();
        for row in self.0.lock(find).await? {
            let expire = || {
                execute(sqlx::query!(
                    "UPDATE iam_outbox SET state = 'expired', sealed = NULL, claimed_at = NULL, settled_at = ? WHERE id = ?",
                    utc(now),
                    row.id.clone()
                ))
            };
            self.0.write(expire).await?;
            expired.extend(row.read()?);
        }
        Ok(expired)
    }

    async fn withdraw(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let withdraw = || {
            execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (iam_outbox_unsettled)
                 SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE settled_at IS NULL ORDER BY expires_at LIMIT ?",
                utc(now),
                most
            ))
        };
        self.0.write(withdraw).await
    }

    async fn purge(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE o FROM
                    (SELECT id FROM iam_outbox FORCE INDEX (iam_outbox_made)
                     WHERE created_at < ? AND settled_at IS NOT NULL ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_outbox o FORCE INDEX (PRIMARY) ON o.id = old.id",
                utc(made_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}

impl<L: Link> Work<L> {
    /// Messages that wait and are due, held by this unit. What another one holds is its own.
    async fn due(&mut self, now: Timestamp, most: u32) -> Result<Vec<MessageRow>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                MessageRow,
                "SELECT id, account_id, challenge_id, channel, sealed, attempts, lost, created_at, expires_at
                 FROM iam_outbox FORCE INDEX (iam_outbox_waiting)
                 WHERE state = 'waiting' AND next_attempt_at <= ? AND expires_at > ?
                 ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED",
                utc(now),
                utc(now),
                most
            ))
        };
        self.0.lock(find).await
    }

    /// Messages that were taken and of which nothing was heard, likewise.
    async fn stale(
        &mut self,
        now: Timestamp,
        stale_before: Timestamp,
        most: u32,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                MessageRow,
                "SELECT id, account_id, challenge_id, channel, sealed, attempts, lost, created_at, expires_at
                 FROM iam_outbox FORCE INDEX (iam_outbox_claimed)
                 WHERE state = 'claimed' AND claimed_at < ? AND expires_at > ?
                 ORDER BY claimed_at LIMIT ? FOR UPDATE SKIP LOCKED",
                utc(stale_before),
                utc(now),
                most
            ))
        };
        self.0.lock(find).await
    }

    /// Takes a message that this unit holds.
    async fn take(
        &mut self,
        row: MessageRow,
        lost: u32,
        now: Timestamp,
    ) -> Result<Option<Claimed>, StoreError> {
        let take = || {
            execute(sqlx::query!(
                "UPDATE iam_outbox SET state = 'claimed', attempts = attempts + 1, lost = lost + ?, claimed_at = ? WHERE id = ?",
                lost,
                utc(now),
                row.id.clone()
            ))
        };
        self.0.write(take).await?;
        let attempts = row.attempts.saturating_add(1);
        MessageRow { attempts, lost: row.lost.saturating_add(lost), ..row }.read_claimed()
    }
}
