//! What a payment buys: a new subscription, or more time or bandwidth for one that is there.

use serde_json::json;
use uuid::Uuid;

use super::{App, Error, reset_bandwidth, secrets};
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::order::{Order, OrderKind};
use crate::domain::peer::Binding;
use crate::domain::subscription::{Cause, Grant, Span, Standing, Subscription, ends_at};
use crate::domain::time::Timestamp;
use crate::store::{KeyOwner, Reservation, Tx};

/// What could be given for the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The subscription that was founded, extended or reset.
    Subscription(Uuid),
    /// No slot is left, or the subscription is over.
    Nothing,
    /// Another settlement took the order's key meanwhile: roll back, and this order extends that subscription.
    Outrun,
}

/// Founds or extends a subscription, or resets its bandwidth, inside the settling transaction.
///
/// An order whose key is held already extends that subscription, whatever server it named, and frees its own slot.
pub async fn deliver(app: &App, tx: &mut Tx, order: &Order, at: Timestamp, now: Timestamp) -> Result<Delivered, Error> {
    let (target, months) = match order.kind {
        OrderKind::BandwidthReset(subscription) => {
            return reset_bandwidth::give(app, tx, order.id, subscription, now).await;
        }
        OrderKind::Renewal { subscription, months } => (Some(subscription), months),
        OrderKind::New { months } => (holder_of(tx, order.public_key).await?, months),
    };
    let grant = Grant { span: Span::Months(months), granted_at: at };
    match target {
        Some(subscription) => extend(app, tx, order, subscription, grant, now).await,
        None => found(app, tx, order, grant, now).await,
    }
}

async fn holder_of(tx: &mut Tx, key: Option<PublicKey>) -> Result<Option<Uuid>, Error> {
    let Some(key) = key else { return Ok(None) };
    Ok(match tx.key_owner(key).await? {
        Some(KeyOwner::Held(subscription)) => Some(subscription),
        Some(KeyOwner::Released(_)) | None => None,
    })
}

async fn found(app: &App, tx: &mut Tx, order: &Order, grant: Grant, now: Timestamp) -> Result<Delivered, Error> {
    let subscription = Subscription {
        id: app.new_id(),
        founded_by: order.id,
        account: order.account,
        server_id: order.server_id.clone(),
        ends_at: ends_at([grant]).map_err(Error::Broken)?,
        standing: Standing::Held,
        suspended_at: None,
        created_at: now,
        revision: 0,
    };
    if !give_slot(app, tx, order, &subscription, now).await? {
        return Ok(Delivered::Nothing);
    }
    tx.insert_subscription(&subscription).await?;
    tx.insert_grant(app.new_id(), subscription.id, Cause::Purchase(order.id), grant).await?;
    if let Some(key) = order.public_key
        && !bind(app, tx, subscription.id, &secrets::settled_binding(app, order, key)?, now).await?
    {
        return Ok(Delivered::Outrun);
    }
    let data = json!({ "serverId": order.server_id.as_str(), "endsAt": subscription.ends_at });
    let subject = Subject::Subscription(subscription.id);
    tx.record(app.new_id(), EventType::SubscriptionCreated, subject, &data, now).await?;
    Ok(Delivered::Subscription(subscription.id))
}

async fn extend(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    subscription: Uuid,
    grant: Grant,
    now: Timestamp,
) -> Result<Delivered, Error> {
    let subscription = tx.lock_subscription(subscription).await?.ok_or(Error::NotFound("no such subscription"))?;
    // An order for a new one may name another server than the subscription that has its key by now.
    tx.lock_servers([&order.server_id, &subscription.server_id]).await?;
    let possible = match subscription.standing {
        Standing::Held => true,
        Standing::Released => restore(app, tx, order, &subscription, now).await?,
        Standing::Revoked => false,
    };
    // What the order reserved and does not use goes back to the pool.
    tx.release_reservation(order.id, now).await?;
    if !possible {
        return Ok(Delivered::Nothing);
    }
    tx.insert_grant(app.new_id(), subscription.id, Cause::Renewal(order.id), grant).await?;
    let grants = tx.grants(subscription.id).await?;
    let end = ends_at(grants.into_iter().map(|(_, grant)| grant)).map_err(Error::Broken)?;
    tx.set_end(subscription.id, end, Standing::Held).await?;
    let data = json!({ "oldEnd": subscription.ends_at, "endsAt": end, "orderId": order.id });
    let subject = Subject::Subscription(subscription.id);
    tx.record(app.new_id(), EventType::SubscriptionRenewed, subject, &data, now).await?;
    Ok(Delivered::Subscription(subscription.id))
}

/// A slot and the last key for a subscription whose hold had ended; its founder claims the new address.
///
/// Where somebody else has the key by now, the founder binds another one by a claim.
async fn restore(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<bool, Error> {
    if !give_slot(app, tx, order, subscription, now).await? {
        return Ok(false);
    }
    if let Some(key) = tx.last_key(subscription.id).await? {
        bind(app, tx, subscription.id, &secrets::settled_binding(app, order, key)?, now).await?;
    }
    Ok(true)
}

/// The same without an order, by the operator's word.
pub async fn restore_any(app: &App, tx: &mut Tx, subscription: &Subscription, now: Timestamp) -> Result<bool, Error> {
    if !take_slot(app, tx, subscription, now).await? {
        return Ok(false);
    }
    if let Some(public_key) = tx.last_key(subscription.id).await? {
        let binding = Binding { public_key, preshared_key: secrets::new_preshared_key()? };
        bind(app, tx, subscription.id, &binding, now).await?;
    }
    Ok(true)
}

/// The slot that the order reserved; where it expired meanwhile, any that is free.
async fn give_slot(app: &App, tx: &mut Tx, order: &Order, to: &Subscription, now: Timestamp) -> Result<bool, Error> {
    if tx.hold_reserved_slot(order.id, to.id).await?.is_some() {
        return Ok(true);
    }
    take_slot(app, tx, to, now).await
}

async fn take_slot(app: &App, tx: &mut Tx, to: &Subscription, now: Timestamp) -> Result<bool, Error> {
    let taken = tx.take_slot(&to.server_id, to.id, app.new_id(), now).await?;
    Ok(matches!(taken, Reservation::Taken(_)))
}

/// Binds a key; false where another subscription holds it.
async fn bind(app: &App, tx: &mut Tx, subscription: Uuid, binding: &Binding, now: Timestamp) -> Result<bool, Error> {
    if !tx.own_key(binding.public_key, subscription, now).await? {
        return Ok(false);
    }
    let sealed = secrets::seal_binding(app, subscription, binding.public_key, &binding.preshared_key)?;
    Ok(tx.bind_peer(&sealed).await?)
}
