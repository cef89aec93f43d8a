//! `iam_trusted_device`.

use async_trait::async_trait;
use iam_core::ports::{AuthVersion, NewTrustedDevice, TokenHash, TrustedDeviceReads, TrustedDevices};
use iam_core::{AccountId, StoreError, Timestamp};

use crate::connection::{Link, Reading, all, execute, unless_fenced};
use crate::rows::utc;
use crate::unit::Work;

#[async_trait]
impl<L: Reading> TrustedDeviceReads for Work<L> {
    async fn is_trusted(
        &mut self,
        token: &TokenHash,
        account: AccountId,
        auth_version: AuthVersion,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let find = || {
            // Which browsers are trusted is no matter of the account's version, which the sign-in asks for anew: that this one was forgotten
            // must not be overlooked on the primary of before.
            let find = all(sqlx::query!(
                r#"SELECT CAST(@@GLOBAL.read_only AS CHAR) NOT IN ('0', 'OFF') AS "fenced!: bool" FROM iam_trusted_device
                 WHERE token_hash = ? AND account_id = ? AND auth_version = ? AND expires_at > ? AND created_at <= ?"#,
                &token.as_bytes()[..],
                &account.as_bytes()[..],
                auth_version.as_i64(),
                utc(now),
                utc(now.latest_tolerated())
            ));
            unless_fenced(find, |row| row.fenced)
        };
        Ok(!self.0.read(find).await?.is_empty())
    }
}

#[async_trait]
impl<L: Link> TrustedDevices for Work<L> {
    async fn trust(&mut self, device: &NewTrustedDevice, most: u32) -> Result<(), StoreError> {
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_trusted_device
                    (id, account_id, token_hash, auth_version, created_at, expires_at, client_address, user_agent)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                &device.id.as_bytes()[..],
                &device.account.as_bytes()[..],
                &device.token.as_bytes()[..],
                device.auth_version.as_i64(),
                utc(device.created_at),
                utc(device.expires_at),
                device.client.address.map(|address| address.to_string()),
                device.client.user_agent.as_deref()
            ))
        };
        self.0.write(insert).await?;
        let leave_newest = || {
            execute(sqlx::query!(
                "DELETE d FROM
                    (SELECT id FROM iam_trusted_device FORCE INDEX (iam_trusted_device_account)
                     WHERE account_id = ? AND id <> ? ORDER BY created_at DESC, id DESC LIMIT 1000 OFFSET ?) old
                 STRAIGHT_JOIN iam_trusted_device d FORCE INDEX (PRIMARY) ON d.id = old.id",
                &device.account.as_bytes()[..],
                &device.id.as_bytes()[..],
                most.saturating_sub(1)
            ))
        };
        self.0.write(leave_newest).await.map(drop)
    }

    async fn forget_all(&mut self, account: AccountId) -> Result<u64, StoreError> {
        let forget = || {
            execute(sqlx::query!(
                "DELETE FROM iam_trusted_device WHERE account_id = ?",
                &account.as_bytes()[..]
            ))
        };
        self.0.write(forget).await
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE d FROM
                    (SELECT id FROM iam_trusted_device FORCE INDEX (iam_trusted_device_expiry)
                     WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_trusted_device d FORCE INDEX (PRIMARY) ON d.id = old.id",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
