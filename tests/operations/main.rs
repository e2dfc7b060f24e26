//! The program as whoever runs it meets it: what its log may say, and how it stops.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: clippy spares only the functions marked as one"
)]

#[path = "../process/command.rs"]
mod command;
#[path = "../at_the_wire/stripe.rs"]
#[expect(dead_code, reason = "the tests of cards use more of it")]
mod fake;
#[path = "../it/nostr.rs"]
mod nostr;
#[path = "../process/place.rs"]
mod place;
mod program;
#[path = "../it/receiver.rs"]
mod receiver;
mod secrets;

use std::fs::File;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use command::command;
use fake::FakeStripe;
use nostr::Signer;
use place::{Place, text};
use program::{API, Api, CUSTOMER, Program, until};
use receiver::{Answer, Receiver};
use secrets::{Secrets, assert_keeps};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use wiretoll::clock::Clock;
use wiretoll::domain::keys::PrivateKey;
use wiretoll::domain::webhook_secret::WebhookSecret;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::random;

// --- what a log may say ----------------------------------------------------------------------------------------------

/// Everything that a shop and its customers do, and what they do wrong, with the log at its most talkative.
async fn a_full_run(format: &str, database: Option<&str>) {
    let (place, stripe, receiver) = (Place::new().await, FakeStripe::start(), Receiver::start().await);
    let mut secrets = Secrets::default();
    secrets.text("the customer's address", CUSTOMER);
    let signing = [(); 2].map(|()| format!("whsec_{}", hex::encode(random::bytes::<16>().unwrap())));
    let (signing_secrets, api_base) = (signing.join(" "), format!("http://{}", stripe.address));
    secrets.text("Stripe's key", fake::KEY);
    for secret in &signing {
        secrets.text("a secret of Stripe's webhook", secret);
    }
    tell_the_operator(&place, &receiver, &mut secrets);
    let mut variables = vec![
        ("WIRETOLL_LOG__FORMAT", format),
        ("WIRETOLL_SERVICE__ORIGINS", nostr::ORIGIN),
        ("WIRETOLL_EGRESS__ALLOW", "127.0.0.1"),
        ("WIRETOLL_EGRESS__ALLOW_CUSTOMERS", "127.0.0.1"),
        ("WIRETOLL_STRIPE__KEY", fake::KEY),
        ("WIRETOLL_STRIPE__WEBHOOK_SECRET", &signing_secrets),
        ("WIRETOLL_STRIPE__API_BASE", &api_base),
        ("WIRETOLL_STRIPE__SUCCESS_URL", "https://shop.example/paid"),
        ("WIRETOLL_STRIPE__CANCEL_URL", "https://shop.example/cancelled"),
    ];
    variables.extend(database.map(|url| ("WIRETOLL_DATABASE__URL", url)));
    let (program, api) = place.serve("first.log", &variables).await;

    let first = purchase(&place, &api, &mut secrets).await;
    let key = credentials(&place, &api, &variables, &mut secrets).await;
    webhooks(&api, &key, &receiver, &mut secrets).await;
    commands_of_webhooks(&place, &variables, &receiver, &mut secrets);
    callback(&place, &api, &receiver, &mut secrets).await;
    cards(&api, &stripe, &signing[1], &mut secrets).await;
    failures(&place, &api, &first, &mut secrets).await;

    // Paid while the service is down, and claimed after it.
    let last = a_sold_order(&api, json!({ "serverId": "eu-de", "duration": 1 }), &mut secrets).await;
    let log = program.log.clone();
    program.terminate().await;
    let mut said = std::fs::read_to_string(log).unwrap();
    place.pay(&last).await;
    let (program, api) = place.serve("second.log", &variables).await;
    api.until_paid(&last).await;
    secrets.config(&claimed(&api, json!({ "paymentHash": last["paymentHash"] })).await);
    let log = program.log.clone();
    program.terminate().await;
    said += &std::fs::read_to_string(log).unwrap();

    secrets.folder(place.folder.path());
    assert!(secrets.count() > 120, "{}", secrets.count());
    let prefix = &text(&last, "paymentHash")[..8];
    let known = [
        text(&first, "orderId"),
        prefix,
        "a payment settled",
        "does not accept the macaroon",
        "a webhook was called",
        "an event that claims to be Stripe's was refused",
        "TRACE",
    ];
    assert_keeps(&secrets, &said, &known);
}

