//! `config example` and `config check`.

use clap::Subcommand;

use super::{ConfigFile, output, with_causes};
use crate::clock::Clock;
use crate::lifecycle::StartError;
use crate::{config, lifecycle};

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints a commented configuration file.
    Example,
    /// Says everything that is wrong with a configuration, and what it would not sell now; also checks the files for LND, and instance key and pools
    /// beside the database. Changes nothing.
    Check(ConfigFile),
}

impl ConfigCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Example => output::print(config::example().trim_end())?,
            Self::Check(file) => {
                let config = file.load()?;
                refuse_all(lifecycle::check(&config, &Clock::System).await)?;
                output::print(format_args!("{} is in order", file.path.display()))?;
                for warning in config.warnings(Clock::System.now()) {
                    output::print(format_args!("but {warning}"))?;
                }
            }
        }
        Ok(())
    }
}

/// One error for all of them, each on lines of its own.
fn refuse_all(mistakes: Vec<StartError>) -> anyhow::Result<()> {
    let told: Vec<_> = mistakes.into_iter().map(|mistake| with_causes(&mistake.into())).collect();
    match told.as_slice() {
        [] => Ok(()),
        [one] => anyhow::bail!("{one}"),
        several => anyhow::bail!("{} mistakes:\n  {}", several.len(), several.join("\n  ")),
    }
}
