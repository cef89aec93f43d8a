use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::model::ticket::{Ticket, TicketPurpose};
use crate::model::token::TokenHash;

/// Reads of tickets: in a unit of work, or beside any.
#[async_trait]
pub trait TicketReads: Send {
    /// The ticket that [`consume`](Tickets::consume) would use now. It changes nothing: mail scanners follow links.
    async fn peek(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError>;
}

/// Tickets (`iam_ticket`), in a unit of work. They are found by the hash of their token.
#[async_trait]
pub trait Tickets: TicketReads {
    /// Adds a ticket under the hash of its token. Those of the same purpose and account that were added before and not used MUST be void
    /// from its `created_at` on.
    async fn issue(&mut self, hash: &TokenHash, ticket: &Ticket) -> Result<(), StoreError>;

    /// Uses a ticket of this purpose that is neither used nor void, has not expired at `now`, and is not of the future. It MUST be used by
    /// one conditional statement: at most one caller is ever given it.
    async fn consume(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError>;

    /// Makes the tickets of this purpose and account void that were not used.
    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes up to `most` tickets that expired before a time. Says how many.
    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
