//! Webhooks out: what is told to whom, and that it arrives whatever fails on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;
use wiretoll::app::add_webhook::add_webhook;
use wiretoll::app::change_webhook::{WebhookChange, Whose, change_webhook, rotate_webhook};
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::fan_out::fan_out;
use wiretoll::app::forget_webhooks::forget_webhooks;
use wiretoll::app::operator::{By, Effect};
use wiretoll::app::redeliver::{redeliver, redeliver_failed, test_webhook};
use wiretoll::app::send_webhooks::{claim_due, send_claimed};
use wiretoll::config::{Config, ConfiguredWebhook, WebhookSecretSource};
use wiretoll::domain::event::Subject;
use wiretoll::domain::webhook::{Disabled, Endpoint, EventFilter, Owner, WebhookUrl};
use wiretoll::domain::webhook_secret::WebhookSecret;
use wiretoll::store::{Delivery, DeliveryFilter};

use crate::database::{connect, number};
use crate::metrics::{Page, with_metrics};
use crate::on_both_databases;
use crate::receiver::{Answer, Received, Receiver};
use crate::shop::{API, On, Shop, postgres_url};

on_both_databases!(
    scenario_39_a_crash_between_commit_and_send_loses_nothing,
    scenario_40_a_slow_receiver_delays_nobody_else,
    scenario_41_a_receiver_that_fails_for_hours_gets_everything_then,
    scenario_42_a_blocked_url_is_not_called,
    scenario_49_two_replicas_deliver_each_once,
    a_message_is_signed_and_has_the_promised_shape,
    a_callback_is_told_of_its_paid_order_only,
    a_callback_is_not_called_for_an_order_that_nobody_paid,
    a_callback_url_that_is_never_called_is_refused,
    both_secrets_sign_during_a_rotation,
    the_configuration_s_webhooks_are_as_it_says,
    one_that_is_gone_is_disabled_at_once,
    one_that_only_fails_is_disabled_after_five_days_with_a_notice,
    a_redirect_is_not_followed,
    a_receiver_s_patience_is_heeded,
    a_failed_delivery_holds_back_no_later_one,
    where_nobody_listens_events_are_marked_as_they_are_written,
    what_ended_is_forgotten_after_its_time,
    a_test_is_told_to_its_webhook_only,
    what_waits_is_told_by_whose_it_is,
);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn configured(url: &str, events: &[&str]) -> ConfiguredWebhook {
    let events: Vec<_> = events.iter().map(|&event| event.to_owned()).collect();
    ConfiguredWebhook {
        url: WebhookUrl::parse(url).unwrap(),
        events: EventFilter::parse(&events, Owner::Configuration).unwrap(),
        secret: WebhookSecretSource::Text(WebhookSecret::parse(SECRET).unwrap()),
    }
}

pub fn allow_this_machine(config: &mut Config) {
    config.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
    config.egress.allow_customers = config.egress.allow.clone();
}

/// A shop that tells these paths of a receiver of these events.
async fn telling(on: On, receiver: &Receiver, paths: &[(&str, &[&str])]) -> Shop {
    let webhooks = paths.iter().map(|(path, events)| configured(&receiver.url(path), events)).collect();
    Shop::open_with(on, |config| {
        allow_this_machine(config);
        config.webhooks = webhooks;
    })
    .await
}

async fn until_told(shop: &Shop, receiver: &Receiver, path: &str, count: usize) {
    shop.until("the receiver was told", || async { receiver.at(path).len() >= count }).await;
}

async fn deliveries(shop: &Shop) -> Vec<Delivery> {
    shop.app().store.deliveries(&DeliveryFilter { at_most: 100, ..DeliveryFilter::default() }).await.unwrap()
}

/// Waits until no delivery is claimed or due, and returns them all.
async fn until_outcome(shop: &Shop, outcome: &str) -> Vec<Delivery> {
    shop.until("every delivery has this outcome", || async {
        let all = deliveries(shop).await;
        !all.is_empty() && all.iter().all(|one| one.outcome.as_deref() == Some(outcome))
    })
    .await;
    deliveries(shop).await
}

async fn endpoint_at(shop: &Shop, path: &str) -> Endpoint {
    let all = shop.app().store.endpoints(None).await.unwrap();
    all.into_iter().find(|endpoint| endpoint.url.as_str().ends_with(path)).unwrap()
}

