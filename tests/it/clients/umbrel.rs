//! The Umbrel app: lets the server make the keys and lives off the config text.
//!
//! - `servers` is an array under that key, or the body itself.
//! - A claim carries `wgPublicKey: ""` and `wgPresharedKey: ""`. `success: false` or `status: "error"` becomes the
//!   app's own 400 with the message; else `config`, `fullConfig` or `wireguardConfig` holds the text.
//! - The text has one `[Interface]` and one `[Peer]`, known keys only, none twice, none empty, no commands; port and
//!   public key are read from the comments.
//! - `serverId` of a renewal is a display label, `unknown`, an id or the prefix of a domain. Its paid hash is answered
//!   with `newExpiry`, or `subscription.expiresAt`.
//! - Every call ends within 10 s, is JSON, and has headers that can be passed on to a browser.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, FixedOffset};
use serde_json::{Value, json};
use wiretoll::app::release::erase_private_keys;
use x25519_dalek::{PublicKey, StaticSecret};

use super::browser::headers_can_be_passed_on;
use super::rules::{
    Checked, api_error, assert_refuses, endpoint, formed, formed_if_there, integer, iso_time, network, networks,
    payment_hash, text, wireguard_key,
};
use crate::on_both_databases;
use crate::shop::{API, On, Reply, Shop};

on_both_databases!(
    umbrel_buys_a_subscription_and_gets_its_config,
    umbrel_renews_whatever_it_takes_the_server_for,
    umbrel_sees_the_end_after_a_renewal_at_its_hash,
    umbrel_shows_an_invoice_that_expired_as_unpaid,
    umbrel_cannot_claim_what_is_unpaid_or_unknown,
    umbrel_turns_an_erased_key_into_its_own_400,
    umbrel_asks_for_the_status_of_a_known_and_of_an_unknown_key,
);

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const LABEL: &str = "🇩🇪 Germany — Nuremberg";

/// The app, and the service that it calls.
struct Umbrel<'a>(&'a Shop);

#[derive(Debug, PartialEq, Eq)]
struct Order {
    hash: String,
    invoice: String,
}

#[derive(Debug, PartialEq)]
enum Payment {
    Unpaid,
    /// With the new end, where the hash is a renewal's.
    Paid(Option<DateTime<FixedOffset>>),
}

/// What the app shows after a claim.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Config(Config),
    /// The app's own answer, and the message in it.
    Refused(u16, String),
}

/// What the app reads from a config text.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    text: String,
    port: u16,
    public_key: String,
}

