//! What an operator does to one subscription, and how it meets customers and the server's agent.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;
use wiretoll::app::desired_peers::begin_epoch;
use wiretoll::app::extend::extend;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::operator::{By, Effect};
use wiretoll::app::port_holders::port_holders;
use wiretoll::app::rekey::rekey;
use wiretoll::app::release::release_ended_holds;
use wiretoll::app::revoke::revoke;
use wiretoll::app::show_subscription::show_subscription;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::wait_installed::{Reached, wait_until_applied};
use wiretoll::app::{Error, Unavailable};
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::note::Note;
use wiretoll::domain::payment::{Outcome, Provider};
use wiretoll::domain::subscription::{Span, Stage};
use wiretoll::domain::time::{DAY, MINUTE, Timestamp};
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::store::SubscriptionFilter;

use crate::agent::{Agent, Told, eu_de};
use crate::database::subscriptions_held;
use crate::on_both_databases;
use crate::shop::{Bought, On, Shop, a_key};

on_both_databases!(
    an_operator_s_time_adds_to_the_end_and_to_renewals,
    a_released_subscription_is_extended_on_a_slot_of_its_own,
    a_suspended_subscription_has_no_traffic_and_keeps_its_place,
    scenario_38_a_revoked_subscription_ends_on_its_server_and_at_lnd,
    a_payment_that_settles_after_a_revocation_is_a_refund_that_is_due,
    a_payment_from_before_a_suspension_counts_in_full_and_lets_nothing_pass,
    a_node_that_is_down_does_not_keep_from_revoking,
    another_key_is_bound_in_place,
    without_a_key_the_next_claim_binds_one,
    a_leaked_key_is_not_bound_again_by_its_server,
    a_port_s_holders_are_known_by_time,
    a_change_has_reached_its_server_by_the_agent_s_word_alone,
    what_the_operator_took_away_is_kept_by_no_agent,
    subscriptions_are_found_by_every_name_and_listed_by_stage,
);

fn note() -> Note {
    Note::parse("asked for it").unwrap()
}

struct Customer {
    key: String,
    order: Bought,
    name: SubscriptionName,
    id: Uuid,
}

async fn customer(shop: &Shop) -> Customer {
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    of(shop, key, order).await
}

async fn of(shop: &Shop, key: String, order: Bought) -> Customer {
    let id = shop.stored(&order).await.subscription_id.unwrap();
    Customer { name: SubscriptionName::Id(id), key, order, id }
}

async fn ends_at(shop: &Shop, customer: &Customer) -> Timestamp {
    shop.app().store.subscription(customer.id).await.unwrap().unwrap().ends_at
}

/// The last event of a subscription, with its type.
async fn last_event(shop: &Shop, name: SubscriptionName) -> (String, serde_json::Value) {
    let shown = show_subscription(shop.app(), name).await.unwrap();
    let last = shown.events.last().unwrap();
    (last.event_type.clone(), last.data.clone())
}

async fn past_the_hold(shop: &Shop) {
    shop.advance(Duration::from_hours((31 + 31) * 24)).await;
    shop.until("the hold has ended", || async {
        release_ended_holds(shop.app()).await.unwrap();
        subscriptions_held(shop).await == 0
    })
    .await;
}

