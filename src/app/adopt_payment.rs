//! Adopting: an orphaned payment gets its order back, by the operator's hand, and what was bought with it.
//!
//! An invoice of ours says which order it was made for, and its preimage follows from that order's id and the instance
//! key; a page at Stripe names both. So the order that a restored backup lost comes back under its own id, payment hash
//! and claim token, and the customer's app, which still knows these, finds it paid. What the order was for, only the
//! operator can say.

use serde_json::{Value, json};
use uuid::Uuid;

use super::apply_invoice::order_made_for;
use super::operator::By;
use super::request_checkout::{account, page_of};
use super::resolve_payment::{PaymentName, find_payment};
use super::settle::{event_of, evidence, in_unit, paid_facts, pay, record_excess, record_orphan};
use super::{App, Error, NO_SUCH_KEY, Unavailable, price, renew};
use crate::domain::Invalid;
use crate::domain::bolt11::{Expected, Invoice};
use crate::domain::event::{EventType, Subject};
use crate::domain::instance_key::KeyId;
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::money::{Amount, Msats, Price, Quote};
use crate::domain::order::{ClaimBy, Order, OrderKind, Purchase, Rail};
use crate::domain::payment::{Outcome, Payment, Provider};
use crate::domain::plan::Plan;
use crate::domain::server::ServerId;
use crate::domain::subscription::Standing;
use crate::domain::time::Timestamp;
use crate::lnd::{InvoiceState, NodeInvoice, Settlement};
use crate::store::{Checkout, NewOrder, Tx};
use crate::stripe::{self, PaymentStatus};

/// What the operator says that was bought.
#[derive(Debug, Clone)]
pub struct Adoption {
    pub payment: PaymentName,
    pub months: u32,
    pub bought: Bought,
    pub amount: AmountCheck,
}

/// A new subscription, or more time for one.
#[derive(Debug, Clone)]
pub enum Bought {
    New { server: ServerId, public_key: Option<PublicKey>, claim_by: ClaimBy },
    Renewal { public_key: PublicKey },
}

/// Whether the months must be what the amount pays for at the prices of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountCheck {
    Fits,
    /// Prices or rate have moved since: the operator knows better.
    Any,
}

/// An orphan as the ledger shows it, with all that follows from what it was paid on.
struct Orphan {
    payment: Payment,
    order: Uuid,
    key_id: KeyId,
    /// With the price that was asked for.
    rail: Rail,
    created_at: Timestamp,
    shown: Shown,
}

/// What its customer was shown.
enum Shown {
    Invoice { checked: Invoice, add_index: u64 },
    Page(Checkout),
}

/// Turns an orphaned payment into its order and a subscription, in one transaction; returns the order.
///
/// # Errors
/// [`Error::Conflict`] for a payment that is no orphan, or not any more; [`Error::Invalid`] where the months do not fit
/// the amount, or the node's invoice or Stripe's page is not ours or not paid; [`Unavailable::SoldOut`] changes nothing.
pub async fn adopt_payment(app: &App, adoption: &Adoption) -> Result<Order, Error> {
    let orphan = find_orphan(app, adoption.payment).await?;
    let purchase = purchase(app, adoption).await?;
    if adoption.amount == AmountCheck::Fits {
        check_amount(app, adoption.months, &orphan.rail)?;
    }
    let new = new_order(app, &orphan, purchase)?;
    // As for a settlement: outrun by another one of the same key, a second attempt sees it.
    for _ in 0..3 {
        if let Some(order) = attempt(app, &orphan, &new).await? {
            return Ok(order);
        }
    }
    Err(Error::Broken(Invalid::new("an adoption was outrun three times")))
}

async fn attempt(app: &App, orphan: &Orphan, new: &NewOrder) -> Result<Option<Order>, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let payment = tx.lock_payment(orphan.payment.id).await?.ok_or(Error::NotFound("no such payment"))?;
    still_orphaned(&payment)?;
    let order = restore_order(&mut tx, orphan, new).await?;
    let evidence = &payment.evidence;
    let outcome = match pay(app, &mut tx, &order, evidence, now).await? {
        None => return Ok(None),
        Some(Outcome::RefundDue) => return Err(Unavailable::SoldOut(order.server_id).into()),
        Some(outcome) => outcome,
    };
    // It was seen that it is no less.
    let excess = evidence.amount.excess_over(order.price()).unwrap_or_else(|| evidence.amount.nothing());
    if !tx.give_payment_to(payment.id, order.id, excess, outcome).await? {
        return Ok(None);
    }
    let facts = json!({ "orderId": order.id, "months": order.kind.months(), in_unit("excess", excess): excess.get() });
    let data = By::Operator(None).tells(&facts);
    tx.record(app.new_id(), EventType::PaymentAdopted, Subject::Payment(payment.id), &data, now).await?;
    let mut data = paid_facts(&order, evidence.amount, excess);
    data.insert("adopted".into(), json!(true));
    tx.record(app.new_id(), event_of(outcome), Subject::Order(order.id), &Value::Object(data), now).await?;
    record_excess(app, &mut tx, payment.id, order.id, excess, now).await?;
    let order = tx.lock_order(order.id).await?.ok_or(Error::NotFound("the order that was just stored"))?;
    tx.commit().await?;
    tracing::info!(order.id = %order.id, payment_hash = order.payment_hash_prefix(), "an orphaned payment was adopted");
    app.changes.announce(&order.id);
    Ok(Some(order))
}

