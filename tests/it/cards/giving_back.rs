//! Refunds and disputes: what an order granted goes with its money, and nothing else does.

use std::time::Duration;

use serde_json::{Value, json};
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::app::release::release_ended_holds;
use wiretoll::app::tell_ends::tell_ends;
use wiretoll::config::Config;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::Subject;
use wiretoll::domain::money::{Price, UsdCents};
use wiretoll::domain::plan::{Plan, Plans};
use wiretoll::domain::referral::Bonuses;
use wiretoll::domain::server::Slot;
use wiretoll::domain::subscription::{Standing, Subscription};
use wiretoll::domain::time::Timestamp;

use super::Cards;
use super::fake::{self, event};
use crate::database::{connect, run, until_waiting};
use crate::on_both_databases;
use crate::shop::{API, On, a_key, postgres_url};

const DAY: Duration = Duration::from_hours(24);

on_both_databases!(
    a_whole_refund_takes_back_what_its_order_granted_and_no_more,
    a_refund_of_a_part_is_told_by_the_ledger_alone,
    a_dispute_suspends_what_its_order_granted_and_one_that_is_won_restores_it,
    a_dispute_that_is_lost_takes_back_what_its_order_granted,
    a_dispute_however_late_and_long_costs_neither_slot_nor_key_until_it_is_lost,
    a_dispute_that_is_won_gives_back_to_buyer_and_referrer_alike,
    what_is_asked_back_of_a_second_payment_takes_nothing_from_who_paid_first,
    scenario_24_a_dispute_that_was_closed_is_not_opened_by_an_older_event,
    scenario_28_a_refund_takes_back_the_bonus_that_its_purchase_brought,
);

fn refund(id: &str, at: Timestamp, completed: &Value, cents: u64) -> Value {
    event(id, "charge.refunded", at, &fake::charge(&completed["data"]["object"], cents))
}

