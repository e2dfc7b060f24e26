//! `order list`, `order show` and `order adopt`. They run beside a service on the same database.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::explain::Explain;
use super::listing::{Hashed, Hashes, Listed, Listing};
use super::{ConfigFile, output, parse};
use crate::app::adopt_payment::{Adoption, AmountCheck, Bought, adopt_payment};
use crate::clock::Clock;
use crate::domain::keys::PublicKey;
use crate::domain::order::{ClaimBy, Order, Rail};
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::OrderFilter;

#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Lists orders, the newest first.
    List(List),
    /// All that is known about an order; the same as `wiretoll explain`.
    Show(Explain),
    /// Makes an order and a subscription of an orphaned payment.
    Adopt(Adopt),
}

#[derive(Debug, Args)]
#[command(after_help = "Example: what was paid today, with whole payment hashes\n  \
    wiretoll order list --state paid --since 2026-11-22 --full-hash")]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only orders in this state.
    #[arg(long, value_parser = ["creating", "pending", "paid", "expired", "failed"])]
    state: Option<String>,
    /// Only orders made then or later: 2026-11-22, or 2026-11-22T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    since: Option<Timestamp>,
    /// Only orders before this one: the last id of the page before.
    #[arg(long, value_name = "ORDER ID")]
    before: Option<Uuid>,
    #[command(flatten)]
    hashes: Hashes,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("bought").required(true).args(["server", "renews"]),
    after_help = "A payment is orphaned when its order was lost, because the database was restored from an older \
    backup. Its order comes back with its own id and payment hash, paid, so that the customer's app finds it and \
    claims as ever. What was bought only you can say; the months count from the payment. `wiretoll order show` tells \
    the amount.\n\n\
    Example: one month on eu-de\n  \
    wiretoll order adopt 0190a8f2-0000-7000-8000-00000000000a \\\n    --server eu-de --months 1\n\
    Example: three months more for a customer who writes to you with the public key of their config\n  \
    wiretoll order adopt 0190a8f2-0000-7000-8000-00000000000a \\\n    --renews AAAA...= --months 3"
)]
pub struct Adopt {
    #[command(flatten)]
    config: ConfigFile,
    /// The payment's id of `payment list --outcome orphaned`, or its payment hash.
    payment: String,
    /// How many months were bought.
    #[arg(long)]
    months: u32,
    /// A new subscription on this server.
    #[arg(long, value_name = "SERVER ID", value_parser = parse::server_id)]
    server: Option<ServerId>,
    /// More months for the subscription of this WireGuard public key.
    #[arg(long, value_name = "PUBLIC KEY", value_parser = parse::public_key)]
    renews: Option<PublicKey>,
    /// The customer's WireGuard public key for the new subscription; without it the first claim brings one.
    #[arg(long, value_name = "PUBLIC KEY", requires = "server", value_parser = parse::public_key)]
    public_key: Option<PublicKey>,
    /// Only the claim token of the lost order may claim it, as its customer may have asked for; without this, the payment
    /// hash is enough, which every hop of the payment knows.
    #[arg(long, requires = "server")]
    require_claim_token: bool,
    /// Also where the amount does not fit the prices of now.
    #[arg(long)]
    any_price: bool,
}

impl OrderCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(explain) => explain.run().await,
            Self::Adopt(adopt) => adopt.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let (state, since, before) = (self.state.clone(), self.since, self.before);
        let orders = app.store.orders(&OrderFilter { state, since, before, at_most: self.listing.limit }).await?;
        app.store.close().await;
        self.listing.print(&self.hashes.with_each(orders))
    }
}

impl Listed<8> for Hashed<Order> {
    const HEADING: [&'static str; 8] =
        ["ORDER", "CREATED", "STATE", "KIND", "SERVER", "MONTHS", "AMOUNT", "PAYMENT HASH"];

    fn row(&self) -> [String; 8] {
        let Self { one: order, hashes } = self;
        [
            order.id.to_string(),
            order.created_at.to_string(),
            order.state.name().to_owned(),
            order.kind.name().to_owned(),
            order.server_id.to_string(),
            order.kind.months().map_or_else(|| "-".to_owned(), |months| months.to_string()),
            order.rail.asked(),
            order.payment_hash().map_or_else(|| "-".to_owned(), |hash| hashes.show(&hash.to_string())),
        ]
    }

    fn as_json(&self) -> Value {
        let Self { one: order, hashes } = self;
        let (sats, cents) = match &order.rail {
            Rail::Lightning { quote, .. } => (Some(quote.amount), None),
            Rail::Card { price, .. } => (None, Some(price.get())),
        };
        json!({
            "orderId": order.id,
            "createdAt": order.created_at,
            "state": order.state.name(),
            "kind": order.kind.name(),
            "serverId": order.server_id.as_str(),
            "months": order.kind.months(),
            "rail": order.rail.name(),
            "amountSats": sats,
            "amountCents": cents,
            "subscriptionId": order.subscription_id,
            "paymentHash": order.payment_hash().map(|hash| hashes.show(&hash.to_string())),
        })
    }

    fn option_for_more(&self) -> String {
        format!("--before {}", self.one.id)
    }
}

impl Adopt {
    async fn run(&self) -> anyhow::Result<()> {
        let adoption = self.adoption()?;
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let order = adopt_payment(&app, &adoption).await;
        app.store.close().await;
        let order = order.context("the payment was not adopted")?;
        let id = order.id;
        output::print(format_args!("adopted: order {id} is paid; see `wiretoll order show {id}`"))
    }

    fn adoption(&self) -> anyhow::Result<Adoption> {
        let claim_by = if self.require_claim_token { ClaimBy::ClaimToken } else { ClaimBy::PaymentHash };
        let bought = match (&self.server, self.renews) {
            (Some(server), _) => Bought::New { server: server.clone(), public_key: self.public_key, claim_by },
            (None, Some(public_key)) => Bought::Renewal { public_key },
            (None, None) => anyhow::bail!("say what was bought: --server or --renews"),
        };
        let amount = if self.any_price { AmountCheck::Any } else { AmountCheck::Fits };
        Ok(Adoption { payment: parse::payment_name(&self.payment)?, months: self.months, bought, amount })
    }
}