async fn restore_order(tx: &mut Tx, orphan: &Orphan, new: &NewOrder) -> Result<Order, Error> {
    if tx.lock_order(new.id).await?.is_some() {
        let message = format!("order {} is in this database already: see `wiretoll order show {}`", new.id, new.id);
        return Err(Error::Conflict(message));
    }
    tx.insert_order(new).await?;
    let pending = match &orphan.shown {
        Shown::Invoice { checked, add_index } => tx.mark_pending(new.id, checked, *add_index).await?,
        Shown::Page(page) => tx.mark_shown_checkout(new.id, page).await?,
    };
    pending.ok_or(Error::NotFound("the order that was just stored"))
}

/// Asks the ledger, then the node or Stripe, which have the last word on what was paid.
async fn find_orphan(app: &App, name: PaymentName) -> Result<Orphan, Error> {
    let known = find_payment(app, name).await?;
    known.as_ref().map_or(Ok(()), still_orphaned)?;
    match known {
        Some(payment) if payment.evidence.provider == Provider::Stripe => orphan_by_card(app, payment).await,
        known => orphan_on_lightning(app, name, known).await,
    }
}

/// Stripe made the page as it was asked, so nothing but its payment has to be checked.
async fn orphan_by_card(app: &App, payment: Payment) -> Result<Orphan, Error> {
    let stripe = account(app)?;
    let session = stripe.session_of(&payment.evidence.external_id).await.map_err(|error| stripe_down(&error))?;
    let session = session.ok_or_else(|| refused("Stripe knows no page of this payment"))?;
    let order = session.order().ok_or_else(|| refused("the page of this payment names no order of ours"))?;
    if session.livemode != stripe.settings().mode.is_live() {
        return Err(refused("this payment is of the other mode of Stripe, live or test").into());
    }
    let Amount::UsdCents(price) = payment.evidence.amount else {
        return Err(refused("this payment is not in dollars, and nothing is sold for anything else").into());
    };
    let amount = (session.amount_total, session.currency.as_deref());
    if session.payment_status != PaymentStatus::Paid || amount != (Some(price.get()), Some("usd")) {
        return Err(Error::Conflict("ledger and Stripe tell of different amounts of this payment".into()));
    }
    Ok(Orphan {
        payment,
        order,
        key_id: session.key().unwrap_or(app.keyring.current()),
        rail: Rail::Card { price, session: None },
        created_at: session.created(),
        shown: Shown::Page(page_of(stripe, &session)),
    })
}

async fn orphan_on_lightning(app: &App, name: PaymentName, known: Option<Payment>) -> Result<Orphan, Error> {
    let hash = match (&known, name) {
        (Some(payment), _) => PaymentHash::parse(&payment.evidence.external_id).map_err(Error::Broken)?,
        (None, PaymentName::PaymentHash(hash)) => hash,
        (None, PaymentName::Id(_)) => return Err(Error::NotFound("the ledger has no payment of this id")),
    };
    if known.is_none() && app.store.order_by_payment_hash(hash).await?.is_some() {
        return Err(Error::Conflict("this payment hash is no orphan's: its order is in this database".into()));
    }
    let invoice = app.node.lookup_invoice(hash).await.map_err(|error| node_down(&error))?;
    let invoice = invoice.ok_or_else(|| refused("the node does not know an invoice of this payment hash"))?;
    let InvoiceState::Settled(settlement) = invoice.state else {
        return Err(refused("the node says that this invoice is not settled: there is no payment to adopt").into());
    };
    check_whole(invoice.amount, settlement.amount)?;
    let (order, key_id) = order_made_for(app, &invoice)
        .ok_or_else(|| refused("this invoice names no order that was made with an instance key that is given here"))?;
    let checked = check_invoice(app, &invoice).await?;
    let payment = match known {
        Some(payment) if payment.evidence != evidence(hash, &settlement) => {
            return Err(Error::Conflict("ledger and node tell of different amounts or times of this payment".into()));
        }
        Some(payment) => payment,
        None => recorded(app, name, order, hash, &settlement).await?,
    };
    // Ours are whole sats.
    let quote = Quote { amount: invoice.amount.to_sats_rounded_up(), usd: None, rate: None };
    Ok(Orphan {
        payment,
        order,
        key_id,
        rail: Rail::Lightning { payment_hash: hash, quote },
        created_at: invoice.created_at,
        shown: Shown::Invoice { checked, add_index: invoice.add_index },
    })
}

