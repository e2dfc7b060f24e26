//! `POST /ping/test`: whether a Lightning node can be reached from here, and how fast.

use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::ping_node::{Ping, ping_node};
use crate::domain::Invalid;
use crate::domain::node_address::NodeSocket;
use crate::http::error::{Error, ErrorBody};
use crate::http::{Shared, body};

/// Another process, or this one after its restart, answers by then.
const AFTER_A_STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, ToSchema)]
pub struct PingRequest {
    /// `pubkey@host:port`: 66 hexadecimal digits; a name, an IPv4 address, an IPv6 address in brackets or an onion service.
    #[schema(required = true, value_type = String, example = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@de2.example.net:35825")]
    #[serde(default)]
    socket: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PingResponse {
    /// Whether the node itself answered: it proved that it has the key.
    success: bool,
    /// Milliseconds to the end of the handshake, or to the failure.
    #[schema(value_type = u64, example = 87)]
    latency_ms: u128,
    /// What kind of failure it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "nobody takes connections there")]
    error: Option<String>,
    /// What the operator's node has heard of it; null where that is nothing.
    #[schema(example = "alice")]
    node_alias: Option<String>,
    #[schema(example = 2)]
    channel_count: Option<u32>,
}

/// Calls a Lightning node.
///
/// A real handshake of BOLT 8 with an `init` of BOLT 1, then the connection is closed. It takes up to 20 seconds, and 45 to
/// an onion service. On 429 `error` is a sentence and no code, for the clients that exist.
#[utoipa::path(
    post, path = "/api/public/v1/ping/test", tag = "tools", operation_id = "pingNode",
    request_body = PingRequest,
    responses(
        (status = 200, description = "Reached, or not: see `success`", body = PingResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not pubkey@host:port", body = ErrorBody),
        (status = 408, description = "The body did not arrive in time", body = ErrorBody),
        (status = 413, description = "The body is larger than 256 KiB", body = ErrorBody),
        (status = 429, description = "`Rate limited. Please wait a minute.`; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "Too many nodes are called at the moment, or the server stops; see `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn ping(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    shared.limits.ping.admit(shared.client(&request)).map_err(Error::in_a_sentence)?;
    let asked: PingRequest = body::read(&request, payload).await?;
    let socket = asked.socket()?;
    shared.limits.ping_in_all.admit(()).map_err(Error::in_a_sentence)?;
    let mut stopping = shared.stopping.clone();
    let ping = tokio::select! {
        ping = ping_node(&shared.app, &socket) => ping?,
        _ = stopping.wait_for(|stopping| *stopping) => {
            return Err(Error::unavailable("the server stops; ask again in a moment", AFTER_A_STOP));
        }
    };
    Ok(body::private(&PingResponse::from(ping)))
}

impl PingRequest {
    /// # Errors
    /// Where there is no node, or none that could be called.
    pub fn socket(&self) -> Result<NodeSocket, Invalid> {
        let text = self.socket.as_deref().map(str::trim).unwrap_or_default();
        NodeSocket::parse(text).map_err(|invalid| Invalid::new(format!("socket: {invalid}")))
    }
}

impl From<Ping> for PingResponse {
    fn from(ping: Ping) -> Self {
        Self {
            success: ping.reached.is_ok(),
            latency_ms: ping.took.as_millis(),
            error: ping.reached.err().map(|reason| reason.to_string()),
            node_alias: ping.known.as_ref().map(|node| node.alias.to_string()),
            channel_count: ping.known.map(|node| node.channels),
        }
    }
}
