//! What the table holds, from `nft -j list table inet wgsub`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// The table as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is left of each lease, in whole seconds.
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

#[derive(Deserialize)]
struct Listed {
    nftables: Vec<Entry>,
}

/// Sets and maps; rules and chains have neither.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "map")]
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Set {
    name: String,
    #[serde(default)]
    elem: Vec<Value>,
}

impl Listing {
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let mut listing = Self::default();
        for set in serde_json::from_slice::<Listed>(json)?.nftables.into_iter().filter_map(|entry| entry.set) {
            listing.take(&set);
        }
        listing.forwards.sort_unstable();
        Ok(listing)
    }

    fn take(&mut self, set: &Set) {
        match set.name.trim_end_matches(['4', '6']) {
            "live" => self.leases.extend(set.elem.iter().filter_map(lease)),
            "fwd" => self.forwards.extend(set.elem.iter().filter_map(forward)),
            "slow_up" => self.throttled.extend(set.elem.iter().filter_map(address)),
            "up" => self.count(&set.elem, |traffic| &mut traffic.up),
            "down" => self.count(&set.elem, |traffic| &mut traffic.down),
            _ => {}
        }
    }

    fn count(&mut self, elements: &[Value], direction: impl Fn(&mut Traffic) -> &mut u64) {
        for element in elements {
            let bytes = element.pointer("/elem/counter/bytes").and_then(Value::as_u64);
            if let Some((address, bytes)) = address(element).zip(bytes) {
                *direction(self.traffic.entry(address).or_default()) = bytes;
                self.counters += 1;
            }
        }
    }
}

fn lease(element: &Value) -> Option<(IpAddr, Duration)> {
    let seconds = element.pointer("/elem/expires")?.as_u64()?;
    Some((address(element)?, Duration::from_secs(seconds)))
}

/// `[{"concat": ["tcp", 35825]}, {"concat": ["10.9.0.2", 9735]}]`
fn forward(element: &Value) -> Option<Forward> {
    let port = |pointer: &str| u16::try_from(element.pointer(pointer)?.as_u64()?).ok();
    Some(Forward {
        public_port: port("/0/concat/1")?,
        address: element.pointer("/1/concat/0")?.as_str()?.parse().ok()?,
        target_port: port("/1/concat/1")?,
    })
}

/// An element that has nothing but its key is listed as the key itself.
fn address(element: &Value) -> Option<IpAddr> {
    element.pointer("/elem/val").unwrap_or(element).as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_lists_is_read() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "wgsub"}},
            {"set": {"name": "live4", "elem": [{"elem": {"val": "10.9.0.2", "timeout": 9, "expires": 7}}]}},
            {"map": {"name": "fwd4", "elem": [[{"concat": ["tcp", 35825]}, {"concat": ["10.9.0.2", 9735]}]]}},
            {"set": {"name": "up6", "elem": [{"elem": {"val": "fd66::2", "counter": {"packets": 1, "bytes": 60}}}]}},
            {"set": {"name": "down6", "elem": [{"elem": {"val": "fd66::2", "counter": {"packets": 1, "bytes": 61}}}]}},
            {"set": {"name": "slow_up4", "elem": ["10.9.0.3"]}}, {"set": {"name": "live6"}},
            {"chain": {"name": "pre"}}, {"rule": {"chain": "pre", "expr": []}}]}"#;
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = Listing {
            leases: [(address("10.9.0.2"), Duration::from_secs(7))].into(),
            forwards: vec![Forward { public_port: 35_825, address: address("10.9.0.2"), target_port: 9_735 }],
            traffic: [(address("fd66::2"), Traffic { up: 60, down: 61 })].into(),
            counters: 2,
            throttled: [address("10.9.0.3")].into(),
        };
        assert_eq!(Listing::parse(json).unwrap(), expected);
    }
}
