//! The family's cookies.

use std::str::FromStr;
use std::time::Duration;

use cookie::{Cookie, SameSite};

use crate::message::RequestView;

/// The longest value of ours, with room to spare.
const MAX_VALUE: usize = 512;

/// What a browser may send in cookies at most before they count for nothing.
const MAX_HEADERS: usize = 16 * 1024;

/// The longest beginning of a cookie's name.
const MAX_PREFIX: usize = 32;

/// How cookies are set.
#[derive(Clone, Debug)]
pub(crate) struct CookieConfig {
    /// Browsers come by HTTPS: the `__Host-` prefix then keeps neighbours from setting ours.
    secure: bool,
    names: [String; 4],
}

/// What the names of the family's cookies begin with: `iam_` unless a host says otherwise.
///
/// ```
/// use iam_web::CookiePrefix;
///
/// assert!(CookiePrefix::parse("shop_").is_ok());
/// assert!(CookiePrefix::parse("a b").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePrefix(String);

/// What can't stand at the beginning of a cookie's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 32 letters, digits, `-`, `_` or `.`, and not begin with `__`, which means something to browsers"
)]
pub struct InvalidCookiePrefix;

impl CookiePrefix {
    /// Checks a prefix: 1 to 32 letters, digits, `-`, `_` or `.`. `__Host-` and `__Secure-` are none: whether they stand before it, is known
    /// from the base URL.
    pub fn parse(text: &str) -> Result<Self, InvalidCookiePrefix> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits =
            (1..=MAX_PREFIX).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with("__");
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidCookiePrefix) }
    }
}

impl Default for CookiePrefix {
    fn default() -> Self {
        Self("iam_".to_owned())
    }
}

impl FromStr for CookiePrefix {
    type Err = InvalidCookiePrefix;

    fn from_str(text: &str) -> Result<Self, InvalidCookiePrefix> {
        Self::parse(text)
    }
}

/// A cookie of the family's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieKind {
    /// The session's token.
    Session,
    /// The note of an earlier sign-in.
    Device,
    /// What says that this browser is trusted.
    TrustedDevice,
    /// What a form is bound to before there is a session.
    Pre,
}

impl CookieConfig {
    pub(crate) fn new(secure: bool, prefix: &CookiePrefix) -> Self {
        let host = if secure { "__Host-" } else { "" };
        let names = ["session", "device", "trusted", "pre"].map(|name| format!("{host}{}{name}", prefix.0));
        Self { secure, names }
    }

    pub(crate) fn name(&self, kind: CookieKind) -> &str {
        let [session, device, trusted, pre] = &self.names;
        match kind {
            CookieKind::Session => session,
            CookieKind::Device => device,
            CookieKind::TrustedDevice => trusted,
            CookieKind::Pre => pre,
        }
    }

    /// The value of a cookie of ours. Sent with different values, oversized or with anything but plain characters, it counts for nothing:
    /// which one is right can't be told, and nothing is guessed. The same value twice (a cookie of another path) is that value.
    pub(crate) fn read(&self, view: &dyn RequestView, kind: CookieKind) -> Option<String> {
        let lines = view.header("cookie");
        let mut values = self.values(&lines, kind);
        let value = values.next()?;
        if values.any(|other| other != value) {
            return None;
        }
        plain_text(value)
    }

    /// The different values of a cookie of ours, in the order in which they came. None of them is believed: it is for what may be done to all
    /// of them.
    pub(crate) fn different(&self, view: &dyn RequestView, kind: CookieKind) -> Vec<String> {
        let lines = view.header("cookie");
        let mut different = Vec::new();
        for text in self.values(&lines, kind).filter_map(plain_text) {
            if !different.contains(&text) {
                different.push(text);
            }
        }
        different
    }

    /// Whether a cookie of ours comes with different values.
    pub(crate) fn is_ambiguous(&self, view: &dyn RequestView, kind: CookieKind) -> bool {
        let lines = view.header("cookie");
        let mut values = self.values(&lines, kind);
        values.next().is_some_and(|value| values.any(|other| other != value))
    }

    fn values<'v>(&'v self, lines: &'v [&'v [u8]], kind: CookieKind) -> impl Iterator<Item = &'v [u8]> {
        let fits = lines.iter().map(|line| line.len()).sum::<usize>() <= MAX_HEADERS;
        let lines = if fits { lines } else { &[] };
        let name = self.name(kind).as_bytes();
        lines
            .iter()
            .flat_map(|line| line.split(|b| *b == b';'))
            .filter_map(move |pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// Sets a cookie; without a time it goes when the browser is closed.
    pub(crate) fn set(&self, kind: CookieKind, value: &str, max_age: Option<Duration>) -> String {
        self.line(kind, value, max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)))
    }

    /// Takes a cookie away: the same attributes, or browsers keep it.
    pub(crate) fn clear(&self, kind: CookieKind) -> String {
        self.line(kind, "", Some(0))
    }

    fn line(&self, kind: CookieKind, value: &str, max_age: Option<i64>) -> String {
        let mut cookie = Cookie::build((self.name(kind), value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure);
        if let Some(seconds) = max_age {
            cookie = cookie.max_age(cookie::time::Duration::seconds(seconds));
        }
        cookie.build().to_string()
    }
}

