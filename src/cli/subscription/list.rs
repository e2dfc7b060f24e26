//! `subscription list`.

use std::net::Ipv4Addr;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::cli::listing::{Listed, Listing, beginning};
use crate::cli::{ConfigFile, parse};
use crate::clock::Clock;
use crate::domain::Invalid;
use crate::domain::keys::PublicKey;
use crate::domain::server::{Server, ServerId};
use crate::domain::subscription::{Stage, Subscription};
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::{StoredPeer, SubscriptionFilter};

#[derive(Debug, Args)]
#[command(
    after_help = "active: before its end. lapsed: after it, while traffic still passes ([holds] grace). held: slot \
    and key are kept for a late renewal ([holds] slot). released: they went back. suspended, revoked: by you.\n\n\
    Example: whose time ends this month on a server that is to be given up\n  \
    wiretoll subscription list --server eu-de --state active \\\n    --ends-before 2026-12-01"
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
    /// None after its hold.
    peer: Option<Peer>,
}

/// What it has on its server.
struct Peer {
    public_key: Option<PublicKey>,
    /// Address and port, where its server still is in the configuration.
    place: Option<(Ipv4Addr, u16)>,
}

impl Found {
    async fn of(app: &App, subscription: Subscription) -> anyhow::Result<Self> {
        let stage = subscription.stage(app.clock.now(), app.shop.holds);
        let peer = app.store.peer_of(subscription.id).await?;
        let peer = peer.map(|peer| Peer::of(app.shop.server(&peer.server_id), &peer)).transpose()?;
        Ok(Self { subscription, stage, peer })
    }

    fn place(&self) -> Option<(Ipv4Addr, u16)> {
        self.peer.as_ref().and_then(|peer| peer.place)
    }

    fn public_key(&self) -> Option<PublicKey> {
        self.peer.as_ref().and_then(|peer| peer.public_key)
    }
}

impl Peer {
    fn of(server: Option<&Server>, peer: &StoredPeer) -> anyhow::Result<Self> {
        let place = |server: &Server| Ok::<_, Invalid>((server.pool.address(peer.slot)?, server.pool.port(peer.slot)?));
        let public_key = peer.binding.as_ref().map(|binding| binding.public_key);
        Ok(Self { public_key, place: server.map(place).transpose()? })
    }
}

impl List {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let found = self.find(&app).await;
        app.store.close().await;
        self.listing.print(&found?)
    }

    async fn find(&self, app: &App) -> anyhow::Result<Vec<Found>> {
        if let Some(server) = &self.server {
            refuse_unknown(app, server).await?;
        }
        let subscriptions = app.store.subscriptions(&self.filter(), app.clock.now(), app.shop.holds).await?;
        let mut found = Vec::new();
        for subscription in subscriptions {
            found.push(Found::of(app, subscription).await?);
        }
        Ok(found)
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

/// One that is or was sold: the database knows the servers that the configuration does not name any more.
async fn refuse_unknown(app: &App, server: &ServerId) -> anyhow::Result<()> {
    let known: Vec<_> = app.store.server_states().await?.into_iter().map(|state| state.id).collect();
    let names = || known.iter().map(ServerId::as_str).collect::<Vec<_>>().join(", ");
    anyhow::ensure!(known.contains(server), "no server is called {server}; there are: {}", names());
    Ok(())
}

impl Listed<8> for Found {
    const HEADING: [&'static str; 8] = ["SUBSCRIPTION", "CREATED", "STATE", "SERVER", "ENDS", "ADDRESS", "PORT", "KEY"];

    fn row(&self) -> [String; 8] {
        let Self { subscription, stage, .. } = self;
        let (place, none) = (self.place(), || "-".to_owned());
        [
            subscription.id.to_string(),
            subscription.created_at.to_string(),
            stage.name().to_owned(),
            subscription.server_id.to_string(),
            subscription.ends_at.to_string(),
            place.map_or_else(none, |(address, _)| address.to_string()),
            place.map_or_else(none, |(_, port)| port.to_string()),
            self.public_key().map_or_else(none, |key| beginning(&key.to_string())),
        ]
    }

    fn as_json(&self) -> Value {
        let Self { subscription, stage, .. } = self;
        json!({
            "subscriptionId": subscription.id,
            "createdAt": subscription.created_at,
            "state": stage.name(),
            "serverId": subscription.server_id.as_str(),
            "endsAt": subscription.ends_at,
            "suspendedAt": subscription.suspended_at,
            "address": self.place().map(|(address, _)| address),
            "port": self.place().map(|(_, port)| port),
            "publicKey": self.public_key().map(|key| key.to_string()),
            "orderId": subscription.founded_by,
        })
    }

    fn option_for_more(&self) -> String {
        format!("--after {}", self.subscription.id)
    }
}
