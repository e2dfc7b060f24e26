//! What customers may start towards the internet.

use std::net::IpAddr;

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
        let clouds: [IpAddr; 7] = [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:42::42",
            "fd00:42::43",
        ]
        .map(|address| address.parse().unwrap());
        let mut listening = Vec::new();
        for cloud in clouds {
            let (bits, nodad) = if cloud.is_ipv4() { (32, "") } else { (128, "nodad") };
            Place::Visitor.ip(&format!("addr add {cloud}/{bits} dev srv0 {nodad}\n"));
            listening.push(Echo::listen(Place::Visitor, cloud, 80));
        }
        lab.open().await;
        let (nobody_s, secrets) = clouds.split_last().unwrap();
        dial(Place::A, lab.a.address6, *nobody_s, 80).await.unwrap();
        for cloud in secrets {
            let (public, own): (IpAddr, IpAddr) = match cloud {
                IpAddr::V4(_) => (PUBLIC.into(), lab.a.address.into()),
                IpAddr::V6(_) => (PUBLIC6.into(), lab.a.address6.into()),
            };
            dial(Place::Server, public, *cloud, 80).await.unwrap();
            let refused = dial(Place::A, own, *cloud, 80).await.unwrap_err();
            assert_ne!(refused.kind(), std::io::ErrorKind::TimedOut, "{cloud}: refused at once, not swallowed");
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
