//! The load: keep-alive connections that each ask, read the whole answer and ask again, with nothing in between.
//!
//! Written by hand over plain sockets, so that on a machine of two cores it leaves most of the time to the server. The
//! same code drives the floor and the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Longer than any answer takes; a server that hangs ends the run with an error.
const PATIENCE: Duration = Duration::from_mins(1);

/// Writes the request that follows from a random number.
pub type Requests = Arc<dyn Fn(u64, &mut Vec<u8>) + Send + Sync>;

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub connections: u32,
    pub duration: Duration,
}

/// What came of it: answers a second, and how long each took.
#[derive(Debug, Clone)]
pub struct Measured {
    pub per_second: f64,
    /// Milliseconds, ascending.
    latencies: Vec<f64>,
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body_start: usize,
}

impl Load {
    /// Asks the targets in turn, one connection after the other. The first fifth of the time warms up and is not counted.
    ///
    /// # Errors
    /// When any answer is not 200: a refusal is no answer.
    pub async fn run(self, targets: &[SocketAddr], requests: &Requests) -> anyhow::Result<Measured> {
        let begin = Instant::now() + self.duration / 5;
        let end = begin + self.duration;
        let mut clients = JoinSet::new();
        for (n, target) in (0..self.connections).zip(targets.iter().cycle()) {
            clients.spawn(ask_until(end, begin, *target, Arc::clone(requests), u64::from(n)));
        }
        let mut latencies = Vec::new();
        while let Some(client) = clients.join_next().await {
            latencies.extend(client??);
        }
        Ok(Measured::new(latencies, self.duration))
    }
}

async fn ask_until(
    end: Instant,
    begin: Instant,
    target: SocketAddr,
    requests: Requests,
    seed: u64,
) -> anyhow::Result<Vec<f64>> {
    let mut connection = Connection::open(target).await?;
    let mut random = Random(seed);
    let (mut request, mut latencies) = (Vec::new(), Vec::new());
    loop {
        request.clear();
        requests(random.next(), &mut request);
        let asked = Instant::now();
        if asked >= end {
            return Ok(latencies);
        }
        let (status, body) = connection.ask(&request).await?;
        if status != 200 {
            bail!("{status} instead of 200: {}", String::from_utf8_lossy(body));
        }
        if asked >= begin {
            latencies.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
    }
}

impl Measured {
    pub fn new(mut latencies: Vec<f64>, during: Duration) -> Self {
        latencies.sort_unstable_by(f64::total_cmp);
        let count = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
        Self { per_second: f64::from(count) / during.as_secs_f64(), latencies }
    }

    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Milliseconds within which this share of the answers came.
    pub fn within(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list of some millions"
        )]
        let index = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.within(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.within(0.99)
    }
}

impl Connection {
    pub async fn open(target: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target).await.with_context(|| format!("nobody listens on {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096), body_start: 0 })
    }

    /// Sends a request and reads its whole answer: the status and the body.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let status = timeout(PATIENCE, self.answer()).await.context("no answer came")??;
        Ok((status, &self.buffer[self.body_start..]))
    }

    async fn answer(&mut self) -> anyhow::Result<u16> {
        let mut whole = None;
        loop {
            if let Some((start, length)) = whole
                && self.buffer.len() >= start + length
            {
                self.body_start = start;
                return status(&self.buffer);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
            if whole.is_none() {
                whole = head(&self.buffer)?;
            }
        }
    }
}

/// Where the body starts and how long it is, once the whole head is there.
fn head(buffer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end])?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok(Some((end + 4, length.context("an answer without a length")?)))
}

/// `HTTP/1.1 200 OK`.
fn status(buffer: &[u8]) -> anyhow::Result<u16> {
    let digits = buffer.get(9..12).context("not an answer")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// `SplitMix64`: repeatable, and good enough to pick an order.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A `GET` for the customer of that number, behind the proxy that the service trusts.
pub fn write_get(path: &str, customer: u64, request: &mut Vec<u8>) {
    let [.., high, low] = customer.to_be_bytes();
    request.extend_from_slice(b"GET ");
    request.extend_from_slice(path.as_bytes());
    request
        .extend_from_slice(format!(" HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.{high}.{low}.1\r\n\r\n").as_bytes());
}

/// A `POST` of JSON, likewise.
pub fn write_post(path: &str, customer: u64, body: &str, request: &mut Vec<u8>) {
    let [.., high, low] = customer.to_be_bytes();
    let length = body.len();
    request.extend_from_slice(
        format!(
            "POST {path} HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.{high}.{low}.1\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    );
}
