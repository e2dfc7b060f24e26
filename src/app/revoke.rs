//! Revoking: a subscription ends by the operator's word, for good.
//!
//! Its keys stay its own, so that nobody can buy for them again. Its slot is free once the server's agent has taken the
//! peer away. What is open is cancelled at the node; a payment that settles all the same is a refund that is due.

use serde_json::json;
use uuid::Uuid;

use super::close_orders::{OpenInvoices, close_all};
use super::find_subscription::{SubscriptionName, find_subscription};
use super::operator::{By, Effect};
use super::release::erase_key_made_here;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::subscription::Standing;
use crate::domain::time::Timestamp;
use crate::store::Tx;

/// What it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    pub effect: Effect,
    pub invoices: OpenInvoices,
}

/// Ends a subscription. A repeat cancels what is still open.
pub async fn revoke(app: &App, name: SubscriptionName, note: &Note) -> Result<Revocation, Error> {
    let found = find_subscription(app, name).await?;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let subscription = tx.lock_subscription(found.id).await?.ok_or(Error::NotFound("no such subscription"))?;
    let effect = if subscription.standing == Standing::Revoked { Effect::Before } else { Effect::Now };
    if effect == Effect::Now {
        end(app, &mut tx, found.id, note, now).await?;
    }
    let open = tx.orders_to_extend(found.id).await?;
    tx.commit().await?;
    app.server_changes.announce(&subscription.server_id);
    Ok(Revocation { effect, invoices: close_all(app, &open).await })
}

async fn end(app: &App, tx: &mut Tx, id: Uuid, note: &Note, now: Timestamp) -> Result<(), Error> {
    let binding = tx.peer_of(id).await?.and_then(|peer| peer.binding);
    tx.release_held_slot(id, now.plus_millis(app.shop.holds.quarantine_millis), now).await?;
    tx.set_standing(id, Standing::Revoked).await?;
    if let Some(binding) = binding {
        erase_key_made_here(app, tx, binding.public_key, now).await?;
    }
    let data = By::Operator(Some(note)).tells(&json!({}));
    tx.record(app.new_id(), EventType::SubscriptionRevoked, Subject::Subscription(id), &data, now).await?;
    Ok(())
}
