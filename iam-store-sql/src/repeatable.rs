//! `iam_repeatable_answer`.

use iam_core::ports::{Claim, KeptAnswer, KeptRequest, TokenHash};
use iam_core::{SessionId, StoreError};

use crate::{Column, Dialect};

/// A row of `iam_repeatable_answer`, without the token that it was found by.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct KeptRow<D: Dialect> {
    pub session_id: Vec<u8>,
    pub request: Vec<u8>,
    pub token_hash: Option<Vec<u8>>,
    pub answer: Option<Vec<u8>>,
    pub at: D::Time,
}

impl<D: Dialect> KeptRow<D> {
    /// The request, with its answer when there is one.
    pub fn read(self, old_token: &TokenHash) -> Result<KeptRequest, StoreError> {
        let column = |name| Column("iam_repeatable_answer", name);
        let claim = Claim {
            session: SessionId::from_bytes(column("session_id").id(&self.session_id)?),
            old_token: *old_token,
            request: column("request").digest(&self.request)?,
            at: D::timestamp(self.at),
        };
        let token = column("token_hash").maybe_digest(self.token_hash.as_deref())?.map(TokenHash::from_bytes);
        let answer = token.zip(self.answer).map(|(token, sealed)| KeptAnswer { token, sealed });
        Ok(KeptRequest { claim, answer })
    }
}
