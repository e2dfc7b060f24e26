//! A bandwidth reset: a month's amount once more, for a subscription that has used most of it.
//!
//! Like a renewal anybody who knows the public key may pay for it. It counts for the month in which it settles. What was
//! used beyond the amount is forgiven, and what was left of it stays: so every reset is worth a whole amount, however
//! much an agent reports later of the time before.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::bandwidth::{bandwidth_limit, month_of, next_month};
use super::deliver::Delivered;
use super::place_order::{Customer, PlacedOrder, place, repeat};
use super::renew::subscription_of;
use super::{App, Error, NO_SUCH_KEY, price};
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::order::{ClaimBy, OrderKind, PayBy, Purchase};
use crate::domain::plan::BandwidthResets;
use crate::domain::subscription::{Standing, Subscription};
use crate::domain::time::Timestamp;
use crate::store::{Tx, Used};

/// A reset with its invoice, and where its subscription stands.
#[derive(Debug)]
pub struct OrderedReset {
    pub placed: PlacedOrder,
    /// Of the month's amount.
    pub used_percent: u64,
    /// Settled ones of this month.
    pub resets: u32,
    pub resets_per_month: u32,
}

/// Orders a reset for the subscription of a public key; which server a client names does not matter.
///
/// # Errors
/// [`Error::Invalid`] where too little was used, or the subscription has ended; [`Error::TooManyResets`].
pub async fn reset_bandwidth(app: &App, key: PublicKey, customer: &Customer) -> Result<OrderedReset, Error> {
    let terms = app.shop.resets.ok_or_else(|| Invalid::new("no bandwidth resets are sold here"))?;
    let subscription = subscription_of(app, key).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    let used = app.store.used(subscription.id, &month_of(app.clock.now())).await?;
    let placed = if let Some(placed) = repeat(app, customer).await? {
        placed
    } else {
        resettable(app, &terms, &subscription, &used)?;
        let price = price::price_on(app, terms.price, PayBy::Lightning)?;
        place(app, reset_of(&subscription, key), price, customer).await?
    };
    let (resets, resets_per_month) = (used.resets, terms.per_month);
    Ok(OrderedReset { placed, used_percent: percent(&used), resets, resets_per_month })
}

fn resettable(app: &App, terms: &BandwidthResets, subscription: &Subscription, used: &Used) -> Result<(), Error> {
    if subscription.standing == Standing::Revoked {
        return Err(Error::Revoked);
    }
    if subscription.suspended_at.is_some() {
        return Err(Error::Suspended);
    }
    if !subscription.is_active(app.clock.now()) {
        return Err(Invalid::new("this subscription has ended: renew it first").into());
    }
    let (percent, from) = (percent(used), terms.from_percent);
    if percent < u64::from(from) {
        let message = format!("{percent} % of this month's bandwidth are used; a reset is sold from {from} % on");
        return Err(Invalid::new(message).into());
    }
    Ok(())
}

fn percent(used: &Used) -> u64 {
    let percent = i128::from(used.bytes) * 100 / i128::from(bandwidth_limit());
    u64::try_from(percent).unwrap_or(0)
}

fn reset_of(subscription: &Subscription, key: PublicKey) -> Purchase {
    Purchase {
        kind: OrderKind::BandwidthReset(subscription.id),
        server_id: subscription.server_id.clone(),
        public_key: Some(key),
        claim_by: ClaimBy::PaymentHash,
        referral_code: None,
    }
}

/// Refuses one more than a month may have; an unpaid one counts until it is closed. The subscription is locked from here.
pub async fn refuse_too_many(app: &App, tx: &mut Tx, subscription: Uuid) -> Result<(), Error> {
    let most = i64::from(app.shop.resets.map_or(0, |terms| terms.per_month));
    tx.lock_subscription(subscription).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    let now = app.clock.now();
    let made = tx.resets_in(subscription, &month_of(now)).await?;
    if made >= most {
        return Err(Error::TooManyResets { wait: until(next_month(now).map_err(Error::Broken)?, now) });
    }
    if made + tx.count_open_resets(subscription).await? >= most {
        return Err(Error::TooManyResets { wait: app.shop.orders.invoice_lifetime });
    }
    Ok(())
}

fn until(later: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(later.since(now)).unwrap_or(0))
}

/// Gives what was paid for, inside the settling transaction; nothing where the subscription has no peer any more.
pub async fn give(app: &App, tx: &mut Tx, order: Uuid, subscription: Uuid, now: Timestamp) -> Result<Delivered, Error> {
    let subscription = tx.lock_subscription(subscription).await?.ok_or(Error::NotFound("no such subscription"))?;
    // Before what its peers used, as an agent's report does.
    tx.lock_server(&subscription.server_id).await?;
    if subscription.standing != Standing::Held {
        return Ok(Delivered::Nothing);
    }
    let month = month_of(now);
    let resets = tx.reset_usage(subscription.id, &month, bandwidth_limit()).await?;
    tx.set_throttled(subscription.id, false).await?;
    let data = json!({ "orderId": order, "month": month, "resets": resets });
    let subject = Subject::Subscription(subscription.id);
    tx.record(app.new_id(), EventType::SubscriptionBandwidthReset, subject, &data, now).await?;
    Ok(Delivered::Subscription(subscription.id))
}
