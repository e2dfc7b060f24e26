//! Events that time alone makes: a subscription ends in a week, in a day, now. Each end is told of once.
//!
//! A position moves over the ends in the transaction that tells of them. What ends behind it already, because the
//! operator added a few days, is told of at its next stage.

use serde_json::json;

use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::subscription::{EndNotice, Standing};
use crate::domain::time::{DAY, Timestamp};
use crate::store::{End, Tx};

/// Subscriptions of one transaction: settlements wait for it.
const AT_ONCE: u32 = 100;

/// Tells of all ends that have come near enough; nothing is written where none has.
pub async fn tell_ends(app: &App) -> Result<(), Error> {
    for notice in EndNotice::ALL {
        while tell_some(app, notice).await? {}
    }
    Ok(())
}

/// Whether there may be more.
async fn tell_some(app: &App, notice: EndNotice) -> Result<bool, Error> {
    let now = app.clock.now();
    let until = now.plus_millis(notice.days() * DAY);
    let Some(from) = app.store.end_notice(notice).await? else {
        // A shop that sold before it told of ends does not tell of all at once.
        let mut tx = app.store.begin().await?;
        tx.begin_end_notices(notice, until).await?;
        tx.commit().await?;
        return Ok(false);
    };
    let ends = app.store.ends_between(from, until, AT_ONCE).await?;
    let Some(last) = ends.last() else { return Ok(false) };
    let mut tx = app.store.begin().await?;
    if !tx.advance_end_notices(notice, from, *last).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    for end in &ends {
        tell(app, &mut tx, notice, *end, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn tell(app: &App, tx: &mut Tx, notice: EndNotice, (ends_at, id): End, now: Timestamp) -> Result<(), Error> {
    let current = tx.lock_subscription(id).await?;
    // Renewed since, or over before it was told that it would be.
    let is_so = current.is_some_and(|current| current.ends_at == ends_at && current.standing == Standing::Held);
    if !is_so || (ends_at <= now && notice != EndNotice::Now) {
        return Ok(());
    }
    let (event, data) = match notice {
        EndNotice::Week | EndNotice::Day => {
            (EventType::SubscriptionExpiring, json!({ "endsAt": ends_at, "daysLeft": notice.days() }))
        }
        EndNotice::Now => (EventType::SubscriptionLapsed, json!({ "endedAt": ends_at })),
    };
    Ok(tx.record(app.new_id(), event, Subject::Subscription(id), &data, now).await?)
}
