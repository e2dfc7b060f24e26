//! Who listens to invoice events, and who is told of one.
//!
//! Two faults of LND are copied because clients have to live with them: a subscriber with a too high index is
//! silently not told, and a subscriber that has just left makes those after it miss the event.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use super::connection::ConnectionControl;
use super::hash::PaymentHash;
use super::invoice::{Invoice, InvoiceState};
use super::random::SeededRandom;

/// How a stream is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// The stream ends as if there were nothing more to say.
    Clean,
    /// The stream ends with a gRPC error.
    Error,
    /// The connection below it is reset.
    Reset,
    /// The connection stays up, but nothing moves on it any more, not even pings.
    Stall,
    /// The connection is well and answers pings, but no event comes any more.
    Mute,
}

pub(super) struct Subscriptions {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    /// How long one that has left stays in the way.
    blindness: Duration,
}

struct Client {
    interest: Interest,
    queue: mpsc::UnboundedSender<Item>,
    backlog: watch::Sender<Backlog>,
    connection: Option<ConnectionControl>,
    muted: AtomicBool,
    left_at: Mutex<Option<Instant>>,
}

enum Interest {
    All { add_index: AtomicU64, settle_index: AtomicU64 },
    One(PaymentHash),
}

enum Item {
    Event(Arc<Invoice>),
    End(Result<(), Status>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    Pending,
    Delivered,
}

enum Presence {
    Here,
    /// Its call has ended, but it is still in the list.
    Leaving,
    Gone,
}

/// The receiving end, owned by the call; dropping it leaves.
pub(super) struct Subscription {
    client: Arc<Client>,
    items: mpsc::UnboundedReceiver<Item>,
}

/// What happens to one event beyond being delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) copies: usize,
    /// Somebody does not get it.
    pub(super) lost_by_one: bool,
    /// Out of order, a subscriber's index says nothing about what it knows.
    pub(super) in_order: bool,
}

impl Subscriptions {
    pub(super) fn new(blindness: Duration) -> Self {
        Self { clients: Mutex::new(BTreeMap::new()), next_id: AtomicU64::new(1), blindness }
    }

    /// A subscriber to every invoice. It must be given its backlog before anything live reaches it.
    pub(super) fn join_all(
        &self,
        add_index: u64,
        settle_index: u64,
        connection: Option<ConnectionControl>,
    ) -> Subscription {
        let add_index = AtomicU64::new(add_index);
        let settle_index = AtomicU64::new(settle_index);
        self.join(Interest::All { add_index, settle_index }, connection)
    }

    pub(super) fn join_one(&self, hash: PaymentHash, connection: Option<ConnectionControl>) -> Subscription {
        self.join(Interest::One(hash), connection)
    }

