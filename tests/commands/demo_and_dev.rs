//! `demo` and `dev`.

use lightning_invoice::Bolt11Invoice;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place::text;
use crate::program::{dev, run};

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
