//! What is between two states of a server, and between a state and what is found: pure, so nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use crate::domain::desired::{DesiredPeer, Peers};
use crate::domain::keys::PublicKey;
use crate::domain::peer_diff::{PeerChange, PeerConfig, PeerStatus};
use crate::domain::time::Timestamp;
use crate::netfilter::{self, Customer, CustomerChange, Forward, Listing};

pub fn configs(peers: &Peers) -> Vec<PeerConfig> {
    peers.values().map(config_of).collect()
}

fn config_of(peer: &DesiredPeer) -> PeerConfig {
    PeerConfig {
        public_key: peer.public_key,
        preshared_key: Some(peer.preshared_key.clone()),
        allowed_ips: addresses_of(peer).map(IpNet::from).collect(),
    }
}

pub fn addresses_of(peer: &DesiredPeer) -> impl Iterator<Item = IpAddr> {
    std::iter::once(IpAddr::V4(peer.address)).chain(peer.address6.map(IpAddr::V6))
}

pub fn customer(peer: &DesiredPeer, now: Timestamp) -> Customer {
    let left = peer.traffic_until.and_then(|until| u64::try_from(until.since(now)).ok()).filter(|left| *left > 0);
    Customer {
        address: peer.address,
        address6: peer.address6,
        public_port: peer.public_port,
        target_port: peer.target_port,
        lease: left.map(Duration::from_millis),
        throttled: peer.throttled,
    }
}

/// Those who leave come first: what they had may go to somebody else in the same stroke.
pub fn customer_changes(before: &Peers, after: &Peers, now: Timestamp) -> Vec<CustomerChange> {
    let left = before.values().filter(|peer| !after.contains_key(&peer.id));
    let removals = left.map(|peer| CustomerChange::Remove(customer(peer, now)));
    let others = after.values().filter_map(|peer| match before.get(&peer.id) {
        None => Some(CustomerChange::Add(customer(peer, now))),
        Some(known) if known == peer => None,
        Some(known) => Some(CustomerChange::Update { from: customer(known, now), to: customer(peer, now) }),
    });
    removals.chain(others).collect()
}

pub fn peer_changes(before: &Peers, after: &Peers) -> Vec<PeerChange> {
    let keys: BTreeSet<PublicKey> = after.values().map(|peer| peer.public_key).collect();
    let gone = before.values().map(|peer| peer.public_key).filter(|key| !keys.contains(key));
    let same = |peer: &DesiredPeer| before.get(&peer.id).is_some_and(|known| config_of(known) == config_of(peer));
    let set = after.values().filter(|peer| !same(peer)).map(|peer| PeerChange::Set(config_of(peer)));
    gone.map(PeerChange::Remove).chain(set).collect()
}

/// Those whose addresses no other peer has.
pub fn without_heirs(before: &Peers, after: &Peers) -> Peers {
    let holders: BTreeMap<IpAddr, Uuid> =
        before.values().flat_map(|peer| addresses_of(peer).map(|address| (address, peer.id))).collect();
    let is_heir = |peer: &DesiredPeer| addresses_of(peer).any(|a| holders.get(&a).is_some_and(|id| *id != peer.id));
    after.iter().filter(|(_, peer)| !is_heir(peer)).map(|(id, peer)| (*id, peer.clone())).collect()
}

/// The same where only the interface tells who has what. Whoever is there already, and was robbed by a stranger, keeps
/// the session.
pub fn without_takers(found: &[PeerStatus], after: &Peers) -> Peers {
    let wanted: BTreeSet<&PublicKey> = after.values().map(|peer| &peer.public_key).collect();
    let present: BTreeSet<&PublicKey> = found.iter().map(|peer| &peer.public_key).collect();
    let holders: BTreeMap<IpAddr, &PublicKey> =
        found.iter().flat_map(|peer| peer.allowed_ips.iter().map(|net| (net.addr(), &peer.public_key))).collect();
    let takes = |peer: &DesiredPeer, holder: &PublicKey| {
        *holder != peer.public_key && (wanted.contains(holder) || !present.contains(&peer.public_key))
    };
    let is_taker = |peer: &DesiredPeer| {
        addresses_of(peer).any(|address| holders.get(&address).is_some_and(|key| takes(peer, key)))
    };
    after.iter().filter(|(_, peer)| !is_taker(peer)).map(|(id, peer)| (*id, peer.clone())).collect()
}

/// Addresses that nobody has any more, or that somebody else has now.
pub fn left_addresses(before: &Peers, after: &Peers) -> Vec<IpAddr> {
    let stays = |peer: &&DesiredPeer| {
        after.get(&peer.id).is_some_and(|now| now.address == peer.address && now.address6 == peer.address6)
    };
    before.values().filter(|peer| !stays(peer)).flat_map(addresses_of).collect()
}

