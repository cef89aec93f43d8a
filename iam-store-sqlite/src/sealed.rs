//! The columns of sealed values, of several tables.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::{SealedColumn, SealedRow, SealedValueReads, SealedValues};
use sqlx::AssertSqlSafe;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

/// Above every `UUIDv7`.
const ABOVE_ALL: [u8; 16] = [0xff; 16];

/// The column that says whose a row is.
const fn owner(column: SealedColumn) -> &'static str {
    match column {
        SealedColumn::MethodSecret | SealedColumn::OutboxMessage | SealedColumn::ChallengeKept => {
            "account_id"
        }
        SealedColumn::InterruptedRequest => "session_id",
        SealedColumn::TicketPayload => "coalesce(account_id, zeroblob(16))",
    }
}

fn select(column: SealedColumn) -> String {
    let (table, value, owner) = (column.table(), column.column(), owner(column));
    format!(
        "SELECT id, {owner} AS owner, {value} AS sealed FROM {table} WHERE id < ? ORDER BY id DESC LIMIT ?"
    )
}

fn replace(column: SealedColumn) -> String {
    let (table, value) = (column.table(), column.column());
    format!("UPDATE {table} SET {value} = ? WHERE id = ? AND {value} = ?")
}

#[async_trait]
impl<C: Reading> SealedValueReads for Work<C> {
    async fn rows(
        &mut self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(select(column)))
            .bind(&before.unwrap_or(ABOVE_ALL)[..])
            .bind(i64::from(most))
            .fetch_all(self.connection())
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let columns = Columns { table: column.table(), row };
                Ok(SealedRow {
                    row: columns.id("id")?,
                    owner: columns.id("owner")?,
                    sealed: columns.maybe_bytes("sealed")?.map(<[u8]>::to_vec),
                })
            })
            .collect()
    }
}

#[async_trait]
impl<C: Link> SealedValues for Work<C> {
    async fn replace(
        &mut self,
        column: SealedColumn,
        row: &[u8; 16],
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(AssertSqlSafe(replace(column)))
            .bind(new)
            .bind(&row[..])
            .bind(old)
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plans::assert_by_index;

    #[tokio::test]
    async fn sealed_values_are_found_by_their_ids() {
        for column in SealedColumn::ALL {
            let index = format!("sqlite_autoindex_{}_1", column.table());
            for sql in [select(column), replace(column)] {
                assert_by_index(&[(&sql, &[&index])]).await;
            }
        }
    }
}
