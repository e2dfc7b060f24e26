//! `serve`: the real thing.

use std::pin::pin;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{ConfigFile, agent, logs};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::lifecycle::Running;
use crate::stop;

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Keeps this machine's WireGuard server, too: one process for both, which needs the capability to change networks. Where the service can
    /// be reached from outside, run `wiretoll agent` as a process of its own instead.
    #[arg(long)]
    with_agent: bool,
}

impl Serve {
    pub async fn run(&self) -> anyhow::Result<()> {
        let config = self.config.load()?;
        logs::start(&config.log);
        forbid_core_dumps();
        let running = Running::start(&config, Clock::System, None).await?;
        if !self.with_agent {
            return Ok(running.until_told().await?);
        }
        let settings = config.agent.as_ref().context("--with-agent needs the section [agent] of the configuration")?;
        let (stopper, stop) = stop::channel();
        let mut agent = pin!(Agent::keep(settings, stop));
        tokio::select! {
            ended = &mut agent => Ok(ended?),
            told = running.until_told() => {
                let ended = agent::end(&stopper, agent).await;
                told?;
                Ok(ended?)
            }
        }
    }
}

/// A core dump would hold every key.
pub fn forbid_core_dumps() {
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps could not be forbidden");
    }
}