/// What the worker does, once, for a shop that rests.
async fn send_due(shop: &Shop) {
    fan_out(shop.app()).await.unwrap();
    for endpoint in shop.app().store.due_endpoints(shop.clock.now(), None, 100).await.unwrap() {
        for (_, delivery) in claim_due(shop.app(), &[(endpoint.id, 100)]).await.unwrap() {
            send_claimed(shop.app(), delivery).await.unwrap();
        }
    }
}

async fn a_message_is_signed_and_has_the_promised_shape(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/hooks", &["order.paid", "subscription.*"])]).await;
    let order = shop.buy().await;
    until_told(&shop, &receiver, "/hooks", 2).await;
    let mut told = receiver.at("/hooks");
    told.sort_by_key(Received::event_type);
    assert!(told.iter().all(|received| received.is_signed_with(SECRET)));
    let (paid, created) = (told[0].json(), told[1].json());
    let stored = shop.stored(&order).await;
    assert_eq!(
        paid,
        json!({
            "type": "order.paid",
            "timestamp": paid["timestamp"],
            "data": { "sequence": 1, "order": {
                "id": stored.id, "paymentHash": order.hash, "amountMsat": 4_500_000, "excessMsat": 0,
            } },
        })
    );
    assert_eq!(created["type"], "subscription.created");
    assert_eq!(created["data"]["subscription"]["foundedBy"], json!(stored.id));
    let secrets = [&order.token, "PrivateKey", "preimage", "claimToken"];
    assert!(told.iter().all(|received| secrets.iter().all(|secret| !received.body.contains(*secret))));
    assert_eq!(told[0].header("content-type"), "application/json");
    let events = shop.app().store.events_of(Subject::Order(stored.id)).await.unwrap();
    assert_eq!(told[0].header("webhook-id"), events[1].id.to_string());
}

async fn scenario_39_a_crash_between_commit_and_send_loses_nothing(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    receiver.answers("/hooks", Answer::status(503));
    let order = shop.buy().await;
    until_outcome(&shop, "refused").await;
    shop.rest().await;
    receiver.answers("/hooks", Answer::status(204));
    shop.clock.advance(10_000);
    let endpoint = endpoint_at(&shop, "/hooks").await.id;
    // It was claimed, and then the process died: nobody sends it before the claim counts as lost.
    assert_eq!(claim_due(shop.app(), &[(endpoint, 10)]).await.unwrap().len(), 1);
    assert!(claim_due(shop.app(), &[(endpoint, 10)]).await.unwrap().is_empty());
    let before = receiver.at("/hooks").len();
    shop.clock.advance(31_000);
    shop.start().await;
    until_told(&shop, &receiver, "/hooks", before + 1).await;
    let told = receiver.at("/hooks");
    assert!(told.iter().all(|received| received.json()["data"]["order"]["paymentHash"] == order.hash.as_str()));
    let ids: std::collections::BTreeSet<_> =
        told.iter().map(|received| received.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 1, "a repeat is known by its id");
    until_outcome(&shop, "delivered").await;
}

async fn scenario_40_a_slow_receiver_delays_nobody_else(on: On) {
    let receiver = Receiver::start().await;
    receiver.answers("/slow", Answer { after: Duration::from_mins(1), ..Answer::status(204) });
    let shop = telling(on, &receiver, &[("/slow", &["*"]), ("/quick", &["*"])]).await;
    for _ in 0..4 {
        shop.buy().await;
    }
    // Three events of each purchase and more: more than the slow one has places.
    shop.until("the quick one has all", || async {
        receiver.types("/quick").iter().filter(|told| *told == "order.paid").count() == 4
    })
    .await;
    assert!(receiver.at("/slow").len() <= 4, "{:?}", receiver.types("/slow"));
}

