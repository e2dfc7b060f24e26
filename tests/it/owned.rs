//! What an owner sees of their subscriptions: the list, and usage by a fresh report.

use std::time::Duration;

use serde_json::{Value, json};
use wiretoll::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::desired::Usage;

use crate::agent::{Agent, Told};
use crate::on_both_databases;
use crate::shop::{API, Bought, On, Shop, a_key};

on_both_databases!(
    an_owner_lists_their_own_subscriptions_and_no_others,
    a_sync_waits_for_the_server_s_word,
    a_sync_is_its_owner_s,
);

async fn an_owner(shop: &Shop, scopes: &str) -> String {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::parse(scopes).unwrap());
    let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
    let made: MadeApiKey = create_api_key(shop.app(), new, By::Operator(None)).await.unwrap();
    format!("Bearer {}", made.key.expose())
}

async fn buy_as(shop: &Shop, credential: &str, key: &str) -> Bought {
    let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key });
    let reply = shop.post_as(credential, &format!("{API}/subscription/create"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let order = Bought::from(reply.body);
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    order
}

fn list() -> String {
    format!("{API}/subscription/list")
}

fn sync(order: &Bought) -> String {
    format!("{API}/subscription/{}/sync", order.hash)
}

async fn an_owner_lists_their_own_subscriptions_and_no_others(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "orders subscriptions").await, an_owner(&shop, "subscriptions").await);
    let (first_key, second_key) = (a_key(), a_key());
    let first = buy_as(&shop, &owner, &first_key).await;
    // Ids of one moment have no order.
    shop.advance(Duration::from_secs(1)).await;
    let second = buy_as(&shop, &owner, &second_key).await;
    shop.buy().await;
    let page = shop.get_as(&owner, &list()).await;
    assert_eq!((page.status, &page.body["success"], &page.body["next"]), (200, &json!(true), &Value::Null));
    let listed = page.body["subscriptions"].as_array().unwrap();
    let hashes: Vec<_> = listed.iter().map(|one| one["payment_hash"].as_str().unwrap()).collect();
    assert_eq!(hashes, [second.hash.as_str(), first.hash.as_str()], "the newest first");
    let one = &listed[1];
    let status = shop.status(&first_key).await.body;
    assert_eq!((&one["subscription_end"], &one["expiresAt"]), (&status["expiry"], &status["expiry"]));
    assert_eq!((&one["paymentHash"], &one["serverId"]), (&json!(first.hash), &json!("eu-de")));
    assert_eq!((&one["server_domain"], &one["server_country"]), (&json!("de1.example.net"), &json!("Germany")));
    assert_eq!((&one["status"], &one["key_id"], &one["duration"]), (&json!("active"), &json!(first_key), &json!(1)));
    assert_eq!((&one["bandwidth_used"], &one["bandwidth_limit"]), (&json!(0), &json!(100_000)));
    assert!(one["vpn_ip"].as_str().unwrap().starts_with("10.9.0."), "{one}");
    let next = format!("{}?before={}", list(), listed[0]["id"].as_str().unwrap());
    assert_eq!(shop.get_as(&owner, &next).await.body["subscriptions"].as_array().unwrap().len(), 1);

    assert_eq!(shop.get_as(&other, &list()).await.body["subscriptions"], json!([]));
    assert_eq!(shop.get(&list()).await.status, 401, "it is no payment hash");
    assert_eq!(shop.get_as(&owner, &format!("{}?before=x", list())).await.status, 400);
}

async fn a_sync_waits_for_the_server_s_word(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "orders subscriptions").await;
    let order = buy_as(&shop, &owner, &a_key()).await;
    let silent = shop.post_as(&owner, &sync(&order), Value::Null).await;
    assert_eq!((silent.status, silent.error()), (503, "ERR_INTERNAL_ERROR"));
    assert!(silent.headers.contains_key("retry-after"));

    let mut agent = Agent::of(shop.app());
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    let (peer, run) = (agent.peer().id, shop.app().new_id());
    let tell = |bytes| agent.tell_usage(shop.app(), Usage { peer, run, bytes, handshake_at: None });
    tell(2_489_000_000).await;
    let synced = shop.post_as(&owner, &sync(&order), json!({})).await;
    assert_eq!(synced.status, 200, "{}", synced.body);
    let one = &synced.body["subscription"];
    assert_eq!((&one["bandwidth_used"], &one["bandwidth_limit"]), (&json!(2_489), &json!(100_000)));
    assert_eq!(one["last_synced_at"], json!(shop.clock.now().to_string()));

    // A minute and a moment later it waits for the next word.
    shop.advance(Duration::from_secs(61)).await;
    let path = sync(&order);
    let (synced, ()) = tokio::join!(shop.post_as(&owner, &path, json!({})), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tell(2_489_000_000).await;
    });
    assert_eq!(synced.status, 200, "{}", synced.body);
}

async fn a_sync_is_its_owner_s(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "orders subscriptions").await, an_owner(&shop, "subscriptions").await);
    let order = buy_as(&shop, &owner, &a_key()).await;
    let theirs = shop.post_as(&other, &sync(&order), json!({})).await;
    let unknown = shop.post_as(&other, &format!("{API}/subscription/{}/sync", "00".repeat(32)), json!({})).await;
    assert_eq!((theirs.status, &theirs.body), (404, &unknown.body));
    assert_eq!(shop.post(&sync(&order), json!({})).await.status, 401);
    let get = shop.get_as(&owner, &sync(&order)).await;
    assert_eq!((get.status, get.headers["allow"].to_str().unwrap()), (405, "POST"));
}
