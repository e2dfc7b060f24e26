//! The operator's word that a server's agent may take many peers away at once.
//!
//! An agent keeps those peers whose removal would be many at once and asks for this word: a mistake here must not take
//! everybody's connection away.

use serde_json::json;

use super::operator::By;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::note::Note;
use crate::domain::server::ServerId;
use crate::domain::time::{MINUTE, Timestamp};

const ALLOWED_FOR: i64 = 10 * MINUTE;

/// Allows it for ten minutes; returns until when. The agent is told everything anew, with this word.
pub async fn allow_removals(app: &App, server: &ServerId, note: Option<&Note>) -> Result<Timestamp, Error> {
    let now = app.clock.now();
    let until = now.plus_millis(ALLOWED_FOR);
    let mut tx = app.store.begin().await?;
    if !tx.allow_removals(server, until).await? {
        return Err(Error::NotFound("no server has this id: see `wiretoll server list`"));
    }
    let data = By::Operator(note).tells(&json!({ "until": until }));
    tx.record(app.new_id(), EventType::ServerRemovalsAllowed, Subject::Server(server), &data, now).await?;
    tx.commit().await?;
    app.server_changes.announce(server);
    Ok(until)
}
