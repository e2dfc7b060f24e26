//! The flows that the kernel remembers (conntrack), and how those of a customer are forgotten.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, Nla as _};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, Tuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::error::Error;
use crate::netlink::Netlink;

/// `linux/netfilter/nfnetlink_conntrack.h`: which flow of several with the same ends it is.
const ID: u16 = 12;
const ZONE: u16 = 18;

/// Looks at all flows once, however many addresses there are, and forgets those from and to them.
pub async fn forget(addresses: &BTreeSet<IpAddr>) -> Result<(), Error> {
    for (family, is_v4) in [(NetfilterProtoFamily::IPv4, true), (NetfilterProtoFamily::IPv6, false)] {
        if addresses.iter().any(|address| address.is_ipv4() == is_v4) {
            forget_of(family, addresses).await?;
        }
    }
    Ok(())
}

async fn forget_of(family: NetfilterProtoFamily, addresses: &BTreeSet<IpAddr>) -> Result<(), Error> {
    let message = |inner| NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner);
    let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
    let mut doomed = Vec::new();
    let all = vec![(message(ConntrackMessage::Get(Vec::new())), NLM_F_DUMP)];
    // There may be a million, so only those that are meant are kept.
    let keep = |flow: NetfilterMessage| {
        if let NetfilterMessageInner::Conntrack(ConntrackMessage::New(flow)) = flow.inner
            && is_of(&flow, addresses)
        {
            doomed.push(flow.into_iter().filter(names_it).collect());
        }
    };
    netlink.exchange("list the flows", all, keep).await?;
    for flow in doomed {
        match netlink.change("forget a flow", message(ConntrackMessage::Delete(flow)), 0).await {
            // It ended by itself.
            Err(error) if error.is(Errno::NOENT) => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// Who started a flow is its original source; who was dialled, through DNAT or not, is who replies.
fn is_of(flow: &[ConntrackAttribute], addresses: &BTreeSet<IpAddr>) -> bool {
    let ends = flow.iter().filter_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) | ConntrackAttribute::CtaTupleReply(tuple) => Some(tuple),
        _ => None,
    });
    ends.flatten().any(|part| match part {
        Tuple::Ip(ips) => {
            ips.iter().any(|ip| matches!(ip, IPTuple::SourceAddress(source) if addresses.contains(source)))
        }
        _ => false,
    })
}

fn names_it(attribute: &ConntrackAttribute) -> bool {
    match attribute {
        ConntrackAttribute::CtaTupleOrig(_) => true,
        ConntrackAttribute::Other(other) => [ID, ZONE].contains(&other.kind()),
        _ => false,
    }
}