/// A value that one of ours could have.
fn plain_text(value: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=MAX_VALUE).contains(&value.len()) && value.iter().all(plain);
    if fits { String::from_utf8(value.to_vec()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WebRequest;

    fn cookies(secure: bool) -> CookieConfig {
        CookieConfig::new(secure, &CookiePrefix::default())
    }

    fn read(lines: &[&[u8]]) -> Option<String> {
        let headers = lines.iter().map(|line| ("cookie".to_owned(), line.to_vec())).collect();
        cookies(true).read(&WebRequest { headers, ..WebRequest::default() }, CookieKind::Session)
    }

    #[test]
    fn attributes_are_the_same_when_set_and_cleared() {
        let set = cookies(true).set(CookieKind::Session, "abc", None);
        assert_eq!(set, "__Host-iam_session=abc; HttpOnly; SameSite=Lax; Secure; Path=/");
        let clear = cookies(true).clear(CookieKind::Session);
        assert_eq!(clear, "__Host-iam_session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
        let plain = cookies(false).set(CookieKind::Device, "x", Some(Duration::from_secs(9)));
        assert_eq!(plain, "iam_device=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=9");
        let trusted = cookies(true).set(CookieKind::TrustedDevice, "totp.x", Some(Duration::from_secs(9)));
        assert_eq!(trusted, "__Host-iam_trusted=totp.x; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=9");
    }

    #[test]
    fn exactly_one_plain_value_counts() {
        assert_eq!(read(&[b"a=b; __Host-iam_session=tok-en_1; c=d"]).as_deref(), Some("tok-en_1"));
        assert_eq!(read(&[b"a=b", b"__Host-iam_session=x"]).as_deref(), Some("x"));
        // Another path, the same value.
        assert_eq!(read(&[b"__Host-iam_session=x; __Host-iam_session=x"]).as_deref(), Some("x"));
        assert_eq!(read(&[b"__Host-iam_session=x", b"__Host-iam_session=x"]).as_deref(), Some("x"));
        let oversized = [b"__Host-iam_session=".as_slice(), &[b'a'; 513]].concat();
        let flood = [b"__Host-iam_session=x; a=".as_slice(), &vec![b'a'; 17_000]].concat();
        for lines in [
            &[b"".as_slice()][..],
            &[b"iam_session=x"],
            &[b"__host-iam_session=x"],
            &[b"__Host-iam_session"],
            &[b"__Host-iam_session="],
            &[b"__Host-iam_session=x; __Host-iam_session=y"],
            &[b"__Host-iam_session=x; __Host-iam_session="],
            &[b"__Host-iam_session=x", b"__Host-iam_session=y"],
            &[b"__Host-iam_session=\"x\""],
            &[b"__Host-iam_session=x y"],
            &[b"__Host-iam_session=\xff"],
            &[&oversized],
            &[&flood],
        ] {
            assert_eq!(read(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn different_values_are_noticed() {
        let ambiguous = |line: &[u8]| {
            let headers = vec![("cookie".to_owned(), line.to_vec())];
            cookies(false).is_ambiguous(&WebRequest { headers, ..WebRequest::default() }, CookieKind::Session)
        };
        assert!(ambiguous(b"iam_session=x; iam_session=y") && ambiguous(b"iam_session=x; a=b; iam_session="));
        assert!(
            !ambiguous(b"iam_session=x; iam_session=x") && !ambiguous(b"iam_session=x") && !ambiguous(b"")
        );
    }

    #[test]
    fn all_values_of_one_name_are_known() {
        let different = |lines: &[&[u8]]| {
            let headers = lines.iter().map(|line| ("cookie".to_owned(), line.to_vec())).collect();
            let request = WebRequest { headers, ..WebRequest::default() };
            cookies(false).different(&request, CookieKind::Session)
        };
        assert_eq!(different(&[b"iam_session=x; a=b; iam_session=y; iam_session=x"]), ["x", "y"]);
        assert_eq!(
            different(&[b"iam_session=x", b"iam_session=\"\"; iam_session=; iam_session=y"]),
            ["x", "y"]
        );
        assert_eq!(
            different(&[b"iam_session=1; iam_session=2; iam_session=3; iam_session=4"]),
            ["1", "2", "3", "4"]
        );
        assert_eq!(different(&[b"a=b"]), [""; 0]);
    }

    #[test]
    fn names_begin_as_a_host_says() {
        let prefix = CookiePrefix::parse("shop_").unwrap();
        assert_eq!(CookieConfig::new(true, &prefix).name(CookieKind::Session), "__Host-shop_session");
        assert_eq!(CookieConfig::new(false, &prefix).name(CookieKind::TrustedDevice), "shop_trusted");
        assert_eq!(cookies(false).name(CookieKind::Pre), "iam_pre");
        let long = "a".repeat(33);
        for wrong in ["", " ", "a b", "a=", "a;", "é", "__Host-", "__Secure-x", "__", "a\r\n", long.as_str()]
        {
            assert_eq!(CookiePrefix::parse(wrong), Err(InvalidCookiePrefix), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(&[&line, b"__Host-iam_session=x"]);
        }
    }
}
