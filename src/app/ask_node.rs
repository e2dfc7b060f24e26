//! Asking the node, or Stripe, about one order, so that a poll heals what an event missed.
//!
//! Asked only about an unpaid order of ours, at most every 15 s, once at a time, and a few at a time and a second in
//! all: customers who poll cost the node almost nothing, however many they are. Each of the two is asked from places of
//! its own, so that one that hangs keeps nobody from asking the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::apply_invoice::apply_invoice;
use super::apply_session::{apply_session, paid_by};
use super::{App, Error};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{Order, OrderState, Rail};

/// How often the node is asked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// From one question about an order to the next.
    interval: Duration,
    /// Questions about all orders.
    a_second: u32,
}

/// A poll heals what the stream missed, which is next to nothing; the sweep heals the rest.
const WITH_STREAM: Pace = Pace { interval: Duration::from_secs(15), a_second: 50 };
/// While the stream is not proven live a poll is the fastest way to the truth.
const WITHOUT_STREAM: Pace = Pace { interval: Duration::from_secs(1), a_second: u32::MAX };
const AT_A_TIME: usize = 4;
/// Clients give up after 10 s; who polls gets what the database knows well before.
const PATIENCE_WITH_STRIPE: Duration = Duration::from_secs(3);
const REMEMBERED: usize = 20_000;

const SECOND: Duration = Duration::from_secs(1);

/// Looking through all that is remembered takes as long as some polls.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);

/// When each order was last asked about.
#[derive(Debug, Clone)]
pub struct Questions {
    asked: Arc<Mutex<Asked>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Asked {
    last: HashMap<Uuid, Instant>,
    made_room: Option<Instant>,
    /// The present second, and the questions in it.
    second: Option<(Instant, u32)>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { asked: Arc::default(), places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Questions {
    /// A place to ask from, when it is time; whoever comes meanwhile answers from the database.
    fn take(&self, order: Uuid, pace: Pace) -> Option<SemaphorePermit<'_>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.last.get(&order).is_some_and(|asked| asked.elapsed() < pace.interval) {
            return None;
        }
        let permit = self.places.try_acquire().ok()?;
        (asked.has_time(pace.a_second) && asked.remember(order, pace.interval)).then_some(permit)
    }
}

impl Asked {
    /// Whether one more may be asked in this second; counts it.
    fn has_time(&mut self, a_second: u32) -> bool {
        let now = Instant::now();
        let (began, count) = self.second.filter(|(began, _)| now - *began < SECOND).unwrap_or((now, 0));
        let has_time = count < a_second;
        self.second = Some((began, count + u32::from(has_time)));
        has_time
    }

    /// Whether there is room: an order that cannot be remembered would be asked about at every poll.
    fn remember(&mut self, order: Uuid, interval: Duration) -> bool {
        if self.last.len() >= REMEMBERED && self.made_room.is_none_or(|at| at.elapsed() >= MAKE_ROOM_EVERY) {
            self.made_room = Some(Instant::now());
            self.last.retain(|_, asked| asked.elapsed() < interval);
        }
        let has_room = self.last.len() < REMEMBERED;
        if has_room {
            self.last.insert(order, Instant::now());
        }
        has_room
    }
}

/// The order as it is after the node was asked, where asking is due; a node that does not answer changes nothing.
pub async fn refresh(app: &App, order: Order) -> Result<Order, Error> {
    // An expired order can still be paid where the node was restored from before it closed the invoice.
    let unpaid = matches!(order.state, OrderState::Pending(_) | OrderState::Expired { .. });
    if !unpaid || !order.is_visible(app.clock.now()) {
        return Ok(order);
    }
    match &order.rail {
        Rail::Lightning { payment_hash, .. } => ask_the_node(app, *payment_hash, order).await,
        Rail::Card { session: Some(session), .. } => ask_stripe(app, &session.clone(), order).await,
        Rail::Card { session: None, .. } => Ok(order),
    }
}

/// As rarely as the node is asked while its stream lives: Stripe's events are the faster way.
async fn ask_stripe(app: &App, session: &str, order: Order) -> Result<Order, Error> {
    let Some(stripe) = &app.stripe else { return Ok(order) };
    let Some(_place) = app.questions_to_stripe.take(order.id, WITH_STREAM) else { return Ok(order) };
    match timeout(PATIENCE_WITH_STRIPE, stripe.session(session)).await {
        Ok(Ok(session)) => {
            apply_session(app, &session, paid_by(app, &session), None).await?;
            Ok(app.store.order(order.id).await?.unwrap_or(order))
        }
        Ok(Err(error)) => {
            tracing::debug!(order.id = %order.id, error = %error, "Stripe could not be asked about an order");
            Ok(order)
        }
        Err(_) => {
            tracing::debug!(order.id = %order.id, "Stripe does not answer in time about an order");
            Ok(order)
        }
    }
}

async fn ask_the_node(app: &App, hash: PaymentHash, order: Order) -> Result<Order, Error> {
    let pace = if app.health.is_stream_live() { WITH_STREAM } else { WITHOUT_STREAM };
    let Some(_place) = app.questions_to_node.take(order.id, pace) else { return Ok(order) };
    match app.node.lookup_invoice(hash).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    const UNHURRIED: Pace = Pace { a_second: u32::MAX, ..WITH_STREAM };

    fn order(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_asked_about_once_in_its_interval() {
        let questions = Questions::default();
        assert!(questions.take(order(1), WITH_STREAM).is_some());
        let nearly = Duration::from_millis(14_999);
        tokio::time::advance(nearly).await;
        assert!(questions.take(order(1), WITH_STREAM).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(questions.take(order(1), WITH_STREAM).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn where_more_are_polled_than_can_be_remembered_the_others_wait() {
        let questions = Questions::default();
        assert!((0..REMEMBERED).all(|n| questions.take(order(n), UNHURRIED).is_some()));
        assert!(questions.take(order(REMEMBERED), UNHURRIED).is_none());
        tokio::time::advance(UNHURRIED.interval).await;
        assert!(questions.take(order(REMEMBERED), UNHURRIED).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_are_asked_about_in_a_second_while_the_stream_lives() {
        let questions = Questions::default();
        let ask = |n| questions.take(order(n), WITH_STREAM).is_some();
        assert_eq!((0..200).filter(|n| ask(*n)).count(), 50);
        assert!(questions.take(order(200), WITHOUT_STREAM).is_some());
        tokio::time::advance(SECOND).await;
        assert_eq!((0..200).filter(|n| ask(*n)).count(), 50);
    }

    #[tokio::test]
    async fn a_few_are_asked_about_at_a_time() {
        let questions = Questions::default();
        let places: Vec<_> = (0..AT_A_TIME).filter_map(|n| questions.take(order(n), UNHURRIED)).collect();
        assert_eq!(places.len(), AT_A_TIME);
        assert!(questions.take(order(AT_A_TIME), WITH_STREAM).is_none());
        drop(places);
        assert!(questions.take(order(AT_A_TIME), WITH_STREAM).is_some());
    }
}
