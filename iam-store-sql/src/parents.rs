//! `iam_parent`.

use iam_core::{Parent, ParentId, ParentKey, ParentStatus, StoreError};

use crate::{Column, Dialect};

/// A row of `iam_parent`.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct ParentRow<D: Dialect> {
    pub id: Vec<u8>,
    pub key: D::Text,
    pub name: String,
    pub status: String,
    pub factor_required_at: Option<D::Time>,
    pub factor_grace: Option<i64>,
}

impl<D: Dialect> ParentRow<D> {
    /// The parent.
    pub fn read(self) -> Result<Parent, StoreError> {
        let column = |name| Column("iam_parent", name);
        let key = column("key").parsed(self.key, |key| ParentKey::parse(key).ok())?;
        let mut parent = Parent::new(ParentId::from_bytes(column("id").id(&self.id)?), key);
        parent.name = self.name;
        parent.status = ParentStatus::from_stored(&self.status);
        parent.factor_required = column("factor_grace")
            .requirement(self.factor_required_at.map(D::timestamp), self.factor_grace)?;
        Ok(parent)
    }
}
