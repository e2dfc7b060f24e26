//! Buying by card, from the order to the claim; and pages that nobody pays on.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;
use wiretoll::app::close_orders::{Closing, close};
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::look_up_cards::{Which, look_up_cards};
use wiretoll::app::operator::By;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::desired::Usage;
use wiretoll::lnd_simulator::faults::Fault;

use super::Cards;
use crate::agent::{Agent, Told};
use crate::on_both_databases;
use crate::receiver::Receiver;
use crate::shop::{API, On, Shop, a_key};

on_both_databases!(
    a_card_buys_a_subscription_that_is_claimed_with_order_id_and_token,
    a_card_renews_a_subscription,
    a_callback_is_told_how_much_was_paid_by_card,
    an_owner_lists_syncs_and_claims_what_was_bought_by_card,
    cards_are_refused_clearly_where_they_cannot_be_taken,
    scenario_21_a_repeated_create_ends_at_the_same_page,
    an_event_that_never_came_is_made_up_for_by_looking,
    a_page_that_nobody_paid_on_is_closed_by_stripe_and_its_slot_is_free,
    a_stripe_that_hangs_keeps_nobody_from_the_node_and_no_poll_waiting,
    scenario_13_a_page_that_is_paid_when_it_is_to_be_closed_is_paid,
    a_page_that_a_crash_kept_from_its_customer_is_closed_at_stripe,
    what_stripe_does_not_tell_of_is_over_after_a_day,
    a_page_that_stripe_cannot_make_holds_up_no_other_order,
);

