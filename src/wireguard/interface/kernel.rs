//! WireGuard in the kernel, by generic netlink (linux/wireguard.h).

use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{WireguardAttribute, WireguardCmd, WireguardMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use rustix::io::Errno;

use super::device::Device;
use super::error::Error;
use super::message::{Message, device_of, lists_of_peers};
use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::PrivateKey;
use crate::domain::peer_diff::PeerChange;
use crate::netlink::{self, Netlink};

const ATTEMPTS: usize = 5;

pub struct Kernel<'a> {
    netlink: Netlink,
    family: u16,
    name: &'a InterfaceName,
}

impl<'a> Kernel<'a> {
    /// None where the kernel has no WireGuard.
    pub async fn open(name: &'a InterfaceName) -> Result<Option<Self>, Error> {
        let mut netlink = Netlink::open(NETLINK_GENERIC)?;
        let family = GenlCtrlAttrs::FamilyName("wireguard".to_owned());
        let asked = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![family] });
        let answers = match netlink.change("look for WireGuard", asked, 0).await {
            Err(error) if error.is(Errno::NOENT) => return Ok(None),
            answers => answers?,
        };
        let id = answers.iter().flat_map(|answer| &answer.payload.nlas).find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(id) => Some(*id),
            _ => None,
        });
        Ok(id.map(|family| Self { netlink, family, name }))
    }

    /// Asks again while the peers change underneath.
    pub async fn read(&mut self) -> Result<Device, Error> {
        for _ in 0..ATTEMPTS {
            let asked = self.message(WireguardCmd::GetDevice, Vec::new());
            match self.netlink.dump("list the peers", asked).await {
                Err(netlink::Error::Torn) => {}
                answers => {
                    let answers: Vec<GenlMessage<Message>> = answers.map_err(|error| self.named(error.into()))?;
                    return Ok(device_of(answers.iter().map(|answer| &answer.payload)));
                }
            }
        }
        Err(Error::Torn)
    }

    pub async fn configure(&mut self, private_key: &PrivateKey, listen_port: u16) -> Result<(), Error> {
        let key = WireguardAttribute::PrivateKey(*private_key.as_bytes());
        self.set("set key and port", vec![key, WireguardAttribute::ListenPort(listen_port)]).await
    }

    pub async fn apply(&mut self, changes: &[PeerChange]) -> Result<(), Error> {
        for peers in lists_of_peers(changes) {
            self.set("change peers", vec![WireguardAttribute::Peers(peers)]).await?;
        }
        Ok(())
    }

    async fn set(&mut self, doing: &'static str, attributes: Vec<WireguardAttribute>) -> Result<(), Error> {
        let message = self.message(WireguardCmd::SetDevice, attributes);
        let answers = self.netlink.change(doing, message, 0).await;
        answers.map(drop).map_err(|error| self.named(error.into()))
    }

    fn message(&self, cmd: WireguardCmd, mut attributes: Vec<WireguardAttribute>) -> GenlMessage<Message> {
        attributes.insert(0, WireguardAttribute::IfName(self.name.to_string()));
        let mut message = GenlMessage::from_payload(Message(WireguardMessage { cmd, attributes }));
        message.set_resolved_family_id(self.family);
        message
    }

    fn named(&self, error: Error) -> Error {
        match error {
            error if error.is(Errno::NODEV) => Error::NoSuchDevice(self.name.clone()),
            error if error.is(Errno::OPNOTSUPP) => Error::NotWireguard(self.name.clone()),
            error => error,
        }
    }
}
