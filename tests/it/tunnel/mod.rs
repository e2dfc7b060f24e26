//! Does a config that was sold connect? A WireGuard client that has nothing but the config's text does a real handshake
//! over UDP with a server that has its private key and the peers that it is to have, and sends an inner packet from each
//! of its addresses there and back.
//!
//! No device and no privilege is needed: both ends are in this process. What a kernel does besides (a lease, a forward)
//! is seen in `tests/wireguard`.

pub mod qr;
#[cfg(test)]
mod tests;
mod wg_quick;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;
use wg_quick::WgQuick;
use wiretoll::domain::desired::DesiredPeer;
use wiretoll::domain::keys::{PresharedKey, PrivateKey, PublicKey};

/// Somebody on the internet whom a customer sends packets to.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ELSEWHERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Both ends are in one process: what was sent has arrived.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);
const DATAGRAM: usize = 2_048;

/// The server's end, as an agent that does all it is told would make it.
#[derive(Debug)]
pub struct Server {
    pub key: PrivateKey,
    /// `host:port`, as a config has to name it.
    pub endpoint: String,
    pub peers: Vec<DesiredPeer>,
}

/// Why a config does not connect.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no config for wg-quick: {0}")]
    Config(String),
    #[error("the config leads to {0}")]
    Endpoint(String),
    #[error("the config sends nothing for {0} into the tunnel")]
    NotRouted(IpAddr),
    #[error("the server has no peer with this key")]
    UnknownKey,
    #[error("no handshake")]
    NoHandshake,
    #[error("the server does not take a packet from {0} of this peer")]
    ForeignAddress(IpAddr),
    #[error("nothing came back")]
    NoAnswer,
}

/// Connects with a config and sends a packet from each of its addresses there and back.
pub fn connect(config: &str, server: &Server) -> Result<(), Refusal> {
    let config = WgQuick::parse(config).map_err(Refusal::Config)?;
    if config.endpoint != server.endpoint {
        return Err(Refusal::Endpoint(config.endpoint));
    }
    let (near, far) = two_sockets();
    let mut client = End::new(&config.private_key, config.server_key, config.preshared_key.as_ref(), near);
    let mut packets = config.addresses.iter().map(|address| config.packet_from(*address));
    let first = packets.next().ok_or_else(|| Refusal::Config("it has no address".into()))??;
    client.send(&first);
    let (peer, mut end) = server.admit(far)?;
    end.hear()?;
    client.hear()?;
    answer(&mut end, peer)?;
    client.hear_packet_of(&first)?;
    for packet in packets {
        let packet = packet?;
        client.send(&packet);
        answer(&mut end, peer)?;
        client.hear_packet_of(&packet)?;
    }
    Ok(())
}

impl Server {
    /// The peer that begins a handshake, and the server's end of its tunnel.
    fn admit(&self, socket: UdpSocket) -> Result<(&DesiredPeer, End), Refusal> {
        let mut datagram = [0; DATAGRAM];
        let (length, from) = socket.peek_from(&mut datagram).map_err(|_| Refusal::NoHandshake)?;
        socket.connect(from).unwrap();
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(&datagram[..length]) else {
            return Err(Refusal::NoHandshake);
        };
        let (secret, public) = (secret(&self.key), x25519::PublicKey::from(*self.key.public_key().as_bytes()));
        let begun = parse_handshake_anon(&secret, &public, &initiation).map_err(|_| Refusal::NoHandshake)?;
        let key = PublicKey::as_listed(begun.peer_static_public);
        let peer = self.peers.iter().find(|peer| peer.public_key == key).ok_or(Refusal::UnknownKey)?;
        Ok((peer, End::new(&self.key, key, Some(&peer.preshared_key), socket)))
    }
}

/// Takes a packet of the peer's, as the allowed IPs say, and sends it back.
fn answer(end: &mut End, peer: &DesiredPeer) -> Result<(), Refusal> {
    let packet = end.hear_packet()?;
    let (from, _) = ends_of(&packet);
    if from != IpAddr::from(peer.address) && Some(from) != peer.address6.map(IpAddr::from) {
        return Err(Refusal::ForeignAddress(from));
    }
    end.send(&turned(&packet));
    Ok(())
}

