//! What only a simulator can be told: time, amounts, states of the wallet.

use std::time::Duration;

use tonic::{Code, Status};
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_proto::lnrpc::invoice::InvoiceState;
use wiretoll::lnd_proto::lnrpc::{InvoiceHtlcState, WalletState};
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::gossip::Announcement;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::{CanceledInvoices, SimulatorSettings, StoreMode};

use crate::node::Node;
use crate::payer::with_macaroon;

pub const HOUR: Duration = Duration::from_hours(1);

pub async fn started(settings: SimulatorSettings) -> (Simulator, Node) {
    let store = settings.store;
    let simulator = Simulator::start(settings).await.unwrap();
    let node = Node::simulated(&simulator, store).await;
    (simulator, node)
}

pub async fn kv() -> (Simulator, Node) {
    started(SimulatorSettings::default()).await
}

pub fn short_lived(expiry: i64) -> lnrpc::Invoice {
    lnrpc::Invoice { value_msat: 1000, expiry, ..Default::default() }
}

pub async fn wallet_state(simulator: &Simulator, state: WalletState) {
    let state = state.as_str_name().to_owned();
    simulator.inject(Fault::WalletState { state }).await.unwrap();
}

pub fn hash_of(invoice: &lnrpc::Invoice) -> String {
    hex::encode(&invoice.r_hash)
}

#[tokio::test]
async fn an_empty_kv_store_has_its_own_text() {
    let (_kv, kv) = kv().await;
    let (_sql, sql) = started(SimulatorSettings { store: StoreMode::Sql, ..Default::default() }).await;

    assert_eq!(kv.try_lookup(&[1; 32]).await.unwrap_err().message(), "there are no existing invoices");
    assert_eq!(sql.try_lookup(&[1; 32]).await.unwrap_err().message(), "unable to locate invoice");
}

#[tokio::test]
async fn indices_start_at_1() {
    let (_simulator, node) = kv().await;

    let invoice = node.settled(1000).await;

    assert_eq!((invoice.add_index, invoice.settle_index), (1, 1));
}

#[tokio::test]
async fn a_payment_has_one_of_these_outcomes() {
    let (simulator, node) = kv().await;
    let paid = node.add(1000).await;
    let canceled = node.add(1000).await;
    node.cancel(&canceled.r_hash).await.unwrap();
    let elsewhere = crate::node::simulator(StoreMode::Kv).await;
    let stranger = Node::simulated(&elsewhere, StoreMode::Kv).await.add(1000).await;
    let pay = async |invoice: &str| simulator.pay(PaymentOrder::of(invoice)).await.unwrap();
    let payment_hash = hex::encode(&paid.r_hash);

    let first = pay(&paid.payment_request).await;
    assert_eq!(first, PaymentOutcome::Settled { payment_hash: payment_hash.clone(), amount_msat: 1000 });
    assert_eq!(pay(&paid.payment_request).await, PaymentOutcome::AlreadySettled { payment_hash });
    assert!(matches!(pay(&canceled.payment_request).await, PaymentOutcome::Closed { .. }));
    assert!(matches!(pay(&stranger.payment_request).await, PaymentOutcome::Unknown { .. }));
    assert!(matches!(pay("lnbc1").await, PaymentOutcome::Failed { .. }));
}

#[tokio::test]
async fn of_two_payments_at_once_one_settles() {
    let (simulator, node) = kv().await;
    let added = node.add(1000).await;

    let order = PaymentOrder::of(added.payment_request);
    let (one, other) = tokio::join!(simulator.pay(order.clone()), simulator.pay(order));

    let settled = [one.unwrap(), other.unwrap()]
        .into_iter()
        .filter(|outcome| matches!(outcome, PaymentOutcome::Settled { .. }))
        .count();
    assert_eq!(settled, 1);
}

