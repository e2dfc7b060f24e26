//! Every metric: its name, what it tells, its labels and its buckets. `docs/OPERATING.md` says what to do about them.
//!
//! A counter is named here without the `_total` that it is shown with. What can be counted from the start is there from
//! the start with 0, so that its first event is a change that an alert can see.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::domain::event::EventType;
use crate::domain::payment::{Outcome, Provider};

pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What becomes of an order.
pub const STATES: [&str; 5] = ["creating", "pending", "paid", "expired", "failed"];

/// What happens to money after it arrived.
const GIVEN_BACK: [EventType; 5] = [
    EventType::PaymentRefunded,
    EventType::PaymentPartlyRefunded,
    EventType::PaymentDisputed,
    EventType::PaymentDisputeWon,
    EventType::PaymentDisputeLost,
];
/// What Stripe is asked, and what becomes of it.
const STRIPE_CALLS: [&str; 4] = ["create", "show", "list", "expire"];
const STRIPE_RESULTS: [&str; 7] = ["answered", "refused", "credential", "file", "unable", "unanswered", "unreadable"];
/// What becomes of an event of Stripe's.
pub const EVENT_RESULTS: [&str; 5] = ["applied", "repeated", "ignored", "refused", "failed"];
/// What becomes of a call to a webhook.
pub const OUTCOMES: [&str; 12] = [
    "delivered",
    "refused",
    "gone",
    "redirect",
    "timed_out",
    "unreachable",
    "tls",
    "broken",
    "address",
    "port",
    "plain_text",
    "url",
];

/// From a node on the same machine to the deadline of the slowest call.
const CALL_SECONDS: [f64; 11] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0];
/// Up to the time after which the database gives up.
const WAIT_SECONDS: [f64; 9] = [0.0001, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 10.0];
/// The node tells the second and not the moment, so up to 1 s is no lag. A sweep is 5 minutes away, an outage hours.
const LAG_SECONDS: [f64; 10] = [1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0];

pub type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;
type Seconds = Gauge<f64, AtomicU64>;

pub fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// All of them.
#[derive(Debug)]
pub struct Table {
    pub program: Program,
    pub orders: Orders,
    pub payments: Payments,
    pub cards: Cards,
    pub node: Node,
    pub rates: Rates,
    pub agents: Agents,
    pub webhooks: Webhooks,
    pub database: Database,
}

#[derive(Debug)]
pub struct Program {
    pub requests: Counters,
    pub memory: Gauge,
}

#[derive(Debug)]
pub struct Orders {
    pub sells: Gauge,
    pub came_to: Counters,
    pub open: Gauges,
    pub invoices: Gauges,
    pub slots: Gauges,
}

#[derive(Debug)]
pub struct Payments {
    pub entered: Counters,
    pub overpaid: Counter,
    pub overpaid_msat: Counter,
    pub lag: Histogram,
    pub not_claimable: Gauges,
    pub open_excess: Gauges,
    pub unapplied: Gauge,
    pub given_back: Counters,
}

#[derive(Debug)]
pub struct Cards {
    pub events: Counters,
    pub calls: Counters,
    pub look_up_age: Seconds,
}

#[derive(Debug)]
pub struct Node {
    pub calls: Family<Labels, Histogram>,
    pub errors: Counters,
    pub stream_open: Gauge,
    pub stream_age: Seconds,
    pub sweep_age: Seconds,
    pub failed_sweeps: Counter,
}

#[derive(Debug)]
pub struct Rates {
    pub failures: Counters,
    pub age: Family<Labels, Seconds>,
}

#[derive(Debug)]
pub struct Agents {
    pub silent: Family<Labels, Seconds>,
    pub behind: Gauges,
    pub troubles: Gauges,
}

#[derive(Debug)]
pub struct Webhooks {
    pub attempts: Counters,
    pub waiting: Gauges,
    pub oldest: Family<Labels, Seconds>,
    pub endpoints: Gauges,
}

#[derive(Debug)]
pub struct Database {
    pub up: Gauge,
    pub answer: Seconds,
    pub connections: Gauges,
    pub most_connections: Gauges,
    pub write_waits: Histogram,
}

/// Where a metric gets its name.
struct Rows<'r>(&'r mut Registry);

