//! Two processes on one Postgres and one node.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wiretoll::app::reconcile;
use wiretoll::domain::keys::PrivateKey;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::subscriptions::StreamEnd;

use crate::agent::Agent;
use crate::shop::{API, Bought, On, Shop, a_public_key, postgres_url};

const ROUNDS: u32 = 4;

/// Each round: orders by both, paid while both run, while one is away, and after it came back.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_49_two_replicas_apply_each_settlement_once() {
    if postgres_url().is_none() {
        return;
    }
    let mut here = Shop::open(On::Postgres).await;
    let mut there = here.replica().await;
    let mut bought = Vec::new();
    let mut reached = 0;
    for _ in 0..ROUNDS {
        let mut orders = Vec::new();
        for _ in 0..3 {
            orders.push(here.order().await);
            orders.push(there.order().await);
        }
        pay(&here, &orders[..2]).await;
        there.stop().await;
        pay(&here, &orders[2..4]).await;
        there.start().await;
        pay(&here, &orders[4..]).await;
        for order in &orders {
            let (one, other) = tokio::join!(here.until_paid(&order.hash), there.until_paid(&order.hash));
            assert_eq!(one["paymentHash"], other["paymentHash"]);
            here.assert_applied_once(order).await;
        }
        bought.extend(orders);
        let settled = u64::try_from(bought.len()).unwrap();
        here.until_position(settled).await;
        assert!(there.position().await.unwrap().settle_index > reached, "the position moves forward only");
        reached = settled;
        // The other one is stopped in the next round.
        std::mem::swap(&mut here, &mut there);
    }
    let counts = here.occupancy().await;
    assert_eq!((usize::try_from(counts.held).unwrap(), counts.reserved), (bought.len(), 0));
    // Two claims at once, one at each.
    let body = json!({ "paymentHash": bought[0].hash });
    let (one, other) = tokio::join!(here.claim(body.clone()), there.claim(body));
    assert_eq!((one.status, &one.body["config"]), (200, &other.body["config"]));
}

async fn pay(shop: &Shop, orders: &[Bought]) {
    for order in orders {
        shop.pay(&order.invoice).await;
    }
}

/// No stream tells anybody: what wakes the second replica is what the first wrote.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_49_a_wait_at_one_replica_ends_when_another_settles() {
    if postgres_url().is_none() {
        return;
    }
    let here = Shop::open(On::Postgres).await;
    let there = here.replica().await;
    let order = here.order().await;
    here.node.inject(Fault::EndStreams { how: StreamEnd::Mute }).await.unwrap();
    let path = format!("{API}/subscription/{}?wait=20", order.hash);
    let wait = async {
        let reply = there.get(&path).await;
        (reply, Instant::now())
    };
    let settle = async {
        here.until("somebody waits there", || async { !there.app().changes.waited_for().is_empty() }).await;
        // A first look at the order has to be behind us, or it would be what wakes.
        tokio::time::sleep(Duration::from_millis(500)).await;
        here.pay(&order.invoice).await;
        reconcile::sweep(here.app()).await.unwrap();
        Instant::now()
    };
    let ((reply, woken), settled) = tokio::join!(wait, settle);
    assert_eq!(reply.body["status"], "paid", "{}", reply.body);
    assert!(woken.saturating_duration_since(settled) < Duration::from_secs(1));
}

/// The configuration names no key; the agent speaks to one replica only.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_replica_heard_is_sold_with_at_the_other() {
    if postgres_url().is_none() {
        return;
    }
    let here = Shop::open_with(On::Postgres, |config| config.servers[0].public_key = None).await;
    let there = here.replica().await;
    let order = json!({ "serverId": "eu-de", "duration": 1 });
    assert_eq!((here.create(order.clone()).await.status, there.create(order.clone()).await.status), (503, 503));
    let key = a_public_key(PrivateKey::from_random([3; 32]));
    let mut agent = Agent { id: here.app().new_id(), key, desired: None, withheld: BTreeMap::new() };
    // Its first word promises nothing yet; what it has done does.
    agent.say(here.app()).await.unwrap();
    assert_eq!(here.create(order.clone()).await.status, 503);
    agent.work(here.app()).await;
    let bought = here.buy().await;
    there.until("the other one has read it", || async { there.create(order.clone()).await.status == 200 }).await;
    let claim = there.claim(json!({ "paymentHash": bought.hash })).await;
    assert!(claim.body["fullConfig"].as_str().unwrap().contains(&key.to_string()), "{}", claim.body);
}
