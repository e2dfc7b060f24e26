//! Notices what a command of the operator wrote beside the service: what checks read before is read again.

use std::time::Duration;

use crate::app::App;
use crate::stop::Stop;

/// What checks read counts for twice as long.
const EVERY: Duration = Duration::from_millis(100);

pub async fn run(app: App, mut stop: Stop) {
    while stop.or(tokio::time::sleep(EVERY)).await.is_some() {
        // To its end: it borrows the writer's connection.
        if let Err(error) = app.store.look_for_others().await {
            tracing::debug!(error = %error, "nobody knows whether another process wrote");
        }
    }
}
