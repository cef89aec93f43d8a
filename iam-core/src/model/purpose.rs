//! Purposes: what a fresh proof is asked for.

use std::fmt;

/// What somebody proves who they are for, such as `payroll`: lower-case letters, digits and `_ . : -`, beginning with a letter, at
/// most 32. Those that begin with `iam:` are this library's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Purpose {
    length: u8,
    bytes: [u8; Self::MOST_BYTES],
}

impl Purpose {
    const MOST_BYTES: usize = 32;

    /// To set up the first factor of an account that must have one: the password alone must not do for that.
    pub const ENROL: Self = Self::own(b"iam:enrol");

    /// What challenges are for otherwise; a host's purpose must not look like one of them.
    const TAKEN: [&'static str; 3] = ["sign_in", "reauthenticate", "enrol"];

    const fn own(name: &[u8]) -> Self {
        let mut bytes = [0; Self::MOST_BYTES];
        let (target, _) = bytes.split_at_mut(name.len());
        target.copy_from_slice(name);
        #[expect(clippy::cast_possible_truncation, reason = "a name of ours, far shorter than 256")]
        let length = name.len() as u8;
        Self { length, bytes }
    }

    /// Reads a purpose.
    pub const fn parse(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        if name.len() > Self::MOST_BYTES || !is_well_formed(name) || is_any_of(name, &Self::TAKEN) {
            return None;
        }
        Some(Self::own(name))
    }

    /// A purpose of a service's own, for a `const`: there a name that is none does not compile.
    ///
    /// ```
    /// # use iam_core::Purpose;
    /// const PAYROLL: Purpose = Purpose::of("payroll");
    /// assert_eq!(PAYROLL.as_str(), "payroll");
    /// ```
    /// ```compile_fail,E0080
    /// # use iam_core::Purpose;
    /// const PAYROLL: Purpose = Purpose::of("Pay Out");
    /// # let _ = PAYROLL;
    /// ```
    ///
    /// # Panics
    /// For a name that is no purpose, or is reserved for this library. For one that is not known when the program is compiled there is
    /// [`parse`](Self::parse), and `TryFrom`.
    #[expect(clippy::panic, reason = "for constants: there it stops the compiler, and no program")]
    pub const fn of(name: &'static str) -> Self {
        match Self::parse(name) {
            Some(purpose) if !purpose.is_reserved() => purpose,
            _ => panic!(
                "this is no purpose of a service: lower-case letters, digits and `_ . : -`, beginning with a letter, at most 32, and not \
                 with `iam:`"
            ),
        }
    }

    /// Whether it is one of this library's own, which no host's route may ask for.
    pub const fn is_reserved(&self) -> bool {
        matches!(self.bytes.split_first_chunk(), Some((b"iam:", _)))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

/// Begins with a letter and has nothing but what a purpose may have.
const fn is_well_formed(name: &[u8]) -> bool {
    if !matches!(name.first(), Some(b'a'..=b'z')) {
        return false;
    }
    let mut left = name;
    while let Some((byte, rest)) = left.split_first() {
        if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'-') {
            return false;
        }
        left = rest;
    }
    true
}

/// What `contains` would say, which a constant can't ask.
const fn is_any_of(name: &[u8], list: &[&str]) -> bool {
    let mut left = list;
    while let Some((known, rest)) = left.split_first() {
        let (mut one, mut other) = (name, known.as_bytes());
        while let (Some((a, more)), Some((b, others))) = (one.split_first(), other.split_first()) {
            if *a != *b {
                break;
            }
            (one, other) = (more, others);
        }
        if one.is_empty() && other.is_empty() {
            return true;
        }
        left = rest;
    }
    false
}

/// That a text is no purpose of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no purpose: lower-case letters, digits and `_ . : -`, beginning with a letter, at most 32, and not with `iam:`"
)]
pub struct InvalidPurpose(String);

/// For what a host's routes ask for: the library's own purposes are none of theirs.
impl TryFrom<&str> for Purpose {
    type Error = InvalidPurpose;

    fn try_from(name: &str) -> Result<Self, InvalidPurpose> {
        Self::parse(name)
            .filter(|purpose| !purpose.is_reserved())
            .ok_or_else(|| InvalidPurpose(name.to_owned()))
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Purpose({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_plain_names() {
        for name in ["payroll", "a", "iam:administer", "pay.out_2-x", &"x".repeat(32)] {
            assert_eq!(Purpose::parse(name).unwrap().as_str(), name);
        }
        for name in
            ["", "Payroll", "1", ":a", "a b", "é", "sign_in", "reauthenticate", "enrol", &"x".repeat(33)]
        {
            assert_eq!(Purpose::parse(name), None, "{name}");
        }
        assert_eq!(Some(Purpose::ENROL), Purpose::parse("iam:enrol"));
    }

    #[test]
    fn our_own_purposes_are_known() {
        assert!(Purpose::ENROL.is_reserved());
        for name in ["iam", "iamx", "i", "sign_i", "sign_in_x"] {
            assert_eq!(Purpose::try_from(name).unwrap().as_str(), name);
        }
        for name in ["iam:enrol", "iam:", "Pay Out", "", "enrol"] {
            let error = Purpose::try_from(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` is no purpose")), "{error}");
        }
        assert!(!Purpose::parse("iam").unwrap().is_reserved());
        assert!(!Purpose::parse("payroll").unwrap().is_reserved());
    }
}
