//! `iam_ticket`.

use async_trait::async_trait;
use iam_core::ports::{Ticket, TicketId, TicketPurpose, TicketReads, Tickets, TokenHash};
use iam_core::{AccountId, ParentId, StoreError, Timestamp};
use iam_store_sql::Column;
use time::PrimitiveDateTime;

use crate::connection::{Link, Reading, Statement, execute, optional};
use crate::rows::{timestamp, utc};
use crate::unit::Work;

struct Row {
    id: Vec<u8>,
    account_id: Option<Vec<u8>>,
    parent_id: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    created_at: PrimitiveDateTime,
    expires_at: PrimitiveDateTime,
}

impl Row {
    fn ticket(self, purpose: TicketPurpose) -> Result<Ticket, StoreError> {
        let column = |name| Column("iam_ticket", name);
        Ok(Ticket {
            id: TicketId::from_bytes(column("id").id(&self.id)?),
            purpose,
            account: column("account_id").maybe_id(self.account_id.as_deref())?.map(AccountId::from_bytes),
            parent: column("parent_id").maybe_id(self.parent_id.as_deref())?.map(ParentId::from_bytes),
            payload: self.payload,
            created_at: timestamp(self.created_at),
            expires_at: timestamp(self.expires_at),
        })
    }
}

fn void(purpose: TicketPurpose, account: Option<AccountId>, now: Timestamp) -> Statement<u64> {
    execute(sqlx::query!(
        "UPDATE iam_ticket FORCE INDEX (iam_ticket_account) SET used_at = ?
         WHERE account_id <=> ? AND purpose = ? AND used_at IS NULL",
        utc(now),
        account.map(|id| id.as_bytes().to_vec()),
        purpose.as_str()
    ))
}

#[async_trait]
impl<L: Reading> TicketReads for Work<L> {
    async fn peek(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        let find = || {
            optional(sqlx::query_as!(
                Row,
                "SELECT id, account_id, parent_id, payload, created_at, expires_at FROM iam_ticket
                 WHERE token_hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND created_at <= ?",
                &hash.as_bytes()[..],
                purpose.as_str(),
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        self.0.read(find).await?.map(|row| row.ticket(purpose)).transpose()
    }
}

#[async_trait]
impl<L: Link> Tickets for Work<L> {
    async fn issue(&mut self, hash: &TokenHash, ticket: &Ticket) -> Result<(), StoreError> {
        self.0.write(|| void(ticket.purpose, ticket.account, ticket.created_at)).await?;
        let insert = || {
            execute(sqlx::query!(
                "INSERT INTO iam_ticket (id, token_hash, purpose, account_id, parent_id, payload, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                &ticket.id.as_bytes()[..],
                &hash.as_bytes()[..],
                ticket.purpose.as_str(),
                ticket.account.map(|id| id.as_bytes().to_vec()),
                ticket.parent.map(|id| id.as_bytes().to_vec()),
                ticket.payload.clone(),
                utc(ticket.created_at),
                utc(ticket.expires_at)
            ))
        };
        self.0.write(insert).await.map(drop)
    }

    async fn consume(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        let consume = || {
            execute(sqlx::query!(
                "UPDATE iam_ticket SET used_at = ?
                 WHERE token_hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? AND created_at <= ?",
                utc(now),
                &hash.as_bytes()[..],
                purpose.as_str(),
                utc(now),
                utc(now.latest_tolerated())
            ))
        };
        if self.0.write(consume).await? == 0 {
            return Ok(None);
        }
        // This unit holds the row, so it is what was consumed.
        let find = || {
            optional(sqlx::query_as!(
                Row,
                "SELECT id, account_id, parent_id, payload, created_at, expires_at FROM iam_ticket WHERE token_hash = ? FOR UPDATE",
                &hash.as_bytes()[..]
            ))
        };
        self.0.lock(find).await?.map(|row| row.ticket(purpose)).transpose()
    }

    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.0.write(|| void(purpose, Some(account), now)).await.map(drop)
    }

    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let purge = || {
            execute(sqlx::query!(
                "DELETE t FROM
                    (SELECT id FROM iam_ticket FORCE INDEX (iam_ticket_expiry)
                     WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) old
                 STRAIGHT_JOIN iam_ticket t FORCE INDEX (PRIMARY) ON t.id = old.id",
                utc(expired_before),
                most
            ))
        };
        self.0.write(purge).await
    }
}
