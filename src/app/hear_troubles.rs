//! What cannot be done on a server: its agent's words, and what it is not even asked to do.

use super::{App, Error};
use crate::domain::desired::Report;
use crate::domain::server::ServerId;
use crate::domain::trouble::Trouble;

/// One for each thing that an agent may fail at.
const MOST: usize = 20;

/// What the agent says that it cannot do, and what it is not even asked to do.
pub async fn troubles(app: &App, id: &ServerId, report: &Report) -> Result<Vec<Trouble>, Error> {
    let with_own_key = app.store.with_own_key(id, report.public_key).await?;
    let ours = with_own_key.into_iter().map(|subscription| {
        Trouble::new(&format!(
            "the key of subscription {subscription} is the server's own, so it is left out: `wiretoll subscription rekey` \
             gives it another"
        ))
    });
    Ok(report.troubles.iter().cloned().chain(ours).take(MOST).collect())
}

/// In the log once, when it begins; the metrics and `wiretoll server list` show it meanwhile.
pub fn tell_news(id: &ServerId, before: &[Trouble], now: &[Trouble]) {
    for trouble in now.iter().filter(|trouble| !before.contains(trouble)) {
        tracing::error!(server = %id, %trouble, "its agent is in trouble");
    }
    for trouble in before.iter().filter(|trouble| !now.contains(trouble)) {
        tracing::info!(server = %id, %trouble, "its agent is out of this trouble");
    }
}
