//! Who did what by hand stays, and can be asked for.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use wiretoll::app::App;
use wiretoll::app::add_webhook::add_webhook;
use wiretoll::app::adopt_order::adopt_order;
use wiretoll::app::allow_removals::allow_removals;
use wiretoll::app::authenticate::{Authenticated, Credential};
use wiretoll::app::change_webhook::{WebhookChange, Whose, change_webhook, disable, remove_webhook, rotate_webhook};
use wiretoll::app::configured_webhooks::{Configured, sync_configured_webhooks};
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::desired_peers::begin_epoch;
use wiretoll::app::drain::{Sales, set_sales};
use wiretoll::app::extend::extend;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::nostr_accounts::{add_nostr_key, found_account, remove_nostr_key};
use wiretoll::app::operator::By;
use wiretoll::app::redeliver::{redeliver, redeliver_failed, test_webhook};
use wiretoll::app::referral::create_code;
use wiretoll::app::rekey::rekey;
use wiretoll::app::resolve_payment::{PaymentName, resolve_payment};
use wiretoll::app::revoke::revoke;
use wiretoll::app::revoke_api_key::revoke_api_key;
use wiretoll::app::settle::record_orphan;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::take_over::{Successor, take_over};
use wiretoll::config::SecretText;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::{Act, Subject};
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::money::{Amount, UsdCents};
use wiretoll::domain::note::Note;
use wiretoll::domain::order::PublicName;
use wiretoll::domain::payment::{Evidence, Provider};
use wiretoll::domain::subscription::Span;
use wiretoll::domain::webhook::{Disabled, EventFilter, Owner, WebhookUrl};
use wiretoll::domain::webhook_secret::WebhookSecret;
use wiretoll::store::ActFilter;

use crate::agent::eu_de;
use crate::nostr::Signer;
use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    what_was_done_is_found_by_who_did_it_to_whom_and_when,
    what_nobody_did_is_not_among_it,
    every_verb_says_who_did_it,
);

/// What somebody can do by hand, but adopting an orphan, which is a story of its own (`ledger`).
const VERBS: [(&str, &str); 35] = [
    ("account.api_key_created", "account"),
    ("account.api_key_created", "operator"),
    ("account.api_key_revoked", "account"),
    ("account.api_key_revoked", "operator"),
    ("account.created", "account"),
    ("account.created", "operator"),
    ("account.nostr_key_added", "account"),
    ("account.nostr_key_removed", "account"),
    ("order.adopted", "account"),
    ("payment.resolved", "operator"),
    ("referral.code_created", "account"),
    ("server.drained", "operator"),
    ("server.epoch_began", "operator"),
    ("server.removals_allowed", "operator"),
    ("server.taken_over", "operator"),
    ("server.undrained", "operator"),
    ("subscription.adopted", "account"),
    ("subscription.extended", "operator"),
    ("subscription.rekeyed", "operator"),
    ("subscription.resumed", "operator"),
    ("subscription.revoked", "operator"),
    ("subscription.suspended", "operator"),
    ("webhook.added", "account"),
    ("webhook.added", "operator"),
    ("webhook.changed", "operator"),
    ("webhook.enabled", "account"),
    ("webhook.enabled", "operator"),
    ("webhook.redelivered", "account"),
    ("webhook.redelivered", "operator"),
    ("webhook.removed", "account"),
    ("webhook.removed", "operator"),
    ("webhook.rotated", "account"),
    ("webhook.rotated", "operator"),
    ("webhook.test", "account"),
    ("webhook.test", "operator"),
];

async fn acts(shop: &Shop, filter: ActFilter) -> Vec<Act> {
    shop.app().store.acts(&ActFilter { at_most: 100, ..filter }).await.unwrap()
}

fn types(acts: &[Act]) -> Vec<&str> {
    acts.iter().map(|act| act.event.event_type.as_str()).collect()
}

