//! The columns of sealed values, of several tables.

use async_trait::async_trait;
use iam_core::StoreError;
use iam_core::ports::{SealedColumn, SealedRow, SealedValueReads, SealedValues};
use iam_store_sql::Column;

use crate::connection::{Link, Reading, Statement, all, execute};

use crate::unit::Work;

/// Above every `UUIDv7`.
const ABOVE_ALL: [u8; 16] = [0xff; 16];

struct Row {
    id: Vec<u8>,
    owner: Vec<u8>,
    sealed: Option<Vec<u8>>,
}

/// Of each column its statements: one that is checked when it is compiled names its table.
macro_rules! columns {
    ($($column:ident: $table:tt, value $value:tt, owner $owner:tt;)*) => {
        fn select(column: SealedColumn, before: [u8; 16], most: u32) -> Statement<Vec<Row>> {
            match column {
                $(SealedColumn::$column => all(sqlx::query_as!(
                    Row,
                    "SELECT id, " + $owner + " AS `owner!`, " + $value + " AS sealed FROM " + $table
                        + " FORCE INDEX (PRIMARY) WHERE id < ? ORDER BY id DESC LIMIT ?",
                    &before[..],
                    most
                )),)*
            }
        }

        fn replace(column: SealedColumn, row: &[u8; 16], old: &[u8], new: &[u8]) -> Statement<u64> {
            match column {
                $(SealedColumn::$column => execute(sqlx::query!(
                    "UPDATE " + $table + " FORCE INDEX (PRIMARY) SET " + $value + " = ? WHERE id = ? AND " + $value + " = ?",
                    new,
                    &row[..],
                    old
                )),)*
            }
        }
    };
}

columns! {
    MethodSecret: "iam_mfa_method", value "secret", owner "account_id";
    OutboxMessage: "iam_outbox", value "sealed", owner "account_id";
    InterruptedRequest: "iam_interrupted_request", value "sealed", owner "session_id";
    ChallengeKept: "iam_mfa_challenge", value "kept", owner "account_id";
    TicketPayload: "iam_ticket", value "payload", owner "COALESCE(account_id, x'00000000000000000000000000000000')";
}

#[async_trait]
impl<L: Reading> SealedValueReads for Work<L> {
    async fn rows(
        &mut self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let rows = self.0.read(|| select(column, before.unwrap_or(ABOVE_ALL), most)).await?;
        let id = |bytes: &[u8]| Column(column.table(), "id").id(bytes);
        rows.into_iter()
            .map(|row| Ok(SealedRow { row: id(&row.id)?, owner: id(&row.owner)?, sealed: row.sealed }))
            .collect()
    }
}

#[async_trait]
impl<L: Link> SealedValues for Work<L> {
    async fn replace(
        &mut self,
        column: SealedColumn,
        row: &[u8; 16],
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StoreError> {
        Ok(self.0.write(|| replace(column, row, old, new)).await? == 1)
    }
}
