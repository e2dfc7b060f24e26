//! A server's agent and its control plane: what is installed, what is given back on its word, what was used.

mod restored;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::desired_peers::begin_epoch;
use wiretoll::app::find_subscription::SubscriptionName;
use wiretoll::app::operator::{By, Effect};
use wiretoll::app::rekey::rekey;
use wiretoll::app::show_subscription::show_subscription;
use wiretoll::app::suspend::{Traffic, set_traffic};
use wiretoll::app::take_over::{Successor, take_over};
use wiretoll::app::take_report::{AGENT_SILENCE, Heard, take_report};
use wiretoll::app::{Error, Unavailable, release, subscription_status, unthrottle};
use wiretoll::domain::desired::{Report, Usage};
use wiretoll::domain::interface_name::InterfaceName;
use wiretoll::domain::keys::{PrivateKey, PublicKey};
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::note::Note;
use wiretoll::domain::server::Pool;
use wiretoll::domain::time::{DAY, MINUTE, Timestamp};
use wiretoll::lifecycle;
use wiretoll::store::{AgentWord, ServerState};

use crate::agent::{Agent, Told, eu_de};
use crate::database::{connect, run, subscriptions_held, until_waiting};
use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(
    scenario_33_a_claim_says_whether_the_server_has_the_peer,
    scenario_34_a_server_without_memory_is_told_everything,
    scenario_35_many_removals_wait_and_their_slots_stay_taken,
    scenario_36_more_than_a_thousand_peers_are_told_at_once,
    scenario_38_a_slot_rests_only_once_its_peer_is_gone,
    a_delta_tells_what_changed_and_a_snapshot_what_was_forgotten,
    usage_counts_once_however_often_it_is_told,
    the_last_handshake_is_shown_and_a_report_without_one_leaves_it,
    who_used_too_much_is_slowed_down_until_the_month_ends,
    other_terms_are_a_change_like_any_other,
    a_second_agent_and_a_wrong_key_are_refused,
    a_word_of_another_time_counts_for_nothing,
    a_report_that_crosses_a_new_epoch_counts_for_nothing,
    a_peer_with_the_server_s_own_key_is_left_out_alone,
    a_key_made_here_is_erased_a_day_after_it_was_used,
    a_poll_on_the_socket_sees_what_a_command_changed,
);

const GB: u64 = 1_000_000_000;

async fn bought(shop: &Shop) -> (String, String) {
    let key = a_key();
    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    (key, order.hash)
}

/// The agent says its word, so that the control plane knows of it.
async fn an_agent(shop: &Shop) -> Agent {
    let mut agent = Agent::of(shop.app());
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    agent
}

async fn is_provisioned(shop: &Shop, hash: &str) -> bool {
    let claim = shop.claim(json!({ "paymentHash": hash })).await;
    assert_eq!(claim.status, 200, "{}", claim.body);
    claim.body["isProvisioned"].as_bool().unwrap()
}

async fn used(shop: &Shop, key: &str) -> i64 {
    let key = PublicKey::parse(key).unwrap();
    subscription_status::subscription_status(shop.app(), key).await.unwrap().used.bytes
}

async fn scenario_33_a_claim_says_whether_the_server_has_the_peer(on: On) {
    let shop = Shop::open(on).await;
    let (_, before) = bought(&shop).await;
    assert!(is_provisioned(&shop, &before).await, "where no agent ever spoke, the peer is recorded");
    let mut agent = an_agent(&shop).await;
    shop.advance(AGENT_SILENCE + Duration::from_secs(1)).await;
    let order = shop.buy().await;
    let config = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!((config.status, &config.body["isProvisioned"]), (200, &json!(false)), "{}", config.body);
    assert_eq!(shop.check(&order.hash).await.body["isProvisioned"], false);
    assert!(is_provisioned(&shop, &before).await, "what the agent had said holds");

    assert_eq!(agent.poll(shop.app()).await, Told::Delta);
    assert!(!is_provisioned(&shop, &order.hash).await, "told is not installed");
    agent.say(shop.app()).await.unwrap();
    let again = shop.claim(json!({ "paymentHash": order.hash })).await;
    assert_eq!(again.body["isProvisioned"], true);
    assert_eq!(again.body["fullConfig"], config.body["fullConfig"]);
    assert_eq!(shop.check(&order.hash).await.body["isProvisioned"], true);
}

