//! Where a Lightning node can be reached: `host:port`, and with its public key in front `pubkey@host:port`.

use std::fmt;

use bitcoin::secp256k1;

use super::Invalid;
use super::host::Host;
use super::lightning::NodeId;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    pub host: Host,
    pub port: u16,
}

/// A node together with one of its addresses, as wallets and `lncli getinfo` write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSocket {
    /// A point of the curve, so that it can be talked to.
    pub id: NodeId,
    pub address: NodeAddress,
}

impl NodeAddress {
    /// Parses `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| Invalid::new("not an address: expected host:port"))?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(Invalid::new("not an address: an IPv6 address stands in brackets, as in [2001:db8::7]:9735"));
        }
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0);
        let port = port.ok_or_else(|| Invalid::new("not a port: expected a number from 1 to 65535"))?;
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl NodeSocket {
    /// Parses `pubkey@host:port`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let parts = text.split_once('@');
        let (id, address) = parts.ok_or_else(|| Invalid::new("not a node: expected pubkey@host:port"))?;
        let id = NodeId::parse(id)?;
        secp256k1::PublicKey::from_slice(id.as_bytes())
            .map_err(|_| Invalid::new("not a node id: no public key of secp256k1 is written like this"))?;
        Ok(Self { id, address: NodeAddress::parse(address)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The generator of the curve.
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, shown) in [
            ("203.0.113.7:9735", "203.0.113.7:9735"),
            ("[2001:db8::7]:1", "[2001:db8::7]:1"),
            ("[::ffff:203.0.113.7]:9735", "203.0.113.7:9735"),
            ("De1.Example.net:65535", "de1.example.net:65535"),
        ] {
            assert_eq!(NodeAddress::parse(text).unwrap().to_string(), shown);
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:+1", "a:1 ", "::1:9735", "2001:db8::7", "[::1]", "a:b:1"]
        {
            assert!(NodeAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_socket_has_a_public_key_in_front() {
        let socket = NodeSocket::parse(&format!("{KEY}@de1.example.net:35001")).unwrap();
        assert_eq!(
            (socket.id.to_string().as_str(), socket.address.to_string().as_str()),
            (KEY, "de1.example.net:35001")
        );
        let not_on_the_curve = format!("02{}", "ff".repeat(32));
        let uncompressed = format!("04{}", &KEY[2..]);
        for bad in ["", "@", KEY, &KEY[1..], not_on_the_curve.as_str(), uncompressed.as_str()] {
            assert!(NodeSocket::parse(&format!("{bad}@127.0.0.1:9735")).is_err() || bad == KEY, "{bad}");
            assert!(NodeSocket::parse(bad).is_err(), "{bad}");
        }
        assert!(NodeSocket::parse(&format!("{KEY}@{KEY}@a:1")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_as_it_is_parsed_again(text in r"[0-9a-fA-F.:\[\]@ a-z-]{0,80}") {
            if let Ok(address) = NodeAddress::parse(&text) {
                prop_assert_eq!(NodeAddress::parse(&address.to_string()), Ok(address));
            }
            let _ = NodeSocket::parse(&format!("{KEY}@{text}"));
        }
    }
}
