//! Accounts and the names they sign in with.

use std::borrow::Cow;
use std::fmt;

use precis_core::profile::PrecisFastInvocation;
use precis_profiles::UsernameCaseMapped;
use unicode_normalization::UnicodeNormalization;

use crate::base::clock::Timestamp;
use crate::base::id::{AccountId, ParentId};
use crate::base::invalid::{Invalid, Problem};
use crate::base::text::is_seen;
use crate::base::typed;

/// The longest user name or e-mail address, in bytes (RFC 5321 allows 254 for an address).
pub const MAX_IDENTIFIER_BYTES: usize = 254;

/// A person or a service that can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Never reused.
    pub id: AccountId,
    /// Unique.
    pub username: Username,
    /// Unique once verified; then it signs in as well.
    pub email: Option<EmailAddress>,
    /// When the address was verified.
    pub email_verified_at: Option<Timestamp>,
    /// Whether it may sign in.
    pub status: AccountStatus,
    /// The parent (tenant) that it belongs to.
    pub parent: Option<ParentId>,
    /// See [`AuthVersion`].
    pub auth_version: AuthVersion,
    /// The host's own key for this person, unique.
    pub external_id: Option<ExternalId>,
    /// When its password's hash was last made here, by whatever change; none for one that was brought over.
    pub password_changed_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Account {
    /// An active account, made now; the other fields can be set on it.
    pub fn new(id: AccountId, username: Username, now: Timestamp) -> Self {
        Self {
            id,
            username,
            email: None,
            email_verified_at: None,
            status: AccountStatus::Active,
            parent: None,
            auth_version: AuthVersion::FIRST,
            external_id: None,
            password_changed_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Whether an account may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountStatus {
    /// It may.
    Active,
    /// Switched off.
    Disabled,
    /// Locked by an administrator. Guessing never locks an account: that only slows the guesser.
    Locked,
    /// A status of a newer program, read only: it may not sign in. No store writes it.
    Unknown,
}

impl AccountStatus {
    /// The name that stores and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Unknown => "unknown",
        }
    }

    /// Reads that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Disabled, Self::Locked].into_iter().find(|status| status.as_str() == name)
    }

    /// A status as a store holds it. What a newer program wrote makes nobody unreadable: it is [`Unknown`](Self::Unknown).
    pub fn from_stored(name: &str) -> Self {
        Self::parse(name).unwrap_or(Self::Unknown)
    }
}

/// Rises with every change of password, status or factors. A session remembers the version it was made under and dies
/// with it; what is written after a password was checked is conditional on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthVersion(i64);

impl AuthVersion {
    /// The version of a new account.
    pub const FIRST: Self = Self(1);

    /// A version as a store holds it.
    pub const fn from_i64(version: i64) -> Self {
        Self(version)
    }

    /// The number that a store holds.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// The version after one change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A user name in its one canonical form: PRECIS `UsernameCaseMapped` (RFC 8265), no `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

impl Username {
    /// Brings a name to its canonical form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_identifier("username", text)?;
        let malformed = Invalid::new("username", Problem::Malformed);
        let text = with_final_sigma(text);
        let canonical = stable(&text, |text| UsernameCaseMapped::enforce(text).ok().map(Cow::into_owned));
        let canonical = canonical.ok_or_else(|| malformed.clone())?;
        if canonical.contains('@') {
            return Err(malformed);
        }
        if canonical.len() > MAX_IDENTIFIER_BYTES {
            return Err(Invalid::new("username", Problem::TooLong { max: MAX_IDENTIFIER_BYTES }));
        }
        Ok(Self(canonical))
    }

    /// A name as a store holds it: it was brought to its canonical form when it came in. The rules change with Unicode's
    /// versions; a name that was good once stays the same.
    pub fn from_stored(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Username({:?})", self.0)
    }
}

/// The longest key of a host, in bytes: what every store can keep unique.
pub const MAX_EXTERNAL_ID_BYTES: usize = 255;