async fn scenario_41_a_receiver_that_fails_for_hours_gets_everything_then(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    receiver.answers("/hooks", Answer::status(500));
    let order = shop.buy().await;
    until_outcome(&shop, "refused").await;
    shop.rest().await;
    // 5 s, 5 min, 30 min, 2 h, each with its jitter.
    for hours in [1, 1, 1, 3] {
        shop.clock.advance(hours * 3_600_000);
        send_due(&shop).await;
    }
    let failing = deliveries(&shop).await.remove(0);
    assert_eq!((failing.state.as_str(), failing.attempts, failing.status), ("pending", 5, Some(500)));
    assert!(endpoint_at(&shop, "/hooks").await.failing_since.is_some());
    receiver.answers("/hooks", Answer::status(200));
    shop.clock.advance(7 * 3_600_000);
    send_due(&shop).await;
    let delivered = deliveries(&shop).await.remove(0);
    assert_eq!((delivered.state.as_str(), delivered.attempts, delivered.status), ("delivered", 6, Some(200)));
    assert!(endpoint_at(&shop, "/hooks").await.failing_since.is_none());
    // And it can be told again.
    redeliver(shop.app(), delivered.id, Whose::Anybodys, By::Operator(None)).await.unwrap();
    send_due(&shop).await;
    let told = receiver.at("/hooks");
    assert_eq!(told.len(), 7);
    assert!(told.iter().all(|received| received.body == told[0].body && received.is_signed_with(SECRET)));
    assert_eq!(told[0].json()["data"]["order"]["paymentHash"], order.hash.as_str());
}

async fn scenario_42_a_blocked_url_is_not_called(on: On) {
    let receiver = Receiver::start().await;
    let url = receiver.url("/hooks");
    let shop = Shop::open_with(on, |config| config.webhooks = vec![configured(&url, &["order.paid"])]).await;
    shop.buy().await;
    let blocked = until_outcome(&shop, "address").await;
    assert_eq!((blocked[0].state.as_str(), blocked[0].status), ("pending", None));
    assert!(receiver.at("/hooks").is_empty());
}

async fn scenario_49_two_replicas_deliver_each_once(on: On) {
    if matches!(on, On::Sqlite) {
        return; // one process holds the database
    }
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    let replica = shop.replica().await;
    for _ in 0..6 {
        shop.buy().await;
    }
    shop.until("all are entered", || async { deliveries(&replica).await.len() == 6 }).await;
    until_outcome(&shop, "delivered").await;
    assert_eq!(receiver.at("/hooks").len(), 6);
}

async fn with_callback(shop: &Shop, url: &str) -> crate::shop::Bought {
    shop.order_with(json!({ "serverId": "eu-de", "duration": 1, "callbackUrl": url })).await
}

async fn a_callback_is_told_of_its_paid_order_only(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let key = Uuid::from_u128(7).to_string();
    let body = json!({ "serverId": "eu-de", "duration": 1, "callbackUrl": receiver.url("/mine") });
    let first = shop.post_with_key(&format!("{API}/subscription/create"), &key, body.clone()).await.body;
    let secret = first["callbackSecret"].as_str().unwrap().to_owned();
    let again = shop.post_with_key(&format!("{API}/subscription/create"), &key, body.clone()).await.body;
    assert_eq!(again["callbackSecret"], secret.as_str(), "while it is unpaid");
    let others = shop.buy().await;
    shop.pay(first["invoice"].as_str().unwrap()).await;
    until_told(&shop, &receiver, "/mine", 1).await;
    let told = receiver.at("/mine").remove(0);
    assert_eq!(told.event_type(), "order.paid");
    assert!(told.is_signed_with(&secret) && !told.body.contains(&others.hash));
    assert_eq!(told.json()["data"]["order"]["paymentHash"], first["paymentHash"]);
    let paid = shop.post_with_key(&format!("{API}/subscription/create"), &key, body).await.body;
    assert!(paid.get("callbackSecret").is_none() && paid.get("claimToken").is_none());
    // A renewal has its own.
    let own = crate::shop::a_key();
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": own })).await;
    let renewal = json!({ "duration": 1, "wgPublicKey": own, "callbackUrl": receiver.url("/renewal") });
    let renewal = shop.post(&format!("{API}/subscription/renew"), renewal).await.body;
    shop.pay(renewal["invoice"].as_str().unwrap()).await;
    until_told(&shop, &receiver, "/renewal", 1).await;
    assert!(receiver.at("/renewal")[0].is_signed_with(renewal["callbackSecret"].as_str().unwrap()));
    assert_eq!(receiver.at("/mine").len(), 1);
}

