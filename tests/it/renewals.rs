//! Renewals: by public key, whatever server a client names, and never a way to somebody's config.

use std::time::Duration;

use serde_json::json;
use wiretoll::app::release::release_ended_holds;
use wiretoll::domain::time::Timestamp;

use crate::on_both_databases;
use crate::shop::{API, Bought, On, Shop, a_key};

on_both_databases!(
    a_renewal_adds_its_months_to_the_end,
    a_renewal_ignores_the_server_that_a_client_names,
    a_renewal_cannot_be_claimed,
    a_lapsed_subscription_is_renewed_from_now,
    a_new_order_with_a_held_key_extends_its_subscription,
    a_held_key_cannot_buy_on_another_server,
    a_legacy_server_asks_to_migrate,
    a_renewal_after_the_hold_gets_a_slot_and_keeps_the_key,
    an_unpaid_renewal_ordered_after_the_hold_keeps_no_slot,
    an_unpaid_renewal_ordered_within_the_hold_keeps_the_slot,
);

async fn subscribed(shop: &Shop) -> (String, Bought) {
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    (key, order)
}

fn time(value: &serde_json::Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

async fn a_renewal_adds_its_months_to_the_end(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    let before = shop.status(&key).await.body["expiry"].clone();
    let renewal = shop.renew(&key, 3).await;
    assert_eq!(renewal.status, 200, "{}", renewal.body);
    assert_eq!(renewal.body["oldExpiry"], before);
    assert_eq!(time(&renewal.body["newExpiry"]), time(&before).plus_months(3).unwrap());
    let order = Bought::from(renewal.body.clone());
    shop.pay(&order.invoice).await;
    let paid = shop.until_paid(&order.hash).await;
    assert_eq!((&paid["oldExpiry"], &paid["newExpiry"]), (&before, &renewal.body["newExpiry"]));
    assert_eq!(shop.status(&key).await.body["expiry"], renewal.body["newExpiry"]);
}

async fn a_renewal_ignores_the_server_that_a_client_names(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    for label in ["🇩🇪 Germany — Nuremberg", "unknown", "de2.tunnelsats.com", "de2", ""] {
        let body = json!({ "serverId": label, "duration": 1, "wgPublicKey": key });
        let reply = shop.post(&format!("{API}/subscription/renew"), body).await;
        assert_eq!(reply.status, 200, "{label}: {}", reply.body);
    }
}

async fn a_renewal_cannot_be_claimed(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    let order = Bought::from(shop.renew(&key, 1).await.body);
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    let claim = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    assert_eq!((claim.status, claim.error()), (400, "ERR_INVALID_INPUT"));
    assert!(claim.body["message"].as_str().unwrap().contains("nothing to claim"), "{}", claim.body);
}

async fn a_lapsed_subscription_is_renewed_from_now(on: On) {
    let shop = Shop::open(on).await;
    let (key, order) = subscribed(&shop).await;
    let before = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    shop.advance(Duration::from_hours(40 * 24)).await;
    assert_eq!(shop.status(&key).await.body["status"], "disabled");
    let renewal = Bought::from(shop.renew(&key, 1).await.body);
    shop.pay(&renewal.invoice).await;
    shop.until_paid(&renewal.hash).await;
    let status = shop.status(&key).await;
    assert_eq!(status.body["status"], "enabled");
    let paid_at = Timestamp::from_seconds(shop.node.now_seconds());
    assert!(time(&status.body["expiry"]) <= paid_at.plus_months(1).unwrap());
    let after = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    assert_eq!(after.body["peer"], before.body["peer"], "slot and keys are kept");
}

async fn a_new_order_with_a_held_key_extends_its_subscription(on: On) {
    let shop = Shop::open(on).await;
    let (key, first) = subscribed(&shop).await;
    let before = shop.status(&key).await.body["expiry"].clone();
    let second = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    assert_eq!(time(&shop.status(&key).await.body["expiry"]), time(&before).plus_months(1).unwrap());
    let claims = [first, second].map(|order| shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })));
    let [one, other] = claims;
    let (one, other) = tokio::join!(one, other);
    assert_eq!(one.body["peer"], other.body["peer"]);
    let occupancy = shop.app().store.occupancy(shop.clock.now()).await.unwrap();
    assert_eq!(occupancy.iter().map(|o| (o.held, o.reserved)).collect::<Vec<_>>(), [(1, 0), (0, 0)]);
}

async fn a_held_key_cannot_buy_on_another_server(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    let reply = shop.create(json!({ "serverId": "us-east", "duration": 1, "wgPublicKey": key })).await;
    assert_eq!((reply.status, reply.error()), (409, "ERR_CONFLICT"));
}

async fn a_legacy_server_asks_to_migrate(on: On) {
    let mut shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    shop.stop().await;
    let other = shop.config.servers[1].id.clone();
    shop.config.servers[0].migrate_to = Some(other);
    shop.start().await;
    let renewal = shop.renew(&key, 1).await;
    assert_eq!((renewal.status, renewal.error()), (403, "ERR_MIGRATION_REQUIRED"));
    assert_eq!(shop.status(&key).await.status, 200);
}

async fn a_renewal_after_the_hold_gets_a_slot_and_keeps_the_key(on: On) {
    let shop = Shop::open(on).await;
    let (key, first) = subscribed(&shop).await;
    shop.advance(Duration::from_hours(70 * 24)).await;
    shop.until("the hold has ended", || async {
        release_ended_holds(shop.app()).await.unwrap();
        shop.claim(json!({ "paymentHash": first.hash })).await.status == 404
    })
    .await;
    let renewal = Bought::from(shop.renew(&key, 1).await.body);
    shop.pay(&renewal.invoice).await;
    shop.until_paid(&renewal.hash).await;
    assert_eq!(shop.status(&key).await.body["status"], "enabled");
    let claim = shop.claim(json!({ "paymentHash": first.hash, "wgPublicKey": key })).await;
    assert_eq!((claim.status, &claim.body["peer"]["publicKey"]), (200, &json!(key)));
}

async fn an_unpaid_renewal_ordered_after_the_hold_keeps_no_slot(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = subscribed(&shop).await;
    shop.advance(Duration::from_hours(70 * 24)).await;
    assert_eq!(shop.renew(&key, 1).await.status, 200);
    shop.until("the hold has ended", || async {
        release_ended_holds(shop.app()).await.unwrap();
        let occupancy = shop.app().store.occupancy(shop.clock.now()).await.unwrap();
        (occupancy[0].held, occupancy[0].reserved) == (0, 1)
    })
    .await;
}

async fn an_unpaid_renewal_ordered_within_the_hold_keeps_the_slot(on: On) {
    let shop = Shop::open_with(on, |config| config.orders.invoice_lifetime = Duration::from_hours(24)).await;
    let (key, _) = subscribed(&shop).await;
    shop.advance(Duration::from_hours(59 * 24 + 12)).await;
    let renewal = Bought::from(shop.renew(&key, 1).await.body);
    shop.advance(Duration::from_hours(23)).await;
    assert_eq!(release_ended_holds(shop.app()).await.unwrap(), 0);
    shop.pay(&renewal.invoice).await;
    shop.until_paid(&renewal.hash).await;
    assert_eq!(shop.status(&key).await.body["status"], "enabled");
}
