//! The newer StartOS package: brings its own key and fails closed.
//!
//! - Servers: at most 64 KiB and 32 entries; `id` is `^[A-Za-z0-9_-]{2,32}$`, `status` is `^[a-z_-]{1,16}$`.
//! - An order's hash is 64 lower-case hex digits; an invoice's checksum, amount and hash are checked.
//! - A payment is unpaid, provisioning, paid or unknown by the words of section 1.3; any other word is an error.
//! - A claim: `peer.publicKey` is the key that was sent, `vpnPort` a top-level JSON integer, `server.endpoint` has one
//!   colon, keys are 44 characters, times have a zone; the config text is ignored. 202, 500 and 503 are tried again,
//!   409 "key mismatch" stops for good.
//! - A reset's invoice is checked like an order's, and its check says `type` and one of five words.
//! - A renewal is trusted once `status` shows a later `expiry`; 404 is "no such key" only as `ERR_RESOURCE_NOT_FOUND`.

use chrono::{DateTime, FixedOffset};
use serde_json::{Value, json};
use wiretoll::app::bandwidth::month_of;

use super::bolt11::{self, COFFEE, COFFEE_HASH, COFFEE_SATS};
use super::rules::{
    Checked, api_error, assert_refuses, endpoint, formed, formed_if_there, host_name, integer, is_not_found, iso_time,
    network, networks, number, payment_hash, spelt, text, wireguard_key,
};
use crate::database::{connect, run};
use crate::on_both_databases;
use crate::shop::{API, On, Reply, Shop, a_key};

on_both_databases!(
    startos_buys_with_its_own_key_and_claims_it,
    startos_claims_again_and_gets_the_same,
    startos_stops_for_good_at_another_key,
    startos_is_told_that_an_order_is_unpaid_or_unknown,
    startos_tries_a_claim_again_when_the_server_is_not_ready,
    startos_renews_by_domain_and_sees_a_later_expiry,
    startos_keeps_an_order_whose_invoice_expired,
    startos_believes_only_the_exact_404,
    startos_resets_its_bandwidth,
);

const MOST_SERVER_BYTES: usize = 64 * 1024;
const MOST_SERVERS: usize = 32;
const MOST_SATS: u64 = 2_100_000_000_000_000;

/// The package with its key, and the service that it calls.
struct StartOs<'a> {
    shop: &'a Shop,
    key: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Payment {
    Unpaid,
    Provisioning,
    Paid,
    Unknown,
}

/// What the package does after a claim.
#[derive(Debug, PartialEq)]
enum Claim {
    Ready(Claimed),
    TryAgain,
    NotPaid,
    Unknown,
    StopForGood,
}

/// What the package builds its own config from.
#[derive(Debug, PartialEq)]
struct Claimed {
    endpoint: String,
    address: String,
    port: u64,
    ends_at: DateTime<FixedOffset>,
}

#[derive(Debug, PartialEq)]
struct Renewal {
    hash: String,
    invoice: String,
    new_end: DateTime<FixedOffset>,
}

#[derive(Debug, PartialEq)]
struct Status {
    expiry: DateTime<FixedOffset>,
    port: Option<u64>,
}

impl<'a> StartOs<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self { shop, key: a_key() }
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.shop.post(&format!("{API}/subscription/{path}"), body).await
    }

    /// The hash and the invoice of an order.
    async fn create(&self) -> (String, String) {
        let reply = self.post("create", json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": self.key })).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        order(&reply.body).unwrap()
    }

    async fn check(&self, hash: &str) -> Payment {
        let reply = self.shop.check(hash).await;
        payment(reply.status, &reply.body).unwrap()
    }

    async fn claim(&self, hash: &str) -> Claim {
        let reply = self.post("claim", json!({ "paymentHash": hash, "wgPublicKey": self.key })).await;
        claim(reply.status, &reply.body, &self.key).unwrap()
    }

    /// Orders, pays, waits; the order's hash.
    async fn buy(&self) -> String {
        let (hash, invoice) = self.create().await;
        self.shop.pay(&invoice).await;
        self.shop.until_paid(&hash).await;
        hash
    }

    async fn status(&self) -> Status {
        let reply = self.post("status", json!({ "wgPublicKey": self.key })).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        status(&reply.body).unwrap()
    }
}

