use async_trait::async_trait;

use super::StoreError;
use crate::secrets::seal::Place;

/// A column of sealed values (see [`seal`](crate::KeyRing)). All that is sealed at rest lies in one of these, but for the canaries of the
/// keys themselves: so a key under which none of them holds anything can go.
///
/// There may be more in a later version: a store that does not know one does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealedColumn {
    /// The secrets of factors. Their owner is an account.
    MethodSecret,
    /// Messages to be sent. Their owner is an account.
    OutboxMessage,
    /// Requests that a guard stopped. Their owner is a session.
    InterruptedRequest,
    /// What tickets carry. Their owner is an account, or nobody: sixteen zeros.
    TicketPayload,
    /// What challenges keep for their factors. Their owner is an account.
    ChallengeKept,
}

impl SealedColumn {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MethodSecret,
        Self::OutboxMessage,
        Self::InterruptedRequest,
        Self::TicketPayload,
        Self::ChallengeKept,
    ];

    /// Its table.
    pub const fn table(self) -> &'static str {
        match self {
            Self::MethodSecret => "iam_mfa_method",
            Self::OutboxMessage => "iam_outbox",
            Self::InterruptedRequest => "iam_interrupted_request",
            Self::TicketPayload => "iam_ticket",
            Self::ChallengeKept => "iam_mfa_challenge",
        }
    }

    /// Its name in that table.
    pub const fn column(self) -> &'static str {
        match self {
            Self::MethodSecret => "secret",
            Self::OutboxMessage | Self::InterruptedRequest => "sealed",
            Self::TicketPayload => "payload",
            Self::ChallengeKept => "kept",
        }
    }

    /// The place of the value of one row.
    pub(crate) const fn place<'a>(self, owner: &'a [u8; 16], row: &'a [u8; 16]) -> Place<'a> {
        Place { table: self.table(), column: self.column(), owner, row }
    }
}

/// A row with room for a sealed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    /// Its id, a `UUIDv7`.
    pub row: [u8; 16],
    /// The id of its owner; zeros for nobody's.
    pub owner: [u8; 16],
    /// The value, if there is one.
    pub sealed: Option<Vec<u8>>,
}

/// Reads of sealed values: in a unit of work, or beside any.
#[async_trait]
pub trait SealedValueReads: Send {
    /// Up to `most` rows of a column's table, the newest first (by their ids, from the highest down), below the id `before` when one is
    /// given; those without a value, too. It MUST find them by the primary key and read no others, so that it takes the same time
    /// however large the table is.
    async fn rows(
        &mut self,
        column: SealedColumn,
        before: Option<[u8; 16]>,
        most: u32,
    ) -> Result<Vec<SealedRow>, StoreError>;
}

/// Sealed values wherever they lie, in a unit of work. [`SealedValueReads::rows`] finds them.
#[async_trait]
pub trait SealedValues: SealedValueReads {
    /// Puts a value in place of the one that a row has, and changes nothing else of it, if that is still `old`, byte by byte. It MUST be
    /// one conditional statement: what was changed or removed meanwhile stays as it is. Says whether it did.
    async fn replace(
        &mut self,
        column: SealedColumn,
        row: &[u8; 16],
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StoreError>;
}
