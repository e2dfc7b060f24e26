//! A customer's app: it repeats what was not answered until it is, and remembers what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wiretoll::domain::time::Timestamp;

use crate::PATIENCE;

const API: &str = "/api/public/v1";
/// As the apps that exist do.
const TIMEOUT: Duration = Duration::from_secs(10);
const BEFORE_REPEAT: Duration = Duration::from_millis(100);

/// Knows every address of the shop, and the payer's.
pub struct Client {
    http: reqwest::Client,
    services: Arc<[SocketAddr]>,
    control: SocketAddr,
    chance: Mutex<fastrand::Rng>,
}

/// One wish to buy or to renew; whoever repeats it gets the same order.
pub struct Wish {
    path: &'static str,
    body: Value,
    key: String,
    /// What was answered first.
    answered: Mutex<Option<Order>>,
}

#[derive(Debug, Clone)]
pub struct Order {
    pub hash: String,
    pub invoice: String,
    pub msat: u64,
    pub expires_at: Timestamp,
}

/// A WireGuard config as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub hash: String,
    pub subscription: String,
    pub server: String,
    pub address: String,
    pub port: u64,
    pub public_key: String,
    pub preshared_key: String,
    pub private_key: Option<String>,
}

/// What came of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    Arrived,
    /// The invoice was closed before.
    Refused,
}

impl Wish {
    pub fn to_buy(server: &str, months: u32, public_key: Option<&str>, chance: &mut fastrand::Rng) -> Self {
        let body = json!({ "serverId": server, "duration": months, "wgPublicKey": public_key });
        Self::new("/subscription/create", body, chance)
    }

    pub fn to_renew(public_key: &str, months: u32, chance: &mut fastrand::Rng) -> Self {
        Self::new("/subscription/renew", json!({ "duration": months, "wgPublicKey": public_key }), chance)
    }

    pub fn to_reset(public_key: &str, chance: &mut fastrand::Rng) -> Self {
        Self::new("/subscription/bandwidth-reset", json!({ "wgPublicKey": public_key }), chance)
    }

    fn new(path: &'static str, body: Value, chance: &mut fastrand::Rng) -> Self {
        let key = uuid::Builder::from_random_bytes(chance.u128(..).to_be_bytes()).into_uuid();
        Self { path, body, key: key.to_string(), answered: Mutex::default() }
    }
}

