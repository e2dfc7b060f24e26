//! Agents that spoke once and do not any more.

use std::collections::HashSet;
use std::time::Duration;

use super::{App, Error};
use crate::domain::server::ServerId;
use crate::store::ServerState;

/// Servers whose agent was last heard longer ago than that.
pub async fn silent_agents(app: &App, longer_than: Duration) -> Result<HashSet<ServerId>, Error> {
    let states = app.store.server_states().await?;
    let silent = states.into_iter().filter(|state| silence(app, state).is_some_and(|silence| silence > longer_than));
    Ok(silent.map(|state| state.id).collect())
}

/// Since when a server's agent was not heard; none where no agent ever spoke, or the server is not configured any more.
pub fn silence(app: &App, state: &ServerState) -> Option<Duration> {
    app.shop.server(&state.id)?;
    let millis = app.clock.now().since(state.agent_seen_at?);
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}
