//! What the node knows about the network: nodes, their addresses, and how many channels each has.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::lnd_proto::lnrpc::{LightningNode, NodeAddress, NodeInfo};

/// A node as it announces itself, for [`Simulator::announce_node`](super::Simulator::announce_node).
#[derive(Debug, Clone, Copy)]
pub struct Announcement<'a> {
    /// 66 hex digits.
    pub public_key: &'a str,
    pub alias: &'a str,
    /// Each `host:port`.
    pub addresses: &'a [&'a str],
    pub channels: u32,
}

/// The other nodes of the simulated network, with one address of each kind; the node's own channel is with the first.
pub const NEIGHBOURS: [Announcement<'_>; 3] = [
    Announcement {
        public_key: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        alias: "alice",
        addresses: &["203.0.113.1:9735", "[2001:db8::1]:9735"],
        channels: 2,
    },
    Announcement {
        public_key: "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        alias: "bob ⚡",
        addresses: &["bob.example.net:9736", "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:9735"],
        channels: 1,
    },
    Announcement {
        public_key: "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        alias: "",
        addresses: &[],
        channels: 0,
    },
];

#[derive(Default)]
pub(super) struct Gossip(Mutex<HashMap<String, NodeInfo>>);

impl Gossip {
    pub(super) fn learn(&self, announced: &Announcement<'_>, at_seconds: i64) {
        let address = |addr: &&str| NodeAddress { network: "tcp".to_owned(), addr: (*addr).to_owned() };
        let node = LightningNode {
            last_update: u32::try_from(at_seconds).unwrap_or(u32::MAX),
            pub_key: announced.public_key.to_owned(),
            alias: announced.alias.to_owned(),
            addresses: announced.addresses.iter().map(address).collect(),
            color: "#3399ff".to_owned(),
        };
        let info = NodeInfo { node: Some(node), num_channels: announced.channels, total_capacity: 0 };
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(announced.public_key.to_owned(), info);
    }

    pub(super) fn find(&self, public_key: &str) -> Option<NodeInfo> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(public_key).cloned()
    }
}
