//! Holds every open order against the node: after each reconnection, once more a little later, and every few minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::app::{App, reconcile};
use crate::backoff::Backoff;
use crate::stop::Stop;

/// The pause after a sweep that was whole.
pub const EVERY: Duration = Duration::from_mins(5);
/// A wish to sweep waits this long, so that many wishes become one sweep.
const GATHER: Duration = Duration::from_millis(100);

/// Wishes for a sweep, and news of the last one.
#[derive(Debug, Clone)]
pub struct Sweeps {
    wanted: Arc<Notify>,
    /// Whether the next sweep looks beyond the open orders; so does the first.
    beyond: Arc<AtomicBool>,
    ended: Arc<watch::Sender<Option<Swept>>>,
}

/// A sweep that ended.
#[derive(Debug, Clone, Copy)]
pub struct Swept {
    pub began: Instant,
    /// Whether every open order was compared and every answer applied.
    pub whole: bool,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            wanted: Arc::default(),
            beyond: Arc::new(AtomicBool::new(true)),
            ended: Arc::new(watch::channel(None).0),
        }
    }
}

impl Sweeps {
    pub fn ask(&self) {
        self.wanted.notify_one();
    }

    /// For when it is not known any more how far the node's settlements were applied.
    pub fn ask_beyond(&self) {
        self.beyond.store(true, Ordering::SeqCst);
        self.ask();
    }

    /// The last one; changes with each.
    pub fn ended(&self) -> watch::Receiver<Option<Swept>> {
        self.ended.subscribe()
    }
}

pub async fn run(app: App, sweeps: Sweeps, every: Duration, mut stop: Stop) {
    let mut backoff = Backoff::default();
    loop {
        backoff.begin();
        let began = Instant::now();
        let beyond = sweeps.beyond.swap(false, Ordering::SeqCst);
        let Some(whole) = stop.or(sweep(&app, beyond)).await else { return };
        if beyond && !whole {
            sweeps.beyond.store(true, Ordering::SeqCst);
        }
        let pause = if whole { every } else { backoff.delay() };
        if whole {
            backoff.succeeded();
            app.metrics.swept(began);
        } else {
            app.metrics.sweep_failed();
        }
        sweeps.ended.send_replace(Some(Swept { began, whole }));
        // Half of the time at most, however often it is wished for.
        let gather = GATHER.max(began.elapsed());
        let woken = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = sweeps.wanted.notified() => tokio::time::sleep(gather).await,
            }
        };
        if stop.or(woken).await.is_none() {
            return;
        }
    }
}

/// Whether every open order was compared and every answer applied.
async fn sweep(app: &App, beyond: bool) -> bool {
    let swept = if beyond { reconcile::catch_up(app).await } else { reconcile::sweep(app).await };
    match swept {
        Ok(0) => true,
        Ok(failed) => {
            tracing::error!(failed, "a sweep could not apply all that the node said");
            false
        }
        Err(error) => {
            tracing::warn!(error = %error, "a sweep did not finish");
            false
        }
    }
}
