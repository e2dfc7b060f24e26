//! What money bought: grants, bandwidth, and bonuses for who brought the buyer.

use std::collections::{HashMap, HashSet};

use wiretoll::domain::subscription::{self, Grant, Span};
use wiretoll::domain::time::Timestamp;

use super::{delivered, group, is_disputed, orders, wrong};
use crate::books::{self, Books, Order};

pub fn applied_payments_are_grants(books: &Books) -> Vec<String> {
    let grants = group(books.grants.iter().filter(|grant| grant.kind != "referral"), |grant| grant.order_id.as_deref());
    let founders: HashSet<_> = books.subscriptions.iter().map(|one| one.founded_by.as_str()).collect();
    wrong(delivered(books), |(payment, order)| {
        let given = grants.get(&Some(order.id.as_str())).map(Vec::as_slice);
        if order.kind == "bandwidth_reset" {
            let right = given.is_none() && order.months.is_none() && order.target_id == order.subscription_id;
            return (!right).then(|| format!("{order:?} was given {given:?}"));
        }
        let kind = if founders.contains(order.id.as_str()) { "purchase" } else { "renewal" };
        match given {
            Some([grant])
                if grant.kind == kind
                    && grant.subscription_id == order.subscription_id
                    && (order.target_id.is_none() || order.target_id == order.subscription_id)
                    && grant.months == order.months
                    && (order.created_at..=payment.recorded_at).contains(&grant.granted_at) =>
            {
                None
            }
            found => Some(format!("{order:?} was given {found:?} as a {kind}")),
        }
    })
}

pub fn applied_resets_are_counted(books: &Books) -> Vec<String> {
    let counted: HashMap<_, _> = books.resets.iter().map(|one| (one.subscription_id.as_str(), one.resets)).collect();
    wrong(&books.subscriptions, |one| {
        let (given, counted) = (applied_resets(books, &one.id), counted.get(one.id.as_str()).copied().unwrap_or(0));
        (i64::try_from(given) != Ok(counted)).then(|| format!("{one:?} paid for {given} and was given {counted}"))
    })
}

pub fn applied_resets(books: &Books, subscription: &str) -> usize {
    let is_one =
        |order: &&Order| order.kind == "bandwidth_reset" && order.subscription_id.as_deref() == Some(subscription);
    books.orders.iter().filter(is_one).count()
}

/// Only what an operator gives has none; it counts until its payment is given back or lost.
pub fn grants_have_payments(books: &Books) -> Vec<String> {
    let payments: HashMap<_, _> = delivered(books).map(|(payment, order)| (order.id.as_str(), payment)).collect();
    wrong(books.grants.iter().filter(|grant| grant.kind != "operator"), |grant| {
        let payment = grant.order_id.as_deref().and_then(|order| payments.get(order));
        let right = payment.is_some_and(|payment| {
            let is_gone = matches!(payment.outcome.as_str(), "refunded" | "charged_back");
            grant.revoked_at.is_some() == is_gone
        });
        (!right).then(|| format!("{grant:?} is of {payment:?}"))
    })
}

/// A stranger's purchase always brings one. A buyer who is known brings one at most, and nobody brings their own.
pub fn bonuses_are_of_purchases(books: &Books) -> Vec<String> {
    let owners: HashMap<_, _> = books.codes.iter().map(|one| (one.code.as_str(), one.account_id.as_str())).collect();
    let bonuses =
        group(books.grants.iter().filter(|grant| grant.kind == "referral"), |grant| grant.order_id.as_deref());
    let bought: HashSet<_> = delivered(books).map(|(_, order)| order.id.as_str()).collect();
    let mut found = wrong(&books.orders, |order| {
        let given = bonuses.get(&Some(order.id.as_str())).map_or(&[][..], Vec::as_slice);
        let owner = order.referral_code.as_deref().and_then(|code| owners.get(code)).copied();
        let due = Some(order).filter(|order| order.kind == "new" && bought.contains(order.id.as_str()));
        let months =
            due.and_then(|order| books.bonuses.of(u32::try_from(order.months?).ok()?, 0)).filter(|_| owner.is_some());
        let right = match (months, given) {
            (None, []) => true,
            (Some(_), []) => order.account_id.is_some() || is_owners(books, order, owner),
            (Some(months), [bonus]) => {
                bonus.months == Some(months.into())
                    && bonus.account_id.as_deref() == owner
                    && order.account_id.as_deref() != owner
            }
            _ => false,
        };
        (!right).then(|| format!("{order:?} brought {given:?}"))
    });
    let of_account = |order: &&Order| order.account_id.is_some() && bonuses.contains_key(&Some(order.id.as_str()));
    let by_buyer = group(books.orders.iter().filter(of_account), |order| order.account_id.as_deref());
    found.extend(wrong(by_buyer, |(_, orders)| (orders.len() > 1).then(|| format!("one buyer's: {orders:?}"))));
    found
}

/// Whether what an order extended is its code's owner's.
fn is_owners(books: &Books, order: &Order, owner: Option<&str>) -> bool {
    let extended = books.subscriptions.iter().find(|one| Some(&one.id) == order.subscription_id.as_ref());
    extended.is_some_and(|one| one.founded_by != order.id && one.account_id.as_deref() == owner)
}

pub fn subscriptions_last_as_granted(books: &Books) -> Vec<String> {
    let orders = orders(books);
    let grants = group(&books.grants, |grant| grant.subscription_id.as_deref());
    wrong(&books.subscriptions, |one| {
        let given = grants.get(&Some(one.id.as_str())).map_or(&[][..], Vec::as_slice);
        let numbered = given.iter().zip(0..).all(|(grant, number)| grant.sequence == Some(number));
        let founder = orders.get(one.founded_by.as_str());
        let is_founded = founder.is_some_and(|order| {
            order.kind == "new" && order.state == "paid" && order.subscription_id.as_ref() == Some(&one.id)
        });
        let right = is_end_of(books, given, one.ends_at) && numbered && is_founded;
        (!right).then(|| format!("{one:?} was given {given:?}, founded by {founder:?}"))
    })
}

/// What counts makes the end; what is taken back ends at that moment, and not in the past.
fn is_end_of(books: &Books, given: &[&books::Grant], end: i64) -> bool {
    let is_disputed = |grant: &books::Grant| grant.order_id.as_ref().is_some_and(|order| is_disputed(books, order));
    let (counting, taken_back): (Vec<_>, Vec<_>) =
        given.iter().partition(|grant| grant.revoked_at.is_none() && !is_disputed(grant));
    let fold = subscription::ends_at(counting.into_iter().map(span)).ok().map(Timestamp::millis);
    let began = given.first().map(|first| first.granted_at);
    let was_cut = |grant: &books::Grant| grant.revoked_at.is_none_or(|at| end <= at);
    fold == Some(end)
        || (fold.or(began).is_some_and(|least| end >= least) && taken_back.iter().any(|grant| was_cut(grant)))
}

fn span(grant: &books::Grant) -> Grant {
    let number = |number: i64| u32::try_from(number).unwrap();
    let span = grant.days.map_or_else(|| Span::Months(number(grant.months.unwrap())), |days| Span::Days(number(days)));
    Grant { span, granted_at: Timestamp::from_millis(grant.granted_at) }
}
