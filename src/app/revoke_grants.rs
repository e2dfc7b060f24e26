//! What an order granted, taken back: all of it, wherever it counts, and nothing that another order granted.
//!
//! The end of a subscription is the fold of the grants that count. Those of a revoked order never do again; those of a
//! disputed one count again once the dispute is won. While it is open the subscription's slot and keys are kept, however
//! long it ended ago, so that all of it can be given back.

use serde_json::json;
use uuid::Uuid;

use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::server::ServerId;
use crate::domain::subscription::{Subscription, ends_at};
use crate::domain::time::Timestamp;
use crate::store::Tx;

/// Revokes every grant of an order: what it founded or extended, and the bonus that it brought somebody else.
pub async fn revoke_grants(app: &App, tx: &mut Tx, order: Uuid, now: Timestamp) -> Result<Vec<ServerId>, Error> {
    let held = lock_granted(tx, order).await?;
    tx.revoke_grants(order, now).await?;
    fold_again(app, tx, order, &held, now).await
}

/// Counts anew, because a dispute of the order began or was won; returns the servers whose peers changed.
pub async fn recount_grants(app: &App, tx: &mut Tx, order: Uuid, now: Timestamp) -> Result<Vec<ServerId>, Error> {
    let held = lock_granted(tx, order).await?;
    fold_again(app, tx, order, &held, now).await
}

/// The subscriptions that the order granted something to, locked in the order of their ids. Its grants are locked first,
/// so that none that is banked is given to one more subscription meanwhile.
async fn lock_granted(tx: &mut Tx, order: Uuid) -> Result<Vec<Subscription>, Error> {
    let mut held = Vec::new();
    for id in tx.lock_grants_of(order).await? {
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
        let end = end_of(tx, subscription, now).await?;
        tx.set_end(subscription.id, end, subscription.standing).await?;
        let data = json!({ "orderId": order, "oldEnd": subscription.ends_at, "endsAt": end });
        let subject = Subject::Subscription(subscription.id);
        tx.record(app.new_id(), EventType::SubscriptionRecounted, subject, &data, now).await?;
        changed.push(subscription.server_id.clone());
    }
    Ok(changed)
}

/// What is taken back ends a subscription now, not in its past: its owner is told, and its hold is a whole one.
async fn end_of(tx: &mut Tx, subscription: &Subscription, now: Timestamp) -> Result<Timestamp, Error> {
    let grants = tx.grants(subscription.id).await?;
    let soonest = subscription.ends_at.min(now);
    if grants.is_empty() {
        return Ok(soonest);
    }
    let end = ends_at(grants.into_iter().map(|(_, grant)| grant)).map_err(Error::Broken)?;
    Ok(end.max(soonest))
}
