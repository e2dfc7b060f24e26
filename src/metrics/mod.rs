//! What the service counts of itself, for Prometheus: `table` holds every metric with its name and meaning.
//!
//! Everybody may record here; recording is an atomic addition or a short lock, never a wait. What only a look can tell,
//! such as how many orders are open, comes as [`readings::Readings`] when somebody asks. No label names a customer, an
//! order, a key or an address: its values are from a fixed list, or the id of a configured server.

mod age;
pub mod readings;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::domain::event::EventType;
use crate::domain::money::Amount;
use crate::domain::payment::{Outcome, Provider};
use age::Age;
use readings::Readings;
use table::{CLASSES, Table, labels};

/// The media type of [`Metrics::show`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of one process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    table: Table,
    registry: Registry,
    /// When the last whole sweep began.
    swept: Age,
    /// When the last whole look-up of orders by card began.
    looked_up: Age,
}

/// Counts the answers of a list of routes.
#[derive(Debug, Clone)]
pub struct Requests(Arc<[[Counter; CLASSES.len()]]>);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let table = Table::new(&mut registry);
        Self(Arc::new(Inner { table, registry, swept: Age::default(), looked_up: Age::default() }))
    }
}

impl Metrics {
    /// Counters for these routes; a route's number is its place in the list.
    ///
    /// They are looked up here, once, so that a request costs no more than one atomic addition.
    pub fn requests(&self, routes: &[&'static str]) -> Requests {
        let requests = &self.0.table.program.requests;
        let counter = |route, class| requests.get_or_create_owned(&labels([("route", route), ("class", class)]));
        Requests(routes.iter().map(|route| CLASSES.map(|class| counter(route, class))).collect())
    }

    /// An order came to this state.
    pub fn order(&self, state: &'static str) {
        self.0.table.orders.came_to.get_or_create(&labels([("state", state)])).inc();
    }

    /// A payment was entered.
    pub fn payment(&self, provider: Provider, outcome: Outcome, excess: Amount) {
        let payments = &self.0.table.payments;
        payments.entered.get_or_create(&labels([("provider", provider.name()), ("outcome", outcome.name())])).inc();
        if excess.get() > 0 {
            payments.overpaid.inc();
            if let Amount::Msats(msats) = excess {
                payments.overpaid_msat.inc_by(msats.get());
            }
        }
    }

    /// A payment was entered this long after the node settled it.
    pub fn settle_lag(&self, lag: Duration) {
        self.0.table.payments.lag.observe(lag.as_secs_f64());
    }

    /// Money of a payment went back, or came again.
    pub fn given_back(&self, what: EventType) {
        self.0.table.payments.given_back.get_or_create(&labels([("what", what.name())])).inc();
    }

    /// Stripe sent an event, and this became of it.
    pub fn stripe_event(&self, result: &'static str) {
        self.0.table.cards.events.get_or_create(&labels([("result", result)])).inc();
    }

    /// Stripe was asked, and this became of it.
    pub fn stripe_call(&self, call: &'static str, result: &'static str) {
        self.0.table.cards.calls.get_or_create(&labels([("call", call), ("result", result)])).inc();
    }

    /// A look-up that began then asked Stripe about every open order by card.
    pub fn looked_up_cards(&self, began: Instant) {
        self.0.looked_up.mark(began);
    }

    /// So many settlements that the node told of could not be entered yet.
    pub fn unapplied(&self, settlements: usize) {
        self.0.table.payments.unapplied.set(i64::try_from(settlements).unwrap_or(i64::MAX));
    }

    /// A call to the node ended; `failure` is why it brought no answer.
    pub fn lnd_call(&self, method: &'static str, took: Duration, failure: Option<&'static str>) {
        let node = &self.0.table.node;
        node.calls.get_or_create(&labels([("method", method)])).observe(took.as_secs_f64());
        if let Some(kind) = failure {
            node.errors.get_or_create(&labels([("method", method), ("kind", kind)])).inc();
        }
    }

    /// A sweep that began then compared every open order, and applied what it found.
    pub fn swept(&self, began: Instant) {
        self.0.swept.mark(began);
    }

    /// A webhook was called.
    pub fn webhook_attempt(&self, outcome: &'static str) {
        self.0.table.webhooks.attempts.get_or_create(&labels([("outcome", outcome)])).inc();
    }

    pub fn sweep_failed(&self) {
        self.0.table.node.failed_sweeps.inc();
    }

    /// An exchange told no price that counts.
    pub fn rate_failed(&self, source: &'static str, kind: &'static str) {
        self.0.table.rates.failures.get_or_create(&labels([("source", source), ("kind", kind)])).inc();
    }

    /// A write waited so long until it could begin.
    pub fn write_waited(&self, waited: Duration) {
        self.0.table.database.write_waits.observe(waited.as_secs_f64());
    }

    /// Everything as text, in the form of `OpenMetrics`. One caller at a time: it writes the readings into the table.
    ///
    /// # Errors
    /// Never in practice: it is written to memory.
    pub fn show(&self, readings: &Readings) -> Result<String, fmt::Error> {
        let Inner { table, registry, swept, looked_up } = &*self.0;
        readings.enter(table);
        table.node.sweep_age.set(swept.elapsed().as_secs_f64());
        let age_of_cards = if readings.takes_cards { looked_up.elapsed() } else { Duration::ZERO };
        table.cards.look_up_age.set(age_of_cards.as_secs_f64());
        table.program.memory.set(resident_bytes());
        let mut text = String::new();
        encode(&mut text, registry)?;
        Ok(text)
    }
}

impl Requests {
    pub fn count(&self, route: usize, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(counter) = self.0.get(route).and_then(|classes| classes.get(class)) {
            counter.inc();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// As Linux tells it (`VmRSS` of proc(5), in KiB); 0 where it does not.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}
