use async_trait::async_trait;

use super::StoreError;

/// A sealed known value for each sealing key, by which a program with a wrong key finds out at its start.
#[async_trait]
pub trait KeyCanaries: Send {
    /// The sealed value of a key id.
    async fn get(&mut self, key_id: u32) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a sealed value for a key id that has none; one that is there MUST stay.
    async fn put(&mut self, key_id: u32, sealed: &[u8]) -> Result<(), StoreError>;
}
