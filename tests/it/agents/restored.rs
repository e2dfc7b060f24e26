//! Agents that know more than the database, because an older backup of it was restored.

use std::time::Duration;

use serde_json::{Value, json};
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::rekey::rekey;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::take_report::Heard;
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::note::Note;
use wiretoll::domain::server::Pool;
use wiretoll::domain::time::MINUTE;

use super::{an_agent, bought};
use crate::agent::Told;
use crate::database::{connect, copy, run};
use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    scenario_52_an_agent_ahead_of_a_restored_database_loses_nobody,
    scenario_52_a_restored_database_that_has_caught_up_loses_nobody,
    scenario_52_what_settles_again_after_a_restore_has_its_preshared_key_again,
    scenario_52_a_suspended_customer_keeps_their_place_after_a_restore,
    scenario_52_a_key_that_was_claimed_in_place_of_a_taken_one_is_bound_again,
);

/// The backup is from before the claims: their orders are paid there, and the slots have no key.
async fn scenario_52_an_agent_ahead_of_a_restored_database_loses_nobody(on: On) {
    let mut shop = Shop::open(on).await;
    let (_, _) = bought(&shop).await;
    let (order, other) = (shop.buy().await, shop.buy().await);
    let mut agent = an_agent(&shop).await;
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    let claimed = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": a_key() })).await;
    let made_here = shop.claim(json!({ "paymentHash": other.hash })).await;
    made_here.keep_pair();
    let (_, lost) = bought(&shop).await;
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!(agent.peers().len(), 4);

    shop.stop().await;
    shop.config.database = backup;
    shop.start().await;
    let epoch = agent.desired.as_ref().unwrap().epoch;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_ne!(agent.desired.as_ref().unwrap().epoch, epoch);
    assert_eq!(agent.withheld.len(), 3, "who was forgotten stays");
    assert_eq!(shop.check(&lost).await.status, 404);
    // Two of them have slots that were paid for: their keys are bound again, with their preshared keys.
    for (hash, before) in [(&order.hash, &claimed.body), (&other.hash, &made_here.body)] {
        let key = &before["peer"]["publicKey"];
        let named = shop.claim(json!({ "paymentHash": hash, "wgPublicKey": key })).await;
        assert_eq!((named.status, &named.body["success"]), (200, &json!(true)), "{}", named.body);
        assert_eq!(named.body["peer"]["presharedKey"], before["peer"]["presharedKey"]);
        // Whether its private key was made here nobody knows any more: who does not name it gets no text without one.
        let unnamed = shop.claim(json!({ "paymentHash": hash })).await;
        assert_eq!((unnamed.status, &unnamed.body["success"]), (200, &json!(false)), "{}", unnamed.body);
        assert_eq!((&unnamed.body["peer"]["publicKey"], &unnamed.body["fullConfig"]), (key, &Value::Null));
    }
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!((agent.withheld.len(), agent.peers().len()), (1, 4));
}

/// It has come to the agent's revision by other purchases than the agent knows of.
async fn scenario_52_a_restored_database_that_has_caught_up_loses_nobody(on: On) {
    let mut shop = Shop::open(on).await;
    bought(&shop).await;
    let mut agent = an_agent(&shop).await;
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    bought(&shop).await;
    bought(&shop).await;
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Delta, 3));
    let forgotten = agent.peers().into_iter().max_by_key(|peer| peer.address).unwrap().id;
    shop.stop().await;
    shop.config.database = backup;
    shop.start().await;
    shop.clock.advance(11 * MINUTE);
    // The slot of the first of both is sold anew: who has it now, has it.
    bought(&shop).await;
    let revision = agent.desired.as_ref().unwrap().revision;
    run(&mut connect(&shop).await, &format!("UPDATE servers SET peer_revision = {revision} WHERE id = 'eu-de'")).await;

    let epoch = agent.desired.as_ref().unwrap().epoch;
    assert_eq!(agent.poll(shop.app()).await, Told::Nothing, "the revision alone shows nothing");
    assert_eq!(agent.say(shop.app()).await.unwrap(), Heard::AskForEverything);
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_ne!(agent.desired.as_ref().unwrap().epoch, epoch);
    assert_eq!(agent.withheld.keys().copied().collect::<Vec<_>>(), [forgotten]);
    assert_eq!(agent.peers().len(), 3);
    assert_eq!(agent.work(shop.app()).await, Told::Nothing, "one epoch is enough");
    // An agent that is not at one with it all the same begins no other one each minute.
    let now = agent.desired.as_ref().unwrap().epoch;
    agent.desired.as_mut().unwrap().peers.clear();
    assert_eq!(agent.say(shop.app()).await.unwrap(), Heard::AskForEverything);
    assert_eq!(shop.app().store.server_states().await.unwrap()[0].epoch, now);
}

