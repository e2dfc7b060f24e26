//! What the node knows of other nodes.

use tonic::{Code, Status};
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_simulator::settings::StoreMode;

use crate::node::Node;

async fn look_up(node: &Node, pub_key: &str) -> Result<lnrpc::NodeInfo, Status> {
    let request = lnrpc::NodeInfoRequest { pub_key: pub_key.to_owned(), include_channels: false };
    Ok(node.lightning().get_node_info(node.request(request)).await?.into_inner())
}

pub async fn an_unknown_node_is_not_found(node: &Node) {
    let status = look_up(node, &format!("02{}", "11".repeat(32))).await.unwrap_err();

    let text = match node.store {
        StoreMode::Kv => "unable to find node",
        StoreMode::Sql => "unable to fetch node: unable to find node",
    };
    assert_eq!((status.code(), status.message()), (Code::NotFound, text));
}

pub async fn what_is_no_point_of_the_curve_is_an_unknown_node(node: &Node) {
    let status = look_up(node, &"00".repeat(33)).await.unwrap_err();

    assert_eq!(status.code(), Code::NotFound);
}

pub async fn a_key_of_another_length_or_not_of_digits_is_refused(node: &Node) {
    let short = look_up(node, "02").await.unwrap_err();
    let odd = look_up(node, &format!("02{}", "zz".repeat(32))).await.unwrap_err();

    assert_eq!((short.code(), short.message()), (Code::Unknown, "invalid vertex string length of 2, want 66"));
    assert_eq!((odd.code(), odd.message()), (Code::Unknown, "encoding/hex: invalid byte: U+007A 'z'"));
}

pub async fn the_node_finds_itself(node: &Node) {
    let found = look_up(node, &node.public_key.to_uppercase()).await.unwrap();

    assert_eq!(found.num_channels, 1);
    let itself = found.node.unwrap();
    assert_eq!((itself.pub_key.as_str(), itself.addresses.as_slice()), (node.public_key.as_str(), [].as_slice()));
    assert!(!itself.alias.is_empty());
}

pub async fn a_neighbour_is_found_with_its_alias_and_channels(node: &Node) {
    let found = look_up(node, &node.neighbour).await.unwrap();

    assert!(found.num_channels >= 1);
    let neighbour = found.node.unwrap();
    assert_eq!(neighbour.pub_key, node.neighbour);
    assert!(!neighbour.alias.is_empty() && neighbour.last_update > 0);
}
