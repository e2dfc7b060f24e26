//! Faults: what goes wrong on the way to a client, one at a time.

use std::time::Duration;

use tonic::Code;
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::lnd_simulator::settings::{SimulatorSettings, StoreMode};
use wiretoll::lnd_simulator::subscriptions::StreamEnd;

use crate::node::Node;
use crate::payer::with_macaroon;

use crate::simulated::{kv, short_lived, started};

#[tokio::test]
async fn on_kv_replay_after_an_index_that_does_not_exist_skips_one() {
    for (store, told) in [(StoreMode::Kv, 1), (StoreMode::Sql, 2)] {
        let (simulator, node) = started(SimulatorSettings { store, ..Default::default() }).await;
        let known = node.settled(1000).await;
        simulator.inject(Fault::SkipSettleIndices { count: 5 }).await.unwrap();
        assert_eq!(node.settled(1000).await.settle_index, known.settle_index + 6);
        node.settled(1000).await;

        let mut events = node.subscribe(0, known.settle_index + 1).await;

        events.invoices(told).await;
        assert!(events.is_silent().await);
    }
}

#[tokio::test]
async fn streams_end_as_they_are_told_to() {
    for how in [StreamEnd::Clean, StreamEnd::Error, StreamEnd::Reset] {
        let (simulator, node) = kv().await;
        let mut events = node.subscribe(0, 0).await;
        node.add(1000).await;
        events.invoice().await;

        simulator.inject(Fault::EndStreams { how }).await.unwrap();

        let end = events.end().await;
        match how {
            StreamEnd::Clean => end.unwrap(),
            StreamEnd::Error => assert_eq!(end.unwrap_err().code(), Code::Unavailable),
            _ => assert_eq!(end.unwrap_err().code(), Code::Unknown),
        }
    }
}

#[tokio::test]
async fn a_stalled_or_muted_stream_says_nothing_and_does_not_end() {
    for how in [StreamEnd::Stall, StreamEnd::Mute] {
        let (simulator, node) = kv().await;
        let mut events = node.subscribe(0, 0).await;
        node.add(1000).await;
        events.invoice().await;
        simulator.inject(Fault::EndStreams { how }).await.unwrap();
        let other = node.reconnected();

        other.add(1000).await;

        assert!(events.is_silent().await);
    }
}

#[tokio::test]
async fn one_subscriber_can_miss_an_event() {
    let (simulator, node) = kv().await;
    let mut one = node.subscribe(0, 0).await;
    let mut other = node.subscribe(0, 0).await;
    simulator.inject(Fault::LoseEvent { nth: 2 }).await.unwrap();

    for _ in 0..3 {
        node.add(1000).await;
    }

    let mut told = [0, 0];
    for (events, count) in [&mut one, &mut other].into_iter().zip(&mut told) {
        events.invoices(2).await;
        *count = if events.is_silent().await { 2 } else { 3 };
    }
    told.sort_unstable();
    assert_eq!(told, [2, 3]);
}

#[tokio::test]
async fn events_can_come_twice_or_in_reverse() {
    let (simulator, node) = kv().await;
    let mut events = node.subscribe(0, 0).await;
    simulator.inject(Fault::DuplicateEvents { count: 1 }).await.unwrap();
    let twice = node.add(1000).await;
    let told = events.invoices(2).await;
    assert!(told.iter().all(|invoice| invoice.r_hash == twice.r_hash));
    let first = node.add(1000).await;
    let second = node.add(1000).await;
    events.invoices(2).await;
    simulator.inject(Fault::ReverseEvents { count: 2 }).await.unwrap();

    node.pay(&first.payment_request).await.unwrap();
    node.pay(&second.payment_request).await.unwrap();

    let told = events.invoices(2).await;
    assert_eq!((&told[0].r_hash, &told[1].r_hash), (&second.r_hash, &first.r_hash));
}

