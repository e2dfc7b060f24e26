//! What the node knows about other nodes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::lnd_proto::lnrpc::{LightningNode, NodeAddress};

#[derive(Default)]
pub(super) struct Gossip(Mutex<HashMap<String, LightningNode>>);

impl Gossip {
    /// `addresses` are `host:port`.
    pub(super) fn learn(&self, pub_key: &str, alias: &str, addresses: &[&str], at_seconds: i64) {
        let address = |addr: &&str| NodeAddress { network: "tcp".to_owned(), addr: (*addr).to_owned() };
        let node = LightningNode {
            last_update: u32::try_from(at_seconds).unwrap_or(u32::MAX),
            pub_key: pub_key.to_owned(),
            alias: alias.to_owned(),
            addresses: addresses.iter().map(address).collect(),
            color: "#3399ff".to_owned(),
        };
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(pub_key.to_owned(), node);
    }

    pub(super) fn find(&self, pub_key: &str) -> Option<LightningNode> {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(pub_key).cloned()
    }
}
