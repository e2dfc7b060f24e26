//! `explain`, and `order show`: all that is known about an order, and about each payment what waits for the operator.
//! Whatever else an operator has the name of is explained, too.

use clap::Args;
use uuid::Uuid;

use super::{ConfigFile, account, output, subscription, webhook};
use crate::app::explain::{Explained, ExplainedOrphan, OrderName, explain, explain_orphan};
use crate::app::explain_credential::{ExplainedKey, ExplainedWebhook, explain_api_key, explain_webhook};
use crate::app::find_subscription::SubscriptionName;
use crate::app::show_account::show_account;
use crate::app::show_subscription::show_subscription;
use crate::app::{App, Error};
use crate::clock::Clock;
use crate::domain::event::{Event, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{OrderKind, Rail};
use crate::domain::payment::{Outcome, Payment, Provider};
use crate::domain::server::ServerId;
use crate::domain::subscription::{Grant, Span};
use crate::lifecycle;
use crate::lnd::{self, InvoiceState, NodeInvoice};
use crate::store::Delivery;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wiretoll explain 0190a8f2-0000-7000-8000-00000000000a")]
pub struct Explain {
    #[command(flatten)]
    config: ConfigFile,
    /// A payment hash (64 hexadecimal digits), the id of an order, a payment, a subscription, an account, an API key or a
    /// webhook, a customer's WireGuard public key, or a server's id.
    order: String,
}

impl Explain {
    pub async fn run(&self) -> anyhow::Result<()> {
        let config = self.config.load_beside_database()?;
        let server = config.servers.iter().map(|server| server.id.clone()).find(|id| id.as_str() == self.order);
        let name = server.map_or_else(|| parse(&self.order), |server| Ok(Name::Server(server)))?;
        let app = lifecycle::inspect(&config, Clock::System).await?;
        let lines = match name {
            Name::Server(server) => tell_of_server(&app, &server).await,
            Name::Order(name) => tell(&app, name).await,
            Name::Key(key) => tell_of_subscription(&app, SubscriptionName::PublicKey(key)).await,
        };
        app.store.close().await;
        output::print(lines?.join("\n"))
    }
}

/// What the operator means.
enum Name {
    Server(ServerId),
    /// Or a payment, a subscription, an account, an API key or a webhook: their ids look alike.
    Order(OrderName),
    Key(PublicKey),
}

async fn tell_of_server(app: &App, server: &ServerId) -> anyhow::Result<Vec<String>> {
    let events = app.store.events_of(Subject::Server(server)).await?;
    Ok(std::iter::once(format!("server        {server}")).chain(event_lines(&events)).collect())
}

async fn tell(app: &App, name: OrderName) -> anyhow::Result<Vec<String>> {
    if let Some(orphan) = explain_orphan(app, name).await? {
        return Ok(orphan_lines(&orphan));
    }
    if let OrderName::Id(id) = name
        && let Some(lines) = tell_of_owner(app, id).await?
    {
        return Ok(lines);
    }
    let same = match name {
        OrderName::Id(id) => SubscriptionName::Id(id),
        OrderName::PaymentHash(hash) => SubscriptionName::PaymentHash(hash),
    };
    match explain(app, name).await {
        Ok(explained) => Ok(lines(&explained)),
        Err(Error::NotFound(_)) => tell_of_subscription(app, same).await,
        Err(error) => Err(error.into()),
    }
}

/// An account, or a key or webhook of somebody's.
async fn tell_of_owner(app: &App, id: Uuid) -> anyhow::Result<Option<Vec<String>>> {
    if let Ok(shown) = show_account(app, id).await {
        return Ok(Some(account::lines(&shown)));
    }
    if let Some(ExplainedKey { key, events }) = explain_api_key(app, id).await? {
        let of = format!("account       {}", key.account);
        return Ok(Some([account::key_line(&key), of].into_iter().chain(event_lines(&events)).collect()));
    }
    let Some(ExplainedWebhook { id, endpoint, events }) = explain_webhook(app, id).await? else { return Ok(None) };
    let is = endpoint.as_ref().map_or_else(|| format!("webhook       {id}: removed"), webhook::line);
    Ok(Some(std::iter::once(is).chain(event_lines(&events)).collect()))
}

async fn tell_of_subscription(app: &App, name: SubscriptionName) -> anyhow::Result<Vec<String>> {
    match show_subscription(app, name).await {
        Ok(shown) => Ok(subscription::show::lines(app, &shown)),
        Err(Error::NotFound(_)) => anyhow::bail!(
            "no order, payment, subscription, account, API key or webhook is known by this id, hash or key"
        ),
        Err(error) => Err(error.into()),
    }
}

fn parse(text: &str) -> anyhow::Result<Name> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(Name::Order(OrderName::Id(id)));
    }
    if let Ok(key) = PublicKey::parse(text) {
        return Ok(Name::Key(key));
    }
    let hash = PaymentHash::parse(text).map_err(|_| {
        anyhow::anyhow!(
            "expected a payment hash (64 lowercase hexadecimal digits), the id of an order, payment or subscription \
             (a UUID), a WireGuard public key, or the id of a server in the configuration, not {text:?}"
        )
    })?;
    Ok(Name::Order(OrderName::PaymentHash(hash)))
}

