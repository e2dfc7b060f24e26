//! The ledger: what does not fit an order has one automatic answer, waits for the operator, and is dealt with once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::app::adopt_payment::{Adoption, AmountCheck, Bought as WasBought, adopt_payment};
use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::resolve_payment::{PaymentName, Resolved, resolve_payment};
use wiretoll::app::{Error, Unavailable, reconcile};
use wiretoll::domain::event::Subject;
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::money::Msats;
use wiretoll::domain::note::Note;
use wiretoll::domain::order::{ClaimBy, OrderKind, OrderState};
use wiretoll::domain::payment::{Outcome, Payment, Provider};
use wiretoll::domain::server::ServerId;
use wiretoll::lnd::{InvoiceState, NodeInvoice, Settlement};
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::payer::PaymentOrder;
use wiretoll::store::{OrderFilter, PaymentFilter};

use crate::database::copy;
use crate::metrics::{Page, with_metrics};
use crate::on_both_databases;
use crate::shop::{Bought, On, Shop, a_key};
use crate::slots::one_slot;

on_both_databases!(
    scenario_52_an_orphan_is_known_by_its_key_whatever_the_shop_was_called,
    scenario_52_an_orphan_is_found_though_the_backup_knows_no_order_at_all,
    another_shop_s_payment_on_the_same_node_is_no_orphan_of_ours,
    scenario_52_an_adopted_orphan_is_the_order_that_it_was,
    scenario_52_an_orphan_is_adopted_once_by_whoever_is_first,
    scenario_52_an_orphan_can_renew_a_subscription,
    scenario_52_an_orphan_that_no_sweep_came_across_is_adopted_by_its_hash,
    scenario_52_what_is_no_orphan_is_not_adopted,
    scenario_52_months_that_do_not_fit_the_amount_are_refused,
    scenario_52_a_sold_out_server_leaves_the_orphan_as_it_is,
    scenario_52_a_resolved_orphan_is_not_adopted,
    a_refund_that_is_due_waits_until_it_is_resolved_and_a_repeat_changes_nothing,
    scenario_16_an_excess_waits_for_the_operator_and_is_told_of,
    less_than_the_price_buys_nothing_and_waits_for_the_operator,
    a_payment_that_waits_for_nobody_cannot_be_resolved,
    payments_are_listed_in_pages_with_what_waits_first,
    orders_are_listed_in_pages_the_newest_first,
);

/// A shop whose database was restored from before an order that is paid: the payment is in the ledger as an orphan.
async fn with_orphan(on: On) -> (Shop, Bought) {
    with_lost(on, json!({ "serverId": "eu-de", "duration": 1 })).await
}

async fn with_lost(on: On, body: serde_json::Value) -> (Shop, Bought) {
    let mut shop = Shop::open(on).await;
    shop.buy().await;
    let lost = lose(&mut shop, async |shop| shop.buy_with(body).await).await;
    shop.start().await;
    shop.until("the payment is in the ledger", || async { ledger(&shop, &lost.hash).await.is_some() }).await;
    (shop, lost)
}

/// What happens meanwhile is lost: the shop is closed after it, over a backup of before it.
pub async fn lose<T>(shop: &mut Shop, meanwhile: impl AsyncFnOnce(&Shop) -> T) -> T {
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    let lost = meanwhile(shop).await;
    shop.stop().await;
    shop.config.database = backup;
    lost
}

async fn scenario_52_an_orphan_is_known_by_its_key_whatever_the_shop_was_called(on: On) {
    let mut shop = Shop::open(on).await;
    shop.buy().await;
    let lost = lose(&mut shop, async |shop| shop.buy().await).await;
    shop.config.service.name = "Another name".into();
    shop.start().await;
    shop.until("the payment is in the ledger", || async { ledger(&shop, &lost.hash).await.is_some() }).await;
}

/// There is no order whose place at the node would say where to begin, and no position to replay from.
async fn scenario_52_an_orphan_is_found_though_the_backup_knows_no_order_at_all(on: On) {
    let mut shop = Shop::open(on).await;
    let lost = lose(&mut shop, async |shop| shop.buy().await).await;
    shop.start().await;
    shop.until("the payment is in the ledger", || async { ledger(&shop, &lost.hash).await.is_some() }).await;
    assert_eq!(ledger(&shop, &lost.hash).await.unwrap().outcome, Outcome::Orphaned);
    adopt_payment(shop.app(), &a_month(&lost.hash)).await.unwrap();
    assert_eq!(shop.claim(json!({ "paymentHash": lost.hash })).await.status, 200);
}

