//! Checking an order by its public name; where it is due, the node, or Stripe, is asked first.

use super::extension::{Extension, extension};
use super::{App, Error, NO_SUCH_ORDER, ask_node};
use crate::domain::order::{Order, OrderKind, PublicName};
use crate::domain::server::Server;
use crate::domain::subscription::Subscription;
use crate::store::CheckedOrder;

/// What a client may know of an order.
#[derive(Debug)]
pub struct Checked {
    pub order: Order,
    pub server: Option<Server>,
    pub subscription: Option<Subscription>,
    /// Whether the server has the peer; see [`Installation`](crate::store::Installation).
    pub provisioned: bool,
    pub extension: Option<Extension>,
}

/// The order of that name; never asks the node, or Stripe, about one that is not in the database.
pub async fn check_order(app: &App, name: PublicName) -> Result<Checked, Error> {
    let missing = || Error::NotFound(NO_SUCH_ORDER);
    let found = app.store.checked_order(name).await?.ok_or_else(missing)?;
    let known = found.order.revision;
    let order = ask_node::refresh(app, found.order).await?;
    let found = if order.revision == known {
        CheckedOrder { order, ..found }
    } else {
        app.store.checked_order_afresh(name).await?.ok_or_else(missing)?
    };
    if !found.order.is_visible(app.clock.now()) {
        return Err(missing());
    }
    describe(app, found).await
}

async fn describe(app: &App, found: CheckedOrder) -> Result<Checked, Error> {
    let CheckedOrder { order, subscription, is_installed } = found;
    let server_id = subscription.as_ref().map_or(&order.server_id, |subscription| &subscription.server_id);
    let server = app.shop.server(server_id).cloned();
    let extension = match (&subscription, order.kind) {
        (Some(subscription), OrderKind::Renewal { months, .. }) => {
            Some(extension(app, order.id, months, subscription).await?)
        }
        _ => None,
    };
    Ok(Checked { provisioned: order.is_paid() && is_installed, order, server, subscription, extension })
}