async fn a_callback_is_not_called_for_an_order_that_nobody_paid(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    let order = with_callback(&shop, &receiver.url("/mine")).await;
    shop.advance(Duration::from_mins(16)).await;
    shop.until("it has expired", || async {
        close_due_orders(shop.app()).await.unwrap();
        shop.stored(&order).await.state.name() == "expired"
    })
    .await;
    shop.until("its events were looked at", || async { !shop.app().store.has_untold_events().await.unwrap() }).await;
    assert!(deliveries(&shop).await.is_empty() && receiver.at("/mine").is_empty());
}

async fn a_callback_url_that_is_never_called_is_refused(on: On) {
    let shop = Shop::open(on).await;
    for url in [
        "example.com",
        "http://example.com/",
        "https://127.0.0.1/",
        "https://example.com:25/",
        "https://u:p@example.com/",
    ] {
        let reply = shop.create(json!({ "serverId": "eu-de", "duration": 1, "callbackUrl": url })).await;
        assert_eq!((reply.status, reply.error()), (400, "ERR_INVALID_INPUT"), "{url}");
    }
    assert_eq!(shop.occupancy().await.reserved, 0);
}

async fn both_secrets_sign_during_a_rotation(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = Shop::open_with(on, allow_this_machine).await;
    let url = WebhookUrl::parse(&receiver.url("/hooks")).unwrap();
    let events = EventFilter::parse(&["order.paid".to_owned()], Owner::Operator).unwrap();
    let added = add_webhook(shop.app(), Owner::Operator, url, events, By::Operator(None)).await.unwrap();
    let (id, old) = (added.endpoint.id, added.secret.expose());
    let (_, new) = rotate_webhook(shop.app(), id, Whose::Anybodys, By::Operator(None)).await.unwrap();
    shop.buy().await;
    until_told(&shop, &receiver, "/hooks", 1).await;
    let told = receiver.at("/hooks").remove(0);
    assert!(told.is_signed_with(&old) && told.is_signed_with(&new.expose()));
    assert_eq!(told.header("webhook-signature").split(' ').count(), 2);
    let delivered = until_outcome(&shop, "delivered").await.remove(0);
    shop.rest().await;
    for (later, signatures) in [(86_399_000 - 60_000, 2), (60_000 + 1_000, 1)] {
        shop.clock.advance(later);
        redeliver(shop.app(), delivered.id, Whose::Anybodys, By::Operator(None)).await.unwrap();
        send_due(&shop).await;
        let told = receiver.at("/hooks").pop().unwrap();
        assert_eq!(told.header("webhook-signature").split(' ').count(), signatures);
        assert!(told.is_signed_with(&new.expose()));
    }
}

async fn the_configuration_s_webhooks_are_as_it_says(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = telling(on, &receiver, &[("/a", &["order.paid"]), ("/b", &["*"])]).await;
    let urls = async |shop: &Shop| {
        let all = shop.app().store.endpoints(Some(Owner::Configuration)).await.unwrap();
        let mut all: Vec<_> = all.into_iter().map(|endpoint| (endpoint.url.as_str().to_owned(), endpoint)).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    };
    let before = urls(&shop).await;
    assert_eq!(before.len(), 2);
    shop.stop().await;
    let secret = WebhookSecret::from_key([5; 32]);
    let mut changed = configured(&receiver.url("/a"), &["server.*"]);
    changed.secret = WebhookSecretSource::Text(secret);
    shop.config.webhooks = vec![changed, configured(&receiver.url("/c"), &["*"])];
    shop.start().await;
    let after = urls(&shop).await;
    assert_eq!(after.len(), 2);
    assert_eq!((&after[0].0, after[0].1.id), (&before[0].0, before[0].1.id), "it is the same one");
    assert!(after[0].1.events.wants("server.drained") && !after[0].1.events.wants("order.paid"));
    assert!(after[0].1.rotating_until.is_some(), "the secret before signs besides");
    assert!(after[1].0.ends_with("/c"));
}

