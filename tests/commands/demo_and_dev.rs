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
        let scanned = told.split_once("Scan it with the WireGuard app:\n").map(|(_, code)| scan(code));
        assert_eq!(scanned, (arguments.len() == 1).then(|| config_in(&told)));
    }
}

/// What the program printed as the config, up to the code.
fn config_in(told: &str) -> String {
    let (_, config) = told.split_once("# wiretoll WireGuard configuration").unwrap();
    let (config, _) = config.split_once("\n\nScan it").unwrap();
    format!("# wiretoll WireGuard configuration{config}")
}

/// Reads a QR code off a terminal as a phone does: each line has two rows of it, dark on light.
fn scan(code: &str) -> String {
    let rows: Vec<Vec<bool>> = code.lines().take_while(|line| !line.is_empty()).flat_map(rows).collect();
    let size = rows.len();
    let is_dark = |x, y: usize| rows.get(y).and_then(|row| row.get(x)).is_some_and(|dark| *dark);
    let mut picture = rqrr::PreparedImage::prepare_from_bitmap(size, size, is_dark);
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1, "one code");
    codes.first().unwrap().decode().unwrap().1
}

fn rows(line: &str) -> [Vec<bool>; 2] {
    let halves = line.chars().map(|dots| match dots {
        ' ' => (false, false),
        '▀' => (true, false),
        '▄' => (false, true),
        _ => (true, true),
    });
    let (upper, lower) = halves.unzip();
    [upper, lower]
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
