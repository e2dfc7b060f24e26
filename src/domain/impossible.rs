//! Peers that a server cannot have beside the others: they are left out, so that everybody else's changes go on.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::desired::{DesiredPeer, Peers};
use super::keys::PublicKey;

/// What is taken by the peers that stay.
#[derive(Debug, Default)]
struct Taken {
    keys: HashSet<PublicKey>,
    addresses: HashSet<Ipv4Addr>,
    addresses6: HashSet<Ipv6Addr>,
    ports: HashSet<u16>,
}

/// Leaves out the peers with the server's own key, which the kernel ignores without a word, and those that share a key,
/// an address or a port with an older one. Returns how many.
pub fn leave_out_impossible(peers: &mut Peers, own: &PublicKey) -> usize {
    let before = peers.len();
    let mut taken = Taken { keys: HashSet::from([*own]), ..Taken::default() };
    // In the order of their ids, which is that of their making.
    peers.retain(|_, peer| taken.has_room_for(peer));
    before - peers.len()
}

impl Taken {
    fn has_room_for(&mut self, peer: &DesiredPeer) -> bool {
        let is_free = !self.keys.contains(&peer.public_key)
            && !self.addresses.contains(&peer.address)
            && !self.ports.contains(&peer.public_port)
            && peer.address6.is_none_or(|address| !self.addresses6.contains(&address));
        if is_free {
            self.keys.insert(peer.public_key);
            self.addresses.insert(peer.address);
            self.addresses6.extend(peer.address6);
            self.ports.insert(peer.public_port);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::keys::{PresharedKey, PrivateKey};

    fn key(n: u8) -> PublicKey {
        PrivateKey::from_random([n; 32]).public_key()
    }

    fn peer(n: u8) -> DesiredPeer {
        DesiredPeer {
            id: Uuid::from_u128(u128::from(n)),
            public_key: key(n),
            preshared_key: PresharedKey::from_bytes([n; 32]),
            address: Ipv4Addr::new(10, 9, 0, n),
            address6: Some(Ipv6Addr::from_bits(u128::from(n))),
            public_port: 35_000 + u16::from(n),
            target_port: 9_735,
            traffic_until: None,
            throttled: false,
        }
    }

    #[test]
    fn whoever_cannot_be_beside_the_others_is_left_out_alone() {
        let wrong = [
            DesiredPeer { public_key: key(100), ..peer(10) },
            DesiredPeer { public_key: key(1), ..peer(11) },
            DesiredPeer { address: peer(1).address, ..peer(12) },
            DesiredPeer { address6: peer(1).address6, ..peer(13) },
            DesiredPeer { public_port: peer(1).public_port, ..peer(14) },
        ];
        let right =
            [peer(1), peer(2), DesiredPeer { address6: None, ..peer(20) }, DesiredPeer { address6: None, ..peer(21) }];
        let mut peers: Peers = wrong.into_iter().chain(right.clone()).map(|peer| (peer.id, peer)).collect();
        assert_eq!(leave_out_impossible(&mut peers, &key(100)), 5);
        assert_eq!(peers.into_values().collect::<Vec<_>>(), right);
    }

    #[test]
    fn what_a_left_out_peer_would_have_had_is_nobody_s() {
        let (mut left_out, heir) = (DesiredPeer { public_key: key(100), ..peer(1) }, peer(2));
        left_out.address = heir.address;
        let mut peers = Peers::from([(left_out.id, left_out), (heir.id, heir.clone())]);
        assert_eq!(leave_out_impossible(&mut peers, &key(100)), 1);
        assert_eq!(peers.into_values().collect::<Vec<_>>(), [heir]);
    }
}
