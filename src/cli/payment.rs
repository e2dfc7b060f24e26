//! `payment list` and `payment resolve`. They run beside a service on the same database.

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::listing::{Hashed, Hashes, Listed, Listing};
use super::{ConfigFile, output, parse};
use crate::app::resolve_payment::{Resolved, resolve_payment};
use crate::app::settle::in_unit;
use crate::clock::Clock;
use crate::domain::note::Note;
use crate::domain::payment::{Outcome, Payment};
use crate::lifecycle;
use crate::store::PaymentFilter;

#[derive(Debug, Subcommand)]
pub enum PaymentCommand {
    /// Lists payments: first those that wait for you, then the others, the newest first.
    List(List),
    /// Marks a payment that waited for you as dealt with. Moves no money.
    Resolve(Resolve),
}

#[derive(Debug, Args)]
#[command(after_help = "What waits for you: refund_due (nothing could be given), orphaned (the order was lost with a \
    database), underpaid, mismatched (by card, and not what its order asked for), and any payment of more than the price.\n\n\
    Example: what is to be done\n  wiretoll payment list --open")]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only payments with this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new(Outcome::ALL.map(Outcome::name)))]
    outcome: Option<String>,
    /// Only payments that wait for you.
    #[arg(long)]
    open: bool,
    /// Only payments after this one in the list: the last id of the page before.
    #[arg(long, value_name = "PAYMENT ID")]
    after: Option<Uuid>,
    #[command(flatten)]
    hashes: Hashes,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Your note is kept with the payment and in its events, for good; a second one changes nothing.\n\n\
    Example: after you paid an invoice of the customer\n  \
    wiretoll payment resolve 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"refunded by hand on 22 November\""
)]
pub struct Resolve {
    #[command(flatten)]
    config: ConfigFile,
    /// The payment's id of `payment list`, or its payment hash.
    payment: String,
    /// What you did, in 1 to 500 characters on one line; nothing secret.
    #[arg(long)]
    note: String,
}

impl PaymentCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Resolve(resolve) => resolve.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let payments = app.store.payments(&self.filter()).await?;
        app.store.close().await;
        self.listing.print(&self.hashes.with_each(payments))
    }

    fn filter(&self) -> PaymentFilter {
        let outcome = Outcome::ALL.into_iter().find(|outcome| self.outcome.as_deref() == Some(outcome.name()));
        PaymentFilter { outcome, open_only: self.open, after: self.after, at_most: self.listing.limit }
    }
}

impl Listed<8> for Hashed<Payment> {
    const HEADING: [&'static str; 8] =
        ["PAYMENT", "SETTLED", "AMOUNT", "EXCESS", "OUTCOME", "WAITS", "ORDER", "PAYMENT HASH"];

    fn row(&self) -> [String; 8] {
        let Self { one: payment, hashes } = self;
        [
            payment.id.to_string(),
            payment.evidence.settled_at.to_string(),
            payment.evidence.amount.to_string(),
            payment.excess.to_string(),
            payment.outcome.name().to_owned(),
            waits(payment).to_owned(),
            payment.order_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            hashes.show(&payment.evidence.external_id),
        ]
    }

    fn as_json(&self) -> Value {
        let Self { one: payment, hashes } = self;
        json!({
            "paymentId": payment.id,
            "settledAt": payment.evidence.settled_at,
            in_unit("amount", payment.evidence.amount): payment.evidence.amount.get(),
            in_unit("excess", payment.excess): payment.excess.get(),
            in_unit("refunded", payment.refunded): payment.refunded.get(),
            "outcome": payment.outcome.name(),
            "open": payment.is_open(),
            "resolvedAt": payment.resolution.as_ref().map(|resolution| resolution.at),
            "resolution": payment.resolution.as_ref().map(|resolution| resolution.note.as_str()),
            "orderId": payment.order_id,
            "paymentHash": hashes.show(&payment.evidence.external_id),
        })
    }

    fn option_for_more(&self) -> String {
        format!("--after {}", self.one.id)
    }
}

const fn waits(payment: &Payment) -> &'static str {
    match (&payment.resolution, payment.is_open()) {
        (Some(_), _) => "resolved",
        (None, true) => "for you",
        (None, false) => "-",
    }
}

impl Resolve {
    async fn run(&self) -> anyhow::Result<()> {
        let (name, note) = (parse::payment_name(&self.payment)?, Note::parse(&self.note)?);
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let resolved = resolve_payment(&app, name, &note).await;
        app.store.close().await;
        match resolved.context("the payment was not marked")? {
            Resolved::Now(payment) => output::print(format_args!("resolved: payment {}", payment.id)),
            Resolved::Before(payment) => {
                let earlier = payment.resolution.map(|earlier| format!("{}: {}", earlier.at, earlier.note.as_str()));
                let earlier = earlier.unwrap_or_default();
                output::print(format_args!("payment {} was resolved before, at {earlier}", payment.id))
            }
        }
    }
}