/// One end of a tunnel, with the wire that leads to the other.
struct End {
    tunnel: Tunn,
    socket: UdpSocket,
}

impl End {
    fn new(own: &PrivateKey, other: PublicKey, preshared: Option<&PresharedKey>, socket: UdpSocket) -> Self {
        let (other, preshared) = (x25519::PublicKey::from(*other.as_bytes()), preshared.map(|key| *key.as_bytes()));
        Self { tunnel: Tunn::new(secret(own), other, preshared, None, 1, None), socket }
    }

    /// The packet, or the beginning of a handshake after which it goes.
    fn send(&mut self, packet: &[u8]) {
        let mut datagram = [0; DATAGRAM];
        let TunnResult::WriteToNetwork(datagram) = self.tunnel.encapsulate(packet, &mut datagram) else {
            panic!("nothing to send");
        };
        self.socket.send(datagram).unwrap();
    }

    /// Takes one datagram, sends what it calls for, and gives the packet that was in it.
    fn hear(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let (mut heard, mut made) = ([0; DATAGRAM], [0; DATAGRAM]);
        let length = self.socket.recv(&mut heard).map_err(|_| Refusal::NoAnswer)?;
        let mut result = self.tunnel.decapsulate(None, &heard[..length], &mut made);
        loop {
            match result {
                TunnResult::WriteToNetwork(datagram) => self.socket.send(datagram).unwrap(),
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    return Ok(Some(packet.to_vec()));
                }
                TunnResult::Done => return Ok(None),
                TunnResult::Err(WireGuardError::InvalidAeadTag) => return Err(Refusal::NoHandshake),
                TunnResult::Err(error) => panic!("{error:?}"),
            };
            result = self.tunnel.decapsulate(None, &[], &mut made);
        }
    }

    /// Past what keeps a tunnel alive.
    fn hear_packet(&mut self) -> Result<Vec<u8>, Refusal> {
        loop {
            if let Some(packet) = self.hear()? {
                return Ok(packet);
            }
        }
    }

    fn hear_packet_of(&mut self, sent: &[u8]) -> Result<(), Refusal> {
        let heard = self.hear_packet()?;
        if heard == turned(sent) { Ok(()) } else { Err(Refusal::NoAnswer) }
    }
}

impl WgQuick {
    /// To somebody else, if that goes into the tunnel.
    fn packet_from(&self, address: IpAddr) -> Result<Vec<u8>, Refusal> {
        let to = if address.is_ipv4() { IpAddr::from(ELSEWHERE) } else { ELSEWHERE6.into() };
        if !self.allowed_ips.iter().any(|network| network.contains(&to)) {
            return Err(Refusal::NotRouted(to));
        }
        Ok(packet(address, to))
    }
}

/// Header and eight bytes; what they say is not WireGuard's business.
fn packet(from: IpAddr, to: IpAddr) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
            [&header, &from.octets()[..], &to.octets(), b"and back"].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = [0x60, 0, 0, 0, 0, 8, 58, 64];
            [&header, &from.octets()[..], &to.octets(), b"and back"].concat()
        }
        _ => panic!("{from} and {to} are of two families"),
    }
}

fn turned(sent: &[u8]) -> Vec<u8> {
    let (from, to) = ends_of(sent);
    packet(to, from)
}

fn ends_of(packet: &[u8]) -> (IpAddr, IpAddr) {
    if packet[0] >> 4 == 4 {
        let at = |place: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[place..place + 4]).unwrap());
        return (at(12), at(16));
    }
    let at = |place: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[place..place + 16]).unwrap());
    (at(8), at(24))
}

fn secret(key: &PrivateKey) -> x25519::StaticSecret {
    x25519::StaticSecret::from(*key.as_bytes())
}

/// The first sends to the second, which does not know yet who will.
fn two_sockets() -> (UdpSocket, UdpSocket) {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    }
    (near, far)
}
