//! Argon2id (RFC 9106), stored as a PHC string.

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;

use super::{HashMemory, HashVerdict, PasswordHash, PasswordScheme};
use crate::base::random::{self, Randomness, RandomnessUnavailable};

const TAG_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// What a stored hash may ask for at most: 256 MiB, ten passes, sixteen lanes. Beyond that it is not computed.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 16;

/// Memory and passes that OWASP's Password Storage Cheat Sheet counts as equally strong: the floor.
const FLOOR: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Params {
    /// `memory_kib` KiB of memory (m), `passes` over it (t), in `lanes` (p).
    ///
    /// # Errors
    /// Below OWASP's minimum, or above what this library would verify.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InvalidParams> {
        let params = Self { memory_kib, passes, lanes };
        if !FLOOR.iter().any(|(memory, floor)| memory_kib >= *memory && passes >= *floor) || lanes == 0 {
            return Err(InvalidParams::TooWeak);
        }
        params.is_bounded().then_some(params).ok_or(InvalidParams::TooExpensive)
    }

    /// Far too weak, and fast: for tests of other things. Only with the feature `danger-weak-for-tests`, which `iam-testkit` turns on: a
    /// service that has that among its `dev-dependencies` alone is built without.
    #[cfg(any(test, feature = "danger-weak-for-tests"))]
    pub const fn danger_weak_for_tests() -> Self {
        Self { memory_kib: 64, passes: 1, lanes: 1 }
    }

    /// Any cost, however low.
    #[cfg(test)]
    pub(crate) const fn danger_any_for_tests(memory_kib: u32, passes: u32) -> Self {
        Self { memory_kib, passes, lanes: 1 }
    }

    /// Memory of one hash, in KiB.
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    const fn is_bounded(self) -> bool {
        self.memory_kib <= MAX_MEMORY_KIB && self.passes <= MAX_PASSES && self.lanes <= MAX_LANES
    }

    fn of(params: &Params) -> Self {
        Self { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() }
    }

    fn to_params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(TAG_BYTES)).ok()
    }
}

/// 19 456 KiB, 2 passes, 1 lane: OWASP's first choice.
impl Default for Argon2Params {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// Parameters that may not be used for new hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidParams {
    /// Below OWASP's minimum.
    #[error("argon2 parameters below the minimum (m=19456 KiB, t=2, p=1, or as strong)")]
    TooWeak,
    /// Above what is verified.
    #[error("argon2 parameters above the maximum (m=262144 KiB, t=10, p=16)")]
    TooExpensive,
}

/// The scheme of new hashes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Argon2id {
    params: Argon2Params,
}

impl Argon2id {
    /// Hashes at this cost.
    pub const fn new(params: Argon2Params) -> Self {
        Self { params }
    }

    pub(super) fn hash(
        &self,
        password: &[u8],
        random: &dyn Randomness,
        memory: &mut HashMemory,
    ) -> Result<PasswordHash, RandomnessUnavailable> {
        let salt = random::bytes::<SALT_BYTES>(random)?;
        // With bounded parameters, a 16-byte salt and a 32-byte tag none of these fails; if one did, there is no hash.
        self.phc_string(password, &salt, memory).map(PasswordHash::from_stored).ok_or(RandomnessUnavailable)
    }

    /// The work of one verification, for nothing.
    pub(super) fn dummy(&self, password: &[u8], memory: &mut HashMemory) {
        let tag = self.params.to_params().and_then(|params| {
            self.compute(
                Algorithm::Argon2id,
                Version::V0x13,
                params,
                password,
                &[0; SALT_BYTES],
                TAG_BYTES,
                memory,
            )
        });
        std::hint::black_box(tag);
    }

