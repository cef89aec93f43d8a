//! `iam_outbox`.

use async_trait::async_trait;
use iam_core::ports::{
    AttemptOutcome, ChallengeId, Claimed, Delivery, DeliveryAttempt, MessageId, NewMessage, Outbox,
    OutboxReads, Settled,
};
use iam_core::{AccountId, Channel, Receipt, StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

/// Of those that were never taken: they have been due since they were made. What has expired waits for upkeep only.
const OLDEST_DUE: &str = "SELECT created_at FROM iam_outbox
    WHERE state = 'waiting' AND attempts = 0 AND next_attempt_at <= ?1 AND expires_at > ?1 ORDER BY next_attempt_at LIMIT 1";

/// ?1 now, ?2 before when a message must have been taken to be stale, ?3 how many. Each half is read by an index of its own, and
/// those whose worker died come first: they have waited longer.
const CLAIM: &str = "UPDATE iam_outbox SET state = 'claimed', attempts = attempts + 1, lost = lost + (state = 'claimed'), claimed_at = ?1
    WHERE id IN (SELECT id FROM (
        SELECT * FROM (SELECT id FROM iam_outbox WHERE state = 'claimed' AND claimed_at < ?2 AND expires_at > ?1
            ORDER BY claimed_at LIMIT ?3)
        UNION ALL
        SELECT * FROM (SELECT id FROM iam_outbox WHERE state = 'waiting' AND next_attempt_at <= ?1 AND expires_at > ?1
            ORDER BY next_attempt_at LIMIT ?3)
        LIMIT ?3))
    RETURNING id, account_id, challenge_id, channel, sealed, created_at, expires_at, attempts, lost";

/// ?1 now, ?2 stale before.
const HAS_CLAIMABLE: &str =
    "SELECT EXISTS (SELECT 1 FROM iam_outbox WHERE state = 'claimed' AND claimed_at < ?2 AND expires_at > ?1)
        OR EXISTS (SELECT 1 FROM iam_outbox WHERE state = 'waiting' AND next_attempt_at <= ?1 AND expires_at > ?1)";

const REPLACE: &str =
    "UPDATE iam_outbox SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE challenge_id = ?2 AND settled_at IS NULL";

/// What awaits a receipt stays accepted.
const EXPIRE: &str = "UPDATE iam_outbox
    SET state = CASE state WHEN 'accepted' THEN 'accepted' ELSE 'expired' END, sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
    RETURNING id, account_id, challenge_id, channel, sealed, created_at, expires_at, state";

/// ?1 now, ?2 how many.
const WITHDRAW: &str =
    "UPDATE iam_outbox SET state = 'replaced', sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL ORDER BY expires_at LIMIT ?2)";

const PURGE: &str = "DELETE FROM iam_outbox WHERE id IN
    (SELECT id FROM iam_outbox WHERE settled_at IS NOT NULL AND created_at < ? ORDER BY created_at LIMIT ?)";

const ATTEMPTS_OF: &str =
    "SELECT message_id, attempt, position, provider, reference, outcome, cost_micros, at
    FROM iam_delivery_attempt WHERE message_id = ? ORDER BY attempt, position";

const BY_REFERENCE: &str =
    "SELECT message_id, attempt, position, provider, reference, outcome, cost_micros, at
    FROM iam_delivery_attempt WHERE provider = ? AND reference = ? ORDER BY at DESC LIMIT 1";

fn delivery_attempt(row: &SqliteRow) -> Result<DeliveryAttempt, StoreError> {
    let columns = Columns { table: "iam_delivery_attempt", row };
    Ok(DeliveryAttempt {
        message: MessageId::from_bytes(columns.id("message_id")?),
        attempt: columns.count("attempt")?,
        position: columns.count("position")?,
        provider: columns.text("provider")?,
        reference: columns.maybe_text("reference")?,
        outcome: columns.parsed("outcome", AttemptOutcome::parse)?,
        cost_micros: columns.maybe_number("cost_micros")?,
        at: columns.time("at")?,
    })
}

fn columns(row: &SqliteRow) -> Columns<'_> {
    Columns { table: "iam_outbox", row }
}

/// What is over has no sealed message any more.
fn message(row: &SqliteRow) -> Result<NewMessage, StoreError> {
    let columns = columns(row);
    Ok(NewMessage {
        id: MessageId::from_bytes(columns.id("id")?),
        account: AccountId::from_bytes(columns.id("account_id")?),
        challenge: columns.maybe_id("challenge_id")?.map(ChallengeId::from_bytes),
        channel: columns.parsed("channel", Channel::parse)?,
        sealed: columns.maybe_bytes("sealed")?.unwrap_or_default().to_vec(),
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
    })
}