impl Umbrel<'_> {
    async fn get(&self, path: &str) -> Reply {
        self.passed_on(self.0.get(&format!("{API}{path}"))).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.passed_on(self.0.post(&format!("{API}{path}"), body)).await
    }

    async fn passed_on(&self, call: impl Future<Output = Reply>) -> Reply {
        let reply = tokio::time::timeout(CALL_TIMEOUT, call).await.expect("an answer within 10 s");
        headers_can_be_passed_on(&reply.headers).unwrap();
        reply
    }

    async fn create(&self) -> Order {
        let reply = self.post("/subscription/create", json!({ "serverId": "eu-de", "duration": 1 })).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        order(&reply.body).unwrap()
    }

    async fn check(&self, hash: &str) -> Payment {
        let reply = self.get(&format!("/subscription/{hash}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        payment(&reply.body).unwrap()
    }

    async fn claim(&self, hash: &str) -> Claim {
        let body = json!({ "paymentHash": hash, "wgPublicKey": "", "wgPresharedKey": "" });
        let reply = self.post("/subscription/claim", body).await;
        claim(reply.status, &reply.body).unwrap()
    }

    async fn renew(&self, server: &str, key: &str) -> Order {
        let body = json!({ "serverId": server, "duration": 3, "wgPublicKey": key });
        let reply = self.post("/subscription/renew", body).await;
        assert_eq!(reply.status, 200, "{server}: {}", reply.body);
        order(&reply.body).unwrap()
    }

    async fn expiry(&self, key: &str) -> DateTime<FixedOffset> {
        let reply = self.post("/subscription/status", json!({ "wgPublicKey": key })).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        status(&reply.body).unwrap()
    }

    /// Buys and claims as a user does.
    async fn subscribe(&self) -> (Order, Config) {
        let order = self.create().await;
        self.0.pay(&order.invoice).await;
        self.0.until_paid(&order.hash).await;
        let Claim::Config(config) = self.claim(&order.hash).await else { panic!("no config") };
        (order, config)
    }
}

/// The ids in a list of servers.
fn servers(body: &Value) -> Checked<Vec<&str>> {
    let list = body.get("servers").unwrap_or(body).as_array().ok_or("servers is not an array")?;
    let shown = |server| {
        ["/country", "/city", "/flag", "/status"].iter().try_for_each(|field| text(server, field).map(drop))?;
        text(server, "/id")
    };
    list.iter().map(shown).collect()
}

/// An order, or a renewal, as the older app reads it.
fn order(body: &Value) -> Checked<Order> {
    if body["success"] != true {
        return Err("success is not true".into());
    }
    integer(body, "/amount_sats", 1..=2_100_000_000_000_000)?;
    let hash = formed(body, "/paymentHash", payment_hash)?.to_owned();
    Ok(Order { hash, invoice: text(body, "/invoice")?.to_owned() })
}

fn payment(body: &Value) -> Checked<Payment> {
    formed(body, "/paymentHash", payment_hash)?;
    match text(body, "/status")? {
        "unpaid" | "pending" | "processing" => Ok(Payment::Unpaid),
        "paid" => Ok(Payment::Paid(match formed_if_there(body, "/newExpiry", iso_time)? {
            Some(end) => Some(end),
            None => formed_if_there(body, "/subscription/expiresAt", iso_time)?,
        })),
        other => Err(format!("{other:?} is no status")),
    }
}

fn claim(status: u16, body: &Value) -> Checked<Claim> {
    if status != 200 {
        api_error(body)?;
        return Ok(Claim::Refused(status, text(body, "/message")?.to_owned()));
    }
    if body["success"] == false || body["status"] == "error" {
        return Ok(Claim::Refused(400, text(body, "/message")?.to_owned()));
    }
    let aliases = ["/config", "/fullConfig", "/wireguardConfig"];
    let found = aliases.iter().find_map(|alias| text(body, alias).ok());
    config(found.ok_or("no config text")?).map(Claim::Config)
}

fn config(text: &str) -> Checked<Config> {
    let comment = |name: &str| {
        let mut found = text.lines().filter_map(|line| line.strip_prefix(name));
        found.next().filter(|_| found.next().is_none()).ok_or_else(|| format!("not one comment {name:?}"))
    };
    check_sections(text)?;
    let port = comment("# Port Forwarding: ")?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    let public_key = wireguard_key(comment("# myPubKey: ")?)?.to_owned();
    iso_time(comment("# Valid Until: ")?)?;
    Ok(Config { text: text.to_owned(), port, public_key })
}

fn check_sections(text: &str) -> Checked<()> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut section, mut seen) = ("", HashSet::new());
    for line in lines {
        let is_new = if line.starts_with('[') {
            section = line;
            seen.insert((section, ""))
        } else {
            let (key, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is no setting"))?;
            check_setting(section, key.trim(), value.trim())?;
            seen.insert((section, key.trim()))
        };
        if !is_new {
            return Err(format!("{line:?} is there twice"));
        }
    }
    let needed = [
        ("[Interface]", "PrivateKey"),
        ("[Interface]", "Address"),
        ("[Peer]", "PublicKey"),
        ("[Peer]", "Endpoint"),
        ("[Peer]", "AllowedIPs"),
    ];
    let missing = needed.iter().find(|setting| !seen.contains(setting));
    missing.map_or(Ok(()), |(section, key)| Err(format!("{section} has no {key}")))
}

/// Only these keys are known, each with a value of its own kind; a command such as `PostUp` is among the unknown.
fn check_setting(section: &str, key: &str, value: &str) -> Checked<()> {
    let number = |text: &str| text.parse::<u16>().map(drop).map_err(|_| format!("{text:?} is not a number"));
    match (section, key) {
        ("[Interface]", "PrivateKey") | ("[Peer]", "PublicKey" | "PresharedKey") => wireguard_key(value).map(drop),
        ("[Interface]", "Address") => network(value),
        ("[Interface]", "DNS") | ("[Peer]", "AllowedIPs") => networks(value),
        ("[Interface]", "ListenPort" | "MTU") | ("[Peer]", "PersistentKeepalive") => number(value),
        ("[Peer]", "Endpoint") => endpoint(value),
        _ => Err(format!("{section} may not have {key}")),
    }
}

/// When a subscription ends.
fn status(body: &Value) -> Checked<DateTime<FixedOffset>> {
    match text(body, "/status")? {
        "enabled" | "disabled" => formed(body, "/expiry", iso_time),
        other => Err(format!("{other:?} is no status")),
    }
}

