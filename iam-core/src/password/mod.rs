//! Passwords: what one may be, how it is stored, and where the hashing happens.

pub(crate) mod argon2id;
pub(crate) mod bcrypt;
mod blocklist;
mod breach;
mod budget;
mod hashing;
pub(crate) mod pepper;
mod policy;
mod pool;
mod renewal;
mod scheme;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use argon2id::{Argon2Params, Argon2id, InvalidParams};
pub use bcrypt::Bcrypt;
pub(crate) use breach::{Breach, look_up};
pub use breach::{BreachCheckFailed, BreachedPasswords};
pub(crate) use hashing::{CountedTry, Hashing};
pub use pepper::PepperRing;
pub use policy::{PasswordContext, PasswordPolicy};
pub use pool::HashingConfig;
pub(crate) use pool::HashingThreads;
pub(crate) use renewal::{Outdated, RenewedHash};
pub(crate) use scheme::{Checked, Registry};
pub use scheme::{HashMemory, HashVerdict, PasswordScheme};

use crate::base::invalid::{Invalid, Problem};

/// The longest password that is taken, in bytes. Longer ones are refused before anything is hashed, never cut.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A password as somebody typed it, in NFC (NIST SP 800-63B-4), otherwise unchanged: not trimmed, not folded, not cut.
#[derive(Clone)]
pub struct PlainPassword(SecretString);

impl PlainPassword {
    /// Takes what was typed in the field `password`.
    pub fn new(typed: &str) -> Result<Self, Invalid> {
        let problem = if typed.is_empty() {
            Problem::Required
        } else if typed.len() > MAX_PASSWORD_BYTES {
            Problem::TooLong { max: MAX_PASSWORD_BYTES }
        } else {
            // Reserved at once, so that no half-grown copy stays behind in freed memory. NFC grows text threefold at most.
            let mut normal = Zeroizing::new(String::with_capacity(typed.len() * 3));
            normal.extend(typed.nfc());
            return Ok(Self(SecretString::from(normal.as_str())));
        };
        Err(Invalid::new("password", problem))
    }

    /// The bytes that are hashed.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }

    fn text(&self) -> &str {
        self.0.expose_secret()
    }

    fn code_points(&self) -> usize {
        self.text().chars().count()
    }
}

impl fmt::Debug for PlainPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainPassword(..)")
    }
}

/// A stored hash: a string that begins with the name of its scheme, such as `$argon2id$...`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash as a store holds it. Nothing is checked: what no scheme can use matches no password.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same, from a column that may hold any bytes: what is no text matches no password either.
    pub fn from_stored_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text that a store holds.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_password_has_one_form_and_keeps_its_spaces() {
        assert_eq!(
            PlainPassword::new("caf\u{e9}").unwrap().expose(),
            PlainPassword::new("cafe\u{301}").unwrap().expose()
        );
        assert_eq!(PlainPassword::new(" A b ").unwrap().expose(), b" A b ");
        assert_eq!(format!("{:?}", PlainPassword::new("secret").unwrap()), "PlainPassword(..)");
    }

    #[test]
    fn length_is_bounded_in_bytes() {
        let problem = |text: &str| PlainPassword::new(text).err().map(|invalid| invalid.problem);
        assert_eq!(problem(&"x".repeat(1024)), None);
        assert_eq!(problem(&"x".repeat(1025)), Some(Problem::TooLong { max: 1024 }));
        assert_eq!(problem(""), Some(Problem::Required));
    }
}
