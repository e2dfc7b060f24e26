//! A claim on a server that an agent keeps: from its request until forward, lease and peer stand, and until that is known to
//! the service and so to the customer; and the same claim where nobody keeps the server. The floor is `wg set` by hand. All of
//! it on an empty server, and on one that has 10,000 customers already.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tokio::time::Instant;
use wiretoll::domain::instance_key::Keyring;
use wiretoll::domain::keys::PrivateKey;

use super::agent::{config, start, until};
use super::device::Device;
use super::figures::{Figures, Target, median, timed};
use super::peers::{bytes, wg};
use super::sales::sales;

const CLAIMS: u32 = 60;
const SOLD: Range<u16> = 1_000..11_000;
const FULL: &str = "a server with 10,000";
const FOLDER: &str = "/run/shop";
const INTERFACE: &str = "wgshop";
const BY_HAND: &str = "wgset";

/// Ends with its owner.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Shop {
    client: Client,
    api: String,
    pay: String,
    /// When the agent said that all stands.
    stands: Receiver<Instant>,
}

pub async fn measure(figures: &mut Figures) {
    std::fs::create_dir_all(FOLDER).expect("a folder");
    let _devices = [INTERFACE, BY_HAND].map(Device::make);
    let (shop, _programs) = open().await;
    claims_onto("an empty server", &shop, figures).await;
    shop.fill().await;
    claims_onto(FULL, &shop, figures).await;
}

async fn claims_onto(what: &str, shop: &Shop, figures: &mut Figures) {
    let (mut installed, mut known, mut unkept, mut by_hand) = (vec![], vec![], vec![], vec![]);
    for n in 0..CLAIMS {
        unkept.push(shop.claim("us-east").await.1);
        shop.stands.try_iter().for_each(drop);
        let (began, whole) = shop.claim("eu-de").await;
        // It was told before the claim was answered.
        installed.push(shop.stands.recv().expect("the agent said so").duration_since(began));
        known.push(whole);
        let key = PrivateKey::from_random(bytes(n, 5)).public_key().to_string();
        let set = async { wg(&["set", BY_HAND, "peer", &key, "allowed-ips", "10.99.0.2/32"]) };
        by_hand.push(timed(set).await.0);
    }
    let (by_hand, unkept) = (median(by_hand), median(unkept));
    let target = if what == FULL { Target::None } else { Target::MoreBy(1.0) };
    let name = |part: &str| format!("a claim onto {what}: {part}, beside `wg set`");
    figures.times(name("its request to installed"), median(installed), by_hand, &target);
    figures.times(name("its request to known and answered"), median(known), by_hand, &Target::None);
    figures.times(name("the same where nobody keeps the server"), unkept, by_hand, &Target::None);
}

