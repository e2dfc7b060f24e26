//! Asking the node about one order, so that a poll heals what an event missed.
//!
//! Asked only about an unpaid order of ours, at most every 15 s, once at a time, and a few at a time in all: a customer
//! who polls costs the node almost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::apply_invoice::apply_invoice;
use super::{App, Error};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{Order, OrderState};

const INTERVAL: Duration = Duration::from_secs(15);
/// While the stream is not proven live a poll is the fastest way to the truth.
const INTERVAL_WITHOUT_STREAM: Duration = Duration::from_secs(1);
const AT_A_TIME: usize = 4;
const REMEMBERED: usize = 20_000;

/// When each order was last asked about.
#[derive(Debug, Clone)]
pub struct Questions {
    last: Arc<Mutex<HashMap<PaymentHash, Instant>>>,
    places: Arc<Semaphore>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { last: Arc::default(), places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Questions {
    /// A place to ask from, when it is time; whoever comes meanwhile answers from the database.
    fn take(&self, hash: PaymentHash, interval: Duration) -> Option<SemaphorePermit<'_>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&hash).is_some_and(|asked| asked.elapsed() < interval) {
            return None;
        }
        let place = self.places.try_acquire().ok()?;
        if last.len() >= REMEMBERED {
            last.retain(|_, asked| asked.elapsed() < interval);
        }
        if last.len() < REMEMBERED {
            last.insert(hash, Instant::now());
        }
        Some(place)
    }
}

/// The order as it is after the node was asked, where asking is due; a node that does not answer changes nothing.
pub async fn refresh(app: &App, order: Order) -> Result<Order, Error> {
    // An expired order can still be paid where the node was restored from before it closed the invoice.
    let unpaid = matches!(order.state, OrderState::Pending(_) | OrderState::Expired { .. });
    if !unpaid || !order.is_visible(app.clock.now()) {
        return Ok(order);
    }
    let interval = if app.health.is_stream_live() { INTERVAL } else { INTERVAL_WITHOUT_STREAM };
    let Some(_place) = app.questions.take(order.payment_hash, interval) else { return Ok(order) };
    match app.node.lookup_invoice(order.payment_hash).await {
        Ok(Some(invoice)) => {
            apply_invoice(app, &invoice, None).await?;
            Ok(app.store.order(order.id).await?.unwrap_or(order))
        }
        Ok(None) => Ok(order),
        Err(error) => {
            tracing::debug!(order.id = %order.id, error = %error, "the node could not be asked about an order");
            Ok(order)
        }
    }
}
