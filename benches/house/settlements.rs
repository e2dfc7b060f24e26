//! (c) From settlement at the node to `paid` in a check, while 200 orders a second settle.
//!
//! The floor is what no durable settlement can do without: one page written and flushed to the same disk.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};

use crate::load::{Connection, Measured, write_get, write_post};
use crate::process::Server;
use crate::report::median;
use crate::shop::{FIRST_FOR_SALE, Node, SERVERS, server_id};
use crate::{Bench, progress};

const A_SECOND: u32 = 200;
/// Customers who pay in turn; each has six times as long as the target allows.
const CUSTOMERS: u32 = 32;
/// Between two looks of a customer.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_mins(2);
const FLUSHES: usize = 500;

/// What was measured on one shop.
#[derive(Debug)]
pub struct Settlements {
    rounds: Vec<(Measured, Measured)>,
}

/// An order that waits to be paid.
struct Placed {
    /// Its customer's network.
    network: u64,
    hash: String,
    invoice: String,
}

pub async fn measure(bench: &Bench, name: &str, node: &Node, servers: &[Server]) -> anyhow::Result<Settlements> {
    let mut rounds = Vec::new();
    for n in 1..=bench.repeats {
        let flushes = flush_pages(bench)?;
        let orders = place(bench, servers).await?;
        let visible = settle(bench, node, servers, orders).await?;
        progress(&format!(
            "(c) {name}, {n} of {}: p99 {:.1} ms, median {:.1} ms of {}; a flushed page p99 {:.2} ms",
            bench.repeats,
            visible.p99(),
            visible.median(),
            visible.count(),
            flushes.p99(),
        ));
        rounds.push((flushes, visible));
    }
    Ok(Settlements { rounds })
}

/// One order, paid: from then on each server trusts its stream of settlements, as one does that has sold anything since
/// it was started, and does not ask the node about every order that is polled.
pub async fn sell_one(node: &Node, servers: &[Server]) -> anyhow::Result<()> {
    let first = servers.first().context("no server")?;
    let order = place_one(&mut Connection::open(first.address).await?, 0).await?;
    node.simulator.pay(PaymentOrder::of(order.invoice.as_str())).await?;
    for server in servers {
        until_paid(&mut Connection::open(server.address).await?, &order).await?;
    }
    Ok(())
}

/// Milliseconds of each.
fn flush_pages(bench: &Bench) -> anyhow::Result<Measured> {
    let mut file = File::create(bench.folder.join("page"))?;
    let mut latencies = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        latencies.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Measured::new(latencies, Duration::from_secs(1)))
}

/// As many orders as will settle, each shared out to its customer.
async fn place(bench: &Bench, servers: &[Server]) -> anyhow::Result<Vec<Vec<Placed>>> {
    let each = A_SECOND * bench.seconds / CUSTOMERS;
    let mut customers = JoinSet::new();
    for (customer, server) in (0..CUSTOMERS).zip(servers.iter().cycle()) {
        let target = server.address;
        customers.spawn(async move {
            let mut connection = Connection::open(target).await?;
            let mut placed = Vec::new();
            for n in 0..each {
                placed.push(place_one(&mut connection, customer * each + n).await?);
            }
            anyhow::Ok(placed)
        });
    }
    let mut orders = Vec::new();
    while let Some(placed) = customers.join_next().await {
        orders.push(placed??);
    }
    Ok(orders)
}

async fn place_one(connection: &mut Connection, n: u32) -> anyhow::Result<Placed> {
    let server = FIRST_FOR_SALE + n % (SERVERS - FIRST_FOR_SALE);
    let body = format!(r#"{{"serverId":"{}","duration":1}}"#, server_id(server));
    let mut request = Vec::new();
    write_post("/api/public/v1/subscription/create", n.into(), &body, &mut request);
    let (status, body) = connection.ask(&request).await?;
    anyhow::ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
    let answer: Value = serde_json::from_slice(body)?;
    let text = |name: &str| answer[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    Ok(Placed { network: n.into(), hash: text("paymentHash")?, invoice: text("invoice")? })
}

/// Pays all of them, evenly over the time, and watches each until it is shown as paid.
async fn settle(bench: &Bench, node: &Node, servers: &[Server], orders: Vec<Vec<Placed>>) -> anyhow::Result<Measured> {
    let (begin, mut customers) = (Instant::now(), JoinSet::new());
    let interval = Duration::from_secs(1) / A_SECOND;
    for ((customer, orders), server) in (0..).zip(orders).zip(servers.iter().cycle()) {
        let (simulator, target) = (node.simulator.clone(), server.address);
        customers.spawn(async move {
            let mut connection = Connection::open(target).await?;
            let mut latencies = Vec::new();
            for (turn, order) in (0..).zip(orders) {
                sleep_until(begin + interval * (turn * CUSTOMERS + customer)).await;
                let paid = Instant::now();
                let outcome = simulator.pay(PaymentOrder::of(order.invoice.as_str())).await?;
                anyhow::ensure!(matches!(outcome, PaymentOutcome::Settled { .. }), "not settled: {outcome:?}");
                until_paid(&mut connection, &order).await?;
                latencies.push(paid.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(customer) = customers.join_next().await {
        latencies.extend(customer??);
    }
    Ok(Measured::new(latencies, Duration::from_secs(bench.seconds.into())))
}

async fn until_paid(connection: &mut Connection, order: &Placed) -> anyhow::Result<()> {
    let mut request = Vec::new();
    write_get(&format!("/api/public/v1/subscription/{}", order.hash), order.network, &mut request);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let (status, body) = connection.ask(&request).await?;
        anyhow::ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
        if String::from_utf8_lossy(body).contains(r#""status":"paid""#) {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("{} was not shown as paid within {} s", order.hash, PATIENCE.as_secs())
}

impl Settlements {
    /// Milliseconds: the service, and a flushed page.
    pub fn p99(&self) -> (f64, f64) {
        self.both(Measured::p99)
    }

    pub fn median(&self) -> (f64, f64) {
        self.both(Measured::median)
    }

    fn both(&self, of: impl Fn(&Measured) -> f64) -> (f64, f64) {
        let visible = median(self.rounds.iter().map(|(_, visible)| of(visible)));
        (visible, median(self.rounds.iter().map(|(flush, _)| of(flush))))
    }
}
