//! Slots: reserved before an invoice is shown, unique, bounded, and returned when an order is dead.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::app::{close_orders, release};
use wiretoll::config::Config;
use wiretoll::domain::server::Pool;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::store::Occupancy;

use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    scenario_29_a_sold_out_server_says_so_before_an_invoice,
    scenario_30_an_expired_order_returns_its_slot,
    scenario_30_an_order_that_never_had_an_invoice_returns_its_slot,
    scenario_31_concurrent_orders_never_share_a_slot,
    free_invoices_cannot_empty_a_pool,
    a_subscription_s_slot_is_returned_after_its_hold_and_quarantine,
);

/// A pool of one on the first server.
pub fn one_slot(config: &mut Config) {
    let server = &mut config.servers[0];
    server.pool = Pool::new(server.pool.network(), 35_000, Some(1)).unwrap();
}

/// A pool of five on both servers.
fn small(config: &mut Config) {
    for server in &mut config.servers {
        server.pool = Pool::new(server.pool.network(), 35_000, Some(5)).unwrap();
    }
}

async fn occupancy(shop: &Shop) -> Occupancy {
    shop.app()
        .store
        .occupancy(shop.clock.now())
        .await
        .unwrap()
        .into_iter()
        .find(|o| o.server.as_str() == "eu-de")
        .unwrap()
}

async fn scenario_29_a_sold_out_server_says_so_before_an_invoice(on: On) {
    let shop = Shop::open_with(on, small).await;
    for _ in 0..5 {
        shop.buy().await;
    }
    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"));
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.body["message"].as_str().unwrap().contains("sold out"), "{}", refused.body);
    let servers = shop.get("/api/public/v1/servers").await;
    let ids: Vec<_> = servers.body["servers"].as_array().unwrap().iter().map(|s| s["id"].clone()).collect();
    assert_eq!(ids, ["us-east"], "a sold-out server leaves the list");
}

async fn scenario_30_an_expired_order_returns_its_slot(on: On) {
    let shop = Shop::open_with(on, small).await;
    let order = shop.order().await;
    assert_eq!(occupancy(&shop).await.reserved, 1);
    shop.advance(Duration::from_mins(16)).await;
    shop.until("the slot is back", || async {
        close_orders::close_due_orders(shop.app()).await.unwrap();
        occupancy(&shop).await.reserved == 0
    })
    .await;
    let checked = shop.check(&order.hash).await;
    assert_eq!((&checked.body["status"], &checked.body["invoiceExpired"]), (&json!("unpaid"), &json!(true)));
    shop.advance(Duration::from_hours(24)).await;
    assert_eq!(shop.check(&order.hash).await.status, 404);
}

async fn scenario_30_an_order_that_never_had_an_invoice_returns_its_slot(on: On) {
    let shop = Shop::open_with(on, small).await;
    shop.node.inject(Fault::LoseReplies { method: Method::AddInvoice, count: 1 }).await.unwrap();
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503);
    assert_eq!(occupancy(&shop).await.reserved, 1, "the invoice may be there, and paid");
    shop.advance(Duration::from_mins(3)).await;
    close_orders::close_due_orders(shop.app()).await.unwrap();
    assert_eq!(occupancy(&shop).await.reserved, 0);
}

async fn scenario_31_concurrent_orders_never_share_a_slot(on: On) {
    let shop = Shop::open(on).await;
    let orders = join_all((0..24).map(|_| shop.buy())).await;
    let claims = join_all(orders.iter().map(|order| shop.claim(json!({ "paymentHash": order.hash })))).await;
    let addresses: HashSet<_> = claims.iter().map(|claim| claim.body["peer"]["address"].to_string()).collect();
    let ports: HashSet<_> = claims.iter().map(|claim| claim.body["vpnPort"].to_string()).collect();
    assert_eq!((addresses.len(), ports.len()), (24, 24));
    let occupancy = occupancy(&shop).await;
    assert_eq!((occupancy.held, occupancy.reserved), (24, 0));
}

/// Of five free slots three (half, rounded up) may be reserved without payment.
async fn free_invoices_cannot_empty_a_pool(on: On) {
    let shop = Shop::open_with(on, small).await;
    for _ in 0..3 {
        shop.order().await;
    }
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503);
    assert_eq!(occupancy(&shop).await.reserved, 3);
}

async fn a_subscription_s_slot_is_returned_after_its_hold_and_quarantine(on: On) {
    let shop = Shop::open_with(on, small).await;
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let first = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    // A month, and all but a day of the hold: still held.
    shop.advance(Duration::from_hours((31 + 28) * 24)).await;
    assert_eq!(release::release_ended_holds(shop.app()).await.unwrap(), 0);
    shop.advance(Duration::from_hours(4 * 24)).await;
    assert_eq!(release::release_ended_holds(shop.app()).await.unwrap(), 1);
    assert_eq!(occupancy(&shop).await.held, 0);
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 404);
    // The slot itself rests: everybody else gets another one first.
    let other = shop.buy().await;
    let second = shop.claim(json!({ "paymentHash": other.hash })).await;
    assert_ne!(first.body["vpnPort"], second.body["vpnPort"]);
}
