//! An operator's folder: a configuration, a macaroon, and a simulated node to sell for.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::SimulatorSettings;

const SHOP: &str = include_str!("../../fixtures/shop.toml");

/// What the README tells an operator to bake.
const PERMISSIONS: [&str; 3] = ["info:read", "invoices:read", "invoices:write"];

pub struct Place {
    pub folder: TempDir,
    pub node: Simulator,
}

impl Place {
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = SimulatorSettings { data_dir: Some(folder.path().join("node")), ..SimulatorSettings::default() };
        let node = Simulator::start(settings).await.unwrap();
        let place = Self { folder, node };
        place.write("wiretoll.toml", config(&place.node.address().to_string()));
        place.bake("7").await;
        place
    }

    pub async fn bake(&self, root_key_id: &str) {
        let macaroon = self.node.macaroon(root_key_id, &PERMISSIONS).await.unwrap();
        self.write("wiretoll.macaroon", macaroon.to_bytes());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub async fn pay(&self, order: &Value) {
        let outcome = self.node.pay(PaymentOrder::of(text(order, "invoice"))).await.unwrap();
        assert!(matches!(outcome, PaymentOutcome::Settled { .. }), "{outcome:?}");
    }
}

/// The shop, over the node at this address.
pub fn config(node: &str) -> String {
    let lnd = format!(
        "[lnd]\naddress = \"https://{node}\"\ncertificate_file = \"node/tls.cert\"\nmacaroon_file = \"wiretoll.macaroon\""
    );
    SHOP.replace("[lnd]", &lnd)
}

pub fn text<'v>(body: &'v Value, key: &str) -> &'v str {
    body[key].as_str().unwrap_or_else(|| panic!("no {key}: {body}"))
}
