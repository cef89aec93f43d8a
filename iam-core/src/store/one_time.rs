use async_trait::async_trait;

use super::StoreError;
use crate::base::clock::Timestamp;
use crate::base::id::AccountId;
use crate::model::token::{NewOneTimeToken, TicketPurpose, TokenHash};

/// Reads of links that work once: in a unit of work, or beside any.
#[async_trait]
pub trait OneTimeTokenReads: Send {
    /// Whether a token would be consumed now. It changes nothing: mail scanners follow links.
    async fn is_good(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}

/// Links that work once, in a unit of work.
#[async_trait]
pub trait OneTimeTokens: OneTimeTokenReads {
    /// Adds a token. Those of the same purpose and account that were added before and not used MUST be void from then on.
    async fn issue(&mut self, token: &NewOneTimeToken, now: Timestamp) -> Result<(), StoreError>;

    /// Uses a token of this purpose that is neither used nor void, has not expired at `now`, and is not of the future. Says whether it did; at most one
    /// caller is ever told so.
    async fn consume(
        &mut self,
        hash: &TokenHash,
        purpose: TicketPurpose,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Makes the tokens of this purpose and account void that were not used.
    async fn void(
        &mut self,
        purpose: TicketPurpose,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes up to `most` tokens that expired before a time. Says how many.
    async fn purge(&mut self, expired_before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
