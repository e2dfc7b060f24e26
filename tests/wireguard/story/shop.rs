//! A shop on the lab's server as its operator runs it: a simulated node, the service, and the agent beside it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Sold, ask};
use super::until;
use crate::lab::{LISTEN_PORT, Lab, PUBLIC, PUBLIC6, Place};
use crate::process::{Process, command};

pub const FIRST_PORT: u16 = 35_000;
const API: &str = "/api/public/v1/subscription";
const API_PORT: u16 = 8_080;

pub struct Shop {
    folder: TempDir,
    _node: Process,
    /// Where the simulated node is told to pay.
    control: SocketAddr,
    pub service: Option<Process>,
    pub agent: Option<Process>,
}

impl Shop {
    /// Service and agent as two processes, and the agent heard once.
    pub async fn open(lab: &Lab) -> Self {
        let mut shop = Self::prepare(lab);
        shop.start_service();
        shop.start_agent().await;
        shop
    }

    /// The service keeps the server itself.
    pub async fn open_in_one(lab: &Lab) -> Self {
        let mut shop = Self::prepare(lab);
        shop.service = Some(shop.run_service(&["serve", "--with-agent"]));
        shop.until_applied().await;
        shop
    }

    /// With the key of the lab's interface, which the operator set up before.
    pub fn prepare(lab: &Lab) -> Self {
        let folder = TempDir::new_in("/run").unwrap();
        let mut simulator = command("wiretoll", folder.path());
        simulator.args(["simulator", "--data-dir", "node", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        let node = Process::start(&mut simulator);
        let grpc = node.says("gRPC         https://");
        let control = node.says("control      http://").parse().unwrap();
        std::fs::write(folder.path().join("wiretoll.toml"), config(&grpc)).unwrap();
        let shop = Self { folder, _node: node, control, service: None, agent: None };
        std::fs::write(shop.path("key"), lab.private_key.expose()).unwrap();
        assert_eq!(shop.wiretoll(&["agent", "key", "import", "key"]).0, Some(0));
        shop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command to its end: its exit code, and what it said.
    pub fn wiretoll(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = command("wiretoll", self.folder.path()).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.code(), said)
    }

    /// What the operator does to a subscription; what was told.
    pub fn operate(&self, verb: &str, sold: &Sold, arguments: &[&str]) -> String {
        let words = [&["subscription", verb, &sold.public_key, "--note", "a test"], arguments].concat();
        let (code, said) = self.wiretoll(&words);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    pub fn start_service(&mut self) {
        self.service = Some(self.run_service(&["serve"]));
    }

    fn run_service(&self, arguments: &[&str]) -> Process {
        let service = Process::start(command("wiretoll", self.folder.path()).args(arguments));
        service.says("wiretoll listens");
        service
    }

    /// As it starts when nobody waits for it.
    pub fn spawn_agent(&mut self) {
        self.agent = Some(self.run_agent(&[]));
    }

    pub fn run_agent(&self, arguments: &[&str]) -> Process {
        Process::start(command("wiretoll", self.folder.path()).arg("agent").args(arguments))
    }

    pub async fn start_agent(&mut self) {
        self.spawn_agent();
        self.until_applied().await;
    }

    /// Until the server has everything, by its agent's word.
    pub async fn until_applied(&self) {
        until("the agent has applied everything", async || {
            self.number("SELECT count(*) FROM servers WHERE applied_revision = peer_revision").await == 1
        })
        .await;
    }

    /// From outside, as customers do.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        ask(Place::Visitor, API_PORT, "POST", &format!("{API}/{path}"), body).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        ask(Place::Visitor, API_PORT, "GET", &format!("{API}/{path}"), &Value::Null).await
    }

    /// An order that is paid, by its hash.
    pub async fn buy(&self) -> String {
        let (status, order) = self.post("create", &json!({ "serverId": "eu-de", "duration": 1 })).await;
        assert_eq!(status, 200, "{order}");
        self.pay(&order).await
    }

    pub async fn pay(&self, order: &Value) -> String {
        self.settle(order).await;
        let hash = order["paymentHash"].as_str().unwrap().to_owned();
        until("the order is paid", async || self.get(&hash).await.1["status"] == "paid").await;
        hash
    }

    /// The node has the money, whatever the service makes of it.
    pub async fn settle(&self, order: &Value) {
        let invoice = json!({ "invoice": order["invoice"] });
        let (status, paid) = ask(Place::Server, self.control.port(), "POST", "/pay", &invoice).await;
        assert_eq!((status, paid["status"].as_str()), (200, Some("settled")), "{paid}");
    }

    pub async fn claim(&self, hash: &str) -> Sold {
        self.claim_with(hash, &json!({ "ipv6": true })).await
    }

    pub async fn claim_with(&self, hash: &str, options: &Value) -> Sold {
        let (status, claim) = self.post("claim", &json!({ "paymentHash": hash, "options": options })).await;
        assert_eq!(status, 200, "{claim}");
        Sold::read(hash, &claim)
    }

    pub async fn sell(&self) -> Sold {
        self.claim(&self.buy().await).await
    }

    pub async fn renew(&self, sold: &Sold) {
        let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": sold.public_key });
        let (status, order) = self.post("renew", &body).await;
        assert_eq!(status, 200, "{order}");
        self.pay(&order).await;
    }
}

fn config(node: &str) -> String {
    format!(
        "[service]\nlisten = \"{PUBLIC}:{API_PORT}\"\n\
         [lnd]\naddress = \"https://{node}\"\ncertificate_file = \"node/tls.cert\"\n\
         macaroon_file = \"node/wiretoll.macaroon\"\nnetwork = \"regtest\"\n\
         [holds]\ngrace = \"0s\"\n\
         [limits.create]\nburst = 100\nper_minute = 1000\n\
         [[plans]]\nmonths = 1\nsats = 4500\n\
         [[servers]]\nid = \"eu-de\"\ncountry = \"Germany\"\ncity = \"Nuremberg\"\nflag = \"🇩🇪\"\n\
         domain = \"{PUBLIC}\"\nport = {LISTEN_PORT}\npool = \"10.9.0.0/19\"\npool6 = \"fd66::/64\"\n\
         first_port = {FIRST_PORT}\n\
         [agent]\nserver = \"eu-de\"\ninterface = \"wg0\"\nwan_interface = \"wan0\"\n\
         public_address = \"{PUBLIC}\"\npublic_address6 = \"{PUBLIC6}\"\nthrottled_kbit_per_second = 2000\n"
    )
}
