//! Owners: what is bought with a credential is theirs, and what was not they adopt with its claim token.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use wiretoll::app::operator::{By, Effect};
use wiretoll::app::revoke_api_key::revoke_api_key;
use wiretoll::config::Quota;
use wiretoll::domain::account::{ApiKey, KeyName, Mode, Scopes};
use wiretoll::domain::event::Subject;
use wiretoll::domain::note::Note;

use crate::nostr::{ORIGIN, Signer};
use crate::on_both_databases;
use crate::shop::{API, On, Shop, a_key};

on_both_databases!(
    an_order_with_a_credential_and_its_subscription_are_the_account_s,
    a_credential_that_is_not_good_is_never_taken_for_none,
    a_credential_without_the_scope_is_refused,
    a_revoked_key_is_as_good_as_an_unknown_one,
    an_order_that_extends_another_subscription_moves_no_ownership,
    who_has_the_claim_token_adopts_an_order_before_or_after_it_is_paid,
    what_founded_nothing_cannot_be_adopted,
    an_owner_claims_without_the_token,
    an_account_s_idempotency_keys_are_its_own,
    an_account_has_its_own_limits_and_failures_count_for_the_address,
    the_last_use_of_a_key_is_kept_to_the_minute,
    who_did_it_stays_in_the_events,
    an_owner_makes_lists_and_revokes_keys,
    no_key_shuts_its_account_out,
    an_account_has_so_many_keys_and_no_more,
    a_nostr_key_is_added_by_who_has_it_and_removed,
);

const CREATE: &str = "/api/public/v1/subscription/create";
const ACCOUNT: &str = "/api/v1/account";
const KEYS: &str = "/api/v1/account/api-keys";
const NOSTR_KEYS: &str = "/api/v1/account/nostr-keys";
const ADOPT: &str = "/api/v1/account/adopt";

fn bearer(made: &MadeApiKey) -> String {
    format!("Bearer {}", made.key.expose())
}

async fn a_key_for(shop: &Shop, account: KeyOwner, scopes: &str) -> MadeApiKey {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::parse(scopes).unwrap());
    create_api_key(shop.app(), NewApiKey { account, name, scopes }, By::Operator(None)).await.unwrap()
}

/// A new account with a key of these scopes.
async fn an_owner(shop: &Shop, scopes: &str) -> MadeApiKey {
    a_key_for(shop, KeyOwner::NewAccount, scopes).await
}

fn one_month() -> Value {
    json!({ "serverId": "eu-de", "duration": 1 })
}

/// Orders with a credential, and pays.
async fn buy_as(shop: &Shop, credential: &str, body: Value) -> Value {
    let reply = shop.post_as(credential, CREATE, body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    shop.pay(reply.body["invoice"].as_str().unwrap()).await;
    shop.until_paid(reply.body["paymentHash"].as_str().unwrap()).await;
    reply.body
}

/// Whose an order and what it brought are.
async fn owners(shop: &Shop, hash: &Value) -> (Option<Uuid>, Option<Uuid>) {
    let hash = wiretoll::domain::lightning::PaymentHash::parse(hash.as_str().unwrap()).unwrap();
    let order = shop.app().store.order_by_payment_hash(hash).await.unwrap().unwrap();
    let subscription = match order.subscription_id {
        Some(id) => shop.app().store.subscription(id).await.unwrap().unwrap().account,
        None => None,
    };
    (order.account, subscription)
}

async fn an_order_with_a_credential_and_its_subscription_are_the_account_s(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "orders").await;
    let bought = buy_as(&shop, &bearer(&owner), one_month()).await;
    let account = Some(owner.stored.account);
    assert_eq!(owners(&shop, &bought["paymentHash"]).await, (account, account));
    let theirs = shop.app().store.subscriptions_of(owner.stored.account, None, 10).await.unwrap();
    assert_eq!(theirs.len(), 1);
    let anonymous = shop.buy().await;
    assert_eq!(owners(&shop, &json!(anonymous.hash)).await, (None, None));
}

async fn a_credential_that_is_not_good_is_never_taken_for_none(on: On) {
    let shop = Shop::open(on).await;
    let unknown = format!("Bearer {}", ApiKey::new(Mode::Test, [1; 32]).expose());
    let live = format!("Bearer {}", ApiKey::new(Mode::Live, [1; 32]).expose());
    for credential in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer sk_test_1", &unknown, &live] {
        for path in ["create", "renew", "claim"] {
            let reply = shop.post_as(credential, &format!("{API}/subscription/{path}"), one_month()).await;
            assert_eq!((reply.status, reply.error()), (401, "ERR_UNAUTHORIZED"), "{credential} {path}");
            assert_eq!(reply.headers.get_all("www-authenticate").iter().next().unwrap(), "Bearer");
        }
    }
    let refused = shop.post_as(&live, CREATE, one_month()).await;
    assert!(refused.body["message"].as_str().unwrap().contains("not mainnet"), "{}", refused.body);
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 0);
}

