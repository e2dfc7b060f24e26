//! What anybody who knows a public key may know of its subscription: the documented fields and no more.

use super::bandwidth::month_of;
use super::renew::subscription_of;
use super::{App, Error, NO_SUCH_KEY};
use crate::domain::keys::PublicKey;
use crate::domain::server::Server;
use crate::domain::subscription::Subscription;
use crate::store::Used;

/// A subscription as its key holder sees it.
#[derive(Debug)]
pub struct Status {
    pub subscription: Subscription,
    pub server: Option<Server>,
    /// The forwarded port, while a slot is held.
    pub port: Option<u16>,
    pub enabled: bool,
    /// What was used this month, and when its server last reported.
    pub used: Used,
    pub resets_per_month: u32,
}

pub async fn subscription_status(app: &App, key: PublicKey) -> Result<Status, Error> {
    let subscription = subscription_of(app, key).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    let server = app.shop.server(&subscription.server_id).cloned();
    let peer = app.store.peer_of(subscription.id).await?;
    let port = match (&server, peer) {
        (Some(server), Some(peer)) => Some(server.pool.port(peer.slot).map_err(Error::Broken)?),
        _ => None,
    };
    let now = app.clock.now();
    let used = app.store.used(subscription.id, &month_of(now)).await?;
    let enabled = subscription.is_active(now);
    let resets_per_month = app.shop.resets.map_or(0, |terms| terms.per_month);
    Ok(Status { subscription, server, port, enabled, used, resets_per_month })
}
