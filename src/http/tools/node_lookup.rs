//! `POST /tools/node-lookup`: what a Lightning node announces, as the operator's node has heard it.

use std::net::IpAddr;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::look_up_node::look_up_node;
use crate::domain::Invalid;
use crate::domain::host::Host;
use crate::domain::lightning::NodeId;
use crate::domain::node_address::NodeAddress;
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};
use crate::lnd::GraphNode;

#[derive(Debug, Deserialize, ToSchema)]
pub struct NodeLookupRequest {
    /// The node's public key: 66 hexadecimal digits. `publicKey` is understood, too.
    #[serde(default, alias = "publicKey")]
    #[schema(required = true, value_type = String, example = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")]
    pubkey: Option<String>,
}

/// All of it is public; `alias` and `addresses` are the node's own words.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeLookupResponse {
    #[schema(example = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")]
    pubkey: String,
    /// At most 32 bytes, without control characters; empty where the node has none.
    #[schema(example = "alice")]
    alias: String,
    #[schema(example = 2)]
    channel_count: u32,
    addresses: Vec<AnnouncedAddress>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AnnouncedAddress {
    #[schema(example = "203.0.113.1:9735")]
    address: String,
    /// `ipv4`, `ipv6`, `onion` or `dns`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "ipv4")]
    kind: &'static str,
}

/// Looks a Lightning node up.
///
/// The answer is what the operator's node has heard; it is kept for a minute.
#[utoipa::path(
    post, path = "/api/public/v1/tools/node-lookup", tag = "tools", operation_id = "lookUpNode",
    request_body = NodeLookupRequest,
    responses(
        (status = 200, body = NodeLookupResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a node's public key", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the operator's node has not heard of it", body = ErrorBody),
        (status = 503, description = "The Lightning node does not answer; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn node_lookup(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    shared.limits.node_lookup.admit(shared.client(&request))?;
    let asked: NodeLookupRequest = body::read(&request, payload).await?;
    let id = asked.node()?;
    shared.limits.node_lookup_in_all.admit(())?;
    let node = look_up_node(&shared.app, id).await?;
    Ok(HttpResponse::Ok().json(NodeLookupResponse::from(node)))
}

impl NodeLookupRequest {
    /// # Errors
    /// Where there is no public key, or none that could be one.
    pub fn node(&self) -> Result<NodeId, Invalid> {
        let text = self.pubkey.as_deref().map(str::trim).unwrap_or_default();
        NodeId::parse(text).map_err(|invalid| Invalid::new(format!("pubkey: {invalid}")))
    }
}

impl From<GraphNode> for NodeLookupResponse {
    fn from(node: GraphNode) -> Self {
        Self {
            pubkey: node.id.to_string(),
            alias: node.alias.to_string(),
            channel_count: node.channels,
            addresses: node.addresses.iter().map(AnnouncedAddress::from).collect(),
        }
    }
}

impl From<&NodeAddress> for AnnouncedAddress {
    fn from(address: &NodeAddress) -> Self {
        let kind = match &address.host {
            Host::Ip(IpAddr::V4(_)) => "ipv4",
            Host::Ip(IpAddr::V6(_)) => "ipv6",
            Host::Onion(_) => "onion",
            Host::Name(_) => "dns",
        };
        Self { address: address.to_string(), kind }
    }
}
