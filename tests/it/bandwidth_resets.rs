//! Bandwidth resets: what is sold to whom, what a payment gives, and when there is nothing to give.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::bandwidth::next_month;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::release::release_ended_holds;
use wiretoll::app::revoke::revoke;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::unthrottle::unthrottle;
use wiretoll::domain::desired::Usage;
use wiretoll::domain::event::{EventType, Subject};
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::note::Note;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::payment::Outcome;
use wiretoll::lnd_simulator::faults::Fault;

use crate::agent::{Agent, Told};
use crate::on_both_databases;
use crate::shop::{API, Bought, On, Reply, Shop, a_key};

on_both_databases!(
    a_reset_is_one_month_s_amount_more,
    a_reset_forgives_what_was_used_beyond_and_lifts_the_throttle,
    a_reset_is_sold_from_70_percent_on,
    two_resets_a_month_and_an_unpaid_one_is_one_of_them,
    scenario_20_resets_ordered_at_once_are_no_more_than_two,
    scenario_21_a_repeated_request_is_the_same_reset,
    a_reset_is_for_a_subscription_that_can_be_used,
    a_shop_may_sell_none,
    scenario_13_a_reset_paid_in_the_next_month_counts_there,
    scenario_13_a_reset_paid_after_the_hold_is_a_refund_that_is_due,
);

const GB: u64 = 1_000_000_000;

/// A subscription with the agent of its server.
struct Customer {
    key: String,
    agent: Agent,
    peer: Uuid,
    run: Uuid,
}

impl Customer {
    async fn of(shop: &Shop) -> Self {
        let key = a_key();
        shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
        let mut agent = Agent::of(shop.app());
        assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
        let (peer, run) = (agent.peer().id, shop.app().new_id());
        Self { key, agent, peer, run }
    }

    /// All that was used until now, in one life of the counters.
    async fn has_used(&self, shop: &Shop, bytes: u64) {
        self.agent.tell_usage(shop.app(), Usage { peer: self.peer, run: self.run, bytes, handshake_at: None }).await;
    }

    async fn order(&self, shop: &Shop) -> Bought {
        let reply = shop.reset_bandwidth(&self.key).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        Bought::from(reply.body)
    }

    async fn reset(&self, shop: &Shop) -> Bought {
        let order = self.order(shop).await;
        shop.pay(&order.invoice).await;
        shop.until_paid(&order.hash).await;
        order
    }

    async fn counts(&self, shop: &Shop) -> [Value; 3] {
        let status = shop.status(&self.key).await.body;
        ["bandwidth_used_gb", "bandwidth_resets_this_month", "max_resets_per_month"].map(|name| status[name].clone())
    }

    fn name(&self) -> SubscriptionName {
        SubscriptionName::PublicKey(PublicKey::parse(&self.key).unwrap())
    }
}

fn told(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.error())
}

async fn a_reset_is_one_month_s_amount_more(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 85 * GB).await;
    let order = customer.order(&shop).await;
    let body = &order.body;
    assert_eq!((&body["amountSats"], &body["currentUsagePercent"]), (&json!(1_500), &json!(85)));
    assert_eq!((&body["resetsThisMonth"], &body["maxResetsPerMonth"]), (&json!(0), &json!(2)));
    let check = shop.check(&order.hash).await.body;
    assert_eq!((&check["type"], &check["status"]), (&json!("bandwidth_reset"), &json!("unpaid")));
    assert_eq!((check.get("duration"), check.get("newExpiry")), (None, None));

    shop.pay(&order.invoice).await;
    let paid = shop.until_paid(&order.hash).await;
    assert_eq!(
        (&paid["type"], &paid["message"]),
        (&json!("bandwidth_reset"), &json!("paid: the month's bandwidth was reset"))
    );
    assert_eq!(customer.counts(&shop).await, [json!(0.0), json!(1), json!(2)]);
    // What was used before and is told of later takes nothing away: 15 GB were left of the first amount.
    customer.has_used(&shop, 100 * GB).await;
    assert_eq!(customer.counts(&shop).await, [json!(0.0), json!(1), json!(2)]);
    customer.has_used(&shop, 170 * GB).await;
    assert_eq!(customer.counts(&shop).await, [json!(70.0), json!(1), json!(2)]);

    let claim = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(told(&claim), (400, "ERR_INVALID_INPUT"));
    assert!(claim.body["message"].as_str().unwrap().contains("nothing to claim"), "{}", claim.body);
    let subscription = shop.stored(&order).await.subscription_id.unwrap();
    let events = shop.app().store.events_of(Subject::Subscription(subscription)).await.unwrap();
    let resets = events.iter().filter(|event| event.event_type == EventType::SubscriptionBandwidthReset.name());
    assert_eq!(resets.count(), 1);
    assert_eq!(shop.app().store.grants(subscription).await.unwrap().len(), 1, "it lasts no longer for it");
}

