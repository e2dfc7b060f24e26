//! `agent`: the keeper of this machine's WireGuard server; and its key's backup.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::serve::forbid_core_dumps;
use super::{ConfigFile, environment, logs, output, with_causes};
use crate::agent::key::KeyFile;
use crate::agent::{Agent, AgentError, TO_END};
use crate::config::AgentConfig;
use crate::domain::keys::PrivateKey;
use crate::lifecycle::told_to_end;
use crate::stop::{self, Stopper};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "It makes the interface, its peers, the forwarded ports and the firewall as they were sold, and needs the \
    capability CAP_NET_ADMIN and the program nft. It reads [agent] of the configuration and nothing else of \
    it. Ending it ends nobody's traffic; what is sold meanwhile comes up when it runs again."
)]
pub struct AgentCommand {
    #[command(subcommand)]
    command: Option<AgentSubcommand>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Subcommand)]
enum AgentSubcommand {
    /// Saves the server's WireGuard key, or puts one in place.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Writes the key to a new file that only you can read. Whoever has it can pose as your server: keep it as safe as
    /// the instance key.
    Export(Export),
    /// Takes a key over: from a backup, or from the server that was set up by hand before.
    Import(Import),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wiretoll agent key export --config wiretoll.toml server-key.backup")]
struct Export {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to make; one that is there is not written over.
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: the key of an interface that wg-quick made, and deletes when it is stopped\n  \
    (umask 077; wg show wg0 private-key > key)\n  systemctl disable --now wg-quick@wg0\n  \
    wiretoll agent key import --config wiretoll.toml key && rm key")]
struct Import {
    #[command(flatten)]
    config: ConfigFile,
    /// A file that holds the key, as `wg genkey` prints it.
    file: PathBuf,
    /// Also where there is another key already: customers whose configs name that one lose their server.
    #[arg(long)]
    replace: bool,
}

impl AgentCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        let file = match &self.command {
            None => &self.config,
            Some(AgentSubcommand::Key(KeyCommand::Export(export))) => &export.config,
            Some(AgentSubcommand::Key(KeyCommand::Import(import))) => &import.config,
        };
        let config = AgentConfig::load(&file.path, environment())?;
        let done = match &self.command {
            None => keep(&config).await,
            Some(AgentSubcommand::Key(KeyCommand::Export(export))) => export.run(&config),
            Some(AgentSubcommand::Key(KeyCommand::Import(import))) => import.run(&config),
        };
        done.map_err(|error| with_owner(error, &config.agent.state_folder))
    }
}

/// A trial as root leaves files behind that the agent's own user cannot read: then it says whom to give them to.
fn with_owner(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    let is_forbidden = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    let own = rustix::process::geteuid().as_raw();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut files = std::iter::once(folder.to_owned()).chain(files);
    let is_foreign = files.any(|file| file.metadata().is_ok_and(|found| found.uid() != own));
    if is_foreign && error.chain().any(is_forbidden) {
        let error = with_causes(&error);
        return anyhow::anyhow!("{error}; it is another user's, as after a trial: chown -R {own} {}", folder.display());
    }
    error
}

async fn keep(config: &AgentConfig) -> anyhow::Result<()> {
    logs::start(&config.log);
    forbid_core_dumps();
    let (stopper, stop) = stop::channel();
    let mut work = pin!(Agent::keep(&config.agent, stop));
    tokio::select! {
        // First: a start must not be told to end before anybody listens.
        biased;
        told = told_to_end() => {
            told?;
            tracing::info!("the agent ends; what stands goes on");
            Ok(end(&stopper, work).await?)
        }
        ended = &mut work => Ok(ended?),
    }
}

/// Lets an agent finish the change that it is in the middle of.
pub async fn end(stopper: &Stopper, work: impl Future<Output = Result<(), AgentError>>) -> Result<(), AgentError> {
    stopper.stop_and_wait(work, TO_END).await.unwrap_or_else(|| {
        tracing::warn!("what the agent had begun took too long and was cut off; the next start completes it");
        Ok(())
    })
}

impl Export {
    fn run(&self, config: &AgentConfig) -> anyhow::Result<()> {
        let key = KeyFile::new(&config.agent.state_folder).load()?;
        let key = key.context("there is no key yet: the first start of `wiretoll agent` makes it")?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file)
            .with_context(|| format!("cannot make {}", self.file.display()))?;
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(key.expose())));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        output::print(format_args!(
            "the private key of {} is in {}: whoever has it can pose as your server",
            key.public_key(),
            self.file.display()
        ))
    }
}

impl Import {
    fn run(&self, config: &AgentConfig) -> anyhow::Result<()> {
        let text =
            std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let text = Zeroizing::new(text);
        let key = PrivateKey::parse(text.trim()).context("the file does not hold a WireGuard private key")?;
        let folder = &config.agent.state_folder;
        KeyFile::new(folder).import(&key, self.replace)?;
        output::print(format_args!(
            "the server's key is {} now, in {}; an agent that runs takes it at its next start \
             (systemctl restart wiretoll-agent)",
            key.public_key(),
            folder.display()
        ))
    }
}
