use async_trait::async_trait;

use super::StoreError;

/// Reads of the canaries of keys: in a unit of work, or beside any.
#[async_trait]
pub trait KeyCanaryReads: Send {
    /// Every key id that has a sealed value, lowest first.
    async fn all(&mut self) -> Result<Vec<(u32, Vec<u8>)>, StoreError>;
}

/// A sealed known value for each sealing key, by which a program with a wrong key finds out at its start.
#[async_trait]
pub trait KeyCanaries: KeyCanaryReads {
    /// Keeps a sealed value for a key id that has none; one that is there MUST stay.
    async fn put(&mut self, key_id: u32, sealed: &[u8]) -> Result<(), StoreError>;

    /// Removes the sealed value of a key id, unless a value of some [`SealedColumn`](super::SealedColumn) is sealed under it: has the id,
    /// big-endian, as its bytes 1 to 4 (counted from 0). It MUST be one conditional statement. Says whether it did.
    async fn retire(&mut self, key_id: u32) -> Result<bool, StoreError>;
}
