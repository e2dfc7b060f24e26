//! What a payment does to an invoice.

use std::time::Duration;

use tonic::Code;
use wiretoll::lnd_proto::invoicesrpc;
use wiretoll::lnd_proto::lnrpc::InvoiceHtlcState;
use wiretoll::lnd_proto::lnrpc::invoice::InvoiceState;

use crate::node::Node;
use crate::payer::parse;

pub async fn a_payment_settles_the_invoice_and_counts_in_msat(node: &Node) {
    let invoice = node.settled(21_500).await;

    assert_eq!((invoice.state(), invoice.settled), (InvoiceState::Settled, true));
    assert_eq!((invoice.amt_paid, invoice.amt_paid_sat, invoice.amt_paid_msat), (21_500, 21, 21_500));
    assert!(invoice.settle_index > 0 && invoice.settle_date >= invoice.creation_date);
    let [htlc] = invoice.htlcs.as_slice() else { panic!("one HTLC") };
    assert_eq!((htlc.state(), htlc.amt_msat, htlc.mpp_total_amt_msat), (InvoiceHtlcState::Settled, 21_500, 21_500));
    assert_eq!(htlc.expiry_height - htlc.accept_height, 80 + 3);
    assert!(htlc.resolve_time >= htlc.accept_time && htlc.accept_time > 0 && htlc.chan_id > 0);
}

pub async fn settle_indices_count_up_by_one(node: &Node) {
    let first = node.settled(1000).await;
    let second = node.settled(1000).await;

    assert_eq!(second.settle_index, first.settle_index + 1);
}

pub async fn paying_too_little_fails_and_leaves_the_invoice_open(node: &Node) {
    let added = node.add(10_000).await;

    assert!(!node.pay_amount(&added.payment_request, 9_999).await);

    let invoice = node.lookup(&added.r_hash).await;
    assert_eq!((invoice.state(), invoice.amt_paid_msat, invoice.htlcs.len()), (InvoiceState::Open, 0, 0));
}

pub async fn paying_fifty_times_too_much_settles_and_is_reported_in_full(node: &Node) {
    let added = node.add(10_000).await;

    assert!(node.pay_amount(&added.payment_request, 500_000).await);

    let invoice = node.lookup(&added.r_hash).await;
    assert_eq!((invoice.state(), invoice.value_msat, invoice.amt_paid_msat), (InvoiceState::Settled, 10_000, 500_000));
}

pub async fn an_invoice_without_an_amount_takes_any(node: &Node) {
    let added = node.add(0).await;

    assert!(node.pay_amount(&added.payment_request, 1_234).await);

    assert_eq!(node.lookup(&added.r_hash).await.amt_paid_msat, 1_234);
}

pub async fn a_payer_does_not_pay_twice(node: &Node) {
    let settled = node.settled(1000).await;

    let status = node.pay(&settled.payment_request).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::AlreadyExists, "invoice is already paid"));
}

pub async fn a_cancelled_invoice_cannot_be_paid(node: &Node) {
    let added = node.add(1000).await;
    node.cancel(&added.r_hash).await.unwrap();

    assert!(!node.pay(&added.payment_request).await.unwrap());

    assert_eq!(node.lookup(&added.r_hash).await.state(), InvoiceState::Canceled);
}

pub async fn a_payer_refuses_to_choose_the_amount_of_a_priced_invoice_only(node: &Node) {
    let added = node.add(0).await;

    let status = node.pay(&added.payment_request).await.unwrap_err();

    let text = "amount must be specified when paying a zero amount invoice";
    assert_eq!((status.code(), status.message()), (Code::Unknown, text));
}

pub async fn an_expired_invoice_is_cancelled_and_only_its_own_subscriber_hears_of_it(node: &Node) {
    let mut all = node.subscribe(0, 0).await;
    let request = wiretoll::lnd_proto::lnrpc::Invoice { value_msat: 1000, expiry: 1, ..Default::default() };
    let added = node.try_add(request).await.unwrap();
    let mut single = node.subscribe_single(&added.r_hash).await;

    assert_eq!(all.invoice().await.state(), InvoiceState::Open);
    assert_eq!(single.invoice().await.state(), InvoiceState::Open);
    assert_eq!(single.invoice().await.state(), InvoiceState::Canceled);
    single.end().await.unwrap();
    assert!(all.is_silent().await);
    assert_eq!(node.lookup(&added.r_hash).await.state(), InvoiceState::Canceled);
}

pub async fn a_payer_refuses_an_expired_invoice(node: &Node) {
    let request = wiretoll::lnd_proto::lnrpc::Invoice { value_msat: 1000, expiry: 1, ..Default::default() };
    let added = node.try_add(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_300)).await;

    let status = node.pay(&added.payment_request).await.unwrap_err();

    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("invoice expired"), "{}", status.message());
}

async fn add_hold(node: &Node, preimage: [u8; 32]) -> (Vec<u8>, String) {
    let hash = sha2_of(&preimage);
    let request = invoicesrpc::AddHoldInvoiceRequest { hash: hash.clone(), value_msat: 3_000, ..Default::default() };
    let added = node.invoices().add_hold_invoice(node.request(request)).await.unwrap().into_inner();
    assert_eq!(AsRef::<[u8]>::as_ref(&parse(&added.payment_request).payment_hash()), hash);
    (hash, added.payment_request)
}

fn sha2_of(bytes: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).to_vec()
}

fn fresh_preimage() -> [u8; 32] {
    wiretoll::random::bytes().unwrap()
}

async fn settle_hold(node: &Node, preimage: [u8; 32]) -> Result<(), tonic::Status> {
    let request = invoicesrpc::SettleInvoiceMsg { preimage: preimage.to_vec() };
    node.invoices().settle_invoice(node.request(request)).await.map(|_| ())
}

pub async fn a_hold_invoice_is_accepted_first_and_settled_by_its_preimage(node: &Node) {
    let preimage = fresh_preimage();
    let (hash, payment_request) = add_hold(node, preimage).await;
    assert_eq!(settle_hold(node, preimage).await.unwrap_err().message(), "invoice still open");
    let mut single = node.subscribe_single(&hash).await;
    assert_eq!(single.invoice().await.state(), InvoiceState::Open);

    let (paid, ()) = tokio::join!(node.pay(&payment_request), async {
        let accepted = single.invoice().await;
        assert_eq!((accepted.state(), accepted.amt_paid_msat), (InvoiceState::Accepted, 3_000));
        assert!(accepted.r_preimage.is_empty());
        settle_hold(node, preimage).await.unwrap();
    });

    assert!(paid.unwrap());
    assert_eq!(single.invoice().await.state(), InvoiceState::Settled);
    single.end().await.unwrap();
    settle_hold(node, preimage).await.unwrap();
}

pub async fn a_cancelled_hold_invoice_fails_its_payment(node: &Node) {
    let preimage = fresh_preimage();
    let (hash, payment_request) = add_hold(node, preimage).await;
    let mut single = node.subscribe_single(&hash).await;
    assert_eq!(single.invoice().await.state(), InvoiceState::Open);

    let (paid, ()) = tokio::join!(node.pay(&payment_request), async {
        assert_eq!(single.invoice().await.state(), InvoiceState::Accepted);
        node.cancel(&hash).await.unwrap();
    });

    assert!(!paid.unwrap());
    let canceled = single.invoice().await;
    // What was held stays written down as paid, though it was given back.
    assert_eq!((canceled.state(), canceled.amt_paid_msat), (InvoiceState::Canceled, 3_000));
    assert_eq!(settle_hold(node, preimage).await.unwrap_err().message(), "invoice already canceled");
}
