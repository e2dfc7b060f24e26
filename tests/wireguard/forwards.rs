//! Who reaches whom, by which address.

use std::time::Duration;

use tokio::time::Instant;
use wiretoll::netfilter::{self, CustomerChange};

use crate::lab::{self, GATEWAY, GATEWAY6, Lab, PUBLIC, PUBLIC6, Place, VISITOR, VISITOR6, dial};

#[test]
fn a_forward_reaches_the_node_which_sees_who_really_dials() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        let _node6 = lab.a.listen(lab.a.address6.into());
        lab.set_peers(&[lab.a.config()]).await;
        netfilter::replace(&lab::firewall(), &[]).await.unwrap();
        assert!(dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.is_err(), "nobody is sold this port");

        netfilter::change(&[CustomerChange::Add(lab.a.customer())]).await.unwrap();

        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        assert_eq!(line.seen_as, VISITOR);
        line.say("hello").await.unwrap();
        let line6 = dial(Place::Visitor, VISITOR6, PUBLIC6, lab.a.public_port).await.unwrap();
        assert_eq!(line6.seen_as, VISITOR6);
    });
}

#[test]
fn another_target_port_and_another_public_port_take_effect_at_once() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        let from = netfilter::Customer { target_port: 80, ..lab.a.customer() };
        netfilter::change(&[CustomerChange::Update { from: lab.a.customer(), to: from.clone() }]).await.unwrap();
        assert!(dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.is_err(), "nothing listens there");

        let to = netfilter::Customer { public_port: 36_000, ..lab.a.customer() };
        netfilter::change(&[CustomerChange::Update { from, to }]).await.unwrap();

        assert!(dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.is_err(), "the old port is closed");
        dial(Place::Visitor, VISITOR, PUBLIC, 36_000).await.unwrap();
    });
}

#[test]
fn a_change_that_does_not_fit_changes_nothing_and_a_replacement_heals_it() {
    lab::run(async |mut lab: Lab| {
        lab.open().await;
        let before = netfilter::list().await.unwrap().unwrap();
        let newcomer = netfilter::Customer { address: [10, 9, 0, 9].into(), address6: None, ..lab.a.customer() };
        let taken = CustomerChange::Add(newcomer.clone());
        let fine = CustomerChange::Add(netfilter::Customer { public_port: 40_000, ..newcomer.clone() });

        let refusal = netfilter::change(&[fine, taken]).await.unwrap_err();

        assert!(matches!(refusal, netfilter::Error::Kernel(_)), "{refusal}");
        assert_eq!(netfilter::list().await.unwrap().unwrap().forwards, before.forwards);
        netfilter::replace(&lab::firewall(), &[newcomer]).await.unwrap();
        let listing = netfilter::list().await.unwrap().unwrap();
        assert_eq!((listing.forwards.len(), listing.leases.len()), (1, 1));
        lab::remove_table();
        assert_eq!(netfilter::list().await.unwrap(), None);
    });
}

#[test]
fn customers_dial_each_other_by_public_address_only() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.b.listen(lab.b.address.into());
        let _node6 = lab.b.listen(lab.b.address6.into());
        lab.open().await;

        let hairpin = dial(Place::A, lab.a.address, PUBLIC, lab.b.public_port).await.unwrap();
        assert_eq!(hairpin.seen_as, lab.a.address);
        dial(Place::A, lab.a.address6, PUBLIC6, lab.b.public_port).await.unwrap();

        assert!(dial(Place::A, lab.a.address, lab.b.address, 9_735).await.is_err(), "isolated");
        assert!(dial(Place::A, lab.a.address6, lab.b.address6, 9_735).await.is_err(), "isolated");
        assert!(!lab.a.pings(lab.a.address.into(), lab.b.address.into()), "isolated");
    });
}

