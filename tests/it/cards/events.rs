//! Events: forged, late, twice, in any order, and of what no order asked for.

use serde_json::json;
use wiretoll::domain::time::Timestamp;

use super::fake::{SECRET, charge, event, fixture, paid, signature};
use super::{Cards, from_files};
use crate::database::{allow, connect, number, refuse};
use crate::on_both_databases;
use crate::shop::On;

on_both_databases!(
    scenario_24_an_event_that_comes_twice_or_at_once_is_applied_once,
    scenario_24_an_event_that_is_older_than_the_end_of_its_order_is_not_lost,
    scenario_24_events_in_any_order_end_the_same,
    scenario_25_an_event_whose_effect_failed_is_not_remembered_and_works_when_it_comes_again,
    scenario_51_an_event_that_is_too_old_or_from_the_future_is_refused_and_said_so,
    an_event_without_a_good_signature_changes_nothing,
    secrets_are_rotated_without_a_restart,
    another_amount_is_entered_and_not_delivered,
    another_currency_is_entered_and_not_delivered,
    a_test_payment_where_money_is_expected_is_entered_and_not_delivered,
    what_is_complete_and_not_paid_holds_its_slot,
    an_order_that_a_restored_backup_forgot_is_an_orphan,
    an_order_on_lightning_is_none_of_stripe_s,
    a_second_payment_of_an_order_is_entered_and_not_delivered,
    a_page_that_is_not_the_order_s_closes_nothing_and_pays_for_nothing,
    scenario_52_what_was_paid_before_a_restore_that_forgot_its_page_is_delivered,
);

async fn scenario_24_an_event_that_comes_twice_or_at_once_is_applied_once(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let completed = cards.completed("evt_1", &order);
    let (one, other) = tokio::join!(cards.send(&completed), cards.send(&completed));
    assert_eq!((one.0, other.0), (200, 200));
    let end = cards.subscription(&order).await.ends_at;
    assert_eq!(cards.send(&completed).await.0, 200);
    // The same payment under another name.
    let again = event(
        "evt_2",
        "checkout.session.async_payment_succeeded",
        cards.shop.clock.now(),
        &completed["data"]["object"],
    );
    assert_eq!(cards.send(&again).await.0, 200);
    assert_eq!((cards.outcome(&order).await, cards.subscription(&order).await.ends_at), ("applied", end));
}

async fn scenario_24_an_event_that_is_older_than_the_end_of_its_order_is_not_lost(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let completed = cards.completed("evt_1", &order);
    let session = cards.stripe.session_of(&order);
    let mut expired = session.clone();
    expired["status"] = json!("expired");
    expired["payment_status"] = json!("unpaid");
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&event("evt_2", "checkout.session.expired", now, &expired)).await.0, 200);
    assert_eq!(cards.stored(&order).await.state.name(), "expired");
    // Money that arrived is never silent: the order is honoured, as a late one on Lightning is.
    assert_eq!(cards.send(&completed).await.0, 200);
    assert!(cards.stored(&order).await.is_paid());
    // And nothing that is older takes that back.
    assert_eq!(cards.send(&event("evt_3", "checkout.session.expired", now, &expired)).await.0, 200);
    assert_eq!((cards.stored(&order).await.state.name(), cards.outcome(&order).await), ("paid", "applied"));
}

async fn scenario_24_events_in_any_order_end_the_same(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let completed = cards.completed("evt_1", &order);
    let charge = charge(&completed["data"]["object"], 300);
    // The refund is told of first: the payment that it gives back is looked up.
    cards.paid_unheard(&order);
    let refunded = event("evt_2", "charge.refunded", cards.shop.clock.now(), &charge);
    assert_eq!(cards.send(&refunded).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "refunded");
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "refunded");
    assert!(cards.subscription(&order).await.ends_at <= cards.shop.clock.now());
}

async fn scenario_25_an_event_whose_effect_failed_is_not_remembered_and_works_when_it_comes_again(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let completed = cards.completed("evt_1", &order);
    refuse(&cards.shop, "payments", "NEW.provider = 'stripe'").await;
    assert!(cards.send(&completed).await.0 >= 500);
    let remembered = "SELECT CAST(count(*) AS BIGINT) FROM stripe_events";
    assert_eq!(number(&mut connect(&cards.shop).await, remembered).await, 0);
    allow(&cards.shop, "payments").await;
    // Nor does the effect stand without the memory of its event.
    refuse(&cards.shop, "stripe_events", "NEW.id = 'evt_1'").await;
    assert!(cards.send(&completed).await.0 >= 500);
    assert!(!cards.stored(&order).await.is_paid());
    allow(&cards.shop, "stripe_events").await;
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_eq!(
        (cards.outcome(&order).await, number(&mut connect(&cards.shop).await, remembered).await),
        ("applied", 1)
    );
}

