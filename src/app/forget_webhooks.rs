//! What time alone ends of webhooks: the record of deliveries that ended, and callbacks whose order was long ago.

use super::{App, Error};

const AT_ONCE: u32 = 500;

/// Forgets what ended longer ago than it is kept; what is pending is never forgotten.
pub async fn forget_webhooks(app: &App) -> Result<u64, Error> {
    let kept_since = app.clock.now().plus_millis(-app.shop.holds.deliveries_millis);
    let mut tx = app.store.begin().await?;
    let deliveries = tx.forget_deliveries(kept_since, AT_ONCE).await?;
    let callbacks = tx.forget_callbacks(kept_since, AT_ONCE).await?;
    tx.commit_if(deliveries + callbacks > 0).await?;
    Ok(deliveries + callbacks)
}
