//! Events that time or a server makes: an end that comes near, a claim that is ready, a month's bandwidth that is used.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::bandwidth::bandwidth_limit;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::tell_ends::tell_ends;
use wiretoll::domain::desired::Usage;
use wiretoll::domain::event::Subject;

use crate::agent::{Agent, Told};
use crate::on_both_databases;
use crate::shop::{API, Bought, On, Shop, a_key};

on_both_databases!(
    an_end_is_told_of_a_week_and_a_day_before_and_when_it_has_come,
    a_renewed_subscription_is_told_of_its_new_end,
    ends_of_before_are_not_told_of_all_at_once,
    a_claim_is_ready_once_the_server_has_the_peer,
    a_month_s_usage_is_told_at_70_and_at_100_percent_once,
);

const DAY: u64 = 24 * 3_600;

/// The events of these types of an order's subscription, with one field of each.
async fn told(shop: &Shop, order: &Bought, kinds: &[&str], field: &str) -> Vec<(String, Value)> {
    let id = shop.stored(order).await.subscription_id.unwrap();
    let events = shop.app().store.events_of(Subject::Subscription(id)).await.unwrap();
    let wanted = events.into_iter().filter(|event| kinds.iter().any(|kind| event.event_type.starts_with(kind)));
    wanted.map(|event| (event.event_type, event.data[field].clone())).collect()
}

async fn ends(shop: &Shop, order: &Bought) -> Vec<(String, Value)> {
    told(shop, order, &["subscription.expiring", "subscription.lapsed"], "daysLeft").await
}

/// So long before its end, by the node's and our clocks.
async fn move_to_before_the_end(shop: &Shop, order: &Bought, seconds: i64) {
    let id = shop.stored(order).await.subscription_id.unwrap();
    let end = shop.app().store.subscription(id).await.unwrap().unwrap().ends_at;
    shop.clock.advance(end.since(shop.clock.now()) - seconds * 1_000);
    tell_ends(shop.app()).await.unwrap();
    tell_ends(shop.app()).await.unwrap();
}

async fn resting(on: On) -> (Shop, Bought) {
    let mut shop = Shop::open(on).await;
    tell_ends(shop.app()).await.unwrap();
    let order = shop.buy().await;
    shop.rest().await;
    (shop, order)
}

fn expiring(days: i64) -> (String, Value) {
    ("subscription.expiring".to_owned(), json!(days))
}

async fn an_end_is_told_of_a_week_and_a_day_before_and_when_it_has_come(on: On) {
    let (shop, order) = resting(on).await;
    let week = 7 * DAY.cast_signed();
    move_to_before_the_end(&shop, &order, week + 1).await;
    assert_eq!(ends(&shop, &order).await, []);
    move_to_before_the_end(&shop, &order, week).await;
    assert_eq!(ends(&shop, &order).await, [expiring(7)]);
    move_to_before_the_end(&shop, &order, DAY.cast_signed() + 1).await;
    assert_eq!(ends(&shop, &order).await, [expiring(7)]);
    move_to_before_the_end(&shop, &order, DAY.cast_signed()).await;
    assert_eq!(ends(&shop, &order).await, [expiring(7), expiring(1)]);
    move_to_before_the_end(&shop, &order, 1).await;
    assert_eq!(ends(&shop, &order).await.len(), 2);
    move_to_before_the_end(&shop, &order, 0).await;
    let all = ends(&shop, &order).await;
    assert_eq!((all.len(), all[2].0.as_str()), (3, "subscription.lapsed"));
    // A sleep over all of it tells of what is still to come, and of the end.
    move_to_before_the_end(&shop, &order, -1_000).await;
    assert_eq!(ends(&shop, &order).await.len(), 3);
}

async fn a_renewed_subscription_is_told_of_its_new_end(on: On) {
    let mut shop = Shop::open(on).await;
    tell_ends(shop.app()).await.unwrap();
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    shop.advance(Duration::from_secs(26 * DAY)).await;
    shop.until("it is told that it ends", || async { ends(&shop, &order).await == [expiring(7)] }).await;
    let renewal = shop.post(&format!("{API}/subscription/renew"), json!({ "duration": 1, "wgPublicKey": key })).await;
    shop.pay(renewal.body["invoice"].as_str().unwrap()).await;
    shop.until_paid(renewal.body["paymentHash"].as_str().unwrap()).await;
    shop.rest().await;
    move_to_before_the_end(&shop, &order, 7 * DAY.cast_signed() + 1).await;
    assert_eq!(ends(&shop, &order).await, [expiring(7)], "its old end was no end");
    move_to_before_the_end(&shop, &order, 3).await;
    assert_eq!(ends(&shop, &order).await, [expiring(7), expiring(7), expiring(1)]);
}

/// As after an upgrade, with subscriptions of long before.
async fn ends_of_before_are_not_told_of_all_at_once(on: On) {
    let (shop, order) = resting(on).await;
    let mut database = crate::database::connect(&shop).await;
    crate::database::run(&mut database, "DELETE FROM end_notices").await;
    move_to_before_the_end(&shop, &order, 3 * DAY.cast_signed()).await;
    assert_eq!(ends(&shop, &order).await, []);
    move_to_before_the_end(&shop, &order, 10).await;
    assert_eq!(ends(&shop, &order).await, [expiring(1)]);
}

async fn ready(shop: &Shop, order: &Bought) -> usize {
    let events = shop.app().store.events_of(Subject::Order(shop.stored(order).await.id)).await.unwrap();
    events.iter().filter(|event| event.event_type == "claim.ready").count()
}

async fn a_claim_is_ready_once_the_server_has_the_peer(on: On) {
    let shop = Shop::open(on).await;
    let mut agent = Agent::of(shop.app());
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": a_key() })).await;
    assert_eq!(agent.poll(shop.app()).await, Told::Delta);
    assert_eq!(ready(&shop, &order).await, 0, "told is not installed");
    for _ in 0..3 {
        agent.say(shop.app()).await.unwrap();
    }
    assert_eq!(ready(&shop, &order).await, 1);
    // Other changes of the peer are not another key.
    let name = SubscriptionName::Id(shop.stored(&order).await.subscription_id.unwrap());
    set_traffic(shop.app(), name, Traffic::Stops, None).await.unwrap();
    agent.work(shop.app()).await;
    assert_eq!(ready(&shop, &order).await, 1);
}

async fn a_month_s_usage_is_told_at_70_and_at_100_percent_once(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": a_key() })).await;
    let mut agent = Agent::of(shop.app());
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    let id = shop.stored(&order).await.subscription_id.unwrap();
    let peer = shop.app().store.peer_of(id).await.unwrap().unwrap().id;
    let (run, limit) = (Uuid::from_u128(1), bandwidth_limit());
    let use_percent = async |percent: i64| {
        let bytes = u64::try_from(limit / 100 * percent).unwrap();
        agent.tell_usage(shop.app(), Usage { peer, run, bytes, handshake_at: None }).await;
        told(&shop, &order, &["usage."], "month").await.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    assert!(use_percent(69).await.is_empty());
    assert_eq!(use_percent(70).await, ["usage.70"]);
    assert_eq!(use_percent(99).await, ["usage.70"]);
    assert_eq!(use_percent(100).await, ["usage.70", "usage.100"]);
    assert_eq!(use_percent(150).await, ["usage.70", "usage.100"]);
    shop.clock.advance(31 * 86_400_000);
    assert_eq!(use_percent(151).await, ["usage.70", "usage.100"], "a new month, of which little is used");
    assert_eq!(use_percent(225).await, ["usage.70", "usage.100", "usage.70"]);
}
