//! Stripe at the wire: sessions as its API has them, and events as its webhook sends them, in its published shapes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use actix_web::web::{self, Bytes, Data, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use wiretoll::domain::time::Timestamp;

pub const KEY: &str = "rk_test_51Fake";
pub const SECRET: &str = "whsec_fake";

/// An account at Stripe. It serves until it is dropped.
pub struct FakeStripe {
    pub address: std::net::SocketAddr,
    account: Data<Mutex<Account>>,
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Default)]
struct Account {
    sessions: BTreeMap<String, Value>,
    by_idempotency_key: BTreeMap<String, String>,
    is_down: bool,
    is_silent: bool,
}

pub fn fixture(name: &str) -> Value {
    let text = match name {
        "session" => include_str!("../../../fixtures/stripe/session.json"),
        "charge" => include_str!("../../../fixtures/stripe/charge.json"),
        "dispute" => include_str!("../../../fixtures/stripe/dispute.json"),
        _ => include_str!("../../../fixtures/stripe/event.json"),
    };
    serde_json::from_str(text).unwrap()
}

/// The body of an event about an object.
pub fn event(id: &str, kind: &str, at: Timestamp, object: &Value) -> Value {
    let mut event = fixture("event");
    event["id"] = json!(id);
    event["type"] = json!(kind);
    event["created"] = json!(at.millis() / 1000);
    event["data"]["object"] = object.clone();
    event
}

/// `Stripe-Signature` of a body.
pub fn signature(secret: &str, body: &[u8], at: Timestamp) -> String {
    let seconds = at.millis() / 1000;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

impl FakeStripe {
    pub fn start() -> Self {
        let account = Data::new(Mutex::new(Account::default()));
        let shared = account.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/v1/checkout/sessions", web::post().to(create))
                .route("/v1/checkout/sessions", web::get().to(list))
                .route("/v1/checkout/sessions/{id}", web::get().to(show))
                .route("/v1/checkout/sessions/{id}/expire", web::post().to(expire))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let mut serving = JoinSet::new();
        serving.spawn(server.run());
        Self { address, account, _serving: serving }
    }

    /// The session of an order.
    pub fn session_of(&self, order: &str) -> Value {
        let account = self.account.lock().unwrap();
        account.by_idempotency_key.get(order).map(|id| account.sessions[id].clone()).unwrap()
    }

    pub fn set(&self, id: &str, fields: &Value) -> Value {
        let mut account = self.account.lock().unwrap();
        let session = account.sessions.get_mut(id).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            session[name] = value.clone();
        }
        session.clone()
    }

    /// Somebody pays on the page.
    pub fn pay(&self, id: &str) -> Value {
        self.set(id, &payment_of(id))
    }

    pub fn go_down(&self, is_down: bool) {
        self.account.lock().unwrap().is_down = is_down;
    }

    /// From now on it takes questions about sessions, and answers none.
    pub fn fall_silent(&self) {
        self.account.lock().unwrap().is_silent = true;
    }
}

/// What a payment changes of a session.
fn payment_of(id: &str) -> Value {
    let intent = format!("pi_{}", id.trim_start_matches("cs_test_"));
    json!({ "status": "complete", "payment_status": "paid", "payment_intent": intent, "url": null })
}

/// A session as it is once somebody has paid.
pub fn paid(session: &Value) -> Value {
    let (mut paid, payment) = (session.clone(), payment_of(session["id"].as_str().unwrap()));
    for (name, value) in payment.as_object().unwrap() {
        paid[name] = value.clone();
    }
    paid
}

fn refusal(account: &Account, request: &HttpRequest) -> Option<HttpResponse> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if account.is_down {
        return Some(HttpResponse::ServiceUnavailable().json(error("api_error", "down")));
    }
    if header("authorization") != format!("Bearer {KEY}") || header("stripe-version").is_empty() {
        return Some(HttpResponse::Unauthorized().json(error("invalid_request_error", "Invalid API Key provided")));
    }
    None
}

fn error(kind: &str, message: &str) -> Value {
    json!({ "error": { "type": kind, "message": message } })
}

async fn create(account: Data<Mutex<Account>>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let mut account = account.lock().unwrap();
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    let key = request.headers().get("idempotency-key").unwrap().to_str().unwrap().to_owned();
    if let Some(id) = account.by_idempotency_key.get(&key) {
        return HttpResponse::Ok().json(&account.sessions[id]);
    }
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let id = format!("cs_test_{}", key.replace('-', ""));
    let mut session = fixture("session");
    session["id"] = json!(id);
    session["url"] = json!(format!("https://checkout.stripe.com/c/pay/{id}"));
    session["client_reference_id"] = json!(form["client_reference_id"]);
    session["metadata"] = json!({ "wiretoll_order": form["metadata[wiretoll_order]"] });
    assert_eq!(form["payment_intent_data[metadata][wiretoll_order]"], form["client_reference_id"]);
    assert_eq!((form["mode"].as_str(), form["payment_method_types[0]"].as_str()), ("payment", "card"));
    let amount: u64 = form["line_items[0][price_data][unit_amount]"].parse().unwrap();
    session["amount_total"] = json!(amount);
    session["expires_at"] = json!(form["expires_at"].parse::<i64>().unwrap());
    account.by_idempotency_key.insert(key, id.clone());
    account.sessions.insert(id, session.clone());
    HttpResponse::Ok().json(session)
}

async fn show(account: Data<Mutex<Account>>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    if account.lock().unwrap().is_silent {
        std::future::pending::<()>().await;
    }
    let account = account.lock().unwrap();
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    match account.sessions.get(&*id) {
        Some(session) => HttpResponse::Ok().json(session),
        None => HttpResponse::NotFound().json(error("invalid_request_error", "No such checkout.session")),
    }
}

async fn list(
    account: Data<Mutex<Account>>,
    request: HttpRequest,
    query: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    let account = account.lock().unwrap();
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    let of_it = |session: &&Value| session["payment_intent"] == json!(query["payment_intent"]);
    let found: Vec<_> = account.sessions.values().filter(of_it).collect();
    HttpResponse::Ok().json(json!({ "object": "list", "has_more": false, "data": found }))
}

async fn expire(account: Data<Mutex<Account>>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let mut account = account.lock().unwrap();
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    match account.sessions.get_mut(&*id) {
        Some(session) if session["status"] == "open" => {
            session["status"] = json!("expired");
            session["url"] = Value::Null;
            HttpResponse::Ok().json(&*session)
        }
        _ => HttpResponse::BadRequest()
            .json(error("invalid_request_error", "Only Checkout Sessions with a status in [\"open\"] can be expired.")),
    }
}
