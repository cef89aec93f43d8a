//! `iam_outbox`.

use async_trait::async_trait;
use iam_core::ports::{
    ChallengeId, Claimed, Delivery, DeliveryAttempt, MessageId, NewMessage, Outbox, OutboxReads, Settled,
};
use iam_core::{Receipt, StoreError, Timestamp};

use crate::connection::{Link, Reading, all, execute, one, optional};
use crate::rows::{DateTimes, timestamp, utc};
use crate::unit::Work;

type MessageRow = iam_store_sql::MessageRow<DateTimes>;
type AttemptRow = iam_store_sql::AttemptRow<DateTimes>;

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

    async fn attempts_of(&mut self, id: MessageId) -> Result<Vec<DeliveryAttempt>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                AttemptRow,
                "SELECT message_id, attempt, position, provider, reference, outcome, cost_micros, at
                 FROM iam_delivery_attempt FORCE INDEX (PRIMARY) WHERE message_id = ? ORDER BY attempt, position",
                &id.as_bytes()[..]
            ))
        };
        self.0.read(find).await?.into_iter().map(AttemptRow::read).collect()
    }

    async fn attempt_by_reference(
        &mut self,
        provider: &str,
        reference: &str,
    ) -> Result<Option<DeliveryAttempt>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                AttemptRow,
                "SELECT message_id, attempt, position, provider, reference, outcome, cost_micros, at
                 FROM iam_delivery_attempt FORCE INDEX (iam_delivery_attempt_reference)
                 WHERE provider = ? AND reference = ? ORDER BY at DESC LIMIT 1",
                provider.as_bytes(),
                reference.as_bytes()
            ))
        };
        self.0.read(find).await?.map(AttemptRow::read).transpose()
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
        self.settle_from(Delivery::Claimed, id, attempt, settled, now).await
    }

    async fn resettle(
        &mut self,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.settle_from(Delivery::Accepted, id, attempt, settled, now).await
    }

    async fn record_attempt(&mut self, attempt: &DeliveryAttempt) -> Result<(), StoreError> {
        let record = || {
            execute(sqlx::query!(
                "INSERT INTO iam_delivery_attempt (message_id, attempt, position, provider, reference, outcome, cost_micros, at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                &attempt.message.as_bytes()[..],
                attempt.attempt,
                attempt.position,
                attempt.provider.as_bytes(),
                attempt.reference.as_ref().map(String::as_bytes),
                attempt.outcome.as_str(),
                attempt.cost_micros,
                utc(attempt.at)
            ))
        };
        self.0.write(record).await.map(drop)
    }

    async fn receive(&mut self, attempt: &DeliveryAttempt, receipt: Receipt) -> Result<bool, StoreError> {
        let receive = || {
            execute(sqlx::query!(
                "UPDATE iam_delivery_attempt FORCE INDEX (PRIMARY) SET outcome = ?
                 WHERE message_id = ? AND attempt = ? AND position = ? AND outcome = 'accepted'",
                receipt.outcome().as_str(),
                &attempt.message.as_bytes()[..],
                attempt.attempt,
                attempt.position
            ))
        };
        Ok(self.0.write(receive).await? == 1)
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
                r#"SELECT id, account_id, challenge_id, channel, NULL AS "sealed: Vec<u8>", attempts, lost, created_at, expires_at, state
                FROM iam_outbox FORCE INDEX (iam_outbox_unsettled)
                WHERE settled_at IS NULL AND expires_at <= ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED"#,
                utc(now),
                most
            ))
        };
        let mut expired = Vec::new();
        for row in self.0.lock(find).await? {
            // What awaits a receipt stays accepted.
            let awaits_receipt = row.state == Delivery::Accepted.as_str();
            let state = if awaits_receipt { Delivery::Accepted } else { Delivery::Expired };
            let expire = || {
                execute(sqlx::query!(
                    "UPDATE iam_outbox SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ? WHERE id = ?",
                    state.as_str(),
                    utc(now),
                    row.id.clone()
                ))
            };
            self.0.write(expire).await?;
            if !awaits_receipt {
                expired.extend(row.read()?);
            }
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
    /// Settles an attempt that is the latest, of a message in this state that is not over.
    async fn settle_from(
        &mut self,
        from: Delivery,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let settle = || {
            match settled {
            Settled::Again(at) => execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (PRIMARY) SET state = 'waiting', next_attempt_at = ?, claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                utc(at),
                &id.as_bytes()[..],
                attempt,
                from.as_str()
            )),
            Settled::AwaitsReceipt => execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (PRIMARY) SET state = 'accepted', claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                &id.as_bytes()[..],
                attempt,
                from.as_str()
            )),
            Settled::Over(delivery) => execute(sqlx::query!(
                "UPDATE iam_outbox FORCE INDEX (PRIMARY) SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                delivery.as_str(),
                utc(now),
                &id.as_bytes()[..],
                attempt,
                from.as_str()
            )),
        }
        };
        Ok(self.0.write(settle).await? == 1)
    }

    /// Messages that wait and are due, held by this unit. What another one holds is its own.
    async fn due(&mut self, now: Timestamp, most: u32) -> Result<Vec<MessageRow>, StoreError> {
        let find = || {
            all(sqlx::query_as!(
                MessageRow,
                "SELECT id, account_id, challenge_id, channel, sealed, attempts, lost, created_at, expires_at, state
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
                "SELECT id, account_id, challenge_id, channel, sealed, attempts, lost, created_at, expires_at, state
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