    fn join(&self, interest: Interest, connection: Option<ConnectionControl>) -> Subscription {
        let (queue, items) = mpsc::unbounded_channel();
        let client = Arc::new(Client {
            interest,
            queue,
            backlog: watch::Sender::new(Backlog::Pending),
            connection,
            muted: AtomicBool::new(false),
            left_at: Mutex::new(None),
        });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, client.clone());
        Subscription { client, items }
    }

    /// Tells subscribers to everything of an added or settled invoice, in random order as LND does.
    pub(super) async fn dispatch_to_all(&self, invoice: &Arc<Invoice>, delivery: Delivery, random: &SeededRandom) {
        let mut lost_by_one = delivery.lost_by_one;
        for client in shuffled(self.present(), random) {
            if client.is_single() {
                continue;
            }
            if delivery.in_order && !client.wants(invoice) {
                continue;
            }
            client.backlog_delivered().await;
            match client.presence(self.blindness) {
                Presence::Gone => {}
                // LND gives up on the event here, and whoever comes later in its list never hears of it.
                Presence::Leaving => return,
                Presence::Here if std::mem::take(&mut lost_by_one) => {}
                Presence::Here => client.tell(invoice, delivery.copies),
            }
        }
    }

    /// Tells whoever asked for this one invoice, whatever its state.
    pub(super) async fn dispatch_to_single(&self, invoice: &Arc<Invoice>) {
        for client in self.present() {
            if matches!(client.interest, Interest::One(hash) if hash == invoice.hash) {
                client.backlog_delivered().await;
                client.send(Item::Event(invoice.clone()));
            }
        }
    }

    /// Cuts every stream off, each as `how` says.
    pub(super) fn end(&self, mut how: impl FnMut() -> StreamEnd) {
        for client in self.present() {
            client.end(how());
        }
    }

    pub(super) fn count(&self) -> usize {
        let here = |client: &Arc<Client>| matches!(client.presence(self.blindness), Presence::Here);
        self.lock().values().filter(|client| here(client)).count()
    }

    fn present(&self) -> Vec<Arc<Client>> {
        let mut clients = self.lock();
        clients.retain(|_, client| !matches!(client.presence(self.blindness), Presence::Gone));
        clients.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// LND's filter: what the client's own index covers is taken for known, even when it is too high.
    fn wants(&self, invoice: &Invoice) -> bool {
        let Interest::All { add_index, settle_index } = &self.interest else {
            return false;
        };
        match invoice.state {
            InvoiceState::Settled { settle_index: index, .. } => settle_index.load(Ordering::SeqCst) < index,
            _ => add_index.load(Ordering::SeqCst) < invoice.add_index,
        }
    }

    fn is_single(&self) -> bool {
        matches!(self.interest, Interest::One(_))
    }

    fn tell(&self, invoice: &Arc<Invoice>, copies: usize) {
        for _ in 0..copies {
            self.send(Item::Event(invoice.clone()));
        }
        if let Interest::All { add_index, settle_index } = &self.interest {
            match invoice.settle_index() {
                Some(index) => settle_index.store(index, Ordering::SeqCst),
                None => add_index.store(invoice.add_index, Ordering::SeqCst),
            }
        }
    }

    fn send(&self, item: Item) {
        if !self.muted.load(Ordering::SeqCst) {
            // A receiver that is gone has left, which `presence` knows.
            let _ = self.queue.send(item);
        }
    }

    fn end(&self, how: StreamEnd) {
        match how {
            StreamEnd::Clean => self.send(Item::End(Ok(()))),
            StreamEnd::Error => self.send(Item::End(Err(Status::unavailable("stream dropped")))),
            StreamEnd::Reset => self.with_connection(ConnectionControl::reset),
            StreamEnd::Stall => self.with_connection(ConnectionControl::freeze),
            StreamEnd::Mute => self.muted.store(true, Ordering::SeqCst),
        }
    }

    fn with_connection(&self, act: impl FnOnce(&ConnectionControl)) {
        if let Some(connection) = &self.connection {
            act(connection);
        }
    }

    async fn backlog_delivered(&self) {
        let mut backlog = self.backlog.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _ = backlog.wait_for(|state| *state == Backlog::Delivered).await;
    }

    fn presence(&self, blindness: Duration) -> Presence {
        let left_at = self.left_at.lock().unwrap_or_else(PoisonError::into_inner);
        match *left_at {
            None => Presence::Here,
            Some(at) if at.elapsed() < blindness => Presence::Leaving,
            Some(_) => Presence::Gone,
        }
    }
}

impl Subscription {
    /// Queues what the subscriber has missed; live events come after it.
    pub(super) fn deliver_backlog(&self, invoices: impl IntoIterator<Item = Arc<Invoice>>) {
        for invoice in invoices {
            self.client.send(Item::Event(invoice));
        }
        self.client.backlog.send_replace(Backlog::Delivered);
    }

    pub(super) fn is_single(&self) -> bool {
        self.client.is_single()
    }

    /// `None` is a clean end.
    pub(super) async fn next(&mut self) -> Option<Result<Arc<Invoice>, Status>> {
        match self.items.recv().await? {
            Item::Event(invoice) => Some(Ok(invoice)),
            Item::End(Ok(())) => None,
            Item::End(Err(status)) => Some(Err(status)),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut left_at = self.client.left_at.lock().unwrap_or_else(PoisonError::into_inner);
        *left_at = Some(Instant::now());
        // A dispatcher may be waiting for a backlog that will never come.
        self.client.backlog.send_replace(Backlog::Delivered);
    }
}

fn shuffled(mut clients: Vec<Arc<Client>>, random: &SeededRandom) -> Vec<Arc<Client>> {
    for upper in (1..clients.len()).rev() {
        let other = usize::try_from(random.below(upper as u64 + 1)).unwrap_or(0);
        clients.swap(upper, other);
    }
    clients
}
