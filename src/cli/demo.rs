//! `demo`: the whole story, over HTTP, on embedded parts. Nothing is faked beyond the simulated node's payer.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};

use super::embedded::Embedded;
use super::output::print as say;

const API: &str = "/api/public/v1";

/// Buys, pays and claims a subscription from a service that is started for it.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leaves out the QR codes, for a narrow terminal.
    #[arg(long)]
    no_qr: bool,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        say("Starting a simulated LND node (TLS, macaroon, regtest) and wiretoll on SQLite ...")?;
        let embedded = Embedded::start(folder.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await?;
        let base = format!("http://{}", embedded.service.address);
        let story = Story { base, client: reqwest::Client::builder().no_proxy().build()?, qr: !self.no_qr };
        let told = story.tell().await;
        embedded.stop().await;
        told?;
        say("\nThat is the main job. `wiretoll dev` keeps these parts running for your own client.")?;
        Ok(())
    }
}

struct Story {
    base: String,
    client: reqwest::Client,
    qr: bool,
}

impl Story {
    async fn tell(&self) -> anyhow::Result<()> {
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
        self.say_qr(config, "Scan it with the WireGuard app:")
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