/// It may even bear our name: a trial beside the real one.
async fn another_shop_s_payment_on_the_same_node_is_no_orphan_of_ours(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let mut invoice = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    assert!(invoice.memo.ends_with(&shop.stored(&order).await.id.to_string()));
    invoice.payment_hash = PaymentHash::from_bytes([7; 32]);
    apply_invoice(shop.app(), &invoice, None).await.unwrap();
    assert!(ledger(&shop, &invoice.payment_hash.to_string()).await.is_none());
}

async fn ledger(shop: &Shop, hash: &str) -> Option<Payment> {
    shop.app().store.payment(Provider::Lightning, hash).await.unwrap()
}

async fn events_of(shop: &Shop, subject: Subject<'_>) -> Vec<String> {
    let events = shop.app().store.events_of(subject).await.unwrap();
    events.into_iter().map(|event| event.event_type).collect()
}

fn named(hash: &str) -> PaymentName {
    PaymentName::PaymentHash(PaymentHash::parse(hash).unwrap())
}

fn eu_de() -> ServerId {
    ServerId::parse("eu-de").unwrap()
}

/// One month on eu-de.
fn a_month(hash: &str) -> Adoption {
    let bought = WasBought::New { server: eu_de(), public_key: None, claim_by: ClaimBy::PaymentHash };
    Adoption { payment: named(hash), months: 1, bought, amount: AmountCheck::Fits }
}

fn note(text: &str) -> Note {
    Note::parse(text).unwrap()
}

async fn scenario_52_an_adopted_orphan_is_the_order_that_it_was(on: On) {
    let (shop, lost) = with_orphan(on).await;
    let orphan = ledger(&shop, &lost.hash).await.unwrap();
    assert_eq!((orphan.outcome, orphan.order_id, orphan.is_open()), (Outcome::Orphaned, None, true));
    assert_eq!(shop.check(&lost.hash).await.status, 404);
    let held = shop.occupancy().await.held;

    let order = adopt_payment(shop.app(), &a_month(&lost.hash)).await.unwrap();

    assert_eq!(order.id.to_string(), lost.body["orderId"].as_str().unwrap());
    let adopted = ledger(&shop, &lost.hash).await.unwrap();
    assert_eq!((adopted.id, adopted.outcome, adopted.order_id), (orphan.id, Outcome::Applied, Some(order.id)));
    assert!(!adopted.is_open());
    assert_eq!(events_of(&shop, Subject::Payment(orphan.id)).await, ["payment.orphaned", "payment.adopted"]);
    assert_eq!(events_of(&shop, Subject::Order(order.id)).await, ["order.paid"]);
    assert_eq!((shop.occupancy().await.held, shop.occupancy().await.reserved), (held + 1, 0));
    let check = shop.check(&lost.hash).await;
    assert_eq!(check.body["status"], "paid");
    let end = orphan.evidence.settled_at.min(shop.clock.now()).plus_months(1).unwrap();
    assert_eq!(check.body["subscriptionEnd"], end.to_string(), "the months count from the payment");
    let claim = shop.claim(json!({ "paymentHash": lost.hash, "claimToken": lost.token })).await;
    assert_eq!(claim.status, 200, "the customer's own token fits: {}", claim.body);

    reconcile::catch_up(shop.app()).await.unwrap();
    let again = adopt_payment(shop.app(), &a_month(&lost.hash)).await;
    assert!(matches!(again, Err(Error::Conflict(why)) if why.contains(&order.id.to_string())));
    shop.assert_applied_once(&lost).await;
}

async fn scenario_52_an_orphan_is_adopted_once_by_whoever_is_first(on: On) {
    let (shop, lost) = with_orphan(on).await;
    let held = shop.occupancy().await.held;
    let adoption = a_month(&lost.hash);
    let adopted = join_all((0..6).map(|_| adopt_payment(shop.app(), &adoption))).await;
    assert_eq!(adopted.iter().filter(|adopted| adopted.is_ok()).count(), 1, "{adopted:?}");
    assert!(adopted.iter().filter_map(|adopted| adopted.as_ref().err()).all(|why| matches!(why, Error::Conflict(_))));
    assert_eq!(shop.occupancy().await.held, held + 1);
    shop.assert_applied_once(&lost).await;
}