async fn umbrel_buys_a_subscription_and_gets_its_config(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    assert_eq!(servers(&umbrel.get("/servers").await.body), Ok(vec!["eu-de", "us-east"]));
    let order = umbrel.create().await;
    assert_eq!(umbrel.check(&order.hash).await, Payment::Unpaid);

    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    assert!(matches!(umbrel.check(&order.hash).await, Payment::Paid(_)));
    let Claim::Config(config) = umbrel.claim(&order.hash).await else { panic!("no config") };

    let private = config.text.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    let private: [u8; 32] = BASE64.decode(private).unwrap().try_into().unwrap();
    let public = PublicKey::from(&StaticSecret::from(private));
    assert_eq!(config.public_key, BASE64.encode(public.as_bytes()), "the comment names the key of the tunnel");
    assert_eq!(umbrel.claim(&order.hash).await, Claim::Config(config), "claimed again, it is the same");
}

async fn umbrel_renews_whatever_it_takes_the_server_for(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let (_, config) = umbrel.subscribe().await;
    for server in [LABEL, "unknown", "de1", "de2", "eu-de", ""] {
        umbrel.renew(server, &config.public_key).await;
    }
}

async fn umbrel_sees_the_end_after_a_renewal_at_its_hash(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let (first, config) = umbrel.subscribe().await;
    let before = umbrel.expiry(&config.public_key).await;
    let renewal = umbrel.renew(LABEL, &config.public_key).await;
    assert_eq!(umbrel.check(&renewal.hash).await, Payment::Unpaid);

    shop.pay(&renewal.invoice).await;
    shop.until_paid(&renewal.hash).await;

    let Payment::Paid(Some(end)) = umbrel.check(&renewal.hash).await else { panic!("no end at the renewal's hash") };
    assert!(end > before);
    assert_eq!(umbrel.expiry(&config.public_key).await, end);
    let Claim::Config(renewed) = umbrel.claim(&first.hash).await else { panic!("no config") };
    assert_eq!((renewed.port, renewed.public_key), (config.port, config.public_key), "a renewal moves nothing");
}

async fn umbrel_shows_an_invoice_that_expired_as_unpaid(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let order = umbrel.create().await;
    shop.advance(Duration::from_mins(16)).await;
    assert_eq!(umbrel.check(&order.hash).await, Payment::Unpaid);
}

async fn umbrel_cannot_claim_what_is_unpaid_or_unknown(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let order = umbrel.create().await;
    assert!(matches!(umbrel.claim(&order.hash).await, Claim::Refused(402, _)));
    assert!(matches!(umbrel.claim(&"ab".repeat(32)).await, Claim::Refused(404, _)));
}

async fn umbrel_turns_an_erased_key_into_its_own_400(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let (order, _) = umbrel.subscribe().await;
    shop.advance(Duration::from_hours(7 * 24)).await;
    erase_private_keys(shop.app()).await.unwrap();
    let Claim::Refused(400, message) = umbrel.claim(&order.hash).await else { panic!("not the app's own 400") };
    assert!(message.contains("operator"), "{message}");
}

async fn umbrel_asks_for_the_status_of_a_known_and_of_an_unknown_key(on: On) {
    let shop = Shop::open(on).await;
    let umbrel = Umbrel(&shop);
    let (_, config) = umbrel.subscribe().await;
    umbrel.expiry(&config.public_key).await;
    let unknown = umbrel.post("/subscription/status", json!({ "wgPublicKey": crate::shop::a_key() })).await;
    assert_eq!((unknown.status, api_error(&unknown.body)), (404, Ok("ERR_RESOURCE_NOT_FOUND")));
}

const GOOD_CONFIG: &str = "\
# TunnelSats WireGuard Configuration
# Server: de2.tunnelsats.com
# Port Forwarding: 35825
# myPubKey: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
# Valid Until: 2026-12-22T12:00:00.000Z

[Interface]
PrivateKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
Address = 10.9.0.7/32

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = 3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=
Endpoint = de2.tunnelsats.com:51820
AllowedIPs = 0.0.0.0/0, ::/0
PersistentKeepalive = 25
";

