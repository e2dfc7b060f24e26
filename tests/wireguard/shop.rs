//! The real service, the real agent and a simulated node, as processes on the lab's server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use wiretoll::config::Database;
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::order::Order;
use wiretoll::domain::subscription::Standing;
use wiretoll::domain::time::Timestamp;
use wiretoll::store::Store;

use crate::process::{Process, command};

const API: &str = "http://127.0.0.1:8080/api/public/v1";
const NODE: &str = "http://127.0.0.1:10010";
const PATIENCE: usize = 600;
const MOMENT: Duration = Duration::from_millis(20);

pub struct Shop {
    client: Client,
    service: Option<Process>,
    agent: Option<Process>,
    _node: Process,
    folder: TempDir,
}

impl Shop {
    /// All three run, and eu-de is sold: its key is the one that the agent made.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let node = ["simulator", "--listen", "127.0.0.1:10009", "--control", "127.0.0.1:10010", "--data-dir", "node"];
        let node = Process::start(command("wiretoll", folder.path()).args(node));
        node.says("control");
        std::fs::write(folder.path().join("wiretoll.toml"), config()).unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let mut shop = Self { client, service: None, agent: None, _node: node, folder };
        shop.start_service();
        shop.start_agent();
        shop.until_sold().await;
        shop
    }

    pub fn start_service(&mut self) {
        let service = Process::start(self.wiretoll(&["serve", "--config", "wiretoll.toml"]));
        service.says("wiretoll listens");
        self.service = Some(service);
    }

    pub fn start_agent(&mut self) {
        self.agent = Some(Process::start(self.wiretoll(&["agent", "--config", "wiretoll.toml"])));
    }

    /// The agent that runs.
    pub fn agent(&self) -> &Process {
        self.agent.as_ref().unwrap()
    }

    /// As `kill -9` does.
    pub fn kill_service(&mut self) {
        self.service = None;
    }

    /// As `kill -9` does.
    pub fn kill_agent(&mut self) {
        self.agent = None;
    }

    pub fn wiretoll(&self, arguments: &[&str]) -> &'static mut Command {
        let mut wiretoll = command("wiretoll", self.folder.path());
        wiretoll.args(arguments);
        Box::leak(Box::new(wiretoll))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn until_sold(&self) {
        for _ in 0..PATIENCE {
            let bought = self.post("subscription/create", &json!({ "serverId": "eu-de", "duration": 1 })).await;
            if bought["invoice"].is_string() {
                self.settle(&bought).await;
                return;
            }
            tokio::time::sleep(MOMENT).await;
        }
        panic!("eu-de is not sold");
    }

    /// A month, paid, for a customer's own key; the payment hash.
    pub async fn buy(&self, key: PublicKey) -> String {
        let wanted = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key.to_string() });
        self.settle(&self.post("subscription/create", &wanted).await).await
    }

    pub async fn renew(&self, key: PublicKey) -> String {
        let wanted = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key.to_string() });
        self.settle(&self.post("subscription/renew", &wanted).await).await
    }

    async fn settle(&self, bought: &Value) -> String {
        let pay = self.client.post(format!("{NODE}/pay")).json(&json!({ "invoice": bought["invoice"] }));
        assert!(pay.send().await.unwrap().status().is_success());
        let hash = bought["paymentHash"].as_str().unwrap().to_owned();
        let check = format!("{API}/subscription/{hash}?wait=10");
        let paid: Value = self.client.get(check).send().await.unwrap().json().await.unwrap();
        assert_eq!(paid["status"], "paid", "{paid}");
        hash
    }

    pub async fn claim(&self, hash: &str) -> Value {
        self.post("subscription/claim", &json!({ "paymentHash": hash, "options": { "ipv6": true } })).await
    }

    pub async fn is_provisioned(&self, hash: &str) -> bool {
        let check = format!("{API}/subscription/{hash}");
        let checked: Value = self.client.get(check).send().await.unwrap().json().await.unwrap();
        checked["isProvisioned"].as_bool().unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.client.post(format!("{API}/{path}")).json(body).send().await.unwrap().json().await.unwrap()
    }

    /// Ends what an order bought so long from now, as if it had been bought a month ago; the agent is told.
    pub async fn end_in(&self, hash: &str, left: Duration) {
        let store = self.store().await;
        let order = order(&store, hash).await;
        let mut tx = store.begin().await.unwrap();
        let end = now().plus_millis(i64::try_from(left.as_millis()).unwrap());
        tx.set_end(order.subscription_id.unwrap(), end, Standing::Held).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
    }

    /// The database, beside the service.
    pub async fn store(&self) -> Store {
        Store::connect(&Database::Sqlite(self.path("wiretoll.db"))).await.unwrap()
    }
}

pub async fn order(store: &Store, hash: &str) -> Order {
    store.order_by_payment_hash(PaymentHash::parse(hash).unwrap()).await.unwrap().unwrap()
}

pub fn now() -> Timestamp {
    wiretoll::clock::Clock::System.now()
}

/// Traffic ends with the subscription; one server, on this machine.
fn config() -> String {
    let limits: String = ["create", "check_per_hash", "check", "claim", "status"]
        .map(|limit| format!("[limits.{limit}]\nburst = 100000\nper_minute = 100000\n"))
        .concat();
    format!(
        r#"
[service]
listen = "127.0.0.1:8080"
[lnd]
address = "https://127.0.0.1:10009"
certificate_file = "node/tls.cert"
macaroon_file = "node/wiretoll.macaroon"
network = "regtest"
[holds]
grace = "0s"
{limits}
[[plans]]
months = 1
sats = 4500
[[servers]]
id = "eu-de"
country = "Germany"
city = "Nuremberg"
flag = "🇩🇪"
domain = "de1.example.net"
pool = "10.9.0.0/21"
pool6 = "fd66::/64"
[agent]
server = "eu-de"
wan_interface = "wan0"
public_address = "203.0.113.1"
public_address6 = "2001:db8:1::1"
"#
    )
}
