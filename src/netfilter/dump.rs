//! The elements of a set as the kernel lists them (`linux/netfilter/nf_tables.h`).
//!
//! Read here and not by `netlink-packet-netfilter`, which leaves out what a counter says.

use std::fmt::Debug;
use std::time::Duration;

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader, NlaBuffer, NlasIterator, parse_u64_be};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::nftables::{NfTablesMessage, SetElementList, SetElementMessage};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::TABLE;
use super::error::Error;
use super::transaction::of_table;
use crate::netlink::{self, Netlink};

/// What stands before the attributes: family, version, and how often tables were changed.
pub const HEADER: usize = 4;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_EXPRESSION: u16 = 7;
const ELEMENT_EXPRESSIONS: u16 = 11;
const DATA_VALUE: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_BYTES: u16 = 1;

/// So often a list is read anew that somebody changed meanwhile.
const ATTEMPTS: usize = 5;

/// An element as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub key: Vec<u8>,
    pub data: Vec<u8>,
    /// What is left of its time.
    pub expires_in: Option<Duration>,
    pub bytes: Option<u64>,
}

/// Reads the table's sets one after the other.
pub struct Sets(Netlink);

impl Sets {
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Netlink::open(NETLINK_NETFILTER)?))
    }

    /// None where there is no such set, and so no table of ours.
    pub async fn read(&mut self, set: &str) -> Result<Option<Vec<Listed>>, Error> {
        let attributes = vec![SetElementList::Table(TABLE.to_owned()), SetElementList::Set(set.to_owned())];
        let asked = of_table(NfTablesMessage::GetSetElement(SetElementMessage { attributes }));
        match read_all(&mut self.0, "list what customers may", &asked).await {
            Ok(pages) => Ok(Some(pages.into_iter().flat_map(|Page(elements)| elements).collect())),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// All that is listed, from one moment: again where somebody changed it meanwhile.
pub async fn read_all<A>(
    netlink: &mut Netlink,
    doing: &'static str,
    asked: &NetfilterMessage,
) -> Result<Vec<A>, netlink::Error>
where
    A: NetlinkDeserializable + Debug,
{
    for _ in 0..ATTEMPTS {
        match netlink.dump(doing, asked.clone()).await {
            Err(netlink::Error::Torn) => {}
            done => return done,
        }
    }
    Err(netlink::Error::Torn)
}

/// What one message of a list says.
#[derive(Debug)]
pub struct Page(pub Vec<Listed>);

impl NetlinkDeserializable for Page {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Self::parse(payload)
    }
}

impl Page {
    /// From a message without its netlink header.
    pub fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut elements = Vec::new();
        for list in attributes(payload.get(HEADER..).unwrap_or_default()) {
            let list = list?;
            if list.kind() == LIST_ELEMENTS {
                for element in attributes(list.value()) {
                    elements.push(element_of(element?.value())?);
                }
            }
        }
        Ok(Self(elements))
    }
}

fn attributes(payload: &[u8]) -> NlasIterator<&[u8]> {
    NlasIterator::new(payload)
}

fn element_of(payload: &[u8]) -> Result<Listed, DecodeError> {
    let mut listed = Listed::default();
    for attribute in attributes(payload) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            ELEMENT_KEY => listed.key = inner(value, DATA_VALUE)?.unwrap_or_default(),
            ELEMENT_DATA => listed.data = inner(value, DATA_VALUE)?.unwrap_or_default(),
            ELEMENT_EXPIRATION => listed.expires_in = Some(Duration::from_millis(parse_u64_be(value)?)),
            ELEMENT_EXPRESSION => listed.bytes = counted(value)?,
            ELEMENT_EXPRESSIONS => {
                for expression in attributes(value) {
                    listed.bytes = listed.bytes.or(counted(expression?.value())?);
                }
            }
            _ => {}
        }
    }
    Ok(listed)
}

/// What a counter says; none of another expression.
fn counted(expression: &[u8]) -> Result<Option<u64>, DecodeError> {
    if inner(expression, EXPRESSION_NAME)?.as_deref() != Some(b"counter\0") {
        return Ok(None);
    }
    let data = inner(expression, EXPRESSION_DATA)?.unwrap_or_default();
    inner(&data, COUNTER_BYTES)?.map(|bytes| parse_u64_be(&bytes)).transpose()
}

/// The first attribute of this kind.
pub fn inner(payload: &[u8], kind: u16) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut found =
        attributes(payload).filter(|one| one.as_ref().map_or(true, |one: &NlaBuffer<_>| one.kind() == kind));
    found.next().map(|one| one.map(|one| one.value().to_vec())).transpose()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const NESTED: u16 = 0x8000;
    const ELEMENT: u16 = 1;

    /// As the kernel writes one (`linux/netlink.h`): length, kind, value, up to a multiple of four bytes.
    pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        attribute(kind | NESTED, &parts.concat())
    }

    fn page(elements: &[Vec<u8>]) -> Vec<u8> {
        let header = vec![1, 0, 0, 7];
        let names = [attribute(1, b"wgsub\0"), attribute(2, b"up4\0")].concat();
        [header, names, nested(LIST_ELEMENTS, elements)].concat()
    }

    fn expression(name: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
        vec![attribute(EXPRESSION_NAME, name), nested(EXPRESSION_DATA, &[attribute(COUNTER_BYTES, value)])]
    }

    fn two() -> Vec<u8> {
        let key = |last| nested(ELEMENT_KEY, &[attribute(DATA_VALUE, &[10, 9, 0, last])]);
        let leased = vec![
            key(2),
            attribute(ELEMENT_EXPIRATION, &1_500_u64.to_be_bytes()),
            nested(ELEMENT_EXPRESSION, &expression(b"counter\0", &77_u64.to_be_bytes())),
        ];
        let limit = nested(ELEMENT, &expression(b"limit\0", &5_u64.to_be_bytes()));
        let counter = nested(ELEMENT, &expression(b"counter\0", &88_u64.to_be_bytes()));
        let mapped = vec![
            key(3),
            nested(ELEMENT_DATA, &[attribute(DATA_VALUE, b"data")]),
            nested(ELEMENT_EXPRESSIONS, &[limit, counter]),
            attribute(99, b"of a newer kernel"),
        ];
        page(&[nested(ELEMENT, &leased), nested(ELEMENT, &mapped)])
    }

    #[test]
    fn elements_are_read_with_their_time_and_their_counter() {
        let Page(found) = Page::parse(&two()).unwrap();
        let leased = Listed {
            key: vec![10, 9, 0, 2],
            expires_in: Some(Duration::from_millis(1_500)),
            bytes: Some(77),
            ..Listed::default()
        };
        let mapped = Listed { key: vec![10, 9, 0, 3], data: b"data".to_vec(), bytes: Some(88), ..Listed::default() };
        assert_eq!(found, [leased, mapped]);
        assert_eq!(Page::parse(&page(&[])).unwrap().0, []);
    }

    #[test]
    fn a_page_that_is_cut_off_is_an_error_or_has_fewer_elements() {
        let whole = two();
        for end in 0..whole.len() {
            assert!(
                Page::parse(&whole[..end]).is_ok_and(|Page(found)| found.is_empty())
                    || Page::parse(&whole[..end]).is_err()
            );
        }
    }
}
