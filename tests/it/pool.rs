//! A caller that goes away in the middle leaves no connection behind inside a transaction (sqlx issue 4393).

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::place_order::{Customer, PlaceOrder, place_order};
use wiretoll::domain::order::{ClaimBy, PayBy};
use wiretoll::domain::server::ServerId;

use crate::database::{connect, number};
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_47_a_begin_that_is_dropped_leaves_the_pool_whole,
    scenario_47_a_purchase_that_is_dropped_anywhere_leaves_the_pool_whole,
    scenario_47_clients_that_hang_up_leave_the_pool_whole,
);

/// Every connection begins, reads and writes, all at once where there are several.
async fn assert_whole(shop: &Shop) {
    let store = &shop.app().store;
    for _ in 0..3 {
        let use_one = || async {
            let mut tx = store.begin().await.unwrap();
            tx.count_open_orders("nobody").await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            tx.commit().await.unwrap();
        };
        let all = join_all((0..24).map(|_| use_one()));
        tokio::time::timeout(Duration::from_secs(30), all).await.expect("a connection is stuck");
    }
    shop.buy().await;
}

async fn scenario_47_a_begin_that_is_dropped_leaves_the_pool_whole(on: On) {
    let shop = Shop::open(on).await;
    let store = shop.app().store.clone();
    for round in 0..300_u64 {
        // Dropped after the first poll, or a little later.
        let begin = store.begin();
        let _ = tokio::time::timeout(Duration::from_micros(round % 100 * 10), begin).await;
        let _ = store.begin().now_or_never();
    }
    assert_whole(&shop).await;
}

async fn scenario_47_a_purchase_that_is_dropped_anywhere_leaves_the_pool_whole(on: On) {
    let shop = Shop::open(on).await;
    let request = PlaceOrder {
        server_id: ServerId::parse("eu-de").unwrap(),
        months: 1,
        public_key: None,
        referral_code: None,
        claim_by: ClaimBy::PaymentHash,
        pay_by: PayBy::Lightning,
        customer: Customer {
            address_prefix: "192.0.2.0/24".into(),
            account: None,
            idempotency_key: None,
            callback: None,
        },
    };
    for round in 0..60_u64 {
        let purchase = place_order(shop.app(), request.clone());
        let _ = tokio::time::timeout(Duration::from_micros(round * 200), purchase).await;
    }
    assert_whole(&shop).await;
    assert_counts(&shop).await;
}

async fn scenario_47_clients_that_hang_up_leave_the_pool_whole(on: On) {
    let shop = Shop::open(on).await;
    let body = json!({ "serverId": "eu-de", "duration": 1 });
    for round in 0..10_u64 {
        let patience = |n: u64| Duration::from_micros(round * 1_000 + n * 150);
        let impatient = (0..6).map(|n| tokio::time::timeout(patience(n), shop.create(body.clone())));
        join_all(impatient).await;
    }
    assert_whole(&shop).await;
    assert_counts(&shop).await;
}

/// Half an order is none: each open order has its slot, no slot is without one, and what was left unfinished ends.
async fn assert_counts(shop: &Shop) {
    let mut database = connect(shop).await;
    shop.until("slots and orders agree", || async {
        i64::try_from(shop.app().store.open_order_span().await.unwrap().0).unwrap() == shop.occupancy().await.reserved
    })
    .await;
    // A server need not notice at once that its client is gone, so an order may still be placed meanwhile.
    shop.until("all are closed", || async {
        shop.advance(Duration::from_mins(20)).await;
        close_due_orders(shop.app()).await.unwrap();
        shop.app().store.open_order_span().await.unwrap().0 == 0 && shop.occupancy().await.reserved == 0
    })
    .await;
    assert_eq!(number(&mut database, "SELECT count(*) FROM peers WHERE reserved_by_order IS NOT NULL").await, 0);
}
