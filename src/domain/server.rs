//! A WireGuard exit: what is told about it, and how a slot's number gives address and forwarded port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::Invalid;
use super::keys::PublicKey;

/// The tunnel gateway that migrated TunnelSats configs ping, and take their tunnel down where nobody answers; never given to
/// a customer.
pub const GATEWAY_PINGED_BY_CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// A server's public name: 2 to 32 characters of `A-Z a-z 0-9 _ -` (the strictest client's rule).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(String);

/// What the configuration says about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub id: ServerId,
    pub country: String,
    pub city: String,
    pub flag: String,
    /// Host name that customers connect to and announce, such as `de2.example.net`.
    pub domain: String,
    /// UDP port of WireGuard.
    pub port: u16,
    /// Nothing is sold on a server whose key is not known yet.
    pub public_key: Option<PublicKey>,
    pub pool: Pool,
    /// Where customers may have an IPv6 address, too: the host part is that of their IPv4 address.
    pub network6: Option<Ipv6Net>,
    /// Renewals are refused with `ERR_MIGRATION_REQUIRED` and point there.
    pub migrate_to: Option<ServerId>,
}

/// The numbers that a server can give away: slot `n` has address `network + 2 + n` and port `first_port + n`.
///
/// The network's first host address is the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    network: Ipv4Net,
    first_port: u16,
    capacity: u32,
}

/// One number on a server, counted from 0; see [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl ServerId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (2..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("a server id has 2 to 32 characters of A-Z, a-z, 0-9, _ and -"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Server {
    /// `host:port`, exactly one colon, as clients require it.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.domain, self.port)
    }

    /// The slot's IPv6 address, where the server has a network of them.
    pub fn address6(&self, slot: Slot) -> Result<Option<Ipv6Addr>, Invalid> {
        let Some(network) = self.network6 else { return Ok(None) };
        self.pool.contains(slot)?;
        Ok(Some(Ipv6Addr::from_bits(network.network().to_bits() + 2 + u128::from(slot.0))))
    }
}

/// The server's own address in a network of its tunnel.
pub fn gateway(network: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(network.network().to_bits() + 1)
}

/// The same for IPv6.
pub fn gateway6(network: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from_bits(network.network().to_bits() + 1)
}

impl Pool {
    /// A pool of `capacity` slots, or of as many as addresses and ports allow.
    ///
    /// # Errors
    /// When the network is not private, too large or too small, or the ports run past 65535 or into well-known ones.
    pub fn new(network: Ipv4Net, first_port: u16, capacity: Option<u32>) -> Result<Self, Invalid> {
        let network = network.trunc();
        if !network.network().is_private() || network.prefix_len() < 12 || network.prefix_len() > 29 {
            return Err(Invalid::new("the address pool is a private network between /12 and /29, such as 10.9.0.0/21"));
        }
        if first_port < 1024 {
            return Err(Invalid::new("the first forwarded port is 1024 or more"));
        }
        let most = Self::most_slots(network, first_port);
        match capacity {
            Some(0) => Err(Invalid::new("a capacity of 0 sells nothing; leave the server out instead")),
            Some(wanted) if wanted > most => Err(Invalid::new(format!("the pool and its ports have room for {most}"))),
            wanted => Ok(Self { network, first_port, capacity: wanted.unwrap_or(most) }),
        }
    }

    /// All addresses but the network's, the server's and the broadcast, and no more than there are ports.
    fn most_slots(network: Ipv4Net, first_port: u16) -> u32 {
        let addresses = (1_u32 << (32 - network.prefix_len())) - 3;
        addresses.min(u32::from(u16::MAX - first_port) + 1)
    }

    pub const fn network(&self) -> Ipv4Net {
        self.network
    }