#[test]
fn the_config_parser_refuses_what_the_app_would_not_run() {
    assert_eq!(config(GOOD_CONFIG).map(|config| config.port), Ok(35_825));
    for (good, bad) in [
        ("# Port Forwarding: 35825\n", ""),
        ("# Port Forwarding: ", "# Port: "),
        ("35825", "undefined"),
        ("35825", "358255"),
        ("35825\n", "35825\n# Port Forwarding: 35826\n"),
        ("# myPubKey: hSDw", "# myPubKey: "),
        ("# myPubKey: ", "#myPubKey = "),
        ("12:00:00.000Z", "12:00:00.000"),
        ("[Interface]", "[interface]"),
        ("[Peer]", "[Interface]"),
        ("[Peer]", "[Peer]\n[Peer]"),
        ("PersistentKeepalive = 25\n", "PersistentKeepalive = 25\n\n[Peer]\nEndpoint = de2.x:1\n"),
        ("Address = 10.9.0.7/32", "Address ="),
        ("Address = 10.9.0.7/32", "Address = 10.9.0.7/32\nAddress = 10.9.0.8/32"),
        ("Address = 10.9.0.7/32", "Address = 10.9.0.7/32\nPostUp = id"),
        ("Address = 10.9.0.7/32", "Address = 10.9.0.7/32\nPreUp = id"),
        ("Address = 10.9.0.7/32", "Address = 10.9.0.7/32\nTable = off"),
        ("Address = 10.9.0.7/32", "Address = 10.9.0.7/32\nPublicKey = x"),
        ("Address = 10.9.0.7/32", "Address 10.9.0.7/32"),
        ("PrivateKey = AQEB", "PrivateKey = "),
        ("PrivateKey =", "# PrivateKey ="),
        ("AllowedIPs = 0.0.0.0/0, ::/0", "AllowedIPs = ::/"),
        ("de2.tunnelsats.com:51820", "undefined"),
        ("Keepalive = 25", "Keepalive = off"),
    ] {
        let changed = GOOD_CONFIG.replacen(good, bad, 1);
        assert_ne!(changed, GOOD_CONFIG, "{good:?}");
        assert!(config(&changed).is_err(), "{changed}");
    }
}

#[test]
fn a_claim_is_refused_without_its_config() {
    let good = json!({ "status": "success", "success": true, "config": GOOD_CONFIG, "fullConfig": null });
    let empty = json!("[Interface]\n");
    assert_refuses(&good, |body| claim(200, body), &["/config"], &[("/config", json!("")), ("/config", empty)]);
    for alias in ["fullConfig", "wireguardConfig"] {
        assert!(matches!(claim(200, &json!({ alias: GOOD_CONFIG })), Ok(Claim::Config(_))), "{alias}");
    }
    let refusals = [json!({ "success": false, "message": "no" }), json!({ "status": "error", "message": "no" })];
    for body in refusals {
        assert_eq!(claim(200, &body), Ok(Claim::Refused(400, "no".into())));
    }
    assert!(claim(200, &json!({ "success": false })).is_err(), "a refusal says why");
    let error = json!({ "error": "ERR_PAYMENT_REQUIRED", "message": "not paid" });
    let odd = [("/error", json!(402)), ("/error", json!("unpaid")), ("/message", json!(null))];
    assert_refuses(&error, |body| claim(402, body), &["/error", "/message"], &odd);
}

#[test]
fn lists_orders_and_answers_are_refused_where_the_app_would_stumble() {
    let list = json!({ "servers": [{ "id": "a", "country": "b", "city": "c", "flag": "d", "status": "online" }] });
    let fields = ["id", "country", "city", "flag", "status"].map(|field| format!("/servers/0/{field}"));
    let fields = fields.each_ref().map(String::as_str);
    assert_refuses(
        &list,
        |body| servers(body).map(drop),
        &fields,
        &[("/servers", json!({})), ("/servers/0/id", json!(1))],
    );
    assert_eq!(servers(&list["servers"]), Ok(vec!["a"]), "a bare array will do");
    assert!(servers(&json!({ "regions": [] })).is_err());

    let hash = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
    let bought = json!({ "success": true, "paymentHash": hash, "invoice": "lnbc1", "amount_sats": 1000 });
    let required = ["/success", "/paymentHash", "/invoice", "/amount_sats"];
    let odd = [
        ("/success", json!("true")),
        ("/paymentHash", json!(hash.to_uppercase())),
        ("/amount_sats", json!("1000")),
        ("/amount_sats", json!(0)),
    ];
    assert_refuses(&bought, order, &required, &odd);

    let paid = json!({ "paymentHash": hash, "status": "paid", "newExpiry": "2026-12-22T12:00:00Z" });
    let odd = [
        ("/status", json!("expired")),
        ("/status", json!(true)),
        ("/newExpiry", json!("2026-12-22")),
        ("/newExpiry", json!(1_798_027_200)),
    ];
    assert_refuses(&paid, payment, &["/paymentHash", "/status"], &odd);
    let nested =
        json!({ "paymentHash": hash, "status": "paid", "subscription": { "expiresAt": "2026-12-22T12:00:00Z" } });
    assert_eq!(payment(&nested), payment(&paid));

    let known = json!({ "status": "enabled", "expiry": "2026-12-22T12:00:00Z" });
    let odd = [("/status", json!("active")), ("/expiry", json!(null)), ("/expiry", json!("2026-12-22T12:00:00"))];
    assert_refuses(&known, status, &["/status", "/expiry"], &odd);
}