async fn scenario_51_an_event_that_is_too_old_or_from_the_future_is_refused_and_said_so(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let body = serde_json::to_vec(&cards.completed("evt_1", &order)).unwrap();
    let at = |seconds: i64| cards.shop.clock.now().plus_millis(seconds * 1000);
    for seconds in [-302, 302] {
        let (status, said) = cards.send_raw(body.clone(), &signature(SECRET, &body, at(seconds))).await;
        assert_eq!(status, 400);
        assert!(said["message"].as_str().unwrap().contains("300 s"), "{said}");
    }
    assert!(!cards.stored(&order).await.is_paid());
    assert_eq!(cards.send_raw(body.clone(), &signature(SECRET, &body, at(-299))).await.0, 200);
}

async fn an_event_without_a_good_signature_changes_nothing(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let body = serde_json::to_vec(&cards.completed("evt_1", &order)).unwrap();
    let now = cards.shop.clock.now();
    for header in ["", "t=1", &signature("whsec_another", &body, now), &signature(SECRET, b"{}", now)] {
        assert_eq!(cards.send_raw(body.clone(), header).await.0, 400, "{header}");
    }
    let large = vec![b' '; 256 * 1024 + 1];
    assert_eq!(cards.send_raw(large.clone(), &signature(SECRET, &large, now)).await.0, 413);
    let no_event = b"[]".to_vec();
    assert_eq!(cards.send_raw(no_event.clone(), &signature(SECRET, &no_event, now)).await.0, 400);
    assert!(!cards.stored(&order).await.is_paid());
    // What nothing follows from is taken, and so is what is of no order here.
    let other = event("evt_9", "customer.created", now, &json!({ "id": "cus_1" }));
    assert_eq!(cards.send(&other).await.0, 200);
    let somebody_elses = event("evt_8", "checkout.session.completed", now, &fixture("session"));
    assert_eq!(cards.send(&somebody_elses).await.0, 200);
}

async fn secrets_are_rotated_without_a_restart(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let write = |secret: &str| {
        std::fs::write(folder.path().join("key"), "rk_test_51Fake\n").unwrap();
        std::fs::write(folder.path().join("secret"), secret).unwrap();
    };
    write("whsec_before\n");
    let cards = Cards::open_with(on, |config| drop(from_files(config, folder.path()))).await;
    let (order, _) = cards.order().await;
    let completed = cards.completed("evt_1", &order);
    assert_eq!(cards.send(&completed).await.0, 400);
    write(&format!("whsec_before\n{SECRET}\n"));
    assert_eq!(cards.send(&completed).await.0, 200);
}

/// The payment of an order is entered, and buys nothing.
async fn assert_mismatched(cards: &Cards, order: &str, amount: &str) {
    let payments = cards.payments(order).await;
    assert_eq!((payments.len(), payments[0].evidence.amount.to_string()), (1, amount.to_owned()));
    assert!(payments[0].is_open() && payments[0].outcome.name() == "mismatched");
    assert!(!cards.stored(order).await.is_paid());
    assert_eq!(cards.shop.occupancy().await.held, 0);
}

async fn another_amount_is_entered_and_not_delivered(on: On) {
    for (cents, shown) in [(299, "$2.99"), (301, "$3.01")] {
        let cards = Cards::open(on).await;
        let (order, _) = cards.order().await;
        let mut completed = cards.completed("evt_1", &order);
        completed["data"]["object"]["amount_total"] = json!(cents);
        assert_eq!(cards.send(&completed).await.0, 200);
        assert_mismatched(&cards, &order, shown).await;
        assert_eq!(cards.shop.occupancy().await.reserved, 0);
    }
}

async fn another_currency_is_entered_and_not_delivered(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let mut completed = cards.completed("evt_1", &order);
    completed["data"]["object"]["currency"] = json!("eur");
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_mismatched(&cards, &order, "300 eur").await;
}

async fn a_test_payment_where_money_is_expected_is_entered_and_not_delivered(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let mut completed = cards.completed("evt_1", &order);
    completed["data"]["object"]["livemode"] = json!(true);
    completed["data"]["object"]["payment_intent"] = json!("pi_live");
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_mismatched(&cards, &order, "$3.00").await;
    // The order is still what it was: its own payment settles it.
    let session = paid(&cards.stripe.session_of(&order));
    assert_eq!(
        cards.send(&event("evt_2", "checkout.session.completed", cards.shop.clock.now(), &session)).await.0,
        200
    );
    assert!(cards.stored(&order).await.is_paid());
}

async fn what_is_complete_and_not_paid_holds_its_slot(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let session = cards.stripe.session_of(&order);
    let unpaid = cards.stripe.set(session["id"].as_str().unwrap(), &json!({ "status": "complete", "url": null }));
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&event("evt_1", "checkout.session.completed", now, &unpaid)).await.0, 200);
    assert_eq!((cards.stored(&order).await.state.name(), cards.shop.occupancy().await.reserved), ("pending", 1));
    assert_eq!(cards.send(&event("evt_2", "checkout.session.async_payment_failed", now, &unpaid)).await.0, 200);
    assert_eq!((cards.stored(&order).await.state.name(), cards.shop.occupancy().await.reserved), ("expired", 0));
    // It succeeded in the end: late, and honoured.
    let paid = cards.completed("evt_3", &order);
    assert_eq!(cards.send(&paid).await.0, 200);
    assert!(cards.stored(&order).await.is_paid());
}