async fn scenario_34_a_server_without_memory_is_told_everything(on: On) {
    let shop = Shop::open(on).await;
    bought(&shop).await;
    bought(&shop).await;
    let first = an_agent(&shop).await;
    shop.advance(AGENT_SILENCE).await;
    let second = an_agent(&shop).await;
    assert_eq!((first.peers(), second.peers().len()), (second.peers(), 2));
}

/// The server's slots are more than it would take away unasked.
async fn scenario_35_many_removals_wait_and_their_slots_stay_taken(on: On) {
    let shop = Shop::open(on).await;
    for _ in 0..25 {
        bought(&shop).await;
    }
    let mut agent = an_agent(&shop).await;
    // A mistake of ours: all of them end at once, while their leases would still run.
    run(&mut connect(&shop).await, "UPDATE subscriptions SET ends_at = 1").await;
    assert_eq!(release::release_ended_holds(shop.app()).await.unwrap(), 25);
    run(&mut connect(&shop).await, "UPDATE servers SET pruned_revision = peer_revision").await;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_eq!((agent.withheld.len(), agent.peers().len()), (25, 25));
    assert_eq!(resting(&shop).await, 0, "a slot whose peer still stands is not given away");

    wiretoll::app::allow_removals::allow_removals(shop.app(), &eu_de(), None).await.unwrap();
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert!(agent.peers().is_empty());
    assert_eq!(resting(&shop).await, 25);
    assert_eq!(agent.work(shop.app()).await, Told::Nothing, "it is told so once");
}

/// Slots that nobody has and that are in quarantine.
async fn resting(shop: &Shop) -> i64 {
    let sql = format!(
        "SELECT CAST(count(*) AS BIGINT) FROM slots WHERE peer_id IS NULL AND released_at > {}",
        shop.clock.now().millis()
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connect(shop).await).await.unwrap()
}

async fn scenario_36_more_than_a_thousand_peers_are_told_at_once(on: On) {
    let shop = Shop::open_with(on, |config| {
        config.servers[0].pool = Pool::new("10.8.0.0/20".parse().unwrap(), 20_000, None).unwrap();
    })
    .await;
    let (key, _) = bought(&shop).await;
    plant_peers(&shop, &key, 1_200).await;
    let mut agent = an_agent(&shop).await;
    assert_eq!(agent.peers().len(), 1_201);
    let addresses: std::collections::HashSet<_> = agent.peers().iter().map(|peer| peer.address).collect();
    assert_eq!(addresses.len(), 1_201);
    assert_eq!(agent.work(shop.app()).await, Told::Nothing);
}

/// Copies of a subscription with its peer and key, on the slots behind it: buying so many would take minutes.
async fn plant_peers(shop: &Shop, key: &str, count: u32) {
    let mut database = connect(shop).await;
    let id = |kind: &str| format!("'00000000-0000-7000-{kind}-' || substr(CAST(1000000000000 + n AS TEXT), 2)");
    for sql in [
        format!(
            "INSERT INTO orders (id, key_id, kind, rail, server_id, requires_claim_token, months, amount_msat, \
             payment_hash, state, closed_at, created_at, revision) SELECT {order}, 1, 'new', 'lightning', 'eu-de', 0, 1, 1, \
             'planted ' || n, 'failed', 1, 1, 0 FROM slots WHERE server_id = 'eu-de' AND n BETWEEN 1 AND {count}",
            order = id("8001"),
        ),
        format!(
            "INSERT INTO subscriptions (id, founded_by, server_id, ends_at, standing, created_at, revision) \
             SELECT {subscription}, {order}, 'eu-de', 9999999999999, 'held', 1, 0 FROM slots \
             WHERE server_id = 'eu-de' AND n BETWEEN 1 AND {count}",
            subscription = id("8002"),
            order = id("8001"),
        ),
        format!(
            "INSERT INTO peers (id, server_id, slot, holder_kind, holder_id, public_key, key_id, sealed_preshared_key, \
             generation, created_at, revision) SELECT {peer}, 'eu-de', n, 'subscription', {subscription}, public_key, \
             key_id, sealed_preshared_key, 1, 1, 1 FROM peers JOIN slots ON slots.server_id = 'eu-de' \
             AND slots.n BETWEEN 1 AND {count} WHERE peers.public_key = '{key}'",
            peer = id("8003"),
            subscription = id("8002"),
        ),
    ] {
        run(&mut database, &sql).await;
    }
}

