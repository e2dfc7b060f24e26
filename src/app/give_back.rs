//! Money that goes back after it arrived: by a refund, or because the cardholder's bank asks for it.
//!
//! Stripe says so in events that may come twice, late or in any order: what was given back only grows, a refund and a
//! lost dispute are final, and a dispute that was closed is never opened again.

use serde_json::{Value, json};
use uuid::Uuid;

use super::apply_session::{apply_session, paid_by};
use super::revoke_grants::{recount_grants, revoke_grants};
use super::settle::{Progress, advance, is_late, pass_over};
use super::{App, Error, Unavailable};
use crate::crash::crash_point;
use crate::domain::event::{EventType, Subject};
use crate::domain::order::Order;
use crate::domain::payment::{Outcome, Payment, Provider};
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;
use crate::store::{DisputeEnd, Tx};
use crate::stripe::{Charge, Dispute, DisputeStatus};

/// What a change of a payment is told as.
struct Told {
    event: EventType,
    data: Value,
    /// Subscriptions on these ended sooner or later than before.
    servers: Vec<ServerId>,
}

/// The whole refund of a payment takes back what it bought; of a part, only the ledger tells.
pub async fn apply_refund(app: &App, charge: &Charge, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let Some(payment) = payment_of(app, charge.payment_intent.as_deref(), charge.livemode).await? else {
        return pass_over(app, progress).await;
    };
    let now = app.clock.now();
    let (mut tx, payment, _) = begin(app, &payment).await?;
    let told = if tx.raise_refunded(payment.id, charge.amount_refunded).await? {
        let data = json!({ "refunded": charge.amount_refunded, "of": charge.amount, "charge": charge.id });
        let is_whole = charge.amount_refunded >= charge.amount;
        let (event, servers) = if is_whole && payment.outcome != Outcome::ChargedBack {
            (EventType::PaymentRefunded, end_with(app, &mut tx, &payment, Outcome::Refunded, now).await?)
        } else {
            (EventType::PaymentPartlyRefunded, Vec::new())
        };
        Some(Told { event, data, servers })
    } else {
        None
    };
    commit(app, tx, &payment, told, progress, now).await
}

/// A dispute began, went on or ended.
pub async fn apply_dispute(app: &App, dispute: &Dispute, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let Some(payment) = payment_of(app, dispute.payment_intent.as_deref(), dispute.livemode).await? else {
        return pass_over(app, progress).await;
    };
    let now = app.clock.now();
    let (mut tx, payment, order) = begin(app, &payment).await?;
    let data = json!({ "dispute": dispute.id, "reason": dispute.reason });
    let takes = tx.knows_dispute(&dispute.id).await? || may_take(&mut tx, &payment).await?;
    let Some(order) = order.filter(|_| takes) else {
        let told = of_nothing(&mut tx, &payment, dispute, progress, now).await?;
        let told = told.map(|event| Told { event, data, servers: Vec::new() });
        return commit(app, tx, &payment, told, progress, now).await;
    };
    let told = match dispute.status {
        DisputeStatus::Open => open(app, &mut tx, &payment, order.id, &dispute.id, now).await?,
        DisputeStatus::Won | DisputeStatus::WarningClosed => won(app, &mut tx, &payment, &order, dispute, now).await?,
        DisputeStatus::Lost => lost(app, &mut tx, &payment, order.id, dispute, now).await?,
    };
    let told = told.map(|(event, servers)| Told { event, data, servers });
    commit(app, tx, &payment, told, progress, now).await
}

/// Whether a dispute of it may take what its order granted: not that of an orphan, nor of a payment beside the one that
/// bought it.
async fn may_take(tx: &mut Tx, payment: &Payment) -> Result<bool, Error> {
    match (payment.outcome, payment.order_id) {
        (outcome, _) if outcome.gave_something() => Ok(true),
        (Outcome::Mismatched | Outcome::Underpaid | Outcome::Orphaned, _) | (_, None) => Ok(false),
        (_, Some(order)) => Ok(!tx.is_bought_by_another(order, payment.id).await?),
    }
}

/// The dispute of what gave nothing takes nothing from anybody, so it is not kept: each event of it is told, once. Money
/// that is lost waits for the operator no more.
async fn of_nothing(
    tx: &mut Tx,
    payment: &Payment,
    dispute: &Dispute,
    progress: Option<Progress<'_>>,
    now: Timestamp,
) -> Result<Option<EventType>, Error> {
    let Some(Progress::StripeEvent(id)) = progress else { return Ok(None) };
    if !tx.remember_stripe_event(id, now).await? {
        return Ok(None);
    }
    tracing::error!(payment.id = %payment.id, "a payment that gave nothing is disputed: answer it at Stripe");
    Ok(Some(match dispute.status {
        DisputeStatus::Open => EventType::PaymentDisputed,
        DisputeStatus::Won | DisputeStatus::WarningClosed => EventType::PaymentDisputeWon,
        DisputeStatus::Lost => {
            tx.set_outcome(payment.id, Outcome::ChargedBack).await?;
            EventType::PaymentDisputeLost
        }
    }))
}

