//! `backup`: an online copy of the SQLite database.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{ConfigFile, output};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to write; it must not exist yet. The instance key is not in it: back that up apart.
    file: PathBuf,
}

impl Backup {
    pub async fn run(&self) -> anyhow::Result<()> {
        let config = self.config.load_beside_database()?;
        anyhow::ensure!(!self.file.exists(), "{} exists already", self.file.display());
        let store = Store::connect(&config.database).await?;
        store.backup(&self.file).await.with_context(|| format!("no copy at {}", self.file.display()))?;
        store.close().await;
        output::print(format_args!("copied to {}; back up the instance key apart from it", self.file.display()))
    }
}
