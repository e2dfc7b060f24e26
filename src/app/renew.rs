//! Renewing: anybody who knows the public key may pay for it.

use super::extension::{Extension, extension};
use super::place_order::{Customer, PlacedOrder, place, repeat};
use super::{App, Error, NO_SUCH_KEY, price};
use crate::domain::keys::PublicKey;
use crate::domain::order::{ClaimBy, OrderKind, PayBy, Purchase};
use crate::domain::subscription::{Standing, Subscription};
use crate::store::KeyOwner;

/// A renewal with its invoice, and what it will change.
#[derive(Debug)]
pub struct Renewal {
    pub placed: PlacedOrder,
    /// As if it were paid now; for the repeated answer of a paid one, what it changed.
    pub extension: Extension,
}

/// Orders more months for the subscription of a public key; which server a client names does not matter.
///
/// # Errors
/// [`Error::MigrationRequired`] on a server that customers are asked to leave.
pub async fn renew(
    app: &App,
    key: PublicKey,
    months: u32,
    pay_by: PayBy,
    customer: &Customer,
) -> Result<Renewal, Error> {
    let plan = app.shop.plans.find(months)?;
    let subscription = subscription_of(app, key).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    let placed = if let Some(placed) = repeat(app, customer).await? {
        placed
    } else {
        renewable(app, &subscription)?;
        let price = price::price_on(app, plan.price, pay_by)?;
        place(app, renewal_of(&subscription, key, months), price, customer).await?
    };
    let extension = extension(app, placed.order.id, months, &subscription).await?;
    Ok(Renewal { placed, extension })
}

/// What is bought by a renewal: its proof never returns a config.
pub fn renewal_of(subscription: &Subscription, key: PublicKey, months: u32) -> Purchase {
    Purchase {
        kind: OrderKind::Renewal { subscription: subscription.id, months },
        server_id: subscription.server_id.clone(),
        public_key: Some(key),
        claim_by: ClaimBy::PaymentHash,
        referral_code: None,
    }
}

/// The subscription that holds a key, or held it last.
pub async fn subscription_of(app: &App, key: PublicKey) -> Result<Option<Subscription>, Error> {
    match app.store.key_owner(key).await? {
        Some(KeyOwner::Held(id) | KeyOwner::Released(id)) => Ok(app.store.subscription(id).await?),
        None => Ok(None),
    }
}

fn renewable(app: &App, subscription: &Subscription) -> Result<(), Error> {
    if subscription.standing == Standing::Revoked {
        return Err(Error::Revoked);
    }
    // No traffic would pass for the money.
    if subscription.suspended_at.is_some() {
        return Err(Error::Suspended);
    }
    let server = app.shop.server(&subscription.server_id);
    match server.and_then(|server| server.migrate_to.clone()) {
        Some(to) => Err(Error::MigrationRequired { to }),
        None => Ok(()),
    }
}