fn dispute(id: &str, at: Timestamp, completed: &Value, status: &str) -> Value {
    let dispute = fake::dispute("dp_1", &completed["data"]["object"], status);
    event(id, fake::dispute_event(status), at, &dispute)
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
    assert_eq!(cards.subscription(&order).await.ends_at, now, "nothing counts any more");
    // Again, and nothing is taken that was not granted.
    assert_eq!(cards.send(&refund("evt_5", now, &first, 300)).await.0, 200);
    assert_eq!(cards.subscription(&order).await.ends_at, now);
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
    assert_eq!(cards.events_of_payment(payment.id).await, ["payment.partly_refunded"]);
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

/// The handbook has the operator refund it.
async fn what_is_asked_back_of_a_second_payment_takes_nothing_from_who_paid_first(on: On) {
    for (told, outcome) in [("refund", "refunded"), ("won", "mismatched"), ("lost", "charged_back")] {
        let cards = Cards::open(on).await;
        let (order, completed) = cards.buy().await;
        let before = cards.subscription(&order).await;
        let now = cards.shop.clock.now();
        let mut second = completed["data"]["object"].clone();
        second["payment_intent"] = json!("pi_second");
        let second = event("evt_second", "checkout.session.completed", now, &second);
        assert_eq!(cards.send(&second).await.0, 200);
        let asked: &[Value] = &match told {
            "refund" => vec![refund("evt_3", now, &second, 300)],
            end => vec![dispute("evt_3", now, &second, "needs_response"), dispute("evt_4", now, &second, end)],
        };
        for event in asked {
            assert_eq!(cards.send(event).await.0, 200);
            let after = cards.subscription(&order).await;
            assert_eq!((after.ends_at, after.standing), (before.ends_at, before.standing), "{told}");
        }
        let payments = cards.payments(&order).await;
        let known: Vec<_> = payments.iter().map(|payment| payment.outcome.name()).collect();
        assert_eq!(known, ["applied", outcome]);
    }
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

/// One and six months, both in dollars.
fn half_a_year(config: &mut Config) {
    let plan = |months| Plan { months, price: Price::Usd(UsdCents::new(300)) };
    config.plans = Plans::new(vec![plan(1), plan(6)]).unwrap();
}

async fn slot(cards: &Cards, subscription: &Subscription) -> Option<Slot> {
    cards.shop.app().store.peer_of(subscription.id).await.unwrap().map(|peer| peer.slot)
}

async fn lapses(cards: &Cards, subscription: &Subscription) -> usize {
    tell_ends(cards.shop.app()).await.unwrap();
    let events = cards.shop.app().store.events_of(Subject::Subscription(subscription.id)).await.unwrap();
    events.iter().filter(|event| event.event_type == "subscription.lapsed").count()
}

async fn a_dispute_however_late_and_long_costs_neither_slot_nor_key_until_it_is_lost(on: On) {
    let cards = Cards::open_with(on, half_a_year).await;
    let reply = cards.create(json!({ "duration": 6, "wgPublicKey": a_key() })).await;
    let order = reply.body["orderId"].as_str().unwrap().to_owned();
    let completed = cards.completed("evt_1", &order);
    assert_eq!(cards.send(&completed).await.0, 200);
    let before = cards.subscription(&order).await;
    let its_slot = slot(&cards, &before).await;
    assert!(its_slot.is_some() && lapses(&cards, &before).await == 0);

    cards.shop.advance(45 * DAY).await;
    let disputed_at = cards.shop.clock.now();
    assert_eq!(cards.send(&dispute("evt_2", disputed_at, &completed, "needs_response")).await.0, 200);
    assert_eq!(cards.subscription(&order).await.ends_at, disputed_at);
    assert_eq!(lapses(&cards, &before).await, 1, "its owner is told");
    cards.shop.advance(60 * DAY).await;
    assert_eq!(release_ended_holds(cards.shop.app()).await.unwrap(), 0);
    assert_eq!(cards.send(&dispute("evt_3", cards.shop.clock.now(), &completed, "won")).await.0, 200);
    let after = cards.subscription(&order).await;
    assert_eq!((after.ends_at, after.standing, slot(&cards, &after).await), (before.ends_at, Standing::Held, its_slot));

    // Another one, which is lost: its hold is over by then.
    let mut second = dispute("evt_4", cards.shop.clock.now(), &completed, "needs_response");
    second["data"]["object"]["id"] = json!("du_second");
    assert_eq!(cards.send(&second).await.0, 200);
    cards.shop.advance(31 * DAY).await;
    let mut lost = dispute("evt_5", cards.shop.clock.now(), &completed, "lost");
    lost["data"]["object"]["id"] = json!("du_second");
    assert_eq!(cards.send(&lost).await.0, 200);
    release_ended_holds(cards.shop.app()).await.unwrap();
    let gone = cards.subscription(&order).await;
    assert_eq!((gone.standing, slot(&cards, &gone).await), (Standing::Released, None));
}

async fn a_dispute_that_is_won_gives_back_to_buyer_and_referrer_alike(on: On) {
    let cards = Cards::open_with(on, half_a_year).await;
    let shop = &cards.shop;
    let (credential, code) = a_referrer(&cards).await;
    let own = bought_by(&cards, &credential).await;

    let reply = cards.create(json!({ "duration": 6, "referralCode": code })).await;
    let order = reply.body["orderId"].as_str().unwrap().to_owned();
    let completed = cards.completed("evt_2", &order);
    assert_eq!(cards.send(&completed).await.0, 200);
    let before = [cards.subscription(&own).await, cards.subscription(&order).await];
    let started = cards.payments(&own).await[0].evidence.settled_at;
    assert_eq!(before[0].ends_at, started.plus_months(1).unwrap().plus_months(2).unwrap(), "with its bonus");
    let slots = [slot(&cards, &before[0]).await, slot(&cards, &before[1]).await];

    shop.advance(45 * DAY).await;
    assert_eq!(cards.send(&dispute("evt_3", shop.clock.now(), &completed, "needs_response")).await.0, 200);
    assert_eq!(cards.subscription(&own).await.ends_at, shop.clock.now(), "its own month is over");
    shop.advance(40 * DAY).await;
    assert_eq!(release_ended_holds(shop.app()).await.unwrap(), 0);
    assert_eq!(cards.send(&dispute("evt_4", shop.clock.now(), &completed, "won")).await.0, 200);
    for (order, (before, its_slot)) in [&own, &order].into_iter().zip(before.iter().zip(slots)) {
        let after = cards.subscription(order).await;
        let standing = (after.ends_at, after.standing, slot(&cards, &after).await);
        assert_eq!(standing, (before.ends_at, Standing::Held, its_slot));
    }
}

/// A settlement that gives a banked bonus, and the refund of the order that brought it, at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_banked_bonus_that_is_given_while_it_is_taken_back_counts_for_nothing() {
    if postgres_url().is_none() {
        return; // on SQLite one follows the other
    }
    let cards = Cards::open_with(On::Postgres, half_a_year).await;
    let shop = &cards.shop;
    let (credential, code) = a_referrer(&cards).await;
    let reply = cards.create(json!({ "duration": 6, "referralCode": code })).await;
    let order = reply.body["orderId"].as_str().unwrap().to_owned();
    let completed = cards.completed("evt_1", &order);
    assert_eq!(cards.send(&completed).await.0, 200);
    let own = bought_by(&cards, &credential).await;
    let given = cards.subscription(&own).await;
    // As if it were still banked, and were being given just now.
    let mut settlement = connect(shop).await;
    let banked = format!(
        "UPDATE grants SET subscription_id = NULL, sequence = NULL WHERE order_id = '{order}' AND kind = 'referral'"
    );
    run(&mut settlement, &banked).await;
    let give = format!(
        "BEGIN; UPDATE grants SET subscription_id = '{}', sequence = 1 WHERE order_id = '{order}' AND kind = 'referral'",
        given.id
    );
    run(&mut settlement, &give).await;
    let refunded = refund("evt_3", shop.clock.now(), &completed, 300);
    let (sent, ()) = tokio::join!(cards.send(&refunded), async {
        until_waiting(shop, 1).await;
        run(&mut settlement, "COMMIT").await;
    });
    assert_eq!((sent.0, cards.outcome(&order).await), (200, "refunded"));
    let started = cards.payments(&own).await[0].evidence.settled_at;
    assert_eq!(cards.subscription(&own).await.ends_at, started.plus_months(1).unwrap());
    assert!(given.ends_at > started.plus_months(2).unwrap());
}

/// An account's credential and its code.
async fn a_referrer(cards: &Cards) -> (String, Value) {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::parse("orders referrals").unwrap());
    let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
    let made = create_api_key(cards.shop.app(), new, By::Operator(None)).await.unwrap();
    let credential = format!("Bearer {}", made.key.expose());
    let code = cards.shop.post_as(&credential, "/api/referral/create", json!({})).await.body["code"].clone();
    (credential, code)
}