async fn one_that_is_gone_is_disabled_at_once(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/gone", &["order.paid"]), ("/yours", &["webhook.disabled"])]).await;
    receiver.answers("/gone", Answer::status(410));
    shop.buy().await;
    until_told(&shop, &receiver, "/yours", 1).await;
    let notice = receiver.at("/yours").remove(0).json();
    assert_eq!(notice["type"], "webhook.disabled");
    assert_eq!(notice["data"]["webhook"]["because"], "gone");
    let endpoint = endpoint_at(&shop, "/gone").await;
    assert_eq!(endpoint.disabled.map(|(_, because)| because), Some(Disabled::Gone));
    shop.buy().await;
    let to_gone = async || {
        let filter = DeliveryFilter { endpoint: Some(endpoint.id), at_most: 10, ..DeliveryFilter::default() };
        shop.app().store.deliveries(&filter).await.unwrap()
    };
    assert_eq!(to_gone().await.len(), 1, "it is told nothing more");
    let id = to_gone().await[0].id;
    assert!(redeliver(shop.app(), id, Whose::Anybodys, By::Operator(None)).await.is_err());
    receiver.answers("/gone", Answer::status(204));
    let change = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    let enabled = change_webhook(shop.app(), endpoint.id, Whose::Anybodys, &change, By::Operator(None)).await;
    assert_eq!(enabled.unwrap().1, Effect::Now);
    assert_eq!(redeliver_failed(shop.app(), endpoint.id, Whose::Anybodys, By::Operator(None)).await.unwrap(), 1);
    shop.until("it was told again", || async { to_gone().await[0].state == "delivered" }).await;
}

async fn one_that_only_fails_is_disabled_after_five_days_with_a_notice(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = telling(on, &receiver, &[("/bad", &["order.*"]), ("/yours", &["webhook.disabled"])]).await;
    receiver.answers("/bad", Answer::status(500));
    shop.buy().await;
    until_outcome(&shop, "refused").await;
    shop.rest().await;
    let first = deliveries(&shop).await.remove(0);
    let days = |days: i64| days * 86_400_000;
    shop.clock.advance(days(5) - 1_000 - (shop.clock.now().since(first.attempted_at.unwrap())));
    send_due(&shop).await;
    assert!(endpoint_at(&shop, "/bad").await.disabled.is_none(), "a second is missing");
    shop.clock.advance(days(1));
    send_due(&shop).await;
    assert_eq!(endpoint_at(&shop, "/bad").await.disabled.map(|(_, because)| because), Some(Disabled::Failing));
    send_due(&shop).await;
    assert_eq!(receiver.types("/yours"), ["webhook.disabled"]);
    assert!(deliveries(&shop).await.iter().all(|one| one.state != "pending"));
}

/// An alarm is about the operator's own: strangers' receivers fail as they like.
async fn what_waits_is_told_by_whose_it_is(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, |config| {
        allow_this_machine(config);
        with_metrics(config);
    })
    .await;
    receiver.answers("/theirs", Answer::status(500));
    let order = with_callback(&shop, &receiver.url("/theirs")).await;
    shop.pay(&order.invoice).await;
    until_outcome(&shop, "refused").await;
    shop.clock.advance(1_000);
    let page = Page::of(&shop).await;
    let of = |metric: &str, owner: &str| page.value(&format!("wiretoll_webhook_{metric}{{owner=\"{owner}\"}}"));
    assert!(of("deliveries_waiting", "buyer") >= 1.0 && of("oldest_waiting_seconds", "buyer") >= 1.0);
    for owner in ["operator", "account"] {
        assert_eq!((of("deliveries_waiting", owner), of("oldest_waiting_seconds", owner)), (0.0, 0.0), "{owner}");
    }
}

/// Whoever disables one locks it and then its deliveries; an attempt that has a delivery's row and then wants the
/// endpoint's would stop both.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_locks_its_endpoint_first() {
    if postgres_url().is_none() {
        return; // on SQLite one follows the other
    }
    let receiver = Receiver::start().await;
    let shop = telling(On::Postgres, &receiver, &[("/hooks", &["order.paid"])]).await;
    let (store, id) = (&shop.app().store, endpoint_at(&shop, "/hooks").await.id);
    let mut before = store.begin().await.unwrap();
    before.note_attempt(id, Some(shop.clock.now())).await.unwrap();
    before.commit().await.unwrap();
    let mut attempt = store.begin().await.unwrap();
    attempt.note_attempt(id, Some(shop.clock.now())).await.unwrap();
    let locked = async || store.begin().await.unwrap().lock_endpoint(id).await.unwrap();
    assert!(timeout(Duration::from_millis(300), locked()).await.is_err(), "it was locked twice");
    attempt.commit().await.unwrap();
    assert!(timeout(Duration::from_secs(10), locked()).await.unwrap().is_some());
}

