//! Settlement: once, whoever brings the news, and never lost.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::reconcile;
use wiretoll::config::Database;
use wiretoll::domain::lightning::Preimage;
use wiretoll::domain::money::Msats;
use wiretoll::domain::payment::{Outcome, Provider};
use wiretoll::lnd::NewInvoice;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::subscriptions::StreamEnd;
use wiretoll::stop;
use wiretoll::workers::sweeper::{self, Sweeps};

use crate::database::{connect, run, until_waiting};
use crate::on_both_databases;
use crate::shop::{Bought, On, Shop, a_key};

on_both_databases!(
    scenario_20_a_settlement_applied_many_times_at_once_founds_once,
    scenario_20_a_renewal_applied_many_times_at_once_extends_once,
    scenario_01_a_payment_while_the_service_was_down_is_found_at_start,
    scenario_04_the_first_invoice_of_a_node_paid_while_down_is_found,
    a_missed_event_is_found_by_a_sweep,
    what_nobody_tells_of_is_found_by_the_next_sweep,
    scenario_02_a_restarted_node_is_followed_again,
    scenario_16_an_overpayment_is_one_entitlement_and_an_excess_in_the_ledger,
    an_underpayment_settles_nothing,
    a_payment_after_the_expiry_is_honoured,
    the_position_in_the_node_s_settlements_moves_with_them,
    payments_of_others_are_passed_over_without_asking_about_them,
    two_orders_with_one_key_paid_at_once_are_one_subscription,
    two_servers_of_one_settlement_are_locked_in_one_order,
    an_order_that_crashed_before_its_invoice_was_stored_is_paid_all_the_same,
);

async fn scenario_20_a_settlement_applied_many_times_at_once_founds_once(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.pay(&order.invoice).await;
    let invoice = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    let applied = join_all((0..12).map(|_| apply_invoice(shop.app(), &invoice, None))).await;
    assert!(applied.iter().all(Result::is_ok), "{applied:?}");
    reconcile::sweep(shop.app()).await.unwrap();
    let stored = shop.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap();
    let subscription = stored.subscription_id.unwrap();
    assert_eq!(shop.app().store.grants(subscription).await.unwrap().len(), 1);
    let payments = shop.app().store.payments_of(stored.id).await.unwrap();
    assert_eq!(payments.iter().map(|payment| payment.outcome).collect::<Vec<_>>(), [Outcome::Applied]);
}

async fn scenario_20_a_renewal_applied_many_times_at_once_extends_once(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let renewal = Bought::from(shop.renew(&key, 3).await.body);
    shop.pay(&renewal.invoice).await;
    let invoice = shop.app().node.lookup_invoice(renewal.payment_hash()).await.unwrap().unwrap();
    let applied = join_all((0..12).map(|_| apply_invoice(shop.app(), &invoice, None))).await;
    assert!(applied.iter().all(Result::is_ok), "{applied:?}");
    assert_eq!(shop.status(&key).await.body["expiry"], renewal.body["newExpiry"]);
    let stored = shop.app().store.order_by_payment_hash(renewal.payment_hash()).await.unwrap().unwrap();
    assert_eq!(shop.app().store.grants(stored.subscription_id.unwrap()).await.unwrap().len(), 2);
}

async fn scenario_01_a_payment_while_the_service_was_down_is_found_at_start(on: On) {
    let mut shop = Shop::open(on).await;
    shop.buy().await;
    let order = shop.order().await;
    shop.stop().await;
    shop.pay(&order.invoice).await;
    shop.start().await;
    // Nobody asks about it: the database must learn it by itself.
    shop.until("the payment is found", || is_paid(&shop, &order.hash)).await;
}

async fn scenario_04_the_first_invoice_of_a_node_paid_while_down_is_found(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.stop().await;
    shop.pay(&order.invoice).await;
    shop.start().await;
    shop.until("the payment is found", || is_paid(&shop, &order.hash)).await;
}

async fn a_missed_event_is_found_by_a_sweep(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    let order = shop.order().await;
    shop.node.inject(Fault::LoseEvent { nth: 1 }).await.unwrap();
    shop.pay(&order.invoice).await;
    reconcile::sweep(shop.app()).await.unwrap();
    assert!(is_paid(&shop, &order.hash).await);
}

