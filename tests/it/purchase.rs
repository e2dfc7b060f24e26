//! Buy, pay, claim: the main job, and what each step answers.

use serde_json::json;

use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    an_order_is_bought_paid_and_claimed,
    an_unpaid_order_cannot_be_claimed,
    what_does_not_exist_is_404,
    bad_input_is_400_and_makes_no_order,
    a_paid_order_survives_a_restart,
);

async fn an_order_is_bought_paid_and_claimed(on: On) {
    let shop = Shop::open(on).await;

    let order = shop.order().await;
    assert_eq!(order.body["amountSats"], 4_500);
    assert_eq!(order.body["amount_sats"], 4_500);
    let unpaid = shop.check(&order.hash).await;
    assert_eq!((unpaid.status, &unpaid.body["status"]), (200, &json!("unpaid")));

    shop.pay(&order.invoice).await;
    let paid = shop.until_paid(&order.hash).await;
    assert_eq!(paid["serverId"], "eu-de");
    assert_eq!(paid["duration"], 1);

    let claimed = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": "", "wgPresharedKey": "" })).await;
    assert_eq!((claimed.status, &claimed.body["status"]), (200, &json!("success")));
    let config = claimed.body["config"].as_str().unwrap();
    let port = claimed.body["vpnPort"].as_u64().unwrap();
    assert!(config.contains("PrivateKey = ") && config.contains(&format!("# Port Forwarding: {port}\n")), "{config}");
    assert_eq!(claimed.body["subscriptionEnd"], paid["subscriptionEnd"]);
}

async fn an_unpaid_order_cannot_be_claimed(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let claim = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!((claim.status, claim.error()), (402, "ERR_PAYMENT_REQUIRED"));
}

async fn what_does_not_exist_is_404(on: On) {
    let shop = Shop::open(on).await;
    let unknown = "ab".repeat(32);
    let checked = shop.check(&unknown).await;
    assert_eq!((checked.status, checked.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let claimed = shop.claim(json!({ "paymentHash": unknown })).await;
    assert_eq!((claimed.status, claimed.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let status = shop.status(&a_key()).await;
    assert_eq!((status.status, status.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let renewed = shop.renew(&a_key(), 1).await;
    assert_eq!((renewed.status, renewed.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
}

async fn bad_input_is_400_and_makes_no_order(on: On) {
    let shop = Shop::open(on).await;
    for body in [
        json!({}),
        json!({ "serverId": "xx-xx", "duration": 1 }),
        json!({ "serverId": "eu-de", "duration": 2 }),
        json!({ "serverId": "eu-de", "duration": -1 }),
        json!({ "serverId": "eu-de", "duration": 1.5 }),
        json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": "undefined" }),
        json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }),
        json!(["eu-de"]),
    ] {
        let reply = shop.create(body.clone()).await;
        assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"), "{body}");
    }
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 0);
}

async fn a_paid_order_survives_a_restart(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.buy().await;
    let before = shop.claim(json!({ "paymentHash": order.hash })).await;
    shop.stop().await;
    shop.start().await;
    let after = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(before.body, after.body);
}
