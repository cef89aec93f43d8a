use async_trait::async_trait;

use super::StoreError;
use crate::audit::{Entry, Record};
use crate::base::clock::Timestamp;

/// Reads of the trail: in a unit of work, or beside any.
///
/// The trail is what [`entries`](Self::entries) gives, and never changes. Beside it lie the [`counts`](Self::counts) of what is still being
/// counted: a list that shows what happened shows those before the newest entries.
#[async_trait]
pub trait AuditReads: Send {
    /// Up to `most` records of the trail, newest first, below the id `before` when one is given.
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError>;

    /// Up to `most` records that are counted and have not come into the trail, those that began last first.
    async fn counts(&mut self, most: u32) -> Result<Vec<Record>, StoreError>;
}

/// The trail, in a unit of work. No row of it is ever changed: a database user who may add and read, but neither change nor remove, can do
/// all of this.
#[async_trait]
pub trait AuditLog: AuditReads {
    /// Adds records without a `coalesce` key, in their order, each under an id higher than all before: in one statement, as far as there
    /// are not very many. Of none it asks nothing.
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Counts records that have a `coalesce` key, beside the trail. One whose key is there already MUST add its count to that of the row,
    /// and its last time as the row's if that is later; another one makes a row. It locks the rows in the order of the records.
    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Takes up to `most` counts that began before a time away, the oldest first, and gives them as records for the trail. What is counted
    /// under one of their keys from then on MUST make a new row, so that nothing is lost and nothing comes twice.
    async fn take_counts(&mut self, before: Timestamp, most: u32) -> Result<Vec<Record>, StoreError>;
}

/// The end of the trail's old records, in a unit of work: all that ever removes any. It needs a database user who may read and remove.
#[async_trait]
pub trait AuditRetention: Send {
    /// Removes the records that began before a time, up to `most` and in the order of their ids: none from the first one on that is to be
    /// kept, so that what is left has no hole. Says how many.
    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
