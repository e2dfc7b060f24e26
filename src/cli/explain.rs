//! `explain`: all that is known about an order.

use clap::Args;
use uuid::Uuid;

use super::ConfigFile;
use crate::app::App;
use crate::app::explain::{Explained, OrderName, explain, explain_orphan};
use crate::clock::Clock;
use crate::domain::lightning::PaymentHash;
use crate::domain::payment::Payment;
use crate::lifecycle;
use crate::lnd::InvoiceState;

#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// A payment hash (64 hexadecimal digits) or an order id.
    order: String,
}

impl Explain {
    #[expect(clippy::print_stdout, reason = "what this command is for")]
    pub async fn run(&self) -> anyhow::Result<()> {
        let name = parse(&self.order)?;
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        for line in tell(&app, name).await? {
            println!("{line}");
        }
        app.store.close().await;
        Ok(())
    }
}

async fn tell(app: &App, name: OrderName) -> anyhow::Result<Vec<String>> {
    if let OrderName::PaymentHash(hash) = name
        && let Some(payment) = explain_orphan(app, hash).await?
        && payment.order_id.is_none()
    {
        return Ok(vec!["this payment names an order that is not in this database".to_owned(), payment_line(&payment)]);
    }
    Ok(lines(&explain(app, name).await?))
}

fn parse(text: &str) -> anyhow::Result<OrderName> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(OrderName::Id(id));
    }
    let hash = PaymentHash::parse(text).map_err(|_| {
        anyhow::anyhow!(
            "expected a payment hash (64 lowercase hexadecimal digits) or an order id (a UUID), not {text:?}"
        )
    })?;
    Ok(OrderName::PaymentHash(hash))
}

/// The story as lines; no secret is among them.
fn lines(explained: &Explained) -> Vec<String> {
    let order = &explained.order;
    let mut lines = vec![
        format!("order         {}", order.id),
        format!("payment hash  {}", order.payment_hash),
        format!("state         {}", order.state.name()),
        format!("bought        {} months on {} for {}", order.months, order.server_id, order.quote.amount),
    ];
    if let (Some(usd), Some(rate)) = (order.quote.usd, &order.quote.rate) {
        let per_btc = rate.cents_per_btc / 100;
        lines.push(format!("price         ${usd} at ${per_btc} for a bitcoin ({}, {})", rate.source, rate.as_of));
    }
    if let Some(invoice) = order.invoice() {
        lines.push(format!("invoice       until {}", invoice.expires_at));
    }
    lines.extend(explained.payments.iter().map(payment_line));
    lines.extend(subscription_lines(explained));
    lines.push(format!("LND now       {}", node_line(explained)));
    lines.push("events".to_owned());
    lines.extend(
        explained
            .events
            .iter()
            .map(|event| format!("  {}  {:<22} {}", event.occurred_at, event.event_type, event.data)),
    );
    lines
}

fn payment_line(payment: &Payment) -> String {
    let (amount, excess) = (payment.evidence.amount.get(), payment.excess.get());
    let (settled_at, outcome) = (payment.evidence.settled_at, payment.outcome.name());
    format!("payment       {amount} msat ({excess} beyond the price) settled {settled_at}: {outcome}")
}

fn subscription_lines(explained: &Explained) -> Vec<String> {
    let Some(subscription) = &explained.subscription else { return Vec::new() };
    let mut lines = vec![format!("subscription  {} until {}", subscription.id, subscription.ends_at)];
    for (order, grant) in &explained.grants {
        lines.push(format!("grant         {} months at {} by order {order}", grant.months, grant.granted_at));
    }
    match &explained.peer {
        Some(peer) => {
            let bound = peer.binding.as_ref().map_or("no key yet".to_owned(), |key| key.public_key.to_string());
            lines.push(format!("peer          slot {} on {}: {bound}", peer.slot.0, peer.server_id));
        }
        None => lines.push("peer          none: the hold has ended".to_owned()),
    }
    lines
}

fn node_line(explained: &Explained) -> String {
    match &explained.node {
        Err(error) => format!("no answer: {error}"),
        Ok(None) => "does not know this invoice".to_owned(),
        Ok(Some(invoice)) => match invoice.state {
            InvoiceState::Open => "open".to_owned(),
            InvoiceState::Accepted => "held".to_owned(),
            InvoiceState::Canceled => "cancelled".to_owned(),
            InvoiceState::Settled(paid) => {
                format!(
                    "settled {} with {} msat, settle index {}",
                    paid.settled_at,
                    paid.amount.get(),
                    paid.settle_index
                )
            }
        },
    }
}