/// No stream, no poll, nobody who asks for it.
async fn what_nobody_tells_of_is_found_by_the_next_sweep(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.rest().await;
    let (sweeps, (stopper, signal)) = (Sweeps::default(), stop::channel());
    let mut ended = sweeps.ended();
    let sweeper = sweeper::run(shop.app().clone(), sweeps, Duration::from_millis(200), signal);
    tokio::join!(sweeper, async {
        ended.changed().await.unwrap();
        shop.pay(&order.invoice).await;
        shop.until("the payment is found", || shop.is_paid(&order)).await;
        stopper.stop();
    });
}

/// The first sweep was too early for it, and the next by the clock is minutes away.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_soon_after_a_silent_connection_is_found_by_the_second_sweep() {
    let shop = Shop::open(On::Sqlite).await;
    let order = shop.order().await;
    // Those of the start and of the connection are over then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = shop.node.calls(Method::LookupInvoice);
    shop.node.inject(Fault::EndStreams { how: StreamEnd::Mute }).await.unwrap();
    shop.pay(&order.invoice).await;
    assert!(!shop.is_paid(&order).await);
    shop.until("the payment is found", || shop.is_paid(&order)).await;
    assert_eq!(shop.node.calls(Method::LookupInvoice) - asked, 1, "by one sweep");
}

async fn scenario_02_a_restarted_node_is_followed_again(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    let order = shop.order().await;
    shop.node.restart(Duration::from_millis(300)).await.unwrap();
    shop.pay(&order.invoice).await;
    shop.until("the payment is found", || is_paid(&shop, &order.hash)).await;
}

async fn scenario_16_an_overpayment_is_one_entitlement_and_an_excess_in_the_ledger(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let twice = PaymentOrder { amount_msat: Some(9_000_001), ..PaymentOrder::of(order.invoice.clone()) };
    shop.node.pay(twice).await.unwrap();
    shop.until_paid(&order.hash).await;
    let stored = shop.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap();
    let payments = shop.app().store.payments_of(stored.id).await.unwrap();
    assert_eq!(payments[0].excess.get(), 4_500_001);
    assert_eq!(shop.app().store.grants(stored.subscription_id.unwrap()).await.unwrap().len(), 1);
}

async fn an_underpayment_settles_nothing(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let less = PaymentOrder { amount_msat: Some(4_499_999), ..PaymentOrder::of(order.invoice.clone()) };
    let outcome = shop.node.pay(less).await.unwrap();
    assert!(matches!(outcome, PaymentOutcome::Failed { .. }), "{outcome:?}");
    assert_eq!(shop.check(&order.hash).await.body["status"], "unpaid");
}

async fn a_payment_after_the_expiry_is_honoured(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.advance(Duration::from_mins(16)).await;
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    let stored = shop.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap();
    let payments = shop.app().store.payments_of(stored.id).await.unwrap();
    assert_eq!(payments[0].outcome, Outcome::AppliedLate);
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 200);
}

async fn the_position_in_the_node_s_settlements_moves_with_them(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    let last = shop.buy().await;
    let node = shop.app().health.identity().unwrap();
    shop.until("the position is at the last payment", || async {
        let position = shop.app().store.cursor(node).await.unwrap();
        position.is_some_and(|position| position.settle_index == 2 && position.payment_hash == last.payment_hash())
    })
    .await;
}

/// Replayed or live, an event says whose payment it is; the node may sell much more than this service does.
async fn payments_of_others_are_passed_over_without_asking_about_them(on: On) {
    let mut shop = Shop::open(on).await;
    shop.buy().await;
    shop.buy().await;
    shop.until_position(2).await;
    shop.stop().await;
    shop.node.inject(Fault::Backlog { settled: 100 }).await.unwrap();
    let looked_up = shop.node.calls(Method::LookupInvoice);

    shop.start().await;
    shop.until_position(102).await;
    let of_another = NewInvoice {
        preimage: Preimage::from_bytes([3; 32]),
        amount: Msats::new(1_000),
        memo: "coffee".into(),
        expiry: Duration::from_mins(5),
        private_route_hints: false,
    };
    shop.pay(&shop.app().node.add_invoice(&of_another).await.unwrap().payment_request).await;
    shop.until_position(103).await;

    assert_eq!(shop.node.calls(Method::LookupInvoice), looked_up);
}

