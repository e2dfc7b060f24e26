//! Refunds and disputes: what an order granted goes with its money, and nothing else does.

use serde_json::{Value, json};
use wiretoll::domain::event::Subject;
use wiretoll::domain::time::Timestamp;

use super::Cards;
use super::fake::{event, fixture};
use crate::on_both_databases;
use crate::shop::{API, On, a_key};

on_both_databases!(
    a_whole_refund_takes_back_what_its_order_granted_and_no_more,
    a_refund_of_a_part_is_told_by_the_ledger_alone,
    a_dispute_suspends_what_its_order_granted_and_one_that_is_won_restores_it,
    a_dispute_that_is_lost_takes_back_what_its_order_granted,
    scenario_24_a_dispute_that_was_closed_is_not_opened_by_an_older_event,
);

fn refund(id: &str, at: Timestamp, completed: &Value, cents: u64) -> Value {
    let mut charge = fixture("charge");
    charge["payment_intent"] = completed["data"]["object"]["payment_intent"].clone();
    charge["amount_refunded"] = json!(cents);
    charge["refunded"] = json!(cents == 300);
    event(id, "charge.refunded", at, &charge)
}

fn dispute(id: &str, at: Timestamp, completed: &Value, status: &str) -> Value {
    let mut dispute = fixture("dispute");
    dispute["payment_intent"] = completed["data"]["object"]["payment_intent"].clone();
    dispute["status"] = json!(status);
    let kind = if status == "needs_response" { "charge.dispute.created" } else { "charge.dispute.closed" };
    event(id, kind, at, &dispute)
}

/// A subscription and its renewal, both by card; the orders with what told of their payment.
async fn bought_and_renewed(cards: &Cards) -> [(String, Value); 2] {
    let key = a_key();
    let reply = cards.create(json!({ "wgPublicKey": key })).await;
    let order = reply.body["orderId"].as_str().unwrap().to_owned();
    let first = cards.completed("evt_1", &order);
    assert_eq!(cards.send(&first).await.0, 200);
    let body = json!({ "duration": 1, "wgPublicKey": key, "paymentMethod": "card" });
    let reply = cards.shop.post(&format!("{API}/subscription/renew"), body).await;
    let renewal = reply.body["renewalId"].as_str().unwrap().to_owned();
    let second = cards.completed("evt_2", &renewal);
    assert_eq!(cards.send(&second).await.0, 200);
    [(order, first), (renewal, second)]
}

async fn a_whole_refund_takes_back_what_its_order_granted_and_no_more(on: On) {
    let cards = Cards::open(on).await;
    let [(order, first), (renewal, second)] = bought_and_renewed(&cards).await;
    let (start, two_months) = (cards.payments(&order).await[0].evidence.settled_at, cards.subscription(&order).await);
    assert_eq!(two_months.ends_at, start.plus_months(2).unwrap());
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&refund("evt_3", now, &second, 300)).await.0, 200);
    let one_month = cards.subscription(&order).await;
    assert_eq!((one_month.ends_at, one_month.standing), (start.plus_months(1).unwrap(), two_months.standing));
    assert_eq!((cards.outcome(&order).await, cards.outcome(&renewal).await), ("applied", "refunded"));
    let peer_before = cards.shop.app().store.peer_of(one_month.id).await.unwrap();
    assert_eq!(cards.send(&refund("evt_4", now, &first, 300)).await.0, 200);
    assert_eq!(cards.subscription(&order).await.ends_at, start, "nothing counts any more");
    // Again, and nothing is taken that was not granted.
    assert_eq!(cards.send(&refund("evt_5", now, &first, 300)).await.0, 200);
    assert_eq!(cards.subscription(&order).await.ends_at, start);
    assert!(peer_before.is_some() && cards.stored(&order).await.is_paid(), "the order stays paid");
    let events = cards.shop.app().store.events_of(Subject::Subscription(one_month.id)).await.unwrap();
    let recounted = events.iter().filter(|event| event.event_type == "subscription.recounted").count();
    assert_eq!(recounted, 2);
}

async fn a_refund_of_a_part_is_told_by_the_ledger_alone(on: On) {
    let cards = Cards::open(on).await;
    let (order, completed) = cards.buy().await;
    let end = cards.subscription(&order).await.ends_at;
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&refund("evt_2", now, &completed, 200)).await.0, 200);
    // An older one says less.
    assert_eq!(cards.send(&refund("evt_3", now, &completed, 100)).await.0, 200);
    let payment = cards.payments(&order).await.remove(0);
    assert_eq!((payment.outcome.name(), payment.refunded.to_string()), ("applied", "$2.00".into()));
    assert_eq!(cards.subscription(&order).await.ends_at, end);
    let events = cards.shop.app().store.events_of(Subject::Payment(payment.id)).await.unwrap();
    assert_eq!(events.iter().map(|event| event.event_type.as_str()).collect::<Vec<_>>(), ["payment.partly_refunded"]);
    // The rest follows.
    assert_eq!(cards.send(&refund("evt_4", now, &completed, 300)).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "refunded");
}

async fn a_dispute_suspends_what_its_order_granted_and_one_that_is_won_restores_it(on: On) {
    let cards = Cards::open(on).await;
    let [(order, first), (renewal, _)] = bought_and_renewed(&cards).await;
    let (start, end) = (cards.payments(&order).await[0].evidence.settled_at, cards.subscription(&order).await.ends_at);
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&dispute("evt_3", now, &first, "needs_response")).await.0, 200);
    assert_eq!((cards.outcome(&order).await, cards.outcome(&renewal).await), ("disputed", "applied"));
    let renewed_at = cards.payments(&renewal).await[0].evidence.settled_at;
    assert_eq!(
        cards.subscription(&order).await.ends_at,
        renewed_at.plus_months(1).unwrap(),
        "the renewal counts alone"
    );
    assert_eq!(cards.send(&dispute("evt_4", now, &first, "won")).await.0, 200);
    assert_eq!((cards.outcome(&order).await, cards.subscription(&order).await.ends_at), ("applied", end));
    assert!(start < end);
}

async fn a_dispute_that_is_lost_takes_back_what_its_order_granted(on: On) {
    let cards = Cards::open(on).await;
    let (order, completed) = cards.buy().await;
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&dispute("evt_2", now, &completed, "needs_response")).await.0, 200);
    assert_eq!(cards.send(&dispute("evt_3", now, &completed, "lost")).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "charged_back");
    assert!(cards.subscription(&order).await.ends_at <= now);
    // A win that is told of afterwards is of another time.
    assert_eq!(cards.send(&dispute("evt_4", now, &completed, "won")).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "charged_back");
}

async fn scenario_24_a_dispute_that_was_closed_is_not_opened_by_an_older_event(on: On) {
    let cards = Cards::open(on).await;
    let (order, completed) = cards.buy().await;
    let end = cards.subscription(&order).await.ends_at;
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&dispute("evt_2", now, &completed, "won")).await.0, 200);
    assert_eq!(cards.send(&dispute("evt_3", now, &completed, "needs_response")).await.0, 200);
    assert_eq!((cards.outcome(&order).await, cards.subscription(&order).await.ends_at), ("applied", end));
}
