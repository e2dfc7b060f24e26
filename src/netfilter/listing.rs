//! What the table holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::dump::{Listed, Sets};
use super::error::Error;

/// The table as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is left of each lease.
    pub leases: BTreeMap<IpAddr, Duration>,
    /// By public port; one for each family of addresses.
    pub forwards: Vec<Forward>,
    /// Since the table was replaced, or the customer added.
    pub traffic: BTreeMap<IpAddr, Traffic>,
    /// How many counters that is: one each way for each address.
    pub counters: usize,
    /// From the customer.
    pub throttled: BTreeSet<IpAddr>,
    /// To the customer.
    pub throttled_down: BTreeSet<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    pub public_port: u16,
    pub address: IpAddr,
    pub target_port: u16,
}

/// Bytes of IP packets inside the tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the customer.
    pub up: u64,
    /// To the customer.
    pub down: u64,
}

const COUNTED: [&str; 4] = ["up4", "up6", "down4", "down6"];
const OTHERS: [&str; 8] = ["live4", "live6", "fwd4", "fwd6", "slow_up4", "slow_up6", "slow_down4", "slow_down6"];

impl Listing {
    pub async fn read() -> Result<Option<Self>, Error> {
        Self::of(&[&COUNTED[..], &OTHERS].concat()).await
    }

    /// Its counters alone: of ten thousand customers the rest is as much again.
    pub async fn read_counters() -> Result<Option<Self>, Error> {
        Self::of(&COUNTED).await
    }

    async fn of(names: &[&str]) -> Result<Option<Self>, Error> {
        let (mut sets, mut listing) = (Sets::open()?, Self::default());
        for name in names {
            let Some(elements) = sets.read(name).await? else { return Ok(None) };
            listing.take(name, &elements);
        }
        listing.forwards.sort_unstable();
        Ok(Some(listing))
    }

    fn take(&mut self, set: &str, elements: &[Listed]) {
        match set.trim_end_matches(['4', '6']) {
            "live" => self.leases.extend(elements.iter().filter_map(lease)),
            "fwd" => self.forwards.extend(elements.iter().filter_map(forward)),
            "slow_up" => self.throttled.extend(elements.iter().filter_map(|element| address(&element.key))),
            "slow_down" => self.throttled_down.extend(elements.iter().filter_map(|element| address(&element.key))),
            "up" => self.count(elements, |traffic| &mut traffic.up),
            "down" => self.count(elements, |traffic| &mut traffic.down),
            _ => {}
        }
    }

    fn count(&mut self, elements: &[Listed], direction: impl Fn(&mut Traffic) -> &mut u64) {
        for element in elements {
            if let Some((address, bytes)) = address(&element.key).zip(element.bytes) {
                *direction(self.traffic.entry(address).or_default()) = bytes;
                self.counters += 1;
            }
        }
    }
}

/// One without an end is none of ours, and no lease.
fn lease(element: &Listed) -> Option<(IpAddr, Duration)> {
    Some((address(&element.key)?, element.expires_in?))
}

/// From protocol and public port to address and target port, each from a multiple of four bytes on.
fn forward(element: &Listed) -> Option<Forward> {
    let (_protocol, public_port) = element.key.split_first_chunk::<4>()?;
    let (to, target_port) = element.data.split_last_chunk::<4>()?;
    Some(Forward { public_port: port(public_port)?, address: address(to)?, target_port: port(target_port)? })
}

fn port(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_be_bytes)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: &[u8]) -> Listed {
        Listed { key: key.to_vec(), ..Listed::default() }
    }

    fn listing(set: &str, elements: &[Listed]) -> Listing {
        let mut listing = Listing::default();
        listing.take(set, elements);
        listing
    }

    const ONE: [u8; 4] = [10, 9, 0, 2];

    #[test]
    fn a_lease_without_an_end_is_none() {
        let leased = Listed { expires_in: Some(Duration::from_secs(3)), ..element(&ONE) };
        let found = listing("live4", &[leased, element(&[10, 9, 0, 3])]).leases;
        assert_eq!(found, BTreeMap::from([(IpAddr::from(ONE), Duration::from_secs(3))]));
    }

    #[test]
    fn a_forward_is_read_from_ports_that_begin_at_multiples_of_four() {
        let key = [6, 0, 0, 0, 0x88, 0xba, 0, 0];
        let to = |address: &[u8]| [address, &[0x26, 0x07, 0, 0][..]].concat();
        let address6 = [0xfd, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        for (set, address) in [("fwd4", IpAddr::from(ONE)), ("fwd6", IpAddr::from(address6))] {
            let octets: &[u8] = if set == "fwd4" { &ONE } else { &address6 };
            let found = listing(set, &[Listed { data: to(octets), ..element(&key) }]).forwards;
            assert_eq!(found, [Forward { public_port: 35_002, address, target_port: 9_735 }]);
        }
        for (key, data) in [(&key[..3], to(&ONE)), (&key[..], to(&ONE[..3])), (&key[..], vec![])] {
            assert_eq!(listing("fwd4", &[Listed { data, ..element(key) }]).forwards, []);
        }
    }

    #[test]
    fn counters_of_both_ways_belong_to_one_customer() {
        let counted = |bytes| Listed { bytes: Some(bytes), ..element(&ONE) };
        let mut found = listing("up4", &[counted(5), element(&[10, 9, 0, 3])]);
        found.take("down4", &[counted(7)]);
        assert_eq!(found.traffic, BTreeMap::from([(IpAddr::from(ONE), Traffic { up: 5, down: 7 })]));
        assert_eq!(found.counters, 2);
    }

    #[test]
    fn the_two_throttles_are_told_apart() {
        let up = listing("slow_up4", &[element(&ONE)]);
        let down = listing("slow_down4", &[element(&ONE)]);
        assert!(up.throttled.contains(&IpAddr::from(ONE)) && up.throttled_down.is_empty());
        assert!(down.throttled_down.contains(&IpAddr::from(ONE)) && down.throttled.is_empty());
    }
}
