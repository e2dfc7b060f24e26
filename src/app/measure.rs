//! Looking at what cannot be counted as it happens, for whoever asks for the metrics.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::silent_agents::silence;
use super::{App, Error};
use crate::config::RateSource;
use crate::domain::time::MINUTE;
use crate::domain::webhook::Disabled;
use crate::metrics::readings::{AgentUse, Readings, ServerUse, Stored, WaitingFor, WebhookUse};
use crate::store::{EndpointCount, Occupancy, ServerState};

/// Shorter than Prometheus waits for a page by default (10 s): then the rest of it is shown all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// The closer looks every 5 s; an invoice that ran out this long ago waits for a node that does not answer.
const OVERDUE_AFTER: i64 = 10 * MINUTE;

/// How things stand now; never fails, and says so where the database does not answer.
pub async fn measure(app: &App) -> Readings {
    let stored = match timeout(PATIENCE, stored(app)).await {
        Ok(Ok(stored)) => Some(stored),
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "the metrics could not be read from the database");
            None
        }
        Err(_) => None,
    };
    Readings {
        sells: app.obstacle().is_none(),
        takes_cards: app.stripe.is_some(),
        stream_open: app.health.is_stream_open(),
        stream_age: app.health.stream_age(),
        rate_ages: rate_ages(app),
        pools: app.store.pools(),
        stored,
    }
}

fn rate_ages(app: &App) -> Vec<(&'static str, Duration)> {
    let Some(RateSource::Live(live)) = &app.shop.rate else { return Vec::new() };
    let now = app.clock.now();
    let exchanges = live.sources.iter().map(|source| source.exchange);
    exchanges.map(|exchange| (exchange.name(), app.last_said.age(exchange, now))).collect()
}

async fn stored(app: &App) -> Result<Stored, Error> {
    let asked = Instant::now();
    app.store.ping().await?;
    let answered_in = asked.elapsed();
    let now = app.clock.now();
    let orders = app.store.count_open_orders(now.plus_millis(-OVERDUE_AFTER)).await?;
    let occupancy = app.store.occupancy(now).await?;
    let states = app.store.server_states().await?;
    let waiting = app.store.count_waiting_payments().await?;
    let of_payments = waiting.gave_nothing.into_iter().map(|(outcome, count)| (outcome.name(), count));
    Ok(Stored {
        answered_in,
        creating: orders.creating,
        pending: orders.pending - orders.overdue,
        overdue: orders.overdue,
        not_claimable: of_payments.chain([("server_without_key", on_servers_without_key(app, &occupancy))]).collect(),
        overpaid: waiting.overpaid,
        servers: occupancy.iter().map(server_use).collect(),
        agents: states.iter().filter_map(|state| agent_use(app, state)).collect(),
        webhooks: webhook_use(app).await?,
    })
}

/// Subscriptions that cannot be claimed, because the configuration does not name their server's key.
fn on_servers_without_key(app: &App, occupancy: &[Occupancy]) -> u64 {
    let has_key =
        |counts: &&Occupancy| app.shop.server(&counts.server).is_some_and(|known| app.server_key(known).is_some());
    occupancy.iter().filter(|counts| !has_key(counts)).map(|counts| unsigned(counts.held)).sum()
}

async fn webhook_use(app: &App) -> Result<WebhookUse, Error> {
    let waiting = app.store.count_waiting_deliveries().await?;
    let counted = app.store.count_endpoints().await?;
    let endpoints = kinds_of_endpoints().map(|(owner, disabled)| {
        let same = |one: &&EndpointCount| one.owner == owner && one.disabled == disabled;
        (owner, disabled, counted.iter().find(same).map_or(0, |one| one.count))
    });
    let now = app.clock.now();
    let waiting = ["operator", "account", "buyer"].map(|owner| {
        let of_owner = waiting.iter().find(|waiting| waiting.owner == owner);
        let age = of_owner.map_or(0, |waiting| now.since(waiting.since));
        let oldest = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        WaitingFor { owner, count: of_owner.map_or(0, |waiting| waiting.count), oldest }
    });
    Ok(WebhookUse { waiting: waiting.into(), endpoints: endpoints.collect() })
}

/// Those that there are none of are told, too: an alarm must tell none from unknown.
fn kinds_of_endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    let disabled = std::iter::once("no").chain(Disabled::ALL.map(Disabled::name));
    disabled.flat_map(|disabled| ["operator", "account"].map(|owner| (owner, disabled)))
}

fn agent_use(app: &App, state: &ServerState) -> Option<AgentUse> {
    Some(AgentUse {
        server: state.id.to_string(),
        silent: silence(app, state)?,
        behind: unsigned(state.behind()),
        troubles: state.troubles.len(),
    })
}

fn server_use(counts: &Occupancy) -> ServerUse {
    ServerUse {
        id: counts.server.to_string(),
        held: unsigned(counts.held),
        reserved: unsigned(counts.reserved),
        left: unsigned(counts.total - counts.held - counts.reserved),
    }
}

/// The database keeps these counts from falling below zero.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
