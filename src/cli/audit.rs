//! `audit list`: who did what by hand. Events are never changed and never deleted, so that it is whole.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::listing::{Listed, Listing};
use super::{ConfigFile, parse};
use crate::clock::Clock;
use crate::domain::event::Act;
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::ActFilter;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Lists what was done, the newest first, with who did it and the note that they left.
    List(List),
}

#[derive(Debug, Args)]
#[command(
    after_help = "By operator: a command of this program. By account: a request with a credential of the account, \
    which is named. By agent: what a server's agent reported made it so. What happens by itself, such as a payment or \
    an end, is not among it: `wiretoll explain` shows that, too.\n\n\
    Example: what was done to one account, subscription, order, payment or server\n  \
    wiretoll audit list --about 0190a8f2-0000-7000-8000-00000000000a\n\
    Example: what the operator did since Monday\n  \
    wiretoll audit list --by operator --since 2026-11-23"
)]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only what was done then or later: 2026-11-22, or 2026-11-22T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    since: Option<Timestamp>,
    /// Only what was done to the one of this id.
    #[arg(long, value_name = "ID")]
    about: Option<String>,
    /// Only what these did.
    #[arg(long, value_parser = ["operator", "account", "agent"])]
    by: Option<String>,
    /// Only what was done with a credential of this account.
    #[arg(long, value_name = "ACCOUNT ID")]
    account: Option<Uuid>,
    /// Only what was done before this: the last id of the page before.
    #[arg(long, value_name = "EVENT ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    listing: Listing,
}

impl AuditCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let acts = app.store.acts(&self.filter()).await;
        app.store.close().await;
        self.listing.print(&acts?)
    }

    fn filter(&self) -> ActFilter {
        ActFilter {
            since: self.since,
            about: self.about.clone(),
            actor: self.by.clone(),
            account: self.account,
            before: self.before,
            at_most: self.listing.limit,
        }
    }
}

impl Listed<6> for Act {
    const HEADING: [&'static str; 6] = ["EVENT", "WHEN", "BY", "WHAT", "ABOUT", "DATA"];

    fn row(&self) -> [String; 6] {
        [
            self.event.id.to_string(),
            self.event.occurred_at.to_string(),
            self.by(),
            self.event.event_type.clone(),
            format!("{} {}", self.subject_kind, self.subject_id),
            self.event.data.to_string(),
        ]
    }

    fn as_json(&self) -> Value {
        json!({
            "eventId": self.event.id,
            "occurredAt": self.event.occurred_at,
            "actor": self.actor,
            "accountId": self.account,
            "type": self.event.event_type,
            "subjectKind": self.subject_kind,
            "subjectId": self.subject_id,
            "data": self.event.data,
        })
    }

    fn option_for_more(&self) -> String {
        format!("--before {}", self.event.id)
    }
}

impl Act {
    fn by(&self) -> String {
        self.account.map_or_else(|| self.actor.clone(), |account| format!("{} {account}", self.actor))
    }
}
