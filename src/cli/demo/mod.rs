//! `demo`: the whole story, over HTTP, on embedded parts. Nothing is faked beyond the simulated node's payer.

mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};

use super::agent;
use super::embedded::Embedded;
use super::output::print as say;
use crate::agent::Agent;
use crate::config::{self, Config, Egress};
use crate::domain::interface_name::InterfaceName;
use crate::domain::server::ServerId;
use crate::stop;
use world::World;

const API: &str = "/api/public/v1";
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Buys, pays and claims a subscription from a service that is started for it.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leaves out the QR codes, for a narrow terminal.
    #[arg(long)]
    no_qr: bool,
    /// With a real WireGuard server, a customer and a visitor, in network namespaces that vanish with the demo.
    #[arg(long)]
    wireguard: bool,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.wireguard && !world::is_inside() {
            let ended = world::enter()?;
            anyhow::ensure!(ended.success(), "the demo in its namespaces failed");
            return Ok(());
        }
        let folder = tempfile::tempdir().context("no temporary folder")?;
        say("Starting a simulated LND node (TLS, macaroon, regtest) and wiretoll on SQLite ...")?;
        if self.wireguard {
            self.with_wireguard(folder.path()).await?;
        } else {
            self.alone(folder.path()).await?;
        }
        say("\nThat is the main job. `wiretoll dev` keeps these parts running for your own client.")?;
        Ok(())
    }

    async fn alone(&self, folder: &Path) -> anyhow::Result<()> {
        let embedded = Embedded::start(folder, ANY_PORT, |_| {}).await?;
        let told = self.story(&embedded)?.tell().await;
        embedded.stop().await;
        told.map(drop)
    }

    async fn with_wireguard(&self, folder: &Path) -> anyhow::Result<()> {
        say("... and a WireGuard server with its agent, a customer's machine and the internet between them.")?;
        let _world = World::build()?;
        let settings = agent_settings(folder)?;
        let keep = settings.clone();
        let embedded = Embedded::start(folder, ANY_PORT, |config| serve_agent(config, keep)).await?;
        let (stopper, stop) = stop::channel();
        let mut agent = pin!(Agent::keep(&settings, stop));
        let story = self.story(&embedded)?;
        let told = tokio::select! {
            ended = &mut agent => ended.map_err(anyhow::Error::from),
            told = story.tell_with(folder) => {
                let ended = agent::end(&stopper, agent).await;
                told.and(ended.map_err(anyhow::Error::from))
            }
        };
        embedded.stop().await;
        told
    }

    fn story(&self, embedded: &Embedded) -> anyhow::Result<Story> {
        let base = format!("http://{}", embedded.service.address);
        Ok(Story { base, client: reqwest::Client::builder().no_proxy().build()?, qr: !self.no_qr })
    }
}

fn agent_settings(folder: &Path) -> anyhow::Result<config::Agent> {
    Ok(config::Agent {
        server: ServerId::parse("eu-de")?,
        socket: folder.join("agent.sock"),
        state_folder: folder.join("agent"),
        interface: InterfaceName::parse(world::INTERFACE)?,
        wan_interface: InterfaceName::parse(world::WAN)?,
        public_address: world::PUBLIC,
        public_address6: None,
        egress: Egress::default(),
    })
}

/// The server's key is the one that its agent makes.
fn serve_agent(config: &mut Config, agent: config::Agent) {
    for server in config.servers.iter_mut().filter(|server| server.id == agent.server) {
        server.public_key = None;
    }
    config.agent = Some(agent);
}

struct Story {
    base: String,
    client: reqwest::Client,
    qr: bool,
}

