//! Keys that only an agent remembers, because a backup was restored, are bound again.

use uuid::Uuid;

use super::{App, Error, secrets};
use crate::domain::desired::DesiredPeer;
use crate::domain::event::{EventType, Subject};
use crate::domain::server::Server;
use crate::store::Tx;

/// Peers that the agent has and this database forgot, because a backup was restored: the key of one whose slot was paid
/// for and not claimed, or not claimed anew, is bound again, so that the customer's config goes on.
pub async fn bind_found(app: &App, server: &Server, found: &[DesiredPeer]) -> Result<(), Error> {
    for peer in found {
        let Some(slot) = server.pool.slot_of(peer.address) else { continue };
        // By the peer's own id: a slot that was sold anew since belongs to somebody else.
        let holder = app.store.keyless_holder(&server.id, slot, peer.id, peer.public_key).await?;
        let Some(subscription) = holder else { continue };
        let mut tx = app.store.begin().await?;
        if bind_again(app, &mut tx, subscription, peer).await? {
            tx.commit().await?;
            tracing::warn!(server = %server.id, slot = slot.0, "a key was bound again as the server's agent had it");
        } else {
            tx.rollback().await?;
        }
    }
    Ok(())
}

async fn bind_again(app: &App, tx: &mut Tx, subscription: Uuid, peer: &DesiredPeer) -> Result<bool, Error> {
    let now = app.clock.now();
    tx.lock_subscription(subscription).await?;
    let sealed = secrets::seal_binding(app, subscription, peer.public_key, &peer.preshared_key)?;
    if !tx.bind_peer(&sealed).await? || !tx.own_key(peer.public_key, subscription, now).await? {
        return Ok(false);
    }
    // Whether it was made here, the backup does not know.
    tx.insert_lost_private_key(peer.public_key, subscription, sealed.key_id, now).await?;
    let data = serde_json::json!({ "publicKey": peer.public_key.to_string(), "foundOnServer": true });
    tx.record(app.new_id(), EventType::ClaimBound, Subject::Subscription(subscription), &data, now).await?;
    Ok(true)
}