    fn phc_string(&self, password: &[u8], salt: &[u8], memory: &mut HashMemory) -> Option<String> {
        let params = self.params.to_params()?;
        let tag = self.compute(
            Algorithm::Argon2id,
            Version::V0x13,
            params.clone(),
            password,
            salt,
            TAG_BYTES,
            memory,
        )?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().ok()?,
            salt: Some(phc::Salt::new(salt).ok()?),
            hash: Some(phc::Output::new(&tag).ok()?),
        };
        Some(hash.to_string())
    }

    #[expect(clippy::too_many_arguments, reason = "the parameters of RFC 9106, and the memory to compute in")]
    fn compute(
        &self,
        algorithm: Algorithm,
        version: Version,
        params: Params,
        password: &[u8],
        salt: &[u8],
        tag_bytes: usize,
        memory: &mut HashMemory,
    ) -> Option<Vec<u8>> {
        let keep = self.params.memory_kib as usize;
        let mut tag = vec![0; tag_bytes];
        memory
            .with_blocks(params.block_count(), keep, |blocks| {
                Argon2::new(algorithm, version, params)
                    .hash_password_into_with_memory(password, salt, &mut tag, blocks)
            })
            .ok()?;
        Some(tag)
    }

    fn try_verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> Option<HashVerdict> {
        let Stored { algorithm, version, params, salt, tag } = Stored::parse(stored)?;
        let cost = self.cost(&params);
        let computed =
            self.compute(algorithm, version, params, password, salt.as_ref(), tag.len(), memory)?;
        if !bool::from(computed.ct_eq(tag.as_bytes())) {
            return Some(HashVerdict::Mismatch);
        }
        let current = algorithm == Algorithm::Argon2id && version == Version::V0x13 && tag.len() == TAG_BYTES;
        Some(HashVerdict::Match { outdated: !current || (cost.below && !cost.above) })
    }

    /// The memory of a hash at this cost, in KiB.
    pub(super) const fn memory_kib(&self) -> usize {
        self.params.memory_kib as usize
    }

    /// The memory that a stored hash takes, in KiB, if it may be computed.
    pub(super) fn memory_of(stored: &str) -> Option<usize> {
        Some(Stored::parse(stored)?.params.block_count())
    }

    /// A stored hash's cost beside today's.
    pub(super) fn compare(&self, stored: &str) -> Cost {
        Stored::parse(stored).map(|stored| self.cost(&stored.params)).unwrap_or_default()
    }

    /// Lanes are left out: they are computed one after another, so they change neither time nor memory.
    fn cost(&self, params: &Params) -> Cost {
        let (of, today) = (Argon2Params::of(params), self.params);
        Cost {
            below: of.memory_kib < today.memory_kib || of.passes < today.passes,
            above: of.memory_kib > today.memory_kib || of.passes > today.passes,
        }
    }
}

/// A cost beside today's: less of something, more of something, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) below: bool,
    pub(super) above: bool,
}

/// A stored hash that may be computed.
pub(crate) struct Stored {
    algorithm: Algorithm,
    version: Version,
    pub(crate) params: Params,
    salt: phc::Salt,
    tag: phc::Output,
}

impl Stored {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let stored = phc::PasswordHash::new(text).ok()?;
        // What is there twice, others may read as the other one; what is missing would be somebody's default.
        let times = |name: &str| stored.params.iter().filter(|(known, _)| known.as_str() == name).count();
        if ["m", "t", "p"].map(times) != [1; 3] || ["keyid", "data"].map(times).iter().any(|times| *times > 1)
        {
            return None;
        }
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
        let version = stored.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        let params = Params::try_from(&stored).ok().filter(|params| Argon2Params::of(params).is_bounded())?;
        Some(Self { algorithm, version, params, salt: stored.salt?, tag: stored.hash? })
    }
}

impl PasswordScheme for Argon2id {
    fn prefixes(&self) -> &[&'static str] {
        &["$argon2id$", "$argon2i$", "$argon2d$"]
    }

    fn can_verify(&self, stored: &str) -> bool {
        Stored::parse(stored).is_some()
    }

