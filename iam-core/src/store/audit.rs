use async_trait::async_trait;

use super::StoreError;
use crate::audit::Record;
use crate::base::clock::Timestamp;

/// The audit log, in a unit of work.
#[async_trait]
pub trait AuditLog: Send {
    /// Adds a record under an id higher than all before. A record with a `coalesce` key that the log has already MUST add its
    /// count to that of the row, and its last time as the row's if that is later, instead of a row.
    async fn append(&mut self, record: &Record) -> Result<(), StoreError>;

    /// Removes up to `most` of the oldest records that began before a time. Says how many.
    async fn delete_before(&mut self, before: Timestamp, most: u32) -> Result<u64, StoreError>;
}