/// What the order granted does not count while the bank asks for the money.
async fn open(
    app: &App,
    tx: &mut Tx,
    payment: &Payment,
    order: Uuid,
    dispute: &str,
    now: Timestamp,
) -> Result<Option<(EventType, Vec<ServerId>)>, Error> {
    if !tx.open_dispute(dispute, order, now).await? {
        return Ok(None);
    }
    if matches!(payment.outcome, Outcome::Applied | Outcome::AppliedLate) {
        tx.set_outcome(payment.id, Outcome::Disputed).await?;
    }
    Ok(Some((EventType::PaymentDisputed, recount_grants(app, tx, order, now).await?)))
}

/// What was granted counts again, unless it was refunded meanwhile or another dispute is open.
async fn won(
    app: &App,
    tx: &mut Tx,
    payment: &Payment,
    order: &Order,
    dispute: &Dispute,
    now: Timestamp,
) -> Result<Option<(EventType, Vec<ServerId>)>, Error> {
    if !tx.close_dispute(&dispute.id, order.id, DisputeEnd::Won, now).await? {
        return Ok(None);
    }
    if payment.outcome != Outcome::Disputed || tx.is_disputed(order.id).await? {
        return Ok(Some((EventType::PaymentDisputeWon, Vec::new())));
    }
    let outcome = if is_late(order, &payment.evidence) { Outcome::AppliedLate } else { Outcome::Applied };
    tx.set_outcome(payment.id, outcome).await?;
    Ok(Some((EventType::PaymentDisputeWon, recount_grants(app, tx, order.id, now).await?)))
}

async fn lost(
    app: &App,
    tx: &mut Tx,
    payment: &Payment,
    order: Uuid,
    dispute: &Dispute,
    now: Timestamp,
) -> Result<Option<(EventType, Vec<ServerId>)>, Error> {
    if !tx.close_dispute(&dispute.id, order, DisputeEnd::Lost, now).await? {
        return Ok(None);
    }
    let servers = end_with(app, tx, payment, Outcome::ChargedBack, now).await?;
    Ok(Some((EventType::PaymentDisputeLost, servers)))
}

/// The money is gone, and so is what it bought; what gave nothing takes nothing from whoever paid for the same order.
async fn end_with(
    app: &App,
    tx: &mut Tx,
    payment: &Payment,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Vec<ServerId>, Error> {
    tx.set_outcome(payment.id, outcome).await?;
    match payment.order_id.filter(|_| payment.outcome.gave_something()) {
        Some(order) => revoke_grants(app, tx, order, now).await,
        None => Ok(Vec::new()),
    }
}

/// The payment and its order, as they are now; both rows stay locked, the order's first, as in a settlement.
async fn begin(app: &App, payment: &Payment) -> Result<(Tx, Payment, Option<Order>), Error> {
    let mut named = payment.order_id;
    loop {
        let mut tx = app.store.begin().await?;
        let order = match named {
            Some(order) => tx.lock_order(order).await?,
            None => None,
        };
        let payment = tx.lock_payment(payment.id).await?.ok_or(Error::NotFound("no such payment"))?;
        if payment.order_id == named {
            return Ok((tx, payment, order));
        }
        // Adopted since it was read: once more, from its order on. It keeps that one.
        named = payment.order_id;
    }
}

async fn commit(
    app: &App,
    mut tx: Tx,
    payment: &Payment,
    told: Option<Told>,
    progress: Option<Progress<'_>>,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(told) = &told {
        tx.record(app.new_id(), told.event, Subject::Payment(payment.id), &told.data, now).await?;
    }
    advance(&mut tx, progress, now).await?;
    crash_point!("give_back.before_commit");
    tx.commit().await?;
    crash_point!("give_back.committed");
    let Some(told) = told else { return Ok(()) };
    tracing::warn!(payment.id = %payment.id, event = told.event.name(), "money of a payment goes back, or comes again");
    app.metrics.given_back(told.event);
    if let Some(order) = payment.order_id {
        app.changes.announce(&order);
    }
    told.servers.iter().for_each(|server| app.server_changes.announce(server));
    Ok(())
}

/// The payment of an intent. One that no event has told of yet is looked up and settled first, so that nothing that
/// happens to it later comes before it.
async fn payment_of(app: &App, intent: Option<&str>, livemode: bool) -> Result<Option<Payment>, Error> {
    let (Some(stripe), Some(intent)) = (&app.stripe, intent) else { return Ok(None) };
    if livemode != stripe.settings().mode.is_live() {
        tracing::error!(live = livemode, "money that is to go back is of the other mode of Stripe");
        return Ok(None);
    }
    if let Some(payment) = app.store.payment(Provider::Stripe, intent).await? {
        return Ok(Some(payment));
    }
    match stripe.session_of(intent).await {
        Ok(Some(session)) => {
            apply_session(app, &session, paid_by(app, &session), None).await?;
            crash_point!("give_back.paid_first");
        }
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "Stripe could not be asked about a payment");
            return Err(Unavailable::StripeDown.into());
        }
    }
    Ok(app.store.payment(Provider::Stripe, intent).await?)
}
