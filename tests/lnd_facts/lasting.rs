//! What survives a restart, and how the node is steered from outside.

use std::time::Duration;

use tonic::Code;
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::{SimulatorSettings, StoreMode};

use crate::node::Node;

use crate::simulated::{HOUR, hash_of, kv, short_lived, started};

#[tokio::test]
async fn a_swapped_node_has_another_key_and_starts_anew() {
    let (simulator, node) = kv().await;
    node.settled(1000).await;
    let before = simulator.public_key();

    simulator.inject(Fault::SwapNode).await.unwrap();

    assert_ne!(simulator.public_key(), before);
    let after = Node::simulated(&simulator, StoreMode::Kv).await.settled(1000).await;
    assert_eq!((after.add_index, after.settle_index), (1, 1));
}

#[tokio::test]
async fn a_restored_backup_forgets_what_came_later() {
    let (simulator, node) = kv().await;
    let kept = node.settled(1000).await;
    simulator.backup("monday");
    let lost = node.settled(1000).await;

    simulator.restore("monday").await.unwrap();

    assert_eq!(hash_of(&node.lookup(&kept.r_hash).await), hash_of(&kept));
    assert_eq!(node.try_lookup(&lost.r_hash).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(node.settled(1000).await.settle_index, lost.settle_index);
}

#[tokio::test]
async fn a_restart_ends_streams_either_way_and_keeps_everything() {
    let mut ends = Vec::new();
    for seed in 0..8 {
        let (simulator, node) = started(SimulatorSettings { seed: Some(seed), ..Default::default() }).await;
        let mut events = node.subscribe(0, 0).await;
        let added = node.add(1000).await;
        events.invoice().await;

        simulator.restart(Duration::from_millis(50)).await.unwrap();

        ends.push(events.end().await.is_ok());
        let again = node.reconnected();
        assert_eq!(again.lookup(&added.r_hash).await.payment_request, added.payment_request);
    }
    assert!(ends.contains(&true) && ends.contains(&false), "{ends:?}");
}

#[tokio::test]
async fn after_a_restart_the_node_answers_before_its_channel_is_active() {
    let (simulator, mut node) = kv().await;
    let channels = async |node: &Node| {
        let info = node.lightning().get_info(node.request(lnrpc::GetInfoRequest {})).await.unwrap().into_inner();
        (info.num_active_channels, info.num_inactive_channels)
    };
    assert_eq!(channels(&node).await, (1, 0));
    // A busy machine may ask too late to see it, but not always.
    let mut seen_without = false;
    for _ in 0..20 {
        simulator.restart(Duration::from_millis(50)).await.unwrap();
        node = node.reconnected();
        seen_without = channels(&node).await == (0, 1);
        let active = async {
            while channels(&node).await != (1, 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), active).await.unwrap();
        if seen_without {
            break;
        }
    }
    assert!(seen_without);
}

#[tokio::test]
async fn a_node_that_is_down_refuses_connections_and_payments() {
    let (simulator, node) = kv().await;
    let added = node.add(1000).await;
    simulator.go_down().await.unwrap();
    let node = node.reconnected();

    let refused = node.try_add(short_lived(600)).await.unwrap_err();
    let outcome = simulator.pay(PaymentOrder::of(added.payment_request.clone())).await.unwrap();
    simulator.come_up().await.unwrap();

    assert_eq!(refused.code(), Code::Unavailable);
    assert!(matches!(outcome, PaymentOutcome::Failed { .. }));
    assert!(node.pay(&added.payment_request).await.unwrap());
}

#[tokio::test]
async fn a_data_folder_keeps_identity_credentials_invoices_indices_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || SimulatorSettings { data_dir: Some(folder.path().to_path_buf()), ..Default::default() };
    let (first, node) = started(settings()).await;
    let settled = node.settled(1000).await;
    let open = node.add(2000).await;
    first.advance(HOUR).await.unwrap();
    let (now, public_key) = (first.now_seconds(), first.public_key());
    // Nothing is stopped: what a kill leaves is what is on the disk now.

    let (second, again) = started(settings()).await;

    assert_eq!((second.public_key(), second.tls_certificate_pem()), (public_key, first.tls_certificate_pem()));
    assert!((second.now_seconds() - now).abs() < 30);
    let old_credentials = again.with_credentials(node.macaroon);
    assert!(old_credentials.lookup(&settled.r_hash).await == settled);
    assert!(old_credentials.pay(&open.payment_request).await.unwrap());
    let next = old_credentials.settled(1000).await;
    assert_eq!((next.add_index, next.settle_index), (3, 3));
}

