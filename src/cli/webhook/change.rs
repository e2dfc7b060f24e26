//! `webhook add`, `change`, `disable`, `enable`, `rotate` and `remove`.

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use uuid::Uuid;

use super::{WHOSE, owner};
use crate::app::add_webhook::add_webhook;
use crate::app::change_webhook::{WebhookChange, change_webhook, remove_webhook, rotate_webhook};
use crate::app::operator::{By, Effect};
use crate::cli::{ConfigFile, output, parse};
use crate::clock::Clock;
use crate::domain::note::Note;
use crate::domain::webhook::{Endpoint, EventFilter, WebhookUrl};
use crate::lifecycle;

#[derive(Debug, Args)]
#[command(
    after_help = "It is told of what happens from now on. Yours are told everything that you name; those of an account \
    of its own orders and subscriptions only.\n\n\
    Example: every payment, and whatever concerns a server\n  \
    wiretoll webhook add https://example.net/hooks \\\n    --events 'order.*,payment.*,server.*'"
)]
pub struct Add {
    #[command(flatten)]
    config: ConfigFile,
    /// Where to: https://, at most 1 KiB.
    #[arg(value_parser = url)]
    url: WebhookUrl,
    /// Types of events with commas between them, or all of a kind such as order.*; without it, everything.
    #[arg(long, value_delimiter = ',')]
    events: Vec<String>,
    /// For this account, rather than for you.
    #[arg(long, value_name = "ACCOUNT ID")]
    account: Option<Uuid>,
    /// Why, in 1 to 500 characters on one line; nothing secret.
    #[arg(long, value_parser = parse::note)]
    note: Option<Note>,
}

/// Which one, and why.
#[derive(Debug, Args)]
struct Word {
    #[command(flatten)]
    config: ConfigFile,
    /// The id that `webhook list` shows.
    #[arg(value_name = "WEBHOOK ID")]
    id: Uuid,
    /// Why, in 1 to 500 characters on one line; nothing secret.
    #[arg(long, value_parser = parse::note)]
    note: Option<Note>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What waits to be told goes to the new URL, too. A webhook of the configuration is changed there.\n\n\
    Example:\n  wiretoll webhook change 0190a8f2-0000-7000-8000-00000000000a \\\n    \
    --url https://example.net/hooks --events 'order.*'"
)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["url", "events"])))]
pub struct Change {
    #[command(flatten)]
    word: Word,
    /// Where to from now on: https://, at most 1 KiB.
    #[arg(long, value_parser = url)]
    url: Option<WebhookUrl>,
    /// Types of events from now on, with commas between them, or all of a kind such as order.*; * is everything.
    #[arg(long, value_delimiter = ',')]
    events: Option<Vec<String>>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What happens meanwhile is not told to it later; what waited for it has failed, and is delivered by \
    `wiretoll webhook redeliver` after `webhook enable`. An account may enable its own again.\n\n\
    Example:\n  wiretoll webhook disable 0190a8f2-0000-7000-8000-00000000000a"
)]
pub struct Disable {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wiretoll webhook remove 0190a8f2-0000-7000-8000-00000000000a")]
pub struct Remove {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each message carries a signature by either secret for a day; a receiver of Standard Webhooks takes \
    one of them. Give the new one to it within that time.\n\n\
    Example:\n  wiretoll webhook rotate 0190a8f2-0000-7000-8000-00000000000a"
)]
pub struct Rotate {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A webhook is disabled when it answers 410, or brings nothing but failures for five days. What failed \
    meanwhile is delivered by `wiretoll webhook redeliver`.\n\n\
    Example:\n  wiretoll webhook enable 0190a8f2-0000-7000-8000-00000000000a"
)]
pub struct Enable {
    #[command(flatten)]
    word: Word,
}

fn url(text: &str) -> Result<WebhookUrl, crate::domain::Invalid> {
    WebhookUrl::parse(text)
}

impl Add {
    pub async fn run(&self) -> anyhow::Result<()> {
        let owner = owner(self.account);
        let events = EventFilter::parse(&self.events, owner)?;
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let by = By::Operator(self.note.as_ref());
        let added = add_webhook(&app, owner, self.url.clone(), events, by).await;
        app.store.close().await;
        let added = added.context("nothing was added")?;
        output::print(format_args!(
            "webhook {}\nsecret  {}\nKeep the secret: it is not shown again.",
            added.endpoint.id,
            added.secret.expose()
        ))
    }
}

impl Remove {
    pub async fn run(&self) -> anyhow::Result<()> {
        let Word { config, id, note } = &self.word;
        let app = lifecycle::operate(&config.load_beside_database()?, Clock::System).await?;
        let done = remove_webhook(&app, *id, WHOSE, By::Operator(note.as_ref())).await;
        app.store.close().await;
        done.context("nothing was removed")?;
        output::print(format_args!("removed: webhook {id}"))
    }
}

impl Rotate {
    pub async fn run(&self) -> anyhow::Result<()> {
        let Word { config, id, note } = &self.word;
        let app = lifecycle::operate(&config.load_beside_database()?, Clock::System).await?;
        let done = rotate_webhook(&app, *id, WHOSE, By::Operator(note.as_ref())).await;
        app.store.close().await;
        let (endpoint, secret) = done.context("the secret is what it was")?;
        let until = endpoint.rotating_until.map(|until| until.to_string()).unwrap_or_default();
        output::print(format_args!(
            "secret  {}\nthe one before signs besides until {until}\nKeep the secret: it is not shown again.",
            secret.expose()
        ))
    }
}

impl Change {
    pub async fn run(&self) -> anyhow::Result<()> {
        let change = WebhookChange { url: self.url.clone(), events: self.events.clone(), enabled: None };
        let (endpoint, effect) = self.word.change(&change).await?;
        let told = format!("webhook {} tells {} of {}", endpoint.id, endpoint.url.as_str(), endpoint.events);
        output::print(if effect == Effect::Before { format!("{told} already") } else { told })
    }
}

impl Disable {
    pub async fn run(&self) -> anyhow::Result<()> {
        let change = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
        let (endpoint, effect) = self.word.change(&change).await?;
        output::print(format_args!("webhook {} is {}disabled", endpoint.id, already(effect)))
    }
}

impl Enable {
    pub async fn run(&self) -> anyhow::Result<()> {
        let change = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
        let (endpoint, effect) = self.word.change(&change).await?;
        output::print(format_args!("webhook {} is {}enabled", endpoint.id, already(effect)))
    }
}

impl Word {
    async fn change(&self, change: &WebhookChange) -> anyhow::Result<(Endpoint, Effect)> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let done = change_webhook(&app, self.id, WHOSE, change, By::Operator(self.note.as_ref())).await;
        app.store.close().await;
        done.context("nothing was changed")
    }
}

fn already(effect: Effect) -> &'static str {
    if effect == Effect::Before { "already " } else { "" }
}
