//! Settlement: one transaction turns a payment into what was bought.
//!
//! The order becomes paid by compare-and-set; subscription, grant, key, event and cursor commit with it or not at all.
//! Stream, replay, sweep and polls all end here, so doing it twice changes nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::credit_referral::{credit, give_banked, lock_referrer};
use super::deliver::{Delivered, deliver};
use super::{App, Error};
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::lightning::{NodeId, PaymentHash};
use crate::domain::money::Amount;
use crate::domain::order::{Order, OrderState, Rail};
use crate::domain::payment::{Evidence, Outcome, Payment, Provider};
use crate::domain::settle_progress::Position;
use crate::domain::time::Timestamp;
use crate::lnd::Settlement;
use crate::store::Tx;

/// What of its source is applied with a settlement, and is stored with it.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// How far the node's settlements are.
    Node { node: NodeId, position: Position },
    /// The id of an event of Stripe's.
    StripeEvent(&'a str),
}

/// What a settlement changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Now(Outcome),
    Before,
}

/// What the node says of a settled invoice.
pub fn evidence(payment_hash: PaymentHash, settlement: &Settlement) -> Evidence {
    Evidence {
        provider: Provider::Lightning,
        external_id: payment_hash.to_string(),
        amount: Amount::Msats(settlement.amount),
        settled_at: settlement.settled_at,
    }
}

/// Applies a payment to its order.
///
/// The order must have its invoice (`adopt_invoice` gives one to an order that crashed before it was stored).
pub async fn settle(
    app: &App,
    order: Uuid,
    evidence: &Evidence,
    progress: Option<Progress<'_>>,
) -> Result<Settled, Error> {
    // A second attempt sees whoever was faster, so that a third is never needed.
    for _ in 0..3 {
        if let Some(settled) = attempt(app, order, evidence, progress).await? {
            return Ok(settled);
        }
    }
    Err(Error::Broken(Invalid::new("a settlement was outrun three times")))
}

/// One transaction; None when it was outrun and rolled back.
async fn attempt(
    app: &App,
    order: Uuid,
    evidence: &Evidence,
    progress: Option<Progress<'_>>,
) -> Result<Option<Settled>, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let order = tx.lock_order(order).await?.ok_or(Error::NotFound("no such order"))?;
    let Some(settled) = apply(app, &mut tx, &order, evidence, now).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    advance(&mut tx, progress, now).await?;
    crash_point!("settle.before_commit");
    tx.commit().await?;
    crash_point!("settle.committed");
    if let Settled::Now(outcome) = settled {
        count(app, &order, evidence, outcome, now);
        let payment_hash = order.payment_hash_prefix();
        tracing::info!(order.id = %order.id, payment_hash, outcome = outcome.name(), "a payment settled");
        app.changes.announce(&order.id);
        app.server_changes.announce(&order.server_id);
    }
    Ok(Some(settled))
}

fn count(app: &App, order: &Order, evidence: &Evidence, outcome: Outcome, now: Timestamp) {
    count_payment(app, evidence, outcome, excess(order, evidence), now);
    match outcome {
        Outcome::Mismatched if order.is_paid() => {}
        Outcome::Underpaid | Outcome::Mismatched => app.metrics.order("expired"),
        Outcome::RefundDue if matches!(order.state, OrderState::Failed { .. }) => {}
        _ => app.metrics.order("paid"),
    }
}

/// What was paid beyond the price; nothing where it is less, and of a card's, which is the price or buys nothing.
fn excess(order: &Order, evidence: &Evidence) -> Amount {
    if matches!(order.rail, Rail::Card { .. }) {
        return evidence.amount.nothing();
    }
    evidence.amount.excess_over(order.price()).unwrap_or_else(|| evidence.amount.nothing())
}

/// A card's payment has no lag: when it was made is known only roughly where Stripe had to be asked.
fn count_payment(app: &App, evidence: &Evidence, outcome: Outcome, excess: Amount, now: Timestamp) {
    app.metrics.payment(evidence.provider, outcome, excess);
    if evidence.provider == Provider::Lightning {
        // The node's clock may be ahead of ours.
        let lag = u64::try_from(now.since(evidence.settled_at)).unwrap_or(0);
        app.metrics.settle_lag(Duration::from_millis(lag));
    }
}