/// A host's own key for an account, such as the primary key of its table of customers. Kept and compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    /// Checks a key: 1 to 255 bytes, no control characters.
    pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        let problem = if text.is_empty() {
            Problem::Required
        } else if text.len() > MAX_EXTERNAL_ID_BYTES {
            Problem::TooLong { max: MAX_EXTERNAL_ID_BYTES }
        } else if text.chars().any(char::is_control) {
            Problem::Malformed
        } else {
            return Ok(Self(text));
        };
        Err(Invalid::new("external_id", problem))
    }

    /// A key as a store holds it.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalId({:?})", self.0)
    }
}

/// An e-mail address in its one canonical form: NFKC, lower case, domain as A-labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Normalises, then validates: in this order, or look-alikes of `@` slip through.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const FIELD: &str = "email";
        check_identifier(FIELD, text)?;
        let address = stable(text, Self::canonical).ok_or(Invalid::new(FIELD, Problem::Malformed))?;
        if address.len() > MAX_IDENTIFIER_BYTES {
            return Err(Invalid::new(FIELD, Problem::TooLong { max: MAX_IDENTIFIER_BYTES }));
        }
        Ok(Self(address))
    }

    /// An address as a store holds it, which was brought to its canonical form when it came in. The rules may change; an address that
    /// was good once stays the same.
    pub fn from_stored(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    fn canonical(text: &str) -> Option<String> {
        let folded: String = text.nfkc().collect::<String>().to_lowercase().nfkc().collect();
        let (local, domain) = folded.split_once('@')?;
        // What is not seen would be left out on the way, so that one address signs in by several spellings. The joiners stay, and are looked
        // at, where a script needs them.
        if domain.chars().any(|c| !is_seen(c) && !matches!(c, '\u{200c}' | '\u{200d}')) {
            return None;
        }
        let domain = idna::domain_to_ascii_strict(domain).ok()?;
        (is_local_part(local) && is_host_name(&domain)).then(|| format!("{local}@{domain}"))
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress({:?})", self.0)
    }
}

/// A capital sigma at the end of a word is a final one in small letters, as `toLowerCase` of Unicode has it (RFC 8265, 3.3.2): the library
/// maps each letter alone. A small sigma stays what it is, so a name with another one at its end is another name.
fn with_final_sigma(text: &str) -> Cow<'_, str> {
    if text.contains('\u{3a3}') { text.to_lowercase().into() } else { text.into() }
}

/// A dot-atom of RFC 5322 that PRECIS allows as a name: no invisible, bidi control, unassigned or compatibility characters. It is
/// asked about all of it, as what it allows of a joiner depends on the neighbours.
fn is_local_part(local: &str) -> bool {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-".contains(c) || !c.is_ascii();
    local.len() <= 64
        && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
        && UsernameCaseMapped::prepare(local).is_ok()
}

fn is_host_name(domain: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    domain.len() <= 253 && domain.split('.').all(label)
}

/// Applies the rules until they change nothing any more, as RFC 8264 section 7 asks: what is stored reads back as itself.
fn stable(text: &str, rules: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = rules(text)?;
    for _ in 0..3 {
        let again = rules(&text)?;
        if again == text {
            return Some(text);
        }
        text = again;
    }
    None
}

/// What every identifier must satisfy before anything else looks at it.
fn check_identifier(field: &'static str, text: &str) -> Result<(), Invalid> {
    let problem = if text.is_empty() {
        Problem::Required
    } else if text.len() > MAX_IDENTIFIER_BYTES {
        Problem::TooLong { max: MAX_IDENTIFIER_BYTES }
    } else if text.chars().any(char::is_control) {
        Problem::Malformed
    } else {
        return Ok(());
    };
    Err(Invalid::new(field, problem))
}