async fn an_operator_s_time_adds_to_the_end_and_to_renewals(on: On) {
    let shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let (before, lease) = (ends_at(&shop, &one).await, agent.peer().traffic_until.unwrap());
    let extension = extend(shop.app(), one.name, Span::Days(3), &note()).await.unwrap();
    assert_eq!((extension.old_end, extension.new_end), (before, before.plus_millis(3 * DAY)));
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!(agent.peer().traffic_until, Some(lease.plus_millis(3 * DAY)));
    let (event, data) = last_event(&shop, one.name).await;
    assert_eq!(
        (event.as_str(), &data["by"], &data["note"]),
        ("subscription.extended", &json!("operator"), &json!("asked for it"))
    );

    let renewal = Bought::from(shop.renew(&one.key, 3).await.body);
    shop.pay(&renewal.invoice).await;
    let paid = shop.until_paid(&renewal.hash).await;
    assert_eq!(paid["oldExpiry"], json!(extension.new_end));
    let renewed = extension.new_end.plus_months(3).unwrap();
    assert_eq!((ends_at(&shop, &one).await, &paid["newExpiry"]), (renewed, &json!(renewed)));
    extend(shop.app(), one.name, Span::Months(2), &note()).await.unwrap();
    assert_eq!(ends_at(&shop, &one).await, renewed.plus_months(2).unwrap());
    shop.advance(Duration::from_hours(400 * 24)).await;
    let late = extend(shop.app(), one.name, Span::Days(1), &note()).await;
    assert!(late.is_ok_and(|late| late.new_end == shop.clock.now().plus_millis(DAY)), "from now where it has ended");
}

async fn a_released_subscription_is_extended_on_a_slot_of_its_own(on: On) {
    let shop = Shop::open_with(on, crate::slots::one_slot).await;
    let one = customer(&shop).await;
    past_the_hold(&shop).await;
    let refused = extend(shop.app(), one.name, Span::Days(3), &note()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(Unavailable::SoldOut(_))), "its slot rests: {refused}");
    shop.advance(Duration::from_hours(24)).await;
    extend(shop.app(), one.name, Span::Days(3), &note()).await.unwrap();
    assert_eq!(shop.status(&one.key).await.body["status"], "enabled");
    let claim = shop.claim(json!({ "paymentHash": one.order.hash })).await;
    assert_eq!((claim.status, &claim.body["peer"]["publicKey"]), (200, &json!(one.key)));
}

async fn a_suspended_subscription_has_no_traffic_and_keeps_its_place(on: On) {
    let shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let before = agent.peer().clone();
    let renewal = Bought::from(shop.renew(&one.key, 1).await.body);
    let suspend = async || set_traffic(shop.app(), one.name, Traffic::Stops, Some(&note())).await;
    let resume = async || set_traffic(shop.app(), one.name, Traffic::PassesAgain, None).await;
    let (first, again) = (suspend().await.unwrap(), suspend().await.unwrap());
    assert_eq!((first.effect, first.invoices.closed, first.invoices.open), (Effect::Now, 1, 0));
    assert_eq!((again.effect, again.invoices.closed, again.invoices.open), (Effect::Before, 0, 0));
    assert!(!wiretoll_pays(&shop, &renewal).await, "its invoice is cancelled");
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!((agent.peer().traffic_until, agent.peer().address), (None, before.address));
    let status = shop.status(&one.key).await;
    assert_eq!((&status.body["status"], &status.body["vpn_port"]), (&json!("disabled"), &json!(before.public_port)));
    assert_eq!(shop.claim(json!({ "paymentHash": one.order.hash })).await.status, 200);
    // More of it is not sold.
    let create = json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": one.key });
    for refused in [shop.renew(&one.key, 1).await, shop.create(create).await] {
        assert_eq!((refused.status, refused.error()), (403, "ERR_FORBIDDEN"), "{}", refused.body);
    }
    let (first, again) = (resume().await.unwrap(), resume().await.unwrap());
    assert_eq!((first.effect, again.effect), (Effect::Now, Effect::Before));
    agent.work(shop.app()).await;
    assert_eq!(agent.peer().traffic_until, before.traffic_until, "its time ran on");
    assert_eq!(shop.status(&one.key).await.body["status"], "enabled");
    assert_eq!(last_event(&shop, one.name).await.0, "subscription.resumed");
    shop.advance(Duration::from_hours(31 * 24)).await;
    past_the_hold(&shop).await;
    assert!(matches!(suspend().await, Err(Error::Conflict(_))), "there is nothing to stop");
}

