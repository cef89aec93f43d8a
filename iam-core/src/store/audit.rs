use crate::audit::Entry;
use async_trait::async_trait;

use super::StoreError;
use crate::audit::Record;
use crate::base::clock::Timestamp;

/// Reads of the audit log: in a unit of work, or beside any.
#[async_trait]
pub trait AuditReads: Send {
    /// Up to `most` records of the audit log, newest first, below the id `before` when one is given.
    async fn entries(&mut self, before: Option<u64>, most: u32) -> Result<Vec<Entry>, StoreError>;
}

/// The audit log, in a unit of work.
#[async_trait]
pub trait AuditLog: AuditReads {
    /// Adds records without a `coalesce` key, in their order, each under an id higher than all before: in one statement, as far as there
    /// are not very many. Of none it asks nothing.
    async fn append_all(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Counts records that have a `coalesce` key. One whose key is there already MUST add its count to that of the row, and its last time
    /// as the row's if that is later; another one makes a row. It locks the rows in the order of the records.
    async fn count_all(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Removes up to `most` of the oldest records that began before a time. Says how many.
    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
