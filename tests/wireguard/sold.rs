//! What was sold comes up, carries traffic, and ends on time: service, agent and customers with real packets.

use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wiretoll::domain::keys::PrivateKey;
use wiretoll::netfilter;

use crate::lab::{self, Daemon, Lab, Line, Node, PUBLIC, PUBLIC6, Place, VISITOR, VISITOR6, dial};
use crate::leases::{assert_near, talk_to_the_end};
use crate::shop::Shop;

/// The slot of the first sale is the one that `Shop::open` makes: customers' addresses follow from the claims.
async fn sell(shop: &Shop, node: &mut Node) -> String {
    let hash = shop.buy(node.private_key.public_key()).await;
    let claimed = shop.claim(&hash).await;
    assert_eq!(claimed["isProvisioned"], true, "{claimed}");
    node.bring_up(&claimed);
    hash
}

async fn visit(node: &Node) -> Line {
    dial(Place::Visitor, VISITOR, PUBLIC, node.public_port).await.unwrap()
}

/// The whole story, in one go.
#[test]
fn scenario_38_what_was_sold_carries_traffic_and_ends_on_time_with_nobody_alive() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open().await;
        let hash = sell(&shop, &mut lab.a).await;
        assert!(lab.a.pings(lab.a.address.into(), lab::GATEWAY.into()), "TunnelSats clients ping the gateway");
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.a.listen(lab.a.address6.into())];

        let mut line = visit(&lab.a).await;
        assert_eq!(line.seen_as, VISITOR, "the node sees who comes");
        let mut line6 = dial(Place::Visitor, VISITOR6, PUBLIC6, lab.a.public_port).await.unwrap();

        // A renewal moves the end and nothing else: the handshake of before goes on.
        shop.end_in(&hash, Duration::from_mins(1)).await;
        let renewed = shop.renew(lab.a.private_key.public_key()).await;
        for _ in 0..50 {
            line.say("not lost").await.unwrap();
            line6.say("not lost").await.unwrap();
        }
        assert!(shop.is_provisioned(&renewed).await);

        shop.end_in(&hash, Duration::from_secs(3)).await;
        let end = Instant::now() + Duration::from_secs(3);
        until_lease_below(&lab.a, Duration::from_secs(4)).await;
        shop.kill_agent();
        shop.kill_service();
        let (last, last6) = tokio::join!(talk_to_the_end(line), talk_to_the_end(line6));
        assert_near(last, end);
        assert_near(last6, end);
        assert!(!lab.a.pings(lab.a.address.into(), lab::GATEWAY.into()));
    });
}

async fn until_lease_below(node: &Node, most: Duration) {
    for _ in 0..200 {
        let listing = netfilter::list().await.unwrap().unwrap();
        if listing.leases.get(&node.address.into()).is_none_or(|left| *left < most) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the agent was not told");
}

#[test]
fn scenario_33_a_claim_while_the_agent_is_silent_gives_the_config_and_it_works_later() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open().await;
        shop.kill_agent();
        let hash = shop.buy(lab.a.private_key.public_key()).await;
        let claimed = shop.claim(&hash).await;
        assert_eq!(claimed["isProvisioned"], false, "{claimed}");

        shop.start_agent();
        until(async || shop.is_provisioned(&hash).await).await;

        let again = shop.claim(&hash).await;
        assert_eq!(again["config"], claimed["config"]);
        lab.a.bring_up(&claimed);
        let _node = lab.a.listen(lab.a.address.into());
        visit(&lab.a).await.say("hello").await.unwrap();
    });
}

#[test]
fn scenario_34_after_a_reboot_all_works_before_anybody_can_be_asked() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open().await;
        sell(&shop, &mut lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        visit(&lab.a).await.say("before").await.unwrap();

        // Everything that a reboot takes.
        shop.kill_agent();
        shop.kill_service();
        netfilter::remove().await.unwrap();
        lab.stop_daemon();
        let _daemon = Daemon::start(Place::Server, "wg0");

        shop.start_agent();
        shop.agent().says("what stood before was restored");
        lab.a.reconnect();
        until(async || dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.is_ok()).await;
    });
}

#[test]
fn scenario_35_one_who_leaves_takes_nobody_else_along() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open().await;
        let gone = sell(&shop, &mut lab.a).await;
        sell(&shop, &mut lab.b).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let mut leaves = visit(&lab.a).await;
        let mut stays = visit(&lab.b).await;
        leaves.say("here").await.unwrap();

        shop.end_in(&gone, Duration::ZERO).await;
        until(async || !lab.a.is_peer_of("wg0")).await;
        leaves.say("gone").await.unwrap_err();
        for _ in 0..20 {
            stays.say("not lost").await.unwrap();
        }
        // Nobody's server address is reached by a tunnel address of another customer.
        assert!(!lab.a.pings(lab.a.address.into(), lab.b.address.into()));
    });
}

