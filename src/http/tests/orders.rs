//! Orders as clients read them, from the database up.

use std::time::Duration;

use actix_web::test::TestRequest;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{Answer, HASH, Instance};

fn path() -> String {
    format!("/api/public/v1/subscription/{HASH}")
}

async fn check_with_tag(instance: &Instance, tag: &str, query: &str) -> Answer {
    let request = TestRequest::get().uri(&format!("{}{query}", path())).insert_header(("If-None-Match", tag));
    instance.send(request).await
}

fn without_what_is_random(mut claim: Value) -> Value {
    claim["subscription"]["id"] = json!("[id]");
    claim["config"] = json!("[text]");
    claim["fullConfig"] = json!("[text]");
    for key in ["publicKey", "presharedKey", "privateKey"] {
        assert_eq!(claim["peer"][key].as_str().unwrap().len(), 44);
        claim["peer"][key] = json!("[key]");
    }
    claim
}

#[actix_web::test]
async fn the_list_names_what_can_be_bought() {
    let instance = Instance::start().await;
    let answer = instance.get("/api/public/v1/servers").await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "servers": [
        {
          "id": "eu-de",
          "country": "Germany",
          "city": "Nuremberg",
          "flag": "🇩🇪",
          "status": "online"
        }
      ]
    }
    "#);
}

#[actix_web::test]
async fn a_check_shows_unpaid_then_paid() {
    let instance = Instance::start().await;
    instance.order().await;
    insta::assert_json_snapshot!(instance.get(&path()).await.json(), @r#"
    {
      "paymentHash": "0001020304050607080900010203040506070809000102030405060708090102",
      "status": "unpaid",
      "serverId": "eu-de",
      "duration": 1,
      "isProvisioned": false,
      "server": {
        "domain": "de2.example.net",
        "endpoint": "de2.example.net:51820"
      },
      "message": "waiting for the payment"
    }
    "#);
    instance.pay().await;
    insta::assert_json_snapshot!(instance.get(&path()).await.json(), @r#"
    {
      "paymentHash": "0001020304050607080900010203040506070809000102030405060708090102",
      "status": "paid",
      "serverId": "eu-de",
      "duration": 1,
      "isProvisioned": false,
      "server": {
        "domain": "de2.example.net",
        "endpoint": "de2.example.net:51820"
      },
      "subscriptionEnd": "2017-07-01T10:57:38.000Z",
      "message": "paid: claim the config"
    }
    "#);
}

#[actix_web::test]
async fn a_hash_is_unknown_or_not_a_hash() {
    let instance = Instance::start().await;
    let unknown = instance.get(&path()).await;
    assert_eq!((unknown.status, unknown.error().as_str()), (404, "ERR_RESOURCE_NOT_FOUND"));
    for bad in ["1", "AB", &HASH.replace('a', "A")[1..], "%ff"] {
        let answer = instance.get(&format!("/api/public/v1/subscription/{bad}")).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "ERR_INVALID_INPUT"), "{bad}");
    }
}

#[actix_web::test]
async fn a_check_with_the_tag_of_the_last_one_is_304_until_something_changes() {
    let instance = Instance::start().await;
    instance.order().await;
    let tag = instance.get(&path()).await.header("etag").to_owned();
    let same = check_with_tag(&instance, &tag, "").await;
    assert_eq!((same.status, same.body.as_str(), same.header("etag")), (304, "", tag.as_str()));
    instance.pay().await;
    let changed = check_with_tag(&instance, &tag, "").await;
    assert_eq!((changed.status, &changed.json()["status"]), (200, &json!("paid")));
}

#[actix_web::test]
async fn a_long_poll_answers_when_the_payment_comes() {
    let instance = Instance::start().await;
    instance.order().await;
    let uri = format!("{}?wait=30", path());
    let (answer, ()) = tokio::join!(instance.get(&uri), async {
        while instance.shared.app.changes.waited_for().is_empty() {
            tokio::task::yield_now().await;
        }
        instance.pay().await;
    });
    assert_eq!(answer.json()["status"], "paid");
    // From now on a client that has seen nothing has nothing to wait for.
    let at_once = timeout(Duration::from_secs(10), instance.get(&uri)).await.unwrap();
    assert_eq!(at_once.json()["status"], "paid");
}

