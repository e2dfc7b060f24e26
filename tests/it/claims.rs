//! Claims: one binding, one answer, and never to the wrong one.

use std::time::Duration;

use serde_json::{Value, json};
use wiretoll::app::release;
use wiretoll::config::Config;

use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    scenario_22_two_claims_at_once_with_different_keys_bind_one,
    scenario_22_claims_at_once_without_a_key_get_one_config,
    scenario_23_a_repeated_claim_gives_the_same_config,
    scenario_37_the_config_is_whole,
    options_change_the_text_and_nothing_else,
    a_customers_own_key_gets_a_config_without_a_private_key,
    a_key_named_at_create_is_bound_by_the_payment,
    a_key_of_another_subscription_is_refused_and_binds_nothing,
    a_wrong_token_is_the_same_404_as_an_unknown_order,
    an_order_that_requires_its_token_is_not_given_for_the_hash,
    a_server_s_own_key_is_refused,
    an_erased_private_key_is_never_replaced_by_a_config_without_one,
);

async fn scenario_22_two_claims_at_once_with_different_keys_bind_one(on: On) {
    let shop = Shop::open(on).await;
    for _ in 0..5 {
        let order = shop.buy().await;
        let keys = [a_key(), a_key()];
        let claim = |key: &str| shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key }));
        let (one, other) = tokio::join!(claim(&keys[0]), claim(&keys[1]));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", one.body, other.body);
        let (winner, loser) = if one.status == 200 { (one, other) } else { (other, one) };
        assert_eq!(loser.error(), "ERR_CONFLICT");
        assert!(loser.body["message"].as_str().unwrap().starts_with("key mismatch"), "{}", loser.body);
        let bound = winner.body["peer"]["publicKey"].as_str().unwrap();
        let again = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": bound })).await;
        assert_eq!(again.body, winner.body);
    }
}

async fn scenario_22_claims_at_once_without_a_key_get_one_config(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let claim = || shop.claim(json!({ "paymentHash": order.hash }));
    let (a, b, c, d) = tokio::join!(claim(), claim(), claim(), claim());
    for reply in [&b, &c, &d] {
        assert_eq!(reply.body, a.body);
    }
    assert!(a.body["peer"]["privateKey"].is_string());
}

async fn scenario_23_a_repeated_claim_gives_the_same_config(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.buy().await;
    let first = shop.claim(json!({ "paymentHash": order.hash })).await;
    for _ in 0..3 {
        assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.body, first.body);
    }
    shop.advance(Duration::from_hours(24)).await;
    shop.stop().await;
    shop.start().await;
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": "" })).await.body, first.body);
}

async fn options_change_the_text_and_nothing_else(on: On) {
    let with_ipv6 = |config: &mut Config| config.servers[0].network6 = Some("fd66:9::/64".parse().unwrap());
    let shop = Shop::open_with(on, with_ipv6).await;
    let order = shop.buy().await;
    let plain = shop.claim(json!({ "paymentHash": order.hash })).await;
    let claim = |options: Value| shop.claim(json!({ "paymentHash": order.hash, "options": options }));
    assert_eq!(claim(json!({})).await.body, plain.body);
    let other = claim(json!({ "ipv6": true, "tableOff": true, "qr": true })).await;
    let text = other.body["config"].as_str().unwrap();
    assert!(text.contains("\nAddress = 10.9.0.2/32, fd66:9::2/128\nTable = off\n"), "{text}");
    assert!(text.contains("\nAllowedIPs = 0.0.0.0/0, ::/0\n"), "{text}");
    assert_eq!(other.body["server"]["allowedIPs"], "0.0.0.0/0, ::/0");
    assert_eq!(other.body["peer"]["address6"], "fd66:9::2/128");
    assert!(other.body["configQr"].as_str().unwrap().contains("<svg"));
    let message = |answer: &Value| answer["message"].as_str().unwrap().to_owned();
    assert!(message(&plain.body).contains("Umbrel") && message(&other.body).contains("makes no routes"));
    for same in ["privateKey", "presharedKey", "publicKey", "address"] {
        assert_eq!(other.body["peer"][same], plain.body["peer"][same], "{same}");
    }
    assert_eq!(claim(json!({})).await.body, plain.body);
    let elsewhere = shop.buy_with(json!({ "serverId": "us-east", "duration": 1 })).await;
    let refused = shop.claim(json!({ "paymentHash": elsewhere.hash, "options": { "ipv6": true } })).await;
    assert_eq!((refused.status, refused.error()), (400, "ERR_INVALID_INPUT"));
}

