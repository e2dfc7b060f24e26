//! Every type of event, caused once: its owner is told what is theirs, the operator everything, and nobody else a word.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::add_webhook::{AddedWebhook, add_webhook};
use wiretoll::app::bandwidth::bandwidth_limit;
use wiretoll::app::change_webhook::Whose;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::extend::extend;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::operator::By;
use wiretoll::app::redeliver::test_webhook;
use wiretoll::app::rekey::rekey;
use wiretoll::app::release::release_ended_holds;
use wiretoll::app::revoke::revoke;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::tell_ends::tell_ends;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::desired::Usage;
use wiretoll::domain::event::EventType;
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::note::Note;
use wiretoll::domain::subscription::Span;
use wiretoll::domain::webhook::{EventFilter, Owner, WebhookUrl};
use wiretoll::lnd_simulator::faults::Fault;

use crate::agent::Agent;
use crate::on_both_databases;
use crate::receiver::{Answer, Received, Receiver};
use crate::shop::{API, Bought, On, Shop, a_key};

on_both_databases!(every_event_is_told_to_its_owner_and_to_the_operator_alone);

/// What an owner is told of each type: of what kind its subject is, and which fields that has.
const TOLD: [(&str, &str, &[&str]); 21] = [
    ("claim.bound", "subscription", &["foundedBy", "id"]),
    ("claim.ready", "order", &["id", "paymentHash", "serverId", "subscriptionId"]),
    ("order.expired", "order", &["id", "paymentHash"]),
    ("order.paid", "order", &["amountMsat", "excessMsat", "id", "paymentHash"]),
    ("order.paid_late", "order", &["amountMsat", "excessMsat", "id", "paymentHash"]),
    ("order.refund_due", "order", &["amountMsat", "excessMsat", "id", "paymentHash"]),
    ("referral.credited", "account", &["durationPurchased", "id", "months", "subscriptionId"]),
    ("subscription.created", "subscription", &["endsAt", "foundedBy", "id", "serverId"]),
    ("subscription.expiring", "subscription", &["daysLeft", "endsAt", "foundedBy", "id"]),
    ("subscription.extended", "subscription", &["endsAt", "foundedBy", "granted", "id", "oldEnd"]),
    ("subscription.lapsed", "subscription", &["endedAt", "foundedBy", "id"]),
    ("subscription.rekeyed", "subscription", &["foundedBy", "id"]),
    ("subscription.released", "subscription", &["foundedBy", "id"]),
    ("subscription.renewed", "subscription", &["endsAt", "foundedBy", "id", "oldEnd", "orderId"]),
    ("subscription.resumed", "subscription", &["foundedBy", "id"]),
    ("subscription.revoked", "subscription", &["foundedBy", "id"]),
    ("subscription.suspended", "subscription", &["foundedBy", "id"]),
    ("usage.100", "subscription", &["foundedBy", "id", "limitBytes", "month", "usedBytes"]),
    ("usage.70", "subscription", &["foundedBy", "id", "limitBytes", "month", "usedBytes"]),
    ("webhook.disabled", "webhook", &["because", "host", "id"]),
    ("webhook.test", "webhook", &["id"]),
];

const DAY: u64 = 24 * 3_600;

/// An account with a key.
struct Customer {
    account: Uuid,
    credential: String,
}

impl Customer {
    async fn of(shop: &Shop) -> Self {
        let new = NewApiKey {
            account: KeyOwner::NewAccount,
            name: KeyName::parse("a test's").unwrap(),
            scopes: Scopes::all(),
        };
        let made = create_api_key(shop.app(), new, By::Operator(None)).await.unwrap();
        Self { account: made.stored.account, credential: format!("Bearer {}", made.key.expose()) }
    }

    async fn listens(&self, shop: &Shop, url: &str) -> AddedWebhook {
        let (owner, url) = (Owner::Account(self.account), WebhookUrl::parse(url).unwrap());
        add_webhook(shop.app(), owner, url, EventFilter::everything(), By::Operator(None)).await.unwrap()
    }

