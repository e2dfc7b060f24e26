//! Traffic ends with its lease, by the kernel's own clock, and not before.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wiretoll::domain::peer_diff::PeerConfig;
use wiretoll::netfilter::{self, Customer, CustomerChange};

use crate::lab::{self, Lab, Line, PUBLIC, PUBLIC6, Place, VISITOR, VISITOR6, dial};

const LEASE_MS: u64 = 2_000;

async fn renew(from: &Customer, to: Customer) {
    netfilter::change(&[CustomerChange::Update { from: from.clone(), to }]).await.unwrap();
}

/// Talks until an answer stays away; says when the last one came.
pub async fn talk_to_the_end(mut line: Line) -> Instant {
    let mut last = Instant::now();
    while line.say("still here").await.is_ok() {
        last = Instant::now();
        sleep(Duration::from_millis(20)).await;
    }
    last
}

pub fn assert_near(last: Instant, end: Instant) {
    let milliseconds = |duration: Duration| i128::try_from(duration.as_millis()).unwrap();
    let late = milliseconds(last.saturating_duration_since(end)) - milliseconds(end.saturating_duration_since(last));
    println!("the last answer came {late} ms after the lease's end");
    assert!((-250..=250).contains(&late), "{late} ms after the lease's end");
}

#[test]
fn an_established_flow_ends_with_its_lease_in_both_families() {
    lab::run(async |mut lab: Lab| {
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.a.listen(lab.a.address6.into())];
        lab.open().await;
        let line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        let line6 = dial(Place::Visitor, VISITOR6, PUBLIC6, lab.a.public_port).await.unwrap();

        let before = Instant::now();
        renew(&lab.a.customer(), lab.a.leased(LEASE_MS)).await;
        let end = before + before.elapsed() / 2 + Duration::from_millis(LEASE_MS);

        let (last, last6) = tokio::join!(talk_to_the_end(line), talk_to_the_end(line6));
        assert_near(last, end);
        assert_near(last6, end);
        assert!(netfilter::list().await.unwrap().unwrap().leases.keys().all(|address| *address != lab.a.address));
    });
}

#[test]
fn a_renewal_loses_no_line_and_neither_does_a_replacement() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        renew(&lab.a.customer(), lab.a.leased(LEASE_MS)).await;
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        let start = Instant::now();
        let mut renewals = 0;
        while start.elapsed() < Duration::from_millis(2 * LEASE_MS) {
            let was = Instant::now();
            line.say("not lost").await.unwrap();
            // A retransmission would take 200 ms at least.
            assert!(was.elapsed() < Duration::from_millis(200), "a line was lost: {:?}", was.elapsed());
            if start.elapsed().as_millis() / 400 > renewals {
                renewals += 1;
                let customers = [lab.a.leased(LEASE_MS), lab.b.customer()];
                match renewals % 2 {
                    0 => netfilter::replace(&lab::firewall(), &customers).await.unwrap(),
                    _ => renew(&lab.a.leased(LEASE_MS), lab.a.leased(LEASE_MS)).await,
                }
            }
        }
        assert!(renewals >= 8, "{renewals}");
    });
}

#[test]
fn a_lease_that_ran_out_is_renewed_all_the_same() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        renew(&lab.a.customer(), lab.a.leased(1)).await;
        sleep(Duration::from_millis(50)).await;
        dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap_err();

        renew(&lab.a.leased(1), lab.a.customer()).await;

        dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
    });
}

#[test]
fn a_suspended_customer_has_no_traffic_until_resumed() {
    lab::run(async |mut lab: Lab| {
        let _node = lab.a.listen(lab.a.address.into());
        lab.open().await;
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
        let suspended = Customer { lease: None, ..lab.a.customer() };

        renew(&lab.a.customer(), suspended.clone()).await;
        line.say("suspended").await.unwrap_err();
        assert!(!lab.a.pings(lab.a.address.into(), lab::GATEWAY.into()));
        assert!(lab.b.pings(lab.b.address.into(), lab::GATEWAY.into()), "the others are not");

        renew(&suspended, lab.a.customer()).await;
        dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
    });
}

/// A's flow, and then the same address in B's hands; what B was sent by it.
async fn bytes_of_an_old_flow(lab: &mut Lab, flush: bool) -> u64 {
    let _node = lab.a.listen(lab.a.address.into());
    lab.open().await;
    let mut line = dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap();
    let mut own = dial(Place::Server, PUBLIC, PUBLIC, lab.a.public_port).await.unwrap();

    netfilter::change(&[CustomerChange::Remove(lab.a.customer())]).await.unwrap();
    let heir = PeerConfig { public_key: lab.b.private_key.public_key(), ..lab.a.config() };
    lab.set_peers(&[heir]).await;
    lab.b.use_address(lab.a.address, lab.a.address6);
    if flush {
        netfilter::flush_flows(&[lab.a.address.into(), lab.a.address6.into()].into()).await.unwrap();
    }
    let successor = Customer { public_port: 40_000, ..lab.a.customer() };
    netfilter::change(&[CustomerChange::Add(successor)]).await.unwrap();

    let _ = line.say("for A's eyes only").await;
    let _ = own.say("for A's eyes only").await;
    netfilter::list().await.unwrap().unwrap().traffic[&lab.a.address.into()].down
}

#[test]
fn without_a_flush_old_flows_reach_the_next_customer_of_an_address() {
    lab::run(async |mut lab: Lab| {
        assert!(bytes_of_an_old_flow(&mut lab, false).await > 0);
    });
}

#[test]
fn with_a_flush_nothing_of_them_is_left() {
    lab::run(async |mut lab: Lab| {
        assert_eq!(bytes_of_an_old_flow(&mut lab, true).await, 0);
        // Nothing to find is no failure.
        netfilter::flush_flows(&[[10, 9, 7, 7].into(), "fd66::77".parse().unwrap()].into()).await.unwrap();
    });
}
