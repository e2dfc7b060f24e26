//! Every route with every kind of credential, held against one table.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use wiretoll::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::app::revoke_api_key::revoke_api_key;
use wiretoll::config::Config;
use wiretoll::domain::account::{ApiKey, KeyName, Mode, Scope, Scopes};
use wiretoll::domain::note::Note;

use crate::database::{connect, number};
use crate::nostr::{ORIGIN, Signer};
use crate::on_both_databases;
use crate::shop::{On, Reply, Shop, postgres_url};

on_both_databases!(
    every_route_answers_every_kind_of_credential_as_the_table_says,
    a_signed_request_is_taken_once_unless_it_only_reads,
    scenario_51_a_signed_request_of_another_time_is_told_ours,
    a_signed_request_is_remembered_for_longer_than_it_is_good,
    without_origins_no_signed_request_is_taken,
    the_limits_of_nostr_and_of_new_accounts_are_their_own,
    a_signed_request_beyond_a_limit_leaves_no_row,
    a_credential_counts_for_its_account_wherever_it_is_sent,
    scenario_44_a_signed_body_is_read_within_its_bounds,
);

/// What a route asks of who calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A credential is not looked at.
    Nothing,
    /// None, or one with this scope.
    AtMost(Scope),
    Scope(Scope),
    /// None, or any good one.
    Any,
    /// Any good one.
    AnyCredential,
}

/// Whoever adds a route says here what it needs; those below /account also know whom nobody knew before.
const TABLE: [(&str, Needs); 36] = [
    ("GET /api/public/v1/servers", Needs::Any),
    ("POST /api/public/v1/subscription/create", Needs::AtMost(Scope::Orders)),
    ("POST /api/public/v1/subscription/renew", Needs::AtMost(Scope::Orders)),
    ("POST /api/public/v1/subscription/bandwidth-reset", Needs::AtMost(Scope::Orders)),
    ("POST /api/public/v1/subscription/claim", Needs::AtMost(Scope::Subscriptions)),
    ("POST /api/public/v1/subscription/status", Needs::Any),
    ("GET /api/public/v1/subscription/{paymentHash}", Needs::Any),
    ("GET /api/public/v1/subscription/{paymentHash}/events", Needs::Any),
    ("GET /api/public/v1/subscription/list", Needs::Scope(Scope::Subscriptions)),
    ("POST /api/public/v1/subscription/{paymentHash}/sync", Needs::Scope(Scope::Subscriptions)),
    ("POST /api/referral/create", Needs::Scope(Scope::Referrals)),
    ("GET /api/referral/history", Needs::Scope(Scope::Referrals)),
    ("POST /api/public/v1/ping/test", Needs::Nothing),
    ("POST /api/public/v1/tools/node-lookup", Needs::Nothing),
    ("POST /v1/webhooks/stripe", Needs::Nothing),
    ("GET /health/live", Needs::Nothing),
    ("GET /health/ready", Needs::Nothing),
    ("GET /.well-known/security.txt", Needs::Nothing),
    ("GET /api/v1/account", Needs::AnyCredential),
    ("POST /api/v1/account/adopt", Needs::Scope(Scope::Subscriptions)),
    ("GET /api/v1/account/api-keys", Needs::Scope(Scope::Keys)),
    ("POST /api/v1/account/api-keys", Needs::Scope(Scope::Keys)),
    ("DELETE /api/v1/account/api-keys/{id}", Needs::Scope(Scope::Keys)),
    ("GET /api/v1/account/nostr-keys", Needs::Scope(Scope::Keys)),
    ("POST /api/v1/account/nostr-keys", Needs::Scope(Scope::Admin)),
    ("DELETE /api/v1/account/nostr-keys/{publicKey}", Needs::Scope(Scope::Admin)),
    ("GET /api/v1/account/webhooks", Needs::Scope(Scope::Webhooks)),
    ("POST /api/v1/account/webhooks", Needs::Scope(Scope::Webhooks)),
    ("GET /api/v1/account/webhooks/{id}", Needs::Scope(Scope::Webhooks)),
    ("PATCH /api/v1/account/webhooks/{id}", Needs::Scope(Scope::Webhooks)),
    ("DELETE /api/v1/account/webhooks/{id}", Needs::Scope(Scope::Webhooks)),
    ("POST /api/v1/account/webhooks/{id}/rotate", Needs::Scope(Scope::Webhooks)),
    ("POST /api/v1/account/webhooks/{id}/test", Needs::Scope(Scope::Webhooks)),
    ("POST /api/v1/account/webhooks/{id}/redeliver", Needs::Scope(Scope::Webhooks)),
    ("GET /api/v1/account/webhooks/{id}/deliveries", Needs::Scope(Scope::Webhooks)),
    ("POST /api/v1/account/webhooks/{id}/deliveries/{deliveryId}/redeliver", Needs::Scope(Scope::Webhooks)),
];

