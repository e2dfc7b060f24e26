//! What a test makes go wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::invoice::Invoice;
use super::methods::Method;
use super::subscriptions::{Delivery, StreamEnd};

/// A fault to inject; over HTTP it is JSON such as `{"fault": "delay", "method": "AddInvoice", "milliseconds": 500}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Cuts off every invoice stream that is open now.
    EndStreams {
        how: StreamEnd,
    },
    /// Freezes every connection that is open now, as a stopped process or a dead link does.
    FreezeConnections,
    /// Of the events to come, one subscriber does not get the `nth` (the next is the first).
    LoseEvent {
        nth: u32,
    },
    /// Each of the next `count` events is delivered twice.
    DuplicateEvents {
        count: u32,
    },
    /// The next `count` events are held back and then delivered last to first.
    ReverseEvents {
        count: u32,
    },
    /// Every event leaves this much later, as for a reader that does not keep up; 0 ends it.
    SlowEvents {
        milliseconds: u64,
    },
    /// Calls of `method` wait this long before anything is looked at; 0 ends it.
    Delay {
        method: Method,
        milliseconds: u64,
    },
    /// The next `count` calls of `method` take effect, and the connection breaks instead of the answer.
    LoseReplies {
        method: Method,
        count: u32,
    },
    /// Every call answers Unavailable for so long.
    Unavailable {
        milliseconds: u64,
    },
    /// Puts the wallet into a state: `WAITING_TO_START`, `NON_EXISTING`, `LOCKED`, `UNLOCKED`, `RPC_ACTIVE` or
    /// `SERVER_ACTIVE`.
    WalletState {
        state: String,
    },
    /// `GetInfo`'s `synced_to_chain`.
    ChainSync {
        synced: bool,
    },
    /// `GetInfo`'s `num_active_channels`, once the peers have found each other after a restart.
    ActiveChannels {
        count: u32,
    },
    /// A new certificate for connections to come.
    RotateCertificate,
    /// Deletes a root key, and with it every macaroon made of it.
    RevokeMacaroons {
        root_key_id: String,
    },
    /// Another node behind the same address, certificate and macaroons: new key, no invoices, indices from 1.
    SwapNode,
    /// The next settlement jumps over `count` indices.
    SkipSettleIndices {
        count: u64,
    },
    /// Adds this many settled invoices of somebody else.
    Backlog {
        settled: u32,
    },
    /// The canceller stops, so that invoices outlive their expiry.
    PauseCanceller,
    ResumeCanceller,
}

#[derive(Default)]
pub(super) struct Faults(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    delays: HashMap<Method, Duration>,
    lost_replies: HashMap<Method, u32>,
    unavailable_until: Option<Instant>,
    /// Counts down; the event at 1 is lost.
    lose_event_in: u32,
    duplicates: u32,
    hold_back: u32,
    held_back: Vec<Arc<Invoice>>,
    event_delay: Duration,
}

impl Faults {
    pub(super) fn set_delay(&self, method: Method, delay: Duration) {
        self.lock().delays.insert(method, delay);
    }

    pub(super) fn set_event_delay(&self, delay: Duration) {
        self.lock().event_delay = delay;
    }

    pub(super) fn set_unavailable(&self, duration: Duration) {
        self.lock().unavailable_until = Some(Instant::now() + duration);
    }

    pub(super) fn lose_replies(&self, method: Method, count: u32) {
        self.lock().lost_replies.insert(method, count);
    }

    pub(super) fn lose_event(&self, nth: u32) {
        self.lock().lose_event_in = nth;
    }

    pub(super) fn duplicate_events(&self, count: u32) {
        self.lock().duplicates = count;
    }

    pub(super) fn reverse_events(&self, count: u32) {
        self.lock().hold_back = count;
    }

    pub(super) fn delay(&self, method: Method) -> Duration {
        self.lock().delays.get(&method).copied().unwrap_or_default()
    }

    pub(super) fn event_delay(&self) -> Duration {
        self.lock().event_delay
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.lock().unavailable_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether this reply of `method` is to be lost.
    pub(super) fn takes_reply(&self, method: Method) -> bool {
        let mut pending = self.lock();
        let left = pending.lost_replies.entry(method).or_default();
        let lost = *left > 0;
        *left = left.saturating_sub(1);
        lost
    }

    /// What to deliver now that `event` has come, oldest first.
    pub(super) fn deliveries(&self, event: Arc<Invoice>) -> Vec<(Arc<Invoice>, Delivery)> {
        let mut pending = self.lock();
        let in_order = pending.hold_back == 0;
        let events = pending.reorder(event);
        events.into_iter().map(|event| (event, pending.next_delivery(in_order))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn reorder(&mut self, event: Arc<Invoice>) -> Vec<Arc<Invoice>> {
        if self.hold_back == 0 {
            return vec![event];
        }
        self.held_back.push(event);
        self.hold_back -= 1;
        if self.hold_back > 0 {
            return Vec::new();
        }
        self.held_back.drain(..).rev().collect()
    }

    fn next_delivery(&mut self, in_order: bool) -> Delivery {
        let lost_by_one = self.lose_event_in == 1;
        self.lose_event_in = self.lose_event_in.saturating_sub(1);
        let copies = if self.duplicates > 0 { 2 } else { 1 };
        self.duplicates = self.duplicates.saturating_sub(1);
        Delivery { copies, lost_by_one, in_order }
    }
}
