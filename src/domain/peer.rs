//! A peer: a WireGuard key pair's public half, and the key that it shares with its server.

use super::keys::{PresharedKey, PublicKey};

/// The key that a peer answers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub public_key: PublicKey,
    pub preshared_key: PresharedKey,
}
