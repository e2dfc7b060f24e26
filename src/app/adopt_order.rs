//! Adopting: who shows the claim token of an order that is nobody's becomes the owner of it and of what it founded.

use serde_json::json;

use super::authenticate::Authenticated;
use super::credit_referral::give_banked;
use super::operator::By;
use super::{App, Error, NO_SUCH_ORDER};
use crate::config::SecretText;
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::order::{Order, OrderKind, PublicName};
use crate::domain::subscription::Subscription;
use crate::store::Tx;

/// What is the account's now.
#[derive(Debug)]
pub struct Adopted {
    pub order: Order,
    /// None until the order is paid: what it founds then is the account's at once.
    pub subscription: Option<Subscription>,
}

/// Makes an anonymous order, and the subscription that it founded, an account's. A repeat changes nothing.
///
/// # Errors
/// [`Error::NotFound`] for an unknown order and a wrong token alike; [`Error::Invalid`] for an order that founded
/// nothing; [`Error::Conflict`] for one that is another account's.
pub async fn adopt_order(
    app: &App,
    name: PublicName,
    token: &SecretText,
    owner: &Authenticated,
) -> Result<Adopted, Error> {
    let order = proven_order(app, name, token).await?;
    let mut tx = app.store.begin().await?;
    let order = tx.lock_order(order.id).await?.ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    // Before the subscription, as in a settlement: nobody banks a bonus for this account at the same moment.
    tx.lock_account(owner.account).await?;
    let subscription = founded(&mut tx, &order).await?;
    match order.account {
        None if tx.bonus_owner(order.id).await? == Some(owner.account) => {
            return Err(Error::Conflict("this order brought you a referral bonus, so it cannot be your own".into()));
        }
        None => own(app, &mut tx, &order, subscription.as_ref(), owner).await?,
        Some(account) if account == owner.account => {}
        Some(_) => return Err(Error::Conflict("this order belongs to another account".into())),
    }
    let subscription = match subscription {
        Some(before) => tx.lock_subscription(before.id).await?,
        None => None,
    };
    tx.commit().await?;
    app.changes.announce(&order.id);
    if let Some(adopted) = &subscription {
        app.server_changes.announce(&adopted.server_id);
    }
    Ok(Adopted { order, subscription })
}

async fn proven_order(app: &App, name: PublicName, token: &SecretText) -> Result<Order, Error> {
    let found = app.store.order_named(name).await?;
    let order = found.filter(|order| order.is_visible(app.clock.now())).ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    let proven = app.keyring.get(order.key_id)?.claim_token(order.id).matches(token.expose());
    if proven { Ok(order) } else { Err(Error::NotFound(NO_SUCH_ORDER)) }
}

/// What the order founded, if it is paid; locked.
async fn founded(tx: &mut Tx, order: &Order) -> Result<Option<Subscription>, Error> {
    if !matches!(order.kind, OrderKind::New { .. }) {
        return Err(Invalid::new("this payment renewed a subscription; there is nothing to adopt").into());
    }
    let Some(id) = order.subscription_id else { return Ok(None) };
    let subscription = tx.lock_subscription(id).await?.ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    if subscription.founded_by != order.id {
        let message = "this payment extended the subscription that had its wgPublicKey; there is nothing to adopt";
        return Err(Invalid::new(message).into());
    }
    Ok(Some(subscription))
}

async fn own(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    subscription: Option<&Subscription>,
    owner: &Authenticated,
) -> Result<(), Error> {
    let (now, data) = (app.clock.now(), By::Account(owner).tells(&json!({})));
    tx.own_order(order.id, owner.account).await?;
    tx.record(app.new_id(), EventType::OrderAdopted, Subject::Order(order.id), &data, now).await?;
    if let Some(adopted) = subscription {
        tx.own_subscription(adopted.id, owner.account).await?;
        tx.record(app.new_id(), EventType::SubscriptionAdopted, Subject::Subscription(adopted.id), &data, now).await?;
        if adopted.is_active(now) {
            give_banked(app, tx, adopted.id, now, now).await?;
        }
    }
    Ok(())
}
