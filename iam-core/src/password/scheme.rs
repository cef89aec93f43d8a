//! Ways of storing a password, found by the prefix of the stored hash.

use std::fmt;

use argon2::Block;

use super::argon2id::Cost;
use super::pepper::{self, Peppered};
use super::{Argon2id, Bcrypt, Outdated, PasswordHash, PepperRing};
use crate::base::random::{Randomness, RandomnessUnavailable};

/// A way of storing passwords that can verify what it finds. New hashes are always Argon2id.
///
/// The methods run on hashing threads and may take long. They MUST NOT panic whatever the stored text is, and MUST take
/// neither more memory nor more time than they would for a hash that this service made, within reason: a stored hash may have
/// been put there by somebody else.
pub trait PasswordScheme: Send + Sync + fmt::Debug + 'static {
    /// The beginnings of the hashes that it verifies, such as `$2b$`.
    fn prefixes(&self) -> &[&'static str];

    /// Whether a hash could be verified, without doing it: asked when a hash is brought over from elsewhere. By default whatever
    /// begins right.
    fn can_verify(&self, stored: &str) -> bool {
        let _ = stored;
        true
    }

    /// Compares a password with a stored hash, in constant time where they are compared.
    fn verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> HashVerdict;
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum HashVerdict {
    /// It is the password.
    Match {
        /// The hash should be replaced by one of today's policy.
        outdated: bool,
    },
    /// It is not.
    Mismatch,
    /// The stored text is no hash that may be computed; nothing was.
    Unusable,
}

/// A hashing thread's memory, used again for every hash.
#[derive(Default)]
pub struct HashMemory(Vec<Block>);

impl HashMemory {
    /// Lends `count` blocks of 1 KiB. What goes beyond `keep` is given back after use.
    pub(super) fn with_blocks<T>(
        &mut self,
        count: usize,
        keep: usize,
        work: impl FnOnce(&mut [Block]) -> T,
    ) -> T {
        if self.0.len() < count {
            // Not grown: that would copy, and hold both for a moment.
            self.0 = Vec::new();
            self.0.resize(count, Block::default());
        }
        let result = work(self.0.get_mut(..count).unwrap_or_default());
        if self.0.len() > keep.max(1) {
            self.0 = Vec::new();
        }
        result
    }
}

impl fmt::Debug for HashMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashMemory({} KiB)", self.0.len())
    }
}

/// What came of checking a password at sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is the account's password.
    Match { outdated: Outdated },
    /// It is not.
    Mismatch,
    /// There was nothing to compare with; the same work was done all the same.
    NoHash,
    /// What there was can't be used; the same work was done all the same.
    Unusable,
}

/// All schemes of a service.
#[derive(Debug)]
pub(crate) struct Registry {
    argon2: Argon2id,
    /// Makes the new hashes, also without a pepper.
    peppered: Peppered,
    bcrypt: Bcrypt,
    others: Vec<Box<dyn PasswordScheme>>,
    /// Hashes that are dearer than today's are replaced, too.
    lower_imported: bool,
}

impl Registry {
    pub(crate) fn new(
        argon2: Argon2id,
        pepper: Option<PepperRing>,
        others: Vec<Box<dyn PasswordScheme>>,
    ) -> Self {
        let peppered = Peppered::new(argon2, pepper);
        Self { argon2, peppered, bcrypt: Bcrypt::default(), others, lower_imported: true }
    }

    pub(crate) fn lower_imported(self, lower_imported: bool) -> Self {
        Self { lower_imported, ..self }
    }

    /// The memory of a hash at today's cost, in KiB. What takes less is counted as much.
    pub(super) fn usual_memory(&self) -> usize {
        self.argon2.memory_kib()
    }

    /// The memory that comparing with a stored hash takes, in KiB. An added scheme brings its own.
    pub(super) fn memory_of(&self, stored: Option<&PasswordHash>) -> usize {
        let usual = self.usual_memory();
        stored
            .and_then(|stored| self.own_argon2(stored.expose()))
            .map_or(usual, |inner| Argon2id::memory_of(inner).map_or(usual, |memory| memory.max(usual)))
    }