/// A month, paid.
async fn bought_by(cards: &Cards, credential: &str) -> String {
    let body = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" });
    let order = cards.shop.post_as(credential, &format!("{API}/subscription/create"), body).await;
    let order = order.body["orderId"].as_str().unwrap().to_owned();
    assert_eq!(cards.send(&cards.completed("evt_own", &order)).await.0, 200);
    order
}

async fn scenario_28_a_refund_takes_back_the_bonus_that_its_purchase_brought(on: On) {
    let cards = Cards::open_with(on, |config| config.bonuses = Bonuses::parse("1=1").unwrap()).await;
    let owner = cards.bearer().await;
    let referral = async || cards.shop.post_as(&owner, "/api/referral/create", json!({})).await.body;
    let code = referral().await["code"].clone();
    // One that is banked, and one that its owner's subscription has.
    let banked = bought_with(&cards, "evt_1", json!({ "referralCode": code })).await;
    let own = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" });
    let own = cards.shop.post_as(&owner, &format!("{API}/subscription/create"), own).await.body;
    let own = own["orderId"].as_str().unwrap();
    assert_eq!(cards.send(&refund("evt_2", cards.shop.clock.now(), &banked, 300)).await.0, 200);
    assert_eq!(cards.send(&cards.completed("evt_3", own)).await.0, 200);
    let end = cards.subscription(own).await.ends_at;
    assert_eq!(
        end,
        cards.payments(own).await[0].evidence.settled_at.plus_months(1).unwrap(),
        "nothing was banked any more"
    );
    let given = bought_with(&cards, "evt_4", json!({ "referralCode": code })).await;
    assert_eq!(cards.subscription(own).await.ends_at, end.plus_months(1).unwrap());
    assert_eq!(referral().await["bonusMonths"], json!(1));
    assert_eq!(cards.send(&refund("evt_5", cards.shop.clock.now(), &given, 300)).await.0, 200);
    assert_eq!((cards.subscription(own).await.ends_at, referral().await["bonusMonths"].clone()), (end, json!(0)));
}

/// What told of the payment.
async fn bought_with(cards: &Cards, event: &str, body: Value) -> Value {
    let reply = cards.create(body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let completed = cards.completed(event, reply.body["orderId"].as_str().unwrap());
    assert_eq!(cards.send(&completed).await.0, 200);
    completed
}
