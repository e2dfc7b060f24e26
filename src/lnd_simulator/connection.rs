//! A client's TLS connection that the node can freeze or reset from outside, as networks do.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

const OPEN: u8 = 0;
const FROZEN: u8 = 1;
const RESET: u8 = 2;

pub(super) struct Connection {
    io: TlsStream<TcpStream>,
    control: ConnectionControl,
}

/// The handle on a connection; a request carries the one it came by.
#[derive(Clone)]
pub(super) struct ConnectionControl(Arc<Control>);

struct Control {
    peer: Option<SocketAddr>,
    mode: AtomicU8,
    waker: AtomicWaker,
}

impl Connection {
    pub(super) fn new(io: TlsStream<TcpStream>) -> Self {
        let peer = io.get_ref().0.peer_addr().ok();
        let control = Control { peer, mode: AtomicU8::new(OPEN), waker: AtomicWaker::new() };
        Self { io, control: ConnectionControl(Arc::new(control)) }
    }

    /// Ready with how the connection may go on; frozen ones wait until they are reset.
    fn poll_open(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.control.0.waker.register(context.waker());
        match self.control.0.mode.load(Ordering::SeqCst) {
            OPEN => Poll::Ready(Ok(())),
            FROZEN => Poll::Pending,
            _ => {
                // Without lingering, closing the socket sends a reset instead of a goodbye.
                let _ = self.io.get_ref().0.set_zero_linger();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }
}

impl ConnectionControl {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    pub(super) fn freeze(&self) {
        self.switch(FROZEN);
    }

    pub(super) fn reset(&self) {
        self.switch(RESET);
    }

    fn switch(&self, mode: u8) {
        self.0.mode.store(mode, Ordering::SeqCst);
        self.0.waker.wake();
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionControl;

    fn connect_info(&self) -> ConnectionControl {
        self.control.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(context))?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_open(context))?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// All connections that are open, so that a restart can close them.
#[derive(Default)]
pub(super) struct Connections(Mutex<Vec<Weak<Control>>>);

impl Connections {
    pub(super) fn track(&self, connection: &Connection) {
        let mut list = self.lock();
        list.retain(|control| control.strong_count() > 0);
        list.push(Arc::downgrade(&connection.control.0));
    }

    pub(super) fn reset_all(&self) {
        for control in self.lock().drain(..).filter_map(|control| control.upgrade()) {
            ConnectionControl(control).reset();
        }
    }

    pub(super) fn freeze_all(&self) {
        for control in self.lock().iter().filter_map(Weak::upgrade) {
            ConnectionControl(control).freeze();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Control>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
