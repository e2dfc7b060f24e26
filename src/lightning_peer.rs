//! Speaking to another Lightning node as far as a handshake: BOLT 8's Noise, then BOLT 1's `init`, both by LDK.
//!
//! LDK holds no connection and no task: bytes are carried between it and a connection that somebody else made, and all of
//! it ends when the call does. Of what the far end says nothing is kept but whether it was right.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::{IgnoringMessageHandler, PeerManager, SocketDescriptor};
use lightning::sign::KeysManager;
use lightning::util::logger::{Logger, Record};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::domain::lightning::NodeId;
use crate::random;

/// Twice the longest message; who says more than that has not said `init`.
const MOST_BYTES: usize = 128 * 1024;
const READ_AT_ONCE: usize = 4_096;

/// Why there was no handshake: the class of it, which may be shown to whoever gave the address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // A node that has another key closes the connection without a word.
    #[error("the connection was closed: another node, or none, is at this address")]
    Closed,
    #[error("what is at this address does not speak as this Lightning node")]
    Protocol,
    #[error("the system has no randomness")]
    Random(#[source] io::Error),
}

/// Becomes a peer of the node for a moment, as somebody whom nobody knows: our keys are made for this one time.
///
/// # Errors
/// When the far end is no Lightning node, has another key than `node`, or closes the connection first. It may also say
/// nothing for ever: the caller has the deadline.
pub async fn shake_hands(mut stream: impl AsyncRead + AsyncWrite + Unpin, node: NodeId) -> Result<(), Error> {
    let node = PublicKey::from_slice(node.as_bytes()).map_err(|_| Error::Protocol)?;
    let seed: Zeroizing<[u8; 32]> = random::bytes().map(Zeroizing::new).map_err(Error::Random)?;
    let ephemeral: Zeroizing<[u8; 32]> = random::bytes().map(Zeroizing::new).map_err(Error::Random)?;
    let keys = KeysManager::new(&seed, 0, 0, true);
    let peers = PeerManager::new_routing_only(IgnoringMessageHandler {}, 0, &ephemeral, &Silent, &keys);
    let mut outgoing = Outgoing::default();
    let greeting = peers.new_outbound_connection(node, outgoing.clone(), None).map_err(|_| Error::Protocol)?;
    stream.write_all(&greeting).await.map_err(|error| closed(&error))?;
    let (mut buffer, mut left) = ([0; READ_AT_ONCE], MOST_BYTES);
    while peers.peer_by_node_id(&node).is_none() {
        let read = stream.read(&mut buffer).await.map_err(|error| closed(&error))?;
        left = left.checked_sub(read).ok_or(Error::Protocol)?;
        let heard = buffer.get(..read).filter(|heard| !heard.is_empty()).ok_or(Error::Closed)?;
        peers.read_event(&mut outgoing, heard).map_err(|_| Error::Protocol)?;
        peers.process_events();
        stream.write_all(&outgoing.take()).await.map_err(|error| closed(&error))?;
    }
    Ok(())
}

fn closed(error: &io::Error) -> Error {
    tracing::debug!(%error, "a node that was called closed the connection");
    Error::Closed
}

/// Where LDK leaves what is to be sent: tiny, for it is sent at once.
#[derive(Clone, Default)]
struct Outgoing(Arc<Mutex<Vec<u8>>>);

impl Outgoing {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SocketDescriptor for Outgoing {
    fn send_data(&mut self, data: &[u8], _continue_read: bool) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
        data.len()
    }

    /// LDK says the same by the error of `read_event`.
    fn disconnect_socket(&mut self) {}
}

impl PartialEq for Outgoing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Outgoing {}

impl Hash for Outgoing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// LDK's log repeats what the far end says.
struct Silent;

impl Logger for Silent {
    fn log(&self, _: Record) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// The generator of the curve.
    fn somebody() -> NodeId {
        NodeId::parse("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").unwrap()
    }

    /// How it ends with a far end that says this, whatever it is told, and closes.
    async fn with_far_end(says: &[u8]) -> Error {
        let (near, mut far) = duplex(MOST_BYTES);
        let speak = async {
            let mut greeting = [0; 50];
            far.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting[0], 0, "the version of BOLT 8");
            far.write_all(says).await.unwrap();
            drop(far);
        };
        let (ended, ()) = tokio::join!(shake_hands(near, somebody()), speak);
        ended.unwrap_err()
    }

    #[tokio::test]
    async fn a_far_end_that_closes_and_one_that_speaks_otherwise_are_told_apart() {
        assert!(matches!(with_far_end(b"").await, Error::Closed));
        assert!(matches!(with_far_end(&[0; 49]).await, Error::Closed));
        for odd in [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n12345".as_slice(), &[0; 50], &[0xff; 5_000]]
        {
            assert!(matches!(with_far_end(odd).await, Error::Protocol));
        }
    }

    #[tokio::test]
    async fn nobody_is_greeted_twice_with_the_same_key() {
        let greet = async || {
            let (near, mut far) = duplex(MOST_BYTES);
            let mut greeting = [0; 50];
            let hear = async {
                far.read_exact(&mut greeting).await.unwrap();
                drop(far);
            };
            let (_, ()) = tokio::join!(shake_hands(near, somebody()), hear);
            greeting
        };
        assert_ne!(greet().await, greet().await);
    }
}
