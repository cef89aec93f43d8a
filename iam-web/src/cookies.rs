//! The family's cookies.

use std::time::Duration;

use cookie::{Cookie, SameSite};

use crate::message::RequestView;

/// The longest value of ours, with room to spare.
const MAX_VALUE: usize = 512;

/// What a browser may send in cookies at most before they count for nothing.
const MAX_HEADERS: usize = 16 * 1024;

/// How cookies are set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieConfig {
    /// Browsers come by HTTPS: the `__Host-` prefix then keeps neighbours from setting ours.
    pub(crate) secure: bool,
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
    pub(crate) fn name(self, kind: CookieKind) -> &'static str {
        match (kind, self.secure) {
            (CookieKind::Session, true) => "__Host-iam_session",
            (CookieKind::Session, false) => "iam_session",
            (CookieKind::Device, true) => "__Host-iam_device",
            (CookieKind::Device, false) => "iam_device",
            (CookieKind::TrustedDevice, true) => "__Host-iam_trusted",
            (CookieKind::TrustedDevice, false) => "iam_trusted",
            (CookieKind::Pre, true) => "__Host-iam_pre",
            (CookieKind::Pre, false) => "iam_pre",
        }
    }

    /// The value of a cookie of ours. Sent twice, oversized or with anything but plain characters, it counts for nothing: which
    /// one is right can't be told, and nothing is guessed.
    pub(crate) fn read(self, view: &dyn RequestView, kind: CookieKind) -> Option<String> {
        let lines = view.header("cookie");
        if lines.iter().map(|line| line.len()).sum::<usize>() > MAX_HEADERS {
            return None;
        }
        let name = self.name(kind).as_bytes();
        let mut values = lines.iter().flat_map(|line| line.split(|b| *b == b';')).filter_map(|pair| {
            let pair = pair.trim_ascii();
            pair.strip_prefix(name)?.strip_prefix(b"=")
        });
        let (value, second) = (values.next()?, values.next());
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if second.is_some() || value.is_empty() || value.len() > MAX_VALUE || !value.iter().all(plain) {
            return None;
        }
        String::from_utf8(value.to_vec()).ok()
    }

    /// Sets a cookie; without a time it goes when the browser is closed.
    pub(crate) fn set(self, kind: CookieKind, value: &str, max_age: Option<Duration>) -> String {
        self.line(kind, value, max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)))
    }

    /// Takes a cookie away: the same attributes, or browsers keep it.
    pub(crate) fn clear(self, kind: CookieKind) -> String {
        self.line(kind, "", Some(0))
    }

    fn line(self, kind: CookieKind, value: &str, max_age: Option<i64>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WebRequest;

    const SECURE: CookieConfig = CookieConfig { secure: true };

    fn read(lines: &[&[u8]]) -> Option<String> {
        let headers = lines.iter().map(|line| ("cookie".to_owned(), line.to_vec())).collect();
        SECURE.read(&WebRequest { headers, ..WebRequest::default() }, CookieKind::Session)
    }

    #[test]
    fn attributes_are_the_same_when_set_and_cleared() {
        let set = SECURE.set(CookieKind::Session, "abc", None);
        assert_eq!(set, "__Host-iam_session=abc; HttpOnly; SameSite=Lax; Secure; Path=/");
        let clear = SECURE.clear(CookieKind::Session);
        assert_eq!(clear, "__Host-iam_session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
        let plain = CookieConfig { secure: false }.set(CookieKind::Device, "x", Some(Duration::from_secs(9)));
        assert_eq!(plain, "iam_device=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=9");
        let trusted = SECURE.set(CookieKind::TrustedDevice, "totp.x", Some(Duration::from_secs(9)));
        assert_eq!(trusted, "__Host-iam_trusted=totp.x; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=9");
    }

    #[test]
    fn exactly_one_plain_value_counts() {
        assert_eq!(read(&[b"a=b; __Host-iam_session=tok-en_1; c=d"]).as_deref(), Some("tok-en_1"));
        assert_eq!(read(&[b"a=b", b"__Host-iam_session=x"]).as_deref(), Some("x"));
        let oversized = [b"__Host-iam_session=".as_slice(), &[b'a'; 513]].concat();
        let flood = [b"__Host-iam_session=x; a=".as_slice(), &vec![b'a'; 17_000]].concat();
        for lines in [
            &[b"".as_slice()][..],
            &[b"iam_session=x"],
            &[b"__host-iam_session=x"],
            &[b"__Host-iam_session"],
            &[b"__Host-iam_session="],
            &[b"__Host-iam_session=x; __Host-iam_session=x"],
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

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(&[&line, b"__Host-iam_session=x"]);
        }
    }
}