/// What somebody typed to say who they are.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginIdentifier {
    /// A user name.
    Username(Username),
    /// An address; it signs in only once verified.
    Email(EmailAddress),
    /// Neither: no account can have it. It is treated like any unknown name, so the form does not tell.
    Unknown(String),
}

impl LoginIdentifier {
    /// Reads the field `username` of a sign-in. White space and what is not seen around it are an accident of typing or pasting, and fall
    /// away ([`typed::name`]).
    ///
    /// # Errors
    /// Only for what no name can be: nothing, too much, or controls and marks of direction, wherever they stand.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const FIELD: &str = "username";
        let text = typed::name(text);
        check_identifier(FIELD, text)?;
        if text.chars().any(typed::is_never_in_a_name) {
            return Err(Invalid::new(FIELD, Problem::Malformed));
        }
        if let Ok(username) = Username::parse(text) {
            return Ok(Self::Username(username));
        }
        if let Ok(email) = EmailAddress::parse(text) {
            return Ok(Self::Email(email));
        }
        // A space is in no user name: what is looked up by this never finds one.
        Ok(Self::Unknown(format!(" {}", text.nfkc().collect::<String>().to_lowercase())))
    }

    /// The canonical form, by which tries against a name without an account are counted.
    pub(crate) fn canonical(&self) -> &str {
        match self {
            Self::Username(name) => name.as_str(),
            Self::Email(address) => address.as_str(),
            Self::Unknown(text) => text,
        }
    }
}

