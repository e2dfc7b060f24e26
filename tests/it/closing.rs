//! Closing: the node decides between expired and paid, and "not found" frees nothing without evidence.

use std::time::Duration;

use serde_json::json;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::payment::Outcome;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::settings::{CanceledInvoices, SimulatorSettings};

use crate::on_both_databases;
use crate::shop::{Bought, On, Shop};
use crate::slots::one_slot;

on_both_databases!(
    an_unpaid_order_expires_by_the_node_s_word,
    scenario_13_an_order_paid_at_the_last_moment_is_paid_not_expired,
    scenario_15_a_node_that_lost_the_invoice_does_not_free_the_slot,
    scenario_15_another_node_does_not_free_the_slots_of_the_first,
    scenario_15_a_node_that_deletes_cancelled_invoices_frees_them_by_evidence,
    scenario_15_without_evidence_a_day_has_to_pass,
    a_node_that_is_down_closes_nothing,
    a_late_payment_that_nothing_is_left_for_is_a_refund_that_is_due,
);

async fn state(shop: &Shop, order: &Bought) -> OrderState {
    shop.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap().state
}

async fn an_unpaid_order_expires_by_the_node_s_word(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.advance(Duration::from_mins(15) + Duration::from_secs(4)).await;
    assert!(matches!(state(&shop, &order).await, OrderState::Pending(_)), "within the grace");
    shop.advance(Duration::from_secs(3)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Expired { .. }));
}

async fn scenario_13_an_order_paid_at_the_last_moment_is_paid_not_expired(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.stop().await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.advance(Duration::from_mins(20)).await;
    shop.pay(&order.invoice).await;
    shop.start().await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Paid { .. }));
}

async fn scenario_15_a_node_that_lost_the_invoice_does_not_free_the_slot(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.wipe().await.unwrap();
    shop.advance(Duration::from_mins(20)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Pending(_)));
}

async fn scenario_15_another_node_does_not_free_the_slots_of_the_first(on: On) {
    let mut shop = Shop::open(on).await;
    let first = shop.order().await;
    shop.stop().await;
    shop.node.inject(Fault::SwapNode).await.unwrap();
    shop.start().await;
    let second = shop.order().await;
    shop.buy().await;
    shop.advance(Duration::from_hours(48)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(
        matches!(state(&shop, &first).await, OrderState::Pending(_)),
        "the first node may come back with its payment"
    );
    assert!(matches!(state(&shop, &second).await, OrderState::Expired { .. }));
}

fn deleting() -> SimulatorSettings {
    SimulatorSettings { canceled_invoices: CanceledInvoices::DeleteAtOnce, ..SimulatorSettings::default() }
}

async fn scenario_15_a_node_that_deletes_cancelled_invoices_frees_them_by_evidence(on: On) {
    let shop = Shop::open_beside(on, deleting(), |_| {}).await;
    shop.buy().await;
    let order = shop.order().await;
    shop.advance(Duration::from_mins(16)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Expired { .. }));
}

async fn scenario_15_without_evidence_a_day_has_to_pass(on: On) {
    let shop = Shop::open_beside(on, deleting(), |_| {}).await;
    let order = shop.order().await;
    shop.advance(Duration::from_hours(24)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Pending(_)));
    shop.advance(Duration::from_mins(16)).await;
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(state(&shop, &order).await, OrderState::Expired { .. }));
}

async fn a_node_that_is_down_closes_nothing(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.go_down().await.unwrap();
    shop.clock.advance(20 * 60_000);
    assert_eq!(close_due_orders(shop.app()).await.unwrap(), 0);
    assert!(matches!(state(&shop, &order).await, OrderState::Pending(_)));
}

/// One slot: the first order expires, the second takes the slot, and the first is paid after all.
async fn a_late_payment_that_nothing_is_left_for_is_a_refund_that_is_due(on: On) {
    let shop = Shop::open_with(on, one_slot).await;
    let late = shop.order().await;
    // The database hears "expired"; the node, restored from before that, lets it be paid.
    shop.node.backup("before");
    shop.advance(Duration::from_mins(16)).await;
    close_due_orders(shop.app()).await.unwrap();
    shop.buy().await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.node.restore("before").await.unwrap();
    shop.pay(&late.invoice).await;
    shop.until_paid(&late.hash).await;
    let stored = shop.app().store.order_by_payment_hash(late.payment_hash()).await.unwrap().unwrap();
    let payments = shop.app().store.payments_of(stored.id).await.unwrap();
    assert_eq!(payments[0].outcome, Outcome::RefundDue);
    let claim = shop.claim(json!({ "paymentHash": late.hash })).await;
    assert_eq!((claim.status, claim.error()), (503, "ERR_INTERNAL_ERROR"));
    assert!(claim.body["message"].as_str().unwrap().contains("operator"), "{}", claim.body);
}
