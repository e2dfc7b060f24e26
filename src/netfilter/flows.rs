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

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::*;

    fn tuple(source: &str, destination: &str) -> Vec<Tuple> {
        let ends = [
            IPTuple::SourceAddress(source.parse().unwrap()),
            IPTuple::DestinationAddress(destination.parse().unwrap()),
        ];
        vec![Tuple::Ip(ends.to_vec())]
    }

    /// A visitor who dialled a public port that leads to this customer.
    fn visit(customer: &str) -> Vec<ConntrackAttribute> {
        vec![
            ConntrackAttribute::CtaTupleOrig(tuple("198.51.100.7", "203.0.113.1")),
            ConntrackAttribute::CtaTupleReply(tuple(customer, "198.51.100.7")),
            ConntrackAttribute::Other(DefaultNla::new(ID, vec![0, 0, 0, 1])),
            ConntrackAttribute::Other(DefaultNla::new(3, vec![0, 0, 0, 8])),
        ]
    }

    #[test]
    fn a_flow_is_a_customer_s_who_dialled_or_was_dialled() {
        let of = |flow: &[ConntrackAttribute], address: &str| is_of(flow, &BTreeSet::from([address.parse().unwrap()]));
        assert!(of(&visit("10.9.0.2"), "10.9.0.2") && !of(&visit("10.9.0.2"), "10.9.0.3"));
        let own = [ConntrackAttribute::CtaTupleOrig(tuple("fd66::2", "2001:db8::1"))];
        assert!(of(&own, "fd66::2") && !of(&own, "2001:db8::1"), "whom they talk to is not theirs alone");
    }

    #[test]
    fn a_flow_is_named_by_its_ends_and_its_number() {
        let named: Vec<ConntrackAttribute> = visit("10.9.0.2").into_iter().filter(names_it).collect();
        let [ConntrackAttribute::CtaTupleOrig(_), ConntrackAttribute::Other(id)] = &named[..] else {
            panic!("{named:?}")
        };
        assert_eq!(id.kind(), ID);
    }
}
