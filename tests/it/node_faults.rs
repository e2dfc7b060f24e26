//! A node that is silent, dead, full of other people's invoices, or that does not let us in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::{Unavailable, reconcile};
use wiretoll::config::{LndTrust, MacaroonSource};
use wiretoll::domain::server::Pool;
use wiretoll::lnd::WalletState;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::lnd_simulator::subscriptions::StreamEnd;

use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_03_a_frozen_connection_costs_one_deadline,
    scenario_03_a_silent_stream_is_made_up_for_by_a_sweep,
    scenario_11_a_node_full_of_invoices_is_listed_in_pages_and_only_once,
    scenario_11_so_many_open_orders_are_asked_about_and_more_are_listed,
    scenario_12_a_revoked_macaroon_is_replaced_without_a_restart,
    scenario_12_a_node_that_refuses_us_is_not_asked_about_every_order,
    scenario_12_a_renewed_certificate_is_taken_up_without_a_restart,
    scenario_19_a_node_without_an_active_channel_sells_nothing,
);

async fn scenario_03_a_frozen_connection_costs_one_deadline(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    let order = shop.order().await;
    shop.node.inject(Fault::FreezeConnections).await.unwrap();
    shop.pay(&order.invoice).await;
    let began = Instant::now();
    shop.until("a sweep got through", || async { reconcile::sweep(shop.app()).await.is_ok() }).await;
    assert!(shop.is_paid(&order).await);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

async fn scenario_03_a_silent_stream_is_made_up_for_by_a_sweep(on: On) {
    for how in [StreamEnd::Stall, StreamEnd::Mute] {
        let shop = Shop::open(on).await;
        shop.buy().await;
        let order = shop.order().await;
        shop.node.inject(Fault::EndStreams { how }).await.unwrap();
        shop.pay(&order.invoice).await;
        reconcile::sweep(shop.app()).await.unwrap();
        shop.assert_applied_once(&order).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_10_a_dead_node_meets_no_storm() {
    let shop = Shop::open(On::Sqlite).await;
    let order = shop.order().await;
    shop.node.go_down().await.unwrap();
    let door = TcpListener::bind(shop.node.address()).await.unwrap();
    let knocks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&knocks);
    let mut doorman = tokio::task::JoinSet::new();
    doorman.spawn(async move {
        while let Ok((knock, _)) = door.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(knock);
        }
    });
    shop.until("the node is known to be dead", || async { shop.app().health.payee().is_err() }).await;
    let already = knocks.load(Ordering::SeqCst);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let creates = join_all((0..4).map(|_| shop.create(json!({ "serverId": "eu-de", "duration": 1 })))).await;
        assert!(creates.iter().all(|reply| reply.status == 503));
        join_all((0..20).map(|_| shop.check(&order.hash))).await;
    }
    let knocks = knocks.load(Ordering::SeqCst) - already;
    assert!((1..=30).contains(&knocks), "{knocks} connections in 3 s");
}

/// Only what the node added since the oldest open order is listed, in pages, and nobody waits for it. Five pages stand
/// for two hundred: each is asked for, applied and let go before the next, and counted here.
async fn scenario_11_a_node_full_of_invoices_is_listed_in_pages_and_only_once(on: On) {
    const STRANGERS: u32 = 2_500;
    const PAGES: u64 = STRANGERS as u64 / 500 + 2;
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.stop().await;
    shop.node.inject(Fault::Backlog { settled: STRANGERS }).await.unwrap();
    shop.pay(&order.invoice).await;

    let asked = |method| shop.node.calls(method);
    let (lists, look_ups) = (asked(Method::ListInvoices), asked(Method::LookupInvoice));
    shop.start().await;
    shop.until("the payment is found", || shop.is_paid(&order)).await;
    let (listed, looked_up) =
        (shop.node.calls(Method::ListInvoices) - lists, shop.node.calls(Method::LookupInvoice) - look_ups);
    assert!((1..=PAGES).contains(&listed), "{listed} pages");
    assert!(looked_up < 20, "{looked_up} look-ups");

    // Once a settlement was followed, the next start begins where this one knew everything.
    shop.buy().await;
    shop.until("its position is stored", || async { shop.position().await.is_some() }).await;
    let last = shop.order().await;
    shop.stop().await;
    shop.pay(&last.invoice).await;
    let lists = shop.node.calls(Method::ListInvoices);
    shop.start().await;
    shop.until("the last one is found", || shop.is_paid(&last)).await;
    let listed = shop.node.calls(Method::ListInvoices) - lists;
    // A second sweep may have begun.
    assert!(listed <= 4, "{listed} pages");
}