async fn scenario_38_a_revoked_subscription_ends_on_its_server_and_at_lnd(on: On) {
    let shop = Shop::open_with(on, crate::slots::one_slot).await;
    let one = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let renewal = Bought::from(shop.renew(&one.key, 1).await.body);
    let revocation = revoke(shop.app(), one.name, &note()).await.unwrap();
    assert_eq!((revocation.effect, revocation.invoices.closed, revocation.invoices.open), (Effect::Now, 1, 0));
    assert!(!wiretoll_pays(&shop, &renewal).await, "its invoice is cancelled");

    assert_eq!(
        (shop.renew(&one.key, 1).await.status, shop.renew(&one.key, 1).await.error().to_owned()),
        (403, "ERR_FORBIDDEN".into())
    );
    let create = shop.create(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": one.key })).await;
    assert_eq!((create.status, create.error()), (403, "ERR_FORBIDDEN"));
    let claim = shop.claim(json!({ "paymentHash": one.order.hash })).await;
    assert_eq!((claim.status, claim.error()), (403, "ERR_FORBIDDEN"));
    assert_eq!(shop.status(&one.key).await.body["status"], "disabled");
    assert!(matches!(extend(shop.app(), one.name, Span::Days(1), &note()).await, Err(Error::Revoked)));
    assert!(matches!(rekey(shop.app(), one.name, None, &note()).await, Err(Error::Revoked)));
    assert!(matches!(set_traffic(shop.app(), one.name, Traffic::Stops, None).await, Err(Error::Revoked)));

    shop.advance(Duration::from_hours(48)).await;
    assert!(!shop.occupancy().await.has_free, "its peer may stand there still");
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(agent.peers().is_empty());
    shop.advance(Duration::from_hours(24)).await;
    assert!(shop.occupancy().await.has_free);
    assert_eq!(revoke(shop.app(), one.name, &note()).await.unwrap().effect, Effect::Before);
    assert_eq!(last_event(&shop, one.name).await.0, "subscription.revoked");
}

async fn wiretoll_pays(shop: &Shop, order: &Bought) -> bool {
    crate::shop::Node::pay(&shop.node, &order.invoice).await
}

/// Paid at LND before it was revoked here, and told of afterwards.
async fn a_payment_that_settles_after_a_revocation_is_a_refund_that_is_due(on: On) {
    let mut shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let renewal = Bought::from(shop.renew(&one.key, 1).await.body);
    shop.rest().await;
    shop.pay(&renewal.invoice).await;
    let revocation = revoke(shop.app(), one.name, &note()).await.unwrap();
    assert_eq!((revocation.invoices.closed, revocation.invoices.open), (1, 0), "LND's word was that it is paid");
    let payment = shop.app().store.payment(Provider::Lightning, &renewal.hash).await.unwrap().unwrap();
    assert_eq!(payment.outcome, Outcome::RefundDue);
    assert_eq!(shop.app().store.grants(one.id).await.unwrap().len(), 1);
}

/// The same for a suspension: the money is there, so the time is.
async fn a_payment_from_before_a_suspension_counts_in_full_and_lets_nothing_pass(on: On) {
    let mut shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let renewal = Bought::from(shop.renew(&one.key, 1).await.body);
    let before = ends_at(&shop, &one).await;
    shop.rest().await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    shop.pay(&renewal.invoice).await;
    let stopped = set_traffic(shop.app(), one.name, Traffic::Stops, None).await.unwrap();
    assert_eq!((stopped.invoices.closed, stopped.invoices.open), (1, 0), "LND's word was that it is paid");
    assert_eq!(ends_at(&shop, &one).await, before.plus_months(1).unwrap());
    agent.work(shop.app()).await;
    assert_eq!(agent.peer().traffic_until, None);
    set_traffic(shop.app(), one.name, Traffic::PassesAgain, None).await.unwrap();
    agent.work(shop.app()).await;
    assert!(agent.peer().traffic_until > Some(before));
}

async fn a_node_that_is_down_does_not_keep_from_revoking(on: On) {
    let shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let renewal = Bought::from(shop.renew(&one.key, 1).await.body);
    shop.node.inject(Fault::LoseReplies { method: Method::CancelInvoice, count: 1 }).await.unwrap();
    let first = revoke(shop.app(), one.name, &note()).await.unwrap();
    assert_eq!((first.effect, first.invoices.closed, first.invoices.open), (Effect::Now, 0, 1));
    let again = revoke(shop.app(), one.name, &note()).await.unwrap();
    assert_eq!((again.effect, again.invoices.closed, again.invoices.open), (Effect::Before, 1, 0));
    assert!(!wiretoll_pays(&shop, &renewal).await);
}

async fn another_key_is_bound_in_place(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let made = shop.claim(json!({ "paymentHash": order.hash })).await;
    let one = of(&shop, made.body["peer"]["publicKey"].as_str().unwrap().to_owned(), order).await;
    let other = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let theirs = PublicKey::parse(&other.key).unwrap();
    let taken = rekey(shop.app(), one.name, Some(theirs), &note()).await.unwrap_err();
    assert!(matches!(&taken, Error::Conflict(why) if why.contains("another subscription")), "{taken}");
    assert_eq!(agent.work(shop.app()).await, Told::Nothing, "nothing was changed");

    let key = a_key();
    rekey(shop.app(), one.name, Some(PublicKey::parse(&key).unwrap()), &note()).await.unwrap();
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!(agent.peers().len(), 2);
    let claim = shop.claim(json!({ "paymentHash": one.order.hash, "wgPublicKey": key })).await;
    assert_eq!((claim.status, &claim.body["vpnPort"]), (200, &made.body["vpnPort"]));
    assert_ne!(claim.body["peer"]["presharedKey"], made.body["peer"]["presharedKey"]);
    let old = PublicKey::parse(&one.key).unwrap();
    assert!(shop.app().store.private_key(old).await.unwrap().unwrap().sealed.is_none(), "the old one is erased");
    // The old key is still this subscription's.
    assert_eq!(shop.status(&one.key).await.body["status"], "enabled");
    assert!(matches!(
        rekey(shop.app(), one.name, Some(PublicKey::parse(&key).unwrap()), &note()).await,
        Err(Error::Conflict(_))
    ));
}

async fn without_a_key_the_next_claim_binds_one(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.buy().await;
    let made = shop.claim(json!({ "paymentHash": order.hash })).await;
    let one = of(&shop, String::new(), order).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    rekey(shop.app(), one.name, None, &note()).await.unwrap();
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(agent.peers().is_empty());
    assert!(matches!(rekey(shop.app(), one.name, None, &note()).await, Err(Error::Conflict(_))), "it has none");
    // Agents that ask for everything are told the same.
    agent.desired = None;
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Snapshot, 0));

    let again = shop.claim(json!({ "paymentHash": one.order.hash }));
    let (again, _) = tokio::join!(again, async {
        shop.until("the agent is told", || async { shop.app().store.installation(one.id).await.unwrap().is_some() })
            .await;
        agent.work(shop.app()).await
    });
    assert_eq!((again.status, &again.body["isProvisioned"]), (200, &json!(true)), "{}", again.body);
    assert_eq!(again.body["vpnPort"], made.body["vpnPort"]);
    assert_ne!(again.body["peer"]["publicKey"], made.body["peer"]["publicKey"]);
    assert!(again.body["fullConfig"].as_str().unwrap().contains("PrivateKey"));
    assert_eq!(agent.peer().public_key.to_string(), again.body["peer"]["publicKey"].as_str().unwrap());
}

