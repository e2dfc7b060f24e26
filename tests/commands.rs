//! The commands as an operator runs them: the built program, its exit codes, what it prints, and `kill -9`.

#![expect(clippy::unwrap_used, reason = "a test: clippy spares only the functions marked as one")]

mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use futures_util::StreamExt as _;
use lightning_invoice::Bolt11Invoice;
use process::{Process, command};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use wiretoll::lnd::macaroon::BAKE;
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::SimulatorSettings;

const CONFIG: &str = r#"
[lnd]
address = "https://127.0.0.1:1"
certificate_file = "node/tls.cert"
macaroon_file = "wiretoll.macaroon"
network = "regtest"

[[plans]]
months = 1
sats = 4500

[[servers]]
id = "eu-de"
country = "Germany"
city = "Nuremberg"
flag = "🇩🇪"
domain = "de1.example.net"
public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
pool = "10.9.0.0/24"
"#;

// --- the service over HTTP -------------------------------------------------------------------------------------------

/// A running API, as a client sees it.
struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    fn at(address: &str) -> Self {
        Self { base: format!("http://{address}"), client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.client.post(self.url(path)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Orders one month, as soon as the node can be paid.
    async fn order(&self) -> Value {
        let body = json!({ "serverId": "eu-de", "duration": 1 });
        let mut answer = (0, Value::Null);
        for _ in 0..100 {
            answer = self.post("/api/public/v1/subscription/create", body.clone()).await;
            if answer.0 != 503 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1
    }

    async fn until_paid(&self, order: &Value) {
        let path = format!("/api/public/v1/subscription/{}?wait=5", text(order, "paymentHash"));
        for _ in 0..10 {
            let (_, check) = self.get(&path).await;
            if check.contains(r#""status":"paid""#) {
                return;
            }
        }
        panic!("it was never paid: {order}");
    }

    /// The config of an order that is paid.
    async fn claim(&self, order: &Value) -> String {
        let (status, claim) =
            self.post("/api/public/v1/subscription/claim", json!({ "paymentHash": order["paymentHash"] })).await;
        assert_eq!(status, 200, "{claim}");
        text(&claim, "config").to_owned()
    }

    async fn dev_pay(&self, order: &Value) -> (u16, Value) {
        self.post("/dev/pay", json!({ "invoice": order["invoice"] })).await
    }
}

fn text<'v>(body: &'v Value, key: &str) -> &'v str {
    body[key].as_str().unwrap_or_else(|| panic!("no {key}: {body}"))
}

// --- the program as a process ----------------------------------------------------------------------------------------

fn wiretoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut program = command(env!("CARGO_BIN_EXE_wiretoll"), folder);
    program.args(arguments);
    program
}

