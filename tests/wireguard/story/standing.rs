//! What stands without those who made it stand, and who reaches whom.

use std::time::Duration;

use wiretoll::netfilter;

use super::purchase::assert_all_stands;
use super::shop::Shop;
use super::until;
use crate::lab::{self, GATEWAY, Lab, Node, PUBLIC, Place, VISITOR, dial};

#[test]
fn scenario_33_a_claim_without_an_agent_gives_the_config_that_works_later() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let (ended, said) = shop.agent.take().unwrap().terminate();
        assert!(ended.success(), "{said:?}");
        let early = shop.sell().await;
        assert!(!early.is_provisioned);
        assert_eq!(shop.get(&early.hash).await.1["isProvisioned"], false);
        assert!(lab.peers().await.is_empty());

        shop.start_agent().await;

        let late = shop.claim(&early.hash).await;
        assert!(late.is_provisioned);
        assert_eq!(late.config, early.config);
        assert_eq!(shop.get(&early.hash).await.1["isProvisioned"], true);
        early.bring_up(&lab.a).await;
    });
}

#[test]
fn scenario_34_a_reboot_restores_everything_before_anybody_can_be_asked() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        shop.agent = None;
        shop.service = None;
        lab.lose_interface();
        lab::remove_table();

        shop.spawn_agent();
        until("the peer is back", async || lab.interface.dump().await.is_ok_and(|peers| peers.len() == 1)).await;

        // Its session is gone; the config is not.
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        assert_eq!(line.seen_as, VISITOR);
        shop.start_service();
        shop.until_applied().await;
        assert_all_stands(&shop, &mut lab).await;
    });
}

#[test]
fn subscribers_dial_each_other_by_public_address_only() {
    lab::run(async |lab: Lab| {
        let shop = Shop::open(&lab).await;
        let (a, b) = (shop.sell().await, shop.sell().await);
        a.bring_up(&lab.a).await;
        b.bring_up(&lab.b).await;
        let _node = lab.b.listen(lab.b.address.into());
        dial(Place::A, lab.a.address, PUBLIC, b.port).await.unwrap().say("hairpin").await.unwrap();
        dial(Place::A, lab.a.address, lab.b.address, 9_735).await.unwrap_err();
    });
}

#[test]
fn a_suspended_subscriber_comes_back_with_the_same_session() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        let session = lab.peer(&sold.public_key).await.last_handshake;

        assert!(shop.operate("suspend", &sold, &[]).contains("has confirmed it"));
        line.say("suspended").await.unwrap_err();
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap_err();

        assert!(shop.operate("resume", &sold, &[]).contains("has confirmed it"));
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        assert_eq!(lab.peer(&sold.public_key).await.last_handshake, session);
    });
}

#[test]
fn scenario_38_a_revoked_subscription_has_no_traffic_and_no_handshake() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let (sold, other) = (shop.sell().await, shop.sell().await);
        sold.bring_up(&lab.a).await;
        other.bring_up(&lab.b).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let mut line = dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        let mut stays = dial(Place::Visitor, VISITOR, PUBLIC, other.port).await.unwrap();

        assert!(shop.operate("revoke", &sold, &[]).contains("its peer is gone"));

        line.say("revoked").await.unwrap_err();
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap_err();
        sold.set_config(&lab.a);
        assert!(!lab.a.pings(lab.a.address.into(), GATEWAY.into()), "the config is worth nothing");
        assert_eq!(handshakes(&lab.a), 0);
        stays.say("nobody else is").await.unwrap();
        assert_eq!(lab.peers().await.len(), 1);
    });
}

/// Address and port stay; the config with the old key gets no answer, and the one of the next claim does.
#[test]
fn a_rekeyed_subscription_answers_to_its_new_key_only() {
    lab::run(async |mut lab: Lab| {
        let shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());

        assert!(shop.operate("rekey", &sold, &[]).contains("its old key is gone"));

        assert!(lab.peers().await.is_empty());
        sold.set_config(&lab.a);
        assert!(!lab.a.pings(lab.a.address.into(), GATEWAY.into()));
        assert_eq!(handshakes(&lab.a), 0);
        let next = shop.claim(&sold.hash).await;
        assert_eq!((next.port, next.address), (sold.port, sold.address));
        assert_ne!(next.public_key, sold.public_key);
        next.bring_up(&lab.a).await;
        dial(Place::Visitor, VISITOR, PUBLIC, next.port).await.unwrap().say("the same port").await.unwrap();
    });
}

#[test]
fn an_extended_subscription_has_its_lease_at_once() {
    lab::run(async |lab: Lab| {
        let shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let lease = async || netfilter::list().await.unwrap().unwrap().leases[&lab.a.address.into()];
        let before = lease().await;

        assert!(shop.operate("extend", &sold, &["--days", "3"]).contains("it lasts so long there"));

        let gained = lease().await.saturating_sub(before);
        let three_days = Duration::from_hours(3 * 24);
        assert!(gained.abs_diff(three_days) < Duration::from_mins(1), "{gained:?}");
    });
}

/// How often the server has answered this customer's present config.
fn handshakes(node: &Node) -> usize {
    let words = ["wg", "show", node.interface(), "latest-handshakes"];
    let shown = String::from_utf8(node.place.command(&words).output().unwrap().stdout).unwrap();
    shown.lines().filter(|line| !line.ends_with("\t0")).count()
}