#[tokio::test]
async fn a_subscriber_that_leaves_makes_others_miss_an_event() {
    let teardown_blindness = Duration::from_mins(1);
    let (_simulator, node) = started(SimulatorSettings { teardown_blindness, ..Default::default() }).await;
    let mut steady = node.subscribe(0, 0).await;
    for _ in 0..5 {
        drop(node.subscribe(0, 0).await);
    }

    for _ in 0..20 {
        node.add(1000).await;
    }

    let mut told = 0;
    while !steady.is_silent().await {
        told += 1;
    }
    assert!(told < 20, "{told}");
}

#[tokio::test]
async fn a_lost_reply_leaves_the_invoice_behind() {
    let (simulator, node) = kv().await;
    simulator.inject(Fault::LoseReplies { method: Method::AddInvoice, count: 1 }).await.unwrap();

    node.try_add(short_lived(600)).await.unwrap_err();

    assert_eq!(node.list(lnrpc::ListInvoiceRequest::default()).await.invoices.len(), 1);
    node.add(1000).await;
}

#[tokio::test]
async fn calls_can_be_slow_or_unavailable() {
    let (simulator, node) = kv().await;
    simulator.inject(Fault::Delay { method: Method::LookupInvoice, milliseconds: 60_000 }).await.unwrap();
    let slow = tokio::time::timeout(Duration::from_millis(200), node.try_lookup(&[1; 32])).await;
    simulator.inject(Fault::Unavailable { milliseconds: 60_000 }).await.unwrap();

    let status = node.try_add(short_lived(600)).await.unwrap_err();

    assert!(slow.is_err());
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_rotated_certificate_refuses_the_old_pin() {
    let (simulator, node) = kv().await;
    node.add(1000).await;
    simulator.inject(Fault::RotateCertificate).await.unwrap();

    node.add(1000).await;
    let new = Node::simulated(&simulator, StoreMode::Kv).await;
    let old = node.reconnected();

    assert_eq!(old.try_add(short_lived(600)).await.unwrap_err().code(), Code::Unavailable);
    new.add(1000).await;
}

#[tokio::test]
async fn a_revoked_macaroon_is_refused_but_its_stream_goes_on() {
    let (simulator, node) = kv().await;
    let mut events = node.subscribe(0, 0).await;
    node.add(1000).await;
    events.invoice().await;
    simulator.inject(Fault::RevokeMacaroons { root_key_id: "7".into() }).await.unwrap();

    let refusal = node.try_add(short_lived(600)).await.unwrap_err();
    let by_admin = with_macaroon(short_lived(600), &node.admin_macaroon);
    node.lightning().add_invoice(by_admin).await.unwrap();

    let text = "cannot retrieve macaroon: cannot get macaroon: root key with id 7 doesn't exist";
    assert_eq!((refusal.code(), refusal.message()), (Code::Unknown, text));
    events.invoice().await;
}

#[tokio::test]
async fn a_backlog_of_strangers_settles() {
    let (simulator, node) = kv().await;
    simulator.inject(Fault::Backlog { settled: 300 }).await.unwrap();

    let told = node.subscribe(0, 1).await.invoices(299).await;

    assert_eq!(told.last().unwrap().settle_index, 300);
}

#[tokio::test]
async fn frozen_connections_hang_and_new_ones_work() {
    let (simulator, node) = kv().await;
    node.add(1000).await;
    simulator.inject(Fault::FreezeConnections).await.unwrap();

    let hanging = tokio::time::timeout(Duration::from_millis(300), node.add(1000)).await;

    assert!(hanging.is_err());
    node.reconnected().add(1000).await;
}

#[tokio::test]
async fn slow_events_come_late_and_whole() {
    let (simulator, node) = kv().await;
    let mut events = node.subscribe(0, 0).await;
    simulator.inject(Fault::SlowEvents { milliseconds: 600 }).await.unwrap();

    let added = node.add(1000).await;

    assert!(events.is_silent().await);
    assert_eq!(events.invoice().await.r_hash, added.r_hash);
}

#[tokio::test]
async fn a_node_out_of_sync_says_so() {
    let (simulator, node) = kv().await;
    simulator.inject(Fault::ChainSync { synced: false }).await.unwrap();

    let info = node.lightning().get_info(node.request(lnrpc::GetInfoRequest {})).await.unwrap().into_inner();

    assert!(!info.synced_to_chain);
}
