//! What must be true of node, Stripe and database together, whatever was killed when: one function a rule, and it only
//! reads.
//!
//! The node and Stripe are the judges. A rule returns a line for each thing that is not as it should be.

mod delivered;
mod money;
mod node;
mod places;
mod stripe;
mod told;

use std::collections::HashMap;
use std::hash::Hash;

use crate::books::{Books, Order, Payment};

type Rule = fn(&Books) -> Vec<String>;

/// When a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At every moment, also right after a kill.
    Always,
    /// Once the service has caught up with node and Stripe.
    AtRest,
}

use When::{Always, AtRest};

pub const RULES: [(&str, When, Rule); 33] = [
    ("a settled invoice is one payment of its amount", AtRest, money::settled_invoices_are_payments),
    ("a payment is a settled invoice", Always, money::payments_are_settled_invoices),
    ("a paid page is one payment of its amount", AtRest, money::paid_pages_are_payments),
    ("a payment by card is a paid page", Always, money::card_payments_are_paid_pages),
    ("no satoshi and no cent comes or goes", AtRest, money::money_is_conserved),
    ("nothing goes back here that did not at Stripe", Always, money::nothing_goes_back_alone),
    ("what went back at Stripe went back here", AtRest, money::what_went_back_is_known),
    ("a payment's outcome is what became of its order", Always, money::outcomes_fit_orders),
    ("what was applied is one grant", Always, delivered::applied_payments_are_grants),
    ("a reset that was applied is one of its subscription's", Always, delivered::applied_resets_are_counted),
    ("a grant has its payment, and counts no longer than that", Always, delivered::grants_have_payments),
    ("a purchase with a code brings its owner one bonus", Always, delivered::bonuses_are_of_purchases),
    ("a subscription lasts as long as its grants", Always, delivered::subscriptions_last_as_granted),
    ("an order and its invoice are the same", Always, node::orders_have_their_invoices),
    ("what is closed here is closed at the node", Always, node::closed_orders_are_closed_invoices),
    ("what is open here is open at the node", AtRest, node::open_orders_are_open_invoices),
    ("an invoice of ours is known", AtRest, node::invoices_are_known),
    ("the position is a settlement of the node", Always, node::positions_are_settlements),
    ("an order and its page are the same", Always, stripe::orders_have_their_pages),
    ("what is closed here is closed at Stripe", Always, stripe::closed_orders_are_closed_pages),
    ("what is open here is open at Stripe", AtRest, stripe::open_orders_are_open_pages),
    ("a page of ours is known", AtRest, stripe::pages_are_known),
    ("an event of Stripe's that was taken is remembered", Always, stripe::taken_events_are_remembered),
    ("a slot has one peer, and the counts say so", Always, places::slots_have_one_peer),
    ("an order that can be paid has its slot, a dead one none", Always, places::reservations_are_of_open_orders),
    ("a held subscription has one peer", Always, places::subscriptions_have_one_peer),
    ("a bound key is its subscription's alone", Always, places::keys_have_one_owner),
    ("a claimed config is what is stored, and nobody else's", Always, places::claims_are_stored),
    ("an order's story is told once", Always, told::order_events_are_told_once),
    ("a payment's story is told once", Always, told::payment_events_are_told_once),
    ("a subscription's story is told once", Always, told::subscription_events_are_told_once),
    ("events are numbered without a gap", Always, told::events_have_no_gap),
    ("a remembered key stands for a stored order", Always, told::remembered_orders_are_stored),
];

/// What is wrong though it must never be, and what is wrong unless the service is still catching up.
#[derive(Debug, Default)]
pub struct Findings {
    pub always: Vec<String>,
    pub at_rest: Vec<String>,
}

/// Everything that is wrong, each line with the rule that it breaks.
pub fn check(books: &Books) -> Findings {
    let mut findings = Findings::default();
    for (name, when, rule) in RULES {
        let found = rule(books).into_iter().map(|wrong| format!("{name}: {wrong}"));
        match when {
            Always => findings.always.extend(found),
            AtRest => findings.at_rest.extend(found),
        }
    }
    findings
}

/// A line for each thing that a rule finds wrong.
fn wrong<T>(all: impl IntoIterator<Item = T>, problem: impl FnMut(T) -> Option<String>) -> Vec<String> {
    all.into_iter().filter_map(problem).collect()
}

fn group<K: Eq + Hash, T>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut groups: HashMap<K, Vec<T>> = HashMap::new();
    for one in all {
        groups.entry(key(&one)).or_default().push(one);
    }
    groups
}

fn orders(books: &Books) -> HashMap<&str, &Order> {
    books.orders.iter().map(|order| (order.id.as_str(), order)).collect()
}

fn on_lightning(books: &Books) -> impl Iterator<Item = &Payment> {
    books.payments.iter().filter(|payment| payment.provider == "lightning")
}

fn by_card(books: &Books) -> impl Iterator<Item = &Payment> {
    books.payments.iter().filter(|payment| payment.provider == "stripe")
}

/// Whether the order was delivered for this payment, whatever became of the money since.
fn is_delivered(payment: &Payment, order: &Order) -> bool {
    let bought =
        ["applied", "applied_late", "disputed", "refunded", "charged_back"].contains(&payment.outcome.as_str());
    bought && order.subscription_id.is_some() && order.paid_at == Some(payment.settled_at)
}

/// Each order that was delivered, with its payment.
fn delivered(books: &Books) -> impl Iterator<Item = (&Payment, &Order)> {
    let orders = orders(books);
    books.payments.iter().filter_map(move |payment| {
        let order = orders.get(payment.order_id.as_deref()?).copied()?;
        is_delivered(payment, order).then_some((payment, order))
    })
}

/// Whether a bank asks for the money of an order.
fn is_disputed(books: &Books, order: &str) -> bool {
    books.disputes.iter().any(|dispute| dispute.order_id == order && dispute.outcome.is_none())
}
