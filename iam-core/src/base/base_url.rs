//! Where the service lives, as browsers see it.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The address of the service: links in mails, allowed origins and the security of cookies come from it, never from what a
/// request claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
}

/// The text is no usable base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBaseUrl {
    /// Not of the form `https://host[:port]`.
    #[error(
        "a base URL looks like https://app.example.com: scheme and host, perhaps a port, and nothing after them"
    )]
    Malformed,
    /// Plain HTTP elsewhere than on this machine.
    #[error("a base URL must begin with https://, only on localhost it may begin with http://")]
    Insecure,
}

impl BaseUrl {
    /// Reads `https://host[:port]`; `http` is taken for this machine only.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidBaseUrl::Malformed)?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !bare || !has_host_name(&url) || !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidBaseUrl::Malformed);
        }
        let base = Self { url };
        // Nothing is reached at port 0; on this machine it stands for one that is not known yet.
        if base.url.port() == Some(0) && !base.is_loopback() {
            return Err(InvalidBaseUrl::Malformed);
        }
        if base.is_https() || base.is_loopback() { Ok(base) } else { Err(InvalidBaseUrl::Insecure) }
    }

    /// Scheme, host and port, as a browser sends them in `Origin` (RFC 6454).
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether browsers come by HTTPS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

/// Whether the host is an address, or a name that can be looked up: a `*` stands for no host anywhere.
fn has_host_name(url: &Url) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match url.host() {
        Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).split('.').all(is_label),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        Self::parse(text)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// An origin (RFC 6454): scheme, host, and a port that is not the scheme's own. Kept as browsers write it, since requests are compared
/// with it letter by letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    base: BaseUrl,
}

/// The text is no origin that a request could come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOrigin {
    /// Not of the form `https://host[:port]`.
    #[error(
        "an origin looks like https://www.example.com: scheme and host, perhaps a port, and nothing before or after them, no slash \
         either"
    )]
    Malformed,
    /// A `*`, which no browser sends.
    #[error("an origin has no `*`: name each one")]
    Wildcard,
    /// Plain HTTP where browsers come by HTTPS.
    #[error(
        "an origin must begin with https:// where the service does not live on localhost: anyone on the way can write http pages"
    )]
    Insecure,
}

impl Origin {
    /// Reads `https://host[:port]`; `http` is taken for this machine only. Nothing is repaired but what browsers write otherwise: capital
    /// letters, names in other alphabets, the scheme's own port.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        if text.contains('*') {
            return Err(InvalidOrigin::Wildcard);
        }
        let (_, rest) = text.split_once("://").ok_or(InvalidOrigin::Malformed)?;
        let is_bare = !rest.contains(['/', '\\', '?', '#', '@', '%']);
        if !is_bare || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(InvalidOrigin::Malformed);
        }
        match BaseUrl::parse(text) {
            Ok(base) => Ok(Self { base }),
            Err(InvalidBaseUrl::Insecure) => Err(InvalidOrigin::Insecure),
            Err(InvalidBaseUrl::Malformed) => Err(InvalidOrigin::Malformed),
        }
    }

    /// The same, for a service that lives there: only one on this machine may have an origin without HTTPS. Without a base URL it is taken
    /// for one that does not.
    pub fn parse_beside(text: &str, base: Option<&BaseUrl>) -> Result<Self, InvalidOrigin> {
        let origin = Self::parse(text)?;
        if origin.base.is_https() || base.is_some_and(BaseUrl::is_loopback) {
            Ok(origin)
        } else {
            Err(InvalidOrigin::Insecure)
        }
    }
}

/// As a browser sends it in `Origin`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_else() {
        for (written, sent) in [
            ("https://www.example.com", "https://www.example.com"),
            ("https://WWW.Example.com:443", "https://www.example.com"),
            ("https://www.example.com:8443", "https://www.example.com:8443"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(Origin::parse(written).map(|origin| origin.to_string()).as_deref(), Ok(sent));
        }
        for wildcard in
            ["*", "https://*", "https://*.example.com", "https://www.example.com:*", "*://www.example.com"]
        {
            assert_eq!(Origin::parse(wildcard), Err(InvalidOrigin::Wildcard), "{wildcard}");
        }
        for malformed in [
            "https://www..example.com",
            "https://-",
            "https://www-.example.com",
            "https://www.example.com:0",
            "",
            "null",
            "www.example.com",
            "https://",
            "https:www.example.com",
            "ftp://www.example.com",
            "https://www.example.com/",
            "https://www.example.com/path",
            "https://www.example.com?q",
            "https://www.example.com#f",
            "https://amy@www.example.com",
            "https://amy:secret@www.example.com",
            "https://www.example.com\\",
            "https://www.exa mple.com",
            " https://www.example.com",
            "https://www.example.com\n",
            "https://www%2eexample.com",
            "https://www.example.com:70000",
            "https://a,https://b",
        ] {
            assert_eq!(Origin::parse(malformed), Err(InvalidOrigin::Malformed), "{malformed}");
        }
        assert_eq!(Origin::parse("http://www.example.com"), Err(InvalidOrigin::Insecure));
        let (far, near) =
            (BaseUrl::parse("https://x.example").unwrap(), BaseUrl::parse("http://localhost").unwrap());
        assert!(Origin::parse_beside("http://localhost:3000", Some(&near)).is_ok());
        for base in [Some(&far), None] {
            assert_eq!(Origin::parse_beside("http://localhost:3000", base), Err(InvalidOrigin::Insecure));
            assert!(Origin::parse_beside("https://www.example.com", base).is_ok());
        }
    }

    #[test]
    fn https_anywhere_http_here_only() {
        assert_eq!(
            BaseUrl::parse("https://App.Example.com:443/").unwrap().origin(),
            "https://app.example.com"
        );
        assert_eq!(BaseUrl::parse("http://localhost:3000").unwrap().origin(), "http://localhost:3000");
        assert!(BaseUrl::parse("http://[::1]:3000").is_ok());
        assert_eq!(BaseUrl::parse("http://app.example.com"), Err(InvalidBaseUrl::Insecure));
        assert_eq!(BaseUrl::parse("http://localhost.example.com"), Err(InvalidBaseUrl::Insecure));
        for wrong in [
            "",
            "app.example.com",
            "ftp://x",
            "https://x/path",
            "https://x/?q",
            "https://u@x",
            "https:///",
            "https://*.example.com",
        ] {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
