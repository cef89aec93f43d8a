use std::fmt;

use precis_core::profile::PrecisFastInvocation;
use precis_profiles::OpaqueString;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, MethodId};
use crate::base::invalid::{Invalid, Problem};
use crate::base::text::is_seen;
use crate::model::factor_kind::StoredKind;

/// A factor that somebody has set up, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Which one.
    pub id: MethodId,
    /// Whose it is.
    pub account: AccountId,
    /// What it is. Recovery codes are none: they are kept apart.
    pub kind: StoredKind,
    /// What its owner calls it.
    pub name: MethodName,
    /// Its secret, or the address that it is about; sealed. Before it is confirmed, only the address.
    pub secret: Option<Vec<u8>>,
    /// What it is found by, if anything ([`Credential::lookup`](super::Credential::lookup)).
    pub lookup: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was confirmed. Before that it counts for nothing.
    pub confirmed_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// The last time step of which it accepted a code.
    pub last_step: Option<i64>,
}

/// The longest name of a method, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// What somebody calls a factor of theirs, such as `phone`: 1 to 100 bytes, nothing that does not show (PRECIS `FreeformClass`, RFC
/// 8264), no spaces around it.
#[derive(Clone, PartialEq, Eq)]
pub struct MethodName(String);

impl MethodName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let problem = if text.is_empty() {
            Problem::Required
        } else if text.len() > MAX_NAME_BYTES {
            Problem::TooLong { max: MAX_NAME_BYTES }
        } else if OpaqueString::prepare(text).is_err() || !text.chars().all(is_seen) {
            Problem::Malformed
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("name", problem))
    }

    /// A name as a store holds it.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodName({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_seen() {
        for name in ["phone", " my phone ", "Zoës Telefon", "電話", "x".repeat(100).as_str()] {
            assert!(MethodName::parse(name).is_ok(), "{name}");
        }
        let long = "x".repeat(101);
        for name in ["", "  ", "\u{200b}", "\u{feff}", "a\u{202e}b", "a\u{2028}b", "a\nb", "\0", &long]
            .into_iter()
            .chain(["\u{2800}", "a\u{34f}", "\u{915}\u{94d}\u{200d}", "\u{2764}\u{fe0f}", "\u{1d159}"])
        {
            assert!(MethodName::parse(name).is_err(), "{name:?}");
        }
    }
}
