//! WireGuard's netlink messages: peers in, peers out. They hold keys, so they are wiped, and shown to nobody.

use std::fmt;

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardMessage,
    WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use zeroize::Zeroize;

use super::device::{Device, handshake_at};
use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::peer_diff::{PeerChange, PeerConfig, PeerStatus};

/// Peers in one message.
const MOST_PEERS: usize = 500;
/// The list of peers is one attribute, whose length has 16 bits.
const LARGEST_LIST: usize = 32 * 1_024;
const NO_PRESHARED_KEY: [u8; 32] = [0; 32];

pub struct Message(pub WireguardMessage);

/// The changes as lists of peers that fit into a message each.
pub fn lists_of_peers(changes: &[PeerChange]) -> Vec<Vec<WireguardPeer>> {
    let mut lists: Vec<Vec<WireguardPeer>> = Vec::new();
    let mut size = 0;
    for change in changes {
        let peer = peer_of(change);
        let more = std::slice::from_ref(&peer).buffer_len();
        match lists.last_mut() {
            Some(list) if list.len() < MOST_PEERS && size + more <= LARGEST_LIST => {
                list.push(peer);
                size += more;
            }
            _ => {
                lists.push(vec![peer]);
                size = more;
            }
        }
    }
    lists
}

/// What the messages of one dump say together: a peer whose prefixes do not fit into one goes on in the next.
pub fn device_of<'a>(messages: impl Iterator<Item = &'a Message>) -> Device {
    let mut device = Device::default();
    for attribute in messages.flat_map(|message| &message.0.attributes) {
        match attribute {
            WireguardAttribute::PrivateKey(key) => device.private_key = Some(PrivateKey::from_bytes(*key)),
            WireguardAttribute::ListenPort(port) => device.listen_port = *port,
            WireguardAttribute::Peers(peers) => peers.iter().for_each(|peer| add(&mut device.peers, peer)),
            _ => {}
        }
    }
    device
}

fn add(peers: &mut Vec<PeerStatus>, peer: &WireguardPeer) {
    let Some(status) = status_of(peer) else { return };
    match peers.last_mut() {
        Some(last) if last.public_key == status.public_key => last.allowed_ips.extend(status.allowed_ips),
        _ => peers.push(status),
    }
}

fn status_of(peer: &WireguardPeer) -> Option<PeerStatus> {
    let public_key = peer.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::PublicKey(key) => Some(PublicKey::as_listed(*key)),
        _ => None,
    })?;
    let mut status = PeerStatus::new(public_key);
    for attribute in peer.iter() {
        match attribute {
            WireguardPeerAttribute::PresharedKey(key) => status.preshared_key = PresharedKey::as_listed(*key),
            WireguardPeerAttribute::LastHandshake(at) => status.last_handshake = handshake_at(at.seconds),
            WireguardPeerAttribute::AllowedIps(ips) => status.allowed_ips = ips.iter().filter_map(net_of).collect(),
            _ => {}
        }
    }
    Some(status)
}

fn net_of(ip: &WireguardAllowedIp) -> Option<IpNet> {
    let address = ip.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::IpAddr(address) => Some(*address),
        _ => None,
    });
    let length = ip.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::Cidr(length) => Some(*length),
        _ => None,
    });
    IpNet::new(address?, length?).ok()
}

fn peer_of(change: &PeerChange) -> WireguardPeer {
    match change {
        PeerChange::Remove(key) => WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
        ]),
        PeerChange::Set(peer) => WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*peer.public_key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
            WireguardPeerAttribute::PresharedKey(preshared_key_of(peer)),
            WireguardPeerAttribute::AllowedIps(peer.allowed_ips.iter().map(allowed_ip).collect()),
        ]),
    }
}

/// Left out, it would leave the old one in place.
fn preshared_key_of(peer: &PeerConfig) -> [u8; 32] {
    peer.preshared_key.as_ref().map_or(NO_PRESHARED_KEY, |key| *key.as_bytes())
}

fn allowed_ip(net: &IpNet) -> WireguardAllowedIp {
    let family = match net {
        IpNet::V4(_) => WireguardAddressFamily::Ipv4,
        IpNet::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(net.addr()),
        WireguardAllowedIpAttr::Cidr(net.prefix_len()),
    ])
}

impl Drop for Message {
    fn drop(&mut self) {
        for attribute in &mut self.0.attributes {
            match attribute {
                WireguardAttribute::PrivateKey(key) => key.zeroize(),
                WireguardAttribute::Peers(peers) => peers.iter_mut().flat_map(|peer| &mut peer.0).for_each(wipe),
                _ => {}
            }
        }
    }
}

