//! The pepper: a key outside the database, without which the hashes in it can't be guessed at.

use std::fmt;

use zeroize::Zeroizing;

use super::{Argon2id, HashMemory, HashVerdict, PasswordHash, PasswordScheme};
use crate::base::random::{Randomness, RandomnessUnavailable};
use crate::secrets::secret_key::{InvalidKey, MacKey, SecretKey};

const PREFIX: &str = "$iam-pepper$";

/// Pepper keys by id. The first one is for new hashes, all of them verify.
///
/// A password goes through HMAC-SHA-256 under the key, and its tag goes into Argon2id. The hash says which key it needs:
/// `$iam-pepper$k=1$argon2id$v=19$...`. To change the key, put a new one in front: hashes are renewed under it as their owners
/// sign in. Hashes without pepper are renewed in the same way.
///
/// What a hash was made under can't be had back: **who loses the key resets every password that was made under it.** A key may
/// go when no hash names its id any more; then delete its row of `iam_key_canary`, whose `key_id` is 2 147 483 648 more.
///
/// A process without the key refuses to start on a store that has seen it, and one that runs already refuses the passwords:
/// before a key becomes the first, every process must have it, such as behind the old one.
#[derive(Clone)]
pub struct PepperRing(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: u32,
    passwords: MacKey,
    canary: MacKey,
    looks_made_up: bool,
}

impl PepperRing {
    /// Ids of pepper keys are below this, to keep them apart from the sealing keys' in `iam_key_canary`.
    pub(crate) const IDS: u32 = 1 << 31;

    /// A ring of one key, which has the id 0.
    pub fn single(key: &SecretKey) -> Self {
        Self(vec![Key::new(0, key)])
    }

    /// Reads `id:base64,id:base64,...`, or one bare base64 key, which gets the id 0. Keys have 32 bytes at least.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let mut keys: Vec<Key> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let (id, encoded) = match entry.split_once(':') {
                Some((id, encoded)) => (id.trim().parse().map_err(|_| InvalidKey::KeyId)?, encoded),
                None => (0, entry),
            };
            if id >= Self::IDS || keys.iter().any(|known| known.id == id) {
                return Err(InvalidKey::KeyId);
            }
            keys.push(Key::new(id, &SecretKey::from_base64(encoded)?));
        }
        Ok(Self(keys))
    }

    /// The id of the key for new hashes, and a value by which to know the key again.
    pub(crate) fn current(&self) -> Option<(u32, [u8; 32])> {
        self.0.first().map(|key| (key.id, key.canary.tag(&[])))
    }

    /// Whether the key of this id is there, and the one that the value was made with.
    pub(crate) fn knows(&self, id: u32, canary: &[u8]) -> bool {
        self.find(id).is_some_and(|key| key.canary.verify(&[], canary))
    }

    /// Whether nobody drew the key for new hashes.
    pub(crate) fn looks_made_up(&self) -> bool {
        self.0.first().is_some_and(|key| key.looks_made_up)
    }

    /// Whether a key of something else is one of these.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        let Ok(key) = SecretKey::from_bytes(key) else { return false };
        let canary = Key::new(0, &key).canary.tag(&[]);
        self.0.iter().any(|known| known.canary.verify(&[], &canary))
    }

    fn find(&self, id: u32) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl Key {
    fn peppered(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.passwords.tag(&[password]))
    }

    fn new(id: u32, key: &SecretKey) -> Self {
        Self {
            id,
            passwords: key.derive("password pepper"),
            canary: key.derive("password pepper canary"),
            looks_made_up: key.looks_made_up(),
        }
    }
}

/// Shows the ids only.
impl fmt::Debug for PepperRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| key.id)).finish()
    }
}

/// Argon2id over a peppered password.
#[derive(Debug)]
pub(super) struct Peppered {
    argon2: Argon2id,
    ring: Option<PepperRing>,
}

impl Peppered {
    pub(super) fn new(argon2: Argon2id, ring: Option<PepperRing>) -> Self {
        Self { argon2, ring }
    }

    /// Whether new hashes are peppered.
    pub(super) fn is_on(&self) -> bool {
        self.current().is_some()
    }

    /// A hash under the current key; without any, one that is not peppered.
    pub(super) fn hash(
        &self,
        password: &[u8],
        random: &dyn Randomness,
        memory: &mut HashMemory,
    ) -> Result<PasswordHash, RandomnessUnavailable> {
        let Some(key) = self.current() else { return self.argon2.hash(password, random, memory) };
        let hash = self.argon2.hash(key.peppered(password).as_slice(), random, memory)?;
        Ok(PasswordHash::from_stored(format!("{PREFIX}k={}{}", key.id, hash.expose())))
    }

    fn current(&self) -> Option<&Key> {
        self.ring.as_ref()?.0.first()
    }

    /// The key that a hash names, and the hash without that name.
    fn open<'s>(&self, stored: &'s str) -> Option<(&Key, &'s str)> {
        let (id, inner) = split(stored)?;
        Some((self.ring.as_ref()?.find(id)?, inner))
    }

    fn try_verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> Option<HashVerdict> {
        let (key, inner) = self.open(stored)?;
        let verdict = self.argon2.verify(key.peppered(password).as_slice(), inner, memory);
        let is_current = self.current().is_some_and(|current| current.id == key.id);
        Some(match verdict {
            HashVerdict::Match { outdated } => HashVerdict::Match { outdated: outdated || !is_current },
            other => other,
        })
    }
}

