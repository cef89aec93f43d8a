use super::{Checked, HashingThreads, PasswordHash, PlainPassword};
use crate::model::error::Error;

/// A try at a password that was counted before anything is compared. One type implements it, `flow::attempt::Reserved`, so that nothing
/// else can compare a password with a hash; `cargo xtask check` sees to that.
pub(crate) trait CountedTry {}

/// The threads that hash, as flows may use them.
pub(crate) struct Hashing(HashingThreads);

impl Hashing {
    pub(crate) const fn new(threads: HashingThreads) -> Self {
        Self(threads)
    }

    /// Whether a hash is one that passwords could be compared with; nothing is computed.
    pub(crate) fn can_verify(&self, stored: &PasswordHash) -> bool {
        self.0.can_verify(stored)
    }

    /// Makes a hash at today's cost.
    pub(crate) async fn hash(&self, password: PlainPassword) -> Result<PasswordHash, Error> {
        self.0.hash(password).await
    }

    /// Compares a password with a hash, or does as much work without one.
    pub(crate) async fn check(
        &self,
        _: &impl CountedTry,
        password: PlainPassword,
        stored: Option<PasswordHash>,
    ) -> Result<Checked, Error> {
        self.0.check(password, stored).await
    }
}