async fn scenario_38_a_slot_rests_only_once_its_peer_is_gone(on: On) {
    let shop = Shop::open_with(on, crate::slots::one_slot).await;
    bought(&shop).await;
    let mut agent = an_agent(&shop).await;
    let until = agent.peer().traffic_until.unwrap();
    // The lease alone ends the traffic, whatever becomes of the agent.
    shop.advance(Duration::from_hours((31 + 30) * 24)).await;
    assert!(until < shop.clock.now());
    shop.until("the hold has ended", || async {
        release::release_ended_holds(shop.app()).await.unwrap();
        subscriptions_held(&shop).await == 0
    })
    .await;
    shop.advance(Duration::from_hours(48)).await;
    let before = shop.occupancy().await;
    assert!(!before.has_free && before.held == 1, "nobody has said that the peer is gone: {before:?}");
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(agent.peers().is_empty());
    let after = shop.occupancy().await;
    assert!(!after.has_free && after.held == 0, "the quarantine counts from the agent's word: {after:?}");
    agent.say(shop.app()).await.unwrap();
    assert_eq!(shop.occupancy().await.held, 0, "a word that is said twice counts once");
    shop.advance(Duration::from_hours(24)).await;
    assert!(shop.occupancy().await.has_free);
}

async fn a_delta_tells_what_changed_and_a_snapshot_what_was_forgotten(on: On) {
    let shop = Shop::open(on).await;
    bought(&shop).await;
    let mut agent = an_agent(&shop).await;
    let stale = agent.desired.clone();
    bought(&shop).await;
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert_eq!(agent.work(shop.app()).await, Told::Nothing);
    shop.advance(Duration::from_hours((31 + 31) * 24)).await;
    shop.until("the holds have ended", || async {
        release::release_ended_holds(shop.app()).await.unwrap();
        subscriptions_held(&shop).await == 0
    })
    .await;
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(agent.peers().is_empty());
    // What was confirmed is not told again; who knows less than that is told everything.
    agent.desired = stale;
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert!(agent.peers().is_empty());
}

async fn usage_counts_once_however_often_it_is_told(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = bought(&shop).await;
    let agent = an_agent(&shop).await;
    let peer = agent.peer().id;
    let (one, other) = (shop.app().new_id(), shop.app().new_id());
    let tell = |run: Uuid, bytes: u64| agent.tell_usage(shop.app(), Usage { peer, run, bytes, handshake_at: None });
    tell(one, 5 * GB).await;
    tell(one, 5 * GB).await;
    assert_eq!(used(&shop, &key).await, 5_000_000_000);
    tell(one, 7 * GB).await;
    assert_eq!(used(&shop, &key).await, 7_000_000_000);
    // The machine started again, and then its table was made anew within one run.
    tell(other, 2 * GB).await;
    tell(other, GB).await;
    assert_eq!(used(&shop, &key).await, 10_000_000_000);
    assert_eq!(shop.status(&key).await.body["bandwidth_used_gb"], 10.0);
    let stranger = Usage { peer: shop.app().new_id(), run: one, bytes: GB, handshake_at: None };
    agent.tell_usage(shop.app(), stranger).await;
    assert_eq!(used(&shop, &key).await, 10_000_000_000);
}

