//! Agents that die, disks that are full, clocks that jump, databases that forget.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wiretoll::clock::Clock;
use wiretoll::domain::peer_diff::PeerChange;
use wiretoll::netfilter;

use super::purchase::assert_all_stands;
use super::shop::Shop;
use super::until;
use crate::lab::{self, Lab, PUBLIC, Place, VISITOR, dial, done};

pub const STATE: &str = "agent/state.json";
const A_MINUTE: Duration = Duration::from_mins(1);
/// A daemon is told of so many peers at a time; the kernel's module of fewer.
const AT_A_TIME: usize = 5_000;
/// Peers that go to the interface in several lists.
const MANY: u16 = 5_200;

#[test]
fn an_agent_that_is_killed_at_any_moment_ends_where_the_database_is() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let first = shop.sell().await;
        first.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, first.port).await.unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for kill in 0..20_i64 {
            let hash = shop.buy().await;
            let claim = json!({ "paymentHash": hash });
            let agent = shop.agent.take();
            let moment = async {
                sleep(Duration::from_millis(random.u64(0..60))).await;
                drop(agent);
            };
            let ((status, claimed), ()) = tokio::join!(shop.post("claim", &claim), moment);
            assert_eq!(status, 200, "{claimed}");
            if kill % 3 == 0 {
                let port = claimed["vpnPort"].as_u64().unwrap();
                shop.change(u16::try_from(port).unwrap(), "ends_at = 1000").await;
            }
            shop.spawn_agent();
        }
        shop.until_applied().await;
        line.say("through all of them").await.unwrap();
        assert_all_stands(&shop, &mut lab).await;
    });
}

#[test]
fn a_full_disk_under_the_agents_file_holds_up_what_is_new_only() {
    lab::run(async |lab: Lab| {
        let mut shop = Shop::prepare(&lab);
        let (folder, key) = (shop.path("agent"), std::fs::read(shop.path("key")).unwrap());
        done(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&folder));
        std::fs::write(folder.join("wireguard.key"), key).unwrap();
        shop.start_service();
        shop.start_agent().await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();

        let _ = std::fs::write(folder.join("ballast"), vec![1; 128 * 1024]);
        let new = shop.sell().await;
        assert!(!new.is_provisioned, "a restart would not bring it back");
        line.say("the disk is full").await.unwrap();
        shop.agent.as_ref().unwrap().says("the agent's own file cannot be written");

        std::fs::remove_file(folder.join("ballast")).unwrap();
        shop.until_applied().await;
        assert!(shop.claim(&new.hash).await.is_provisioned);
    });
}

/// Here and not beside the other tests of settlement, because only in a lab there is a disk to fill.
#[test]
fn scenario_48_a_full_disk_under_the_database_loses_no_payment() {
    lab::run(async |lab: Lab| {
        let mut shop = Shop::prepare(&lab);
        let disk = shop.path("disk");
        std::fs::create_dir(&disk).unwrap();
        done(Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&disk));
        std::os::unix::fs::symlink(disk.join("wiretoll.db"), shop.path("wiretoll.db")).unwrap();
        shop.start_service();
        shop.start_agent().await;
        shop.sell().await;
        let (status, order) = shop.post("create", &json!({ "serverId": "eu-de", "duration": 1 })).await;
        assert_eq!(status, 200, "{order}");
        let position = async || shop.number("SELECT settle_index FROM settlement_cursor").await;
        let before = position().await;

        let _ = std::fs::write(disk.join("ballast"), vec![1; 32 * 1024 * 1024]);
        shop.settle(&order).await;
        shop.service.as_ref().unwrap().says("database or disk is full");
        let hash = order["paymentHash"].as_str().unwrap();
        let (status, checked) = shop.get(hash).await;
        assert_eq!(status, 503, "the node says paid, and nothing can be delivered: {checked}");
        assert_eq!(position().await, before, "it will be told of again");

        std::fs::remove_file(disk.join("ballast")).unwrap();
        until("it is entered", async || shop.get(hash).await.1["status"] == "paid").await;
        assert_eq!(shop.number("SELECT count(*) FROM payments").await, 2);
        shop.claim(hash).await;
    });
}

/// Its supervisor starts it again, and its interface is empty, without a key, and down.
#[test]
fn a_daemon_that_starts_again_is_noticed_by_the_next_change() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        lab.lose_interface();
        let first = shop.sell().await;
        assert!(first.is_provisioned);
        first.bring_up(&lab.a).await;

        lab.lose_interface();
        let second = shop.sell().await;
        assert!(second.is_provisioned);
        second.bring_up(&lab.b).await;
        first.bring_up(&lab.a).await;
        assert_all_stands(&shop, &mut lab).await;
    });
}

/// Its supervisor starts it again and nobody buys: the usage of the minute tells, and the service hears of it at once, since who
/// is silent for a minute and a half is held for dead.
#[test]
fn a_daemon_that_starts_again_is_noticed_within_the_minute_and_the_agent_tells_all_the_same() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        shop.until_applied().await;
        let seen_at = async || shop.number("SELECT agent_seen_at FROM servers").await;
        let before = seen_at().await;

        lab.lose_interface();
        let lost = Instant::now();
        while lab.peers().await.is_empty() {
            assert!(lost.elapsed() < Duration::from_secs(75), "nobody looked");
            sleep(Duration::from_millis(200)).await;
        }

        until("it was heard", async || seen_at().await > before).await;
        sold.bring_up(&lab.a).await;
        assert_all_stands(&shop, &mut lab).await;
    });
}