impl Rows<'_> {
    fn row<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Table {
    /// Enters every metric into the registry.
    pub fn new(registry: &mut Registry) -> Self {
        let mut rows = Rows(registry);
        Self {
            program: Program::new(&mut rows),
            orders: Orders::new(&mut rows),
            payments: Payments::new(&mut rows),
            cards: Cards::new(&mut rows),
            node: Node::new(&mut rows),
            rates: Rates::new(&mut rows),
            agents: Agents::new(&mut rows),
            webhooks: Webhooks::new(&mut rows),
            database: Database::new(&mut rows),
        }
    }
}

impl Program {
    fn new(rows: &mut Rows<'_>) -> Self {
        let build = Info::new(labels([("version", env!("CARGO_PKG_VERSION"))]));
        rows.0.register("wiretoll_build", "Which program this is", build);
        Self {
            requests: rows.row(
                "wiretoll_http_requests",
                "Requests answered, by route and by class of the answer's status",
                Counters::default(),
            ),
            memory: rows.row("process_resident_memory_bytes", "Memory of this process", Gauge::default()),
        }
    }
}

impl Orders {
    fn new(rows: &mut Rows<'_>) -> Self {
        let came_to = Counters::default();
        for state in STATES {
            drop(came_to.get_or_create(&labels([("state", state)])));
        }
        Self {
            sells: rows.row("wiretoll_sells", "1 where a new order would be taken now, else 0", Gauge::default()),
            came_to: rows.row("wiretoll_orders", "Orders that came to a state, as this process brought them", came_to),
            open: rows.row(
                "wiretoll_open_orders",
                "Orders now that are neither paid nor closed, by state",
                Gauges::default(),
            ),
            invoices: rows.row(
                "wiretoll_open_invoices",
                "Invoices that the node may still settle; overdue since 10 minutes or more: yes or no",
                Gauges::default(),
            ),
            slots: rows.row(
                "wiretoll_slots",
                "Slots of a server: held by subscriptions, reserved by open orders, or left",
                Gauges::default(),
            ),
        }
    }
}

impl Payments {
    fn new(rows: &mut Rows<'_>) -> Self {
        let entered = Counters::default();
        for provider in [Provider::Lightning, Provider::Stripe] {
            for outcome in Outcome::ALL {
                let row = labels([("provider", provider.name()), ("outcome", outcome.name())]);
                drop(entered.get_or_create(&row));
            }
        }
        let given_back = Counters::default();
        for what in GIVEN_BACK {
            drop(given_back.get_or_create(&labels([("what", what.name())])));
        }
        Self {
            entered: rows.row(
                "wiretoll_payments",
                "Payments entered by this process, by who took them and what became of them",
                entered,
            ),
            overpaid: rows.row(
                "wiretoll_overpaid_payments",
                "Payments of more than the price, entered by this process",
                Counter::default(),
            ),
            overpaid_msat: rows.row(
                "wiretoll_overpaid_msat",
                "What was paid beyond the price, in thousandths of a sat",
                Counter::default(),
            ),
            lag: rows.row(
                "wiretoll_settle_lag_seconds",
                "From the second in which the node settled a payment until it was entered here",
                Histogram::new(LAG_SECONDS),
            ),
            not_claimable: rows.row(
                "wiretoll_paid_not_claimable",
                "Money that gave its payer nothing that can be claimed, by reason",
                Gauges::default(),
            ),
            open_excess: rows.row(
                "wiretoll_payments_with_open_excess",
                "Payments above the price whose excess waits for the operator",
                Gauges::default(),
            ),
            unapplied: rows.row(
                "wiretoll_unapplied_settlements",
                "Settlements that the node told of and that could not be entered yet",
                Gauge::default(),
            ),
            given_back: rows.row(
                "wiretoll_payments_given_back",
                "Refunds, and disputes of cards, by what happened",
                given_back,
            ),
        }
    }
}

impl Cards {
    fn new(rows: &mut Rows<'_>) -> Self {
        let events = Counters::default();
        for result in EVENT_RESULTS {
            drop(events.get_or_create(&labels([("result", result)])));
        }
        let calls = Counters::default();
        for call in STRIPE_CALLS {
            for result in STRIPE_RESULTS {
                drop(calls.get_or_create(&labels([("call", call), ("result", result)])));
            }
        }
        Self {
            events: rows.row("wiretoll_stripe_events", "Events that Stripe sent, by what became of them", events),
            calls: rows.row("wiretoll_stripe_calls", "Calls to Stripe, by what became of them", calls),
            look_up_age: rows.row(
                "wiretoll_card_look_up_age_seconds",
                "Since the last look-up began that asked Stripe about every open order by card, or since the start; 0 where no \
                 card is taken",
                Seconds::default(),
            ),
        }
    }
}