/// How an answer to a credential may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Unauthorized,
    Forbidden,
    /// Anything else: the credential was good enough, or nobody looked at it.
    LetIn,
}

fn reached_by_name(config: &mut Config) {
    config.service.origins = vec![ORIGIN.into(), "http://abcdef.onion".into()];
    let many = wiretoll::config::Quota { burst: 10_000, per_minute: 1 };
    (config.limits.nostr, config.limits.new_account, config.limits.webhook_calls) = (many, many, many);
}

async fn key_of(shop: &Shop, account: KeyOwner, scopes: Scopes) -> MadeApiKey {
    let name = KeyName::parse("a test's").unwrap();
    create_api_key(shop.app(), NewApiKey { account, name, scopes }, By::Operator(None)).await.unwrap()
}

fn bearer(key: &ApiKey) -> String {
    format!("Bearer {}", key.expose())
}

/// Every route of the document, with what the table says of it.
fn routes() -> Vec<(Method, String, Needs)> {
    let document: Value = serde_json::from_str(&wiretoll::http::openapi::document().unwrap()).unwrap();
    let mut table: BTreeMap<_, _> = TABLE.into_iter().collect();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let name = format!("{method} {path}");
            let needs = table.remove(name.as_str()).unwrap_or_else(|| panic!("the table does not know {name}"));
            let asked = path.replace("{paymentHash}", &"ab".repeat(32)).replace("{publicKey}", &"ab".repeat(32));
            let an_id = "0190a8f2-0000-7000-8000-00000000000a";
            let asked = asked.replace("{id}", an_id).replace("{deliveryId}", an_id);
            routes.push((Method::from_bytes(method.as_bytes()).unwrap(), asked, needs));
        }
    }
    assert!(table.is_empty(), "there are no such routes: {table:?}");
    routes
}

/// One call of a route: bodies are there where one is expected, and are never what is asked for.
async fn call(shop: &Shop, (method, path): (&Method, &str), credential: Option<&str>) -> (Expected, Reply) {
    let reply = shop.send(method, path, credential, body_of(method)).await;
    let expected = match reply.status {
        401 => Expected::Unauthorized,
        403 => Expected::Forbidden,
        _ => Expected::LetIn,
    };
    (expected, reply)
}

fn body_of(method: &Method) -> Option<&'static str> {
    [Method::POST, Method::PATCH].contains(method).then_some("{}")
}

