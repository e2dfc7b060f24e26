//! Stripe at the wire: sessions as its API has them, and events as its webhook sends them, in its published shapes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use actix_web::web::{self, Bytes, Data, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use wiretoll::clock::Clock;
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
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Account {
    sessions: BTreeMap<String, Value>,
    /// Each key with its first answer, which is repeated as it was.
    by_idempotency_key: BTreeMap<String, Value>,
    is_down: bool,
    is_silent: bool,
    makes_nothing: bool,
    /// What its pages differ in from what they were asked for.
    otherwise: Value,
    /// How long they last, whatever was asked for.
    pages_last: Option<Duration>,
    /// Somebody asked for a list.
    was_searched: bool,
}

pub fn fixture(name: &str) -> Value {
    let text = match name {
        "session" => include_str!("../../fixtures/stripe/session.json"),
        "charge" => include_str!("../../fixtures/stripe/charge.json"),
        "dispute" => include_str!("../../fixtures/stripe/dispute.json"),
        _ => include_str!("../../fixtures/stripe/event.json"),
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
        let id = account.by_idempotency_key[order]["id"].as_str().unwrap();
        account.sessions[id].clone()
    }

    pub fn set(&self, id: &str, fields: &Value) -> Value {
        let mut account = self.account.lock().unwrap();
        let session = account.sessions.get_mut(id).unwrap();
        set(session, fields);
        session.clone()
    }

    /// Somebody pays on the page.
    pub fn pay(&self, id: &str) -> Value {
        self.set(id, &payment_of(id))
    }

    /// The same where the page is still open, with what differs from what it asked for.
    pub fn pay_if_open(&self, id: &str, otherwise: &Value) -> Option<Value> {
        let mut account = self.account.lock().unwrap();
        let session = account.sessions.get_mut(id).filter(|session| session["status"] == "open")?;
        *session = paid(session);
        set(session, otherwise);
        Some(session.clone())
    }

    /// The page's time is over, unless somebody has paid.
    pub fn end_if_open(&self, id: &str) {
        let mut account = self.account.lock().unwrap();
        if let Some(session) = account.sessions.get_mut(id).filter(|session| session["status"] == "open") {
            end(session);
        }
    }

    pub fn was_searched(&self) -> bool {
        self.account.lock().unwrap().was_searched
    }

    /// A page that nobody asked for by this API.
    pub fn add(&self, session: &Value) {
        let id = session["id"].as_str().unwrap().to_owned();
        self.account.lock().unwrap().sessions.insert(id, session.clone());
    }

    pub fn sessions(&self) -> Vec<Value> {
        self.account.lock().unwrap().sessions.values().cloned().collect()
    }

    /// Pages that are made from now on are over after so long by the system's clock.
    pub fn pages_last(&self, lasting: Duration) {
        self.account.lock().unwrap().pages_last = Some(lasting);
    }

    /// Pages that are made from now on are like this, whatever was asked for.
    pub fn makes_otherwise(&self, fields: &Value) {
        self.account.lock().unwrap().otherwise = fields.clone();
    }

    /// Whether it breaks where a page is to be made.
    pub fn makes_nothing(&self, makes_nothing: bool) {
        self.account.lock().unwrap().makes_nothing = makes_nothing;
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
    let mut paid = session.clone();
    set(&mut paid, &payment_of(session["id"].as_str().unwrap()));
    paid
}

fn set(session: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        session[name] = value.clone();
    }
}

fn end(session: &mut Value) {
    session["status"] = json!("expired");
    session["url"] = Value::Null;
}

/// The charge of a payment on a page, of which so many cents were given back.
pub fn charge(paid: &Value, cents: u64) -> Value {
    let mut charge = fixture("charge");
    charge["payment_intent"] = paid["payment_intent"].clone();
    charge["amount"] = paid["amount_total"].clone();
    charge["amount_refunded"] = json!(cents);
    charge["refunded"] = json!(paid["amount_total"] == json!(cents));
    charge
}

/// A dispute of a payment on a page.
pub fn dispute(id: &str, paid: &Value, status: &str) -> Value {
    let mut dispute = fixture("dispute");
    dispute["id"] = json!(id);
    dispute["payment_intent"] = paid["payment_intent"].clone();
    dispute["status"] = json!(status);
    dispute
}

/// The type of the event that tells of a dispute.
pub fn dispute_event(status: &str) -> &'static str {
    if status == "needs_response" { "charge.dispute.created" } else { "charge.dispute.closed" }
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
    if account.makes_nothing {
        return HttpResponse::InternalServerError().json(error("api_error", "broken"));
    }
    let key = request.headers().get("idempotency-key").unwrap().to_str().unwrap().to_owned();
    if let Some(first) = account.by_idempotency_key.get(&key) {
        return HttpResponse::Ok().json(first);
    }
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let id = format!("cs_test_{}", key.replace('-', ""));
    let mut session = fixture("session");
    session["id"] = json!(id);
    session["url"] = json!(format!("https://checkout.stripe.com/c/pay/{id}"));
    session["client_reference_id"] = json!(form["client_reference_id"]);
    session["metadata"] =
        json!({ "wiretoll_order": form["metadata[wiretoll_order]"], "wiretoll_key": form["metadata[wiretoll_key]"] });
    assert_eq!(form["payment_intent_data[metadata][wiretoll_order]"], form["client_reference_id"]);
    assert_eq!((form["mode"].as_str(), form["payment_method_types[0]"].as_str()), ("payment", "card"));
    let amount: u64 = form["line_items[0][price_data][unit_amount]"].parse().unwrap();
    session["amount_total"] = json!(amount);
    let expires_at: i64 = form["expires_at"].parse().unwrap();
    session["expires_at"] = json!(expires_at);
    // The clock of those who ask may stand anywhere.
    session["created"] = json!(expires_at - 35 * 60);
    if let Some(lasting) = account.pages_last {
        session["expires_at"] = json!(Clock::System.now().millis() / 1000 + i64::try_from(lasting.as_secs()).unwrap());
    }
    set(&mut session, &account.otherwise);
    account.by_idempotency_key.insert(key, session.clone());
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
    let mut account = account.lock().unwrap();
    account.was_searched = true;
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    let since = query.get("created[gte]").map_or(0, |since| since.parse::<i64>().unwrap());
    let wanted = |session: &&Value| {
        query.get("payment_intent").is_none_or(|intent| session["payment_intent"] == json!(intent))
            && query.get("status").is_none_or(|status| session["status"] == json!(status))
            && session["created"].as_i64().unwrap() >= since
    };
    let mut found: Vec<_> = account.sessions.values().filter(wanted).collect();
    found.sort_by_key(|session| Reverse(session["created"].as_i64()));
    let after = query.get("starting_after");
    let begin = after.map_or(0, |id| found.iter().position(|session| session["id"] == json!(id)).unwrap() + 1);
    let limit: usize = query["limit"].parse().unwrap();
    let (page, left) = (found.iter().skip(begin).take(limit).collect::<Vec<_>>(), found.len() - begin);
    HttpResponse::Ok().json(json!({ "object": "list", "has_more": left > limit, "data": page }))
}

async fn expire(account: Data<Mutex<Account>>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let mut account = account.lock().unwrap();
    if let Some(refused) = refusal(&account, &request) {
        return refused;
    }
    match account.sessions.get_mut(&*id) {
        Some(session) if session["status"] == "open" => {
            end(session);
            HttpResponse::Ok().json(&*session)
        }
        _ => HttpResponse::BadRequest()
            .json(error("invalid_request_error", "Only Checkout Sessions with a status in [\"open\"] can be expired.")),
    }
}
