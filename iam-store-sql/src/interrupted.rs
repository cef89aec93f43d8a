//! `iam_interrupted_request`.

use iam_core::ports::{Interrupted, InterruptedId, NewInterrupted};
use iam_core::{AccountId, SessionId, StoreError};

use crate::{Column, Dialect};

/// A row of `iam_interrupted_request`, without the id and the session that it was found by.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct InterruptedRow<D: Dialect> {
    pub account_id: Vec<u8>,
    pub sealed: Vec<u8>,
    pub created_at: D::Time,
    pub expires_at: D::Time,
    pub resumed_at: Option<D::Time>,
}

impl<D: Dialect> InterruptedRow<D> {
    /// The request.
    pub fn read(self, id: InterruptedId, session: SessionId) -> Result<Interrupted, StoreError> {
        let account = Column("iam_interrupted_request", "account_id").id(&self.account_id)?;
        let new = NewInterrupted {
            id,
            account: AccountId::from_bytes(account),
            session,
            sealed: self.sealed,
            created_at: D::timestamp(self.created_at),
            expires_at: D::timestamp(self.expires_at),
        };
        Ok(Interrupted { new, resumed_at: self.resumed_at.map(D::timestamp) })
    }
}
