//! Closing orders: the node decides between expired and paid, never our clock.

use serde_json::json;
use uuid::Uuid;

use super::apply_invoice::apply_invoice;
use super::close_checkout::close_checkout;
use super::settle::{Progress, advance, pass_over};
use super::{App, Error};
use crate::crash::crash_point;
use crate::domain::bolt11::Invoice;
use crate::domain::event::{EventType, Subject};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{Order, OrderState};
use crate::domain::time::{DAY, MINUTE, SECOND, Timestamp};
use crate::lnd::Cancelled;
use crate::store;

/// After the invoice's expiry, so that the node's own canceller usually was there first.
const GRACE: i64 = 5 * SECOND;
/// An order that is still without an invoice after this was left by a crash or by a node that does not answer.
const ABANDONED_AFTER: i64 = 2 * MINUTE;
const AT_ONCE: u32 = 200;

/// Closes every order on Lightning that is due, as far as the node answers; returns how many were closed.
pub async fn close_due_orders(app: &App) -> Result<usize, Error> {
    let now = app.clock.now();
    let abandoned = app.store.abandoned_orders(now.plus_millis(-ABANDONED_AFTER), AT_ONCE).await?;
    let (mut closed, mut silent) = close_each(app, &abandoned).await?;
    let mut after = (Timestamp::EPOCH, Uuid::nil());
    // Page by page: orders that stay undecided must not hold up those behind them.
    while !silent {
        let due = app.store.due_orders(now.plus_millis(-GRACE), after, AT_ONCE).await?;
        let Some(last) = due.last() else { break };
        after = (last.invoice().map_or(now, |invoice| invoice.expires_at), last.id);
        let (more, ended) = close_each(app, &due).await?;
        closed += more;
        silent = ended;
    }
    Ok(closed)
}

/// How many were closed, and whether the node fell silent.
async fn close_each(app: &App, orders: &[Order]) -> Result<(usize, bool), Error> {
    let mut closed = 0;
    for order in orders {
        match close(app, order).await {
            Ok(Closing::Closed) => closed += 1,
            Ok(Closing::Undecided) => {}
            Ok(Closing::Silent) => return Ok((closed, true)),
            Err(Error::Store(error @ store::Error::Database(_))) => return Err(error.into()),
            // One order that cannot be closed does not hold up the others.
            Err(error) => tracing::error!(order.id = %order.id, error = %error, "an order could not be closed"),
        }
    }
    Ok((closed, false))
}

/// How an attempt to close ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    Closed,
    /// The node's answer proves nothing; the next round asks again.
    Undecided,
    /// No answer, or not to us: asking about further orders would only wait as long again.
    Silent,
}

/// What became of invoices that were to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenInvoices {
    /// The node cancelled them, or had settled them.
    pub closed: usize,
    /// The node gave no clear answer; they end with their time.
    pub open: usize,
}

/// Closes orders by the operator's word; the node is asked outside of any transaction.
pub async fn close_all(app: &App, orders: &[Order]) -> OpenInvoices {
    let mut invoices = OpenInvoices::default();
    for order in orders {
        match close(app, order).await {
            Ok(Closing::Closed) => invoices.closed += 1,
            Ok(Closing::Undecided | Closing::Silent) => invoices.open += 1,
            Err(error) => {
                invoices.open += 1;
                tracing::error!(order.id = %order.id, error = %error, "an order could not be closed");
            }
        }
    }
    invoices
}

/// Asks the node, or Stripe, to close an order that is not paid yet, and does as it says.
pub async fn close(app: &App, order: &Order) -> Result<Closing, Error> {
    let Some((hash, _)) = order.lightning() else { return Box::pin(close_checkout(app, order)).await };
    crash_point!("close.before_cancel");
    match app.node.cancel_invoice(hash).await {
        Ok(Cancelled::Cancelled) => {
            crash_point!("close.cancelled");
            close_for_good(app, order, None).await.map(|()| Closing::Closed)
        }
        Ok(Cancelled::AlreadySettled) => settle_instead(app, hash).await,
        Ok(Cancelled::Unknown) => close_unknown(app, order).await,
        Err(error) => {
            tracing::warn!(order.id = %order.id, error = %error, "the node did not close an order");
            Ok(if error.is_of_the_node() { Closing::Silent } else { Closing::Undecided })
        }
    }
}

