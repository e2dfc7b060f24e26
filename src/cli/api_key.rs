//! `api-key create`, `list` and `revoke`. They run beside a service on the same database.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::listing::{Listed, Listing};
use super::{ConfigFile, output, parse};
use crate::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use crate::app::operator::{By, Effect};
use crate::app::revoke_api_key::revoke_api_key;
use crate::clock::Clock;
use crate::domain::account::{KeyName, Scopes, StoredApiKey};
use crate::domain::note::Note;
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::ApiKeyFilter;

#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Makes a key and shows it once.
    Create(Create),
    /// Lists keys, the newest first; no secret is among it.
    List(List),
    /// Ends a key: it is good for nothing from the next request on.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Whoever has the key acts for the account. It is sk_live_... on mainnet and sk_test_... on every \
    other network, and each is refused on the other side. Scopes: orders (create, renew), subscriptions (claim, list, \
    adopt), referrals, webhooks, keys (make and revoke keys with these scopes or fewer), admin (all of these).\n\n\
    Example: a customer of their own account, who looks after it themselves\n  \
    wiretoll api-key create --name \"Alice\" --scopes admin\n\
    Example: a second key of that account, for one program\n  \
    wiretoll api-key create --name \"Alice's shop\" --scopes orders,subscriptions \\\n    \
    --account 0190a8f2-0000-7000-8000-00000000000a"
)]
pub struct Create {
    #[command(flatten)]
    config: ConfigFile,
    /// What it is called in lists, in 1 to 100 characters.
    #[arg(long, value_parser = KeyName::parse)]
    name: KeyName,
    /// What it is good for, separated by commas.
    #[arg(long, value_parser = parse::scopes)]
    scopes: Scopes,
    /// Whose it is; without it, an account is made with it.
    #[arg(long, value_name = "ACCOUNT ID")]
    account: Option<Uuid>,
    /// Why, in 1 to 500 characters on one line; nothing secret. It is kept in the account's events.
    #[arg(long, value_parser = parse::note)]
    note: Option<Note>,
    /// Only the key, for a script.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: the keys of one account\n  \
    wiretoll api-key list --account 0190a8f2-0000-7000-8000-00000000000a")]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those of this account.
    #[arg(long, value_name = "ACCOUNT ID")]
    account: Option<Uuid>,
    /// Only keys before this one: the last id of the page before.
    #[arg(long, value_name = "KEY ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
#[command(after_help = "Orders and subscriptions stay the account's, and its other keys stay good.\n\n\
    Example:\n  wiretoll api-key revoke 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"found in a public repository\"")]
pub struct Revoke {
    #[command(flatten)]
    config: ConfigFile,
    /// The key's id of `api-key list`, which is not the key.
    id: Uuid,
    /// Why, in 1 to 500 characters on one line; nothing secret. It is kept in the account's events.
    #[arg(long, value_parser = parse::note)]
    note: Note,
}

impl ApiKeyCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let account = self.account.map_or(KeyOwner::NewAccount, KeyOwner::Account);
        let new = NewApiKey { account, name: self.name.clone(), scopes: self.scopes.clone() };
        let made = create_api_key(&app, new, By::Operator(self.note.as_ref())).await;
        app.store.close().await;
        self.show(&made.context("no key was made")?)
    }

    fn show(&self, made: &MadeApiKey) -> anyhow::Result<()> {
        let key = made.key.expose();
        if self.quiet {
            return output::print(key);
        }
        let MadeApiKey { stored, .. } = made;
        output::print(format_args!(
            "account  {}\nkey id   {}\nscopes   {}\nkey      {key}\nKeep the key: it is not shown again.",
            stored.account, stored.id, stored.scopes
        ))
    }
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let filter = ApiKeyFilter { account: self.account, before: self.before, at_most: self.listing.limit };
        let keys = app.store.api_keys(&filter).await;
        app.store.close().await;
        self.listing.print(&keys?)
    }
}

impl Listed<7> for StoredApiKey {
    const HEADING: [&'static str; 7] = ["KEY ID", "CREATED", "STATE", "LAST USED", "KEY", "NAME", "SCOPES"];

    fn row(&self) -> [String; 7] {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        [
            self.id.to_string(),
            self.created_at.to_string(),
            if self.revoked_at.is_some() { "revoked" } else { "good" }.to_owned(),
            time(self.last_used_at),
            format!("{}...", self.beginning),
            self.name.as_str().to_owned(),
            self.scopes.to_string(),
        ]
    }

    fn as_json(&self) -> Value {
        json!({
            "apiKeyId": self.id,
            "accountId": self.account,
            "name": self.name.as_str(),
            "mode": self.mode.name(),
            "beginning": self.beginning,
            "scopes": self.scopes.names(),
            "createdAt": self.created_at,
            "lastUsedAt": self.last_used_at,
            "revokedAt": self.revoked_at,
        })
    }

    fn option_for_more(&self) -> String {
        format!("--before {}", self.id)
    }
}

impl Revoke {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let revoked = revoke_api_key(&app, self.id, By::Operator(Some(&self.note))).await;
        app.store.close().await;
        output::print(match revoked.context("nothing was changed")? {
            Effect::Now => "revoked: it is good for nothing any more",
            Effect::Before => "it was revoked before; nothing was changed",
        })
    }
}
