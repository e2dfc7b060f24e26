//! Every command of the README is run, as it stands there, in the order of its stories.
//!
//! A block is marked by the line before it: `<!-- test: NAME -->` for one that a test here runs as `block("NAME")`, or
//! `<!-- not run: REASON -->`. What is replaced before it is run: `cargo run --release --` by the built program, the
//! ports by free ones, and `lncli` by the simulated node's own baker.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test: clippy spares only the functions marked as one"
)]

mod process;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use process::{Process, command};
use tempfile::TempDir;
use wiretoll::clock::Clock;
use wiretoll::domain::webhook_secret::{WebhookSecret, seconds};
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::SimulatorSettings;

const README: &str = include_str!("../README.md");
/// Languages of blocks that hold no command.
const SHOWN: [&str; 4] = ["text", "nginx", "ini", "toml"];

/// A fenced block, and the line before it.
struct Block {
    marker: &'static str,
    language: &'static str,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut lines = README.lines();
    let (mut blocks, mut before) = (Vec::new(), "");
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            blocks.push(Block { marker: before, language, text });
        }
        before = line;
    }
    blocks
}

fn test_name(marker: &str) -> Option<&str> {
    marker.strip_prefix("<!-- test: ")?.strip_suffix(" -->")
}

/// The commands of the block of that name.
fn block(name: &str) -> String {
    let found = blocks().into_iter().find(|block| test_name(block.marker) == Some(name));
    found.unwrap_or_else(|| panic!("the README has no block {name}")).text.replace("cargo run --release --", "wiretoll")
}

fn bash(script: &str, folder: &Path, variables: &[(&str, String)]) -> Output {
    for tool in ["curl", "jq", "python3"] {
        let found = command("sh", folder).args(["-c", &format!("command -v {tool}")]).output().unwrap();
        assert!(found.status.success(), "{tool} is missing; ./scripts/test.sh installs it");
    }
    let mut shell = command("timeout", folder);
    shell.args(["90", "bash", "-euo", "pipefail", "-c", script]).envs(variables.iter().cloned());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", said(&output));
    output
}