/// Moves the cursor over a settlement that is nobody's order here.
pub async fn pass_over(app: &App, progress: Option<Progress<'_>>) -> Result<(), Error> {
    if progress.is_none() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    advance(&mut tx, progress, app.clock.now()).await?;
    crash_point!("pass_over.before_commit");
    tx.commit().await?;
    crash_point!("pass_over.committed");
    Ok(())
}

/// Keeps a payment whose order this database does not know, but whose memo is ours: the backup was restored.
pub async fn record_orphan(
    app: &App,
    evidence: &Evidence,
    named: Uuid,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let nothing = evidence.amount.nothing();
    let payment = payment(app, None, evidence, nothing, Outcome::Orphaned, now);
    let is_new = tx.insert_payment(&payment).await?;
    if is_new {
        let data = json!({ "orderId": named, in_unit("amount", evidence.amount): evidence.amount.get() });
        tx.record(app.new_id(), EventType::PaymentOrphaned, Subject::Payment(payment.id), &data, now).await?;
        tracing::error!(order.id = %named, payment.id = %payment.id, "a payment names an order that is not in this database");
    }
    advance(&mut tx, progress, now).await?;
    crash_point!("record_orphan.before_commit");
    tx.commit().await?;
    crash_point!("record_orphan.committed");
    if is_new {
        count_payment(app, evidence, Outcome::Orphaned, nothing, now);
    }
    Ok(())
}

/// Keeps a payment that is of the other mode of Stripe than this shop, or of another page than its order's; the order
/// stays as it is.
pub async fn record_mismatch(
    app: &App,
    order: &Order,
    evidence: &Evidence,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let payment = payment(app, Some(order.id), evidence, evidence.amount.nothing(), Outcome::Mismatched, now);
    let is_new = tx.insert_payment(&payment).await?;
    if is_new {
        let data = json!({ "orderId": order.id, in_unit("amount", evidence.amount): evidence.amount.get() });
        tx.record(app.new_id(), EventType::PaymentMismatched, Subject::Payment(payment.id), &data, now).await?;
    }
    advance(&mut tx, progress, now).await?;
    crash_point!("record_mismatch.before_commit");
    tx.commit().await?;
    crash_point!("record_mismatch.committed");
    if is_new {
        count_payment(app, evidence, Outcome::Mismatched, payment.excess, now);
    }
    Ok(())
}

/// Stores the progress in the transaction of what it stands for.
pub async fn advance(tx: &mut Tx, progress: Option<Progress<'_>>, now: Timestamp) -> Result<(), Error> {
    match progress {
        Some(Progress::Node { node, position }) => tx.advance_cursor(node, &position, now).await?,
        Some(Progress::StripeEvent(id)) => {
            tx.remember_stripe_event(id, now).await?;
        }
        None => {}
    }
    Ok(())
}

