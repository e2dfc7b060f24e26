//! Who did what by hand stays, and can be asked for.

use reqwest::Method;
use serde_json::json;
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::extend::extend;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::operator::By;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::Act;
use wiretoll::domain::note::Note;
use wiretoll::domain::subscription::Span;
use wiretoll::store::ActFilter;

use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(what_was_done_is_found_by_who_did_it_to_whom_and_when, what_nobody_did_is_not_among_it,);

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
