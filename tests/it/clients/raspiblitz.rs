//! RaspiBlitz: a shell script that leaves out what it does not have.
//!
//! - `create` must answer exactly 200, with `orderId` or `id`.
//! - It polls every 5 s, 30 times, and takes `paid` or `successful` for paid.
//! - Its claim names the order beside the hash, and no key at all; the text in `config` or `fullConfig` becomes a file
//!   that the node script reads.
//! - It renews by the server's id.

use std::time::Duration;

use serde_json::{Value, json};

use super::bash;
use super::rules::{Checked, assert_refuses, formed, iso_time, payment_hash, text};
use crate::on_both_databases;
use crate::shop::{API, On, Shop};

on_both_databases!(
    raspiblitz_buys_polls_and_claims_by_order,
    raspiblitz_renews_by_server_id,
    raspiblitz_gives_up_after_thirty_polls_of_an_unpaid_order,
);

const POLL: Duration = Duration::from_secs(5);
const POLLS: u32 = 30;

#[derive(Debug, PartialEq, Eq)]
struct Order {
    id: String,
    hash: String,
    invoice: String,
}

fn order(status: u16, body: &Value) -> Checked<Order> {
    if status != 200 {
        return Err(format!("HTTP {status} is not exactly 200"));
    }
    let id = text(body, "/orderId").or_else(|_| text(body, "/id"))?;
    let hash = formed(body, "/paymentHash", payment_hash)?;
    Ok(Order { id: id.to_owned(), hash: hash.to_owned(), invoice: text(body, "/invoice")?.to_owned() })
}

/// Any other word is polled again, so an answer that is not of the API must not pass for one.
fn is_paid(status: u16, body: &Value) -> Checked<bool> {
    if status != 200 {
        return Err(format!("HTTP {status} is no answer to a poll"));
    }
    text(body, "/status").map(|word| matches!(word, "paid" | "successful"))
}

/// The forwarded port in the file that the script writes, and the file.
fn claimed(status: u16, body: &Value) -> Checked<(u16, &str)> {
    if status != 200 {
        return Err(format!("HTTP {status}: {body}"));
    }
    let config = text(body, "/config").or_else(|_| text(body, "/fullConfig"))?;
    Ok((bash::forwarded_port(config)?, config))
}

async fn create(shop: &Shop) -> Order {
    let reply = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    order(reply.status, &reply.body).unwrap()
}

async fn poll(shop: &Shop, order: &Order) -> bool {
    let reply = shop.check(&order.hash).await;
    is_paid(reply.status, &reply.body).unwrap()
}

async fn raspiblitz_buys_polls_and_claims_by_order(on: On) {
    let shop = Shop::open(on).await;
    let order = create(&shop).await;
    for _ in 0..3 {
        assert!(!poll(&shop, &order).await);
        shop.advance(POLL).await;
    }
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    assert!(poll(&shop, &order).await);

    let reply = shop.claim(json!({ "orderId": order.id, "paymentHash": order.hash })).await;
    let (port, config) = claimed(reply.status, &reply.body).unwrap();
    assert_eq!(reply.body["vpnPort"], port);
    assert!(config.lines().any(|line| line.starts_with("PrivateKey = ")), "the server made the keys");
}

async fn raspiblitz_renews_by_server_id(on: On) {
    let shop = Shop::open(on).await;
    let order = create(&shop).await;
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    let claim = shop.claim(json!({ "orderId": order.id, "paymentHash": order.hash })).await;
    let key = claim.body["peer"]["publicKey"].as_str().unwrap();

    let renewed = shop.renew(key, 3).await;
    let (hash, invoice) = (text(&renewed.body, "/paymentHash").unwrap(), text(&renewed.body, "/invoice").unwrap());
    shop.pay(invoice).await;
    shop.until_paid(hash).await;

    let status = shop.status(key).await;
    let before = formed(&claim.body, "/subscriptionEnd", iso_time).unwrap();
    assert!(formed(&status.body, "/expiry", iso_time).unwrap() > before);
}

async fn raspiblitz_gives_up_after_thirty_polls_of_an_unpaid_order(on: On) {
    let shop = Shop::open_with(on, |config| config.limits = wiretoll::config::Limits::default()).await;
    let order = create(&shop).await;
    for _ in 0..POLLS {
        assert!(!poll(&shop, &order).await);
        shop.advance(POLL).await;
    }
    let reply = shop.post(&format!("{API}/subscription/claim"), json!({ "paymentHash": order.hash })).await;
    assert!(claimed(reply.status, &reply.body).unwrap_err().contains("402"));
}

const HASH: &str = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";

#[test]
fn an_order_is_refused_at_any_other_status_or_without_its_id() {
    let good = json!({ "orderId": "7", "paymentHash": HASH, "invoice": "lnbc1" });
    let changes = [("/orderId", json!("")), ("/orderId", json!(7)), ("/paymentHash", json!("x"))];
    assert_refuses(&good, |body| order(200, body), &["/orderId", "/paymentHash", "/invoice"], &changes);
    let by_id = json!({ "id": "7", "paymentHash": HASH, "invoice": "lnbc1" });
    assert_eq!(order(200, &by_id), order(200, &good));
    for status in [201, 202, 204, 400, 500] {
        assert!(order(status, &good).is_err(), "{status}");
    }
}

#[test]
fn a_poll_is_refused_without_a_status_and_a_claim_without_a_config() {
    assert_eq!(is_paid(200, &json!({ "status": "successful" })), Ok(true));
    assert_eq!(is_paid(200, &json!({ "status": "unpaid" })), Ok(false));
    for (status, body) in [(200, json!({})), (200, json!({ "status": 1 })), (402, json!({ "status": "paid" }))] {
        assert!(is_paid(status, &body).is_err(), "{status} {body}");
    }
    let config = "# Port Forwarding: 35825\n[Peer]\nEndpoint = de2.x:51820\nAllowedIPs = 0.0.0.0/0\n";
    let good = json!({ "config": config });
    let changes = [("/config", json!("")), ("/config", Value::Null), ("/config", json!("[Interface]\n"))];
    assert_refuses(&good, |body| claimed(200, body).map(drop), &["/config"], &changes);
    assert!(claimed(202, &good).is_err());
    assert!(claimed(200, &json!({ "fullConfig": config })).is_ok());
}
