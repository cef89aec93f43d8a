//! The keys of a deployment.

use crate::secrets::seal::KeyRing;
use crate::secrets::secret_key::SecretKey;

/// Everything secret that a deployment must keep: lose it, and what is sealed stays sealed.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs tokens and cookies; changing it invalidates those, and nothing else.
    pub secret: SecretKey,
    /// Seals what is secret at rest; a key may go only when nothing is sealed under it any more
    /// ([`SealingKeys::retire`](crate::SealingKeys::retire)).
    pub ring: KeyRing,
}

impl Keys {
    /// Keys that everybody knows, the same each time: for tests of other things.
    #[cfg(any(test, feature = "danger-weak-for-tests"))]
    pub fn danger_known_for_tests() -> Self {
        let known = |name: &'static str| {
            crate::secrets::secret_key::MacKey::danger_known_for_tests().tag(&[name.as_bytes()])
        };
        Self {
            secret: SecretKey::danger_known_for_tests(known("secret")),
            ring: KeyRing::single(known("seal")),
        }
    }
}
