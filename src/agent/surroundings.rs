//! What may be set up wrong around a server and cannot be known for sure: told at a start, with what to do about it.

use std::net::{IpAddr, UdpSocket};

use crate::config;

pub fn warn_about(settings: &config::Agent) {
    for address in
        [Some(settings.public_address.into()), settings.public_address6.map(IpAddr::V6)].into_iter().flatten()
    {
        if !is_ours(address) {
            tracing::warn!(
                %address,
                "the public address in [agent] is none of this machine's (see `ip address`): customers' ports are \
                 forwarded for packets that arrive with it. Behind a provider's NAT they arrive with a private one, \
                 which belongs there then"
            );
        }
    }
}

/// Only an address of this machine can be listened on.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_this_machines_or_not() {
        assert!(is_ours([127, 0, 0, 1].into()));
        assert!(!is_ours([192, 0, 2, 1].into()));
    }
}
