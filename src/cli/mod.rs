//! The commands.

mod account;
mod agent;
mod api_key;
mod audit;
mod backup;
mod config;
mod db;
mod demo;
mod dev;
mod embedded;
mod explain;
mod listing;
mod logs;
mod openapi;
mod order;
mod output;
mod parse;
mod payment;
mod serve;
mod server;
mod simulator;
mod subscription;
mod table;
mod webhook;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{Config, Database};

/// Sells WireGuard access for Lightning payments on your own LND node.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "See it work without bitcoin:  wiretoll demo\n\
    Try your own client:          wiretoll dev\n\
    Run it for real:              wiretoll config example > wiretoll.toml\n  \
                                  (edit the file, then)       wiretoll serve"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays the whole story on embedded parts: buy, pay, claim. Ends by itself.
    Demo(demo::Demo),
    /// The embedded parts, kept running, with a payer at POST /dev/pay.
    Dev(dev::Dev),
    /// A simulated LND node alone, over real TLS and macaroons.
    Simulator(simulator::SimulatorCommand),
    /// The real thing: your LND, your servers, your database.
    Serve(serve::Serve),
    /// Keeps this machine's WireGuard server as it was sold.
    Agent(agent::AgentCommand),
    /// Prints a commented configuration, or checks yours.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// All that is known about an order, in time order, with what LND says now.
    Explain(explain::Explain),
    /// Lists orders, shows one, and makes one of an orphaned payment.
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// Lists the ledger's payments, and marks those that waited for you as dealt with.
    #[command(subcommand)]
    Payment(payment::PaymentCommand),
    /// Lists servers with their agents, and stops or resumes sales on one.
    #[command(subcommand)]
    Server(server::ServerCommand),
    /// Lists subscriptions, shows one, and extends, suspends, revokes or rekeys it.
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// Lists accounts, and shows one with what is its own.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Makes, lists and revokes the API keys of accounts.
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Lists who did what by hand: operators, and owners with their credentials.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Lists, adds and changes webhooks, shows what was told to them, and tells it again.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// What has to be said of the database after it was restored.
    #[command(subcommand)]
    Db(db::DbCommand),
    /// The API's OpenAPI 3.1 document.
    Openapi,
    /// Copies the SQLite database while it is in use.
    Backup(backup::Backup),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; WIRETOLL_* variables override what is in it.
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = "wiretoll.toml", env = "WIRETOLL_CONFIG")]
    path: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(Some(&self.path), environment(), Clock::System.now())?)
    }

    /// For commands about what is there: opening a SQLite database that is not there would make an empty one.
    fn load_beside_database(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        if let Database::Sqlite(path) = &config.database {
            anyhow::ensure!(
                path.exists(),
                "there is no database at {}: check [database] url and [service] data_folder",
                path.display()
            );
        }
        Ok(config)
    }
}

/// The environment; a variable that is not text cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text)
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = done.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(cli.command)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::was_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(demo) => demo.run().await,
        Command::Dev(dev) => dev.run().await,
        Command::Simulator(simulator) => simulator.run().await,
        Command::Serve(serve) => serve.run().await,
        Command::Agent(agent) => agent.run().await,
        Command::Config(config) => config.run().await,
        Command::Explain(explain) => explain.run().await,
        Command::Order(order) => order.run().await,
        Command::Payment(payment) => payment.run().await,
        Command::Server(server) => server.run().await,
        Command::Subscription(subscription) => subscription.run().await,
        Command::Account(account) => account.run().await,
        Command::ApiKey(api_key) => api_key.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Webhook(webhook) => webhook.run().await,
        Command::Db(db) => db.run().await,
        Command::Openapi => openapi::run(),
        Command::Backup(backup) => backup.run().await,
    }
}

/// The one place where a command says why it failed; its exit code says so where nobody can read it.
fn say_error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "wiretoll: {}", with_causes(error));
}

/// An error with its causes; one that was said already is not said again, as some libraries repeat theirs.
fn with_causes(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory as _;

    use super::*;

    /// Prose is wrapped to the terminal: a break of our own in it would break it twice. A command is never wrapped.
    #[test]
    fn every_help_breaks_its_lines_once() {
        let mut commands = vec![Cli::command()];
        let mut seen = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = help.lines().collect();
            for (line, next) in lines.iter().zip(lines.iter().skip(1).chain([&""])) {
                let is_command = line.starts_with(' ') || line.contains(":  ");
                assert!(!is_command || line.chars().count() <= 80, "{line}");
                let goes_on = next.starts_with(char::is_alphanumeric) && !next.starts_with("Example");
                assert!(is_command || line.is_empty() || !goes_on || line.ends_with('.'), "{line}\n{next}");
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen} lines");
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("unable to open").context("the library: unable to open").context("no answer");
        assert_eq!(with_causes(&error), "no answer: the library: unable to open");
    }
}