/// The agent may still name it among those that it keeps; only a slot that never had a key takes one from there.
async fn a_leaked_key_is_not_bound_again_by_its_server(on: On) {
    let shop = Shop::open(on).await;
    let one = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let leaked = agent.peer().clone();
    rekey(shop.app(), one.name, None, &note()).await.unwrap();
    agent.poll(shop.app()).await;
    agent.withheld.insert(leaked.id, leaked);
    agent.say(shop.app()).await.unwrap();
    let peer = shop.app().store.peer_of(one.id).await.unwrap().unwrap();
    assert!(peer.binding.is_none());
}

async fn a_port_s_holders_are_known_by_time(on: On) {
    let shop = Shop::open_with(on, crate::slots::one_slot).await;
    let first = customer(&shop).await;
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    let port = agent.peer().public_port;
    let had = async |at: Option<Timestamp>| {
        let found = port_holders(shop.app(), &eu_de(), port, at.map(|at| at..=at)).await.unwrap();
        found.into_iter().map(|one| (one.subscription.id, one.holder.until.is_some())).collect::<Vec<_>>()
    };
    let while_first = shop.clock.now();
    assert_eq!(had(Some(while_first)).await, [(first.id, false)]);
    shop.advance(Duration::from_hours(24)).await;
    revoke(shop.app(), first.name, &note()).await.unwrap();
    shop.advance(Duration::from_hours(1)).await;
    assert_eq!(had(Some(shop.clock.now())).await, [(first.id, false)], "its peer may stand there still");
    agent.work(shop.app()).await;
    let gone_at = shop.clock.now();
    assert_eq!(had(Some(gone_at)).await, []);
    shop.advance(Duration::from_hours(25)).await;
    let second = customer(&shop).await;
    agent.work(shop.app()).await;
    assert_eq!(had(Some(shop.clock.now())).await, [(second.id, false)]);
    assert_eq!(had(Some(while_first)).await, [(first.id, true)]);
    assert_eq!(had(None).await, [(second.id, false), (first.id, true)]);
    let elsewhere = port_holders(shop.app(), &eu_de(), port + 1, None).await;
    assert!(matches!(elsewhere, Err(Error::Invalid(_))), "{elsewhere:?}");
}