#[tokio::test]
async fn parts_settle_together_or_are_released_after_two_minutes() {
    let (simulator, node) = kv().await;
    let whole = node.add(1000).await;
    let partial = node.try_add(short_lived(3600)).await.unwrap();
    let order = PaymentOrder { parts: 3, ..PaymentOrder::of(whole.payment_request) };
    simulator.pay(order).await.unwrap();
    let order = PaymentOrder { parts: 2, withheld_parts: 1, ..PaymentOrder::of(partial.payment_request) };

    assert!(matches!(simulator.pay(order).await.unwrap(), PaymentOutcome::Held { .. }));
    let held = node.lookup(&partial.r_hash).await;
    simulator.advance(Duration::from_secs(121)).await.unwrap();
    let released = node.lookup(&partial.r_hash).await;

    assert_eq!(node.lookup(&whole.r_hash).await.htlcs.len(), 3);
    assert_eq!((held.state(), held.amt_paid_msat), (InvoiceState::Open, 0));
    assert_eq!(held.htlcs[0].state(), InvoiceHtlcState::Accepted);
    assert_eq!((released.state(), released.htlcs[0].state()), (InvoiceState::Open, InvoiceHtlcState::Canceled));
}

#[tokio::test]
async fn advancing_the_clock_cancels_what_expires_by_it() {
    let (simulator, node) = kv().await;
    let short = node.try_add(short_lived(600)).await.unwrap();
    let long = node.try_add(short_lived(7200)).await.unwrap();

    simulator.advance(HOUR).await.unwrap();

    assert_eq!(node.lookup(&short.r_hash).await.state(), InvoiceState::Canceled);
    assert_eq!(node.lookup(&long.r_hash).await.state(), InvoiceState::Open);
}

#[tokio::test]
async fn with_the_canceller_paused_an_expired_invoice_still_settles() {
    let (simulator, node) = kv().await;
    let added = node.try_add(short_lived(600)).await.unwrap();
    simulator.inject(Fault::PauseCanceller).await.unwrap();
    simulator.advance(HOUR).await.unwrap();

    let outcome = simulator.pay(PaymentOrder::of(added.payment_request)).await.unwrap();

    assert!(matches!(outcome, PaymentOutcome::Settled { .. }));
    let invoice = node.lookup(&added.r_hash).await;
    assert!(invoice.settle_date > invoice.creation_date + invoice.expiry);
}

#[tokio::test]
async fn a_resumed_canceller_catches_up() {
    let (simulator, node) = kv().await;
    let added = node.try_add(short_lived(600)).await.unwrap();
    simulator.inject(Fault::PauseCanceller).await.unwrap();
    simulator.advance(HOUR).await.unwrap();
    assert_eq!(node.lookup(&added.r_hash).await.state(), InvoiceState::Open);

    let mut single = node.subscribe_single(&added.r_hash).await;
    single.invoice().await;
    simulator.inject(Fault::ResumeCanceller).await.unwrap();

    assert_eq!(single.invoice().await.state(), InvoiceState::Canceled);
}

