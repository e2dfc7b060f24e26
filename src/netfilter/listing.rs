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
    pub throttled: BTreeSet<IpAddr>,
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
const OTHERS: [&str; 6] = ["live4", "live6", "fwd4", "fwd6", "slow_up4", "slow_up6"];

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