    async fn orders(&self, shop: &Shop, path: &str, key: Option<&str>) -> Bought {
        let body = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key });
        let reply = shop.post_as(&self.credential, &format!("{API}/subscription/{path}"), body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        Bought::from(reply.body)
    }

    async fn buys(&self, shop: &Shop, path: &str, key: Option<&str>) -> Bought {
        let order = self.orders(shop, path, key).await;
        shop.pay(&order.invoice).await;
        shop.until_paid(&order.hash).await;
        order
    }
}

fn note() -> Note {
    Note::parse("an operator's word").unwrap()
}

async fn name(shop: &Shop, order: &Bought) -> SubscriptionName {
    SubscriptionName::Id(shop.stored(order).await.subscription_id.unwrap())
}

/// An order that nobody pays, and one that is paid when it is too late.
async fn lets_time_pass(shop: &Shop, customer: &Customer) {
    let unpaid = customer.orders(shop, "create", None).await;
    shop.advance(Duration::from_mins(16)).await;
    shop.until("it has expired", || async {
        close_due_orders(shop.app()).await.unwrap();
        shop.stored(&unpaid).await.state.name() == "expired"
    })
    .await;
    let late = customer.orders(shop, "create", None).await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.advance(Duration::from_mins(16)).await;
    shop.pay(&late.invoice).await;
    shop.until_paid(&late.hash).await;
}

/// A server has the peer of an order, and tells of its traffic.
async fn uses_all(shop: &Shop, order: &Bought) {
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    agent.say(shop.app()).await.unwrap();
    let id = shop.stored(order).await.subscription_id.unwrap();
    let peer = shop.app().store.peer_of(id).await.unwrap().unwrap().id;
    for percent in [70, 100] {
        let bytes = u64::try_from(bandwidth_limit() / 100 * percent).unwrap();
        agent.tell_usage(shop.app(), Usage { peer, run: Uuid::from_u128(1), bytes, handshake_at: None }).await;
    }
}

/// All that an operator does to a subscription, but its revocation.
async fn is_changed(shop: &Shop, order: &Bought) {
    let (app, name) = (shop.app(), name(shop, order).await);
    for traffic in [Traffic::Stops, Traffic::PassesAgain] {
        set_traffic(app, name, traffic, Some(&note())).await.unwrap();
    }
    extend(app, name, Span::Days(1), &note()).await.unwrap();
    rekey(app, name, Some(PublicKey::parse(&a_key()).unwrap()), &note()).await.unwrap();
}

/// A renewal that is paid when the subscription is revoked.
async fn is_revoked(shop: &mut Shop, customer: &Customer) {
    let key = a_key();
    let order = customer.buys(shop, "create", Some(&key)).await;
    let renewal = customer.orders(shop, "renew", Some(&key)).await;
    shop.rest().await;
    shop.pay(&renewal.invoice).await;
    let name = name(shop, &order).await;
    revoke(shop.app(), name, &note()).await.unwrap();
    shop.start().await;
}

/// A week before its end, a day before it, at it and after its hold.
async fn ends(shop: &Shop, order: &Bought) {
    let id = shop.stored(order).await.subscription_id.unwrap();
    let end = shop.app().store.subscription(id).await.unwrap().unwrap().ends_at;
    for before in [7 * DAY, DAY, 0] {
        let left = u64::try_from(end.since(shop.clock.now())).unwrap();
        shop.advance(Duration::from_millis(left).saturating_sub(Duration::from_secs(before))).await;
        tell_ends(shop.app()).await.unwrap();
    }
    shop.advance(Duration::from_secs(31 * DAY)).await;
    release_ended_holds(shop.app()).await.unwrap();
}

