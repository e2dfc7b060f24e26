//! Waiting for a server's agent to say that it has a peer.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::take_report::AGENT_SILENCE;
use super::{App, Error};
use crate::domain::server::ServerId;

/// Clients give a claim 10 s; the config is the same whether or not the agent was heard in time.
const PATIENCE: Duration = Duration::from_secs(2);
/// An agent's word may have come to another replica.
const LOOK_ANYWAY: Duration = Duration::from_millis(200);

/// Whether a subscription's peer stands on its server, waiting for a moment where an agent is at work.
pub async fn wait_until_installed(app: &App, server: &ServerId, subscription: Uuid) -> Result<bool, Error> {
    let mut waiter = app.server_changes.wait_for(server.clone());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Some(found) = app.store.installation(subscription).await? else { return Ok(false) };
        let left = deadline.saturating_duration_since(Instant::now());
        let silence = found.agent_seen_at.map(|at| app.clock.now().since(at));
        let is_silent = silence.is_some_and(|silence| silence > millis(AGENT_SILENCE));
        if found.is_installed() || left.is_zero() || is_silent {
            return Ok(found.is_installed());
        }
        // Both ends of it mean the same: look again.
        let _ = timeout(left.min(LOOK_ANYWAY), waiter.changed()).await;
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