/// Nothing in its own file tells how long ago that was written, as after a reboot.
#[test]
fn scenario_51_a_file_from_another_time_ends_nothing_once_the_service_is_heard() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let end = shop.number("SELECT ends_at FROM subscriptions").await;
        let now = || Clock::System.now().millis();
        for seen_at in [now() - 9 * 60_000, 4_000_000_000_000] {
            shop.agent = None;
            let text = std::fs::read_to_string(shop.path(STATE)).unwrap();
            let mut state: Value = serde_json::from_str(&text).unwrap();
            state["seen_at"] = json!(seen_at);
            state["uptime"] = Value::Null;
            std::fs::write(shop.path(STATE), state.to_string()).unwrap();

            shop.spawn_agent();
            until("the file has the service's time again", async || {
                let state = std::fs::read_to_string(shop.path(STATE)).unwrap();
                let seen_at = serde_json::from_str::<Value>(&state).unwrap()["seen_at"].as_i64().unwrap();
                Duration::from_millis(seen_at.abs_diff(now())) < A_MINUTE
            })
            .await;
            until("leases count from it, too", async || {
                let leases = netfilter::list().await.unwrap().unwrap().leases;
                let left = Duration::from_millis(end.abs_diff(now()));
                leases.len() == 2 && leases.values().all(|lease| lease.abs_diff(left) < A_MINUTE)
            })
            .await;
            until("the peer stands", async || lab.peers().await.len() == 1).await;
            assert_all_stands(&shop, &mut lab).await;
        }
    });
}

#[test]
fn an_older_database_takes_nobodys_traffic_and_binds_their_keys_again() {
    lab::run(async |lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let hash = shop.buy().await;
        let forgotten_later = shop.path("older.db");
        shop.run(&format!("SELECT 1; COMMIT; VACUUM INTO '{}'; BEGIN", forgotten_later.display())).await;
        let (claimed, bought) = (shop.claim(&hash).await, shop.sell().await);
        claimed.bring_up(&lab.a).await;
        bought.bring_up(&lab.b).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let mut lines = Vec::new();
        for port in [claimed.port, bought.port] {
            lines.push(dial(Place::Visitor, VISITOR, PUBLIC, port).await.unwrap());
        }
        let key_of_a = "SELECT count(*) FROM peers WHERE public_key IS NOT NULL";
        let epochs = async |shop: &Shop| shop.number("SELECT began_at FROM database_epoch").await;
        let epoch = epochs(&shop).await;

        shop.service = None;
        for rest in ["wiretoll.db-wal", "wiretoll.db-shm"] {
            let _ = std::fs::remove_file(shop.path(rest));
        }
        std::fs::rename(&forgotten_later, shop.path("wiretoll.db")).unwrap();
        shop.start_service();
        until("the paid order has its key again", async || shop.number(key_of_a).await == 1).await;

        assert!(epochs(&shop).await > epoch);
        for line in &mut lines {
            line.say("not forgotten by the server").await.unwrap();
        }
        let named = json!({ "paymentHash": hash, "wgPublicKey": claimed.public_key });
        let (status, again) = shop.post("claim", &named).await;
        assert_eq!((status, &again["success"]), (200, &json!(true)), "{again}");
        // The private key was made here, and the older database does not have it: no text goes out without it.
        let (status, refused) = shop.post("claim", &json!({ "paymentHash": hash })).await;
        assert_eq!((status, &refused["success"], &refused["config"]), (200, &json!(false), &Value::Null), "{refused}");
    });
}

/// Changed is changed: whoever ends an agent by its signal finds no half of it, and needs no next start.
#[test]
fn an_agent_that_is_told_to_end_in_the_middle_of_a_change_ends_after_it() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let agent = shop.agent.take().unwrap();
        shop.sell_to_many(MANY).await;
        until("the first of them are there", async || lab.peers().await.len() > 1).await;

        let (ended, said) = agent.terminate();

        assert!(ended.success(), "{said:?}");
        assert_all_stands(&shop, &mut lab).await;
        let kept: Value = serde_json::from_slice(&std::fs::read(shop.path(STATE)).unwrap()).unwrap();
        assert_eq!(kept["desired"]["peers"].as_array().unwrap().len(), usize::from(MANY) + 1);
    });
}

/// What an agent leaves that dies between two lists of one change: the firewall has all of them, the interface the first
/// ones; and its file may have been written by then, or not.
#[test]
fn a_change_that_was_made_by_half_is_completed() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        shop.agent = None;
        let before = std::fs::read(shop.path(STATE)).unwrap();
        shop.sell_to_many(MANY).await;
        shop.start_agent().await;
        shop.agent = None;
        let after = std::fs::read(shop.path(STATE)).unwrap();
        for file in [before, after] {
            let others = lab.peers().await.into_iter().filter(|peer| peer.public_key.to_string() != sold.public_key);
            let unmade: Vec<_> = others.skip(AT_A_TIME).map(|peer| PeerChange::Remove(peer.public_key)).collect();
            assert_eq!(unmade.len(), usize::from(MANY) - AT_A_TIME);
            lab.interface.apply(&unmade).await.unwrap();
            std::fs::write(shop.path(STATE), file).unwrap();

            // The service believes that it has them all.
            shop.spawn_agent();

            until("it has them all", async || lab.peers().await.len() == usize::from(MANY) + 1).await;
            shop.agent.as_ref().unwrap().says("what stood before was restored");
            assert_all_stands(&shop, &mut lab).await;
            line.say("through all of it").await.unwrap();
            shop.agent = None;
        }
    });
}

#[test]
fn scenario_36_more_peers_than_one_list_takes_come_in_one_snapshot() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        shop.agent = None;
        shop.sell_to_many(MANY).await;
        let start = Instant::now();
        shop.start_agent().await;
        println!("{MANY} peers stood after {:?}", start.elapsed());
        assert_eq!(lab.peers().await.len(), usize::from(MANY) + 1);
        assert_all_stands(&shop, &mut lab).await;
    });
}