impl Client {
    pub fn new(services: &[SocketAddr], control: SocketAddr, seed: u64) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        Self { http, services: services.into(), control, chance: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// The order of a wish; none where its server is sold out.
    ///
    /// The same wish gives the same order for as long as its invoice can be paid, and after it was.
    pub async fn order(&self, wish: &Wish) -> Option<Order> {
        let (status, body) = self.ask(|| self.post(wish.path, &wish.body).header("Idempotency-Key", &wish.key)).await;
        if status == 503 {
            return None;
        }
        assert_eq!(status, 200, "{body}");
        let order = Order {
            hash: text(&body, "paymentHash"),
            invoice: text(&body, "invoice"),
            msat: body["amountSats"].as_u64().unwrap() * 1000,
            expires_at: Timestamp::parse(&text(&body, "expiresAt")).unwrap(),
        };
        let before = wish.answered.lock().unwrap().replace(order.clone());
        if let Some(before) = before.filter(|before| before.hash != order.hash) {
            let closed = self.check(&before.hash).await["invoiceExpired"] == true;
            assert!(closed, "{} has two orders: {} and {}", wish.key, before.hash, order.hash);
        }
        Some(order)
    }

    /// Asks and goes away before the answer, as a phone in a tunnel does.
    pub async fn hang_up(&self, wish: &Wish, after: Duration) {
        let request = self.post(wish.path, &wish.body).header("Idempotency-Key", &wish.key);
        let _ = tokio::time::timeout(after, request.send()).await;
    }

    /// Pays so many millisatoshis, as often as it takes to know what came of it.
    pub async fn pay(&self, order: &Order, msat: u64) -> Payment {
        let began = Instant::now();
        loop {
            let request = self.control("/pay", &json!({ "invoice": order.invoice, "amount_msat": msat }));
            match outcome(request).await.as_deref() {
                Some("settled" | "already_settled") => return Payment::Arrived,
                Some("closed") => return Payment::Refused,
                other => assert!(began.elapsed() < PATIENCE, "{} could not be paid: {other:?}", order.hash),
            }
            sleep(BEFORE_REPEAT).await;
        }
    }

    /// Tells the node's control to do something; whether it did.
    pub async fn control_node(&self, path: &str, body: &Value) -> bool {
        self.control(path, body).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// What the shop says of an order.
    pub async fn check(&self, hash: &str) -> Value {
        let (status, body) = self.ask(|| self.get(&format!("/subscription/{hash}"))).await;
        assert_eq!(status, 200, "{hash}: {body}");
        body
    }

    /// Polls as clients do until the order is shown as paid.
    pub async fn until_paid(&self, hash: &str) {
        self.until(hash, |check| check["status"] == "paid").await;
    }

    /// Polls until the order is shown as expired.
    pub async fn until_expired(&self, hash: &str) {
        self.until(hash, |check| check["invoiceExpired"] == true).await;
    }

    async fn until(&self, hash: &str, reached: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let (status, body) = self.ask(|| self.get(&format!("/subscription/{hash}?wait=1"))).await;
            assert_eq!(status, 200, "{hash}: {body}");
            if reached(&body) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{hash} stays as it is: {body}");
        }
    }

    /// The config of a paid order; none where a refund is due.
    pub async fn claim(&self, hash: &str) -> Option<Config> {
        let claim = json!({ "paymentHash": hash });
        let (status, body) = self.ask(|| self.post("/subscription/claim", &claim)).await;
        if status == 503 {
            return None;
        }
        assert_eq!(status, 200, "{hash}: {body}");
        Some(Config {
            hash: hash.to_owned(),
            subscription: text(&body["subscription"], "id"),
            server: text(&body["server"], "id"),
            address: text(&body["peer"], "address"),
            port: body["vpnPort"].as_u64().unwrap(),
            public_key: text(&body["peer"], "publicKey"),
            preshared_key: text(&body["peer"], "presharedKey"),
            private_key: body["peer"]["privateKey"].as_str().map(str::to_owned),
        })
    }

    /// Repeats a request until it is answered: by what was asked for, by the client's mistake, or by "sold out" and
    /// "a refund is due", which no repetition changes.
    async fn ask(&self, request: impl Fn() -> reqwest::RequestBuilder) -> (u16, Value) {
        let began = Instant::now();
        loop {
            let answer = read(request()).await;
            match &answer {
                Some((503, body)) if !is_final(body) => {}
                // A mistake of ours, whenever we are killed.
                Some((500, body)) => panic!("{body}"),
                Some((status, body)) => return (*status, body.clone()),
                None => {}
            }
            assert!(began.elapsed() < PATIENCE, "no answer: {answer:?}");
            sleep(BEFORE_REPEAT).await;
        }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("http://{}{API}{path}", self.service()))
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("http://{}{API}{path}", self.service())).json(body)
    }

    fn control(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("http://{}{path}", self.control)).json(body)
    }

    /// Any of them, each time anew.
    fn service(&self) -> SocketAddr {
        *self.chance.lock().unwrap().choice(self.services.iter()).unwrap()
    }
}

fn is_final(body: &Value) -> bool {
    let message = body["message"].as_str().unwrap_or_default();
    message.contains("sold out") || message.contains("a refund is due")
}

/// None where the connection broke before the whole answer came.
async fn read(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let text = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"))))
}

async fn outcome(request: reqwest::RequestBuilder) -> Option<String> {
    let (_, body) = read(request).await?;
    body["status"].as_str().map(str::to_owned)
}

fn text(body: &Value, key: &str) -> String {
    body[key].as_str().unwrap_or_else(|| panic!("no {key}: {body}")).to_owned()
}

/// A WireGuard public key that nobody else has.
pub fn a_key(chance: &mut fastrand::Rng) -> String {
    let mut bytes = [0; 32];
    chance.fill(&mut bytes);
    wiretoll::domain::keys::PrivateKey::from_random(bytes).public_key().to_string()
}
