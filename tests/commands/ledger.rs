//! `order` and `payment`.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wiretoll::lnd_simulator::payer::PaymentOrder;

use crate::place::{Place, text};
use crate::program::run;

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
    let (list, more) = list.split_once("there may be more: ").expect("said beside the JSON");
    let list: Value = serde_json::from_str(list).unwrap();
    assert_eq!(more.trim_end(), format!("--before {}", text(&list[0], "orderId")));
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
    let of_servers = ["list", "drain", "undrain", "allow-removals", "takeover"].map(|verb| ["server", verb]);
    let of_subscriptions = ["list", "show", "extend", "suspend", "resume", "revoke", "rekey", "port"];
    let of_subscriptions = of_subscriptions.map(|verb| ["subscription", verb]);
    let of_money =
        [["order", "list"], ["order", "show"], ["order", "adopt"], ["payment", "list"], ["payment", "resolve"]];
    let of_webhooks =
        ["list", "add", "change", "disable", "enable", "rotate", "remove", "deliveries", "redeliver", "test"];
    let of_webhooks = of_webhooks.map(|verb| ["webhook", verb]);
    let of_owners = [
        ["api-key", "create"],
        ["api-key", "list"],
        ["api-key", "revoke"],
        ["account", "list"],
        ["account", "show"],
        ["audit", "list"],
    ];
    let others = of_webhooks.iter().chain(&of_owners).chain(&[["db", "restored"]]);
    for verb in of_money.iter().chain(&of_servers).chain(&of_subscriptions).chain(others) {
        let (code, help) = run(folder.path(), &[verb[0], verb[1], "--help"], &[]);
        assert!(code == 0 && help.contains("Example:") && help.contains("--config"), "{help}");
    }
    for (arguments, expected) in [
        (["order", "list", "--limit", "0"], "1..=1000"),
        (["order", "list", "--limit", "1001"], "1..=1000"),
        (["order", "list", "--state", "open"], "pending"),
        (["order", "list", "--since", "today"], "2026-11-22"),
        (["payment", "list", "--outcome", "late"], "applied_late"),
        (["subscription", "list", "--state", "ended"], "suspended"),
        (["subscription", "show", "--", "a-name"], "WireGuard public key"),
    ] {
        let (code, said) = run(folder.path(), &arguments, &[]);
        assert!(code == 2 && said.contains(expected), "{arguments:?}: {said}");
    }
}