/// The story as lines; no secret is among them.
fn lines(explained: &Explained) -> Vec<String> {
    let order = &explained.order;
    let mut lines = vec![
        format!("order         {}", order.id),
        format!("state         {}", order.state.name()),
        format!("bought        {} on {} for {}", bought(order.kind), order.server_id, order.rail.asked()),
    ];
    if let Rail::Lightning { payment_hash, quote } = &order.rail {
        lines.insert(1, format!("payment hash  {payment_hash}"));
        if let (Some(usd), Some(rate)) = (quote.usd, &quote.rate) {
            let per_btc = rate.cents_per_btc / 100;
            lines.push(format!("price         ${usd} at ${per_btc} for a bitcoin ({}, {})", rate.source, rate.as_of));
        }
    }
    if let Some(invoice) = order.invoice() {
        lines.push(format!("invoice       until {}", invoice.expires_at));
    }
    lines.extend(explained.payments.iter().flat_map(payment_lines));
    lines.extend(subscription_lines(explained));
    if let Some((account, months)) = explained.bonus {
        lines.push(format!("referral      {} for account {account}", Span::Months(months)));
    }
    lines.extend(explained.node.iter().map(|node| format!("LND now       {}", node_line(node))));
    lines.extend(event_lines(&explained.events));
    lines.extend(delivery_lines(&explained.deliveries));
    lines
}

fn bought(kind: OrderKind) -> String {
    match kind {
        OrderKind::New { months } => Span::Months(months).to_string(),
        OrderKind::Renewal { subscription, months } => format!("{} more of {subscription}", Span::Months(months)),
        OrderKind::BandwidthReset(subscription) => format!("a bandwidth reset of {subscription}"),
    }
}

fn orphan_lines(orphan: &ExplainedOrphan) -> Vec<String> {
    let mut lines = vec![
        "this payment names an order that is not in this database".to_owned(),
        format!("{:<13} {}", named_by(&orphan.payment), orphan.payment.evidence.external_id),
    ];
    lines.extend(payment_lines(&orphan.payment));
    lines.extend(orphan.node.iter().map(|node| format!("LND now       {}", node_line(node))));
    lines.extend(event_lines(&orphan.events));
    lines
}

const fn named_by(payment: &Payment) -> &'static str {
    match payment.evidence.provider {
        Provider::Lightning => "payment hash",
        Provider::Stripe => "Stripe's",
    }
}

pub fn event_lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| format!("  {}  {:<22} {}", event.occurred_at, event.event_type, event.data);
    std::iter::once("events".to_owned()).chain(events.iter().map(line)).collect()
}

/// What was and is to be told to webhooks, each with its host and its id; nothing where there is none.
pub fn delivery_lines(deliveries: &[Delivery]) -> Vec<String> {
    let line = |one: &Delivery| {
        let next = one.next_at.map(|at| format!(", next {at}")).unwrap_or_default();
        let (id, event, state) = (one.id, &one.event.event_type, &one.state);
        let to = format!("to {} ({})", one.host, one.endpoint);
        format!("  {id}  {event:<22} {to} {state}: {} of {} attempts{next}", webhook::outcome(one), one.attempts)
    };
    let heading = (!deliveries.is_empty()).then(|| "told to webhooks".to_owned());
    heading.into_iter().chain(deliveries.iter().map(line)).collect()
}

/// What arrived, what it brought, and whether it waits for the operator.
fn payment_lines(payment: &Payment) -> Vec<String> {
    let (amount, excess) = (payment.evidence.amount, payment.excess.get());
    let (settled_at, outcome) = (payment.evidence.settled_at, payment.outcome.name());
    let mut lines = vec![
        format!("payment       {amount} ({excess} beyond the price) settled {settled_at}: {outcome}"),
        format!("              {}", meaning(payment.outcome)),
    ];
    if payment.refunded.get() > 0 {
        lines.push(format!("              given back: {}", payment.refunded));
    }
    if payment.is_open() {
        let id = payment.id;
        lines.push(format!("              waits for you: {}; wiretoll payment resolve {id} --note ...", task(payment)));
    }
    if let Some(resolution) = &payment.resolution {
        lines.push(format!("              resolved {}: {}", resolution.at, resolution.note.as_str()));
    }
    lines
}