fn wipe(attribute: &mut WireguardPeerAttribute) {
    if let WireguardPeerAttribute::PresharedKey(key) = attribute {
        key.zeroize();
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} attributes)", self.0.cmd, self.0.attributes.len())
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        WireguardMessage::family_name()
    }

    fn command(&self) -> u8 {
        self.0.command()
    }

    fn version(&self) -> u8 {
        self.0.version()
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.0.buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        WireguardMessage::parse_with_param(bytes, header).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_generic::GenlMessage;
    use netlink_packet_wireguard::{WireguardCmd, WireguardTimeSpec};

    use super::*;

    fn config(n: u8, psk: u8) -> PeerConfig {
        PeerConfig {
            public_key: PublicKey::as_listed([n; 32]),
            preshared_key: PresharedKey::as_listed([psk; 32]),
            allowed_ips: vec![format!("10.9.0.{n}/32").parse().unwrap(), format!("fd66::{n:x}/128").parse().unwrap()],
        }
    }

    fn message(attributes: Vec<WireguardAttribute>) -> Message {
        Message(WireguardMessage { cmd: WireguardCmd::SetDevice, attributes })
    }

    /// Through the bytes, as the kernel would see it.
    fn sent_and_read(message: &Message) -> Message {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let header = GenlMessage::from_payload(Message(message.0.clone())).header;
        Message::parse_with_param(&bytes, header).unwrap()
    }

    #[test]
    fn a_peer_survives_the_way_through_bytes() {
        let peers = [config(1, 7), config(2, 0)];
        let lists = lists_of_peers(&peers.clone().map(PeerChange::Set));
        assert_eq!(lists.len(), 1);
        let read = sent_and_read(&message(vec![WireguardAttribute::Peers(lists[0].clone())]));
        let listed = device_of([&read].into_iter()).peers;
        for (peer, status) in peers.iter().zip(&listed) {
            assert_eq!((&peer.public_key, &peer.preshared_key), (&status.public_key, &status.preshared_key));
            assert_eq!(peer.allowed_ips, status.allowed_ips);
        }
    }

    #[test]
    fn no_preshared_key_is_sent_as_zeros_and_prefixes_are_replaced() {
        let set = peer_of(&PeerChange::Set(config(1, 0)));
        assert!(set.contains(&WireguardPeerAttribute::PresharedKey([0; 32])));
        assert!(set.contains(&WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps)));
    }

    #[test]
    fn a_thousand_peers_take_several_messages_that_fit() {
        let changes: Vec<PeerChange> =
            (0..1_000_u16).map(|n| PeerChange::Set(config((n % 200) as u8 + 1, 7))).collect();
        let lists = lists_of_peers(&changes);
        assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), 1_000);
        for list in &lists {
            assert!(list.len() <= MOST_PEERS && list.as_slice().buffer_len() <= LARGEST_LIST);
        }
        let removals = vec![PeerChange::Remove(PublicKey::as_listed([1; 32])); 1_024];
        let counts: Vec<usize> = lists_of_peers(&removals).iter().map(Vec::len).collect();
        assert_eq!(counts, [500, 500, 24]);
    }

    #[test]
    fn a_peer_that_goes_on_in_the_next_message_is_one_peer() {
        let half = |nets: &[&str]| {
            let ips = nets.iter().map(|net| allowed_ip(&net.parse().unwrap())).collect();
            WireguardPeer(vec![WireguardPeerAttribute::PublicKey([1; 32]), WireguardPeerAttribute::AllowedIps(ips)])
        };
        let mut first = half(&["10.9.0.1/32"]);
        first
            .0
            .push(WireguardPeerAttribute::LastHandshake(WireguardTimeSpec { seconds: 1_800_000_000, nano_seconds: 5 }));
        let messages = [
            message(vec![WireguardAttribute::ListenPort(51_820), WireguardAttribute::Peers(vec![first])]),
            message(vec![WireguardAttribute::Peers(vec![
                half(&["10.9.0.2/32"]),
                peer_of(&PeerChange::Set(config(2, 7))),
            ])]),
        ];
        let device = device_of(messages.iter());
        assert_eq!((device.listen_port, device.peers.len()), (51_820, 2));
        assert_eq!(device.peers[0].allowed_ips, ["10.9.0.1/32".parse().unwrap(), "10.9.0.2/32".parse().unwrap()]);
        assert_eq!(device.peers[0].last_handshake.unwrap().millis(), 1_800_000_000_000);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", message(vec![WireguardAttribute::PrivateKey([77; 32])]));
        assert_eq!(shown, "Message(SetDevice, 1 attributes)");
    }
}
