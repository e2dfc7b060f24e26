//! Another node at the address of the first, and the first one back again.

use wiretoll::app::close_orders::{Closing, close};
use wiretoll::domain::lightning::NodeId;

use crate::lab::Lab;
use crate::payee::{buy_until_followed, is_open};
use crate::shop::Node as _;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LND_BIN"]
async fn scenario_07_a_swapped_node_sells_and_the_first_one_s_orders_wait_for_it() {
    let mut lab = Lab::start().await;
    let (mut other, first) = (lab.another_payee().await, NodeId::parse(&lab.payee.public_key()).unwrap());
    let shop = lab.payee().shop().await;
    for _ in 0..2 {
        shop.buy().await;
    }
    let waiting = shop.order().await;

    lab.payee.stop().await;
    other.start().await;
    lab.show(&other);
    lab.until_payable(&other).await;
    let second = NodeId::parse(&other.public_key()).unwrap();
    shop.until("it sells over the other node", || async { shop.app().health.payee().ok() == Some(second) }).await;
    buy_until_followed(&shop).await;
    let closed = close(shop.app(), &shop.stored(&waiting).await).await.unwrap();
    assert_eq!(closed, Closing::Undecided);
    let left_behind = shop.order().await;
    other.stop().await;

    // The first one comes back where the service does not see it, and is paid there.
    let port = lab.payee.rpc_port;
    lab.payee.rpc_port = other.rpc_port + 1;
    lab.payee.start().await;
    lab.until_payable(&lab.payee).await;
    assert!(shop.node.pay(&waiting.invoice).await);
    assert!(is_open(&shop, &waiting).await);
    lab.payee.stop().await;
    lab.payee.rpc_port = port;
    lab.payee.start().await;
    lab.show(&lab.payee);

    shop.until("the payment is found", || shop.is_paid(&waiting)).await;
    lab.until_payable(&lab.payee).await;
    shop.until("it sells over the first node", || async { shop.app().health.payee().ok() == Some(first) }).await;
    shop.buy().await;
    assert!(is_open(&shop, &left_behind).await);
}
