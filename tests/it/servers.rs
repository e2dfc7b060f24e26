//! What an operator does to a server, and what keeps an eye on its agent.

use std::time::Duration;

use serde_json::{Value, json};
use wiretoll::app::Error;
use wiretoll::app::allow_removals::allow_removals;
use wiretoll::app::desired_peers::begin_epoch;
use wiretoll::app::drain::{Sales, set_sales};
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::operator::{By, Effect};
use wiretoll::app::revoke::revoke;
use wiretoll::app::silent_agents::silent_agents;
use wiretoll::app::take_over::{Successor, take_over};
use wiretoll::app::take_report::take_report;
use wiretoll::domain::desired::Report;
use wiretoll::domain::event::Subject;
use wiretoll::domain::note::Note;
use wiretoll::domain::server::ServerId;
use wiretoll::domain::time::DAY;
use wiretoll::domain::trouble::Trouble;

use crate::agent::{Agent, Told, eu_de};
use crate::metrics::{Page, with_metrics};
use crate::on_both_databases;
use crate::shop::{Bought, On, Shop, a_key};

on_both_databases!(
    a_drained_server_sells_nothing_new_and_serves_on,
    scenario_29_draining_meets_orders_in_one_statement,
    a_word_about_a_server_stays_in_its_events,
    a_new_epoch_is_told_to_every_agent,
    a_silent_agent_is_told_of,
    an_agent_that_is_behind_or_in_trouble_is_told_of,
    another_machine_takes_a_server_over_or_none,
);

async fn listed(shop: &Shop) -> Vec<Value> {
    let servers = shop.get("/api/public/v1/servers").await;
    servers.body["servers"].as_array().unwrap().iter().map(|server| server["id"].clone()).collect()
}

async fn drain(shop: &Shop) -> Effect {
    set_sales(shop.app(), &eu_de(), Sales::Stop, None).await.unwrap()
}

async fn a_drained_server_sells_nothing_new_and_serves_on(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let held = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let (shown, unclaimed) = (shop.order().await, shop.buy().await);
    assert_eq!((drain(&shop).await, drain(&shop).await), (Effect::Now, Effect::Before));

    assert_eq!(listed(&shop).await, ["us-east"]);
    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"));
    assert!(refused.headers.contains_key("retry-after"));
    let renewal = Bought::from(shop.renew(&key, 1).await.body);
    for order in [&renewal, &shown] {
        shop.pay(&order.invoice).await;
        shop.until_paid(&order.hash).await;
    }
    for order in [&held, &shown, &unclaimed] {
        assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 200);
    }
    assert_eq!(shop.create(json!({ "serverId": "us-east", "duration": 1 })).await.status, 200);

    assert_eq!(set_sales(shop.app(), &eu_de(), Sales::Resume, None).await.unwrap(), Effect::Now);
    assert_eq!(listed(&shop).await, ["eu-de", "us-east"]);
    shop.buy().await;
}

/// Each order either had its slot before the drain, or is refused: the last look is in the statement that reserves.
async fn scenario_29_draining_meets_orders_in_one_statement(on: On) {
    let shop = Shop::open(on).await;
    let order = json!({ "serverId": "eu-de", "duration": 1 });
    let (orders, _) =
        tokio::join!(futures_util::future::join_all((0..12).map(|_| shop.create(order.clone()))), drain(&shop));
    let taken = orders.iter().filter(|reply| reply.status == 200).count();
    assert!(orders.iter().all(|reply| [200, 503].contains(&reply.status)));
    let occupancy = shop.occupancy().await;
    assert_eq!(occupancy.reserved, i64::try_from(taken).unwrap());
    assert!(occupancy.is_drained && occupancy.has_free && !occupancy.takes_orders());
    assert_eq!(shop.create(order).await.status, 503);
}

async fn a_word_about_a_server_stays_in_its_events(on: On) {
    let shop = Shop::open(on).await;
    let note = Note::parse("the contract ends").unwrap();
    set_sales(shop.app(), &eu_de(), Sales::Stop, Some(&note)).await.unwrap();
    allow_removals(shop.app(), &eu_de(), None).await.unwrap();
    set_sales(shop.app(), &eu_de(), Sales::Resume, None).await.unwrap();
    let events = shop.app().store.events_of(Subject::Server(&eu_de())).await.unwrap();
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["server.drained", "server.removals_allowed", "server.undrained"]);
    assert_eq!(events[0].data, json!({ "by": "operator", "note": "the contract ends" }));
    assert_eq!(events[2].data, json!({ "by": "operator" }));
    let nowhere = ServerId::parse("nowhere").unwrap();
    assert!(matches!(set_sales(shop.app(), &nowhere, Sales::Stop, None).await, Err(Error::NotFound(_))));
    assert!(matches!(allow_removals(shop.app(), &nowhere, None).await, Err(Error::NotFound(_))));
}