async fn a_credential_without_the_scope_is_refused(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "subscriptions webhooks").await;
    let reply = shop.post_as(&bearer(&owner), CREATE, one_month()).await;
    assert_eq!((reply.status, reply.error()), (403, "ERR_FORBIDDEN"));
    assert_eq!(reply.body["message"], "this needs the scope `orders`; the credential has: subscriptions webhooks");
}

async fn a_revoked_key_is_as_good_as_an_unknown_one(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "orders").await;
    assert_eq!(shop.post_as(&bearer(&owner), CREATE, one_month()).await.status, 200);
    let note = Note::parse("lost").unwrap();
    let revoke = async || revoke_api_key(shop.app(), owner.stored.id, By::Operator(Some(&note))).await.unwrap();
    assert_eq!((revoke().await, revoke().await), (Effect::Now, Effect::Before));
    let revoked = shop.post_as(&bearer(&owner), CREATE, one_month()).await;
    let unknown = format!("Bearer {}", ApiKey::new(Mode::Test, [1; 32]).expose());
    let unknown = shop.post_as(&unknown, CREATE, one_month()).await;
    assert_eq!((revoked.status, &revoked.body), (401, &unknown.body));
}

async fn an_order_that_extends_another_subscription_moves_no_ownership(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key });
    let first = shop.buy_with(body.clone()).await;
    let owner = an_owner(&shop, "orders subscriptions").await;
    let extending = buy_as(&shop, &bearer(&owner), body).await;
    assert_eq!(owners(&shop, &json!(first.hash)).await, (None, None));
    assert_eq!(owners(&shop, &extending["paymentHash"]).await, (Some(owner.stored.account), None));
}

async fn who_has_the_claim_token_adopts_an_order_before_or_after_it_is_paid(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "subscriptions").await, an_owner(&shop, "subscriptions").await);
    let account = Some(owner.stored.account);
    let (paid, unpaid) = (shop.buy().await, shop.order().await);
    for order in [&paid, &unpaid] {
        let body = json!({ "paymentHash": order.hash, "claimToken": order.token });
        let adopted = shop.post_as(&bearer(&owner), ADOPT, body.clone()).await;
        assert_eq!(adopted.status, 200, "{}", adopted.body);
        assert_eq!(shop.post_as(&bearer(&owner), ADOPT, body.clone()).await.body, adopted.body);
        let theirs = shop.post_as(&bearer(&other), ADOPT, body).await;
        assert_eq!((theirs.status, theirs.error()), (409, "ERR_CONFLICT"));
    }
    assert_eq!(owners(&shop, &json!(paid.hash)).await, (account, account));
    shop.pay(&unpaid.invoice).await;
    shop.until_paid(&unpaid.hash).await;
    assert_eq!(owners(&shop, &json!(unpaid.hash)).await, (account, account));
}

async fn what_founded_nothing_cannot_be_adopted(on: On) {
    let shop = Shop::open(on).await;
    let owner = bearer(&an_owner(&shop, "subscriptions").await);
    let (key, order) = (a_key(), shop.buy().await);
    let adopt = async |hash: &str, token: &str| {
        let reply = shop.post_as(&owner, ADOPT, json!({ "paymentHash": hash, "claimToken": token })).await;
        (reply.status, reply.error().to_owned(), reply.body["message"].as_str().unwrap().to_owned())
    };
    let unknown = adopt(&"ab".repeat(32), &order.token).await;
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "ERR_RESOURCE_NOT_FOUND"));
    assert_eq!(adopt(&order.hash, &"ab".repeat(32)).await, unknown);
    let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key });
    let (_, extending) = (shop.buy_with(body.clone()).await, shop.buy_with(body).await);
    assert_eq!(adopt(&extending.hash, &extending.token).await.0, 400);
    let renewal = shop.renew(&key, 1).await;
    let hash = renewal.body["paymentHash"].as_str().unwrap();
    let stored = wiretoll::domain::lightning::PaymentHash::parse(hash).unwrap();
    let stored = shop.app().store.order_by_payment_hash(stored).await.unwrap().unwrap();
    let token = shop.app().keyring.get(stored.key_id).unwrap().claim_token(stored.id).expose();
    assert_eq!(adopt(hash, &token).await.0, 400);
}

