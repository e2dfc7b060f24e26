//! A WireGuard device as either backend reads it.

use std::fmt;

use crate::domain::keys::PrivateKey;
use crate::domain::peer_diff::PeerStatus;
use crate::domain::time::Timestamp;

/// A handshake before 2001 is none, or an age that a daemon gives instead of a time.
const FIRST_CREDIBLE_SECOND: i64 = 1_000_000_000;

#[derive(Default)]
pub struct Device {
    pub private_key: Option<PrivateKey>,
    pub listen_port: u16,
    pub peers: Vec<PeerStatus>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device(port {}, {} peers)", self.listen_port, self.peers.len())
    }
}

impl Device {
    pub fn has_private_key(&self, key: &PrivateKey) -> bool {
        self.private_key.as_ref().is_some_and(|own| own.as_bytes() == key.as_bytes())
    }
}

pub fn handshake_at(seconds: i64) -> Option<Timestamp> {
    (seconds >= FIRST_CREDIBLE_SECOND).then(|| Timestamp::from_seconds(seconds))
}