#[test]
fn the_host_answers_ping_in_the_tunnel_and_nothing_else() {
    lab::run(async |mut lab: Lab| {
        let _own = lab::Echo::listen(Place::Server, GATEWAY.into(), 8_080);
        let _all = lab::Echo::listen(Place::Server, PUBLIC.into(), 8_081);
        dial(Place::Visitor, VISITOR, PUBLIC, 8_081).await.unwrap();
        lab.open().await;

        assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()));
        assert!(lab.a.pings(lab.a.address6.into(), GATEWAY6.into()));

        assert!(dial(Place::A, lab.a.address, GATEWAY, 8_080).await.is_err(), "the host's own services");
        assert!(dial(Place::A, lab.a.address, PUBLIC, 8_081).await.is_err(), "the host's own services");
        dial(Place::Visitor, VISITOR, PUBLIC, 8_081).await.unwrap();
    });
}

#[test]
fn the_server_reaches_the_public_ports_that_it_sells() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        let _node6 = lab.a.listen(lab.a.address6.into());
        lab.open().await;

        let mut line = dial(Place::Server, PUBLIC, PUBLIC, lab.a.public_port).await.unwrap();
        line.say("hello").await.unwrap();
        dial(Place::Server, PUBLIC6, PUBLIC6, lab.a.public_port).await.unwrap();
        dial(Place::Server, GATEWAY, lab.a.address, 9_735).await.unwrap();

        let to = netfilter::Customer { lease: None, ..lab.a.customer() };
        netfilter::change(&[CustomerChange::Update { from: lab.a.customer(), to }]).await.unwrap();
        line.say("after the end").await.unwrap_err();
        dial(Place::Server, PUBLIC, PUBLIC, lab.a.public_port).await.unwrap_err();
    });
}

/// What `ss` tells of the visitor's connections: the largest segment that the other side has asked for.
fn largest_segments() -> String {
    let output = Place::Visitor.command(&["ss", "-tinH", "state", "established"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Larger segments would have to be broken up, and many firewalls on the way drop what says so.
#[test]
fn a_customer_who_asks_for_larger_segments_than_the_tunnel_takes_gets_smaller_ones() {
    lab::run(async |mut lab: Lab| {
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.a.listen(lab.a.address6.into())];
        lab.open().await;
        Place::A.ip("link set wga mtu 1500\n");
        let _line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        // 1,420 bytes, less the headers of IP and TCP and a timestamp.
        let said = largest_segments();
        assert!(said.contains(" mss:1368 "), "{said}");
        let _line6 = dial(Place::Visitor, VISITOR6, PUBLIC6, lab.a.public_port).await.unwrap();
        let said = largest_segments();
        assert!(said.contains(" mss:1348 "), "{said}");
    });
}

/// Our rules judge customers' packets, not those of a host that routes for others as well.
#[test]
fn what_the_host_forwards_for_others_passes() {
    lab::run(async |mut lab: Lab| {
        lab.open().await;
        lab::forward_for_others();
        assert!(Place::Visitor.command(&["ping", "-n", "-q", "-c1", "-W2", "172.16.0.2"]).status().unwrap().success());
    });
}

#[test]
fn ten_thousand_customers_fit() {
    lab::run(async |_: Lab| {
        let customer = |n: u16, [high, low]: [u8; 2]| netfilter::Customer {
            address: [10, 8, high, low].into(),
            address6: Some([0xfd66, 0, 0, 0, 0, 0, 0, n].into()),
            public_port: 20_000 + n,
            target_port: 9_735,
            lease: Some(Duration::from_hours(1)),
            throttled: n.is_multiple_of(100),
        };
        let customers: Vec<_> = (0..10_000_u16).map(|n| customer(n, n.to_be_bytes())).collect();

        let start = Instant::now();
        netfilter::replace(&lab::firewall(), &customers).await.unwrap();
        println!("10,000 customers replaced in {:?}", start.elapsed());
        let start = Instant::now();
        let listing = netfilter::list().await.unwrap().unwrap();
        println!("listed in {:?}", start.elapsed());
        assert_eq!((listing.leases.len(), listing.forwards.len(), listing.throttled.len()), (20_000, 20_000, 200));
        let start = Instant::now();
        let [from, to] = [&customers[7], &customers[7]].map(Clone::clone);
        netfilter::change(&[CustomerChange::Update { from, to }]).await.unwrap();
        println!("one renewed in {:?}", start.elapsed());
    });
}