async fn a_change_has_reached_its_server_by_the_agent_s_word_alone(on: On) {
    let mut shop = Shop::open(on).await;
    let one = customer(&shop).await;
    shop.rest().await;
    let reached = async || {
        let subscription = shop.app().store.subscription(one.id).await.unwrap().unwrap();
        wait_until_applied(shop.app(), &subscription).await.unwrap()
    };
    assert_eq!(reached().await, Reached::NoAgent);
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    set_traffic(shop.app(), one.name, Traffic::Stops, None).await.unwrap();
    assert!(matches!(reached().await, Reached::NotYet { .. }));
    let (_, while_waiting) = tokio::join!(agent.work(shop.app()), reached());
    assert_eq!(while_waiting, Reached::Server);

    // Nobody waits for an agent that is silent.
    revoke(shop.app(), one.name, &note()).await.unwrap();
    let heard_at = shop.clock.now();
    shop.clock.advance(2 * MINUTE);
    let asked = Instant::now();
    let Reached::NotYet { agent_heard_at, revision } = reached().await else { panic!("nobody has confirmed it") };
    assert!(agent_heard_at == heard_at && asked.elapsed() < Duration::from_secs(1));
    // It knows of the removal, and keeps the peer all the same.
    let kept = agent.peer().clone();
    agent.poll(shop.app()).await;
    agent.withheld.insert(kept.id, kept);
    agent.say(shop.app()).await.unwrap();
    assert_eq!(agent.desired.as_ref().unwrap().revision, revision);
    assert!(matches!(reached().await, Reached::NotYet { .. }));
    agent.withheld.clear();
    agent.say(shop.app()).await.unwrap();
    assert_eq!(reached().await, Reached::Server);
}

