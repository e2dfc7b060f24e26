//! The subscription that a person names, in any of the ways in which they meet it.

use uuid::Uuid;

use super::renew::subscription_of;
use super::{App, Error};
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::subscription::Subscription;

const NO_SUCH_SUBSCRIPTION: &str =
    "no subscription has this id, WireGuard public key or payment hash: see `wiretoll subscription list`";

/// How a person names a subscription.
#[derive(Debug, Clone, Copy)]
pub enum SubscriptionName {
    /// Of itself, or of an order of its.
    Id(Uuid),
    /// The one that holds the key, or held it last.
    PublicKey(PublicKey),
    /// Of an order that founded or extended it.
    PaymentHash(PaymentHash),
}

/// The subscription of that name.
///
/// # Errors
/// [`Error::NotFound`] where there is none.
pub async fn find_subscription(app: &App, name: SubscriptionName) -> Result<Subscription, Error> {
    let found = match name {
        SubscriptionName::Id(id) => match app.store.subscription(id).await? {
            Some(found) => Some(found),
            None => bought_by(app, app.store.order(id).await?.and_then(|order| order.subscription_id)).await?,
        },
        SubscriptionName::PublicKey(key) => subscription_of(app, key).await?,
        SubscriptionName::PaymentHash(hash) => {
            let order = app.store.order_by_payment_hash(hash).await?;
            bought_by(app, order.and_then(|order| order.subscription_id)).await?
        }
    };
    found.ok_or(Error::NotFound(NO_SUCH_SUBSCRIPTION))
}

async fn bought_by(app: &App, subscription: Option<Uuid>) -> Result<Option<Subscription>, Error> {
    let Some(id) = subscription else { return Ok(None) };
    Ok(app.store.subscription(id).await?)
}
