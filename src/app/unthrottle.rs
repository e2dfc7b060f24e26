//! A new month: who was slowed down for what they used in the last one is let go.

use super::bandwidth::{bandwidth_limit, month_of};
use super::{App, Error};
use crate::domain::server::ServerId;

const AT_ONCE: u32 = 200;

/// Lets go of the peers that are slowed down and are below this month's limit; returns how many were.
pub async fn unthrottle(app: &App) -> Result<usize, Error> {
    let mut let_go = 0;
    for server in &app.shop.servers {
        loop {
            let some = unthrottle_some(app, &server.id).await?;
            if some == 0 {
                break;
            }
            let_go += some;
        }
    }
    Ok(let_go)
}

async fn unthrottle_some(app: &App, server: &ServerId) -> Result<usize, Error> {
    let mut tx = app.store.begin().await?;
    tx.lock_server(server).await?;
    let below = tx.throttled_below(server, &month_of(app.clock.now()), bandwidth_limit(), AT_ONCE).await?;
    for subscription in &below {
        tx.set_throttled(*subscription, false).await?;
    }
    tx.commit_if(!below.is_empty()).await?;
    app.server_changes.announce(server);
    Ok(below.len())
}
