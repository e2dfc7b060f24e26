//! A node that is new, restarts, is killed, or waits for its password.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::lnd::{InvoiceState, WalletState};

use crate::lab::{Lab, Wallet};
use crate::payee::{Payee, buy_until_followed, is_open};
use crate::shop::{Bought, Shop};

/// One server has room for 254, and unpaid orders may take half of what is free.
const MOST_ORDERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn scenario_04_the_first_invoice_of_a_node_paid_while_down_is_found() {
    let lab = Lab::start().await;
    let mut shop = lab.payee().shop().await;
    let order = shop.order().await;
    shop.stop().await;
    shop.pay(&order.invoice).await;

    shop.start().await;

    shop.until("the payment is found", || shop.is_paid(&order)).await;
    let found = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    let InvoiceState::Settled(settlement) = found.state else { panic!("{found:?}") };
    assert_eq!((found.add_index, settlement.settle_index), (1, 1));
}

/// Had a restart not shown the last settlement again, the position would have been forgotten, and with it the one before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn the_position_survives_restarts_of_node_and_service() {
    let mut lab = Lab::start().await;
    let mut shop = lab.payee().shop().await;
    let index = buy_until_followed(&shop).await;
    let follows = async |shop: &Shop<Payee>, index: u64| {
        let order = shop.buy().await;
        shop.until("the position moves on", || async {
            shop.position().await.is_some_and(|p| (p.settle_index, p.previous_index) == (index, index - 1))
        })
        .await;
        assert_eq!(shop.position().await.unwrap().payment_hash, order.payment_hash());
    };
    follows(&shop, index + 1).await;

    lab.payee.restart().await;
    lab.until_payable(&lab.payee).await;
    sells_again(&shop).await;
    follows(&shop, index + 2).await;

    shop.stop().await;
    shop.start().await;
    follows(&shop, index + 3).await;

    lab.payee.kill();
    lab.payee.start().await;
    lab.until_payable(&lab.payee).await;
    sells_again(&shop).await;
    follows(&shop, index + 4).await;
}

/// Customers buy all the time while the node is told to end, and killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn scenario_02_a_node_restarted_while_customers_pay_loses_nothing() {
    let mut lab = Lab::start().await;
    let shop = lab.payee().shop().await;
    let over = Cell::new(false);
    let restarts = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            lab.payee.restart().await;
            lab.until_payable(&lab.payee).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            lab.payee.kill();
            lab.payee.start().await;
            lab.until_payable(&lab.payee).await;
        }
        over.set(true);
    };
    let (orders, ()) = tokio::join!(join_all((0..3).map(|_| customer(&shop, &over))), restarts);
    let orders: Vec<_> = orders.into_iter().flatten().collect();

    let mut paid = 0;
    for order in &orders {
        let found = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
        if matches!(found.state, InvoiceState::Settled(_)) {
            shop.until("a payment is found", || shop.is_paid(order)).await;
            paid += 1;
        } else {
            assert!(is_open(&shop, order).await, "{found:?}");
        }
    }
    println!("{paid} of {} orders were paid", orders.len());
    assert!(paid > 0);
    sells_again(&shop).await;
    shop.buy().await;
}

/// Buys until it is over; whether a payment came through is the node's to say.
async fn customer(shop: &Shop<Payee>, over: &Cell<bool>) -> Vec<Bought> {
    let mut orders = Vec::new();
    while !over.get() && orders.len() < MOST_ORDERS {
        let reply = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
        if reply.status == 200 {
            let order = Bought::from(reply.body);
            let _ = shop.node.payer.pay(&order.invoice).await.unwrap();
            orders.push(order);
        } else {
            assert_eq!(reply.status, 503, "{}", reply.body);
            // Each try may leave an order behind that keeps its slot for two minutes.
            let pause = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    orders
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn a_locked_wallet_sells_nothing_until_it_is_unlocked() {
    let mut lab = Lab::start().await;
    let shop = lab.payee().shop().await;
    let bought = shop.buy().await;
    let open = shop.order().await;
    lab.payee.stop().await;
    lab.payee.run(Wallet::Locked);
    lab.payee.until_state("LOCKED").await;
    shop.until("the service knows", || async { shop.app().health.payee().is_err() }).await;
    assert_eq!(shop.app().node.state().await, Ok(WalletState::Locked));

    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"));
    assert_eq!(refused.body["message"], "the Lightning node does not answer");
    assert!(refused.headers.contains_key("retry-after"));
    let ready = shop.get("/health/ready").await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")));
    shop.until("the service says so", || async { shop.get("/health/ready").await.body["node"]["state"] == "LOCKED" })
        .await;
    let claim = shop.claim(json!({ "paymentHash": bought.hash, "claimToken": bought.token })).await;
    assert_eq!(claim.status, 200, "what is paid can be claimed: {}", claim.body);

    lab.payee.unlock().await;
    lab.payee.until_state("SERVER_ACTIVE").await;
    lab.until_payable(&lab.payee).await;
    shop.pay(&open.invoice).await;
    shop.until("a payment after the unlocking is found", || shop.is_paid(&open)).await;
    sells_again(&shop).await;
    shop.buy().await;
}

pub async fn sells_again(shop: &Shop<Payee>) {
    shop.until("the shop sells again", || async { shop.app().health.payee().is_ok() }).await;
}
