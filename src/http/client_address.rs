//! Whom a request counts for: the prefix of the client's address, because one household or host has many addresses.
//!
//! `X-Forwarded-For` is believed only of a configured proxy, and read from the right: what stands further left was
//! written by somebody whom nobody vouches for. Whatever cannot be read counts for the peer, never for nobody.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

const IPV4_PREFIX: u8 = 24;
/// What one household or rented host commonly gets.
const IPV6_PREFIX: u8 = 56;
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A /24 or /56, shown as `203.0.113.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressPrefix(IpNet);

impl AddressPrefix {
    /// The client behind a request. A request without a peer address (there is none over TCP) counts for `0.0.0.0/24`.
    pub fn of_request(request: &HttpRequest, trusted_proxies: &[IpNet]) -> Self {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let headers = request.headers().get_all(FORWARDED_FOR).map(|value| value.to_str().ok());
        Self::of(client_address(peer, headers, trusted_proxies))
    }

    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { IPV4_PREFIX } else { IPV6_PREFIX };
        Self(IpNet::new_assert(address, length).trunc())
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rightmost address that is not a trusted proxy's; the peer's where the header does not tell.
///
/// A header line that is not text is `None`.
pub fn client_address<'a>(
    peer: IpAddr,
    headers: impl Iterator<Item = Option<&'a str>>,
    trusted_proxies: &[IpNet],
) -> IpAddr {
    let peer = peer.to_canonical();
    let trusted = |address: &IpAddr| trusted_proxies.iter().any(|net| net.contains(address));
    if !trusted(&peer) {
        return peer;
    }
    // Several header lines are one list (RFC 9110, section 5.3).
    let lines: Vec<_> = headers.collect();
    let hops = lines.iter().flat_map(|line| line.unwrap_or_default().split(',')).rev();
    let mut client = peer;
    for hop in hops {
        match parse_hop(hop) {
            None => return peer,
            Some(address) if trusted(&address) => client = address,
            Some(address) => return address,
        }
    }
    client
}

/// An address as proxies write it: bare, or with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[Option<&str>]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_address(peer.parse().unwrap(), headers.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn a_stranger_s_header_is_not_believed() {
        assert_eq!(client("203.0.113.9", &[Some("198.51.100.1")]), "203.0.113.9");
    }

    #[test]
    fn a_proxy_s_header_is_read_from_the_right() {
        assert_eq!(client("10.0.0.1", &[Some("1.2.3.4, 198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[Some("1.2.3.4, 198.51.100.1, 10.0.0.2")]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[Some("1.2.3.4"), Some("198.51.100.1:4711")]), "198.51.100.1");
        assert_eq!(client("fd00::1", &[Some("[2001:db8::7]:443")]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &[Some("junk, 198.51.100.1")]), "198.51.100.1");
    }

    #[test]
    fn a_missing_or_malformed_header_counts_for_the_peer() {
        for headers in
            [&[] as &[_], &[Some("")], &[Some("unknown")], &[None], &[Some("1.2.3.4,")], &[Some("1.2.3.4"), None]]
        {
            assert_eq!(client("10.0.0.1", headers), "10.0.0.1", "{headers:?}");
        }
    }

    #[test]
    fn a_client_inside_the_trusted_network_is_itself() {
        assert_eq!(client("10.0.0.1", &[Some("10.9.9.9, 10.0.0.2")]), "10.9.9.9");
    }

    #[test]
    fn an_ipv4_mapped_address_is_ipv4() {
        assert_eq!(client("::ffff:10.0.0.1", &[Some("::ffff:198.51.100.1")]), "198.51.100.1");
        assert_eq!(AddressPrefix::of("::ffff:198.51.100.1".parse().unwrap()).to_string(), "198.51.100.0/24");
    }

    #[test]
    fn a_prefix_is_a_24_or_a_56() {
        assert_eq!(AddressPrefix::of("203.0.113.255".parse().unwrap()).to_string(), "203.0.113.0/24");
        let prefix = AddressPrefix::of("2001:db8:1:2ff:aaaa::1".parse().unwrap());
        assert_eq!(prefix.to_string(), "2001:db8:1:200::/56");
        assert_eq!(prefix, AddressPrefix::of("2001:db8:1:200::".parse().unwrap()));
        assert_ne!(prefix, AddressPrefix::of("2001:db8:1:300::".parse().unwrap()));
    }
}
