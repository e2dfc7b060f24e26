//! Wakes those who wait here for orders that another replica changed: one look for all of them, five times a second.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::app::App;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_millis(200);

pub async fn run(app: App, mut stop: Stop) {
    let mut seen = HashMap::new();
    loop {
        if stop.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        let waited_for = app.changes.waited_for();
        if waited_for.is_empty() {
            seen.clear();
            continue;
        }
        match stop.or(app.store.revisions(&waited_for)).await {
            Some(Ok(revisions)) => seen = announce(&app, &seen, revisions),
            Some(Err(error)) => tracing::debug!(error = %error, "the orders that somebody waits for could not be read"),
            None => return,
        }
    }
}

/// Announces what moved since the last look; an order seen for the first time may have moved before it.
fn announce(app: &App, seen: &HashMap<Uuid, i64>, revisions: HashMap<Uuid, i64>) -> HashMap<Uuid, i64> {
    for (order, revision) in &revisions {
        if seen.get(order) != Some(revision) {
            app.store.others_changed_something();
            app.changes.announce(order);
        }
    }
    revisions
}