/// How many servers the package keeps, from the body as it came.
fn servers(body: &str) -> Checked<usize> {
    if body.len() > MOST_SERVER_BYTES {
        return Err("the list is larger than 64 KiB".into());
    }
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let list = body.get("servers").and_then(Value::as_array).ok_or("servers is not an array under that key")?;
    if list.len() > MOST_SERVERS {
        return Err("servers after the 32nd would be dropped".into());
    }
    let id = |id| spelt(id, 2..=32, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let state = |state| spelt(state, 1..=16, |c| c.is_ascii_lowercase() || c == '_' || c == '-');
    list.iter().try_for_each(|server| formed(server, "/id", id).and_then(|()| formed(server, "/status", state)))?;
    Ok(list.len())
}

/// The hash and the invoice of an order that agree with each other.
fn order(body: &Value) -> Checked<(String, String)> {
    text(body, "/orderId")?;
    formed_if_there(body, "/expiresAt", iso_time)?;
    let sats = integer(body, "/amountSats", 1..=MOST_SATS)?;
    let (hash, invoice) = (formed(body, "/paymentHash", payment_hash)?, text(body, "/invoice")?);
    bolt11::is_for(invoice, sats, hash)?;
    Ok((hash.to_owned(), invoice.to_owned()))
}

fn payment(status: u16, body: &Value) -> Checked<Payment> {
    match (status, body["status"].as_str()) {
        (200, Some("unpaid" | "pending")) => Ok(Payment::Unpaid),
        (202, _) | (200, Some("processing")) => Ok(Payment::Provisioning),
        (200, Some("paid")) => Ok(Payment::Paid),
        (404, _) => api_error(body).map(|_| Payment::Unknown),
        _ => Err(format!("HTTP {status} is no payment status: {body}")),
    }
}

fn claim(status: u16, body: &Value, sent_key: &str) -> Checked<Claim> {
    match status {
        200 => claimed(body, sent_key).map(Claim::Ready),
        202 => Ok(Claim::TryAgain),
        402 => api_error(body).map(|_| Claim::NotPaid),
        404 => api_error(body).map(|_| Claim::Unknown),
        409 if text(body, "/message")?.starts_with("key mismatch") => Ok(Claim::StopForGood),
        500 | 503 => text(body, "/message").map(|_| Claim::TryAgain),
        _ => Err(format!("HTTP {status} is no outcome of a claim: {body}")),
    }
}

fn claimed(body: &Value, sent_key: &str) -> Checked<Claimed> {
    if body["status"] != "success" {
        return Err(format!("status is {}", body["status"]));
    }
    if text(body, "/peer/publicKey")? != sent_key {
        return Err("peer.publicKey is not the key that was sent".into());
    }
    formed(body, "/server/endpoint", endpoint)?;
    formed(body, "/server/publicKey", wireguard_key)?;
    formed_if_there(body, "/peer/presharedKey", wireguard_key)?;
    formed(body, "/peer/address", network)?;
    formed_if_there(body, "/server/allowedIPs", networks)?;
    Ok(Claimed {
        endpoint: text(body, "/server/endpoint")?.to_owned(),
        address: text(body, "/peer/address")?.to_owned(),
        port: integer(body, "/vpnPort", 1..=65_535)?,
        ends_at: formed(body, "/subscriptionEnd", iso_time)?,
    })
}

fn renewal(body: &Value) -> Checked<Renewal> {
    let uuid = |id: &str| uuid::Uuid::parse_str(id).map_err(|error| error.to_string());
    formed(body, "/renewalId", uuid)?;
    formed_if_there(body, "/expiresAt", iso_time)?;
    let (old_end, new_end) = (formed(body, "/oldExpiry", iso_time)?, formed(body, "/newExpiry", iso_time)?);
    if new_end <= old_end {
        return Err("the renewal ends no later than before".into());
    }
    let (hash, invoice) = (formed(body, "/paymentHash", payment_hash)?, text(body, "/invoice")?);
    bolt11::is_for(invoice, integer(body, "/amountSats", 1..=MOST_SATS)?, hash)?;
    Ok(Renewal { hash: hash.to_owned(), invoice: invoice.to_owned(), new_end })
}

/// The hash and the invoice of a bandwidth reset.
fn reset(body: &Value) -> Checked<(String, String)> {
    text(body, "/resetId")?;
    formed(body, "/expiresAt", iso_time)?;
    number(body, "/currentUsagePercent", 0.0..=f64::MAX)?;
    integer(body, "/resetsThisMonth", 0..=1_000)?;
    integer(body, "/maxResetsPerMonth", 0..=1_000)?;
    let sats = integer(body, "/amountSats", 1..=MOST_SATS)?;
    let (hash, invoice) = (formed(body, "/paymentHash", payment_hash)?, text(body, "/invoice")?);
    bolt11::is_for(invoice, sats, hash)?;
    Ok((hash.to_owned(), invoice.to_owned()))
}

/// The word of a reset's check, which must say what it is about.
fn reset_status(body: &Value) -> Checked<&str> {
    if text(body, "/type")? != "bandwidth_reset" {
        return Err(format!("{} is no reset", body["type"]));
    }
    let known = ["unpaid", "processing", "paid", "failed", "expired"];
    text(body, "/status").and_then(|it| if known.contains(&it) { Ok(it) } else { Err(format!("{it} is no status")) })
}

/// `lazy_sync`: a field that is there must be right, and a quota that is missing deletes the stored one.
fn status(body: &Value) -> Checked<Status> {
    if !matches!(text(body, "/status")?, "enabled" | "disabled") {
        return Err(format!("{} is no status", body["status"]));
    }
    formed(body, "/server_domain", host_name)?;
    formed_if_there(body, "/last_synced_at", iso_time)?;
    number(body, "/bandwidth_used_gb", 0.0..=f64::MAX)?;
    number(body, "/bandwidth_limit_gb", f64::MIN_POSITIVE..=1e6)?;
    integer(body, "/bandwidth_resets_this_month", 0..=1_000)?;
    integer(body, "/max_resets_per_month", 0..=1_000)?;
    let port = match body.get("vpn_port") {
        Some(_) => Some(integer(body, "/vpn_port", 1..=65_535)?),
        None => None,
    };
    Ok(Status { expiry: formed(body, "/expiry", iso_time)?, port })
}

async fn startos_buys_with_its_own_key_and_claims_it(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    let listed = shop.get(&format!("{API}/servers")).await;
    assert_eq!(servers(&listed.body.to_string()), Ok(2));
    let (hash, invoice) = startos.create().await;
    assert_eq!(startos.check(&hash).await, Payment::Unpaid);

    shop.pay(&invoice).await;
    shop.until_paid(&hash).await;

    assert_eq!(startos.check(&hash).await, Payment::Paid);
    let Claim::Ready(claimed) = startos.claim(&hash).await else { panic!("no config") };
    let status = startos.status().await;
    assert_eq!((status.port, status.expiry), (Some(claimed.port), claimed.ends_at));
}

async fn startos_claims_again_and_gets_the_same(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    let hash = startos.buy().await;
    let first = startos.claim(&hash).await;
    for _ in 0..3 {
        assert_eq!(startos.claim(&hash).await, first);
    }
}

async fn startos_stops_for_good_at_another_key(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    let hash = startos.buy().await;
    let reinstalled = StartOs::new(&shop);
    assert_eq!(reinstalled.claim(&hash).await, Claim::StopForGood);
    assert!(matches!(startos.claim(&hash).await, Claim::Ready(_)), "the registered key still is served");
}

async fn startos_is_told_that_an_order_is_unpaid_or_unknown(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    let (hash, _) = startos.create().await;
    assert_eq!(startos.claim(&hash).await, Claim::NotPaid);
    let unknown = "ab".repeat(32);
    assert_eq!(startos.check(&unknown).await, Payment::Unknown);
    assert_eq!(startos.claim(&unknown).await, Claim::Unknown);
}

async fn startos_tries_a_claim_again_when_the_server_is_not_ready(on: On) {
    let mut shop = Shop::open(on).await;
    let StartOs { key, .. } = StartOs::new(&shop);
    let hash = StartOs { shop: &shop, key: key.clone() }.buy().await;
    shop.stop().await;
    let server_key = shop.config.servers[0].public_key.take();
    shop.start().await;
    assert_eq!(StartOs { shop: &shop, key: key.clone() }.claim(&hash).await, Claim::TryAgain);
    shop.stop().await;
    shop.config.servers[0].public_key = server_key;
    shop.start().await;
    assert!(matches!(StartOs { shop: &shop, key }.claim(&hash).await, Claim::Ready(_)));
}

async fn startos_renews_by_domain_and_sees_a_later_expiry(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    startos.buy().await;
    for server in ["de1.example.net", "de2.tunnelsats.com", "eu-de"] {
        let before = startos.status().await;
        let body = json!({ "serverId": server, "duration": 1, "wgPublicKey": startos.key });
        let reply = startos.post("renew", body).await;
        let renewal = renewal(&reply.body).unwrap();
        assert_eq!(startos.status().await, before, "an unpaid renewal changes nothing");

        shop.pay(&renewal.invoice).await;
        shop.until_paid(&renewal.hash).await;

        assert_eq!(startos.check(&renewal.hash).await, Payment::Paid);
        assert_eq!(startos.status().await, Status { expiry: renewal.new_end, ..before });
    }
}

async fn startos_keeps_an_order_whose_invoice_expired(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    let (hash, _) = startos.create().await;
    for hours in [1, 22] {
        shop.advance(std::time::Duration::from_hours(hours)).await;
        assert_eq!(startos.check(&hash).await, Payment::Unpaid, "no word that the package does not know");
    }
}

async fn startos_believes_only_the_exact_404(on: On) {
    let shop = Shop::open(on).await;
    let stranger = StartOs::new(&shop);
    let reply = stranger.post("status", json!({ "wgPublicKey": stranger.key })).await;
    assert!(is_not_found(reply.status, &reply.body), "{} {}", reply.status, reply.body);
}

async fn startos_resets_its_bandwidth(on: On) {
    let shop = Shop::open(on).await;
    let startos = StartOs::new(&shop);
    startos.buy().await;
    let used = "INSERT INTO monthly_usage (subscription_id, month, bytes) SELECT id, ";
    let month = month_of(shop.clock.now());
    run(&mut connect(&shop).await, &format!("{used} '{month}', 90000000000 FROM subscriptions")).await;
    let ordered = startos.post("bandwidth-reset", json!({ "wgPublicKey": startos.key, "serverId": "de2" })).await;
    assert_eq!(ordered.status, 200, "{}", ordered.body);
    let (hash, invoice) = reset(&ordered.body).unwrap();
    assert_eq!(reset_status(&shop.check(&hash).await.body), Ok("unpaid"));
    shop.pay(&invoice).await;
    assert_eq!(reset_status(&shop.until_paid(&hash).await), Ok("paid"));
    startos.status().await;
}

#[test]
fn a_list_of_servers_is_refused_beyond_its_bounds() {
    let list = |server: Value, count: usize| json!({ "servers": vec![server; count] }).to_string();
    let good = json!({ "id": "eu-de", "status": "online" });
    assert_eq!(servers(&list(good.clone(), 32)), Ok(32));
    assert!(servers(&list(good, 33)).is_err());
    let long = "x".repeat(MOST_SERVER_BYTES);
    for server in [
        json!({ "status": "online" }),
        json!({ "id": "eu-de" }),
        json!({ "id": "e", "status": "online" }),
        json!({ "id": "de2.tunnelsats.com", "status": "online" }),
        json!({ "id": "a".repeat(33), "status": "online" }),
        json!({ "id": 1, "status": "online" }),
        json!({ "id": "eu-de", "status": "Online" }),
        json!({ "id": "eu-de", "status": "sold out" }),
        json!({ "id": "eu-de", "status": "temporarily_offline" }),
        json!({ "id": "eu-de", "status": "online", "city": long }),
    ] {
        assert!(servers(&list(server.clone(), 1)).is_err(), "{}", server["id"]);
    }
    for body in ["", "<html>", "[]", "{}", r#"{"servers":{}}"#, r#"[{"id":"eu-de","status":"online"}]"#] {
        assert!(servers(body).is_err(), "{body}");
    }
}

const KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const END: &str = "2026-12-22T12:00:00.000Z";

#[test]
fn an_order_or_renewal_is_refused_where_its_invoice_disagrees() {
    let bought = json!({
        "orderId": "1", "paymentHash": COFFEE_HASH, "invoice": COFFEE, "amountSats": COFFEE_SATS, "expiresAt": END,
    });
    let renewed = json!({
        "renewalId": "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1", "paymentHash": COFFEE_HASH, "invoice": COFFEE,
        "amountSats": COFFEE_SATS, "expiresAt": END, "oldExpiry": END, "newExpiry": "2027-01-22T12:00:00.000Z",
    });
    let odd = [
        ("/paymentHash", json!("f".repeat(64))),
        ("/paymentHash", json!("")),
        ("/invoice", json!(COFFEE.to_uppercase())),
        ("/invoice", json!(COFFEE.replace("2500u", "2501u"))),
        ("/amountSats", json!(COFFEE_SATS + 1)),
        ("/amountSats", json!("250000")),
        ("/amountSats", json!(250_000.5)),
        ("/amountSats", json!(0)),
        ("/expiresAt", json!("2026-12-22T12:00:00")),
    ];
    assert_refuses(&bought, order, &["/orderId", "/paymentHash", "/invoice", "/amountSats"], &odd);
    let required = ["/renewalId", "/paymentHash", "/invoice", "/oldExpiry", "/newExpiry"];
    assert_refuses(&renewed, renewal, &required, &odd);
    let odd = [("/renewalId", json!("7")), ("/oldExpiry", json!("soon")), ("/newExpiry", json!(END))];
    assert_refuses(&renewed, renewal, &[], &odd);
}

#[test]
fn any_other_payment_status_is_an_error() {
    let said = |word: &str| json!({ "status": word });
    for (status, body, meaning) in [
        (200, said("unpaid"), Payment::Unpaid),
        (200, said("pending"), Payment::Unpaid),
        (200, said("processing"), Payment::Provisioning),
        (202, json!({}), Payment::Provisioning),
        (200, said("paid"), Payment::Paid),
    ] {
        assert_eq!(payment(status, &body), Ok(meaning));
    }
    for (status, body) in [
        (200, said("expired")),
        (200, said("cancelled")),
        (200, said("Paid")),
        (200, said("")),
        (200, json!({ "status": true })),
        (200, json!({})),
        (304, Value::Null),
        (402, said("unpaid")),
        (404, json!("<html>")),
        (500, said("paid")),
    ] {
        assert!(payment(status, &body).is_err(), "{status} {body}");
    }
}

#[test]
fn a_claim_is_refused_at_anything_odd() {
    let good = json!({
        "status": "success", "subscriptionEnd": END, "vpnPort": 35_825, "fullConfig": null,
        "server": { "endpoint": "de2.example.net:51820", "publicKey": KEY, "allowedIPs": "0.0.0.0/0, ::/0" },
        "peer": { "address": "10.9.0.7/32", "publicKey": KEY, "presharedKey": KEY },
    });
    let required =
        ["/status", "/subscriptionEnd", "/vpnPort", "/server/endpoint", "/server/publicKey", "/peer/address", "/peer"];
    let changes = [
        ("/status", json!("already_processed")),
        ("/subscriptionEnd", json!("2026-12-22T12:00:00.000Z\nPostUp = id")),
        ("/subscriptionEnd", json!("2026-12-22T12:00:00")),
        ("/vpnPort", json!("35825")),
        ("/vpnPort", json!(35_825.0)),
        ("/vpnPort", json!(0)),
        ("/vpnPort", json!(65_536)),
        ("/vpnPort", json!(true)),
        ("/server", Value::Null),
        ("/server/endpoint", json!("[2001:db8::1]:51820")),
        ("/server/endpoint", json!("de2.example.net")),
        ("/server/publicKey", json!("undefined")),
        ("/server/allowedIPs", json!("::/")),
        ("/peer/address", json!("10.9.0.7/33")),
        ("/peer/publicKey", json!("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=")),
        ("/peer/publicKey", Value::Null),
        ("/peer/presharedKey", json!("short")),
    ];
    assert_refuses(&good, |body| claim(200, body, KEY), &required, &changes);
    let without_psk = json!({ "peer": { "address": "10.9.0.7", "publicKey": KEY } });
    let mut body = good;
    body["peer"] = without_psk["peer"].clone();
    assert!(claim(200, &body, KEY).is_ok(), "a preshared key may be absent");
}

#[test]
fn every_refusal_of_a_claim_has_its_one_meaning() {
    let error = |code: &str, message: &str| json!({ "error": code, "message": message });
    assert_eq!(claim(202, &json!({ "status": "processing" }), KEY), Ok(Claim::TryAgain));
    assert_eq!(claim(503, &error("ERR_INTERNAL_ERROR", "soon"), KEY), Ok(Claim::TryAgain));
    assert_eq!(claim(409, &json!({ "message": "key mismatch" }), KEY), Ok(Claim::StopForGood));
    for (status, body) in [
        (400, error("ERR_INVALID_INPUT", "no")),
        (402, json!({ "message": "not paid" })),
        (404, json!("<html>")),
        (409, error("ERR_CONFLICT", "busy")),
        (409, json!({})),
        (503, json!("<html>")),
        (301, Value::Null),
    ] {
        assert!(claim(status, &body, KEY).is_err(), "{status} {body}");
    }
}

#[test]
fn a_reset_is_refused_at_anything_odd() {
    let good = json!({
        "resetId": "1", "paymentHash": COFFEE_HASH, "invoice": COFFEE, "amountSats": COFFEE_SATS, "amountUsd": "1.00",
        "expiresAt": END, "currentUsagePercent": 85, "resetsThisMonth": 0, "maxResetsPerMonth": 2,
    });
    let fields = good.as_object().unwrap().keys().filter(|field| *field != "amountUsd");
    let required: Vec<_> = fields.map(|field| format!("/{field}")).collect();
    let required: Vec<_> = required.iter().map(String::as_str).collect();
    let changes = [
        ("/expiresAt", json!("2026-12-22T12:00:00")),
        ("/amountSats", json!(COFFEE_SATS + 1)),
        ("/resetsThisMonth", json!(-1)),
        ("/maxResetsPerMonth", json!("2")),
    ];
    assert_refuses(&good, reset, &required, &changes);
    let good = json!({ "type": "bandwidth_reset", "status": "paid" });
    assert_refuses(
        &good,
        |body| reset_status(body).map(str::to_owned),
        &["/type", "/status"],
        &[("/status", json!("creating"))],
    );
}

#[test]
fn a_status_is_refused_where_a_value_is_not_of_its_kind() {
    let good = json!({
        "expiry": END, "bandwidth_used_gb": 45.67, "status": "enabled", "server_domain": "de2.example.net",
        "last_synced_at": null, "vpn_port": 35_825, "bandwidth_limit_gb": 100, "bandwidth_resets_this_month": 0,
        "max_resets_per_month": 2,
    });
    let fields = good.as_object().unwrap().keys();
    let required: Vec<_> = fields
        .filter(|field| !["last_synced_at", "vpn_port"].contains(&field.as_str()))
        .map(|f| format!("/{f}"))
        .collect();
    let required: Vec<_> = required.iter().map(String::as_str).collect();
    let changes = [
        ("/expiry", json!("2026-12-22")),
        ("/expiry", json!(0)),
        ("/bandwidth_used_gb", json!(-0.1)),
        ("/bandwidth_used_gb", json!("45.67")),
        ("/bandwidth_used_gb", Value::Null),
        ("/bandwidth_limit_gb", json!(0)),
        ("/bandwidth_limit_gb", json!(1_000_001)),
        ("/bandwidth_resets_this_month", json!(0.5)),
        ("/max_resets_per_month", json!(1_001)),
        ("/status", json!("active")),
        ("/server_domain", json!("de2.example.net\n")),
        ("/last_synced_at", json!("never")),
        ("/vpn_port", json!("35825")),
        ("/vpn_port", json!(35_825.5)),
        ("/vpn_port", json!(true)),
        ("/vpn_port", Value::Null),
    ];
    assert_refuses(&good, status, &required, &changes);
}
