//! What an agent says: who it is, what it has installed, what was used. Each part of it is a verb in a file of its own.

use std::time::Duration;

use uuid::Uuid;

use super::bind_found::bind_found;
use super::compare_digest::compare_digest;
use super::confirm_removals::{confirm_removals, keep_slots};
use super::desired_peers::server_state;
use super::hear_troubles::{tell_news, troubles};
use super::store_usage::store_usage;
use super::tell_ready::tell_ready;
use super::{App, Error, Unavailable};
use crate::domain::Invalid;
use crate::domain::desired::{PROTOCOL, Report};
use crate::domain::keys::PublicKey;
use crate::domain::server::{Server, ServerId};
use crate::domain::trouble::Trouble;
use crate::store::{AgentWord, ServerState};

/// A second agent for one server is refused until the first one was silent for so long.
pub const AGENT_SILENCE: Duration = Duration::from_secs(90);

/// What the agent is to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Fine,
    /// What stands there is not what should: the agent asks for everything again.
    AskForEverything,
}

/// Takes an agent's word for its server.
///
/// # Errors
/// [`Error::Conflict`] for another key than the server's; [`Unavailable::AnotherAgent`] while another one speaks for it.
pub async fn take_report(app: &App, id: &ServerId, report: &Report) -> Result<Heard, Error> {
    if report.protocol != PROTOCOL {
        return Err(Invalid::new(format!("this control plane speaks protocol {PROTOCOL} of agents")).into());
    }
    let server = app.shop.server(id).ok_or(Error::NotFound("no server has this id"))?;
    let state = server_state(app, id).await?;
    check_key(server, &state, report.public_key)?;
    check_alone(app, &state, report.agent_id)?;
    let troubles = troubles(app, id, report).await?;
    tell_news(id, &state.troubles, &troubles);
    if !hear(app, &state, report, troubles).await? {
        return Ok(Heard::AskForEverything);
    }
    if report.applied.is_some() {
        // Nothing is sold on a server that cannot do what is asked of it.
        app.server_keys.learn(id.clone(), report.public_key);
    }
    app.server_changes.announce(id);
    tell_ready(app, id).await?;
    bind_found(app, server, &report.withheld).await?;
    store_usage(app, id, &report.usage).await?;
    compare_digest(app, id, report.applied.as_ref()).await
}

fn check_key(server: &Server, state: &ServerState, key: PublicKey) -> Result<(), Error> {
    match state.key_of(server) {
        Some(known) if known != key => Err(Error::Conflict(format!(
            "the agent has another WireGuard key than server {} is sold with: give it the server's key with \
             `wiretoll agent key import`; customers' configs name that key",
            server.id
        ))),
        _ => Ok(()),
    }
}

fn check_alone(app: &App, state: &ServerState, agent: Uuid) -> Result<(), Error> {
    let silence = i64::try_from(AGENT_SILENCE.as_millis()).unwrap_or(i64::MAX);
    // Either way: a machine whose clock begins in the past has not heard anybody in the future.
    let speaks = state.agent_seen_at.is_some_and(|at| app.clock.now().since(at).saturating_abs() < silence);
    if speaks && state.agent_id.is_some_and(|known| known != agent) {
        return Err(Unavailable::AnotherAgent(state.id.clone()).into());
    }
    Ok(())
}

/// False where an epoch began meanwhile, or somebody else was let in: nothing of it counts then.
async fn hear(app: &App, state: &ServerState, report: &Report, troubles: Vec<Trouble>) -> Result<bool, Error> {
    let now = app.clock.now();
    let applied = report.applied.as_ref().filter(|applied| applied.epoch == state.epoch);
    let applied_revision = applied.map_or(-1, |applied| applied.revision.min(state.revision));
    let word = AgentWord {
        agent_id: report.agent_id,
        public_key: report.public_key,
        applied_revision,
        withheld_peers: i64::try_from(report.withheld.len()).unwrap_or(i64::MAX),
        troubles,
        at: now,
    };
    let mut tx = app.store.begin().await?;
    // First: a statement that has to wait for the row looks at the epoch as it was before.
    tx.lock_server(&state.id).await?;
    if !tx.hear_agent(state, &word).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let freed = confirm_removals(app, &mut tx, state, report, applied_revision).await?;
    keep_slots(app, &mut tx, state, report).await?;
    tx.commit().await?;
    if freed > 0 {
        tracing::info!(server = %state.id, freed, "its agent took peers away; their slots rest now");
    }
    Ok(true)
}
