//! A settlement and the position in the node's settlements move together or not at all, whoever brings the news and
//! whatever the database does meanwhile.

use std::time::Duration;

use futures_util::future::{join, join_all};
use wiretoll::app::apply_invoice::{apply_invoice, apply_settled};
use wiretoll::app::close_orders::close;
use wiretoll::app::reconcile;
use wiretoll::app::settle::Progress;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::payment::Provider;
use wiretoll::domain::settle_progress::Position;
use wiretoll::lnd::{InvoiceState, Settled};
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};

use crate::database::{allow, connect, refuse, run};
use crate::ledger::lose;
use crate::on_both_databases;
use crate::shop::{Bought, On, Shop, postgres_url};

on_both_databases!(
    scenario_05_a_position_is_never_ahead_of_its_effect,
    scenario_05_an_effect_never_stands_without_its_position,
    scenario_06_a_position_does_not_pass_a_settlement_that_failed,
    scenario_06_a_settlement_that_failed_is_replayed_after_a_restart,
    scenario_06_an_order_that_fails_in_every_sweep_holds_up_no_other_settlement,
    scenario_09_an_event_without_its_amount_is_looked_up,
    scenario_14_an_order_closed_while_it_is_paid_has_one_outcome,
    scenario_16_an_invoice_paid_many_times_is_one_entitlement,
    scenario_27_news_of_one_payment_from_everywhere_at_once_is_applied_once,
    scenario_48_a_database_that_is_locked_is_waited_for,
    scenario_48_a_database_that_is_full_is_tried_again,
);

fn is_of(order: &Bought) -> String {
    format!("NEW.external_id = '{}'", order.hash)
}

/// The event of a payment, with the position that it would move to.
async fn event(shop: &Shop, order: &Bought) -> (Settled, Option<Progress<'static>>) {
    let invoice = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    let InvoiceState::Settled(settlement) = invoice.state else { panic!("it is not settled") };
    let (payment_hash, settle_index) = (order.payment_hash(), settlement.settle_index);
    let position = Position { settle_index, payment_hash, previous_index: settle_index - 1 };
    let node = shop.app().health.identity().unwrap();
    (Settled::Paid { invoice, settle_index }, Some(Progress::Node { node, position }))
}

/// Waits until the service has asked the node about open orders so many times more.
async fn until_looked_up(shop: &Shop, times: u64) {
    let before = shop.node.calls(Method::LookupInvoice);
    shop.until("it was tried again", || async { shop.node.calls(Method::LookupInvoice) >= before + times }).await;
}

async fn scenario_05_a_position_is_never_ahead_of_its_effect(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.rest().await;
    refuse(&shop, "payments", &is_of(&order)).await;
    shop.pay(&order.invoice).await;
    let (settled, progress) = event(&shop, &order).await;
    assert!(apply_settled(shop.app(), &settled, progress).await.is_err());
    assert_eq!((shop.is_paid(&order).await, shop.position().await), (false, None));
    assert_eq!((shop.occupancy().await.held, shop.occupancy().await.reserved), (0, 1));
    allow(&shop, "payments").await;
    apply_settled(shop.app(), &settled, progress).await.unwrap();
    shop.assert_applied_once(&order).await;
}

async fn scenario_05_an_effect_never_stands_without_its_position(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order().await;
    shop.rest().await;
    refuse(&shop, "settlement_cursor", "NEW.settle_index = 1").await;
    shop.pay(&order.invoice).await;
    let (settled, progress) = event(&shop, &order).await;
    assert!(apply_settled(shop.app(), &settled, progress).await.is_err());
    assert_eq!((shop.is_paid(&order).await, shop.position().await), (false, None));
    assert!(shop.app().store.payments_of(shop.stored(&order).await.id).await.unwrap().is_empty());
    allow(&shop, "settlement_cursor").await;
    apply_settled(shop.app(), &settled, progress).await.unwrap();
    let Some(Progress::Node { position, .. }) = progress else { panic!("no position") };
    assert_eq!(shop.position().await, Some(position));
    shop.assert_applied_once(&order).await;
}

/// Both are paid, and the first cannot be entered.
async fn a_failed_settlement_and_a_later_one(shop: &Shop) -> [Bought; 2] {
    shop.buy().await;
    shop.until_position(1).await;
    let (first, second) = (shop.order().await, shop.order().await);
    refuse(shop, "payments", &is_of(&first)).await;
    shop.pay(&first.invoice).await;
    shop.pay(&second.invoice).await;
    shop.until("the later one is applied", || shop.is_paid(&second)).await;
    [first, second]
}

