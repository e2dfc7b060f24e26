//! A shop to buy from: the real service on a fresh database, beside a node.
//!
//! Most tests have a simulated node and a clock that they move; the suite for a real LND brings its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wiretoll::app::App;
use wiretoll::app::desired_peers::desired_peers;
use wiretoll::clock::Clock;
use wiretoll::config::{Config, Database, SecretText};
use wiretoll::domain::desired::Change;
use wiretoll::domain::event::{EventType, Subject};
use wiretoll::domain::keys::{PrivateKey, PublicKey};
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::order::Order;
use wiretoll::domain::server::ServerId;
use wiretoll::domain::settle_progress::Position;
use wiretoll::domain::time::Timestamp;
use wiretoll::lifecycle::{self, Running};
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::SimulatorSettings;
use wiretoll::store::Occupancy;

use crate::tunnel;

pub const API: &str = "/api/public/v1";

/// Which database a test runs on.
#[derive(Debug, Clone, Copy)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Writes each test once and runs it on both databases.
#[macro_export]
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test($crate::shop::On::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() {
                match $crate::shop::postgres_url() {
                    Some(_) => super::$test($crate::shop::On::Postgres).await,
                    None => eprintln!("not run: TEST_POSTGRES_URL is not set; ./scripts/test.sh sets it"),
                }
            })+
        }
    };
}

