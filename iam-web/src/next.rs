//! Where to go after signing in: a path on this site, and nothing that a browser could take for another one.

use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

/// What is longer is dropped, so that a header and a page's address have room for it.
const MAX_BYTES: usize = 2048;

/// A path of this site, with query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalTarget(String);

impl LocalTarget {
    /// Takes a target, or not. Letters that are no ASCII are written as a browser sends them, percent-encoded; nothing else is repaired.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES
            || !text.chars().all(|c| (c.is_ascii_graphic() && c != '\\') || !c.is_ascii())
        {
            return None;
        }
        // No control is left, so it is what is no ASCII alone.
        let text = utf8_percent_encode(text, CONTROLS).to_string();
        if text.len() > MAX_BYTES {
            return None;
        }
        let path = text.split(['?', '#']).next().unwrap_or_default();
        (is_local(path) && stays_here(&text)).then_some(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it leads to this path of this site, however it is spelled.
    pub(crate) fn leads_to(&self, path: &str) -> bool {
        let resolved = Url::parse("https://iam.invalid/").and_then(|base| base.join(&self.0));
        let mut own = resolved.map_or_else(|_| self.0.clone(), |url| url.path().to_owned());
        for _ in 0..4 {
            match percent_decode_str(&own).decode_utf8() {
                Ok(decoded) if decoded != own => own = decoded.into_owned(),
                _ => break,
            }
        }
        own.trim_end_matches('/') == path
    }
}

/// Begins with exactly one slash, and leads nowhere else, however often a server on the way decodes it.
fn is_local(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..4 {
        let plain = path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            && !path.chars().any(char::is_control)
            && stays_here(&path);
        if !plain {
            return false;
        }
        match percent_decode_str(&path).decode_utf8() {
            Ok(decoded) if decoded == path => return true,
            Ok(decoded) => path = decoded.into_owned(),
            Err(_) => return false,
        }
    }
    // Encoded more often than anyone honest would.
    false
}

/// As a browser would understand it.
fn stays_here(text: &str) -> bool {
    let resolved = Url::parse("https://iam.invalid/").and_then(|base| base.join(text));
    resolved.is_ok_and(|url| {
        url.scheme() == "https"
            && url.host_str() == Some("iam.invalid")
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !url.path().starts_with("//")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_this_site() {
        for fine in [
            "/",
            "/reports",
            "/reports?x=1&y=%2F",
            "/reports?next=https://evil.example",
            "/a%20b#c",
            "/a/b/../c",
            "/@evil.example",
            "/reports?q=%0A",
            "/%C3%A9",
            "/a:b@c",
            "/-//evil",
        ] {
            assert_eq!(LocalTarget::parse(fine).map(|target| target.0).as_deref(), Some(fine), "{fine}");
        }
    }

    #[test]
    fn a_path_is_known_however_it_is_spelled() {
        let leads = |text: &str| LocalTarget::parse(text).unwrap().leads_to("/auth/logout");
        for there in [
            "/auth/logout",
            "/auth/logout?a=b",
            "/auth/logout#x",
            "/auth/logout/",
            "/a/../auth/./logout",
            "/a/%2e%2e/auth/logout",
            "/auth/%6cogout",
            "/auth/%256cogout",
        ] {
            assert!(leads(there), "{there}");
        }
        for elsewhere in [
            "/",
            "/auth",
            "/auth/logout2",
            "/x/auth/logout",
            "/auth/logout/x",
            "/?/auth/logout",
            "/AUTH/logout",
        ] {
            assert!(!leads(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_no_ascii_is_encoded() {
        for (raw, encoded) in [
            ("/café", "/caf%C3%A9"),
            ("/報告?名=値#節", "/%E5%A0%B1%E5%91%8A?%E5%90%8D=%E5%80%A4#%E7%AF%80"),
            ("/caf%C3%A9/é", "/caf%C3%A9/%C3%A9"),
            ("/\u{2028}", "/%E2%80%A8"),
            ("/\u{feff}/e", "/%EF%BB%BF/e"),
        ] {
            assert_eq!(LocalTarget::parse(raw).map(|target| target.0).as_deref(), Some(encoded), "{raw}");
            assert_eq!(LocalTarget::parse(encoded).map(|target| target.0).as_deref(), Some(encoded), "{raw}");
        }
    }

    #[test]
    fn everything_else() {
        let long = format!("/{}", "a".repeat(2048));
        let long_when_encoded = format!("/{}", "é".repeat(400));
        for hostile in [
            "",
            " ",
            "reports",
            "./reports",
            "../x",
            "?x",
            "#x",
            "//",
            "//e",
            "///e",
            "////e",
            "//e/..",
            "//e@f",
            "/\\e",
            "\\/e",
            "\\\\e",
            "\\e",
            "/\\/e",
            "\\/\\/e",
            "/\te",
            "/\t/e",
            "\t//e",
            "\n//e",
            " //e",
            "//e ",
            "/ e",
            "/\re",
            "/\r\nSet-Cookie: a=b",
            "/%0d%0aSet-Cookie:a",
            "/%0a/e",
            "/%09/e",
            "/%00",
            "/%7f",
            "/%2fe",
            "/%2f/e",
            "/%2F%2Fe",
            "/%252fe",
            "/%252f%252fe",
            "/%25252fe",
            "/%2525252525252fe",
            "/%5ce",
            "/%5C/e",
            "/%255ce",
            "/a%5cb",
            "/%ff",
            "https:e",
            "https:/e",
            "https://e",
            "https:///e",
            "http://e",
            "HTTPS://e",
            "ftp://e",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "javascript://%0aalert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "blob:x",
            "mailto:a@b",
            "e.example",
            "e.example/x",
            "@e",
            "user:pw@e",
            "/.//e",
            "/..//e",
            "/a/..//e",
            "/%2e//e",
            "/./\\e",
            "/%252e//e",
            "/a/..%2fe/..%2f%2fe",
            "/a/..%2f%2fe",
            "/a/%252e%252e//e",
            "／／e",
            "é",
            "/\u{85}",
            "/\u{9f}/e",
            "//é",
            "/é\\e",
            "/é e",
            "/..//é",
            long.as_str(),
            long_when_encoded.as_str(),
        ] {
            assert_eq!(LocalTarget::parse(hostile), None, "{hostile:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_passes_stays_here(text in "[/\\\\a%025cfFe.:@?#\t é／]{0,24}") {
            if let Some(target) = LocalTarget::parse(&text) {
                let url = Url::parse("https://app.example/login").unwrap().join(target.as_str()).unwrap();
                proptest::prop_assert_eq!(url.origin().ascii_serialization(), "https://app.example");
                proptest::prop_assert!(!target.as_str().starts_with("//"));
            }
        }
    }
}