/// Sales go on while the agent is killed again and again; at the end each stands once.
#[test]
fn scenario_32_an_agent_that_is_killed_at_any_moment_ends_where_the_database_is() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open().await;
        sell(&shop, &mut lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = visit(&lab.a).await;
        let mut hashes = Vec::new();
        for n in 0..16_u8 {
            hashes.push(shop.buy(PrivateKey::from_random([200 - n; 32]).public_key()).await);
            if n % 4 == 3 {
                let ended = hashes.remove(0);
                shop.end_in(&ended, Duration::ZERO).await;
            }
            // Spread over what a change takes.
            sleep(Duration::from_millis(u64::from(fastrand::u8(0..12)))).await;
            shop.kill_agent();
            shop.start_agent();
            line.say("never touched").await.unwrap();
        }
        for hash in &hashes {
            until(async || shop.is_provisioned(hash).await).await;
        }
        // Those who are left, and the two of the beginning: a's, and the one that has no key of its own.
        until(async || peers_of("wg0") == hashes.len() + 1).await;
        let listing = netfilter::list().await.unwrap().unwrap();
        assert_eq!(listing.leases.keys().filter(|address| address.is_ipv4()).count(), hashes.len() + 1);
        assert_eq!(listing.forwards.len(), 2 * (hashes.len() + 1), "for each family");
        line.say("never touched").await.unwrap();
    });
}

#[test]
fn a_full_disk_stops_nothing_that_was_sold_and_heals() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open().await;
        shop.kill_agent();
        let folder = shop.path("agent");
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder.to_str().unwrap()];
        assert!(Command::new("mount").args(mount).status().unwrap().success());
        for (path, contents) in files {
            std::fs::write(path, contents).unwrap();
        }
        shop.start_agent();
        shop.agent().says("what stood before was restored");
        sell(&shop, &mut lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = visit(&lab.a).await;

        let filler = folder.join("filler");
        let _ = std::fs::write(&filler, vec![0; 128 * 1024]);
        let hash = shop.buy(lab.b.private_key.public_key()).await;
        let claimed = shop.claim(&hash).await;
        assert_eq!(claimed["isProvisioned"], false, "nothing is called installed that a restart would lose");
        shop.agent().says("the agent's own file cannot be written");
        line.say("goes on").await.unwrap();
        lab.b.bring_up(&claimed);
        let _other = lab.b.listen(lab.b.address.into());
        visit(&lab.b).await.say("works all the same").await.unwrap();

        std::fs::remove_file(filler).unwrap();
        until(async || shop.is_provisioned(&hash).await).await;
        line.say("goes on").await.unwrap();
    });
}

#[test]
fn an_agent_with_another_key_or_beside_another_agent_is_refused() {
    lab::run(async |_: Lab| {
        let mut shop = Shop::open().await;
        let beside = shop.wiretoll(&["agent", "--config", "wiretoll.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&beside.stderr);
        assert!(!beside.status.success() && said.contains("another agent runs with the state folder"), "{said}");

        shop.kill_agent();
        let export = shop.wiretoll(&["agent", "key", "export", "--config", "wiretoll.toml", "saved.key"]).status();
        assert!(export.unwrap().success());
        std::fs::write(shop.path("other.key"), PrivateKey::from_random([9; 32]).expose()).unwrap();
        let import = |file: &'static str, replace: &'static [&'static str]| {
            let words = ["agent", "key", "import", "--config", "wiretoll.toml", file];
            shop.wiretoll(&[&words, replace].concat()).status().unwrap().success()
        };
        assert!(!import("other.key", &[]), "a key that customers' configs name is not lost by a slip");
        assert!(import("other.key", &["--replace"]));
        let refused = shop.wiretoll(&["agent", "--config", "wiretoll.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("wiretoll agent key import"), "{said}");
        assert!(import("saved.key", &["--replace"]));
    });
}

/// Through the other's public port, as Lightning nodes do; by the tunnel address never.
#[test]
fn subscribers_reach_each_other_by_their_public_ports_alone() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open().await;
        sell(&shop, &mut lab.a).await;
        sell(&shop, &mut lab.b).await;
        let _node = lab.b.listen(lab.b.address.into());
        let mut line = dial(Place::A, lab.a.address, PUBLIC, lab.b.public_port).await.unwrap();
        line.say("hello neighbour").await.unwrap();
        dial(Place::A, lab.a.address, lab.b.address, 9_735).await.unwrap_err();
    });
}

/// Bounded; what is waited for is looked at again and again.
async fn until(is_so: impl AsyncFn() -> bool) {
    for _ in 0..1_000 {
        if is_so().await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to be");
}

fn peers_of(interface: &str) -> usize {
    let output = Command::new("wg").args(["show", interface, "peers"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().count()
}