/// The backup is from before the payment, and the order names its key: the sweep finds it paid, and settles it anew.
async fn scenario_52_what_settles_again_after_a_restore_has_its_preshared_key_again(on: On) {
    let mut shop = Shop::open(on).await;
    let order = shop.order_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": a_key() })).await;
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    let mut agent = an_agent(&shop).await;
    let claimed = shop.claim(json!({ "paymentHash": order.hash })).await;
    let before = agent.peer().clone();

    shop.stop().await;
    shop.config.database = backup;
    shop.start().await;
    shop.until("the sweep has found it paid", || shop.is_paid(&order)).await;
    let again = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(again.body["peer"]["presharedKey"], claimed.body["peer"]["presharedKey"]);
    assert_eq!(again.body["fullConfig"], claimed.body["fullConfig"]);
    agent.work(shop.app()).await;
    assert_eq!((agent.withheld.len(), agent.peer()), (0, &before), "to its agent nothing has changed");
}

/// Bought and suspended after the backup: no time of its ends, and its slot is sold to nobody.
async fn scenario_52_a_suspended_customer_keeps_their_place_after_a_restore(on: On) {
    let mut shop = Shop::open_with(on, |config| {
        let server = &mut config.servers[0];
        server.pool = Pool::new(server.pool.network(), 35_000, Some(2)).unwrap();
    })
    .await;
    let mut agent = an_agent(&shop).await;
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    let (key, _) = bought(&shop).await;
    let name = SubscriptionName::PublicKey(PublicKey::parse(&key).unwrap());
    set_traffic(shop.app(), name, Traffic::Stops, None).await.unwrap();
    agent.work(shop.app()).await;
    assert_eq!(agent.peer().traffic_until, None);

    shop.stop().await;
    shop.config.database = backup;
    shop.start().await;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_eq!((agent.withheld.len(), agent.peer().public_key.to_string()), (1, key));
    shop.advance(Duration::from_hours(23)).await;
    agent.say(shop.app()).await.unwrap();
    shop.advance(Duration::from_hours(23)).await;
    bought(&shop).await;
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503, "the other slot rests");
    agent.poll(shop.app()).await;
    assert_eq!(agent.peers().len(), 2);
}

/// In the backup a key was taken away and no other one claimed yet: the taken one goes, the one that came then stays.
async fn scenario_52_a_key_that_was_claimed_in_place_of_a_taken_one_is_bound_again(on: On) {
    let mut shop = Shop::open(on).await;
    let (taken, hash) = bought(&shop).await;
    let (_, other) = bought(&shop).await;
    let mut agent = an_agent(&shop).await;
    let with_taken = agent.desired.clone();
    for hash in [&hash, &other] {
        let name = SubscriptionName::PaymentHash(PaymentHash::parse(hash).unwrap());
        rekey(shop.app(), name, None, &Note::parse("seen by others").unwrap()).await.unwrap();
    }
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Delta, 0));
    shop.stop().await;
    let backup = copy(&shop.config.database).await;
    shop.start().await;
    let key = a_key();
    let claimed = shop.claim(json!({ "paymentHash": hash, "wgPublicKey": key })).await;
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Delta, 1));

    shop.stop().await;
    shop.config.database = backup;
    shop.start().await;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    let named = shop.claim(json!({ "paymentHash": hash, "wgPublicKey": key })).await;
    assert_eq!(named.body["fullConfig"], claimed.body["fullConfig"], "{}", named.body);
    assert_eq!((agent.work(shop.app()).await, agent.peer().public_key.to_string()), (Told::Delta, key));

    // One that has slept through all of it keeps neither of the taken ones.
    agent.desired = with_taken;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_ne!(agent.peer().public_key.to_string(), taken);
    assert!(agent.withheld.is_empty());
}
