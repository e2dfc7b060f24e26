//! What stands without those who made it stand, and who reaches whom.

use wiretoll::netfilter;

use super::purchase::assert_all_stands;
use super::shop::Shop;
use super::until;
use crate::lab::{self, Lab, PUBLIC, Place, VISITOR, dial};

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
        netfilter::remove().await.unwrap();

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

        shop.change(sold.port, "suspended_at = 1").await;
        shop.until_applied().await;
        line.say("suspended").await.unwrap_err();
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap_err();

        shop.change(sold.port, "suspended_at = NULL").await;
        shop.until_applied().await;
        dial(Place::Visitor, VISITOR, PUBLIC, sold.port).await.unwrap();
        assert_eq!(lab.peer(&sold.public_key).await.last_handshake, session);
    });
}
