//! What a renewal does to the end of its subscription.

use uuid::Uuid;

use super::{App, Error};
use crate::domain::Invalid;
use crate::domain::subscription::{Grant, Span, Subscription, ends_at};
use crate::domain::time::Timestamp;

/// The end of a subscription before and after a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    pub old_end: Timestamp,
    pub new_end: Timestamp,
}

/// What a renewal has changed, or would change if it were paid now.
pub async fn extension(app: &App, order: Uuid, months: u32, subscription: &Subscription) -> Result<Extension, Error> {
    let grants = app.store.grants(subscription.id).await?;
    if let Some(done) = made_by(order, &grants).map_err(Error::Broken)? {
        return Ok(done);
    }
    let next = Grant { span: Span::Months(months), granted_at: app.clock.now() };
    let new_end = ends_at(grants.into_iter().map(|(_, grant)| grant).chain([next])).map_err(Error::Broken)?;
    Ok(Extension { old_end: subscription.ends_at, new_end })
}

/// The ends before and after the grant of one order.
fn made_by(order: Uuid, grants: &[(Option<Uuid>, Grant)]) -> Result<Option<Extension>, Invalid> {
    let Some(position) = grants.iter().position(|(by, _)| *by == Some(order)) else { return Ok(None) };
    let end_after = |count: usize| ends_at(grants.iter().take(count).map(|(_, grant)| *grant));
    let new_end = end_after(position + 1)?;
    let old_end = end_after(position).unwrap_or(new_end);
    Ok(Some(Extension { old_end, new_end }))
}