async fn every_route_answers_every_kind_of_credential_as_the_table_says(on: On) {
    let shop = Shop::open_with(on, reached_by_name).await;
    let owner = key_of(&shop, KeyOwner::NewAccount, Scopes::all()).await;
    let revoked = key_of(&shop, KeyOwner::Account(owner.stored.account), Scopes::all()).await;
    let note = Note::parse("revoked by a test").unwrap();
    revoke_api_key(shop.app(), revoked.stored.id, By::Operator(Some(&note))).await.unwrap();
    let signer = Signer::new();
    let now = shop.clock.now();
    let founding = signer.header("GET", "/api/v1/account", None, now);
    assert_eq!(shop.send(&Method::GET, "/api/v1/account", Some(&founding), None).await.status, 200);
    let bad = [
        "Bearer",
        "Bearer sk_test_1",
        "Basic dXNlcjpwYXNzd29yZA==",
        "Nostr",
        "Nostr e30=",
        &bearer(&revoked.key),
        &bearer(&ApiKey::new(Mode::Test, [1; 32])),
        // It is no mainnet.
        &bearer(&ApiKey::new(Mode::Live, [1; 32])),
    ];
    for (method, path, needs) in routes() {
        let route = (&method, path.as_str());
        let unless_ignored = |expected| if needs == Needs::Nothing { Expected::LetIn } else { expected };
        let without = if matches!(needs, Needs::Nothing | Needs::Any | Needs::AtMost(_)) {
            Expected::LetIn
        } else {
            Expected::Unauthorized
        };
        assert_eq!(call(&shop, route, None).await.0, without, "{route:?} without a credential");
        for credential in bad {
            let (found, reply) = call(&shop, route, Some(credential)).await;
            assert_eq!(found, unless_ignored(Expected::Unauthorized), "{route:?} {credential}: {}", reply.body);
        }
        for scope in Scope::ALL {
            let key = key_of(&shop, KeyOwner::NewAccount, Scopes::new([scope]).unwrap()).await;
            let (found, reply) = call(&shop, route, Some(&bearer(&key.key))).await;
            let enough = match needs {
                Needs::Nothing | Needs::Any | Needs::AnyCredential => true,
                Needs::AtMost(needed) | Needs::Scope(needed) => [needed, Scope::Admin].contains(&scope),
            };
            let expected = if enough { Expected::LetIn } else { Expected::Forbidden };
            assert_eq!(found, expected, "{route:?} with {}: {}", scope.name(), reply.body);
        }
        signed_calls(&shop, route, needs, &signer).await;
    }
}

/// The same by signed requests.
async fn signed_calls(shop: &Shop, route: (&Method, &str), needs: Needs, signer: &Signer) {
    let (method, path) = route;
    let (name, now, body) = (method.as_str(), shop.clock.now(), body_of(method).map(str::as_bytes));
    let refused = if needs == Needs::Nothing { Expected::LetIn } else { Expected::Unauthorized };
    let good = signer.header(name, path, body, now);
    assert_eq!(call(shop, route, Some(&good)).await.0, Expected::LetIn, "{route:?} signed");
    let again = if *method == Method::GET { Expected::LetIn } else { refused };
    assert_eq!(call(shop, route, Some(&good)).await.0, again, "{route:?} replayed");
    let (other_method, other_body) = (if name == "GET" { "POST" } else { "GET" }, Some(&b"[]"[..]));
    for (what, header) in [
        ("expired", signer.header(name, path, body, now.plus_millis(-61_000))),
        ("too early", signer.header(name, path, body, now.plus_millis(61_000))),
        ("another URL", signer.header(name, &format!("{path}?x"), body, now)),
        ("another method", signer.header(other_method, path, body, now)),
        ("another body", signer.header(name, path, other_body, now)),
    ] {
        let (found, reply) = call(shop, route, Some(&header)).await;
        assert_eq!(found, refused, "{route:?} {what}: {}", reply.body);
    }
    let stranger = Signer::new().header(name, path, body, now);
    let expected = if path.starts_with("/api/v1/account") { Expected::LetIn } else { refused };
    assert_eq!(call(shop, route, Some(&stranger)).await.0, expected, "{route:?} by a stranger");
}