    /// The part of a stored hash that is for our own Argon2, if no added scheme has taken it over.
    fn own_argon2<'s>(&self, stored: &'s str) -> Option<&'s str> {
        let is_taken =
            |scheme: &dyn PasswordScheme| scheme.prefixes().iter().any(|prefix| stored.starts_with(prefix));
        if self.others.iter().any(|scheme| is_taken(scheme.as_ref())) {
            return None;
        }
        Some(pepper::split(stored).map_or(stored, |(_, inner)| inner))
    }

    /// Whether a hash that was right is to be replaced.
    fn outdated(&self, stored: &str, by_its_scheme: bool) -> Outdated {
        // Of our own hashes without a pepper; what a foreign scheme would not have renewed stays as it is.
        let lacks_pepper = self.peppered.is_on() && stored.starts_with("$argon2");
        if by_its_scheme || lacks_pepper {
            return Outdated::Yes;
        }
        match self.own_argon2(stored).map(|inner| self.argon2.compare(inner)) {
            Some(Cost { below: true, above: true }) => Outdated::OnceSettled,
            Some(Cost { below: false, above: true }) if self.lower_imported => Outdated::OnceSettled,
            _ => Outdated::No,
        }
    }

    pub(super) fn hash(
        &self,
        password: &[u8],
        random: &dyn Randomness,
        memory: &mut HashMemory,
    ) -> Result<PasswordHash, RandomnessUnavailable> {
        self.peppered.hash(password, random, memory)
    }

    /// Takes as long when there is nothing to compare with as when there is: a hash at today's parameters.
    pub(super) fn check(
        &self,
        password: &[u8],
        stored: Option<&PasswordHash>,
        memory: &mut HashMemory,
    ) -> Checked {
        let Some(stored) = stored else {
            self.argon2.dummy(password, memory);
            return Checked::NoHash;
        };
        let stored = stored.expose();
        match self.scheme_of(stored).map(|scheme| scheme.verify(password, stored, memory)) {
            Some(HashVerdict::Match { outdated }) => {
                Checked::Match { outdated: self.outdated(stored, outdated) }
            }
            Some(HashVerdict::Mismatch) => Checked::Mismatch,
            Some(HashVerdict::Unusable) | None => {
                self.argon2.dummy(password, memory);
                Checked::Unusable
            }
        }
    }

    /// Whether a hash is one that could be compared with.
    pub(super) fn can_verify(&self, stored: &PasswordHash) -> bool {
        self.scheme_of(stored.expose()).is_some_and(|scheme| scheme.can_verify(stored.expose()))
    }

    fn scheme_of(&self, stored: &str) -> Option<&dyn PasswordScheme> {
        self.schemes().find(|scheme| scheme.prefixes().iter().any(|prefix| stored.starts_with(prefix)))
    }

    /// Added schemes come first, so that one of them can take over a prefix.
    fn schemes(&self) -> impl Iterator<Item = &dyn PasswordScheme> {
        let own: [&dyn PasswordScheme; 3] = [&self.argon2, &self.peppered, &self.bcrypt];
        self.others.iter().map(AsRef::as_ref).chain(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::OsRandomness;
    use crate::password::Argon2Params;

    fn registry(memory_kib: u32, passes: u32) -> Registry {
        Registry::new(Argon2id::new(Argon2Params::danger_any_for_tests(memory_kib, passes)), None, Vec::new())
    }

    fn judged(by: &Registry, made_by: &Registry) -> Outdated {
        let mut memory = HashMemory::default();
        let stored = made_by.hash(b"x", &OsRandomness, &mut memory).unwrap();
        match by.check(b"x", Some(&stored), &mut memory) {
            Checked::Match { outdated } => outdated,
            other => panic!("{other:?}"),
        }
    }

    /// Whatever two programs want, only one of them replaces the other's hashes at once.
    #[test]
    fn no_two_policies_replace_each_others_hashes_at_once() {
        let policies = [(64, 1), (64, 2), (128, 1), (128, 2), (256, 1)];
        for (a, b) in policies.into_iter().flat_map(|a| policies.map(|b| (a, b))) {
            let (of_a, of_b) = (registry(a.0, a.1), registry(b.0, b.1));
            let (by_a, by_b) = (judged(&of_a, &of_b), judged(&of_b, &of_a));
            assert!(by_a != Outdated::Yes || by_b != Outdated::Yes, "{a:?} and {b:?}");
            assert_eq!(a == b, (by_a, by_b) == (Outdated::No, Outdated::No), "{a:?} and {b:?}");
        }
    }

    #[test]
    fn dearer_hashes_are_lowered_unless_the_policy_says_otherwise() {
        let (today, dearer) = (registry(64, 1), registry(256, 2));
        assert_eq!(judged(&today, &dearer), Outdated::OnceSettled);
        assert_eq!(judged(&registry(64, 1).lower_imported(false), &dearer), Outdated::No);
        assert_eq!(judged(&dearer, &today), Outdated::Yes);
        // Below today's in one way and above in another: not as it should be, whatever is said of dearer ones.
        assert_eq!(judged(&registry(64, 2).lower_imported(false), &registry(128, 1)), Outdated::OnceSettled);
    }
}