impl Node {
    fn new(rows: &mut Rows<'_>) -> Self {
        Self {
            calls: rows.row(
                "wiretoll_lnd_call_seconds",
                "Calls to LND, by method, with their wait for a turn",
                Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            ),
            errors: rows.row(
                "wiretoll_lnd_call_errors",
                "Calls to LND without an answer, by kind",
                Counters::default(),
            ),
            stream_open: rows.row(
                "wiretoll_stream_open",
                "1 while the stream of settlements is open at the node, else 0",
                Gauge::default(),
            ),
            stream_age: rows.row(
                "wiretoll_stream_age_seconds",
                "Since the stream last proved to be live by an event, or since the start",
                Seconds::default(),
            ),
            sweep_age: rows.row(
                "wiretoll_sweep_age_seconds",
                "Since the last sweep began that compared every open order, or since the start",
                Seconds::default(),
            ),
            failed_sweeps: rows.row(
                "wiretoll_failed_sweeps",
                "Sweeps that could not compare or apply everything",
                Counter::default(),
            ),
        }
    }
}

impl Rates {
    fn new(rows: &mut Rows<'_>) -> Self {
        Self {
            failures: rows.row(
                "wiretoll_rate_source_failures",
                "Answers of an exchange without a price that counts, by kind",
                Counters::default(),
            ),
            age: rows.row(
                "wiretoll_rate_source_age_seconds",
                "Age of the last price that an exchange told, or since the start",
                Family::default(),
            ),
        }
    }
}

impl Agents {
    fn new(rows: &mut Rows<'_>) -> Self {
        Self {
            silent: rows.row(
                "wiretoll_agent_silent_seconds",
                "Since the agent of a server was last heard, where it ever had one",
                Family::default(),
            ),
            behind: rows.row(
                "wiretoll_agent_behind",
                "Changes of a server's peers that its agent has not applied",
                Gauges::default(),
            ),
            troubles: rows.row(
                "wiretoll_agent_troubles",
                "Things that the agent of a server said last that it cannot do",
                Gauges::default(),
            ),
        }
    }
}

impl Webhooks {
    fn new(rows: &mut Rows<'_>) -> Self {
        let attempts = Counters::default();
        for outcome in OUTCOMES {
            drop(attempts.get_or_create(&labels([("outcome", outcome)])));
        }
        Self {
            attempts: rows.row(
                "wiretoll_webhook_attempts",
                "Calls of webhooks by this process, by what became of them",
                attempts,
            ),
            waiting: rows.row(
                "wiretoll_webhook_deliveries_waiting",
                "Deliveries of webhooks that were not made yet, or not taken, by owner (operator, account, buyer)",
                Gauges::default(),
            ),
            oldest: rows.row(
                "wiretoll_webhook_oldest_waiting_seconds",
                "Since the oldest of them was entered",
                Family::default(),
            ),
            endpoints: rows.row(
                "wiretoll_webhook_endpoints",
                "Endpoints by owner (operator, account) and why they are disabled: no, gone, failing or by_hand",
                Gauges::default(),
            ),
        }
    }
}

impl Database {
    fn new(rows: &mut Rows<'_>) -> Self {
        Self {
            up: rows.row(
                "wiretoll_database_up",
                "1 where the database answered for this page, else 0",
                Gauge::default(),
            ),
            answer: rows.row(
                "wiretoll_database_answer_seconds",
                "How long a trivial question took now, with its wait for a connection",
                Seconds::default(),
            ),
            connections: rows.row(
                "wiretoll_database_connections",
                "Connections of a pool, idle or in use",
                Gauges::default(),
            ),
            most_connections: rows.row(
                "wiretoll_database_connections_max",
                "Connections that a pool may open",
                Gauges::default(),
            ),
            write_waits: rows.row(
                "wiretoll_database_write_wait_seconds",
                "How long a write waited until it could begin",
                Histogram::new(WAIT_SECONDS),
            ),
        }
    }
}
