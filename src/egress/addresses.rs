//! Which addresses may be connected to: public ones, and those that the operator allows.
//!
//! A name or a URL comes from somebody else, and may lead to the operator's own network, to this machine or to a cloud's
//! metadata. IPv6 that carries an IPv4 address is judged by that, or refused. [`Checked`] is made here alone, and only
//! what it holds is ever connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Error;

/// More of them are not tried.
const MOST_ADDRESSES: usize = 4;

/// What of IPv4 is nobody's public host (IANA's registry of special-purpose addresses, and one more).
const SPECIAL_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10), // carrier-grade NAT
    v4([127, 0, 0, 0], 8),
    v4([168, 63, 129, 16], 32), // Azure's host, as every machine there sees it
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24), // relays of 6to4
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15), // benchmarks
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4), // multicast
    v4([240, 0, 0, 0], 4), // reserved
    v4([255, 255, 255, 255], 32),
];

/// What of IPv6 is assigned at all; everything else (unique local, link-local, multicast, `::/96`, ...) is refused.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);
/// What of it is nobody's public host.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0], 23),      // protocols, Teredo among them
    v6([0x2001, 0x0db8], 32), // documentation
    v6([0x2002, 0], 16),      // 6to4
    v6([0x3fff, 0], 20),      // documentation
];
/// A translator's way to IPv4 (RFC 6052); `64:ff9b:1::/48` of RFC 8215 is each network's own, and refused.
const NAT64: Ipv6Net = v6([0x0064, 0xff9b], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 2], prefix: u8) -> Ipv6Net {
    let [a, b] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// How an address may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Public,
    /// The operator named it, so that it is also spoken to without TLS.
    Allowed,
}

/// Addresses of one host that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    addresses: Vec<SocketAddr>,
    reach: Reach,
}

impl Checked {
    /// Judges all addresses of a host: one that is refused refuses them all, for it shows what the name is for.
    pub(super) fn judge(found: Vec<SocketAddr>, allowed: &[IpNet]) -> Result<Self, Error> {
        let reaches = found.iter().map(|address| judge(address.ip(), allowed));
        let reaches: Vec<_> = reaches.collect::<Option<_>>().ok_or(Error::Address)?;
        let reach = if reaches.contains(&Reach::Public) { Reach::Public } else { Reach::Allowed };
        let addresses: Vec<_> = found.into_iter().take(MOST_ADDRESSES).collect();
        if addresses.is_empty() { Err(Error::Unresolved) } else { Ok(Self { addresses, reach }) }
    }

    /// Never empty.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(super) const fn reach(&self) -> Reach {
        self.reach
    }
}

/// None where it must not be connected to.
pub(super) fn judge(address: IpAddr, allowed: &[IpNet]) -> Option<Reach> {
    // An IPv4-mapped one is connected to over IPv4.
    let address = address.to_canonical();
    if allowed.iter().any(|net| net.contains(&address)) {
        return Some(Reach::Allowed);
    }
    let public = match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    };
    public.then_some(Reach::Public)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if NAT64.contains(&address) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(address: &str) -> Option<Reach> {
        judge(address.parse().unwrap(), &[])
    }

    #[test]
    fn hosts_of_the_internet_are_public_up_to_the_edges_of_what_is_not() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2606:4700::1111",
            "2a01:4f8::1",
            "2003::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert_eq!(judged(public), Some(Reach::Public), "{public}");
        }
    }

    #[test]
    fn scenario_43_private_and_special_addresses_are_refused_at_both_edges() {
        for refused in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.192",
            "192.0.2.255",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "100::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "2001:1ff::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "4000::1",
        ] {
            assert_eq!(judged(refused), None, "{refused}");
        }
    }

    #[test]
    fn scenario_43_ipv4_within_ipv6_is_judged_as_ipv4_or_refused() {
        for refused in [
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:0:1::8.8.8.8",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001::1",
        ] {
            assert_eq!(judged(refused), None, "{refused}");
        }
        for public in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
            assert_eq!(judged(public), Some(Reach::Public), "{public}");
        }
    }

    #[test]
    fn what_the_operator_allows_is_reached_in_every_spelling_and_nothing_beside_it() {
        let allowed = ["127.0.0.1/32".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (address, reach) in [
            ("127.0.0.1", Some(Reach::Allowed)),
            ("::ffff:127.0.0.1", Some(Reach::Allowed)),
            ("fd00::1", Some(Reach::Allowed)),
            ("127.0.0.2", None),
            ("::1", None),
            ("fc00::1", None),
            ("64:ff9b::7f00:1", None),
            ("8.8.8.8", Some(Reach::Public)),
        ] {
            assert_eq!(judge(address.parse().unwrap(), &allowed), reach, "{address}");
        }
    }

    #[test]
    fn one_refused_address_refuses_the_host_and_no_address_is_none() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let allowed = ["10.0.0.1/32".parse().unwrap()];
        let judge = |found: &[SocketAddr]| Checked::judge(found.to_vec(), &allowed);
        assert_eq!(judge(&[at("8.8.8.8:1"), at("10.0.0.2:1")]), Err(Error::Address));
        assert_eq!(judge(&[]), Err(Error::Unresolved));
        assert_eq!(judge(&[at("10.0.0.1:1"), at("8.8.8.8:1")]).unwrap().reach(), Reach::Public);
        assert_eq!(judge(&[at("10.0.0.1:1")]).unwrap().reach(), Reach::Allowed);
        assert_eq!(judge(&[at("8.8.8.8:1"); 9]).unwrap().addresses().len(), MOST_ADDRESSES);
        // Beyond what is tried, too.
        let mut many = vec![at("8.8.8.8:1"); 9];
        many.push(at("127.0.0.1:1"));
        assert_eq!(judge(&many), Err(Error::Address));
    }

    proptest! {
        /// The standard library's own words for them, which know less.
        #[test]
        fn nothing_that_the_standard_library_calls_special_is_public(bits: u32, low: u64, top in 0_u16..=u16::MAX) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!(special && is_public_v4(v4)));
            let v6 = Ipv6Addr::from_bits(u128::from(top) << 112 | u128::from(low));
            let special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
                || v6.is_unicast_link_local();
            prop_assert!(!(special && is_public_v6(v6)));
        }

        #[test]
        fn every_way_to_write_an_ipv4_address_as_ipv6_is_at_most_as_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let low = u128::from(bits);
            let mapped = IpAddr::V6(v4.to_ipv6_mapped());
            let nat64 = IpAddr::V6(Ipv6Addr::from_bits(0x64_ff9b << 96 | low));
            let expected = is_public_v4(v4).then_some(Reach::Public);
            prop_assert_eq!(judge(mapped, &[]), expected);
            prop_assert_eq!(judge(nat64, &[]), expected);
            for refused in [low, 0x2002 << 112 | low << 80, 0x2001 << 112 | low, 0x64_ff9b_0001 << 80 | low] {
                prop_assert_eq!(judge(Ipv6Addr::from_bits(refused).into(), &[]), None);
            }
        }
    }
}
