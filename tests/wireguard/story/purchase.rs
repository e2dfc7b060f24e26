//! From the invoice to the end of what was sold.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wiretoll::clock::Clock;
use wiretoll::netfilter;

use super::shop::{FIRST_PORT, Shop};
use super::until;
use crate::lab::{self, Lab, PUBLIC, PUBLIC6, Place, VISITOR, VISITOR6, dial};
use crate::leases::{assert_near, talk_to_the_end};
use crate::usage::speed;

/// Interface and firewall have what the database says, and nothing else.
pub async fn assert_all_stands(shop: &Shop, lab: &mut Lab) {
    let now = Clock::System.now().millis();
    let sold = "FROM peers JOIN subscriptions ON holder_id = subscriptions.id WHERE peers.public_key IS NOT NULL";
    let rows = shop.rows(&format!("SELECT peers.public_key, slot {sold} AND ends_at > {now}")).await;
    let keys: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
    let ports: BTreeSet<u16> = rows.iter().map(|(_, slot)| FIRST_PORT + slot).collect();

    let peers: BTreeSet<String> = lab.peers().await.iter().map(|peer| peer.public_key.to_string()).collect();
    let listing = netfilter::list().await.unwrap().unwrap();
    let forwards: BTreeSet<u16> = listing.forwards.iter().map(|forward| forward.public_port).collect();

    assert_eq!(peers, keys);
    assert_eq!(forwards, ports);
    assert_eq!((listing.forwards.len(), listing.leases.len()), (2 * rows.len(), 2 * rows.len()), "in both families");
}

#[test]
fn what_was_bought_from_outside_works_and_a_renewal_costs_no_byte() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        assert!(sold.is_provisioned);
        assert_eq!(shop.get(&sold.hash).await.1["isProvisioned"], true);
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let _outside = lab::Echo::listen(Place::Visitor, VISITOR.into(), 7_000);

        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        assert_eq!(line.seen_as, VISITOR, "the node sees who dials");
        assert_eq!(dial(Place::A, lab.a.address, VISITOR, 7_000).await.unwrap().seen_as, PUBLIC, "NAT");
        let before = lab.peer(&sold.public_key).await;
        let received = lab::received(&before.public_key);
        let end_before = shop.number("SELECT ends_at FROM subscriptions").await;
        let (renewed, lines) = (Cell::new(false), Cell::new(0));
        let talk = async {
            while !renewed.get() {
                line.say("not lost").await.unwrap();
                lines.set(lines.get() + 1);
            }
        };
        let renewal = async {
            shop.renew(&sold).await;
            shop.until_applied().await;
            renewed.set(true);
        };
        tokio::join!(talk, renewal);
        line.say("and after it").await.unwrap();

        assert!(lines.get() > 0, "the flow ran while it was renewed");
        assert!(shop.number("SELECT ends_at FROM subscriptions").await > end_before);
        let after = lab.peer(&sold.public_key).await;
        assert_eq!(after.last_handshake, before.last_handshake, "the session is the same");
        assert!(lab::received(&after.public_key) > received, "the counters were kept");
    });
}

#[test]
fn one_process_for_both_sells_as_well() {
    lab::run(async |lab: Lab| {
        let shop = Shop::open_in_one(&lab).await;
        let sold = shop.sell().await;
        assert!(sold.is_provisioned);
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
    });
}

/// In a container `wg-quick` cannot make routes: the config asks for none.
#[test]
fn a_config_without_a_table_works_where_the_routes_are_there() {
    lab::run(async |lab: Lab| {
        let shop = Shop::open(&lab).await;
        let hash = shop.buy().await;
        let sold = shop.claim_with(&hash, &json!({ "ipv6": true, "tableOff": true })).await;
        assert_eq!(sold.values("Table"), ["off"]);
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address6.into());
        dial(Place::Visitor, VISITOR6, PUBLIC6, sold.port).await.unwrap();
    });
}

#[test]
fn scenario_38_traffic_ends_on_time_though_nobody_is_left_to_end_it() {
    lab::run(async |lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.a.listen(lab.a.address6.into())];
        let line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        let line6 = dial(Place::Visitor, VISITOR6, PUBLIC6, sold.port).await.unwrap();

        // A month would pass until then.
        let (now, at) = (Clock::System.now(), Instant::now());
        let left = Duration::from_secs(3);
        shop.change(sold.port, &format!("ends_at = {}", now.plus_millis(3_000).millis())).await;
        shop.until_applied().await;
        shop.agent = None;
        shop.service = None;
        assert!(at.elapsed() < left, "killed before the end");

        let (last, last6) = tokio::join!(talk_to_the_end(line), talk_to_the_end(line6));
        assert_near(last, at + left);
        assert_near(last6, at + left);
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap_err();
    });
}

#[test]
fn who_used_a_months_amount_is_slow_until_the_next_month() {
    /// 2,000 kbit/s, and the burst on top, which a few seconds do not outlast.
    const AT_MOST: u128 = 330_000;
    lab::run(async |lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let throttled = async || netfilter::list().await.unwrap().unwrap().throttled.len();
        let fast = speed(&lab, sold.port).await;
        assert_eq!(throttled().await, 0);

        // All but what just went through; an agent that starts tells what was counted.
        let id = "(SELECT id FROM subscriptions)";
        let month = "(SELECT strftime('%Y-%m', 'now'))";
        shop.run(&format!(
            "INSERT OR REPLACE INTO monthly_usage (subscription_id, month, bytes) VALUES ({id}, {month}, 99999999999)"
        ))
        .await;
        shop.start_agent().await;
        until("it is slowed down", async || throttled().await == 2).await;
        let slow = speed(&lab, sold.port).await;
        println!("{fast} and {slow} bytes/s");
        assert!((40_000..AT_MOST).contains(&slow), "{slow}");
        assert!(fast > 2 * AT_MOST, "{fast}");

        // Nothing was used yet in a new one; a service looks ten seconds after its start, and each minute.
        shop.run("UPDATE monthly_usage SET month = '2000-01'").await;
        shop.service = None;
        shop.start_service();
        until("it is let go", async || throttled().await == 0).await;
        let free = speed(&lab, sold.port).await;
        assert!(free > 2 * AT_MOST, "{free}");
    });
}

#[test]
fn scenario_35_an_agent_takes_away_what_has_ended_and_nothing_else() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let (ending, other) = (shop.sell().await, shop.sell().await);
        ending.bring_up(&lab.a).await;
        other.bring_up(&lab.b).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let mut ended = dial(Place::Visitor, VISITOR, PUBLIC, ending.port).await.unwrap();
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, other.port).await.unwrap();
        let session = lab.peer(&other.public_key).await.last_handshake;

        shop.change(ending.port, "ends_at = 1000").await;
        until("the peer is gone", async || lab.peers().await.len() == 1).await;

        ended.say("after the end").await.unwrap_err();
        line.say("scenario 35: one removal leaves the others alone").await.unwrap();
        assert_eq!(lab.peer(&other.public_key).await.last_handshake, session);
        let listing = netfilter::list().await.unwrap().unwrap();
        assert!(listing.forwards.iter().all(|forward| forward.public_port == other.port));
        assert!(!lab.a.pings(lab.a.address.into(), lab::GATEWAY.into()));
    });
}
