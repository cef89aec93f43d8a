//! What is known of a caller besides who they are.

use std::net::{IpAddr, Ipv6Addr};

/// The longest user agent that is kept, in bytes.
const MAX_USER_AGENT: usize = 256;

/// From where a request came, for limits and the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// The client's address, as far as trusted proxies told it; nobody for what the service does itself.
    pub address: Option<IpAddr>,
    /// What the client calls itself: printable ASCII, cut at 256 bytes.
    pub user_agent: Option<String>,
    /// The request, as logs name it.
    pub request_id: Option<String>,
}

impl Client {
    /// A client at an address. IPv4 addresses in IPv6 clothes (`::ffff:192.0.2.1`) are folded.
    pub fn at(address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), ..Self::default() }
    }

    /// With what the client calls itself; what is not printable ASCII becomes `?`, so that it stays inert everywhere.
    #[must_use]
    pub fn user_agent(mut self, user_agent: &[u8]) -> Self {
        let printable = |b: u8| if (b' '..=b'~').contains(&b) { b as char } else { '?' };
        self.user_agent = Some(user_agent.iter().take(MAX_USER_AGENT).copied().map(printable).collect());
        self
    }

    /// With the request's name in the logs.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The network that limits count: an IPv4 address, or the /64 of an IPv6 address, since one customer holds all of it.
    pub fn network(&self) -> Option<IpAddr> {
        Some(match self.address?.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let network = |text: &str| Client::at(text.parse().unwrap()).network().unwrap().to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:ffff::1"), network("2001:db8:1:2:3:4:5:6"));
    }

    #[test]
    fn user_agents_are_inert() {
        let client = Client::default().user_agent(b"x\r\nINFO fake \xff\x1b[31m");
        assert_eq!(client.user_agent.as_deref(), Some("x??INFO fake ??[31m"));
        assert_eq!(Client::default().user_agent(&[b'a'; 999]).user_agent.unwrap().len(), 256);
    }
}
