//! What Stripe says of one page, applied: the one way from event, look-up and closing into the database.

use uuid::Uuid;

use super::request_checkout::adopt_page;
use super::settle::{Progress, pass_over, record_mismatch, record_orphan, settle};
use super::{App, Error, close_orders};
use crate::domain::money::{Amount, Currency, UsdCents};
use crate::domain::order::{Order, OrderState, Rail};
use crate::domain::payment::{Evidence, Provider};
use crate::domain::time::Timestamp;
use crate::stripe::{PaymentStatus, Session, SessionStatus};

/// Applies a session in any order and any number of times; only forward moves happen. `at` is when it was paid, as far
/// as Stripe tells.
pub async fn apply_session(
    app: &App,
    session: &Session,
    at: Timestamp,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    // Another shop's, or no shop's at all: an account may have other uses.
    let Some(id) = session.order() else { return pass_over(app, progress).await };
    let order = card_order(app, id).await?;
    match (order, session.payment_status, session.status) {
        (Some(order), PaymentStatus::Paid, _) => pay(app, &order, session, at, progress).await,
        (Some(order), _, SessionStatus::Expired) if is_page_of(app, &order, session) => {
            close_orders::close_for_good(app, &order, progress).await
        }
        (None, PaymentStatus::Paid, _) => orphan(app, session, id, at, progress).await,
        (Some(_) | None, ..) => pass_over(app, progress).await,
    }
}

/// Its payment failed after it was complete: nothing more will come of it.
pub async fn apply_failed_session(
    app: &App,
    session: &Session,
    at: Timestamp,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    let order = match session.order() {
        Some(id) => card_order(app, id).await?,
        None => None,
    };
    match order {
        Some(order) if session.payment_status != PaymentStatus::Paid && is_page_of(app, &order, session) => {
            close_orders::close_for_good(app, &order, progress).await
        }
        _ => apply_session(app, session, at, progress).await,
    }
}

/// An order that is paid on Lightning is none of Stripe's, whatever a session says: only the node closes it.
async fn card_order(app: &App, id: Uuid) -> Result<Option<Order>, Error> {
    Ok(app.store.order(id).await?.filter(|order| matches!(order.rail, Rail::Card { .. })))
}

/// Whether it is the page that was shown for the order, in this shop's mode: Stripe may tell of others that name it.
fn is_page_of(app: &App, order: &Order, session: &Session) -> bool {
    let is_live = app.stripe.as_ref().is_some_and(|stripe| stripe.settings().mode.is_live());
    let Rail::Card { session: shown, .. } = &order.rail else { return false };
    session.livemode == is_live && shown.as_ref().is_none_or(|shown| *shown == session.id)
}

/// Money for an order that this database does not know.
async fn orphan(
    app: &App,
    session: &Session,
    id: Uuid,
    at: Timestamp,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    if let Some(evidence) = evidence(session, at) {
        return record_orphan(app, &evidence, id, progress).await;
    }
    tracing::error!(order.id = %id, "Stripe says that an unknown order is paid, and not how much: look at it there");
    pass_over(app, progress).await
}

async fn pay(
    app: &App,
    order: &Order,
    session: &Session,
    at: Timestamp,
    progress: Option<Progress<'_>>,
) -> Result<(), Error> {
    let Some(evidence) = evidence(session, at) else {
        tracing::error!(order.id = %order.id, "Stripe says that an order is paid, and not how much: look at it there");
        return pass_over(app, progress).await;
    };
    if !is_page_of(app, order, session) {
        let why = "a payment is of another page than its order's, or of the other mode of Stripe";
        tracing::error!(order.id = %order.id, live = session.livemode, session.id = %session.id, "{why}");
        return record_mismatch(app, order, &evidence, progress).await;
    }
    if order.state == OrderState::Creating {
        adopt_page(app, order, session).await?;
    }
    settle(app, order.id, &evidence, progress).await.map(drop)
}

/// What Stripe says of a paid session.
fn evidence(session: &Session, at: Timestamp) -> Option<Evidence> {
    let units = session.amount_total?;
    let amount = match session.currency.as_deref() {
        Some("usd") => Amount::UsdCents(UsdCents::new(units)),
        other => Amount::Foreign(units, Currency::parse(other?).ok()?),
    };
    // Only what costs nothing has no payment intent.
    let external_id = session.payment_intent.clone().unwrap_or_else(|| session.id.clone());
    Some(Evidence { provider: Provider::Stripe, external_id, amount, settled_at: at })
}

/// When a session that was looked up was paid at the latest: only an open page can be paid on.
pub fn paid_by(app: &App, session: &Session) -> Timestamp {
    app.clock.now().min(session.expires_at())
}

/// Whether its order still waits for its payment.
pub fn is_open(order: &Order) -> bool {
    matches!(order.state, OrderState::Creating | OrderState::Pending(_))
}
