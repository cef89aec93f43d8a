use crate::model::parent::ParentKey;
use async_trait::async_trait;

use super::{Inserted, StoreError};
use crate::base::clock::Timestamp;
use crate::base::id::ParentId;
use crate::model::parent::{Parent, ParentStatus};
use crate::model::policy::FactorRequirement;

/// Reads of parents: in a unit of work, or beside any.
#[async_trait]
pub trait ParentReads: Send {
    /// A parent by id.
    async fn by_id(&mut self, id: ParentId) -> Result<Option<Parent>, StoreError>;

    /// A parent by key.
    async fn by_key(&mut self, key: &ParentKey) -> Result<Option<Parent>, StoreError>;
}

/// Parents, in a unit of work.
#[async_trait]
pub trait Parents: ParentReads {
    /// Adds a parent. Keys are unique: it MUST give [`Inserted::Taken`] for one that exists.
    async fn insert(&mut self, parent: &Parent, now: Timestamp) -> Result<Inserted, StoreError>;

    /// Sets the status, if it is `from`. Says whether it did.
    async fn set_status(
        &mut self,
        id: ParentId,
        from: ParentStatus,
        to: ParentStatus,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Sets or takes away the requirement of a second factor, if it is `from`. Says whether it did.
    async fn set_factor_requirement(
        &mut self,
        id: ParentId,
        from: Option<FactorRequirement>,
        to: Option<FactorRequirement>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;
}
