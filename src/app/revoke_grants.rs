//! What an order granted, taken back: all of it, wherever it counts, and nothing that another order granted.
//!
//! The end of a subscription is the fold of the grants that count. Those of a revoked order never do again; those of a
//! disputed one count again once the dispute is won.

use serde_json::json;
use uuid::Uuid;

use super::deliver::restore_any;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::server::ServerId;
use crate::domain::subscription::{Standing, Subscription, ends_at};
use crate::domain::time::Timestamp;
use crate::store::Tx;

/// Revokes every grant of an order: what it founded or extended, and the bonus that it brought somebody else.
pub async fn revoke_grants(app: &App, tx: &mut Tx, order: Uuid, now: Timestamp) -> Result<Vec<ServerId>, Error> {
    let held = lock_granted(tx, order).await?;
    tx.revoke_grants(order, now).await?;
    fold_again(app, tx, order, &held, now).await
}

/// Counts anew, because a dispute of the order began; returns the servers whose peers changed.
pub async fn withdraw_grants(app: &App, tx: &mut Tx, order: Uuid, now: Timestamp) -> Result<Vec<ServerId>, Error> {
    let held = lock_granted(tx, order).await?;
    fold_again(app, tx, order, &held, now).await
}

/// Counts anew, because a dispute of the order was won. None where a slot was given back meanwhile and no other is left:
/// nothing can be given for the money.
pub async fn restore_grants(
    app: &App,
    tx: &mut Tx,
    order: Uuid,
    now: Timestamp,
) -> Result<Option<Vec<ServerId>>, Error> {
    let mut held = lock_granted(tx, order).await?;
    for subscription in &mut held {
        if subscription.standing == Standing::Released && end_of(tx, subscription).await? > now {
            if !restore_any(app, tx, subscription, now).await? {
                return Ok(None);
            }
            subscription.standing = Standing::Held;
        }
    }
    fold_again(app, tx, order, &held, now).await.map(Some)
}

/// The subscriptions that the order granted something to, locked in the order of their ids.
async fn lock_granted(tx: &mut Tx, order: Uuid) -> Result<Vec<Subscription>, Error> {
    let mut held = Vec::new();
    for id in tx.granted_by(order).await? {
        held.push(tx.lock_subscription(id).await?.ok_or(Error::NotFound("no such subscription"))?);
    }
    tx.lock_servers(held.iter().map(|subscription| &subscription.server_id)).await?;
    Ok(held)
}

async fn fold_again(
    app: &App,
    tx: &mut Tx,
    order: Uuid,
    held: &[Subscription],
    now: Timestamp,
) -> Result<Vec<ServerId>, Error> {
    let mut changed = Vec::new();
    for subscription in held {
        let end = end_of(tx, subscription).await?;
        tx.set_end(subscription.id, end, subscription.standing).await?;
        let data = json!({ "orderId": order, "oldEnd": subscription.ends_at, "endsAt": end });
        let subject = Subject::Subscription(subscription.id);
        tx.record(app.new_id(), EventType::SubscriptionRecounted, subject, &data, now).await?;
        changed.push(subscription.server_id.clone());
    }
    Ok(changed)
}

/// Where nothing counts, it ended as it began.
async fn end_of(tx: &mut Tx, subscription: &Subscription) -> Result<Timestamp, Error> {
    let grants = tx.grants(subscription.id).await?;
    if grants.is_empty() {
        return Ok(tx.first_granted_at(subscription.id).await?.unwrap_or(subscription.created_at));
    }
    ends_at(grants.into_iter().map(|(_, grant)| grant)).map_err(Error::Broken)
}