const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "in time: the order was delivered",
        Outcome::AppliedLate => "after the invoice had expired: the order was delivered in full",
        Outcome::RefundDue => "nothing could be given for it",
        Outcome::Orphaned => "its order is not in this database, which was restored from a backup",
        Outcome::Underpaid => "less than the price: nothing was given for it",
        Outcome::Mismatched => "not what its order asked for, or a second payment of it: nothing was given for it",
        Outcome::Disputed => "the cardholder's bank asks for it: what it granted does not count until that ends",
        Outcome::Refunded => "given back, and what it had granted was taken back",
        Outcome::ChargedBack => "lost to the cardholder's bank, and what it had granted was taken back",
    }
}

/// What only the operator can do about an open payment.
const fn task(payment: &Payment) -> &'static str {
    match payment.outcome {
        Outcome::Applied | Outcome::AppliedLate => "give back what was paid beyond the price, or leave it",
        Outcome::RefundDue | Outcome::Underpaid => "give the money back",
        Outcome::Mismatched => "look at it at Stripe, and give the money back",
        Outcome::Disputed | Outcome::Refunded | Outcome::ChargedBack => "nothing",
        Outcome::Orphaned => "make a subscription of it (wiretoll order adopt --help), or give the money back",
    }
}

fn subscription_lines(explained: &Explained) -> Vec<String> {
    let Some(subscription) = &explained.subscription else { return Vec::new() };
    let mut lines = vec![format!("subscription  {} until {}", subscription.id, subscription.ends_at)];
    lines.extend(explained.grants.iter().map(grant_line));
    match &explained.peer {
        Some(peer) => {
            let bound = peer.binding.as_ref().map_or("no key yet".to_owned(), |key| key.public_key.to_string());
            lines.push(format!("peer          slot {} on {}: {bound}", peer.slot.0, peer.server_id));
        }
        None => lines.push("peer          none: the hold has ended".to_owned()),
    }
    lines
}

/// One reason why a subscription lasts longer.
pub fn grant_line((order, grant): &(Option<Uuid>, Grant)) -> String {
    let by = order.map_or_else(|| "the operator".to_owned(), |order| format!("order {order}"));
    format!("grant         {} at {} by {by}", grant.span, grant.granted_at)
}

fn node_line(node: &Result<Option<NodeInvoice>, lnd::Error>) -> String {
    match node {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::money::{Amount, Msats};
    use crate::domain::payment::Evidence;
    use crate::domain::time::Timestamp;

    fn payment(outcome: Outcome, excess: u64) -> Payment {
        Payment {
            id: Uuid::nil(),
            order_id: None,
            evidence: Evidence {
                provider: Provider::Lightning,
                external_id: "00".repeat(32),
                amount: Amount::Msats(Msats::new(4_500_000)),
                settled_at: Timestamp::EPOCH,
            },
            excess: Amount::Msats(Msats::new(excess)),
            refunded: Amount::Msats(Msats::new(0)),
            outcome,
            recorded_at: Timestamp::EPOCH,
            resolution: None,
        }
    }

    #[test]
    fn every_outcome_has_a_line_of_its_own_and_a_task_where_it_waits_for_the_operator() {
        let mut meanings = BTreeSet::new();
        for outcome in Outcome::ALL {
            let payment = payment(outcome, 0);
            let lines = payment_lines(&payment);
            assert!(lines[0].contains("4500000 msat") && lines[0].ends_with(outcome.name()), "{lines:?}");
            assert!(meanings.insert(lines[1].clone()), "{lines:?}");
            let task = lines.iter().find(|line| line.contains("waits for you"));
            assert_eq!(task.is_some(), payment.is_open(), "{lines:?}");
            assert!(task.is_none_or(|task| !task.contains("nothing")), "{lines:?}");
        }
    }

    #[test]
    fn an_excess_waits_for_the_operator_although_its_order_was_delivered() {
        let lines = payment_lines(&payment(Outcome::AppliedLate, 7)).join("\n");
        assert!(lines.contains("(7 beyond the price)") && lines.contains("give back what was paid beyond"), "{lines}");
    }
}
