//! What is to stand, kept in the agent's file and made so on the server: at a start, at each change, and where a look shows
//! that it is not so.
//!
//! What is taken away is in the file before it is taken, so that an agent that dies on the way brings nothing back. What is
//! only given is written while it is made: lost on the way it is told again, as nothing is called applied that a restart
//! would not bring back.

use std::time::Duration;

use tokio::time::Instant;

use super::server::{Found, ServerError};
use super::state::State;
use super::time::ServerTime;
use super::{Agent, VERIFY_EVERY};
use crate::crash::crash_point;
use crate::domain::desired::Peers;
use crate::domain::time::Timestamp;

/// A timer may wake a little early.
const SLACK: Duration = Duration::from_millis(20);

impl Agent {
    /// What stood before a restart or a reboot, without what has ended since.
    pub(super) async fn restore(&mut self) {
        self.backoff.begin();
        self.look_around().await;
        if self.state.is_none() {
            return;
        }
        match self.restore_server().await {
            Ok(peers) => {
                crash_point!("restore.stands");
                tracing::info!(peers, "what stood before was restored");
                self.troubles.server(None);
                self.applied = self.state.as_ref().map(|state| (state.desired.epoch, state.desired.revision));
                self.store().await;
                self.tell_parting().await;
            }
            Err(error) => {
                // Whoever ends here is only silent; so it is told, and tried again.
                self.troubles.server(Some(&error));
                self.retry_at = Some(Instant::now() + self.backoff.delay());
            }
        }
    }

    async fn restore_server(&mut self) -> Result<usize, ServerError> {
        let (Some(state), Some(time)) = (&mut self.state, self.time) else { return Ok(0) };
        self.server.part_from(state.desired.peers.values()).await?;
        let now = time.now();
        state.mark(time, self.server.counter_run(), self.server.parting());
        // Before the counters go: nobody may be there to hear of it until the next restart.
        self.troubles.file(self.file.store(state).await);
        let done = self.server.converge(&state.desired.terms, standing_at(state, now), now).await;
        self.troubles.left_out(self.server.left_out());
        done.map(|()| state.desired.peers.len())
    }

    /// Keeps what is to stand in the file, makes the server so, and says so; what fails is tried again.
    pub(super) async fn converge(&mut self) {
        let (Some(state), Some(time)) = (&mut self.state, self.time) else { return };
        let now = time.now();
        state.withheld.retain(|_, peer| peer.has_time(now));
        let revision = (state.desired.epoch, state.desired.revision);
        self.troubles.withheld(state.withheld.len());
        self.backoff.begin();
        let run = self.server.counter_run();
        let mut done = self.keep_and_make(time).await;
        if self.leases_are_off && done.is_ok() {
            done = self.server.renew_leases(now).await;
            self.leases_are_off = done.is_err();
        }
        self.troubles.server(done.as_ref().err());
        self.troubles.left_out(self.server.left_out());
        if self.server.counter_run() != run {
            self.store().await;
        }
        if done.is_err() || !self.is_kept {
            self.retry_at = Some(Instant::now() + self.backoff.delay());
            return;
        }
        self.retry_at = None;
        crash_point!("change.stands");
        self.tell_applied(revision).await;
        crash_point!("change.told");
        if !self.tell_parting().await {
            self.store().await;
        }
    }

    async fn keep_and_make(&mut self, time: ServerTime) -> Result<(), ServerError> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let now = time.now();
        state.mark(time, self.server.counter_run(), self.server.parting());
        let (terms, peers) = (&state.desired.terms, standing_at(state, now));
        if self.is_kept && self.server.would_only_give(terms, &peers) {
            let (stored, done) = tokio::join!(self.file.store(state), self.server.converge(terms, peers, now));
            self.is_kept = self.troubles.file(stored);
            return done;
        }
        self.is_kept = self.troubles.file(self.file.store(state).await);
        crash_point!("change.stored");
        self.server.converge(terms, peers, now).await
    }

    pub(super) async fn store(&mut self) {
        let (Some(state), Some(time)) = (&mut self.state, self.time) else { return };
        state.mark(time, self.server.counter_run(), self.server.parting());
        self.is_kept = self.troubles.file(self.file.store(state).await);
    }

    pub(super) async fn verify(&mut self) {
        let Some(time) = self.time else { return };
        match self.look_and_mend(time.now()).await {
            // What failed before has not been mended by a look.
            Ok(false) if self.retry_at.is_some() => {}
            Ok(false) => self.troubles.server(None),
            Ok(true) => tracing::warn!("the server was not as it should be, and was put right"),
            Err(error) => {
                self.troubles.server(Some(&error));
                self.retry_at = Some(Instant::now() + self.backoff.delay());
            }
        }
        // The time in it bounds what a restart without the control plane gives away.
        self.store().await;
    }

    /// Whether anything was wrong.
    async fn look_and_mend(&mut self, now: Timestamp) -> Result<bool, ServerError> {
        let found = self.server.look(now).await?;
        match found {
            Found::Right => {}
            Found::LeasesOff => self.server.renew_leases(now).await?,
            Found::Wrong => {
                // In the file before its counters go, as nobody may be there to hear of it.
                self.server.part_from_all().await?;
                self.store().await;
                self.server.mend(now).await?;
            }
        }
        Ok(found != Found::Right)
    }

    /// When the next peer's time ends, or what failed is tried again.
    pub(super) fn next_change(&self) -> Instant {
        let far = Instant::now() + VERIFY_EVERY;
        let (Some(state), Some(time)) = (&self.state, self.time) else { return far };
        let now = time.now();
        let ends = state.desired.peers.values().chain(state.withheld.values()).filter_map(|peer| peer.traffic_until);
        let next = ends.filter(|end| *end > now).min().map(|end| time.instant_of(end) + SLACK);
        next.into_iter().chain(self.retry_at).min().unwrap_or(far)
    }
}

/// The peers that are to stand: those whose time is not over.
fn standing_at(state: &State, now: Timestamp) -> Peers {
    let all = state.desired.peers.iter().chain(&state.withheld);
    all.filter(|(_, peer)| peer.has_time(now)).map(|(id, peer)| (*id, peer.clone())).collect()
}
