//! (b) Creating orders, against `AddInvoice` alone on the same node, by the same client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wiretoll::domain::lightning::Preimage;
use wiretoll::domain::money::Msats;
use wiretoll::lnd::{NewInvoice, Node as NodeClient};

use crate::load::{Load, Measured, Requests, write_post};
use crate::process::Server;
use crate::report::median;
use crate::shop::{FIRST_FOR_SALE, Node, SERVERS, Shop, server_id};
use crate::{Bench, progress};

/// How long a slow disk keeps a real node at one `AddInvoice`.
pub const SLOW_NODE: Duration = Duration::from_millis(10);
/// As many as the service asks of its node at a time.
const AT_A_TIME: u32 = 8;
/// Enough to keep both the node and the database busy.
const MANY: u32 = 32;

/// What was measured beside the slow node.
#[derive(Debug)]
pub struct Serial {
    rounds: Vec<SerialRound>,
}

#[derive(Debug)]
struct SerialRound {
    /// Eight at a time.
    raw: Measured,
    service: Measured,
    /// One after the other.
    raw_alone: Measured,
    service_alone: Measured,
}

/// What was measured beside a node that answers at once.
#[derive(Debug)]
pub struct AtOnce {
    rounds: Vec<(Measured, Measured)>,
}

pub async fn serial(bench: &Bench, name: &str, shop: &Shop, node: &Node, servers: &[Server]) -> anyhow::Result<Serial> {
    let mut rounds = Vec::new();
    for n in 1..=bench.repeats {
        let few = Load { connections: AT_A_TIME, ..bench.load() };
        let one = Load { connections: 1, ..bench.load() };
        let round = SerialRound {
            raw: add_invoices(shop, node, few).await?,
            service: create(servers, few).await?,
            raw_alone: add_invoices(shop, node, one).await?,
            service_alone: create(servers, one).await?,
        };
        progress(&format!(
            "(b) {name}, node of 10 ms, {n} of {}: {:.1} a second, AddInvoice {:.1}; {:.2} ms alone, AddInvoice {:.2} ms",
            bench.repeats,
            round.service.per_second,
            round.raw.per_second,
            round.service_alone.median(),
            round.raw_alone.median(),
        ));
        rounds.push(round);
    }
    Ok(Serial { rounds })
}

pub async fn at_once(
    bench: &Bench,
    name: &str,
    shop: &Shop,
    node: &Node,
    servers: &[Server],
) -> anyhow::Result<AtOnce> {
    let many = Load { connections: MANY, ..bench.load() };
    let mut rounds = Vec::new();
    for n in 1..=bench.repeats {
        let (raw, service) = (add_invoices(shop, node, many).await?, create(servers, many).await?);
        progress(&format!(
            "(b) {name}, node that answers at once, {n} of {}: {:.0} a second, AddInvoice {:.0}",
            bench.repeats, service.per_second, raw.per_second,
        ));
        rounds.push((raw, service));
    }
    Ok(AtOnce { rounds })
}

async fn create(servers: &[Server], load: Load) -> anyhow::Result<Measured> {
    let requests: Requests = Arc::new(|random, request| {
        let server = FIRST_FOR_SALE + u32::try_from(random % u64::from(SERVERS - FIRST_FOR_SALE)).unwrap_or_default();
        let body = format!(r#"{{"serverId":"{}","duration":1}}"#, server_id(server));
        write_post("/api/public/v1/subscription/create", random >> 32, &body, request);
    });
    let targets: Vec<_> = servers.iter().map(|server| server.address).collect();
    load.run(&targets, &requests).await
}

/// Raw `AddInvoice`, with the client and the invoices of the service, as often as the node lets it.
async fn add_invoices(shop: &Shop, node: &Node, load: Load) -> anyhow::Result<Measured> {
    let client = node.client(&shop.config);
    let begin = Instant::now() + load.duration / 5;
    let end = begin + load.duration;
    let mut adders = JoinSet::new();
    for _ in 0..load.connections {
        adders.spawn(add_until(end, begin, client.clone()));
    }
    let mut latencies = Vec::new();
    while let Some(adder) = adders.join_next().await {
        latencies.extend(adder??);
    }
    Ok(Measured::new(latencies, load.duration))
}

async fn add_until(end: Instant, begin: Instant, client: NodeClient) -> anyhow::Result<Vec<f64>> {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut latencies = Vec::new();
    loop {
        let mut preimage = [0xbe; 32];
        preimage[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let new = NewInvoice {
            preimage: Preimage::from_bytes(preimage),
            amount: Msats::new(4_500_000),
            memo: "wiretoll subscription 019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1".into(),
            expiry: Duration::from_hours(24),
            private_route_hints: false,
        };
        let asked = Instant::now();
        if asked >= end {
            return Ok(latencies);
        }
        client.add_invoice(&new).await.context("the node refused an invoice")?;
        if asked >= begin {
            latencies.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
    }
}

impl Serial {
    /// Of the throughput of `AddInvoice`.
    pub fn throughput(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.service.per_second / round.raw.per_second))
    }

    /// Orders and invoices a second.
    pub fn rates(&self) -> (f64, f64) {
        let service = median(self.rounds.iter().map(|round| round.service.per_second));
        (service, median(self.rounds.iter().map(|round| round.raw.per_second)))
    }

    /// Milliseconds of an order and of an invoice, at the median.
    pub fn alone(&self) -> (f64, f64) {
        let service = median(self.rounds.iter().map(|round| round.service_alone.median()));
        (service, median(self.rounds.iter().map(|round| round.raw_alone.median())))
    }

    /// Milliseconds that the service adds at the median.
    pub fn added(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.service_alone.median() - round.raw_alone.median()))
    }
}

impl AtOnce {
    /// Orders a second, and invoices.
    pub fn rates(&self) -> (f64, f64) {
        let service = median(self.rounds.iter().map(|(_, service)| service.per_second));
        (service, median(self.rounds.iter().map(|(raw, _)| raw.per_second)))
    }

    pub fn throughput(&self) -> f64 {
        median(self.rounds.iter().map(|(raw, service)| service.per_second / raw.per_second))
    }
}
