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
        if !bare || url.host().is_none() || !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidBaseUrl::Malformed);
        }
        let base = Self { url };
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for wrong in
            ["", "app.example.com", "ftp://x", "https://x/path", "https://x/?q", "https://u@x", "https:///"]
        {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
