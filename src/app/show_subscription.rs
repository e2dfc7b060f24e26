//! All that is known about one subscription, for the operator.

use uuid::Uuid;

use super::bandwidth::month_of;
use super::find_subscription::{SubscriptionName, find_subscription};
use super::{App, Error};
use crate::domain::event::{Event, Subject};
use crate::domain::order::Order;
use crate::domain::subscription::{Grant, Subscription};
use crate::store::{Delivery, Installation, KeyHeld, StoredPeer, Used};

/// A subscription with all that belongs to it.
#[derive(Debug)]
pub struct ShownSubscription {
    pub subscription: Subscription,
    /// The order that founded it.
    pub founder: Option<Order>,
    pub grants: Vec<(Option<Uuid>, Grant)>,
    pub keys: Vec<KeyHeld>,
    /// None after its hold.
    pub peer: Option<StoredPeer>,
    /// The forwarded port, while it has one.
    pub port: Option<u16>,
    /// None without a key.
    pub installation: Option<Installation>,
    pub used: Used,
    pub events: Vec<Event>,
    pub deliveries: Vec<Delivery>,
}

/// Collects what is stored; changes nothing.
pub async fn show_subscription(app: &App, name: SubscriptionName) -> Result<ShownSubscription, Error> {
    let subscription = find_subscription(app, name).await?;
    let (id, store) = (subscription.id, &app.store);
    let peer = store.peer_of(id).await?;
    let server = app.shop.server(&subscription.server_id);
    let port = server.zip(peer.as_ref()).map(|(server, peer)| server.pool.port(peer.slot)).transpose();
    Ok(ShownSubscription {
        founder: store.order(subscription.founded_by).await?,
        grants: store.grants(id).await?,
        keys: store.keys_of(id).await?,
        port: port.map_err(Error::Broken)?,
        installation: store.installation(id).await?,
        used: store.used(id, &month_of(app.clock.now())).await?,
        events: store.events_of(Subject::Subscription(id)).await?,
        deliveries: store.deliveries_about(Subject::Subscription(id)).await?,
        peer,
        subscription,
    })
}
