//! Many endpoints that are slow at once, and one that is not.

use std::time::Duration;

use uuid::Uuid;
use wiretoll::app::add_webhook::add_webhook;
use wiretoll::app::change_webhook::Whose;
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::app::redeliver::test_webhook;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::webhook::{EventFilter, Owner, WebhookUrl};

use crate::on_both_databases;
use crate::receiver::{Answer, Receiver};
use crate::shop::{On, Shop};

on_both_databases!(scenario_40_more_overdue_endpoints_on_a_slow_host_than_one_look_sees_hide_nobody);

/// One look of the worker sees so many.
const PAGE: usize = 256;
const OF_ACCOUNT: usize = 10;

async fn an_account(shop: &Shop) -> Owner {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::all());
    let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
    Owner::Account(create_api_key(shop.app(), new, By::Operator(None)).await.unwrap().stored.account)
}

async fn an_endpoint(shop: &Shop, owner: Owner, url: &str) -> Uuid {
    let url = WebhookUrl::parse(url).unwrap();
    add_webhook(shop.app(), owner, url, EventFilter::everything(), By::Operator(None)).await.unwrap().endpoint.id
}

async fn scenario_40_more_overdue_endpoints_on_a_slow_host_than_one_look_sees_hide_nobody(on: On) {
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.answers("/slow", Answer { after: Duration::from_mins(1), ..Answer::status(204) });
    let mut shop = Shop::open_with(on, |config| {
        config.egress.allow_customers = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    shop.rest().await;
    for _ in 0..=PAGE / OF_ACCOUNT {
        let owner = an_account(&shop).await;
        for _ in 0..OF_ACCOUNT {
            let endpoint = an_endpoint(&shop, owner, &slow.url("/slow")).await;
            test_webhook(shop.app(), endpoint, Whose::Anybodys, By::Operator(None)).await.unwrap();
        }
    }
    shop.clock.advance(1_000);
    let owner = an_account(&shop).await;
    let endpoint = an_endpoint(&shop, owner, &quick.url("/quick")).await;
    test_webhook(shop.app(), endpoint, Whose::Anybodys, By::Operator(None)).await.unwrap();
    shop.start().await;
    shop.until("the quick one was told", || async { quick.types("/quick") == ["webhook.test"] }).await;
    assert!(slow.at("/slow").len() <= 8, "{}", slow.at("/slow").len());
}