/// Runs a command that ends by itself, and returns its exit code and what it said.
fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut program = command("timeout", folder);
    program.args(["30", env!("CARGO_BIN_EXE_wiretoll")]).args(arguments).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = program.output().unwrap();
    let code = status.code().unwrap();
    assert_ne!(code, 124, "{arguments:?} did not end");
    (code, String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// `dev` on a data folder.
fn dev(data: &Path) -> (Process, Api) {
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let dev = Process::start(&mut wiretoll(data, &arguments));
    let api = Api::at(dev.says("API    http://").trim_end_matches("/api/public/v1/servers"));
    (dev, api)
}

/// An operator's folder: a configuration, a macaroon, and a simulated node to sell for.
struct Place {
    folder: TempDir,
    node: Simulator,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = SimulatorSettings { data_dir: Some(folder.path().join("node")), ..SimulatorSettings::default() };
        let node = Simulator::start(settings).await.unwrap();
        let place = Self { folder, node };
        let address = format!("https://{}", place.node.address());
        place.write("wiretoll.toml", CONFIG.replace("https://127.0.0.1:1", &address));
        place.write("wiretoll.macaroon", place.node.service_macaroon().await.unwrap().to_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
        run(self.folder.path(), arguments, variables)
    }

    fn serve(&self) -> (Process, Api) {
        self.serve_with(&[])
    }

    fn serve_with(&self, variables: &[(&str, &str)]) -> (Process, Api) {
        let mut program = wiretoll(self.folder.path(), &["serve"]);
        program.envs(variables.iter().copied());
        let serve =
            Process::start(program.env("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0").env("WIRETOLL_LOG__LEVEL", "trace"));
        let api = Api::at(&serve.says("address="));
        (serve, api)
    }

    /// What `serve` says when it refuses to start.
    fn refused(&self, variables: &[(&str, &str)]) -> String {
        let (code, said) = self.run(&["serve"], &[&[("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0")], variables].concat());
        assert_eq!(code, 1, "{said}");
        said
    }

    async fn pay(&self, order: &Value) {
        let outcome = self.node.pay(PaymentOrder::of(text(order, "invoice"))).await.unwrap();
        assert!(matches!(outcome, PaymentOutcome::Settled { .. }), "{outcome:?}");
    }
}

// --- demo and dev ----------------------------------------------------------------------------------------------------

#[test]
fn the_demo_ends_well_by_itself_within_half_a_minute() {
    let folder = TempDir::new().unwrap();
    // It compares its two claims by itself.
    for arguments in [&["demo"] as &[_], &["demo", "--no-qr"]] {
        let (code, told) = run(folder.path(), arguments, &[]);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("The same claim gives the same config again.") && told.contains("PrivateKey = "));
        assert_eq!(told.contains("Scan it with the WireGuard app:"), arguments.len() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_keeps_orders_node_and_config_over_kill_9() {
    let data = TempDir::new().unwrap();
    let certificate = || std::fs::read(data.path().join("node/tls.cert")).unwrap();
    let payee = |order: &Value| text(order, "invoice").parse::<Bolt11Invoice>().unwrap().get_payee_pub_key();

    let (killed, api) = dev(data.path());
    let order = api.order().await;
    let certificate_before = certificate();
    drop(killed);

    let (killed, api) = dev(data.path());
    assert_eq!(api.dev_pay(&order).await.0, 200);
    api.until_paid(&order).await;
    let config = api.claim(&order).await;
    drop(killed);

    let (_dev, api) = dev(data.path());
    assert_eq!(api.claim(&order).await, config);
    assert_eq!(payee(&api.order().await), payee(&order));
    assert_eq!(certificate(), certificate_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_pay_says_what_came_of_an_invoice() {
    let (data, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (killed, api) = dev(data.path());
    let (paid, unpaid) = (api.order().await, api.order().await);
    let settled = (200, json!({ "status": "settled", "paymentHash": paid["paymentHash"] }));
    assert_eq!(api.dev_pay(&paid).await, settled);
    assert_eq!(api.dev_pay(&paid).await, settled, "the same again");

    let (_other, other_api) = dev(elsewhere.path());
    let (status, unknown) = api.dev_pay(&other_api.order().await).await;
    assert_eq!((status, text(&unknown, "error")), (404, "ERR_RESOURCE_NOT_FOUND"));

    let (status, bad) = api.post("/dev/pay", json!({ "invoice": "lnbcrt1" })).await;
    assert_eq!((status, text(&bad, "error")), (400, "ERR_INVALID_INPUT"));

    // The node wakes up an hour later, when the invoice has expired.
    drop(killed);
    let journal = data.path().join("node/journal.jsonl");
    let later = std::fs::read_to_string(&journal).unwrap() + "{\"clock\":{\"offset_ms\":3600000}}\n";
    std::fs::write(&journal, later).unwrap();
    let (_dev, api) = dev(data.path());
    let (status, closed) = api.dev_pay(&unpaid).await;
    assert_eq!((status, text(&closed, "error")), (409, "ERR_CONFLICT"));
    assert_eq!(api.dev_pay(&paid).await, settled);
}

// --- simulator and serve ---------------------------------------------------------------------------------------------

/// `simulator` on a data folder; its addresses for gRPC and control.
fn simulator(folder: &Path, listen: &str, control: &str) -> (Process, String, String) {
    let arguments = ["simulator", "--data-dir", "node", "--listen", listen, "--control", control];
    let simulator = Process::start(&mut wiretoll(folder, &arguments));
    let grpc = simulator.says("gRPC         https://");
    let control = simulator.says("control      http://");
    (simulator, grpc, control)
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_outlives_its_node_and_sees_what_was_paid_to_the_next() {
    let folder = TempDir::new().unwrap();
    let (killed, grpc, control) = simulator(folder.path(), "127.0.0.1:0", "127.0.0.1:0");
    std::fs::write(folder.path().join("wiretoll.toml"), CONFIG.replace("127.0.0.1:1", &grpc)).unwrap();
    let mut program = wiretoll(folder.path(), &["serve"]);
    program.env("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0");
    program.env("WIRETOLL_LND__MACAROON_FILE", "node/wiretoll.macaroon");
    let serve = Process::start(&mut program);
    let api = Api::at(&serve.says("address="));
    let order = api.order().await;

    drop(killed);
    let (_simulator, _, control) = simulator(folder.path(), &grpc, &control);
    let (status, paid) = Api::at(&control).post("/pay", json!({ "invoice": order["invoice"] })).await;
    assert_eq!((status, text(&paid, "status")), (200, "settled"));
    api.until_paid(&order).await;
    api.claim(&order).await;

    let (status, body) = api.post("/dev/pay", json!({ "invoice": order["invoice"] })).await;
    assert_eq!((status, text(&body, "error")), (404, "ERR_RESOURCE_NOT_FOUND"), "only dev has a payer");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_macaroons_that_can_spend_or_cannot_sell() {
    let place = Place::new().await;
    place.write("wiretoll.macaroon", place.node.admin_macaroon().await.unwrap().to_bytes());
    let can_spend = place.refused(&[]);
    assert!(can_spend.contains("so a thief of it could spend") && can_spend.contains(BAKE), "{can_spend}");

    place.write("wiretoll.macaroon", "no macaroon");
    let unreadable = place.refused(&[]);
    assert_eq!(unreadable.matches("the settings for LND cannot be used").count(), 1, "{unreadable}");
    assert!(unreadable.contains("wiretoll.macaroon: neither a binary macaroon nor"), "{unreadable}");

    let blind = place.node.macaroon("7", &["invoices:read", "invoices:write"]).await.unwrap();
    place.write("wiretoll.macaroon", blind.to_bytes());
    let cannot_sell = place.refused(&[]);
    assert!(cannot_sell.contains("uri:/lnrpc.Lightning/GetInfo") && cannot_sell.contains(BAKE), "{cannot_sell}");
    assert!(!place.path("wiretoll.db").exists(), "it was refused before anything was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_a_database_of_another_key_or_pool() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    api.order().await;
    assert!(serve.terminate().0.success());

    let pool = place.refused(&[("WIRETOLL_SERVERS__0__POOL", "10.10.0.0/24")]);
    assert!(pool.contains("server eu-de was sold from 10.9.0.0/24"), "{pool}");
    let other_key = format!("1:{}", "11".repeat(32));
    let different = place.refused(&[("WIRETOLL_INSTANCE_KEY", &other_key)]);
    assert!(different.contains("instance key 1 is not the one that this database was made with"), "{different}");

    std::fs::rename(place.path("instance.key"), place.path("instance.key.moved")).unwrap();
    let missing = place.refused(&[]);
    assert!(missing.contains("instance.key is missing, and this database depends on it"), "{missing}");
    assert!(!place.path("instance.key").exists(), "no other key was made");
    let (code, checked) = place.run(&["config", "check"], &[]);
    assert!(code == 1 && checked.contains("depends on it"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_and_config_check_report_all_mistakes_at_once() {
    let place = Place::new().await;
    let wrong = CONFIG.replace("https://", "http://").replace("months = 1", "months = 0").replace("10.9.", "8.9.");
    place.write("wrong.toml", wrong);
    for arguments in [["serve", "--config", "wrong.toml"].as_slice(), &["config", "check", "-c", "wrong.toml"]] {
        let (code, said) = place.run(arguments, &[]);
        assert_eq!(code, 1, "{said}");
        for mistake in ["3 mistakes", "lnd.address: ", "plans[0].months: ", "servers[0].pool: "] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
    }
    let (code, said) = place.run(&["config", "check", "--config", "nowhere.toml"], &[]);
    assert!(code == 1 && said.contains("nowhere.toml"), "{said}");
    assert_eq!(place.run(&["config", "check"], &[]), (0, "wiretoll.toml is in order\n".to_owned()));
    assert!(!place.path("wiretoll.db").exists() && !place.path("instance.key").exists(), "it makes nothing");
    assert_eq!(place.run(&["config", "check"], &[("WIRETOLL_CONFIG", "wrong.toml")]).0, 1);
    let (code, said) = place.run(&["config", "check"], &[("WIRETOLL_LND__CERTIFICATE_FILE", "no.cert")]);
    assert!(code == 1 && said.contains("no.cert: No such file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_says_what_would_not_be_sold() {
    let place = Place::new().await;
    let said = |variables: &[(&str, &str)]| {
        let (code, said) = place.run(&["config", "check"], variables);
        assert!(code == 0 && said.starts_with("wiretoll.toml is in order\n"), "{said}");
        said
    };
    assert_eq!(said(&[]).lines().count(), 1);
    let in_dollars = std::fs::read_to_string(place.path("wiretoll.toml")).unwrap();
    let in_dollars = in_dollars.replace("sats = 4500", "usd = \"3.00\"");
    let in_dollars = in_dollars.lines().filter(|line| !line.starts_with("public_key")).collect::<Vec<_>>().join("\n");
    let rate = "\n[rate]\nusd_per_btc = \"100000\"\nas_of = \"2026-01-01T00:00:00Z\"\nmax_age = \"24h\"\n";
    place.write("wiretoll.toml", in_dollars + rate);
    let both = said(&[]);
    assert!(both.contains("server eu-de has no public_key") && both.contains("from 2026-01-01"), "{both}");
    let now = wiretoll::clock::Clock::System.now().to_string();
    assert!(!said(&[("WIRETOLL_RATE__AS_OF", &now)]).contains("dollars"), "a fresh rate sells");
}

#[test]
fn the_example_is_what_the_loader_takes() {
    let folder = TempDir::new().unwrap();
    let (code, example) = run(folder.path(), &["config", "example"], &[]);
    assert_eq!((code, example.as_str()), (0, wiretoll::config::example()));
    std::fs::write(folder.path().join("wiretoll.toml"), example).unwrap();
    // Nothing is wrong with it but that there is no node: its macaroon is the first thing that is missed.
    let (code, checked) = run(folder.path(), &["config", "check"], &[]);
    assert!(code == 1 && checked.contains("wiretoll.macaroon: No such file") && checked.contains(BAKE), "{checked}");
}

// --- explain, openapi, backup ----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn explain_and_log_tell_the_story_and_no_secret() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    let order = api.order().await;
    let (hash, id) = (text(&order, "paymentHash"), text(&order, "orderId"));
    let (code, before) = place.run(&["explain", hash], &[]);
    assert!(code == 0 && before.contains("state         pending") && before.contains("LND now       open"), "{before}");

    place.pay(&order).await;
    api.until_paid(&order).await;
    let config = api.claim(&order).await;
    let (code, after) = place.run(&["explain", hash], &[]);
    assert_eq!(code, 0, "{after}");
    for part in
        ["state         paid", "LND now       settled", "order.created", "order.paid", "payment       4500000 msat"]
    {
        assert!(after.contains(part), "{part}: {after}");
    }
    assert_eq!(place.run(&["explain", "--config", "wiretoll.toml", id], &[]), (0, after.clone()));
    let log = serve.terminate().1.join("\n");
    assert!(log.contains("a payment settled") && log.contains(id), "{log}");
    for secret in secrets(&place, &order, &config) {
        assert!([&before, &after, &log].iter().all(|text| !text.contains(&secret)), "{secret}\n{after}\n{log}");
    }

    for unknown in ["00".repeat(32).as_str(), "0190a8f2-0000-7000-8000-00000000000a"] {
        let (code, said) = place.run(&["explain", unknown], &[]);
        assert_eq!((code, said.as_str()), (1, "wiretoll: no order has this payment hash or id\n"));
    }
    assert_eq!(place.run(&["explain", "nonsense"], &[]).0, 1);
}

/// All that must stay secret of an order, as it lies in the node, the config and the answer to the customer.
fn secrets(place: &Place, order: &Value, config: &str) -> Vec<String> {
    let journal = std::fs::read_to_string(place.path("node/journal.jsonl")).unwrap();
    let preimages = journal.split(r#""preimage":""#).skip(1).map(|rest| rest[..64].to_owned());
    let keys = config.lines().filter_map(|line| line.split_once("Key = "));
    let keys = keys.filter(|(name, _)| !name.starts_with("Public")).map(|(_, key)| key.to_owned());
    let instance_key = std::fs::read_to_string(place.path("instance.key")).unwrap();
    let instance_key = instance_key.lines().last().unwrap().trim_start_matches("1:").to_owned();
    let macaroon = hex::encode(std::fs::read(place.path("wiretoll.macaroon")).unwrap());
    let others = [instance_key, macaroon, text(order, "claimToken").to_owned(), text(order, "invoice").to_owned()];
    let secrets: Vec<_> = preimages.chain(keys).chain(others).collect();
    assert!(secrets.len() >= 7 && secrets.iter().all(|secret| secret.len() >= 44), "{secrets:?}");
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_is_what_is_served_and_its_page_needs_no_internet() {
    let data = TempDir::new().unwrap();
    let (_dev, api) = dev(data.path());
    let (code, printed) = run(data.path(), &["openapi"], &[]);
    assert_eq!(code, 0);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert!(text(&printed, "openapi").starts_with("3.1"));
    let (status, served) = api.get("/openapi.json").await;
    assert_eq!((status, serde_json::from_str::<Value>(&served).unwrap()), (200, printed));

    let (status, page) = api.get("/docs").await; // redirected
    assert_eq!(status, 200);
    let references: Vec<_> =
        ["src=\"", "href=\""].iter().flat_map(|attribute| quoted_after(&page, attribute)).collect();
    assert!(references.len() >= 5, "{page}");
    for reference in references {
        assert!(!reference.contains("//"), "{reference}");
        let (status, file) = api.get(&format!("/docs/{}", reference.trim_start_matches("./"))).await;
        assert!(status == 200 && !file.is_empty(), "{reference}");
        if reference.ends_with("initializer.js") {
            assert!(file.contains("\"/openapi.json\"") && !file.contains("://"), "{file}");
        }
        // Nothing is imported or fetched by a style from elsewhere.
        let is_style = reference.split('.').next_back() == Some("css");
        assert!(!is_style || !file.contains("url(http") && !file.contains("@import"), "{reference}");
    }
}

fn quoted_after<'t>(text: &'t str, marker: &str) -> Vec<&'t str> {
    text.split(marker).skip(1).filter_map(|rest| rest.split_once('"')).map(|(quoted, _)| quoted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_serving_and_holds_the_orders() {
    let place = Place::new().await;
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 1 && said.contains("there is no database at"), "{said}");
    assert!(!place.path("copy.db").exists() && !place.path("wiretoll.db").exists());

    let (_serve, api) = place.serve();
    let order = api.order().await;
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 0 && said.contains("copied to copy.db"), "{said}");
    let on_the_copy = [("WIRETOLL_DATABASE__URL", "sqlite:copy.db")];
    let (code, story) = place.run(&["explain", text(&order, "paymentHash")], &on_the_copy);
    assert!(code == 0 && story.contains("state         pending"), "{story}");

    let before = std::fs::read(place.path("copy.db")).unwrap();
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 1 && said.contains("copy.db exists already"), "{said}");
    assert_eq!(std::fs::read(place.path("copy.db")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgres_is_left_to_pg_dump() {
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else { return };
    let place = Place::new().await;
    let url = fresh_postgres(&server).await;
    let (code, said) = place.run(&["backup", "copy.db"], &[("WIRETOLL_DATABASE__URL", &url)]);
    assert!(code == 1 && said.contains("back it up with pg_dump"), "{said}");
    assert!(!place.path("copy.db").exists());
    assert_eq!(place.run(&["config", "check"], &[("WIRETOLL_DATABASE__URL", &url)]).0, 0);
}

async fn fresh_postgres(server: &str) -> String {
    use sqlx::Connection as _;
    let name = format!("commands_{}", hex::encode(wiretoll::random::bytes::<16>().unwrap()));
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

// --- order and payment -----------------------------------------------------------------------------------------------

/// Beside a service that runs on the same database.
#[tokio::test(flavor = "multi_thread")]
async fn orders_and_payments_are_listed_shown_and_resolved() {
    let place = Place::new().await;
    let (code, said) = place.run(&["order", "list"], &[]);
    assert!(code == 1 && said.contains("there is no database at"), "{said}");
    place.write("wiretoll.db", "");
    let (code, said) = place.run(&["payment", "list"], &[]);
    assert!(code == 1 && said.contains("not set up yet: start `wiretoll serve`"), "{said}");
    let missing = place.refused(&[("WIRETOLL_DATABASE__URL", "sqlite:no/such/folder.db")]);
    assert!(
        missing.matches("cannot be opened").count() == 1 && missing.matches("No such file").count() == 1,
        "{missing}"
    );
    let (_serve, api) = place.serve();
    let (unpaid, paid) = (api.order().await, api.order().await);
    let more = PaymentOrder { amount_msat: Some(4_600_000), ..PaymentOrder::of(text(&paid, "invoice")) };
    place.node.pay(more).await.unwrap();
    api.until_paid(&paid).await;

    let (code, list) = place.run(&["order", "list"], &[]);
    assert!(code == 0 && list.starts_with("ORDER ") && list.lines().count() == 3, "{list}");
    for order in [&unpaid, &paid] {
        let hash = text(order, "paymentHash");
        assert!(list.contains(text(order, "orderId")) && list.contains(&hash[..8]) && !list.contains(hash), "{list}");
    }
    let (_, list) = place.run(&["order", "list", "--state", "pending", "--since", "2026-01-01", "--full-hash"], &[]);
    assert!(list.contains(text(&unpaid, "paymentHash")) && !list.contains(text(&paid, "orderId")), "{list}");
    let (_, list) = place.run(&["order", "list", "--json", "--limit", "1"], &[]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["amountSats"], list.as_array().unwrap().len()), (&json!(4500), 1));

    let (code, open) = place.run(&["payment", "list", "--open", "--json"], &[]);
    assert_eq!(code, 0, "{open}");
    let open: Value = serde_json::from_str(&open).unwrap();
    assert_eq!((&open[0]["excessMsat"], &open[0]["orderId"]), (&json!(100_000), &paid["orderId"]));
    let payment = text(&open[0], "paymentId");
    let (_, shown) = place.run(&["order", "show", payment], &[]);
    assert!(shown.contains("waits for you: give back") && shown.contains("payment.excess"), "{shown}");
    assert_eq!(place.run(&["explain", text(&paid, "orderId")], &[]).1, shown, "one story under every name");

    let (code, said) = place.run(&["payment", "resolve", payment, "--note", "sent back"], &[]);
    assert!(code == 0 && said.starts_with("resolved: "), "{said}");
    let (code, said) = place.run(&["payment", "resolve", payment, "--note", "again"], &[]);
    assert!(code == 0 && said.contains("was resolved before") && said.contains("sent back"), "{said}");
    assert_eq!(place.run(&["payment", "list", "--open"], &[]).1.lines().count(), 1, "the heading");
    assert!(place.run(&["payment", "list"], &[]).1.contains("resolved"));
    assert!(place.run(&["order", "show", payment], &[]).1.contains(": sent back"));
}

/// The service runs on a backup from before the order; the operator adopts its payment beside it.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_52_an_orphan_is_adopted_beside_the_service() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    let before = api.order().await;
    place.pay(&before).await;
    api.until_paid(&before).await;
    assert_eq!(place.run(&["backup", "copy.db"], &[]).0, 0);
    let lost = api.order().await;
    place.pay(&lost).await;
    api.until_paid(&lost).await;
    assert!(serve.terminate().0.success());

    let on_the_copy = [("WIRETOLL_DATABASE__URL", "sqlite:copy.db")];
    let (_serve, api) = place.serve_with(&on_the_copy);
    let hash = text(&lost, "paymentHash");
    let mut orphans = json!([]);
    for _ in 0..600 {
        let (code, told) =
            place.run(&["payment", "list", "--outcome", "orphaned", "--json", "--full-hash"], &on_the_copy);
        assert_eq!(code, 0, "{told}");
        orphans = serde_json::from_str(&told).unwrap();
        if orphans[0]["paymentHash"] == hash {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let orphan = text(&orphans[0], "paymentId");
    let (_, shown) = place.run(&["order", "show", hash], &on_the_copy);
    assert!(shown.contains("order adopt") && shown.contains("LND now       settled"), "{shown}");

    let (code, said) = place.run(&["order", "adopt", orphan, "--months", "1"], &on_the_copy);
    assert!(code == 2 && said.contains("--server") && said.contains("--renews"), "{said}");
    let adopt = ["order", "adopt", orphan, "--server", "eu-de", "--months", "1"];
    let other_key = format!("1:{}", "11".repeat(32));
    let (code, said) = place.run(&adopt, &[on_the_copy[0], ("WIRETOLL_INSTANCE_KEY", &other_key)]);
    assert!(code == 1 && said.contains("is not the one that this database was made with"), "{said}");
    let (code, said) = place.run(&adopt, &on_the_copy);
    assert!(code == 0 && said.contains(text(&lost, "orderId")), "{said}");
    let (code, said) = place.run(&adopt, &on_the_copy);
    assert!(code == 1 && said.contains("the payment was not adopted") && said.contains("order show"), "{said}");
    api.until_paid(&lost).await;
    assert!(api.claim(&lost).await.contains("PrivateKey"), "the customer's app claims as ever");
}

#[test]
fn the_operator_s_verbs_teach_themselves() {
    let folder = TempDir::new().unwrap();
    for verb in [["order", "list"], ["order", "show"], ["order", "adopt"], ["payment", "list"], ["payment", "resolve"]]
    {
        let (code, help) = run(folder.path(), &[verb[0], verb[1], "--help"], &[]);
        assert!(code == 0 && help.contains("Example:") && help.contains("--config"), "{help}");
    }
    for (arguments, expected) in [
        (["order", "list", "--limit", "0"], "1..=1000"),
        (["order", "list", "--limit", "1001"], "1..=1000"),
        (["order", "list", "--state", "open"], "pending"),
        (["order", "list", "--since", "today"], "2026-11-22"),
        (["payment", "list", "--outcome", "late"], "applied_late"),
    ] {
        let (code, said) = run(folder.path(), &arguments, &[]);
        assert!(code == 2 && said.contains(expected), "{arguments:?}: {said}");
    }
}

// --- the end ---------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_streams_and_polls_and_then_the_program() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    let order = api.order().await;
    let path = format!("/api/public/v1/subscription/{}", text(&order, "paymentHash"));
    let mut stream = api.client.get(api.url(&format!("{path}/events"))).send().await.unwrap().bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: status\n"));
    let mut polls = JoinSet::new();
    polls.spawn(api.client.get(api.url(&format!("{path}?wait=30"))).send());
    tokio::time::sleep(Duration::from_millis(500)).await; // so that the poll waits by now

    let began = Instant::now();
    assert!(serve.terminate().0.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let poll = timeout(Duration::from_secs(20), polls.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(poll.status(), 200);
    assert!(timeout(Duration::from_secs(20), stream.next()).await.unwrap().is_none(), "the stream ends cleanly");
}
