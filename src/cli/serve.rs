//! `serve`: the real thing.

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{ConfigFile, logs};
use crate::clock::Clock;
use crate::lifecycle::Running;

pub async fn run(file: &ConfigFile) -> anyhow::Result<()> {
    let config = file.load()?;
    logs::start(&config.log);
    forbid_core_dumps();
    let running = Running::start(&config, Clock::System, None).await?;
    Ok(running.until_told().await?)
}

/// A core dump would hold every key.
fn forbid_core_dumps() {
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps could not be forbidden");
    }
}
