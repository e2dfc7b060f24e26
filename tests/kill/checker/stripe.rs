//! Orders by card and their pages at Stripe.

use std::collections::{HashMap, HashSet};

use super::{orders, wrong};
use crate::books::{Books, Order};
use crate::stripe::Page;

/// Each order by card with the page that was made for it, if there is one.
fn orders_with_pages(books: &Books) -> impl Iterator<Item = (&Order, Option<&Page>)> {
    let pages: HashMap<_, _> = ours(books).map(|page| (page.order.as_str(), page)).collect();
    let by_card = books.orders.iter().filter(|order| order.price_cents.is_some() && order.payment_hash.is_none());
    by_card.map(move |order| (order, pages.get(order.id.as_str()).copied()))
}

/// Pages that the shop made: with money only somebody else pays here.
fn ours(books: &Books) -> impl Iterator<Item = &Page> {
    books.pages.iter().filter(|page| !page.is_live)
}

pub fn orders_have_their_pages(books: &Books) -> Vec<String> {
    wrong(orders_with_pages(books), |(order, page)| {
        let right = match page {
            None => order.checkout_session.is_none(),
            Some(page) => {
                let is_shown = order.checkout_session.is_some();
                let is_it = order.checkout_session.as_ref() == Some(&page.id)
                    && page.url.as_ref().is_none_or(|url| order.invoice.as_ref() == Some(url))
                    && (Some(page.cents) == order.price_cents || page.status == "complete");
                !is_shown || is_it
            }
        };
        (!right).then(|| format!("{order:?} at Stripe is {page:?}"))
    })
}

/// Stripe is asked first, so there is no moment at which it could still be paid for what is closed here.
pub fn closed_orders_are_closed_pages(books: &Books) -> Vec<String> {
    wrong(orders_with_pages(books), |(order, page)| {
        let status = page.map(|page| page.status.as_str());
        let closed = match order.state.as_str() {
            "paid" => page.is_some_and(|page| page.is_paid),
            // Complete is also what was paid with another amount.
            "expired" => matches!(status, Some("expired" | "complete")),
            "failed" => matches!(status, None | Some("expired")),
            _ => true,
        };
        (!closed).then(|| format!("{order:?} at Stripe is {page:?}"))
    })
}

pub fn open_orders_are_open_pages(books: &Books) -> Vec<String> {
    wrong(orders_with_pages(books), |(order, page)| {
        let status = page.map(|page| page.status.as_str());
        let open = match order.state.as_str() {
            "creating" => matches!(status, None | Some("open")),
            "pending" => status == Some("open"),
            _ => true,
        };
        (!open).then(|| format!("{order:?} at Stripe is {page:?}"))
    })
}

/// One whose order a restored database forgot can only be told by its payment.
pub fn pages_are_known(books: &Books) -> Vec<String> {
    let orders = orders(books);
    let orphans = books.payments.iter().filter(|payment| payment.outcome == "orphaned");
    let orphans: HashSet<_> = orphans.map(|payment| Some(payment.external_id.as_str())).collect();
    wrong(&books.pages, |page| {
        let known =
            orders.contains_key(page.order.as_str()) || page.is_paid && orphans.contains(&page.intent.as_deref());
        (!known).then(|| format!("{page:?}"))
    })
}

/// An event that is answered comes no more, so its effect must be there. That it is there once, the other rules tell.
pub fn taken_events_are_remembered(books: &Books) -> Vec<String> {
    let remembered: HashSet<_> = books.applied_events.iter().map(|event| event.id.as_str()).collect();
    wrong(&books.taken, |id| (!remembered.contains(id.as_str())).then(|| id.clone()))
}