    fn verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> HashVerdict {
        self.try_verify(password, stored, memory).unwrap_or(HashVerdict::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;

    fn weak() -> Argon2id {
        Argon2id::new(Argon2Params::danger_weak_for_tests())
    }

    fn hash(scheme: &Argon2id, password: &[u8]) -> PasswordHash {
        scheme.hash(password, &OsRandomness, &mut HashMemory::default()).unwrap()
    }

    fn verify(scheme: &Argon2id, password: &[u8], stored: &str) -> HashVerdict {
        scheme.verify(password, stored, &mut HashMemory::default())
    }

    #[test]
    fn round_trip_at_the_default_cost() {
        let scheme = Argon2id::default();
        let stored = hash(&scheme, b"correct horse battery staple");
        assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
        assert_eq!(
            verify(&scheme, b"correct horse battery staple", stored.expose()),
            HashVerdict::Match { outdated: false }
        );
        assert_eq!(verify(&scheme, b"correct horse battery stapl", stored.expose()), HashVerdict::Mismatch);
        assert_ne!(hash(&weak(), b"x"), hash(&weak(), b"x"), "each hash has its own salt");
    }

    #[test]
    fn weaker_and_older_hashes_are_outdated() {
        let stored = hash(&weak(), b"x");
        assert_eq!(
            verify(&Argon2id::default(), b"x", stored.expose()),
            HashVerdict::Match { outdated: true }
        );
        assert_eq!(verify(&weak(), b"x", stored.expose()), HashVerdict::Match { outdated: false });
    }

    /// From the reference implementation's test suite (phc-winner-argon2, test.c).
    #[test]
    fn verifies_what_others_made() {
        let stored = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(verify(&Argon2id::default(), b"password", stored), HashVerdict::Match { outdated: true });
        assert_eq!(verify(&Argon2id::default(), b"passwore", stored), HashVerdict::Mismatch);
        assert!(Argon2id::default().can_verify(stored));
    }

    #[test]
    fn what_can_not_or_may_not_be_computed() {
        let tag = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for stored in [
            String::new(),
            "$argon2id$".into(),
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ".into(),
            format!("$argon2id$v=19$m=4194304,t=2,p=1${tag}"),
            format!("$argon2id$v=19$m=256,t=11,p=1${tag}"),
            format!("$argon2id$v=19$m=1024,t=2,p=17${tag}"),
            format!("$argon2id$v=99$m=256,t=2,p=1${tag}"),
            format!("$argon2id$v=19$m=-1,t=2,p=1${tag}"),
            format!("$argon2id$v=19$m=256,t=2,m=512,p=1${tag}"),
            format!("$argon2id$v=19$m=256,t=2,p=1,p=1${tag}"),
            format!("$argon2id$v=19$t=2,p=1${tag}"),
            format!("$argon2id$v=19${tag}"),
            "$argon2id$\u{0}\u{ffff}".into(),
        ] {
            assert_eq!(verify(&Argon2id::default(), b"password", &stored), HashVerdict::Unusable, "{stored}");
            assert!(!Argon2id::default().can_verify(&stored), "{stored}");
        }
    }

    #[test]
    fn a_large_hash_does_not_keep_its_memory() {
        let mut memory = HashMemory::default();
        let tag = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let _ = weak().verify(b"x", &format!("$argon2id$v=19$m=65536,t=1,p=1${tag}"), &mut memory);
        assert_eq!(format!("{memory:?}"), "HashMemory(0 KiB)");
        weak().dummy(b"x", &mut memory);
        assert_eq!(format!("{memory:?}"), "HashMemory(64 KiB)");
    }

    #[test]
    fn cost_has_a_floor_and_a_ceiling() {
        assert!(Argon2Params::new(47_104, 1, 1).is_ok());
        assert!(Argon2Params::new(19_456, 2, 1).is_ok());
        for (m, t, p) in [(19_456, 1, 1), (19_455, 2, 1), (64, 10, 1), (19_456, 2, 0)] {
            assert_eq!(Argon2Params::new(m, t, p).unwrap_err(), InvalidParams::TooWeak);
        }
        assert_eq!(Argon2Params::new(19_456, 11, 1).unwrap_err(), InvalidParams::TooExpensive);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn no_stored_text_panics(stored in "\\$argon2(id|i|d)\\$(v=[0-9]{0,3}\\$)?m=[0-9]{1,3},t=[0-9],p=[0-9]\\$[A-Za-z0-9+/]{0,30}\\$[A-Za-z0-9+/]{0,50}") {
            let _ = verify(&weak(), b"x", &stored);
        }
    }
}
