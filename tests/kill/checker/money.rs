//! Money that arrived, and that went back.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{by_card, group, is_disputed, on_lightning, orders, wrong};
use crate::books::{Books, Order, Payment};
use crate::stripe::Page;

pub fn settled_invoices_are_payments(books: &Books) -> Vec<String> {
    let payments = group(on_lightning(books), |payment| payment.external_id.clone());
    wrong(books.settled(), |(invoice, settlement)| {
        let hash = invoice.payment_hash.to_string();
        let (amount, at) = (settlement.amount.get(), settlement.settled_at.millis());
        match payments.get(&hash).map(Vec::as_slice) {
            Some([payment])
                if payment.unit == "msat"
                    && u64::try_from(payment.amount) == Ok(amount)
                    && payment.settled_at == at =>
            {
                None
            }
            found => Some(format!("{hash} brought {amount} msat at {at}, and recorded is {found:?}")),
        }
    })
}

pub fn payments_are_settled_invoices(books: &Books) -> Vec<String> {
    let settled: HashSet<_> = books.settled().map(|(invoice, _)| invoice.payment_hash.to_string()).collect();
    wrong(on_lightning(books), |payment| (!settled.contains(&payment.external_id)).then(|| format!("{payment:?}")))
}

pub fn paid_pages_are_payments(books: &Books) -> Vec<String> {
    let payments = group(by_card(books), |payment| Some(payment.external_id.clone()));
    wrong(books.pages.iter().filter(|page| page.is_paid), |page| match payments.get(&page.intent).map(Vec::as_slice) {
        Some([payment]) if is_of_page(payment, page) => None,
        found => Some(format!("{page:?} is recorded as {found:?}")),
    })
}

pub fn card_payments_are_paid_pages(books: &Books) -> Vec<String> {
    let pages = pages_by_intent(books);
    wrong(by_card(books), |payment| {
        let page = pages.get(payment.external_id.as_str());
        let right = page.is_some_and(|page| is_of_page(payment, page));
        (!right).then(|| format!("{payment:?} at Stripe is {page:?}"))
    })
}

fn pages_by_intent(books: &Books) -> HashMap<&str, &Page> {
    let paid = books.pages.iter().filter(|page| page.is_paid);
    paid.filter_map(|page| Some((page.intent.as_deref()?, page))).collect()
}

fn is_of_page(payment: &Payment, page: &Page) -> bool {
    payment.unit == if page.currency == "usd" { "usd_cent" } else { &page.currency }
        && payment.amount == page.cents
        && payment.order_id.as_ref().is_none_or(|order| *order == page.order)
}

/// In each unit: msat, and cents with what was given back of them.
pub fn money_is_conserved(books: &Books) -> Vec<String> {
    let mut arrived = BTreeMap::from([("msat", (0, 0)), ("usd_cent", (0, 0))]);
    let mut recorded = arrived.clone();
    for (_, settlement) in books.settled() {
        arrived.get_mut("msat").unwrap().0 += i64::try_from(settlement.amount.get()).unwrap();
    }
    for page in books.pages.iter().filter(|page| page.is_paid) {
        let (came, went) = arrived.get_mut("usd_cent").unwrap();
        (*came, *went) = (*came + page.cents, *went + page.went_back.cents);
    }
    for payment in &books.payments {
        let (came, went) = recorded.entry(&payment.unit).or_default();
        (*came, *went) = (*came + payment.amount, *went + payment.refunded);
    }
    wrong([()], |()| (recorded != arrived).then(|| format!("{arrived:?} came and went, {recorded:?} are recorded")))
}

pub fn nothing_goes_back_alone(books: &Books) -> Vec<String> {
    let pages = pages_by_intent(books);
    let mut found = wrong(&books.payments, |payment| {
        let most = pages.get(payment.external_id.as_str()).map_or(0, |page| page.went_back.cents);
        (payment.refunded > most).then(|| format!("{payment:?}: {most} were given back"))
    });
    let at_stripe = disputes_at_stripe(books);
    found.extend(wrong(&books.disputes, |dispute| {
        let said = at_stripe.get(dispute.id.as_str());
        let right = said.is_some_and(|(order, status)| {
            *order == dispute.order_id && dispute.outcome.as_ref().is_none_or(|outcome| outcome == status)
        });
        (!right).then(|| format!("{dispute:?} at Stripe is {said:?}"))
    }));
    found
}