async fn an_owner_claims_without_the_token(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "admin").await, an_owner(&shop, "admin").await);
    let body = json!({ "serverId": "eu-de", "duration": 1, "requireClaimToken": true });
    let bought = buy_as(&shop, &bearer(&owner), body).await;
    let (claim, path) = (json!({ "paymentHash": bought["paymentHash"] }), format!("{API}/subscription/claim"));
    assert_eq!(shop.claim(claim.clone()).await.status, 404);
    assert_eq!(shop.post_as(&bearer(&other), &path, claim.clone()).await.status, 404);
    let claimed = shop.post_as(&bearer(&owner), &path, claim).await;
    assert_eq!((claimed.status, claimed.body["success"].as_bool()), (200, Some(true)));
    assert!(claimed.body["peer"]["privateKey"].is_string());
}

async fn an_account_s_idempotency_keys_are_its_own(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "orders").await, an_owner(&shop, "orders").await);
    let order = async |made: &MadeApiKey, key: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(shop.url(CREATE)).header("Authorization", bearer(made));
        let reply = request.header("Idempotency-Key", key).json(&one_month()).send().await.unwrap();
        (reply.status().as_u16(), reply.json::<Value>().await.unwrap()["paymentHash"].clone())
    };
    let first = order(&owner, "order 1").await;
    assert_eq!((first.0, order(&owner, "order 1").await), (200, first.clone()));
    assert_ne!(order(&other, "order 1").await, first);
    assert_eq!(order(&owner, &"a".repeat(256)).await.0, 400);
}

async fn an_account_has_its_own_limits_and_failures_count_for_the_address(on: On) {
    let two = Quota { burst: 2, per_minute: 1 };
    let shop = Shop::open_with(on, |config| {
        (config.limits.create, config.limits.api_key, config.limits.failed_authentication) = (two, two, two);
    })
    .await;
    let (owner, other) = (an_owner(&shop, "orders").await, an_owner(&shop, "orders").await);
    let sibling = a_key_for(&shop, KeyOwner::Account(owner.stored.account), "orders").await;
    let status = async |credential: &str| shop.post_as(credential, CREATE, one_month()).await.status;
    assert_eq!([status(&bearer(&owner)).await, status(&bearer(&sibling)).await], [200, 200]);
    assert_eq!(status(&bearer(&owner)).await, 429);
    assert_eq!(status(&bearer(&other)).await, 200);
    assert_eq!(shop.create(one_month()).await.status, 200);
    let unknown = format!("Bearer {}", ApiKey::new(Mode::Test, [1; 32]).expose());
    assert_eq!([status(&unknown).await, status("Bearer x").await, status(&unknown).await], [401, 401, 429]);
    // Whoever else is behind that address is not shut out by it.
    assert_eq!(status(&bearer(&other)).await, 200);
}

async fn the_last_use_of_a_key_is_kept_to_the_minute(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "orders").await;
    let used = async || {
        shop.post_as(&bearer(&owner), CREATE, one_month()).await;
        shop.app().store.api_key(owner.stored.id).await.unwrap().unwrap().last_used_at
    };
    let first = used().await;
    assert_eq!(first, Some(shop.clock.now()));
    shop.clock.advance(59_999);
    assert_eq!(used().await, first);
    shop.advance(Duration::from_millis(1)).await;
    assert_eq!(used().await, Some(shop.clock.now()));
}

async fn who_did_it_stays_in_the_events(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "subscriptions").await;
    let order = shop.buy().await;
    shop.post_as(&bearer(&owner), ADOPT, json!({ "paymentHash": order.hash, "claimToken": order.token })).await;
    let events = shop.app().store.events_of(Subject::Account(owner.stored.account)).await.unwrap();
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["account.created", "account.api_key_created"]);
    let stored = shop.stored(&order).await;
    let events = shop.app().store.events_of(Subject::Order(stored.id)).await.unwrap();
    let adopted = events.last().unwrap();
    assert_eq!(adopted.event_type, "order.adopted");
    assert_eq!(adopted.data["byAccount"], json!(owner.stored.account));
    assert_eq!(adopted.data["byCredential"], format!("API key {}", owner.stored.id));
    assert!(!format!("{events:?}").contains(&owner.key.expose()));
}

/// A path with a credential; the body of the answer.
async fn ask(shop: &Shop, method: Method, path: &str, credential: &str, body: Option<Value>) -> (u16, Value) {
    let body = body.map(|body| body.to_string());
    let reply = shop.send(&method, path, Some(credential), body.as_deref()).await;
    (reply.status, reply.body)
}