impl Story {
    /// With a customer who connects, and a visitor who comes through the public port.
    async fn tell_with(&self, folder: &Path) -> anyhow::Result<()> {
        self.wait_until_sold().await?;
        let claimed = self.tell().await?;
        let port = claimed.get("vpnPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let port = port.context("the answer has no vpnPort")?;
        say("\n7. Bring the config up at the customer. The server's peer:")?;
        let node = World::connect(text(&claimed, "config")?, folder)?;
        say(world::shown("wg show wg0")?)?;
        say(format_args!("\n8. Somebody on the internet dials {}:{port}:", world::PUBLIC))?;
        say(World::visit(node, port).await?)?;
        say("\n9. The kernel ends it on time, with or without us: the lease of the address.")?;
        say(world::shown("nft list set inet wgsub live4")?)
    }

    /// The server is sold from its agent's first word on.
    async fn wait_until_sold(&self) -> anyhow::Result<()> {
        for _ in 0..100 {
            let servers = self.client.get(self.url(&format!("{API}/servers"))).send().await?.text().await?;
            if servers.contains("eu-de") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the agent was not heard")
    }

    /// What the claim answered.
    async fn tell(&self) -> anyhow::Result<Value> {
        say("\n1. Which servers are for sale?")?;
        let servers = self.get(&format!("{API}/servers")).await?;
        say_json(&servers)?;

        say("\n2. Buy one month on eu-de. The invoice comes from the node, over gRPC.")?;
        let order =
            self.post(&format!("{API}/subscription/create"), &json!({ "serverId": "eu-de", "duration": 1 })).await?;
        say_json(&order)?;
        let (hash, invoice) = (text(&order, "paymentHash")?, text(&order, "invoice")?);
        self.say_qr(&invoice.to_uppercase(), "Scan it with a wallet (this one is worth nothing):")?;

        say("\n3. Is it paid?")?;
        say_json(&self.get(&format!("{API}/subscription/{hash}")).await?)?;

        say("\n4. Pay it, as a wallet would. The simulated node settles it.")?;
        say_json(&self.post("/dev/pay", &json!({ "invoice": invoice })).await?)?;

        say("\n5. Wait until wiretoll has seen the payment.")?;
        self.wait_until_paid(hash).await?;

        say("\n6. Claim the WireGuard config. The same claim gives the same config again.")?;
        let claim = json!({ "paymentHash": hash });
        let claimed = self.post(&format!("{API}/subscription/claim"), &claim).await?;
        let again = self.client.post(self.url(&format!("{API}/subscription/claim"))).json(&claim).send().await?;
        let again: Value = again.error_for_status()?.json().await?;
        let config = text(&claimed, "config")?;
        anyhow::ensure!(again.get("config") == claimed.get("config"), "the second claim gave another config");
        say(config)?;
        self.say_qr(config, "Scan it with the WireGuard app:")?;
        Ok(claimed)
    }

    /// Asks with `?wait=`, so that the answer comes when something changes.
    async fn wait_until_paid(&self, hash: &str) -> anyhow::Result<()> {
        for _ in 0..3 {
            let status = self.get(&format!("{API}/subscription/{hash}?wait=5")).await?;
            if status.get("status").and_then(Value::as_str) == Some("paid") {
                say_json(&status)?;
                return Ok(());
            }
        }
        anyhow::bail!("the payment was not seen")
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        say(format_args!("   curl -s '{}'", self.url(path)))?;
        answer(self.client.get(self.url(path)).send().await?).await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        say(format_args!("   curl -s '{}' -H 'Content-Type: application/json' -d '{body}'", self.url(path)))?;
        answer(self.client.post(self.url(path)).json(body).send().await?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn say_qr(&self, content: &str, caption: &str) -> anyhow::Result<()> {
        if self.qr {
            let code = QrCode::new(content).context("no QR code")?;
            say(format_args!("\n{caption}\n{}", code.render::<Dense1x2>().quiet_zone(true).build()))?;
        }
        Ok(())
    }
}

async fn answer(response: reqwest::Response) -> anyhow::Result<Value> {
    let status = response.status();
    let body: Value = response.json().await?;
    anyhow::ensure!(status.is_success(), "the answer was {status}: {body}");
    Ok(body)
}

fn text<'v>(body: &'v Value, key: &str) -> anyhow::Result<&'v str> {
    body.get(key).and_then(Value::as_str).with_context(|| format!("the answer has no {key}"))
}

fn say_json(body: &Value) -> anyhow::Result<()> {
    say(format_args!("{body:#}"))
}
