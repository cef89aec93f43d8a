//! `iam_trusted_device`.

use async_trait::async_trait;
use iam_core::ports::{AuthVersion, NewTrustedDevice, TokenHash, TrustedDeviceReads, TrustedDevices};
use iam_core::{AccountId, StoreError, Timestamp};

use crate::error::failed;
use crate::unit::{Link, Reading, Work};

#[async_trait]
impl<C: Reading> TrustedDeviceReads for Work<C> {
    async fn is_trusted(
        &mut self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM iam_trusted_device
             WHERE token_hash = ? AND account_id = ? AND auth_version = ? AND expires_at > ? AND created_at <= ?) AS "is_trusted!: bool""#,
            &token.as_bytes()[..],
            &account.as_bytes()[..],
            auth_version.as_i64(),
            now.as_micros(),
            now.latest_tolerated().as_micros()
        )
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }
}

#[async_trait]
impl<C: Link> TrustedDevices for Work<C> {
    async fn trust(&mut self, device: &NewTrustedDevice, most: u32) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO iam_trusted_device
                (id, account_id, token_hash, auth_version, created_at, expires_at, client_address, user_agent)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            &device.id.as_bytes()[..],
            &device.account.as_bytes()[..],
            &device.token.as_bytes()[..],
            device.auth_version.as_i64(),
            device.created_at.as_micros(),
            device.expires_at.as_micros(),
            device.client.address.map(|address| address.to_string()),
            device.client.user_agent.as_deref()
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query!("DELETE FROM iam_trusted_device WHERE id IN
    (SELECT id FROM iam_trusted_device WHERE account_id = ?1 AND id <> ?2 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)", &device.account.as_bytes()[..], &device.id.as_bytes()[..], i64::from(most.saturating_sub(1)))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn forget_all(&mut self, account: AccountId) -> Result<u64, StoreError> {
        let done =
            sqlx::query!("DELETE FROM iam_trusted_device WHERE account_id = ?", &account.as_bytes()[..])
                .execute(self.connection())
                .await
                .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "DELETE FROM iam_trusted_device WHERE id IN
    (SELECT id FROM iam_trusted_device WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
            expired_before.as_micros(),
            most
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
