//! From a host to a TCP connection: looked up once, judged, and connected to what was judged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_socks::tcp::Socks5Stream;

use super::Error;
use super::addresses::Checked;
use super::target::Host;

/// Turns a name and a port into addresses; a parameter, as time is.
pub(super) type Lookup = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The machine's own resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name, port| async move { Ok(lookup_host((name, port)).await?.collect()) }.boxed())
}

/// What a host stands for. The one place where a name is looked up.
pub(super) async fn look_up(host: &Host, port: u16, lookup: &Lookup) -> Result<Vec<SocketAddr>, Error> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(address.to_canonical(), port)]),
        Host::Name(name) => lookup(name.clone(), port).await.map_err(|error| told(&error, Error::Unresolved)),
        Host::Onion(_) => Err(Error::Onion),
    }
}

/// Connects to the first of the addresses that answers; each has its share of the time that is left.
pub(super) async fn connect(checked: &Checked, by: Instant) -> Result<TcpStream, Error> {
    let (mut failed, mut left) = (Error::Unreachable, checked.addresses());
    while let Some((address, others)) = left.split_first() {
        let share = by.duration_since(Instant::now()) / u32::try_from(left.len()).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = told(&error, Error::Unreachable),
            Err(_) => failed = Error::TimedOut,
        }
        left = others;
    }
    Err(failed)
}

/// Connects to an onion host; the proxy is the operator's, and so is its address.
pub(super) async fn through(proxy: SocketAddr, host: &str, port: u16) -> Result<TcpStream, Error> {
    let connected = Socks5Stream::connect(proxy, (host, port)).await;
    connected.map(Socks5Stream::into_inner).map_err(|error| told(&error, Error::Unreachable))
}

/// Only the class leaves this module; the details are the operator's.
pub(super) fn told(details: &(dyn std::error::Error + 'static), class: Error) -> Error {
    tracing::debug!(error = details, class = %class, "somebody else was not reached");
    class
}
