//! The first transaction of a purchase: everything that must stand before the node is asked for an invoice.

use serde_json::json;
use uuid::Uuid;

use super::add_webhook::new_endpoint;
use super::{App, Error, NO_SUCH_KEY, Unavailable, reset_bandwidth};
use crate::crash::crash_point;
use crate::domain::event::{EventType, Subject};
use crate::domain::order::{Order, OrderKind, OrderState, Rail};
use crate::domain::subscription::Standing;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::webhook::{EventFilter, Owner};
use crate::store::{IdempotencyKey, NewOrder, Remembered, Reservation, Tx};

/// How long an idempotency key stands for its order.
pub const KEY_KEPT: i64 = DAY;

/// The order that an earlier request with this key made, if its invoice can be paid or is: its answer is repeated.
pub async fn replay(app: &App, key: &IdempotencyKey) -> Result<Option<Order>, Error> {
    let Some(remembered) = app.store.remembered(key).await? else { return Ok(None) };
    if is_stale(&remembered, app.clock.now()) {
        return Ok(None);
    }
    same_request(&remembered, key)?;
    let order = app.store.order(remembered.order_id).await?;
    Ok(order.filter(|order| matches!(order.state, OrderState::Pending(_) | OrderState::Paid { .. })))
}

/// Stores an order as `creating`, with its slot reserved; or finds the one that the same request left unfinished.
///
/// # Errors
/// [`Error::Conflict`] for a key that was used with another body; too many open orders; a server without a free slot;
/// a node that cannot be paid now.
pub async fn open_order(app: &App, new: &NewOrder, key: Option<&IdempotencyKey>) -> Result<Order, Error> {
    let mut tx = app.store.begin().await?;
    if let Some(key) = key
        && let Some(earlier) = take_key(&mut tx, new, key).await?
    {
        tx.commit().await?;
        return Ok(earlier);
    }
    if let Rail::Lightning { .. } = new.rail {
        app.health.payee()?;
    }
    if let OrderKind::BandwidthReset(subscription) = new.purchase.kind {
        reset_bandwidth::refuse_too_many(app, &mut tx, subscription).await?;
    }
    let needs_slot = needs_slot(app, &mut tx, new.purchase.kind).await?;
    if needs_slot && !tx.promise_slot(&new.purchase.server_id).await? {
        return Err(sold_out(new));
    }
    // After the promise, which locks the server's row: on Postgres others may count at the same moment.
    refuse_too_many(app, &mut tx, new).await?;
    let order = tx.insert_order(new).await?;
    if needs_slot {
        reserve(app, &mut tx, new).await?;
    }
    if let Some(url) = &new.callback {
        let owner = Owner::Order(new.id);
        tx.insert_endpoint(&new_endpoint(app, owner, url.clone(), EventFilter::everything()), None).await?;
    }
    let (name, amount) = match &new.rail {
        Rail::Lightning { quote, .. } => ("amountSats", quote.amount.get()),
        Rail::Card { price, .. } => ("amountCents", price.get()),
    };
    let data = json!({
        "serverId": new.purchase.server_id.as_str(), "months": new.purchase.kind.months(), name: amount,
        "accountId": new.account,
    });
    tx.record(app.new_id(), EventType::OrderCreated, Subject::Order(new.id), &data, new.created_at).await?;
    crash_point!("open_order.before_commit");
    tx.commit().await?;
    crash_point!("open_order.committed");
    app.metrics.order(order.state.name());
    Ok(order)
}

/// Refuses a customer whose prefix has as many open orders as it may have.
async fn refuse_too_many(app: &App, tx: &mut Tx, new: &NewOrder) -> Result<(), Error> {
    if tx.count_open_orders(&new.origin).await? >= i64::from(app.shop.open_orders) {
        return Err(Error::TooManyOpen(app.shop.open_orders));
    }
    Ok(())
}

/// Takes the key for the new order, unless it stands for one that is still good.
async fn take_key(tx: &mut Tx, new: &NewOrder, key: &IdempotencyKey) -> Result<Option<Order>, Error> {
    let Some(remembered) = tx.take_idempotency_key(key, new.id, new.created_at).await? else { return Ok(None) };
    if !is_stale(&remembered, new.created_at) {
        same_request(&remembered, key)?;
        let order = tx.lock_order(remembered.order_id).await?;
        let dead = |order: &Order| matches!(order.state, OrderState::Failed { .. } | OrderState::Expired { .. });
        if let Some(order) = order.filter(|order| !dead(order)) {
            return Ok(Some(order));
        }
    }
    tx.repoint_idempotency_key(key, new.id, new.created_at).await?;
    Ok(None)
}

const fn is_stale(remembered: &Remembered, now: Timestamp) -> bool {
    now.since(remembered.created_at) >= KEY_KEPT
}

fn same_request(remembered: &Remembered, key: &IdempotencyKey) -> Result<(), Error> {
    if remembered.fingerprint == key.fingerprint {
        Ok(())
    } else {
        Err(Error::Conflict("this Idempotency-Key was used with another request; make a fresh one".into()))
    }
}

/// A new subscription needs a slot; a renewal only where the hold has ended, whether or not the slot was given back yet.
async fn needs_slot(app: &App, tx: &mut Tx, kind: OrderKind) -> Result<bool, Error> {
    let renewed = match kind {
        OrderKind::New { .. } => return Ok(true),
        OrderKind::BandwidthReset(_) => return Ok(false),
        OrderKind::Renewal { subscription, .. } => subscription,
    };
    let subscription = tx.lock_subscription(renewed).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    match subscription.standing {
        Standing::Held => Ok(app.clock.now() >= subscription.hold_until(app.shop.holds)),
        Standing::Released => Ok(true),
        Standing::Revoked => Err(Error::Revoked),
    }
}

async fn reserve(app: &App, tx: &mut Tx, new: &NewOrder) -> Result<(), Error> {
    let peer: Uuid = app.new_id();
    match tx.reserve_slot(&new.purchase.server_id, new.id, peer, new.created_at).await? {
        Reservation::Taken(_) => Ok(()),
        Reservation::SoldOut => Err(sold_out(new)),
    }
}

fn sold_out(new: &NewOrder) -> Error {
    Unavailable::SoldOut(new.purchase.server_id.clone()).into()
}
