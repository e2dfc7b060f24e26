//! Events, and the requests that are remembered.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::delivered::applied_resets;
use super::{group, is_delivered, orders, wrong};
use crate::books::{Books, Order, Payment};

/// How often each thing happened to each subject.
fn told(books: &Books) -> HashMap<&str, BTreeMap<&str, usize>> {
    let mut told: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for event in &books.events {
        *told.entry(event.subject_id.as_str()).or_default().entry(event.name.as_str()).or_insert(0) += 1;
    }
    told
}

pub fn order_events_are_told_once(books: &Books) -> Vec<String> {
    let (told, payments) = (told(books), group(&books.payments, |payment| payment.order_id.as_deref()));
    wrong(&books.orders, |order| {
        let mut expected = BTreeMap::from([("order.created", 1)]);
        let happened = told.get(order.id.as_str()).cloned().unwrap_or_default();
        let paid = payments.get(&Some(order.id.as_str())).map_or(&[][..], Vec::as_slice);
        for event in paid.iter().filter_map(|payment| event_of(payment, order)) {
            expected.insert(event, 1);
        }
        // It may have expired before a late payment.
        let expired = happened.get("order.expired").copied().unwrap_or_default();
        let mismatched = expected.contains_key("payment.mismatched");
        if (order.state == "expired" && !mismatched) || (order.state == "paid" && expired > 0) {
            expected.insert("order.expired", 1);
        }
        if order.state == "failed" {
            expected.insert("order.failed", 1);
        }
        (happened != expected).then(|| format!("{order:?} is told as {happened:?}"))
    })
}

/// What an order's story says of its payment; nothing where that is of the other mode of Stripe.
fn event_of(payment: &Payment, order: &Order) -> Option<&'static str> {
    let late = order.invoice_expires_at.is_some_and(|expiry| payment.settled_at > expiry);
    match payment.outcome.as_str() {
        _ if is_delivered(payment, order) && late => Some("order.paid_late"),
        _ if is_delivered(payment, order) => Some("order.paid"),
        "mismatched" if order.price_cents == Some(payment.amount) => None,
        "mismatched" => Some("payment.mismatched"),
        _ => Some("order.refund_due"),
    }
}

/// A refund and the end of a dispute are told once. That a dispute began is told unless its end was told first.
pub fn payment_events_are_told_once(books: &Books) -> Vec<String> {
    let (told, orders) = (told(books), orders(books));
    wrong(&books.payments, |payment| {
        let happened = told.get(payment.id.as_str()).cloned().unwrap_or_default();
        let count = |event: &str| happened.get(event).copied().unwrap_or_default();
        let order = payment.order_id.as_deref().and_then(|id| orders.get(id));
        let disputes: Vec<_> =
            books.disputes.iter().filter(|one| Some(&one.order_id) == payment.order_id.as_ref()).collect();
        let ended = |outcome: &str| disputes.iter().filter(|one| one.outcome.as_deref() == Some(outcome)).count();
        let elsewhere =
            order.is_some_and(|order| payment.outcome == "mismatched" && event_of(payment, order).is_none());
        let is_whole = payment.refunded > 0 && payment.refunded >= payment.amount;
        let right = count("payment.orphaned") == usize::from(order.is_none())
            && count("payment.excess") == usize::from(payment.excess > 0)
            && count("payment.mismatched") == usize::from(elsewhere)
            && count("payment.refunded") + ended("lost") >= usize::from(is_whole)
            && count("payment.refunded") <= usize::from(is_whole)
            && (count("payment.partly_refunded") == 0 || payment.refunded > 0)
            && count("payment.dispute_won") == ended("won")
            && count("payment.dispute_lost") == ended("lost")
            && (disputes.len() - ended("won") - ended("lost")..=disputes.len()).contains(&count("payment.disputed"));
        (!right).then(|| format!("{payment:?} with {disputes:?} is told as {happened:?}"))
    })
}

pub fn subscription_events_are_told_once(books: &Books) -> Vec<String> {
    let (told, orders) = (told(books), orders(books));
    let grants = group(&books.grants, |grant| grant.subscription_id.as_deref());
    let bound: HashSet<_> = books
        .peers
        .iter()
        .filter(|peer| peer.public_key.is_some())
        .filter_map(|peer| peer.holder_id.as_deref())
        .collect();
    wrong(&books.subscriptions, |one| {
        let given = grants.get(&Some(one.id.as_str())).map_or(&[][..], Vec::as_slice);
        let of_kind = |kind: &str| given.iter().filter(|grant| grant.kind == kind).count();
        let came_with_key = orders.get(one.founded_by.as_str()).is_some_and(|order| order.public_key.is_some());
        let happened = told.get(one.id.as_str()).cloned().unwrap_or_default();
        let count = |event: &str| happened.get(event).copied().unwrap_or_default();
        let right = count("subscription.created") == 1
            && count("subscription.renewed") == of_kind("renewal")
            && count("subscription.bandwidth_reset") == applied_resets(books, &one.id)
            && count("claim.bound") == usize::from(bound.contains(one.id.as_str()) && !came_with_key)
            // Bonuses that were banked are given together.
            && (of_kind("referral").min(1)..=of_kind("referral")).contains(&count("subscription.extended"));
        (!right).then(|| format!("{one:?} with {given:?} is told as {happened:?}"))
    })
}

pub fn events_have_no_gap(books: &Books) -> Vec<String> {
    let subjects = group(&books.events, |event| event.subject_id.as_str());
    wrong(subjects, |(_, events)| {
        let numbered = events.iter().zip(0..).all(|(event, number)| event.sequence == number);
        (!numbered).then(|| format!("{events:?}"))
    })
}

pub fn remembered_orders_are_stored(books: &Books) -> Vec<String> {
    let orders = orders(books);
    wrong(&books.remembered, |key| (!orders.contains_key(key.order_id.as_str())).then(|| format!("{key:?}")))
}
