//! A WireGuard interface of this machine: the kernel's own, or that of a daemon such as wireguard-go.
//!
//! Traffic outlives us: the interface is never deleted, and its peers are only ever changed, never replaced as a whole.

use std::time::Duration;

use ipnet::IpNet;
use rustix::io::Errno;

use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::PrivateKey;
use crate::domain::peer_diff::{PeerChange, PeerStatus};

pub use device::Device;
pub use error::Error;
use kernel::Kernel;
use link::{Link, Links};
pub use text::Answer;
use userspace::{Userspace, socket_path};

mod device;
mod error;
mod kernel;
mod link;
mod message;
mod text;
mod userspace;

/// A daemon opens its port some moments after its interface came up, and tells nobody when it could not.
const MOMENT: Duration = Duration::from_millis(10);
const MOMENTS: usize = 50;

/// How an interface should be.
#[derive(Debug, Clone)]
pub struct Settings {
    pub private_key: PrivateKey,
    pub listen_port: u16,
    /// With their host bits: `10.9.0.1/21`.
    pub addresses: Vec<IpNet>,
    pub mtu: u32,
}

/// Reads and changes go one after the other: a list that is read while it changes may be torn.
#[derive(Debug)]
pub struct Interface {
    name: InterfaceName,
}

impl Interface {
    pub const fn new(name: InterfaceName) -> Self {
        Self { name }
    }

    /// Makes the interface where the kernel can, and gives it its key, port and addresses; a new one is not up yet. What
    /// is already so stays untouched, peers and sessions above all.
    pub async fn prepare(&mut self, settings: &Settings) -> Result<(), Error> {
        let mut links = Links::open()?;
        let (mut backend, link) = self.backend_and_link(&mut links).await?;
        let device = backend.read().await?;
        if !device.has_private_key(&settings.private_key) || device.listen_port != settings.listen_port {
            backend.configure(settings).await?;
        }
        links.set_addresses(&link, &settings.addresses).await
    }

    /// Opens its port to those who are its peers by now: whoever dials before tries again only after five seconds.
    pub async fn bring_up(&mut self, settings: &Settings) -> Result<(), Error> {
        let mut links = Links::open()?;
        let (mut backend, link) = self.backend_and_link(&mut links).await?;
        match links.bring_up(&link, settings.mtu).await {
            Err(error) if error.is(Errno::ADDRINUSE) => return Err(Error::PortTaken(settings.listen_port)),
            done => done?,
        }
        backend.wait_for_port(settings.listen_port).await
    }

    /// Whether it has its key, port, addresses and MTU, and is up; its peers are not looked at.
    pub async fn is_as(&mut self, settings: &Settings) -> Result<bool, Error> {
        let device = self.read().await?;
        if !device.has_private_key(&settings.private_key) || device.listen_port != settings.listen_port {
            return Ok(false);
        }
        let mut links = Links::open()?;
        let Some(link) = links.find(&self.name).await? else { return Ok(false) };
        Ok(link.is_up(settings.mtu) && links.has_addresses(&link, &settings.addresses).await?)
    }

    /// Whether it is there with peers and another key than this one.
    pub async fn is_somebody_elses(&mut self, key: &PrivateKey) -> Result<bool, Error> {
        match self.read().await {
            Ok(device) => Ok(!device.peers.is_empty() && !device.has_private_key(key)),
            Err(Error::NoSuchDevice(_) | Error::NoWireguard { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn read(&mut self) -> Result<Device, Error> {
        self.backend().await?.read().await
    }

    pub async fn dump(&mut self) -> Result<Vec<PeerStatus>, Error> {
        Ok(self.read().await?.peers)
    }

    /// The same; none while there is no interface.
    pub async fn dump_if_there(&mut self) -> Result<Vec<PeerStatus>, Error> {
        match self.dump().await {
            Err(Error::NoSuchDevice(_) | Error::NoWireguard { .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Applies the changes in their order. After an error some may be made: read again, and take the difference.
    pub async fn apply(&mut self, changes: &[PeerChange]) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        match self.backend().await? {
            Backend::Kernel(mut kernel) => kernel.apply(changes).await,
            Backend::Userspace(mut daemon) => daemon.apply(changes).await,
        }
    }

    async fn backend_and_link(&self, links: &mut Links) -> Result<(Backend<'_>, Link), Error> {
        let daemon = Userspace::open(&self.name).await?;
        if daemon.is_none() && links.find(&self.name).await?.is_none() {
            match links.create(&self.name).await {
                Err(error) if error.is(Errno::OPNOTSUPP) => return Err(self.no_wireguard()),
                // Somebody else was faster.
                Err(error) if error.is(Errno::EXIST) => {}
                done => done?,
            }
        }
        let backend = match daemon {
            Some(daemon) => Backend::Userspace(daemon),
            None => self.kernel().await?,
        };
        let link = links.find(&self.name).await?.ok_or_else(|| Error::NoSuchDevice(self.name.clone()))?;
        Ok((backend, link))
    }

    /// Chosen each time: a daemon may have been started, or may have died, since.
    async fn backend(&self) -> Result<Backend<'_>, Error> {
        match Userspace::open(&self.name).await? {
            Some(daemon) => Ok(Backend::Userspace(daemon)),
            None => self.kernel().await,
        }
    }

    async fn kernel(&self) -> Result<Backend<'_>, Error> {
        Kernel::open(&self.name).await?.map(Backend::Kernel).ok_or_else(|| self.no_wireguard())
    }

    fn no_wireguard(&self) -> Error {
        Error::NoWireguard { name: self.name.clone(), socket: socket_path(&self.name) }
    }
}

/// Whether this machine has a network interface of this name, of whatever kind.
pub async fn is_there(name: &InterfaceName) -> Result<bool, Error> {
    Ok(Links::open()?.find(name).await?.is_some())
}

enum Backend<'a> {
    Kernel(Kernel<'a>),
    Userspace(Userspace),
}

impl Backend<'_> {
    async fn read(&mut self) -> Result<Device, Error> {
        match self {
            Self::Kernel(kernel) => kernel.read().await,
            Self::Userspace(daemon) => daemon.read().await,
        }
    }

    async fn configure(&mut self, settings: &Settings) -> Result<(), Error> {
        let done = match self {
            Self::Kernel(kernel) => kernel.configure(&settings.private_key, settings.listen_port).await,
            Self::Userspace(daemon) => daemon.configure(&settings.private_key, settings.listen_port).await,
        };
        match done {
            Err(error) if error.is(Errno::ADDRINUSE) => Err(Error::PortTaken(settings.listen_port)),
            done => done,
        }
    }

    async fn wait_for_port(&mut self, port: u16) -> Result<(), Error> {
        for _ in 0..MOMENTS {
            if self.read().await?.listen_port == port {
                return Ok(());
            }
            tokio::time::sleep(MOMENT).await;
        }
        Err(Error::PortTaken(port))
    }
}
