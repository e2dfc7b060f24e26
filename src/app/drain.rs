//! Draining a server: nothing new is sold there, while renewals and claims go on.

use serde_json::json;

use super::operator::{By, Effect};
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::server::ServerId;

/// Whether something new is to be sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sales {
    Stop,
    Resume,
}

/// Stops or resumes the sale of new subscriptions on a server.
pub async fn set_sales(app: &App, server: &ServerId, sales: Sales, note: Option<&Note>) -> Result<Effect, Error> {
    app.shop.server(server).ok_or(Error::NotFound("no server has this id: see `wiretoll server list`"))?;
    let now = app.clock.now();
    let (since, event) = match sales {
        Sales::Stop => (Some(now), EventType::ServerDrained),
        Sales::Resume => (None, EventType::ServerUndrained),
    };
    let mut tx = app.store.begin().await?;
    if !tx.set_drained(server, since).await? {
        tx.rollback().await?;
        return Ok(Effect::Before);
    }
    tx.record(app.new_id(), event, Subject::Server(server), &By::Operator(note).tells(&json!({})), now).await?;
    tx.commit().await?;
    Ok(Effect::Now)
}