async fn a_reset_forgives_what_was_used_beyond_and_lifts_the_throttle(on: On) {
    let shop = Shop::open(on).await;
    let mut customer = Customer::of(&shop).await;
    customer.has_used(&shop, 250 * GB).await;
    assert_eq!(customer.agent.work(shop.app()).await, Told::Delta);
    assert!(customer.agent.peer().throttled);
    customer.reset(&shop).await;
    assert_eq!(customer.agent.work(shop.app()).await, Told::Delta);
    assert!(!customer.agent.peer().throttled);
    customer.has_used(&shop, 350 * GB - 1).await;
    assert_eq!(customer.agent.work(shop.app()).await, Told::Nothing);
    customer.has_used(&shop, 350 * GB).await;
    assert_eq!(customer.agent.work(shop.app()).await, Told::Delta);
    assert!(customer.agent.peer().throttled);
    assert_eq!(unthrottle(shop.app()).await.unwrap(), 0, "this month it stays so");
}

async fn a_reset_is_sold_from_70_percent_on(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 70 * GB - 1).await;
    let early = shop.reset_bandwidth(&customer.key).await;
    assert_eq!(told(&early), (400, "ERR_INVALID_INPUT"));
    assert!(early.body["message"].as_str().unwrap().contains("69 %"), "{}", early.body);
    customer.has_used(&shop, 70 * GB).await;
    assert_eq!(shop.reset_bandwidth(&customer.key).await.status, 200);
}

async fn two_resets_a_month_and_an_unpaid_one_is_one_of_them(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    let (paid, unpaid) = (customer.order(&shop).await, customer.order(&shop).await);
    let third = shop.reset_bandwidth(&customer.key).await;
    assert_eq!(told(&third), (429, "ERR_RATE_LIMIT_EXCEEDED"));
    assert_eq!(third.headers["retry-after"], "900", "the invoice may expire");

    shop.pay(&paid.invoice).await;
    shop.until_paid(&paid.hash).await;
    shop.advance(Duration::from_mins(16)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert_eq!(shop.check(&unpaid.hash).await.body["status"], "expired");
    customer.has_used(&shop, 180 * GB).await;
    customer.reset(&shop).await;
    customer.has_used(&shop, 290 * GB).await;
    let spent = shop.reset_bandwidth(&customer.key).await;
    assert_eq!(told(&spent), (429, "ERR_RATE_LIMIT_EXCEEDED"));
    let now = shop.clock.now();
    let wait = next_month(now).unwrap().since(now);
    assert_eq!(spent.headers["retry-after"], (u64::try_from(wait).unwrap().div_ceil(1_000)).to_string().as_str());
}

async fn scenario_20_resets_ordered_at_once_are_no_more_than_two(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    let replies = join_all((0..8).map(|_| shop.reset_bandwidth(&customer.key))).await;
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(200), count(429)), (2, 6));
}

