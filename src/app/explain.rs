//! The whole chain of evidence of one order: what is stored, and what the node says now.

use uuid::Uuid;

use super::{App, Error};
use crate::domain::event::{Event, Subject};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::Order;
use crate::domain::payment::{Payment, Provider};
use crate::domain::subscription::{Grant, Subscription};
use crate::lnd::{self, NodeInvoice};
use crate::store::StoredPeer;

/// Everything that is known about an order.
#[derive(Debug)]
pub struct Explained {
    pub order: Order,
    /// Of the order and of its subscription, in time order.
    pub events: Vec<Event>,
    pub payments: Vec<Payment>,
    pub subscription: Option<Subscription>,
    pub grants: Vec<(Uuid, Grant)>,
    pub peer: Option<StoredPeer>,
    /// What the node says of its invoice now.
    pub node: Result<Option<NodeInvoice>, lnd::Error>,
}

/// How a person names an order.
#[derive(Debug, Clone, Copy)]
pub enum OrderName {
    Id(Uuid),
    PaymentHash(PaymentHash),
}

/// A payment whose order this database does not know.
pub async fn explain_orphan(app: &App, hash: PaymentHash) -> Result<Option<Payment>, Error> {
    Ok(app.store.payment(Provider::Lightning, &hash.to_string()).await?)
}

/// Collects what is known; asks the node, and changes nothing.
pub async fn explain(app: &App, name: OrderName) -> Result<Explained, Error> {
    let order = match name {
        OrderName::Id(id) => app.store.order(id).await?,
        OrderName::PaymentHash(hash) => app.store.order_by_payment_hash(hash).await?,
    };
    let order = order.ok_or(Error::NotFound("no order has this payment hash or id"))?;
    let payments = app.store.payments_of(order.id).await?;
    let node = app.node.lookup_invoice(order.payment_hash).await;
    let mut events = app.store.events_of(Subject::Order(order.id)).await?;
    let Some(id) = order.subscription_id else {
        return Ok(Explained { order, events, payments, subscription: None, grants: Vec::new(), peer: None, node });
    };
    events.extend(app.store.events_of(Subject::Subscription(id)).await?);
    events.sort_by_key(|event| (event.occurred_at, event.id));
    let subscription = app.store.subscription(id).await?;
    let grants = app.store.grants(id).await?;
    let peer = app.store.peer_of(id).await?;
    Ok(Explained { order, events, payments, subscription, grants, peer, node })
}
