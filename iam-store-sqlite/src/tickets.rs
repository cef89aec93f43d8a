//! `iam_ticket`.

use async_trait::async_trait;
use iam_core::ports::{Ticket, TicketId, TicketPurpose, TicketReads, Tickets, TokenHash};
use iam_core::{AccountId, ParentId, StoreError, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::error::failed;
use crate::rows::Columns;
use crate::unit::{Link, Reading, Work};

const PEEK: &str = "SELECT id, account_id, parent_id, payload, created_at, expires_at FROM iam_ticket
    WHERE token_hash = ?2 AND purpose = ?3 AND used_at IS NULL AND expires_at > ?1 AND created_at <= ?4";

const CONSUME: &str = "UPDATE iam_ticket SET used_at = ?1
    WHERE token_hash = ?2 AND purpose = ?3 AND used_at IS NULL AND expires_at > ?1 AND created_at <= ?4
    RETURNING id, account_id, parent_id, payload, created_at, expires_at";

const VOID: &str =
    "UPDATE iam_ticket SET used_at = ? WHERE account_id IS ? AND purpose = ? AND used_at IS NULL";

impl<C: Reading> Work<C> {
    /// Runs [`PEEK`] or [`CONSUME`].
    async fn find_ticket(
        &mut self,
        sql: &'static str,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        let row = sqlx::query(sql)
            .bind(now.as_micros())
            .bind(&hash.as_bytes()[..])
            .bind(purpose.as_str())
            .bind(now.latest_tolerated().as_micros())
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        row.map(|row| ticket(&row, purpose)).transpose()
    }
}

fn ticket(row: &SqliteRow, purpose: TicketPurpose) -> Result<Ticket, StoreError> {
    let columns = Columns { table: "iam_ticket", row };
    Ok(Ticket {
        id: TicketId::from_bytes(columns.id("id")?),
        purpose,
        account: columns.maybe_id("account_id")?.map(AccountId::from_bytes),
        parent: columns.maybe_id("parent_id")?.map(ParentId::from_bytes),
        payload: columns.maybe_bytes("payload")?.map(<[u8]>::to_vec),
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
    })
}

#[async_trait]
impl<C: Reading> TicketReads for Work<C> {
    async fn peek(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        self.find_ticket(PEEK, hash, purpose, now).await
    }
}

#[async_trait]
impl<C: Link> Tickets for Work<C> {
    async fn issue(&mut self, hash: &TokenHash, ticket: &Ticket) -> Result<(), StoreError> {
        let account = ticket.account.map(|id| id.as_bytes().to_vec());
        sqlx::query(VOID)
            .bind(ticket.created_at.as_micros())
            .bind(account.clone())
            .bind(ticket.purpose.as_str())
            .execute(self.connection())
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO iam_ticket (id, token_hash, purpose, account_id, parent_id, payload, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&ticket.id.as_bytes()[..])
        .bind(&hash.as_bytes()[..])
        .bind(ticket.purpose.as_str())
        .bind(account)
        .bind(ticket.parent.map(|id| id.as_bytes().to_vec()))
        .bind(ticket.payload.as_deref())
        .bind(ticket.created_at.as_micros())
        .bind(ticket.expires_at.as_micros())
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
    ) -> Result<Option<Ticket>, StoreError> {
        self.find_ticket(CONSUME, hash, purpose, now).await
    }

    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(VOID)
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
            "DELETE FROM iam_ticket WHERE id IN
                (SELECT id FROM iam_ticket WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
        )
        .bind(expired_before.as_micros())
        .bind(i64::from(most))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
