//! The operator's present: a subscription lasts longer, without an order.

use serde_json::json;

use super::deliver::restore_any;
use super::extension::Extension;
use super::find_subscription::{SubscriptionName, find_subscription};
use super::operator::By;
use super::{App, Error, Unavailable};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::subscription::{Cause, Grant, Span, Standing, ends_at};

/// Adds time from the later of now and the present end; returns both ends. A repeat adds it again.
///
/// # Errors
/// [`Error::Revoked`]; [`Unavailable::SoldOut`] where its slot was given back and no other is left.
pub async fn extend(app: &App, name: SubscriptionName, span: Span, note: &Note) -> Result<Extension, Error> {
    let id = find_subscription(app, name).await?.id;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let subscription = tx.lock_subscription(id).await?.ok_or(Error::NotFound("no such subscription"))?;
    let possible = match subscription.standing {
        Standing::Held => true,
        Standing::Released => restore_any(app, &mut tx, &subscription, now).await?,
        Standing::Revoked => return Err(Error::Revoked),
    };
    if !possible {
        return Err(Unavailable::SoldOut(subscription.server_id).into());
    }
    tx.insert_grant(app.new_id(), id, Cause::Operator, Grant { span, granted_at: now }).await?;
    let grants = tx.grants(id).await?;
    let new_end = ends_at(grants.into_iter().map(|(_, grant)| grant)).map_err(Error::Broken)?;
    tx.set_end(id, new_end, Standing::Held).await?;
    let facts = json!({ "oldEnd": subscription.ends_at, "endsAt": new_end, "granted": span.to_string() });
    let data = By::Operator(Some(note)).tells(&facts);
    tx.record(app.new_id(), EventType::SubscriptionExtended, Subject::Subscription(id), &data, now).await?;
    tx.commit().await?;
    app.server_changes.announce(&subscription.server_id);
    Ok(Extension { old_end: subscription.ends_at, new_end })
}