/// A payment that no sweep has come across yet is entered first, as the sweep would.
async fn recorded(
    app: &App,
    name: PaymentName,
    order: Uuid,
    hash: PaymentHash,
    settlement: &Settlement,
) -> Result<Payment, Error> {
    record_orphan(app, &evidence(hash, settlement), order, None).await?;
    find_payment(app, name).await?.ok_or(Error::NotFound("the payment that was just stored"))
}

/// LND settles no invoice with less than it asked for; what says otherwise is refused, as a settlement would be.
fn check_whole(asked: Msats, paid: Msats) -> Result<(), Invalid> {
    if paid < asked {
        return Err(refused("the node says that less was paid than the invoice asked for: look at it there"));
    }
    Ok(())
}

fn still_orphaned(payment: &Payment) -> Result<(), Error> {
    if let Some(resolution) = &payment.resolution {
        let (at, note) = (resolution.at, resolution.note.as_str());
        return Err(Error::Conflict(format!("this payment was resolved at {at}: {note}")));
    }
    match payment.order_id {
        None if payment.outcome == Outcome::Orphaned => Ok(()),
        None => Err(Error::Conflict(format!("the money of this payment went back: it is {}", payment.outcome.name()))),
        Some(order) => {
            Err(Error::Conflict(format!("this payment is order {order}'s: see `wiretoll order show {order}`")))
        }
    }
}

async fn check_invoice(app: &App, invoice: &NodeInvoice) -> Result<Invoice, Error> {
    let payee = app.node.info().await.map_err(|error| node_down(&error))?.id;
    let expected =
        Expected { payment_hash: invoice.payment_hash, amount: invoice.amount, network: app.shop.network, payee };
    let parsed = Invoice::parse(&invoice.payment_request)?;
    Ok(parsed.check(&expected, Timestamp::EPOCH)?)
}

/// The longest plan that the amount pays for at the prices of now must be the one that the operator names.
fn check_amount(app: &App, months: u32, paid_on: &Rail) -> Result<(), Error> {
    let mut fitting = None;
    for plan in app.shop.plans.iter() {
        if is_paid_for(app, plan, paid_on)? {
            fitting = Some(plan.months);
        }
    }
    if fitting == Some(months) {
        return Ok(());
    }
    let fitting = fitting.map_or("no plan".to_owned(), |months| format!("{months} months"));
    let message = format!(
        "the amount does not fit: {} was asked for, which pays for {fitting} at the prices of now; \
         --any-price adopts it for {months} all the same",
        paid_on.asked()
    );
    Err(Invalid::new(message).into())
}

fn is_paid_for(app: &App, plan: &Plan, paid_on: &Rail) -> Result<bool, Error> {
    Ok(match (paid_on, plan.price) {
        (Rail::Lightning { quote, .. }, _) => price::price(app, plan)?.amount <= quote.amount,
        (Rail::Card { price, .. }, Price::Usd(asked)) => asked <= *price,
        (Rail::Card { .. }, Price::Sats(_)) => false,
    })
}

async fn purchase(app: &App, adoption: &Adoption) -> Result<Purchase, Error> {
    let months = app.shop.plans.find(adoption.months)?.months;
    match &adoption.bought {
        Bought::New { server, public_key, claim_by } => {
            app.shop.server(server).ok_or_else(|| refused(&format!("no server {server} is configured")))?;
            public_key.map_or(Ok(()), |key| app.check_customer_key(key))?;
            Ok(Purchase {
                kind: OrderKind::New { months },
                server_id: server.clone(),
                public_key: *public_key,
                claim_by: *claim_by,
                referral_code: None,
            })
        }
        Bought::Renewal { public_key } => {
            let subscription = renew::subscription_of(app, *public_key).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
            if subscription.standing == Standing::Revoked {
                return Err(Error::Revoked);
            }
            Ok(renew::renewal_of(&subscription, *public_key, months))
        }
    }
}

fn new_order(app: &App, orphan: &Orphan, purchase: Purchase) -> Result<NewOrder, Error> {
    Ok(NewOrder {
        id: orphan.order,
        key_id: orphan.key_id,
        purchase,
        rail: orphan.rail.clone(),
        // Kept only while an order is open, which this one never is.
        origin: app.keyring.get(orphan.key_id)?.origin("adopted"),
        // Its owner adopts it again with the claim token, as an anonymous one.
        account: None,
        created_at: orphan.created_at,
        callback: None,
    })
}

fn stripe_down(error: &stripe::Error) -> Error {
    tracing::warn!(error = error as &dyn std::error::Error, "Stripe could not be asked about a payment");
    Unavailable::StripeDown.into()
}

fn node_down(error: &crate::lnd::Error) -> Error {
    Unavailable::NodeDown(error.to_string()).into()
}

fn refused(message: &str) -> Invalid {
    Invalid::new(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_price_is_enough_and_a_thousandth_of_a_sat_less_is_not() {
        assert!(check_whole(Msats::new(5_000), Msats::new(5_001)).is_ok());
        assert!(check_whole(Msats::new(5_000), Msats::new(5_000)).is_ok());
        assert!(check_whole(Msats::new(5_000), Msats::new(4_999)).is_err());
    }
}
