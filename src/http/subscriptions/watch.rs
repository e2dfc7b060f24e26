//! Watching one order for a change that its client can see; long polls and event streams rest on this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::check::CheckResponse;
use crate::app::changes::Waiter;
use crate::app::check_order::{Checked, check_order};
use crate::domain::order::PublicName;
use crate::http::Shared;
use crate::http::error::Error;

/// An announcement wakes a watcher; it also looks by itself, so that the node is asked while its stream is down.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// One order, as its client last saw it.
pub struct Watch {
    shared: Arc<Shared>,
    name: PublicName,
    waiter: Waiter<Uuid>,
    seen: CheckResponse,
}

impl Watch {
    /// Begins to wait for the order that was just seen.
    ///
    /// It may have changed since: so whoever waits [looks](Self::look) before the first sleep.
    pub fn begin(shared: Arc<Shared>, name: PublicName, seen: Checked) -> Self {
        let waiter = shared.app.changes.wait_for(seen.order.id);
        Self { shared, name, waiter, seen: seen.into() }
    }

    pub const fn seen(&self) -> &CheckResponse {
        &self.seen
    }

    /// A place among all watchers; none where there are too many.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.watchers).try_acquire_owned().ok()
    }

    /// What the client sees once the order changed, the time is over or the server stops; at once where too many wait.
    pub async fn change_within(mut self, wait: Duration) -> Result<CheckResponse, Error> {
        let Some(_place) = self.place() else { return Ok(self.seen) };
        let end = Instant::now() + wait;
        while !self.look().await? && Instant::now() < end && !self.is_stopping() {
            self.sleep(end).await;
        }
        Ok(self.seen)
    }

    /// Looks again; whether the client would see a change.
    pub async fn look(&mut self) -> Result<bool, Error> {
        let now = check_order(&self.shared.app, self.name).await?.into();
        let before = std::mem::replace(&mut self.seen, now);
        Ok(before.tag() != self.seen.tag())
    }

    /// Sleeps until it is time to look again, `end` at the latest.
    pub async fn sleep(&mut self, end: Instant) {
        let mut stopping = self.shared.stopping.clone();
        tokio::select! {
            () = self.waiter.changed() => {}
            () = sleep_until(end.min(Instant::now() + LOOK_ANYWAY)) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Whether the server stops: a sender that is gone means the same.
    pub fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow() || self.shared.stopping.has_changed().is_err()
    }
}
