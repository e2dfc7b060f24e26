//! What was sold works: a whole shop with its agent, and customers who dial in with the config that they were given.

mod client;
#[cfg(feature = "crash-points")]
mod crashes;
mod database;
mod faults;
mod key;
mod purchase;
mod sales;
mod shop;
mod standing;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything takes here; two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what comes about by itself.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
