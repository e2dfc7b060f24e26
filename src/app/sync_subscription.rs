//! A subscription's usage by a fresh report of its server.

use super::authenticate::Authenticated;
use super::bandwidth::month_of;
use super::wait_installed::wait_until_reported;
use super::{App, Error, NO_SUCH_ORDER, Unavailable};
use crate::domain::order::PublicName;
use crate::domain::subscription::Subscription;
use crate::store::Used;

/// A subscription, and what it has used until its server's report of a moment ago.
#[derive(Debug)]
pub struct Synced {
    pub subscription: Subscription,
    pub used: Used,
}

/// The usage of the owner's subscription that an order founded or extended, once its server has reported.
///
/// # Errors
/// [`Error::NotFound`] for an unknown order and somebody else's subscription alike; [`Unavailable::NoReport`] where the
/// server stays silent.
pub async fn sync_subscription(app: &App, owner: &Authenticated, name: PublicName) -> Result<Synced, Error> {
    let subscription = owned(app, owner, name).await?.ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    if !wait_until_reported(app, &subscription).await? {
        return Err(Unavailable::NoReport(subscription.server_id).into());
    }
    let used = app.store.used(subscription.id, &month_of(app.clock.now())).await?;
    Ok(Synced { subscription, used })
}

async fn owned(app: &App, owner: &Authenticated, name: PublicName) -> Result<Option<Subscription>, Error> {
    let order = app.store.order_named(name).await?;
    let Some(id) = order.and_then(|order| order.subscription_id) else { return Ok(None) };
    let found = app.store.subscription(id).await?;
    Ok(found.filter(|found| found.account == Some(owner.account)))
}
