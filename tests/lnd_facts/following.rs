//! `SubscribeInvoices`, `SubscribeSingleInvoice` and `SubscribeState`.

use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_proto::lnrpc::WalletState;
use wiretoll::lnd_proto::lnrpc::invoice::InvoiceState;
use wiretoll::lnd_simulator::settings::StoreMode;

use crate::events::Event;
use crate::node::Node;

/// Hides additions on every store: one more would wrap on SQL.
const NO_ADDITIONS: u64 = i64::MAX.cast_unsigned() - 1;

fn hashes(invoices: &[lnrpc::Invoice]) -> Vec<&[u8]> {
    invoices.iter().map(|invoice| invoice.r_hash.as_slice()).collect()
}

pub async fn subscribing_does_not_return_before_the_first_event(node: &Node) {
    let mut events = node.subscribe(0, 0).await;
    assert!(events.is_silent().await);

    let added = node.add(1000).await;

    assert!(matches!(events.next().await, Event::Headers));
    assert_eq!(events.invoice().await.r_hash, added.r_hash);
}

pub async fn index_0_replays_nothing(node: &Node) {
    node.settled(1000).await;

    let mut events = node.subscribe(0, 0).await;

    assert!(events.is_silent().await);
}

pub async fn additions_and_settlements_are_announced_in_order(node: &Node) {
    let mut events = node.subscribe(0, 0).await;
    let first = node.add(1000).await;
    let second = node.add(1000).await;
    node.pay(&second.payment_request).await.unwrap();
    node.pay(&first.payment_request).await.unwrap();

    let told = events.invoices(4).await;

    assert_eq!(hashes(&told), [&first.r_hash, &second.r_hash, &second.r_hash, &first.r_hash]);
    let states: Vec<_> = told.iter().map(lnrpc::Invoice::state).collect();
    assert_eq!(states, [InvoiceState::Open, InvoiceState::Open, InvoiceState::Settled, InvoiceState::Settled]);
}

pub async fn a_settlement_is_announced_whole(node: &Node) {
    let added = node.add(7_777).await;
    let mut events = node.subscribe(0, 0).await;
    node.pay(&added.payment_request).await.unwrap();

    let told = events.invoice().await;

    assert!(told == node.lookup(&added.r_hash).await);
}

pub async fn replay_begins_after_the_given_index(node: &Node) {
    let known = node.settled(1000).await;
    let missed = node.settled(1000).await;

    let mut events = node.subscribe(NO_ADDITIONS, known.settle_index).await;

    assert_eq!(events.invoice().await.r_hash, missed.r_hash);
    assert!(events.is_silent().await);
}

pub async fn replay_tells_additions_first_and_settled_ones_twice(node: &Node) {
    let known = node.settled(1000).await;
    let settled = node.settled(1000).await;
    let open = node.add(1000).await;

    let mut events = node.subscribe(known.add_index, known.settle_index).await;

    let told = events.invoices(3).await;
    assert_eq!(hashes(&told), [&settled.r_hash, &open.r_hash, &settled.r_hash]);
    assert_eq!(told[0].state(), InvoiceState::Settled);
}

pub async fn settlements_are_replayed_in_settle_order_on_kv_and_in_add_order_on_sql(node: &Node) {
    let known = node.settled(1000).await;
    let first = node.add(1000).await;
    let second = node.add(1000).await;
    node.pay(&second.payment_request).await.unwrap();
    node.pay(&first.payment_request).await.unwrap();

    let told = node.subscribe(NO_ADDITIONS, known.settle_index).await.invoices(2).await;

    match node.store {
        StoreMode::Kv => assert_eq!(hashes(&told), [&second.r_hash, &first.r_hash]),
        StoreMode::Sql => assert_eq!(hashes(&told), [&first.r_hash, &second.r_hash]),
    }
}

pub async fn cancelled_invoices_are_never_announced(node: &Node) {
    let known = node.settled(1000).await;
    let mut live = node.subscribe(0, 0).await;
    let canceled = node.add(1000).await;
    node.cancel(&canceled.r_hash).await.unwrap();
    let after = node.add(1000).await;

    let mut replay = node.subscribe(known.add_index, known.settle_index).await;

    assert_eq!(hashes(&live.invoices(2).await), [&canceled.r_hash, &after.r_hash]);
    assert_eq!(hashes(&replay.invoices(1).await), [&after.r_hash]);
    assert!(live.is_silent().await && replay.is_silent().await);
}

pub async fn a_settle_index_above_the_real_one_mutes_as_many_settlements(node: &Node) {
    let known = node.settled(1000).await;
    let mut events = node.subscribe(NO_ADDITIONS, known.settle_index + 2).await;

    node.settled(1000).await;
    node.settled(1000).await;
    let third = node.settled(1000).await;

    assert_eq!(events.invoice().await.r_hash, third.r_hash);
}

pub async fn an_add_index_just_below_the_top_hides_additions_only(node: &Node) {
    let mut events = node.subscribe(NO_ADDITIONS, 0).await;

    let settled = node.settled(1000).await;

    let told = events.invoice().await;
    assert_eq!((told.state(), told.r_hash), (InvoiceState::Settled, settled.r_hash));
}

pub async fn the_highest_index_replays_everything_on_sql_and_nothing_on_kv(node: &Node) {
    node.settled(1000).await;
    for highest in [u64::MAX, i64::MAX.cast_unsigned()] {
        let mut events = node.subscribe(0, highest).await;

        match node.store {
            StoreMode::Kv => assert!(events.is_silent().await),
            StoreMode::Sql => assert!(events.invoice().await.settle_index > 0),
        }
    }
}

pub async fn a_single_invoice_is_told_at_once_and_to_its_end(node: &Node) {
    let added = node.add(1000).await;
    let mut events = node.subscribe_single(&added.r_hash).await;
    assert_eq!(events.invoice().await.state(), InvoiceState::Open);

    node.pay(&added.payment_request).await.unwrap();

    assert_eq!(events.invoice().await.state(), InvoiceState::Settled);
    events.end().await.unwrap();
}

pub async fn a_single_invoice_that_is_final_is_told_once(node: &Node) {
    let added = node.add(1000).await;
    node.cancel(&added.r_hash).await.unwrap();

    let mut events = node.subscribe_single(&added.r_hash).await;

    assert_eq!(events.invoice().await.state(), InvoiceState::Canceled);
    events.end().await.unwrap();
}

pub async fn a_single_invoice_that_is_unknown_is_silence(node: &Node) {
    let mut events = node.subscribe_single(&[3; 32]).await;

    assert!(events.is_silent().await);
}

pub async fn a_single_invoice_is_told_of_its_cancellation(node: &Node) {
    let added = node.add(1000).await;
    let mut events = node.subscribe_single(&added.r_hash).await;
    assert_eq!(events.invoice().await.state(), InvoiceState::Open);

    node.cancel(&added.r_hash).await.unwrap();

    assert_eq!(events.invoice().await.state(), InvoiceState::Canceled);
    events.end().await.unwrap();
}

pub async fn the_state_of_now_comes_first(node: &Node) {
    let mut states = node.state().subscribe_state(lnrpc::SubscribeStateRequest {}).await.unwrap().into_inner();

    assert_eq!(states.message().await.unwrap().unwrap().state(), WalletState::ServerActive);
}