async fn scenario_52_an_orphan_can_renew_a_subscription(on: On) {
    let (shop, lost) = with_orphan(on).await;
    let key = a_key();
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let before = shop.status(&key).await.body["expiry"].clone();
    let held = shop.occupancy().await.held;
    let bought = WasBought::Renewal { public_key: PublicKey::parse(&key).unwrap() };
    let order = adopt_payment(shop.app(), &Adoption { bought, ..a_month(&lost.hash) }).await.unwrap();
    assert!(matches!(order.kind, OrderKind::Renewal { .. }));
    let after = wiretoll::domain::time::Timestamp::parse(before.as_str().unwrap()).unwrap().plus_months(1).unwrap();
    assert_eq!(shop.status(&key).await.body["expiry"], after.to_string());
    assert_eq!(shop.occupancy().await.held, held);
    let claim = shop.claim(json!({ "paymentHash": lost.hash, "claimToken": lost.token })).await;
    assert_eq!(claim.status, 400, "whoever paid a renewal has no right to the config: {}", claim.body);
}

/// The database is empty: nothing says where in the node's invoices to look for what was lost.
async fn scenario_52_an_orphan_that_no_sweep_came_across_is_adopted_by_its_hash(on: On) {
    let mut shop = Shop::open(on).await;
    let lost = lose(&mut shop, async |shop| shop.buy().await).await;
    shop.start().await;
    let order = adopt_payment(shop.app(), &a_month(&lost.hash)).await.unwrap();
    let payment = ledger(&shop, &lost.hash).await.unwrap();
    assert_eq!(events_of(&shop, Subject::Payment(payment.id)).await, ["payment.orphaned", "payment.adopted"]);
    assert_eq!(payment.order_id, Some(order.id));
    shop.assert_applied_once(&lost).await;
}