async fn scenario_37_the_config_is_whole(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let claim = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(claim.body["config"], claim.body["fullConfig"]);
    let config = claim.body["config"].as_str().unwrap();
    assert!(!config.contains("undefined") && !config.contains("::/"), "{config}");
    let keys: Vec<_> = config.lines().filter_map(|line| line.split_once(" = ")).collect();
    assert!(keys.iter().all(|(_, value)| !value.trim().is_empty()), "{config}");
    let names: Vec<_> = keys.iter().map(|(name, _)| *name).collect();
    let expected =
        ["PrivateKey", "Address", "MTU", "PublicKey", "PresharedKey", "Endpoint", "AllowedIPs", "PersistentKeepalive"];
    assert_eq!(names, expected);
    let public = claim.body["peer"]["publicKey"].as_str().unwrap();
    for comment in [
        format!("# Port Forwarding: {}", claim.body["vpnPort"]),
        "# Server: de1.example.net".to_owned(),
        format!("# myPubKey: {public}"),
        format!("# Valid Until: {}", claim.body["subscriptionEnd"].as_str().unwrap()),
    ] {
        assert!(config.lines().any(|line| line == comment), "{comment}\n{config}");
    }
}

async fn a_customers_own_key_gets_a_config_without_a_private_key(on: On) {
    let shop = Shop::open(on).await;
    let (order, key) = (shop.buy().await, a_key());
    let psk = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";
    let body = json!({ "paymentHash": order.hash, "wgPublicKey": key, "wgPresharedKey": psk });
    let claim = shop.claim(body).await;
    assert_eq!(claim.status, 200, "{}", claim.body);
    assert_eq!(claim.body["peer"]["publicKey"], key);
    assert_eq!(claim.body["peer"]["presharedKey"], psk);
    assert!(claim.body["peer"].get("privateKey").is_none_or(Value::is_null));
    let config = claim.body["fullConfig"].as_str().unwrap();
    assert!(!config.lines().any(|line| line.starts_with("PrivateKey")), "{config}");
    let other_psk = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let again = json!({ "paymentHash": order.hash, "wgPublicKey": key, "wgPresharedKey": other_psk });
    assert_eq!(shop.claim(again).await.body, claim.body);
}

async fn a_key_named_at_create_is_bound_by_the_payment(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    assert_eq!(shop.check(&order.hash).await.body["isProvisioned"], true);
    assert_eq!(shop.status(&key).await.status, 200);
    let mismatch = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": a_key() })).await;
    assert_eq!((mismatch.status, mismatch.error()), (409, "ERR_CONFLICT"));
    let claim = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    assert_eq!(claim.body["peer"]["publicKey"], key);
}

async fn a_key_of_another_subscription_is_refused_and_binds_nothing(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let (mine, theirs) = (shop.buy().await, shop.buy().await);
    shop.claim(json!({ "paymentHash": mine.hash, "wgPublicKey": key })).await;
    let stolen = shop.claim(json!({ "paymentHash": theirs.hash, "wgPublicKey": key })).await;
    assert_eq!((stolen.status, stolen.error()), (409, "ERR_CONFLICT"));
    let own = shop.claim(json!({ "paymentHash": theirs.hash, "wgPublicKey": a_key() })).await;
    assert_eq!(own.status, 200, "{}", own.body);
}

async fn a_wrong_token_is_the_same_404_as_an_unknown_order(on: On) {
    let shop = Shop::open(on).await;
    let (order, other) = (shop.buy().await, shop.order().await);
    let unknown = shop.claim(json!({ "paymentHash": "cd".repeat(32) })).await;
    for token in ["wrong", other.token.as_str()] {
        let wrong = shop.claim(json!({ "paymentHash": order.hash, "claimToken": token })).await;
        assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    }
    let right = shop.claim(json!({ "paymentHash": order.hash, "claimToken": order.token })).await;
    assert_eq!(right.status, 200, "{}", right.body);
}

async fn an_order_that_requires_its_token_is_not_given_for_the_hash(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "requireClaimToken": true })).await;
    let by_hash = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!((by_hash.status, by_hash.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let by_token = shop.claim(json!({ "paymentHash": order.hash, "claimToken": order.token })).await;
    assert_eq!(by_token.status, 200, "{}", by_token.body);
}

async fn a_server_s_own_key_is_refused(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let server_key = shop.config.servers[0].public_key.unwrap().to_string();
    let claim = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": server_key })).await;
    assert_eq!((claim.status, claim.error()), (400, "ERR_INVALID_INPUT"));
}

async fn an_erased_private_key_is_never_replaced_by_a_config_without_one(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let key = shop.claim(json!({ "paymentHash": order.hash })).await.keep_pair().to_string();
    shop.advance(Duration::from_hours(7 * 24)).await;
    assert_eq!(release::erase_private_keys(shop.app()).await.unwrap(), 1);
    let claim = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!((claim.status, &claim.body["success"], &claim.body["status"]), (200, &json!(false), &json!("error")));
    assert!(claim.body["config"].is_null() && claim.body["fullConfig"].is_null(), "{}", claim.body);
    assert!(claim.body["message"].as_str().unwrap().contains("rekey"), "{}", claim.body);
    // Who names the key has what belongs to it.
    let named = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;
    assert_eq!((named.status, &named.body["success"]), (200, &json!(true)), "{}", named.body);
}
