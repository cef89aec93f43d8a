//! `iam_one_time_token`.

use async_trait::async_trait;
use iam_core::ports::{NewOneTimeToken, OneTimeTokenReads, OneTimeTokens, TicketPurpose, TokenHash};
use iam_core::{AccountId, StoreError, Timestamp};

use crate::error::failed;
use crate::unit::{Link, Reading, Work};

#[async_trait]
impl<C: Reading> OneTimeTokenReads for Work<C> {
    async fn is_good(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM iam_one_time_token
                WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND issued_at <= ?)",
        )
        .bind(&hash.as_bytes()[..])
        .bind(purpose.as_str())
        .bind(now.as_micros())
        .bind(now.latest_tolerated().as_micros())
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }
}

#[async_trait]
impl<C: Link> OneTimeTokens for Work<C> {
    async fn issue(&mut self, token: &NewOneTimeToken, now: Timestamp) -> Result<(), StoreError> {
        let account = token.account.map(|id| id.as_bytes().to_vec());
        sqlx::query(
            "UPDATE iam_one_time_token SET used_at = ? WHERE account_id IS ? AND purpose = ? AND used_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(account.clone())
        .bind(token.purpose.as_str())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query(
            "INSERT INTO iam_one_time_token (hash, purpose, account_id, issued_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&token.hash.as_bytes()[..])
        .bind(token.purpose.as_str())
        .bind(account)
        .bind(now.as_micros())
        .bind(token.expires_at.as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn consume(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE iam_one_time_token SET used_at = ?1
             WHERE hash = ?2 AND purpose = ?3 AND used_at IS NULL AND expires_at > ?1 AND issued_at <= ?4",
        )
        .bind(now.as_micros())
        .bind(&hash.as_bytes()[..])
        .bind(purpose.as_str())
        .bind(now.latest_tolerated().as_micros())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE iam_one_time_token SET used_at = ? WHERE account_id = ? AND purpose = ? AND used_at IS NULL",
        )
        .bind(now.as_micros())
        .bind(&account.as_bytes()[..])
        .bind(purpose.as_str())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM iam_one_time_token WHERE hash IN
                (SELECT hash FROM iam_one_time_token WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
        )
        .bind(expired_before.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
