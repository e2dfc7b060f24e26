//! The text that a WireGuard daemon speaks: `key=value` lines, keys in hexadecimal, an empty line at the end.

use std::fmt::Write;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::device::{Device, handshake_at};
use super::error::Error;
use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::peer_diff::{PeerChange, PeerConfig, PeerStatus};

const UNREADABLE: Error = Error::Unreadable("a line is not what its key says");
/// More than a peer takes: text with keys in it must not move while it grows.
const BYTES_OF_PEER: usize = 256;
const BYTES_OF_PREFIX: usize = 64;

pub fn device_request(private_key: &PrivateKey, listen_port: u16) -> Zeroizing<String> {
    let mut request = Zeroizing::new(String::with_capacity(BYTES_OF_PEER));
    request.push_str("set=1\n");
    push_key(&mut request, "private_key", private_key.as_bytes());
    push(&mut request, format_args!("listen_port={listen_port}\n\n"));
    request
}

pub fn peers_request(changes: &[PeerChange]) -> Zeroizing<String> {
    let prefixes = |change: &PeerChange| match change {
        PeerChange::Remove(_) => 0,
        PeerChange::Set(peer) => peer.allowed_ips.len(),
    };
    let size = changes.iter().map(|change| BYTES_OF_PEER + prefixes(change) * BYTES_OF_PREFIX).sum::<usize>();
    let mut request = Zeroizing::new(String::with_capacity(size + BYTES_OF_PEER));
    request.push_str("set=1\n");
    for change in changes {
        match change {
            PeerChange::Remove(key) => {
                push_key(&mut request, "public_key", key.as_bytes());
                request.push_str("remove=true\n");
            }
            PeerChange::Set(peer) => push_peer(&mut request, peer),
        }
    }
    request.push('\n');
    request
}

/// Zeros clear the preshared key; left out, the old one would stay.
fn push_peer(request: &mut String, peer: &PeerConfig) {
    push_key(request, "public_key", peer.public_key.as_bytes());
    push_key(request, "preshared_key", peer.preshared_key.as_ref().map_or(&[0; 32], |key| key.as_bytes()));
    request.push_str("replace_allowed_ips=true\n");
    for net in &peer.allowed_ips {
        push(request, format_args!("allowed_ip={net}\n"));
    }
}

fn push_key(request: &mut String, name: &str, key: &[u8; 32]) {
    let mut digits = Zeroizing::new([0; 64]);
    // Sixty-four digits always fit.
    let _ = hex::encode_to_slice(key, &mut *digits);
    push(request, format_args!("{name}={}\n", std::str::from_utf8(&*digits).unwrap_or_default()));
}

fn push(request: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    let _ = request.write_fmt(text);
}

/// What a daemon has said so far.
#[derive(Debug, Default)]
pub struct Answer {
    device: Device,
    errno: Option<i32>,
}

impl Answer {
    /// Takes whole lines; true at the empty one, which ends the answer.
    pub fn read(&mut self, lines: &[u8]) -> Result<bool, Error> {
        let lines = std::str::from_utf8(lines).map_err(|_| UNREADABLE)?;
        for line in lines.lines() {
            if line.is_empty() {
                return Ok(true);
            }
            let (name, value) = line.split_once('=').ok_or(UNREADABLE)?;
            self.take(name, value)?;
        }
        Ok(false)
    }

    pub fn finish(self, doing: &'static str) -> Result<Device, Error> {
        match self.errno {
            Some(0) => Ok(self.device),
            Some(code) => {
                let source = std::io::Error::from_raw_os_error(code.saturating_abs());
                Err(Error::refused(doing, source))
            }
            None => Err(Error::Unreadable("it does not say how the request ended")),
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "errno" => self.errno = Some(number(value)?),
            "private_key" => self.device.private_key = Some(PrivateKey::from_bytes(*key(value)?)),
            "listen_port" => self.device.listen_port = number(value)?,
            "public_key" => self.device.peers.push(PeerStatus::new(PublicKey::as_listed(*key(value)?))),
            _ => return self.take_of_peer(name, value),
        }
        Ok(())
    }