/// Shows the kind only: people type passwords into this field.
impl fmt::Debug for LoginIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username(_) => "Username(..)",
            Self::Email(_) => "Email(..)",
            Self::Unknown(_) => "Unknown(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn username(text: &str) -> Option<String> {
        Username::parse(text).ok().map(|name| name.0)
    }

    fn email(text: &str) -> Option<String> {
        EmailAddress::parse(text).ok().map(|address| address.0)
    }

    #[test]
    fn user_names_have_one_form() {
        for same in ["alice", "Alice", "ALICE", "ａｌｉｃｅ"] {
            assert_eq!(username(same).as_deref(), Some("alice"), "{same}");
        }
        // NFD and NFC of the same name.
        assert_eq!(username("rene\u{301}"), username("ren\u{e9}"));
        assert_ne!(username("stra\u{df}e"), username("strasse"));
    }

    #[test]
    fn a_capital_sigma_at_the_end_is_a_final_one() {
        for same in ["γιώργος", "Γιώργος", "ΓΙΏΡΓΟΣ"] {
            assert_eq!(username(same).as_deref(), Some("γιώργος"), "{same}");
        }
        assert_eq!(username("ΣΊΣΥΦΟΣ").as_deref(), Some("σίσυφος"));
        assert_eq!(username("γιώργοσ").as_deref(), Some("γιώργοσ"), "spelt otherwise, it is another name");
        assert_eq!(username("Σ").as_deref(), Some("σ"));
        assert_eq!(email("ΓΙΏΡΓΟΣ@example.com").as_deref(), Some("γιώργος@example.com"));
    }

    #[test]
    fn what_no_user_name_can_be() {
        let long = "a".repeat(255);
        for wrong in [
            "",
            "a b",
            "a@b",
            "a\u{ff20}b",
            "a\0",
            "a\r\nb",
            "a\u{200d}b",
            "a\u{202e}b",
            "a\u{7f}",
            "a\u{2800}b",
            "a\u{34f}b",
            "a\u{200c}b",
            "a\u{fe0f}b",
            "\u{85}",
            long.as_str(),
        ] {
            assert_eq!(username(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(email("Alice.B+tag@Example.COM").as_deref(), Some("alice.b+tag@example.com"));
        assert_eq!(email("user@exámple.com").as_deref(), Some("user@xn--exmple-qta.com"));
        assert_ne!(email("user@exámple.com"), email("user@example.com"));
        assert_eq!(email("a＠example.com").as_deref(), Some("a@example.com"));
    }

    #[test]
    fn what_no_address_can_be() {
        let long = format!("{}@example.com", "a".repeat(65));
        for wrong in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a@b＠c",
            "a b@c",
            "a\r\nBcc:x@y.z",
            "a\0@b",
            "a\u{200d}@b.c",
            "a\u{202e}@b.c",
            // A joiner that would be right after the virama, without the letter between them.
            "\u{915}\u{94d}a\u{200d}@b.c",
            ".a@b.c",
            "a..b@c",
            "a@-b.c",
            "a@b..c",
            "a@b c",
            "\"a\"@b.c",
            "a@[127.0.0.1]",
            // What is not seen in a domain.
            "a@ex\u{200b}ample.com",
            "a@ex\u{ad}ample.com",
            "a@ex\u{34f}ample.com",
            "a@ex\u{2060}ample.com",
            "a@ex\u{fe0f}ample.com",
            "a@\u{feff}example.com",
            "a@example.com\u{200b}",
            "a@example\u{180e}.com",
            "a@ex\u{e0041}ample.com",
            "a@ex\u{200d}ample.com",
            "a@ex\u{2800}ample.com",
            long.as_str(),
        ] {
            assert_eq!(email(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_identifier_is_counted_in_one_form() {
        for variant in [
            "Bob",
            "BOB",
            " bob ",
            "ｂｏｂ",
            "\u{3000}bob",
            "bob\u{a0}",
            "\u{200b}bob\u{feff}",
            " bob\u{2060} ",
        ] {
            assert_eq!(LoginIdentifier::parse(variant).unwrap().canonical(), "bob", "{variant}");
        }
        assert!(matches!(LoginIdentifier::parse("b@example.com").unwrap(), LoginIdentifier::Email(_)));
        assert!(matches!(LoginIdentifier::parse("not a name").unwrap(), LoginIdentifier::Unknown(_)));
        let unseen = LoginIdentifier::parse("b@ex\u{200b}ample.com").unwrap();
        assert!(matches!(unseen, LoginIdentifier::Unknown(_)), "another spelling signs nobody in");
        let pasted = LoginIdentifier::parse("\u{a0}b@example.com\u{200b}").unwrap();
        assert_eq!(pasted, LoginIdentifier::parse("b@example.com").unwrap());
        for wrong in [
            "admin\0x",
            "bob\n",
            "\tbob",
            "\u{200e}bob",
            "bob\u{202e}",
            "b\u{2066}ob",
            "\u{61c}",
            "b\u{202c}@example.com",
        ] {
            assert_eq!(LoginIdentifier::parse(wrong).unwrap_err().problem, Problem::Malformed, "{wrong:?}");
        }
        for nothing in ["  ", "", "\u{3000}\u{200b}", "\u{feff}"] {
            assert_eq!(
                LoginIdentifier::parse(nothing).unwrap_err().problem,
                Problem::Required,
                "{nothing:?}"
            );
        }
        assert_eq!(format!("{:?}", LoginIdentifier::parse("my secret").unwrap()), "Unknown(..)");
    }

    proptest::proptest! {
        #[test]
        fn canonical_forms_are_fixed_points(text in "\\PC{1,40}") {
            if let Ok(name) = Username::parse(&text) {
                proptest::prop_assert_eq!(Username::parse(name.as_str()).unwrap(), name);
            }
            if let Ok(address) = EmailAddress::parse(&text) {
                proptest::prop_assert_eq!(EmailAddress::parse(address.as_str()).unwrap(), address);
            }
        }

        #[test]
        fn addresses_are_fixed_points(local in "[\\pL\\pN.+-]{1,12}", domain in "[\\pL\\pN.-]{1,12}") {
            if let Ok(address) = EmailAddress::parse(&format!("{local}@{domain}")) {
                proptest::prop_assert_eq!(EmailAddress::parse(address.as_str()).unwrap(), address.clone());
                proptest::prop_assert_eq!(address.as_str().matches('@').count(), 1);
            }
        }
    }
}
