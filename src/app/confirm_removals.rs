//! Slots on an agent's word: given back where it says that a peer is gone, and kept from sale where it keeps one.

use std::collections::HashSet;

use uuid::Uuid;

use super::{App, Error};
use crate::domain::desired::Report;
use crate::store::{ServerState, Tx};

/// Gives back the slots of peers that the agent has taken away; those that it keeps for now stay taken.
pub async fn confirm_removals(
    app: &App,
    tx: &mut Tx,
    state: &ServerState,
    report: &Report,
    applied: i64,
) -> Result<usize, Error> {
    let now = app.clock.now();
    let kept: HashSet<Uuid> = report.withheld.iter().map(|peer| peer.id).collect();
    let mut gone = tx.awaited_removals(&state.id, applied).await?;
    gone.retain(|peer| !kept.contains(peer));
    for peer in &gone {
        tx.confirm_removal(&state.id, *peer, now.plus_millis(app.shop.holds.quarantine_millis), now).await?;
    }
    if !gone.is_empty() {
        tx.prune(&state.id, applied).await?;
    }
    Ok(gone.len())
}

/// The slots of peers that the agent keeps are sold to nobody before their time and a quarantine are over.
pub async fn keep_slots(app: &App, tx: &mut Tx, state: &ServerState, report: &Report) -> Result<(), Error> {
    let Some(server) = app.shop.server(&state.id) else { return Ok(()) };
    for peer in &report.withheld {
        let Some(slot) = server.pool.slot_of(peer.address) else { continue };
        // A suspended one has no end: its slot rests from each word of it anew.
        let until = peer.traffic_until.unwrap_or_else(|| app.clock.now());
        tx.rest_slot(&state.id, slot, until.plus_millis(app.shop.holds.quarantine_millis)).await?;
    }
    Ok(())
}
