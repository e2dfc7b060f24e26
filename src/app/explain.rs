//! The whole chain of evidence of one order: what is stored, and what the node says now.

use uuid::Uuid;

use super::resolve_payment::{PaymentName, find_payment};
use super::{App, Error};
use crate::domain::event::{Event, Subject};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::Order;
use crate::domain::payment::{Payment, Provider};
use crate::domain::subscription::{Grant, Subscription};
use crate::lnd::{self, NodeInvoice};
use crate::store::{Delivery, StoredPeer};

/// Everything that is known about an order.
#[derive(Debug)]
pub struct Explained {
    pub order: Order,
    /// Of the order, of its payments and of its subscription, in time order.
    pub events: Vec<Event>,
    /// What was and is to be told to webhooks of its events and of its subscription's.
    pub deliveries: Vec<Delivery>,
    pub payments: Vec<Payment>,
    pub subscription: Option<Subscription>,
    pub grants: Vec<(Option<Uuid>, Grant)>,
    pub peer: Option<StoredPeer>,
    /// The account whose referral code it named, and the months that this brought.
    pub bonus: Option<(Uuid, u32)>,
    /// What the node says of its invoice now; None where it is not paid by one.
    pub node: Option<Result<Option<NodeInvoice>, lnd::Error>>,
}

/// A payment whose order this database does not know.
#[derive(Debug)]
pub struct ExplainedOrphan {
    pub payment: Payment,
    pub events: Vec<Event>,
    /// What the node says of its invoice now; None where it was not paid by one.
    pub node: Option<Result<Option<NodeInvoice>, lnd::Error>>,
}

/// How a person names an order, or a payment.
#[derive(Debug, Clone, Copy)]
pub enum OrderName {
    /// Of an order or of a payment.
    Id(Uuid),
    PaymentHash(PaymentHash),
}

/// The payment of that name, where no order here is its own.
pub async fn explain_orphan(app: &App, name: OrderName) -> Result<Option<ExplainedOrphan>, Error> {
    let name = match name {
        OrderName::Id(id) => PaymentName::Id(id),
        OrderName::PaymentHash(hash) => PaymentName::PaymentHash(hash),
    };
    let payment = find_payment(app, name).await?.filter(|payment| payment.order_id.is_none());
    let Some(payment) = payment else { return Ok(None) };
    let events = app.store.events_of(Subject::Payment(payment.id)).await?;
    let node = match payment.evidence.provider {
        Provider::Lightning => {
            let hash = PaymentHash::parse(&payment.evidence.external_id).map_err(Error::Broken)?;
            Some(app.node.lookup_invoice(hash).await)
        }
        Provider::Stripe => None,
    };
    Ok(Some(ExplainedOrphan { payment, events, node }))
}

async fn find_order(app: &App, name: OrderName) -> Result<Option<Order>, Error> {
    let id = match name {
        OrderName::PaymentHash(hash) => return Ok(app.store.order_by_payment_hash(hash).await?),
        OrderName::Id(id) => id,
    };
    if let Some(order) = app.store.order(id).await? {
        return Ok(Some(order));
    }
    match app.store.payment_by_id(id).await?.and_then(|payment| payment.order_id) {
        Some(order) => Ok(app.store.order(order).await?),
        None => Ok(None),
    }
}

/// Collects what is known; asks the node, and changes nothing.
pub async fn explain(app: &App, name: OrderName) -> Result<Explained, Error> {
    let order = find_order(app, name).await?;
    let order = order.ok_or(Error::NotFound("no order has this payment hash or id"))?;
    let payments = app.store.payments_of(order.id).await?;
    let node = match order.payment_hash() {
        Some(hash) => Some(app.node.lookup_invoice(hash).await),
        None => None,
    };
    let mut events = app.store.events_of(Subject::Order(order.id)).await?;
    for payment in &payments {
        events.extend(app.store.events_of(Subject::Payment(payment.id)).await?);
    }
    events.sort_by_key(|event| (event.occurred_at, event.id));
    let mut deliveries = app.store.deliveries_about(Subject::Order(order.id)).await?;
    let bonus = app.store.bonus_of(order.id).await?;
    let Some(id) = order.subscription_id else {
        let (subscription, grants, peer) = (None, Vec::new(), None);
        return Ok(Explained { order, events, deliveries, payments, subscription, grants, peer, bonus, node });
    };
    events.extend(app.store.events_of(Subject::Subscription(id)).await?);
    events.sort_by_key(|event| (event.occurred_at, event.id));
    deliveries.extend(app.store.deliveries_about(Subject::Subscription(id)).await?);
    let subscription = app.store.subscription(id).await?;
    let grants = app.store.grants(id).await?;
    let peer = app.store.peer_of(id).await?;
    Ok(Explained { order, events, deliveries, payments, subscription, grants, peer, bonus, node })
}
