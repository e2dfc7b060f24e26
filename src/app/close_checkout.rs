//! Closing an order that is to be paid by card: Stripe decides between expired and paid, never our clock.

use super::apply_session::{apply_session, is_open, paid_by};
use super::close_orders::{Closing, close_for_good};
use super::request_checkout::make_page;
use super::{App, Error};
use crate::crash::crash_point;
use crate::domain::order::{Order, Rail};
use crate::domain::time::{DAY, Timestamp};
use crate::stripe::{self, PaymentStatus, Session, SessionStatus, Stripe};

/// Without a clear word of Stripe an order waits this long beyond its page's end: then its page is closed by itself.
const SILENCE: i64 = DAY;
/// A page that was completed and not paid may be paid by a slow method for so long.
const SLOW_PAYMENT: i64 = 14 * DAY;

/// Closes the page of an order that is not paid yet, and does as Stripe says.
pub async fn close_checkout(app: &App, order: &Order) -> Result<Closing, Error> {
    let Some(stripe) = &app.stripe else { return after_silence(app, order).await };
    match &order.rail {
        Rail::Card { session: Some(session), .. } => close_page(app, stripe, order, session).await,
        _ => close_unseen(app, stripe, order).await,
    }
}

/// No page is known here. Whether one was made before a crash, or before the database was restored, Stripe tells when it
/// is asked for the same once more.
async fn close_unseen(app: &App, stripe: &Stripe, order: &Order) -> Result<Closing, Error> {
    match make_page(app, stripe, order).await {
        Ok(page) if page.order() == Some(order.id) => close_page(app, stripe, order, &page.id).await,
        Ok(_) | Err(stripe::Error::Refused { .. }) => close_for_good(app, order, None).await.map(|()| Closing::Closed),
        Err(error) => {
            tracing::warn!(order.id = %order.id, error = &error as &dyn std::error::Error, "Stripe does not tell of a page");
            // Stripe keeps an answer under the order's key, also a bad one: it may be this order's alone.
            let is_silence = error.is_retryable() && !matches!(error, stripe::Error::Unable { .. });
            match after_silence(app, order).await? {
                Closing::Undecided if is_silence => Ok(Closing::Silent),
                closing => Ok(closing),
            }
        }
    }
}

async fn close_page(app: &App, stripe: &Stripe, order: &Order, session: &str) -> Result<Closing, Error> {
    crash_point!("close_checkout.before_expire");
    match stripe.expire_session(session).await {
        Ok(session) => {
            crash_point!("close_checkout.expired");
            apply(app, order, &session).await
        }
        // Complete or expired already: that is no mistake.
        Err(stripe::Error::Refused { .. }) => {
            crash_point!("close_checkout.already_closed");
            look_up_checkout(app, stripe, order, session).await
        }
        Err(error) => {
            tracing::warn!(order.id = %order.id, error = &error as &dyn std::error::Error, "Stripe did not close a page");
            Ok(if error.is_retryable() { Closing::Silent } else { Closing::Undecided })
        }
    }
}

/// Asks what became of an order's page, and does as Stripe says.
pub async fn look_up_checkout(app: &App, stripe: &Stripe, order: &Order, session: &str) -> Result<Closing, Error> {
    match stripe.session(session).await {
        Ok(session) => {
            crash_point!("look_up_checkout.answered");
            apply(app, order, &session).await
        }
        Err(error) if error.is_retryable() => {
            tracing::warn!(order.id = %order.id, error = &error as &dyn std::error::Error, "Stripe could not be asked about a page");
            Ok(Closing::Silent)
        }
        Err(error) => {
            tracing::error!(order.id = %order.id, error = &error as &dyn std::error::Error, "Stripe does not know the page of an order");
            after_silence(app, order).await
        }
    }
}

async fn apply(app: &App, order: &Order, session: &Session) -> Result<Closing, Error> {
    apply_session(app, session, paid_by(app, session), None).await?;
    let order = app.store.order(order.id).await?;
    match order.filter(is_open) {
        None => Ok(Closing::Closed),
        Some(order) if is_given_up(session, app.clock.now()) => {
            close_for_good(app, &order, None).await.map(|()| Closing::Closed)
        }
        Some(_) => Ok(Closing::Undecided),
    }
}

/// Complete, and not paid for longer than any payment takes. What comes later all the same is a late payment.
fn is_given_up(session: &Session, now: Timestamp) -> bool {
    let unpaid = session.status == SessionStatus::Complete && session.payment_status != PaymentStatus::Paid;
    unpaid && now.since(session.expires_at()) > SLOW_PAYMENT
}

/// Stripe closes a page by itself at its end, also where the account is not configured here any more. No page lives for
/// as long as a day, so one that was never seen is over a day after its order.
async fn after_silence(app: &App, order: &Order) -> Result<Closing, Error> {
    let since = order.invoice().map_or(order.created_at, |page| page.expires_at);
    if app.clock.now().since(since) <= SILENCE {
        return Ok(Closing::Undecided);
    }
    close_for_good(app, order, None).await.map(|()| Closing::Closed)
}
