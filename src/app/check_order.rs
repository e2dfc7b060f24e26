//! Checking an order by its payment hash; where it is due, the node is asked first.

use uuid::Uuid;

use super::extension::{Extension, extension};
use super::{App, Error, NO_SUCH_ORDER, ask_node};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{Order, OrderKind};
use crate::domain::server::Server;
use crate::domain::subscription::Subscription;

/// What a client may know of an order.
#[derive(Debug)]
pub struct Checked {
    pub order: Order,
    pub server: Option<Server>,
    pub subscription: Option<Subscription>,
    /// Whether the server's peer is recorded (until an agent can confirm more).
    pub provisioned: bool,
    pub extension: Option<Extension>,
}

/// The order of a payment hash; never asks the node about a hash that is not in the database.
pub async fn check_order(app: &App, hash: PaymentHash) -> Result<Checked, Error> {
    let order = app.store.order_by_payment_hash(hash).await?.ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    let order = ask_node::refresh(app, order).await?;
    if !order.is_visible(app.clock.now()) {
        return Err(Error::NotFound(NO_SUCH_ORDER));
    }
    describe(app, order).await
}

async fn describe(app: &App, order: Order) -> Result<Checked, Error> {
    let subscription = match (order.subscription_id, order.kind) {
        (Some(id), _) | (None, OrderKind::Renewal(id)) => app.store.subscription(id).await?,
        (None, OrderKind::New) => None,
    };
    let server_id = subscription.as_ref().map_or(&order.server_id, |subscription| &subscription.server_id);
    let server = app.shop.server(server_id).cloned();
    let provisioned = match &subscription {
        Some(subscription) if order.is_paid() => is_bound(app, subscription.id).await?,
        _ => false,
    };
    let extension = match &subscription {
        Some(subscription) if matches!(order.kind, OrderKind::Renewal(_)) => {
            Some(extension(app, &order, subscription).await?)
        }
        _ => None,
    };
    Ok(Checked { order, server, subscription, provisioned, extension })
}

async fn is_bound(app: &App, subscription: Uuid) -> Result<bool, Error> {
    Ok(app.store.peer_of(subscription).await?.is_some_and(|peer| peer.binding.is_some()))
}
