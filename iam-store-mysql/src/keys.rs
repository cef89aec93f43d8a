//! `iam_key_canary`.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::{KeyCanaries, KeyCanaryReads};

use crate::connection::{Link, Reading, all, execute};
use crate::unit::Work;

#[async_trait]
impl<L: Reading> KeyCanaryReads for Work<L> {
    async fn all(&mut self) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let find = || all(sqlx::query!("SELECT key_id, sealed FROM iam_key_canary ORDER BY key_id"));
        Ok(self.0.read(find).await?.into_iter().map(|row| (row.key_id, row.sealed)).collect())
    }
}

#[async_trait]
impl<L: Link> KeyCanaries for Work<L> {
    async fn put(&mut self, key_id: u32, sealed: &[u8]) -> Result<(), StoreError> {
        let put = || {
            execute(sqlx::query!(
                "INSERT INTO iam_key_canary (key_id, sealed) VALUES (?, ?) ON DUPLICATE KEY UPDATE key_id = key_id",
                key_id,
                sealed
            ))
        };
        self.0.write(put).await.map(drop)
    }

    async fn retire(&mut self, key_id: u32) -> Result<bool, StoreError> {
        // Each column of `SealedColumn::ALL`. There is no index on the keys: it reads them all, and locks none.
        let id = key_id.to_be_bytes();
        let retire = || {
            execute(sqlx::query!(
                "DELETE FROM iam_key_canary WHERE key_id = ?
                   AND NOT EXISTS (SELECT 1 FROM iam_mfa_method WHERE SUBSTRING(secret, 2, 4) = ?)
                   AND NOT EXISTS (SELECT 1 FROM iam_outbox WHERE SUBSTRING(sealed, 2, 4) = ?)
                   AND NOT EXISTS (SELECT 1 FROM iam_interrupted_request WHERE SUBSTRING(sealed, 2, 4) = ?)
                   AND NOT EXISTS (SELECT 1 FROM iam_ticket WHERE SUBSTRING(payload, 2, 4) = ?)
                   AND NOT EXISTS (SELECT 1 FROM iam_mfa_challenge WHERE SUBSTRING(kept, 2, 4) = ?)",
                key_id,
                &id[..],
                &id[..],
                &id[..],
                &id[..],
                &id[..]
            ))
        };
        Ok(self.0.write(retire).await? == 1)
    }
}