async fn every_event_is_told_to_its_owner_and_to_the_operator_alone(on: On) {
    let receiver = Receiver::start().await;
    let mut shop = Shop::open_with(on, |config| {
        config.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
        config.egress.allow_customers = config.egress.allow.clone();
    })
    .await;
    tell_ends(shop.app()).await.unwrap();
    let (customer, stranger) = (Customer::of(&shop).await, Customer::of(&shop).await);
    let url = WebhookUrl::parse(&receiver.url("/operator")).unwrap();
    add_webhook(shop.app(), Owner::Operator, url, EventFilter::everything(), By::Operator(None)).await.unwrap();
    let owners = customer.listens(&shop, &receiver.url("/owner")).await;
    stranger.listens(&shop, &receiver.url("/stranger")).await;
    receiver.answers("/gone", Answer::status(410));
    customer.listens(&shop, &receiver.url("/gone")).await;

    let key = a_key();
    let order = customer.buys(&shop, "create", Some(&key)).await;
    uses_all(&shop, &order).await;
    let unclaimed = customer.buys(&shop, "create", None).await;
    let claim = json!({ "paymentHash": unclaimed.hash, "claimToken": unclaimed.token, "wgPublicKey": a_key() });
    assert_eq!(shop.claim(claim).await.status, 200);
    customer.buys(&shop, "renew", Some(&key)).await;
    is_changed(&shop, &order).await;
    let code = shop.post_as(&customer.credential, "/api/referral/create", json!({})).await.body["code"].clone();
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 3, "referralCode": code })).await;
    lets_time_pass(&shop, &customer).await;
    is_revoked(&mut shop, &customer).await;
    test_webhook(shop.app(), owners.endpoint.id, Whose::Anybodys, By::Operator(None)).await.unwrap();
    ends(&shop, &unclaimed).await;

    let expected: BTreeSet<_> = TOLD.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let types = || receiver.types("/owner").into_iter().collect::<BTreeSet<_>>();
    let offered =
        EventType::ALL.iter().map(|event| event.name()).filter(|name| Owner::Account(Uuid::nil()).may_see(name));
    assert_eq!(
        expected,
        offered.map(str::to_owned).collect::<BTreeSet<_>>(),
        "whoever adds a type says here what is told of it"
    );
    shop.until("the owner is told of each", || async { types() == expected }).await;
    shop.until("nothing is left", || async { !shop.app().store.has_untold_events().await.unwrap() }).await;
    shop.until("the operator is told the same", || async {
        let whole = receiver.at("/operator");
        receiver.at("/owner").iter().all(|told| told.event_type() == "webhook.test" || twin(&whole, told).is_some())
    })
    .await;
    let whole = receiver.at("/operator");
    for told in receiver.at("/owner") {
        assert!(told.is_signed_with(&owners.secret.expose()));
        assert_has_its_fields(&told);
        if let Some(whole) = twin(&whole, &told) {
            assert_is_part_of(&told, &whole);
        }
    }
    let days: Vec<_> = all_of(&receiver, "subscription.expiring").iter().map(|told| told["daysLeft"].clone()).collect();
    assert!(days.contains(&json!(7)) && days.contains(&json!(1)), "{days:?}");
    assert_eq!(all_of(&receiver, "webhook.disabled")[0]["because"], "gone");
    assert!(receiver.at("/stranger").is_empty(), "{:?}", receiver.types("/stranger"));
}

/// The same event as another endpoint was told of it.
fn twin(all: &[Received], told: &Received) -> Option<Received> {
    all.iter().find(|one| one.header("webhook-id") == told.header("webhook-id")).cloned()
}

fn subject(told: &Received) -> (String, Value) {
    let body = told.json();
    let mut data = body["data"].as_object().unwrap().clone();
    assert!(data.remove("sequence").unwrap().is_u64() && data.len() == 1, "{body}");
    data.into_iter().next().unwrap()
}

fn assert_has_its_fields(told: &Received) {
    let (name, kind, fields) = TOLD.iter().find(|(name, ..)| told.event_type() == *name).unwrap();
    let (told_kind, told) = subject(told);
    let told: Vec<_> = told.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!((told_kind.as_str(), told), (*kind, fields.iter().map(|&field| field.to_owned()).collect()), "{name}");
}

fn assert_is_part_of(told: &Received, whole: &Received) {
    let ((kind, part), (same_kind, whole)) = (subject(told), subject(whole));
    let all_there = part.as_object().unwrap().iter().all(|(field, value)| whole[field] == *value);
    assert!(kind == same_kind && all_there, "{part} {whole}");
}

fn all_of(receiver: &Receiver, event_type: &str) -> Vec<Value> {
    let told = receiver.at("/owner").into_iter().filter(|told| told.event_type() == event_type);
    told.map(|told| subject(&told).1).collect()
}