/// The id of the key that a stored hash needs, and the hash itself.
pub(crate) fn split(stored: &str) -> Option<(u32, &str)> {
    let (id, _) = stored.strip_prefix(PREFIX)?.strip_prefix("k=")?.split_once('$')?;
    let inner = stored.get(PREFIX.len() + "k=".len() + id.len()..)?;
    Some((id.parse().ok()?, inner))
}

/// A key that is not there makes a hash unusable, like any other that can't be computed.
impl PasswordScheme for Peppered {
    fn prefixes(&self) -> &[&'static str] {
        &[PREFIX]
    }

    fn can_verify(&self, stored: &str) -> bool {
        self.open(stored).is_some_and(|(_, inner)| self.argon2.can_verify(inner))
    }

    fn verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> HashVerdict {
        self.try_verify(password, stored, memory).unwrap_or(HashVerdict::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;
    use crate::password::{Argon2Params, Checked, Outdated, Registry};

    const OLD: &str = "0:3Kf0mZ0q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM=";
    const NEW: &str = "1:Zk8s0Qh3vXn6Wb1yTg5LrJ2mPd7cFu9aEo4iKxVtBqY=";
    const OTHER: &str = "0:q2m8c1xw7VJt5rY9dLh4sQpTnUaEbGiCjOkM3Kf0mZ0=";

    fn registry(ring: Option<&str>) -> Registry {
        let ring = ring.map(|text| PepperRing::parse(text).unwrap());
        Registry::new(Argon2id::new(Argon2Params::danger_weak_for_tests()), ring, Vec::new())
    }

    fn hash(registry: &Registry) -> PasswordHash {
        registry.hash(b"x", &OsRandomness, &mut HashMemory::default()).unwrap()
    }

    fn check(registry: &Registry, password: &[u8], stored: &PasswordHash) -> Checked {
        registry.check(password, Some(stored), &mut HashMemory::default())
    }

    const CURRENT: Checked = Checked::Match { outdated: Outdated::No };
    const OUTDATED: Checked = Checked::Match { outdated: Outdated::Yes };

    #[test]
    fn a_hash_names_its_key_and_needs_it() {
        let old = registry(Some(OLD));
        let stored = hash(&old);
        assert!(stored.expose().starts_with("$iam-pepper$k=0$argon2id$v=19$m=64,"), "{}", stored.expose());
        assert_eq!(check(&old, b"x", &stored), CURRENT);
        assert_eq!(check(&old, b"y", &stored), Checked::Mismatch);
        assert_eq!(check(&registry(None), b"x", &stored), Checked::Unusable);
        assert_eq!(check(&registry(Some(NEW)), b"x", &stored), Checked::Unusable);
        assert_eq!(check(&registry(Some(OTHER)), b"x", &stored), Checked::Mismatch);
        let bare = PasswordHash::from_stored(stored.expose().replace("$iam-pepper$k=0", ""));
        assert_eq!(check(&old, b"x", &bare), Checked::Mismatch, "the pepper can't be cut off");
    }

    #[test]
    fn keys_are_changed_without_a_reset() {
        let (plain, old) = (registry(None), registry(Some(OLD)));
        let both = registry(Some(&format!("{NEW},{OLD}")));
        assert_eq!(check(&plain, b"x", &hash(&plain)), CURRENT);
        assert_eq!(check(&old, b"x", &hash(&plain)), OUTDATED);
        assert_eq!(check(&both, b"x", &hash(&old)), OUTDATED);
        assert_eq!(check(&both, b"x", &hash(&both)), CURRENT);
        let waiting = registry(Some(&format!("{OLD},{NEW}")));
        assert_eq!(check(&waiting, b"x", &hash(&both)), OUTDATED);
        assert_eq!(check(&waiting, b"x", &hash(&waiting)), CURRENT);
    }

    #[test]
    fn a_ring_is_read_like_the_other_one_and_shows_no_key() {
        let ring = PepperRing::parse(&format!("{NEW}, {OLD}")).unwrap();
        assert_eq!(format!("{ring:?}"), "[1, 0]");
        let (id, canary) = ring.current().unwrap();
        assert_eq!(id, 1);
        assert!(ring.knows(1, &canary) && !ring.knows(0, &canary) && !ring.knows(2, &canary));
        let bare = OLD.strip_prefix("0:").unwrap();
        assert_eq!(PepperRing::parse(bare).unwrap().current(), PepperRing::parse(OLD).unwrap().current());
        let key = SecretKey::from_base64(bare).unwrap();
        assert_eq!(PepperRing::single(&key).current(), PepperRing::parse(OLD).unwrap().current());
        for (text, wrong) in [
            (format!("{OLD},{OTHER}"), InvalidKey::KeyId),
            (OLD.replace("0:", "2147483648:"), InvalidKey::KeyId),
            (OLD.replace("0:", "x:"), InvalidKey::KeyId),
            (String::new(), InvalidKey::Length { found: 0, needed: 32 }),
            ("0:???".to_owned(), InvalidKey::Encoding),
        ] {
            assert_eq!(PepperRing::parse(&text).unwrap_err(), wrong, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_stored_text_panics(stored in "\\$iam-pepper\\$(k=[0-9a-z]{0,12})?\\$?(argon2id)?\\PC{0,40}") {
            let stored = PasswordHash::from_stored(stored);
            proptest::prop_assert_eq!(check(&registry(Some(OLD)), b"x", &stored), Checked::Unusable);
        }
    }
}
