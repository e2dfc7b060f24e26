//! Other firewalls on the same machine: what one of them drops is dropped, whatever our table says.
//!
//! Seen are chains of nftables, and of the iptables that are made of them, that drop by their policy what they do not
//! know. A rule that drops at the end of a chain, and the older iptables (`iptables-legacy`), are not.

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader, parse_u32_be};
use netlink_packet_netfilter::nftables::{ChainMessage, NfTablesMessage};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::dump::{HEADER, inner, read_all};
use super::error::Error;
use crate::netlink::Netlink;

// `linux/netfilter/nf_tables.h`, and the first byte of what stands before it.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
/// Those that see IP packets on their way through.
const FAMILIES: [(u8, &str); 3] = [(1, "inet"), (2, "ip"), (10, "ip6")];
const FORWARD: u32 = 2;
const DROP: u32 = 0;

/// The chains' names, each with its family and table; ours drops nothing by its policy.
pub async fn that_drop() -> Result<Vec<String>, Error> {
    let all = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    let all = NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0), all);
    let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
    let chains: Vec<Chain> = read_all(&mut netlink, "list the chains of others", &all).await?;
    Ok(chains.into_iter().filter_map(|chain| chain.drops.then_some(chain.name)).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    /// Forwarded packets, unless a rule of its says otherwise.
    drops: bool,
}

impl NetlinkDeserializable for Chain {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let attributes = payload.get(HEADER..).unwrap_or_default();
        let family = payload.first().and_then(|family| FAMILIES.iter().find(|known| known.0 == *family));
        let hook = inner(attributes, HOOK)?.map(|hook| number(&hook, HOOK_NUMBER)).transpose()?.flatten();
        let is_ours_to_mind = family.is_some() && hook == Some(FORWARD);
        Ok(Self {
            name: format!(
                "{} {} {}",
                family.map_or("another family", |family| family.1),
                text(attributes, TABLE)?,
                text(attributes, NAME)?
            ),
            drops: is_ours_to_mind && number(attributes, POLICY)? == Some(DROP),
        })
    }
}

fn number(attributes: &[u8], kind: u16) -> Result<Option<u32>, DecodeError> {
    inner(attributes, kind)?.map(|value| parse_u32_be(&value)).transpose()
}

fn text(attributes: &[u8], kind: u16) -> Result<String, DecodeError> {
    let value = inner(attributes, kind)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfilter::dump::tests::attribute;

    fn chain(family: u8, hook: Option<u32>, policy: Option<u32>) -> Chain {
        let hook = hook.map(|hook| attribute(HOOK, &attribute(HOOK_NUMBER, &hook.to_be_bytes())));
        let policy = policy.map(|policy| attribute(POLICY, &policy.to_be_bytes()));
        let names = [attribute(TABLE, b"filter\0"), attribute(NAME, b"FORWARD\0")].concat();
        let payload = [vec![family, 0, 0, 0], names, hook.unwrap_or_default(), policy.unwrap_or_default()].concat();
        Chain::deserialize(&NetlinkHeader::default(), &payload).unwrap()
    }

    #[test]
    fn a_policy_of_others_is_found() {
        let accept = 1;
        assert_eq!(chain(2, Some(FORWARD), Some(DROP)), Chain { name: "ip filter FORWARD".into(), drops: true });
        assert!(chain(1, Some(FORWARD), Some(DROP)).drops && chain(10, Some(FORWARD), Some(DROP)).drops);
        let bridge = 7;
        for harmless in [
            chain(2, Some(FORWARD), Some(accept)),
            chain(2, Some(1), Some(DROP)),
            chain(2, None, None),
            chain(bridge, Some(FORWARD), Some(DROP)),
        ] {
            assert!(!harmless.drops, "{harmless:?}");
        }
        assert!(Chain::deserialize(&NetlinkHeader::default(), &[2, 0, 0, 0, 9, 0, 4, 0]).is_err(), "cut off");
    }
}
