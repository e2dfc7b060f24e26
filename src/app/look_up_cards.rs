//! The sweep of cards: every open order is held against Stripe, whatever events came or did not.

use tokio::time::Instant;
use uuid::Uuid;

use super::close_checkout::{close_checkout, look_up_checkout};
use super::close_orders::Closing;
use super::{App, Error};
use crate::domain::order::{Order, Rail};
use crate::domain::time::{MINUTE, SECOND, Timestamp};

const PAGE: u32 = 200;
/// After the page's end, so that Stripe's own closing usually was there first.
const GRACE: i64 = 5 * SECOND;
/// An order that is still without a page after this was left by a crash, or by a Stripe that does not answer.
const ABANDONED_AFTER: i64 = 2 * MINUTE;

/// Which open orders Stripe is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    /// Whose time is over.
    Due,
}

/// How far a look-up came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedUp {
    Everything,
    /// Stripe fell silent; the rest was not asked about.
    Some,
}

/// Brings open orders up to Stripe's truth, and closes those that are due, as far as Stripe answers.
pub async fn look_up_cards(app: &App, which: Which) -> Result<LookedUp, Error> {
    let began = Instant::now();
    let looked_up = look_up_pages(app, which).await?;
    if (which, looked_up) == (Which::All, LookedUp::Everything) {
        app.metrics.looked_up_cards(began);
    }
    Ok(looked_up)
}

async fn look_up_pages(app: &App, which: Which) -> Result<LookedUp, Error> {
    let mut after = (Timestamp::EPOCH, Uuid::nil());
    loop {
        let page = app.store.open_card_orders(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(LookedUp::Everything) };
        after = (last.created_at, last.id);
        for order in &page {
            if look_up(app, order, which).await? == Closing::Silent {
                // Asking about further ones would only wait as long again.
                return Ok(LookedUp::Some);
            }
        }
    }
}

async fn look_up(app: &App, order: &Order, which: Which) -> Result<Closing, Error> {
    let looked_up = match (is_due(app, order), &app.stripe, &order.rail) {
        (true, ..) => close_checkout(app, order).await,
        (false, Some(stripe), Rail::Card { session: Some(session), .. }) if which == Which::All => {
            look_up_checkout(app, stripe, order, session).await
        }
        _ => Ok(Closing::Undecided),
    };
    match looked_up {
        Err(Error::Store(error)) => Err(error.into()),
        // One order that cannot be looked up does not hold up the others.
        Err(error) => {
            tracing::error!(order.id = %order.id, error = %error, "an order by card could not be looked up");
            Ok(Closing::Undecided)
        }
        Ok(closing) => Ok(closing),
    }
}

fn is_due(app: &App, order: &Order) -> bool {
    let now = app.clock.now();
    match order.invoice() {
        Some(page) => now.since(page.expires_at) > GRACE,
        None => now.since(order.created_at) > ABANDONED_AFTER,
    }
}
