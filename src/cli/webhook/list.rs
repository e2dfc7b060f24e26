//! `webhook list`.

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::table::table;
use crate::cli::{ConfigFile, output};
use crate::clock::Clock;
use crate::domain::webhook::{Disabled, Endpoint, Owner};
use crate::lifecycle;

#[derive(Debug, Args)]
#[command(after_help = "Callbacks of single orders are not listed: `wiretoll explain` shows those of an order.\n\n\
    Example: why is nothing told any more\n  wiretoll webhook list")]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those of this account.
    #[arg(long, value_name = "ACCOUNT ID")]
    account: Option<Uuid>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let found = app.store.endpoints(self.account.map(Owner::Account)).await;
        app.store.close().await;
        let found = found?;
        if self.json {
            let found: Vec<_> = found.iter().map(as_json).collect();
            return output::print(serde_json::to_string_pretty(&found)?);
        }
        let rows: Vec<_> = found.iter().map(row).collect();
        output::print(table(["WEBHOOK", "OF", "STATE", "EVENTS", "URL"], &rows).join("\n"))
    }
}

fn row(endpoint: &Endpoint) -> [String; 5] {
    [
        endpoint.id.to_string(),
        of(endpoint),
        state(endpoint),
        endpoint.events.to_string(),
        endpoint.url.as_str().to_owned(),
    ]
}

/// What `explain` and `account show` tell of one.
pub fn line(endpoint: &Endpoint) -> String {
    let (id, url) = (endpoint.id, endpoint.url.as_str());
    format!("webhook       {id} of {}: {}, for {} at {url}", of(endpoint), state(endpoint), endpoint.events)
}

fn of(endpoint: &Endpoint) -> String {
    match endpoint.owner {
        Owner::Operator => "you".to_owned(),
        Owner::Configuration => "you (configuration)".to_owned(),
        Owner::Account(account) => format!("account {account}"),
        Owner::Order(order) => format!("order {order}"),
    }
}

fn state(endpoint: &Endpoint) -> String {
    match (endpoint.disabled, endpoint.failing_since) {
        (Some((at, because)), _) => format!("disabled {at}: {}", meaning(because)),
        (None, Some(since)) => format!("failing since {since}"),
        (None, None) => "enabled".to_owned(),
    }
}

const fn meaning(because: Disabled) -> &'static str {
    match because {
        Disabled::Gone => "it answered 410",
        Disabled::Failing => "five days of nothing but failures",
        Disabled::ByHand => "by hand",
    }
}

fn as_json(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "kind": endpoint.owner.kind(),
        "accountId": match endpoint.owner { Owner::Account(account) => Some(account), _ => None },
        "url": endpoint.url.as_str(),
        "events": endpoint.events.patterns(),
        "createdAt": endpoint.created_at,
        "failingSince": endpoint.failing_since,
        "rotatingUntil": endpoint.rotating_until,
        "disabledAt": endpoint.disabled.map(|(at, _)| at),
        "disabledBecause": endpoint.disabled.map(|(_, because)| because.name()),
    })
}
