//! `diff` against a small model of what the kernel does with a change.

use proptest::prelude::*;

use super::*;
use crate::domain::keys::PrivateKey;

const OWN: u8 = 200;

fn key(n: u8) -> PublicKey {
    PublicKey::as_listed([n; 32])
}

fn net(n: u8) -> IpNet {
    format!("10.9.0.{n}/32").parse().unwrap()
}

fn preshared(n: u8) -> Option<PresharedKey> {
    PresharedKey::as_listed([n; 32])
}

fn config(n: u8, psk: u8, nets: &[u8]) -> PeerConfig {
    PeerConfig {
        public_key: key(n),
        preshared_key: preshared(psk),
        allowed_ips: nets.iter().map(|n| net(*n)).collect(),
    }
}

/// The kernel's peers: a session is a number that changes when it is lost.
#[derive(Debug, Clone, Default)]
struct Kernel {
    peers: BTreeMap<PublicKey, Held>,
    sessions: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    session: u64,
    received: u64,
    preshared_key: Option<PresharedKey>,
    allowed_ips: BTreeSet<IpNet>,
}

impl Kernel {
    /// `None` for the preshared key is sent as zeros; a backend that left it out would keep the old one.
    fn apply(&mut self, change: &PeerChange) {
        match change {
            PeerChange::Remove(key) => drop(self.peers.remove(key)),
            PeerChange::Set(peer) if peer.public_key == key(OWN) => {}
            PeerChange::Set(peer) => {
                let taken: BTreeSet<IpNet> = peer.allowed_ips.iter().copied().collect();
                for held in self.peers.values_mut() {
                    held.allowed_ips.retain(|net| !taken.contains(net));
                }
                self.sessions += 1;
                let fresh = Held { session: self.sessions, ..Held::default() };
                let held = self.peers.entry(peer.public_key).or_insert(fresh);
                held.preshared_key.clone_from(&peer.preshared_key);
                held.allowed_ips = taken;
            }
        }
    }

    fn with(peers: &[PeerConfig]) -> Self {
        let mut kernel = Self::default();
        for peer in peers {
            kernel.apply(&PeerChange::Set(peer.clone()));
        }
        for (held, received) in kernel.peers.values_mut().zip(1_000..) {
            held.received = received;
        }
        kernel
    }

    fn dump(&self) -> Vec<PeerStatus> {
        let status = |(key, held): (&PublicKey, &Held)| PeerStatus {
            public_key: *key,
            preshared_key: held.preshared_key.clone(),
            allowed_ips: held.allowed_ips.iter().copied().collect(),
            last_handshake: None,
        };
        self.peers.iter().map(status).collect()
    }

    fn shape(&self) -> BTreeMap<PublicKey, (Option<PresharedKey>, BTreeSet<IpNet>)> {
        let shape = |held: &Held| (held.preshared_key.clone(), held.allowed_ips.clone());
        self.peers.iter().map(|(key, held)| (*key, shape(held))).collect()
    }
}

/// Peers without overlaps: each of twelve prefixes belongs to one of six keys or to nobody.
fn state() -> impl Strategy<Value = Vec<PeerConfig>> {
    let owners = proptest::collection::vec(proptest::option::of(0_u8..6), 12);
    (owners, proptest::collection::vec(proptest::option::of(0_u8..3), 6)).prop_map(|(owners, keys)| {
        let nets = |n: u8| (0_u8..12).filter(|net| owners[usize::from(*net)] == Some(n)).collect::<Vec<_>>();
        let peer = |(n, psk): (u8, &Option<u8>)| Some(config(n + 1, (*psk)?, &nets(n)));
        (0_u8..).zip(&keys).filter_map(peer).collect()
    })
}