/// None when it was outrun.
async fn apply(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<Option<Settled>, Error> {
    if tx.has_payment(evidence).await? {
        return Ok(Some(Settled::Before));
    }
    let outcome = match refusal(order, evidence) {
        Some(refused) => Some(refuse(tx, order, refused, now).await?),
        None => pay(app, tx, order, evidence, now).await?,
    };
    let Some(outcome) = outcome else { return Ok(None) };
    let excess = excess(order, evidence);
    let payment = payment(app, Some(order.id), evidence, excess, outcome, now);
    if !tx.insert_payment(&payment).await? {
        return Ok(None);
    }
    let data = Value::Object(paid_facts(order, evidence.amount, excess));
    tx.record(app.new_id(), event_of(outcome), Subject::Order(order.id), &data, now).await?;
    record_excess(app, tx, payment.id, order.id, excess, now).await?;
    Ok(Some(Settled::Now(outcome)))
}

/// What an event tells of an order's payment.
pub fn paid_facts(order: &Order, amount: Amount, excess: Amount) -> Map<String, Value> {
    let facts = match order.payment_hash() {
        Some(hash) => vec![("paymentHash", json!(hash.to_string()))],
        None => Vec::new(),
    };
    let amounts = [(in_unit("amount", amount), json!(amount.get())), (in_unit("excess", excess), json!(excess.get()))];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(amounts).collect()
}

/// The name of a field that holds an amount, such as `amountMsat`.
pub fn in_unit(name: &str, amount: Amount) -> String {
    let unit = match amount {
        Amount::Msats(_) => "Msat",
        Amount::UsdCents(_) => "Cents",
        Amount::Foreign(..) => "Foreign",
    };
    format!("{name}{unit}")
}

/// Tells of an excess, if there is one.
pub async fn record_excess(
    app: &App,
    tx: &mut Tx,
    payment: Uuid,
    order: Uuid,
    excess: Amount,
    now: Timestamp,
) -> Result<(), Error> {
    if excess.get() > 0 {
        let data = json!({ "orderId": order, in_unit("excess", excess): excess.get() });
        tx.record(app.new_id(), EventType::PaymentExcess, Subject::Payment(payment), &data, now).await?;
    }
    Ok(())
}

/// Why a payment buys nothing: its order is paid already, or it is not the price. A node may bring more than that; a page
/// at Stripe asks for exactly it.
fn refusal(order: &Order, evidence: &Evidence) -> Option<Outcome> {
    if order.is_paid() {
        return Some(Outcome::Mismatched);
    }
    match (evidence.amount.excess_over(order.price()), &order.rail) {
        (None, Rail::Lightning { .. }) => Some(Outcome::Underpaid),
        (Some(excess), Rail::Card { .. }) if excess.get() == 0 => None,
        (_, Rail::Card { .. }) => Some(Outcome::Mismatched),
        (Some(_), Rail::Lightning { .. }) => None,
    }
}

/// A second payment, or not the price, which neither LND nor Stripe settles: recorded for the operator, and an order that
/// is not paid is over.
async fn refuse(tx: &mut Tx, order: &Order, refused: Outcome, now: Timestamp) -> Result<Outcome, Error> {
    if tx.mark_expired(order.id, now).await? {
        tx.release_reservation(order.id, now).await?;
    }
    tracing::error!(order.id = %order.id, outcome = refused.name(), "a payment does not fit its order");
    Ok(refused)
}

/// Delivers, and marks the order paid with what was delivered; None when it was outrun.
pub async fn pay(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<Option<Outcome>, Error> {
    match order.state {
        OrderState::Creating => return Err(Error::Broken(Invalid::new("a payment for an order without an invoice"))),
        // The node said that this invoice was dead, and it was paid all the same.
        OrderState::Failed { .. } => return Ok(Some(Outcome::RefundDue)),
        OrderState::Pending(_) | OrderState::Paid { .. } | OrderState::Expired { .. } => {}
    }
    // The node's time, but neither before the order nor in our future: its clock may be wrong.
    let granted_at = evidence.settled_at.max(order.created_at).min(now);
    let referrer = lock_referrer(app, tx, order, now).await?;
    let (subscription, outcome) = match deliver(app, tx, order, granted_at, now).await? {
        Delivered::Outrun => return Ok(None),
        Delivered::Subscription(id) if is_late(order, evidence) => (Some(id), Outcome::AppliedLate),
        Delivered::Subscription(id) => (Some(id), Outcome::Applied),
        Delivered::Nothing => (None, Outcome::RefundDue),
    };
    if let Some(subscription) = subscription {
        if order.kind.months().is_some() {
            give_banked(app, tx, subscription, granted_at, now).await?;
        }
        if let Some(referrer) = referrer {
            credit(app, tx, order, referrer, (granted_at, now)).await?;
        }
    }
    let marked = tx.mark_paid(order.id, subscription, evidence.settled_at, now).await?;
    Ok(marked.then_some(outcome))
}

pub fn is_late(order: &Order, evidence: &Evidence) -> bool {
    order.invoice().is_some_and(|invoice| evidence.settled_at > invoice.expires_at)
}

fn payment(
    app: &App,
    order_id: Option<Uuid>,
    evidence: &Evidence,
    excess: Amount,
    outcome: Outcome,
    recorded_at: Timestamp,
) -> Payment {
    let (id, evidence) = (app.new_id(), evidence.clone());
    let refunded = evidence.amount.nothing();
    Payment { id, order_id, evidence, excess, refunded, outcome, recorded_at, resolution: None }
}

pub const fn event_of(outcome: Outcome) -> EventType {
    match outcome {
        Outcome::Applied => EventType::OrderPaid,
        Outcome::AppliedLate => EventType::OrderPaidLate,
        Outcome::RefundDue => EventType::OrderRefundDue,
        Outcome::Orphaned => EventType::PaymentOrphaned,
        Outcome::Underpaid => EventType::PaymentUnderpaid,
        Outcome::Mismatched => EventType::PaymentMismatched,
        Outcome::Disputed => EventType::PaymentDisputed,
        Outcome::Refunded => EventType::PaymentRefunded,
        Outcome::ChargedBack => EventType::PaymentDisputeLost,
    }
}
