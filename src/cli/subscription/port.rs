//! `subscription port`: who had a public port.

use std::ops::RangeInclusive;

use clap::Args;
use serde_json::{Value, json};

use crate::app::port_holders::{PortHolder, port_holders};
use crate::cli::table::table;
use crate::cli::{ConfigFile, output, parse};
use crate::clock::Clock;
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;
use crate::lifecycle;

#[derive(Debug, Args)]
#[command(
    after_help = "UNTIL is when the server's agent had taken the peer away; `-` is still. Where customers came from is \
    not known here, and never was. Then: `wiretoll subscription show`, `suspend` or `revoke`.\n\n\
    Example: what a report says of port 35824\n  \
    wiretoll subscription port eu-de 35824 --at 2026-11-22T12:00:00Z"
)]
pub struct Port {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(value_name = "SERVER ID", value_parser = parse::server_id)]
    server: ServerId,
    /// The public port of the report.
    #[arg(value_name = "PORT")]
    number: u16,
    /// Only who had it then: 2026-11-22T12:00:00Z, or at any time of a day of UTC: 2026-11-22. Without it, everybody
    /// who ever had.
    #[arg(long, value_name = "TIME", value_parser = parse::time_or_day)]
    at: Option<RangeInclusive<Timestamp>>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Port {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let found = port_holders(&app, &self.server, self.number, self.at.clone()).await;
        app.store.close().await;
        let found = found?;
        if self.json {
            let found: Vec<_> = found.iter().map(as_json).collect();
            return output::print(serde_json::to_string_pretty(&found)?);
        }
        if found.is_empty() {
            return output::print(format_args!("nobody had port {} of {}", self.number, self.server));
        }
        let rows: Vec<_> = found.iter().map(row).collect();
        output::print(table(["SUBSCRIPTION", "FROM", "UNTIL", "PAYMENT HASH"], &rows).join("\n"))
    }
}

fn row(found: &PortHolder) -> [String; 4] {
    [
        found.subscription.id.to_string(),
        found.holder.from.to_string(),
        found.holder.until.map_or_else(|| "-".to_owned(), |until| until.to_string()),
        found.payment_hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string()),
    ]
}

fn as_json(found: &PortHolder) -> Value {
    json!({
        "subscriptionId": found.subscription.id,
        "from": found.holder.from,
        "until": found.holder.until,
        "paymentHash": found.payment_hash.map(|hash| hash.to_string()),
    })
}
