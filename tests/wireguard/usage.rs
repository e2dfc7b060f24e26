//! What is counted, and how fast a throttled customer is.

use std::time::Duration;

use tokio::time::Instant;
use wiretoll::netfilter::{self, Customer, CustomerChange, Traffic};

use crate::lab::{self, GATEWAY, GATEWAY6, Lab, PUBLIC, Place, VISITOR, dial};

/// An IPv4 header, an ICMP header and the 56 bytes that ping sends.
const PING_BYTES: u64 = 20 + 8 + 56;
const PING6_BYTES: u64 = 40 + 8 + 56;

/// The rate of a throttled customer, and the burst on top, which a few seconds do not outlast.
const AT_MOST: u128 = 175_000;

async fn traffic(of: impl Into<std::net::IpAddr>) -> Traffic {
    netfilter::list().await.unwrap().unwrap().traffic[&of.into()]
}

#[test]
fn inner_bytes_are_counted_each_way_and_survive_a_renewal() {
    lab::run(async |mut lab: Lab| {
        lab.open().await;
        for _ in 0..3 {
            assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()));
        }
        assert!(lab.a.pings(lab.a.address6.into(), GATEWAY6.into()));
        let to = Customer { throttled: true, ..lab.a.leased(50_000) };
        netfilter::change(&[CustomerChange::Update { from: lab.a.customer(), to: to.clone() }]).await.unwrap();

        assert_eq!(traffic(lab.a.address).await, Traffic { up: 3 * PING_BYTES, down: 3 * PING_BYTES });
        assert_eq!(traffic(lab.a.address6).await, Traffic { up: PING6_BYTES, down: PING6_BYTES });
        assert_eq!(traffic(lab.b.address).await, Traffic::default());

        netfilter::change(&[CustomerChange::Remove(to.clone()), CustomerChange::Add(to)]).await.unwrap();
        assert_eq!(traffic(lab.a.address).await, Traffic::default(), "the next customer starts at zero");
    });
}

#[test]
fn a_forwarded_flow_is_counted_for_its_customer() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        line.say(&"x".repeat(100_000)).await.unwrap();
        let counted = traffic(lab.a.address).await;
        assert!((100_000..120_000).contains(&counted.up), "{counted:?}");
        assert!((100_000..120_000).contains(&counted.down), "{counted:?}");
    });
}

/// Echoes lines through A's port for a while; bytes a second, each way.
pub async fn speed(lab: &Lab, port: u16) -> u128 {
    let mut line = dial(Place::Visitor, VISITOR, PUBLIC, port).await.unwrap();
    let before = traffic(lab.a.address).await;
    let start = Instant::now();
    let text = "x".repeat(20_000);
    while start.elapsed() < Duration::from_secs(5) && line.say(&text).await.is_ok() {}
    let after = traffic(lab.a.address).await;
    u128::from(after.down - before.down) * 1_000 / start.elapsed().as_millis()
}

#[test]
fn a_throttled_customer_is_slow_and_another_is_not() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        let fast = speed(&lab, lab.a.public_port).await;
        let to = Customer { throttled: true, ..lab.a.customer() };
        netfilter::change(&[CustomerChange::Update { from: lab.a.customer(), to }]).await.unwrap();
        assert_eq!(netfilter::list().await.unwrap().unwrap().throttled.len(), 2);
        let slow = speed(&lab, lab.a.public_port).await;
        println!("{fast} and {slow} bytes/s");
        assert!((20_000..AT_MOST).contains(&slow), "{slow}");
        assert!(fast > AT_MOST, "{fast}");
    });
}