async fn an_order_that_a_restored_backup_forgot_is_an_orphan(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let mut completed = cards.completed("evt_1", &order);
    let lost = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1";
    completed["data"]["object"]["client_reference_id"] = json!(lost);
    completed["data"]["object"]["metadata"]["wiretoll_order"] = json!(lost);
    assert_eq!(cards.send(&completed).await.0, 200);
    let intent = completed["data"]["object"]["payment_intent"].as_str().unwrap();
    let provider = wiretoll::domain::payment::Provider::Stripe;
    let orphan = cards.shop.app().store.payment(provider, intent).await.unwrap().unwrap();
    assert_eq!((orphan.outcome.name(), orphan.order_id, orphan.is_open()), ("orphaned", None, true));
    assert!(orphan.evidence.settled_at > Timestamp::EPOCH);
}

async fn an_order_on_lightning_is_none_of_stripe_s(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let on_lightning = cards.shop.order().await;
    let id = on_lightning.body["orderId"].as_str().unwrap().to_owned();
    let named = |name: &str, kind: &str, mut body: serde_json::Value| {
        body["client_reference_id"] = json!(id);
        body["metadata"]["wiretoll_order"] = json!(id);
        event(name, kind, cards.shop.clock.now(), &body)
    };
    let mut expired = cards.stripe.session_of(&order);
    expired["status"] = json!("expired");
    assert_eq!(cards.send(&named("evt_1", "checkout.session.expired", expired.clone())).await.0, 200);
    assert_eq!(cards.send(&named("evt_2", "checkout.session.async_payment_failed", expired)).await.0, 200);
    let completed = named("evt_3", "checkout.session.completed", paid(&cards.stripe.session_of(&order)));
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_eq!(cards.stored(&id).await.state.name(), "pending");
    let intent = completed["data"]["object"]["payment_intent"].as_str().unwrap();
    let payment = cards.shop.app().store.payment(wiretoll::domain::payment::Provider::Stripe, intent).await.unwrap();
    assert_eq!(payment.unwrap().outcome.name(), "orphaned");
}

async fn scenario_52_what_was_paid_before_a_restore_that_forgot_its_page_is_delivered(on: On) {
    let cards = Cards::open(on).await;
    let (order, token) = cards.order().await;
    cards.forget_page(&order).await;
    let completed = cards.completed("evt_1", &order);
    assert_eq!(cards.send(&completed).await.0, 200);
    assert_eq!(cards.outcome(&order).await, "applied");
    let claimed = cards.shop.claim(json!({ "orderId": order, "claimToken": token })).await;
    assert_eq!((claimed.status, &claimed.body["success"]), (200, &json!(true)), "{}", claimed.body);
}

async fn a_second_payment_of_an_order_is_entered_and_not_delivered(on: On) {
    let cards = Cards::open(on).await;
    let (order, completed) = cards.buy().await;
    let end = cards.subscription(&order).await.ends_at;
    let mut session = completed["data"]["object"].clone();
    session["payment_intent"] = json!("pi_second");
    let now = cards.shop.clock.now();
    for id in ["evt_2", "evt_3"] {
        assert_eq!(cards.send(&event(id, "checkout.session.completed", now, &session)).await.0, 200);
    }
    let payments = cards.payments(&order).await;
    let known: Vec<_> = payments.iter().map(|payment| (payment.outcome.name(), payment.is_open())).collect();
    assert_eq!(known, [("applied", false), ("mismatched", true)], "{payments:?}");
    assert_eq!((cards.stored(&order).await.state.name(), cards.subscription(&order).await.ends_at), ("paid", end));
}

async fn a_page_that_is_not_the_order_s_closes_nothing_and_pays_for_nothing(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.order().await;
    let now = cards.shop.clock.now();
    let mut expired = cards.stripe.session_of(&order);
    expired["status"] = json!("expired");
    for (n, (field, value)) in [("livemode", json!(true)), ("id", json!("cs_test_other"))].into_iter().enumerate() {
        let mut other = expired.clone();
        other[field] = value;
        assert_eq!(cards.send(&event(&format!("evt_{n}"), "checkout.session.expired", now, &other)).await.0, 200);
        assert_eq!(cards.stored(&order).await.state.name(), "pending", "{field}");
    }
    let mut other = paid(&cards.stripe.session_of(&order));
    other["id"] = json!("cs_test_other");
    other["payment_intent"] = json!("pi_other");
    assert_eq!(cards.send(&event("evt_5", "checkout.session.completed", now, &other)).await.0, 200);
    assert_eq!((cards.stored(&order).await.state.name(), cards.outcome(&order).await), ("pending", "mismatched"));
    assert_eq!(cards.send(&event("evt_6", "checkout.session.expired", now, &expired)).await.0, 200);
    assert_eq!(cards.stored(&order).await.state.name(), "expired");
}
