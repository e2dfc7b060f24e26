//! Whether a server has what it should, by the digest that its agent tells.

use super::desired_peers::{begin_epoch, desired_peers, server_state};
use super::operator::By;
use super::take_report::Heard;
use super::{App, Error};
use crate::domain::desired::{Applied, Change};
use crate::domain::server::ServerId;
use crate::domain::time::MINUTE;

/// Whoever is not at one with a new epoch is not helped by another one.
const NO_OTHER_EPOCH: i64 = 10 * MINUTE;

/// Whether what the agent has applied is what this database calls by the same revision.
///
/// If not, there are two histories of it: a backup was restored and changed since, as often as what it forgot. As where
/// an agent is ahead, a new epoch begins, so that nobody is taken away whom only the other history knows.
pub async fn compare_digest(app: &App, id: &ServerId, applied: Option<&Applied>) -> Result<Heard, Error> {
    let state = server_state(app, id).await?;
    let Some(applied) = applied.filter(|applied| applied.epoch == state.epoch) else { return Ok(Heard::Fine) };
    let Some(digest) = applied.digest.as_ref().filter(|_| applied.revision == state.revision) else {
        return Ok(Heard::Fine);
    };
    let Some(update) = desired_peers(app, id, None).await? else { return Ok(Heard::Fine) };
    let Change::Snapshot(snapshot) = update.change else { return Ok(Heard::Fine) };
    let after = server_state(app, id).await?;
    let has_moved_on = (after.epoch, after.revision) != (applied.epoch, applied.revision);
    if has_moved_on || snapshot.sha256 == *digest {
        return Ok(Heard::Fine);
    }
    if app.clock.now().since(state.epoch_began_at) < NO_OTHER_EPOCH {
        tracing::error!(server = %id, "its agent has other peers than it should: everything is told again");
    } else {
        tracing::error!(server = %id, "its agent has another history of this database: a backup was restored");
        begin_epoch(app, By::Agent).await?;
    }
    Ok(Heard::AskForEverything)
}