async fn the_last_handshake_is_shown_and_a_report_without_one_leaves_it(on: On) {
    let shop = Shop::open(on).await;
    let (key, _) = bought(&shop).await;
    let name = SubscriptionName::PublicKey(PublicKey::parse(&key).unwrap());
    let agent = an_agent(&shop).await;
    let (peer, run) = (agent.peer().id, shop.app().new_id());
    let shown = async || show_subscription(shop.app(), name).await.unwrap().used;
    assert_eq!(shown().await.handshake_at, None);
    let seen = Timestamp::from_seconds(1_800_000_060);
    for (bytes, handshake_at) in [(5, Some(seen)), (6, None)] {
        agent.tell_usage(shop.app(), Usage { peer, run, bytes, handshake_at }).await;
        assert_eq!((shown().await.bytes, shown().await.handshake_at), (i64::try_from(bytes).unwrap(), Some(seen)));
    }
}

async fn who_used_too_much_is_slowed_down_until_the_month_ends(on: On) {
    let mut shop = Shop::open(on).await;
    let (key, _) = bought(&shop).await;
    shop.rest().await;
    let mut agent = an_agent(&shop).await;
    let (peer, run) = (agent.peer().id, shop.app().new_id());
    let usage = |bytes| Usage { peer, run, bytes, handshake_at: None };
    agent.tell_usage(shop.app(), usage(100 * GB - 1)).await;
    assert_eq!(agent.work(shop.app()).await, Told::Nothing);
    agent.tell_usage(shop.app(), usage(100 * GB)).await;
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(agent.peer().throttled);
    assert_eq!(unthrottle::unthrottle(shop.app()).await.unwrap(), 0, "this month it stays so");
    shop.advance(Duration::from_hours(31 * 24)).await;
    assert_eq!(unthrottle::unthrottle(shop.app()).await.unwrap(), 1);
    assert_eq!(agent.work(shop.app()).await, Told::Delta);
    assert!(!agent.peer().throttled);
    let key = PublicKey::parse(&key).unwrap();
    assert_eq!(subscription_status::subscription_status(shop.app(), key).await.unwrap().used.bytes, 0);
}

async fn other_terms_are_a_change_like_any_other(on: On) {
    let mut shop = Shop::open(on).await;
    bought(&shop).await;
    let mut agent = an_agent(&shop).await;
    let before = (agent.desired.as_ref().unwrap().epoch, agent.peer().traffic_until);
    shop.stop().await;
    shop.config.holds.grace_millis -= MINUTE;
    shop.start().await;
    shop.clock.advance(11 * MINUTE);
    assert_eq!(agent.work(shop.app()).await, Told::Snapshot);
    assert_eq!(agent.desired.as_ref().unwrap().epoch, before.0);
    assert_eq!(agent.peer().traffic_until.map(|until| until.plus_millis(MINUTE)), before.1);
    shop.stop().await;
    shop.start().await;
    assert_eq!(agent.work(shop.app()).await, Told::Nothing, "the same terms are no change");
}

async fn a_second_agent_and_a_wrong_key_are_refused(on: On) {
    let mut shop = Shop::open(on).await;
    shop.rest().await;
    let first = an_agent(&shop).await;
    let second = Agent::of(shop.app());
    shop.advance(AGENT_SILENCE / 2).await;
    let refused = second.say(shop.app()).await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(Unavailable::AnotherAgent(_))), "{refused}");
    first.say(shop.app()).await.unwrap();
    shop.advance(AGENT_SILENCE).await;
    second.say(shop.app()).await.unwrap();
    assert!(matches!(first.say(shop.app()).await, Err(Error::Unavailable(_))));
    // A machine without a clock of its own has started, hours back: nobody spoke there within these 90 s.
    shop.clock.advance(-120 * MINUTE);
    first.say(shop.app()).await.unwrap();
    assert!(matches!(second.say(shop.app()).await, Err(Error::Unavailable(_))));

    let other_key = PrivateKey::from_random([7; 32]).public_key();
    let stranger = Report { public_key: other_key, ..second.report() };
    let refused = take_report(shop.app(), &eu_de(), &stranger).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(why) if why.contains("another WireGuard key")), "{refused}");
    let newer = Report { protocol: 9, ..second.report() };
    assert!(matches!(take_report(shop.app(), &eu_de(), &newer).await, Err(Error::Invalid(_))));
}

