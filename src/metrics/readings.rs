//! What is looked at when somebody asks for the metrics, rather than counted as it happens.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::table::{Labels, Table, labels};

/// The state of things now.
#[derive(Debug, Clone)]
pub struct Readings {
    /// Whether a new order would be taken.
    pub sells: bool,
    /// Whether there is a Stripe to be asked.
    pub takes_cards: bool,
    /// Whether the stream of settlements is open at the node.
    pub stream_open: bool,
    /// Since the stream last showed a settlement, or since the start.
    pub stream_age: Duration,
    /// Of each exchange that is asked: the age of what it said last.
    pub rate_ages: Vec<(&'static str, Duration)>,
    pub pools: Vec<PoolUse>,
    /// Nothing while the database does not answer.
    pub stored: Option<Stored>,
}

/// A pool of connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    pub name: &'static str,
    pub idle: usize,
    pub in_use: usize,
    pub most: u32,
}

/// What the database says.
#[derive(Debug, Clone)]
pub struct Stored {
    /// How long a trivial question took, with its wait for a connection.
    pub answered_in: Duration,
    pub creating: u64,
    /// Whose invoice has not run out, or only just.
    pub pending: u64,
    /// Whose invoice ran out so long ago that the order should be closed.
    pub overdue: u64,
    /// Why money gave its payer nothing that can be claimed, and how often.
    pub not_claimable: Vec<(&'static str, u64)>,
    /// Payments above the price whose excess waits for the operator.
    pub overpaid: u64,
    pub servers: Vec<ServerUse>,
    /// Of each server that ever had an agent.
    pub agents: Vec<AgentUse>,
    pub webhooks: WebhookUse,
}

/// How webhooks stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUse {
    pub waiting: Vec<WaitingFor>,
    /// By owner and by why they are disabled.
    pub endpoints: Vec<(&'static str, &'static str, u64)>,
}

/// Deliveries to the webhooks of one kind of owner that wait, and how long the oldest has waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    pub owner: &'static str,
    pub count: u64,
    pub oldest: Duration,
}

/// What a server's agent said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentUse {
    pub server: String,
    pub silent: Duration,
    /// Changes that it has not applied.
    pub behind: u64,
    pub troubles: usize,
}

/// The slots of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUse {
    pub id: String,
    pub held: u64,
    pub reserved: u64,
    pub left: u64,
}

impl Readings {
    /// Writes them into the table; what cannot be told now is not shown, rather than shown as it was.
    pub(super) fn enter(&self, table: &Table) {
        table.orders.sells.set(i64::from(self.sells));
        table.node.stream_open.set(i64::from(self.stream_open));
        table.node.stream_age.set(self.stream_age.as_secs_f64());
        for (source, age) in &self.rate_ages {
            table.rates.age.get_or_create(&labels([("source", source)])).set(age.as_secs_f64());
        }
        for pool in &self.pools {
            pool.enter(table);
        }
        table.database.up.set(i64::from(self.stored.is_some()));
        let (orders, payments) = (&table.orders, &table.payments);
        for family in [&orders.open, &orders.invoices, &orders.slots, &payments.not_claimable, &payments.open_excess] {
            family.clear();
        }
        table.agents.silent.clear();
        table.agents.behind.clear();
        table.agents.troubles.clear();
        table.webhooks.waiting.clear();
        table.webhooks.oldest.clear();
        table.webhooks.endpoints.clear();
        if let Some(stored) = &self.stored {
            stored.enter(table);
        }
    }
}

impl PoolUse {
    fn enter(&self, table: &Table) {
        let state = |state| labels([("pool", self.name), ("state", state)]);
        set(&table.database.connections, &state("idle"), self.idle);
        set(&table.database.connections, &state("in_use"), self.in_use);
        set(&table.database.most_connections, &labels([("pool", self.name)]), self.most);
    }
}

impl Stored {
    fn enter(&self, table: &Table) {
        table.database.answer.set(self.answered_in.as_secs_f64());
        set(&table.orders.open, &labels([("state", "creating")]), self.creating);
        set(&table.orders.open, &labels([("state", "pending")]), self.pending + self.overdue);
        set(&table.orders.invoices, &labels([("overdue", "no")]), self.pending);
        set(&table.orders.invoices, &labels([("overdue", "yes")]), self.overdue);
        set(&table.payments.open_excess, &labels([]), self.overpaid);
        for (reason, count) in &self.not_claimable {
            set(&table.payments.not_claimable, &labels([("reason", reason)]), *count);
        }
        for agent in &self.agents {
            let of_server = labels([("server", &agent.server)]);
            table.agents.silent.get_or_create(&of_server).set(agent.silent.as_secs_f64());
            set(&table.agents.behind, &of_server, agent.behind);
            set(&table.agents.troubles, &of_server, agent.troubles);
        }
        self.webhooks.enter(table);
        for server in &self.servers {
            let slots = |state| labels([("server", &server.id), ("state", state)]);
            set(&table.orders.slots, &slots("held"), server.held);
            set(&table.orders.slots, &slots("reserved"), server.reserved);
            set(&table.orders.slots, &slots("left"), server.left);
        }
    }
}

impl WebhookUse {
    fn enter(&self, table: &Table) {
        for WaitingFor { owner, count, oldest } in &self.waiting {
            let of_owner = labels([("owner", owner)]);
            set(&table.webhooks.waiting, &of_owner, *count);
            table.webhooks.oldest.get_or_create(&of_owner).set(oldest.as_secs_f64());
        }
        for (owner, disabled, count) in &self.endpoints {
            set(&table.webhooks.endpoints, &labels([("owner", owner), ("disabled", disabled)]), *count);
        }
    }
}

fn set(family: &Family<Labels, Gauge>, labels: &Labels, count: impl TryInto<i64>) {
    family.get_or_create(labels).set(count.try_into().unwrap_or(i64::MAX));
}
