//! From `creating` to `pending` for a card: a page at Stripe, checked, stored, and only then shown.
//!
//! Stripe knows the page by the order's id, so asking twice, or again after a crash, ends at the same one.

use super::{App, Error, Unavailable, close_orders};
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::money::UsdCents;
use crate::domain::order::{Order, OrderState, Rail};
use crate::domain::time::{SECOND, Timestamp};
use crate::store::Checkout;
use crate::stripe::{self, NewSession, Session, SessionStatus, Stripe};

/// The account at Stripe.
///
/// # Errors
/// [`Error::Invalid`] where this shop takes no cards.
pub fn account(app: &App) -> Result<&Stripe, Error> {
    let none = || Invalid::new("this shop takes no cards: leave paymentMethod out, or send \"lightning\"");
    app.stripe.as_ref().ok_or_else(|| none().into())
}

/// Gives an order in `creating` its page; an order that has one is returned as it is.
///
/// # Errors
/// [`Unavailable::StripeDown`] leaves the order as it is, for a repeat. When Stripe refuses, or returns a page that is
/// not what was asked for, the order has failed.
pub async fn request_checkout(app: &App, order: Order) -> Result<Order, Error> {
    let (OrderState::Creating, Rail::Card { price, .. }) = (&order.state, &order.rail) else { return Ok(order) };
    let stripe = account(app)?;
    match make_page(app, stripe, &order).await {
        Ok(session) => match checked(stripe, &session, &order, *price) {
            Ok(checkout) => store_checkout(app, &order, &checkout).await,
            Err(problem) => give_up(app, &order, &problem.to_string()).await,
        },
        Err(error) => refuse(app, &order, &error).await,
    }
}

/// Asks for the page of an order; a repeat asks for exactly the same and gets the one that an earlier attempt made.
pub async fn make_page(app: &App, stripe: &Stripe, order: &Order) -> Result<Session, stripe::Error> {
    let Rail::Card { price, .. } = order.rail else {
        return Err(stripe::Error::Refused { message: "this order is paid on Lightning".to_owned() });
    };
    let new = NewSession {
        order: order.id,
        key: order.key_id,
        price,
        description: description(app, order),
        expires_at: expiry(stripe, order),
    };
    let session = stripe.create_session(&new).await?;
    crash_point!("request_checkout.made");
    Ok(session)
}

/// Stores the page that a payment was made on for an order in `creating`: its customer was shown it before the database
/// was restored.
pub async fn adopt_page(app: &App, order: &Order, session: &Session) -> Result<Order, Error> {
    store_checkout(app, order, &page_of(account(app)?, session)).await
}

/// A page that is complete has no address any more: it has led its customer to ours.
pub fn page_of(stripe: &Stripe, session: &Session) -> Checkout {
    let url = session.url.clone().unwrap_or_else(|| stripe.settings().success_url.clone());
    Checkout { session: session.id.clone(), url, expires_at: session.expires_at() }
}

async fn refuse(app: &App, order: &Order, error: &stripe::Error) -> Result<Order, Error> {
    if error.is_retryable() {
        tracing::warn!(order.id = %order.id, error = error as &dyn std::error::Error, "Stripe made no page");
        return Err(Unavailable::StripeDown.into());
    }
    give_up(app, order, &error.to_string()).await
}

/// Of the order's own time, so that a repeat asks for exactly the same.
fn expiry(stripe: &Stripe, order: &Order) -> Timestamp {
    let lifetime = i64::try_from(stripe.settings().session_lifetime.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(order.created_at.millis().saturating_add(lifetime) / SECOND * SECOND)
}

/// No server, no customer.
fn description(app: &App, order: &Order) -> String {
    match order.kind.months() {
        Some(1) => format!("{} VPN, 1 month", app.shop.name),
        Some(months) => format!("{} VPN, {months} months", app.shop.name),
        None => format!("{} VPN, bandwidth", app.shop.name),
    }
}

/// The page, if it is for this order and its price, on a network's right side of money.
fn checked(stripe: &Stripe, session: &Session, order: &Order, price: UsdCents) -> Result<Checkout, Invalid> {
    let asks_for_it = session.amount_total == Some(price.get()) && session.currency.as_deref() == Some("usd");
    if session.order() != Some(order.id) || !asks_for_it {
        return Err(Invalid::new("the page is for another order or another price"));
    }
    if session.livemode != stripe.settings().mode.is_live() {
        return Err(Invalid::new("the key belongs to the other mode of Stripe, live or test"));
    }
    match (&session.url, session.status) {
        (Some(url), SessionStatus::Open) => {
            Ok(Checkout { session: session.id.clone(), url: url.clone(), expires_at: session.expires_at() })
        }
        _ => Err(Invalid::new("the page is closed")),
    }
}

async fn store_checkout(app: &App, order: &Order, checkout: &Checkout) -> Result<Order, Error> {
    let mut tx = app.store.begin().await?;
    let marked = tx.mark_shown_checkout(order.id, checkout).await?;
    let is_pending = marked.is_some();
    let order = match marked {
        Some(order) => order,
        None => tx.lock_order(order.id).await?.ok_or(Error::NotFound("an order that was just stored"))?,
    };
    crash_point!("store_checkout.before_commit");
    tx.commit().await?;
    crash_point!("store_checkout.committed");
    if is_pending {
        app.metrics.order("pending");
    }
    match order.state {
        // Somebody else gave it up meanwhile.
        OrderState::Failed { .. } => Err(Unavailable::StripeDown.into()),
        _ => Ok(order),
    }
}

/// Nobody was shown the page, so nobody pays on it; where Stripe made one all the same, it is closed there first.
async fn give_up(app: &App, order: &Order, why: &str) -> Result<Order, Error> {
    tracing::error!(order.id = %order.id, reason = why, "Stripe gave no usable page");
    close_orders::close(app, order).await?;
    Err(Unavailable::StripeDown.into())
}
