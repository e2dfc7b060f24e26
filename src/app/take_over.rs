//! A server passes to another machine's agent, or has none any more.

use serde_json::json;

use super::operator::By;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::server::ServerId;
use crate::store::Tx;

/// Who sees to the server from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Successor {
    /// The next one that speaks for it.
    Agent,
    /// Nobody that speaks here: its peers are set up by hand.
    Operator,
}

/// Forgets the server's agent; returns how many slots rest from now, because nobody will say any more that their peers
/// are gone.
///
/// The next agent need not wait until this one was silent, and nothing counts as installed before it says so.
pub async fn take_over(
    app: &App,
    server: &ServerId,
    successor: Successor,
    note: Option<&Note>,
) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    if !tx.forget_agent(server).await? {
        return Err(Error::NotFound("no server has this id: see `wiretoll server list`"));
    }
    let (to, freed) = match successor {
        Successor::Agent => ("agent", 0),
        Successor::Operator => ("operator", free_all(app, &mut tx, server).await?),
    };
    let data = By::Operator(note).tells(&json!({ "to": to, "slotsFreed": freed }));
    tx.record(app.new_id(), EventType::ServerTakenOver, Subject::Server(server), &data, now).await?;
    tx.commit().await?;
    app.server_changes.announce(server);
    Ok(freed)
}

async fn free_all(app: &App, tx: &mut Tx, server: &ServerId) -> Result<usize, Error> {
    let now = app.clock.now();
    tx.end_agent(server).await?;
    let gone = tx.awaited_removals(server, i64::MAX).await?;
    for peer in &gone {
        tx.confirm_removal(server, *peer, now.plus_millis(app.shop.holds.quarantine_millis), now).await?;
    }
    Ok(gone.len())
}