/// In a new epoch an agent keeps whom nobody names: but not whom the operator sent away.
async fn what_the_operator_took_away_is_kept_by_no_agent(on: On) {
    let shop = Shop::open(on).await;
    let (revoked, leaked, other) = (customer(&shop).await, customer(&shop).await, customer(&shop).await);
    let mut agent = Agent::of(shop.app());
    agent.work(shop.app()).await;
    revoke(shop.app(), revoked.name, &note()).await.unwrap();
    rekey(shop.app(), leaked.name, None, &note()).await.unwrap();
    begin_epoch(shop.app(), By::Operator(None)).await.unwrap();
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert!(agent.withheld.is_empty());
    assert_eq!(agent.peer().public_key.to_string(), other.key);
    let subscription = shop.app().store.subscription(revoked.id).await.unwrap().unwrap();
    assert_eq!(wait_until_applied(shop.app(), &subscription).await.unwrap(), Reached::Server);
}

async fn subscriptions_are_found_by_every_name_and_listed_by_stage(on: On) {
    let shop = Shop::open(on).await;
    let one = customer(&shop).await;
    shop.clock.advance(1);
    let other = customer(&shop).await;
    shop.clock.advance(1);
    let third = customer(&shop).await;
    set_traffic(shop.app(), other.name, Traffic::Stops, None).await.unwrap();
    revoke(shop.app(), third.name, &note()).await.unwrap();
    let order = shop.stored(&one.order).await.id;
    for name in [
        one.name,
        SubscriptionName::Id(order),
        SubscriptionName::PublicKey(PublicKey::parse(&one.key).unwrap()),
        SubscriptionName::PaymentHash(one.order.payment_hash()),
    ] {
        assert_eq!(show_subscription(shop.app(), name).await.unwrap().subscription.id, one.id, "{name:?}");
    }
    let unknown = SubscriptionName::Id(shop.app().new_id());
    assert!(matches!(show_subscription(shop.app(), unknown).await, Err(Error::NotFound(_))));

    let list = async |filter: SubscriptionFilter| {
        let (now, holds) = (shop.clock.now(), shop.app().shop.holds);
        let filter = SubscriptionFilter { at_most: 10, ..filter };
        let found = shop.app().store.subscriptions(&filter, now, holds).await.unwrap();
        assert!(filter.stage.is_none_or(|stage| found.iter().all(|one| one.stage(now, holds) == stage)));
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let in_stage = |stage| SubscriptionFilter { stage: Some(stage), ..SubscriptionFilter::default() };
    assert_eq!(list(SubscriptionFilter::default()).await, [third.id, other.id, one.id], "the newest first");
    let after = SubscriptionFilter { after: Some(third.id), ..SubscriptionFilter::default() };
    assert_eq!(list(after).await, [other.id, one.id]);
    let elsewhere = shop.app().shop.servers[1].id.clone();
    let there = SubscriptionFilter { server: Some(elsewhere), ..SubscriptionFilter::default() };
    assert!(list(there).await.is_empty());
    let end = ends_at(&shop, &one).await;
    let before = |end| SubscriptionFilter { ends_before: Some(end), ..in_stage(Stage::Active) };
    assert_eq!((list(before(end)).await, list(before(end.plus_millis(1))).await), (vec![], vec![one.id]));
    assert_eq!(list(in_stage(Stage::Suspended)).await, [other.id]);
    assert_eq!(list(in_stage(Stage::Revoked)).await, [third.id]);

    let until = u64::try_from(end.since(shop.clock.now())).unwrap();
    shop.advance(Duration::from_millis(until - 1)).await;
    assert_eq!((list(in_stage(Stage::Active)).await, list(in_stage(Stage::Lapsed)).await), (vec![one.id], vec![]));
    shop.advance(Duration::from_millis(1)).await;
    assert_eq!((list(in_stage(Stage::Active)).await, list(in_stage(Stage::Lapsed)).await), (vec![], vec![one.id]));
    shop.advance(Duration::from_hours(24)).await;
    assert_eq!((list(in_stage(Stage::Lapsed)).await, list(in_stage(Stage::Held)).await), (vec![], vec![one.id]));
    shop.until("the holds have ended", || async {
        shop.advance(Duration::from_hours(24)).await;
        release_ended_holds(shop.app()).await.unwrap();
        list(in_stage(Stage::Released)).await == [other.id, one.id]
    })
    .await;
}