/// What the interface's peers have and are to have no longer: an agent that died may have got no further.
pub fn addresses_given_up(configs: &[PeerConfig], found: &[PeerStatus]) -> Vec<IpAddr> {
    let kept: BTreeMap<&PublicKey, &Vec<IpNet>> =
        configs.iter().map(|config| (&config.public_key, &config.allowed_ips)).collect();
    let is_kept = |key: &PublicKey, net: &IpNet| kept.get(key).is_some_and(|nets| nets.contains(net));
    let all = found.iter().flat_map(|peer| peer.allowed_ips.iter().map(|net| (&peer.public_key, net)));
    all.filter(|(key, net)| !is_kept(key, net)).map(|(_, net)| net.addr()).collect()
}

pub fn inner_bytes(listing: &Listing, peer: &DesiredPeer) -> u64 {
    let traffic = addresses_of(peer).filter_map(|address| listing.traffic.get(&address));
    traffic.map(|traffic| traffic.up + traffic.down).sum()
}

/// Whether the firewall has what these peers need beside their leases, and nothing for anybody else.
pub fn stands(listing: &Listing, peers: &Peers) -> bool {
    let addresses: usize = peers.values().map(|peer| addresses_of(peer).count()).sum();
    let has_all = |peer: &DesiredPeer| {
        addresses_of(peer).all(|address| {
            listing.forwards.binary_search(&forward(peer, address)).is_ok()
                && listing.throttled.contains(&address) == peer.throttled
                && listing.throttled_down.contains(&address) == peer.throttled
        })
    };
    let has_no_more = listing.forwards.len() == addresses && listing.leases.len() <= addresses;
    has_no_more && listing.counters == 2 * addresses && peers.values().all(has_all)
}

/// Whether each of them has its lease, and no longer one.
pub fn are_leased(listing: &Listing, peers: &Peers, now: Timestamp) -> bool {
    let found = |address| listing.leases.get(&address).copied();
    let is_right = |peer: &DesiredPeer| {
        let due = customer(peer, now).lease;
        addresses_of(peer).all(|address| is_leased(found(address), due))
    };
    peers.values().all(is_right)
}

/// Whether nobody of the first loses anything: a place, a key, a target, time or speed.
pub fn only_gives(before: &Peers, after: &Peers) -> bool {
    before.values().all(|known| {
        after.get(&known.id).is_some_and(|next| {
            let has_as_much_time = known.traffic_until <= next.traffic_until;
            let has_as_much_speed = known.throttled || !next.throttled;
            let (traffic_until, throttled) = (known.traffic_until, known.throttled);
            has_as_much_time && has_as_much_speed && *known == DesiredPeer { traffic_until, throttled, ..next.clone() }
        })
    })
}

/// A lease that ends at this moment may be gone already, or not yet.
const LEASE_SLACK: Duration = Duration::from_secs(5);
/// The kernel's clock runs beside the control plane's for months.
const LEASE_DRIFT: Duration = Duration::from_mins(1);

fn is_leased(found: Option<Duration>, due: Option<Duration>) -> bool {
    match (found, due) {
        (None, due) => due.is_none_or(|due| due <= LEASE_SLACK),
        (Some(left), None) => left <= LEASE_SLACK,
        (Some(left), Some(due)) => left.abs_diff(due.min(netfilter::LONGEST_LEASE)) <= LEASE_DRIFT,
    }
}

fn forward(peer: &DesiredPeer, address: IpAddr) -> Forward {
    Forward { public_port: peer.public_port, address, target_port: peer.target_port }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::{PresharedKey, PrivateKey};

    fn peer(n: u8) -> DesiredPeer {
        DesiredPeer {
            id: Uuid::from_u128(n.into()),
            public_key: PrivateKey::from_random([n; 32]).public_key(),
            preshared_key: PresharedKey::from_bytes([n; 32]),
            address: [10, 9, 0, n].into(),
            address6: None,
            public_port: 35_000 + u16::from(n),
            target_port: 9_735,
            traffic_until: Some(Timestamp::from_millis(1_000)),
            throttled: false,
        }
    }

    #[test]
    fn who_loses_a_place_a_key_time_or_speed_is_not_only_given() {
        let of = |peers: &[DesiredPeer]| -> Peers { peers.iter().map(|peer| (peer.id, peer.clone())).collect() };
        let gives = |before: DesiredPeer, after: &[DesiredPeer]| only_gives(&of(&[before]), &of(after));
        let until = |traffic_until: Option<i64>| DesiredPeer {
            traffic_until: traffic_until.map(Timestamp::from_millis),
            ..peer(2)
        };
        let slow = DesiredPeer { throttled: true, ..peer(2) };
        for given in [vec![peer(2)], vec![peer(2), peer(3)], vec![until(Some(1_001))]] {
            assert!(gives(peer(2), &given), "{given:?}");
        }
        assert!(gives(until(None), &[peer(2)]) && gives(slow.clone(), &[peer(2)]));
        let moved = DesiredPeer { address: [10, 9, 0, 9].into(), ..peer(2) };
        let closed = DesiredPeer { target_port: 1, ..peer(2) };
        let rekeyed = DesiredPeer { preshared_key: PresharedKey::from_bytes([9; 32]), ..peer(2) };
        for taken in [slow, until(None), until(Some(999)), moved, closed, rekeyed] {
            assert!(!gives(peer(2), &[taken.clone(), peer(3)]), "{taken:?}");
        }
        assert!(!gives(peer(2), &[peer(3)]));
    }
}
