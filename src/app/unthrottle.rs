//! A new month: who was slowed down for what they used in the last one is let go.

use super::take_report::{bandwidth_limit, month_of};
use super::{App, Error};

const AT_ONCE: u32 = 200;

/// Lets go of the peers that are slowed down and are below this month's limit; returns how many were.
pub async fn unthrottle(app: &App) -> Result<usize, Error> {
    let mut let_go = 0;
    loop {
        let mut tx = app.store.begin().await?;
        let below = tx.throttled_below(&month_of(app.clock.now()), bandwidth_limit(), AT_ONCE).await?;
        for subscription in &below {
            tx.set_throttled(*subscription, false).await?;
        }
        tx.commit().await?;
        let_go += below.len();
        if below.is_empty() {
            return Ok(let_go);
        }
    }
}