/// It was on its way when the operator let another agent in, or when a restored database began anew.
async fn a_word_of_another_time_counts_for_nothing(on: On) {
    let shop = Shop::open(on).await;
    an_agent(&shop).await;
    let store = &shop.app().store;
    let known = async || {
        let states = store.server_states().await.unwrap();
        states.into_iter().find(|state| state.id == eu_de()).unwrap()
    };
    let word = AgentWord {
        agent_id: known().await.agent_id.unwrap(),
        public_key: known().await.public_key.unwrap(),
        applied_revision: 99,
        withheld_peers: 0,
        troubles: Vec::new(),
        at: shop.app().clock.now(),
    };
    let is_heard = async |known: &ServerState| {
        let mut tx = store.begin().await.unwrap();
        let heard = tx.hear_agent(known, &word).await.unwrap();
        tx.commit().await.unwrap();
        heard
    };
    let before = known().await;
    take_over(shop.app(), &eu_de(), Successor::Agent, None).await.unwrap();
    assert!(!is_heard(&before).await);
    let before = known().await;
    begin_epoch(shop.app(), By::Agent).await.unwrap();
    assert!(!is_heard(&before).await);
    assert_eq!(known().await.applied_revision, -1);
    assert!(is_heard(&known().await).await);
}

/// The report has read the old epoch, and waits for whoever begins another.
async fn a_report_that_crosses_a_new_epoch_counts_for_nothing(on: On) {
    let shop = Shop::open(on).await;
    let agent = an_agent(&shop).await;
    let states = async || shop.app().store.server_states().await.unwrap();
    let On::Postgres = on else {
        // SQLite has one writer: nothing comes between.
        assert_eq!(agent.say(shop.app()).await.unwrap(), Heard::Fine);
        return;
    };
    let mut other = connect(&shop).await;
    run(&mut other, "BEGIN; UPDATE database_epoch SET epoch = '0190a8f2-0000-7000-8000-0000000000ee'").await;
    run(&mut other, "UPDATE servers SET applied_revision = -1").await;
    let (heard, ()) = tokio::join!(agent.say(shop.app()), async {
        until_waiting(&shop, 1).await;
        run(&mut other, "COMMIT").await;
    });
    assert_eq!(heard.unwrap(), Heard::AskForEverything);
    assert!(states().await.iter().all(|state| state.applied_revision == -1));
}

/// Its customer had the key bound before it became the server's.
async fn a_peer_with_the_server_s_own_key_is_left_out_alone(on: On) {
    let mut shop = Shop::open(on).await;
    let (key, hash) = bought(&shop).await;
    bought(&shop).await;
    shop.stop().await;
    shop.config.servers[0].public_key = Some(PublicKey::parse(&key).unwrap());
    shop.start().await;
    let mut agent = an_agent(&shop).await;
    assert_eq!(agent.peers().len(), 1);
    let claim = shop.claim(json!({ "paymentHash": hash })).await;
    assert_eq!((claim.status, claim.error()), (400, "ERR_INVALID_INPUT"), "{}", claim.body);
    let troubles = async || {
        let states = shop.app().store.server_states().await.unwrap();
        states.into_iter().find(|state| state.id == eu_de()).unwrap().troubles
    };
    let [trouble] = &troubles().await[..] else { panic!("not one trouble") };
    let subscription = shop.app().store.order_by_payment_hash(PaymentHash::parse(&hash).unwrap()).await.unwrap();
    let subscription = subscription.unwrap().subscription_id.unwrap();
    assert!(trouble.as_str().contains(&subscription.to_string()), "{trouble}");

    // A change of its own, and one of somebody else.
    set_traffic(shop.app(), SubscriptionName::Id(subscription), Traffic::Stops, None).await.unwrap();
    bought(&shop).await;
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Delta, 2));
    let other = PublicKey::parse(&a_key()).unwrap();
    let note = Note::parse("it was the server's").unwrap();
    rekey(shop.app(), SubscriptionName::Id(subscription), Some(other), &note).await.unwrap();
    assert_eq!((agent.work(shop.app()).await, agent.peers().len()), (Told::Delta, 3));
    assert!(troubles().await.is_empty());
}

