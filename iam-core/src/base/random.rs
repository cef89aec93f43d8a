//! Randomness as a port.

use std::fmt;

/// A cryptographically secure source of random bytes.
///
/// An implementation MUST fill the whole buffer with bytes that nobody can predict, or fail: tokens, salts, keys and ids
/// are made of them.
pub trait Randomness: Send + Sync + fmt::Debug + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomnessUnavailable>;
}

/// No random bytes could be had. Nothing that needs them may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness failed")]
pub struct RandomnessUnavailable;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandomness;

impl Randomness for OsRandomness {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomnessUnavailable> {
        getrandom::fill(buffer).map_err(|_| RandomnessUnavailable)
    }
}

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>(random: &dyn Randomness) -> Result<[u8; N], RandomnessUnavailable> {
    let mut buffer = [0; N];
    random.fill(&mut buffer)?;
    Ok(buffer)
}
