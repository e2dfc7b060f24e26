//! Telling that a claim is ready: the server's agent has confirmed the peer with the key that was bound.
//!
//! It is an event of the order that founded the subscription, so that this order's callback is told, too. Each binding
//! is told of once: a row remembers which, in the same transaction.

use serde_json::json;

use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::server::ServerId;
use crate::store::ReadyPeer;

const AT_ONCE: u32 = 100;

/// Tells of every peer of a server that became ready with its agent's last word.
pub async fn tell_ready(app: &App, server: &ServerId) -> Result<(), Error> {
    loop {
        let ready = app.store.peers_to_be_told_ready(server, AT_ONCE).await?;
        for peer in &ready {
            tell(app, server, peer).await?;
        }
        if ready.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}

async fn tell(app: &App, server: &ServerId, peer: &ReadyPeer) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    // The order first, as everybody locks them.
    tx.lock_order(peer.founded_by).await?;
    let is_new = tx.mark_ready(peer).await?;
    if is_new {
        let data = json!({ "subscriptionId": peer.subscription, "serverId": server.as_str() });
        tx.record(app.new_id(), EventType::ClaimReady, Subject::Order(peer.founded_by), &data, now).await?;
    }
    tx.commit_if(is_new).await?;
    Ok(())
}