/// Paid at the last moment, or while we were away.
async fn settle_instead(app: &App, hash: PaymentHash) -> Result<Closing, Error> {
    crash_point!("close.already_settled");
    match app.node.lookup_invoice(hash).await {
        Ok(Some(invoice)) => apply_invoice(app, &invoice, None).await.map(|()| Closing::Closed),
        Err(error) if error.is_of_the_node() => Ok(Closing::Silent),
        Ok(None) | Err(_) => Ok(Closing::Undecided),
    }
}

/// "Not found" frees nothing by itself: the node may have been restored or swapped (scenario 15).
///
/// An order without an invoice was never shown to anybody, so it may go. Otherwise it must be the node that made the
/// invoice, and it must still know another one of ours: then this one was deleted after it was cancelled. Where there is
/// nothing to compare with, a day's silence of that same node is enough: what it does not know it cannot be paid for.
async fn close_unknown(app: &App, order: &Order) -> Result<Closing, Error> {
    let certain = match order.invoice() {
        None => true,
        Some(invoice) => {
            made_by_this_node(app, &invoice.text).await
                && (app.clock.now().since(invoice.expires_at) > DAY || knows_another(app, order).await)
        }
    };
    if !certain {
        tracing::warn!(order.id = %order.id, "the node does not know the invoice of an order; it stays open");
        return Ok(Closing::Undecided);
    }
    close_for_good(app, order, None).await.map(|()| Closing::Closed)
}

/// Asked now: whom the service saw last may have been another one.
async fn made_by_this_node(app: &App, invoice: &str) -> bool {
    match (Invoice::parse(invoice), app.node.info().await) {
        (Ok(invoice), Ok(node)) => invoice.payee() == node.id,
        _ => false,
    }
}

/// Paid invoices are never deleted, and neither are those that can still be paid.
async fn knows_another(app: &App, order: &Order) -> bool {
    let others = app.store.lasting_payment_hashes(order.id, app.clock.now()).await.unwrap_or_default();
    for hash in others {
        if let Ok(Some(_)) = app.node.lookup_invoice(hash).await {
            return true;
        }
    }
    false
}

/// The word of the node, or of Stripe, is that the order can never be paid: it expires, or fails where nobody saw its
/// invoice.
pub async fn close_for_good(app: &App, order: &Order, progress: Option<Progress<'_>>) -> Result<(), Error> {
    match order.state {
        OrderState::Pending(_) => expire(app, order, progress).await,
        OrderState::Creating => abandon(app, order, progress).await,
        OrderState::Paid { .. } | OrderState::Expired { .. } | OrderState::Failed { .. } => {
            pass_over(app, progress).await
        }
    }
}

async fn expire(app: &App, order: &Order, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let expired = tx.mark_expired(order.id, now).await?;
    if expired {
        tx.release_reservation(order.id, now).await?;
        tx.record(app.new_id(), EventType::OrderExpired, Subject::Order(order.id), &json!({}), now).await?;
    }
    advance(&mut tx, progress, now).await?;
    crash_point!("expire.before_commit");
    tx.commit().await?;
    crash_point!("expire.committed");
    if expired {
        app.metrics.order("expired");
    }
    app.changes.announce(&order.id);
    Ok(())
}

/// `creating -> failed`: nobody was shown an invoice.
async fn abandon(app: &App, order: &Order, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let failed = tx.mark_failed(order.id, now).await?;
    if failed {
        tx.release_reservation(order.id, now).await?;
        tx.record(app.new_id(), EventType::OrderFailed, Subject::Order(order.id), &json!({}), now).await?;
    }
    advance(&mut tx, progress, now).await?;
    crash_point!("abandon.before_commit");
    tx.commit().await?;
    crash_point!("abandon.committed");
    if failed {
        app.metrics.order("failed");
    }
    Ok(())
}
