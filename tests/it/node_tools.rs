//! The tools for people who run Lightning nodes. None of them touches the database.

use serde_json::json;
use wiretoll::config::{Config, Quota};
use wiretoll::lnd_simulator::gossip::{Announcement, NEIGHBOURS};
use wiretoll::lnd_simulator::methods::Method;

use crate::shop::{API, On, Reply, Shop};

/// On the curve, and nobody's.
const STRANGER: &str = "03f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";

fn unlimited(config: &mut Config) {
    let many = Quota { burst: 1_000, per_minute: 1_000 };
    (config.limits.node_lookup, config.limits.node_lookup_in_all) = (many, many);
}

async fn look_up(shop: &Shop, pubkey: &str) -> Reply {
    shop.post(&format!("{API}/tools/node-lookup"), json!({ "pubkey": pubkey })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_looked_up_with_what_it_announces() {
    let shop = Shop::open_with(On::Sqlite, unlimited).await;
    let [alice, bob, nameless] = NEIGHBOURS.map(|neighbour| neighbour.public_key);
    let found = look_up(&shop, alice).await;
    assert_eq!(found.status, 200, "{}", found.body);
    let addresses = json!([
        { "address": "203.0.113.1:9735", "type": "ipv4" },
        { "address": "[2001:db8::1]:9735", "type": "ipv6" },
    ]);
    assert_eq!(found.body, json!({ "pubkey": alice, "alias": "alice", "channelCount": 2, "addresses": addresses }));
    let found = look_up(&shop, &bob.to_uppercase()).await.body;
    let kinds: Vec<_> =
        found["addresses"].as_array().unwrap().iter().map(|address| address["type"].as_str().unwrap()).collect();
    assert_eq!((found["pubkey"].as_str(), found["alias"].as_str()), (Some(bob), Some("bob ⚡")));
    assert_eq!(kinds, ["dns", "onion"]);
    let found = look_up(&shop, nameless).await.body;
    assert_eq!(found, json!({ "pubkey": nameless, "alias": "", "channelCount": 0, "addresses": [] }));
    let path = format!("{API}/tools/node-lookup");
    let by_the_other_name = shop.post(&path, json!({ "publicKey": shop.node.public_key() })).await;
    assert_eq!((by_the_other_name.status, &by_the_other_name.body["alias"]), (200, &json!("simulated")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_heard_of_is_404_and_what_is_no_key_400() {
    let shop = Shop::open_with(On::Sqlite, unlimited).await;
    let unknown = look_up(&shop, STRANGER).await;
    assert_eq!((unknown.status, unknown.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    let too_long = format!("{STRANGER}00");
    for bad in ["", "02", &STRANGER[1..], too_long.as_str(), &"zz".repeat(33)] {
        let refused = look_up(&shop, bad).await;
        assert_eq!((refused.status, refused.error()), (400, "ERR_INVALID_INPUT"), "{bad}");
        assert!(refused.body["message"].as_str().unwrap().starts_with("pubkey: "), "{}", refused.body);
    }
    assert_eq!(shop.node.calls(Method::GetNodeInfo), 1, "the node is not asked about what cannot be");
    let none = shop.post(&format!("{API}/tools/node-lookup"), json!({})).await;
    assert_eq!((none.status, none.error()), (400, "ERR_INVALID_INPUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_of_itself_is_made_safe() {
    let shop = Shop::open_with(On::Sqlite, unlimited).await;
    let alias = "\u{202e}\u{1b}[31mmoon\r\nSet-Cookie: a=b; and so on for ever";
    let addresses = &["203.0.113.7:9735", "evil\r\nhost:1", "javascript:alert(1)", "203.0.113.8:0"];
    shop.node.announce_node(&Announcement { public_key: STRANGER, alias, addresses, channels: 1 });
    let found = look_up(&shop, STRANGER).await.body;
    assert_eq!(found["alias"], "[31mmoonSet-Cookie: a=b; and so");
    assert_eq!(found["addresses"], json!([{ "address": "203.0.113.7:9735", "type": "ipv4" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_45_lookups_are_limited_for_a_network_and_for_all_of_them() {
    let shop = Shop::open_with(On::Sqlite, |config| {
        config.service.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.node_lookup_in_all = Quota { burst: 5, per_minute: 1 };
    })
    .await;
    let from = async |address: &str| shop.post_from(address, "tools/node-lookup", json!({ "pubkey": STRANGER })).await;
    for expected in [404, 404, 404, 429] {
        assert_eq!(from("198.51.100.1").await.status, expected);
    }
    let refused = from("198.51.100.77").await;
    assert_eq!((refused.status, refused.error()), (429, "ERR_RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after"));
    let others = [from("203.0.113.1").await.status, from("192.0.2.1").await.status, from("192.0.2.1").await.status];
    assert_eq!(others, [404, 404, 429], "five in all");
    assert_eq!(shop.node.calls(Method::GetNodeInfo), 1, "an answer is kept for a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_lnd_is_down_a_lookup_is_503_and_nothing_is_kept() {
    let shop = Shop::open_with(On::Sqlite, unlimited).await;
    shop.node.go_down().await.unwrap();
    let down = look_up(&shop, STRANGER).await;
    assert_eq!((down.status, down.error()), (503, "ERR_INTERNAL_ERROR"));
    assert_eq!(down.body["message"], "the Lightning node does not answer");
    assert!(down.headers.contains_key("retry-after"));
    shop.node.come_up().await.unwrap();
    shop.until("the node is asked again", || async { look_up(&shop, STRANGER).await.status == 404 }).await;
}
