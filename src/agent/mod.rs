//! The agent of one WireGuard server: it makes interface, peers, forwards and leases as they were sold, and says so.
//!
//! It starts from its own file and goes on for ever while nobody can be asked. It never takes the interface or its peers
//! down as a whole, neither at a start nor at an end: traffic does not depend on whether it lives, and the kernel's
//! leases end what was sold on time without it.

pub mod key;

mod control;
mod differences;
mod identity;
mod server;
mod state;
mod surroundings;
mod time;
mod troubles;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::config;
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::desired::{
    Applied, Change, PROTOCOL, Peers, Report, Snapshot, Update, Usage, withhold_removals, yield_to,
};
use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::PublicKey;
use crate::domain::time::Timestamp;
use crate::stop::Stop;
use crate::wireguard::interface;
use control::{ControlError, ControlPlane};
use identity::{Identity, IdentityError};
use key::{KeyError, KeyFile};
use server::{Counted, Server, ServerError, new_run};
use state::{State, StateFile, remedy};
use time::{ServerTime, Uptime, Word};
use troubles::Troubles;
use usage::Reported;

const POLL: Duration = Duration::from_secs(25);
const USAGE_EVERY: Duration = Duration::from_mins(1);
const VERIFY_EVERY: Duration = Duration::from_mins(5);
/// So long without the control plane is worth a word to the operator.
const ALARM_AFTER: Duration = Duration::from_mins(10);
/// Peers in one report.
const USAGES_AT_ONCE: usize = 500;
/// After a word of the control plane that made no sense.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A timer may wake a little early.
const SLACK: Duration = Duration::from_millis(20);

