//! (a) Checks by payment hash, against a bare actix-web handler whose answer is as large, at the same load.

use std::net::SocketAddr;
use std::sync::Arc;

use wiretoll::domain::lightning::PaymentHash;

use crate::load::{Connection, Measured, Requests, write_get};
use crate::process::Server;
use crate::report::{median, thousands};
use crate::shop::Shop;
use crate::{Bench, progress};

/// Open orders whose customers poll.
const POLLED: usize = 10_000;
/// Customer networks, whatever they ask about: the default limit of each admits ten checks a second.
const NETWORKS: u64 = 20_000;

/// What was measured on one shop.
#[derive(Debug)]
pub struct Checks {
    pub open: Against,
    pub all: Against,
}

/// Rounds of the floor, each followed by one of the service.
#[derive(Debug)]
pub struct Against {
    rounds: Vec<Round>,
}

#[derive(Debug)]
struct Round {
    floor: Measured,
    service: Measured,
    /// Microseconds of processor time that each answer cost the server.
    floor_processor: f64,
    service_processor: f64,
}

pub async fn measure(bench: &Bench, name: &str, shop: &Shop, servers: &[Server]) -> anyhow::Result<Checks> {
    let open: Vec<_> = shop.stock.pending.iter().copied().take(POLLED).collect();
    let all: Vec<_> = shop.stock.pending.iter().chain(&shop.stock.paid).copied().collect();
    Ok(Checks {
        open: against(bench, &format!("{name}: {} open orders", thousands(open.len())), servers, open).await?,
        all: against(bench, &format!("{name}: all {} orders", thousands(all.len())), servers, all).await?,
    })
}

async fn against(bench: &Bench, name: &str, servers: &[Server], hashes: Vec<PaymentHash>) -> anyhow::Result<Against> {
    let size = body_size(servers[0].address, hashes[hashes.len() - 1]).await?;
    let mut floor = [Server::floor(size, &bench.folder)?];
    floor[0].until_it_answers("/", "x").await?;
    let requests = requests(hashes);
    let mut rounds = Vec::new();
    for n in 1..=bench.repeats {
        let (floor, floor_processor) = round(bench, &floor, &requests).await?;
        let (service, service_processor) = round(bench, servers, &requests).await?;
        let round = Round { floor, service, floor_processor, service_processor };
        progress(&format!(
            "(a) {name}, {n} of {}: {:.0} a second, floor {:.0}; p99 {:.2} ms, floor {:.2} ms",
            bench.repeats,
            round.service.per_second,
            round.floor.per_second,
            round.service.p99(),
            round.floor.p99(),
        ));
        rounds.push(round);
    }
    Ok(Against { rounds })
}

/// Answers, and the processor time of each, in microseconds.
async fn round(bench: &Bench, servers: &[Server], requests: &Requests) -> anyhow::Result<(Measured, f64)> {
    let targets: Vec<_> = servers.iter().map(|server| server.address).collect();
    let before = processor_seconds(servers)?;
    let measured = bench.load().run(&targets, requests).await?;
    // The first fifth, which is not counted, has used the processor, too.
    let answers = measured.per_second * bench.load().duration.as_secs_f64() * 1.2;
    Ok((measured, (processor_seconds(servers)? - before) * 1e6 / answers))
}

fn processor_seconds(servers: &[Server]) -> anyhow::Result<f64> {
    servers.iter().map(Server::processor_seconds).sum()
}

fn requests(hashes: Vec<PaymentHash>) -> Requests {
    Arc::new(move |random, request| {
        let count = u64::try_from(hashes.len()).unwrap_or(u64::MAX);
        let hash = hashes[usize::try_from(random % count).unwrap_or_default()];
        write_get(&path(hash), (random >> 32) % NETWORKS, request);
    })
}

async fn body_size(service: SocketAddr, hash: PaymentHash) -> anyhow::Result<usize> {
    let mut request = Vec::new();
    write_get(&path(hash), 0, &mut request);
    let mut connection = Connection::open(service).await?;
    let (status, body) = connection.ask(&request).await?;
    anyhow::ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(body));
    Ok(body.len())
}

fn path(hash: PaymentHash) -> String {
    format!("/api/public/v1/subscription/{hash}")
}

impl Against {
    /// Of the floor's throughput.
    pub fn throughput(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.service.per_second / round.floor.per_second))
    }

    /// Of the floor's 99th percentile.
    pub fn p99(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.service.p99() / round.floor.p99()))
    }

    /// The median of what `of` tells of the service, and of the floor.
    pub fn both(&self, of: impl Fn(&Measured) -> f64) -> (f64, f64) {
        let service = median(self.rounds.iter().map(|round| of(&round.service)));
        (service, median(self.rounds.iter().map(|round| of(&round.floor))))
    }

    /// Microseconds of processor time for one answer, of the service and of the floor.
    pub fn processor(&self) -> (f64, f64) {
        let service = median(self.rounds.iter().map(|round| round.service_processor));
        (service, median(self.rounds.iter().map(|round| round.floor_processor)))
    }
}
