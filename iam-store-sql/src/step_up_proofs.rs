//! `iam_step_up_proof`.

use iam_core::ports::{AuthVersion, StepUpProof, StepUpProofId};
use iam_core::{AccountId, ParentId, ProofMethod, Purpose, StoreError};

use crate::{Column, Dialect};

/// A row of `iam_step_up_proof`.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct StepUpProofRow<D: Dialect> {
    /// Whether its server is one that can't write any more, so that the row does not count.
    pub fenced: bool,
    pub id: Vec<u8>,
    pub account_id: Vec<u8>,
    pub parent_id: Option<Vec<u8>>,
    pub auth_version: i64,
    pub purpose: String,
    pub kind: String,
    pub approval: Option<Vec<u8>>,
    pub proved_at: D::Time,
}

impl<D: Dialect> StepUpProofRow<D> {
    /// The proof; nothing, for a purpose or a kind that only a newer program knows.
    pub fn read(self) -> Result<Option<StepUpProof>, StoreError> {
        let column = |name| Column("iam_step_up_proof", name);
        let (purpose, kind) = (Purpose::parse(&self.purpose), ProofMethod::parse(&self.kind));
        let (Some(purpose), Some(kind)) = (purpose, kind) else { return Ok(None) };
        Ok(Some(StepUpProof {
            id: StepUpProofId::from_bytes(column("id").id(&self.id)?),
            account: AccountId::from_bytes(column("account_id").id(&self.account_id)?),
            parent: column("parent_id").maybe_id(self.parent_id.as_deref())?.map(ParentId::from_bytes),
            auth_version: AuthVersion::from_i64(self.auth_version),
            purpose,
            kind,
            proved_at: D::timestamp(self.proved_at),
            approval: column("approval").maybe_digest(self.approval.as_deref())?,
        }))
    }
}
