//! `account list` and `account show`: owners, with what is theirs. No secret is among it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::explain::event_lines;
use super::listing::{Listed, Listing};
use super::{ConfigFile, output, webhook};
use crate::app::show_account::{ShownAccount, show_account};
use crate::clock::Clock;
use crate::domain::account::{Account, StoredApiKey, StoredNostrKey};
use crate::lifecycle;

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Lists accounts, the newest first.
    List(List),
    /// Shows one with its keys, its subscriptions, its webhooks and all that was done to it.
    Show(Show),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wiretoll account list --limit 10")]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only accounts before this one: the last id of the page before.
    #[arg(long, value_name = "ACCOUNT ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: who did what to it\n  wiretoll account show 0190a8f2-0000-7000-8000-00000000000a")]
pub struct Show {
    #[command(flatten)]
    config: ConfigFile,
    /// The account's id, of `account list` or `api-key list --json`.
    id: Uuid,
}

impl AccountCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let accounts = app.store.accounts(self.before, self.listing.limit).await;
        app.store.close().await;
        self.listing.print(&accounts?)
    }
}

impl Listed<2> for Account {
    const HEADING: [&'static str; 2] = ["ACCOUNT", "CREATED"];

    fn row(&self) -> [String; 2] {
        [self.id.to_string(), self.created_at.to_string()]
    }

    fn as_json(&self) -> Value {
        json!({ "accountId": self.id, "createdAt": self.created_at })
    }

    fn option_for_more(&self) -> String {
        format!("--before {}", self.id)
    }
}

impl Show {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let shown = show_account(&app, self.id).await;
        app.store.close().await;
        output::print(lines(&shown?).join("\n"))
    }
}

pub fn lines(shown: &ShownAccount) -> Vec<String> {
    let mut lines = vec![format!("account       {} since {}", shown.account.id, shown.account.created_at)];
    lines.extend(shown.api_keys.iter().map(key_line));
    lines.extend(shown.nostr_keys.iter().map(nostr_key_line));
    lines.extend(
        shown
            .subscriptions
            .iter()
            .map(|one| format!("subscription  {} on {}, ends {}", one.id, one.server_id, one.ends_at)),
    );
    lines.extend(shown.webhooks.iter().map(webhook::line));
    lines.extend(event_lines(&shown.events));
    lines
}

fn nostr_key_line(stored: &StoredNostrKey) -> String {
    let used = stored.last_used_at.map_or_else(|| "never used again".to_owned(), |at| format!("last used {at}"));
    format!("Nostr key     {}: {used}", stored.key)
}

pub fn key_line(key: &StoredApiKey) -> String {
    let used = key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
    let revoked = key.revoked_at.map(|at| format!(", revoked {at}")).unwrap_or_default();
    format!("key           {} {}... ({}) {}: {used}{revoked}", key.id, key.beginning, key.name.as_str(), key.scopes)
}
