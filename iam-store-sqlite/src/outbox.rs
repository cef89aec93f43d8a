//! `iam_outbox`.

use async_trait::async_trait;
use iam_core::ports::{ChallengeId, Claimed, MessageId, NewMessage, Outbox, OutboxReads, Settled};
use iam_core::{StoreError, Timestamp};

use crate::error::failed;
use crate::rows::Micros;
use crate::unit::{Link, Reading, Work};

type MessageRow = iam_store_sql::MessageRow<Micros>;

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
    RETURNING id AS "id!", account_id AS "account_id!", challenge_id, channel AS "channel!", sealed, created_at AS "created_at!",
        expires_at AS "expires_at!", attempts AS "attempts!: u32", lost AS "lost!: u32""#, now.as_micros(), stale_before.as_micros(), i64::from(most))
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
        let (id, attempt) = (&id.as_bytes()[..], i64::from(attempt));
        let settle = match settled {
            Settled::Again(at) => sqlx::query!(
                "UPDATE iam_outbox SET state = 'waiting', next_attempt_at = ?, claimed_at = NULL
                 WHERE id = ? AND attempts = ? AND state = 'claimed'",
                at.as_micros(),
                id,
                attempt
            ),
            Settled::Over(delivery) => sqlx::query!(
                "UPDATE iam_outbox SET state = ?, sealed = NULL, claimed_at = NULL, settled_at = ?
                 WHERE id = ? AND attempts = ? AND state = 'claimed'",
                delivery.as_str(),
                now.as_micros(),
                id,
                attempt
            ),
        };
        let done = settle.execute(self.connection()).await.map_err(failed)?;
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
        let rows = sqlx::query_as!(MessageRow, r#"UPDATE iam_outbox SET state = 'expired', sealed = NULL, claimed_at = NULL, settled_at = ?1
    WHERE id IN (SELECT id FROM iam_outbox WHERE settled_at IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
    RETURNING id AS "id!", account_id AS "account_id!", challenge_id, channel AS "channel!", sealed, created_at AS "created_at!",
        expires_at AS "expires_at!", attempts AS "attempts!: u32", lost AS "lost!: u32""#, now.as_micros(), i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        rows.into_iter().filter_map(|row| row.read().transpose()).collect()
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
