//! The client's address: the peer's, unless that is a proxy which is trusted to say better.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use crate::message::RequestView;

/// The networks of proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// A list of proxies that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxies {
    /// Neither an address nor a network.
    #[error("`{0}` is neither an address nor a network such as 10.0.0.0/8")]
    Malformed(String),
    /// Together more than any operator's own networks.
    #[error("the networks together hold so much of the internet that strangers could claim any address")]
    Everybody,
    /// More than any operator's own network.
    #[error(
        "`{0}` holds so many addresses that strangers could claim any: /8 (IPv4) or /7 (IPv6) is the most"
    )]
    TooWide(String),
}

/// The widest networks that are somebody's own: `10.0.0.0/8`, `fc00::/7`.
const WIDEST: (u8, u8) = (8, 7);

impl TrustedProxies {
    /// Reads addresses and networks, separated by commas.
    pub fn parse(text: &str) -> Result<Self, InvalidProxies> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.map(|entry| {
            let network = entry
                .parse::<IpNet>()
                .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| InvalidProxies::Malformed(entry.to_owned()))?;
            let network = fold(network);
            let widest = if network.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
            if network.prefix_len() < widest {
                return Err(InvalidProxies::TooWide(entry.to_owned()));
            }
            Ok(network)
        });
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if share(&networks, false) >= MOST || share(&networks, true) >= MOST {
            return Err(InvalidProxies::Everybody);
        }
        Ok(Self(networks))
    }
}

/// The part of all addresses of a kind that is too much to trust.
const MOST: f64 = 1.0 / 16.0;

/// Which part of all addresses the networks hold.
fn share(networks: &[IpNet], v6: bool) -> f64 {
    let of_kind: Vec<IpNet> =
        networks.iter().copied().filter(|network| network.addr().is_ipv6() == v6).collect();
    IpNet::aggregate(&of_kind).iter().map(|network| 0.5_f64.powi(network.prefix_len().into())).sum()
}

/// As addresses are folded before they are compared, networks are: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn fold(network: IpNet) -> IpNet {
    let (IpAddr::V6(v6), Some(length)) = (network.addr(), network.prefix_len().checked_sub(96)) else {
        return network;
    };
    v6.to_ipv4_mapped().and_then(|v4| IpNet::new(v4.into(), length).ok()).unwrap_or(network)
}

/// The header in which proxies name the client. Only one counts: what they don't set themselves, clients can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardHeader {
    /// Reads the header's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Some(Self::XForwardedFor),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyConfig {
    pub(crate) trusted: TrustedProxies,
    pub(crate) header: ForwardHeader,
    /// Whether it was said already that there seems to be a proxy that is not trusted.
    pub(crate) warned: Arc<AtomicBool>,
}

impl ProxyConfig {
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.0.iter().any(|network| network.contains(&address))
    }

    /// A neighbour that speaks for others: if it is a proxy, all of them share its limits until it is trusted.
    fn warn_of_a_proxy(&self, peer: IpAddr, view: &dyn RequestView) {
        let is_neighbour = match peer {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        };
        if is_neighbour
            && !view.header(self.header.name()).is_empty()
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                header = self.header.name(),
                "a peer that is no trusted proxy names clients; if it is your proxy, trust it (IAM_TRUSTED_PROXIES), or all \
                 people behind it share one limit and one address in the audit log"
            );
        }
    }
}

/// From the right, the first hop that is no trusted proxy; anything unreadable on the way, and the peer's own address counts.
pub(crate) fn client_address(peer: IpAddr, view: &dyn RequestView, config: &ProxyConfig) -> IpAddr {
    let peer = peer.to_canonical();
    if !config.trusts(peer) {
        config.warn_of_a_proxy(peer, view);
        return peer;
    }
    first_untrusted(view, config).unwrap_or(peer)
}

