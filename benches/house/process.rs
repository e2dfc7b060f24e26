//! A server under test as a process of its own: the released program, or the floor. Ended when it is dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use crate::load::{Connection, write_get};

/// Longer than any start takes.
const START: Duration = Duration::from_mins(2);

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    started: Instant,
}

impl Server {
    /// `wiretoll serve`, with what it logs in a file beside its configuration.
    pub fn wiretoll(program: &Path, config: &Path, settings: Vec<(&str, String)>) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(config);
        command.envs(settings).env("WIRETOLL_SERVICE__LISTEN", address.to_string());
        Self::start(command, address, &config.with_extension(format!("{}.log", address.port())))
    }

    /// The floor, whose answers have this size.
    pub fn floor(body_size: usize, folder: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--port", &address.port().to_string(), "--body-size", &body_size.to_string()]);
        Self::start(command, address, &folder.join("floor.log"))
    }

    fn start(mut command: Command, address: SocketAddr, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{} did not start", command.get_program().display()))?;
        Ok(Self { child, address, started })
    }

    /// Waits until `GET path` is answered with 200 and a body that has `needle`; returns how long that was after the start.
    pub async fn until_it_answers(&mut self, path: &str, needle: &str) -> anyhow::Result<Duration> {
        let mut request = Vec::new();
        write_get(path, 0, &mut request);
        while self.started.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("a server ended at its start: {status}; its log is in target/bench");
            }
            if answers(self.address, &request, needle).await {
                return Ok(self.started.elapsed());
            }
            sleep(Duration::from_millis(1)).await;
        }
        bail!("a server was not ready in time; its log is in target/bench")
    }

    /// Waits until it can sell.
    pub async fn until_ready(&mut self) -> anyhow::Result<Duration> {
        self.until_it_answers("/health/ready", "\"ok\"").await
    }

    /// Memory in MB: what it holds now, and the most that it ever held.
    pub fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
        };
        megabytes("VmRSS:").zip(megabytes("VmHWM:")).context("/proc tells no memory")
    }

    /// Seconds of processor time that it has used.
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // After the name, which may hold spaces; user and system time are the 14th and 15th field, in ticks of 10 ms.
        let (_, fields) = stat.rsplit_once(')').context("/proc tells no times")?;
        let ticks: Option<f64> =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().ok()).sum();
        Ok(ticks.context("/proc tells no times")? / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn answers(address: SocketAddr, request: &[u8], needle: &str) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    let answer = connection.ask(request).await;
    answer.is_ok_and(|(status, body)| status == 200 && String::from_utf8_lossy(body).contains(needle))
}

/// A port that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
