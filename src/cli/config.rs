//! `config example` and `config check`.

use clap::Subcommand;

use super::ConfigFile;
use crate::clock::Clock;
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
    #[expect(clippy::print_stdout, reason = "what this command is for")]
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Example => print!("{}", config::example()),
            Self::Check(file) => {
                let config = file.load()?;
                lifecycle::check(&config, &Clock::System).await?;
                println!("{} is in order", file.path.display());
                for warning in config.warnings(Clock::System.now()) {
                    println!("but {warning}");
                }
            }
        }
        Ok(())
    }
}