#[tokio::test]
async fn deleted_invoices_are_not_found_and_free_their_add_index_on_sql_only() {
    for (store, next) in [(StoreMode::Kv, 3), (StoreMode::Sql, 2)] {
        let canceled_invoices = CanceledInvoices::DeleteAtOnce;
        let (_simulator, node) = started(SimulatorSettings { store, canceled_invoices, ..Default::default() }).await;
        node.add(1000).await;
        let deleted = node.add(1000).await;
        node.cancel(&deleted.r_hash).await.unwrap();

        assert_eq!(node.try_lookup(&deleted.r_hash).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(node.cancel(&deleted.r_hash).await.unwrap_err().message(), "unable to locate invoice");
        assert_eq!(node.add(1000).await.add_index, next);
    }
}

#[tokio::test]
async fn each_wallet_state_has_its_text_and_comes_before_the_macaroon() {
    let (simulator, node) = kv().await;
    let texts = [
        (WalletState::WaitingToStart, "waiting to start, RPC services not available"),
        (WalletState::NonExisting, "wallet not created, create one to enable full RPC access"),
        (WalletState::Locked, "wallet locked, unlock it to enable full RPC access"),
        (WalletState::Unlocked, "the RPC server is in the process of starting up, but not yet ready to accept calls"),
        (WalletState::RpcActive, "expected 1 macaroon, got 0"),
    ];
    for (state, text) in texts {
        wallet_state(&simulator, state).await;

        let status = node.lightning().get_info(lnrpc::GetInfoRequest {}).await.unwrap_err();
        let told = node.state().get_state(lnrpc::GetStateRequest {}).await.unwrap().into_inner();

        assert_eq!((status.code(), status.message(), told.state()), (Code::Unknown, text, state));
    }
}

#[tokio::test]
async fn in_rpc_active_add_invoice_stores_and_hangs_and_the_101st_blocks_cancelling() {
    let (simulator, node) = kv().await;
    let earlier = node.add(1000).await;
    wallet_state(&simulator, WalletState::RpcActive).await;
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut client = node.lightning();
        let request = node.request(short_lived(600));
        hanging.spawn(async move { client.add_invoice(request).await });
    }
    while node.list(lnrpc::ListInvoiceRequest { num_max_invoices: 200, ..Default::default() }).await.invoices.len()
        < 101
    {
        tokio::task::yield_now().await;
    }
    assert!(hanging.try_join_next().is_none());
    let patience = Duration::from_millis(300);

    assert!(tokio::time::timeout(patience, node.add(1000)).await.is_err());
    assert!(tokio::time::timeout(patience, node.cancel(&earlier.r_hash)).await.is_err());
    assert_eq!(node.lookup(&earlier.r_hash).await.state(), InvoiceState::Open);
    wallet_state(&simulator, WalletState::ServerActive).await;

    while let Some(added) = hanging.join_next().await {
        added.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_invoice_cancelled_in_rpc_active_is_still_announced_as_open() {
    let (simulator, node) = kv().await;
    let mut events = node.subscribe(0, 0).await;
    wallet_state(&simulator, WalletState::RpcActive).await;
    assert!(tokio::time::timeout(Duration::from_millis(200), node.add(1000)).await.is_err());
    let hash = node.list(lnrpc::ListInvoiceRequest::default()).await.invoices[0].r_hash.clone();
    node.cancel(&hash).await.unwrap();

    wallet_state(&simulator, WalletState::ServerActive).await;

    assert_eq!(events.invoice().await.state(), InvoiceState::Open);
    assert_eq!(node.lookup(&hash).await.state(), InvoiceState::Canceled);
}

#[tokio::test]
async fn a_macaroon_can_name_single_methods() {
    let (simulator, node) = kv().await;
    let macaroon = simulator.macaroon("9", &["uri:/lnrpc.Lightning/GetInfo"]).await.unwrap().to_hex();
    let mut client = node.lightning();

    client.get_info(with_macaroon(lnrpc::GetInfoRequest {}, &macaroon)).await.unwrap();
    let refusal = client.add_invoice(with_macaroon(short_lived(600), &macaroon)).await.unwrap_err();

    assert_eq!(refusal.message(), "permission denied");
}

#[tokio::test]
async fn looking_up_by_v2_takes_the_write_permission() {
    use wiretoll::lnd_proto::invoicesrpc::LookupInvoiceMsg;
    let (simulator, node) = kv().await;
    let read_only = simulator.macaroon("9", &["invoices:read"]).await.unwrap().to_hex();

    let request = with_macaroon(LookupInvoiceMsg::default(), &read_only);
    let refusal: Status = node.invoices().lookup_invoice_v2(request).await.unwrap_err();

    assert_eq!(refusal.message(), "permission denied");
}

#[tokio::test]
async fn an_announced_node_is_found() {
    let (simulator, node) = kv().await;
    let pub_key = "02".repeat(33);
    let addresses = &["203.0.113.7:9735"];
    simulator.announce_node(&Announcement { public_key: &pub_key, alias: "carol", addresses, channels: 5 });

    let request = lnrpc::NodeInfoRequest { pub_key, include_channels: false };
    let found = node.lightning().get_node_info(node.request(request)).await.unwrap().into_inner();

    let announced = found.node.unwrap();
    assert_eq!((announced.alias.as_str(), announced.addresses[0].addr.as_str()), ("carol", "203.0.113.7:9735"));
    assert_eq!(found.num_channels, 5);
}

#[tokio::test]
async fn add_invoice_takes_its_time_one_at_a_time() {
    let add_invoice_latency = Duration::from_millis(100);
    let (_simulator, node) = started(SimulatorSettings { add_invoice_latency, ..Default::default() }).await;
    let begun = tokio::time::Instant::now();

    tokio::join!(node.add(1000), node.add(1000), node.add(1000));

    assert!(begun.elapsed() >= add_invoice_latency * 3);
}
