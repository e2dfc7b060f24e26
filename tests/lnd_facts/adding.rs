//! `AddInvoice`, `LookupInvoice`, `CancelInvoice` and `ListInvoices`.

use lightning_invoice::Currency;
use tonic::Code;
use wiretoll::lnd_proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use wiretoll::lnd_proto::lnrpc::invoice::InvoiceState;
use wiretoll::lnd_proto::{invoicesrpc, lnrpc};

use crate::node::Node;
use crate::payer::parse;

fn blank() -> lnrpc::Invoice {
    lnrpc::Invoice::default()
}

fn fresh_preimage() -> Vec<u8> {
    wiretoll::random::bytes::<32>().unwrap().to_vec()
}

pub async fn an_added_invoice_is_signed_by_the_node_and_says_what_was_asked(node: &Node) {
    let request = lnrpc::Invoice { value_msat: 21_001, memo: "tea".into(), expiry: 600, ..blank() };
    let added = node.try_add(request).await.unwrap();

    let bolt11 = parse(&added.payment_request);
    assert_eq!(bolt11.get_payee_pub_key().to_string(), node.public_key);
    assert_eq!(bolt11.currency(), if node.network == "simnet" { Currency::Simnet } else { Currency::Regtest });
    assert_eq!(AsRef::<[u8]>::as_ref(&bolt11.payment_hash()), added.r_hash);
    assert_eq!(bolt11.payment_secret().0.as_slice(), added.payment_addr);
    assert_eq!(bolt11.amount_milli_satoshis(), Some(21_001));
    assert_eq!(bolt11.expiry_time().as_secs(), 600);
    assert_eq!(bolt11.min_final_cltv_expiry_delta(), 80);
    assert_eq!(bolt11.description().to_string(), "tea");
    assert!(bolt11.route_hints().is_empty());
}

pub async fn an_invoice_has_the_feature_bits_8_14_17_and_25(node: &Node) {
    let added = node.add(1000).await;

    let in_bolt11 = parse(&added.payment_request).features().unwrap().le_flags().to_vec();
    let mut in_message: Vec<_> = node.lookup(&added.r_hash).await.features.into_iter().collect();
    in_message.sort_by_key(|(bit, _)| *bit);
    let in_message: Vec<_> = in_message.into_iter().map(|(bit, it)| (bit, it.name, it.is_required)).collect();
    assert_eq!(in_bolt11, [0, 0x41, 2, 2]);
    assert_eq!(
        in_message,
        [
            (8, "tlv-onion".to_owned(), true),
            (14, "payment-addr".to_owned(), true),
            (17, "multi-path-payments".to_owned(), false),
            (25, "route-blinding".to_owned(), false),
        ]
    );
}

pub async fn a_new_invoice_is_open_and_unpaid(node: &Node) {
    let preimage = fresh_preimage();
    let request = lnrpc::Invoice { value: 5, r_preimage: preimage.clone(), memo: "m".into(), ..blank() };
    let added = node.try_add(request).await.unwrap();

    let invoice = node.lookup(&added.r_hash).await;
    assert_eq!(invoice.state(), InvoiceState::Open);
    assert_eq!((invoice.value, invoice.value_msat), (5, 5000));
    assert_eq!((invoice.amt_paid, invoice.amt_paid_sat, invoice.amt_paid_msat), (0, 0, 0));
    assert_eq!((invoice.settle_index, invoice.settle_date, invoice.settled), (0, 0, false));
    assert_eq!((invoice.r_preimage, invoice.r_hash), (preimage, added.r_hash));
    assert_eq!((invoice.add_index, invoice.payment_addr), (added.add_index, added.payment_addr));
    assert_eq!((invoice.payment_request, invoice.memo), (added.payment_request, "m".to_owned()));
    assert_eq!((invoice.expiry, invoice.cltv_expiry), (86_400, 80));
    assert!(!invoice.private && !invoice.is_amp && !invoice.is_blinded && !invoice.is_keysend);
}

pub async fn add_indices_count_up_by_one(node: &Node) {
    let first = node.add(1000).await;
    let second = node.add(1000).await;

    assert_eq!(second.add_index, first.add_index + 1);
}

