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
struct Page(Vec<Listed>);

impl NetlinkDeserializable for Page {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
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