async fn a_card_buys_a_subscription_that_is_claimed_with_order_id_and_token(on: On) {
    let cards = Cards::open(on).await;
    let reply = cards.create(json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let (order, token) = (reply.body["orderId"].as_str().unwrap(), reply.body["claimToken"].as_str().unwrap());
    assert_eq!((&reply.body["paymentHash"], &reply.body["amountCents"]), (&Value::Null, &json!(300)));
    assert!(reply.body["checkoutUrl"].as_str().unwrap().starts_with("https://checkout.stripe.com/"));
    assert!(
        reply.body["invoice"].is_null() && reply.body["amountSats"].is_null() && reply.body["expiresAt"].is_string()
    );
    assert_eq!(cards.shop.occupancy().await.reserved, 1);
    let unpaid = cards.check(order).await;
    assert_eq!(
        (&unpaid["status"], &unpaid["orderId"], &unpaid["paymentHash"]),
        (&json!("unpaid"), &json!(order), &Value::Null)
    );
    assert_eq!(cards.shop.claim(json!({ "orderId": order, "claimToken": token })).await.status, 402);

    let waiting = format!("{API}/subscription/{order}?wait=20");
    let (paid, sent) = tokio::join!(cards.shop.get(&waiting), async {
        let completed = cards.completed("evt_1", order);
        cards.send(&completed).await
    });
    assert_eq!((sent.0, &paid.body["status"]), (200, &json!("paid")), "{}", sent.1);
    let payments = cards.payments(order).await;
    assert_eq!((payments.len(), payments[0].evidence.amount.to_string()), (1, "$3.00".into()));
    assert_eq!((payments[0].outcome.name(), payments[0].evidence.provider.name()), ("applied", "stripe"));

    // The id is no secret: Stripe's receipts and events name it.
    for wrong in [json!({ "orderId": order }), json!({ "orderId": order, "claimToken": "x" })] {
        assert_eq!(cards.shop.claim(wrong).await.status, 404);
    }
    let claimed = cards.shop.claim(json!({ "orderId": order, "claimToken": token })).await;
    assert_eq!((claimed.status, &claimed.body["success"]), (200, &json!(true)), "{}", claimed.body);
    assert_eq!(cards.shop.occupancy().await.held, 1);
}

async fn a_card_renews_a_subscription(on: On) {
    let cards = Cards::open(on).await;
    let key = a_key();
    let reply = cards.create(json!({ "wgPublicKey": key })).await;
    let order = reply.body["orderId"].as_str().unwrap();
    assert_eq!(cards.send(&cards.completed("evt_1", order)).await.0, 200);
    let before = cards.subscription(order).await.ends_at;
    let body = json!({ "duration": 1, "wgPublicKey": key, "paymentMethod": "card" });
    let renewal = cards.shop.post(&format!("{API}/subscription/renew"), body).await;
    assert_eq!((renewal.status, &renewal.body["paymentHash"]), (200, &Value::Null), "{}", renewal.body);
    let renewal = renewal.body["renewalId"].as_str().unwrap();
    assert_eq!(cards.send(&cards.completed("evt_2", renewal)).await.0, 200);
    assert_eq!(cards.check(renewal).await["oldExpiry"], json!(before));
    assert_eq!(cards.subscription(order).await.ends_at, before.plus_months(1).unwrap());
}

async fn a_callback_is_told_how_much_was_paid_by_card(on: On) {
    let receiver = Receiver::start().await;
    let cards = Cards::open_with(on, |config| config.egress.allow_customers = config.egress.allow.clone()).await;
    let reply = cards.create(json!({ "callbackUrl": receiver.url("/mine") })).await;
    let order = reply.body["orderId"].as_str().unwrap();
    assert_eq!(cards.send(&cards.completed("evt_1", order)).await.0, 200);
    cards.shop.until("the callback was told", || async { !receiver.at("/mine").is_empty() }).await;
    let told = receiver.at("/mine").remove(0).json();
    assert_eq!(told["data"]["order"], json!({ "id": order, "amountCents": 300, "excessCents": 0 }), "{told}");
}

async fn an_owner_lists_syncs_and_claims_what_was_bought_by_card(on: On) {
    let cards = Cards::open(on).await;
    let shop = &cards.shop;
    let (owner, other) = (an_account(shop).await, an_account(shop).await);
    let body = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card", "wgPublicKey": a_key() });
    let order = shop.post_as(&owner, &format!("{API}/subscription/create"), body).await.body;
    let order = order["orderId"].as_str().unwrap();
    assert_eq!(cards.send(&cards.completed("evt_1", order)).await.0, 200);
    let listed = shop.get_as(&owner, &format!("{API}/subscription/list")).await.body;
    let one = &listed["subscriptions"][0];
    assert_eq!((&one["paymentHash"], &one["orderId"]), (&Value::Null, &json!(order)), "{one}");
    let mut agent = Agent::of(shop.app());
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    agent.tell_usage(shop.app(), a_gigabyte(&agent)).await;
    let sync = format!("{API}/subscription/{order}/sync");
    let synced = shop.post_as(&owner, &sync, json!({})).await;
    assert_eq!(
        (synced.status, &synced.body["subscription"]["bandwidth_used"]),
        (200, &json!(1_000)),
        "{}",
        synced.body
    );
    let theirs = shop.post_as(&other, &sync, json!({})).await;
    assert_eq!((theirs.status, theirs.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    // The owner's credential is as good a proof as the claim token.
    let claim = format!("{API}/subscription/claim");
    assert_eq!(shop.post_as(&other, &claim, json!({ "orderId": order })).await.status, 404);
    let claimed = shop.post_as(&owner, &claim, json!({ "orderId": order })).await;
    assert_eq!((claimed.status, &claimed.body["success"]), (200, &json!(true)), "{}", claimed.body);
}

async fn an_account(shop: &Shop) -> String {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::all());
    let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
    format!("Bearer {}", create_api_key(shop.app(), new, By::Operator(None)).await.unwrap().key.expose())
}

fn a_gigabyte(agent: &Agent) -> Usage {
    Usage { peer: agent.peer().id, run: Uuid::from_u128(1), bytes: 1_000_000_000, handshake_at: None }
}

async fn cards_are_refused_clearly_where_they_cannot_be_taken(on: On) {
    let cards = Cards::open(on).await;
    let in_sats = cards.create(json!({ "duration": 3 })).await;
    assert_eq!((in_sats.status, in_sats.error()), (400, "ERR_INVALID_INPUT"));
    let other = cards.create(json!({ "paymentMethod": "cash" })).await;
    assert_eq!((other.status, other.error()), (400, "ERR_INVALID_INPUT"));
    cards.stripe.go_down(true);
    let down = cards.create(json!({})).await;
    assert_eq!(down.status, 503, "{}", down.body);
    assert!(down.headers.contains_key("retry-after"));

    let without = Shop::open(on).await;
    let refused = without.create(json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" })).await;
    assert_eq!((refused.status, refused.error()), (400, "ERR_INVALID_INPUT"));
    assert!(refused.body["message"].as_str().unwrap().contains("takes no cards"), "{}", refused.body);
    assert_eq!(without.post("/v1/webhooks/stripe", json!({})).await.status, 404);
    assert_eq!(without.occupancy().await.reserved, 0);
}

async fn scenario_21_a_repeated_create_ends_at_the_same_page(on: On) {
    let cards = Cards::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), "019aa9c4-5a3e-4c41-9a70-0d1c52a6f5b1");
    let body = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" });
    cards.stripe.go_down(true);
    assert_eq!(cards.shop.post_with_key(&path, key, body.clone()).await.status, 503);
    cards.stripe.go_down(false);
    let first = cards.shop.post_with_key(&path, key, body.clone()).await;
    let second = cards.shop.post_with_key(&path, key, body).await;
    assert_eq!((first.status, &first.body), (200, &second.body), "{}", first.body);
    assert_eq!(cards.shop.occupancy().await.reserved, 1);
}

async fn an_event_that_never_came_is_made_up_for_by_looking(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    cards.paid_unheard(&order);
    assert!(!cards.stored(&order).await.is_paid());
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert!(!cards.stored(&order).await.is_paid(), "it is not due");
    look_up_cards(cards.shop.app(), Which::All).await.unwrap();
    assert!(cards.stored(&order).await.is_paid());
    assert_eq!(cards.outcome(&order).await, "applied");
    // A poll finds it, too.
    let (polled, _) = cards.order().await;
    cards.paid_unheard(&polled);
    assert_eq!(cards.check(&polled).await["status"], "paid");
}

/// More customers who poll than Stripe is asked about at a time.
async fn a_stripe_that_hangs_keeps_nobody_from_the_node_and_no_poll_waiting(on: On) {
    let cards = Cards::open(on).await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        orders.push(cards.order().await.0);
    }
    let on_lightning = cards.shop.order().await;
    cards.stripe.fall_silent();
    let polls = join_all(orders.iter().map(|order| cards.check(order)));
    let healed = async {
        // The node tells nobody: only a question finds it.
        cards.shop.node.inject(Fault::LoseEvent { nth: 1 }).await.unwrap();
        cards.shop.pay(&on_lightning.invoice).await;
        cards.shop.check(&on_lightning.hash).await
    };
    let (polled, healed) = timeout(Duration::from_secs(9), async { tokio::join!(polls, healed) }).await.unwrap();
    assert!(polled.iter().all(|body| body["status"] == "unpaid"));
    assert_eq!(healed.body["status"], "paid");
}