/// Node, service and agent.
async fn open() -> (Shop, [Program; 3]) {
    let wiretoll = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wiretoll"));
        command.args(arguments).current_dir(FOLDER).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let node = ["simulator", "--listen", "127.0.0.1:10009", "--control", "127.0.0.1:10010", "--data-dir", "node"];
    let node = Program(wiretoll(&node).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the node starts"));
    let client = Client::builder().no_proxy().build().expect("a client");
    until_answered(&client, "http://127.0.0.1:10010/").await;
    let shop = include_str!("../../fixtures/shop.toml").replacen(
        "public_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n",
        "",
        1,
    );
    let shop = shop.replacen(
        "network = \"regtest\"",
        "network = \"regtest\"\naddress = \"https://127.0.0.1:10009\"\ncertificate_file = \"node/tls.cert\"\n\
         macaroon_file = \"node/wiretoll.macaroon\"",
        1,
    );
    // The lab's own interface has the usual port.
    let large = "port = 51999\nfirst_port = 20000\npool = \"10.64.0.0/18\"";
    let shop = shop.replacen("pool = \"10.9.0.0/24\"", large, 1);
    let limits = "[service]\nlisten = \"127.0.0.1:8080\"\n[limits]\nopen_orders = 1000\n\
        [limits.create]\nburst = 1000\n[limits.claim]\nburst = 1000\n";
    let text = format!("{shop}\n{limits}{}", config(FOLDER, INTERFACE));
    std::fs::write(format!("{FOLDER}/wiretoll.toml"), text).expect("a file");
    let mut service = wiretoll(&["serve", "--config", "wiretoll.toml"]).spawn().expect("the service starts");
    until(&mut service, "wiretoll listens");
    let mut agent = start(FOLDER, "debug");
    let stands = moments(&mut agent);
    let (api, pay) = ("http://127.0.0.1:8080/api/public/v1".into(), "http://127.0.0.1:10010/pay".into());
    let shop = Shop { client, api, pay, stands };
    shop.until_sold().await;
    (shop, [node, Program(service), Program(agent)])
}

/// When it said that the server has what it is to have; what else it says is thrown away.
fn moments(agent: &mut Child) -> Receiver<Instant> {
    let lines = BufReader::new(agent.stderr.take().expect("a pipe")).lines();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for _ in lines.map_while(Result::ok).filter(|line| line.contains("the server has what it is to have")) {
            let _ = sender.send(Instant::now());
        }
    });
    receiver
}

async fn until_answered(client: &Client, url: &str) {
    for _ in 0..600 {
        if client.get(url).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} does not answer");
}

impl Shop {
    /// Until the agent was heard and the node can be paid.
    async fn until_sold(&self) {
        for _ in 0..600 {
            let servers = self.client.get(format!("{}/servers", self.api)).send().await.expect("an answer");
            let servers: Value = servers.json().await.expect("JSON");
            let bought = self.post("subscription/create", &json!({ "serverId": "eu-de", "duration": 1 })).await;
            if servers.to_string().contains("eu-de") && bought["invoice"].is_string() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("eu-de is not sold");
    }

    /// When the claim of a paid order began, and how long it took.
    async fn claim(&self, server: &str) -> (Instant, Duration) {
        let order = self.post("subscription/create", &json!({ "serverId": server, "duration": 1 })).await;
        let invoice = json!({ "invoice": order["invoice"] });
        self.client.post(&self.pay).json(&invoice).send().await.expect("paid");
        let hash = order["paymentHash"].as_str().expect("a hash");
        let check = format!("{}/subscription/{hash}?wait=10", self.api);
        let paid: Value = self.client.get(check).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(paid["status"], "paid", "{paid}");
        let began = Instant::now();
        let (time, claimed) = timed(self.post("subscription/claim", &json!({ "paymentHash": hash }))).await;
        assert_eq!(claimed["isProvisioned"], true, "{claimed}");
        (began, time)
    }

    /// On the server, and on the interface that is kept by hand.
    async fn fill(&self) {
        let keys = std::fs::read_to_string(format!("{FOLDER}/instance.key")).expect("keys");
        let sql = sales("eu-de", SOLD, &Keyring::parse(&keys).expect("keys"));
        install_default_drivers();
        let mut database = AnyConnection::connect(&format!("sqlite://{FOLDER}/wiretoll.db")).await.expect("a database");
        let sql = format!("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; {sql}; COMMIT;");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.expect("sold");
        let shown = |words: &[&str]| {
            let output = Command::new("wg").args(words).output().expect("wg");
            String::from_utf8(output.stdout).expect("text")
        };
        while shown(&["show", INTERFACE, "peers"]).lines().count() < SOLD.len() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let conf = shown(&["showconf", INTERFACE]);
        let lines: Vec<&str> = conf.lines().filter(|line| !line.starts_with("ListenPort")).collect();
        std::fs::write("/run/full.conf", lines.join("\n")).expect("a file");
        wg(&["setconf", BY_HAND, "/run/full.conf"]);
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(format!("{}/{path}", self.api)).json(body).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }
}