    /// Lines that belong to the peer whose key came last; unknown ones come from newer daemons.
    fn take_of_peer(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let Some(peer) = self.device.peers.last_mut() else { return Ok(()) };
        match name {
            "preshared_key" => peer.preshared_key = PresharedKey::as_listed(*key(value)?),
            "allowed_ip" => peer.allowed_ips.push(value.parse::<IpNet>().map_err(|_| UNREADABLE)?),
            "last_handshake_time_sec" => peer.last_handshake = handshake_at(number(value)?),
            _ => {}
        }
        Ok(())
    }
}

fn key(text: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, &mut *bytes).map_err(|_| UNREADABLE)?;
    Ok(bytes)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| UNREADABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Device, Error> {
        let mut answer = Answer::default();
        assert!(answer.read(text.as_bytes())?, "it has an end");
        answer.finish("test")
    }

    #[test]
    fn a_request_says_all_of_each_peer() {
        let peer = PeerConfig {
            public_key: PublicKey::as_listed([0xab; 32]),
            preshared_key: None,
            allowed_ips: vec!["10.9.0.2/32".parse().unwrap(), "fd66::2/128".parse().unwrap()],
        };
        let request = peers_request(&[PeerChange::Remove(PublicKey::as_listed([1; 32])), PeerChange::Set(peer)]);
        let (one, ab, zero) = ("01".repeat(32), "ab".repeat(32), "00".repeat(32));
        let expected = format!(
            "set=1\npublic_key={one}\nremove=true\npublic_key={ab}\npreshared_key={zero}\nreplace_allowed_ips=true\n\
             allowed_ip=10.9.0.2/32\nallowed_ip=fd66::2/128\n\n"
        );
        assert_eq!(*request, expected);
    }

    #[test]
    fn a_request_does_not_move_while_it_grows() {
        let long: IpNet = "2001:db8:1111:2222:3333:4444:5555:6666/128".parse().unwrap();
        let peer = PeerConfig {
            public_key: PublicKey::as_listed([1; 32]),
            preshared_key: PresharedKey::as_listed([2; 32]),
            allowed_ips: vec![long; 20],
        };
        let changes = vec![PeerChange::Set(peer); 30];
        let promised = 30 * (BYTES_OF_PEER + 20 * BYTES_OF_PREFIX);
        assert!(peers_request(&changes).len() < promised);
    }

    #[test]
    fn an_answer_becomes_peers_without_their_endpoints() {
        let (one, two, zero) = ("01".repeat(32), "02".repeat(32), "00".repeat(32));
        let device = read(&format!(
            "private_key={one}\nlisten_port=51820\nfwmark=1\npublic_key={one}\npreshared_key={two}\n\
             endpoint=192.0.2.9:5000\nlast_handshake_time_sec=1800000000\nlast_handshake_time_nsec=5\nrx_bytes=7\n\
             tx_bytes=9\npersistent_keepalive_interval=0\nallowed_ip=10.9.0.2/32\nprotocol_version=1\n\
             public_key={two}\npreshared_key={zero}\nlast_handshake_time_sec=77\nsomething_new=1\nerrno=0\n\n"
        ))
        .unwrap();
        let expected = PeerStatus {
            preshared_key: PresharedKey::as_listed([2; 32]),
            allowed_ips: vec!["10.9.0.2/32".parse().unwrap()],
            last_handshake: handshake_at(1_800_000_000),
            ..PeerStatus::new(PublicKey::as_listed([1; 32]))
        };
        assert_eq!(device.peers, [expected, PeerStatus::new(PublicKey::as_listed([2; 32]))]);
        assert_eq!(device.listen_port, 51_820);
        assert!(device.has_private_key(&PrivateKey::from_bytes([1; 32])));
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        assert!(matches!(read("errno=-98\n\n"), Err(error) if error.is(rustix::io::Errno::ADDRINUSE)));
        assert!(matches!(read("errno=1\n\n"), Err(Error::NotPermitted)));
        for nonsense in
            ["listen_port=1\n\n", "hello\n\n", "public_key=00\nerrno=0\n\n", "listen_port=70000\nerrno=0\n\n"]
        {
            assert!(matches!(read(nonsense), Err(Error::Unreadable(_))), "{nonsense:?}");
        }
    }
}