pub async fn a_preimage_cannot_be_used_twice_but_the_first_invoice_can_be_looked_up(node: &Node) {
    let request = lnrpc::Invoice { value_msat: 1000, r_preimage: fresh_preimage(), ..blank() };
    let added = node.try_add(request.clone()).await.unwrap();

    assert_eq!(node.add_refusal(request).await, "invoice with payment hash already exists");
    assert_eq!(node.lookup(&added.r_hash).await.payment_request, added.payment_request);
}

pub async fn a_preimage_has_32_bytes_that_are_not_all_zero(node: &Node) {
    let short = lnrpc::Invoice { value_msat: 1000, r_preimage: vec![1; 31], ..blank() };
    let zero = lnrpc::Invoice { value_msat: 1000, r_preimage: vec![0; 32], ..blank() };

    assert_eq!(node.add_refusal(short).await, "invalid preimage length of 31, want 32");
    assert_eq!(node.add_refusal(zero).await, "cannot use hash of all-zeroes preimage");
}

pub async fn an_invoice_without_expiry_is_valid_for_a_day(node: &Node) {
    for expiry in [0, -5] {
        let added = node.try_add(lnrpc::Invoice { value_msat: 1000, expiry, ..blank() }).await.unwrap();

        assert_eq!(parse(&added.payment_request).expiry_time().as_secs(), 86_400);
        assert_eq!(node.lookup(&added.r_hash).await.expiry, 86_400);
    }
}

pub async fn an_expiry_of_a_year_is_the_longest(node: &Node) {
    let year = 31_536_000;
    node.try_add(lnrpc::Invoice { value_msat: 1000, expiry: year, ..blank() }).await.unwrap();

    let refusal = node.add_refusal(lnrpc::Invoice { value_msat: 1000, expiry: year + 1, ..blank() }).await;
    assert_eq!(refusal, "expiry of 3.1536001e+07 seconds greater than max expiry of 3.1536e+07 seconds");
}

pub async fn sat_and_msat_exclude_each_other(node: &Node) {
    let refusal = node.add_refusal(lnrpc::Invoice { value: 1, value_msat: 1, ..blank() }).await;

    assert_eq!(refusal, "sat and msat arguments are mutually exclusive");
}

pub async fn an_amount_cannot_be_negative(node: &Node) {
    for request in [lnrpc::Invoice { value: -1, ..blank() }, lnrpc::Invoice { value_msat: -1, ..blank() }] {
        assert_eq!(node.add_refusal(request).await, "amount cannot be negative");
    }
}

pub async fn more_than_100_000_btc_is_refused(node: &Node) {
    let most = 100_000 * 100_000_000_i64;
    node.try_add(lnrpc::Invoice { value: most, ..blank() }).await.unwrap();

    let one_more = node.add_refusal(lnrpc::Invoice { value: most + 1, ..blank() }).await;
    let rounder = node.add_refusal(lnrpc::Invoice { value: most + 50_000_000, ..blank() }).await;
    assert_eq!(one_more, "invoice amount 100000.00000001 BTC is too large, max is 100000 BTC");
    assert_eq!(rounder, "invoice amount 100000.50000000 BTC is too large, max is 100000 BTC");
}

pub async fn a_huge_amount_in_sat_overflows_into_a_small_one(node: &Node) {
    let added = node.try_add(lnrpc::Invoice { value: 18_446_744_073_709_552, ..blank() }).await.unwrap();

    assert_eq!(parse(&added.payment_request).amount_milli_satoshis(), Some(384));
}

pub async fn an_amount_that_overflows_into_a_negative_one_is_refused(node: &Node) {
    let refusal = node.add_refusal(lnrpc::Invoice { value: 9_300_000_000_000_000, ..blank() }).await;

    assert_eq!(refusal, "payments of negative value are not allowed, value is -9146744073709551616");
}

pub async fn an_invoice_may_leave_the_amount_to_the_payer(node: &Node) {
    let added = node.add(0).await;

    assert_eq!(parse(&added.payment_request).amount_milli_satoshis(), None);
}