async fn scenario_52_what_is_no_orphan_is_not_adopted(on: On) {
    let mut shop = Shop::open(on).await;
    let known = shop.buy().await;
    let unpaid = lose(&mut shop, async |shop| shop.order().await).await;
    shop.start().await;
    shop.node.inject(Fault::Backlog { settled: 1 }).await.unwrap();
    let invoices = shop.app().node.list_invoices(0, 10).await.unwrap().invoices;
    let somebody_elses = invoices.last().unwrap().payment_hash.to_string();
    for (hash, why) in [
        (known.hash.as_str(), "order"),
        (&unpaid.hash, "not settled"),
        (&somebody_elses, "names no order that was made with"),
        (&"00".repeat(32), "does not know"),
    ] {
        let refused = adopt_payment(shop.app(), &a_month(hash)).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    assert!(ledger(&shop, &unpaid.hash).await.is_none(), "nothing was paid");
    assert!(ledger(&shop, &somebody_elses).await.is_none(), "and this is not ours");
}

async fn scenario_52_months_that_do_not_fit_the_amount_are_refused(on: On) {
    let (shop, lost) = with_lost(on, json!({ "serverId": "eu-de", "duration": 3 })).await;
    let refused = adopt_payment(shop.app(), &a_month(&lost.hash)).await.unwrap_err().to_string();
    assert!(refused.contains("3 months") && refused.contains("--any-price"), "{refused}");
    let other = Adoption { months: 2, amount: AmountCheck::Any, ..a_month(&lost.hash) };
    let refused = adopt_payment(shop.app(), &other).await.unwrap_err().to_string();
    assert!(refused.contains("1, 3 months"), "{refused}");
    assert!(ledger(&shop, &lost.hash).await.unwrap().is_open());
    let any = Adoption { amount: AmountCheck::Any, ..a_month(&lost.hash) };
    assert_eq!(adopt_payment(shop.app(), &any).await.unwrap().kind.months(), Some(1));
}

async fn scenario_52_a_sold_out_server_leaves_the_orphan_as_it_is(on: On) {
    let mut shop = Shop::open_with(on, one_slot).await;
    shop.buy_with(json!({ "serverId": "us-east", "duration": 1 })).await;
    let lost = lose(&mut shop, async |shop| shop.buy().await).await;
    shop.start().await;
    shop.buy().await; // the only slot
    let refused = adopt_payment(shop.app(), &a_month(&lost.hash)).await;
    assert!(matches!(refused, Err(Error::Unavailable(Unavailable::SoldOut(_)))), "{refused:?}");
    assert!(shop.app().store.order_by_payment_hash(lost.payment_hash()).await.unwrap().is_none());
    assert!(ledger(&shop, &lost.hash).await.unwrap().is_open());
    assert_eq!((shop.occupancy().await.held, shop.occupancy().await.reserved), (1, 0));
}

async fn scenario_52_a_resolved_orphan_is_not_adopted(on: On) {
    let (shop, lost) = with_orphan(on).await;
    resolve_payment(shop.app(), named(&lost.hash), &note("refunded by hand")).await.unwrap();
    let refused = adopt_payment(shop.app(), &a_month(&lost.hash)).await.unwrap_err().to_string();
    assert!(refused.contains("resolved") && refused.contains("refunded by hand"), "{refused}");
    assert_eq!(shop.check(&lost.hash).await.status, 404);
}

/// One slot: the first order expires, the second takes the slot, and the first is paid after all.
async fn a_refund_due(on: On) -> (Shop, Bought) {
    let shop = Shop::open_with(on, one_slot).await;
    let late = shop.order().await;
    shop.node.backup("before");
    shop.advance(Duration::from_mins(16)).await;
    shop.until("it is expired", || async { matches!(shop.stored(&late).await.state, OrderState::Expired { .. }) })
        .await;
    shop.buy().await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.node.restore("before").await.unwrap();
    shop.pay(&late.invoice).await;
    shop.until_paid(&late.hash).await;
    (shop, late)
}

async fn a_refund_that_is_due_waits_until_it_is_resolved_and_a_repeat_changes_nothing(on: On) {
    let (shop, late) = a_refund_due(on).await;
    let open = PaymentFilter { open_only: true, at_most: 10, ..<_>::default() };
    let [waiting] = shop.app().store.payments(&open).await.unwrap().try_into().unwrap();
    assert_eq!((waiting.outcome, waiting.evidence.external_id.as_str()), (Outcome::RefundDue, late.hash.as_str()));

    let name = PaymentName::Id(waiting.id);
    let first = note("refunded by hand");
    let at_once = join_all((0..4).map(|_| resolve_payment(shop.app(), name, &first))).await;
    let now = at_once.iter().filter(|resolved| matches!(resolved, Ok(Resolved::Now(_)))).count();
    let before = at_once.iter().filter(|resolved| matches!(resolved, Ok(Resolved::Before(_)))).count();
    assert_eq!((now, before), (1, 3), "{at_once:?}");
    shop.advance(Duration::from_hours(1)).await;
    let Resolved::Before(payment) = resolve_payment(shop.app(), name, &note("twice")).await.unwrap() else {
        panic!("it was resolved before");
    };
    assert_eq!(payment.resolution.as_ref().unwrap().note, first);
    assert_eq!(payment.outcome, Outcome::RefundDue, "what happened stays what happened");
    assert_eq!(events_of(&shop, Subject::Payment(waiting.id)).await, ["payment.resolved"]);
    assert!(shop.app().store.payments(&open).await.unwrap().is_empty());
}

async fn scenario_16_an_excess_waits_for_the_operator_and_is_told_of(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let more = PaymentOrder { amount_msat: Some(4_500_001), ..PaymentOrder::of(order.invoice.clone()) };
    shop.node.pay(more).await.unwrap();
    shop.until_paid(&order.hash).await;
    let payment = ledger(&shop, &order.hash).await.unwrap();
    assert_eq!((payment.outcome, payment.excess.get(), payment.is_open()), (Outcome::Applied, 1, true));
    assert_eq!(events_of(&shop, Subject::Payment(payment.id)).await, ["payment.excess"]);
    resolve_payment(shop.app(), named(&order.hash), &note("kept, as agreed")).await.unwrap();
    assert!(!ledger(&shop, &order.hash).await.unwrap().is_open());
    assert_eq!(shop.check(&order.hash).await.body["status"], "paid");
}

/// LND never settles less; this is what becomes of it if one ever does.
async fn less_than_the_price_buys_nothing_and_waits_for_the_operator(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    let (paid, order) = (shop.buy().await, shop.order().await);
    let held = shop.occupancy().await.held;
    let invoice = shop.app().node.lookup_invoice(paid.payment_hash()).await.unwrap().unwrap();
    let InvoiceState::Settled(settlement) = invoice.state else { panic!("it is not settled") };
    let state = InvoiceState::Settled(Settlement { amount: Msats::new(4_499_999), ..settlement });
    let less = NodeInvoice { payment_hash: order.payment_hash(), state, ..invoice };

    apply_invoice(shop.app(), &less, None).await.unwrap();

    let payment = ledger(&shop, &order.hash).await.unwrap();
    assert_eq!((payment.outcome, payment.excess.get(), payment.is_open()), (Outcome::Underpaid, 0, true));
    assert!(matches!(shop.stored(&order).await.state, OrderState::Expired { .. }));
    assert_eq!((shop.occupancy().await.held, shop.occupancy().await.reserved), (held, 0), "its slot is free again");
    let events = events_of(&shop, Subject::Order(shop.stored(&order).await.id)).await;
    assert_eq!(events, ["order.created", "payment.underpaid"]);
    assert_eq!(shop.check(&order.hash).await.body["status"], "unpaid");
    assert_ne!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 200);
    let told = Page::of(&shop).await;
    assert!(
        (told.value("wiretoll_payments_total{provider=\"lightning\",outcome=\"underpaid\"}") - 1.0).abs()
            < f64::EPSILON
    );
    assert!((told.value("wiretoll_paid_not_claimable{reason=\"underpaid\"}") - 1.0).abs() < f64::EPSILON);

    resolve_payment(shop.app(), named(&order.hash), &note("refunded by hand")).await.unwrap();
    assert!(!ledger(&shop, &order.hash).await.unwrap().is_open());
}

