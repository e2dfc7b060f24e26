//! Suspending: the lease goes, so that no traffic passes; peer, slot and key stay, and time runs on.

use serde_json::json;
use uuid::Uuid;

use super::close_orders::{OpenInvoices, close_all};
use super::find_subscription::{SubscriptionName, find_subscription};
use super::operator::{By, Effect};
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::subscription::{Standing, Subscription};
use crate::store::Tx;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Stops,
    PassesAgain,
}

/// What it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSet {
    pub effect: Effect,
    /// Of those that would have extended a subscription whose traffic stops.
    pub invoices: OpenInvoices,
}

/// Stops a subscription's traffic, or lets it pass again for as long as it lasts.
///
/// Nothing is sold to who is suspended, so what is open is cancelled at the node; a payment that settles all the same
/// extends it in full.
///
/// # Errors
/// [`Error::Revoked`]; [`Error::Conflict`] after its hold.
pub async fn set_traffic(
    app: &App,
    name: SubscriptionName,
    traffic: Traffic,
    note: Option<&Note>,
) -> Result<TrafficSet, Error> {
    let id = find_subscription(app, name).await?.id;
    let mut tx = app.store.begin().await?;
    let subscription = tx.lock_subscription(id).await?.ok_or(Error::NotFound("no such subscription"))?;
    check_held(&subscription)?;
    let is_so = subscription.suspended_at.is_some() == (traffic == Traffic::Stops);
    if !is_so {
        change(app, &mut tx, id, traffic, note).await?;
    }
    let open = match traffic {
        Traffic::Stops => tx.orders_to_extend(id).await?,
        Traffic::PassesAgain => Vec::new(),
    };
    tx.commit().await?;
    app.server_changes.announce(&subscription.server_id);
    let effect = if is_so { Effect::Before } else { Effect::Now };
    Ok(TrafficSet { effect, invoices: close_all(app, &open).await })
}

async fn change(app: &App, tx: &mut Tx, id: Uuid, traffic: Traffic, note: Option<&Note>) -> Result<(), Error> {
    let now = app.clock.now();
    let (since, event) = match traffic {
        Traffic::Stops => (Some(now), EventType::SubscriptionSuspended),
        Traffic::PassesAgain => (None, EventType::SubscriptionResumed),
    };
    tx.set_suspended(id, since).await?;
    let data = By::Operator(note).tells(&json!({}));
    tx.record(app.new_id(), event, Subject::Subscription(id), &data, now).await?;
    Ok(())
}

/// Whether it has a slot.
pub fn check_held(subscription: &Subscription) -> Result<(), Error> {
    match subscription.standing {
        Standing::Held => Ok(()),
        Standing::Released => {
            Err(Error::Conflict("its hold has ended: it has no slot, so there is no traffic of its and no key".into()))
        }
        Standing::Revoked => Err(Error::Revoked),
    }
}