/// A server's agent.
#[derive(Debug)]
pub struct Agent {
    server: Server,
    control: ControlPlane,
    file: StateFile,
    wan_interface: InterfaceName,
    /// What is to stand; none before the control plane was ever heard.
    state: Option<State>,
    /// What stands and is in the file.
    applied: Option<(Uuid, i64)>,
    time: Option<ServerTime>,
    /// Leases were counted from a time that turned out to be another.
    leases_are_off: bool,
    /// Asks for a snapshot next, not for what changed.
    wants_everything: bool,
    /// When what failed is tried again.
    retry_at: Option<Instant>,
    /// Of changes to the server that failed.
    backoff: Backoff,
    /// Of questions to a control plane that does not answer.
    polls: Backoff,
    reported: Reported,
    troubles: Troubles,
    identity: Identity,
    heard_at: Instant,
}

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "the agent's own file in {} cannot be read, and nothing was changed on this machine{}",
        .folder.display(), remedy(.folder, .source)
    )]
    State {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "customers' configs name the server's key {0}, and this agent has another one: put that key back with `wiretoll \
         agent key import --replace`"
    )]
    AnotherKey(PublicKey),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Agent {
    /// Reads key and file, and restores what stood before, without asking anybody.
    ///
    /// # Errors
    /// When it must not go on: an unreadable file, or a machine on which WireGuard or nftables cannot be changed.
    pub async fn start(settings: &config::Agent) -> Result<Self, AgentError> {
        let identity = Identity::take(&settings.state_folder)?;
        let key = KeyFile::new(&settings.state_folder).load_or_make()?;
        let file = StateFile::new(settings.state_folder.clone());
        let unreadable = |source| AgentError::State { folder: settings.state_folder.clone(), source };
        let state = file.load().map_err(unreadable)?;
        let counter_run = state.as_ref().map_or_else(new_run, |state| Ok(state.counter_run))?;
        let mut server = Server::new(settings.clone(), key, counter_run);
        if state.is_none() {
            server.refuse_foreign_interface().await?;
        }
        let mut agent = Self {
            server,
            control: ControlPlane::new(&settings.socket, &settings.server)?,
            file,
            wan_interface: settings.wan_interface.clone(),
            time: state.as_ref().map(|state| ServerTime::restored(state.seen_at, state.uptime.as_ref())),
            state,
            applied: None,
            leases_are_off: false,
            wants_everything: false,
            retry_at: None,
            backoff: Backoff::default(),
            polls: Backoff::default(),
            reported: Reported::default(),
            troubles: Troubles::default(),
            identity,
            heard_at: Instant::now(),
        };
        surroundings::warn_about(settings).await;
        agent.check_key().await?;
        agent.restore().await?;
        Ok(agent)
    }

    /// Keeps the server until it is told to stop; what stands then stays.
    ///
    /// # Errors
    /// When the control plane refuses this agent at its first word: it has another key than the server is sold with.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), AgentError> {
        if stop.or(self.introduce()).await.transpose()?.is_none() {
            return Ok(());
        }
        let every = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut usage, mut verify) = (every(USAGE_EVERY), every(VERIFY_EVERY));
        loop {
            self.polls.begin();
            tokio::select! {
                () = stop.stopped() => return Ok(()),
                _ = usage.tick() => self.tell_usage().await,
                _ = verify.tick() => self.verify().await,
                () = sleep_until(self.next_change()) => self.converge().await,
                polled = self.control.poll(self.known(), POLL) => match polled {
                    Ok(update) => self.hear(update).await,
                    Err(error) => {
                        let pause = self.unheard(&error);
                        let _ = stop.or(tokio::time::sleep(pause)).await;
                    }
                },
            }
        }
    }

    /// Tells who this is, and waits for its turn: another agent that speaks for the server keeps it until it was silent.
    /// A control plane that cannot be reached holds nobody up who has something to keep; whoever has nothing yet must be
    /// accepted before it touches anything.
    async fn introduce(&mut self) -> Result<(), AgentError> {
        loop {
            self.polls.begin();
            match self.tell(&[], false).await {
                Ok(()) => return Ok(()),
                Err(refused @ ControlError::Refused(_)) => return Err(refused.into()),
                Err(error) if self.state.is_some() && !matches!(error, ControlError::Busy(_)) => {
                    tracing::debug!(%error, "what was restored could not be told; it is told as soon as somebody listens");
                    self.tell_later();
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "not accepted yet; what stands goes on"),
            }
            tokio::time::sleep(self.polls.delay()).await;
        }
    }

    /// Another key on the interface cuts everybody off: so one that was put in place since is asked about before anything
    /// is touched.
    async fn check_key(&mut self) -> Result<(), AgentError> {
        let key = self.server.public_key();
        let Some(known) = self.state.as_ref().map(|state| state.server_key).filter(|known| *known != key) else {
            return Ok(());
        };
        match self.tell(&[], false).await {
            Ok(()) => {
                tracing::warn!(%known, %key, "the server has another key now");
                self.state.iter_mut().for_each(|state| state.server_key = key);
                Ok(())
            }
            Err(refused @ ControlError::Refused(_)) => Err(refused.into()),
            Err(_) => Err(AgentError::AnotherKey(known)),
        }
    }

    /// What stood before a restart or a reboot, without what has ended since.
    async fn restore(&mut self) -> Result<(), AgentError> {
        self.look_around().await;
        let Some(state) = &self.state else { return Ok(()) };
        self.server.part_from(state.desired.peers.values()).await?;
        let now = self.time.map_or(state.seen_at, ServerTime::now);
        self.server.converge(&state.desired.terms, standing_at(state, now), now).await?;
        self.troubles.left_out(self.server.left_out());
        crash_point!("restore.stands");
        tracing::info!(peers = state.desired.peers.len(), "what stood before was restored");
        self.applied = Some((state.desired.epoch, state.desired.revision));
        self.store();
        self.tell_parting().await;
        Ok(())
    }

    fn known(&self) -> Option<(Uuid, i64)> {
        let state = self.state.as_ref().filter(|_| !self.wants_everything)?;
        Some((state.desired.epoch, state.desired.revision))
    }

    async fn hear(&mut self, update: Option<Update>) {
        self.heard();
        let Some(update) = update else { return };
        if matches!(update.change, Change::Snapshot(_)) {
            // Told everything, it looks at everything.
            self.verify().await;
        }
        match self.take(update) {
            Ok(()) => self.converge().await,
            Err(invalid) => {
                tracing::warn!(%invalid, "the control plane's word does not fit; asking for everything");
                self.wants_everything = true;
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
    }

    fn take(&mut self, update: Update) -> Result<(), Invalid> {
        let time = self.learn(update.now);
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
    fn learn(&mut self, now: Timestamp) -> ServerTime {
        let time = self.time.get_or_insert_with(|| ServerTime::told(now));
        if let Word::Moves(millis) = time.hear(now) {
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
            withheld.retain(|id, _| !taken_away.contains(id));
        }
        let (server_key, counter_run) = (self.server.public_key(), self.server.counter_run());
        self.state = Some(State { server_key, desired, withheld, seen_at: now, uptime: None, counter_run });
        Ok(())
    }

    /// Keeps what is to stand in the file, makes the server so, and says so; what fails is tried again.
    ///
    /// In this order, so that an agent that dies on the way brings back nothing that was taken away.
    async fn converge(&mut self) {
        let (Some(state), Some(time)) = (&mut self.state, self.time) else { return };
        let now = time.now();
        state.withheld.retain(|_, peer| peer.has_time(now));
        self.troubles.withheld(state.withheld.len());
        self.backoff.begin();
        let run = self.server.counter_run();
        let mut is_stored = self.store();
        crash_point!("change.stored");
        let Some(state) = &self.state else { return };
        let mut done = self.server.converge(&state.desired.terms, standing_at(state, now), now).await;
        if self.leases_are_off && done.is_ok() {
            done = self.server.renew_leases(now).await;
            self.leases_are_off = done.is_err();
        }
        let revision = (state.desired.epoch, state.desired.revision);
        self.troubles.server(done.as_ref().err());
        self.troubles.left_out(self.server.left_out());
        if self.server.counter_run() != run {
            is_stored = self.store();
        }
        if done.is_err() || !is_stored {
            self.retry_at = Some(Instant::now() + self.backoff.delay());
            return;
        }
        self.retry_at = None;
        if self.applied.replace(revision) != Some(revision)
            && let Err(error) = self.tell(&[], false).await
        {
            tracing::debug!(%error, "what was applied could not be told; it is told again");
            self.tell_later();
        } else {
            self.backoff.succeeded();
        }
        crash_point!("change.told");
        self.tell_parting().await;
    }

    fn tell_later(&mut self) {
        self.applied = None;
        self.retry_at = Some(Instant::now() + self.backoff.delay());
    }

    /// Nothing is called applied that a restart would not bring back.
    fn store(&mut self) -> bool {
        let (Some(state), Some(time)) = (&mut self.state, self.time) else { return false };
        state.seen_at = time.now();
        state.uptime = Uptime::read();
        state.counter_run = self.server.counter_run();
        let stored = self.file.store(state);
        self.troubles.file(stored.as_ref().err());
        stored.is_ok()
    }

    async fn verify(&mut self) {
        let Some(time) = self.time else { return };
        match self.server.verify(time.now()).await {
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
        self.store();
    }

    /// When the next peer's time ends, or what failed is tried again.
    fn next_change(&self) -> Instant {
        let far = Instant::now() + VERIFY_EVERY;
        let (Some(state), Some(time)) = (&self.state, self.time) else { return far };
        let now = time.now();
        let ends = state.desired.peers.values().chain(state.withheld.values()).filter_map(|peer| peer.traffic_until);
        let next = ends.filter(|end| *end > now).min().map(|end| time.instant_of(end) + SLACK);
        next.into_iter().chain(self.retry_at).min().unwrap_or(far)
    }

    async fn look_around(&mut self) {
        self.troubles.look_at_forwarding();
        // Whoever cannot ask cannot say that it is not there.
        let is_there = interface::is_there(&self.wan_interface).await.unwrap_or(true);
        self.troubles.wan(&self.wan_interface, is_there);
    }

    async fn tell_usage(&mut self) {
        self.look_around().await;
        match self.server.counted().await {
            // One life of the counters after the other: what is told out of turn would count twice.
            Ok(counted) if self.tell_parting().await => {
                self.reported.keep(&counted);
                self.tell_counted(&counted).await;
            }
            Ok(_) => {}
            Err(error) => self.troubles.server(Some(&error)),
        }
    }

    /// What was used before counters went, until it is heard; returns whether nothing is left to tell.
    async fn tell_parting(&mut self) -> bool {
        for usages in Reported::default().news(self.server.parting()).chunks(USAGES_AT_ONCE) {
            if let Err(error) = self.tell(usages, false).await {
                tracing::debug!(%error, "usage could not be reported; it waits for the next time");
                return false;
            }
        }
        self.server.parting_was_told();
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
            tracing::debug!(%error, "usage could not be reported; totals wait for the next time");
        }
    }

    async fn tell(&mut self, usage: &[Usage], whole: bool) -> Result<(), ControlError> {
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
        self.reported.heard(usage);
        self.learn(taken.now);
        self.wants_everything |= taken.resync;
        Ok(())
    }

    fn heard(&mut self) {
        self.heard_at = Instant::now();
        self.polls.succeeded();
    }

    /// How long to wait before the control plane is asked again.
    fn unheard(&mut self, error: &ControlError) -> Duration {
        let silence = self.heard_at.elapsed();
        if silence > ALARM_AFTER {
            tracing::error!(%error, minutes = silence.as_secs() / 60, "the control plane was not heard; all stays as it is");
        } else {
            tracing::info!(%error, "the control plane was not heard");
        }
        self.polls.delay()
    }
}

/// The peers that are to stand: those whose time is not over.
fn standing_at(state: &State, now: Timestamp) -> Peers {
    let all = state.desired.peers.iter().chain(&state.withheld);
    all.filter(|(_, peer)| peer.has_time(now)).map(|(id, peer)| (*id, peer.clone())).collect()
}
