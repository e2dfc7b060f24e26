//! The interface as any other link: made, given addresses and an MTU, brought up (rtnetlink). Never deleted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::error::Error;
use crate::domain::interface_name::InterfaceName;
use crate::netlink::Netlink;

/// The link as it is.
pub struct Link {
    index: u32,
    mtu: u32,
    is_up: bool,
}

impl Link {
    pub const fn is_up(&self, mtu: u32) -> bool {
        self.is_up && self.mtu == mtu
    }
}

pub struct Links(Netlink);

impl Links {
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Netlink::open(NETLINK_ROUTE)?))
    }

    pub async fn find(&mut self, name: &InterfaceName) -> Result<Option<Link>, Error> {
        let asked = link_message(0, vec![LinkAttribute::IfName(name.to_string())]);
        let found = self.0.change("look the interface up", RouteNetlinkMessage::GetLink(asked), 0).await;
        let messages = match found {
            Err(error) if error.is(Errno::NODEV) => return Ok(None),
            found => found?,
        };
        Ok(messages.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link_of(&link)),
            _ => None,
        }))
    }

    /// # Errors
    /// A refusal with `EOPNOTSUPP` where the kernel has no WireGuard.
    pub async fn create(&mut self, name: &InterfaceName) -> Result<(), Error> {
        let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]);
        let link = link_message(0, vec![LinkAttribute::IfName(name.to_string()), kind]);
        let new = RouteNetlinkMessage::NewLink(link);
        self.0.change("make the interface", new, NLM_F_CREATE | NLM_F_EXCL).await?;
        Ok(())
    }

    /// Removes before it adds: the kernel drops further addresses of a subnet with the first.
    pub async fn set_addresses(&mut self, link: &Link, desired: &[IpNet]) -> Result<(), Error> {
        let desired: BTreeSet<IpNet> = desired.iter().copied().collect();
        for surplus in self.addresses(link).await?.difference(&desired) {
            let message = RouteNetlinkMessage::DelAddress(address_message(link, *surplus));
            self.0.change("remove an address", message, 0).await?;
        }
        let kept = self.addresses(link).await?;
        for missing in desired.difference(&kept) {
            let message = RouteNetlinkMessage::NewAddress(address_message(link, *missing));
            self.0.change("add an address", message, NLM_F_CREATE | NLM_F_EXCL).await?;
        }
        Ok(())
    }

    pub async fn has_addresses(&mut self, link: &Link, desired: &[IpNet]) -> Result<bool, Error> {
        Ok(self.addresses(link).await? == desired.iter().copied().collect())
    }

    pub async fn bring_up(&mut self, link: &Link, mtu: u32) -> Result<(), Error> {
        if link.mtu != mtu {
            let message = link_message(link.index, vec![LinkAttribute::Mtu(mtu)]);
            self.0.change("set the MTU", RouteNetlinkMessage::SetLink(message), 0).await?;
        }
        if !link.is_up {
            let mut message = link_message(link.index, Vec::new());
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
            self.0.change("bring the interface up", RouteNetlinkMessage::SetLink(message), 0).await?;
        }
        Ok(())
    }

    /// Without those that IPv6 makes for itself.
    async fn addresses(&mut self, link: &Link) -> Result<BTreeSet<IpNet>, Error> {
        let asked = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let messages: Vec<RouteNetlinkMessage> = self.0.dump("list the addresses", asked).await?;
        let of_link = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) if address.header.index == link.index => Some(address),
            _ => None,
        });
        Ok(of_link.filter(|address| address.header.scope != AddressScope::Link).filter_map(|a| net_of(&a)).collect())
    }
}

fn link_message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn link_of(message: &LinkMessage) -> Link {
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    let is_up = message.header.flags.contains(LinkFlags::Up);
    Link { index: message.header.index, mtu: mtu.unwrap_or_default(), is_up }
}

fn address_message(link: &Link, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.index;
    message.header.prefix_len = net.prefix_len();
    message.header.family = match net {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    message
}

/// IPv4 has its own address in `Local`, beside the other end's; IPv6 in `Address` alone.
fn net_of(message: &AddressMessage) -> Option<IpNet> {
    let mut address: Option<IpAddr> = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => address = Some(*local),
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            _ => {}
        }
    }
    IpNet::new(address?, message.header.prefix_len).ok()
}
