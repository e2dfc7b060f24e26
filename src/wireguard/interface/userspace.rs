//! WireGuard in a daemon such as wireguard-go, by the text protocol of its socket
//! (wireguard.com/xplatform, "Cross-platform userspace implementation").

use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::device::Device;
use super::error::Error;
use super::text::{self, Answer};
use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::PrivateKey;
use crate::domain::peer_diff::PeerChange;

/// For one exchange; 10,000 peers are listed in about 50 ms.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 64 * 1_024;
/// Peers in one exchange, half a second's work for wireguard-go. It reads no second request before it has answered the
/// first, and idles in between: with 500 in each, 10,000 took a twentieth longer.
const MOST_PEERS: usize = 5_000;

pub struct Userspace(UnixStream);

pub fn socket_path(name: &InterfaceName) -> String {
    format!("/var/run/wireguard/{name}.sock")
}

impl Userspace {
    /// None where no daemon listens; a socket without one may lie there since it was killed.
    pub async fn open(name: &InterfaceName) -> Result<Option<Self>, Error> {
        match UnixStream::connect(socket_path(name)).await {
            Ok(stream) => Ok(Some(Self(stream))),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
                Some(Errno::PERM | Errno::ACCESS) => {
                    let user = rustix::process::geteuid().as_raw();
                    Err(Error::SocketOfAnother { socket: socket_path(name), user })
                }
                _ => Err(Error::Unreachable("the WireGuard daemon", error)),
            },
        }
    }

    pub async fn read(&mut self) -> Result<Device, Error> {
        self.exchange("list the peers", "get=1\n\n").await
    }

    pub async fn configure(&mut self, private_key: &PrivateKey, listen_port: u16) -> Result<(), Error> {
        let request = text::device_request(private_key, listen_port);
        self.exchange("set key and port", &request).await.map(drop)
    }

    pub async fn apply(&mut self, changes: &[PeerChange]) -> Result<(), Error> {
        for changes in changes.chunks(MOST_PEERS) {
            self.exchange("change peers", &text::peers_request(changes)).await?;
        }
        Ok(())
    }

    async fn exchange(&mut self, doing: &'static str, request: &str) -> Result<Device, Error> {
        let unreachable = |source| Error::Unreachable("the WireGuard daemon", source);
        timeout(PATIENCE, async {
            self.0.write_all(request.as_bytes()).await.map_err(unreachable)?;
            self.answer(doing).await
        })
        .await
        .map_err(|_| Error::TooSlow)?
    }

    /// Reads lines until the empty one that ends an answer; they have keys in them, so they pass one wiped buffer.
    async fn answer(&mut self, doing: &'static str) -> Result<Device, Error> {
        let mut buffer = Zeroizing::new(vec![0; BUFFER]);
        let mut filled = 0;
        let mut answer = Answer::default();
        loop {
            let free = buffer.get_mut(filled..).unwrap_or_default();
            let read = self.0.read(free).await.map_err(|source| Error::Unreachable("the WireGuard daemon", source))?;
            if read == 0 {
                return Err(Error::Unreadable("it ended too early, or a line is too long"));
            }
            filled += read;
            let text = buffer.get(..filled).unwrap_or_default();
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if answer.read(text.get(..whole).unwrap_or_default())? {
                return answer.finish(doing);
            }
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }
}
