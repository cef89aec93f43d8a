use async_trait::async_trait;

use super::StoreError;
use crate::audit::Record;

/// The audit log, in a unit of work.
#[async_trait]
pub trait AuditLog: Send {
    /// Adds a record under an id higher than all before. A record with a `coalesce` key that the log has already MUST add one
    /// to the count of that row, and its time as the row's last, instead of a row.
    async fn append(&mut self, record: &Record) -> Result<(), StoreError>;
}