/// Each dispute with its order and status.
fn disputes_at_stripe(books: &Books) -> HashMap<&str, (&str, &str)> {
    books
        .pages
        .iter()
        .flat_map(|page| page.went_back.disputes.iter().map(move |(id, status)| (page, id, status)))
        .map(|(page, id, status)| (id.as_str(), (page.order.as_str(), status.as_str())))
        .collect()
}

pub fn what_went_back_is_known(books: &Books) -> Vec<String> {
    let pages = pages_by_intent(books);
    let mut found = wrong(by_card(books), |payment| {
        let went = pages.get(payment.external_id.as_str()).map_or(0, |page| page.went_back.cents);
        (payment.refunded != went).then(|| format!("{payment:?}: {went} were given back"))
    });
    let known: HashMap<_, _> = books.disputes.iter().map(|dispute| (dispute.id.as_str(), dispute)).collect();
    found.extend(wrong(disputes_at_stripe(books), |(id, (_, status))| {
        let outcome = known.get(id).map(|dispute| dispute.outcome.as_deref());
        let right = match status {
            "won" | "lost" => outcome == Some(Some(status)),
            _ => outcome == Some(None),
        };
        (!right).then(|| format!("{id} is {status} at Stripe, and here {outcome:?}"))
    }));
    found
}

/// The table of the one automatic answer: in time, late, not the price, nothing to give, of no order that is known, or
/// gone again.
pub fn outcomes_fit_orders(books: &Books) -> Vec<String> {
    let (orders, pages) = (orders(books), pages_by_intent(books));
    let by_hash: HashSet<_> = books.orders.iter().filter_map(|order| order.payment_hash.as_deref()).collect();
    wrong(&books.payments, |payment| {
        let page = pages.get(payment.external_id.as_str()).copied();
        let names_one = by_hash.contains(payment.external_id.as_str())
            || page.is_some_and(|page| orders.contains_key(page.order.as_str()));
        let fits = match payment.order_id.as_deref().and_then(|id| orders.get(id)) {
            None => payment.outcome == "orphaned" && !names_one,
            Some(order) if payment.provider == "lightning" => {
                order.payment_hash.as_ref() == Some(&payment.external_id) && fits_on_lightning(books, payment, order)
            }
            Some(order) => page.is_some_and(|page| fits_by_card(books, payment, page, order)),
        };
        (!fits).then(|| format!("{payment:?}"))
    })
}

fn fits_on_lightning(books: &Books, payment: &Payment, order: &Order) -> bool {
    let price = order.amount_msat.unwrap();
    fits_state(books, payment, order)
        && ["applied", "applied_late", "refund_due"].contains(&payment.outcome.as_str())
        && payment.amount >= price
        && payment.excess == payment.amount - price
}

fn fits_by_card(books: &Books, payment: &Payment, page: &Page, order: &Order) -> bool {
    let is_price = order.price_cents == Some(page.cents) && page.currency == "usd" && !page.is_live;
    let is_whole = payment.refunded >= payment.amount;
    let lost = books.disputes.iter().any(|one| one.order_id == order.id && one.outcome.as_deref() == Some("lost"));
    let fits = match payment.outcome.as_str() {
        "mismatched" => !is_price && !is_whole,
        "refunded" => is_whole,
        "charged_back" => lost,
        "refund_due" => is_price && fits_state(books, payment, order),
        _ => is_price && !is_whole && !lost && fits_state(books, payment, order),
    };
    fits && payment.excess == 0
}

fn fits_state(books: &Books, payment: &Payment, order: &Order) -> bool {
    let late = order.invoice_expires_at.is_some_and(|expiry| payment.settled_at > expiry);
    let paid = order.state == "paid" && order.paid_at == Some(payment.settled_at);
    let delivered = paid && order.subscription_id.is_some();
    let disputed = is_disputed(books, &order.id);
    match payment.outcome.as_str() {
        "applied" => delivered && !disputed && !late,
        "applied_late" => delivered && !disputed && late,
        "disputed" => delivered && disputed,
        "refund_due" => (paid || order.state == "failed") && order.subscription_id.is_none(),
        _ => false,
    }
}