async fn a_signed_request_is_taken_once_unless_it_only_reads(on: On) {
    let shop = Shop::open_with(on, reached_by_name).await;
    let (signer, body) = (Signer::new(), json!({ "name": "one", "scopes": ["orders"] }).to_string());
    let path = "/api/v1/account/api-keys";
    let header = signer.header("POST", path, Some(body.as_bytes()), shop.clock.now());
    let made = shop.send(&Method::POST, path, Some(&header), Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let again = shop.send(&Method::POST, path, Some(&header), Some(&body)).await;
    assert_eq!((again.status, again.error()), (401, "ERR_UNAUTHORIZED"));
    assert_eq!(again.body["message"], "this signed request was taken before: sign each request afresh");
    let reading = signer.header("GET", path, None, shop.clock.now());
    for _ in 0..2 {
        let listed = shop.send(&Method::GET, path, Some(&reading), None).await;
        assert_eq!(listed.body["apiKeys"].as_array().unwrap().len(), 1, "{}", listed.body);
    }
}

async fn scenario_51_a_signed_request_of_another_time_is_told_ours(on: On) {
    let shop = Shop::open_with(on, reached_by_name).await;
    let (signer, path) = (Signer::new(), "/api/v1/account");
    let now = shop.clock.now();
    for (seconds, status) in [(-61, 401), (-60, 200), (60, 200), (61, 401)] {
        let whole_second = now.plus_millis(-(now.millis() % 1000));
        shop.clock.advance(whole_second.since(shop.clock.now()));
        let header = signer.header("GET", path, None, whole_second.plus_millis(seconds * 1000));
        let reply = shop.send(&Method::GET, path, Some(&header), None).await;
        assert_eq!(reply.status, status, "{seconds}: {}", reply.body);
        if status == 401 {
            let message = reply.body["message"].as_str().unwrap();
            assert!(message.contains(&whole_second.to_string()) && message.contains("set your clock"), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_take_a_signed_request_once() {
    if postgres_url().is_none() {
        return;
    }
    let shop = Shop::open_with(On::Postgres, reached_by_name).await;
    let replica = shop.replica().await;
    let (signer, path, body) = (Signer::new(), "/api/v1/account/api-keys", r#"{"name":"one","scopes":["orders"]}"#);
    let founding = signer.header("GET", "/api/v1/account", None, shop.clock.now());
    shop.send(&Method::GET, "/api/v1/account", Some(&founding), None).await;
    let header = signer.header("POST", path, Some(body.as_bytes()), shop.clock.now());
    let (one, other) = tokio::join!(
        shop.send(&Method::POST, path, Some(&header), Some(body)),
        replica.send(&Method::POST, path, Some(&header), Some(body)),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "{} {}", one.body, other.body);
}

async fn a_signed_request_is_remembered_for_longer_than_it_is_good(on: On) {
    let shop = Shop::open_with(on, reached_by_name).await;
    let header = Signer::new().header("POST", "/api/v1/account/api-keys", Some(b"{}"), shop.clock.now());
    shop.send(&Method::POST, "/api/v1/account/api-keys", Some(&header), Some("{}")).await;
    let forgotten = async |minutes: i64| {
        let then = shop.clock.now().plus_millis(minutes * 60_000);
        shop.app().store.forget_nostr_requests(then).await.unwrap()
    };
    assert_eq!([forgotten(9).await, forgotten(11).await], [0, 1]);
}

async fn without_origins_no_signed_request_is_taken(on: On) {
    let shop = Shop::open(on).await;
    let header = Signer::new().header("GET", "/api/v1/account", None, shop.clock.now());
    let reply = shop.send(&Method::GET, "/api/v1/account", Some(&header), None).await;
    assert_eq!((reply.status, reply.error()), (401, "ERR_UNAUTHORIZED"));
    assert!(reply.body["message"].as_str().unwrap().contains("[service] origins"), "{}", reply.body);
}

async fn the_limits_of_nostr_and_of_new_accounts_are_their_own(on: On) {
    let two = wiretoll::config::Quota { burst: 2, per_minute: 1 };
    let shop = Shop::open_with(on, |config| {
        reached_by_name(config);
        (config.limits.nostr, config.limits.new_account) = (two, two);
    })
    .await;
    let path = "/api/v1/account";
    let ask = async |signer: &Signer| {
        let header = signer.header("GET", path, None, shop.clock.now());
        shop.send(&Method::GET, path, Some(&header), None).await.status
    };
    let (one, other, third) = (Signer::new(), Signer::new(), Signer::new());
    let asked = [ask(&one).await, ask(&one).await, ask(&one).await, ask(&one).await];
    assert_eq!(asked, [200, 200, 200, 429], "the first one counts among new accounts");
    assert_eq!([ask(&other).await, ask(&third).await], [200, 429]);
    assert_eq!(shop.app().store.accounts(None, 10).await.unwrap().len(), 2);
}

async fn a_signed_request_beyond_a_limit_leaves_no_row(on: On) {
    let one = wiretoll::config::Quota { burst: 1, per_minute: 1 };
    let shop = Shop::open_with(on, |config| {
        reached_by_name(config);
        (config.limits.nostr, config.limits.new_account) = (one, one);
    })
    .await;
    let (path, body) = ("/api/v1/account/api-keys", r#"{"name":"one","scopes":["orders"]}"#);
    let post = async |signer: &Signer| {
        let header = signer.header("POST", path, Some(body.as_bytes()), shop.clock.now());
        shop.send(&Method::POST, path, Some(&header), Some(body)).await.status
    };
    let (founder, stranger) = (Signer::new(), Signer::new());
    assert_eq!([post(&founder).await, post(&founder).await, post(&founder).await], [200, 200, 429]);
    assert_eq!(post(&stranger).await, 429);
    let rows = "SELECT CAST(count(*) AS BIGINT) FROM nostr_requests";
    assert_eq!(number(&mut connect(&shop).await, rows).await, 2);
}

async fn a_credential_counts_for_its_account_wherever_it_is_sent(on: On) {
    let two = wiretoll::config::Quota { burst: 2, per_minute: 1 };
    let shop = Shop::open_with(on, |config| {
        (config.limits.check, config.limits.check_per_hash, config.limits.status) = (two, two, two);
        config.limits.api_key = wiretoll::config::Quota { burst: 12, per_minute: 1 };
    })
    .await;
    let key = key_of(&shop, KeyOwner::NewAccount, Scopes::new([Scope::Orders]).unwrap()).await;
    let check = format!("/api/public/v1/subscription/{}", "ab".repeat(32));
    let status = json!({ "wgPublicKey": crate::shop::a_key() }).to_string();
    let ask = async |credential: Option<&str>| {
        let servers = shop.send(&Method::GET, "/api/public/v1/servers", credential, None).await.status;
        let check = shop.send(&Method::GET, &check, credential, None).await.status;
        let status = shop.send(&Method::POST, "/api/public/v1/subscription/status", credential, Some(&status)).await;
        [servers, check, status.status]
    };
    let bearer = bearer(&key.key);
    for _ in 0..4 {
        assert_eq!(ask(Some(&bearer)).await, [200, 404, 404]);
    }
    assert_eq!(ask(Some(&bearer)).await, [429; 3], "all requests of the account together");
    assert_eq!([ask(None).await, ask(None).await, ask(None).await], [[200, 404, 404], [429, 429, 404], [429; 3]]);
}

async fn scenario_44_a_signed_body_is_read_within_its_bounds(on: On) {
    let shop = Shop::open_with(on, reached_by_name).await;
    let (signer, path) = (Signer::new(), "/api/v1/account/api-keys");
    let post = async |length: usize| {
        let body = format!("{}{}", r#"{"name":"one","scopes":["orders"]}"#, " ".repeat(length));
        let header = signer.header("POST", path, Some(body.as_bytes()), shop.clock.now());
        shop.send(&Method::POST, path, Some(&header), Some(&body)).await
    };
    assert_eq!(post(200 * 1024).await.status, 200);
    let large = post(256 * 1024).await;
    assert_eq!((large.status, large.error()), (413, "ERR_INVALID_INPUT"));
}