async fn scenario_21_a_repeated_request_is_the_same_reset(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    let (path, key) = (format!("{API}/subscription/bandwidth-reset"), Uuid::from_u128(7).to_string());
    let ask = || shop.post_with_key(&path, &key, json!({ "wgPublicKey": customer.key }));
    let first = Bought::from(ask().await.body);
    shop.pay(&first.invoice).await;
    shop.until_paid(&first.hash).await;
    let again = ask().await;
    assert_eq!((again.status, &again.body["resetId"]), (200, &first.body["resetId"]), "{}", again.body);
    assert_eq!(customer.counts(&shop).await[1], json!(1));
}

async fn a_reset_is_for_a_subscription_that_can_be_used(on: On) {
    let shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    assert_eq!(told(&shop.reset_bandwidth(&a_key()).await), (404, "ERR_RESOURCE_NOT_FOUND"));
    let open = customer.order(&shop).await;
    set_traffic(shop.app(), customer.name(), Traffic::Stops, None).await.unwrap();
    assert!(matches!(shop.stored(&open).await.state, OrderState::Expired { .. }), "its invoice was cancelled");
    assert_eq!(told(&shop.reset_bandwidth(&customer.key).await), (403, "ERR_FORBIDDEN"));
    set_traffic(shop.app(), customer.name(), Traffic::PassesAgain, None).await.unwrap();
    shop.advance(Duration::from_hours(32 * 24)).await;
    let ended = shop.reset_bandwidth(&customer.key).await;
    assert_eq!(told(&ended), (400, "ERR_INVALID_INPUT"));
    assert!(ended.body["message"].as_str().unwrap().contains("renew it first"), "{}", ended.body);
    revoke(shop.app(), customer.name(), &Note::parse("abuse").unwrap()).await.unwrap();
    assert_eq!(told(&shop.reset_bandwidth(&customer.key).await), (403, "ERR_FORBIDDEN"));
}

async fn a_shop_may_sell_none(on: On) {
    let shop = Shop::open_with(on, |config| config.resets = None).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    assert_eq!(told(&shop.reset_bandwidth(&customer.key).await), (400, "ERR_INVALID_INPUT"));
    assert_eq!(customer.counts(&shop).await, [json!(90.0), json!(0), json!(0)]);
}

/// Paid once the node may, although its invoice has expired.
async fn paid_late(shop: &mut Shop, order: &Bought, after: Duration) {
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.stop().await;
    shop.advance(after).await;
    shop.pay(&order.invoice).await;
    // Its subscription's hold, where that is over, ends before the payment is heard of.
    shop.rest().await;
    release_ended_holds(shop.app()).await.unwrap();
    shop.start().await;
    shop.until("the payment is applied", || shop.is_paid(order)).await;
}

async fn outcome(shop: &Shop, order: &Bought) -> Outcome {
    shop.app().store.payments_of(shop.stored(order).await.id).await.unwrap()[0].outcome
}

async fn scenario_13_a_reset_paid_in_the_next_month_counts_there(on: On) {
    let mut shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    let order = customer.order(&shop).await;
    let now = shop.clock.now();
    let left = Duration::from_millis(u64::try_from(next_month(now).unwrap().since(now)).unwrap());
    paid_late(&mut shop, &order, left + Duration::from_hours(1)).await;
    assert_eq!(outcome(&shop, &order).await, Outcome::AppliedLate);
    customer.has_used(&shop, 290 * GB).await;
    assert_eq!(customer.counts(&shop).await, [json!(100.0), json!(1), json!(2)]);
}

async fn scenario_13_a_reset_paid_after_the_hold_is_a_refund_that_is_due(on: On) {
    let mut shop = Shop::open(on).await;
    let customer = Customer::of(&shop).await;
    customer.has_used(&shop, 90 * GB).await;
    let order = customer.order(&shop).await;
    paid_late(&mut shop, &order, Duration::from_hours(62 * 24)).await;
    assert_eq!(outcome(&shop, &order).await, Outcome::RefundDue);
    let check = shop.check(&order.hash).await.body;
    assert_eq!((&check["type"], &check["status"]), (&json!("bandwidth_reset"), &json!("failed")));
    assert!(check["message"].as_str().unwrap().contains("refund"), "{check}");
}
