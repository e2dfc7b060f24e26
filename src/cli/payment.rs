//! `payment list` and `payment resolve`. They run beside a service on the same database.

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::table::table;
use super::{ConfigFile, parse};
use crate::app::resolve_payment::{Resolved, resolve_payment};
use crate::clock::Clock;
use crate::domain::payment::{Outcome, Payment, ResolutionNote};
use crate::lifecycle;
use crate::store::PaymentFilter;

/// As much of a payment hash as `order list` shows.
const PREFIX: usize = 8;

#[derive(Debug, Subcommand)]
pub enum PaymentCommand {
    /// Lists payments: first those that wait for you, then the others, the newest first.
    List(List),
    /// Marks a payment that waited for you as dealt with. Moves no money.
    Resolve(Resolve),
}

#[derive(Debug, Args)]
#[command(after_help = "What waits for you: refund_due (nothing could be given), orphaned (the order was lost with a \
    database), underpaid,\nand any payment of more than the price.\n\n\
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
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Whole payment hashes, not their beginnings: who knows one may claim its order.
    #[arg(long)]
    full_hash: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Your note is kept with the payment and in its events, for good; a second one changes nothing.\n\n\
    Example: after you paid an invoice of the customer\n  \
    wiretoll payment resolve 0190a8f2-0000-7000-8000-00000000000a --note \"refunded by hand on 22 November\""
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
    #[expect(clippy::print_stdout, reason = "what this command is for")]
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let payments = app.store.payments(&self.filter()).await?;
        app.store.close().await;
        if self.json {
            let payments: Vec<_> = payments.iter().map(|payment| self.as_json(payment)).collect();
            println!("{}", serde_json::to_string_pretty(&payments)?);
            return Ok(());
        }
        let rows: Vec<_> = payments.iter().map(|payment| self.row(payment)).collect();
        let heading = ["PAYMENT", "SETTLED", "MSAT", "EXCESS", "OUTCOME", "WAITS", "ORDER", "PAYMENT HASH"];
        for line in table(heading, &rows) {
            println!("{line}");
        }
        if let Some(last) = payments.last().filter(|_| payments.len() == self.limit as usize) {
            println!("there may be more: --after {}", last.id);
        }
        Ok(())
    }

    fn filter(&self) -> PaymentFilter {
        let outcome = Outcome::ALL.into_iter().find(|outcome| self.outcome.as_deref() == Some(outcome.name()));
        PaymentFilter { outcome, open_only: self.open, after: self.after, at_most: self.limit }
    }

    fn row(&self, payment: &Payment) -> [String; 8] {
        [
            payment.id.to_string(),
            payment.evidence.settled_at.to_string(),
            payment.evidence.amount.get().to_string(),
            payment.excess.get().to_string(),
            payment.outcome.name().to_owned(),
            waits(payment).to_owned(),
            payment.order_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            self.hash(payment),
        ]
    }

    fn as_json(&self, payment: &Payment) -> Value {
        json!({
            "paymentId": payment.id,
            "settledAt": payment.evidence.settled_at,
            "amountMsat": payment.evidence.amount.get(),
            "excessMsat": payment.excess.get(),
            "outcome": payment.outcome.name(),
            "open": payment.is_open(),
            "resolvedAt": payment.resolution.as_ref().map(|resolution| resolution.at),
            "resolution": payment.resolution.as_ref().map(|resolution| resolution.note.as_str()),
            "orderId": payment.order_id,
            "paymentHash": self.hash(payment),
        })
    }

    fn hash(&self, payment: &Payment) -> String {
        let whole = &payment.evidence.external_id;
        if self.full_hash { whole.clone() } else { whole.chars().take(PREFIX).collect() }
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
    #[expect(clippy::print_stdout, reason = "what this command is for")]
    async fn run(&self) -> anyhow::Result<()> {
        let (name, note) = (parse::payment_name(&self.payment)?, ResolutionNote::parse(&self.note)?);
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let resolved = resolve_payment(&app, name, &note).await;
        app.store.close().await;
        match resolved.context("the payment was not marked")? {
            Resolved::Now(payment) => println!("resolved: payment {}", payment.id),
            Resolved::Before(payment) => {
                let earlier = payment.resolution.map(|earlier| format!("{}: {}", earlier.at, earlier.note.as_str()));
                println!("payment {} was resolved before, at {}", payment.id, earlier.unwrap_or_default());
            }
        }
        Ok(())
    }
}
