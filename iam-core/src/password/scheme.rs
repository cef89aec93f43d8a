//! Ways of storing a password, found by the prefix of the stored hash.

use std::fmt;

use argon2::Block;

use super::pepper::Peppered;
use super::{Argon2id, Bcrypt, PasswordHash, PepperRing};
use crate::random::{Randomness, RandomnessUnavailable};

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
    fn verify(&self, password: &[u8], stored: &str, memory: &mut HashMemory) -> Verdict;
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
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
    Match { outdated: bool },
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
}

impl Registry {
    pub(crate) fn new(
        argon2: Argon2id,
        pepper: Option<PepperRing>,
        others: Vec<Box<dyn PasswordScheme>>,
    ) -> Self {
        Self { argon2, peppered: Peppered::new(argon2, pepper), bcrypt: Bcrypt::default(), others }
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
            Some(Verdict::Match { outdated }) => {
                // Of our own hashes without a pepper; what a foreign scheme would not have renewed stays as it is.
                let lacks_pepper = self.peppered.is_on() && stored.starts_with("$argon2");
                Checked::Match { outdated: outdated || lacks_pepper }
            }
            Some(Verdict::Mismatch) => Checked::Mismatch,
            Some(Verdict::Unusable) | None => {
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