/// A webhook of the operator's, and prices in dollars, which cards need.
fn tell_the_operator(place: &Place, receiver: &Receiver, secrets: &mut Secrets) {
    let secret = WebhookSecret::from_key(random::bytes().unwrap()).expose();
    secrets.webhook("the secret of a configured webhook", &secret);
    let url = receiver.url(&format!("/operator?token={}", secrets.token()));
    let config = std::fs::read_to_string(place.path("wiretoll.toml")).unwrap();
    let config = config.replace("sats = 4500", "usd = \"3.00\"");
    let rate = format!("[rate]\nusd_per_btc = \"100000\"\nas_of = \"{}\"\nmax_age = \"7d\"", Clock::System.now());
    place.write("wiretoll.toml", format!("{config}\n{rate}\n[[webhooks]]\nurl = \"{url}\"\nsecret = \"{secret}\"\n"));
}

/// An order whose secrets are noted.
async fn a_sold_order(api: &Api, body: Value, secrets: &mut Secrets) -> Value {
    let key = Clock::System.new_id().to_string();
    secrets.text("idempotency key", &key);
    let order = api.create(&key, body).await;
    secrets.order(&order);
    order
}

async fn claimed(api: &Api, claim: Value) -> String {
    let (status, answer) = api.post(&format!("{API}/claim"), claim).await;
    assert_eq!(status, 200, "{answer}");
    text(&answer, "config").to_owned()
}

/// Two purchases and a renewal: one customer lets us make the key, the other has one.
async fn purchase(place: &Place, api: &Api, secrets: &mut Secrets) -> Value {
    let ours = json!({ "serverId": "eu-de", "duration": 1, "requireClaimToken": true });
    let ours = a_sold_order(api, ours, secrets).await;
    let theirs = PrivateKey::from_random(random::bytes().unwrap());
    let public_key = theirs.public_key().to_string();
    secrets.bytes("the customer's private key", theirs.as_bytes());
    let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": public_key });
    let other = a_sold_order(api, body, secrets).await;
    for order in [&ours, &other] {
        place.pay(order).await;
        api.until_paid(order).await;
    }
    let claim = json!({ "paymentHash": ours["paymentHash"], "claimToken": ours["claimToken"] });
    secrets.config(&claimed(api, claim.clone()).await);
    claimed(api, claim).await;
    let preshared: [u8; 32] = random::bytes().unwrap();
    secrets.bytes("the customer's preshared key", &preshared);
    let claim = json!({ "paymentHash": other["paymentHash"], "wgPresharedKey": STANDARD.encode(preshared) });
    secrets.config(&claimed(api, claim).await);
    let renewal = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": public_key });
    let (status, renewal) = api.post(&format!("{API}/renew"), renewal).await;
    assert_eq!(status, 200, "{renewal}");
    secrets.order(&renewal);
    place.pay(&renewal).await;
    api.until_paid(&renewal).await;
    ours
}

