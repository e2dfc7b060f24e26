//! The node's gRPC port: TCP, TLS, then the services.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;

use super::connection::Connection;
use super::invoices_rpc::InvoicesRpc;
use super::lightning_rpc::LightningRpc;
use super::node::Node;
use super::router_rpc::RouterRpc;
use super::state_rpc::StateRpc;
use crate::lnd_proto::invoicesrpc::invoices_server::InvoicesServer;
use crate::lnd_proto::lnrpc::lightning_server::LightningServer;
use crate::lnd_proto::lnrpc::state_server::StateServer;
use crate::lnd_proto::routerrpc::router_server::RouterServer;

/// As LND pings its clients.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// LND takes requests of 200 MiB.
const MAX_REQUEST_BYTES: usize = 200 * 1024 * 1024;

/// The port while it is open.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    close: watch::Sender<Port>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Open,
    Closing,
    Closed,
}

impl Listening {
    pub(super) async fn open(node: &Arc<Node>, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let close = watch::Sender::new(Port::Open);
        let port = close.clone();
        let owner = node.clone();
        node.tasks.spawn(async move {
            let mut closing = port.subscribe();
            tokio::select! {
                () = serve(owner, listener) => {}
                _ = closing.wait_for(|port| *port != Port::Open) => {}
            }
            port.send_replace(Port::Closed);
        });
        Ok(Self { address, close })
    }

    /// Returns when the port is closed; connections that are open go on.
    pub(super) async fn close(self) {
        let mut closed = self.close.subscribe();
        self.close.send_if_modified(|port| match port {
            Port::Open => {
                *port = Port::Closing;
                true
            }
            Port::Closing | Port::Closed => false,
        });
        // The sender is ours, so waiting cannot fail.
        let _ = closed.wait_for(|port| *port == Port::Closed).await;
    }
}

async fn serve(node: Arc<Node>, listener: TcpListener) {
    let (ready, connections) = mpsc::channel(16);
    let incoming = stream::unfold(connections, |mut connections| async move {
        let connection = connections.recv().await?;
        Some((Ok::<Connection, Infallible>(connection), connections))
    });
    let lightning = LightningServer::new(LightningRpc(node.clone()));
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(lightning.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(InvoicesServer::new(InvoicesRpc(node.clone())))
        .add_service(StateServer::new(StateRpc(node.clone())))
        .add_service(RouterServer::new(RouterRpc(node.clone())))
        .serve_with_incoming(incoming);
    tokio::select! {
        () = accept(&node, listener, ready) => {}
        result = served => {
            if let Err(error) = result {
                tracing::warn!(%error, "the simulated node stopped serving");
            }
        }
    }
}

/// Handshakes go on side by side, so that one that stalls holds nobody up.
async fn accept(node: &Arc<Node>, listener: TcpListener, ready: mpsc::Sender<Connection>) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((tcp, _)) = accepted {
                handshakes.spawn(handshake(node.clone(), tcp, ready.clone()));
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
}

async fn handshake(node: Arc<Node>, tcp: TcpStream, ready: mpsc::Sender<Connection>) {
    // Go sets this on every connection; without it a small answer waits for the peer's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let acceptor = TlsAcceptor::from(node.tls.config());
    // A client that does not trust the certificate hangs up here, which is its right.
    let Ok(tls) = acceptor.accept(tcp).await else {
        return;
    };
    let connection = Connection::new(tls);
    node.connections.track(&connection);
    let _ = ready.send(connection).await;
}
