//! What may be set up wrong around a server and cannot be known for sure: told at a start, with what to do about it.

use std::net::{IpAddr, UdpSocket};

use crate::config;
use crate::netfilter;

pub async fn warn_about(settings: &config::Agent) {
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
    // What keeps nft from running is told by those who need it.
    for chain in netfilter::dropping_neighbours().await.unwrap_or_default() {
        tracing::warn!(
            chain,
            "another firewall drops forwarded packets that it does not know: let it accept those from and to the \
             WireGuard interface, or customers have no traffic (for Docker: iptables -I DOCKER-USER -i {wg} -j ACCEPT, \
             and the same with -o)",
            wg = settings.interface
        );
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
