//! A customer's app: it repeats what was not answered until it is, and remembers what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wiretoll::domain::time::Timestamp;

use crate::PATIENCE;
use crate::stripe::Stripe;

const API: &str = "/api/public/v1";
/// As the apps that exist do.
const TIMEOUT: Duration = Duration::from_secs(10);
const BEFORE_REPEAT: Duration = Duration::from_millis(100);

/// Knows every address of the shop, and the payer's.
pub struct Client {
    http: reqwest::Client,
    services: Arc<[SocketAddr]>,
    control: SocketAddr,
    pub stripe: Arc<Stripe>,
    chance: Mutex<fastrand::Rng>,
}

/// One wish to buy or to renew; whoever repeats it gets the same order.
pub struct Wish {
    path: &'static str,
    body: Value,
    key: String,
    /// An account's key, for whoever has one.
    credential: Option<String>,
    /// What was answered first.
    answered: Mutex<Option<Order>>,
}

#[derive(Debug, Clone)]
pub struct Order {
    /// What it goes by: the payment hash, or where a card pays its id.
    pub name: String,
    pub bill: Bill,
    pub expires_at: Timestamp,
    /// Proves a claim where a card paid.
    pub token: Option<String>,
}

/// How an order is paid.
#[derive(Debug, Clone)]
pub enum Bill {
    Invoice {
        text: String,
        msat: u64,
    },
    /// At Stripe.
    Page,
}

/// A WireGuard config as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub order: String,
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
        Self { path, body, key: key.to_string(), credential: None, answered: Mutex::default() }
    }

    pub fn by_card(mut self) -> Self {
        self.body["paymentMethod"] = json!("card");
        self
    }

    /// Who told them of the shop.
    pub fn naming(mut self, code: &str) -> Self {
        self.body["referralCode"] = json!(code);
        self
    }

    /// With the key of an account.
    pub fn of(mut self, key: &str) -> Self {
        self.credential = Some(format!("Bearer {key}"));
        self
    }
}

impl Order {
    pub fn is_by_card(&self) -> bool {
        matches!(self.bill, Bill::Page)
    }

    /// The price on Lightning.
    pub fn msat(&self) -> u64 {
        match self.bill {
            Bill::Invoice { msat, .. } => msat,
            Bill::Page => panic!("{} is paid by card", self.name),
        }
    }

    fn from(body: &Value) -> Self {
        let token = body["claimToken"].as_str().map(str::to_owned);
        let expires_at = Timestamp::parse(&text(body, "expiresAt")).unwrap();
        if body["amountCents"].is_null() {
            let msat = body["amountSats"].as_u64().unwrap() * 1000;
            let bill = Bill::Invoice { text: text(body, "invoice"), msat };
            return Self { name: text(body, "paymentHash"), bill, expires_at, token };
        }
        let id = body["orderId"].as_str().or(body["renewalId"].as_str()).unwrap_or_else(|| panic!("no id: {body}"));
        Self { name: id.to_owned(), bill: Bill::Page, expires_at, token }
    }
}

impl Client {
    pub fn new(services: &[SocketAddr], control: SocketAddr, stripe: Arc<Stripe>, seed: u64) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        Self { http, services: services.into(), control, stripe, chance: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// The order of a wish; none where its server is sold out.
    ///
    /// The same wish gives the same order for as long as its invoice can be paid, and after it was.
    pub async fn order(&self, wish: &Wish) -> Option<Order> {
        let (status, body) = self.ask(|| self.wish(wish)).await;
        if status == 503 {
            return None;
        }
        assert_eq!(status, 200, "{body}");
        let mut order = Order::from(&body);
        let before = wish.answered.lock().unwrap().replace(order.clone());
        let Some(before) = before else { return Some(order) };
        if before.name != order.name {
            let closed = self.check(&before.name).await["invoiceExpired"] == true;
            assert!(closed, "{} has two orders: {} and {}", wish.key, before.name, order.name);
        } else if order.token.is_none() {
            // It is shown until the order is paid.
            order.token = before.token;
            *wish.answered.lock().unwrap() = Some(order.clone());
        }
        Some(order)
    }

    fn wish(&self, wish: &Wish) -> reqwest::RequestBuilder {
        let request = self.post(wish.path, &wish.body).header("Idempotency-Key", &wish.key);
        match &wish.credential {
            Some(credential) => request.header("Authorization", credential),
            None => request,
        }
    }

    /// Makes the referral code of an account.
    pub async fn referral_code(&self, key: &str) -> String {
        let request = || {
            let request = self.http.post(format!("http://{}/api/referral/create", self.service())).json(&json!({}));
            request.header("Authorization", format!("Bearer {key}"))
        };
        let (status, body) = self.ask(request).await;
        assert_eq!(status, 200, "{body}");
        text(&body, "code")
    }

    /// Asks and goes away before the answer, as a phone in a tunnel does.
    pub async fn hang_up(&self, wish: &Wish, after: Duration) {
        let _ = tokio::time::timeout(after, self.wish(wish).send()).await;
    }

    /// Pays so many millisatoshis, as often as it takes to know what came of it.
    pub async fn pay(&self, order: &Order, msat: u64) -> Payment {
        let began = Instant::now();
        let Bill::Invoice { text, .. } = &order.bill else { panic!("{} is paid by card", order.name) };
        loop {
            let request = self.control("/pay", &json!({ "invoice": text, "amount_msat": msat }));
            match outcome(request).await.as_deref() {
                Some("settled" | "already_settled") => return Payment::Arrived,
                Some("closed") => return Payment::Refused,
                other => assert!(began.elapsed() < PATIENCE, "{} could not be paid: {other:?}", order.name),
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
    pub async fn claim(&self, order: &Order) -> Option<Config> {
        let claim = match order.bill {
            Bill::Invoice { .. } => json!({ "paymentHash": order.name }),
            Bill::Page => json!({ "orderId": order.name, "claimToken": order.token }),
        };
        let (status, body) = self.ask(|| self.post("/subscription/claim", &claim)).await;
        if status == 503 {
            return None;
        }
        assert_eq!(status, 200, "{}: {body}", order.name);
        Some(Config {
            order: order.name.clone(),
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