#[tokio::test]
async fn a_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = Some(folder.path().join("node"));
    let (_simulator, node) = started(SimulatorSettings { data_dir, ..Default::default() }).await;
    node.add(1000).await;

    let files: Vec<_> = std::fs::read_dir(folder.path().join("node")).unwrap().map(|file| file.unwrap()).collect();

    assert_eq!(files.len(), 3);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_data_folder_of_another_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = Some(folder.path().to_path_buf());
    let kv = SimulatorSettings { data_dir, ..Default::default() };
    Simulator::start(kv.clone()).await.unwrap();

    let error = Simulator::start(SimulatorSettings { store: StoreMode::Sql, ..kv }).await.unwrap_err();

    assert_eq!(error.to_string(), "the data folder holds a Kv node on Regtest");
}

#[tokio::test]
async fn stopping_does_not_wait_for_open_streams() {
    let (simulator, node) = kv().await;
    let mut events = node.subscribe(0, 0).await;
    let begun = tokio::time::Instant::now();

    simulator.stop().await;

    let _ = events.end().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_control_pays_advances_and_injects_over_http() {
    let control = Some("127.0.0.1:0".parse().unwrap());
    let (simulator, node) = started(SimulatorSettings { control, ..Default::default() }).await;
    let base = format!("http://{}", simulator.control_address().unwrap());
    let http = reqwest::Client::new();
    let post = async |path: &str, body: serde_json::Value| {
        let response = http.post(format!("{base}{path}")).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<serde_json::Value>().await.unwrap())
    };
    let added = node.add(1000).await;
    let payment_hash = hex::encode(&added.r_hash);

    let described: serde_json::Value = http.get(format!("{base}/node")).send().await.unwrap().json().await.unwrap();
    assert_eq!(described["public_key"], simulator.public_key());
    let order = serde_json::json!({"invoice": added.payment_request});
    let settled = serde_json::json!({"status": "settled", "paymentHash": payment_hash, "amountMsat": 1000});
    assert_eq!(post("/pay", order.clone()).await, (200, settled));
    let already = serde_json::json!({"status": "already_settled", "paymentHash": payment_hash});
    assert_eq!(post("/pay", order).await, (200, already));
    let expiring = node.try_add(short_lived(600)).await.unwrap();
    assert_eq!(post("/clock/advance", serde_json::json!({"seconds": 3600})).await.0, 200);
    let (status, _) = post("/pay", serde_json::json!({"invoice": expiring.payment_request})).await;
    assert_eq!(status, 409);
    let fault = serde_json::json!({"fault": "wallet_state", "state": "LOCKED"});
    assert_eq!(post("/faults", fault).await.0, 200);
    assert!(node.try_add(short_lived(600)).await.unwrap_err().message().starts_with("wallet locked"));
    assert_eq!(post("/faults", serde_json::json!({"fault": "none"})).await.0, 400);
    assert_eq!(post("/restore", serde_json::json!({"name": "never"})).await.0, 404);
    assert_eq!(post("/restart", serde_json::json!({})).await.0, 200);
    simulator.stop().await;
}

#[tokio::test]
async fn a_wiped_database_knows_nothing_and_counts_from_1() {
    let (simulator, node) = kv().await;
    let before = node.settled(1000).await;

    simulator.wipe().await.unwrap();

    assert_eq!(node.try_lookup(&before.r_hash).await.unwrap_err().code(), Code::NotFound);
    let after = node.settled(1000).await;
    assert_eq!((after.add_index, after.settle_index), (1, 1));
}

#[tokio::test]
async fn the_same_seed_makes_the_same_node() {
    let seeded = || started(SimulatorSettings { seed: Some(21), ..Default::default() });
    let ((one, _), (other, _)) = (seeded().await, seeded().await);

    assert_eq!((one.seed(), one.public_key()), (other.seed(), other.public_key()));
}