/// At a start and in any other sweep alike.
async fn scenario_11_so_many_open_orders_are_asked_about_and_more_are_listed(on: On) {
    const ASKED_ABOUT: u64 = 500;
    let mut shop = Shop::open_with(on, |config| {
        config.servers[0].pool = Pool::new("10.9.0.0/21".parse().unwrap(), 35_000, None).unwrap();
    })
    .await;
    for _ in 0..ASKED_ABOUT / 50 {
        join_all((0..50).map(|_| shop.order())).await;
    }
    for (open, expected) in [(ASKED_ABOUT, ASKED_ABOUT), (ASKED_ABOUT + 1, 0)] {
        shop.rest().await;
        let asked = shop.node.calls(Method::LookupInvoice);
        assert_eq!(reconcile::sweep(shop.app()).await.unwrap(), 0);
        assert_eq!(shop.node.calls(Method::LookupInvoice) - asked, expected, "{open} are open");
        assert_eq!(reconcile::catch_up(shop.app()).await.unwrap(), 0);
        assert_eq!(shop.node.calls(Method::LookupInvoice) - asked, 2 * expected, "{open} are open");
        shop.start().await;
        shop.order().await;
    }
}

/// LND's registry can deadlock: it answers everything but `AddInvoice`.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_asked_for_an_invoice_only_now_and_then() {
    let shop = Shop::open(On::Sqlite).await;
    let order = shop.order().await;
    let create = || shop.create(json!({ "serverId": "eu-de", "duration": 1 }));
    let hour = Fault::Delay { method: Method::AddInvoice, milliseconds: 3_600_000 };
    shop.node.inject(hour).await.unwrap();
    assert!(join_all((0..3).map(|_| create())).await.iter().all(|reply| reply.status == 503));

    let asked = shop.node.calls(Method::AddInvoice);
    let refused = join_all((0..20).map(|_| create())).await;
    assert!(refused.iter().all(|reply| reply.status == 503 && reply.headers.contains_key("retry-after")));
    let more = shop.node.calls(Method::AddInvoice) - asked;
    assert!(more <= 1, "one may try, if the machine is that slow: {more}");

    assert!(shop.app().health.adding.is_open());
    assert!(shop.app().obstacle() == Some(Unavailable::NodeHangs));
    let ready = shop.get("/health/ready").await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")));
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;

    shop.node.inject(Fault::Delay { method: Method::AddInvoice, milliseconds: 0 }).await.unwrap();
    shop.until("the shop sells again", || async { create().await.status == 200 }).await;
    assert_eq!(shop.app().obstacle(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_how_the_node_is_and_keeps_the_instance_in_service() {
    let shop = Shop::open(On::Sqlite).await;
    shop.buy().await;
    let well = shop.get("/health/ready").await;
    let node = &well.body["node"];
    assert_eq!((well.status, &well.body["status"]), (200, &json!("ok")));
    assert_eq!((&node["state"], &node["settlements"]), (&json!("SERVER_ACTIVE"), &json!("live")));
    assert!(node["silentSeconds"].as_u64().unwrap() < 60 && node["lastSettlementSeconds"].as_u64().unwrap() < 60);

    shop.node.inject(Fault::WalletState { state: "LOCKED".into() }).await.unwrap();
    shop.node.inject(Fault::EndStreams { how: StreamEnd::Reset }).await.unwrap();
    shop.until("the shop knows", || async { shop.app().health.wallet() == Some(WalletState::Locked) }).await;
    let locked = shop.get("/health/ready").await;
    let node = &locked.body["node"];
    assert_eq!((locked.status, &locked.body["status"]), (200, &json!("degraded")));
    assert_eq!((&node["state"], &node["settlements"]), (&json!("LOCKED"), &json!("closed")));
}

async fn scenario_12_a_revoked_macaroon_is_replaced_without_a_restart(on: On) {
    let mut shop = Shop::open(on).await;
    let file = shop.folder().join("wiretoll.macaroon");
    std::fs::write(&file, shop.node.service_macaroon().await.unwrap().to_bytes()).unwrap();
    shop.stop().await;
    shop.config.lnd.macaroon = MacaroonSource::File(file.clone());
    shop.start().await;
    let order = shop.order().await;
    shop.node.inject(Fault::RevokeMacaroons { root_key_id: "7".into() }).await.unwrap();
    shop.node.inject(Fault::EndStreams { how: StreamEnd::Reset }).await.unwrap();
    until_problem_names(&shop, "macaroon").await;
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503);
    shop.pay(&order.invoice).await;
    std::fs::write(&file, shop.node.service_macaroon().await.unwrap().to_bytes()).unwrap();
    shop.until("the payment is found", || shop.is_paid(&order)).await;
    shop.until("the shop sells again", || async { shop.app().health.payee().is_ok() }).await;
    shop.buy().await;
}

async fn scenario_12_a_node_that_refuses_us_is_not_asked_about_every_order(on: On) {
    let mut shop = Shop::open(on).await;
    for _ in 0..10 {
        shop.order().await;
    }
    shop.rest().await;
    shop.node.inject(Fault::RevokeMacaroons { root_key_id: "7".into() }).await.unwrap();
    shop.advance(Duration::from_mins(16)).await;
    let asked = shop.node.calls(Method::CancelInvoice);
    assert_eq!(close_due_orders(shop.app()).await.unwrap(), 0);
    // Once more with the macaroon read again.
    let asked = shop.node.calls(Method::CancelInvoice) - asked;
    assert!(asked <= 2, "{asked} questions");
}

async fn scenario_12_a_renewed_certificate_is_taken_up_without_a_restart(on: On) {
    let mut shop = Shop::open(on).await;
    let (theirs, ours) = (shop.node.tls_certificate_path().unwrap(), shop.folder().join("pinned.cert"));
    std::fs::copy(&theirs, &ours).unwrap();
    shop.stop().await;
    shop.config.lnd.trust = LndTrust::PinnedCertificate(ours.clone());
    shop.start().await;
    let order = shop.order().await;
    shop.node.inject(Fault::RotateCertificate).await.unwrap();
    shop.node.restart(Duration::ZERO).await.unwrap();
    until_problem_names(&shop, "certificate").await;
    shop.pay(&order.invoice).await;
    std::fs::copy(&theirs, &ours).unwrap();
    shop.until("the payment is found", || shop.is_paid(&order)).await;
    shop.until("the shop sells again", || async { shop.app().health.payee().is_ok() }).await;
    shop.buy().await;
}

async fn until_problem_names(shop: &Shop, culprit: &str) {
    shop.until("the problem names its cause", || async {
        shop.app().obstacle().is_some_and(|missing| missing.to_string().contains(culprit))
    })
    .await;
}

async fn scenario_19_a_node_without_an_active_channel_sells_nothing(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.stop().await;
    shop.node.inject(Fault::ActiveChannels { count: 0 }).await.unwrap();
    shop.launch().await;
    shop.until("the node was looked at", || async { shop.app().health.payee() == Err(Unavailable::NoChannel) }).await;
    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"));
    assert!(refused.body["message"].as_str().unwrap().contains("channel"), "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 1, "only the first order");
    assert_eq!(shop.app().node.list_invoices(0, 10).await.unwrap().invoices.len(), 1);
    let ready = shop.get("/health/ready").await;
    assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")));
    // What was sold before is delivered.
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 200);
    shop.node.inject(Fault::ActiveChannels { count: 1 }).await.unwrap();
    shop.until("the shop sells again", || async { shop.app().health.payee().is_ok() }).await;
    shop.order().await;
}
