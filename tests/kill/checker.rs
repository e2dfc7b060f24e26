//! What must be true of node and database together, whatever was killed when: one function a rule, and it only reads.
//!
//! The node is the judge. A rule returns a line for each thing that is not as it should be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use wiretoll::domain::server::Slot;
use wiretoll::domain::subscription::{self, Grant, Span};
use wiretoll::domain::time::Timestamp;
use wiretoll::lnd::{InvoiceState, NodeInvoice};

use crate::books::{self, Books, Order, Payment, settlement};

type Rule = fn(&Books) -> Vec<String>;

/// When a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At every moment, also right after a kill.
    Always,
    /// Once the service has caught up with the node.
    AtRest,
}

use When::{Always, AtRest};

pub const RULES: [(&str, When, Rule); 22] = [
    ("a settled invoice is one payment of its amount", AtRest, settled_invoices_are_payments),
    ("a payment is a settled invoice", Always, payments_are_settled_invoices),
    ("no satoshi comes or goes", AtRest, money_is_conserved),
    ("a payment's outcome is what became of its order", Always, outcomes_fit_orders),
    ("what was applied is one grant", Always, applied_payments_are_grants),
    ("a reset that was applied is one of its subscription's", Always, applied_resets_are_counted),
    ("there is no grant without its payment", Always, grants_have_payments),
    ("a subscription lasts as long as its grants", Always, subscriptions_last_as_granted),
    ("an order and its invoice are the same", Always, orders_have_their_invoices),
    ("what is closed here is closed at the node", Always, closed_orders_are_closed_invoices),
    ("what is open here is open at the node", AtRest, open_orders_are_open_invoices),
    ("an invoice of ours is known", AtRest, invoices_are_known),
    ("a slot has one peer, and the counts say so", Always, slots_have_one_peer),
    ("an order that can be paid has its slot, a dead one none", Always, reservations_are_of_open_orders),
    ("a held subscription has one peer", Always, subscriptions_have_one_peer),
    ("a bound key is its subscription's alone", Always, keys_have_one_owner),
    ("an order's story is told once", Always, order_events_are_told_once),
    ("a subscription's story is told once", Always, subscription_events_are_told_once),
    ("events are numbered without a gap", Always, events_have_no_gap),
    ("the position is a settlement of the node", Always, positions_are_settlements),
    ("a claimed config is what is stored, and nobody else's", Always, claims_are_stored),
    ("a remembered key stands for a stored order", Always, remembered_orders_are_stored),
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

/// The payment of each order that has one.
fn payments_of_orders(books: &Books) -> HashMap<&str, &Payment> {
    books.payments.iter().filter_map(|payment| Some((payment.order_id.as_deref()?, payment))).collect()
}

fn is_applied(payment: &Payment) -> bool {
    matches!(payment.outcome.as_str(), "applied" | "applied_late")
}

// --- money -----------------------------------------------------------------------------------------------------------

fn settled_invoices_are_payments(books: &Books) -> Vec<String> {
    let payments = group(&books.payments, |payment| payment.external_id.clone());
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

fn payments_are_settled_invoices(books: &Books) -> Vec<String> {
    let settled: HashSet<_> = books.settled().map(|(invoice, _)| invoice.payment_hash.to_string()).collect();
    wrong(&books.payments, |payment| (!settled.contains(&payment.external_id)).then(|| format!("{payment:?}")))
}

fn money_is_conserved(books: &Books) -> Vec<String> {
    let arrived: u64 = books.settled().map(|(_, settlement)| settlement.amount.get()).sum();
    let recorded: i64 = books.payments.iter().map(|payment| payment.amount).sum();
    wrong([()], |()| {
        (u64::try_from(recorded) != Ok(arrived)).then(|| format!("{arrived} msat arrived, {recorded} are recorded"))
    })
}

/// The table of the one automatic answer: in time, late, too little, nothing to give, or of no order that is known.
fn outcomes_fit_orders(books: &Books) -> Vec<String> {
    let orders = orders(books);
    let by_hash: HashSet<_> = books.orders.iter().map(|order| order.payment_hash.as_str()).collect();
    wrong(&books.payments, |payment| {
        let fits = match payment.order_id.as_deref().and_then(|id| orders.get(id)) {
            None => payment.outcome == "orphaned" && !by_hash.contains(payment.external_id.as_str()),
            Some(order) => order.payment_hash == payment.external_id && outcome_fits(payment, order),
        };
        (!fits).then(|| format!("{payment:?}"))
    })
}

fn outcome_fits(payment: &Payment, order: &Order) -> bool {
    let late = order.invoice_expires_at.is_some_and(|expiry| payment.settled_at > expiry);
    let paid = order.state == "paid" && order.paid_at == Some(payment.settled_at);
    let excess = (payment.amount - order.amount_msat).max(0);
    let fits = match payment.outcome.as_str() {
        "applied" => paid && !late && order.subscription_id.is_some(),
        "applied_late" => paid && late && order.subscription_id.is_some(),
        "refund_due" => (paid || order.state == "failed") && order.subscription_id.is_none(),
        _ => false,
    };
    fits && payment.amount >= order.amount_msat && payment.excess == excess
}

// --- what it bought --------------------------------------------------------------------------------------------------

fn applied_payments_are_grants(books: &Books) -> Vec<String> {
    let (orders, grants) = (orders(books), group(&books.grants, |grant| grant.order_id.as_str()));
    let founders: HashSet<_> = books.subscriptions.iter().map(|one| one.founded_by.as_str()).collect();
    wrong(books.payments.iter().filter(|payment| is_applied(payment)), |payment| {
        let order = orders[payment.order_id.as_deref()?];
        if order.kind == "bandwidth_reset" {
            let given = grants.get(order.id.as_str());
            let right = given.is_none() && order.months.is_none() && order.target_id == order.subscription_id;
            return (!right).then(|| format!("{order:?} was given {given:?}"));
        }
        let kind = if founders.contains(order.id.as_str()) { "purchase" } else { "renewal" };
        match grants.get(order.id.as_str()).map(Vec::as_slice) {
            Some([grant])
                if grant.kind == kind
                    && Some(&grant.subscription_id) == order.subscription_id.as_ref()
                    && (order.target_id.is_none() || order.target_id == order.subscription_id)
                    && Some(grant.months) == order.months
                    && (order.created_at..=payment.recorded_at).contains(&grant.granted_at) =>
            {
                None
            }
            found => Some(format!("{order:?} was given {found:?} as a {kind}")),
        }
    })
}

fn applied_resets_are_counted(books: &Books) -> Vec<String> {
    let counted: HashMap<_, _> = books.resets.iter().map(|one| (one.subscription_id.as_str(), one.resets)).collect();
    wrong(&books.subscriptions, |one| {
        let (given, counted) = (applied_resets(books, &one.id), counted.get(one.id.as_str()).copied().unwrap_or(0));
        (i64::try_from(given) != Ok(counted)).then(|| format!("{one:?} paid for {given} and was given {counted}"))
    })
}

fn applied_resets(books: &Books, subscription: &str) -> usize {
    let is_one =
        |order: &&Order| order.kind == "bandwidth_reset" && order.subscription_id.as_deref() == Some(subscription);
    books.orders.iter().filter(is_one).count()
}

fn grants_have_payments(books: &Books) -> Vec<String> {
    let payments = payments_of_orders(books);
    wrong(&books.grants, |grant| {
        let paid = payments.get(grant.order_id.as_str()).is_some_and(|payment| is_applied(payment));
        (!paid).then(|| format!("{grant:?}"))
    })
}

fn subscriptions_last_as_granted(books: &Books) -> Vec<String> {
    let (orders, grants) = (orders(books), group(&books.grants, |grant| grant.subscription_id.as_str()));
    wrong(&books.subscriptions, |one| {
        let given = grants.get(one.id.as_str()).map_or(&[][..], Vec::as_slice);
        let end = subscription::ends_at(given.iter().map(|grant| Grant {
            span: Span::Months(u32::try_from(grant.months).unwrap()),
            granted_at: Timestamp::from_millis(grant.granted_at),
        }));
        let numbered = given.iter().zip(0..).all(|(grant, number)| grant.sequence == number);
        let founder = orders.get(one.founded_by.as_str());
        let is_founded = founder.is_some_and(|order| {
            order.kind == "new" && order.state == "paid" && order.subscription_id.as_ref() == Some(&one.id)
        });
        let right = end == Ok(Timestamp::from_millis(one.ends_at)) && numbered && is_founded;
        (!right).then(|| format!("{one:?} was given {given:?}, founded by {founder:?}"))
    })
}

// --- orders and the node ---------------------------------------------------------------------------------------------

/// Each order with its invoice at the node, if that has one.
fn orders_with_invoices(books: &Books) -> impl Iterator<Item = (&Order, Option<&NodeInvoice>)> {
    let invoices: HashMap<_, _> = books.ours().map(|invoice| (invoice.payment_hash.to_string(), invoice)).collect();
    books.orders.iter().map(move |order| (order, invoices.get(&order.payment_hash).copied()))
}

fn orders_have_their_invoices(books: &Books) -> Vec<String> {
    wrong(orders_with_invoices(books), |(order, invoice)| {
        let right = match invoice {
            None => order.invoice.is_none(),
            Some(invoice) => {
                books.named_order(invoice) == Some(&order.id)
                    && i64::try_from(invoice.amount.get()) == Ok(order.amount_msat)
                    && order.invoice.as_ref().is_none_or(|text| *text == invoice.payment_request)
                    && order.add_index.is_none_or(|index| u64::try_from(index) == Ok(invoice.add_index))
            }
        };
        (!right).then(|| format!("{order:?} at the node is {invoice:?}"))
    })
}

/// The node is asked first, so there is no moment at which it could still be paid for what is closed here.
fn closed_orders_are_closed_invoices(books: &Books) -> Vec<String> {
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

fn open_orders_are_open_invoices(books: &Books) -> Vec<String> {
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
fn invoices_are_known(books: &Books) -> Vec<String> {
    let orders = orders(books);
    let orphans = books.payments.iter().filter(|payment| payment.outcome == "orphaned");
    let orphans: HashSet<_> = orphans.map(|payment| payment.external_id.as_str()).collect();
    wrong(books.ours(), |invoice| {
        let known = books.named_order(invoice).is_some_and(|order| orders.contains_key(order))
            || settlement(invoice).is_some() && orphans.contains(invoice.payment_hash.to_string().as_str());
        (!known).then(|| format!("{invoice:?}"))
    })
}

// --- slots, peers and keys -------------------------------------------------------------------------------------------

fn slots_have_one_peer(books: &Books) -> Vec<String> {
    let mut by_slot: HashMap<_, Vec<_>> = group(&books.peers, |peer| (peer.server_id.as_str(), peer.slot));
    let mut found = wrong(&books.slots, |slot| {
        let peers = by_slot.remove(&(slot.server_id.as_str(), slot.n)).unwrap_or_default();
        let one = matches!(peers.as_slice(), [peer] if peer.id == slot.peer_id);
        (!one).then(|| format!("{slot:?} has {peers:?}"))
    });
    found.extend(by_slot.into_values().map(|peers| format!("{peers:?} have no slot")));
    found.extend(wrong(&books.servers, |server| {
        let count = |reserved: bool| {
            let theirs = books.peers.iter().filter(|peer| peer.server_id == server.id);
            theirs.filter(|peer| peer.reserved_by_order.is_some() == reserved).count()
        };
        let counted = (i64::try_from(count(false)), i64::try_from(count(true)));
        (counted != (Ok(server.slots_held), Ok(server.slots_reserved))).then(|| format!("{server:?} has {counted:?}"))
    }));
    found
}

fn reservations_are_of_open_orders(books: &Books) -> Vec<String> {
    let reserving: HashSet<_> = books.peers.iter().filter_map(|peer| peer.reserved_by_order.as_deref()).collect();
    wrong(&books.orders, |order| {
        let open = matches!(order.state.as_str(), "creating" | "pending");
        let reserves = reserving.contains(order.id.as_str());
        // A renewal has the slot of its subscription.
        let right = if open && order.kind == "new" { reserves } else { open || !reserves };
        (!right).then(|| format!("{order:?} reserves: {reserves}"))
    })
}

fn subscriptions_have_one_peer(books: &Books) -> Vec<String> {
    let mut peers = group(books.peers.iter().filter(|peer| peer.holder_id.is_some()), |peer| peer.holder_id.clone());
    let mut found = wrong(&books.subscriptions, |one| {
        let peers = peers.remove(&Some(one.id.clone())).unwrap_or_default();
        let right = match (one.standing.as_str(), peers.as_slice()) {
            ("held", [peer]) => peer.server_id == one.server_id,
            ("released", []) => true,
            _ => false,
        };
        (!right).then(|| format!("{one:?} has {peers:?}"))
    });
    found.extend(peers.into_values().map(|peers| format!("{peers:?} are nobody's")));
    found
}

fn keys_have_one_owner(books: &Books) -> Vec<String> {
    let keys = group(&books.keys, |key| key.public_key.as_str());
    let mut found = wrong(&keys, |(key, owners)| (owners.len() != 1).then(|| format!("{key} belongs to {owners:?}")));
    found.extend(wrong(&books.peers, |peer| {
        let key = peer.public_key.as_deref()?;
        let owner = keys.get(key).map(|owners| &owners[0].subscription_id);
        (owner != peer.holder_id.as_ref()).then(|| format!("{peer:?} answers to a key of {owner:?}"))
    }));
    let orders = orders(books);
    found.extend(wrong(&books.private_keys, |made| {
        let owner = keys.get(made.public_key.as_str()).map(|owners| &owners[0].subscription_id);
        let wanted = orders.get(made.order_id.as_str()).and_then(|order| order.subscription_id.as_ref());
        (owner.is_none() || owner != wanted).then(|| format!("{made:?} was made for {wanted:?}, bound is {owner:?}"))
    }));
    found
}

/// Every config that was handed out: the same for whoever asks again, and its address and port for nobody else.
fn claims_are_stored(books: &Books) -> Vec<String> {
    let peers = group(books.peers.iter().filter(|peer| peer.holder_id.is_some()), |peer| peer.holder_id.clone());
    let mut found = wrong(&books.claimed, |config| {
        let peers = peers.get(&Some(config.subscription.clone())).map_or(&[][..], Vec::as_slice);
        let right = matches!(peers, [peer] if is_config_of(books, config, peer));
        (!right).then(|| format!("{config:?} is stored as {peers:?}"))
    });
    let places = group(&books.claimed, |config| (config.server.as_str(), config.port));
    found.extend(wrong(&places, |(place, configs)| {
        let alike = |one: &&crate::client::Config| {
            (one.subscription.clone(), one.address.clone(), one.public_key.clone(), one.preshared_key.clone())
        };
        let different: HashSet<_> = configs.iter().map(alike).collect();
        (different.len() != 1).then(|| format!("{place:?} was given to {configs:?}"))
    }));
    found
}

fn is_config_of(books: &Books, config: &crate::client::Config, peer: &books::Peer) -> bool {
    let (pool, slot) = (&books.pools[&peer.server_id], Slot(u32::try_from(peer.slot).unwrap()));
    config.server == peer.server_id
        && Some(&config.public_key) == peer.public_key.as_ref()
        && config.address == format!("{}/32", pool.address(slot).unwrap())
        && config.port == u64::from(pool.port(slot).unwrap())
}

// --- events, position, keys of requests ------------------------------------------------------------------------------

/// How often each thing happened to each subject.
fn told(books: &Books) -> HashMap<&str, BTreeMap<&str, usize>> {
    let mut told: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for event in &books.events {
        *told.entry(event.subject_id.as_str()).or_default().entry(event.name.as_str()).or_insert(0) += 1;
    }
    told
}

fn order_events_are_told_once(books: &Books) -> Vec<String> {
    let (told, payments) = (told(books), payments_of_orders(books));
    let mut found = wrong(&books.orders, |order| {
        let mut expected = BTreeMap::from([("order.created", 1)]);
        let happened = told.get(order.id.as_str()).cloned().unwrap_or_default();
        if let Some(payment) = payments.get(order.id.as_str()) {
            expected.insert(event_of(payment), 1);
        }
        // It may have expired before a late payment.
        let expired = happened.get("order.expired").copied().unwrap_or_default();
        if order.state == "expired" || (order.state == "paid" && expired > 0) {
            expected.insert("order.expired", 1);
        }
        if order.state == "failed" {
            expected.insert("order.failed", 1);
        }
        (happened != expected).then(|| format!("{order:?} is told as {happened:?}"))
    });
    found.extend(wrong(books.payments.iter().filter(|payment| payment.order_id.is_none()), |payment| {
        let happened = told.get(payment.id.as_str());
        (happened != Some(&BTreeMap::from([("payment.orphaned", 1)]))).then(|| format!("{payment:?}: {happened:?}"))
    }));
    found
}

fn event_of(payment: &Payment) -> &'static str {
    match payment.outcome.as_str() {
        "applied" => "order.paid",
        "applied_late" => "order.paid_late",
        _ => "order.refund_due",
    }
}

fn subscription_events_are_told_once(books: &Books) -> Vec<String> {
    let (told, orders) = (told(books), orders(books));
    let grants = group(&books.grants, |grant| grant.subscription_id.as_str());
    let bound: HashSet<_> = books
        .peers
        .iter()
        .filter(|peer| peer.public_key.is_some())
        .filter_map(|peer| peer.holder_id.as_deref())
        .collect();
    wrong(&books.subscriptions, |one| {
        let mut expected = BTreeMap::from([("subscription.created", 1)]);
        let renewals = grants.get(one.id.as_str()).map_or(0, Vec::len).saturating_sub(1);
        if renewals > 0 {
            expected.insert("subscription.renewed", renewals);
        }
        let resets = applied_resets(books, &one.id);
        if resets > 0 {
            expected.insert("subscription.bandwidth_reset", resets);
        }
        let came_with_key = orders.get(one.founded_by.as_str()).is_some_and(|order| order.public_key.is_some());
        if bound.contains(one.id.as_str()) && !came_with_key {
            expected.insert("claim.bound", 1);
        }
        let happened = told.get(one.id.as_str()).cloned().unwrap_or_default();
        (happened != expected).then(|| format!("{one:?} with {renewals} renewals is told as {happened:?}"))
    })
}

fn events_have_no_gap(books: &Books) -> Vec<String> {
    let subjects = group(&books.events, |event| event.subject_id.as_str());
    wrong(subjects, |(_, events)| {
        let numbered = events.iter().zip(0..).all(|(event, number)| event.sequence == number);
        (!numbered).then(|| format!("{events:?}"))
    })
}

fn positions_are_settlements(books: &Books) -> Vec<String> {
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

fn remembered_orders_are_stored(books: &Books) -> Vec<String> {
    let orders = orders(books);
    wrong(&books.remembered, |key| (!orders.contains_key(key.order_id.as_str())).then(|| format!("{key:?}")))
}
