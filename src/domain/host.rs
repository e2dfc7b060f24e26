//! Hosts as people and nodes write them: names, addresses, onion services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Invalid;

const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// An onion service of version 3 (rend-spec-v3, section 6): 35 bytes in base32. Version 2 has been dead since 2021.
const ONION_DIGITS: usize = 56;
const ONION: &str = ".onion";

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 address is never written as an IPv6 one here.
    Ip(IpAddr),
    /// Ends with `.onion`; only Tor can reach it.
    Onion(String),
    /// In lower case; to be looked up.
    Name(String),
}

impl Host {
    /// Parses a name, an IPv4 address, or an IPv6 address with or without its brackets.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
            return Ok(Self::Ip(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let name = text.to_ascii_lowercase();
        match name.strip_suffix(ONION) {
            Some(digits) if is_onion(digits) => Ok(Self::Onion(name)),
            None if is_name_or_ipv4(&name) => Ok(Self::Name(name)),
            _ => Err(Invalid::new("not a host: expected a name, an IPv4 or IPv6 address, or an onion service of v3")),
        }
    }
}

/// As a socket address has it: IPv6 in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Onion(name) | Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host name or an IPv4 address: no colon, no white space, nothing that could begin a line of a config file.
pub fn is_name_or_ipv4(host: &str) -> bool {
    let digits_and_dots = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let names = host.len() <= LONGEST_NAME && host.split('.').all(is_label);
    if digits_and_dots { host.parse::<Ipv4Addr>().is_ok() } else { names }
}

/// RFC 1123, section 2.1.
fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let hyphen_at_an_end = label.starts_with('-') || label.ends_with('-');
    (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(allowed) && !hyphen_at_an_end
}

fn is_onion(digits: &str) -> bool {
    digits.len() == ONION_DIGITS && digits.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_ipv4_address_and_nothing_else() {
        let longest_label = "a".repeat(63);
        for good in ["de1.example.net", "localhost", "203.0.113.7", "1and1.example", &longest_label] {
            assert!(is_name_or_ipv4(good), "{good}");
        }
        let too_long_label = "a".repeat(64);
        let too_long = "a.".repeat(126) + "ab";
        for bad in [
            "",
            ".",
            "a..b",
            "a.",
            "-a.example",
            "a-.example",
            "de1.example.net:51820",
            "https://a.example",
            "::1",
            "a b",
            "a_b",
            "ä.example",
            "300.1.1.1",
            "1.2.3",
            "a\nPostUp = reboot",
            "a\r",
            "a\0",
            &too_long_label,
            &too_long,
        ] {
            assert!(!is_name_or_ipv4(bad), "{bad:?}");
            assert!(Host::parse(bad).is_err() || bad == "::1", "{bad:?}");
        }
    }

    #[test]
    fn every_kind_of_host_is_told_apart_and_written_in_one_way() {
        let onion = format!("{}.onion", "a2".repeat(28));
        for (text, expected, shown) in [
            ("203.0.113.7", Host::Ip([203, 0, 113, 7].into()), "203.0.113.7"),
            ("2001:DB8::7", Host::Ip("2001:db8::7".parse().unwrap()), "[2001:db8::7]"),
            ("[::1]", Host::Ip("::1".parse().unwrap()), "[::1]"),
            ("::ffff:203.0.113.7", Host::Ip([203, 0, 113, 7].into()), "203.0.113.7"),
            ("DE1.example.net", Host::Name("de1.example.net".into()), "de1.example.net"),
            (onion.to_uppercase().as_str(), Host::Onion(onion.clone()), onion.as_str()),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!((&host, host.to_string().as_str()), (&expected, shown));
        }
    }

    #[test]
    fn an_onion_service_is_of_version_3() {
        for bad in ["a2".repeat(8), "a1".repeat(28), format!("www.{}", "a2".repeat(28)), String::new()] {
            assert!(Host::parse(&format!("{bad}.onion")).is_err(), "{bad}");
        }
    }
}