/// A node that a shop sells over, and somebody who pays it.
pub trait Node: Clone {
    /// The settings that lead to it.
    async fn settings(&self) -> [(&'static str, String); 3];

    /// The node itself, where it is a simulated one: its payer gets a route of its own.
    fn simulated(&self) -> Option<Simulator>;

    /// True when it succeeded.
    async fn pay(&self, invoice: &str) -> bool;
}

pub struct Shop<N = Simulator> {
    pub node: N,
    pub clock: Clock,
    pub config: Config,
    running: Option<Running>,
    resting: Option<App>,
    client: reqwest::Client,
    folder: Arc<TempDir>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

/// An order as a client knows it.
#[derive(Debug, Clone)]
pub struct Bought {
    pub hash: String,
    pub invoice: String,
    pub token: String,
    pub body: Value,
}

/// Two servers and two plans; addresses and credentials come from the node beside it.
const CONFIG: &str = include_str!("../../fixtures/shop.toml");

impl Shop {
    pub async fn open(on: On) -> Self {
        Self::open_with(on, |_| {}).await
    }

    /// A shop whose configuration is changed before it opens.
    pub async fn open_with(on: On, change: impl FnOnce(&mut Config)) -> Self {
        Self::open_beside(on, SimulatorSettings::default(), change).await
    }

    /// A shop beside a simulated node of other settings.
    pub async fn open_beside(on: On, node: SimulatorSettings, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = SimulatorSettings { data_dir: Some(folder.path().to_owned()), ..node };
        let node = Simulator::start(settings).await.unwrap();
        // Shown with a failure: the node's choices follow from it.
        eprintln!("the node's seed is {}", node.seed());
        let clock = Clock::manual(Timestamp::from_seconds(node.now_seconds()));
        let postgres = if matches!(on, On::Postgres) { Some(fresh_postgres().await) } else { None };
        let change = |config: &mut Config| {
            if let Some(url) = postgres {
                config.database = Database::Postgres(url);
            }
            change(config);
        };
        Self::open_over(node, clock, folder, change).await
    }

    /// Moves the service's clock and the node's.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(i64::try_from(by.as_millis()).unwrap());
        self.node.advance(by).await.unwrap();
    }
}

impl<N: Node> Shop<N> {
    /// A shop with its database in `folder`.
    pub async fn open_over(node: N, clock: Clock, folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(folder.path(), &node).await;
        // Tests ask more often than one customer would.
        config.limits.create.burst = 10_000;
        config.limits.check_per_hash.burst = 10_000;
        config.limits.claim.burst = 10_000;
        config.limits.status.burst = 10_000;
        config.limits.api_key.burst = 10_000;
        config.limits.failed_authentication.burst = 10_000;
        config.limits.webhook_calls.burst = 10_000;
        config.limits.open_orders = 10_000;
        change(&mut config);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut shop = Self { node, clock, config, running: None, resting: None, client, folder: Arc::new(folder) };
        shop.start().await;
        shop
    }

    /// Starts the service again on the same database, key and node.
    pub async fn start(&mut self) {
        self.launch().await;
        self.until_it_sells_and_follows(1).await;
    }

    /// Until a simulated node is followed, a payment would be found by the sweep, which moves no position.
    async fn until_it_sells_and_follows(&self, streams: usize) {
        self.until("the shop can sell and follows the node", || async {
            let followed = self.node.simulated().is_none_or(|node| node.subscribers() >= streams);
            self.app().health.payee().is_ok() && followed
        })
        .await;
    }

    /// Starts the service without waiting until it can sell.
    pub async fn launch(&mut self) {
        let running = Running::start(&self.config, self.clock.clone(), self.node.simulated()).await.unwrap();
        self.running = Some(running);
    }

    /// Stops the service and leaves what it is made of: nothing happens by itself any more.
    pub async fn rest(&mut self) {
        self.stop().await;
        let app = lifecycle::open(&self.config, self.clock.clone()).await.unwrap();
        app.health.saw(&app.node.info().await.unwrap(), app.shop.network);
        self.resting = Some(app);
    }

    /// Another process on the same database, key and node.
    pub async fn replica(&self) -> Self {
        let (node, clock, config) = (self.node.clone(), self.clock.clone(), self.config.clone());
        let (client, folder) = (self.client.clone(), self.folder.clone());
        let mut replica = Self { node, clock, config, running: None, resting: None, client, folder };
        replica.launch().await;
        replica.until_it_sells_and_follows(2).await;
        replica
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn app(&self) -> &App {
        let running = self.running.as_ref().map(|running| &running.app);
        running.or(self.resting.as_ref()).expect("the shop is open or rests")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().expect("the shop is open").address)
    }

    /// Where its metrics can be asked for.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.running.as_ref().expect("the shop is open").metrics_address
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::read(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        let reply = Reply::read(self.client.post(self.url(path)).json(&body).send().await.unwrap()).await;
        if path.ends_with("/claim") && reply.body["success"] == true {
            self.assert_it_connects(&reply.body).await;
        }
        reply
    }

    /// Every config that any test gets is used as its customer would use it.
    async fn assert_it_connects(&self, claimed: &Value) {
        let text = |pointer: &str| claimed.pointer(pointer).and_then(Value::as_str).unwrap();
        let id = ServerId::parse(text("/server/id")).unwrap();
        let update = desired_peers(self.app(), &id, None).await.unwrap().unwrap();
        let Change::Snapshot(whole) = update.change else { panic!("not all peers") };
        let peers = whole.checked().unwrap().peers.into_values().collect();
        let configured = self.app().shop.server(&id).unwrap();
        let endpoint = format!("{}:{}", configured.domain, configured.port);
        let key = private_key_of(&self.app().server_key(configured).unwrap());
        let server = tunnel::Server { key, endpoint, peers };
        let whole = match claimed.pointer("/peer/privateKey") {
            Some(_) => text("/config").to_owned(),
            None => filled_in(text("/config"), &PublicKey::parse(text("/peer/publicKey")).unwrap()),
        };
        tunnel::connect(&whole, &server).unwrap_or_else(|refusal| panic!("{refusal}\n{whole}"));
        // Where the node script looks for it (tests/it/clients/bash.rs).
        let forwarded: Vec<&str> = whole.lines().filter(|line| line.contains("Port Forwarding")).collect();
        assert_eq!(forwarded, [format!("# Port Forwarding: {}", claimed["vpnPort"])]);
        if let Some(picture) = claimed["configQr"].as_str() {
            assert_eq!(tunnel::qr::text_in(picture), text("/config"));
        }
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: Value) -> Reply {
        let request = self.client.post(self.url(path)).header("Idempotency-Key", key).json(&body);
        Reply::read(request.send().await.unwrap()).await
    }

    /// Any request, with these bytes and an `Authorization` header, or without.
    pub async fn send(
        &self,
        method: &reqwest::Method,
        path: &str,
        credential: Option<&str>,
        body: Option<&str>,
    ) -> Reply {
        let mut request = self.client.request(method.clone(), self.url(path));
        if let Some(credential) = credential {
            request = request.header("Authorization", credential);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        Reply::read(request.send().await.unwrap()).await
    }

    /// With an `Authorization` header.
    pub async fn get_as(&self, credential: &str, path: &str) -> Reply {
        Reply::read(self.client.get(self.url(path)).header("Authorization", credential).send().await.unwrap()).await
    }

    pub async fn post_as(&self, credential: &str, path: &str, body: Value) -> Reply {
        let request = self.client.post(self.url(path)).header("Authorization", credential).json(&body);
        Reply::read(request.send().await.unwrap()).await
    }

    /// As if a proxy had passed it on for a client at `address`.
    pub async fn post_from(&self, address: &str, path: &str, body: Value) -> Reply {
        let request = self.client.post(self.url(&format!("{API}/{path}"))).header("X-Forwarded-For", address);
        Reply::read(request.json(&body).send().await.unwrap()).await
    }

    pub async fn create_from(&self, address: &str) -> Reply {
        self.post_from(address, "subscription/create", json!({ "serverId": "eu-de", "duration": 1 })).await
    }

    pub async fn create(&self, body: Value) -> Reply {
        self.post(&format!("{API}/subscription/create"), body).await
    }

    pub async fn check(&self, hash: &str) -> Reply {
        self.get(&format!("{API}/subscription/{hash}")).await
    }

    pub async fn claim(&self, body: Value) -> Reply {
        self.post(&format!("{API}/subscription/claim"), body).await
    }

    pub async fn renew(&self, key: &str, months: u32) -> Reply {
        let body = json!({ "serverId": "eu-de", "duration": months, "wgPublicKey": key });
        self.post(&format!("{API}/subscription/renew"), body).await
    }

    pub async fn reset_bandwidth(&self, key: &str) -> Reply {
        let body = json!({ "serverId": "eu-de", "wgPublicKey": key });
        self.post(&format!("{API}/subscription/bandwidth-reset"), body).await
    }

    pub async fn status(&self, key: &str) -> Reply {
        self.post(&format!("{API}/subscription/status"), json!({ "wgPublicKey": key })).await
    }

    /// Orders one month on eu-de.
    pub async fn order(&self) -> Bought {
        self.order_with(json!({ "serverId": "eu-de", "duration": 1 })).await
    }

    pub async fn order_with(&self, body: Value) -> Bought {
        let reply = self.create(body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        Bought::from(reply.body)
    }

    /// Orders, pays, and waits until the service has seen it.
    pub async fn buy(&self) -> Bought {
        let order = self.order().await;
        self.pay(&order.invoice).await;
        self.until_paid(&order.hash).await;
        order
    }

    pub async fn buy_with(&self, body: Value) -> Bought {
        let order = self.order_with(body).await;
        self.pay(&order.invoice).await;
        self.until_paid(&order.hash).await;
        order
    }

    pub async fn pay(&self, invoice: &str) {
        assert!(Node::pay(&self.node, invoice).await, "the payment failed");
    }

    /// Waits, by polling as clients do, until the order is shown as paid.
    pub async fn until_paid(&self, hash: &str) -> Value {
        for _ in 0..20 {
            let reply = self.get(&format!("{API}/subscription/{hash}?wait=1")).await;
            if reply.body["status"] == "paid" {
                return reply.body;
            }
        }
        panic!("{hash} was never paid");
    }

    /// The order as the database has it, so that no poll heals what is to heal by itself.
    pub async fn stored(&self, order: &Bought) -> Order {
        self.app().store.order_by_payment_hash(order.payment_hash()).await.unwrap().unwrap()
    }

    pub async fn is_paid(&self, order: &Bought) -> bool {
        self.stored(order).await.is_paid()
    }

    /// The counts of eu-de.
    pub async fn occupancy(&self) -> Occupancy {
        let all = self.app().store.occupancy(self.clock.now()).await.unwrap();
        all.into_iter().find(|counts| counts.server.as_str() == "eu-de").unwrap()
    }

    /// How far the settlements of the node that is seen now are applied.
    pub async fn position(&self) -> Option<Position> {
        let node = self.app().health.identity().unwrap();
        self.app().store.cursor(node).await.unwrap()
    }

    pub async fn until_position(&self, settle_index: u64) {
        self.until("the position is there", || async {
            self.position().await.is_some_and(|position| position.settle_index == settle_index)
        })
        .await;
    }

    /// Asserts that a paid order gave one entitlement, by one payment of exactly its price, told of once.
    pub async fn assert_applied_once(&self, order: &Bought) {
        let (stored, store) = (self.stored(order).await, &self.app().store);
        let payments = store.payments_of(stored.id).await.unwrap();
        let amounts: Vec<_> = payments.iter().map(|payment| (payment.evidence.amount, payment.excess.get())).collect();
        assert_eq!(amounts, [(stored.price(), 0)]);
        assert_eq!(store.grants(stored.subscription_id.unwrap()).await.unwrap().len(), 1);
        let events = store.events_of(Subject::Order(stored.id)).await.unwrap();
        let paid = events.iter().filter(|event| event.event_type == EventType::OrderPaid.name());
        assert_eq!(paid.count(), 1);
    }

    /// Waits until something that happens by itself has happened.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut happened: impl FnMut() -> F) {
        for _ in 0..3_000 {
            if happened().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not happen in 60 s: {what}");
    }
}

impl Reply {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        Self { status, headers, body }
    }

    /// The customer's of this claim, whose key pair was made here; known to the test from then on.
    pub fn keep_pair(&self) -> PublicKey {
        a_public_key(PrivateKey::parse(self.body["peer"]["privateKey"].as_str().expect("a key made here")).unwrap())
    }

    /// The error's code, after checking that it is one.
    pub fn error(&self) -> &str {
        assert!(self.status >= 400, "{}", self.body);
        assert!(self.body["message"].is_string(), "{}", self.body);
        self.body["error"].as_str().expect("an error code")
    }
}

impl From<Value> for Bought {
    fn from(body: Value) -> Self {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        Self { hash: text("paymentHash"), invoice: text("invoice"), token: text("claimToken"), body: body.clone() }
    }
}

impl Bought {
    pub fn payment_hash(&self) -> PaymentHash {
        PaymentHash::parse(&self.hash).unwrap()
    }
}

impl Node for Simulator {
    async fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("WIRETOLL_LND__ADDRESS", format!("https://{}", self.address())),
            ("WIRETOLL_LND__CERTIFICATE_FILE", self.tls_certificate_path().unwrap().display().to_string()),
            ("WIRETOLL_LND__MACAROON", self.service_macaroon().await.unwrap().to_hex()),
        ]
    }

    fn simulated(&self) -> Option<Simulator> {
        Some(self.clone())
    }

    async fn pay(&self, invoice: &str) -> bool {
        matches!(self.pay(PaymentOrder::of(invoice)).await.unwrap(), PaymentOutcome::Settled { .. })
    }
}

async fn config(folder: &Path, node: &impl Node) -> Config {
    let listen = ("WIRETOLL_SERVICE__LISTEN", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string());
    let settings = node.settings().await.into_iter().chain([listen]).map(|(key, value)| (key.to_owned(), value));
    let mut config = Config::parse(CONFIG, folder, settings, Clock::System.now()).unwrap();
    for server in &mut config.servers {
        // The private keys of those in the file are nowhere.
        let seed = server.id.as_str().as_bytes()[0];
        server.public_key = Some(a_public_key(PrivateKey::from_random([seed; 32])));
    }
    config
}

pub fn postgres_url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok()
}