/// What a command prints; its log is kept with the service's.
fn typed(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let done = place.command(arguments).envs(variables.iter().copied()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let mut log = File::options().append(true).open(place.path("first.log")).unwrap();
    log.write_all(&done.stderr).unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// An owner with credentials that are good and others that are not; the key that may do everything.
async fn credentials(place: &Place, api: &Api, variables: &[(&str, &str)], secrets: &mut Secrets) -> String {
    let arguments = ["api-key", "create", "--name", "a test's", "--scopes", "admin", "--quiet"];
    let key = typed(place, variables, &arguments).trim().to_owned();
    let digits = key.strip_prefix("sk_test_").unwrap().to_owned();
    secrets.bytes("an API key", &hex::decode(&digits).unwrap());
    let body = json!({ "name": "another", "scopes": ["orders"] });
    let ask = async |credential: String| {
        let request = api.request("/api/v1/account/api-keys", &body).header("Authorization", credential);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, another) = ask(format!("Bearer {key}")).await;
    assert_eq!(status, 200, "{another}");
    let another = text(&another, "key").strip_prefix("sk_test_").unwrap().to_owned();
    secrets.bytes("an API key that was made by another", &hex::decode(&another).unwrap());
    let event = STANDARD.encode(json!({ "id": digits, "sig": digits.repeat(2), "pubkey": digits }).to_string());
    secrets.text("a signed event", &event);
    signed_requests(api, secrets).await;
    let unknown = hex::encode(random::bytes::<32>().unwrap());
    secrets.bytes("an unknown API key", &hex::decode(&unknown).unwrap());
    let refused = [
        (format!("Bearer sk_test_{another}"), 403),
        (format!("Bearer sk_test_{unknown}"), 401),
        (format!("Bearer sk_live_{unknown}"), 401),
        (format!("Bearer {unknown}"), 401),
        (format!("Basic {unknown}"), 401),
        (format!("Nostr {event}"), 401),
    ];
    for (credential, expected) in refused {
        let (status, answer) = ask(credential).await;
        assert_eq!(status, expected, "{answer}");
    }
    key
}

/// An owner who signs: taken once, and refused as a repeat.
async fn signed_requests(api: &Api, secrets: &mut Secrets) {
    let path = "/api/v1/account/api-keys";
    let body = json!({ "name": "by a signature", "scopes": ["orders"] });
    let header = Signer::new().header("POST", path, Some(body.to_string().as_bytes()), Clock::System.now());
    secrets.text("the header of a signed request", &header);
    for expected in [200, 401] {
        let answer = api.request(path, &body).header("Authorization", &header).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, expected, "{answer}");
        if let Some(key) = answer["key"].as_str() {
            secrets.bytes("an API key of who signed", &hex::decode(&key["sk_test_".len()..]).unwrap());
        }
    }
}

/// An owner's webhook: tested, failed, repeated, rotated; and requests that are wrong.
async fn webhooks(api: &Api, key: &str, receiver: &Receiver, secrets: &mut Secrets) {
    let token = secrets.token();
    let path = format!("/account?token={token}");
    let ask = async |below: &str, body: Value| {
        let request = api.request(&format!("/api/v1/account/webhooks{below}"), &body).bearer_auth(key);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, added) = ask("", json!({ "url": receiver.url(&path), "events": ["order.*"] })).await;
    assert_eq!(status, 200, "{added}");
    let (id, secret) = (text(&added, "id"), text(&added, "secret"));
    secrets.webhook("the secret of a webhook", secret);
    let test = async || assert_eq!(ask(&format!("/{id}/test"), json!({})).await.0, 200);
    test().await;
    until("the test was told", async || receiver.types(&path) == ["webhook.test"]).await;
    assert!(receiver.at(&path)[0].is_signed_with(secret));
    let (status, rotated) = ask(&format!("/{id}/rotate"), json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    secrets.webhook("the secret after a rotation", text(&rotated, "secret"));
    receiver.answers(&path, Answer::status(500));
    test().await;
    until("the test was refused", async || receiver.at(&path).len() == 2).await;
    for wrong in [
        json!({ "url": format!("https://user:{token}@example.net/") }),
        json!({ "url": format!("https://10.0.0.7/{token}") }),
        json!({ "url": token, "events": [secret] }),
        json!({ "url": format!("https://example.net/{token}"), "events": [secret] }),
    ] {
        let (status, answer) = ask("", wrong).await;
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(ask(&format!("/{secret}/test"), json!({})).await.0, 404);
}

/// The operator's commands write a log, too.
fn commands_of_webhooks(place: &Place, variables: &[(&str, &str)], receiver: &Receiver, secrets: &mut Secrets) {
    let url = receiver.url(&format!("/command?token={}", secrets.token()));
    let after = |said: &str, word: &str| said.lines().find_map(|line| line.strip_prefix(word)).unwrap().to_owned();
    let added = typed(place, variables, &["webhook", "add", &url, "--events", "order.*"]);
    let (id, secret) = (after(&added, "webhook "), after(&added, "secret  "));
    secrets.webhook("the secret of a webhook of a command", &secret);
    typed(place, variables, &["webhook", "test", &id]);
    let rotated = typed(place, variables, &["webhook", "rotate", &id]);
    secrets.webhook("another one", &after(&rotated, "secret  "));
    let told = ["webhook deliveries", "audit list", "account list", "api-key list"].map(|command| {
        let arguments: Vec<_> = command.split(' ').collect();
        typed(place, variables, &arguments)
    });
    for told in told {
        assert!(secrets.found_in(&told).is_empty(), "{:?} in {told}", secrets.found_in(&told));
    }
}

/// An order whose customer is called.
async fn callback(place: &Place, api: &Api, receiver: &Receiver, secrets: &mut Secrets) {
    let path = format!("/callback?token={}", secrets.token());
    let body = json!({ "serverId": "eu-de", "duration": 1, "callbackUrl": receiver.url(&path) });
    let order = a_sold_order(api, body, secrets).await;
    secrets.webhook("a callback secret", text(&order, "callbackSecret"));
    place.pay(&order).await;
    until("the callback was called", async || receiver.types(&path) == ["order.paid"]).await;
    assert!(receiver.at(&path)[0].is_signed_with(text(&order, "callbackSecret")));
}

/// Orders by card: one that an event tells of, one that is looked up, and one while Stripe is down.
async fn cards(api: &Api, stripe: &FakeStripe, signing: &str, secrets: &mut Secrets) {
    let body = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" });
    let mut order = async || {
        let order = api.create(&Clock::System.new_id().to_string(), body.clone()).await;
        secrets.text("the page to pay on", text(&order, "checkoutUrl"));
        secrets.text("the claim token of an order by card", text(&order, "claimToken"));
        (text(&order, "orderId").to_owned(), text(&order, "claimToken").to_owned())
    };
    let ((first, token), (second, _)) = (order().await, order().await);
    let now = Clock::System.now();
    let completed = fake::event("evt_1", "checkout.session.completed", now, &fake::paid(&stripe.session_of(&first)));
    let completed = serde_json::to_vec(&completed).unwrap();
    for (secret, expected) in [(fake::SECRET, 400), (signing, 200), (signing, 200)] {
        let header = fake::signature(secret, &completed, now);
        secrets.text("a signature of Stripe's", header.split_once("v1=").unwrap().1);
        let request = api.client.post(format!("{}/v1/webhooks/stripe", api.base)).header("Stripe-Signature", header);
        assert_eq!(request.body(completed.clone()).send().await.unwrap().status(), expected);
    }
    secrets.config(&claimed(api, json!({ "orderId": first, "claimToken": token })).await);
    stripe.pay(stripe.session_of(&second)["id"].as_str().unwrap());
    stripe.go_down(true);
    assert_eq!(api.post(&format!("{API}/create"), body).await.0, 503);
    stripe.go_down(false);
    let path = format!("{API}/{second}?wait=5");
    until("it is looked up", async || api.get(&path).await.1.contains(r#""status":"paid""#)).await;
}

/// Wrong requests that carry secrets, a node that dies, and a macaroon that is revoked and replaced.
async fn failures(place: &Place, api: &Api, paid: &Value, secrets: &mut Secrets) {
    let claim = format!("{API}/claim");
    let unpaid = a_sold_order(api, json!({ "serverId": "eu-de", "duration": 1 }), secrets).await;
    let (token, private) = (text(paid, "claimToken"), PrivateKey::from_random(random::bytes().unwrap()));
    secrets.bytes("a private key in the wrong place", private.as_bytes());
    let in_wrong_place = STANDARD.encode(private.as_bytes());
    for body in [
        json!({ "paymentHash": unpaid["paymentHash"], "claimToken": unpaid["claimToken"] }),
        json!({ "paymentHash": unpaid["paymentHash"], "claimToken": token }),
        json!({ "paymentHash": token }),
        json!({ "paymentHash": paid["paymentHash"], "claimToken": token, "wgPublicKey": format!("{in_wrong_place}x") }),
        json!({ "paymentHash": paid["invoice"], "wgPresharedKey": in_wrong_place }),
    ] {
        let (status, answer) = api.post(&claim, body).await;
        assert!((400..500).contains(&status), "{answer}");
    }
    let broken =
        api.client.post(format!("{}{claim}", api.base)).body(format!("{{\"claimToken\": {token}")).send().await;
    assert_eq!(broken.unwrap().status(), 400);
    assert!(api.get(&format!("{API}/{}", text(&unpaid, "invoice"))).await.0 >= 400);

    place.node.go_down().await.unwrap();
    until("nothing is sold", async || api.get("/health/ready").await.1.contains("degraded")).await;
    let (status, _) = api.post(&format!("{API}/create"), json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!(status, 503);
    place.node.come_up().await.unwrap();
    until("it sells again", async || api.get("/health/ready").await.1.contains("\"ok\"")).await;

    secrets.macaroon(&place.path("wiretoll.macaroon"));
    place.node.inject(Fault::RevokeMacaroons { root_key_id: "7".into() }).await.unwrap();
    until("nothing is sold", async || api.get("/health/ready").await.1.contains("degraded")).await;
    place.bake("8").await;
    secrets.macaroon(&place.path("wiretoll.macaroon"));
    until("it sells again", async || api.get("/health/ready").await.1.contains("\"ok\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_as_text() {
    a_full_run("text", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_as_json_on_postgres() {
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else { return };
    let password = hex::encode(random::bytes::<16>().unwrap());
    let url = fresh_postgres(&server, &password).await;
    a_full_run("json", Some(&url)).await;
}

/// A database of its own, as an address with a password.
async fn fresh_postgres(server: &str, password: &str) -> String {
    use sqlx::Connection as _;
    let name = format!("operations_{}", hex::encode(random::bytes::<16>().unwrap()));
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = server.rsplit_once('/').unwrap();
    let (scheme, host) = server.split_once("://").unwrap();
    // A server that trusts its users does not ask for it; one that has its own is left with that.
    let (user, host) = host.split_once('@').unwrap_or(("postgres", host));
    let user = if user.contains(':') { user.to_owned() } else { format!("{user}:{password}") };
    format!("{scheme}://{user}@{host}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_us_does_not_show_its_password() {
    let place = Place::new().await;
    let password = hex::encode(random::bytes::<16>().unwrap());
    let url = format!("postgres://wiretoll:{password}@127.0.0.1:1/wiretoll");
    for url in [url.as_str(), &url.replace("127.0.0.1:1", "127.0.0.1:port"), &url.replace("postgres:", "postgress:")] {
        for arguments in [&["serve"] as &[_], &["config", "check"]] {
            let mut secrets = Secrets::default();
            secrets.text("password", &password);
            let program =
                Program::start(place.command(arguments).env("WIRETOLL_DATABASE__URL", url), &place.path("refused.log"));
            let log = program.log.clone();
            assert!(!program.ended().await.success(), "{url}");
            assert_keeps(&secrets, &std::fs::read_to_string(log).unwrap(), &["wiretoll: "]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_and_its_node_say_no_secret() {
    let folder = TempDir::new().unwrap();
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data-dir", "."];
    let mut program = command(env!("CARGO_BIN_EXE_wiretoll"), folder.path());
    let program = Program::start(program.args(arguments), &folder.path().join("dev.log"));
    let address = program.says("API    http://").await;
    let api = Api::at(&address, &program.says("metrics  http://").await);
    until("it can sell", async || api.get("/health/ready").await.1.contains("\"ok\"")).await;
    let mut secrets = Secrets::default();
    let order = a_sold_order(&api, json!({ "serverId": "eu-de", "duration": 1 }), &mut secrets).await;
    assert_eq!(api.post("/dev/pay", json!({ "invoice": order["invoice"] })).await.0, 200);
    api.until_paid(&order).await;
    secrets.config(&claimed(&api, json!({ "paymentHash": order["paymentHash"] })).await);
    assert!(api.metrics().await.contains("wiretoll_payments_total{provider=\"lightning\",outcome=\"applied\"} 1"));
    let log = program.log.clone();
    program.terminate().await;
    secrets.folder(folder.path());
    secrets.macaroon(&folder.path().join("node/wiretoll.macaroon"));
    assert_keeps(&secrets, &std::fs::read_to_string(log).unwrap(), &[text(&order, "orderId"), "a payment settled"]);
}

// --- the end ---------------------------------------------------------------------------------------------------------

/// A service that is in the middle of a request which its node does not answer.
async fn in_the_middle_of_a_request(place: &Place) -> (Program, Api, JoinSet<reqwest::Result<reqwest::Response>>) {
    let (program, api) = place.serve("stopped.log", &[]).await;
    place.node.inject(Fault::Delay { method: Method::AddInvoice, milliseconds: 120_000 }).await.unwrap();
    let mut requests = JoinSet::new();
    requests.spawn(api.request(&format!("{API}/create"), &json!({ "serverId": "eu-de", "duration": 1 })).send());
    let begun = "wiretoll_open_orders{state=\"creating\"} 1";
    until("the order is being made", async || api.metrics().await.contains(begun)).await;
    (program, api, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_cut_off_and_its_order_ends_later() {
    let place = Place::new().await;
    let (program, _api, mut requests) = in_the_middle_of_a_request(&place).await;
    let log = program.log.clone();
    program.terminate().await;
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("did not end in time and were cut off") && !said.contains("stopped hard"), "{said}");
    let cut_off = requests.join_next().await.unwrap().unwrap();
    assert!(cut_off.is_err(), "{cut_off:?}");
    // What was stored before the node was asked is found by the next process.
    place.node.inject(Fault::Delay { method: Method::AddInvoice, milliseconds: 0 }).await.unwrap();
    let (program, api) = place.serve("again.log", &[]).await;
    let page = api.metrics().await;
    let (found, ended) = ("wiretoll_open_orders{state=\"creating\"} 1", "wiretoll_orders_total{state=\"failed\"} 1");
    assert!(page.contains(found) || page.contains(ended), "{page}");
    program.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let place = Place::new().await;
    let (program, _api, _requests) = in_the_middle_of_a_request(&place).await;
    let log = program.log.clone();
    program.signal();
    program.says("stopping; once more to stop at once").await;
    program.terminate().await;
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("stopped hard") && !said.contains("were cut off"), "{said}");
}
