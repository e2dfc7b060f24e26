//! What the node says of one invoice, applied: the one way from stream, replay, sweep and look-up into the database.

use uuid::Uuid;

use super::settle::{Progress, evidence, pass_over, record_orphan, settle};
use super::{App, Error, Unavailable, close_orders, request_invoice};
use crate::domain::instance_key::{InstanceKey, KeyId};
use crate::domain::order::{Order, OrderState};
use crate::lnd::{InvoiceState, NodeInvoice, Settled};

/// Applies an invoice in any order and any number of times; only forward moves happen.
pub async fn apply_invoice(app: &App, invoice: &NodeInvoice, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let order = app.store.order_by_payment_hash(invoice.payment_hash).await?;
    match (order, invoice.state) {
        (Some(order), _) if order.is_paid() => pass_over(app, progress).await,
        (Some(order), InvoiceState::Settled(settlement)) => {
            let order = with_invoice(app, order, invoice).await?;
            settle(app, order.id, &evidence(invoice.payment_hash, &settlement), progress).await.map(drop)
        }
        (Some(order), InvoiceState::Canceled) => close_orders::close_for_good(app, &order, progress).await,
        (None, InvoiceState::Settled(settlement)) => match order_made_for(app, invoice) {
            Some((named, _)) => record_orphan(app, &evidence(invoice.payment_hash, &settlement), named, progress).await,
            None => pass_over(app, progress).await,
        },
        (Some(_) | None, _) => pass_over(app, progress).await,
    }
}

/// The order that an invoice was made for, and the instance key that its preimage was derived with, where it is ours.
///
/// The memo ends with the order's id; the key proves that it is no other shop's beside us on the node, and holds whatever
/// the shop was called when the invoice was made.
pub fn order_made_for(app: &App, invoice: &NodeInvoice) -> Option<(Uuid, KeyId)> {
    let (_, order) = invoice.memo.rsplit_once(' ')?;
    let order = Uuid::try_parse(order).ok()?;
    let mut keys = app.keyring.iter();
    let made_with = |key: &InstanceKey| key.preimage(order).payment_hash() == invoice.payment_hash;
    keys.find(|(_, key)| made_with(key)).map(|(id, _)| (order, id))
}

/// Applies an event of the stream. Only one that says too little is looked up: most payments of a busy node are not ours.
pub async fn apply_settled(app: &App, settled: &Settled, progress: Option<Progress<'_>>) -> Result<(), Error> {
    let hash = match settled {
        Settled::Nameless { .. } => return pass_over(app, progress).await,
        Settled::Paid { invoice, .. } => return apply_invoice(app, invoice, progress).await,
        Settled::Incomplete { payment_hash, .. } => *payment_hash,
    };
    match app.node.lookup_invoice(hash).await {
        Ok(Some(invoice)) => apply_invoice(app, &invoice, progress).await,
        Ok(None) => pass_over(app, progress).await,
        Err(error) => Err(Unavailable::NodeDown(error.to_string()).into()),
    }
}

/// An order that crashed before its invoice was stored gets it now, from the node.
async fn with_invoice(app: &App, order: Order, invoice: &NodeInvoice) -> Result<Order, Error> {
    if order.state != OrderState::Creating {
        return Ok(order);
    }
    let unknown = || Unavailable::NodeDown("it has not said who it is yet".into());
    let payee = app.health.identity().ok_or_else(unknown)?;
    request_invoice::adopt_invoice(app, &order, invoice, payee).await
}