#[actix_web::test]
async fn a_long_poll_with_an_old_tag_answers_at_once() {
    let instance = Instance::start().await;
    instance.order().await;
    let answer = timeout(Duration::from_secs(10), check_with_tag(&instance, "\"old\"", "?wait=30")).await.unwrap();
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("unpaid")));
}

#[actix_web::test]
async fn a_long_poll_ends_with_its_time_and_with_the_server() {
    let instance = Instance::start().await;
    instance.order().await;
    let begun = Instant::now();
    assert_eq!(instance.get(&format!("{}?wait=1", path())).await.json()["status"], "unpaid");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    instance.stop.send(true).unwrap();
    let uri = format!("{}?wait=30", path());
    assert_eq!(timeout(Duration::from_secs(10), instance.get(&uri)).await.unwrap().status, 200);
    for bad in ["0", "31", "-1", "x", "99999999999999999999", ""] {
        let answer = instance.get(&format!("{}?wait={bad}", path())).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "ERR_INVALID_INPUT"), "{bad}");
        assert_eq!(answer.json()["message"], "wait must be 1 to 30 seconds, such as ?wait=20", "{bad}");
    }
}

#[actix_web::test]
async fn an_event_stream_tells_unpaid_then_paid_and_ends() {
    let instance = Instance::start().await;
    instance.order().await;
    let uri = format!("{}/events", path());
    let (answer, ()) = tokio::join!(instance.get(&uri), async {
        while instance.shared.app.changes.waited_for().is_empty() {
            tokio::task::yield_now().await;
        }
        instance.pay().await;
    });
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let events: Vec<_> = answer.body.split_terminator("\n\n").collect();
    let [unpaid, paid] = events.as_slice() else { panic!("{events:?}") };
    assert!(unpaid.starts_with("event: status\ndata: {") && unpaid.contains(r#""status":"unpaid""#), "{unpaid}");
    assert!(paid.starts_with("event: status\ndata: {") && paid.contains(r#""status":"paid""#), "{paid}");
    assert!(instance.shared.app.changes.waited_for().is_empty());
}

#[actix_web::test]
async fn an_event_stream_ends_when_the_server_stops() {
    let instance = Instance::start().await;
    instance.order().await;
    let uri = format!("{}/events", path());
    let (answer, ()) = tokio::join!(timeout(Duration::from_secs(10), instance.get(&uri)), async {
        while instance.shared.app.changes.waited_for().is_empty() {
            tokio::task::yield_now().await;
        }
        instance.stop.send(true).unwrap();
    });
    assert_eq!(answer.unwrap().body.matches("event: status").count(), 1);
    let unknown = instance.get(&format!("/api/public/v1/subscription/{}/events", "ab".repeat(32))).await;
    assert_eq!(unknown.error(), "ERR_RESOURCE_NOT_FOUND");
}

#[actix_web::test]
async fn scenario_23_a_claim_repeated_is_the_same_answer() {
    let instance = Instance::start().await;
    instance.order().await;
    // Umbrel's body.
    let body = json!({"paymentHash": HASH, "wgPublicKey": "", "wgPresharedKey": "", "referralCode": null}).to_string();
    let unpaid = instance.post("/subscription/claim", &body).await;
    assert_eq!((unpaid.status, unpaid.error().as_str()), (402, "ERR_PAYMENT_REQUIRED"));
    instance.pay().await;
    let first = instance.post("/subscription/claim", &body).await;
    assert_eq!((first.status, first.header("cache-control")), (200, "no-store"));
    assert_eq!(first.body, instance.post("/subscription/claim", &body).await.body);
    let answer = first.json();
    insta::assert_json_snapshot!(without_what_is_random(answer.clone()), @r#"
    {
      "success": true,
      "status": "success",
      "message": "the config is ready, as wg-quick on a machine of its own, Umbrel and StartOS take it; for a container, claim with options.tableOff",
      "subscriptionEnd": "2017-07-01T10:57:38.000Z",
      "subscription": {
        "id": "[id]",
        "serverId": "eu-de",
        "expiresAt": "2017-07-01T10:57:38.000Z"
      },
      "server": {
        "id": "eu-de",
        "publicKey": "Xf7dO2vUf2+ijuFdlp1bsOpTd01Ii9r53xxuASSz7yI=",
        "endpoint": "de2.example.net:51820",
        "allowedIPs": "0.0.0.0/0"
      },
      "peer": {
        "address": "10.9.0.2/32",
        "publicKey": "[key]",
        "presharedKey": "[key]",
        "privateKey": "[key]"
      },
      "vpnPort": 35000,
      "isProvisioned": true,
      "config": "[text]",
      "fullConfig": "[text]"
    }
    "#);
    let private = answer["peer"]["privateKey"].as_str().unwrap();
    assert!(answer["config"].as_str().unwrap().contains(&format!("PrivateKey = {private}\n")));
    assert_eq!(answer["config"], answer["fullConfig"]);
    // And its status.
    let status =
        instance.post("/subscription/status", &json!({"wgPublicKey": answer["peer"]["publicKey"]}).to_string()).await;
    insta::assert_json_snapshot!(status.json(), @r#"
    {
      "expiry": "2017-07-01T10:57:38.000Z",
      "bandwidth_used_gb": 0.0,
      "status": "enabled",
      "server_domain": "de2.example.net",
      "last_synced_at": null,
      "vpn_port": 35000,
      "bandwidth_limit_gb": 100,
      "bandwidth_resets_this_month": 0,
      "max_resets_per_month": 0
    }
    "#);
}

#[actix_web::test]
async fn an_erased_key_is_a_refusal_with_the_way_out() {
    let instance = Instance::start().await;
    instance.order().await;
    instance.pay().await;
    let body = json!({"paymentHash": HASH}).to_string();
    instance.post("/subscription/claim", &body).await;
    let app = &instance.shared.app;
    let mut tx = app.store.begin().await.unwrap();
    tx.erase_private_keys(app.clock.now().plus_millis(app.shop.holds.private_key_millis + 1)).await.unwrap();
    tx.commit().await.unwrap();
    let answer = instance.post("/subscription/claim", &body).await;
    let shown = answer.json();
    assert_eq!((answer.status, &shown["success"], &shown["status"]), (200, &json!(false), &json!("error")));
    assert_eq!((&shown["config"], &shown["fullConfig"]), (&json!(null), &json!(null)));
    assert!(shown["message"].as_str().unwrap().contains("rekey") && !answer.body.contains("PrivateKey ="));
}

#[actix_web::test]
async fn input_that_cannot_be_is_refused_before_anything_is_asked() {
    let instance = Instance::start().await;
    let cases = [
        ("create", json!({"duration": 1}), "missing field `serverId`"),
        ("create", json!({"serverId": "eu-de"}), "missing field `duration`"),
        ("create", json!({"serverId": "mars", "duration": 1}), "unknown serverId; the servers are eu-de"),
        ("create", json!({"serverId": "eu-de", "duration": 2}), "duration must be one of 1 months"),
        ("create", json!({"serverId": "eu-de", "duration": 1, "wgPublicKey": "undefined"}), "wgPublicKey: "),
        ("renew", json!({"serverId": "🇩🇪 Germany — Nuremberg", "duration": 1}), "wgPublicKey is missing"),
        ("claim", json!({"paymentHash": ""}), "not a payment hash"),
        ("claim", json!({"paymentHash": HASH, "wgPresharedKey": "x"}), "wgPresharedKey: "),
        ("status", json!({}), "wgPublicKey is missing"),
    ];
    for (endpoint, body, expected) in cases {
        let answer = instance.post(&format!("/subscription/{endpoint}"), &body.to_string()).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "ERR_INVALID_INPUT"), "{body}");
        assert!(answer.body.contains(expected), "{body}: {}", answer.body);
    }
}

#[actix_web::test]
async fn an_order_without_a_node_is_503_and_a_key_nobody_has_is_404() {
    let instance = Instance::start().await;
    let order = instance.post("/subscription/create", r#"{"serverId":"eu-de","duration":1}"#).await;
    assert_eq!((order.status, order.error().as_str(), order.header("retry-after")), (503, "ERR_INTERNAL_ERROR", "10"));
    let key = crate::domain::keys::PrivateKey::from_random([9; 32]).public_key().to_string();
    for (endpoint, body) in [
        ("status", json!({"wgPublicKey": key})),
        ("renew", json!({"wgPublicKey": key, "duration": 1, "serverId": "unknown"})),
    ] {
        let answer = instance.post(&format!("/subscription/{endpoint}"), &body.to_string()).await;
        assert_eq!((answer.status, answer.error().as_str()), (404, "ERR_RESOURCE_NOT_FOUND"), "{endpoint}");
    }
}