async fn a_new_epoch_is_told_to_every_agent(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    begin_epoch(shop.app(), By::Operator(None)).await.unwrap();
    // What an agent said before counts no more.
    shop.advance(Duration::from_secs(91)).await;
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.body["isProvisioned"], false);
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert!(agent.withheld.is_empty());
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.body["isProvisioned"], true);
    for server in &shop.app().shop.servers {
        let events = shop.app().store.events_of(Subject::Server(&server.id)).await.unwrap();
        assert_eq!(events.last().unwrap().event_type, "server.epoch_began");
    }
}

async fn a_silent_agent_is_told_of(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    let ten_minutes = Duration::from_mins(10);
    let silent = async || silent_agents(shop.app(), ten_minutes).await.unwrap();
    shop.advance(ten_minutes * 2).await;
    assert!(silent().await.is_empty(), "no agent ever spoke");
    assert!(!Page::of(&shop).await.text().contains("wiretoll_agent_silent_seconds{"));
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    shop.advance(ten_minutes).await;
    assert!(silent().await.is_empty());
    shop.advance(Duration::from_secs(1)).await;
    assert!(silent().await.contains(&eu_de()));
    let shown = Page::of(&shop).await.value("wiretoll_agent_silent_seconds{server=\"eu-de\"}");
    assert!((shown - 601.0).abs() < 0.5, "{shown}");
}

async fn an_agent_that_is_behind_or_in_trouble_is_told_of(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    let shown = async |name: &str| Page::of(&shop).await.find(&format!("{name}{{server=\"eu-de\"}}"));
    assert_eq!((shown("wiretoll_agent_behind").await, shown("wiretoll_agent_troubles").await), (None, None));
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    assert_eq!((shown("wiretoll_agent_behind").await, shown("wiretoll_agent_troubles").await), (Some(0.0), Some(0.0)));

    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    assert!(shown("wiretoll_agent_behind").await > Some(0.0));
    let said = json!(["nft refused: 10.9.0.2 is no map", format!("the peer {key} is there twice")]);
    let report = Report { troubles: serde_json::from_value(said).unwrap(), ..agent.report() };
    take_report(shop.app(), &eu_de(), &report).await.unwrap();
    assert_eq!(shown("wiretoll_agent_troubles").await, Some(2.0));
    let states = shop.app().store.server_states().await.unwrap();
    let kept = states.iter().find(|state| state.id == eu_de()).unwrap().troubles.iter().map(Trouble::as_str);
    let told: Vec<_> = kept.collect();
    assert_eq!(told, ["nft refused: (left out) is no map", "the peer (left out)= is there twice"]);

    agent.work(shop.app()).await;
    assert_eq!((shown("wiretoll_agent_behind").await, shown("wiretoll_agent_troubles").await), (Some(0.0), Some(0.0)));
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.body["isProvisioned"], true);
}

async fn another_machine_takes_a_server_over_or_none(on: On) {
    let mut shop = Shop::open_with(on, crate::slots::one_slot).await;
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    shop.rest().await;
    let mut first = Agent::of(shop.app());
    first.work(shop.app()).await;
    let mut second = Agent::of(shop.app());
    assert!(matches!(second.say(shop.app()).await, Err(Error::Unavailable(_))));
    take_over(shop.app(), &eu_de(), Successor::Agent, None).await.unwrap();
    let id = shop.stored(&order).await.subscription_id.unwrap();
    let is_installed = async || shop.app().store.installation(id).await.unwrap().unwrap().is_installed();
    assert!(!is_installed().await, "the new machine has not said so");
    second.work(shop.app()).await;
    assert!(is_installed().await);
    assert!(matches!(first.say(shop.app()).await, Err(Error::Unavailable(_))));

    let note = Note::parse("the machine is gone").unwrap();
    revoke(shop.app(), SubscriptionName::Id(id), &note).await.unwrap();
    assert_eq!(shop.occupancy().await.held, 1);
    assert_eq!(take_over(shop.app(), &eu_de(), Successor::Agent, None).await.unwrap(), 0);
    assert_eq!(shop.occupancy().await.held, 1, "the next agent will say that the peer is gone");
    assert_eq!(take_over(shop.app(), &eu_de(), Successor::Operator, Some(&note)).await.unwrap(), 1);
    let occupancy = shop.occupancy().await;
    assert!(occupancy.held == 0 && !occupancy.has_free, "its slot rests: {occupancy:?}");
    shop.clock.advance(DAY);
    assert!(shop.occupancy().await.has_free);
    let events = shop.app().store.events_of(Subject::Server(&eu_de())).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.event_type.as_str(), &last.data["slotsFreed"]), ("server.taken_over", &json!(1)));
    // One that speaks for it again is told everything.
    assert_eq!(first.work(shop.app()).await, Told::Snapshot);
    assert!(first.peers().is_empty());
    let nowhere = ServerId::parse("nowhere").unwrap();
    assert!(matches!(take_over(shop.app(), &nowhere, Successor::Agent, None).await, Err(Error::NotFound(_))));
}