async fn a_redirect_is_not_followed(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    receiver.answers("/hooks", Answer { header: "location: /elsewhere", ..Answer::status(302) });
    shop.buy().await;
    let redirected = until_outcome(&shop, "redirect").await;
    assert_eq!((redirected[0].state.as_str(), redirected[0].status), ("pending", Some(302)));
    assert!(receiver.at("/elsewhere").is_empty());
}

async fn a_receiver_s_patience_is_heeded(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    receiver.answers("/hooks", Answer { header: "retry-after: 3600", ..Answer::status(429) });
    shop.buy().await;
    let waiting = until_outcome(&shop, "refused").await.remove(0);
    assert_eq!(waiting.next_at.unwrap().since(waiting.attempted_at.unwrap()), 3_600_000);
}

async fn a_failed_delivery_holds_back_no_later_one(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/hooks", &["order.paid"])]).await;
    receiver.answers("/hooks", Answer::status(500));
    let first = shop.buy().await;
    until_outcome(&shop, "refused").await;
    receiver.answers("/hooks", Answer::status(204));
    let second = shop.buy().await;
    until_told(&shop, &receiver, "/hooks", 2).await;
    let hash = |told: &Value| told["data"]["order"]["paymentHash"].as_str().unwrap().to_owned();
    let told: Vec<_> = receiver.at("/hooks").iter().map(|received| hash(&received.json())).collect();
    assert_eq!(told, [first.hash, second.hash]);
}

async fn where_nobody_listens_events_are_marked_as_they_are_written(on: On) {
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(on, allow_this_machine).await;
    shop.buy().await;
    let untold = "SELECT CAST(count(*) AS BIGINT) FROM events WHERE fanned_out_at IS NULL";
    let later = "SELECT CAST(count(*) AS BIGINT) FROM events WHERE fanned_out_at <> occurred_at";
    let mut database = connect(&shop).await;
    assert_eq!((number(&mut database, untold).await, number(&mut database, later).await), (0, 0));
    // Somebody else's callback changes nothing for others.
    let order = with_callback(&shop, &receiver.url("/mine")).await;
    shop.buy().await;
    shop.pay(&order.invoice).await;
    until_told(&shop, &receiver, "/mine", 1).await;
    assert_eq!(number(&mut database, "SELECT CAST(count(*) AS BIGINT) FROM webhook_deliveries").await, 1);
    shop.until("nothing is left", || async { !shop.app().store.has_untold_events().await.unwrap() }).await;
}

async fn what_ended_is_forgotten_after_its_time(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = Shop::open_with(on, allow_this_machine).await;
    let order = with_callback(&shop, &receiver.url("/mine")).await;
    shop.pay(&order.invoice).await;
    until_outcome(&shop, "delivered").await;
    shop.rest().await;
    let kept = shop.app().shop.holds.deliveries_millis;
    shop.clock.advance(kept - 60_000);
    assert_eq!(forget_webhooks(shop.app()).await.unwrap(), 0);
    shop.clock.advance(120_000);
    assert_eq!(forget_webhooks(shop.app()).await.unwrap(), 2, "the delivery and its callback");
    let mut database = connect(&shop).await;
    let left = "SELECT CAST(count(*) AS BIGINT) FROM webhook_endpoints";
    assert_eq!(number(&mut database, left).await, 0);
}

async fn a_test_is_told_to_its_webhook_only(on: On) {
    let receiver = Receiver::start().await;
    let shop = telling(on, &receiver, &[("/a", &["order.paid"]), ("/b", &["*"])]).await;
    test_webhook(shop.app(), endpoint_at(&shop, "/a").await.id, Whose::Anybodys, By::Operator(None)).await.unwrap();
    until_told(&shop, &receiver, "/a", 1).await;
    shop.until("it was fanned out", || async { !shop.app().store.has_untold_events().await.unwrap() }).await;
    assert_eq!(receiver.types("/a"), ["webhook.test"]);
    let tests = deliveries(&shop).await.into_iter().filter(|one| one.event.event_type == "webhook.test");
    assert_eq!(tests.count(), 1);
}
