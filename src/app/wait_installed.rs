//! Waiting for a server's agent to say that it has a peer, or what became of one.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::bandwidth::month_of;
use super::take_report::AGENT_SILENCE;
use super::{App, Error};
use crate::domain::server::ServerId;
use crate::domain::subscription::Subscription;
use crate::domain::time::Timestamp;

/// Clients give a claim 10 s; the config is the same whether or not the agent was heard in time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Agents say once a minute what was used, and nobody can make them do so earlier.
const REPORTS_EVERY: Duration = Duration::from_mins(1);
/// An agent's word may have come to another replica.
const LOOK_ANYWAY: Duration = Duration::from_millis(200);

/// How far what an operator changed of a subscription has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Its server's agent says that it stands so.
    Server,
    /// No word of it yet.
    NotYet {
        agent_heard_at: Timestamp,
        /// Once the agent has applied this one, it stands so.
        revision: i64,
    },
    /// No agent ever spoke for its server: what is on there is set up by hand.
    NoAgent,
}

/// What one look shows.
struct Look {
    is_done: bool,
    agent_seen_at: Option<Timestamp>,
}

/// Whether a subscription's peer stands on its server, waiting for a moment where an agent is at work.
pub async fn wait_until_installed(app: &App, server: &ServerId, subscription: Uuid) -> Result<bool, Error> {
    let look = wait(app, server, async || {
        let found = app.store.installation(subscription).await?;
        let agent_seen_at = found.and_then(|found| found.agent_seen_at);
        Ok(Look { is_done: found.is_some_and(|found| found.is_installed()), agent_seen_at })
    });
    Ok(look.await?.is_done)
}

/// Whether all that was changed of a subscription until now stands on its server, waiting as a claim does.
pub async fn wait_until_applied(app: &App, subscription: &Subscription) -> Result<Reached, Error> {
    let revision = app.store.changes_told(subscription.id).await?.revision;
    let look = wait(app, &subscription.server_id, async || {
        let told = app.store.changes_told(subscription.id).await?;
        Ok(Look { is_done: told.have_reached(revision), agent_seen_at: told.agent_seen_at })
    });
    let Look { is_done, agent_seen_at } = look.await?;
    Ok(match agent_seen_at {
        None => Reached::NoAgent,
        Some(_) if is_done => Reached::Server,
        Some(agent_heard_at) => Reached::NotYet { agent_heard_at, revision },
    })
}

/// Whether its server's agent has spoken within its usual time, waiting for a moment for its next word.
pub async fn wait_until_reported(app: &App, subscription: &Subscription) -> Result<bool, Error> {
    let month = month_of(app.clock.now());
    let look = wait(app, &subscription.server_id, async || {
        let agent_seen_at = app.store.used(subscription.id, &month).await?.reported_at;
        let is_done = agent_seen_at.is_some_and(|at| app.clock.now().since(at) <= millis(REPORTS_EVERY));
        Ok(Look { is_done, agent_seen_at })
    });
    Ok(look.await?.is_done)
}

/// The last look: what was waited for, or no more patience, or nobody at work who could bring it about.
async fn wait(app: &App, server: &ServerId, look: impl AsyncFn() -> Result<Look, Error>) -> Result<Look, Error> {
    let mut waiter = app.server_changes.wait_for(server.clone());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look().await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let is_at_work = found.agent_seen_at.is_some_and(|at| app.clock.now().since(at) <= millis(AGENT_SILENCE));
        if found.is_done || left.is_zero() || !is_at_work {
            return Ok(found);
        }
        // Both ends of it mean the same: look again.
        let _ = timeout(left.min(LOOK_ANYWAY), waiter.changed()).await;
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