async fn a_payment_that_waits_for_nobody_cannot_be_resolved(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let refused = resolve_payment(shop.app(), named(&order.hash), &note("done")).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let unknown = resolve_payment(shop.app(), named(&"00".repeat(32)), &note("done")).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    assert_eq!(ledger(&shop, &order.hash).await.unwrap().resolution, None);
}

async fn payments_are_listed_in_pages_with_what_waits_first(on: On) {
    let shop = Shop::open(on).await;
    let mut hashes = Vec::new();
    // The second and fourth are paid with more than the price; ids grow with the clock.
    for more in [0, 1, 0, 1, 0] {
        shop.advance(Duration::from_secs(1)).await;
        let order = shop.order().await;
        let amount_msat = Some(4_500_000 + more);
        shop.node.pay(PaymentOrder { amount_msat, ..PaymentOrder::of(order.invoice.clone()) }).await.unwrap();
        shop.until_paid(&order.hash).await;
        hashes.push(order.hash);
    }
    let expected: Vec<_> = [3, 1, 4, 2, 0].map(|n| hashes[n].clone()).into();
    for at_most in [1, 2, 3, 5, 10] {
        assert_eq!(pages(&shop, PaymentFilter { at_most, ..<_>::default() }).await, expected, "pages of {at_most}");
    }
    assert_eq!(pages(&shop, PaymentFilter { open_only: true, at_most: 1, ..<_>::default() }).await, expected[..2]);
    let applied = PaymentFilter { outcome: Some(Outcome::Applied), at_most: 10, ..<_>::default() };
    assert_eq!(pages(&shop, applied).await, expected);
    let orphaned = PaymentFilter { outcome: Some(Outcome::Orphaned), at_most: 10, ..<_>::default() };
    assert!(pages(&shop, orphaned).await.is_empty());
}

/// All pages, by payment hash.
async fn pages(shop: &Shop, mut filter: PaymentFilter) -> Vec<String> {
    let mut hashes = Vec::new();
    loop {
        let page = shop.app().store.payments(&filter).await.unwrap();
        assert!(page.len() <= filter.at_most as usize);
        let Some(last) = page.last() else { return hashes };
        filter.after = Some(last.id);
        hashes.extend(page.into_iter().map(|payment| payment.evidence.external_id));
    }
}

async fn orders_are_listed_in_pages_the_newest_first(on: On) {
    let shop = Shop::open(on).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        shop.advance(Duration::from_secs(1)).await;
        made.push(shop.stored(&shop.order().await).await);
    }
    let ids = |indices: &[usize]| indices.iter().map(|n| made[*n].id).collect::<Vec<_>>();
    let list = async |filter: OrderFilter| {
        let orders = shop.app().store.orders(&filter).await.unwrap();
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    let first = OrderFilter { at_most: 3, ..<_>::default() };
    assert_eq!(list(first.clone()).await, ids(&[3, 2, 1]));
    assert_eq!(list(OrderFilter { before: Some(made[1].id), ..first.clone() }).await, ids(&[0]));
    assert_eq!(list(OrderFilter { since: Some(made[2].created_at), ..first.clone() }).await, ids(&[3, 2]));
    assert_eq!(list(OrderFilter { state: Some("pending".into()), ..first.clone() }).await, ids(&[3, 2, 1]));
    assert!(list(OrderFilter { state: Some("paid".into()), ..first }).await.is_empty());
}