pub async fn a_memo_of_639_bytes_fits_and_one_more_does_not(node: &Node) {
    let memo = |length| lnrpc::Invoice { value_msat: 1000, memo: "m".repeat(length), ..blank() };
    node.try_add(memo(639)).await.unwrap();

    assert_eq!(node.add_refusal(memo(640)).await, "data length too big to fit within 10 bits: 1024");
    assert_eq!(node.add_refusal(memo(1024)).await, "data length too big to fit within 10 bits: 1639");
    assert_eq!(node.add_refusal(memo(1025)).await, "memo too large: 1025 bytes (maxsize=1024)");
}

pub async fn with_a_description_hash_the_memo_is_kept_but_not_encoded(node: &Node) {
    let request = lnrpc::Invoice { value_msat: 1000, memo: "m".repeat(1024), description_hash: vec![7; 32], ..blank() };
    let added = node.try_add(request).await.unwrap();

    let invoice = node.lookup(&added.r_hash).await;
    assert_eq!((invoice.memo.len(), invoice.description_hash), (1024, vec![7; 32]));
}

pub async fn a_description_hash_has_32_bytes(node: &Node) {
    let refusal = node.add_refusal(lnrpc::Invoice { description_hash: vec![7; 31], ..blank() }).await;

    assert_eq!(refusal, "description hash is 31 bytes, must be 32");
}

pub async fn the_final_cltv_delta_lies_between_24_and_65535(node: &Node) {
    let delta = |cltv_expiry| lnrpc::Invoice { value_msat: 1000, cltv_expiry, ..blank() };
    for accepted in [24, 65_535] {
        let added = node.try_add(delta(accepted)).await.unwrap();
        assert_eq!(parse(&added.payment_request).min_final_cltv_expiry_delta(), accepted);
    }

    assert_eq!(node.add_refusal(delta(23)).await, "CLTV delta of 23 must be greater than minimum of 24");
    assert_eq!(node.add_refusal(delta(65_536)).await, "CLTV delta of 65536 is too large, max accepted is: 65535");
}

pub async fn an_unknown_hash_is_not_found(node: &Node) {
    node.add(1000).await;
    for hash in [vec![9; 32], vec![]] {
        let status = node.try_lookup(&hash).await.unwrap_err();

        assert_eq!((status.code(), status.message()), (Code::NotFound, "unable to locate invoice"));
    }
}

pub async fn a_hash_of_another_length_is_refused_by_its_length(node: &Node) {
    let status = node.try_lookup(&[9; 31]).await.unwrap_err();

    assert_eq!(status.code(), Code::Unknown);
    assert_eq!(status.message(), "payment hash must be exactly 32 bytes, is instead 31");
}

pub async fn lookup_v2_finds_by_hash_and_by_payment_address(node: &Node) {
    let added = node.add(1000).await;
    for reference in
        [InvoiceRef::PaymentHash(added.r_hash.clone()), InvoiceRef::PaymentAddr(added.payment_addr.clone())]
    {
        let request = invoicesrpc::LookupInvoiceMsg { invoice_ref: Some(reference) };
        let found = node.invoices().lookup_invoice_v2(node.request(request)).await.unwrap().into_inner();

        assert_eq!(found.r_hash, added.r_hash);
    }
}

pub async fn lookup_v2_wants_a_reference_that_it_can_parse(node: &Node) {
    let ask = async |invoice_ref| {
        let request = invoicesrpc::LookupInvoiceMsg { invoice_ref };
        let status = node.invoices().lookup_invoice_v2(node.request(request)).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    node.add(1000).await;

    let missing = (Code::InvalidArgument, "invoice ref must be set".to_owned());
    let short = "unable to parse pay hash: invalid hash length of 3, want 32".to_owned();
    let unknown = (Code::NotFound, "unable to locate invoice".to_owned());
    assert_eq!(ask(None).await, missing);
    assert_eq!(ask(Some(InvoiceRef::PaymentHash(vec![1; 3]))).await, (Code::InvalidArgument, short));
    assert_eq!(ask(Some(InvoiceRef::PaymentHash(vec![1; 32]))).await, unknown);
}

pub async fn cancelling_is_idempotent(node: &Node) {
    let added = node.add(1000).await;

    node.cancel(&added.r_hash).await.unwrap();
    node.cancel(&added.r_hash).await.unwrap();

    assert_eq!(node.lookup(&added.r_hash).await.state(), InvoiceState::Canceled);
}

pub async fn an_unknown_invoice_cannot_be_cancelled(node: &Node) {
    let unknown = node.cancel(&[9; 32]).await.unwrap_err();
    let short = node.cancel(&[9; 31]).await.unwrap_err();

    assert_eq!((unknown.code(), unknown.message()), (Code::Unknown, "unable to locate invoice"));
    assert_eq!((short.code(), short.message()), (Code::Unknown, "invalid hash length of 31, want 32"));
}

pub async fn a_settled_invoice_cannot_be_cancelled(node: &Node) {
    let settled = node.settled(1000).await;

    let status = node.cancel(&settled.r_hash).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::Unknown, "invoice already settled"));
}

