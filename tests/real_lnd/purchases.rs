//! Buying and renewing, and payments that nobody was there to hear of.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tonic::Code;
use wiretoll::app::reconcile;
use wiretoll::domain::payment::Outcome;
use wiretoll::domain::time::Timestamp;
use wiretoll::lnd_proto::lnrpc::InvoiceSubscription;
use wiretoll::lnd_proto::lnrpc::lightning_client::LightningClient;

use crate::payee::{Payee, buy_until_followed, payment};
use crate::payer::with_macaroon;
use crate::pinned::pinned_channel;
use crate::shop::{Bought, Shop, a_key};

const PRICE_MSAT: u64 = 4_500_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn an_order_is_paid_settled_and_claimed() {
    let shop = Payee::of_environment().shop().await;
    let order = shop.order().await;
    assert_eq!(shop.check(&order.hash).await.body["status"], "unpaid");

    shop.pay(&order.invoice).await;

    assert!(shop.until_paid(&order.hash).await["status"] == "paid");
    let claim = shop.claim(json!({ "paymentHash": order.hash, "claimToken": order.token })).await;
    assert_eq!(claim.status, 200, "{}", claim.body);
    assert_eq!(payment(&shop, &order).await.outcome, Outcome::Applied);
    let again = shop.node.payer.pay(&order.invoice).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn a_settlement_is_heard_of_without_being_asked_for() {
    let shop = Payee::of_environment().shop().await;
    for _ in 0..3 {
        let order = shop.order().await;
        shop.pay(&order.invoice).await;
        shop.until("the payment is heard of", || shop.is_paid(&order)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn a_renewal_adds_its_months() {
    let shop = Payee::of_environment().shop().await;
    let key = a_key();
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let renewal = shop.renew(&key, 3).await;
    assert_eq!(renewal.status, 200, "{}", renewal.body);
    let order = Bought::from(renewal.body.clone());

    shop.pay(&order.invoice).await;

    shop.until_paid(&order.hash).await;
    let end = |value: &serde_json::Value| Timestamp::parse(value.as_str().unwrap()).unwrap();
    let (old, new) = (end(&renewal.body["oldExpiry"]), end(&shop.status(&key).await.body["expiry"]));
    assert_eq!(new, old.plus_months(3).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn scenario_01_a_payment_while_the_service_was_down_is_found_at_start() {
    let mut shop = Payee::of_environment().shop().await;
    shop.buy().await;
    let order = shop.order().await;
    shop.stop().await;
    shop.pay(&order.invoice).await;

    shop.start().await;

    shop.until("the payment is found", || shop.is_paid(&order)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn scenario_16_an_overpayment_is_one_entitlement_and_an_excess_in_the_ledger() {
    let shop = Payee::of_environment().shop().await;
    let order = shop.order().await;
    assert!(!shop.node.payer.pay_amount(&order.invoice, PRICE_MSAT - 1).await, "too little");

    assert!(shop.node.payer.pay_amount(&order.invoice, PRICE_MSAT * 2 + 1).await);

    shop.until_paid(&order.hash).await;
    assert_eq!(payment(&shop, &order).await.excess.get(), PRICE_MSAT + 1);
    let subscription = shop.stored(&order).await.subscription_id.unwrap();
    assert_eq!(shop.app().store.grants(subscription).await.unwrap().len(), 1);
}

/// LND drops events of steady subscribers while others come and go; then only a sweep finds the payment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn a_missed_event_is_found_by_a_sweep() {
    let shop = Payee::of_environment().shop().await;
    shop.buy().await;
    let last = buy_until_followed(&shop).await;
    let crowd = come_and_go(&shop.node, last);
    let missed = first_missed(&shop).await;
    drop(crowd);

    reconcile::sweep(shop.app()).await.unwrap();

    assert!(shop.is_paid(&missed).await);
    buy_until_followed(&shop).await;
}

/// Six clients that subscribe, are shown the last settlement, and leave, all the time.
fn come_and_go(payee: &Payee, last: u64) -> JoinSet<()> {
    let certificate = std::fs::read_to_string(&payee.certificate).unwrap();
    let macaroon = hex::encode(std::fs::read(&payee.macaroon).unwrap());
    let mut crowd = JoinSet::new();
    for _ in 0..6 {
        let (channel, macaroon) = (pinned_channel(&payee.address, &certificate), macaroon.clone());
        crowd.spawn(async move {
            loop {
                let mut client = LightningClient::new(channel.clone());
                let subscription = InvoiceSubscription { add_index: 0, settle_index: last - 1 };
                let subscribed = client.subscribe_invoices(with_macaroon(subscription, &macaroon));
                let _ = tokio::time::timeout(Duration::from_secs(1), subscribed).await;
            }
        });
    }
    crowd
}

async fn first_missed(shop: &Shop<Payee>) -> Bought {
    for bought in 1..=100 {
        let order = shop.order().await;
        shop.pay(&order.invoice).await;
        let heard = async {
            while !shop.is_paid(&order).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), heard).await.is_err() {
            println!("the event of payment {bought} was missed");
            return order;
        }
    }
    panic!("no event was missed in 100 payments");
}