/// Moves the clock beyond the end of every page, and closes what is due.
async fn close_due(cards: &Cards) {
    cards.shop.advance(Duration::from_mins(36)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
}

async fn a_page_that_nobody_paid_on_is_closed_by_stripe_and_its_slot_is_free(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    cards.stripe.go_down(true);
    close_due(&cards).await;
    assert_eq!(cards.stored(&order).await.state.name(), "pending", "only Stripe knows whether it is paid");
    cards.stripe.go_down(false);
    close_due(&cards).await;
    assert_eq!(cards.stored(&order).await.state.name(), "expired");
    assert_eq!(cards.stripe.session_of(&order)["status"], "expired");
    assert_eq!(cards.check(&order).await["invoiceExpired"], json!(true));
    assert_eq!(cards.shop.occupancy().await.reserved, 0);
}

async fn a_page_that_a_crash_kept_from_its_customer_is_closed_at_stripe(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    cards.forget_page(&order).await;
    cards.shop.advance(Duration::from_mins(1)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert_eq!(cards.stored(&order).await.state.name(), "creating", "its customer may ask again");
    cards.shop.advance(Duration::from_mins(2)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert_eq!(cards.stored(&order).await.state.name(), "failed");
    assert_eq!(cards.stripe.session_of(&order)["status"], "expired");
    assert_eq!(cards.shop.occupancy().await.reserved, 0);
    // Nobody was shown it as far as is known here, and it was paid all the same: before the database was restored.
    let (paid, _) = cards.order().await;
    cards.forget_page(&paid).await;
    cards.paid_unheard(&paid);
    cards.shop.advance(Duration::from_mins(3)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert_eq!(cards.outcome(&paid).await, "applied");
    assert!(cards.subscription(&paid).await.ends_at > cards.shop.clock.now());
}

async fn what_stripe_does_not_tell_of_is_over_after_a_day(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    cards.forget_page(&order).await;
    cards.stripe.go_down(true);
    cards.shop.advance(Duration::from_hours(24)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert_eq!(cards.stored(&order).await.state.name(), "creating");
    cards.shop.advance(Duration::from_secs(1)).await;
    look_up_cards(cards.shop.app(), Which::Due).await.unwrap();
    assert_eq!(cards.stored(&order).await.state.name(), "failed");
}

async fn a_page_that_stripe_cannot_make_holds_up_no_other_order(on: On) {
    let cards = Cards::open(on).await;
    let (broken, _) = cards.order().await;
    cards.forget_page(&broken).await;
    let (order, _) = cards.order().await;
    cards.stripe.makes_nothing(true);
    close_due(&cards).await;
    assert_eq!(cards.stored(&broken).await.state.name(), "creating");
    assert_eq!(cards.stored(&order).await.state.name(), "expired");
}

async fn scenario_13_a_page_that_is_paid_when_it_is_to_be_closed_is_paid(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    cards.paid_unheard(&order);
    let closing = close(cards.shop.app(), &cards.stored(&order).await).await.unwrap();
    assert_eq!((closing, cards.stored(&order).await.is_paid()), (Closing::Closed, true));
}
