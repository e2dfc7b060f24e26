//! Expiry and cancelling: whichever comes first at the node decides.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use wiretoll::app::close_orders::close;
use wiretoll::clock::Clock;
use wiretoll::domain::lightning::Preimage;
use wiretoll::domain::money::Msats;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::payment::Outcome;
use wiretoll::domain::time::Timestamp;
use wiretoll::lnd::{self, InvoiceState, NewInvoice};

use crate::payee::{Payee, payment};
use crate::shop::Node as _;

/// So many invoices that expire in one second keep LND's canceller busy for several. A slow machine makes fewer of them
/// in time, and cancels them as slowly.
const CROWD: usize = 6_000;
const CROWD_IS_READY_WITHIN: Duration = Duration::from_mins(1);
const EXPIRES_AFTER: Duration = Duration::from_secs(100);

const RACES: u32 = 24;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn an_unpaid_order_expires_by_the_node_s_word() {
    let short = |config: &mut wiretoll::config::Config| config.orders.invoice_lifetime = Duration::from_secs(2);
    let shop = Payee::of_environment().shop_with(short).await;
    let order = shop.order().await;

    shop.until("the order expires", || async { matches!(shop.stored(&order).await.state, OrderState::Expired { .. }) })
        .await;

    let found = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    assert_eq!(found.state, InvoiceState::Canceled);
    assert!(!shop.node.payer.pay_amount(&order.invoice, 4_500_000).await, "a dead invoice is paid");
}

/// LND's canceller works through what expires one by one; who pays meanwhile has paid.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn scenario_13_a_payment_after_the_expiry_is_honoured() {
    let mut shop = Payee::of_environment().shop().await;
    let due = Clock::System.now().plus_millis(i64::try_from(EXPIRES_AFTER.as_millis()).unwrap());
    let node = shop.app().node.clone();
    let crowd = stream::iter(0..CROWD).map(|_| expire_at(&node, due)).buffer_unordered(8).collect::<()>();
    let _ = tokio::time::timeout(CROWD_IS_READY_WITHIN, crowd).await;
    shop.stop().await;
    shop.config.orders.invoice_lifetime = left(due) + Duration::from_secs(1);
    shop.start().await;
    let order = shop.order().await;
    let expires_at = shop.stored(&order).await.invoice().unwrap().expires_at;

    tokio::time::sleep(left(expires_at) + Duration::from_millis(1_020)).await;
    assert!(shop.node.payer.pay_amount(&order.invoice, 4_500_000).await, "the canceller was faster");

    shop.until_paid(&order.hash).await;
    assert_eq!(payment(&shop, &order).await.outcome, Outcome::AppliedLate);
}

async fn expire_at(node: &lnd::Node, due: Timestamp) {
    let new = NewInvoice {
        preimage: Preimage::from_bytes(wiretoll::random::bytes().unwrap()),
        amount: Msats::new(1_000),
        memo: "one of a crowd".into(),
        expiry: left(due),
        private_route_hints: false,
    };
    node.add_invoice(&new).await.unwrap();
}

fn left(until: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(until.since(Clock::System.now())).expect("the machine is too slow for this"))
}

/// We cancel while a customer pays, a little later each time: order and node always agree on who came first.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real LND"]
async fn cancelling_and_paying_at_once_end_alike_here_and_at_the_node() {
    let shop = Payee::of_environment().shop().await;
    let began = tokio::time::Instant::now();
    shop.pay(&shop.order().await.invoice).await;
    let step = began.elapsed() * 2 / RACES;
    let (mut paid, mut expired) = (0, 0);
    for race in 0..RACES {
        let order = shop.order().await;
        let before = shop.stored(&order).await;
        let cancel = async {
            tokio::time::sleep(step * race).await;
            close(shop.app(), &before).await.unwrap()
        };
        let (_, succeeded) = tokio::join!(cancel, shop.node.pay(&order.invoice));
        let found = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
        assert_eq!(matches!(found.state, InvoiceState::Settled(_)), succeeded);
        match shop.stored(&order).await.state {
            OrderState::Paid { .. } if succeeded => paid += 1,
            OrderState::Expired { .. } if !succeeded => expired += 1,
            other => panic!("the payment's success is {succeeded}, and the order {other:?}"),
        }
    }
    println!("{paid} paid, {expired} expired");
    assert!(paid > 0 && expired > 0, "{paid} paid, {expired} expired: no race");
}
