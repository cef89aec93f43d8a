//! Protection against requests that another site makes a browser send (OWASP CSRF cheat sheet).
//!
//! A token is bound to the session it was given to, or, before there is one, to a random cookie: nothing is stored. It
//! differs each time it is written, so that compression gives nothing away.

use base64ct::{Base64UrlUnpadded, Encoding};
use iam_core::protocol::TokenHash;
use iam_core::{MacKey, Randomness, RandomnessUnavailable};

use crate::message::RequestView;

const NONCE: usize = 16;
const TAG: usize = 32;

/// What a token belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Binding<'a> {
    Session(&'a TokenHash),
    /// The value of the cookie of somebody who is not signed in.
    Visitor(&'a str),
}

impl Binding<'_> {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Session(hash) => [b"session", hash.as_bytes()],
            Self::Visitor(value) => [b"visitor", value.as_bytes()],
        }
    }
}

pub(crate) fn issue(
    key: &MacKey,
    binding: Binding<'_>,
    random: &dyn Randomness,
) -> Result<String, RandomnessUnavailable> {
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce)?;
    let [kind, value] = binding.parts();
    let tag = key.tag(&[kind, value, &nonce]);
    Ok(Base64UrlUnpadded::encode_string(&[&nonce[..], &tag].concat()))
}

#[must_use]
pub(crate) fn verify(key: &MacKey, binding: Binding<'_>, token: &str) -> bool {
    let mut bytes = [0; NONCE + TAG];
    let Ok(decoded) = Base64UrlUnpadded::decode(token, &mut bytes) else { return false };
    let Some((nonce, tag)) = decoded.split_first_chunk::<NONCE>() else { return false };
    let [kind, value] = binding.parts();
    tag.len() == TAG && key.verify(&[kind, value, nonce], tag)
}

/// What the browser itself says of where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// From a page of an allowed origin.
    Same,
    /// From elsewhere.
    Foreign,
    /// It does not say.
    Unknown,
}

/// `Sec-Fetch-Site: same-origin` is set by the browser alone; an `Origin` must be exactly one of the allowed ones. Whoever
/// sends a header twice is trusted in neither. Where another protocol is asked for, the `Origin` alone says it: every browser sends one there
/// (RFC 6455, 4.1).
pub(crate) fn site(view: &dyn RequestView, allowed_origins: &[String]) -> Site {
    let (fetch_site, origin) = (view.header("sec-fetch-site"), view.header("origin"));
    match (fetch_site.as_slice(), origin.as_slice()) {
        ([], []) => Site::Unknown,
        ([b"same-origin"], [] | [_]) if !opens_a_stream(view) => Site::Same,
        ([] | [_], [origin]) if allowed_origins.iter().any(|allowed| allowed.as_bytes() == *origin) => {
            Site::Same
        }
        _ => Site::Foreign,
    }
}

fn opens_a_stream(view: &dyn RequestView) -> bool {
    view.method() == "CONNECT" || is_upgrade(view)
}

/// Whether a request changes nothing: by its method (RFC 9110), and because it asks for no other protocol. A browser opens a WebSocket to
/// anybody for any page, with the cookies: by `GET`, and over HTTP/2 by `CONNECT`.
pub(crate) fn is_safe(view: &dyn RequestView) -> bool {
    matches!(view.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE") && !is_upgrade(view)
}

/// Whether a request asks to go on in another protocol. The header `Upgrade` alone says so: servers differ in what else they want to see,
/// and many a proxy sends `Connection: upgrade` with everything.
pub(crate) fn is_upgrade(view: &dyn RequestView) -> bool {
    view.header("upgrade").iter().any(|value| !value.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use iam_core::{OsRandomness, SecretKey};

    use super::*;
    use crate::message::WebRequest;

    #[test]
    fn a_token_counts_for_its_binding_only() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap().derive("csrf");
        let (one, two) = (TokenHash::from_bytes([1; 32]), TokenHash::from_bytes([2; 32]));
        let token = issue(&key, Binding::Session(&one), &OsRandomness).unwrap();
        assert!(verify(&key, Binding::Session(&one), &token));
        assert!(!verify(&key, Binding::Session(&two), &token));
        let visitor = issue(&key, Binding::Visitor("v"), &OsRandomness).unwrap();
        assert!(verify(&key, Binding::Visitor("v"), &visitor));
        assert!(!verify(&key, Binding::Session(&one), &visitor));
        assert_ne!(issue(&key, Binding::Visitor("v"), &OsRandomness).unwrap(), visitor);
        for wrong in ["", "AAAA", &token[1..], &format!("{token}A")] {
            assert!(!verify(&key, Binding::Session(&one), wrong));
        }
    }

    #[test]
    fn origins_compare_exactly() {
        let allowed = ["https://app.example.com".to_owned()];
        let from = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
            site(&WebRequest { headers, ..WebRequest::default() }, &allowed)
        };
        assert_eq!(from(&[]), Site::Unknown);
        assert_eq!(from(&[("origin", "https://app.example.com")]), Site::Same);
        assert_eq!(from(&[("origin", "null"), ("sec-fetch-site", "same-origin")]), Site::Same);
        for origin in [
            "null",
            "http://app.example.com",
            "https://app.example.com.evil.example",
            "https://app.example.com:8443",
            "https://evil.example",
            "https://sub.app.example.com",
            "https://APP.example.com",
            "https://app.example.com/",
            "",
        ] {
            assert_eq!(from(&[("origin", origin)]), Site::Foreign, "{origin}");
        }
        for value in ["cross-site", "same-site", "none", "Same-Origin", ""] {
            assert_eq!(from(&[("sec-fetch-site", value)]), Site::Foreign, "{value}");
        }
        let twice = [("origin", "https://app.example.com"), ("origin", "https://evil.example")];
        assert_eq!(from(&twice), Site::Foreign);
    }

    #[test]
    fn safe_is_what_changes_nothing_and_stays_http() {
        let safe = |method: &str, headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
            is_safe(&WebRequest { method: method.to_owned(), headers, ..WebRequest::default() })
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(safe(method, &[]), "{method}");
            assert!(safe(method, &[("connection", "upgrade"), ("upgrade", "")]), "as a proxy sends it");
            assert!(safe(method, &[("upgrade-insecure-requests", "1")]));
            for value in ["websocket", "WebSocket", "h2c", "h2c, websocket", "x"] {
                assert!(!safe(method, &[("upgrade", value)]), "{method} {value}");
            }
            assert!(!safe(method, &[("upgrade", ""), ("upgrade", "websocket")]));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "", "QUERY"] {
            assert!(!safe(method, &[]), "{method}");
        }
    }
}
