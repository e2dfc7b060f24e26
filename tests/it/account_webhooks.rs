//! Webhooks of accounts over HTTP: an owner looks after their own, and is told of what is theirs.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::add_webhook::add_webhook;
use wiretoll::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::config::{Config, Quota};
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::Act;
use wiretoll::domain::webhook::{EventFilter, Owner, WebhookUrl};
use wiretoll::store::ActFilter;

use crate::on_both_databases;
use crate::receiver::{Answer, Receiver};
use crate::shop::{API, On, Reply, Shop};
use crate::webhooks::allow_this_machine;

on_both_databases!(
    an_owner_adds_changes_and_removes_webhooks,
    whoever_did_it_stays_in_the_audit_trail,
    nobody_sees_or_touches_another_s,
    an_account_has_ten_webhooks_and_no_more,
    a_url_and_its_events_have_their_bounds,
    what_an_owner_names_is_judged_as_a_stranger_s,
    an_owner_is_told_of_their_own_orders_and_subscriptions_only,
    both_secrets_sign_until_a_rotation_ends,
    one_that_is_disabled_by_hand_is_told_nothing_until_it_is_enabled,
    the_log_is_searched_and_read_page_by_page,
    what_an_owner_has_sent_by_hand_is_limited,
    an_answer_of_another_url_disables_nothing,
);

const WEBHOOKS: &str = "/api/v1/account/webhooks";

/// An account and what it does.
struct Account<'s> {
    shop: &'s Shop,
    id: Uuid,
    credential: String,
}

impl<'s> Account<'s> {
    async fn new(shop: &'s Shop) -> Self {
        let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::all());
        let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
        let MadeApiKey { key, stored } = create_api_key(shop.app(), new, By::Operator(None)).await.unwrap();
        Self { shop, id: stored.account, credential: format!("Bearer {}", key.expose()) }
    }

    async fn ask(&self, method: Method, below: &str, body: Option<Value>) -> Reply {
        let (path, body) = (format!("{WEBHOOKS}{below}"), body.map(|body| body.to_string()));
        self.shop.send(&method, &path, Some(&self.credential), body.as_deref()).await
    }

    async fn get(&self, below: &str) -> Value {
        let reply = self.ask(Method::GET, below, None).await;
        assert_eq!(reply.status, 200, "{below}: {}", reply.body);
        reply.body
    }

    async fn post(&self, below: &str) -> Reply {
        self.ask(Method::POST, below, None).await
    }

    async fn add(&self, body: Value) -> Reply {
        self.ask(Method::POST, "", Some(body)).await
    }

    /// The id and the secret of a new one.
    async fn added(&self, url: &str, events: &[&str]) -> (String, String) {
        let reply = self.add(json!({ "url": url, "events": events })).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let text = |key: &str| reply.body[key].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    async fn change(&self, id: &str, body: Value) -> Reply {
        self.ask(Method::PATCH, &format!("/{id}"), Some(body)).await
    }

    async fn buy(&self) -> String {
        let body = json!({ "serverId": "eu-de", "duration": 1 });
        let order = self.shop.post_as(&self.credential, &format!("{API}/subscription/create"), body).await;
        assert_eq!(order.status, 200, "{}", order.body);
        self.shop.pay(order.body["invoice"].as_str().unwrap()).await;
        let hash = order.body["paymentHash"].as_str().unwrap().to_owned();
        self.shop.until_paid(&hash).await;
        hash
    }

    /// Waits until all of its deliveries have this outcome.
    async fn until_outcome(&self, id: &str, outcome: &str) -> Vec<Value> {
        let log = async || self.get(&format!("/{id}/deliveries")).await["deliveries"].as_array().unwrap().clone();
        let what = format!("every delivery is {outcome}");
        let all_are = |log: &[Value]| !log.is_empty() && log.iter().all(|one| one["outcome"] == outcome);
        self.shop.until(&what, || async { all_are(&log().await) }).await;
        log().await
    }
}

async fn acts_about(shop: &Shop, id: &str) -> Vec<Act> {
    let filter = ActFilter { about: Some(id.to_owned()), at_most: 100, ..ActFilter::default() };
    shop.app().store.acts(&filter).await.unwrap()
}