#[async_trait]
impl<C: Reading> OutboxReads for Work<C> {
    async fn oldest_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let query = sqlx::query_scalar::<_, i64>(OLDEST_DUE).bind(now.as_micros());
        Ok(query.fetch_optional(self.connection()).await.map_err(failed)?.map(Timestamp::from_micros))
    }

    async fn has_claimable(&mut self, now: Timestamp, stale_before: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(HAS_CLAIMABLE).bind(now.as_micros()).bind(stale_before.as_micros());
        query.fetch_one(self.connection()).await.map_err(failed)
    }

    async fn attempts_of(&mut self, id: MessageId) -> Result<Vec<DeliveryAttempt>, StoreError> {
        let query = sqlx::query(ATTEMPTS_OF).bind(&id.as_bytes()[..]);
        let rows = query.fetch_all(self.connection()).await.map_err(failed)?;
        rows.iter().map(delivery_attempt).collect()
    }

    async fn attempt_by_reference(
        &mut self,
        provider: &str,
        reference: &str,
    ) -> Result<Option<DeliveryAttempt>, StoreError> {
        let query = sqlx::query(BY_REFERENCE).bind(provider).bind(reference);
        let row = query.fetch_optional(self.connection()).await.map_err(failed)?;
        row.as_ref().map(delivery_attempt).transpose()
    }
}

#[async_trait]
impl<C: Link> Outbox for Work<C> {
    async fn put(&mut self, message: &NewMessage) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO iam_outbox (id, account_id, challenge_id, channel, sealed, state, created_at, expires_at, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?7, ?6)",
        )
        .bind(&message.id.as_bytes()[..])
        .bind(&message.account.as_bytes()[..])
        .bind(message.challenge.map(|id| id.as_bytes().to_vec()))
        .bind(message.channel.as_str())
        .bind(&message.sealed[..])
        .bind(message.created_at.as_micros())
        .bind(message.expires_at.as_micros())
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
        let rows = sqlx::query(CLAIM)
            .bind(now.as_micros())
            .bind(stale_before.as_micros())
            .bind(i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let (attempt, lost) = (columns(row).count("attempts")?, columns(row).count("lost")?);
                Ok(Claimed { message: message(row)?, attempt, lost })
            })
            .collect()
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
        sqlx::query(
            "INSERT INTO iam_delivery_attempt (message_id, attempt, position, provider, reference, outcome, cost_micros, at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&attempt.message.as_bytes()[..])
        .bind(i64::from(attempt.attempt))
        .bind(i64::from(attempt.position))
        .bind(&attempt.provider)
        .bind(attempt.reference.as_deref())
        .bind(attempt.outcome.as_str())
        .bind(attempt.cost_micros)
        .bind(attempt.at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn receive(&mut self, attempt: &DeliveryAttempt, receipt: Receipt) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_delivery_attempt SET outcome = ?
             WHERE message_id = ? AND attempt = ? AND position = ? AND outcome = 'accepted'",
        )
        .bind(receipt.outcome().as_str())
        .bind(&attempt.message.as_bytes()[..])
        .bind(i64::from(attempt.attempt))
        .bind(i64::from(attempt.position))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn replace(&mut self, challenge: ChallengeId, now: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(REPLACE)
            .bind(now.as_micros())
            .bind(&challenge.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn expire(&mut self, now: Timestamp, most: u32) -> Result<Vec<NewMessage>, StoreError> {
        let rows = sqlx::query(EXPIRE)
            .bind(now.as_micros())
            .bind(i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        let told = rows.iter().filter(|row| columns(row).text("state").is_ok_and(|state| state == "expired"));
        told.map(message).collect()
    }

    async fn withdraw(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(WITHDRAW, now, most).await
    }

    async fn purge(&mut self, made_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE, made_before, most).await
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
        let settle = match settled {
            Settled::Again(at) => sqlx::query(
                "UPDATE iam_outbox SET state = 'waiting', next_attempt_at = ?, claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
            )
            .bind(at.as_micros()),
            Settled::AwaitsReceipt => sqlx::query(
                "UPDATE iam_outbox SET state = 'accepted', claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
            ),
            Settled::Over(delivery) => sqlx::query(
                "UPDATE iam_outbox SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE id = ? AND attempts = ? AND state = ? AND settled_at IS NULL",
            )
            .bind(delivery.as_str())
            .bind(now.as_micros()),
        };
        let settle = settle.bind(&id.as_bytes()[..]).bind(i64::from(attempt)).bind(from.as_str());
        let done = settle.execute(self.connection()).await.map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPTS_OF, BY_REFERENCE, CLAIM, EXPIRE, HAS_CLAIMABLE, OLDEST_DUE, PURGE, REPLACE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn messages_are_found_by_index() {
        assert_by_index(&[
            (OLDEST_DUE, &["iam_outbox_waiting"]),
            (CLAIM, &["iam_outbox_waiting", "iam_outbox_claimed"]),
            (HAS_CLAIMABLE, &["iam_outbox_waiting", "iam_outbox_claimed"]),
            (REPLACE, &["iam_outbox_challenge"]),
            (EXPIRE, &["iam_outbox_unsettled"]),
            (PURGE, &["iam_outbox_settled"]),
            (ATTEMPTS_OF, &["USING PRIMARY KEY"]),
            (BY_REFERENCE, &["iam_delivery_attempt_reference"]),
        ])
        .await;
    }
}