/// A database of its own for one test; the server that holds it is thrown away afterwards.
pub async fn fresh_postgres() -> SecretText {
    use sqlx::Connection as _;
    let url = postgres_url().expect("TEST_POSTGRES_URL");
    let name =
        format!("shop_{}", uuid::Uuid::from_u128(u128::from_le_bytes(wiretoll::random::bytes().unwrap())).simple());
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    SecretText::new(format!("{server}/{name}"))
}

/// The pairs that were made in this process, so that a config for a public key can be tried.
static PAIRS: Mutex<BTreeMap<PublicKey, PrivateKey>> = Mutex::new(BTreeMap::new());

/// A WireGuard public key that nobody else has.
pub fn a_key() -> String {
    let public = a_public_key(PrivateKey::from_random(wiretoll::random::bytes().unwrap()));
    public.to_string()
}

/// Of a pair whose owner a test plays.
pub fn a_public_key(private: PrivateKey) -> PublicKey {
    let public = private.public_key();
    PAIRS.lock().unwrap().insert(public, private);
    public
}

fn private_key_of(public: &PublicKey) -> PrivateKey {
    let found = PAIRS.lock().unwrap().get(public).cloned();
    found.expect("`a_key` or `a_public_key` makes the keys that a test uses")
}

/// What a customer with a key of their own does to the config.
fn filled_in(config: &str, public: &PublicKey) -> String {
    let line = "# PrivateKey = the private key of your wgPublicKey";
    assert!(config.contains(line), "{config}");
    config.replace(line, &format!("PrivateKey = {}", private_key_of(public).expose()))
}
