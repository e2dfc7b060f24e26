//! `webhook deliveries`, `redeliver` and `test`.

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BY, WHOSE};
use crate::app::redeliver::{redeliver, redeliver_failed, test_webhook};
use crate::app::send_webhooks::{claim_one, send_claimed};
use crate::app::{App, Error};
use crate::cli::listing::{Listed, Listing};
use crate::cli::{ConfigFile, output};
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::{Delivery, DeliveryFilter};

#[derive(Debug, Args)]
#[command(
    after_help = "A failed attempt is repeated after 5 s, 5 and 30 min, 2, 5, 10, 14, 20 and 24 h, or later where the \
    receiver asks for it. OUTCOME is of the last one: delivered, refused (another status), gone (410), redirect, \
    timed_out, unreachable, tls, broken, or what kept it from being made: address, port, plain_text, url.\n\n\
    Example: what could not be told\n  wiretoll webhook deliveries --state failed"
)]
pub struct Deliveries {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those to this webhook.
    #[arg(long, value_name = "WEBHOOK ID")]
    webhook: Option<Uuid>,
    /// Only those in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(["pending", "delivered", "failed"]))]
    state: Option<String>,
    /// Only those of events of this type, such as order.paid.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only those about this order, subscription, payment or server, by its id.
    #[arg(long, value_name = "ID")]
    about: Option<String>,
    /// Only deliveries before this one in time: the last id of the page before.
    #[arg(long, value_name = "DELIVERY ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["id", "failed_of"])),
    after_help = "The schedule begins anew. The message has the id that it had, by which its receiver knows a \
    repeat.\n\n\
    Example: one delivery\n  wiretoll webhook redeliver 0190a8f2-0000-7000-8000-00000000000a\n\n\
    Example: all that a webhook missed\n  \
    wiretoll webhook redeliver --failed-of 0190a8f2-0000-7000-8000-00000000000b"
)]
pub struct Redeliver {
    #[command(flatten)]
    config: ConfigFile,
    /// The id that `webhook deliveries` shows.
    #[arg(value_name = "DELIVERY ID")]
    id: Option<Uuid>,
    /// Every delivery to this webhook that has failed.
    #[arg(long, value_name = "WEBHOOK ID")]
    failed_of: Option<Uuid>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "It sends an event of type webhook.test, whatever events the webhook is for. The first attempt is made \
    by this command, from this machine and by the `[egress]` of the configuration that it reads: a service elsewhere, or \
    with another configuration, may reach what this command does not. Where it fails, the service repeats it as it \
    repeats others.\n\n\
    Example:\n  wiretoll webhook test 0190a8f2-0000-7000-8000-00000000000a"
)]
pub struct Test {
    #[command(flatten)]
    config: ConfigFile,
    /// The id that `webhook list` shows.
    #[arg(value_name = "WEBHOOK ID")]
    id: Uuid,
}

impl Deliveries {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let found = app.store.deliveries(&self.filter()).await;
        app.store.close().await;
        self.listing.print(&found?)
    }

    fn filter(&self) -> DeliveryFilter {
        DeliveryFilter {
            endpoint: self.webhook,
            state: self.state.clone(),
            event_type: self.event_type.clone(),
            subject: self.about.clone(),
            before: self.before,
            at_most: self.listing.limit,
        }
    }
}

impl Listed<8> for Delivery {
    const HEADING: [&'static str; 8] = ["DELIVERY", "STATE", "TYPE", "ABOUT", "TRIED", "OUTCOME", "NEXT", "WEBHOOK"];

    fn row(&self) -> [String; 8] {
        [
            self.id.to_string(),
            self.state.clone(),
            self.event.event_type.clone(),
            format!("{} {}", self.subject.kind, self.subject.id),
            self.attempts.to_string(),
            outcome(self),
            self.next_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            self.endpoint.to_string(),
        ]
    }

    fn as_json(&self) -> Value {
        json!({
            "id": self.id,
            "webhookId": self.endpoint,
            "host": self.host,
            "eventId": self.event.id,
            "type": self.event.event_type,
            "about": { self.subject.kind.as_str(): self.subject.id },
            "state": self.state,
            "attempts": self.attempts,
            "outcome": self.outcome,
            "status": self.status,
            "createdAt": self.created_at,
            "attemptedAt": self.attempted_at,
            "nextAt": self.next_at,
            "finishedAt": self.finished_at,
        })
    }

    fn option_for_more(&self) -> String {
        format!("--before {}", self.id)
    }
}

/// What became of the last attempt, with the receiver's status where it gave one.
pub fn outcome(delivery: &Delivery) -> String {
    match (&delivery.outcome, delivery.status) {
        (Some(outcome), Some(status)) => format!("{outcome} ({status})"),
        (Some(outcome), None) => outcome.clone(),
        (None, _) => "-".to_owned(),
    }
}

impl Redeliver {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let begun = match (self.id, self.failed_of) {
            (Some(id), _) => redeliver(&app, id, WHOSE, BY).await.map(|()| 1),
            (None, Some(webhook)) => redeliver_failed(&app, webhook, WHOSE, BY).await,
            (None, None) => Ok(0),
        };
        app.store.close().await;
        let begun = begun.context("nothing is delivered again")?;
        output::print(format_args!("{begun} will be delivered again by the service"))
    }
}

impl Test {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let sent = send(&app, self.id).await;
        app.store.close().await;
        let delivery = sent.context("nothing was sent")?;
        anyhow::ensure!(
            delivery.state == "delivered",
            "it was not delivered: {}{}",
            outcome(&delivery),
            again(delivery.next_at)
        );
        output::print(format_args!("delivered: {}", outcome(&delivery)))
    }
}

/// The attempt is made here, unless the service was faster.
async fn send(app: &App, webhook: Uuid) -> Result<Delivery, Error> {
    let id = test_webhook(app, webhook, WHOSE, BY).await?;
    if claim_one(app, id).await? {
        send_claimed(app, id).await?;
    }
    let sent = async || app.store.delivery(id).await?.ok_or(Error::NotFound("the delivery was removed"));
    let mut delivery = sent().await?;
    for _ in 0..PATIENCE {
        if delivery.outcome.is_some() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        delivery = sent().await?;
    }
    Ok(delivery)
}

/// Longer together than an attempt may take.
const PATIENCE: u32 = 100;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

fn again(next_at: Option<Timestamp>) -> String {
    next_at.map_or_else(String::new, |at| format!("; the service tries again at {at}"))
}
