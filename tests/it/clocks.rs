//! Clocks that jump, ours and the node's: the node's word decides, and nobody gets more or less for it.

use std::time::Duration;

use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::reconcile;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::time::{DAY, HOUR};
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};

use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_51_an_order_expires_by_the_node_s_word_when_our_clock_jumps_ahead,
    scenario_51_a_paid_order_is_paid_when_our_clock_jumps_ahead,
    scenario_51_an_order_expires_by_the_node_s_word_when_our_clock_is_behind,
    scenario_51_a_node_whose_clock_is_ahead_gives_no_more_time,
);

async fn scenario_51_an_order_expires_by_the_node_s_word_when_our_clock_jumps_ahead(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.go_down().await.unwrap();
    shop.clock.advance(HOUR);
    close_due_orders(shop.app()).await.unwrap();
    assert!(matches!(shop.stored(&order).await.state, OrderState::Pending(_)), "the node has said nothing");
    shop.node.come_up().await.unwrap();
    shop.until("the node has closed it", || async {
        close_due_orders(shop.app()).await.unwrap();
        matches!(shop.stored(&order).await.state, OrderState::Expired { .. })
    })
    .await;
    let late = shop.node.pay(PaymentOrder::of(order.invoice.as_str())).await.unwrap();
    assert!(matches!(late, PaymentOutcome::Closed { .. }), "{late:?}: what expired here can be paid nowhere");
}

async fn scenario_51_a_paid_order_is_paid_when_our_clock_jumps_ahead(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.inject(Fault::LoseEvent { nth: 1 }).await.unwrap();
    shop.pay(&order.invoice).await;
    shop.clock.advance(DAY);
    close_due_orders(shop.app()).await.unwrap();
    shop.assert_applied_once(&order).await;
    let subscription = shop.stored(&order).await.subscription_id.unwrap();
    // Back again: it holds what it held.
    shop.clock.advance(-DAY);
    let subscription = shop.app().store.subscription(subscription).await.unwrap().unwrap();
    assert!(subscription.ends_at >= shop.clock.now().plus_millis(27 * DAY));
}

async fn scenario_51_an_order_expires_by_the_node_s_word_when_our_clock_is_behind(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.clock.advance(-DAY);
    shop.node.advance(Duration::from_mins(16)).await.unwrap();
    reconcile::sweep(shop.app()).await.unwrap();
    assert!(matches!(shop.stored(&order).await.state, OrderState::Expired { .. }));
    assert_eq!(shop.occupancy().await.reserved, 0);
}

async fn scenario_51_a_node_whose_clock_is_ahead_gives_no_more_time(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.node.advance(Duration::from_hours(24 * 200)).await.unwrap();
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    let subscription = shop.stored(&order).await.subscription_id.unwrap();
    let subscription = shop.app().store.subscription(subscription).await.unwrap().unwrap();
    assert_eq!(subscription.ends_at, shop.clock.now().plus_months(1).unwrap());
}