async fn scenario_06_a_position_does_not_pass_a_settlement_that_failed(on: On) {
    let shop = Shop::open(on).await;
    let [first, second] = a_failed_settlement_and_a_later_one(&shop).await;
    until_looked_up(&shop, 2).await;
    assert!(!shop.is_paid(&first).await);
    assert_eq!(shop.position().await.unwrap().settle_index, 1);
    allow(&shop, "payments").await;
    shop.until("the earlier one is applied", || shop.is_paid(&first)).await;
    shop.until_position(3).await;
    shop.assert_applied_once(&first).await;
    shop.assert_applied_once(&second).await;
}

async fn scenario_06_a_settlement_that_failed_is_replayed_after_a_restart(on: On) {
    let mut shop = Shop::open(on).await;
    let [first, second] = a_failed_settlement_and_a_later_one(&shop).await;
    shop.stop().await;
    allow(&shop, "payments").await;
    shop.start().await;
    shop.until_position(3).await;
    shop.assert_applied_once(&first).await;
    shop.assert_applied_once(&second).await;
}

/// The other one is an orphan, which no sweep of the open orders comes across.
async fn scenario_06_an_order_that_fails_in_every_sweep_holds_up_no_other_settlement(on: On) {
    let mut shop = Shop::open(on).await;
    shop.buy().await;
    let lost = lose(&mut shop, async |shop| shop.order().await).await;
    let listed = shop.node.calls(Method::ListInvoices);
    shop.start().await;
    // The sweep after a start looks further than the others; a purchase gives it time to end.
    shop.until("the first sweep", || async { shop.node.calls(Method::ListInvoices) > listed }).await;
    shop.buy().await;
    let broken = shop.order().await;
    let id = shop.stored(&broken).await.id;
    refuse(&shop, "subscriptions", &format!("NEW.founded_by = '{id}'")).await;
    refuse(&shop, "payments", "NEW.outcome = 'orphaned'").await;
    shop.pay(&lost.invoice).await;
    shop.pay(&broken.invoice).await;
    until_looked_up(&shop, 3).await;
    allow(&shop, "payments").await;
    shop.until("the orphan is in the ledger", || async { is_known(&shop, &lost).await }).await;
    assert!(!shop.is_paid(&broken).await);
    allow(&shop, "subscriptions").await;
    shop.until("so is the other", || shop.is_paid(&broken)).await;
}

async fn is_known(shop: &Shop, order: &Bought) -> bool {
    shop.app().store.payment(Provider::Lightning, &order.hash).await.unwrap().is_some()
}

async fn scenario_09_an_event_without_its_amount_is_looked_up(on: On) {
    let shop = Shop::open(on).await;
    let (paid, unpaid) = (shop.order().await, shop.order().await);
    shop.node.inject(Fault::LoseEvent { nth: 1 }).await.unwrap();
    shop.pay(&paid.invoice).await;
    for (order, settle_index) in [(&paid, 1), (&unpaid, 2)] {
        let event = Settled::Incomplete { payment_hash: order.payment_hash(), settle_index };
        apply_settled(shop.app(), &event, None).await.unwrap();
    }
    shop.assert_applied_once(&paid).await;
    assert!(!shop.is_paid(&unpaid).await, "an event without an amount is no evidence");
}

/// The node's mutex decides who was first; whatever it says, the order ends as the payment did.
async fn scenario_14_an_order_closed_while_it_is_paid_has_one_outcome(on: On) {
    let shop = Shop::open(on).await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    let orders = join_all((0..24).map(|_| shop.order())).await;
    shop.advance(Duration::from_mins(16)).await;
    let race = async |number: usize, order: &Bought| {
        let stored = shop.stored(order).await;
        let pay = async {
            // From "paid first" to "closed first".
            tokio::time::sleep(Duration::from_micros(150 * u64::try_from(number).unwrap())).await;
            shop.node.pay(PaymentOrder::of(order.invoice.as_str())).await.unwrap()
        };
        let (paid, closed) = join(pay, close(shop.app(), &stored)).await;
        closed.unwrap();
        paid
    };
    let outcomes = join_all(orders.iter().enumerate().map(|(number, order)| race(number, order))).await;
    let mut held = 0;
    for (order, outcome) in orders.iter().zip(&outcomes) {
        let settled = matches!(outcome, PaymentOutcome::Settled { .. });
        shop.until("the order is closed", || async {
            !matches!(shop.stored(order).await.state, OrderState::Pending(_))
        })
        .await;
        let stored = shop.stored(order).await;
        assert_eq!(stored.is_paid(), settled, "{outcome:?}, {:?}", stored.state);
        let payments = shop.app().store.payments_of(stored.id).await.unwrap();
        assert_eq!(payments.len(), usize::from(settled));
        held += i64::from(settled);
    }
    let counts = shop.occupancy().await;
    assert_eq!((counts.held, counts.reserved), (held, 0));
}

