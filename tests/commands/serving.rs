//! `simulator` and `serve`: whom they work for, and what `serve` refuses.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use wiretoll::lnd::macaroon::BAKE;

use crate::api::Api;
use crate::place::{Place, config, text};
use crate::process::Process;
use crate::program::wiretoll;

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
    std::fs::write(folder.path().join("wiretoll.toml"), config(&grpc)).unwrap();
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

/// The other commands run beside the first, as the tests of those commands do.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_serve_on_one_sqlite_file_is_refused() {
    let place = Place::new().await;
    let (first, api) = place.serve();
    std::os::unix::fs::symlink("wiretoll.db", place.path("link.db")).unwrap();
    for variables in [&[] as &[_], &[("WIRETOLL_DATABASE__URL", "sqlite:link.db")]] {
        let second = place.refused(variables);
        assert!(second.contains("is used by another wiretoll that runs") && second.contains("Postgres"), "{second}");
    }
    let order = api.order().await;
    assert_eq!(place.run(&["config", "check"], &[]).0, 0);
    drop(first); // as `kill -9` does

    let (_next, api) = place.serve();
    let (status, _) = api.get(&format!("/api/public/v1/subscription/{}", text(&order, "paymentHash"))).await;
    assert_eq!(status, 200);
}
