//! Certificates and macaroons that change while the service runs.

use serde_json::json;

use crate::lab::Lab;
use crate::outages::sells_again;
use crate::payee::Payee;
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn scenario_12_a_certificate_made_anew_is_taken_up() {
    let mut lab = Lab::start().await;
    let shop = lab.payee().shop().await;
    shop.buy().await;
    let open = shop.order().await;
    lab.payee.stop().await;
    lab.payee.delete_certificate();
    lab.payee.start().await;
    lab.until_payable(&lab.payee).await;
    refuses(&shop, "certificate").await;
    shop.pay(&open.invoice).await;

    lab.show_certificate(&lab.payee);

    shop.until("the payment is found", || shop.is_paid(&open)).await;
    sells_again(&shop).await;
    shop.buy().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn scenario_12_a_macaroon_baked_anew_is_taken_up() {
    let lab = Lab::start().await;
    let shop = lab.payee().shop().await;
    shop.buy().await;
    let open = shop.order().await;
    lab.payee.delete_root_key("7");
    refuses(&shop, "macaroon").await;
    shop.pay(&open.invoice).await;

    lab.show_macaroon(&lab.payee, 8);

    shop.until("the payment is found", || shop.is_paid(&open)).await;
    sells_again(&shop).await;
    shop.buy().await;
}

/// The customer is told little, the operator what is wrong.
async fn refuses(shop: &Shop<Payee>, why: &str) {
    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"), "{}", refused.body);
    shop.until("the problem is named", || async {
        shop.app().obstacle().is_some_and(|missing| missing.to_string().contains(why))
    })
    .await;
}
