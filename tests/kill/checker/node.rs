//! Orders on Lightning and their invoices at the node.

use std::collections::{HashMap, HashSet};

use wiretoll::lnd::{InvoiceState, NodeInvoice};

use super::{orders, wrong};
use crate::books::{Books, Order, settlement};

/// Each order with its invoice at the node, if that has one.
fn orders_with_invoices(books: &Books) -> impl Iterator<Item = (&Order, Option<&NodeInvoice>)> {
    let invoices: HashMap<_, _> = books.ours().map(|invoice| (invoice.payment_hash.to_string(), invoice)).collect();
    let on_lightning = books.orders.iter().filter_map(|order| Some((order, order.payment_hash.as_ref()?)));
    on_lightning.map(move |(order, hash)| (order, invoices.get(hash).copied()))
}

pub fn orders_have_their_invoices(books: &Books) -> Vec<String> {
    wrong(orders_with_invoices(books), |(order, invoice)| {
        let right = match invoice {
            None => order.invoice.is_none(),
            Some(invoice) => {
                books.named_order(invoice) == Some(&order.id)
                    && i64::try_from(invoice.amount.get()).ok() == order.amount_msat
                    && order.invoice.as_ref().is_none_or(|text| *text == invoice.payment_request)
                    && order.add_index.is_none_or(|index| u64::try_from(index) == Ok(invoice.add_index))
            }
        };
        (!right).then(|| format!("{order:?} at the node is {invoice:?}"))
    })
}

/// The node is asked first, so there is no moment at which it could still be paid for what is closed here.
pub fn closed_orders_are_closed_invoices(books: &Books) -> Vec<String> {
    wrong(orders_with_invoices(books), |(order, invoice)| {
        let said = invoice.map(|invoice| invoice.state);
        let closed = match order.state.as_str() {
            "paid" => matches!(said, Some(InvoiceState::Settled(_))),
            "expired" => said == Some(InvoiceState::Canceled),
            "failed" => matches!(said, None | Some(InvoiceState::Canceled)),
            _ => true,
        };
        (!closed).then(|| format!("{order:?} at the node is {said:?}"))
    })
}

pub fn open_orders_are_open_invoices(books: &Books) -> Vec<String> {
    wrong(orders_with_invoices(books), |(order, invoice)| {
        let said = invoice.map(|invoice| invoice.state);
        let open = match order.state.as_str() {
            "creating" => matches!(said, None | Some(InvoiceState::Open)),
            "pending" => said == Some(InvoiceState::Open),
            _ => true,
        };
        (!open).then(|| format!("{order:?} at the node is {said:?}"))
    })
}

/// One whose order a restored database forgot can only be told by its payment.
pub fn invoices_are_known(books: &Books) -> Vec<String> {
    let orders = orders(books);
    let orphans = books.payments.iter().filter(|payment| payment.outcome == "orphaned");
    let orphans: HashSet<_> = orphans.map(|payment| payment.external_id.as_str()).collect();
    wrong(books.ours(), |invoice| {
        let known = books.named_order(invoice).is_some_and(|order| orders.contains_key(order))
            || settlement(invoice).is_some() && orphans.contains(invoice.payment_hash.to_string().as_str());
        (!known).then(|| format!("{invoice:?}"))
    })
}

pub fn positions_are_settlements(books: &Books) -> Vec<String> {
    let at = |index: i64| {
        let mut settled = books.invoices.iter().filter(|invoice| {
            settlement(invoice).is_some_and(|settlement| u64::try_from(index) == Ok(settlement.settle_index))
        });
        settled.next().map(|invoice| invoice.payment_hash.to_string())
    };
    wrong(&books.positions, |position| {
        let right =
            position.node_id == books.node && at(position.settle_index).as_ref() == Some(&position.payment_hash);
        (!right).then(|| format!("{position:?} at the node is {:?}", at(position.settle_index)))
    })
}
