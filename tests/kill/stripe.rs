//! The account at Stripe of a shop that is killed: customers pay on its pages, and it tells the shop until that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wiretoll::clock::Clock;

use crate::PATIENCE;
use crate::fake_stripe::{FakeStripe, SECRET, charge, dispute, dispute_event, event, signature};

/// Soon, where Stripe takes an hour.
const BEFORE_REPEAT: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Stripe {
    fake: FakeStripe,
    services: Arc<[SocketAddr]>,
    http: reqwest::Client,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// So many events were made.
    events: u64,
    /// The event of each payment, by the page's id: it is the same however often it is told.
    completed: BTreeMap<String, Value>,
    /// Events that the shop answered with 200.
    taken: BTreeSet<String>,
    /// By payment intent.
    went_back: BTreeMap<String, WentBack>,
}

/// What became of a payment afterwards.
#[derive(Debug, Clone, Default)]
pub struct WentBack {
    pub cents: i64,
    /// Each dispute with its status.
    pub disputes: BTreeMap<String, String>,
}

/// A page, with what was paid on it.
#[derive(Debug, Clone)]
pub struct Page {
    pub id: String,
    /// The order that it names.
    pub order: String,
    pub status: String,
    pub is_paid: bool,
    pub cents: i64,
    pub currency: String,
    pub is_live: bool,
    pub intent: Option<String>,
    pub url: Option<String>,
    pub went_back: WentBack,
}

impl Stripe {
    pub fn new(services: &[SocketAddr]) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        Self { fake: FakeStripe::start(), services: services.into(), http, told: Mutex::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.fake.address
    }

    /// Pages that are made from now on are over after so long.
    pub fn pages_last(&self, lasting: Duration) {
        self.fake.pages_last(lasting);
    }

    /// Pages that are made from now on are like this, whatever was asked for.
    pub fn makes_otherwise(&self, fields: &Value) {
        self.fake.makes_otherwise(fields);
    }

    /// The page of an order, once somebody paid on it; none where it was closed before.
    pub fn pay(&self, order: &str) -> Option<Value> {
        self.pay_with(order, &json!({}))
    }

    /// The same, of another amount than it asked for.
    pub fn pay_too_little(&self, order: &str) -> Option<Value> {
        self.pay_with(order, &json!({ "amount_total": 1 }))
    }

    fn pay_with(&self, order: &str, otherwise: &Value) -> Option<Value> {
        let session = self.fake.session_of(order);
        let paid = self.fake.pay_if_open(session["id"].as_str().unwrap(), otherwise);
        paid.or(Some(self.fake.session_of(order)).filter(|session| session["payment_status"] == "paid"))
    }

    /// Somebody paid with money where test cards are expected, on a page that the shop did not make.
    pub fn paid_elsewhere(&self, order: &str) -> Value {
        let mut session = crate::fake_stripe::paid(&self.fake.session_of(order));
        session["id"] = json!("cs_live_elsewhere");
        session["payment_intent"] = json!("pi_live_elsewhere");
        session["livemode"] = json!(true);
        self.fake.add(&session);
        session
    }

    /// The page ends, unless it was paid on.
    pub fn end(&self, order: &str) -> Value {
        let session = self.fake.session_of(order);
        self.fake.end_if_open(session["id"].as_str().unwrap());
        self.event("checkout.session.expired", &self.fake.session_of(order))
    }

    pub fn completed(&self, paid: &Value) -> Value {
        let id = paid["id"].as_str().unwrap().to_owned();
        if let Some(event) = self.told.lock().unwrap().completed.get(&id) {
            return event.clone();
        }
        let event = self.event("checkout.session.completed", paid);
        self.told.lock().unwrap().completed.entry(id).or_insert(event).clone()
    }

    /// So many cents of a payment were given back in all.
    pub fn refund(&self, paid: &Value, cents: i64) -> Value {
        self.goes_back(paid, |went_back| went_back.cents = went_back.cents.max(cents));
        self.event("charge.refunded", &charge(paid, u64::try_from(cents).unwrap()))
    }

    /// The bank asks for a payment, or has decided.
    pub fn dispute(&self, paid: &Value, status: &str) -> Value {
        let id = format!("dp_{}", paid["payment_intent"].as_str().unwrap());
        self.goes_back(paid, |went_back| drop(went_back.disputes.insert(id.clone(), status.to_owned())));
        self.event(dispute_event(status), &dispute(&id, paid, status))
    }

    fn goes_back(&self, paid: &Value, change: impl FnOnce(&mut WentBack)) {
        let intent = paid["payment_intent"].as_str().unwrap().to_owned();
        change(self.told.lock().unwrap().went_back.entry(intent).or_default());
    }

    fn event(&self, kind: &str, object: &Value) -> Value {
        let mut told = self.told.lock().unwrap();
        told.events += 1;
        event(&format!("evt_{}", told.events), kind, Clock::System.now(), object)
    }

    /// Tells of an event until it is taken, as Stripe does for three days.
    pub async fn tell(&self, event: &Value) {
        let began = Instant::now();
        while !self.is_taken(event).await {
            assert!(began.elapsed() < PATIENCE, "nobody takes {event}");
            sleep(BEFORE_REPEAT).await;
        }
        self.told.lock().unwrap().taken.insert(event["id"].as_str().unwrap().to_owned());
    }

    async fn is_taken(&self, event: &Value) -> bool {
        let body = serde_json::to_vec(event).unwrap();
        let header = signature(SECRET, &body, Clock::System.now());
        let service = self.services[fastrand::usize(..self.services.len())];
        let request = self.http.post(format!("http://{service}/v1/webhooks/stripe")).header("Stripe-Signature", header);
        match request.body(body).send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => true,
            // Killed meanwhile, or without its database.
            Ok(503) | Err(_) => false,
            Ok(status) => panic!("{status} for {event}"),
        }
    }

    /// Events that the shop has taken so far.
    pub fn taken(&self) -> BTreeSet<String> {
        self.told.lock().unwrap().taken.clone()
    }

    /// The shop's database was restored from before all of them.
    pub fn forget_taken(&self) {
        self.told.lock().unwrap().taken.clear();
    }

    pub fn pages(&self) -> Vec<Page> {
        let sessions = self.fake.sessions();
        let told = self.told.lock().unwrap();
        sessions.iter().map(|session| page(session, &told.went_back)).collect()
    }
}

fn page(session: &Value, went_back: &BTreeMap<String, WentBack>) -> Page {
    let text = |key: &str| session[key].as_str().map(str::to_owned);
    let intent = text("payment_intent");
    Page {
        id: text("id").unwrap(),
        order: text("client_reference_id").unwrap(),
        status: text("status").unwrap(),
        is_paid: session["payment_status"] == "paid",
        cents: session["amount_total"].as_i64().unwrap(),
        currency: text("currency").unwrap(),
        is_live: session["livemode"] == true,
        url: text("url"),
        went_back: intent.as_ref().and_then(|intent| went_back.get(intent)).cloned().unwrap_or_default(),
        intent,
    }
}