async fn scenario_16_an_invoice_paid_many_times_is_one_entitlement(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let pay = || shop.node.pay(PaymentOrder::of(order.invoice.as_str()));
    let outcomes = join_all((0..6).map(|_| pay())).await;
    let settled = |outcome: &&Result<PaymentOutcome, _>| matches!(outcome, Ok(PaymentOutcome::Settled { .. }));
    assert_eq!(outcomes.iter().filter(settled).count(), 1, "{outcomes:?}");
    shop.until_paid(&order.hash).await;
    assert!(matches!(pay().await.unwrap(), PaymentOutcome::AlreadySettled { .. }));
    reconcile::catch_up(shop.app()).await.unwrap();
    shop.assert_applied_once(&order).await;
}

async fn scenario_27_news_of_one_payment_from_everywhere_at_once_is_applied_once(on: On) {
    let shop = Shop::open(on).await;
    for _ in 0..6 {
        let order = shop.order().await;
        shop.node.inject(Fault::DuplicateEvents { count: 1 }).await.unwrap();
        shop.pay(&order.invoice).await;
        let invoice = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
        // And the stream, by itself.
        let (swept, caught_up, by_hand, checked) = tokio::join!(
            reconcile::sweep(shop.app()),
            reconcile::catch_up(shop.app()),
            apply_invoice(shop.app(), &invoice, None),
            shop.check(&order.hash),
        );
        assert_eq!((swept.unwrap(), caught_up.unwrap(), by_hand.is_ok(), checked.status), (0, 0, true, 200));
        shop.assert_applied_once(&order).await;
    }
    shop.until_position(6).await;
    assert_eq!((shop.occupancy().await.held, shop.occupancy().await.reserved), (6, 0));
}

async fn scenario_48_a_database_that_is_locked_is_waited_for(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    shop.until_position(1).await;
    let order = shop.order().await;
    let mut somebody = connect(&shop).await;
    let lock = match on {
        On::Sqlite => "BEGIN IMMEDIATE".to_owned(),
        On::Postgres => format!("BEGIN; UPDATE orders SET revision = revision WHERE payment_hash = '{}'", order.hash),
    };
    run(&mut somebody, &lock).await;
    shop.pay(&order.invoice).await;
    until_it_waits(&shop).await;
    assert!(!shop.is_paid(&order).await);
    assert_eq!(shop.position().await.unwrap().settle_index, 1);
    run(&mut somebody, "ROLLBACK").await;
    shop.until("the payment is applied", || shop.is_paid(&order)).await;
    shop.until_position(2).await;
    shop.assert_applied_once(&order).await;
}

/// Long enough for an event to arrive and to meet the lock.
async fn until_it_waits(shop: &Shop) {
    let swept = tokio::time::timeout(Duration::from_millis(400), reconcile::sweep(shop.app())).await;
    assert!(swept.is_err(), "the sweep waits for the lock, too: {swept:?}");
}

async fn scenario_48_a_database_that_is_full_is_tried_again(on: On) {
    let shop = Shop::open(on).await;
    shop.buy().await;
    shop.until_position(1).await;
    let order = shop.order().await;
    refuse(&shop, "events", "1 = 1").await;
    shop.pay(&order.invoice).await;
    until_looked_up(&shop, 2).await;
    assert!(!shop.is_paid(&order).await);
    assert_eq!(shop.position().await.unwrap().settle_index, 1);
    allow(&shop, "events").await;
    shop.until("the payment is applied", || shop.is_paid(&order)).await;
    // What failed as an event is passed over once it is applied; the next one moves the position.
    shop.buy().await;
    shop.until_position(3).await;
    shop.assert_applied_once(&order).await;
}

/// On SQLite a writer holds up every other one; on Postgres one row must not.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_48_one_locked_row_does_not_hold_up_the_others() {
    if postgres_url().is_none() {
        return;
    }
    let shop = Shop::open(On::Postgres).await;
    let locked = shop.order().await;
    // A sweep asks about four orders at a time, so it does not come to the sixth while the first waits.
    join_all((0..4).map(|_| shop.order())).await;
    let mut somebody = connect(&shop).await;
    let lock = format!("BEGIN; UPDATE orders SET revision = revision WHERE payment_hash = '{}'", locked.hash);
    run(&mut somebody, &lock).await;
    shop.pay(&locked.invoice).await;
    until_it_waits(&shop).await;
    let other = shop.order().await;
    shop.pay(&other.invoice).await;
    let waited = async {
        while !shop.is_paid(&other).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // The locked one is tried twice at most before the other one has its turn.
    tokio::time::timeout(Duration::from_mins(1), waited).await.expect("the other one is applied");
    assert_eq!((shop.is_paid(&locked).await, shop.position().await), (false, None));
    run(&mut somebody, "ROLLBACK").await;
    shop.until("the locked one is applied", || shop.is_paid(&locked)).await;
    shop.assert_applied_once(&locked).await;
}