async fn what_was_done_is_found_by_who_did_it_to_whom_and_when(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let subscription = shop.stored(&order).await.subscription_id.unwrap();
    let note = Note::parse("outage of 20 November").unwrap();
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::all());
    let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
    let made = create_api_key(shop.app(), new, By::Operator(Some(&note))).await.unwrap();
    shop.clock.advance(1_000);
    let later = shop.clock.now();
    extend(shop.app(), SubscriptionName::Id(subscription), Span::Days(3), &note).await.unwrap();
    let credential = format!("Bearer {}", made.key.expose());
    let body = json!({ "name": "another", "scopes": ["orders"] }).to_string();
    shop.clock.advance(1_000);
    let another = shop.send(&Method::POST, "/api/v1/account/api-keys", Some(&credential), Some(&body)).await;
    let path = format!("/api/v1/account/api-keys/{}", another.body["id"].as_str().unwrap());
    shop.clock.advance(1_000);
    assert_eq!(shop.send(&Method::DELETE, &path, Some(&credential), None).await.status, 204);

    let all = acts(&shop, ActFilter::default()).await;
    let by_time = ["account.api_key_revoked", "account.api_key_created", "subscription.extended"];
    assert_eq!(types(&all[..3]), by_time);
    // Of one moment, in either order.
    let mut first = types(&all[3..]);
    first.sort_unstable();
    assert_eq!(first, ["account.api_key_created", "account.created"]);
    let account = made.stored.account;
    assert_eq!((all[0].actor.as_str(), all[0].account), ("account", Some(account)));
    assert_eq!(all[0].event.data["byCredential"], format!("API key {}", made.stored.id));
    assert_eq!((all[2].actor.as_str(), all[2].event.data["note"].as_str()), ("operator", Some(note.as_str())));
    assert!(!format!("{all:?}").contains(&made.key.expose()[8..]), "no key is in it");

    let by_operator = ActFilter { actor: Some("operator".into()), ..ActFilter::default() };
    assert_eq!(types(&acts(&shop, by_operator).await).len(), 3);
    let by_account = ActFilter { account: Some(account), ..ActFilter::default() };
    assert_eq!(types(&acts(&shop, by_account).await), types(&all[..2]));
    let about = ActFilter { about: Some(subscription.to_string()), ..ActFilter::default() };
    assert_eq!(types(&acts(&shop, about).await), ["subscription.extended"]);
    let since = ActFilter { since: Some(later), ..ActFilter::default() };
    assert_eq!(types(&acts(&shop, since).await), types(&all[..3]));
    let page = ActFilter { before: Some(all[1].event.id), ..ActFilter::default() };
    assert_eq!(acts(&shop, page).await, all[2..]);
}

async fn what_nobody_did_is_not_among_it(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(acts(&shop, ActFilter::default()).await, []);
}

async fn every_verb_says_who_did_it(on: On) {
    let mut shop = Shop::open(on).await;
    let (order, theirs) = (shop.buy().await, shop.buy().await);
    shop.rest().await;
    let app = shop.app();
    let owner = keys_are_made_and_revoked(app).await;
    add_nostr_key(app, Signer::new().public_key(), &owner).await.unwrap();
    let founder = found_account(app, Signer::new().public_key()).await.unwrap();
    let second = Signer::new().public_key();
    add_nostr_key(app, second, &founder).await.unwrap();
    remove_nostr_key(app, second, &founder).await.unwrap();
    create_code(app, &owner, None).await.unwrap();
    adopt_order(app, PublicName::PaymentHash(theirs.payment_hash()), &SecretText::new(theirs.token.clone()), &owner)
        .await
        .unwrap();

    let listeners = (Owner::Account(owner.account), Whose::Accounts(owner.account), By::Account(&owner));
    a_webhook_is_looked_after(app, listeners).await;
    a_webhook_is_looked_after(app, (Owner::Operator, Whose::Anybodys, By::Operator(None))).await;
    a_webhook_is_configured(app).await;
    a_subscription_is_changed(app, SubscriptionName::Id(shop.stored(&order).await.subscription_id.unwrap())).await;
    a_server_is_changed(app).await;
    an_orphan_is_resolved(app).await;

    let all = shop.app().store.acts(&ActFilter { at_most: 1_000, ..ActFilter::default() }).await.unwrap();
    let done: BTreeSet<_> = all.iter().map(|act| (act.event.event_type.as_str(), act.actor.as_str())).collect();
    assert_eq!(done, BTreeSet::from(VERBS));
    for act in all {
        let by_account = act.account == Some(owner.account) || act.account == Some(founder.account);
        assert_eq!(act.actor == "account", by_account, "{act:?}");
        assert_eq!(act.event.data["byCredential"].is_string(), by_account, "{act:?}");
    }
}

fn a_note() -> Note {
    Note::parse("an operator's word").unwrap()
}