async fn an_owner_makes_lists_and_revokes_keys(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "keys orders").await;
    let credential = bearer(&owner);
    let key_with = async |scopes: Value| {
        ask(&shop, Method::POST, KEYS, &credential, Some(json!({ "name": "one", "scopes": scopes }))).await
    };
    assert_eq!(key_with(json!(["webhooks"])).await.0, 403, "a scope that the key has not");
    for bad in [json!([]), json!(["everything"]), json!("orders")] {
        assert_eq!(key_with(bad).await.0, 400);
    }
    let (status, made) = key_with(json!(["orders"])).await;
    assert_eq!((status, &made["scopes"]), (200, &json!(["orders"])), "{made}");
    let key = made["key"].as_str().unwrap();
    assert_eq!(shop.post_as(&format!("Bearer {key}"), CREATE, one_month()).await.status, 200);
    let (_, listed) = ask(&shop, Method::GET, KEYS, &credential, None).await;
    assert_eq!(listed["apiKeys"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(&key[16..]), "a list shows no key");
    let (_, account) = ask(&shop, Method::GET, ACCOUNT, &format!("Bearer {key}"), None).await;
    assert_eq!((&account["id"], &account["credentialId"]), (&json!(owner.stored.account), &made["id"]));
    assert_eq!((&account["apiKeys"], &account["nostrKeys"]), (&json!(2), &json!(0)));
    let path = format!("{KEYS}/{}", made["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(ask(&shop, Method::DELETE, &path, &credential, None).await.0, 204);
    }
    assert_eq!(shop.post_as(&format!("Bearer {key}"), CREATE, one_month()).await.status, 401);
}

async fn no_key_shuts_its_account_out(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (an_owner(&shop, "admin").await, an_owner(&shop, "admin").await);
    let less = a_key_for(&shop, KeyOwner::Account(owner.stored.account), "keys").await;
    let revoke = async |by: &MadeApiKey, key: &MadeApiKey| {
        ask(&shop, Method::DELETE, &format!("{KEYS}/{}", key.stored.id), &bearer(by), None).await.0
    };
    assert_eq!(revoke(&other, &owner).await, 404, "another account's");
    assert_eq!(revoke(&less, &owner).await, 403, "it has more scopes");
    assert_eq!(revoke(&owner, &less).await, 204);
    assert_eq!(revoke(&owner, &owner).await, 409, "the last one");
    assert_eq!(ask(&shop, Method::GET, ACCOUNT, &bearer(&owner), None).await.0, 200);
}

async fn an_account_has_so_many_keys_and_no_more(on: On) {
    let shop = Shop::open(on).await;
    let owner = an_owner(&shop, "keys").await;
    for _ in 1..100 {
        a_key_for(&shop, KeyOwner::Account(owner.stored.account), "orders").await;
    }
    let body = Some(json!({ "name": "one", "scopes": ["keys"] }));
    assert_eq!(ask(&shop, Method::POST, KEYS, &bearer(&owner), body).await.0, 409);
}

async fn a_nostr_key_is_added_by_who_has_it_and_removed(on: On) {
    let shop = Shop::open_with(on, |config| config.service.origins = vec![ORIGIN.into()]).await;
    let owner = an_owner(&shop, "admin").await;
    let (signer, account) = (Signer::new(), owner.stored.account.to_string());
    let add =
        async |by: &str, event: String| ask(&shop, Method::POST, NOSTR_KEYS, by, Some(json!({ "event": event }))).await;
    let now = shop.clock.now();
    let proof = |about: &str| signer.event("POST", NOSTR_KEYS, Some(about.as_bytes()), now);
    // What was signed for another account, or for any other purpose, adds nothing.
    for event in [proof("another account"), signer.event("POST", NOSTR_KEYS, None, now), "e30=".into()] {
        assert_eq!(add(&bearer(&owner), event).await.0, 401);
    }
    let good = proof(&account);
    let (status, keys) = add(&bearer(&owner), good.clone()).await;
    assert_eq!((status, &keys["nostrKeys"][0]["publicKey"]), (200, &json!(signer.public_key().to_string())), "{keys}");
    assert_eq!(add(&bearer(&owner), good).await.0, 401, "an event is taken once");
    let header = |method: &str, path: &str| signer.header(method, path, None, now);
    let (_, shown) = ask(&shop, Method::GET, ACCOUNT, &header("GET", ACCOUNT), None).await;
    assert_eq!((shown["id"].as_str(), shown["credential"].as_str()), (Some(account.as_str()), Some("nostrKey")));
    let other = an_owner(&shop, "admin").await;
    let theirs = proof(&other.stored.account.to_string());
    assert_eq!(add(&bearer(&other), theirs).await.0, 409, "it is one account's");
    let path = format!("{NOSTR_KEYS}/{}", signer.public_key());
    assert_eq!(ask(&shop, Method::DELETE, &path, &bearer(&other), None).await.0, 404);
    assert_eq!(ask(&shop, Method::DELETE, &path, &header("DELETE", &path), None).await.0, 204);
    let (_, founded) = ask(&shop, Method::GET, ACCOUNT, &header("GET", ACCOUNT), None).await;
    assert_ne!(founded["id"].as_str(), Some(account.as_str()), "it founds an account of its own");
    assert_eq!(ask(&shop, Method::DELETE, &path, &header("DELETE", &path), None).await.0, 409, "the last one");
}
