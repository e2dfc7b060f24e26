//! What the node knows of another one from the network's gossip.

use super::Error;
use crate::domain::alias::Alias;
use crate::domain::lightning::NodeId;
use crate::domain::node_address::NodeAddress;
use crate::lnd_proto::lnrpc;

/// A node announces one address of each kind, a few at most; more are of no use to anybody.
const MOST_ADDRESSES: usize = 16;

/// A node of the channel graph. All but its id and the number of channels is what its owner says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphNode {
    pub id: NodeId,
    pub alias: Alias,
    /// Channels that the node which was asked knows of: public ones, and its own private ones.
    pub channels: u32,
    /// Those that can be understood, in the order of their announcement.
    pub addresses: Vec<NodeAddress>,
}

impl GraphNode {
    /// Reads LND's message.
    pub fn parse(answer: lnrpc::NodeInfo) -> Result<Self, Error> {
        let node = answer.node.ok_or_else(|| Error::malformed("the information of a node without the node"))?;
        let address = |address: &lnrpc::NodeAddress| NodeAddress::parse(&address.addr).ok();
        Ok(Self {
            id: NodeId::parse(&node.pub_key).map_err(|e| Error::malformed(e.to_string()))?,
            alias: Alias::of(&node.alias),
            channels: answer.num_channels,
            addresses: node.addresses.iter().filter_map(address).take(MOST_ADDRESSES).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(addresses: &[&str]) -> lnrpc::NodeInfo {
        let address = |addr: &&str| lnrpc::NodeAddress { network: "tcp".into(), addr: (*addr).into() };
        let node = lnrpc::LightningNode {
            pub_key: "02".repeat(33),
            alias: "a\nb".into(),
            addresses: addresses.iter().map(address).collect(),
            ..lnrpc::LightningNode::default()
        };
        lnrpc::NodeInfo { node: Some(node), num_channels: 3, total_capacity: 7 }
    }

    #[test]
    fn a_node_is_what_can_be_understood_of_its_announcement() {
        let odd = "a hex dump of an address of the future";
        let node = GraphNode::parse(announced(&["[2001:db8::7]:9735", odd, "203.0.113.7:9735"])).unwrap();
        let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["[2001:db8::7]:9735", "203.0.113.7:9735"]);
        assert_eq!((node.alias.as_str(), node.channels), ("ab", 3));
    }

    #[test]
    fn sixteen_addresses_are_kept() {
        let node = GraphNode::parse(announced(&["203.0.113.7:9735"; 40])).unwrap();
        assert_eq!(node.addresses.len(), MOST_ADDRESSES);
    }

    #[test]
    fn an_answer_without_a_node_makes_no_sense() {
        assert!(GraphNode::parse(lnrpc::NodeInfo::default()).is_err());
    }
}
