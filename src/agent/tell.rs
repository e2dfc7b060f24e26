//! What the agent says: who it is, what it has applied, what was used, and what its operator has to know.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::control::{ControlError, ReportTaken};
use super::server::Counted;
use super::state::State;
use super::time::ServerTime;
use super::{Agent, AgentError};
use crate::clock::Clock;
use crate::crash::crash_point;
use crate::domain::desired::{Applied, PROTOCOL, Report, Usage};
use crate::netfilter;
use crate::stop::Stop;
use crate::wireguard::interface;

/// So long without the control plane is worth a word to the operator.
const ALARM_AFTER: Duration = Duration::from_mins(10);
/// Peers in one report.
const USAGES_AT_ONCE: usize = 500;

impl Agent {
    /// Tells who this is, and waits for its turn: another agent that speaks for the server keeps it until it was silent.
    /// A control plane that cannot be reached holds nobody up who has something to keep; whoever has nothing yet must be
    /// accepted before it touches anything. `None` means stop.
    pub(super) async fn introduce(&mut self, stop: &mut Stop) -> Result<Option<()>, AgentError> {
        loop {
            self.polls.begin();
            match stop.or(self.tell(&[], false)).await {
                None => return Ok(None),
                Some(Ok(_)) => return Ok(Some(())),
                Some(Err(refused @ ControlError::Refused(_))) => return Err(refused.into()),
                Some(Err(error)) if self.state.is_some() && !matches!(error, ControlError::Busy(_)) => {
                    tracing::debug!(%error, "what was restored could not be told; it is told as soon as somebody listens");
                    self.tell_later();
                    return Ok(Some(()));
                }
                Some(Err(error)) => tracing::warn!(%error, "not accepted yet; what stands goes on"),
            }
            let ask_again = Instant::now() + self.polls.delay();
            if self.restore_until(ask_again, stop).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Whoever was sold something does not wait for the control plane: a restore that failed is tried again meanwhile.
    async fn restore_until(&mut self, end: Instant, stop: &mut Stop) -> Option<()> {
        while let Some(due) = self.retry_at.filter(|due| *due < end && self.applied.is_none()) {
            stop.or(sleep_until(due)).await?;
            self.retry_at = None;
            self.restore().await;
        }
        stop.or(sleep_until(end)).await
    }

    /// Another key on the interface cuts everybody off: so one that was put in place since is asked about before anything
    /// is touched.
    pub(super) async fn check_key(&mut self) -> Result<(), AgentError> {
        let key = self.server.public_key();
        let Some(known) = self.state.as_ref().map(|state| state.server_key).filter(|known| *known != key) else {
            return Ok(());
        };
        match self.tell(&[], false).await {
            Ok(_) => {
                tracing::warn!(%known, %key, "the server has another key now");
                self.state.iter_mut().for_each(|state| state.server_key = key);
                Ok(())
            }
            Err(refused @ ControlError::Refused(_)) => Err(refused.into()),
            Err(_) => Err(AgentError::AnotherKey(known)),
        }
    }

    pub(super) async fn look_around(&mut self) {
        self.troubles.look_at_forwarding();
        let sells_ipv6 = self.state.as_ref().is_some_and(|state| state.desired.terms.network6.is_some());
        self.troubles.look_at_forwarding6(sells_ipv6);
        // What keeps us from asking is told by those who need the firewall.
        let dropping = netfilter::dropping_neighbours().await.unwrap_or_default();
        self.troubles.neighbours(&dropping, &self.wireguard_interface);
        // Whoever cannot ask cannot say that it is not there.
        let is_there = interface::is_there(&self.wan_interface).await.unwrap_or(true);
        self.troubles.wan(&self.wan_interface, is_there);
        self.look_at_the_clock();
    }

    /// After a reboot, as long as nobody else can say how long the machine was down.
    fn look_at_the_clock(&mut self) {
        let clock = Clock::System;
        if self.time.is_some_and(ServerTime::is_guessed) && clock.is_synchronised() {
            self.learn(clock.now(), true);
        }
    }

    pub(super) async fn tell_usage(&mut self) {
        self.look_around().await;
        let mut counted = self.server.counted().await;
        if let Err(error) = &counted {
            tracing::warn!(%error, "what was used cannot be counted; everything is looked at");
            self.verify().await;
            // Whoever tells nothing for a minute and a half is held for dead.
            counted = self.server.counted().await;
        }
        match counted {
            // One life of the counters after the other: what is told out of turn would count twice.
            Ok(counted) if self.tell_parting().await => {
                self.reported.keep(&counted);
                self.tell_counted(&counted).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what was used still cannot be counted"),
        }
    }

    /// What was used before counters went, until it is heard; returns whether nothing is left to tell.
    pub(super) async fn tell_parting(&mut self) -> bool {
        while let Some(parting) = self.server.parting().first() {
            for usages in parting.chunks(USAGES_AT_ONCE) {
                match self.tell(usages, false).await {
                    Ok(taken) if !taken.resync => {}
                    // Nothing of that report was taken.
                    Ok(_) => return false,
                    Err(error) => {
                        self.untold(&error, "usage could not be reported; it waits for the next time");
                        return false;
                    }
                }
            }
            crash_point!("parting.told");
            self.server.parting_was_told();
            // Whoever starts from a file that still has it would tell it after a later life, as if it were new.
            self.store().await;
            if !self.is_kept {
                return false;
            }
        }
        true
    }

    async fn tell_counted(&mut self, counted: &BTreeMap<Uuid, Counted>) {
        let news = self.reported.news(counted);
        let (first, others) = news.split_at(news.len().min(USAGES_AT_ONCE));
        let mut told = self.tell(first, true).await;
        for usages in others.chunks(USAGES_AT_ONCE) {
            if told.is_ok() {
                told = self.tell(usages, false).await;
            }
        }
        if let Err(error) = told {
            self.untold(&error, "usage could not be reported; totals wait for the next time");
        }
    }

    /// Silence is told by whoever asks; a refusal nobody else tells of.
    fn untold(&mut self, error: &ControlError, meaning: &str) {
        tracing::debug!(%error, meaning);
        if matches!(error, ControlError::Busy(_) | ControlError::Refused(_)) {
            self.troubles.control(Some(error));
        }
    }

    pub(super) async fn tell(&mut self, usage: &[Usage], whole: bool) -> Result<ReportTaken, ControlError> {
        let state = self.state.as_ref();
        let applied = self.applied.map(|(epoch, revision)| {
            let is_this = |state: &&State| (state.desired.epoch, state.desired.revision) == (epoch, revision);
            Applied { epoch, revision, digest: state.filter(|_| whole).filter(is_this).map(|s| s.desired.digest()) }
        });
        let report = Report {
            protocol: PROTOCOL,
            agent_id: self.identity.id,
            public_key: self.server.public_key(),
            applied,
            usage: usage.to_vec(),
            withheld: state.map(|state| state.withheld.values().cloned().collect()).unwrap_or_default(),
            troubles: self.troubles.list(),
        };
        let taken = self.control.report(&report).await?;
        self.heard();
        self.troubles.control(None);
        self.reported.heard(usage);
        self.learn(taken.now, taken.is_synchronised);
        self.wants_everything |= taken.resync;
        Ok(taken)
    }

    /// That this stands, if it is not known yet.
    pub(super) async fn tell_applied(&mut self, revision: (Uuid, i64)) {
        if self.applied.replace(revision) == Some(revision) {
            self.backoff.succeeded();
            return;
        }
        match self.tell(&[], false).await {
            Ok(_) => self.backoff.succeeded(),
            Err(error) => {
                self.untold(&error, "what was applied could not be told; it is told again");
                self.tell_later();
            }
        }
    }

    pub(super) fn tell_later(&mut self) {
        self.applied = None;
        self.retry_at = Some(Instant::now() + self.backoff.delay());
    }

    pub(super) fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.polls.succeeded();
    }

    /// How long to wait before the control plane is asked again.
    pub(super) fn unheard(&mut self, error: &ControlError) -> Duration {
        let silence = self.heard_at.elapsed();
        if silence > ALARM_AFTER {
            tracing::error!(%error, minutes = silence.as_secs() / 60, "the control plane was not heard; all stays as it is");
        } else {
            tracing::info!(%error, "the control plane was not heard");
        }
        self.polls.delay()
    }
}
