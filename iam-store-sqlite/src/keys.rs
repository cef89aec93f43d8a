//! `iam_key_canary`.

use async_trait::async_trait;
use iam_core::store::{KeyCanaries, StoreError};

use crate::error::failed;
use crate::unit::{Link, Work};

#[async_trait]
impl<C: Link> KeyCanaries for Work<C> {
    async fn all(&mut self) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        sqlx::query_as("SELECT key_id, sealed FROM iam_key_canary ORDER BY key_id")
            .fetch_all(self.connection())
            .await
            .map_err(failed)
    }

    async fn put(&mut self, key_id: u32, sealed: &[u8]) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO iam_key_canary (key_id, sealed) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(i64::from(key_id))
            .bind(sealed)
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(())
    }
}
