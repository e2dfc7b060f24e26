//! What the control plane says: what is to stand from now on, and what time it is.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Agent;
use super::state::State;
use super::time::{ServerTime, Word};
use crate::domain::Invalid;
use crate::domain::desired::{Change, Peers, Snapshot, Update, withhold_removals, yield_to};
use crate::domain::time::Timestamp;

/// After a word of the control plane that made no sense.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Agent {
    pub(super) fn known(&self) -> Option<(Uuid, i64)> {
        let state = self.state.as_ref().filter(|_| !self.wants_everything)?;
        Some((state.desired.epoch, state.desired.revision))
    }

    pub(super) async fn hear(&mut self, update: Option<Update>) {
        self.heard();
        let Some(update) = update else { return };
        let is_whole = matches!(update.change, Change::Snapshot(_));
        if is_whole {
            // Told everything, it looks at everything.
            self.verify().await;
        }
        match self.take(update) {
            Ok(()) => {
                if is_whole {
                    self.look_around().await;
                }
                self.converge().await;
            }
            Err(invalid) => {
                tracing::warn!(%invalid, "the control plane's word does not fit; asking for everything");
                self.wants_everything = true;
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
    }

    fn take(&mut self, update: Update) -> Result<(), Invalid> {
        let time = self.learn(update.now, update.is_synchronised);
        match update.change {
            Change::Snapshot(snapshot) => self.take_snapshot(snapshot, time.now())?,
            Change::Delta(delta) => {
                let state = self.state.as_mut().ok_or_else(|| Invalid::new("a delta before any snapshot"))?;
                let removed = delta.remove.clone();
                state.desired.apply(delta)?;
                // What is taken away by name goes, whatever was kept for it.
                state.withheld.retain(|id, _| !removed.contains(id));
                yield_to(&mut state.withheld, state.desired.peers.values());
            }
        }
        self.wants_everything = false;
        Ok(())
    }

    /// After a reboot our own file's time is behind, and a wrong clock of the control plane's may have been put right:
    /// then leases are counted anew, and who was taken for ended is looked at again.
    pub(super) fn learn(&mut self, now: Timestamp, is_synchronised: bool) -> ServerTime {
        let time = self.time.get_or_insert_with(|| ServerTime::told(now));
        if let Word::Moves(millis) = time.hear(now, is_synchronised) {
            tracing::warn!(seconds = millis / 1_000, "the time was not as this agent had it; leases are counted anew");
            self.leases_are_off = true;
            self.retry_at = Some(Instant::now());
        }
        self.troubles.clock(time.minutes_doubted());
        *time
    }

    fn take_snapshot(&mut self, snapshot: Snapshot, now: Timestamp) -> Result<(), Invalid> {
        let (removals_allowed, taken_away) = (snapshot.removals_allowed, snapshot.taken_away.clone());
        let desired = snapshot.checked()?;
        let mut withheld = Peers::new();
        if let Some(before) = self.state.take().filter(|_| !removals_allowed) {
            withheld = before.withheld;
            withheld.extend(withhold_removals(&before.desired, &desired, now));
            yield_to(&mut withheld, desired.peers.values());
            withheld.retain(|_, peer| !taken_away.has(peer));
        }
        let (server_key, counter_run) = (self.server.public_key(), self.server.counter_run());
        let parting = self.server.parting().clone();
        self.state = Some(State { server_key, desired, withheld, seen_at: now, uptime: None, counter_run, parting });
        Ok(())
    }
}
