//! `iam_outbox`.

use async_trait::async_trait;
use iam_core::ports::{
    ChallengeId, Claimed, Delivery, DeliveryAttempt, MessageId, NewMessage, Outbox, OutboxReads, Settled,
};
use iam_core::{Receipt, StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type MessageRow = iam_store_sql::MessageRow<Micros>;
type AttemptRow = iam_store_sql::AttemptRow<Micros>;

#[async_trait]
impl<C: Reading> OutboxReads for Work<C> {
    // Of those that were never taken: they have been due since they were made. What has expired waits for upkeep only.
    async fn oldest_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let oldest = sqlx::query_scalar!(
            "SELECT created_at FROM iam_outbox
             WHERE state = 'waiting' AND attempts = 0 AND next_attempt_at <= ?1 AND expires_at > ?1 ORDER BY next_attempt_at LIMIT 1",
            now.as_micros()
        );
        Ok(oldest.fetch_optional(self.connection()).await.map_err(failed)?.map(Timestamp::from_micros))
    }

    async fn has_claimable(&mut self, now: Timestamp, stale_before: Timestamp) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM iam_outbox WHERE state = 'claimed' AND claimed_at < ?2 AND expires_at > ?1)
                OR EXISTS (SELECT 1 FROM iam_outbox WHERE state = 'waiting' AND next_attempt_at <= ?1 AND expires_at > ?1) AS "is_there!: bool""#,
            now.as_micros(),
            stale_before.as_micros()
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }

    async fn attempts_of(&mut self, id: MessageId) -> Result<Vec<DeliveryAttempt>, StoreError> {
        let rows = sqlx::query_as!(
            AttemptRow,
            r#"SELECT message_id, attempt AS "attempt!: u32", position AS "position!: u32", provider, reference, outcome, cost_micros, at
             FROM iam_delivery_attempt WHERE message_id = ? ORDER BY attempt, position"#,
            &id.as_bytes()[..]
        );
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        rows.into_iter().map(AttemptRow::read).collect()
    }

    async fn attempt_by_reference(
        &mut self,
        provider: &str,
        reference: &str,
    ) -> Result<Option<DeliveryAttempt>, StoreError> {
        let row = sqlx::query_as!(
            AttemptRow,
            r#"SELECT message_id, attempt AS "attempt!: u32", position AS "position!: u32", provider, reference, outcome, cost_micros, at
             FROM iam_delivery_attempt WHERE provider = ? AND reference = ? ORDER BY at DESC LIMIT 1"#,
            provider,
            reference
        );
        row.fetch_optional(self.connection()).await.map_err(failed)?.map(AttemptRow::read).transpose()
    }
}

#[async_trait]
impl<C: Link> Outbox for Work<C> {
    async fn put(&mut self, message: &NewMessage) -> Result<(), StoreError> {
        sqlx::query!("INSERT INTO iam_outbox (id, account_id, challenge_id, channel, sealed, state, created_at, expires_at, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?7, ?6)", &message.id.as_bytes()[..], &message.account.as_bytes()[..], message.challenge.map(|id| id.as_bytes().to_vec()), message.channel.as_str(), &message.sealed[..], message.created_at.as_micros(), message.expires_at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn claim(
        &mut self,
        now: Timestamp,
        stale_before: Timestamp,
        most: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let rows = sqlx::query_as!(MessageRow, r#"UPDATE iam_outbox SET state = 'claimed', attempts = attempts + 1, lost = lost + (state = 'claimed'), claimed_at = ?1
    WHERE id IN (SELECT id FROM (
        SELECT * FROM (SELECT id FROM iam_outbox WHERE state = 'claimed' AND claimed_at < ?2 AND expires_at > ?1
            ORDER BY claimed_at LIMIT ?3)
        UNION ALL
        SELECT * FROM (SELECT id FROM iam_outbox WHERE state = 'waiting' AND next_attempt_at <= ?1 AND expires_at > ?1
            ORDER BY next_attempt_at LIMIT ?3)
        LIMIT ?3))
    RETURNING id AS "id!", account_id AS "account_id!", challenge_id, channel AS "channel!", sealed, state AS "state!",
        created_at AS "created_at!", expires_at AS "expires_at!", attempts AS "attempts!: u32", lost AS "lost!: u32""#, now.as_micros(), stale_before.as_micros(), i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        rows.into_iter().filter_map(|row| row.read_claimed().transpose()).collect()
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
        sqlx::query!("INSERT INTO iam_delivery_attempt (message_id, attempt, position, provider, reference, outcome, cost_micros, at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &attempt.message.as_bytes()[..], i64::from(attempt.attempt), i64::from(attempt.position), &attempt.provider, attempt.reference.as_deref(), attempt.outcome.as_str(), attempt.cost_micros, attempt.at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn receive(&mut self, attempt: &DeliveryAttempt, receipt: Receipt) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_delivery_attempt SET outcome = ?
             WHERE message_id = ? AND attempt = ? AND position = ? AND outcome = 'accepted'",
            receipt.outcome().as_str(),
            &attempt.message.as_bytes()[..],
            i64::from(attempt.attempt),
            i64::from(attempt.position)
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn replace(&mut self, challenge: ChallengeId, now: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_outbox SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE challenge_id = ?2 AND settled_at IS NULL",
            now.as_micros(),
            &challenge.as_bytes()[..]
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn expire(&mut self, now: Timestamp, most: u32) -> Result<Vec<NewMessage>, StoreError> {
        let rows = sqlx::query_as!(MessageRow, r#"UPDATE iam_outbox
    SET state = CASE state WHEN 'accepted' THEN 'accepted' ELSE 'expired' END, sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
    RETURNING id AS "id!", account_id AS "account_id!", challenge_id, channel AS "channel!", sealed, state AS "state!",
        created_at AS "created_at!", expires_at AS "expires_at!", attempts AS "attempts!: u32", lost AS "lost!: u32""#, now.as_micros(), i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        let told = rows.into_iter().filter(|row| row.state == "expired");
        told.filter_map(|row| row.read().transpose()).collect()
    }

    async fn withdraw(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "UPDATE iam_outbox SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL ORDER BY expires_at LIMIT ?2)",
            now.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn purge(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_outbox WHERE id IN
    (SELECT id FROM iam_outbox WHERE settled_at IS NOT NULL AND created_at < ? ORDER BY created_at LIMIT ?)",
            made_before.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

impl<C: Link> Work<C> {
    /// Settles an attempt that is the latest, of a message in this state that is not over.
    async fn settle_from(
        &mut self,
        from: Delivery,
        id: MessageId,
        attempt: u32,
        settled: Settled,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, attempt, from) = (&id.as_bytes()[..], i64::from(attempt), from.as_str());
        let settle = match settled {
            Settled::Again(at) => sqlx::query!(
                "UPDATE iam_outbox SET state = 'waiting', next_attempt_at = ?, claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                at.as_micros(),
                id,
                attempt,
                from
            ),
            Settled::AwaitsReceipt => sqlx::query!(
                "UPDATE iam_outbox SET state = 'accepted', claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                id,
                attempt,
                from
            ),
            Settled::Over(delivery) => sqlx::query!(
                "UPDATE iam_outbox SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
                delivery.as_str(),
                now.as_micros(),
                id,
                attempt,
                from
            ),
        };
        let done = settle.execute(self.connection()).await.map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
