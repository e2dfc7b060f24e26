//! What customers may start towards the internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wiretoll::config::Egress;
use wiretoll::netfilter::{self, Firewall};

use crate::lab::{self, Echo, Lab, PUBLIC, PUBLIC6, Place, VISITOR, VISITOR6, dial};

fn internet() -> [Echo; 4] {
    [
        Echo::listen(Place::Visitor, VISITOR.into(), 80),
        Echo::listen(Place::Visitor, VISITOR.into(), 25),
        Echo::listen(Place::Visitor, VISITOR.into(), 587),
        Echo::listen(Place::Visitor, VISITOR6.into(), 80),
    ]
}

#[test]
fn customers_leave_by_the_public_address_but_send_no_mail() {
    lab::run(async |mut lab: Lab| {
        let _internet = internet();
        lab.open().await;
        assert_eq!(dial(Place::A, lab.a.address, VISITOR, 80).await.unwrap().seen_as, PUBLIC);
        assert_eq!(dial(Place::A, lab.a.address6, VISITOR6, 80).await.unwrap().seen_as, PUBLIC6);
        for mail in [25, 587] {
            let error = dial(Place::A, lab.a.address, VISITOR, mail).await.unwrap_err();
            assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "refused at once, not swallowed");
        }
    });
}

/// There the clouds tell their instances who these are, and with which credentials.
#[test]
fn customers_do_not_ask_the_server_s_cloud_in_the_server_s_name() {
    lab::run(async |mut lab: Lab| {
        let (metadata, metadata6) = (Ipv4Addr::new(169, 254, 169, 254), "fd00:ec2::254".parse::<Ipv6Addr>().unwrap());
        Place::Visitor.ip(&format!("addr add {metadata}/32 dev srv0\naddr add {metadata6}/128 dev srv0 nodad\n"));
        let _cloud =
            [metadata.into(), metadata6.into()].map(|address: IpAddr| Echo::listen(Place::Visitor, address, 80));
        lab.open().await;
        dial(Place::Server, PUBLIC, metadata, 80).await.unwrap();
        dial(Place::Server, PUBLIC6, metadata6, 80).await.unwrap();

        let refused = dial(Place::A, lab.a.address, metadata, 80).await.unwrap_err();
        let refused6 = dial(Place::A, lab.a.address6, metadata6, 80).await.unwrap_err();

        for error in [refused, refused6] {
            assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "refused at once, not swallowed");
        }
    });
}

#[test]
fn without_egress_only_the_forward_is_left() {
    lab::run(async |mut lab: Lab| {
        let _internet = internet();
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        let egress = Egress { allowed: false, ..Egress::default() };
        let firewall = Firewall { egress, ..lab::firewall() };
        netfilter::replace(&firewall, &[lab.a.customer()]).await.unwrap();
        assert!(dial(Place::A, lab.a.address, VISITOR, 80).await.is_err());
        dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
    });
}

#[test]
fn each_address_has_so_many_flows() {
    lab::run(async |mut lab: Lab| {
        let _internet = internet();
        lab.open().await;
        let egress = Egress { connections_per_customer: 3, ..Egress::default() };
        let firewall = Firewall { egress, ..lab::firewall() };
        netfilter::replace(&firewall, &[lab.a.customer(), lab.b.customer()]).await.unwrap();
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(dial(Place::A, lab.a.address, VISITOR, 80).await.unwrap());
        }
        assert!(dial(Place::A, lab.a.address, VISITOR, 80).await.is_err(), "the fourth");
        dial(Place::B, lab.b.address, VISITOR, 80).await.unwrap();
        open[0].say("the first ones go on").await.unwrap();
    });
}
