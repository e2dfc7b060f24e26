//! What peers used, as their agent reports it: it counts for their month, and shows that a key is in use.

use uuid::Uuid;

use super::bandwidth::{bandwidth_limit, month_of};
use super::tell_usage::{tell_usage, untold_percent};
use super::{App, Error};
use crate::domain::desired::Usage;
use crate::domain::server::ServerId;
use crate::domain::time::{DAY, Timestamp};
use crate::store::Tx;

/// Peers whose usage is stored in one transaction, so that a long report does not hold up settlements.
const AT_ONCE: usize = 100;
/// A private key that was made here, from the first handshake with it.
const KEPT_AFTER_HANDSHAKE: i64 = DAY;

pub async fn store_usage(app: &App, server: &ServerId, usages: &[Usage]) -> Result<(), Error> {
    for some in usages.chunks(AT_ONCE) {
        store_some(app, server, some).await?;
    }
    Ok(())
}

async fn store_some(app: &App, server: &ServerId, usages: &[Usage]) -> Result<(), Error> {
    let month = month_of(app.clock.now());
    let mut to_tell = Vec::new();
    let mut tx = app.store.begin().await?;
    tx.lock_server(server).await?;
    for usage in usages {
        let Some(used) = tx.add_usage(server, usage, &month).await? else { continue };
        if let Some(seen_at) = usage.handshake_at.filter(|_| used.is_first_handshake) {
            keep_key_no_longer(app, &mut tx, used.subscription, seen_at).await?;
        }
        to_tell.extend(untold_percent(&used).map(|percent| (used, percent)));
        if used.bytes >= bandwidth_limit() && tx.set_throttled(used.subscription, true).await? {
            tracing::info!(subscription = %used.subscription, "over its bandwidth for this month: slowed down");
        }
    }
    tx.commit().await?;
    for (used, percent) in to_tell {
        tell_usage(app, &used, &month, percent).await?;
    }
    Ok(())
}

/// The key is in use, so its customer has it: what was made here need not be kept.
async fn keep_key_no_longer(app: &App, tx: &mut Tx, subscription: Uuid, seen_at: Timestamp) -> Result<(), Error> {
    let Some(binding) = tx.peer_of(subscription).await?.and_then(|peer| peer.binding) else { return Ok(()) };
    let erase_at = seen_at.min(app.clock.now()).plus_millis(KEPT_AFTER_HANDSHAKE);
    Ok(tx.erase_private_key_at(binding.public_key, erase_at).await?)
}
