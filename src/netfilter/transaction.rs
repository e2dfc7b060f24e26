//! Changes of elements as the kernel takes them (`linux/netfilter/nf_tables.h`): one datagram that is applied whole or not at
//! all. A process of `nft` for the same takes a hundred times as long.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily, NetfilterSubsystem};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::elements::{Change, Element, Verb};
use super::error::Error;
use super::{Forward, TABLE};
use crate::netlink::Netlink;

/// In one list: its length has 16 bits, and an element has fewer than 64 bytes.
const MOST_ELEMENTS: usize = 1_000;
const TCP: u8 = 6;

pub async fn apply(change: &Change) -> Result<(), Error> {
    let mut messages = lists(change);
    // Whatever is refused is told; that it was made is told for the last.
    let Some((_, flags)) = messages.last_mut() else { return Ok(()) };
    *flags |= NLM_F_ACK;
    messages.insert(0, (control(ControlMessage::BatchBegin), 0));
    messages.push((control(ControlMessage::BatchEnd), 0));
    let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
    Ok(netlink.exchange("change what customers may", messages, |_: NetfilterMessage| ()).await?)
}

fn lists(change: &Change) -> Vec<(NetfilterMessage, u16)> {
    let mut messages = Vec::new();
    for (verb, set, elements) in change.steps() {
        let elements: Vec<_> =
            elements.iter().map(|element| ListAttribute::Element(attributes(verb, element))).collect();
        for part in elements.chunks(MOST_ELEMENTS) {
            let list = SetElementMessage {
                attributes: vec![
                    SetElementList::Table(TABLE.to_owned()),
                    SetElementList::Set(set.to_owned()),
                    SetElementList::Elements(part.to_vec()),
                ],
            };
            messages.push(match verb {
                Verb::Add => (of_table(NfTablesMessage::NewSetElement(list)), NLM_F_CREATE),
                Verb::Delete => (of_table(NfTablesMessage::DeleteSetElement(list)), 0),
            });
        }
    }
    messages
}

/// A message about something in our table.
pub fn of_table(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

fn control(message: ControlMessage) -> NetfilterMessage {
    let subsystem = u8::from(NetfilterSubsystem::NfTables).into();
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, subsystem), message)
}

fn attributes(verb: Verb, element: &Element) -> Vec<SetElementAttribute> {
    let value = |bytes| DataAttribute::Value(bytes);
    match *element {
        Element::Address { address, timeout } => {
            let key = SetElementAttribute::Key(value(octets(address)));
            let timeout =
                timeout.filter(|_| verb == Verb::Add).map(|lease| SetElementAttribute::Timeout(millis(lease)));
            std::iter::once(key).chain(timeout).collect()
        }
        Element::Forward(Forward { public_port, address, target_port }) => {
            // Each part of a key begins at a multiple of four bytes.
            let key = SetElementAttribute::Key(value([&[TCP, 0, 0, 0], &port(public_port)[..]].concat()));
            let to = SetElementAttribute::Data(value([octets(address), port(target_port).to_vec()].concat()));
            std::iter::once(key).chain((verb == Verb::Add).then_some(to)).collect()
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

const fn port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlink_packet_netfilter::NetfilterMessageInner;

    use super::*;
    use crate::netfilter::{Customer, CustomerChange};

    fn customer(n: u16) -> Customer {
        Customer {
            address: Ipv4Addr::from_bits(Ipv4Addr::new(10, 9, 0, 2).to_bits() + u32::from(n)),
            address6: None,
            public_port: 20_000 + n,
            target_port: 9_735,
            lease: Some(Duration::from_millis(1_500)),
            throttled: false,
        }
    }

    fn sizes(customers: u16) -> Vec<usize> {
        let changes: Vec<_> = (0..customers).map(|n| CustomerChange::Add(customer(n))).collect();
        let lists = lists(&Change::of(&changes)).into_iter();
        lists.map(|(message, _)| elements_of(&message)).collect()
    }

    fn elements_of(message: &NetfilterMessage) -> usize {
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(list)) = &message.inner else {
            panic!("{message:?}")
        };
        let elements = list.attributes.iter().map(|attribute| match attribute {
            SetElementList::Elements(elements) => elements.len(),
            _ => 0,
        });
        elements.sum()
    }

    #[test]
    fn a_list_is_no_longer_than_its_length_can_say() {
        // Forward, lease and two counters.
        assert_eq!(sizes(1_000), [1_000; 4]);
        assert_eq!(sizes(1_001), [1_000, 1, 1_000, 1, 1_000, 1, 1_000, 1]);
        assert!(sizes(0).is_empty());
    }

    #[test]
    fn a_forward_is_written_in_parts_of_four_bytes_and_taken_away_by_its_key() {
        let forward = Forward { public_port: 35_002, address: [10, 9, 0, 2].into(), target_port: 9_735 };
        let key = SetElementAttribute::Key(DataAttribute::Value(vec![6, 0, 0, 0, 0x88, 0xba, 0, 0]));
        let to = SetElementAttribute::Data(DataAttribute::Value(vec![10, 9, 0, 2, 0x26, 0x07, 0, 0]));
        assert_eq!(attributes(Verb::Add, &Element::Forward(forward)), [key.clone(), to]);
        assert_eq!(attributes(Verb::Delete, &Element::Forward(forward)), [key]);
    }

    #[test]
    fn a_lease_has_its_time_where_it_is_given_only() {
        let lease = Element::Address { address: [10, 9, 0, 2].into(), timeout: Some(Duration::from_millis(1_500)) };
        let key = SetElementAttribute::Key(DataAttribute::Value(vec![10, 9, 0, 2]));
        assert_eq!(attributes(Verb::Add, &lease), [key.clone(), SetElementAttribute::Timeout(1_500)]);
        assert_eq!(attributes(Verb::Delete, &lease), [key]);
    }
}
