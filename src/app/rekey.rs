//! Another key for a subscription: the way out where the private key was lost, erased or seen by others.

use serde_json::json;
use uuid::Uuid;

use super::find_subscription::{SubscriptionName, find_subscription};
use super::operator::By;
use super::release::erase_key_made_here;
use super::suspend::check_held;
use super::{App, Error, secrets};
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::note::Note;
use crate::store::Tx;

/// Binds another key; without one, takes the present key away, and the founding order's next claim binds anew.
///
/// The old key stays the subscription's, so that nobody else gets in by it; address and port stay, too.
///
/// # Errors
/// [`Error::Conflict`] where there is no key to take away, or the new one is bound here or elsewhere already.
pub async fn rekey(app: &App, name: SubscriptionName, key: Option<PublicKey>, note: &Note) -> Result<(), Error> {
    key.map_or(Ok(()), |key| app.check_customer_key(key))?;
    let id = find_subscription(app, name).await?.id;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let subscription = tx.lock_subscription(id).await?.ok_or(Error::NotFound("no such subscription"))?;
    check_held(&subscription)?;
    let old = tx.peer_of(id).await?.and_then(|peer| peer.binding).map(|binding| binding.public_key);
    if old == key {
        return Err(Error::Conflict(match key {
            Some(_) => "this key is bound already".into(),
            None => "no key is bound: the founding order's next claim binds one".into(),
        }));
    }
    if old.is_some() {
        tx.unbind_peer(id).await?;
    }
    if let Some(key) = key {
        bind(app, &mut tx, id, key).await?;
    }
    if let Some(old) = old {
        erase_key_made_here(app, &mut tx, old, now).await?;
    }
    let text = |key: PublicKey| key.to_string();
    let facts = json!({ "oldPublicKey": old.map(text), "publicKey": key.map(text) });
    let data = By::Operator(Some(note)).tells(&facts);
    tx.record(app.new_id(), EventType::SubscriptionRekeyed, Subject::Subscription(id), &data, now).await?;
    tx.commit().await?;
    app.server_changes.announce(&subscription.server_id);
    Ok(())
}

async fn bind(app: &App, tx: &mut Tx, subscription: Uuid, key: PublicKey) -> Result<(), Error> {
    if !tx.own_key(key, subscription, app.clock.now()).await? {
        return Err(Error::Conflict("this key belongs to another subscription".into()));
    }
    let binding = secrets::seal_binding(app, subscription, key, &secrets::new_preshared_key()?)?;
    tx.bind_peer(&binding).await?;
    Ok(())
}