async fn a_key_made_here_is_erased_a_day_after_it_was_used(on: On) {
    let mut shop = Shop::open(on).await;
    let (order, unused) = (shop.buy().await, shop.buy().await);
    for order in [&order, &unused] {
        assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.body["success"], true);
    }
    shop.rest().await;
    let agent = an_agent(&shop).await;
    let key = shop.app().store.peer_of(shop.stored(&order).await.subscription_id.unwrap()).await.unwrap().unwrap();
    let (peer, run) = (key.id, shop.app().new_id());
    let kept = async |order: &crate::shop::Bought| {
        let subscription = shop.stored(order).await.subscription_id.unwrap();
        let peer = shop.app().store.peer_of(subscription).await.unwrap().unwrap();
        let key = peer.binding.unwrap().public_key;
        shop.app().store.private_key(key).await.unwrap().unwrap().sealed.is_some()
    };
    let erase = async || release::erase_private_keys(shop.app()).await.unwrap();
    let first = shop.clock.now();
    let seen = |at: Timestamp| Usage { peer, run, bytes: 1, handshake_at: Some(at) };
    agent.tell_usage(shop.app(), seen(first)).await;
    shop.clock.advance(DAY - MINUTE);
    // A later handshake puts nothing off.
    Agent { id: agent.id, ..Agent::of(shop.app()) }.tell_usage(shop.app(), seen(shop.clock.now())).await;
    assert_eq!((erase().await, kept(&order).await), (0, true));
    shop.clock.advance(MINUTE);
    assert_eq!((erase().await, kept(&order).await, kept(&unused).await), (1, false, true));
    shop.clock.advance(6 * DAY);
    assert_eq!((erase().await, kept(&unused).await), (1, false));
}

/// The command is another process on the same database; a poll that waits is answered by its change.
async fn a_poll_on_the_socket_sees_what_a_command_changed(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let shop = Shop::open_with(on, |config| config.agent = Some(agent_on(&socket))).await;
    let (key, _) = bought(&shop).await;
    let client = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let get = async |path: String| client.get(format!("http://agent{path}")).send().await.unwrap();
    let whole: Value = get("/agent/v1/eu-de/state".into()).await.json().await.unwrap();
    assert_eq!((&whole["kind"], &whole["count"]), (&json!("snapshot"), &json!(1)));
    let next = format!("/agent/v1/eu-de/state?epoch={}&since={}", whole["epoch"].as_str().unwrap(), whole["revision"]);
    assert_eq!(get(next.clone()).await.status().as_u16(), 204, "nothing changed");
    assert_eq!(get("/agent/v1/us-east/state".into()).await.status().as_u16(), 404);

    let command = lifecycle::operate(&shop.config, shop.clock.clone()).await.unwrap();
    let name = SubscriptionName::PublicKey(PublicKey::parse(&key).unwrap());
    let (told, done) = tokio::join!(get(next + "&wait=60"), set_traffic(&command, name, Traffic::Stops, None));
    assert_eq!((told.status().as_u16(), done.unwrap().effect), (200, Effect::Now));
    let told: Value = told.json().await.unwrap();
    assert_eq!((&told["kind"], &told["upsert"][0]["traffic_until"]), (&json!("delta"), &Value::Null));
    command.store.close().await;

    let report = json!({
        "protocol": 1, "agent_id": shop.app().new_id(), "public_key": shop.app().shop.servers[0].public_key.unwrap(),
        "applied": { "epoch": told["epoch"], "revision": told["revision"], "digest": "of something else" },
    });
    let heard = client.post("http://agent/agent/v1/eu-de/report").json(&report).send().await.unwrap();
    assert_eq!(heard.json::<Value>().await.unwrap()["resync"], true);
}

fn agent_on(socket: &std::path::Path) -> wiretoll::config::Agent {
    wiretoll::config::Agent {
        server: eu_de(),
        socket: socket.to_owned(),
        state_folder: socket.with_file_name("agent"),
        interface: InterfaceName::parse("wg0").unwrap(),
        wan_interface: InterfaceName::parse("eth0").unwrap(),
        public_address: [203, 0, 113, 7].into(),
        public_address6: None,
        egress: wiretoll::config::Egress::default(),
    }
}