async fn five(node: &Node) -> Vec<u64> {
    let mut indices = Vec::new();
    for _ in 0..5 {
        indices.push(node.add(1000).await.add_index);
    }
    indices
}

fn indices(page: &lnrpc::ListInvoiceResponse) -> Vec<u64> {
    page.invoices.iter().map(|invoice| invoice.add_index).collect()
}

pub async fn pages_go_forward_from_after_the_offset(node: &Node) {
    let added = five(node).await;
    let request = lnrpc::ListInvoiceRequest { index_offset: added[0], num_max_invoices: 2, ..Default::default() };

    let page = node.list(request).await;

    assert_eq!(indices(&page), added[1..3]);
    assert_eq!((page.first_index_offset, page.last_index_offset), (added[1], added[2]));
}

pub async fn pages_go_backward_from_before_the_offset_but_ascend_within(node: &Node) {
    let added = five(node).await;
    let reversed = lnrpc::ListInvoiceRequest { reversed: true, num_max_invoices: 2, ..Default::default() };

    let newest = node.list(reversed).await;
    let before = node.list(lnrpc::ListInvoiceRequest { index_offset: added[3], ..reversed }).await;
    let beyond = node.list(lnrpc::ListInvoiceRequest { index_offset: added[4] + 50, ..reversed }).await;

    assert_eq!(indices(&newest), added[3..5]);
    assert_eq!(indices(&before), added[1..3]);
    assert_eq!(indices(&beyond), added[3..5]);
    assert_eq!((before.first_index_offset, before.last_index_offset), (added[1], added[2]));
}

pub async fn a_page_after_the_last_invoice_is_empty_with_offset_0(node: &Node) {
    let added = five(node).await;

    let page = node.list(lnrpc::ListInvoiceRequest { index_offset: added[4], ..Default::default() }).await;

    assert_eq!((page.invoices.len(), page.first_index_offset, page.last_index_offset), (0, 0, 0));
}

pub async fn pending_pages_leave_out_what_is_final(node: &Node) {
    let added = five(node).await;
    let page = lnrpc::ListInvoiceRequest { index_offset: added[0] - 1, ..Default::default() };
    let second = node.list(page).await.invoices[1].r_hash.clone();
    node.cancel(&second).await.unwrap();

    let pending = node.list(lnrpc::ListInvoiceRequest { pending_only: true, ..page }).await;

    assert_eq!(indices(&pending), [added[0], added[2], added[3], added[4]]);
}

pub async fn pages_can_be_narrowed_by_creation_date_inclusive(node: &Node) {
    let added = node.add(1000).await;
    let created = node.lookup(&added.r_hash).await.creation_date.unsigned_abs();
    let page = async |start, end| {
        let request = lnrpc::ListInvoiceRequest {
            index_offset: added.add_index - 1,
            creation_date_start: start,
            creation_date_end: end,
            ..Default::default()
        };
        node.list(request).await.invoices.len()
    };

    assert_eq!(page(created, created + 1).await, 1);
    assert_eq!(page(created - 1, created).await, 1);
    assert_eq!(page(created + 1, created + 2).await, 0);
    assert_eq!(page(created - 2, created - 1).await, 0);
}

pub async fn dates_in_the_wrong_order_are_refused(node: &Node) {
    let request = lnrpc::ListInvoiceRequest { creation_date_start: 7, creation_date_end: 7, ..Default::default() };

    let status = node.lightning().list_invoices(node.request(request)).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::Unknown, "start date(7) must be before end date(7)"));
}