proptest! {
    #[test]
    fn applied_changes_give_what_was_desired_and_the_next_diff_is_empty(a in state(), b in state()) {
        let mut kernel = Kernel::with(&a);
        for change in diff(&b, &kernel.dump(), &key(OWN)).unwrap() {
            kernel.apply(&change);
        }
        prop_assert_eq!(kernel.shape(), Kernel::with(&b).shape());
        prop_assert_eq!(diff(&b, &kernel.dump(), &key(OWN)).unwrap(), vec![]);
    }

    #[test]
    fn who_stays_keeps_session_counters_and_prefixes_at_every_step(a in state(), b in state()) {
        let before = Kernel::with(&a);
        let mut kernel = before.clone();
        let desired: BTreeMap<PublicKey, BTreeSet<IpNet>> =
            b.iter().map(|peer| (peer.public_key, prefixes(&peer.allowed_ips))).collect();
        for change in diff(&b, &kernel.dump(), &key(OWN)).unwrap() {
            kernel.apply(&change);
            for (key, old) in &before.peers {
                let Some(desired) = desired.get(key) else { continue };
                let held = &kernel.peers[key];
                prop_assert_eq!((held.session, held.received), (old.session, old.received));
                for kept in old.allowed_ips.intersection(desired) {
                    prop_assert!(held.allowed_ips.contains(kept), "{} was taken from {}", kept, key);
                }
            }
        }
    }

    /// A prefix changes hands only after its holder gave it up, unless two exchange theirs.
    #[test]
    fn removals_come_first_and_takers_last(a in state(), b in state()) {
        let actual = Kernel::with(&a).dump();
        let changes = diff(&b, &actual, &key(OWN)).unwrap();
        let rank = |change: &PeerChange| match change {
            PeerChange::Remove(_) => None,
            PeerChange::Set(peer) => order_of(peer, actual.iter().find(|old| old.public_key == peer.public_key)),
        };
        prop_assert!(changes.is_sorted_by_key(rank));
    }
}

#[test]
fn a_changed_preshared_key_is_an_update_and_so_is_a_cleared_one() {
    let actual = Kernel::with(&[config(1, 7, &[1]), config(2, 7, &[2]), config(3, 7, &[3])]).dump();
    let desired = [config(1, 8, &[1]), config(2, 0, &[2]), config(3, 7, &[3])];
    let changes = diff(&desired, &actual, &key(OWN)).unwrap();
    assert_eq!(changes, [PeerChange::Set(config(1, 8, &[1])), PeerChange::Set(config(2, 0, &[2]))]);
}

#[test]
fn host_bits_and_order_of_prefixes_are_no_difference() {
    let actual = Kernel::with(&[config(1, 7, &[1, 2])]).dump();
    let mut desired = config(1, 7, &[2, 1, 1]);
    desired.allowed_ips.retain(|net| *net != self::net(1));
    desired.allowed_ips.push("10.9.0.1/32".parse().unwrap());
    assert_eq!(diff(&[desired], &actual, &key(OWN)), Ok(vec![]));
    let wide = PeerConfig { allowed_ips: vec!["10.9.7.7/24".parse().unwrap()], ..config(2, 0, &[]) };
    let held = PeerStatus {
        allowed_ips: vec!["10.9.7.0/24".parse().unwrap()],
        ..Kernel::with(std::slice::from_ref(&wide)).dump()[0].clone()
    };
    assert_eq!(diff(&[wide], &[held], &key(OWN)), Ok(vec![]));
}

#[test]
fn what_wireguard_could_not_hold_is_refused() {
    let own = PrivateKey::from_random([5; 32]).public_key();
    let with = |nets: &[&str]| PeerConfig {
        allowed_ips: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..config(9, 0, &[])
    };
    for (what, desired) in [
        ("one prefix on two peers", vec![config(1, 0, &[1]), config(2, 0, &[1])]),
        ("one key twice", vec![config(1, 0, &[1]), config(1, 0, &[2])]),
        ("the server's own key", vec![PeerConfig { public_key: own, ..config(1, 0, &[1]) }]),
        ("overlapping ones", vec![config(1, 0, &[77]), with(&["10.9.0.64/26"])]),
        ("overlapping ones with others between", vec![with(&["10.9.0.0/16"]), config(1, 0, &[1]), config(2, 0, &[2])]),
        ("the same IPv6 prefix with other host bits", vec![with(&["fd00::1/64", "fd00::2/64", "fd00::/48"])]),
        ("more than a message holds", vec![PeerConfig { allowed_ips: vec![net(1); 257], ..config(1, 0, &[]) }]),
    ] {
        assert!(diff(&desired, &[], &own).is_err(), "{what}");
    }
    let neighbours = [with(&["10.9.0.0/31", "fd00::/64"]), config(1, 0, &[2]), config(2, 0, &[])];
    assert_eq!(diff(&neighbours, &[], &own).unwrap().len(), 3);
}
