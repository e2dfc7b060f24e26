//! What ends with time alone: holds, private keys that were kept long enough, idempotency keys.

use serde_json::json;

use super::open_order::KEY_KEPT;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::subscription::{Standing, Subscription};
use crate::domain::time::{DAY, Timestamp};
use crate::store::Tx;

const AT_ONCE: u32 = 200;
const STRIPE_EVENTS_KEPT: i64 = 60 * DAY;

/// Ends the holds that are over. A renewal that could still be paid keeps its slot, and so does a dispute that could
/// still be won.
pub async fn release_ended_holds(app: &App) -> Result<usize, Error> {
    let deadline = app.clock.now().plus_millis(-app.shop.holds.hold_millis);
    let ended = app.store.ended_subscriptions(deadline, AT_ONCE).await?;
    let mut released = 0;
    for subscription in &ended {
        released += usize::from(release(app, subscription).await?);
    }
    Ok(released)
}

async fn release(app: &App, ended: &Subscription) -> Result<bool, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    // Read again under the lock: it may have been renewed since.
    let current = tx.lock_subscription(ended.id).await?;
    let unchanged =
        current.is_some_and(|current| current.ends_at == ended.ends_at && current.standing == Standing::Held);
    let is_kept =
        tx.has_open_renewal(ended.id, ended.hold_until(app.shop.holds)).await? || tx.is_under_dispute(ended.id).await?;
    if !unchanged || is_kept {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.release_held_slot(ended.id, now.plus_millis(app.shop.holds.quarantine_millis), now).await?;
    tx.release_keys(ended.id, now).await?;
    tx.set_end(ended.id, ended.ends_at, Standing::Released).await?;
    let subject = Subject::Subscription(ended.id);
    tx.record(app.new_id(), EventType::SubscriptionReleased, subject, &json!({}), now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Erases private keys that were made here and have been kept for their time.
pub async fn erase_private_keys(app: &App) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let erased = erase_due(app, &mut tx, now).await?;
    tx.commit_if(erased > 0).await?;
    Ok(erased)
}

/// Erases a key's private half now, if that was made here.
pub async fn erase_key_made_here(app: &App, tx: &mut Tx, key: PublicKey, now: Timestamp) -> Result<(), Error> {
    tx.erase_private_key_at(key, now).await?;
    erase_due(app, tx, now).await?;
    Ok(())
}

async fn erase_due(app: &App, tx: &mut Tx, now: Timestamp) -> Result<usize, Error> {
    let orders = tx.erase_private_keys(now).await?;
    for order in &orders {
        tx.lock_order(*order).await?;
        tx.record(app.new_id(), EventType::ClaimKeyErased, Subject::Order(*order), &json!({}), now).await?;
    }
    Ok(orders.len())
}

/// Stripe sends an event again for three days by itself, and for thirty by hand.
pub async fn forget_stripe_events(app: &App) -> Result<u64, Error> {
    Ok(app.store.forget_stripe_events(app.clock.now().plus_millis(-STRIPE_EVENTS_KEPT)).await?)
}

pub async fn forget_idempotency_keys(app: &App) -> Result<u64, Error> {
    Ok(app.store.forget_idempotency_keys(app.clock.now().plus_millis(-KEY_KEPT)).await?)
}

/// Signed requests of longer ago are too old to be taken anyway.
pub async fn forget_nostr_requests(app: &App) -> Result<u64, Error> {
    Ok(app.store.forget_nostr_requests(app.clock.now()).await?)
}
