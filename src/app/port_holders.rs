//! Who had a public port, for somebody who reports its abuse. No address of a customer is kept anywhere.

use std::ops::RangeInclusive;

use super::{App, Error};
use crate::domain::Invalid;
use crate::domain::lightning::PaymentHash;
use crate::domain::server::ServerId;
use crate::domain::subscription::Subscription;
use crate::domain::time::Timestamp;
use crate::store::Holder;

/// A subscription that had the port, and when.
#[derive(Debug)]
pub struct PortHolder {
    pub holder: Holder,
    pub subscription: Subscription,
    /// Of the order that founded it; none of one that was paid by card.
    pub payment_hash: Option<PaymentHash>,
}

/// Everybody who had a server's port, or who had it at some time between two; the latest first.
///
/// # Errors
/// [`Error::Invalid`] for a port that the server does not forward.
pub async fn port_holders(
    app: &App,
    server: &ServerId,
    port: u16,
    between: Option<RangeInclusive<Timestamp>>,
) -> Result<Vec<PortHolder>, Error> {
    let server = app.shop.server(server).ok_or(Error::NotFound("no server has this id: see `wiretoll server list`"))?;
    let slot = server.pool.slot_of_port(port);
    let slot = slot.ok_or_else(|| Invalid::new(format!("server {} does not forward port {port}", server.id)))?;
    let had_it = |holder: &Holder| {
        let is_between = |time: &RangeInclusive<Timestamp>| {
            holder.from <= *time.end() && holder.until.is_none_or(|until| *time.start() < until)
        };
        between.as_ref().is_none_or(is_between)
    };
    let mut found = Vec::new();
    for holder in app.store.holders(&server.id, slot).await?.into_iter().filter(had_it) {
        let missing = || Error::Broken(Invalid::new("a peer without its subscription or order"));
        let subscription = app.store.subscription(holder.subscription).await?.ok_or_else(missing)?;
        let payment_hash = app.store.order(subscription.founded_by).await?.ok_or_else(missing)?.payment_hash();
        found.push(PortHolder { holder, subscription, payment_hash });
    }
    Ok(found)
}
