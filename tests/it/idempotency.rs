//! The same request twice is one order.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;

use crate::on_both_databases;
use crate::shop::{API, On, Shop};

on_both_databases!(
    scenario_21_a_repeated_create_is_one_order_and_one_invoice,
    scenario_21_a_create_whose_answer_the_node_lost_ends_at_the_same_invoice,
    scenario_21_requests_at_once_with_one_key_are_one_order,
    a_key_with_another_body_is_refused,
    an_anonymous_key_must_be_a_uuid,
    a_repeated_answer_of_a_paid_order_has_no_token,
    without_a_key_every_request_is_an_order,
    the_key_of_an_expired_order_starts_a_new_one,
);

fn body() -> serde_json::Value {
    json!({ "serverId": "eu-de", "duration": 1 })
}

fn fresh_key() -> String {
    Uuid::from_u128(u128::from_le_bytes(wiretoll::random::bytes().unwrap())).to_string()
}

async fn scenario_21_a_repeated_create_is_one_order_and_one_invoice(on: On) {
    let mut shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    let first = shop.post_with_key(&path, &key, body()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(shop.post_with_key(&path, &key, body()).await.body, first.body);
    shop.stop().await;
    shop.start().await;
    assert_eq!(shop.post_with_key(&path, &key, body()).await.body, first.body);
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 1);
}

async fn scenario_21_a_create_whose_answer_the_node_lost_ends_at_the_same_invoice(on: On) {
    let shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    shop.node.inject(Fault::LoseReplies { method: Method::AddInvoice, count: 1 }).await.unwrap();
    let lost = shop.post_with_key(&path, &key, body()).await;
    assert_eq!((lost.status, lost.error()), (503, "ERR_INTERNAL_ERROR"));
    let found = shop.post_with_key(&path, &key, body()).await;
    assert_eq!(found.status, 200, "{}", found.body);
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 1);
    shop.pay(found.body["invoice"].as_str().unwrap()).await;
    shop.until_paid(found.body["paymentHash"].as_str().unwrap()).await;
}

async fn scenario_21_requests_at_once_with_one_key_are_one_order(on: On) {
    let shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    let post = || shop.post_with_key(&path, &key, body());
    let (a, b, c, d) = tokio::join!(post(), post(), post(), post());
    for reply in [&a, &b, &c, &d] {
        assert_eq!((reply.status, &reply.body), (200, &a.body));
    }
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 1);
}

async fn a_key_with_another_body_is_refused(on: On) {
    let shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    shop.post_with_key(&path, &key, body()).await;
    let other = shop.post_with_key(&path, &key, json!({ "serverId": "eu-de", "duration": 3 })).await;
    assert_eq!((other.status, other.error()), (409, "ERR_CONFLICT"));
}

async fn an_anonymous_key_must_be_a_uuid(on: On) {
    let shop = Shop::open(on).await;
    let reply = shop.post_with_key(&format!("{API}/subscription/create"), "order-1", body()).await;
    assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"));
}

async fn a_repeated_answer_of_a_paid_order_has_no_token(on: On) {
    let shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    let first = shop.post_with_key(&path, &key, body()).await;
    assert!(first.body["claimToken"].is_string());
    shop.pay(first.body["invoice"].as_str().unwrap()).await;
    shop.until_paid(first.body["paymentHash"].as_str().unwrap()).await;
    let again = shop.post_with_key(&path, &key, body()).await;
    assert_eq!(again.body["paymentHash"], first.body["paymentHash"]);
    assert!(again.body["claimToken"].is_null(), "{}", again.body);
}

async fn without_a_key_every_request_is_an_order(on: On) {
    let shop = Shop::open(on).await;
    let (one, other) = (shop.order().await, shop.order().await);
    assert_ne!(one.hash, other.hash);
    assert_ne!(one.token, other.token);
}

async fn the_key_of_an_expired_order_starts_a_new_one(on: On) {
    let shop = Shop::open(on).await;
    let (path, key) = (format!("{API}/subscription/create"), fresh_key());
    let first = shop.post_with_key(&path, &key, body()).await;
    shop.advance(Duration::from_mins(16)).await;
    shop.until("the first has expired", || async {
        close_due_orders(shop.app()).await.unwrap();
        shop.app().store.open_order_span().await.unwrap().0 == 0
    })
    .await;
    let second = shop.post_with_key(&path, &key, body()).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_ne!(second.body["paymentHash"], first.body["paymentHash"]);
    assert_eq!(shop.post_with_key(&path, &key, body()).await.body, second.body);
}
