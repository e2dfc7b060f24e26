//! `subscription list`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::listing::{Listed, Listing};
use crate::cli::{ConfigFile, parse};
use crate::clock::Clock;
use crate::domain::server::ServerId;
use crate::domain::subscription::{Stage, Subscription};
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::SubscriptionFilter;

#[derive(Debug, Args)]
#[command(
    after_help = "active: before its end. lapsed: after it, while traffic still passes ([holds] grace). held: slot \
    and key are kept for a\nlate renewal ([holds] slot). released: they went back. suspended, revoked: by you.\n\n\
    Example: whose time ends this month on a server that is to be given up\n  \
    wiretoll subscription list --server eu-de --state active --ends-before 2026-12-01"
)]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only those on this server.
    #[arg(long, value_name = "SERVER ID", value_parser = parse::server_id)]
    server: Option<ServerId>,
    /// Only those in this state.
    #[arg(long, value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::name)))]
    state: Option<String>,
    /// Only those that end, or ended, before then: 2026-11-22, or 2026-11-22T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    ends_before: Option<Timestamp>,
    /// Only those after this one in the list: the last id of the page before.
    #[arg(long, value_name = "SUBSCRIPTION ID")]
    after: Option<Uuid>,
    #[command(flatten)]
    listing: Listing,
}

/// One with where it stands now.
struct Found {
    subscription: Subscription,
    stage: Stage,
}

impl List {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let (now, holds) = (app.clock.now(), app.shop.holds);
        let found = app.store.subscriptions(&self.filter(), now, holds).await?;
        app.store.close().await;
        let found: Vec<_> = found
            .into_iter()
            .map(|subscription| Found { stage: subscription.stage(now, holds), subscription })
            .collect();
        self.listing.print(&found)
    }

    fn filter(&self) -> SubscriptionFilter {
        SubscriptionFilter {
            server: self.server.clone(),
            stage: Stage::ALL.into_iter().find(|stage| self.state.as_deref() == Some(stage.name())),
            ends_before: self.ends_before,
            after: self.after,
            at_most: self.listing.limit,
        }
    }
}

impl Listed<5> for Found {
    const HEADING: [&'static str; 5] = ["SUBSCRIPTION", "CREATED", "STATE", "SERVER", "ENDS"];

    fn row(&self, _: &Listing) -> [String; 5] {
        let Self { subscription, stage } = self;
        [
            subscription.id.to_string(),
            subscription.created_at.to_string(),
            stage.name().to_owned(),
            subscription.server_id.to_string(),
            subscription.ends_at.to_string(),
        ]
    }

    fn as_json(&self, _: &Listing) -> Value {
        let Self { subscription, stage } = self;
        json!({
            "subscriptionId": subscription.id,
            "createdAt": subscription.created_at,
            "state": stage.name(),
            "serverId": subscription.server_id.as_str(),
            "endsAt": subscription.ends_at,
            "suspendedAt": subscription.suspended_at,
            "orderId": subscription.founded_by,
        })
    }

    fn option_for_more(&self) -> String {
        format!("--after {}", self.subscription.id)
    }
}