async fn an_owner_adds_changes_and_removes_webhooks(on: On) {
    let shop = Shop::open(on).await;
    let owner = Account::new(&shop).await;
    let added = owner.add(json!({ "url": "https://example.net/hooks?token=1" })).await;
    assert_eq!(added.status, 200, "{}", added.body);
    assert_eq!(added.headers["cache-control"], "no-store");
    assert!(added.body["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = added.body["id"].as_str().unwrap();
    let mut item = added.body.clone();
    item.as_object_mut().unwrap().remove("secret");
    assert_eq!(
        item,
        json!({
            "id": id, "url": "https://example.net/hooks?token=1", "events": ["*"], "enabled": true,
            "disabledBecause": null, "disabledAt": null, "failingSince": null, "rotatingUntil": null,
            "createdAt": item["createdAt"],
        })
    );
    assert_eq!(owner.get("").await, json!({ "webhooks": [item] }));
    assert_eq!(owner.get(&format!("/{id}")).await, item);

    let changed = owner.change(id, json!({ "events": ["order.*"] })).await;
    assert_eq!(
        (changed.status, &changed.body["events"], &changed.body["url"]),
        (200, &json!(["order.*"]), &item["url"])
    );
    let changed = owner.change(id, json!({ "url": "https://example.org/", "enabled": false })).await.body;
    assert_eq!((&changed["url"], &changed["events"]), (&json!("https://example.org/"), &json!(["order.*"])));
    assert_eq!((&changed["enabled"], &changed["disabledBecause"]), (&json!(false), &json!("by_hand")));
    assert_eq!(owner.change(id, json!({})).await.body, changed);
    // All of it or nothing.
    assert_eq!(owner.change(id, json!({ "enabled": true, "url": "https://127.0.0.1/" })).await.status, 400);
    assert_eq!(owner.get(&format!("/{id}")).await, changed);

    assert_eq!(owner.ask(Method::DELETE, &format!("/{id}"), None).await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        let gone = owner.ask(method, &format!("/{id}"), None).await;
        assert_eq!((gone.status, gone.error()), (404, "ERR_RESOURCE_NOT_FOUND"));
    }
    assert_eq!(owner.get("").await, json!({ "webhooks": [] }));
    let refused = owner.ask(Method::PUT, &format!("/{id}"), None).await;
    assert_eq!((refused.status, refused.headers["allow"].to_str().unwrap()), (405, "GET, HEAD, PATCH, DELETE"));
}

async fn whoever_did_it_stays_in_the_audit_trail(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let owner = Account::new(&shop).await;
    let (id, secret) = owner.added(&receiver.url("/hooks?token=hunter2"), &["order.*"]).await;
    shop.clock.advance(1_000);
    let tested = owner.post(&format!("/{id}/test")).await.body;
    let delivery = tested["deliveryId"].as_str().unwrap();
    owner.until_outcome(&id, "delivered").await;
    for (method, below, body) in [
        (Method::POST, format!("/{id}/deliveries/{delivery}/redeliver"), None),
        (Method::PATCH, format!("/{id}"), Some(json!({ "events": ["subscription.*"] }))),
        (Method::PATCH, format!("/{id}"), Some(json!({ "enabled": false }))),
        (Method::PATCH, format!("/{id}"), Some(json!({ "enabled": true }))),
        (Method::POST, format!("/{id}/rotate"), None),
        (Method::DELETE, format!("/{id}"), None),
    ] {
        shop.clock.advance(1_000);
        assert!(owner.ask(method, &below, body).await.status < 300, "{below}");
    }
    let acts = acts_about(&shop, &id).await;
    let types: Vec<_> = acts.iter().rev().map(|act| act.event.event_type.as_str()).collect();
    let expected = ["added", "test", "redelivered", "changed", "disabled", "enabled", "rotated", "removed"];
    assert_eq!(types, expected.map(|what| format!("webhook.{what}")));
    assert!(acts.iter().all(|act| act.actor == "account" && act.account == Some(owner.id)), "{acts:?}");
    assert_eq!(acts[4].event.data["host"], receiver.url("").strip_prefix("http://").unwrap());
    let told = format!("{acts:?}");
    assert!(!told.contains("hunter2") && !told.contains(&secret), "no secret is in it: {told}");
}

async fn nobody_sees_or_touches_another_s(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let (owner, other) = (Account::new(&shop).await, Account::new(&shop).await);
    let (id, _) = owner.added(&receiver.url("/hooks"), &["order.*"]).await;
    let delivery = owner.post(&format!("/{id}/test")).await.body["deliveryId"].as_str().unwrap().to_owned();
    let (url, events) = (WebhookUrl::parse(&receiver.url("/yours")).unwrap(), EventFilter::everything());
    let operators = add_webhook(shop.app(), Owner::Operator, url, events, By::Operator(None)).await.unwrap();
    let operators = operators.endpoint.id.to_string();
    let (mine, _) = other.added(&receiver.url("/other"), &[]).await;
    let before = owner.get(&format!("/{id}")).await;
    let unknown = Uuid::from_u128(1).to_string();
    for webhook in [id.as_str(), &operators, &unknown, "no-id"] {
        for (method, below) in [
            (Method::GET, format!("/{webhook}")),
            (Method::PATCH, format!("/{webhook}")),
            (Method::DELETE, format!("/{webhook}")),
            (Method::POST, format!("/{webhook}/rotate")),
            (Method::POST, format!("/{webhook}/test")),
            (Method::POST, format!("/{webhook}/redeliver")),
            (Method::GET, format!("/{webhook}/deliveries")),
        ] {
            let body = (method == Method::PATCH).then(|| json!({ "enabled": false }));
            let reply = other.ask(method, &below, body).await;
            assert_eq!(reply.status, 404, "{below}: {}", reply.body);
            assert_eq!(reply.body["message"], "no webhook has this id", "{below}");
        }
    }
    // By an endpoint of one's own, too, nobody comes to another's delivery.
    for (webhook, delivery) in [(&id, delivery.as_str()), (&mine, &delivery), (&mine, &unknown), (&mine, "no-id")] {
        let reply = other.post(&format!("/{webhook}/deliveries/{delivery}/redeliver")).await;
        assert_eq!((reply.status, reply.body["message"].as_str()), (404, Some("no delivery has this id")));
    }
    let (another, _) = owner.added(&receiver.url("/another"), &[]).await;
    assert_eq!(owner.post(&format!("/{another}/deliveries/{delivery}/redeliver")).await.status, 404);
    assert_eq!(owner.get(&format!("/{id}")).await, before);
    assert_eq!(other.get("").await["webhooks"].as_array().unwrap().len(), 1);
    owner.until_outcome(&id, "delivered").await;
    assert_eq!(receiver.at("/hooks").len(), 1);
}

async fn an_account_has_ten_webhooks_and_no_more(on: On) {
    let shop = Shop::open(on).await;
    let (owner, other) = (Account::new(&shop).await, Account::new(&shop).await);
    let url = "https://example.net/hooks";
    let mut last = String::new();
    for _ in 0..10 {
        (last, _) = owner.added(url, &[]).await;
    }
    let one_more = owner.add(json!({ "url": url })).await;
    assert_eq!((one_more.status, one_more.error()), (409, "ERR_CONFLICT"));
    assert_eq!(one_more.body["message"], "there are 10 webhooks already: remove one first");
    other.added(url, &[]).await;
    assert_eq!(owner.ask(Method::DELETE, &format!("/{last}"), None).await.status, 204);
    let (one, another) = tokio::join!(owner.add(json!({ "url": url })), owner.add(json!({ "url": url })));
    let mut statuses = [one.status, another.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "of two at the same moment");
}

async fn a_url_and_its_events_have_their_bounds(on: On) {
    let shop = Shop::open(on).await;
    let owner = Account::new(&shop).await;
    let of_length = |length: usize| format!("https://example.net/{}", "p".repeat(length - 20));
    let events = |count: usize| vec!["order.paid"; count];
    let (id, _) = owner.added(&of_length(1_024), &events(50)).await;
    for bad in [
        json!({ "url": of_length(1_025) }),
        json!({ "url": "example.net" }),
        json!({ "url": "https://user:password@example.net/" }),
        json!({ "url": 1 }),
        json!({ "url": "https://example.net/", "events": events(51) }),
        json!({ "url": "https://example.net/", "events": ["server.*"] }),
        json!({ "url": "https://example.net/", "events": ["order.payed"] }),
        json!({ "url": "https://example.net/", "events": "order.paid" }),
    ] {
        for reply in [owner.add(bad.clone()).await, owner.change(&id, bad.clone()).await] {
            assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"), "{bad}");
        }
    }
    assert_eq!(owner.add(json!({ "events": ["*"] })).await.status, 400, "a URL is needed");
    assert_eq!(owner.get("").await["webhooks"].as_array().unwrap().len(), 1);
}

async fn what_an_owner_names_is_judged_as_a_stranger_s(on: On) {
    let receiver = Receiver::start().await;
    let this_machine: ipnet::IpNet = "127.0.0.1/32".parse().unwrap();
    let shop = Shop::open_with(on, |config: &mut Config| config.egress.allow = vec![this_machine]).await;
    let owner = Account::new(&shop).await;
    let (id, _) = owner.added("https://example.net/", &[]).await;
    let mine = receiver.url("/hooks");
    for url in [mine.as_str(), "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.7/", "https://example.net:25/"] {
        for reply in [owner.add(json!({ "url": url })).await, owner.change(&id, json!({ "url": url })).await] {
            assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"), "{url}");
            let message = reply.body["message"].as_str().unwrap();
            assert!(message.starts_with("this URL is not called: "), "{url}: {message}");
        }
    }
    // What the operator names for themselves goes there.
    let (url, events) = (WebhookUrl::parse(&mine).unwrap(), EventFilter::everything());
    add_webhook(shop.app(), Owner::Operator, url, events, By::Operator(None)).await.unwrap();
    assert!(receiver.at("/hooks").is_empty());
}

async fn an_owner_is_told_of_their_own_orders_and_subscriptions_only(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let (owner, other) = (Account::new(&shop).await, Account::new(&shop).await);
    let (_, secret) = owner.added(&receiver.url("/mine"), &["order.paid", "subscription.*"]).await;
    other.added(&receiver.url("/other"), &[]).await;
    shop.buy().await;
    other.buy().await;
    let hash = owner.buy().await;
    shop.until("the receiver was told", || async { receiver.at("/mine").len() >= 2 }).await;
    shop.until("all was fanned out", || async { !shop.app().store.has_untold_events().await.unwrap() }).await;
    let told = receiver.at("/mine");
    assert!(told.iter().all(|received| received.is_signed_with(&secret)));
    let mut types = receiver.types("/mine");
    types.sort();
    assert_eq!(types, ["order.paid", "subscription.created"]);
    let paid = told.iter().find(|received| received.event_type() == "order.paid").unwrap().json();
    assert_eq!(paid["data"]["order"]["paymentHash"], hash.as_str());
    shop.until("the other was told", || async { !receiver.at("/other").is_empty() }).await;
    assert!(receiver.at("/other").iter().all(|received| !received.body.contains(&hash)));
}

async fn both_secrets_sign_until_a_rotation_ends(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let owner = Account::new(&shop).await;
    let (id, old) = owner.added(&receiver.url("/hooks"), &[]).await;
    let rotated = owner.post(&format!("/{id}/rotate")).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    let until = shop.clock.now().plus_millis(86_400_000);
    assert_eq!(rotated.body["rotatingUntil"], json!(until));
    for (later, is_rotating) in [(0, true), (86_400_000, false)] {
        shop.clock.advance(later);
        let told = receiver.at("/hooks").len();
        assert_eq!(owner.post(&format!("/{id}/test")).await.status, 200);
        shop.until("it was told", || async { receiver.at("/hooks").len() > told }).await;
        let test = receiver.at("/hooks").pop().unwrap();
        assert_eq!((test.is_signed_with(&old), test.is_signed_with(&new)), (is_rotating, true));
        let shown = owner.get(&format!("/{id}")).await;
        assert_eq!(shown["rotatingUntil"].is_string(), is_rotating);
        assert!(shown.get("secret").is_none());
    }
}

async fn one_that_is_disabled_by_hand_is_told_nothing_until_it_is_enabled(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let owner = Account::new(&shop).await;
    let (id, _) = owner.added(&receiver.url("/hooks"), &["order.paid"]).await;
    receiver.answers("/hooks", Answer::status(500));
    owner.buy().await;
    let waiting = owner.until_outcome(&id, "refused").await.remove(0);
    assert_eq!((&waiting["state"], &waiting["status"]), (&json!("pending"), &json!(500)));
    assert!(owner.get(&format!("/{id}")).await["failingSince"].is_string());
    assert_eq!(owner.change(&id, json!({ "enabled": false })).await.status, 200);
    assert_eq!(owner.get(&format!("/{id}/deliveries")).await["deliveries"][0]["state"], "failed");
    let delivery = waiting["id"].as_str().unwrap();
    for below in ["test", "redeliver", &format!("deliveries/{delivery}/redeliver")] {
        let refused = owner.post(&format!("/{id}/{below}")).await;
        assert_eq!((refused.status, refused.error()), (409, "ERR_CONFLICT"), "{below}");
    }
    owner.buy().await;
    receiver.answers("/hooks", Answer::status(204));
    let enabled = owner.change(&id, json!({ "enabled": true })).await.body;
    assert_eq!((&enabled["enabled"], &enabled["failingSince"]), (&json!(true), &Value::Null));
    let begun = owner.post(&format!("/{id}/redeliver")).await;
    assert_eq!((begun.status, &begun.body), (200, &json!({ "deliveries": 1 })));
    let log = owner.until_outcome(&id, "delivered").await;
    assert_eq!((log.len(), &log[0]["id"]), (1, &waiting["id"]), "what happened meanwhile was not entered");
    assert_eq!(owner.post(&format!("/{id}/redeliver")).await.body, json!({ "deliveries": 0 }));
}

async fn the_log_is_searched_and_read_page_by_page(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let (owner, other) = (Account::new(&shop).await, Account::new(&shop).await);
    let (id, _) = owner.added(&receiver.url("/hooks"), &["order.paid"]).await;
    let (others, _) = other.added(&receiver.url("/other"), &[]).await;
    assert_eq!(other.post(&format!("/{others}/test")).await.status, 200);
    owner.buy().await;
    owner.until_outcome(&id, "delivered").await;
    shop.clock.advance(1_000);
    for _ in 0..100 {
        assert_eq!(owner.post(&format!("/{id}/test")).await.status, 200);
    }
    let first = owner.get(&format!("/{id}/deliveries")).await;
    let items = first["deliveries"].as_array().unwrap();
    assert_eq!((items.len(), &first["next"]), (100, &items[99]["id"]));
    let second = owner.get(&format!("/{id}/deliveries?before={}", first["next"].as_str().unwrap())).await;
    let rest = second["deliveries"].as_array().unwrap();
    assert_eq!((rest.len(), &second["next"]), (1, &Value::Null));
    let paid = &rest[0];
    let order = paid["aboutId"].as_str().unwrap();
    assert_eq!((&paid["type"], &paid["about"]), (&json!("order.paid"), &json!("order")));
    owner.until_outcome(&id, "delivered").await;
    let count = async |query: &str| {
        owner.get(&format!("/{id}/deliveries?{query}")).await["deliveries"].as_array().unwrap().len()
    };
    assert_eq!(count("type=order.paid").await, 1);
    assert_eq!(count(&format!("about={order}")).await, 1);
    assert_eq!(count(&format!("about={order}&type=webhook.test")).await, 0);
    assert_eq!((count("state=failed").await, count("state=pending&type=webhook.test").await), (0, 0));
    assert_eq!(count("state=delivered").await, 100);
    for bad in ["state=lost", "before=yesterday"] {
        let reply = owner.ask(Method::GET, &format!("/{id}/deliveries?{bad}"), None).await;
        assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"), "{bad}");
    }
}

async fn what_an_owner_has_sent_by_hand_is_limited(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, |config| {
        allow_this_machine(config);
        config.limits.webhook_calls = Quota { burst: 3, per_minute: 1 };
    })
    .await;
    let (owner, other) = (Account::new(&shop).await, Account::new(&shop).await);
    let (id, _) = owner.added(&receiver.url("/hooks"), &[]).await;
    let delivery = owner.post(&format!("/{id}/test")).await.body["deliveryId"].as_str().unwrap().to_owned();
    let again = format!("/{id}/deliveries/{delivery}/redeliver");
    assert_eq!(owner.post(&again).await.status, 200);
    assert_eq!(owner.post(&format!("/{id}/redeliver")).await.status, 200);
    for below in [format!("/{id}/test"), again, format!("/{id}/redeliver")] {
        let refused = owner.post(&below).await;
        assert_eq!((refused.status, refused.error()), (429, "ERR_RATE_LIMIT_EXCEEDED"), "{below}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(owner.ask(Method::GET, "", None).await.status, 200, "the rest is not");
    let (others, _) = other.added(&receiver.url("/other"), &[]).await;
    assert_eq!(other.post(&format!("/{others}/test")).await.status, 200);
}

async fn an_answer_of_another_url_disables_nothing(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let owner = Account::new(&shop).await;
    let (id, _) = owner.added(&receiver.url("/old"), &[]).await;
    receiver.answers("/old", Answer { after: Duration::from_secs(3), ..Answer::status(410) });
    assert_eq!(owner.post(&format!("/{id}/test")).await.status, 200);
    shop.until("the old one was called", || async { !receiver.at("/old").is_empty() }).await;
    assert_eq!(owner.change(&id, json!({ "url": receiver.url("/new") })).await.status, 200);
    owner.until_outcome(&id, "gone").await;
    assert_eq!(owner.get(&format!("/{id}")).await["enabled"], true);
    shop.clock.advance(10_000);
    owner.until_outcome(&id, "delivered").await;
    assert_eq!(receiver.types("/new"), ["webhook.test"], "what waits is told to the new one");
}