/// Runs a block of one command until the test ends it.
fn start(name: &str, more: &str, folder: &Path, variables: &[(&str, String)]) -> Process {
    let script = block(name);
    assert_eq!(script.lines().count(), 1, "{script}");
    let mut shell = command("bash", folder);
    Process::start(shell.args(["-c", &format!("exec {} {more}", script.trim())]).envs(variables.iter().cloned()))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_command_is_run_or_says_why_not() {
    for Block { marker, language, text } in blocks() {
        if SHOWN.contains(&language) {
            continue;
        }
        assert!(["bash", "javascript", "python"].contains(&language), "{text}");
        let reason = marker.strip_prefix("<!-- not run: ").and_then(|marker| marker.strip_suffix(" -->"));
        let run = test_name(marker).is_some_and(|name| include_str!("readme.rs").contains(&format!("(\"{name}\"")));
        assert!(run || reason.is_some_and(|reason| !reason.is_empty()), "nothing runs this:\n{text}");
    }
}

#[test]
fn the_demo_plays_what_the_readme_shows() {
    let folder = TempDir::new().unwrap();
    let told = said(&bash(&block("demo"), folder.path(), &[]));
    for expected in ["\"status\": \"paid\"", "\n[Interface]\nPrivateKey = ", "Scan it with the WireGuard app:"] {
        assert!(told.contains(expected), "{expected}");
    }
    let sample = blocks().into_iter().find(|block| block.language == "text").unwrap().text;
    let steps: Vec<_> = sample.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(!steps.is_empty() && steps.iter().all(|step| told.contains(step)), "{steps:?}");
}

#[test]
fn a_client_buys_pays_waits_and_claims() {
    let folder = TempDir::new().unwrap();
    let dev = start("dev", "--listen 127.0.0.1:0", folder.path(), &[]);
    let api = format!("http://{}", dev.says("API    http://").trim_end_matches("/api/public/v1/servers"));
    let recipe = block("buy").replace("http://127.0.0.1:8080", &api) + &block("events");

    let first = said(&bash(&recipe, folder.path(), &[]));
    let file = folder.path().join("wiretoll.conf");
    let config = std::fs::read_to_string(&file).unwrap();
    assert!(config.contains("\nPrivateKey = ") && config.contains("\n[Peer]\n"), "{config}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(first.contains("event: status\ndata: {") && first.contains(r#""status":"paid""#), "{first}");

    // With a fresh key each run is a purchase of its own.
    bash(&recipe, folder.path(), &[]);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), config);
    let (status, log) = dev.terminate();
    assert!(status.success() && log.iter().all(|line| !line.contains("ERROR")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_up_sells_backs_up_and_explains() {
    let folder = TempDir::new().unwrap();
    let (simulator, mut variables) = a_node_for_the_example(folder.path()).await;
    let at = a_free_port();
    variables.push(("WIRETOLL_SERVICE__LISTEN", at.clone()));
    variables.push(("WIRETOLL_SERVICE__ORIGINS", format!("http://{at}")));
    bake(&simulator, folder.path()).await;

    let checked = said(&bash(&block("config"), folder.path(), &variables));
    assert_eq!(checked.trim(), "wiretoll.toml is in order");
    bash(&block("environment"), folder.path(), &variables);
    let serve = start("serve", "", folder.path(), &variables);
    let address = serve.says("address=");
    assert_eq!(address, at, "it listens where signed requests say");
    let ready = block("ready").replace("127.0.0.1:8080", &address);
    let until_ready = format!("until {} | grep '\"ok\"'; do sleep 0.2; done", ready.trim());
    bash(&until_ready, folder.path(), &[]);

    let recipe = |name: &str| {
        let script = block(name).replace("127.0.0.1:8080", &address);
        said(&bash(&script, folder.path(), &variables))
    };
    recipe("api-key");
    let bought = recipe("api-key-bash");
    assert!(bought.contains(r#""scopes":["admin"]"#), "{bought}");
    assert!(recipe("api-key-python").starts_with("['orders', 'subscriptions']\n"));
    let told = recipe("account-webhook");
    // Nobody is there, and how a resolver says so is its own affair.
    assert!(told.contains(r#""state": "pending""#) && told.contains(r#""outcome": ""#), "{told}");
    assert!(told.ends_with("false\n"), "{told}");
    let secret = std::fs::read_to_string(folder.path().join("webhook.secret")).unwrap();
    assert!(WebhookSecret::parse(secret.trim()).is_ok());
    let signed = recipe("nip98");
    assert!(signed.contains(r#""credential":"nostrKey""#), "{signed}");

    let payment_hash = buy(&simulator, &address).await;
    bash(&block("backup"), folder.path(), &variables);
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name.starts_with("backup-20")).count(), 1);
    let variables = [variables.as_slice(), &[("payment_hash", payment_hash)]].concat();
    let story = said(&bash(&block("explain"), folder.path(), &variables));
    assert!(story.contains("state         paid") && story.contains("LND now       settled"), "{story}");
    let lists = said(&bash(&block("ledger"), folder.path(), &variables));
    assert!(lists.starts_with("PAYMENT ") && lists.contains(" paid "), "{lists}");
    let lists = said(&bash(&block("subscriptions"), folder.path(), &variables));
    assert!(lists.starts_with("SERVER ") && lists.contains(" active "), "{lists}");
    assert!(serve.terminate().0.success());
}

/// An address that nobody listens on, for a service that has to know how it is reached before it listens.
fn a_free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A simulated node, and what an operator would fill in for it into the example.
async fn a_node_for_the_example(folder: &Path) -> (Simulator, Vec<(&'static str, String)>) {
    let settings = SimulatorSettings { data_dir: Some(folder.join("node")), ..SimulatorSettings::default() };
    let simulator = Simulator::start(settings).await.unwrap();
    let variables = vec![
        ("WIRETOLL_LND__ADDRESS", format!("https://{}", simulator.address())),
        ("WIRETOLL_LND__CERTIFICATE_FILE", simulator.tls_certificate_path().unwrap().display().to_string()),
        ("WIRETOLL_LND__NETWORK", "regtest".to_owned()),
        ("WIRETOLL_RATE__AS_OF", Clock::System.now().to_string()),
        ("WIRETOLL_SERVERS__0__PUBLIC_KEY", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned()),
    ];
    (simulator, variables)
}

/// Runs the README's line with an `lncli` that writes down what it was asked for, and bakes exactly that.
async fn bake(simulator: &Simulator, folder: &Path) {
    let stub = folder.join("lncli");
    std::fs::write(&stub, "#!/bin/sh\nprintf '%s\\n' \"$@\" >lncli-arguments\n").unwrap();
    std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(block("bake").trim(), wiretoll::lnd::macaroon::BAKE);
    bash(&block("bake"), folder, &[]);
    let arguments = std::fs::read_to_string(folder.join("lncli-arguments")).unwrap();
    let arguments: Vec<_> = arguments.lines().collect();
    let ["bakemacaroon", "--root_key_id", root_key_id, "--save_to", file, permissions @ ..] = arguments.as_slice()
    else {
        panic!("{arguments:?}");
    };
    let macaroon = simulator.macaroon(root_key_id, permissions).await.unwrap();
    std::fs::write(folder.join(file), macaroon.to_bytes()).unwrap();
}

/// Buys a month; returns its payment hash once the service knows that it is paid.
async fn buy(simulator: &Simulator, address: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let api = format!("http://{address}/api/public/v1/subscription");
    let body = serde_json::json!({ "serverId": "eu-de", "duration": 1 });
    let order = client.post(format!("{api}/create")).json(&body).send().await.unwrap();
    let order: serde_json::Value = order.error_for_status().unwrap().json().await.unwrap();
    let outcome = simulator.pay(PaymentOrder::of(order["invoice"].as_str().unwrap())).await.unwrap();
    assert!(matches!(outcome, PaymentOutcome::Settled { .. }), "{outcome:?}");
    let hash = order["paymentHash"].as_str().unwrap();
    for _ in 0..10 {
        let check: serde_json::Value =
            client.get(format!("{api}/{hash}?wait=5")).send().await.unwrap().json().await.unwrap();
        if check["status"] == "paid" {
            return hash.to_owned();
        }
    }
    panic!("{hash} was never paid");
}

#[test]
fn a_simulator_runs_alone() {
    let folder = TempDir::new().unwrap();
    let block = block("simulator").replace("127.0.0.1:10009", "127.0.0.1:0").replace("127.0.0.1:10010", "127.0.0.1:0");
    let simulator = Process::start(command("bash", folder.path()).args(["-c", &format!("exec {}", block.trim())]));
    let control = simulator.says("control      ");
    let node = said(&bash(&format!("curl -fsS {control}/node"), folder.path(), &[]));
    assert!(node.contains(r#""network":"regtest""#), "{node}");
    assert!(folder.path().join("simulator/wiretoll.macaroon").exists());
}

#[test]
fn the_table_of_paths_is_that_of_the_program() {
    let document: serde_json::Value = serde_json::from_str(&wiretoll::http::openapi::document().unwrap()).unwrap();
    let of_document = document["paths"].as_object().unwrap().iter().filter_map(|(path, methods)| {
        let path = path.strip_prefix("/api/public/v1").or_else(|| path.starts_with("/api/").then_some(path))?;
        Some(methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase())))
    });
    let mut of_document: Vec<String> = of_document.flatten().collect();
    let row = |line: &'static str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let mut of_readme: Vec<String> = README.lines().filter_map(row).filter(|row| row.contains(" /")).collect();
    of_document.sort();
    of_readme.sort();
    assert_eq!(of_readme, of_document);
}

/// A message as the service signs it, now.
fn a_message(secret: &WebhookSecret, body: &str) -> [(&'static str, String); 3] {
    let (id, at) = ("019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1", Clock::System.now());
    let other = WebhookSecret::from_key([8; 32]).sign(id, at, body);
    let signatures = format!("{other} {}", secret.sign(id, at, body));
    [("webhook-id", id.to_owned()), ("webhook-timestamp", seconds(at).to_string()), ("webhook-signature", signatures)]
}

const MESSAGE: &str = r#"{"type":"order.paid","data":{"sequence":1}}"#;

/// Where `scripts/test.sh` has put the public libraries.
fn receivers_libraries() -> Option<std::path::PathBuf> {
    let folder = std::env::var("WIRETOLL_TEST_RECEIVERS").ok();
    if folder.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "WIRETOLL_TEST_RECEIVERS is not set");
        eprintln!("not run: WIRETOLL_TEST_RECEIVERS is not set; ./scripts/test.sh sets it");
    }
    folder.map(Into::into)
}

/// It takes what is signed, and nothing that was changed, or signed for somebody else.
async fn takes_what_is_signed(receiver: &str, file: &str, program: &Path, libraries: &Path) {
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink(libraries.join("node_modules"), folder.path().join("node_modules")).unwrap();
    std::fs::write(folder.path().join(file), block(receiver)).unwrap();
    let secret = WebhookSecret::from_key([7; 32]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = command(program.to_str().unwrap(), folder.path());
    command.arg(file).env("PORT", port.to_string()).env("WEBHOOK_SECRET", secret.expose());
    let running = Process::start(&mut command);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answered = async |secret: &WebhookSecret, body: &'static str| {
        let headers = a_message(secret, MESSAGE);
        let request = client.post(format!("http://127.0.0.1:{port}/hooks")).body(body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send().await.map(|response| response.status().as_u16())
    };
    let began = tokio::time::Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "it does not listen");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(answered(&secret, MESSAGE).await.unwrap(), 204);
    assert_eq!(answered(&secret, "{}").await.unwrap(), 400);
    assert_eq!(answered(&WebhookSecret::from_key([6; 32]), MESSAGE).await.unwrap(), 400);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_node_takes_what_is_signed() {
    if let Some(libraries) = receivers_libraries() {
        takes_what_is_signed("receiver-node", "receiver.mjs", Path::new("node"), &libraries).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_in_python_takes_what_is_signed() {
    if let Some(libraries) = receivers_libraries() {
        let python = libraries.join("venv/bin/python");
        takes_what_is_signed("receiver-python", "receiver.py", &python, &libraries).await;
    }
}

#[test]
fn a_receiver_in_bash_takes_what_is_signed() {
    let folder = TempDir::new().unwrap();
    let secret = WebhookSecret::from_key([7; 32]);
    std::fs::write(folder.path().join("receiver"), block("receiver-bash")).unwrap();
    let answer_to = |message: &str, secret: &WebhookSecret, mine: &WebhookSecret, body: &str, later: i64| {
        let mut variables = vec![("WEBHOOK_SECRET".to_owned(), mine.expose())];
        for (name, value) in a_message(secret, message) {
            variables.push((format!("HTTP_{}", name.to_uppercase().replace('-', "_")), value));
        }
        let at = &mut variables[2].1;
        *at = (at.parse::<i64>().unwrap() - later).to_string();
        std::fs::write(folder.path().join("body"), body).unwrap();
        variables.push(("CONTENT_LENGTH".to_owned(), body.len().to_string()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        // Left open, as by a server that sends nothing after the body.
        let open = "timeout 10 bash -euo pipefail receiver < <(cat body; exec sleep 20 2>/dev/null)";
        let told = bash(open, folder.path(), &variables);
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    };
    let answer = |from: &WebhookSecret, mine: &WebhookSecret, body: &str, later: i64| {
        answer_to(MESSAGE, from, mine, body, later)
    };
    assert_eq!(answer(&secret, &secret, MESSAGE, 0), "Status: 204");
    assert_eq!(answer(&secret, &secret, "{}", 0), "Status: 400");
    assert_eq!(answer(&secret, &secret, &format!("{MESSAGE}\n"), 0), "Status: 400");
    assert_eq!(answer(&WebhookSecret::from_key([6; 32]), &secret, MESSAGE, 0), "Status: 400");
    assert_eq!(answer(&secret, &secret, MESSAGE, 400), "Status: 400");
    for (bytes, expected) in [(20_480, "Status: 204"), (20_481, "Status: 400")] {
        let frame = serde_json::json!({ "type": "order.paid", "more": "" }).to_string();
        let long = serde_json::json!({ "type": "order.paid", "more": "x".repeat(bytes - frame.len()) }).to_string();
        assert_eq!((long.len(), answer_to(&long, &secret, &secret, &long, 0).as_str()), (bytes, expected));
    }
}

/// Whether a page has the heading that a link's fragment names.
fn has_heading(page: &Path, fragment: &str) -> bool {
    let text = std::fs::read_to_string(page).unwrap();
    let fragment_of = |heading: &str| heading.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    text.lines().any(|line| line.starts_with('#') && fragment_of(line) == fragment)
}

#[test]
fn every_file_that_is_linked_is_there() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    for link in links.filter(|link| !link.starts_with('#')) {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(path.exists(), "{link}");
        assert!(heading.is_empty() || has_heading(&path, heading), "{link}");
    }
}