fn first_untrusted(view: &dyn RequestView, config: &ProxyConfig) -> Option<IpAddr> {
    let mut leftmost = None;
    // A list may be spread over several lines (RFC 9110 section 5.3). All is read from the right, and bytes that are no text spoil
    // their own hop only: what lies left of where the walk ends is the client's, and must not choose the result.
    for line in view.header(config.header.name()).into_iter().rev() {
        let line = String::from_utf8_lossy(line);
        let address_of = |hop: Option<&str>| match config.header {
            ForwardHeader::XForwardedFor => node(hop?.trim_matches([' ', '\t'])),
            ForwardHeader::Forwarded => forwarded_for(hop?),
        };
        let quotes = config.header == ForwardHeader::Forwarded;
        for hop in (FromRight { rest: Some(&line), separator: ',', quotes }) {
            let address = address_of(hop)?;
            if !config.trusts(address) {
                return Some(address);
            }
            leftmost = Some(address);
        }
    }
    leftmost
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse().ok().filter(|_| port_is_fine)?)
    } else if let Ok(address) = text.parse() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The one `for` of an element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in (FromRight { rest: Some(element), separator: ';', quotes: true }) {
        let Some((name, value)) = pair?.trim().split_once('=') else { continue };
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        // No address needs an escape.
        Some(quoted) => node(quoted.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))?),
        None => node(value),
    }
}

/// The parts of a text from right to left, split outside quoted strings if there may be any. Each is found without a look at what
/// stands left of it: a quote that a client opened and never closed does not reach what a proxy wrote behind it. A quoted string
/// without a beginning makes all that is left unreadable.
struct FromRight<'a> {
    rest: Option<&'a str>,
    separator: char,
    quotes: bool,
}

impl<'a> Iterator for FromRight<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Option<&'a str>> {
        let text = self.rest.take()?;
        let mut quoted = false;
        for (at, c) in text.char_indices().rev() {
            if c == '"' && self.quotes {
                let before = text.get(..at)?;
                let escapes = before.len() - before.trim_end_matches('\\').len();
                quoted = !quoted || escapes % 2 == 1;
            } else if c == self.separator && !quoted {
                self.rest = text.get(..at);
                return Some(text.get(at + c.len_utf8()..));
            }
        }
        Some((!quoted).then_some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::WebRequest;

    fn client(peer: &str, header: ForwardHeader, headers: &[(&str, &str)]) -> String {
        let config = ProxyConfig {
            trusted: TrustedProxies::parse("10.0.0.0/8, 2001:db8:ffff::1").unwrap(),
            header,
            ..ProxyConfig::default()
        };
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        let view = WebRequest { headers, ..WebRequest::default() };
        client_address(peer.parse().unwrap(), &view, &config).to_string()
    }

    #[test]
    fn what_a_client_writes_to_the_left_does_not_choose() {
        let config = |header| ProxyConfig {
            trusted: TrustedProxies::parse("::ffff:10.0.0.0/104").unwrap(),
            header,
            ..ProxyConfig::default()
        };
        for (header, name, lines) in [
            (ForwardHeader::XForwardedFor, "x-forwarded-for", &[b"\xff, 192.0.2.1".as_slice()][..]),
            (ForwardHeader::XForwardedFor, "x-forwarded-for", &[b"\xff", b"192.0.2.1"]),
            (ForwardHeader::Forwarded, "forwarded", &[b"for=\"", b"for=192.0.2.1"]),
            (ForwardHeader::Forwarded, "forwarded", &[b"for=\", for=192.0.2.1"]),
            (
                ForwardHeader::Forwarded,
                "forwarded",
                &[b"x=\\, for=\"192.0.2.1:80\";by=\"a\\\",b\", for=10.0.0.7"],
            ),
            (ForwardHeader::Forwarded, "forwarded", &[b"\xff", b"for=192.0.2.1, for=10.0.0.7"]),
        ] {
            let headers = lines.iter().map(|line| (name.to_owned(), line.to_vec())).collect();
            let view = WebRequest { headers, ..WebRequest::default() };
            let found = client_address("10.0.0.1".parse().unwrap(), &view, &config(header));
            assert_eq!(found.to_string(), "192.0.2.1", "{lines:?}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            let header = ForwardHeader::XForwardedFor;
            assert_eq!(client("192.0.2.9", header, &[(name, "198.51.100.1")]), "192.0.2.9");
        }
    }

    #[test]
    fn the_right_most_untrusted_hop_counts() {
        let xff = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|v| ("x-forwarded-for", *v)).collect();
            client("10.1.1.1", ForwardHeader::XForwardedFor, &headers)
        };
        assert_eq!(xff(&["203.0.113.5"]), "203.0.113.5");
        assert_eq!(xff(&["1.1.1.1, 203.0.113.5, 10.2.2.2"]), "203.0.113.5");
        assert_eq!(xff(&["1.1.1.1", "203.0.113.5", "10.2.2.2"]), "203.0.113.5");
        assert_eq!(xff(&["203.0.113.5:4711"]), "203.0.113.5");
        assert_eq!(xff(&["[2001:db8::5]:4711"]), "2001:db8::5");
        assert_eq!(xff(&["2001:db8::5"]), "2001:db8::5");
        assert_eq!(xff(&["::ffff:203.0.113.5"]), "203.0.113.5");
        assert_eq!(xff(&["::ffff:10.2.2.2"]), "10.2.2.2");
        assert_eq!(xff(&["10.3.3.3, 10.2.2.2"]), "10.3.3.3");
        for unreadable in
            ["", "a", "203.0.113.5, a", "203.0.113.5,", "unknown", "203.0.113.5:x", "[::1", "1.2.3"]
        {
            assert_eq!(xff(&[unreadable]), "10.1.1.1", "{unreadable}");
        }
        // What lies left of the client is the client's own invention.
        assert_eq!(xff(&["garbage, 203.0.113.5"]), "203.0.113.5");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        let forwarded = |value: &str| client("10.1.1.1", ForwardHeader::Forwarded, &[("forwarded", value)]);
        assert_eq!(forwarded("for=203.0.113.5;proto=https;by=10.1.1.1"), "203.0.113.5");
        assert_eq!(forwarded("For=\"[2001:db8::5]:4711\", for=10.2.2.2"), "2001:db8::5");
        assert_eq!(forwarded("for=\"203.0.113.5\";ext=\"a,b;for=1.1.1.1\""), "203.0.113.5");
        for unreadable in [
            "for=_hidden",
            "for=unknown",
            "proto=https",
            "for=\"1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
            "for=\"1.1.\\1.1\"",
        ] {
            assert_eq!(forwarded(unreadable), "10.1.1.1", "{unreadable}");
        }
        assert_eq!(
            client("10.1.1.1", ForwardHeader::Forwarded, &[("x-forwarded-for", "1.1.1.1")]),
            "10.1.1.1"
        );
    }