    pub const fn first_port(&self) -> u16 {
        self.first_port
    }

    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// All slots of this pool; one whose address clients expect elsewhere is left out.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.capacity).map(Slot).filter(|slot| self.address(*slot) != Ok(GATEWAY_PINGED_BY_CLIENTS))
    }

    pub fn address(&self, slot: Slot) -> Result<Ipv4Addr, Invalid> {
        self.contains(slot)?;
        Ok(Ipv4Addr::from_bits(self.network.network().to_bits() + 2 + slot.0))
    }

    /// The slot that has this address.
    pub fn slot_of(&self, address: Ipv4Addr) -> Option<Slot> {
        let n = address.to_bits().checked_sub(self.network.network().to_bits() + 2)?;
        Some(Slot(n)).filter(|slot| self.contains(*slot).is_ok())
    }

    /// The public TCP port that is forwarded to the slot's address.
    pub fn port(&self, slot: Slot) -> Result<u16, Invalid> {
        self.contains(slot)?;
        let port = u32::from(self.first_port) + slot.0;
        u16::try_from(port).map_err(|_| Invalid::new("a slot beyond the last port"))
    }

    /// The slot whose public port this is.
    pub fn slot_of_port(&self, port: u16) -> Option<Slot> {
        let n = port.checked_sub(self.first_port)?;
        Some(Slot(u32::from(n))).filter(|slot| slot.0 < self.capacity)
    }

    fn contains(&self, slot: Slot) -> Result<(), Invalid> {
        if slot.0 < Self::most_slots(self.network, self.first_port) {
            Ok(())
        } else {
            Err(Invalid::new(format!("slot {} is outside the pool {}", slot.0, self.network)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn pool(network: &str, first_port: u16) -> Pool {
        Pool::new(network.parse().unwrap(), first_port, None).unwrap()
    }

    #[test]
    fn the_pools_of_the_field_have_the_known_sizes() {
        assert_eq!(pool("10.9.0.0/24", 35_000).capacity(), 253);
        assert_eq!(pool("10.9.0.0/21", 35_000).capacity(), 2_045);
    }

    #[test]
    fn the_first_and_last_slots_stay_inside() {
        let pool = pool("10.9.0.0/24", 35_000);
        assert_eq!(gateway(pool.network()), Ipv4Addr::new(10, 9, 0, 1));
        assert_eq!(pool.address(Slot(0)), Ok(Ipv4Addr::new(10, 9, 0, 2)));
        assert_eq!(pool.port(Slot(0)), Ok(35_000));
        assert_eq!(pool.address(Slot(252)), Ok(Ipv4Addr::new(10, 9, 0, 254)));
        assert!(pool.address(Slot(253)).is_err());
    }

    #[test]
    fn ports_bound_a_pool_too() {
        let pool = pool("10.9.0.0/21", 65_000);
        assert_eq!(pool.capacity(), 536);
        assert_eq!(pool.port(Slot(535)), Ok(65_535));
        assert!(pool.port(Slot(536)).is_err());
    }

    #[test]
    fn an_impossible_pool_is_refused() {
        for (network, first_port, capacity) in [
            ("8.8.8.0/24", 35_000, None),
            ("10.0.0.0/8", 35_000, None),
            ("10.9.0.0/30", 35_000, None),
            ("10.9.0.0/24", 1_023, None),
            ("10.9.0.0/24", 35_000, Some(254)),
            ("10.9.0.0/24", 35_000, Some(0)),
        ] {
            assert!(Pool::new(network.parse().unwrap(), first_port, capacity).is_err(), "{network} {first_port}");
        }
    }

    #[test]
    fn a_server_id_keeps_to_the_strictest_client_s_rule() {
        assert!(ServerId::parse("eu-de").is_ok() && ServerId::parse(&"a".repeat(32)).is_ok());
        for bad in ["", "a", "eu de", "de2.example", &"a".repeat(33)] {
            assert!(ServerId::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// No two slots share an address or a port, and none is the server's own.
        #[test]
        fn scenario_31_addresses_and_ports_are_one_to_one(
            prefix in 22_u8..=29, first_port in 1_024_u16..=65_000, third in 0_u8..=255,
        ) {
            let network = Ipv4Net::new(Ipv4Addr::new(10, 9, third, 0), prefix).unwrap();
            let pool = Pool::new(network, first_port, None).unwrap();
            let addresses: HashSet<_> = pool.slots().map(|slot| pool.address(slot).unwrap()).collect();
            let ports: HashSet<_> = pool.slots().map(|slot| pool.port(slot).unwrap()).collect();
            prop_assert_eq!(addresses.len(), pool.slots().count());
            prop_assert_eq!(ports.len(), pool.slots().count());
            prop_assert!(!addresses.contains(&gateway(pool.network())));
            prop_assert!(addresses.iter().all(|address| pool.network().contains(address)));
        }
    }
}
