//! `iam_one_time_token`.

use async_trait::async_trait;
use iam_core::ports::{NewOneTimeToken, OneTimeTokenReads, OneTimeTokens, TicketPurpose, TokenHash};
use iam_core::{AccountId, StoreError, Timestamp};

use crate::connection::{Link, Reading, execute, optional};
use crate::rows::utc;
use crate::unit::Work;

#[async_trait]
impl<L: Reading> OneTimeTokenReads for Work<L> {
    async fn is_good(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let find = || {
            optional(sqlx::query!(
                "SELECT hash FROM iam_one_time_token
                 WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND issued_at <= ?",
                &hash.as_bytes()[..],
                purpose.as_str(),
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        Ok(self.0.read(find).await?.is_some())
    }
}

#[async_trait]
impl<L: Link> OneTimeTokens for Work<L> {
    async fn issue(&mut self, token: &NewOneTimeToken, now: Timestamp) -> Result<(), StoreError> {
        let account = token.account.map(|id| id.as_bytes().to_vec());
        let void = || {
            execute(sqlx::query!(
                "UPDATE iam_one_time_token FORCE INDEX (iam_one_time_token_account) SET used_at = ?
                 WHERE account_id <=> ? AND purpose = ? AND used_at IS NULL",
                utc(now),
                account.clone(),
                token.purpose.as_str()
            ))
        };
        self.0.write(void).await?;
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_one_time_token (hash, purpose, account_id, issued_at, expires_at) VALUES (?, ?, ?, ?, ?)",
                &token.hash.as_bytes()[..],
                token.purpose.as_str(),
                account.clone(),
                utc(now),
                utc(token.expires_at)
            ))
        };
        self.0.write(insert).await.map(drop)
    }

    async fn consume(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let consume = || {
            execute(sqlx::query!(
                "UPDATE iam_one_time_token SET used_at = ?
                 WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND issued_at <= ?",
                utc(now),
                &hash.as_bytes()[..],
                purpose.as_str(),
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        Ok(self.0.write(consume).await? == 1)
    }

    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let void = || {
            execute(sqlx::query!(
                "UPDATE iam_one_time_token FORCE INDEX (iam_one_time_token_account) SET used_at = ?
                 WHERE account_id = ? AND purpose = ? AND used_at IS NULL",
                utc(now),
                &account.as_bytes()[..],
                purpose.as_str()
            ))
        };
        self.0.write(void).await.map(drop)
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE t FROM
                    (SELECT hash FROM iam_one_time_token FORCE INDEX (iam_one_time_token_expiry)
                     WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_one_time_token t FORCE INDEX (PRIMARY) ON t.hash = old.hash",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
