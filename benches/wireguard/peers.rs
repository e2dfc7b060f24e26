//! Peers of an interface: applied, read, and compared, beside `wg syncconf`, `wg show dump` and `wg set`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use wiretoll::domain::interface_name::InterfaceName;
use wiretoll::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use wiretoll::domain::peer_diff::{PeerChange, PeerConfig, diff};
use wiretoll::wireguard::interface::Interface;

use super::device::Device;
use super::figures::{Figures, Target, median, timed};

/// Most of what applying costs is the device's, and differs from one to the next by a tenth.
const ROUNDS: usize = 11;
/// Ours, and the one that is kept by hand.
const OURS: &str = "wgours";
const BY_HAND: &str = "wghand";
const CONF: &str = "/run/peers.conf";
const KEY: &str = "/run/peers.key";

pub async fn measure(figures: &mut Figures) {
    std::fs::write(KEY, own_key().expose()).expect("a file");
    for count in [1, 1_000, 10_000] {
        let peers: Vec<PeerConfig> = (0..count).map(peer).collect();
        std::fs::write(CONF, conf(&peers)).expect("a file");
        apply_and_read(figures, &peers).await;
    }
    one_more(figures).await;
}

async fn apply_and_read(figures: &mut Figures, peers: &[PeerConfig]) {
    let own = own_key().public_key();
    let (mut applied, mut applied_by_hand, mut read, mut read_by_hand) = (vec![], vec![], vec![], vec![]);
    let (mut nothing, mut nothing_by_hand) = (vec![], vec![]);
    let changes = diff(peers, &[], &own).expect("peers that can be");
    for round in 0..ROUNDS {
        let (mut ours, _devices) = devices();
        let apply = async { ours.apply(&changes).await.expect("applied") };
        let (time, by_hand) = in_turn(round, apply, async { wg(&["syncconf", BY_HAND, CONF]) }).await;
        applied.push(time);
        applied_by_hand.push(by_hand);
        let dump = async { assert_eq!(ours.dump().await.expect("read").len(), peers.len()) };
        let (time, by_hand) = in_turn(round, dump, async { wg(&["show", BY_HAND, "dump"]) }).await;
        read.push(time);
        read_by_hand.push(by_hand);
        let look = async {
            let found = ours.dump().await.expect("read");
            assert!(diff(peers, &found, &own).expect("peers that can be").is_empty());
        };
        let (time, by_hand) = in_turn(round, look, async { wg(&["syncconf", BY_HAND, CONF]) }).await;
        nothing.push(time);
        nothing_by_hand.push(by_hand);
    }
    let count = peers.len();
    let faster = Target::AtMost(1.0);
    let name = format!("{count} peers applied, beside `wg syncconf`");
    figures.times(name, median(applied), median(applied_by_hand), &faster);
    figures.times(format!("{count} peers read, beside `wg show dump`"), median(read), median(read_by_hand), &faster);
    let name = format!("{count} peers looked at with nothing to change, beside `wg syncconf`");
    figures.times(name, median(nothing), median(nothing_by_hand), &Target::None);
}

/// Ours and the one that is kept by hand, new: a daemon that has just lost its peers clears up for a while.
fn devices() -> (Interface, [Device; 2]) {
    let devices = [OURS, BY_HAND].map(Device::make);
    for interface in [OURS, BY_HAND] {
        wg(&["set", interface, "private-key", KEY]);
    }
    (Interface::new(InterfaceName::parse(OURS).expect("a name")), devices)
}

/// Whoever goes first in one round is second in the next.
async fn in_turn(
    round: usize,
    ours: impl Future<Output = ()>,
    by_hand: impl Future<Output = ()>,
) -> (Duration, Duration) {
    let (ours, by_hand) = (timed(ours), timed(by_hand));
    if round.is_multiple_of(2) {
        let ours = ours.await.0;
        (ours, by_hand.await.0)
    } else {
        let by_hand = by_hand.await.0;
        (ours.await.0, by_hand)
    }
}

async fn one_more(figures: &mut Figures) {
    let (mut ours, _devices) = devices();
    for interface in [OURS, BY_HAND] {
        wg(&["syncconf", interface, CONF]);
    }
    let (mut added, mut added_by_hand) = (vec![], vec![]);
    for n in 0..ROUNDS {
        let one = peer(20_000 + n);
        let change = [PeerChange::Set(one.clone())];
        added.push(timed(async { ours.apply(&change).await.expect("applied") }).await.0);
        added_by_hand.push(timed(async { set_by_hand(&one) }).await.0);
    }
    figures.times("one more onto 10,000, beside `wg set`", median(added), median(added_by_hand), &Target::AtMost(1.0));
}

/// As an operator adds one.
fn set_by_hand(peer: &PeerConfig) {
    std::fs::write("/run/psk", preshared(peer)).expect("a file");
    wg(&["set", BY_HAND, "peer", &peer.public_key.to_string(), "preshared-key", "/run/psk", "allowed-ips", &ips(peer)]);
}

/// Without one an interface agrees on no secret with a peer, and that is most of what adding it costs.
fn own_key() -> PrivateKey {
    PrivateKey::from_random([99; 32])
}

pub fn wg(arguments: &[&str]) {
    let status = Command::new("wg").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "wg {arguments:?}");
}

fn peer(n: usize) -> PeerConfig {
    let n = u32::try_from(n).expect("a small number");
    PeerConfig {
        public_key: public_key(n),
        preshared_key: Some(PresharedKey::from_bytes(bytes(n, 2))),
        allowed_ips: vec![IpAddr::from(Ipv4Addr::from_bits(Ipv4Addr::new(10, 32, 0, 2).to_bits() + n)).into()],
    }
}

fn public_key(n: u32) -> PublicKey {
    PrivateKey::from_random(bytes(n, 1)).public_key()
}

pub fn bytes(n: u32, kind: u8) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[4..8].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn ips(peer: &PeerConfig) -> String {
    peer.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn preshared(peer: &PeerConfig) -> String {
    peer.preshared_key.as_ref().map(PresharedKey::expose).unwrap_or_default()
}

fn conf(peers: &[PeerConfig]) -> String {
    let mut text = format!("[Interface]\nPrivateKey = {}\n", own_key().expose());
    for peer in peers {
        let _ = write!(
            text,
            "[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = {}\n",
            peer.public_key,
            preshared(peer),
            ips(peer)
        );
    }
    text
}
