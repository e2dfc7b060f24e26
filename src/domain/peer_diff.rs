//! What has to change on an interface so that it has exactly the desired peers, in an order that hurts nobody.
//!
//! WireGuard moves a prefix silently to whoever takes it last, and a peer that is removed and added again loses its
//! session for about ten seconds. So peers are updated in place, and those who leave or give a prefix up come before
//! those who take it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::Invalid;
use super::keys::{PresharedKey, PublicKey};
use super::time::Timestamp;

#[cfg(test)]
mod tests;

/// Bounds the one message that has to hold a whole peer.
const MOST_PREFIXES: usize = 256;

/// A peer as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    pub allowed_ips: Vec<IpNet>,
}

/// A peer as the interface has it. Where it connects from is not here: nobody needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    pub allowed_ips: Vec<IpNet>,
    pub last_handshake: Option<Timestamp>,
}

impl PeerStatus {
    /// One that has nothing yet but its key.
    pub const fn new(public_key: PublicKey) -> Self {
        Self { public_key, preshared_key: None, allowed_ips: Vec::new(), last_handshake: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerChange {
    Remove(PublicKey),
    /// Adds the peer, or gives the one that is there exactly these prefixes and this preshared key, in place.
    Set(PeerConfig),
}

/// The changes that turn `actual` into `desired`; none where they agree.
///
/// # Errors
/// When WireGuard could not hold `desired`: a key twice, the interface's own key, or prefixes that overlap.
pub fn diff(desired: &[PeerConfig], actual: &[PeerStatus], own: &PublicKey) -> Result<Vec<PeerChange>, Invalid> {
    check(desired, own)?;
    let wanted: BTreeSet<&PublicKey> = desired.iter().map(|peer| &peer.public_key).collect();
    let present: BTreeMap<&PublicKey, &PeerStatus> = actual.iter().map(|peer| (&peer.public_key, peer)).collect();
    let removals = actual.iter().map(|peer| peer.public_key).filter(|key| !wanted.contains(key));
    let mut updates: Vec<(Order, &PeerConfig)> = desired
        .iter()
        .filter_map(|peer| Some((order_of(peer, present.get(&peer.public_key).copied())?, peer)))
        .collect();
    updates.sort_by_key(|(order, _)| *order);
    let set = |(_, peer): (Order, &PeerConfig)| {
        PeerChange::Set(PeerConfig { allowed_ips: prefixes(&peer.allowed_ips).into_iter().collect(), ..peer.clone() })
    };
    Ok(removals.map(PeerChange::Remove).chain(updates.into_iter().map(set)).collect())
}

/// When an update comes: who gives up before who takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Gives,
    Exchanges,
    Takes,
}

/// None where nothing has to change.
fn order_of(desired: &PeerConfig, actual: Option<&PeerStatus>) -> Option<Order> {
    let Some(actual) = actual else { return Some(Order::Takes) };
    let (want, have) = (prefixes(&desired.allowed_ips), prefixes(&actual.allowed_ips));
    match (have.is_subset(&want), want.is_subset(&have)) {
        (true, true) if desired.preshared_key == actual.preshared_key => None,
        (_, true) => Some(Order::Gives),
        (true, false) => Some(Order::Takes),
        (false, false) => Some(Order::Exchanges),
    }
}

/// As WireGuard keeps them: without host bits, each once.
fn prefixes(nets: &[IpNet]) -> BTreeSet<IpNet> {
    nets.iter().map(IpNet::trunc).collect()
}

fn check(desired: &[PeerConfig], own: &PublicKey) -> Result<(), Invalid> {
    let mut keys = BTreeSet::new();
    for peer in desired {
        let key = &peer.public_key;
        if key == own {
            return Err(Invalid::new("a peer has the server's own public key: WireGuard would ignore it silently"));
        }
        if !keys.insert(key) {
            return Err(Invalid::new(format!("the peer {key} is there twice")));
        }
        if peer.allowed_ips.len() > MOST_PREFIXES {
            return Err(Invalid::new(format!("the peer {key} has more than {MOST_PREFIXES} prefixes")));
        }
    }
    check_prefixes(desired)
}

/// In this order whatever contains others stands right before one of them, so looking at neighbours is enough.
fn check_prefixes(desired: &[PeerConfig]) -> Result<(), Invalid> {
    let mut all: Vec<IpNet> = desired.iter().flat_map(|peer| prefixes(&peer.allowed_ips)).collect();
    all.sort_by_key(|net| (net.network(), net.prefix_len()));
    let overlap = all.iter().zip(all.iter().skip(1)).find(|(outer, inner)| outer.contains(*inner));
    overlap.map_or(Ok(()), |(outer, inner)| {
        Err(Invalid::new(format!("{inner} and {outer} overlap: WireGuard would give it to one peer only")))
    })
}
