//! The sweep: every open order is held against the node, whatever the stream did or did not say.

use futures_util::future::try_join_all;
use uuid::Uuid;

use super::apply_invoice::apply_invoice;
use super::{App, Error, Unavailable};
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::lnd::{self, InvoiceState, NodeInvoice};

const PAGE: u32 = 500;
/// Up to so many open orders are looked up one by one; more are listed, page by page.
const LOOK_UPS: u64 = 500;
const AT_A_TIME: usize = 4;

/// Brings every open order up to the node's truth; returns how many answers could not be applied.
///
/// # Errors
/// When node or database stop answering; what was applied until then stays applied.
pub async fn sweep(app: &App) -> Result<usize, Error> {
    match app.store.open_order_span().await? {
        (open, Some(lowest)) if open > LOOK_UPS => list_from(app, lowest).await,
        _ => look_up_each(app).await,
    }
}

/// After a start, or when the position in the node's settlements was lost: besides the open orders, everything that the
/// node added since the last order that this database knows, or ever. There the payments are whose orders a restored
/// backup lost; one from before the first order, or a new database beside the old key, has lost them all.
pub async fn catch_up(app: &App) -> Result<usize, Error> {
    let failed = list_from(app, least_known(app).await?.unwrap_or(0)).await?;
    match app.store.open_order_span().await? {
        // The list began before the first of them.
        (open, Some(_)) if open > LOOK_UPS => Ok(failed),
        _ => Ok(failed + look_up_each(app).await?),
    }
}

/// The add index before which the node has nothing new; none where no settlement of its was ever followed, because
/// nothing is replayed then.
async fn least_known(app: &App) -> Result<Option<u64>, Error> {
    let Some(node) = app.health.identity() else { return Ok(None) };
    if app.store.cursor(node).await?.is_none() {
        return Ok(None);
    }
    let (_, lowest) = app.store.open_order_span().await?;
    let highest = app.store.highest_add_index().await?;
    Ok(lowest.into_iter().chain(highest).min())
}

async fn look_up_each(app: &App) -> Result<usize, Error> {
    let mut after = (Timestamp::EPOCH, Uuid::nil());
    let mut failed = 0;
    loop {
        let page = app.store.open_orders(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(failed) };
        after = (last.created_at, last.id);
        for few in page.chunks(AT_A_TIME) {
            let look_ups: Vec<_> = few.iter().map(|order| look_up(app, order)).collect();
            failed += try_join_all(look_ups).await?.into_iter().sum::<usize>();
        }
    }
}

async fn look_up(app: &App, order: &Order) -> Result<usize, Error> {
    let Some((hash, _)) = order.lightning() else { return Ok(0) };
    match app.node.lookup_invoice(hash).await {
        Ok(Some(invoice)) => Ok(apply_final(app, &invoice).await),
        Ok(None) => Ok(0),
        Err(error) if error.is_of_the_node() => Err(unanswered(&error)),
        // An answer about this order that makes no sense must not hide the others.
        Err(error) => {
            tracing::error!(order.id = %order.id, error = %error, "an order could not be looked up");
            Ok(1)
        }
    }
}

/// For a node with many open orders: a few pages instead of thousands of questions.
async fn list_from(app: &App, lowest_add_index: u64) -> Result<usize, Error> {
    let mut after = lowest_add_index.saturating_sub(1);
    let (mut failed, mut left_out) = (0, 0);
    loop {
        let page = app.node.list_invoices(after, PAGE).await.map_err(|error| unanswered(&error))?;
        left_out += page.left_out;
        for invoice in &page.invoices {
            failed += apply_final(app, invoice).await;
        }
        if page.last_index <= after {
            break;
        }
        after = page.last_index;
    }
    // An invoice that could not be read may be ours: then only a look-up tells.
    Ok(if left_out == 0 { failed } else { failed + look_up_each(app).await? })
}

/// An open invoice says nothing new. One that fails is counted and does not hold up the others.
async fn apply_final(app: &App, invoice: &NodeInvoice) -> usize {
    if matches!(invoice.state, InvoiceState::Open | InvoiceState::Accepted) {
        return 0;
    }
    match apply_invoice(app, invoice, None).await {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(payment_hash = invoice.payment_hash.prefix(), error = %error, "an invoice could not be applied");
            1
        }
    }
}

fn unanswered(error: &lnd::Error) -> Error {
    Unavailable::NodeDown(error.to_string()).into()
}
