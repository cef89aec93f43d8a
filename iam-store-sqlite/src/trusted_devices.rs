//! `iam_trusted_device`.

use async_trait::async_trait;
use iam_core::ports::{AuthVersion, NewTrustedDevice, TokenHash, TrustedDeviceReads, TrustedDevices};
use iam_core::{AccountId, StoreError, Timestamp};

use crate::error::failed;
use crate::unit::{Link, Reading, Work};

const LEAVE_NEWEST: &str = "DELETE FROM iam_trusted_device WHERE id IN
    (SELECT id FROM iam_trusted_device WHERE account_id = ?1 AND id <> ?2 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?3)";

const PURGE: &str = "DELETE FROM iam_trusted_device WHERE id IN
    (SELECT id FROM iam_trusted_device WHERE expires_at < ? ORDER BY expires_at LIMIT ?)";

#[async_trait]
impl<C: Reading> TrustedDeviceReads for Work<C> {
    async fn is_trusted(
        &mut self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM iam_trusted_device
             WHERE token_hash = ? AND account_id = ? AND auth_version = ? AND expires_at > ? AND created_at <= ?)",
        )
        .bind(&token.as_bytes()[..])
        .bind(&account.as_bytes()[..])
        .bind(auth_version.as_i64())
        .bind(now.as_micros())
        .bind(now.latest_tolerated().as_micros())
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }
}

#[async_trait]
impl<C: Link> TrustedDevices for Work<C> {
    async fn trust(&mut self, device: &NewTrustedDevice, most: u32) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO iam_trusted_device
                (id, account_id, token_hash, auth_version, created_at, expires_at, client_address, user_agent)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&device.id.as_bytes()[..])
        .bind(&device.account.as_bytes()[..])
        .bind(&device.token.as_bytes()[..])
        .bind(device.auth_version.as_i64())
        .bind(device.created_at.as_micros())
        .bind(device.expires_at.as_micros())
        .bind(device.client.address.map(|address| address.to_string()))
        .bind(device.client.user_agent.as_deref())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        sqlx::query(LEAVE_NEWEST)
            .bind(&device.account.as_bytes()[..])
            .bind(&device.id.as_bytes()[..])
            .bind(i64::from(most.saturating_sub(1)))
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn forget_all(&mut self, account: AccountId) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM iam_trusted_device WHERE account_id = ?")
            .bind(&account.as_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        self.remove_before(PURGE, expired_before, most).await
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAVE_NEWEST, PURGE};
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn rows_are_found_by_index() {
        assert_by_index(&[
            (LEAVE_NEWEST, &["iam_trusted_device_account"]),
            (PURGE, &["iam_trusted_device_expiry"]),
        ])
        .await;
    }
}
