//! From `creating` to `pending`: an invoice at the node, checked, stored, and only then shown.
//!
//! The preimage follows from the order's id, so asking twice, or again after a crash, ends at the same invoice.

use uuid::Uuid;

use super::circuit_breaker::Attempt;
use super::{App, Error, Unavailable, close_orders};
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::bolt11::{Expected, Invoice};
use crate::domain::lightning::{NodeId, PaymentHash};
use crate::domain::money::Msats;
use crate::domain::order::{Order, OrderState};
use crate::domain::time::Timestamp;
use crate::lnd::{self, InvoiceState, NewInvoice, NodeInvoice};

/// Gives an order in `creating` its invoice; an order that has one is returned as it is.
///
/// # Errors
/// [`Unavailable::NodeDown`] leaves the order as it is, for a repeat or for the sweep; a node that hangs is not waited
/// for. When the node refuses, or returns an invoice that is not what was asked for, the order has failed.
pub async fn request_invoice(app: &App, order: Order) -> Result<Order, Error> {
    if order.state != OrderState::Creating {
        return Ok(order);
    }
    let on = on_lightning(&order)?;
    let payee = app.health.payee()?;
    let attempt = app.health.adding.begin()?;
    let (text, add_index) = match ask(app, &order, on, attempt).await {
        Ok(found) => found,
        Err(error) if error.is_retryable() => return Err(Unavailable::NodeDown(error.to_string()).into()),
        Err(error) => return give_up(app, &order, &error.to_string()).await,
    };
    let now = app.clock.now();
    match Invoice::parse(&text).and_then(|invoice| invoice.check(&expected(app, on, payee), now)) {
        Ok(invoice) => store_invoice(app, order.id, &invoice, add_index).await,
        Err(problem) => give_up(app, &order, &problem.to_string()).await,
    }
}

/// Stores an invoice that the node reports for an order in `creating`, whatever the time: it may be paid already.
pub async fn adopt_invoice(app: &App, order: &Order, invoice: &NodeInvoice, payee: NodeId) -> Result<Order, Error> {
    let parsed = Invoice::parse(&invoice.payment_request).map_err(Error::Broken)?;
    let checked = parsed.check(&expected(app, on_lightning(order)?, payee), Timestamp::EPOCH).map_err(Error::Broken)?;
    store_invoice(app, order.id, &checked, invoice.add_index).await
}

async fn store_invoice(app: &App, order: Uuid, invoice: &Invoice, add_index: u64) -> Result<Order, Error> {
    let mut tx = app.store.begin().await?;
    let marked = tx.mark_pending(order, invoice, add_index).await?;
    let is_pending = marked.is_some();
    let order = match marked {
        Some(order) => order,
        None => tx.lock_order(order).await?.ok_or(Error::NotFound("an order that was just stored"))?,
    };
    crash_point!("store_invoice.before_commit");
    tx.commit().await?;
    crash_point!("store_invoice.committed");
    if is_pending {
        app.metrics.order("pending");
    }
    match order.state {
        // Somebody else gave it up meanwhile.
        OrderState::Failed { .. } => Err(Unavailable::NodeDown("it took too long to make the invoice".into()).into()),
        _ => Ok(order),
    }
}

fn on_lightning(order: &Order) -> Result<(PaymentHash, Msats), Error> {
    order.lightning().ok_or_else(|| Error::Broken(Invalid::new("an invoice for an order that is paid by card")))
}

fn expected(app: &App, (payment_hash, amount): (PaymentHash, Msats), payee: NodeId) -> Expected {
    Expected { payment_hash, amount, network: app.shop.network, payee }
}

/// The invoice's text and add index: a new one, or the one that an earlier attempt left at the node.
async fn ask(
    app: &App,
    order: &Order,
    (hash, amount): (PaymentHash, Msats),
    attempt: Attempt,
) -> Result<(String, u64), lnd::Error> {
    let preimage = app.keyring.get(order.key_id).map_err(|e| rejected(e.to_string()))?.preimage(order.id);
    let new = NewInvoice {
        preimage,
        amount,
        memo: app.shop.memo(order.id),
        expiry: app.shop.orders.invoice_lifetime,
        private_route_hints: app.shop.orders.private_route_hints,
    };
    let added = app.node.add_invoice(&new).await;
    if !matches!(added, Err(lnd::Error::TimedOut { .. })) {
        attempt.answered();
    }
    match added {
        Ok(added) => {
            crash_point!("request_invoice.added");
            Ok((added.payment_request, added.add_index))
        }
        Err(lnd::Error::AlreadyExists) => existing(app, hash).await,
        Err(error) => Err(error),
    }
}

async fn existing(app: &App, hash: PaymentHash) -> Result<(String, u64), lnd::Error> {
    let found = app.node.lookup_invoice(hash).await?;
    crash_point!("request_invoice.found");
    match found {
        Some(invoice) if invoice.state != InvoiceState::Canceled => Ok((invoice.payment_request, invoice.add_index)),
        _ => Err(rejected("an earlier invoice of this order was cancelled".into())),
    }
}

const fn rejected(text: String) -> lnd::Error {
    lnd::Error::Rejected { method: "AddInvoice", text }
}

/// The node is asked to cancel what it may have made, and its answer closes the order; without one the closer tries on.
async fn give_up(app: &App, order: &Order, why: &str) -> Result<Order, Error> {
    tracing::error!(order.id = %order.id, reason = why, "the node gave no usable invoice");
    close_orders::close(app, order).await?;
    Err(Unavailable::NodeDown("it gave no usable invoice".into()).into())
}
