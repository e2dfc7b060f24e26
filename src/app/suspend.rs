//! Suspending: the lease goes, so that no traffic passes; peer, slot and key stay, and time runs on.

use serde_json::json;

use super::find_subscription::{SubscriptionName, find_subscription};
use super::operator::{By, Effect};
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::subscription::{Standing, Subscription};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Stops,
    PassesAgain,
}

/// Stops a subscription's traffic, or lets it pass again for as long as it lasts.
///
/// # Errors
/// [`Error::Revoked`]; [`Error::Conflict`] after its hold.
pub async fn set_traffic(
    app: &App,
    name: SubscriptionName,
    traffic: Traffic,
    note: Option<&Note>,
) -> Result<Effect, Error> {
    let id = find_subscription(app, name).await?.id;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let subscription = tx.lock_subscription(id).await?.ok_or(Error::NotFound("no such subscription"))?;
    check_held(&subscription)?;
    let (since, event) = match traffic {
        Traffic::Stops => (Some(now), EventType::SubscriptionSuspended),
        Traffic::PassesAgain => (None, EventType::SubscriptionResumed),
    };
    if subscription.suspended_at.is_some() == since.is_some() {
        tx.rollback().await?;
        return Ok(Effect::Before);
    }
    tx.set_suspended(id, since).await?;
    let data = By::Operator(note).tells(&json!({}));
    tx.record(app.new_id(), event, Subject::Subscription(id), &data, now).await?;
    tx.commit().await?;
    app.server_changes.announce(&subscription.server_id);
    Ok(Effect::Now)
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
