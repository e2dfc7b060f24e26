//! The agent of one WireGuard server: it makes interface, peers, forwards and leases as they were sold, and says so.
//!
//! It starts from its own file and goes on for ever while nobody can be asked. It never takes the interface or its peers
//! down as a whole, neither at a start nor at an end: traffic does not depend on whether it lives, and the kernel's
//! leases end what was sold on time without it.

pub mod key;

mod control;
mod differences;
mod hear;
mod identity;
mod keep;
mod parting;
mod server;
mod state;
mod surroundings;
mod tell;
mod time;
mod troubles;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::config;
use crate::domain::Invalid;
use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::PublicKey;
use crate::stop::Stop;
use control::{ControlError, ControlPlane};
use identity::{Identity, IdentityError};
use key::{KeyError, KeyFile};
use server::{Server, ServerError, new_run};
use state::{State, StateFile, remedy};
use time::ServerTime;
use troubles::Troubles;
use usage::Reported;

const POLL: Duration = Duration::from_secs(25);
const USAGE_EVERY: Duration = Duration::from_mins(1);
const VERIFY_EVERY: Duration = Duration::from_mins(5);

/// So long what is being done may take once an agent is told to stop; the machine's own patience is longer.
pub const TO_END: Duration = Duration::from_secs(5);

/// A server's agent.
#[derive(Debug)]
pub struct Agent {
    server: Server,
    control: ControlPlane,
    file: StateFile,
    wan_interface: InterfaceName,
    wireguard_interface: InterfaceName,
    /// What is to stand; none before the control plane was ever heard.
    state: Option<State>,
    /// What stands and is in the file.
    applied: Option<(Uuid, i64)>,
    /// The file has what was last to stand.
    is_kept: bool,
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
    /// When it must not go on: an unreadable file, another key, an interface of somebody else's. What only hinders it is
    /// told, and tried again by [`Self::run`].
    pub async fn start(settings: &config::Agent) -> Result<Self, AgentError> {
        let identity = Identity::take(&settings.state_folder)?;
        let key = KeyFile::new(&settings.state_folder).load_or_make()?;
        let file = StateFile::new(settings.state_folder.clone());
        let unreadable = |source| AgentError::State { folder: settings.state_folder.clone(), source };
        let state = file.load().map_err(unreadable)?;
        let counter_run = state.as_ref().map_or_else(new_run, |state| Ok(state.counter_run))?;
        let parting = state.as_ref().map(|state| state.parting.clone()).unwrap_or_default();
        let mut server = Server::new(settings.clone(), key, counter_run, parting);
        if state.is_none() {
            server.refuse_foreign_interface().await?;
        }
        let mut agent = Self {
            server,
            control: ControlPlane::new(&settings.socket, &settings.server)?,
            file,
            wan_interface: settings.wan_interface.clone(),
            wireguard_interface: settings.interface.clone(),
            time: state.as_ref().map(|state| ServerTime::restored(state.seen_at, state.uptime.as_ref())),
            state,
            applied: None,
            is_kept: false,
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
        surroundings::warn_about(settings);
        agent.check_key().await?;
        agent.restore().await;
        Ok(agent)
    }

    /// Starts, and keeps the server until it is told to stop.
    pub async fn keep(settings: &config::Agent, stop: Stop) -> Result<(), AgentError> {
        Self::start(settings).await?.run(stop).await
    }

    /// Keeps the server until it is told to stop; what it has begun is done first, and what stands then stays.
    ///
    /// # Errors
    /// When the control plane refuses this agent at its first word: it has another key than the server is sold with.
    pub async fn run(mut self, mut stop: Stop) -> Result<(), AgentError> {
        if self.introduce(&mut stop).await?.is_none() {
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
}
