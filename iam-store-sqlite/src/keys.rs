//! `iam_key_canary`.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::{KeyCanaries, KeyCanaryReads, SealedColumn};
use sqlx::AssertSqlSafe;

use crate::error::failed;
use crate::unit::{Link, Reading, Work};

#[async_trait]
impl<C: Reading> KeyCanaryReads for Work<C> {
    async fn all(&mut self) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let rows =
            sqlx::query!(r#"SELECT key_id AS "key_id: u32", sealed FROM iam_key_canary ORDER BY key_id"#);
        let rows = rows.fetch_all(self.connection()).await.map_err(failed)?;
        Ok(rows.into_iter().map(|row| (row.key_id, row.sealed)).collect())
    }
}

#[async_trait]
impl<C: Link> KeyCanaries for Work<C> {
    async fn put(&mut self, key_id: u32, sealed: &[u8]) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO iam_key_canary (key_id, sealed) VALUES (?, ?) ON CONFLICT DO NOTHING",
            i64::from(key_id),
            sealed
        )
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn retire(&mut self, key_id: u32) -> Result<bool, StoreError> {
        let unused: String = SealedColumn::ALL.into_iter().map(unused).collect();
        let sql = format!("DELETE FROM iam_key_canary WHERE key_id = ?1{unused}");
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(key_id))
            .bind(&key_id.to_be_bytes()[..])
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

/// That a column has no value under the key whose id, as a value has it, is ?2.
fn unused(column: SealedColumn) -> String {
    let (table, value) = (column.table(), column.column());
    format!(" AND NOT EXISTS (SELECT 1 FROM {table} WHERE substr({value}, 2, 4) = ?2)")
}
