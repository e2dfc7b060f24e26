//! A node that was restored from a backup, or swapped for another one, and what is no hash at all.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wiretoll::app::reconcile;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::store::Error;

use crate::database::{connect, run};
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_07_a_restored_node_with_lower_indices_is_followed_again,
    scenario_07_a_position_that_mutes_the_stream_is_forgotten,
    scenario_07_another_node_is_followed_from_a_position_of_its_own,
    scenario_08_a_hash_in_another_encoding_is_refused,
    scenario_08_a_stored_hash_in_another_encoding_fails_loudly,
);

/// Three payments are applied; the node comes back as it was after the first.
async fn restored(on: On) -> Shop {
    let shop = Shop::open(on).await;
    shop.buy().await;
    shop.node.backup("after the first");
    shop.buy().await;
    shop.buy().await;
    shop.until_position(3).await;
    shop.node.go_down().await.unwrap();
    shop.node.restore("after the first").await.unwrap();
    shop.node.come_up().await.unwrap();
    shop
}

/// Other payments have taken the indices that our position covers.
async fn scenario_07_a_restored_node_with_lower_indices_is_followed_again(on: On) {
    let shop = restored(on).await;
    shop.node.inject(Fault::Backlog { settled: 2 }).await.unwrap();
    shop.until("the position is forgotten", || async { shop.position().await.is_none() }).await;
    let subscriptions = shop.node.calls(Method::SubscribeInvoices);
    shop.until("the node is followed again", || async {
        shop.node.calls(Method::SubscribeInvoices) > subscriptions && shop.node.subscribers() > 0
    })
    .await;
    shop.until("the node has its channel back", || async { shop.app().health.payee().is_ok() }).await;
    let order = shop.buy().await;
    shop.assert_applied_once(&order).await;
    shop.until_position(4).await;
    assert_eq!(shop.position().await.unwrap().payment_hash, order.payment_hash());
}

/// Nothing is replayed and nothing is told: only silence shows that the position is not this database's.
async fn scenario_07_a_position_that_mutes_the_stream_is_forgotten(on: On) {
    let shop = restored(on).await;
    shop.until("the shop can sell", || async { shop.app().health.payee().is_ok() && shop.node.subscribers() > 0 })
        .await;
    let muted = shop.order().await;
    shop.pay(&muted.invoice).await;
    // A customer who polls does not wait for the discovery.
    shop.until_paid(&muted.hash).await;
    let unasked = shop.order().await;
    shop.pay(&unasked.invoice).await;
    let patience = async {
        while shop.position().await.is_some_and(|position| position.settle_index > 2) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patience).await.expect("the position is forgotten");
    shop.until("the payment that nobody asked about is found", || shop.is_paid(&unasked)).await;
    shop.assert_applied_once(&muted).await;
    shop.assert_applied_once(&unasked).await;
}

async fn scenario_07_another_node_is_followed_from_a_position_of_its_own(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    shop.buy().await;
    let open = shop.order().await;
    shop.until_position(2).await;
    let first = shop.app().health.identity().unwrap();
    shop.node.inject(Fault::SwapNode).await.unwrap();
    shop.node.restart(Duration::ZERO).await.unwrap();
    shop.until("the other node is seen", || async {
        let node = &shop.app().health;
        node.identity() != Some(first) && node.payee().is_ok() && shop.node.subscribers() > 0
    })
    .await;
    let order = shop.buy().await;
    shop.assert_applied_once(&order).await;
    shop.until_position(1).await;
    assert_eq!(shop.app().store.cursor(first).await.unwrap().unwrap().settle_index, 2, "it may come back");
    reconcile::sweep(shop.app()).await.unwrap();
    assert!(matches!(shop.stored(&open).await.state, wiretoll::domain::order::OrderState::Pending(_)));
}

async fn scenario_08_a_hash_in_another_encoding_is_refused(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let base64 = STANDARD.encode(order.payment_hash().as_bytes());
    let twice = hex::encode(&order.hash);
    let url_safe = base64.replace('+', "-").replace('/', "_");
    for odd in [&base64, &twice, &url_safe, &order.hash[..62].to_owned()] {
        let claim = shop.claim(json!({ "paymentHash": odd })).await;
        assert_eq!((claim.status, claim.error()), (400, "ERR_INVALID_INPUT"), "{odd}");
    }
    for odd in [&twice, &url_safe] {
        assert_eq!(shop.check(odd).await.status, 400, "{odd}");
    }
}

/// Neither taken for another payment nor for "nothing settled yet"; the sweep needs no position.
async fn scenario_08_a_stored_hash_in_another_encoding_fails_loudly(on: On) {
    let mut shop = Shop::open(on).await;
    let first = shop.buy().await;
    shop.until_position(1).await;
    let order = shop.order().await;
    shop.stop().await;
    let base64 = STANDARD.encode(first.payment_hash().as_bytes());
    run(&mut connect(&shop).await, &format!("UPDATE settlement_cursor SET payment_hash = '{base64}'")).await;
    shop.pay(&order.invoice).await;
    shop.launch().await;
    shop.until("the node is seen", || async { shop.app().health.identity().is_some() }).await;
    let node = shop.app().health.identity().unwrap();
    let refused = shop.app().store.cursor(node).await.unwrap_err();
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains("settlement_cursor") && refused.to_string().contains("payment_hash"));
    shop.until("the payment is found all the same", || shop.is_paid(&order)).await;
}