    #[test]
    fn nobody_can_trust_everybody() {
        for wide in ["0.0.0.0/0", "10.0.0.0/8,::/0", "128.0.0.0/1", "::ffff:0.0.0.0/96", "2000::/3"] {
            assert!(matches!(TrustedProxies::parse(wide), Err(InvalidProxies::TooWide(_))), "{wide}");
        }
        assert!(TrustedProxies::parse("10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7").is_ok());
        let all: Vec<_> = (0..=255).map(|n| format!("{n}.0.0.0/8")).collect();
        assert_eq!(TrustedProxies::parse(&all.join(",")).unwrap_err(), InvalidProxies::Everybody);
        let all: Vec<_> = (0..8).map(|n| format!("2{:x}00::/7", n * 2)).collect();
        assert_eq!(TrustedProxies::parse(&all.join(",")).unwrap_err(), InvalidProxies::Everybody);
        assert!(TrustedProxies::parse("10.0.0.0/33").is_err());
        assert!(TrustedProxies::parse("proxy").is_err());
        assert!(TrustedProxies::parse("").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(value in "\\PC{0,60}", forwarded in proptest::bool::ANY) {
            let header = if forwarded { ForwardHeader::Forwarded } else { ForwardHeader::XForwardedFor };
            let headers = [(header.name(), value.as_str())];
            client("10.1.1.1", header, &headers);
            proptest::prop_assert_eq!(client("192.0.2.9", header, &headers), "192.0.2.9");
        }
    }
}