async fn two_orders_with_one_key_paid_at_once_are_one_subscription(on: On) {
    let shop = Shop::open(on).await;
    let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": a_key() });
    let orders = [shop.order_with(body.clone()).await, shop.order_with(body).await];
    let node = &shop.app().node;
    // The stream is slower than this, so that both settlements meet in the database.
    shop.node.inject(Fault::SlowEvents { milliseconds: 300 }).await.unwrap();
    let mut invoices = Vec::new();
    for order in &orders {
        shop.pay(&order.invoice).await;
        invoices.push(node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap());
    }
    let applied = join_all(invoices.iter().map(|invoice| apply_invoice(shop.app(), invoice, None))).await;
    assert!(applied.iter().all(Result::is_ok), "{applied:?}");
    let mut subscriptions = Vec::new();
    for order in &orders {
        let stored = shop.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap();
        subscriptions.push(stored.subscription_id.unwrap());
    }
    assert_eq!(subscriptions[0], subscriptions[1]);
    assert_eq!(shop.app().store.grants(subscriptions[0]).await.unwrap().len(), 2);
    let occupancy = shop.app().store.occupancy(shop.clock.now()).await.unwrap();
    assert_eq!((occupancy[0].held, occupancy[0].reserved), (1, 0));
}

/// Its order is for us-east, and its key is by now of a subscription on eu-de.
async fn two_servers_of_one_settlement_are_locked_in_one_order(on: On) {
    let mut shop = Shop::open(on).await;
    let key = a_key();
    let order = |server: &str| json!({ "serverId": server, "duration": 1, "wgPublicKey": key });
    let (here, elsewhere) = (shop.order_with(order("eu-de")).await, shop.order_with(order("us-east")).await);
    shop.pay(&here.invoice).await;
    shop.until_paid(&here.hash).await;
    shop.rest().await;
    shop.pay(&elsewhere.invoice).await;
    let invoice = shop.app().node.lookup_invoice(elsewhere.payment_hash()).await.unwrap().unwrap();
    match on {
        On::Sqlite => apply_invoice(shop.app(), &invoice, None).await.unwrap(),
        On::Postgres => {
            // Somebody has eu-de, and needs us-east, too, while the settlement waits for eu-de.
            let mut other = connect(&shop).await;
            run(&mut other, "BEGIN; SET LOCAL lock_timeout = '500ms'").await;
            run(&mut other, "UPDATE servers SET peer_revision = peer_revision WHERE id = 'eu-de'").await;
            let (applied, ()) = tokio::join!(apply_invoice(shop.app(), &invoice, None), async {
                until_waiting(&shop, 1).await;
                run(&mut other, "UPDATE servers SET peer_revision = peer_revision WHERE id = 'us-east'").await;
                run(&mut other, "COMMIT").await;
            });
            applied.unwrap();
        }
    }
    let subscription = shop.stored(&here).await.subscription_id;
    assert!(subscription.is_some() && shop.stored(&elsewhere).await.subscription_id == subscription);
}

async fn an_order_that_crashed_before_its_invoice_was_stored_is_paid_all_the_same(on: On) {
    let shop = Shop::open(on).await;
    shop.node.inject(Fault::LoseReplies { method: Method::AddInvoice, count: 1 }).await.unwrap();
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503);
    let invoice = shop.app().node.list_invoices(0, 10).await.unwrap().invoices.remove(0);
    shop.pay(&invoice.payment_request).await;
    let hash = invoice.payment_hash.to_string();
    shop.until("the payment is found", || is_paid(&shop, &hash)).await;
}

/// A backup of SQLite; Postgres has its own.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_52_a_payment_that_a_restored_backup_does_not_know_is_an_orphan() {
    let mut shop = Shop::open(On::Sqlite).await;
    let (_, known) = (shop.buy().await, shop.order().await);
    let backup = shop.folder().join("backup.db");
    shop.app().store.backup(&backup).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a copy is as private as what it is a copy of");
    let lost = shop.buy().await;
    shop.pay(&known.invoice).await;
    shop.stop().await;
    shop.config.database = Database::Sqlite(backup);
    shop.start().await;
    shop.until("the order in the backup is paid", || is_paid(&shop, &known.hash)).await;
    shop.until("the other payment is in the ledger", || async {
        let payment = shop.app().store.payment(Provider::Lightning, &lost.hash).await.unwrap();
        payment.is_some_and(|payment| payment.outcome == Outcome::Orphaned)
    })
    .await;
}

/// Reads the database, so that no poll heals what is to heal by itself.
async fn is_paid(shop: &Shop, hash: &str) -> bool {
    let hash = wiretoll::domain::lightning::PaymentHash::parse(hash).unwrap();
    shop.app().store.order_by_payment_hash(hash).await.unwrap().unwrap().is_paid()
}
