//! The table's chains and rules, to tell whether somebody changed them while its sets stayed.
//!
//! Not by `nft`, which asks for every element of every set even where it shows none: ten thousand customers cost it half a
//! second.

use netlink_packet_core::{DecodeError, NetlinkDeserializable, NetlinkHeader};
use netlink_packet_netfilter::nftables::{ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::TABLE;
use super::dump::{HEADER, inner, read_all};
use super::error::Error;
use super::transaction::of_table;
use crate::netlink::Netlink;

/// Of a chain and of a rule alike.
const TABLE_NAME: u16 = 1;

/// As the kernel lists them: the same bytes as long as nobody changes them, and good for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Listed>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed(Vec<u8>);

impl Rules {
    /// None where there is no table with chains.
    pub async fn read() -> Result<Option<Self>, Error> {
        let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
        let chains = of_table(NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }));
        let mut listed: Vec<Listed> = read_all(&mut netlink, "list the chains", &chains).await?;
        let table = vec![RuleAttribute::Table(TABLE.to_owned())];
        let rules = of_table(NfTablesMessage::GetRule(RuleMessage { attributes: table }));
        listed.extend(read_all::<Listed>(&mut netlink, "list the rules", &rules).await?);
        listed.retain(Listed::is_ours);
        Ok((!listed.is_empty()).then_some(Self(listed)))
    }
}

impl Listed {
    fn is_ours(&self) -> bool {
        let name = inner(&self.0, TABLE_NAME);
        name.is_ok_and(|name| {
            name.as_deref().and_then(<[u8]>::split_last).is_some_and(|(_, name)| name == TABLE.as_bytes())
        })
    }
}

impl NetlinkDeserializable for Listed {
    type Error = DecodeError;

    /// Without the header, in which the changes of all tables are counted.
    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(payload.get(HEADER..).unwrap_or_default().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfilter::dump::tests::attribute;

    fn listed(generation: u8, table: &[u8]) -> Listed {
        let payload = [vec![1, 0, 0, generation], attribute(TABLE_NAME, table), attribute(3, b"pre\0")].concat();
        Listed::deserialize(&NetlinkHeader::default(), &payload).unwrap()
    }

    #[test]
    fn our_rules_are_told_from_others_whatever_changed_elsewhere() {
        assert!(listed(1, b"wgsub\0").is_ours());
        assert_eq!(listed(1, b"wgsub\0"), listed(2, b"wgsub\0"), "the count of all tables' changes is left out");
        for other in [&b"wgsub2\0"[..], b"wgsu\0", b"filter\0", b"\0", b""] {
            assert!(!listed(1, other).is_ours(), "{other:?}");
        }
        assert!(!Listed(Vec::new()).is_ours() && !Listed(vec![9, 0, 1]).is_ours());
    }
}