/// Of an account whose owner has all scopes.
async fn keys_are_made_and_revoked(app: &App) -> Authenticated {
    let new = |account| NewApiKey { account, name: KeyName::parse("a test's").unwrap(), scopes: Scopes::all() };
    let made = create_api_key(app, new(KeyOwner::NewAccount), By::Operator(None)).await.unwrap().stored;
    let (account, credential) = (made.account, Credential::ApiKey(made.id));
    let owner = Authenticated { account, credential, scopes: Scopes::all() };
    for by in [By::Account(&owner), By::Operator(Some(&a_note()))] {
        let other = create_api_key(app, new(KeyOwner::Account(account)), by).await.unwrap();
        revoke_api_key(app, other.stored.id, by).await.unwrap();
    }
    owner
}

async fn a_webhook_is_looked_after(app: &App, (owner, whose, by): (Owner, Whose, By<'_>)) {
    let url = WebhookUrl::parse("https://hooks.example/").unwrap();
    let webhook = add_webhook(app, owner, url, EventFilter::everything(), by).await.unwrap().endpoint;
    rotate_webhook(app, webhook.id, whose, by).await.unwrap();
    let delivery = test_webhook(app, webhook.id, whose, by).await.unwrap();
    redeliver(app, delivery, whose, by).await.unwrap();
    let mut tx = app.store.begin().await.unwrap();
    assert!(disable(app, &mut tx, &webhook, Disabled::Failing, app.clock.now()).await.unwrap());
    tx.commit().await.unwrap();
    let enabled = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    change_webhook(app, webhook.id, whose, &enabled, by).await.unwrap();
    assert!(redeliver_failed(app, webhook.id, whose, by).await.unwrap() > 0);
    remove_webhook(app, webhook.id, whose, by).await.unwrap();
}

/// As a start does it, three times.
async fn a_webhook_is_configured(app: &App) {
    let configured = |events: &str, key: u8| Configured {
        url: WebhookUrl::parse("https://hooks.example/configured").unwrap(),
        events: EventFilter::parse(&[events.to_owned()], Owner::Configuration).unwrap(),
        secret: WebhookSecret::from_key([key; 32]),
    };
    let kinds = async || {
        let endpoints = app.store.endpoints(Some(Owner::Configuration)).await.unwrap();
        let mut kinds = Vec::new();
        for endpoint in endpoints {
            let events = app.store.events_of(Subject::Webhook(endpoint.id)).await.unwrap();
            kinds.extend(events.into_iter().map(|event| event.event_type));
        }
        kinds
    };
    sync_configured_webhooks(app, &[configured("order.paid", 1)]).await.unwrap();
    assert_eq!(kinds().await, ["webhook.added"]);
    sync_configured_webhooks(app, &[configured("order.paid", 1)]).await.unwrap();
    assert_eq!(kinds().await, ["webhook.added"], "nothing was changed");
    sync_configured_webhooks(app, &[configured("order.*", 2)]).await.unwrap();
    assert_eq!(kinds().await, ["webhook.added", "webhook.changed", "webhook.rotated"]);
    sync_configured_webhooks(app, &[]).await.unwrap();
}

async fn a_subscription_is_changed(app: &App, name: SubscriptionName) {
    set_traffic(app, name, Traffic::Stops, Some(&a_note())).await.unwrap();
    set_traffic(app, name, Traffic::PassesAgain, None).await.unwrap();
    extend(app, name, Span::Days(1), &a_note()).await.unwrap();
    rekey(app, name, Some(PublicKey::parse(&a_key()).unwrap()), &a_note()).await.unwrap();
    revoke(app, name, &a_note()).await.unwrap();
}

async fn a_server_is_changed(app: &App) {
    set_sales(app, &eu_de(), Sales::Stop, None).await.unwrap();
    set_sales(app, &eu_de(), Sales::Resume, None).await.unwrap();
    allow_removals(app, &eu_de(), None).await.unwrap();
    take_over(app, &eu_de(), Successor::Agent, None).await.unwrap();
    begin_epoch(app, By::Operator(None)).await.unwrap();
}

async fn an_orphan_is_resolved(app: &App) {
    let evidence = Evidence {
        provider: Provider::Stripe,
        external_id: "pi_lost".into(),
        amount: Amount::UsdCents(UsdCents::new(300)),
        settled_at: app.clock.now(),
    };
    record_orphan(app, &evidence, app.new_id(), None).await.unwrap();
    let payment = app.store.payment(Provider::Stripe, "pi_lost").await.unwrap().unwrap();
    resolve_payment(app, PaymentName::Id(payment.id), &a_note()).await.unwrap();
}
