//! Calling a Lightning node to see whether the world reaches it, and how fast.
//!
//! The address comes from a stranger. So `egress` decides where a connection may go, a few are called at a time, and all
//! that is told of the far end is whether it is the node, how long that took, and of which kind a failure is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::look_up_node::look_up_node;
use super::{App, Error, Unavailable};
use crate::config::{Pingable, Tools};
use crate::domain::host::Host;
use crate::domain::node_address::NodeSocket;
use crate::egress::{self, Egress, Purpose};
use crate::lightning_peer::{self, shake_hands};
use crate::lnd::GraphNode;

/// Clients wait for 30 s.
const DEADLINE: Duration = Duration::from_secs(20);
/// A circuit through Tor to a service that nobody asked for lately takes its time.
const ONION_DEADLINE: Duration = Duration::from_secs(45);
const AT_A_TIME: usize = 32;

/// Who may be called, and the places to call from.
#[derive(Debug, Clone)]
pub struct Pings {
    rules: Arc<Tools>,
    places: Arc<Semaphore>,
}

/// What came of a call.
#[derive(Debug)]
pub struct Ping {
    pub reached: Result<(), Unreached>,
    /// From the look-up of its name to the node's `init`, or to the failure.
    pub took: Duration,
    /// What our own node has heard of it.
    pub known: Option<GraphNode>,
}

/// Why the node was not reached, as it may be told to whoever gave the address.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    #[error("nobody is called from here")]
    CallsNobody,
    #[error("only nodes behind our own servers are called from here")]
    NotOurs,
    #[error("this node does not want to be called")]
    OptedOut,
    #[error(transparent)]
    Connection(#[from] egress::Error),
    #[error(transparent)]
    Handshake(#[from] lightning_peer::Error),
    #[error("it took too long")]
    TimedOut,
}

impl Pings {
    pub fn new(rules: Tools) -> Self {
        Self { rules: Arc::new(rules), places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

/// Calls a node.
///
/// # Errors
/// [`Unavailable::Busy`] where too many are called already; a node that is not reached is no error.
pub async fn ping_node(app: &App, socket: &NodeSocket) -> Result<Ping, Error> {
    if let Err(reason) = allowed(app, socket) {
        return Ok(Ping { reached: Err(reason), took: Duration::ZERO, known: None });
    }
    let _place = app.pings.places.try_acquire().map_err(|_| Unavailable::Busy)?;
    // A node of ours that does not answer is no reason not to say whether the other one does.
    let known = async { look_up_node(app, socket.id).await.ok() };
    let ((reached, took), known) = tokio::join!(call(&app.egress, socket), known);
    Ok(Ping { reached, took, known })
}

fn allowed(app: &App, socket: &NodeSocket) -> Result<(), Unreached> {
    let Tools { ping, never_ping } = &*app.pings.rules;
    let host = socket.address.host.to_string();
    let is_ours = || app.shop.servers.iter().any(|server| server.domain.eq_ignore_ascii_case(&host));
    match ping {
        _ if never_ping.contains(&socket.id) => Err(Unreached::OptedOut),
        Pingable::Nobody => Err(Unreached::CallsNobody),
        Pingable::OwnServers if !is_ours() => Err(Unreached::NotOurs),
        Pingable::OwnServers | Pingable::Anybody => Ok(()),
    }
}

async fn call(egress: &Egress, socket: &NodeSocket) -> (Result<(), Unreached>, Duration) {
    let began = Instant::now();
    let host = &socket.address.host;
    let deadline = if matches!(host, Host::Onion(_)) { ONION_DEADLINE } else { DEADLINE };
    let reached = timeout(deadline, reach(egress, socket)).await.unwrap_or(Err(Unreached::TimedOut));
    (reached, began.elapsed())
}

async fn reach(egress: &Egress, socket: &NodeSocket) -> Result<(), Unreached> {
    let (host, port) = (socket.address.host.to_string(), socket.address.port);
    let stream = egress.connect(Purpose::Probe, &host, port).await?;
    Ok(shake_hands(stream, socket.id).await?)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::EgressRules;

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[tokio::test(start_paused = true)]
    async fn who_takes_the_connection_and_says_nothing_is_waited_for_20_seconds() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rules = EgressRules { allow_customers: vec!["127.0.0.1/32".parse().unwrap()], ..EgressRules::default() };
        let egress = Egress::new(&rules).unwrap();
        let socket = NodeSocket::parse(&format!("{KEY}@{}", silent.local_addr().unwrap())).unwrap();
        let (reached, took) = call(&egress, &socket).await;
        assert!(matches!(reached, Err(Unreached::TimedOut)), "{reached:?}");
        assert!(took >= DEADLINE && took < DEADLINE + Duration::from_secs(1), "{took:?}");
    }
}
